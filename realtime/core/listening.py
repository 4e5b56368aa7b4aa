"""Hears tempo and beat from the player's own notes.

Every onset votes for the grids that it fits: a period (the beat) and a phase. On a beat counts most, on an eighth less, on
sixteenths and triplets least, and anything else speaks against the grid: so the fit is that of a comb of bell curves (compare
E. Scheirer, "Tempo and beat analysis of acoustic musical signals", 1998; here on onsets instead of sound). Which of two octaves
of a tempo is meant, no fit can tell: a log-normal curve around the tempo that was set decides, as people prefer tempos near two
beats a second. At first all grids are tried; once a beat is established, only those near it, so that it follows a rubato and
is not thrown by an ornament or a rest.

Times are host nanoseconds, tempos quarter notes a minute. One thread at a time.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

SLOWEST_BPM, FASTEST_BPM = 40.0, 240.0
CHORD_NS = 45_000_000
"""Onsets that are no further apart are one, rolled or not quite together."""
FEWEST = 4
"""From so many onsets on a beat is looked for."""
MEMORY_BEATS = 10.0
"""Onsets longer ago no longer count."""
SETTLED_BEATS = 8.0
"""After so many beats the beat is established."""
_STEPS = 1024
_STEP = 0.0125
"""Between neighbouring tempos that are tried, as a share."""
_LINES = 12
"""A beat lies on one of so many last onsets."""
_OCTAVES = 0.45
"""The standard deviation of the preference for tempos near the one that was set, in octaves."""
_PREFERENCE = 0.35
_WIDTH = 0.045
"""Of the bell curves, in beats."""
_AGAINST = 0.3
"""What an onset that fits nowhere counts against a grid."""
_COMB = {0: 1.0, 1 / 2: 0.72, 1 / 4: 0.3, 3 / 4: 0.36, 1 / 3: 0.2, 2 / 3: 0.28}
_FIRST = 0.25
"""What a grid gains if the first note of all is on the beat."""
_COVERED = 0.4
"""What a grid gains if there is an onset on every one of its beats."""


def _comb() -> np.ndarray:
    place = np.arange(_STEPS) / _STEPS
    fit = np.zeros(_STEPS)
    for at, height in _COMB.items():
        apart = np.abs(place - at)
        fit = np.maximum(fit, height * np.exp(-0.5 * (np.minimum(apart, 1 - apart) / _WIDTH) ** 2))
    return (fit - _AGAINST).astype(np.float32)


_FIT = _comb()
_ON = np.minimum(np.arange(_STEPS), _STEPS - np.arange(_STEPS)) < 0.1 * _STEPS
"""Whether a place is on the beat."""


class Beat(NamedTuple):
    """A grid of beats: one of them at `ns`, each `period_ns` long."""

    ns: float
    period_ns: float

    @property
    def bpm(self) -> float:
        """Its tempo."""
        return 60e9 / self.period_ns


class Listener:
    """Told of every onset; `beat` is what it hears, None before there are enough. `bpm`: the tempo that was set."""

    def __init__(self, bpm: float) -> None:
        self.beat: Beat | None = None
        self._usual_ns = 60e9 / bpm
        self._onsets: deque[list[float]] = deque(maxlen=64)  # [ns, weight]
        self._first_ns = 0

    @property
    def settled(self) -> bool:
        """Whether the beat is established."""
        return self.beat is not None and self._onsets[-1][0] - self._first_ns >= SETTLED_BEATS * self.beat.period_ns

    def restart(self) -> None:
        """The player begins anew: the tempo so far is only what is to be expected."""
        if self.beat is not None:
            self._usual_ns = self.beat.period_ns
        self.beat = None
        self._onsets.clear()

    def expect(self, period_ns: float) -> None:
        """A beat is to be this long: look for it anew."""
        self.restart()
        self._usual_ns = period_ns

    def onset(self, ns: int, velocity: int) -> Beat | None:
        """A note of `velocity` was struck. Returns the beat that is heard by now."""
        weight = 0.5 + velocity / 127
        if self._onsets and ns - self._onsets[-1][0] <= CHORD_NS:
            self._onsets[-1][1] = max(self._onsets[-1][1], weight) + 0.2
            return self.beat
        if not self._onsets:
            self._first_ns = ns
        self._onsets.append([ns, weight])
        settled = self.settled
        memory_ns = MEMORY_BEATS * (self.beat.period_ns if self.beat is not None else 60e9 / SLOWEST_BPM)
        while ns - self._onsets[0][0] > memory_ns:
            self._onsets.popleft()
        if len(self._onsets) >= FEWEST:
            self.beat = self._nearby() if settled else self._anywhere()
        return self.beat

    def _anywhere(self) -> Beat:
        tempos = np.arange(np.log(SLOWEST_BPM), np.log(FASTEST_BPM), _STEP)
        periods = 60e9 / np.exp(tempos)
        ago = self._onsets[-1][0] - np.array(self._onsets)[-_LINES:, 0]
        phases = (ago[None, :] / periods[:, None]) % 1.0
        first = ((phases - (self._onsets[-1][0] - self._first_ns) / periods[:, None]) * _STEPS).astype(
            np.int32
        ) % _STEPS
        return self._best(periods, phases, self._usual_ns, _FIRST * _ON[first])

    def _nearby(self) -> Beat:
        assert self.beat is not None
        periods = self.beat.period_ns * (1 + np.linspace(-0.05, 0.05, 21))
        ns = self._onsets[-1][0]
        beats = round((ns - self.beat.ns) / self.beat.period_ns)
        now = self.beat.ns + beats * self.beat.period_ns  # the beat nearest to the last onset, as it was expected
        phase = (np.linspace(-0.15, 0.15, 31)[None, :] + (ns - now) / periods[:, None]) % 1
        return self._best(periods, phase, self.beat.period_ns, np.zeros(phase.shape))

    def _best(self, periods: np.ndarray, phases: np.ndarray, usual_ns: float, bonus: np.ndarray) -> Beat:
        """The grid that the onsets fit best. `phases` (periods, n): how long before the last onset a beat lies, in beats;
        `bonus`: what each gains."""
        ns, weights = np.array(self._onsets).T
        last = ns[-1]
        ago = (last - ns)[None, :] / periods[:, None]  # (periods, onsets) in beats
        weights = weights * np.exp(-ago / MEMORY_BEATS)
        places = (((phases[:, :, None] - ago[:, None, :]) * _STEPS).astype(np.int32)) % _STEPS
        score = bonus + (_FIT[places] * weights[:, None, :]).sum(-1) / weights.sum(-1)[:, None]
        beats = ago[:, :1] + 1
        score += _COVERED * np.minimum(_ON[places].sum(-1) / beats, 1.0)
        octaves = np.log2(periods / usual_ns) / _OCTAVES
        score += (_PREFERENCE * (np.exp(-0.5 * octaves**2) - 1))[:, None]
        i, j = np.unravel_index(int(np.argmax(score)), score.shape)
        period = float(periods[i])
        return self._refined(Beat(last - float(phases[i, j]) * period, period))

    def _refined(self, beat: Beat) -> Beat:
        """The line through the onsets that lie on the grid: least squares over their places, the later ones counting more."""
        ns, weights = np.array(self._onsets).T
        place = (ns - beat.ns) / beat.period_ns
        grid = np.round(place * 4) / 4
        near = np.abs(place - grid) < 0.12
        weights = weights * np.exp(-(place[-1] - place) / MEMORY_BEATS) * near * np.where(grid % 1 == 0, 1.0, 0.6)
        if near.sum() < FEWEST or np.ptp(grid[near]) < 1.5:
            return beat
        mean_grid, mean_ns = (float((x * weights).sum() / weights.sum()) for x in (grid, ns))
        apart = grid - mean_grid
        period = float((weights * apart * (ns - mean_ns)).sum() / (weights * apart**2).sum())
        if abs(period / beat.period_ns - 1) > 0.06:
            return beat
        return Beat(mean_ns - mean_grid * period, period)
