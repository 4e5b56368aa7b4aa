"""The metronome: clicks on the beats, and the tempo that is tapped. Pure."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import median

from realtime.core.scheduler import PlannedNote
from realtime.core.tempo import PULSES_PER_TICK
from realtime.music.metre import TICKS, BeatGrid

ACCENT, PLAIN = 112, 80
"""Velocities of the first beat of a bar and of the others."""
CLICK_PULSES = TICKS // 4 * PULSES_PER_TICK
LAST_TAPS = 5
SLOWEST_TAP_NS, FASTEST_TAP_NS = 2_000_000_000, 150_000_000
"""Taps further apart begin anew; closer ones are one tap that bounced."""


class Click:
    """Clicks on every beat from where song time begins, before tick `until` (None: always), as notes of one channel and key."""

    def __init__(self, grid: BeatGrid, channel: int, key: int, until: int | None) -> None:
        self._grid = grid
        self._channel, self._key = channel, key
        self._until = until
        self._next: int | None = None

    def begin(self, tick: int) -> None:
        """Song time goes on from `tick`."""
        self._next = self._grid.next_count(tick)

    def stop(self) -> None:
        """Song time stands."""
        self._next = None

    def next_pulse(self) -> int | None:
        """When the next click is due; None: there is none."""
        if self._next is None or (self._until is not None and self._next >= self._until):
            return None
        return self._next * PULSES_PER_TICK

    def due(self, pulse: int) -> list[PlannedNote]:
        """The clicks up to `pulse`, each once."""
        clicks = []
        while (next_pulse := self.next_pulse()) is not None and next_pulse <= pulse:
            assert self._next is not None
            velocity = ACCENT if self._grid.beat_at(self._next).in_bar == 0 else PLAIN
            clicks.append(PlannedNote(next_pulse, self._channel, self._key, velocity, CLICK_PULSES))
            self._next = self._grid.next_count(self._next + 1)
        return clicks


class Taps:
    """Taps by host time: the tempo is the median of the last few intervals."""

    def __init__(self) -> None:
        self._taps_ns: deque[int] = deque(maxlen=LAST_TAPS)

    def tap(self, ns: int) -> float | None:
        """A tap. Returns the length of a beat in ns; None after the first tap, and for one that bounced."""
        if self._taps_ns:
            apart = ns - self._taps_ns[-1]
            if 0 <= apart < FASTEST_TAP_NS:
                return None
            if not 0 <= apart <= SLOWEST_TAP_NS:
                self._taps_ns.clear()
        self._taps_ns.append(ns)
        return median(b - a for a, b in pairwise(self._taps_ns)) if len(self._taps_ns) > 1 else None
