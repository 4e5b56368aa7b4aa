"""The notes of both players since the last cell closed, from which the bar autoencoder's input is made. Pure; times in ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from realtime.core.dialogue import ModelNote, PlayerNote
from realtime.core.output import SHORTEST_TICKS
from realtime.music.cells import LOWEST, MODEL, PLAYER, Split, paint, split
from realtime.music.notes import NOTE


class _Note(NamedTuple):
    onset: int
    end: int | None
    """None: the key is still down."""
    pitch: int
    part: int
    is_player: bool
    let_go: int | None = None
    """When a later note of Antiphon's ended it; that one may be taken back."""

    @property
    def over(self) -> int | None:
        """When it is over; None: the key is still down."""
        return self.end if self.end is None or self.let_go is None else min(self.end, self.let_go)


class RecentNotes:
    """Keeps every note, its end, and what is taken back, and makes the roll of each cell as it closes."""

    def __init__(self) -> None:
        self._notes: list[_Note] = []

    def key_down(self, note: PlayerNote) -> None:
        """The player's key went down."""
        self.key_up(note.tick, note.pitch)
        self._notes.append(_Note(note.tick, None, note.pitch, note.part, True))

    def key_up(self, tick: int, pitch: int) -> None:
        """The player's key went up; one that is not down is ignored."""
        self._end(tick, lambda note: note.is_player and note.end is None and note.pitch == pitch, 1)

    def proposed(self, note: ModelNote, ends: Iterable[tuple[int, int]] = ()) -> None:
        """Antiphon made a note. It may still be taken back. `ends`: what sounds and ends with it, (part, pitch)."""
        if keys := {*ends}:
            self._notes = [
                each._replace(let_go=note.tick)
                if each.let_go is None and not each.is_player and (each.part, each.pitch) in keys
                else each
                for each in self._notes
            ]
        self._notes.append(_Note(note.tick, note.tick + note.duration, note.pitch, note.part, False))

    def take_back(self, boundary: int, silence: bool) -> None:
        """A new plan replaces Antiphon's notes from `boundary` on. With `silence` its sounding notes end there."""
        self._notes = [
            note._replace(let_go=None) if note.let_go is not None and note.let_go >= boundary else note
            for note in self._notes
            if note.is_player or note.onset < boundary
        ]
        if silence:
            self._end(boundary, lambda note: not note.is_player, SHORTEST_TICKS)

    def release(self, tick: int, pitch: int) -> None:
        """A note of Antiphon's ends with the key that it answers."""
        self._end(tick, lambda note: not note.is_player and note.pitch == pitch, SHORTEST_TICKS)

    def clear(self) -> None:
        """Drop all notes: time goes on elsewhere, in silence."""
        self._notes.clear()

    def close(self, start: int, end: int) -> np.ndarray:
        """The roll (4, 48, 88) of the cell between two ticks (`realtime.music.cells`). What is over by then is forgotten."""
        notes = [note for note in self._notes if note.onset < end]
        self._notes = [note for note in self._notes if note.onset >= end or note.over is None or note.over > end]
        played = np.zeros(len(notes), NOTE)
        for name, values in (
            ("onset", [note.onset for note in notes]),
            ("duration", [(end if note.over is None else note.over) - note.onset for note in notes]),
            ("pitch", [note.pitch for note in notes]),
            ("part", [note.part for note in notes]),
        ):
            played[name] = values
        before = min([start - 1, *played["onset"].tolist()])  # a note from before has holds, but no onset, in this cell
        rows = split(played, np.array([before, start, end]))
        rows = Split(*(column[rows.cell == 1] for column in rows))._replace(
            cell=np.zeros((rows.cell == 1).sum(), np.int64)
        )
        plane = np.array([PLAYER if note.is_player else MODEL for note in notes], np.int64)[rows.note]
        roll: np.ndarray = paint(rows, plane, played["pitch"][rows.note] - LOWEST, 1)[0]
        return roll

    def _end(self, tick: int, which: Callable[[_Note], bool], shortest: int) -> None:
        """Those notes end at `tick`, or `shortest` ticks after they began; what ends earlier stays as it is. The engine ends a
        note of Antiphon's that has just begun by the same rule (`core.output`)."""
        self._notes = [
            note._replace(end=max(tick, note.onset + shortest))
            if which(note) and (note.end is None or note.end > max(tick, note.onset + shortest))
            else note
            for note in self._notes
        ]
