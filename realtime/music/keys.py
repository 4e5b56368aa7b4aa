"""Scales and keys: names, pitch classes (C = 0), and the key that notes are in. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "chromatic": tuple(range(12)),
}

# Krumhansl and Kessler 1982, as printed in Krumhansl, Cognitive Foundations of Musical Pitch (1990), p. 30; from the tonic.
PROFILES = {
    "major": np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88]),
    "minor": np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]),
}

KEY_SCALES = {"major": SCALES["major"], "minor": tuple(sorted({*SCALES["minor"], 11}))}
"""What counts as in the key; in minor both sevenths do."""


class Key(NamedTuple):
    """Tonic pitch class 0..11 and "major" or "minor"."""

    tonic: int
    scale: str

    @property
    def pitch_classes(self) -> frozenset[int]:
        """What is in the key."""
        return frozenset((self.tonic + degree) % 12 for degree in KEY_SCALES[self.scale])

    @property
    def triad(self) -> frozenset[int]:
        """The tonic triad."""
        return frozenset((self.tonic + degree) % 12 for degree in (0, 4 if self.scale == "major" else 3, 7))


_KEYS = [Key(tonic, scale) for scale in PROFILES for tonic in range(12)]

_FITS = np.stack(
    [
        np.roll((PROFILES[key.scale] - PROFILES[key.scale].mean()) / PROFILES[key.scale].std(), key.tonic)
        for key in _KEYS
    ]
)
"""Of each key the profile (24, 12) with mean 0 and deviation 1: its product with weights orders the keys by correlation."""


def best_key(weights: np.ndarray) -> Key:
    """The key whose profile correlates best with the weights (12,) of the pitch classes (the algorithm of Krumhansl and
    Schmuckler: Krumhansl 1990, chapter 4). C major where all weigh the same."""
    if weights.std() == 0:
        return Key(0, "major")
    return _KEYS[int(np.argmax(_FITS @ (weights - weights.mean())))]


def key_of(notes: np.ndarray) -> Key:
    """`best_key` of the time each pitch class sounds."""
    return best_key(np.bincount(notes["pitch"] % 12, weights=notes["duration"], minlength=12))
