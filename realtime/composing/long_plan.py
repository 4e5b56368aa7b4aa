"""A plan of many cells by a planner that sees sixteen: overlapping windows cover the piece, and are averaged at every step.

The latents of all cells to be planned are integrated at once, from noise (time 0) to clean (time 1), by Euler steps of the
planner's velocity. At every step each window of `WINDOW` cells, `HOP` apart, gives a velocity for the cells in it. Where
windows overlap their velocities are averaged with the weights of a squared sine, so that there is no seam: a cell counts most
in the window in the middle of which it lies (after MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113). In a loop the
windows go round: the last cells and the first are in one window. The work per cell does not depend on the number of cells, and
windows go to the planner a few at a time, so memory does not either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from realtime.composing.latents import Graphs, Latents
from realtime.music.controls import Controls
from realtime.music.metre import BeatGrid

WINDOW, HOP = 16, 8
BATCH = 32
"""Windows in one call of the planner at most."""
STEPS = 8
"""Euler steps."""

Velocity = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""(latent (N, L, 128), time (N, L), known (N, L), controls (N, L, C)) -> velocity (N, L, 128), as of `latent_graphs`."""


def windows(cells: int) -> np.ndarray:
    """The indices of the cells in each window, (W, WINDOW) int, -1 before the first cell; together they cover all `cells`, in
    order."""
    starts = sorted({*range(0, cells - WINDOW, HOP), cells - WINDOW})
    return np.maximum(np.array(starts)[:, None] + np.arange(WINDOW), -1)


def across(cells: int) -> np.ndarray:
    """The window (WINDOW,) of a loop, in the middle of which the first of `cells` follows the last; -1 where the loop has fewer
    cells than the window."""
    held = min(cells, WINDOW)
    return np.concatenate([np.full(WINDOW - held, -1), (np.arange(held) - held // 2) % cells])


def plan(
    velocity: Velocity,
    latents: np.ndarray,
    clean: np.ndarray,
    controls: np.ndarray,
    seed: int,
    steps: int = STEPS,
    loop: bool = False,
) -> np.ndarray:
    """Latents (N, 128) of consecutive cells: those with `clean` (N,) bool are given and stay, the others are planned.

    latents: (N, 128), read where clean; controls: (N, C), of each cell. `loop`: the planned cells, all of which follow the
    clean ones, lead back to the first of them. The same seed gives the same plan.
    """
    fresh = np.flatnonzero(~clean)
    places = windows(len(latents))
    if loop:
        seam = across(len(fresh))
        places = np.concatenate([places, np.where(seam >= 0, fresh[seam], -1)[None]])
    places = places[((places >= 0) & ~clean[places]).any(1)]  # where all is given there is nothing to do
    here = places >= 0
    weight = np.where(here, np.sin(np.pi * (np.arange(WINDOW) + 0.5) / WINDOW) ** 2, 0.0)
    total = np.zeros(len(latents))
    np.add.at(total, places[here], weight[here])

    noise = np.random.default_rng(seed).standard_normal(latents.shape, np.float32)
    state = np.where(clean[:, None], latents, noise)
    for step in range(steps):
        time = np.where(clean, 1.0, step / steps).astype(np.float32)
        flow = np.zeros(latents.shape)
        for first in range(0, len(places), BATCH):
            some, known, share = (rows[first : first + BATCH] for rows in (places, here, weight))
            speed = velocity(state[some], time[some], known.astype(np.float32), controls[some])
            np.add.at(flow, some[known], speed[known] * share[known][:, None])
        state[fresh] += (flow[fresh] / (total[fresh] * steps)[:, None]).astype(np.float32)
    return state


class PlannedLatents(Latents):
    """The rolling context of music whose plan was made beforehand: latents (128,) by the tick at which a cell starts."""

    def __init__(
        self,
        graphs: Graphs,
        grid: BeatGrid,
        seed: int,
        clock_ns: Callable[[], int],
        controls: Controls,
        plan: Mapping[int, np.ndarray],
    ) -> None:
        super().__init__(graphs, grid, seed, clock_ns, controls)
        self._planned = plan

    def _make(self, tick: int, target: int, controls: Controls) -> Iterator[np.ndarray | None]:
        yield from self._context(*self._window(), *self._as_conditioning(self._planned, target), controls)
