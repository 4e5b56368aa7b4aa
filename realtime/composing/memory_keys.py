"""What notes are compared by when the memory looks for matches: slots in the beat, intervals, pitches. Ints or arrays. Pure."""

from __future__ import annotations

from typing import Any

from realtime.music.metre import TICKS

SLOT_TICKS = 6
"""Onsets are compared in sixteenths, because a player is a few ticks early or late."""


def slot(tick_in_beat: Any) -> Any:
    """The sixteenth 0..3 nearest to a tick of a beat; the last three ticks belong to the next beat's first."""
    return (tick_in_beat + SLOT_TICKS // 2) // SLOT_TICKS % (TICKS // SLOT_TICKS)


def line_key(slots: Any, interval: Any) -> Any:
    """The key of a note in its line: its slot, and the interval from the line's note before."""
    return 1 + slots * 256 + interval + 128


def exact_key(slots: Any, drums: Any, pitch: Any) -> Any:
    """The key of a note among all notes as they were. drums: bool; other parts are not told apart, because a player's keyboard is
    one part, whatever is played on it."""
    return 1 + (drums * 4 + slots) * 128 + pitch


def moved_key(slots: Any, drums: Any, interval: Any) -> Any:
    """The key of a note among all notes, whatever their transposition: with the interval from the note before."""
    return 1 + (drums * 4 + slots) * 256 + interval + 128


def place(part: Any, pitch: Any) -> Any:
    """The order of notes with equal onsets for the experts of bars."""
    return part * 128 + pitch
