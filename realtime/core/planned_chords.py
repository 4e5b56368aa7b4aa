"""The chord that was planned for each beat, for the live line and for the report of a session: 9 bytes a beat."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from realtime.music.chords import UNKNOWN


class PlannedChords:
    """Beats, by their ticks, with chords, classes of `realtime.music.chords`, in order. Where the chord of a beat is told again,
    what was told of later beats is taken back."""

    def __init__(self) -> None:
        self._ticks, self._chords = array("q"), array("B")

    def update(self, told: Iterable[tuple[int, int]]) -> None:
        """(tick, chord) of beats, in order."""
        for tick, chord in told:
            kept = bisect_left(self._ticks, tick)
            del self._ticks[kept:], self._chords[kept:]
            self._ticks.append(tick)
            self._chords.append(chord)

    def at(self, tick: int) -> int:
        """The chord of the beat that begins at `tick`, `UNKNOWN` where none was planned."""
        found = bisect_left(self._ticks, tick)
        there = found < len(self._ticks) and self._ticks[found] == tick
        return self._chords[found] if there else UNKNOWN

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._ticks, self._chords, strict=True)

    def __len__(self) -> int:
        return len(self._ticks)
