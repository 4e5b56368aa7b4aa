"""What `bench` measures of the model in one process: a step, a step after a long history, going back.

The model is fed what it is fed in a session: a scripted duet is played in simulated time first, and its steps written down.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from realtime.composing.composer import Composer
from realtime.config import Config
from realtime.core.dialogue import Plan, Request, Turn
from realtime.core.engine import Engine
from realtime.core.tempo import PPQN, TempoMap
from realtime.io.clock import now_ns
from realtime.io.graphs.stepper import Stepper
from realtime.io.live.demo import scripted_player
from realtime.io.live.model import Model
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.music.metre import TICKS
from realtime.music.vocabulary import Role
from realtime.simulate import perform

CONTEXTS = (128, 1024, 16384)
PLAN_BEATS = 2
WARM_UP = 50
RUN = 20
"""Steps in a row before another context has its turn: enough for warm caches, little enough for the clock's drift."""


class Step(NamedTuple):
    """The arguments of one step; see `contract.Stepper`."""

    event: tuple[int, ...]
    held: np.ndarray
    release: np.ndarray
    bias: np.ndarray
    sampling: np.ndarray
    noise: np.ndarray
    context: np.ndarray | None = None
    candidates: np.ndarray | None = None
    features: np.ndarray | None = None


class _Tape:
    """A stepper that writes down what it is fed."""

    def __init__(self, stepper: Stepper) -> None:
        self.steps: list[Step] = []
        self._stepper = stepper

    @property
    def position(self) -> int:
        return self._stepper.position

    @property
    def oldest(self) -> int:
        return self._stepper.oldest

    def step(
        self,
        event: tuple[int, ...],
        held: np.ndarray,
        release: np.ndarray,
        bias: np.ndarray,
        sampling: np.ndarray,
        noise: np.ndarray,
        context: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        given = (held, release, bias, sampling, noise, context, candidates, features)
        copies = [None if values is None else np.array(values) for values in given]
        self.steps.append(Step(tuple(event), *copies))  # type: ignore[arg-type]  # None only where a Step may have it
        return self._stepper.step(event, held, release, bias, sampling, noise, context, candidates, features)

    def rewind(self, position: int) -> None:
        self._stepper.rewind(position)

    def reset(self) -> None:
        self._stepper.reset()


def duet_steps(config: Config, model: Model) -> list[Step]:
    """Every step of the demo's duet in the configured mode, in simulated time."""
    tape = _Tape(model.stepper)
    script, bars = scripted_player(config)
    tempo = TempoMap(config.sync.tempo_bpm)
    perform(
        Engine(engine_settings(config), tempo),
        model.composer(worker_setup(config), stepper=tape),
        script,
        tempo.ns_at(bars * config.sync.beats_per_bar * PPQN),
    )
    return tape.steps


def step_times(stepper: Stepper, steps: Sequence[Step], count: int) -> np.ndarray:
    """Nanoseconds of `count` steps: feed one event and sample what follows."""
    stepper.reset()
    with undisturbed():
        _times(stepper, steps, WARM_UP)
        return _times(stepper, steps, count)


def context_times(load: Callable[[], Stepper], steps: Sequence[Step], runs: int) -> dict[int, np.ndarray]:
    """Nanoseconds of `runs` times RUN steps after each number of events in `CONTEXTS`, in turns.

    Each context has a stepper of its own; in turns, so that whatever else the machine does falls on all alike.
    """
    steppers: dict[int, Stepper] = {}
    for context in CONTEXTS:
        stepper = steppers[context] = load()
        _times(stepper, steps, context + WARM_UP)
        stepper.rewind(max(stepper.oldest, 1))
    times: dict[int, list[np.ndarray]] = {context: [] for context in CONTEXTS}
    with undisturbed():
        for run in range(runs):
            for context in np.roll(CONTEXTS, run).tolist():
                times[context].append(_times(steppers[context], steps, RUN))
    return {context: np.concatenate(parts) for context, parts in times.items()}


def rollback_times(config: Config, model: Model, count: int) -> np.ndarray:
    """Nanoseconds the composer takes to go back over a plan of two beats, so that the next event can be fed."""
    composer = model.composer(worker_setup(config))
    times = []
    with undisturbed():
        for beat in range(count):
            tick = beat * TICKS
            proposal = Plan(2 * beat, tick, None, Role.ACCOMPANY, Turn(tick), tick + PLAN_BEATS * TICKS)
            _drain(composer, proposal)
            surprise = Plan(2 * beat + 1, tick, None, Role.ACCOMPANY)
            started = now_ns()
            _drain(composer, surprise)
            times.append(now_ns() - started)
    return np.array(times)


def percentiles(times: Sequence[int] | np.ndarray, per: float, *which: str) -> dict[str, float]:
    """Such as {"p50": ..., "max": ...} of nanoseconds, in units of `per` nanoseconds."""
    points = {"p50": 50, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(np.asarray(times), points[name])) / per, 4) for name in which}


@contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection, as in the worker."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _times(stepper: Stepper, steps: Sequence[Step], count: int) -> np.ndarray:
    times = np.empty(count, np.int64)
    for i in range(count):
        step = steps[i % len(steps)]
        started = now_ns()
        stepper.step(*step)
        times[i] = now_ns() - started
    return times


def _drain(composer: Composer, request: Request) -> None:
    replies: Iterable[object] = composer.handle(request)
    for _ in replies:
        pass
