"""The bootstrap by song."""

from __future__ import annotations

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


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(values, (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)
