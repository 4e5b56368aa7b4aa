"""The graphs that read or make latents, in onnxruntime: the bar autoencoder, the planner, and the context net of a step graph.

Their files lie beside the step graph. `GRAPHS` gives their inputs and outputs (float32; N and L are free). All must have been
trained with the same autoencoder; its name is in each file's metadata (`Label`), and files with different names are refused.

Threads: one thread at a time uses an object. `load` holds the GIL for long, so load before playing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtime.composing.contract import METADATA_KEY, Contract
from realtime.composing.latents import DRAWN, FUTURE, PREFIX
from realtime.errors import UserError
from realtime.io.graphs.runtime import open_session, run
from realtime.io.graphs.stepper import read_contract
from realtime.music.attributes import CONTROLS
from realtime.music.cells import BEATS, LATENT, ROLL

LATENTS_VERSION = 1
Lengths = tuple[int | str, ...]


class Ports(NamedTuple):
    """Shapes of a graph's inputs and of its one output, by name. A letter stands for a free length."""

    inputs: Mapping[str, Lengths]
    output: tuple[str, Lengths]


GRAPHS = {
    "bars.encode": Ports({"roll": ("N", *ROLL)}, ("latent", ("N", LATENT))),
    "bars.decode": Ports({"latent": ("N", LATENT)}, ("roll", ("N", *ROLL))),
    "planner": Ports(
        {"latent": ("N", "L", LATENT), "time": ("N", "L"), "known": ("N", "L"), "controls": ("N", "L", CONTROLS)},
        ("velocity", ("N", "L", LATENT)),
    ),
    "context": Ports(
        {
            "latent": (1, PREFIX, LATENT),
            "known": (1, PREFIX),
            "plan": (1, FUTURE, LATENT),
            "plan_time": (1, FUTURE),
            "drawn": (1, DRAWN, *ROLL),
            "controls": (1, CONTROLS),
        },
        ("context", (1, BEATS, "d")),
    ),
}
"""By kind. A step graph MODEL.onnx has its context net in MODEL.context.onnx; the others lie beside it as KIND.onnx."""


@dataclass(frozen=True, slots=True)
class Label:
    """A graph's metadata: its kind, its training run, the autoencoder whose latents it uses, the training data."""

    kind: str
    name: str
    bars: str
    data_hash: str
    version: int = LATENTS_VERSION

    def to_json(self) -> str:
        """The metadata value."""
        return json.dumps(asdict(self), sort_keys=True)


class _Graph:
    """One file, opened. Raises `UserError` where it is missing, or is not of this kind."""

    def __init__(self, path: Path, kind: str, threads: int) -> None:
        advice = f"put there what `python -m export.latents` wrote as {kind}"
        if not os.path.isfile(path):  # noqa: PTH113  # Path.is_file raises for a name that is too long
            raise UserError(f"{path}: missing beside the model; {advice}")
        self.path = path
        self._session = open_session(path, ["CPUExecutionProvider"], threads)
        try:
            self.label = Label(**json.loads(self._session.get_modelmeta().custom_metadata_map[METADATA_KEY]))
        except (KeyError, ValueError, TypeError, RecursionError):
            raise UserError(f"{path}: its metadata do not say what it is; {advice}") from None
        ports = GRAPHS[kind]
        inputs = {value.name: tuple(value.shape) for value in self._session.get_inputs()}
        self.outputs = {value.name: tuple(value.shape) for value in self._session.get_outputs()}
        wanted = (kind, LATENTS_VERSION, [*ports.inputs], [ports.output[0]])
        if (self.label.kind, self.label.version, [*inputs], [*self.outputs]) != wanted or not all(
            _fits(inputs[name], shape) for name, shape in ports.inputs.items()
        ):
            raise UserError(f"{path}: not a graph {kind} of version {LATENTS_VERSION}; {advice}")
        self._names = [*inputs]

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        fed = {name: np.asarray(array, np.float32) for name, array in zip(self._names, arrays, strict=True)}
        made = np.asarray(run(self.path.name, self._session.run, None, fed)[0])
        if not np.isfinite(made).all():
            raise UserError(f"{self.path}: what it computes is no number; the file is damaged: install Antiphon again")
        return made


class BarGraphs:
    """The bar autoencoder alone. It does not depend on the step graph."""

    def __init__(self, encode: _Graph, decode: _Graph) -> None:
        """Raises `UserError` where the two are not of the same autoencoder."""
        _check_latents(encode.label.bars, decode)
        self._encode, self._decode = encode, decode

    @classmethod
    def load(cls, model: Path, threads: int = 1) -> BarGraphs:
        """The graphs that lie beside a step graph. Raises `UserError`."""
        return cls(*(_Graph(model.with_name(f"{kind}.onnx"), kind, threads) for kind in ("bars.encode", "bars.decode")))

    @property
    def name(self) -> str:
        """The name of the autoencoder, which identifies its latents."""
        return self._encode.label.bars

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        """(N, 4, 48, 88) -> standardised latents (N, 128)."""
        return self._encode(rolls)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Standardised latents (N, 128) -> probabilities (N, 4, 48, 88)."""
        return self._decode(latents)


class LatentGraphs:
    """All the graphs that a step graph with a context input needs."""

    def __init__(self, bars: BarGraphs, planner: _Graph, context: _Graph) -> None:
        self._bars, self._planner, self._context = bars, planner, context

    def __deepcopy__(self, memo: object) -> LatentGraphs:
        """Itself: it holds no state, so the copies of a composer share it."""
        return self

    @classmethod
    def load(cls, model: Path, threads: int = 1, contract: Contract | None = None) -> LatentGraphs | None:
        """The graphs that lie beside a step graph; None where it has no context input. `contract`: the step graph's, if it has
        been read already. Raises `UserError` where a graph is missing, or belongs to another model."""
        contract = contract or read_contract(model)
        if not contract.context:
            return None
        context = _Graph(model.with_suffix(".context.onnx"), "context", threads)
        if (context.label.name, context.outputs["context"]) != (contract.name, (1, BEATS, contract.context)):
            raise UserError(
                f"{context.path}: made for the model {context.label.name}, but lies beside {contract.name}; "
                "export both of one run"
            )
        planner = _Graph(model.with_name("planner.onnx"), "planner", threads)
        bars = BarGraphs.load(model, threads)
        _check_latents(bars.name, planner, context)
        return cls(bars, planner, context)

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        """(N, 4, 48, 88) -> standardised latents (N, 128)."""
        return self._bars.encode(rolls)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Standardised latents (N, 128) -> probabilities (N, 4, 48, 88)."""
        return self._bars.decode(latents)

    def velocity(self, latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
        """The planner's velocity (N, L, 128): how the latents change per unit of time. It has no meaning where `known` is 0.

        latent: (N, L, 128) at `time` (N, L), from 0 (noise) to 1 (clean); known: (N, L), 1 or 0; controls: (N, L, 18). L is at
        most 20.
        """
        return self._planner(latent, time, known, controls)

    def context(
        self, latent: np.ndarray, known: np.ndarray, plan: np.ndarray, plan_time: np.ndarray, controls: np.ndarray
    ) -> np.ndarray:
        """Context vectors (4, d), one for each beat of the cell that the plan begins with.

        latent: (1, 16, 128), oldest first; known: (1, 16); plan: (1, 4, 128) at `plan_time` (1, 4), 0 for no plan; controls:
        (1, 18).
        """
        drawn = np.zeros((1, DRAWN, *ROLL), np.float32)
        if plan_time.any():
            time = plan_time[0, :DRAWN, None]
            # The best linear estimate of clean latents from noisy ones: see `models.nets.context`.
            drawn[0] = self.decode(plan[0, :DRAWN] * time / ((1 - time) ** 2 + time**2))
        made: np.ndarray = self._context(latent, known, plan, plan_time, drawn, controls)[0]
        return made


def _fits(shape: Lengths, expected: Lengths) -> bool:
    """Whether a file's shape is the expected one. Free lengths have names in a file too, but any name will do."""
    return len(shape) == len(expected) and all(
        isinstance(have, str) if isinstance(want, str) else have == want
        for have, want in zip(shape, expected, strict=True)
    )


def _check_latents(bars: str, *graphs: _Graph) -> None:
    """Raises `UserError` where a graph was made for the latents of another autoencoder."""
    for graph in graphs:
        if graph.label.bars != bars:
            raise UserError(
                f"{graph.path}: made for the latents of the autoencoder {graph.label.bars}, but bars.encode.onnx beside it is of "
                f"{bars}; export all of them from runs that belong together"
            )
