"""Which chord a tune speaks for, in each beat, as it is being played. Pure numpy.

A gated recurrent unit (Cho et al., EMNLP 2014) over the beats, once for each of the twelve possible roots, with the same weights:
it sees the pitch classes of the past and of the beat's first half (`realtime.music.chord_features`), counted from the root, and
scores each quality over that root. So what it has learned holds in every key. A softmax over all roots and qualities gives the
probabilities. `models.training.tune_harmony` fits it to the tunes of annotated pieces.

The conditional random field of `realtime.music.harmony`, fitted to the same tunes, is right less often (it has the root in .40 of
the validation beats, this in .42, means of three sources) and far too sure (4.8 nats a beat; 2.6). An accompaniment that went by
it missed .32 of the chords of 72 tunes; by this one, .29.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realtime.music.chord_features import AHEAD, FACTS, WINDOWS, recent_features
from realtime.music.chords import CHORDS, NO_CHORD, QUALITIES
from realtime.music.harmony import by_root, fitted

SEEN = [i for i, window in enumerate(WINDOWS[:AHEAD]) if "second half" not in window]
"""The windows that are seen: when a chord is due, the beat has only begun."""
TOLD = FACTS - 1
"""Facts that are seen: all but whether it looks ahead."""
RECENT = 8
"""It has heard so many beats, whose windows reach back much farther; with all of them it is right no more often."""


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Of the fitted arrays. In `now`, `before` and their biases come the reset, the update and the new state, as torch orders
    them."""
    return {
        "windows": (hidden, len(SEEN), 12), "facts": (hidden, TOLD), "bias": (hidden,),
        "now": (3 * hidden, hidden), "bias_now": (3 * hidden,), "before": (3 * hidden, hidden), "bias_before": (3 * hidden,),
        "join": (hidden, 2 * hidden), "bias_join": (hidden,), "leave": (len(QUALITIES), hidden), "bias_leave": (len(QUALITIES),),
    }  # fmt: skip


class TuneHarmony:
    """The fitted estimator. `weights`: float arrays as in `shapes`. Raises ValueError where they do not fit."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        hidden = len(weights["bias"]) if "bias" in weights and weights["bias"].ndim else -1
        w = self._w = fitted(weights, shapes(hidden))
        self._windows = by_root(w["windows"])

    def heard(self, notes: np.ndarray, beats: np.ndarray) -> np.ndarray:
        """(109,) probabilities of the classes in the last of `beats` ((B,), with the fields of `chord_features.BEAT`), from the
        notes of the tune until its middle ((N,) with onset, duration, pitch, part). Notes and beats further back than
        `FAR + RECENT` beats make no difference, so the cost is bounded."""
        seen = recent_features(notes, beats, RECENT)
        chords = np.zeros(CHORDS)
        if seen.silent[-1]:
            chords[NO_CHORD] = 1
            return chords
        scores = self._scores(seen.windows[:, SEEN], seen.facts[:, :TOLD])
        fits = np.exp(scores - scores.max())
        chords[1:] = fits / fits.sum()
        return chords

    def _scores(self, windows: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """(108,) of the last of some beats: windows (B, 10, 12), facts (B, 6)."""
        w = self._w
        x = windows.reshape(len(facts), -1) @ self._windows + (facts @ w["facts"].T + w["bias"])
        x = np.maximum(x, 0)  # (12, B, H)
        now = x @ w["now"].T + w["bias_now"]
        width = x.shape[2]
        state = np.zeros((12, width), np.float32)
        for beat in range(len(facts)):
            before = state @ w["before"].T + w["bias_before"]
            gates = 1 / (1 + np.exp(-(now[:, beat, : 2 * width] + before[:, : 2 * width])))
            reset, update = gates[:, :width], gates[:, width:]
            new = np.tanh(now[:, beat, 2 * width :] + reset * before[:, 2 * width :])
            state = (1 - update) * new + update * state
        x = np.maximum(np.concatenate([x[:, -1], state], 1) @ w["join"].T + w["bias_join"], 0)
        scores: np.ndarray = (x @ w["leave"].T + w["bias_leave"]).T.ravel().astype(np.float64)
        return scores
