"""Where a turn that the mode has given begins and ends in the form of the music. Pure; times in ticks."""

from __future__ import annotations

from realtime.core.dialogue import Turn
from realtime.core.leading import Leading
from realtime.core.modes import Mode
from realtime.core.player_state import PlayerState
from realtime.music.metre import OVERHANG_TICKS, TICKS, BeatGrid
from realtime.music.vocabulary import Role


def bounded(
    turn: Turn | None, tick: int, on: Turn | None, mode: Mode, player: PlayerState, leading: Leading
) -> Turn | None:
    """The turn at `tick`; `on` is the one in progress. An accompaniment in progress goes on where the player comes in again.
    A band ends on the bar line on which the chart begins anew, if the player rests there."""
    if turn is None:
        return None
    rests = player.rests_from()
    if turn.end is not None and mode.by_bars and rests is not None and rests >= player.joins_tick:
        form = leading.form_end(rests - OVERHANG_TICKS, turn.end)
        if form is not None and tick >= form + TICKS:
            return None
        turn = turn if form is None else turn._replace(end=form + TICKS)
    goes_on = mode.role == Role.ACCOMPANY and on is not None and (on.end is None or tick < on.end)
    return turn._replace(start=min(on.start, turn.start)) if on is not None and goes_on else turn


def with_ring(turn: Turn | None, grid: BeatGrid) -> Turn | None:
    """The turn with its last notes sounding on to the next bar line."""
    line = grid.next_bar(turn.end) if turn is not None and turn.end is not None else None
    return turn if turn is None or line in (None, turn.end) else turn._replace(rings=line)
