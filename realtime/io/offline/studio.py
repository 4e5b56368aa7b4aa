"""Music made without a clock, from files: the model, opened once, and what stands around a stretch that is to be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from realtime.composing import long_plan
from realtime.composing.constraints import Constraints
from realtime.composing.forkable import Forkable
from realtime.composing.returns import VOICE_SEEDS
from realtime.composing.writing import Writer
from realtime.config import Config
from realtime.core.dialogue import Turn
from realtime.io.live.model import Model
from realtime.io.live.settings import chart as chart_of
from realtime.io.live.settings import worker_setup
from realtime.music.attributes import CONTROLS
from realtime.music.cells import LATENT, cell_edges, rolls
from realtime.music.given import Lead
from realtime.music.metre import TICKS, BeatGrid, Segment
from realtime.music.notes import between
from realtime.music.vocabulary import Role

CONTEXT_BARS = 64
"""So many bars before a stretch are heard again before it is written; a model of this size holds no more."""
REMEMBERED_NOTES = 1 << 13
"""What a voice is continued from, and what it plays, at most. It is copied for each voice."""
CONTEXT_NOTES = 1024
"""And no more notes than these; of what comes after a gap too."""
LEAD_TICKS = 16 * TICKS
"""How much of what comes after a gap is fed before it: as much as in training (`models.corpus.windows`)."""
GAP_BARS = 4
"""The longest gap of training. Of a longer one the bars before the last so many lead on freely."""
Plan = dict[int, np.ndarray]
"""Latents (128,) by the tick at which a cell starts."""


class Gap(NamedTuple):
    """Where something is to be written, in ticks: from `start` on, up to `end`; at `tail` the stretch begins that leads to the
    notes `after` the gap, of which there may be none."""

    start: int
    tail: int
    end: int
    after: np.ndarray


class Studio:
    """One piece's metre and tempo, and a model. Notes are `NOTE` in ticks, all of them the player's."""

    def __init__(self, config: Config, bars: Sequence[Segment], bpm: float, say: Callable[[str], None]) -> None:
        """Raises `UserError` for a model that cannot be played."""
        setup = worker_setup(config)
        self.grid = BeatGrid(bars)
        self._writers: dict[object, Writer] = {}
        self.general = self._constraints = setup.constraints
        """What the configuration allows."""
        self._voices = -1
        self._reached: Callable[[int], None] = lambda tick: None
        self._chart, self._lead = chart_of(config), Lead(0, None)
        self._setup = replace(setup, bars=tuple(bars), bpm=bpm)
        self._model = Model.load(setup)
        self.graphs = self._model.graphs
        if self._model.stepper.notice:
            say(self._model.stepper.notice)

    def give_chords(self, start: int) -> None:
        """From the bar line `start` on the chords of the configuration's chart are given, if there is one."""
        if self._chart is not None:
            self._lead = Lead(start, self._chart, self.grid.bar_number(start))

    def show(self, show: Callable[[float], None], voices: int, start: int, end: int) -> None:
        """From now on `show` is called with the share that is done of so many voices in [start, end)."""
        self._reached = lambda tick: show((self._voices + (tick - start) / (end - start)) / voices)

    def turn_to(self, constraints: Constraints) -> None:
        """From now on another voice is written, under these constraints."""
        self._constraints = constraints
        self._voices += 1

    def plan(self, notes: np.ndarray, start: int, end: int, loop: bool = False, after: int | None = None) -> Plan:
        """A plan of the cells in [start, end). It goes on from the cells before, and leads to those from `end` to `after`; or, in
        a loop, to its own beginning. Empty where the model has no planner."""
        if self.graphs is None:
            return {}
        first = self.back(start, long_plan.WINDOW)
        edges = self.edges(first, end if after is None else after)
        starts = edges[:-1]
        clean = (edges[1:] <= start) | (starts >= end)
        latents = np.zeros((len(starts), LATENT), np.float32)
        if clean.any():
            latents[clean] = self.graphs.encode(rolls(notes, np.ones(len(notes), bool), edges)[clean])
        controls = np.zeros((len(starts), CONTROLS), np.float32)
        controls[~clean] = self._setup.controls.vector()
        planned = long_plan.plan(self.graphs.velocity, latents, clean, controls, self._setup.seed, loop=loop)
        return dict(zip(starts.tolist(), planned, strict=True))

    def continued(
        self, notes: np.ndarray, start: int, end: int, plan: Plan, until: int | None = None, closes: bool = True
    ) -> np.ndarray:
        """What goes on from `notes` in the turn [start, end), up to tick `until`. `closes`: it comes to an end with it."""
        gap = Gap(start, start, end, notes[:0])
        return self._write(gap, notes, Turn(start, end), end if until is None else until, plan, closes)

    def filled(self, notes: np.ndarray, start: int, end: int, plan: Plan) -> np.ndarray:
        """What leads in [start, end) from the notes before it to those after it, and goes with those within it."""
        tail = max(self.back(end, GAP_BARS), start)
        made = notes[:0]
        if tail > start:
            made = self.continued(notes, start, end, plan, tail, closes=False)
        after = between(notes, end, end + LEAD_TICKS)
        if len(after) > CONTEXT_NOTES:
            after = np.sort(after, order=("onset", "pitch"))[:CONTEXT_NOTES]
        gap = Gap(start, tail, end, after)
        notes = np.concatenate([notes, made])
        return np.concatenate([made, self._write(gap, notes, Turn(tail, end), end, plan, closes=False)])

    def looped(self, notes: np.ndarray, start: int, end: int, plan: Plan) -> np.ndarray:
        """What goes on from `notes` in [start, end) and leads back to its own beginning: the last bars are made when the first
        are there to lead to. A single bar needs no way back."""
        tail = max(self.back(end, GAP_BARS), self.grid.bar_start((start + end) // 2))
        made = self.continued(notes, start, end, plan, tail if tail > start else end, closes=False)
        if tail == start:
            return made
        again = between(np.concatenate([notes, made]), start, start + LEAD_TICKS).copy()
        again["onset"] += end - start
        plan = {tick + end - start: latent for tick, latent in plan.items() if tick < start + LEAD_TICKS} | plan
        return np.concatenate([made, self.filled(np.concatenate([notes, made, again]), tail, end, plan)])

    def back(self, tick: int, bars: int) -> int:
        """The start of the bar so many bars before a bar line, no earlier than the first."""
        return bars_back(self.grid, tick, bars)

    def _write(self, gap: Gap, notes: np.ndarray, turn: Turn, until: int, plan: Plan, closes: bool) -> np.ndarray:
        """What the voice plays in its turn."""
        role = Role.ACCOMPANY if len(between(notes, turn.start, until)) else Role.CONTINUE
        seed = self._setup.seed + self._voices * VOICE_SEEDS
        writer = self._read(gap, notes, plan, role).fork(replace(self._constraints, closes=closes), seed)
        writer.reached = self._reached
        return writer.write(notes, turn, until, role)

    def _read(self, gap: Gap, notes: np.ndarray, plan: Plan, role: Role) -> Writer:
        """A writer that has read what leads to a gap, and what it leads to. It is read once: all voices that have the same before
        them go on from there."""
        context = self.back(gap.start, CONTEXT_BARS)
        before = between(notes, context, gap.start)
        if len(before) > CONTEXT_NOTES:
            context = min(self.grid.bar_start(int(np.sort(before["onset"])[-CONTEXT_NOTES]), 1), gap.start)
            before = between(before, context, gap.start)
        latents = (latent.tobytes() for latent in plan.values())
        key = (role, gap.tail, gap.start, gap.end, before.tobytes(), gap.after.tobytes(), *plan, *latents)
        if key not in self._writers:
            writer = Writer(
                self._model.composer(self._setup, plan, Forkable(self._model.stepper), REMEMBERED_NOTES), self.grid
            )
            writer.lead(self._lead)
            if len(gap.after):
                writer.begin(gap.tail)
                writer.feed_ahead(gap.after, gap.end + LEAD_TICKS)
            writer.begin(context)
            writer.read(before, gap.start, role)
            self._writers[key] = writer
        return self._writers[key]

    def edges(self, start: int, end: int) -> np.ndarray:
        """The edges of the cells from the bar line `start` on up to `end`."""
        bars = [start]
        while bars[-1] < end:
            bars.append(self.grid.bar_start(bars[-1], 1))
        return cell_edges(np.array(bars[:-1]), bars[-1])


def bars_back(grid: BeatGrid, tick: int, bars: int) -> int:
    """The start of the bar so many bars before a bar line, no earlier than the first."""
    start = tick
    while bars and start > grid.bar_start(0):
        start, bars = grid.bar_start(start - 1), bars - 1
    return start
