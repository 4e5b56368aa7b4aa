"""What the player is doing, in ticks: the keys that sound, the phrase, the rest after it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from realtime.core.plans import LONG_AGO
from realtime.music.metre import OVERHANG_TICKS, TICKS

Key = tuple[int, int]
"""(channel, pitch)."""
EARLY_TICKS = 3
"""A note that comes at most so long before a beat is taken for a note on that beat."""
TOUCH_TICKS = TICKS // 2
"""A beginning that is over so soon, and followed by a rest, may be a key that was only touched."""
STUCK_TICKS = 16 * TICKS
"""A key that is down for longer, while other keys go down and up, no longer counts as playing: its note-off may be lost."""


@dataclass(slots=True)
class PlayerState:
    """`first_tick`: the first note of the exchange that is going on. `phrase_tick`: the first note after the last rest of at
    least `rest_ticks`. `last_on_tick`, `last_off_tick`: when a key last went down, and when one last stopped to sound.
    `trigger_tick`: when the player called Antiphon by pedal, controller or key switch; None once they play again.
    `opens_tick`: where Antiphon begins to accompany before the player's first note, as after a count-in; None: it does not.
    `joins_tick`: where the player is to come in then; no rest before it counts."""

    rest_ticks: int
    first_tick: int | None = None
    phrase_tick: int | None = None
    last_on_tick: int | None = None
    last_off_tick: int | None = None
    trigger_tick: int | None = None
    opens_tick: int | None = None
    joins_tick: int = LONG_AGO
    _struck: dict[Key, int] = field(default_factory=dict)
    _stuck: set[Key] = field(default_factory=set)

    @property
    def down(self) -> Set[Key]:
        """The keys that are down, or sound by a pedal."""
        return self._struck.keys()

    def note_on(self, tick: int, key: Key) -> None:
        """A key went down."""
        if self.first_tick is None:
            self.first_tick = tick
        if self.phrase_tick is None or self.idle_from(tick) is not None:
            self.phrase_tick = tick
        self.last_on_tick = tick
        self.trigger_tick = None
        self._struck[key] = tick
        self._stuck.discard(key)

    def note_off(self, tick: int, key: Key) -> None:
        """A key stopped to sound; unknown keys are ignored. The end of a stuck key is no end of a phrase."""
        if self._struck.pop(key, None) is None:
            return
        if key in self._stuck:
            self._stuck.remove(key)
        else:
            self.last_off_tick = tick

    def find_stuck(self, tick: int) -> list[Key]:
        """The keys that count as stuck from `tick` on. The rest begins now, if no other key is down."""
        last_off_tick = self.last_off_tick
        if last_off_tick is None:
            return []
        found = [
            key
            for key, struck in self._struck.items()
            if key not in self._stuck and tick - struck > STUCK_TICKS and last_off_tick > struck
        ]
        if found:
            self._stuck.update(found)
            self.last_off_tick = tick
        return found

    def rests_from(self) -> int | None:
        """The tick from which on no key has been down, stuck ones aside; None while one is, and before the first note."""
        return None if len(self._struck) > len(self._stuck) else self.last_off_tick

    def idle_from(self, tick: int) -> int | None:
        """The tick at which the rest became long enough to end the phrase; None if it is not by `tick`."""
        rests = self.rests_from()
        return rests + self.rest_ticks if rests is not None and tick >= rests + self.rest_ticks else None

    def has_only_touched(self) -> bool:
        """Whether all that was played since the beginning is one key, or one chord, that went up again at once."""
        if self.first_tick is None or self.last_on_tick is None or self.last_off_tick is None or self._struck:
            return False
        return (
            self.last_on_tick <= self.first_tick + EARLY_TICKS and self.last_off_tick <= self.first_tick + TOUCH_TICKS
        )

    def played_from(self, line: int) -> bool:
        """Whether a key went down at the bar line `line` or later, or one that went down not long before sounded beyond it."""
        if self.last_on_tick is None:
            return False
        if self.last_on_tick >= line - EARLY_TICKS:
            return True
        if self.last_off_tick is not None and self.last_off_tick > line + OVERHANG_TICKS:
            return True
        return any(struck + STUCK_TICKS >= line for key, struck in self._struck.items() if key not in self._stuck)
