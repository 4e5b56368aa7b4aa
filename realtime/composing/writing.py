"""The composer without a clock: it is fed what was played, note by note, and what it plays in its turn is written down at once.

The order is that of a session without any delay: at equal ticks keys go up, then a cell ends, then a turn begins, then
Antiphon's notes come, and then the player's.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from itertools import zip_longest

import numpy as np

from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints
from realtime.core.dialogue import Bar, Extend, KeyUp, ModelNote, Plan, PlayerNote, Proposed, Relocate, Request, Turn
from realtime.music.cells import cell_at
from realtime.music.given import Lead
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
        self._first = self._now = 0
        """Where the stretch begins, and up to where it has been fed."""
        self._down: Counter[int] = Counter()
        self.reached: Callable[[int], None] = lambda tick: None
        """Called with each tick that has been reached."""

    def fork(self, constraints: Constraints, seed: int) -> Writer:
        """One that has been fed the same, and writes under constraints and with a seed of its own; see `Composer.fork`."""
        other = copy.copy(self)
        other._composer = self._composer.fork(constraints, seed)
        other._down = self._down.copy()
        return other

    def lead(self, lead: Lead) -> None:
        """Chords are given, from a tick on."""
        for _ in self._composer.handle(lead):
            pass

    def begin(self, start: int) -> None:
        """A stretch begins at `start`, with no key down."""
        self._first = self._now = start
        self._down.clear()
        for _ in self._composer.handle(Relocate(start)):
            pass

    def feed_ahead(self, notes: np.ndarray, end: int) -> None:
        """Feed what comes after a gap with which the stretch begins: the player's `notes`, up to `end`. It makes no latents."""
        self._run(notes, end, Role.INFILL, None, cells=False)

    def read(self, notes: np.ndarray, end: int, role: Role) -> None:
        """Feed the player's `notes` up to `end`, but for those from before the stretch."""
        self._run(notes, end, role, None)

    def write(self, notes: np.ndarray, turn: Turn, until: int, role: Role) -> np.ndarray:
        """Antiphon's notes in `turn` up to tick `until`. The player's `notes` before the turn are fed first, and those within
        the turn as they come."""
        made: list[ModelNote] = []
        latest: dict[tuple[int, int], int] = {}
        for reply in self._run(notes, until, role, turn):
            for key in reply.ends:
                if (at := latest.get(key)) is not None:
                    ended = made[at]
                    made[at] = ended._replace(duration=min(ended.duration, reply.note.tick - ended.tick))
            latest[reply.note.part, reply.note.pitch] = len(made)
            made.append(reply.note)
        return note_array((n.tick, n.duration, n.pitch, n.velocity, n.part) for n in made)

    def _run(self, notes: np.ndarray, end: int, role: Role, turn: Turn | None, cells: bool = True) -> list[Proposed]:
        """Go on up to `end`. `cells`: those that end are closed."""
        made: list[Proposed] = []
        is_on = False

        def ask(request: Request) -> None:
            made.extend(reply for reply in self._composer.handle(request) if isinstance(reply, Proposed))

        def plan(boundary: int, note: PlayerNote | None, until: int) -> None:
            self._generation += 1
            ask(Plan(self._generation, boundary, note, role, turn if is_on else None, until))

        released = False
        agenda = self._agenda(notes, end, turn, cells)
        for (tick, what, note), following in zip_longest(agenda, agenda[1:]):
            self.reached(tick)
            if is_on:
                ask(Extend(self._generation, tick + (what == _What.KEY_DOWN)))
            if what == _What.KEY_UP:
                assert note is not None
                self._down[note.pitch] -= 1
                if not self._down[note.pitch]:
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
                self._down[note.pitch] += 1
                plan(tick + 1, note, tick + 1)
        if is_on:
            ask(Extend(self._generation, end))
        self._now = end
        return made

    def _agenda(
        self, notes: np.ndarray, end: int, turn: Turn | None, cells: bool
    ) -> list[tuple[int, _What, PlayerNote | None]]:
        """Everything that happens from now up to `end`, in order."""
        agenda: list[tuple[int, _What, PlayerNote | None]] = []
        for onset, duration, pitch, velocity, part in notes.tolist():
            if self._first <= onset < end:
                note = PlayerNote(onset, pitch, velocity, part)
                agenda.append((onset, _What.KEY_DOWN, note))
                agenda.append((onset + max(duration, 1), _What.KEY_UP, note))
        if turn is not None:
            agenda.append((turn.start, _What.TURN, None))
        edge = sum(cell_at(self._grid, self._first if self._now == self._first else self._now - 1))
        while cells and edge < end:
            agenda.append((edge, _What.CELL, None))
            edge = sum(cell_at(self._grid, edge))
        return sorted((item for item in agenda if self._now <= item[0] < end), key=lambda item: item[:2])
