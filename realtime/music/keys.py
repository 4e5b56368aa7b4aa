"""Scales and keys: names, pitch classes (C = 0), and the key that notes are in. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from realtime.errors import nearest

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
    """A tonic (pitch class 0..11) and the name of a scale (`SCALES`)."""

    tonic: int
    scale: str

    @property
    def pitch_classes(self) -> frozenset[int]:
        """What is in the key."""
        return frozenset((self.tonic + degree) % 12 for degree in KEY_SCALES.get(self.scale, SCALES[self.scale]))

    @property
    def triad(self) -> frozenset[int]:
        """The tonic triad."""
        return frozenset((self.tonic + degree) % 12 for degree in (0, 4 if 4 in SCALES[self.scale] else 3, 7))


KEYS = tuple(Key(tonic, scale) for scale in PROFILES for tonic in range(12))
"""The major and the minor keys."""

_FITS = np.stack(
    [np.roll((PROFILES[key.scale] - PROFILES[key.scale].mean()) / PROFILES[key.scale].std(), key.tonic) for key in KEYS]
)
"""Of each key the profile (24, 12) with mean 0 and deviation 1: its product with weights orders the keys by correlation."""


def best_key(weights: np.ndarray) -> Key:
    """The key whose profile correlates best with the weights (12,) of the pitch classes (the algorithm of Krumhansl and
    Schmuckler: Krumhansl 1990, chapter 4). C major where all weigh the same."""
    if weights.std() == 0:
        return Key(0, "major")
    return KEYS[int(np.argmax(_FITS @ (weights - weights.mean())))]


def key_of(notes: np.ndarray) -> Key:
    """`best_key` of the time each pitch class sounds."""
    return best_key(np.bincount(notes["pitch"] % 12, weights=notes["duration"], minlength=12))


NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}

ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}

PITCH_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
PITCH = r"(?:[A-Ga-g][#♯b♭]?-?\d|\d{1,3})"


def parse_key(given: object) -> Key | None:
    """Such as "F# dorian" -> Key(6, "dorian"); "C" is C major and "Am" A minor. Raises ValueError naming the nearest scale."""
    if given is None or isinstance(given, Key):
        return given
    pattern = r"([A-Ga-g])([#♯b♭]?)(m(?=\s*$))?(?:\s+(\S.*?))?\s*"
    match = re.fullmatch(pattern, given) if isinstance(given, str) else None
    if match is None:
        raise ValueError('allowed a note and a scale, as in "C", "A minor" or "F# dorian"')
    letter, accidental, short_minor, scale = match.groups()
    scale = " ".join(scale.lower().split()) if scale else ("minor" if short_minor else "major")
    if scale not in SCALES:
        raise ValueError(f"no scale {scale!r}{nearest(scale, list(SCALES))}; allowed {', '.join(SCALES)}")
    return Key((NATURALS[letter.upper()] + ACCIDENTALS[accidental]) % 12, scale)


def parse_pitch(given: object) -> int | None:
    """60, "60" or "C4" -> 60 (C4 is middle C). Raises ValueError outside 0..127."""
    if given is None:
        return None
    pitch = -1
    if isinstance(given, int) and not isinstance(given, bool):
        pitch = given
    elif isinstance(given, str) and re.fullmatch(r"\d{1,3}", given.strip()):
        pitch = int(given)
    elif isinstance(given, str) and (match := re.fullmatch(r"([A-Ga-g])([#♯b♭]?)(-?\d)", given.strip())):
        pitch = NATURALS[match[1].upper()] + ACCIDENTALS[match[2]] + 12 * (int(match[3]) + 1)
    if not 0 <= pitch <= 127:
        raise ValueError('allowed 0 to 127, or a note as in "C4" (middle C, 60)')
    return pitch


def pitch_name(pitch: int) -> str:
    """60 -> "C4"."""
    return f"{PITCH_NAMES[pitch % 12]}{pitch // 12 - 1}"


def parse_range(given: object) -> tuple[int, int]:
    """Such as "A0-C8", "36-84" or a pair -> (lowest, highest) pitch. Raises ValueError."""
    ends: list[object] = list(given) if isinstance(given, list | tuple) else []
    if isinstance(given, str) and (match := re.fullmatch(rf"\s*({PITCH})\s*-\s*({PITCH})\s*", given)):
        ends = [*match.groups()]
    try:
        low, high = (parse_pitch(end) for end in ends)
        if low is not None and high is not None and low <= high:
            return low, high
    except ValueError:
        pass  # not two ends, or not pitches: the same advice as for two in the wrong order
    raise ValueError('allowed two pitches, the lower first, as in "A0-C8" or "36-84"')
