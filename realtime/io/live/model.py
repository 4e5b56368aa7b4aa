"""What composes: a model's networks, opened once, and the one way to make a composer from them and from the user's settings.

`jam`'s worker, `demo`, `duet`, `compose`, `infill`, `bench`, `models.listen` and the tests all compose with what
`Model.composer` returns.
onnxruntime is imported when a model is opened, not before: the player process holds a `Setup` and never loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints, Sampling
from realtime.composing.contract import Stepper as AnyStepper
from realtime.composing.latents import Latents
from realtime.composing.long_plan import PlannedLatents
from realtime.composing.memory import CAPACITY, Memory
from realtime.composing.rules import Rules
from realtime.io.clock import now_ns
from realtime.io.files.harmony import load_tune_harmony
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.metre import BeatGrid, Segment

if TYPE_CHECKING:
    from realtime.io.graphs.latent_graphs import LatentGraphs
    from realtime.io.graphs.stepper import Stepper


@dataclass(frozen=True, slots=True)
class Setup:
    """What to compose with: the model file, the user's constraints, sampling and knobs, metre, tempo and seed."""

    model: str
    provider: str
    threads: int
    constraints: Constraints
    sampling: Sampling
    bars: tuple[Segment, ...]
    bpm: float
    seed: int
    controls: Controls = AS_IT_IS


class Model:
    """An open model. One composer uses it at a time: making another one empties the network's state."""

    def __init__(self, stepper: Stepper, graphs: LatentGraphs | None, remembers: bool = False) -> None:
        """`remembers`: the model takes candidates of a memory."""
        self.stepper = stepper
        self.remembers = remembers
        self.graphs = graphs
        """The networks around the latents; None for a model without a context input."""

    @classmethod
    def load(cls, setup: Setup) -> Model:
        """Open the model file and what lies beside it. Raises `UserError` for a model that cannot be played."""
        from realtime.io.graphs.latent_graphs import LatentGraphs
        from realtime.io.graphs.stepper import Stepper

        stepper = Stepper.load(setup.model, setup.provider, setup.threads)
        graphs = LatentGraphs.load(Path(setup.model), setup.threads, stepper.contract)
        return cls(stepper, graphs, stepper.contract.memory)

    def composer(
        self,
        setup: Setup,
        plan: Mapping[int, np.ndarray] | None = None,
        stepper: AnyStepper | None = None,
        notes: int = CAPACITY,
    ) -> Composer:
        """A composer that has heard nothing yet, with the rolling context and the plans of `jam`.

        `plan`: latents (128,) by the tick of their cell, in place of the live planner's. `stepper`: used in place of the model's
        own, which it wraps. `notes`: how many are remembered, a power of two.
        """
        stepper = stepper or self.stepper
        stepper.reset()
        grid = BeatGrid(setup.bars)
        latents: Latents | None = None
        if self.graphs is not None and plan is not None:
            latents = PlannedLatents(self.graphs, grid, setup.seed, now_ns, setup.controls, plan)
        elif self.graphs is not None:
            latents = Latents(self.graphs, grid, setup.seed, now_ns, setup.controls)
        memory = Memory(notes) if self.remembers else None
        return Composer(
            stepper,
            setup.constraints,
            setup.sampling,
            grid,
            setup.bpm,
            setup.seed,
            now_ns,
            latents,
            setup.controls,
            memory,
            load_tune_harmony(),
        )


class RuleModel:
    """The rules of `realtime.composing.rules` in a model's place: the baseline of what networks play."""

    def composer(self, setup: Setup) -> Rules:
        """Rules that have heard nothing yet."""
        return Rules(setup.constraints, BeatGrid(setup.bars))
