"""Ticks of a file <-> pulses, 480 a quarter note.

A file counts its ticks by the quarter note, or, timed in SMPTE frames, by the second. Of the latter kind the quarter notes
are those of the tempo in force, 120 BPM where none is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction
from math import floor
from typing import NamedTuple

from realtime.core.tempo import PPQN
from realtime.io.files.smf import META, TEMPO, Event, Smf

DEFAULT_BPM = 120.0
MIN_BPM, MAX_BPM = 4.0, 1000.0  # a file's tempo may be a trick (a pause, a skip); no engine follows further than this

_FRAMES = {24: Fraction(24), 25: Fraction(25), 29: Fraction(30_000, 1001), 30: Fraction(30)}
"""Frames a second by what the header says; 29 is 30 drop-frame."""


class _Segment(NamedTuple):
    """From `tick` on, which is `pulse`, a tick lasts `step` pulses."""

    tick: int
    pulse: Fraction
    step: Fraction


class Timebase:
    """See the module's docstring."""

    def __init__(self, division: int, tempos: Iterable[tuple[int, float]] = ()) -> None:
        """division: a header's 16 bits; tempos: (tick, bpm) by tick, which only a division in frames needs."""
        self._segments = [_Segment(0, Fraction(0), Fraction(PPQN, max(division & 0x7FFF, 1)))]
        if division & 0x8000:
            rate = ticks_a_second(division)
            self._segments = [_Segment(0, Fraction(0), Fraction(DEFAULT_BPM) * PPQN / 60 / rate)]
            for tick, bpm in tempos:
                pulse = self._exact(tick)
                self._segments.append(_Segment(tick, pulse, Fraction(bpm).limit_denominator(10**6) * PPQN / 60 / rate))
        self._ticks = [segment.tick for segment in self._segments]
        self._pulses = [segment.pulse for segment in self._segments]

    def pulse(self, tick: int) -> int:
        """The pulse that has begun at a tick: what lies before a bar line stays before it."""
        start, pulse, step = self._segments[bisect_right(self._ticks, tick) - 1]
        if not start:  # nearly always, and a good deal quicker
            return tick * step.numerator // step.denominator
        return floor(pulse + (tick - start) * step)

    def tick(self, pulse: int) -> int:
        """The nearest tick, half-way the later one."""
        start, at, step = self._segments[max(bisect_right(self._pulses, pulse) - 1, 0)]
        return floor((pulse - at) / step + start + Fraction(1, 2))

    def _exact(self, tick: int) -> Fraction:
        last = self._segments[-1]
        return last.pulse + (tick - last.tick) * last.step


def ticks_a_second(division: int) -> Fraction:
    """Of a division in frames."""
    frames = 0x100 - (division >> 8)
    return _FRAMES.get(frames, Fraction(frames)) * (division & 0xFF)


def timebase_of(smf: Smf) -> Timebase:
    """The file's."""
    changes = {0: DEFAULT_BPM} | {event.tick: bpm for event in smf.events if (bpm := bpm_of(event)) is not None}
    return Timebase(smf.division, sorted(changes.items()))


def bpm_of(event: Event) -> float | None:
    """What a tempo event says, within what an engine follows; None for any other event and for nonsense."""
    if event.status != META or event.kind != TEMPO or len(event.data) != 3 or not any(event.data):
        return None
    return min(MAX_BPM, max(MIN_BPM, 60e6 / int.from_bytes(event.data, "big")))
