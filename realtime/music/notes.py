"""Notes as arrays. Times in ticks (24 a quarter), pitches MIDI. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

NOTE = np.dtype([("onset", "i8"), ("duration", "i8"), ("pitch", "i8"), ("velocity", "i8"), ("part", "i8")])


def note_array(rows: Iterable[Sequence[int]]) -> np.ndarray:
    """(onset, duration, pitch[, velocity[, part]]) rows -> (N,) `NOTE`, by onset and pitch."""
    full = [(*row, *(80, 0)[len(row) - 3 :]) for row in rows]
    return np.sort(np.array(full, NOTE), order=("onset", "pitch"))


def between(notes: np.ndarray, start: int, end: int) -> np.ndarray:
    """The notes with onsets in [start, end)."""
    return notes[(notes["onset"] >= start) & (notes["onset"] < end)]


def sounding(notes: np.ndarray, start: int, end: int) -> np.ndarray:
    """(end - start, 128) bool: the pitches that sound at each tick."""
    roll = np.zeros((max(end - start, 0), 128), bool)
    for note in notes:
        first, last = int(note["onset"]) - start, int(note["onset"]) + int(note["duration"]) - start
        roll[max(first, 0) : max(last, 0), note["pitch"]] = True
    return roll
