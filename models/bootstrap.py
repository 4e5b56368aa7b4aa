"""The bootstrap by song, or by piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 1000


def resampled(nats: np.ndarray, notes: np.ndarray, songs: np.ndarray) -> np.ndarray:
    """Bootstrap: (RESAMPLES,) nats per note of songs drawn anew, the same songs in every call with the same `songs`.

    nats, notes: (pieces,); songs: (pieces,), what song a piece belongs to.
    """
    _, song = np.unique(songs, return_inverse=True)
    nats, notes = np.bincount(song, nats), np.bincount(song, notes)
    draws = np.random.default_rng(0).integers(0, len(nats), (RESAMPLES, len(nats)))
    return nats[draws].sum(1) / notes[draws].sum(1)


class Mean(NamedTuple):
    """A mean and its 95 % interval by piece."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean(values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray | None = None) -> Mean:
    """Of one value a piece; what is not a number does not count. weights: the sum of the values over the sum of these in place of
    the mean. Not a number where no value counts."""
    values = np.asarray(values, float)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    there = np.isfinite(values)
    values, weights = values[there], weights[there]
    if not len(values):
        return Mean(np.nan, np.nan, np.nan)
    found = resampled(values, weights, np.arange(len(values)))
    return Mean(round(float(values.sum() / weights.sum()), 4), *interval(found))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(values, (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)
