"""The modes: each decides, from what the player does, when Antiphon plays. Pure functions of ticks.

A mode never sends or plans anything. `core.turns` asks `turn` again whenever its result may have changed, and acts on the
difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from realtime.core.dialogue import Turn
from realtime.core.player_state import EARLY_TICKS, PlayerState
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import Role


class Mode(Protocol):
    """One way of playing together.

    `yields`: a note that the player strikes during a turn ends the turn at once; otherwise the rest of it is planned anew.
    `voices` > 0: each note of the player's is answered on its own onset by at most so many notes. `listens`: what is to sound
    together with a note of the player's is chosen after it. `by_bars`: turns begin and end with bars, as of a band.
    """

    @property
    def role(self) -> Role: ...
    @property
    def yields(self) -> bool: ...
    @property
    def voices(self) -> int: ...
    @property
    def listens(self) -> bool: ...
    @property
    def by_bars(self) -> bool: ...

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        """The turn that `tick` lies in, else the next turn if it is known by now, else None."""

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        """Whether playing together has come to rest by `tick`, so that the next note begins it anew."""


@dataclass(frozen=True, slots=True)
class Continue:
    """After a rest, or when called, continue what the player played for `max_bars`, or until they play again."""

    max_bars: int
    role = Role.CONTINUE
    yields = True
    voices = 0
    listens = False
    by_bars = False

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

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Trade:
    """Player and Antiphon alternate every `bars` bars, counted from the bar of the player's first note. A first note on the
    last beat of a bar of three beats or more is a pick-up and belongs to the next bar.

    A turn of the player's in which they play nothing ends the exchange: Antiphon is silent until a note begins it anew. What
    they play before the bar line, during Antiphon's turn, does not count.
    """

    bars: int
    role = Role.TRADE
    yields = False
    voices = 0
    listens = False
    by_bars = False

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        if player.first_tick is None:
            return None
        first = self._first_bar(player.first_tick, grid)
        own = first + max(grid.bar_number(tick) - first, 0) // (2 * self.bars) * 2 * self.bars
        if own > first and not player.played_from(grid.bar_line(own)):
            return None
        return Turn(grid.bar_line(own + self.bars), grid.bar_line(own + 2 * self.bars))

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        if player.first_tick is None:
            return False
        first = self._first_bar(player.first_tick, grid)
        # The player's last turn that is over by now.
        over = first + (grid.bar_number(tick) - self.bars - first) // (2 * self.bars) * 2 * self.bars
        return over > first and not player.played_from(grid.bar_line(over))

    def _first_bar(self, first_tick: int, grid: BeatGrid) -> int:
        """The number of the bar in which the player's first turn begins, after a first note at `first_tick`."""
        beat = grid.beat_at(first_tick + EARLY_TICKS)
        start, length = grid.bar_at(beat.start)
        return grid.bar_number(beat.start) + (beat.in_bar >= 2 and beat.start + beat.length == start + length)


@dataclass(frozen=True, slots=True)
class Accompany:
    """Play while the player plays, with a new plan at each of their notes. The turn ends on the first beat after the rest has
    become long enough to end the phrase: as soon as no key is down, its end is known, unless the player goes on.

    `by_bars`: a band comes in with the bar after the player's first note, and plays through a rest of less than a bar; it ends
    with the beat on the next bar line. After a count-in with chords that are given, both begin without the player, and go on
    until the player comes in.
    """

    by_bars: bool = False
    role = Role.ACCOMPANY
    yields = False
    voices = 0
    listens = True

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        if player.phrase_tick is None:
            return Turn(player.opens_tick) if player.opens_tick is not None else None
        start = grid.bar_start(player.phrase_tick, 1) if self.by_bars else player.phrase_tick
        rests = player.rests_from()
        if rests is None or rests < player.joins_tick:
            return Turn(start)
        if self.by_bars:
            end = grid.next_bar(rests + max(player.rest_ticks, grid.bar_length_at(rests))) + TICKS
        else:
            end = grid.next_beat(rests + player.rest_ticks)
        return Turn(start, end) if tick < end and start < end else None

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Harmonise:
    """Answer each note on its own onset with at most `voices` notes, held as long as the key."""

    voices: int
    role = Role.HARMONISE
    yields = False
    listens = False
    by_bars = False

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        return None

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Fixed:
    """One turn, known from the start: what `compose` plays."""

    only: Turn
    role = Role.CONTINUE
    yields = False
    voices = 0
    listens = False
    by_bars = False

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        return self.only if self.only.end is None or tick < self.only.end else None

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False
