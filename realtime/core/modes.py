"""When Antiphon plays: a mode looks at what the player does and says whose turn it is. Pure functions of ticks.

A mode never sends or plans anything. The engine asks `turn` again whenever something may have changed, and acts on the
difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from realtime.core.dialogue import Turn
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import Role

EARLY_TICKS = 3
"""How much before its beat a note may come that is meant for it."""


@dataclass(slots=True)
class PlayerState:
    """What the player is doing, in ticks. `phrase_tick` is the first note after a rest of at least `rest_ticks`;
    `trigger_tick` is when Antiphon was called, until the player plays again."""

    rest_ticks: int
    down: set[tuple[int, int]] = field(default_factory=set)
    first_tick: int | None = None
    phrase_tick: int | None = None
    last_off_tick: int | None = None
    trigger_tick: int | None = None

    def note_on(self, tick: int, key: tuple[int, int]) -> None:
        """A key (channel, pitch) went down."""
        if self.first_tick is None:
            self.first_tick = tick
        if self.phrase_tick is None or self.idle_from(tick) is not None:
            self.phrase_tick = tick
        self.trigger_tick = None
        self.down.add(key)

    def note_off(self, tick: int, key: tuple[int, int]) -> None:
        """A key went up; unknown keys are ignored."""
        if key in self.down:
            self.down.remove(key)
            self.last_off_tick = tick

    def rests_from(self) -> int | None:
        """The tick since which no key is down; None while one is, or before the first note."""
        return None if self.down else self.last_off_tick

    def idle_from(self, tick: int) -> int | None:
        """The tick at which the rest had become long enough to end a phrase, if it has by `tick`."""
        rests = self.rests_from()
        return rests + self.rest_ticks if rests is not None and tick >= rests + self.rest_ticks else None


class Mode(Protocol):
    """One way of playing together.

    `yields`: a note of the player's during a turn makes Antiphon stop at once; otherwise it thinks again.
    `voices` > 0: each note is answered on its own onset, by at most so many.
    """

    @property
    def role(self) -> Role: ...
    @property
    def yields(self) -> bool: ...
    @property
    def voices(self) -> int: ...

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        """The turn around `tick`, or else the next one as far as it is known by now."""

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        """A tick at which `turn` may change although the player does nothing, beside the turn's own start and end."""


@dataclass(frozen=True, slots=True)
class Continue:
    """After a rest (or when called: pedal, controller, key switch) go on from what was played, until the player is back."""

    max_bars: int
    role = Role.CONTINUE
    yields = True
    voices = 0

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        if player.trigger_tick is not None:
            start = grid.next_beat(player.trigger_tick + 1)
        else:
            rests = player.rests_from()
            if rests is None:
                return None
            start = grid.next_beat(rests + player.rest_ticks)
        end = grid.bar_start(start + grid.bar_at(start)[1] // 2, self.max_bars)  # up to the nearest bar line
        return Turn(start, end) if tick < end else None

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Trade:
    """Alternate a fixed number of bars, on the bar lines, from the bar of the player's first note. A first note on the last
    beat of a bar of three beats or more is a pick-up: it belongs to the bar after it."""

    bars: int
    role = Role.TRADE
    yields = False
    voices = 0

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        if player.first_tick is None:
            return None
        start, length = grid.bar_at(player.first_tick + EARLY_TICKS)
        beat = grid.beat_at(player.first_tick + EARLY_TICKS)
        if beat.in_bar >= 2 and beat.start + beat.length == start + length:
            start, length = grid.bar_at(start + length)
        half = self.bars * length
        start += half + max(tick - start, 0) // (2 * half) * 2 * half
        return Turn(start, start + half)

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Accompany:
    """Play while the player plays, and think again at each note. It is over on the first beat after the rest has become long."""

    role = Role.ACCOMPANY
    yields = False
    voices = 0

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        idle = player.idle_from(tick)
        if player.phrase_tick is None or (idle is not None and tick >= grid.next_beat(idle)):
            return None
        return Turn(player.phrase_tick)

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        rests = player.rests_from()
        return None if rests is None else grid.next_beat(rests + player.rest_ticks)


@dataclass(frozen=True, slots=True)
class Harmonise:
    """Answer each note on its own onset with `voices` notes, held as long as the key."""

    voices: int
    role = Role.HARMONISE
    yields = False

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        return None

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Fixed:
    """One turn, known from the start: what `compose` plays."""

    only: Turn
    role = Role.CONTINUE
    yields = False
    voices = 0

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        return self.only if self.only.end is None or tick < self.only.end else None

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        return None
