"""The keys that the chords of a chart are in, and the scale of each chord. Pure.

The key of each bar is the likeliest row of keys, by the algorithm of Viterbi: what is outside of a key costs, and so does leaving
it. The scale of a chord is, of the scales with seven notes that contain it, the one that has most notes of the key; of two, the
one without the other third of the chord: E7 in C major is played with A harmonic minor, which has no G.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from realtime.music.chart import Bar, Chart
from realtime.music.chords import quality_of, root_of
from realtime.music.keys import KEYS, Key
from realtime.music.symbols import Symbol

SEVEN_NOTES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "melodic minor": (0, 2, 3, 5, 7, 9, 11),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "harmonic major": (0, 2, 4, 5, 7, 8, 11),
}
"""In this order where two have as many notes of the key."""
SYMMETRIC = ((0, 2, 4, 6, 8, 10), (0, 2, 3, 5, 6, 8, 9, 11), (0, 1, 3, 4, 6, 7, 9, 10))
"""Whole tone and the two octatonic scales, from the root: for chords that lie in no other."""
OUTSIDE, HOME, DOMINANT, LEAVING = 1.0, 0.6, 0.3, 2.5
"""Of a key: for each tone of a chord outside of it; for a chord that is its tonic triad, or on its dominant; for leaving it."""
_SETS = [
    frozenset((tonic + degree) % 12 for degree in degrees) for degrees in SEVEN_NOTES.values() for tonic in range(12)
]


@cache
def scale_of(tones: frozenset[int], root: int, key: Key) -> frozenset[int]:
    """The pitch classes to play over a chord of these tones in a key, the chord's own among them."""
    home = key.pitch_classes
    if not tones:
        return home
    fitting = [scale for scale in _SETS if tones <= scale]
    fitting = fitting or [
        scale for degrees in SYMMETRIC if tones <= (scale := frozenset((root + degree) % 12 for degree in degrees))
    ]
    minor, major = ((root + third) % 12 for third in (3, 4))
    other = {minor, major} - tones if {minor, major} & tones else set()
    return max(fitting, key=lambda scale: (len(scale & home), -len(scale & other)), default=tones)


@lru_cache(maxsize=16)
def keys_of(chart: Chart) -> tuple[Key, ...]:
    """The key of each bar of a chart, in the order in which they are played: the one that it names, else as estimated."""
    bars = chart.bars
    if chart.key is not None:
        return (chart.key,) * len(bars)
    fits = np.array([_fit(bar) for bar in bars])
    path = _likeliest(np.concatenate([fits, fits]))  # as a chart begins again after its end
    return tuple(KEYS[number] for number in path[len(bars) :])


def _fit(bar: Bar) -> list[float]:
    """How well the chords of a bar fit each of `KEYS`, a mean."""
    symbols = [symbol for symbol in bar if symbol.tones]
    return [sum(_fits(symbol, key) for symbol in symbols) / max(len(symbols), 1) for key in KEYS]


@cache
def _fits(symbol: Symbol, key: Key) -> float:
    root, quality = root_of(symbol.chord), quality_of(symbol.chord)
    fit = -OUTSIDE * len(symbol.tones - key.pitch_classes)
    if root == key.tonic and quality in (("maj", "maj7") if key.scale == "major" else ("min", "min7")):
        fit += HOME
    elif root == (key.tonic + 7) % 12 and quality in ("maj", "dom7"):
        fit += DOMINANT
    return fit


def _likeliest(fits: np.ndarray) -> list[int]:
    """The row of keys with the highest sum. fits: (bars, 24)."""
    score, back = fits[0], []
    for fit in fits[1:]:
        best = int(score.argmax())
        stays = score >= score[best] - LEAVING
        back.append(np.where(stays, np.arange(len(score)), best))
        score = np.where(stays, score, score[best] - LEAVING) + fit
    path = [int(score.argmax())]
    for before in reversed(back):
        path.append(int(before[path[-1]]))
    return path[::-1]


@cache
def pitches_of(classes: frozenset[int]) -> np.ndarray:
    """(128,) bool: the MIDI pitches of some pitch classes. The array is kept: do not change it."""
    pitches: np.ndarray = np.isin(np.arange(128) % 12, list(classes))
    return pitches
