"""What the player has played of late, as far as Antiphon's notes should go with it: voices, register, key, consonance.

The model was trained on many kinds of music, and a bare tune leaves much open: whether piano chords or a fiddle goes on, or
which of two keys it is in. A musician would not wonder. These are leanings, not masks: nats added to the logits of the
pitches, small enough for the model to overrule where it is sure.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from realtime.music import best_key
from realtime.vocabulary import Role

NOTES = 48
"""How many of the player's last notes count."""
KEY_AFTER = 4
"""From so many notes on the player is taken to be in a key."""
OUT_OF_KEY_NATS = -3.0
MARGIN = 7
"""Semitones beyond the player's range that cost nothing."""
NATS_PER_SEMITONE = -0.3
FARTHEST_NATS = -6.0
DISSONANT_NATS = -2.0
DISSONANT = (1, 2, 6, 10, 11)
"""Semitones, octaves aside: seconds, sevenths and the tritone, against a key that is held right now."""
HARMONY = (-14, -3)
"""Where a harmony lies: semitones from the highest key that is held."""


class Portrait:
    """Built up note by note; nothing is ever undone, because what the player played stays played."""

    def __init__(self) -> None:
        self._pitches: deque[int] = deque(maxlen=NOTES)
        self._voices: deque[int] = deque(maxlen=NOTES)

    def hear(self, pitch: int, keys_down: int) -> None:
        """A key of the player's went down; `keys_down` are down now, this one included."""
        self._pitches.append(pitch)
        self._voices.append(keys_down)

    def voices(self) -> int | None:
        """How many notes the player plays at once, the odd overlap left out; None before the first note."""
        return sorted(self._voices)[int(0.9 * (len(self._voices) - 1))] if self._voices else None

    def leanings(self, role: Role, keys_down: np.ndarray, in_key: bool) -> np.ndarray:
        """(128,) float32 to add to the logits of the pitches. `keys_down` (128,) bool; `in_key`: no key was set, so the
        player's own is guessed.

        An answer stays near the player's register. What goes along with the player is consonant with the keys that are
        held, and a harmony lies below them.
        """
        bias = np.zeros(128, np.float32)
        if not self._pitches:
            return bias
        if in_key and len(self._pitches) >= KEY_AFTER:
            heard = np.bincount(np.array(self._pitches) % 12, minlength=12)
            inside = best_key(heard.astype(float)).pitch_classes | set(np.flatnonzero(heard).tolist())
            bias[~np.isin(np.arange(128) % 12, list(inside))] += OUT_OF_KEY_NATS
        held = np.flatnonzero(keys_down)
        if role in (Role.ACCOMPANY, Role.HARMONISE):
            apart = (np.arange(128)[:, None] - held[None, :]) % 12
            bias[np.isin(apart, DISSONANT).any(1)] += DISSONANT_NATS
            if role == Role.HARMONISE and len(held):
                bias += _beyond(held.max() + HARMONY[0], held.max() + HARMONY[1])
        else:
            bias += _beyond(min(self._pitches) - MARGIN, max(self._pitches) + MARGIN)
        return bias


def _beyond(lowest: int, highest: int) -> np.ndarray:
    """(128,) 0 from `lowest` to `highest`, then less with every semitone."""
    pitch = np.arange(128)
    apart = np.maximum(np.maximum(lowest - pitch, pitch - highest), 0)
    return np.maximum(apart * NATS_PER_SEMITONE, FARTHEST_NATS).astype(np.float32)
