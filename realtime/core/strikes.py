"""Where in the beat the player strikes: what is likely to come again at the same place."""

from __future__ import annotations

from realtime.music.metre import TICKS, BeatGrid

PLACE_TICKS = 6
"""Onsets are told apart by sixteenths."""
REMEMBERED_TICKS = 8 * TICKS
"""So long a strike makes another at its place in the beat likely."""


class Strikes:
    """The latest strike at each sixteenth of a beat. Times in ticks."""

    def __init__(self, grid: BeatGrid) -> None:
        self._grid = grid
        self._latest: dict[int, int] = {}

    def add(self, tick: int) -> None:
        """The player struck a key."""
        self._latest[self._place(tick)] = tick

    def likely(self, tick: int) -> bool:
        """Whether the player has of late struck at this place in a beat before."""
        latest = self._latest.get(self._place(tick))
        return latest is not None and tick - REMEMBERED_TICKS <= latest <= tick - PLACE_TICKS

    def _place(self, tick: int) -> int:
        """The sixteenth that begins nearest to `tick`, counted from the beat's start."""
        near = tick + PLACE_TICKS // 2
        return (near - self._grid.beat_at(near).start) // PLACE_TICKS
