"""What the player has played of late, as far as an answer should be like it: how many notes at once, and how high.

The model was trained on many kinds of music, and a bare tune leaves it open whether piano chords or a fiddle goes on. A
musician would not wonder: the answer stays near the player's register and does not fill it with more voices than were asked.
"""

from __future__ import annotations

from collections import deque

import numpy as np

NOTES = 48
"""How many of the player's last notes count."""
MARGIN = 7
"""Semitones beyond the player's range that cost nothing."""
NATS_PER_SEMITONE = 0.3
MOST_NATS = 6.0


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

    def register_bias(self) -> np.ndarray:
        """(128,) float32 to add to the logits of the pitches: 0 around the player's, less and less beyond."""
        if not self._pitches:
            return np.zeros(128, np.float32)
        pitch = np.arange(128)
        beyond = np.maximum(min(self._pitches) - MARGIN - pitch, pitch - max(self._pitches) - MARGIN)
        return -np.clip(beyond * NATS_PER_SEMITONE, 0.0, MOST_NATS).astype(np.float32)
