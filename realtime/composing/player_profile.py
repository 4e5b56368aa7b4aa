"""A profile of the player's last notes, and the biases that make Antiphon's notes fit them: voices, register, key, consonance,
density and loudness.

The model was trained on many kinds of music, and a short tune alone does not say which kind it belongs to, how loud the answer
should be or which of two related keys is meant. The biases are not masks: they are nats added to the logits, small enough for the
model to overrule them where it is certain. What depends only on the player's notes is computed once a note at most.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from realtime.composing.loudness import Loudness
from realtime.core.dialogue import PlayerNote
from realtime.music.keys import Key, best_key
from realtime.music.metre import TICKS
from realtime.music.vocabulary import MELODY, Role

NOTES = 48
"""How many of the player's last notes count."""
KEY_AFTER = 4
"""A key is estimated from this many notes on."""
KEY_FADES = 0.96
"""The weight of a note in the estimate of the key, relative to the note after it: a new key is found after a bar or two."""
FRESH = 16
"""The pitch classes of this many last notes have no bias, also where they lie outside the estimated key: the player means
them."""
OUT_OF_KEY_NATS = -3.0
"""For every other pitch class outside the key."""
MARGIN = 5
"""Semitones by which an answer may leave the player's range without a bias."""
NATS_PER_SEMITONE, FARTHEST_NATS = -0.4, -6.0
"""The bias beyond an allowed range of pitches: for each semitone, and the most."""
DISSONANT_NATS = -3.5
DISSONANT = (1, 2, 6, 10, 11)
"""For these intervals (semitones, octaves ignored) with a key that is held: seconds, sevenths and the tritone."""
FREQUENT_NATS, FREQUENT_FADES = 2.0, 0.8
"""In an accompaniment, the bias of the tune's most frequent pitch class, and the weight of a note in this count relative to the
note after it. A tune outlines its harmony, and the accompaniment of a note is chosen before that note is known."""
DOUBLED_NATS = -1.5
"""In a harmony, for the pitch class of a held key, up to an octave away."""
OPEN_FIFTH_NATS = -0.5
"""In a harmony, for a fifth below a held key: several in a row would be parallel fifths."""
HARMONY = (-14, -3)
"""The range of a harmony: semitones from the highest held key."""
RATE_REST = 2 * TICKS
"""A rest counts as at most this many ticks in the estimate of the player's density."""

_APART = (np.arange(128)[:, None] - np.arange(128)[None, :]).astype(np.int64)
_DISSONANT = np.isin(_APART % 12, DISSONANT)
_SEMITONES = np.isin(_APART % 12, (1, 11))
_DOUBLED = (_APART % 12 == 0) & (abs(_APART) <= 12)
_FIFTH_BELOW = (_APART < 0) & (_APART % 12 == 5)
"""(pitch, key) bool."""
_CLASSES = np.arange(128) % 12


class _Summary(NamedTuple):
    """What follows from the notes that count: their pitches, oldest first; key and rate as in `PlayerProfile`; the biases of the
    pitches outside the key and of the frequent ones, (128,) float32; the range of an answer."""

    pitches: list[int]
    key: Key | None
    rate: float | None
    outside: np.ndarray
    frequent: np.ndarray
    range: tuple[int, int]


_NO_BIAS = np.zeros(128, np.float32)
_NOTHING = _Summary([], None, None, _NO_BIAS, _NO_BIAS, (0, 127))


class PlayerProfile:
    """Built up note by note. Nothing is taken back, because a revision changes only Antiphon's notes."""

    def __init__(self) -> None:
        self._notes: deque[PlayerNote] = deque(maxlen=NOTES)
        self._voices: deque[int] = deque(maxlen=NOTES)
        self._made: _Summary | None = _NOTHING
        self.loudness = Loudness()

    def add(self, note: PlayerNote, keys_down: int) -> None:
        """The player pressed a key; `keys_down` is how many are down now, this one included."""
        self._notes.append(note)
        self._voices.append(keys_down)
        self._made = None
        self.loudness.add(note)

    @property
    def key(self) -> Key | None:
        """The key of the last notes; None before there are enough."""
        return self._summary.key

    @property
    def rate(self) -> float | None:
        """The player's density, in notes a quarter, without long rests; None before a key is estimated."""
        return self._summary.rate

    @property
    def pitches(self) -> list[int]:
        """Of the notes that count, oldest first."""
        return self._summary.pitches

    @property
    def _summary(self) -> _Summary:
        if self._made is None:
            self._made = self._summarise()
        return self._made

    def _summarise(self) -> _Summary:
        pitches = np.array([each.pitch for each in self._notes])
        frequent = np.bincount(pitches % 12, FREQUENT_FADES ** np.arange(len(pitches))[::-1], minlength=12)
        key, rate, outside = None, None, _NO_BIAS
        if len(pitches) >= KEY_AFTER:
            weights = KEY_FADES ** np.arange(len(pitches))[::-1]
            key = best_key(np.bincount(pitches % 12, weights, minlength=12))
            inside = key.pitch_classes | set((pitches[-FRESH:] % 12).tolist())
            outside = np.where(np.isin(_CLASSES, list(inside)), 0, OUT_OF_KEY_NATS).astype(np.float32)
            gaps = np.clip(np.diff([each.tick for each in self._notes]), 0, RATE_REST)  # a jump may lead back
            rate = len(gaps) * TICKS / max(float(gaps.sum()), 1.0)
        return _Summary(
            pitches.tolist(), key, rate, outside,
            (FREQUENT_NATS * frequent / frequent.max())[_CLASSES].astype(np.float32),
            (int(pitches.min()) - MARGIN, int(pitches.max()) + MARGIN),
        )  # fmt: skip

    def voices(self) -> int | None:
        """How many notes the player plays at once, short overlaps left out (the 90th percentile); None before the first note."""
        return sorted(self._voices)[int(0.9 * (len(self._voices) - 1))] if self._voices else None

    def pitch_bias(
        self, role: Role, keys_down: np.ndarray, in_key: bool, higher: int = 0, chord_given: bool = False
    ) -> np.ndarray:
        """(128,) float32 to add to the logits of the pitches. `keys_down` (128,) bool; `in_key`: no key was set, so the
        estimated one counts; `higher`: semitones by which every register here is moved; `chord_given`: the harmony is known, and
        need not be guessed from the tune: of its notes only semitones count.

        An answer stays near the player's register. What goes along with the player is consonant with the held keys. An
        accompaniment prefers the frequent pitch classes of the tune, and stays below it; a harmony lies below the held keys and
        does not double them.
        """
        bias: np.ndarray = self._summary.outside.copy() if in_key and not chord_given else np.zeros(128, np.float32)
        if role not in (Role.ACCOMPANY, Role.HARMONISE):
            lowest, highest = self._summary.range
            bias += _beyond(lowest + higher, highest + higher)
            return bias
        held = np.flatnonzero(keys_down)
        if role == Role.ACCOMPANY and not chord_given:
            bias += self._summary.frequent
        if len(held):
            bias[(_SEMITONES if chord_given else _DISSONANT)[:, held].any(1)] += DISSONANT_NATS
            if role == Role.ACCOMPANY and self._notes and self._notes[-1].part == MELODY:
                bias += _beyond(0, int(held[-1]) + higher)  # the tune stays on top
            if role == Role.HARMONISE:
                bias[_DOUBLED[:, held].any(1)] += DOUBLED_NATS
                bias[_FIFTH_BELOW[:, held].any(1)] += OPEN_FIFTH_NATS
                bias += _beyond(int(held[-1]) + HARMONY[0] + higher, int(held[-1]) + HARMONY[1] + higher)
        return bias


@lru_cache(maxsize=1024)
def _beyond(lowest: int, highest: int) -> np.ndarray:
    """(128,) nats: 0 from `lowest` to `highest`, and more negative with each semitone beyond. Not to be written to."""
    pitch = np.arange(128)
    apart = np.maximum(np.maximum(lowest - pitch, pitch - highest), 0)
    return np.maximum(apart * NATS_PER_SEMITONE, FARTHEST_NATS).astype(np.float32)
