"""What the player has played of late, as far as Antiphon's notes should go with it: voices, register, key, consonance, density,
loudness.

The model was trained on many kinds of music, and a bare tune leaves much open: whether piano chords or a fiddle goes on, how
loud, or which of two keys it is in. A musician would not wonder. These are leanings, not masks: nats added to the logits,
small enough for the model to overrule where it is sure. What depends on the player's notes alone is reckoned once a note.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from realtime.core.dialogue import PlayerNote
from realtime.music.keys import Key, best_key
from realtime.music.metre import TICKS
from realtime.music.vocabulary import HEADS, MELODY, Role, velocity_index

NOTES = 48
"""How many of the player's last notes count."""
KEY_AFTER = 4
"""From so many notes on the player is taken to be in a key."""
KEY_FADES = 0.96
"""How much a note counts for the key beside the one after it: a new key is believed after a bar or two."""
FRESH = 16
"""A pitch class among so many last notes is no slip of the player's: it is in the key, whatever the key is."""
OUT_OF_KEY_NATS = -3.0
MARGIN = 5
"""Semitones beyond the player's range that cost nothing."""
NATS_PER_SEMITONE = -0.4
FARTHEST_NATS = -6.0
DISSONANT_NATS = -3.5
DISSONANT = (1, 2, 6, 10, 11)
"""Semitones, octaves aside: seconds, sevenths and the tritone, against a key that is held right now."""
FREQUENT_NATS, FREQUENT_FADES = 2.0, 0.8
"""For an accompanist, the pitch class that the tune dwells on, and how much less a note counts than the one after it: what
goes under the next note is decided before it is heard, and a tune outlines its harmony."""
DOUBLED_NATS = -1.5
"""In a harmony, the pitch class of a key that is held, up to an octave away."""
OPEN_FIFTH_NATS = -0.5
"""In a harmony, a fifth below the key: several in a row would be parallel."""
HARMONY = (-14, -3)
"""Where a harmony lies: semitones from the highest key that is held."""
RATE_REST = 2 * TICKS
"""Of a rest no more than this counts for how densely the player plays."""
LOUD_SPREAD = 3.0
"""Velocity classes (of 4) by which a note may lie from the player's mean before it costs much."""
UNDER = 2.0
"""Velocity classes by which those who play along stay below the player."""
FARTHEST_VELOCITY_NATS = -8.0

_APART = (np.arange(128)[:, None] - np.arange(128)[None, :]).astype(np.int64)
_DISSONANT = np.isin(_APART % 12, DISSONANT)
_DOUBLED = (_APART % 12 == 0) & (abs(_APART) <= 12)
_FIFTH_BELOW = (_APART < 0) & (_APART % 12 == 5)
"""(pitch, key) bool."""
_CLASSES = np.arange(128) % 12


class PlayerProfile:
    """Built up note by note; nothing is ever undone, because what the player played stays played."""

    def __init__(self) -> None:
        self._notes: deque[PlayerNote] = deque(maxlen=NOTES)
        self._voices: deque[int] = deque(maxlen=NOTES)
        self.key: Key | None = None
        self.rate: float | None = None
        """Notes a quarter, rests aside."""
        self._outside = self._frequent = np.zeros(128, np.float32)
        self._range = (0, 127)
        self._velocity_bias = np.zeros(HEADS["velocity"], np.float32)
        self._velocity_bias_under = self._velocity_bias

    def add(self, note: PlayerNote, keys_down: int) -> None:
        """A key of the player's went down; `keys_down` are down now, this one included."""
        self._notes.append(note)
        self._voices.append(keys_down)
        pitches = np.array([each.pitch for each in self._notes])
        frequent = np.bincount(pitches % 12, FREQUENT_FADES ** np.arange(len(pitches))[::-1], minlength=12)
        self._frequent = (FREQUENT_NATS * frequent / frequent.max())[_CLASSES].astype(np.float32)
        if len(pitches) >= KEY_AFTER:
            weights = KEY_FADES ** np.arange(len(pitches))[::-1]
            self.key = best_key(np.bincount(pitches % 12, weights, minlength=12))
            inside = self.key.pitch_classes | set((pitches[-FRESH:] % 12).tolist())
            self._outside = np.where(np.isin(_CLASSES, list(inside)), 0, OUT_OF_KEY_NATS).astype(np.float32)
            gaps = np.clip(np.diff([each.tick for each in self._notes]), 0, RATE_REST)  # a jump may lead back
            self.rate = len(gaps) * TICKS / max(float(gaps.sum()), 1.0)
        self._range = (int(pitches.min()) - MARGIN, int(pitches.max()) + MARGIN)
        loud = np.array([velocity_index(each.velocity) for each in self._notes])
        self._velocity_bias = _near(loud.mean(), max(loud.std(), LOUD_SPREAD))
        self._velocity_bias_under = _near(loud.mean() - UNDER, max(loud.std(), LOUD_SPREAD))

    def voices(self) -> int | None:
        """How many notes the player plays at once, the odd overlap left out; None before the first note."""
        return sorted(self._voices)[int(0.9 * (len(self._voices) - 1))] if self._voices else None

    def velocity_bias(self, along: bool) -> np.ndarray:
        """(32,) float32 to add to the logits of the velocities: an answer is about as loud as the player, and who plays `along`
        a little softer. (Scaling what was drawn instead would play other notes than those the model goes on from.)"""
        return self._velocity_bias_under if along else self._velocity_bias

    def pitch_bias(self, role: Role, keys_down: np.ndarray, in_key: bool, higher: int = 0) -> np.ndarray:
        """(128,) float32 to add to the logits of the pitches. `keys_down` (128,) bool; `in_key`: no key was set, so the
        player's own is guessed; `higher`: semitones by which what is said here of registers is moved.

        An answer stays near the player's register. What goes along with the player is consonant with the keys that are
        held. An accompaniment is made of what the tune dwells on, and stays below it; a harmony lies below the keys and does
        not double them.
        """
        bias = self._outside.copy() if in_key else np.zeros(128, np.float32)
        if role not in (Role.ACCOMPANY, Role.HARMONISE):
            lowest, highest = self._range
            bias += _beyond(lowest + higher, highest + higher)
            return bias
        held = np.flatnonzero(keys_down)
        if role == Role.ACCOMPANY:
            bias += self._frequent
        if len(held):
            bias[_DISSONANT[:, held].any(1)] += DISSONANT_NATS
            if role == Role.ACCOMPANY and self._notes and self._notes[-1].part == MELODY:
                bias += _beyond(0, int(held[-1]) + higher)  # the tune stays on top
            if role == Role.HARMONISE:
                bias[_DOUBLED[:, held].any(1)] += DOUBLED_NATS
                bias[_FIFTH_BELOW[:, held].any(1)] += OPEN_FIFTH_NATS
                bias += _beyond(int(held[-1]) + HARMONY[0] + higher, int(held[-1]) + HARMONY[1] + higher)
        return bias


def _beyond(lowest: int, highest: int) -> np.ndarray:
    """(128,) 0 from `lowest` to `highest`, then less with every semitone."""
    pitch = np.arange(128)
    apart = np.maximum(np.maximum(lowest - pitch, pitch - highest), 0)
    return np.maximum(apart * NATS_PER_SEMITONE, FARTHEST_NATS).astype(np.float32)


def _near(mean: float, spread: float) -> np.ndarray:
    """(32,) the logarithm of a bell curve over the velocity classes."""
    apart = (np.arange(HEADS["velocity"]) - mean) / spread
    pitch_bias: np.ndarray = np.maximum(-0.5 * apart**2, FARTHEST_VELOCITY_NATS).astype(np.float32)
    return pitch_bias
