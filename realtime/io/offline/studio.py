"""Music made without a clock, from files: the model, opened once, and what stands around a stretch that is to be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from realtime.composing import long_plan
from realtime.composing.composer import Composer
from realtime.composing.long_plan import PlannedLatents
from realtime.composing.memory import Memory
from realtime.composing.writing import Writer
from realtime.config import Config
from realtime.core.dialogue import Turn
from realtime.io.clock import now_ns
from realtime.io.graphs.latent_graphs import LatentGraphs
from realtime.io.graphs.stepper import Stepper
from realtime.io.live.settings import worker_setup
from realtime.music.attributes import CONTROLS
from realtime.music.cells import LATENT, cell_edges, rolls
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import between
from realtime.music.vocabulary import Role

CONTEXT_BARS = 64
"""So many bars before a stretch are heard again before it is written; a model of this size holds no more."""
LEAD_TICKS = 16 * TICKS
"""How much of what comes after a gap is told beforehand: as much as in training (`models.corpus.windows`)."""
GAP_BARS = 4
"""The longest gap of training. Of a longer one the bars before the last so many lead on freely."""
Plan = dict[int, np.ndarray]
"""Latents (128,) by the tick at which a cell starts."""


class Studio:
    """One piece's metre and tempo, and a model. Notes are `NOTE` in ticks, all of them the player's."""

    def __init__(self, config: Config, bars: Sequence[tuple[int, int]], bpm: float, say: Callable[[str], None]) -> None:
        """Raises `UserError` for a model that cannot be played."""
        setup = worker_setup(config)
        self.grid = BeatGrid(bars)
        self.parts = setup.constraints.parts
        """What is to be written, 0..4; at first what the configuration says, if anything."""
        self.rate: float | None = None
        """How many notes a quarter are looked for, if it is known."""
        self._setup = replace(setup, bpm=bpm)
        self._stepper = Stepper.load(setup.model, setup.provider, setup.threads)
        self.graphs = LatentGraphs.load(Path(setup.model), setup.threads, self._stepper.contract)
        if self._stepper.notice:
            say(self._stepper.notice)

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
        return self._write(self._writer(plan, closes), notes, start, end, end if until is None else until)

    def filled(self, notes: np.ndarray, start: int, end: int, plan: Plan) -> np.ndarray:
        """What leads in [start, end) from the notes before it to those after it, and goes with those within it."""
        tail = max(self.back(end, GAP_BARS), start)
        made = notes[:0]
        if tail > start:
            made = self.continued(notes, start, end, plan, tail, closes=False)
        writer = self._writer(plan, closes=False)
        writer.feed_ahead(notes[notes["onset"] >= end], tail, end + LEAD_TICKS)
        return np.concatenate([made, self._write(writer, np.concatenate([notes, made]), tail, end, end)])

    def looped(self, notes: np.ndarray, start: int, end: int, plan: Plan) -> np.ndarray:
        """What goes on from `notes` in [start, end) and leads back to its own beginning: the last bars are made when the first
        are there to lead to. A single bar has nothing to be told."""
        tail = max(self.back(end, GAP_BARS), self.grid.bar_start((start + end) // 2))
        made = self.continued(notes, start, end, plan, tail if tail > start else end, closes=False)
        if tail == start:
            return made
        again = between(made, start, start + LEAD_TICKS).copy()
        again["onset"] += end - start
        plan = {tick + end - start: latent for tick, latent in plan.items() if tick < start + LEAD_TICKS} | plan
        return np.concatenate([made, self.filled(np.concatenate([notes, made, again]), tail, end, plan)])

    def back(self, tick: int, bars: int) -> int:
        """The start of the bar so many bars before a bar line, no earlier than the first."""
        start = tick
        while bars and start > self.grid.bar_start(0):
            start, bars = self.grid.bar_start(start - 1), bars - 1
        return start

    def _write(self, writer: Writer, notes: np.ndarray, start: int, end: int, until: int) -> np.ndarray:
        together = len(between(notes, start, until))
        role = Role.ACCOMPANY if together else Role.CONTINUE
        return writer.write(notes, self.back(start, CONTEXT_BARS), Turn(start, end), until, role)

    def _writer(self, plan: Plan, closes: bool) -> Writer:
        setup, latents = self._setup, None
        self._stepper.reset()
        if self.graphs is not None:
            latents = PlannedLatents(self.graphs, self.grid, setup.seed, now_ns, setup.controls, plan)
        constraints = replace(setup.constraints, parts=self.parts, closes=closes, rate=self.rate)
        composer = Composer(
            self._stepper,
            constraints,
            setup.sampling,
            self.grid,
            setup.bpm,
            setup.seed,
            now_ns,
            latents,
            setup.controls,
            Memory() if self._stepper.contract.memory else None,
        )
        return Writer(composer, self.grid)

    def edges(self, start: int, end: int) -> np.ndarray:
        """The edges of the cells from the bar line `start` on up to `end`."""
        bars = [start]
        while bars[-1] < end:
            bars.append(self.grid.bar_start(bars[-1], 1))
        return cell_edges(np.array(bars[:-1]), bars[-1])
