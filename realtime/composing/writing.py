"""The composer without a clock: it is fed what was played, note by note, and what it plays in its turn is written down at once.

The order is that of a session without any delay: at equal ticks keys go up, then a cell ends, then a turn begins, then
Antiphon's notes come, and then the player's.
"""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from itertools import zip_longest

import numpy as np

from realtime.composing.composer import Composer
from realtime.core.dialogue import Bar, Extend, KeyUp, Plan, PlayerNote, Proposed, Relocate, Request, Turn
from realtime.music.cells import cell_at
from realtime.music.metre import BeatGrid
from realtime.music.notes import note_array
from realtime.music.vocabulary import Role


class _What(IntEnum):
    """What happens at a tick, in this order."""

    KEY_UP = 0
    CELL = 1
    TURN = 2
    KEY_DOWN = 3


class Writer:
    """One composer that is fed one stretch of music after the other. Times in ticks, notes as `NOTE`."""

    def __init__(self, composer: Composer, grid: BeatGrid) -> None:
        self._composer = composer
        self._grid = grid
        self._generation = 0

    def feed_ahead(self, notes: np.ndarray, start: int, end: int) -> None:
        """Feed what comes after a gap that begins at `start`: the player's `notes`, up to `end`. It makes no latents."""
        self._run(notes, start, end, Role.INFILL, None)

    def write(self, notes: np.ndarray, start: int, turn: Turn, until: int, role: Role) -> np.ndarray:
        """Antiphon's notes in `turn` up to tick `until`. The player's `notes` from `start` on are fed first, and those within
        the turn as they come."""
        return self._run(notes, start, until, role, turn)

    def _run(self, notes: np.ndarray, start: int, end: int, role: Role, turn: Turn | None) -> np.ndarray:
        made: list[Proposed] = []
        down: Counter[int] = Counter()
        is_on = False

        def ask(*requests: Request) -> None:
            for request in requests:
                made.extend(reply for reply in self._composer.handle(request) if isinstance(reply, Proposed))

        def plan(boundary: int, note: PlayerNote | None, until: int) -> None:
            self._generation += 1
            ask(Plan(self._generation, boundary, note, role, turn if is_on else None, until))

        ask(Relocate(start))
        released = False
        agenda = self._agenda(notes, start, end, turn)
        for (tick, what, note), following in zip_longest(agenda, agenda[1:]):
            if is_on:
                ask(Extend(self._generation, tick + (what == _What.KEY_DOWN)))
            if what == _What.KEY_UP:
                assert note is not None
                down[note.pitch] -= 1
                if not down[note.pitch]:
                    ask(KeyUp(tick, note.pitch))
                    released = is_on
                if released and (following is None or following[:2] != (tick, what)):
                    plan(tick, None, tick)  # what was drawn while the keys were down is drawn again, once for a chord
                    released = False
            elif what == _What.CELL:
                ask(Bar(tick, sum(cell_at(self._grid, tick))))
                while self._composer.busy:
                    self._composer.work()
            elif what == _What.TURN:
                is_on = True
                plan(tick, None, tick)
            else:
                assert note is not None
                down[note.pitch] += 1
                plan(tick + 1, note, tick + 1)
        if turn is not None:
            ask(Extend(self._generation, end))
        return note_array((n.tick, n.duration, n.pitch, n.velocity, n.part) for n in (reply.note for reply in made))

    def _agenda(
        self, notes: np.ndarray, start: int, end: int, turn: Turn | None
    ) -> list[tuple[int, _What, PlayerNote | None]]:
        """Everything that happens in [start, end), in order."""
        agenda: list[tuple[int, _What, PlayerNote | None]] = []
        for onset, duration, pitch, velocity, part in notes.tolist():
            if start <= onset < end:
                note = PlayerNote(onset, pitch, velocity, part)
                agenda.append((onset, _What.KEY_DOWN, note))
                if onset + duration < end:
                    agenda.append((onset + max(duration, 1), _What.KEY_UP, note))
        if turn is not None:
            agenda.append((turn.start, _What.TURN, None))
            edge = sum(cell_at(self._grid, start))
            while edge < end:
                agenda.append((edge, _What.CELL, None))
                edge = sum(cell_at(self._grid, edge))
        return sorted(agenda, key=lambda item: item[:2])
