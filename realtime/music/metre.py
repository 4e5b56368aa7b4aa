"""Metre: beats and bars over ticks (24 a quarter). Pure."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

TICKS = 24
"""Ticks per quarter note, which is what the model calls a beat."""

OVERHANG_TICKS = 6
"""A note that sounds at most so long beyond a bar line is taken to end there."""


COMPOUND_TICKS = 36
"""A beat of a compound metre, such as 6/8: a dotted quarter."""
COMPOUND_CLASS = 16
"""From this metre class on the metres are compound. Bars of a breve (4/2) and more, which are rare, share them."""


def count_ticks(compound: bool) -> int:
    """Ticks between two beats as musicians count them: a quarter, in a compound metre a dotted quarter."""
    return COMPOUND_TICKS if compound else TICKS


class Beat(NamedTuple):
    """One beat of a grid: its start and length in ticks, its number in the bar (from 0), the bar's length in ticks, and whether
    the metre is compound. Also then it is a quarter, or what is left of one: that is what the model calls a beat."""

    start: int
    length: int
    in_bar: int
    bar_ticks: int
    compound: bool = False


class Segment(NamedTuple):
    """Bars of one length from a tick on: 6/8, which is compound, has the length of 3/4."""

    start: int
    length: int
    compound: bool = False


class BeatGrid:
    """Bars and beats over ticks: `bars` is a sequence of what a `Segment` is made from, each valid until the next.

    A bar is cut into beats of 24 ticks; where the length is no multiple, the last beat is shorter (5/8: 24, 24, 12).
    A change of metre starts a new bar. Before the first start its bar length is extended backwards, so that pick-ups
    and count-ins have beats too.
    """

    def __init__(self, bars: Sequence[Segment | tuple[int, int]] = ((0, 4 * TICKS),)) -> None:
        segments = [Segment(*bar) for bar in bars]
        self._starts = [segment.start for segment in segments]
        self._lengths = [segment.length for segment in segments]
        self._compound = [segment.compound for segment in segments]
        counts = [-(-(after.start - each.start) // each.length) for each, after in pairwise(segments)]
        self._numbers = [0, *accumulate(counts)]

    def bar_at(self, tick: int) -> tuple[int, int]:
        """(start tick, length in ticks) of the bar around `tick`; a bar that a change of metre cuts off is shorter."""
        segment = max(bisect.bisect_right(self._starts, tick) - 1, 0)
        origin, length = self._starts[segment], self._lengths[segment]
        start = origin + (tick - origin) // length * length
        if segment + 1 < len(self._starts):
            length = min(length, self._starts[segment + 1] - start)
        return start, length

    def bar_length_at(self, tick: int) -> int:
        """The metre's bar length around `tick`, also in a bar that is cut off."""
        return self._lengths[max(bisect.bisect_right(self._starts, tick) - 1, 0)]

    def bar_number(self, tick: int) -> int:
        """The number of the bar around `tick`, counted from 0 for the one that begins at the first start."""
        segment = max(bisect.bisect_right(self._starts, tick) - 1, 0)
        return self._numbers[segment] + (tick - self._starts[segment]) // self._lengths[segment]

    def bar_line(self, number: int) -> int:
        """Start tick of the bar of that number."""
        segment = max(bisect.bisect_right(self._numbers, number) - 1, 0)
        return self._starts[segment] + (number - self._numbers[segment]) * self._lengths[segment]

    def beat_at(self, tick: int) -> Beat:
        """The beat around `tick`."""
        start, length = self.bar_at(tick)
        index = (tick - start) // TICKS
        beat_start = start + index * TICKS
        segment = max(bisect.bisect_right(self._starts, tick) - 1, 0)
        whole, compound = self._lengths[segment], self._compound[segment]
        return Beat(beat_start, min(TICKS, start + length - beat_start), index, whole, compound)

    def bar_start(self, tick: int, bars_later: int = 0) -> int:
        """Start tick of the bar around `tick`, or of the one `bars_later` bars after it."""
        return self.bar_line(self.bar_number(tick) + bars_later)

    def next_bar(self, tick: int) -> int:
        """Start of the first bar at or after `tick`."""
        start = self.bar_start(tick)
        return tick if start == tick else self.bar_start(tick, 1)

    def next_beat(self, tick: int) -> int:
        """Start of the first beat at or after `tick`."""
        beat = self.beat_at(tick)
        return tick if beat.start == tick else beat.start + beat.length

    def count_at(self, tick: int) -> int:
        """The number in the bar, from 0, of the beat around `tick` as musicians count them."""
        return (tick - self.bar_at(tick)[0]) // count_ticks(self.beat_at(tick).compound)

    def next_count(self, tick: int) -> int:
        """Start of the first beat at or after `tick` as musicians count them, by dotted quarters in a compound metre."""
        if not self.beat_at(tick).compound:
            return self.next_beat(tick)
        start, length = self.bar_at(tick)
        return min(start + -(-(tick - start) // COMPOUND_TICKS) * COMPOUND_TICKS, start + length)


def is_compound(top: int, bottom: int) -> bool:
    """Whether a time signature counts in dotted quarters, as 6/8, 9/8 and 12/8 do."""
    return top % 3 == 0 and top > 3 and bottom == 8


def clocks_a_click(top: int, bottom: int) -> int:
    """What a time signature of a MIDI file says of the metronome: MIDI clocks, 24 a quarter, between two clicks."""
    return count_ticks(is_compound(top, bottom))


def time_signature(quarters: int, compound: bool) -> tuple[int, int]:
    """The time signature (numerator, denominator) of a bar of so many quarters."""
    return (2 * quarters, 8) if compound else (quarters, 4)


def bar_segments(signatures: list[tuple[int, int, int]]) -> list[Segment]:
    """Time signatures (tick, numerator, denominator) -> `BeatGrid` segments. A pick-up bar (one bar of a shorter metre at
    the start) becomes the end of a whole bar, so that its beats are counted as musicians count them."""
    bars = [Segment(tick, max(96 * top // bottom, 6), is_compound(top, bottom)) for tick, top, bottom in signatures]
    bars = bars or [Segment(0, 96)]
    if bars[0].start > 0:
        bars.insert(0, bars[0]._replace(start=0))
    if len(bars) > 1 and bars[1].start - bars[0].start == bars[0].length < bars[1].length:
        del bars[0]
    return bars


def metre_index(bar_ticks: int, compound: bool) -> int:
    """Metre class 0..31: the bar's length in eighth notes, and `COMPOUND_CLASS` more for a compound metre."""
    return min(bar_ticks // 12 + COMPOUND_CLASS * compound, 31)
