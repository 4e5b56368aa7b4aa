"""Which chord a tune speaks for, in each beat, as it is being played. Pure numpy.

A gated recurrent unit (Cho et al., EMNLP 2014) over the beats, once for each of the twelve possible roots, with the same weights:
it sees the pitch classes of the past and of the beat's first half (`realtime.music.chord_features`), counted from the root, and
scores each quality over that root. So what it has learned holds in every key. A softmax over all roots and qualities gives the
probabilities. `models.training.tune_harmony` fits it to the tunes of annotated pieces, and of others whose chords are estimated
from all voices.

As long as too little has been heard to tell the key, the roots that are common in these pieces are the likelier ones: in C, G or
F more is written than in A flat. Without that, a single C spoke for A flat above all, whose third it is. On 144 tunes the chord
of the first beat that sounds then has the right root in .45 of the cases, and that of the first eight beats in .45; with earlier
weights, without the common roots, in .37 and .43. (How much they count was chosen on these tunes.)

The conditional random field of `realtime.music.harmony`, fitted to the same tunes, is right less often (it has the root in .40 of
the validation beats, this in .43, means of three sources) and far too sure (4.8 nats a beat; 2.5). An accompaniment that went by
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
BEGINNING, PAST = WINDOWS.index("first half"), WINDOWS.index("64 beats before")
KEY_KNOWN = 5
"""From so many pitch classes on, the key counts as known."""
RECENT = 8
"""It has heard so many beats, whose windows reach back much farther; with all of them it is right no more often."""


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Of the fitted arrays. In `now`, `before` and their biases come the reset, the update and the new state, as torch orders
    them; `roots` is the logarithm of how common each root is."""
    return {
        "windows": (hidden, len(SEEN), 12), "facts": (hidden, TOLD), "bias": (hidden,),
        "now": (3 * hidden, hidden), "bias_now": (3 * hidden,), "before": (3 * hidden, hidden), "bias_before": (3 * hidden,),
        "join": (hidden, 2 * hidden), "bias_join": (hidden,), "leave": (len(QUALITIES), hidden), "bias_leave": (len(QUALITIES),),
        "roots": (12,),
    }  # fmt: skip


class TuneHarmony:
    """The fitted estimator. `weights`: float arrays as in `shapes`. Raises ValueError where they do not fit.

    It keeps what it computed last, and gives the same whatever that was: composers and threads may share one."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        hidden = len(weights["bias"]) if "bias" in weights and weights["bias"].ndim else -1
        w = self._w = fitted(weights, shapes(hidden))
        roots = by_root(w["windows"])
        facts = np.broadcast_to(w["facts"].T, (len(roots), *w["facts"].T.shape))
        self._enter = np.concatenate([roots, facts], 1)
        """(12, 126, H): from what is seen of a beat to its hidden row over each root."""
        self._past = np.zeros((0, self._enter.shape[1]), np.float32), np.zeros((len(roots), hidden), np.float32)
        """The beats before the last one that was estimated, as they were seen (B - 1, 126), and the state after them. A beat is
        estimated as it begins and again when its note is heard: mostly nothing before it has changed."""

    def heard(self, notes: np.ndarray, beats: np.ndarray) -> np.ndarray:
        """(109,) probabilities of the classes in the last of `beats` ((B,), with the fields of `chord_features.BEAT`), from the
        notes of the tune until its middle ((N,) with onset, duration, pitch, part). Notes and beats further back than
        `FAR + RECENT` beats make no difference, so the cost is bounded."""
        seen = recent_features(notes, beats, RECENT)
        chords = np.zeros(CHORDS)
        if seen.silent[-1]:
            chords[NO_CHORD] = 1
            return chords
        windows = seen.windows[:, SEEN].reshape(len(seen.facts), -1)
        scores = self._scores(np.concatenate([windows, seen.facts[:, :TOLD]], 1))
        if (seen.windows[-1, [BEGINNING, PAST]] > 0).any(0).sum() < KEY_KNOWN:
            scores += np.tile(self._w["roots"], len(QUALITIES))
        fits = np.exp(scores - scores.max())
        chords[1:] = fits / fits.sum()
        return chords

    def _scores(self, seen: np.ndarray) -> np.ndarray:
        """(108,) of the last of some beats: (B, 126), their ten windows and six facts."""
        w = self._w
        before, state = self._past
        if not np.array_equal(before, seen[:-1]):
            state = np.zeros_like(state)
            for row in self._rows(seen[:-1]):
                state = self._next(row, state)
            self._past = seen[:-1], state
        row = self._rows(seen[-1:])[0]
        x = np.maximum(np.concatenate([row, self._next(row, state)], 1) @ w["join"].T + w["bias_join"], 0)
        scores: np.ndarray = (x @ w["leave"].T + w["bias_leave"]).T.ravel().astype(np.float64)
        return scores

    def _rows(self, seen: np.ndarray) -> np.ndarray:
        """(B, 12, H) of beats (B, 126), for each root."""
        rows: np.ndarray = np.maximum((seen @ self._enter).swapaxes(0, 1) + self._w["bias"], 0)
        return rows

    def _next(self, row: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The unit's state (12, H) after one more beat."""
        w = self._w
        now, before = row @ w["now"].T + w["bias_now"], state @ w["before"].T + w["bias_before"]
        width = state.shape[1]
        gates = 1 / (1 + np.exp(-(now[:, : 2 * width] + before[:, : 2 * width])))
        reset, update = gates[:, :width], gates[:, width:]
        new = np.tanh(now[:, 2 * width :] + reset * before[:, 2 * width :])
        after: np.ndarray = (1 - update) * new + update * state
        return after
