"""Which chord the player's notes speak for: a bias on the chord that is drawn for a beat. Pure; times in ticks.

A decoder that goes along with a player knows what it has drawn before, and follows that more than what it hears. The estimator
(`realtime.music.tune_harmony`) knows only the player's notes, up to this moment. The chord is drawn from the product of both (a
product of experts: Hinton, Neural Computation 2002), times how well each chord fits by expectation: a tune leaves its chord open,
and of several that are as likely the one is best that goes with the others too (the decision of minimum Bayes risk: Kumar and
Byrne, HLT-NAACL 2004).
"""

from __future__ import annotations

import numpy as np

from realtime.composing.contract import DRAWN
from realtime.core.dialogue import PlayerNote
from realtime.music.chord_features import FAR, beats_of
from realtime.music.chords import CHORDS, MAJOR_MINOR, MEMBERS, NO_CHORD
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.notes import NOTE
from realtime.music.tune_harmony import RECENT, TuneHarmony

WEIGHT, FIT_WEIGHT = 12.0, 20.0
"""Of the logarithms of the estimator's probability and of the expected fit, beside the decoder's 1. Chords missed in the first
eight tunes each (`models.charts --seed 3`) of pop909, OpenEWLD and the lieder, with the first 12 and the second 0: .29; with 12
and 20: .28; with 0 and 100: .27. But with the last pair the decoder has no say: a tune in C ends on A minor, because F was
possible too."""
SHARED, SHARE, ROOT, TRIAD = 0.125, 0.375, 0.125, 0.375
"""How well one chord fits where another was meant: that they share two tones, which share of its tones is in the other, that both
have one root, that both have one root and the same kind of third. Block chords of the best fit miss .20 of the chords of 72
tunes, those of the likeliest chord .25; in .35 and .34 of the beats root and third are right. Without the last term .18 are
missed, and .30 right."""
LEAST, LEAST_FIT = 1e-4, 0.01
"""The probability, and the fit, that every chord has at least: the decoder knows things too."""
KEPT = 512
"""Notes that are remembered at most: no more than these fit into the beats that count."""
HELD = 0
"""The duration of a key that is still down."""


def _fit() -> np.ndarray:
    """(109, 109) from 0 to 1: how well the chord of a row fits where that of a column was meant. `NO_CHORD` fits itself and
    nothing else."""
    members = MEMBERS[:CHORDS].astype(int)
    common, tones = members @ members.T, np.maximum(members.sum(1, keepdims=True), 1)
    roots = (np.arange(CHORDS) - 1) % 12
    triads = MAJOR_MINOR[:CHORDS]
    fit: np.ndarray = SHARED * (common >= 2) + SHARE * common / tones
    fit += ROOT * (roots[:, None] == roots) + TRIAD * (triads[:, None] == triads)
    fit[NO_CHORD], fit[:, NO_CHORD] = 0, 0
    fit[NO_CHORD, NO_CHORD] = 1
    return fit


FIT = _fit()
"""See `_fit`: a product with probabilities (109,) gives the expected fit of each chord."""


class ChordHearing:
    """See the module's docstring. The player's notes are never taken back."""

    def __init__(self, harmony: TuneHarmony, grid: BeatGrid) -> None:
        self._harmony, self._grid = harmony, grid
        self._notes = np.zeros(2 * KEPT, NOTE)
        self._count = 0
        self._found: tuple[Beat, np.ndarray] | None = None
        """The bias that was found last, and for which beat; None when the player has done something since."""

    def clear(self) -> None:
        """Time goes on from another tick."""
        self._count, self._found = 0, None

    def key_down(self, note: PlayerNote) -> None:
        """The player's key went down."""
        if self._count == len(self._notes):
            self._notes[:KEPT] = self._notes[KEPT:]
            self._count = KEPT
        self._notes[self._count] = note.tick, HELD, note.pitch, note.velocity, note.part
        self._count += 1
        self._found = None

    def key_up(self, tick: int, pitch: int) -> None:
        """The player's key went up."""
        self._found = None
        notes = self._notes[: self._count]
        for row in np.flatnonzero((notes["pitch"] == pitch) & (notes["duration"] == HELD)).tolist():
            notes["duration"][row] = max(tick - int(notes["onset"][row]), 1)

    def bias(self, beat: Beat) -> np.ndarray:
        """(110,) nats for the chord of a beat of which only the beginning has been heard: none while nothing was."""
        if self._found is None or self._found[0] != beat:
            self._found = beat, self._estimate(beat)
        return self._found[1]

    def _estimate(self, beat: Beat) -> np.ndarray:
        nats = np.zeros(DRAWN["chord"], np.float32)
        middle = beat.start + beat.length // 2
        notes = self._notes[: self._count]
        notes = notes[(notes["onset"] < middle) & (notes["onset"] > beat.start - (FAR + RECENT) * TICKS)].copy()
        if not len(notes):
            return nats
        held = notes["duration"] == HELD
        notes["duration"][held] = np.maximum(middle - notes["onset"][held], 1)
        beats = beats_of(self._grid, max(beat.start - (FAR + RECENT - 1) * TICKS, 0), beat.start + 1)
        heard = self._harmony.heard(notes, beats)
        nats[: len(heard)] = WEIGHT * np.log(heard + LEAST) + FIT_WEIGHT * np.log(FIT @ heard + LEAST_FIT)
        return nats
