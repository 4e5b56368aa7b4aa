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

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        """Whether playing together has come to rest by `tick`, so that the next note begins it anew."""


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

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Trade:
    """Player and Antiphon alternate every `bars` bars, counted from the bar of the player's first note. A first note on the
    last beat of a bar of three beats or more is a pick-up and belongs to the next bar.

    A turn of the player's in which they play nothing ends the exchange: Antiphon is silent until a note begins it anew.
    """

    bars: int
    role = Role.TRADE
    yields = False
    voices = 0

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        if player.first_tick is None:
            return None
        begin, half = self._begin(player.first_tick, grid)
        slot = begin + max(tick - begin, 0) // (2 * half) * 2 * half
        return Turn(slot + half, slot + 2 * half) if player.played_since(slot - TICKS) else None

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        if player.first_tick is None:
            return False
        begin, half = self._begin(player.first_tick, grid)
        over = begin + (tick - half - begin) // (2 * half) * 2 * half  # the player's last turn that is over by now
        return over >= begin and not player.played_since(over - TICKS)

    def _begin(self, first_tick: int, grid: BeatGrid) -> tuple[int, int]:
        """(start of the player's first turn, length of a turn) in ticks, after a first note at `first_tick`."""
        start, length = grid.bar_at(first_tick + EARLY_TICKS)
        beat = grid.beat_at(first_tick + EARLY_TICKS)
        if beat.in_bar >= 2 and beat.start + beat.length == start + length:
            start, length = grid.bar_at(start + length)
        return start, self.bars * length


@dataclass(frozen=True, slots=True)
class Accompany:
    """Play while the player plays, with a new plan at each of their notes. The turn ends on the first beat after the rest has
    become long enough to end the phrase: as soon as no key is down, its end is known, unless the player goes on."""

    role = Role.ACCOMPANY
    yields = False
    voices = 0

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        if player.phrase_tick is None:
            return None
        rests = player.rests_from()
        if rests is None:
            return Turn(player.phrase_tick)
        end = grid.next_beat(rests + player.rest_ticks)
        return Turn(player.phrase_tick, end) if tick < end else None

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Harmonise:
    """Answer each note on its own onset with at most `voices` notes, held as long as the key."""

    voices: int
    role = Role.HARMONISE
    yields = False

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

    def turn(self, tick: int, player: PlayerState, grid: BeatGrid) -> Turn | None:
        return self.only if self.only.end is None or tick < self.only.end else None

    def lapsed(self, tick: int, player: PlayerState, grid: BeatGrid) -> bool:
        return False
