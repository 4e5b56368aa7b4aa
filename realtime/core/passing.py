"""Beats and cells as they pass: when the composer is told that they are over. Times are ticks."""

from __future__ import annotations

from realtime.core.dialogue import Bar
from realtime.music.cells import cell_at
from realtime.music.metre import TICKS, BeatGrid


class PassingTime:
    """`next_beat`: the next beat line. `next_cell`: the end of the cell that is being played."""

    def __init__(self, grid: BeatGrid) -> None:
        self._grid = grid
        self.relocate(0)

    def relocate(self, tick: int) -> None:
        """Song time goes on from `tick`."""
        self.next_beat = self._grid.next_beat(tick + 1)
        self.next_cell = sum(cell_at(self._grid, tick))

    def beat(self, tick: int) -> bool:
        """Whether a beat line has come by `tick`. True once for each."""
        if tick < self.next_beat:
            return False
        self.next_beat = self._grid.next_beat(tick + 1)
        return True

    def cell(self, tick: int, lookahead_ticks: int) -> Bar | None:
        """The cell that is over by `tick`, once for each, and the first cell that can still be conditioned on it.

        By then notes were asked for up to a beat beyond the lookahead: the first cell that begins no sooner is free.
        """
        if tick < self.next_cell:
            return None
        start, length = cell_at(self._grid, tick)
        self.next_cell = target = start + length
        while target < tick + lookahead_ticks + TICKS:
            target = sum(cell_at(self._grid, target))
        return Bar(start, target)
