"""The rolling latent context: the last cells as latents, a plan of the next ones, and the context vectors made of both.

    close(roll, ...)    a cell is over                -> work to do
    work()              one graph call of that work   -> at its end, a `Planned`
    at(tick)            the context of an event       -> (d,), as `realtime.composing.contract` takes it

The work is cut into single graph calls, because a note may have to wait for one (`realtime.io.live.worker`). Its result is for
one cell and those after it. Once an event in that cell has been fed, the result is late and is not used. So an event that is fed
again after a rollback gets the same context, and the notes do not depend on when the work was done, as long as none is late.
Pure; times in ticks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from realtime.core.dialogue import Planned
from realtime.music.cells import LATENT, ROLL, cell_at
from realtime.music.controls import AS_IT_IS, NOTHING, Controls
from realtime.music.metre import TICKS, BeatGrid

PREFIX, FUTURE = 16, 4
"""Cells that a plan goes on from, and cells planned."""
DRAWN = 2
"""Cells of a plan that a context also gets as rolls."""
PLAN_STEPS = 3
"""Euler steps from noise to a plan. With six the knobs do about the same (`antiphon bench --knobs`), in twice the time."""
LEAD = 0.5
"""By how much the nearest planned cell is ahead of the last, as a share of the time that a cell takes from noise to clean: near
cells are settled first."""
PLAN_TRUST = 0.5
"""The time (0 noise, 1 clean) of a plan as the decoder gets it, with its own noise mixed in again. The decoder was trained on
noisy plans, so that it goes on listening to the player."""
KEPT = 8
"""Contexts that are kept: no rollback goes further back."""
_LONG_AGO = -(1 << 40)


class Graphs(Protocol):
    """The networks. Each call is one run of one graph, except that `context` first draws the plan as rolls; see
    `realtime.io.graphs.latent_graphs` for shapes."""

    def encode(self, rolls: np.ndarray) -> np.ndarray: ...

    def velocity(self, latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray: ...

    def context(
        self, latent: np.ndarray, known: np.ndarray, plan: np.ndarray, plan_time: np.ndarray, controls: np.ndarray
    ) -> np.ndarray: ...


class Latents:
    """See the module's docstring. `controls` may be set at any time, and counts for cells that close from then on."""

    def __init__(
        self, graphs: Graphs, grid: BeatGrid, seed: int, clock_ns: Callable[[], int], controls: Controls = AS_IT_IS
    ) -> None:
        self.controls = controls
        self._graphs = graphs
        self._grid = grid
        self._seed = seed
        self._clock_ns = clock_ns
        self._past: deque[np.ndarray] = deque(maxlen=PREFIX)
        self._closed: deque[np.ndarray] = deque()
        self._plan: Iterator[np.ndarray | None] | None = None
        self._target = _LONG_AGO
        self._reached = _LONG_AGO
        self._call_ns: list[int] = []
        self._late = 0
        *_, first = self._context(*self._window(), *_no_plan(), controls)
        assert first is not None
        self._contexts: deque[tuple[int, np.ndarray]] = deque([(_LONG_AGO, first)], maxlen=KEPT)

    def warm_up(self) -> None:
        """Run each graph once and forget it: a first run takes longer than the others."""
        self._graphs.encode(np.zeros((1, *ROLL), np.float32))
        for _ in self._make(0, 0, Controls(density=1.0)):  # any plan
            pass

    def at(self, tick: int) -> np.ndarray:
        """The context (d,) of an event at `tick` that is going to be fed: the row of its beat, in the newest context made for
        its cell or an earlier one."""
        self._reached = max(self._reached, tick)
        made = next((made for start, made in reversed(self._contexts) if start <= tick), self._contexts[0][1])
        beat: np.ndarray = made[(tick - cell_at(self._grid, tick)[0]) // TICKS]
        return beat

    def close(self, roll: np.ndarray, tick: int, target: int) -> None:
        """The cell that ends at `tick` is this roll (4, 48, 88). The context made after it is for the cell that starts at
        `target`."""
        self._late += self._plan is not None
        self._closed.append(roll)
        self._target = target
        self._plan = self._make(tick, target, self.controls)
        self._call_ns.clear()

    @property
    def busy(self) -> bool:
        """Whether there is work."""
        return self._plan is not None

    def work(self) -> Planned | None:
        """Make one graph call; only while `busy`. Returns `Planned` when a context is finished, or given up because it is
        late."""
        assert self._plan is not None
        context = None
        call_ns: tuple[int, ...] = ()
        started = self._clock_ns()
        if self._closed:  # a latent is needed by later cells, so it is never late
            self._past.append(self._graphs.encode(self._closed.popleft()[None])[0])
        elif self._reached < self._target:
            context = next(self._plan)
        else:
            self._plan = None
            self._late += 1
        self._call_ns.append(self._clock_ns() - started)
        if context is not None:
            self._contexts.append((self._target, context))
            self._plan = None
            call_ns = tuple(self._call_ns)
        if not call_ns and not self._late:
            return None
        said = Planned(call_ns, self._late)
        self._late = 0
        return said

    def relocate(self) -> None:
        """Time goes on from elsewhere: the latents stay, and so does the newest context."""
        self._contexts = deque([(_LONG_AGO, self._contexts[-1][1])], maxlen=KEPT)
        self._reached = _LONG_AGO
        self._late += self._plan is not None
        self._plan = None

    # --- from a cell to a context ---

    def _make(self, tick: int, target: int, controls: Controls) -> Iterator[np.ndarray | None]:
        """None after each graph call but the last, which makes the context. A plan is made where the controls ask something of
        it. One that nobody steers makes no note likelier (docs/plan_ablation.md) and no accompaniment better, so it would only
        cost time."""
        if not controls.vector().any():
            controls = replace(controls, guidance=0.0)
        latent, known = self._window()
        plan: dict[int, np.ndarray] = {}
        if controls.guidance:
            starts = self._starts(tick)
            cells = self._noise(starts)
            for step in self._flow(latent, known, cells, controls):
                cells = step
                yield None
            plan = dict(zip(starts, cells, strict=True))
        yield from self._context(latent, known, *self._as_conditioning(plan, target), controls)

    def _starts(self, tick: int) -> list[int]:
        """Where `FUTURE` cells start, from the one at `tick` on."""
        starts = [tick]
        while len(starts) < FUTURE:
            starts.append(sum(cell_at(self._grid, starts[-1])))
        return starts

    def _as_conditioning(self, plan: Mapping[int, np.ndarray], target: int) -> tuple[np.ndarray, np.ndarray]:
        """A plan, latents (128,) by the tick at which a cell starts, as the input of the context net for the cell at `target`:
        noised latents (1, 4, 128) and their times (1, 4)."""
        rows, times = _no_plan()
        for row, start in enumerate(self._starts(target)):
            if start in plan:
                rows[0, row] = PLAN_TRUST * plan[start] + (1 - PLAN_TRUST) * self._noise([start])[0]
                times[0, row] = PLAN_TRUST
        return rows, times

    def _flow(
        self, latent: np.ndarray, known: np.ndarray, cells: np.ndarray, controls: Controls
    ) -> Iterator[np.ndarray]:
        """The next cells (4, 128) after each Euler step from noise. Where controls are set, guided by them (Ho and Salimans,
        Classifier-free diffusion guidance, 2022): v0 + guidance (v1 - v0)."""
        given = np.zeros((PREFIX + FUTURE, len(NOTHING)), np.float32)
        given[PREFIX:] = controls.vector()
        sides = [(1.0, given)]
        if given.any() and controls.guidance != 1:
            sides = [(1 - controls.guidance, np.zeros_like(given)), (controls.guidance, given)]
        weights, sees = np.array([weight for weight, _ in sides]), np.stack([side for _, side in sides])

        def of_each_side(values: np.ndarray) -> np.ndarray:
            return np.repeat(values[None], len(sides), 0)

        known = of_each_side(np.concatenate([known[0], np.ones(FUTURE, np.float32)]))
        for now, then in pairwise(_cell_times(np.linspace(0, 1, PLAN_STEPS + 1))):
            window = of_each_side(np.concatenate([latent[0], cells]))
            time = of_each_side(np.concatenate([np.ones(PREFIX, np.float32), now]))
            velocity = np.tensordot(weights, self._graphs.velocity(window, time, known, sees)[:, PREFIX:], 1)
            cells = (cells + (then - now)[:, None] * velocity).astype(np.float32)
            yield cells

    def _context(
        self, latent: np.ndarray, known: np.ndarray, plan: np.ndarray, plan_time: np.ndarray, controls: Controls
    ) -> Iterator[np.ndarray | None]:
        """c0 + guidance (c1 - c0), where c1 is made with plan and controls and c0 without them. None between the calls."""
        context = None
        for seen, share in ((0.0, 1 - controls.guidance), (1.0, controls.guidance)):
            if share:
                if context is not None:
                    yield None
                sees = (plan * seen, plan_time * seen, controls.vector()[None] * seen)
                made = np.float32(share) * self._graphs.context(
                    latent, known, *(array.astype(np.float32) for array in sees)
                )
                context = made if context is None else context + made
        yield context

    def _window(self) -> tuple[np.ndarray, np.ndarray]:
        """The latents of the last cells (1, 16, 128), oldest first, and a flag for each that exists (1, 16)."""
        latent, known = np.zeros((1, PREFIX, LATENT), np.float32), np.zeros((1, PREFIX), np.float32)
        if self._past:
            latent[0, -len(self._past) :] = self._past
            known[0, -len(self._past) :] = 1
        return latent, known

    def _noise(self, starts: list[int]) -> np.ndarray:
        """(cells, 128), always the same for a cell: so each new plan of a cell stays close to the plan before."""
        counters = ([0, start % (1 << 63), 1, 0] for start in starts)  # a note's have 0 in the third place
        rngs = (np.random.Generator(np.random.Philox(key=self._seed, counter=counter)) for counter in counters)
        return np.stack([rng.standard_normal(LATENT, np.float32) for rng in rngs])


def _no_plan() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((1, FUTURE, LATENT), np.float32), np.zeros((1, FUTURE), np.float32)


def _cell_times(progress: np.ndarray) -> np.ndarray:
    """Times (..., 4) of the planned cells, the nearest first: 0 all noise, 1 clean. progress: (...) 0..1."""
    behind = np.linspace(0, 1, FUTURE)
    times: np.ndarray = np.clip((1 + LEAD) * progress[..., None] - LEAD * behind, 0, 1).astype(np.float32)
    return times
