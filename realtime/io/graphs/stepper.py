"""The step graph in onnxruntime: one call a note, and a ring of states, so that going back takes constant time.

Threads: one thread at a time uses a `Stepper` (the worker's). `load` holds the GIL for long, so load before playing.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realtime.composing.contract import DRAWN, LOGITS, METADATA_KEY, Contract, ContractError
from realtime.composing.memory import EXPERTS, FEATURES, NOTHING
from realtime.errors import UserError
from realtime.io.graphs.runtime import first_line, open_session, ort, run
from realtime.music.vocabulary import FIELDS, HEADS, HELD

PROVIDERS = ("auto", "cpu", "cuda")
WARM_UP, TIMED = 5, 30
"""Steps that are taken on each device, where the faster is to play."""
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}

INPUTS: dict[str, tuple[tuple[int, ...], type]] = {
    "event": ((1, 1, len(FIELDS)), np.int64),
    "held": ((1, 1, HELD), np.float32),
    "release": ((1, HEADS["pitch"]), np.float32),
    "bias": ((1, LOGITS), np.float32),
    "sampling": ((1, len(DRAWN), 3), np.float32),
    "noise": ((1, len(DRAWN)), np.float32),
}
"""Shapes and types of the inputs that every step graph has; see `inputs_of`."""
OUTPUTS: dict[str, tuple[tuple[int, ...], type]] = {
    "choice": ((1, len(DRAWN)), np.int64),
    "logits": ((1, LOGITS), np.float32),
}


class _Buffer:
    """A small tensor whose address never changes: shared with numpy on the CPU, copied over the bus on a GPU."""

    def __init__(self, shape: tuple[int, ...], dtype: type, device: str) -> None:
        self.host: np.ndarray = np.zeros(shape, dtype)
        self.value = ort.OrtValue.ortvalue_from_numpy(self.host, device, 0)
        self._shared = device == "cpu"

    def write(self, values: Any) -> None:
        """`values` is anything that numpy can broadcast to the shape."""
        if self._shared:
            self.host[...] = values
        elif not np.array_equal(
            self.host.reshape(-1), np.reshape(values, -1)
        ):  # an upload costs more than a comparison
            self.host[...] = values
            self.value.update_inplace(self.host)

    def read(self) -> np.ndarray:
        """A copy, without the batch axis."""
        return np.array(self.host[0] if self._shared else self.value.numpy()[0])


class Stepper:
    """A model that is being played. `position` counts its states; `rewind` goes back to one of the last `slots`.

    Position 0 is the empty history. A step always goes from slot i of the ring
    to slot i + 1, in buffers that never move, so each binding is made once and can be captured as a CUDA graph.
    """

    def __init__(self, session: ort.InferenceSession, contract: Contract, slots: int, graphs: bool = False) -> None:
        """`graphs`: the session uses CUDA graphs, one for each slot; they are captured here."""
        self.contract = contract
        self.provider: str = session.get_providers()[0].removesuffix("ExecutionProvider").lower()
        self.notice: str | None = None
        self.slots = slots
        self.position = 0
        self.oldest = 0
        self._session = session
        self._device = "cuda" if self.provider == "cuda" else "cpu"
        self._shapes = state_shapes(session)
        inputs = inputs_of(contract).items()
        self._inputs = {name: _Buffer(shape, dtype, self._device) for name, (shape, dtype) in inputs}
        self._outputs = {name: _Buffer(shape, dtype, self._device) for name, (shape, dtype) in OUTPUTS.items()}
        self._ring = [
            {
                name: ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self._device)
                for name, shape in self._shapes.items()
            }
            for _ in range(slots)
        ]
        self._bindings = [self._bind(slot) for slot in range(slots)]
        # Without graphs there is nothing to look up in the options.
        self._options: list[ort.RunOptions | None] = [None] * slots
        if graphs:
            for slot in range(slots):
                options = self._options[slot] = ort.RunOptions()
                options.add_run_config_entry("gpu_graph_id", str(slot))
                # The first run captures, and runs the model more than once.
                session.run_with_iobinding(self._bindings[slot], options)
        self.reset()  # last: a capture of the last slot steps into the first

    @classmethod
    def load(cls, path: str | Path, provider: str = "auto", threads: int = 1, slots: int = 96) -> Stepper:
        """Open a model file. Raises `UserError` where it is missing, is not a model, or is one that this program cannot play.

        `provider` is one of `PROVIDERS`. Where CUDA was asked for and cannot be used, the CPU plays and `notice` says why.
        `slots` is at least 2: one more than the number of steps that can be undone.
        """
        path = Path(path)
        if provider not in PROVIDERS:
            raise UserError(f"provider {provider!r} is unknown; allowed: {', '.join(PROVIDERS)}")
        _there(path)
        notice = None
        if provider != "cpu":
            notice = _cuda_missing()
            if notice is None:
                stepper, notice = cls._load_cuda(path, threads, slots)
                if stepper is not None and provider == "auto":
                    return stepper._or_faster(cls._load_cpu(path, threads, slots), notice)
                if stepper is not None:
                    stepper.notice = notice or None
                    return stepper
            elif provider == "auto":
                notice = None  # the user did not ask for CUDA
        stepper = cls._load_cpu(path, threads, slots)
        stepper.notice = f"CUDA cannot be used ({notice}); playing on the CPU" if notice else None
        return stepper

    @classmethod
    def profiled(cls, path: Path, prefix: Path, slots: int = 8) -> Stepper:
        """One on the CPU whose operators onnxruntime times (`open_session`), until `end_profile`. Raises as `load` does."""
        _there(path)
        return cls._load_cpu(path, 1, slots, prefix)

    def end_profile(self) -> Path:
        """The file with the times of a stepper that is `profiled`."""
        return Path(self._session.end_profiling())

    @classmethod
    def _load_cpu(cls, path: Path, threads: int, slots: int, profile: Path | None = None) -> Stepper:
        session = open_session(path, [_CPU], threads, reuse=False, profile=profile)
        stepper = cls(session, _contract(path, session), slots)
        try:
            stepper.try_out()
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        return stepper

    @classmethod
    def _load_cuda(cls, path: Path, threads: int, slots: int) -> tuple[Stepper | None, str]:
        """A stepper on the GPU, with CUDA graphs where they can be captured, or None; and a notice for the user, or ""."""
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the names of libraries that it does not find
            ort.preload_dlls()
        problem = ""
        for graphs in (True, False):
            options = {**_CUDA_OPTIONS, "enable_cuda_graph": str(int(graphs))}
            try:
                session = open_session(path, [(_CUDA, options), _CPU], threads)
                if session.get_providers()[0] != _CUDA:
                    return None, "its libraries do not load: pip install 'antiphon[cuda]'"
                stepper = cls(session, _contract(path, session), slots, graphs)
                stepper.try_out()
            except Exception as error:  # onnxruntime raises many types, and each of them leaves the CPU to play on
                problem = first_line(error)
                continue
            return stepper, "" if graphs else f"CUDA graphs are off ({problem}); each note takes longer"
        return None, problem

    def _or_faster(self, cpu: Stepper, notice: str) -> Stepper:
        """The faster of two steppers, this one being on the GPU; which it is, and why, in its notice."""
        gpu_ms, cpu_ms = self._step_ms(), cpu._step_ms()
        chosen, place = (self, "GPU") if gpu_ms < cpu_ms else (cpu, "CPU")
        chosen.notice = f"a step takes {gpu_ms:.2f} ms on the GPU, {cpu_ms:.2f} ms on the CPU: the {place} plays"
        if chosen is self and notice:
            chosen.notice += f"; {notice}"
        return chosen

    def _step_ms(self) -> float:
        """The median of TIMED steps, after some to warm up. Leaves the empty history."""
        times = []
        for _ in range(WARM_UP + TIMED):
            started = time.perf_counter()
            self._try_step()
            times.append(time.perf_counter() - started)
        self.reset()
        return statistics.median(times[WARM_UP:]) * 1e3

    def try_out(self) -> None:
        """Take a step and forget it. Raises `UserError` where it cannot be taken, or gives what are no numbers."""
        self._try_step()
        if not np.isfinite(self.last_logits).all():
            raise self._not_finite()
        self.reset()

    def _try_step(self) -> None:
        held, release, bias = (np.zeros(size, np.float32) for size in (HELD, HEADS["pitch"], LOGITS))
        sampling = np.tile(np.array([1.0, 0.0, 1.0], np.float32), (len(DRAWN), 1))
        half = np.full(len(DRAWN), 0.5, np.float32)
        # A candidate of each expert, so that the weights of the memory count too.
        recalled = (np.zeros((EXPERTS, len(NOTHING))), np.ones((EXPERTS, FEATURES))) if self.contract.memory else ()
        self.step(np.zeros(len(FIELDS), np.int64), held, release, bias, sampling, half, None, *recalled)

    def _not_finite(self) -> UserError:
        return UserError(
            f"model {self.contract.name}: what it computes is no number; the file is damaged: "
            "install Antiphon again, or export it again"
        )

    def _bind(self, slot: int) -> ort.IOBinding:
        """The binding of the step from a slot into the next one."""
        binding = self._session.io_binding()
        before, after = self._ring[slot], self._ring[(slot + 1) % self.slots]
        for name, buffer in self._inputs.items():
            binding.bind_ortvalue_input(name, buffer.value)
        for name, buffer in self._outputs.items():
            binding.bind_ortvalue_output(name, buffer.value)
        for name in self._shapes:
            binding.bind_ortvalue_input(f"{name}_in", before[name])
            binding.bind_ortvalue_output(f"{name}_out", after[name])
        return binding

    def step(
        self,
        event: Sequence[int] | np.ndarray,
        held: np.ndarray,
        release: np.ndarray,
        bias: np.ndarray,
        sampling: np.ndarray,
        noise: np.ndarray,
        context: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        """Feed one event and draw what follows. Returns a copy of the choice, (6,) int64.

        event: the ten ids of `vocabulary.FIELDS`; held: (256,); release: (128,); bias: (337,); sampling: (6, 3);
        noise: (6,) in [0, 1); context: (contract.context,), candidates (EXPERTS, 5) and features (EXPERTS, FEATURES): None is
        nothing, and all that a graph without such an input takes. All are copied; see `realtime.composing.contract`.
        """
        inputs = self._inputs
        inputs["event"].write(event)
        inputs["held"].write(held)
        inputs["release"].write(release)
        inputs["bias"].write(bias)
        inputs["sampling"].write(sampling)
        inputs["noise"].write(noise)
        if context is not None or "context" in inputs:  # a context for a graph without one is an error
            inputs["context"].write(0.0 if context is None else context)
        if candidates is not None or "candidates" in inputs:
            inputs["candidates"].write(NOTHING if candidates is None else candidates)
            inputs["features"].write(0.0 if features is None else features)
        slot = self.position % self.slots
        run(self.contract.name, self._session.run_with_iobinding, self._bindings[slot], self._options[slot])
        # Where one of them is no number, or infinite, so is their sum.
        if self._device == "cpu" and not math.isfinite(np.add.reduce(self._outputs["logits"].host[0])):
            raise self._not_finite()
        self._advance()
        return self._outputs["choice"].read()

    def rewind(self, position: int) -> None:
        """Go back to an earlier position. Raises `ValueError` where the ring no longer holds it."""
        if not self.oldest <= position <= self.position:
            raise ValueError(f"position {position} is gone; the ring holds {self.oldest}..{self.position}")
        self.position = position

    def reset(self) -> None:
        """Back to the empty history."""
        self.restore([{name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}])

    def save(self, count: int) -> list[dict[str, np.ndarray]]:
        """Copies of the last `count` states, or of as many as the ring holds, oldest first, by name."""
        first = max(self.position - count + 1, self.oldest)
        slots = (self._ring[position % self.slots] for position in range(first, self.position + 1))
        return [{name: np.array(value.numpy()) for name, value in states.items()} for states in slots]

    def restore(self, states: list[dict[str, np.ndarray]]) -> None:
        """Go on from states that were saved, fewer than `slots`. They are the positions 0, 1, ... from now on."""
        for slot, state in enumerate(states):
            for name, value in state.items():
                self._ring[slot][name].update_inplace(value)
        self.position, self.oldest = len(states) - 1, 0

    @property
    def last_logits(self) -> np.ndarray:
        """A copy of the last step's logits (337,), before biases."""
        return self._outputs["logits"].read()

    def _advance(self) -> None:
        self.position += 1
        self.oldest = max(self.oldest, self.position - self.slots + 1)


def _cuda_missing() -> str | None:
    """Why this machine cannot use CUDA, or None where it may be able to."""
    if _CUDA not in ort.get_available_providers():
        return "this onnxruntime is built without it"
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine"
    return None


def read_contract(path: Path) -> Contract:
    """The contract in a step graph's metadata. Raises `UserError` as `Stepper.load` does."""
    _there(path)
    return _contract(path, open_session(path, [_CPU], 1))


def _there(path: Path) -> None:
    """Raises `UserError` where there is no such file, or an empty one."""
    if not os.path.isfile(path) or not path.stat().st_size:  # noqa: PTH113  # Path.is_file raises for a name that is too long
        raise UserError(f"{path}: no model there; give an ONNX file that `python -m export` wrote")


def state_shapes(session: ort.InferenceSession) -> dict[str, tuple[int, ...]]:
    """Shape of each state of a step graph by name, without _in ("s0", "c0", ...), in order."""
    inputs = session.get_inputs()
    return {value.name.removesuffix("_in"): tuple(value.shape) for value in inputs if value.name.endswith("_in")}


def inputs_of(contract: Contract) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape for one event and type of each input of a step graph beside its states, in order."""
    inputs = dict(INPUTS)
    if contract.memory:
        inputs |= {"candidates": ((1, 1, EXPERTS, 5), np.int64), "features": ((1, 1, EXPERTS, FEATURES), np.float32)}
    return inputs | ({"context": ((1, 1, contract.context), np.float32)} if contract.context else {})


def _contract(path: Path, session: ort.InferenceSession) -> Contract:
    """The contract in a file. Raises `UserError` where its graph does not keep it, or this program cannot play it."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    try:
        if text is None:
            raise ContractError("it holds no contract of Antiphon's, so it is no model for Antiphon")
        contract = Contract.from_json(text)
        states, inputs = state_shapes(session), inputs_of(contract)
        declared = {value.name: tuple(value.shape) for value in session.get_inputs()}
        outputs = {value.name: tuple(value.shape) for value in session.get_outputs()}
        if (
            list(states) != [f"{kind}{layer}" for layer in range(contract.layers) for kind in "sc"]
            or list(declared) != [*inputs, *(f"{name}_in" for name in states)]
            or any(declared[name] != shape for name, (shape, _) in inputs.items())
            or list(outputs) != [*OUTPUTS, *(f"{name}_out" for name in states)]
            or any(outputs[f"{name}_out"] != shape for name, shape in states.items())
            or not all(isinstance(length, int) for shape in states.values() for length in shape)
        ):
            raise ContractError("its inputs and outputs are not those of its contract")
    except (ContractError, TypeError) as error:  # TypeError: the contract's numbers make no sense
        raise UserError(f"{path}: {error}; export it again with this version") from None
    return contract
