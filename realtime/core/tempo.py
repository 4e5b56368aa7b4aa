"""The tempo map: a bijection between musical pulses and host nanoseconds.

Units: `_ns` host nanoseconds (int), `_pulse` 1/480 quarter note (int), bpm quarter notes a minute. All arithmetic is
integer or rational: inside a segment every result is exact, so nothing drifts however long a session lasts. One thread at a
time; no clock is read here.
"""

import math
from bisect import bisect_right
from fractions import Fraction
from typing import NamedTuple

PPQN = 480
TICKS_PER_QUARTER = 24
PULSES_PER_TICK = PPQN // TICKS_PER_QUARTER

_NS_PER_PULSE_AT_1_BPM = Fraction(60_000_000_000, PPQN)

# A segment may begin between two pulses (a steered one nearly always does): positions carry this many binary places.
_FRACTION_BITS = 32

# Slower or faster than this, two neighbouring nanoseconds or pulses could no longer be told apart.
_SLOWEST_NS_PER_PULSE = 1_000_000_000
_FASTEST_NS_PER_PULSE = 1

# Steering adds some 100 segments a second. Only the last seconds are ever asked for, so the oldest segments are dropped.
_STEERED_SEGMENTS = 1024


class _Segment(NamedTuple):
    """From host time `ns` on, where the position is `fine` / 2**32 pulses, a pulse lasts num / den nanoseconds."""

    ns: int
    fine: int
    num: int
    den: int

    def fine_at(self, ns: int) -> int:
        return self.fine + ((ns - self.ns) * self.den << _FRACTION_BITS) // self.num

    def ns_at_fine(self, fine: int) -> int:
        return self.ns - (self.fine - fine) * self.num // (self.den << _FRACTION_BITS)

    def bpm(self) -> float:
        return float(_NS_PER_PULSE_AT_1_BPM * self.den / self.num)


class TempoMap:
    """Pulses <-> nanoseconds, by segments of constant tempo. The first one has no beginning, the last one no end.

    `pulse_at(ns_at(pulse)) == pulse` for every pulse after the last `locate`. A change never moves what lies before it,
    except that the start of each segment is rounded to a whole nanosecond. Tempos: 0.125 to 125 million bpm.
    """

    def __init__(self, bpm: float | Fraction, origin_ns: int = 0) -> None:
        """Pulse 0 is at `origin_ns`. Raises ValueError for a bpm that is not a number in range."""
        self._segments = [_Segment(origin_ns, 0, *_of_bpm(bpm).as_integer_ratio())]

    def pulse_at(self, ns: int) -> int:
        """The pulse that has begun at host time `ns`: floor of the position."""
        return self._at_ns(ns).fine_at(ns) >> _FRACTION_BITS

    def position_at(self, ns: int) -> float:
        """The position at host time `ns` in pulses with their fraction, for control loops and displays."""
        return self._at_ns(ns).fine_at(ns) / (1 << _FRACTION_BITS)

    def ns_at(self, pulse: int) -> int:
        """The first nanosecond at which `pulse_at(ns) >= pulse`."""
        fine = pulse << _FRACTION_BITS
        segments = self._segments
        last = segments[-1]
        if fine >= last.fine or len(segments) == 1:
            return last.ns_at_fine(fine)
        return segments[self._index_at_fine(fine)].ns_at_fine(fine)

    def bpm_at(self, pulse: int) -> float:
        """The tempo in force at `pulse`."""
        return self._segments[self._index_at_fine(pulse << _FRACTION_BITS)].bpm()

    def set_tempo(self, pulse: int, bpm: float) -> None:
        """From `pulse` on the tempo is `bpm`. Changes at or after `pulse` are dropped, changes before it stay.

        Raises ValueError for a bpm that is not a number in range.
        """
        ns_per_pulse = _of_bpm(bpm)
        fine = pulse << _FRACTION_BITS
        ns = self.ns_at(pulse)
        segments = self._segments
        while len(segments) > 1 and segments[-1].fine >= fine:
            segments.pop()
        segments.append(_Segment(ns, fine, *ns_per_pulse.as_integer_ratio()))

    def steer(self, ns: int, ns_per_pulse: float | Fraction) -> None:
        """From host time `ns` on a pulse lasts `ns_per_pulse`. The position at `ns` stays; later segments are dropped.

        After many calls the oldest segments are dropped too: the oldest one kept then holds for all time before it.
        Raises ValueError out of range.
        """
        ratio = _checked(Fraction(ns_per_pulse)).as_integer_ratio()
        fine = self._at_ns(ns).fine_at(ns)
        segments = self._segments
        while len(segments) > 1 and segments[-1].ns >= ns:
            segments.pop()
        segments.append(_Segment(ns, fine, *ratio))
        if len(segments) > 2 * _STEERED_SEGMENTS:
            del segments[:-_STEERED_SEGMENTS]

    def locate(self, ns: int, pulse: int) -> None:
        """Jump: host time `ns` becomes `pulse`, at the tempo in force at `ns`.

        All earlier segments are dropped: times before `ns` count backward from `pulse`. So a note played just before a
        downbeat lies just before it, and no pulse has two times.
        """
        here = self._at_ns(ns)
        self._segments = [_Segment(ns, pulse << _FRACTION_BITS, here.num, here.den)]

    def _at_ns(self, ns: int) -> _Segment:
        segments = self._segments
        last = segments[-1]
        if ns >= last.ns or len(segments) == 1:  # nearly always: the present lies in the last segment
            return last
        return segments[bisect_right(segments, ns, lo=1, key=_segment_ns) - 1]

    def _index_at_fine(self, fine: int) -> int:
        # lo=1: the first segment has no beginning, so it also holds before its own pulse.
        return bisect_right(self._segments, fine, lo=1, key=_segment_fine) - 1


def _segment_ns(segment: _Segment) -> int:
    return segment.ns


def _segment_fine(segment: _Segment) -> int:
    return segment.fine


def _of_bpm(bpm: float | Fraction) -> Fraction:
    """Nanoseconds per pulse, exactly, of the given bpm."""
    if not (math.isfinite(bpm) and bpm > 0):
        raise ValueError(f"bpm must be a positive number, got {bpm}")
    return _checked(_NS_PER_PULSE_AT_1_BPM / Fraction(bpm))


def _checked(ns_per_pulse: Fraction) -> Fraction:
    if not _FASTEST_NS_PER_PULSE <= ns_per_pulse <= _SLOWEST_NS_PER_PULSE:
        raise ValueError(f"a pulse must last 1 ns to 1 s, got {float(ns_per_pulse)} ns")
    return ns_per_pulse
