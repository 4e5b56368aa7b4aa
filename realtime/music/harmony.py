"""Which chord sounds in each beat, estimated from the notes. Pure numpy.

A linear-chain conditional random field (Lafferty, McCallum and Pereira, ICML 2001) over the beats:

    score of a row of chords = sum of emission(beat, chord) + sum of transition(chord before, chord, place of the beat in the bar)

The emission is a network of two hidden layers (`realtime.music.chord_features` says what it sees). It counts pitch classes
from a root and scores each quality over that root, once for each of the twelve roots: what it has learned holds in every key,
and its wide windows show it the key. Between two different chords a transition depends on their qualities and on the interval
of their roots; to stay on a chord depends on its quality, and on whether the beat begins a bar, is its middle, or neither.
`models.training.harmony` fits both at once to annotated pieces, by maximum conditional likelihood.

Looking ahead (`ahead`), the estimate of a beat comes from the whole piece: forward-backward. Otherwise it comes from what has
been heard until the end of the beat: forward alone, and all windows after the beat are empty. In each beat the likeliest triad
or suspended chord is taken, then the likeliest quality of it.

No chord is a rule: nothing but drums has sounded for more than `chord_features.SILENT_BEATS` beats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from realtime.music.chord_features import AHEAD, FACTS, PLACES, WINDOWS, Features, features, recent_features
from realtime.music.chords import CHORDS, MAJOR_MINOR, NO_CHORD, QUALITIES, UNKNOWN, quality_of, root_of, symbol
from realtime.music.keys import Key
from realtime.music.metre import TICKS

STATES = CHORDS - 1
"""The chords, in the order of their classes from 1 on."""
RECENT = 16
"""A chord that is heard follows from the chords of so many beats; what they follow from is farther away than matters."""
CHUNK = 2048
"""Beats whose emissions are computed at once."""
SHAPES = {
    "windows": (-1, len(WINDOWS), 12), "facts": (-1, FACTS), "bias_1": (-1,), "weight_2": (-1, -1), "bias_2": (-1,),
    "weight_3": (len(QUALITIES), -1), "bias_3": (len(QUALITIES),), "change": (len(QUALITIES), len(QUALITIES), 12),
    "stay": (PLACES, len(QUALITIES)),
}  # fmt: skip
"""The fitted arrays; -1 is a hidden layer's width. `change`: quality before, quality, interval upwards of the roots."""
_NOT_AHEAD = np.arange(FACTS, dtype=np.float32) < FACTS - 1
_QUALITY, _ROOT = np.divmod(np.arange(STATES), 12)
_GROUP = np.equal.outer(np.unique(MAJOR_MINOR[1:CHORDS]), MAJOR_MINOR[1:CHORDS]).astype(np.float64)
"""(36, 108): which chords are reduced to each triad or suspended chord."""


class Estimate(NamedTuple):
    """Of each beat the chord's class, (B,) uint8, and the probability that it is this one, (B,) float32."""

    chord: np.ndarray
    sure: np.ndarray


class Harmony:
    """The fitted estimator. `weights`: float arrays as in `SHAPES`. Raises ValueError where they do not fit."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        w = fitted(weights, SHAPES)
        self._windows = by_root(w["windows"])
        self._w = w
        change = w["change"].astype(np.float64)[_QUALITY[:, None], _QUALITY, (_ROOT - _ROOT[:, None]) % 12]
        np.fill_diagonal(change, -np.inf)
        self._change, self._stay = np.exp(change), np.exp(w["stay"].astype(np.float64)[:, _QUALITY])

    def emission(self, seen: Features, ahead: bool) -> np.ndarray:
        """(B, 108) float32, nats up to a constant a beat."""
        w, rows = self._w, []
        counted = len(WINDOWS) if ahead else AHEAD
        enter = self._windows[:, : counted * 12]
        for start in range(0, len(seen.place), CHUNK):
            windows, facts = seen.windows[start : start + CHUNK, :counted], seen.facts[start : start + CHUNK]
            if not ahead:
                facts = facts * _NOT_AHEAD
            x = windows.reshape(len(facts), -1) @ enter + (facts @ w["facts"].T + w["bias_1"])
            x = np.maximum(np.maximum(x, 0) @ w["weight_2"].T + w["bias_2"], 0) @ w["weight_3"].T + w["bias_3"]
            rows.append(x.transpose(1, 2, 0).reshape(len(facts), STATES))
        return np.concatenate(rows)

    def posterior(
        self, notes: np.ndarray, beats: np.ndarray, ahead: bool = True, given: np.ndarray | None = None
    ) -> np.ndarray:
        """(B, 109) probabilities of the classes in each beat. notes: of all voices, (N,) with onset, duration, pitch, part;
        beats: (B,) with the fields of `chord_features.BEAT`; given: (B,) classes that are known, `UNKNOWN` elsewhere."""
        if not len(beats):
            return np.zeros((0, CHORDS))
        seen = features(notes, beats)
        return self._decoded(self.emission(seen, ahead), seen.place, seen.silent, ahead, given)

    def estimate(
        self, notes: np.ndarray, beats: np.ndarray, ahead: bool = True, given: np.ndarray | None = None
    ) -> Estimate:
        """The likeliest chord of each beat, arguments as in `posterior`."""
        return likeliest(self.posterior(notes, beats, ahead, given))

    def heard(self, notes: np.ndarray, beats: np.ndarray) -> np.ndarray:
        """(109,) probabilities of the classes in the last of `beats`, from the notes until now: what a player of the moment
        knows. Notes and beats further back than `FAR + RECENT` beats make no difference, so the cost is bounded."""
        recent = recent_features(notes, beats, RECENT)
        now: np.ndarray = self._decoded(self.emission(recent, False), recent.place, recent.silent, False, None)[-1]
        return now

    def _decoded(
        self, emission: np.ndarray, place: np.ndarray, silent: np.ndarray, ahead: bool, given: np.ndarray | None
    ) -> np.ndarray:
        """(B, 109) from the emissions of beats in a row."""
        fits = np.exp(emission.astype(np.float64) - emission.max(1, keepdims=True))
        fits[silent] = 1
        none = silent
        if given is not None:
            known = (given != UNKNOWN) & (given != NO_CHORD)
            fits[known] = np.arange(1, CHORDS) == given[known, None]
            none = (silent & ~known) | (given == NO_CHORD)
        forward = self._forward(fits, place)
        if ahead:
            forward *= self._backward(fits, place)
        out = np.zeros((len(fits), CHORDS))
        out[:, 1:] = forward / forward.sum(1, keepdims=True)
        out[none] = np.arange(CHORDS) == NO_CHORD
        return out

    def _forward(self, fits: np.ndarray, place: np.ndarray) -> np.ndarray:
        rows = np.empty_like(fits)
        row = fits[0]
        for beat in range(len(fits)):
            if beat:
                row = (row @ self._change + row * self._stay[place[beat]]) * fits[beat]
            row = row / row.sum()
            rows[beat] = row
        return rows

    def _backward(self, fits: np.ndarray, place: np.ndarray) -> np.ndarray:
        rows = np.empty_like(fits)
        rows[-1] = row = np.full(STATES, 1 / STATES)
        for beat in range(len(fits) - 1, 0, -1):
            row = row * fits[beat]
            row = self._change @ row + row * self._stay[place[beat]]
            row = row / row.sum()
            rows[beat - 1] = row
        return rows


def fitted(weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of an estimator in float32. Raises ValueError where one is missing or has another shape; -1 is any length."""
    for name, shape in shapes.items():
        have = weights[name].shape if name in weights else ()
        if len(have) != len(shape) or any(want not in (-1, size) for size, want in zip(have, shape, strict=True)):
            raise ValueError(f"weights of a chord estimator have {name} of {shape}; here it is {have}")
    return {name: np.asarray(weights[name], np.float32) for name in shapes}


def by_root(windows: np.ndarray) -> np.ndarray:
    """(12, W * 12, hidden) of the first layer (hidden, W, 12): once for each root, as products of few beats need no threads."""
    rolled = np.stack([np.roll(windows, root, axis=-1) for root in range(12)])
    return rolled.reshape(12, len(windows), -1).swapaxes(1, 2)


def likeliest(posterior: np.ndarray) -> Estimate:
    """The chord of each beat from (B, 109) probabilities: of the likeliest triad or suspended chord the likeliest quality."""
    chords = posterior[:, 1:]
    groups = chords @ _GROUP.T
    inside = _GROUP[groups.argmax(1)] > 0
    best = 1 + np.where(inside, chords, -1).argmax(1)
    best[posterior[:, NO_CHORD] > groups.max(1)] = NO_CHORD
    return Estimate(best.astype(np.uint8), posterior[np.arange(len(best)), best].astype(np.float32))


def chord_spans(found: Estimate, beats: np.ndarray, key: Key) -> list[dict[str, Any]]:
    """The chords in order: {start, end (quarters from the start of the file), root (0 to 11, or null), quality ("none" without a
    chord), symbol, sure (mean probability of its beats)}. Equal chords in a row are one span."""
    opens = np.flatnonzero(np.concatenate([[True], np.diff(found.chord.astype(int)) != 0]))
    rows = []
    for first, last in zip(opens, [*opens[1:], len(beats)], strict=True):
        chord = int(found.chord[first])
        rows.append(
            {
                "start": float(beats["start"][first]) / TICKS,
                "end": float(beats["start"][last - 1] + beats["length"][last - 1]) / TICKS,
                "root": root_of(chord),
                "quality": quality_of(chord) or "none",
                "symbol": symbol(chord, key),
                "sure": round(float(found.sure[first:last].mean()), 3),
            }
        )
    return rows
