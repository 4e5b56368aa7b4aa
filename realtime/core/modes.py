"""The modes: each decides, from what the player does, when Antiphon plays. Pure functions of ticks.

A mode never sends or plans anything. `core.turns` asks `turn` again whenever its result may have changed, and acts on the
difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from realtime.core.dialogue import Turn
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import Role

EARLY_TICKS = 3
"""A note that comes at most so long before a beat is taken for a note on that beat."""


@dataclass(slots=True)
class PlayerState:
    """What the player is doing, in ticks. `down`: the keys (channel, pitch) that are down. `first_tick`: their first note.
    `phrase_tick`: the first note after the last rest of at least `rest_ticks`. `last_off_tick`: when a key last went up.
    `trigger_tick`: when the player called Antiphon by pedal, controller or key switch; None once they play again."""

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
        """The tick from which on no key has been down; None while one is, and before the first note."""
        return None if self.down else self.last_off_tick

    def idle_from(self, tick: int) -> int | None:
        """The tick at which the rest became long enough to end the phrase; None if it is not by `tick`."""
        rests = self.rests_from()
        return rests + self.rest_ticks if rests is not None and tick >= rests + self.rest_ticks else None


class Mode(Protocol):
    """One way of playing together.

    `yields`: a note that the player strikes during a turn ends the turn at once; otherwise the rest of it is planned anew.
    `voices` > 0: each note of the player's is answered on its own onset by at most so many notes.
    """

    @property
    def role(self) -> Role: ...
    @property
    def yields(self) -> bool: ...
    @property
    def voices(self) -> int: ...

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        """The turn that `tick` lies in, else the next turn if it is known by now, else None."""

    def deadline(self, player: PlayerState, grid: BeatGrid) -> int | None:
        """The next tick, beside start and end of the turn, at which `turn` changes if the player does nothing; None: none."""


@dataclass(frozen=True, slots=True)
class Continue:
    """After a rest, or when called, continue what the player played for `max_bars`, or until they play again."""

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
    """Player and Antiphon alternate every `bars` bars, counted from the bar of the player's first note. A first note on the
    last beat of a bar of three beats or more is a pick-up and belongs to the next bar."""

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
    """Play while the player plays, with a new plan at each of their notes. The turn ends on the first beat after the rest has
    become long enough to end the phrase."""

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
    """Answer each note on its own onset with at most `voices` notes, held as long as the key."""

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
