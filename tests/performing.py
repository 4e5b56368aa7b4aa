"""For the tests of whole performances: steppers and graphs of known behaviour, tunes, and checks of what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from realtime import midi
from realtime.composing.composer import Composer
from realtime.composing.constraints import SLICES, Constraints, Sampling
from realtime.composing.contract import MASKED
from realtime.composing.latents import FUTURE, PREFIX, Graphs
from realtime.core.dialogue import ModelNote, Plan, PlayerNote, Proposed, Request, Turn
from realtime.core.engine import Engine, EngineSettings
from realtime.core.modes import Accompany, Continue, Harmonise, Trade
from realtime.core.scheduler import Sent
from realtime.core.tempo import PPQN, PULSES_PER_TICK, TempoMap
from realtime.io.live.model import Model, Setup
from realtime.music.attributes import CONTROLS
from realtime.music.cells import BEATS, LATENT, ROLL
from realtime.music.chords import CHORDS
from realtime.music.vocabulary import BEAT, HEADS, Role
from realtime.simulate import Performance, perform

MODES = {"continue": Continue(4), "trade": Trade(2), "accompany": Accompany(), "harmonise": Harmonise(1)}
MS = 1_000_000
BEAT_NS = 500 * MS  # at 120 bpm
BAR_NS = 4 * BEAT_NS
BAR_PULSES = 4 * PPQN
ANYTHING, AS_IT_COMES = Constraints(), Sampling(temperature=1.0)

Script = list[tuple[int, bytes]]
SentList = list[tuple[int, int, bytes]]


class NoiseStepper:
    """A stepper without a model: every choice that is not masked is equally likely.

    It keeps the events it was fed (`fed`), their held-now flags (`held`) and candidates (`recalled`): the stream that a model
    would
    have seen.
    """

    def __init__(self, slots: int = 4096) -> None:
        self.slots = slots
        self.steps = 0
        self.fed: list[tuple[int, ...]] = []
        self.held: list[np.ndarray] = []
        self.recalled: list[tuple[np.ndarray | None, np.ndarray | None]] = []
        self._oldest = 0

    @property
    def position(self) -> int:
        return len(self.fed)

    @property
    def oldest(self) -> int:
        return self._oldest

    def step(  # type: ignore[no-untyped-def]
        self, event, held, release, bias, sampling, noise, context=None, candidates=None, features=None
    ):
        self.steps += 1
        self.fed.append(tuple(event))
        self.held.append(held)
        self.recalled.append((candidates, features))
        self._oldest = max(self._oldest, len(self.fed) - self.slots + 1)
        chord = int(noise[-1] * CHORDS)
        return np.array([*self.draw(release, bias, noise), chord])

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        choice: list[int] = []
        for i, name in enumerate(HEADS):
            allowed = bias[SLICES[name]] > MASKED / 2
            if name == "pitch" and choice[0] != BEAT:
                allowed &= release <= choice[0]
            ids = np.flatnonzero(allowed)
            if not len(ids):
                return [BEAT, 0, 0, 0, 0]
            choice.append(int(ids[int(noise[i] * len(ids))]))
        return choice

    def rewind(self, position: int) -> None:
        assert self.oldest <= position <= self.position
        del self.fed[position:], self.held[position:], self.recalled[position:]

    def reset(self) -> None:
        self.fed.clear()
        self.held.clear()
        self.recalled.clear()
        self._oldest = 0


class Eager(NoiseStepper):
    """Draws the first of what is allowed."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        return super().draw(release, bias, noise * 0)


PROJECT = np.random.default_rng(1).standard_normal((int(np.prod(ROLL)), LATENT)).astype(np.float32) / 100
"""The projection with which `FakeGraphs` encode a roll."""
D = 6
"""The width of the context vectors of `FakeGraphs`."""


class FakeGraphs:
    """Graphs whose results depend on every input. They keep their inputs."""

    def __init__(self) -> None:
        self.rolls: list[np.ndarray] = []
        self.velocities: list[tuple[np.ndarray, ...]] = []
        self.contexts: list[tuple[np.ndarray, ...]] = []

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        assert rolls.shape == (1, *ROLL) and rolls.dtype == np.float32
        self.rolls.append(rolls[0])
        return rolls.reshape(1, -1) @ PROJECT

    def velocity(self, latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
        n = len(latent)
        assert [x.shape for x in (latent, time, known, controls)] == [
            (n, 20, LATENT),
            (n, 20),
            (n, 20),
            (n, 20, CONTROLS),
        ]
        assert {x.dtype for x in (latent, time, known, controls)} == {np.dtype(np.float32)}
        self.velocities.append((latent, time, known, controls))
        mean = (latent[:, :PREFIX] * known[:, :PREFIX, None]).mean(1, keepdims=True)
        return mean - 0.5 * latent + controls.mean(-1, keepdims=True)

    def context(
        self, latent: np.ndarray, known: np.ndarray, plan: np.ndarray, plan_time: np.ndarray, controls: np.ndarray
    ) -> np.ndarray:
        given = (latent, known, plan, plan_time, controls)
        assert [x.shape for x in given] == [
            (1, PREFIX, LATENT),
            (1, PREFIX),
            (1, FUTURE, LATENT),
            (1, FUTURE),
            (1, CONTROLS),
        ]
        assert {x.dtype for x in given} == {np.dtype(np.float32)}
        self.contexts.append(given)
        total = latent.sum(1) + 3 * (plan * plan_time[..., None]).sum(1) + controls.sum()
        return total[0, :D] + np.arange(BEATS, dtype=np.float32)[:, None]


class ContextStepper(NoiseStepper):
    """A stepper whose choices depend on the context vector, which it keeps for every event."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[np.ndarray] = []

    def step(  # type: ignore[no-untyped-def]
        self, event, held, release, bias, sampling, noise, context=None, candidates=None, features=None
    ):
        del self.contexts[len(self.fed) :]
        self.contexts.append(context)
        return super().step(event, held, release, bias, sampling, (noise + abs(context).sum()) % 1, context)


def settings_of(mode: str, **changes: object) -> EngineSettings:
    """The default settings with `changes`, for `mode` among `MODES`."""
    return replace(EngineSettings(MODES, mode), **changes)  # type: ignore[arg-type]


def composer_of(
    stepper: NoiseStepper | None = None,
    constraints: Constraints = ANYTHING,
    sampling: Sampling = AS_IT_COMES,
    seed: int = 1,
    settings: EngineSettings | None = None,
    graphs: Graphs | None = None,
    memory: bool = False,
) -> Composer:
    """A composer without a model. With `graphs` it has a rolling latent context."""
    settings = settings or settings_of("trade")
    setup = Setup("", "", 1, constraints, sampling, settings.bars, settings.bpm, seed, settings.controls)
    return Model(stepper or NoiseStepper(), graphs, memory).composer(setup)  # type: ignore[arg-type]


def duet(
    script: Script,
    until_ns: int,
    mode: str = "trade",
    constraints: Constraints = ANYTHING,
    sampling: Sampling = AS_IT_COMES,
    seed: int = 1,
    think_ns: int = 0,
    stepper: NoiseStepper | None = None,
    loopback_ns: int | None = None,
    graphs: Graphs | None = None,
    **changes: object,
) -> tuple[Performance, Engine]:
    """Play a script with the engine and the composer in simulated time."""
    settings = settings_of(mode, **changes)
    engine = Engine(settings, TempoMap(settings.bpm))
    composer = composer_of(stepper, constraints, sampling, seed, settings, graphs)
    return perform(engine, composer, script, until_ns, think_ns, loopback_ns), engine


class StepByStep:
    """A session that a test moves on itself, to look at the state in between. The composer answers at once."""

    def __init__(self, mode: str, composer: Composer | None = None, **changes: object) -> None:
        settings = settings_of(mode, **changes)
        self.engine = Engine(settings, TempoMap(settings.bpm))
        self.composer = composer or composer_of(settings=settings)
        self.sends: list[tuple[int, Sent]] = []
        self.requests: list[Request] = []
        self.pieces: int | None = None
        """How many calls of `composer.work` are made at a time; None: as many as there is work for."""

    @property
    def sent(self) -> SentList:
        """What was sent so far, in order."""
        return [(ns, sent.pulse, sent.message) for ns, sent in self.sends]

    def until(self, ns: int) -> None:
        """Let time pass up to `ns`."""
        now_ns = 0
        while (wake_ns := self.engine.wake_ns()) is not None and wake_ns <= ns:
            now_ns = max(now_ns, wake_ns)
            self.settle(now_ns)
        self.settle(ns)

    def play(self, message: bytes, ns: int) -> None:
        """Let time pass up to `ns`, then let `message` come in."""
        self.until(ns)
        self.engine.handle(message, ns)
        self.settle(ns)

    def settle(self, ns: int) -> None:
        """Send what is due, and pass requests and replies until there are none left."""
        while True:
            self.sends += [(ns, sent) for sent in self.engine.poll(ns)]
            requests = self.engine.take_requests()
            if not requests:
                break
            self.requests += requests
            for request in requests:
                for reply in self.composer.handle(request):
                    self.engine.receive(reply, ns)
        done = 0
        while self.composer.busy and done != self.pieces:
            if (planned := self.composer.work()) is not None:
                self.engine.receive(planned, ns)
            done += 1


def proposals(composer: Composer, *requests: Request) -> list[ModelNote]:
    """The notes with which a composer replies to `requests`."""
    replies = [reply for request in requests for reply in composer.handle(request)]
    return [reply.note for reply in replies if isinstance(reply, Proposed)]


def plans(requests: list[Request]) -> list[Plan]:
    """The plans among `requests`."""
    return [request for request in requests if isinstance(request, Plan)]


def tune(pitches: list[int | None], note_ns: int = BEAT_NS, start_ns: int = 0, channel: int = 0) -> Script:
    """Even notes (None: a rest), each held for 80 % of its time."""
    script = []
    for i, pitch in enumerate(pitches):
        if pitch is not None:
            script.append((start_ns + i * note_ns, midi.note_on(channel, pitch, 80)))
            script.append((start_ns + i * note_ns + note_ns * 4 // 5, midi.note_off(channel, pitch)))
    return script


def tick_ns(tick: float, bpm: float = 120) -> int:
    """Host time 1 ns after `tick`, with tick 0 at 0 ns."""
    return round(tick * 60e9 / 24 / bpm) + 1


def assert_nothing_hangs(sent: SentList) -> None:
    """Every note-on sent is followed by exactly one note-off, and every note-off follows its note-on."""
    sounding: Counter[tuple[int, int]] = Counter()
    for _, _, message in sent:
        key = (midi.channel(message), message[1])
        if midi.is_note_on(message):
            assert sounding[key] == 0, f"{key} struck while it sounds"
            sounding[key] += 1
        elif midi.is_note_off(message):
            sounding[key] -= 1
            assert sounding[key] == 0, f"{key} released while it is silent"
    assert not +sounding, f"left hanging: {+sounding}"


def onsets(sent: SentList) -> list[tuple[int, int, int]]:
    """(host ns, pulse, pitch) of the note-ons sent."""
    return [(ns, pulse, message[1]) for ns, pulse, message in sent if midi.is_note_on(message)]


class Span(NamedTuple):
    """A note as it sounded, in host ns."""

    on_ns: int
    off_ns: int
    tick: int
    pitch: int


def spans(sent: SentList) -> list[Span]:
    """The notes sent, by their onset."""
    down: dict[tuple[int, int], tuple[int, int]] = {}
    found = []
    for ns, pulse, message in sent:
        key = (midi.channel(message), message[1])
        if midi.is_note_on(message):
            down[key] = (ns, pulse // PULSES_PER_TICK)
        elif midi.is_note_off(message):
            on_ns, tick = down.pop(key)
            found.append(Span(on_ns, ns, tick, key[1]))
    return sorted(found)


def trade(generation: int, boundary: int, turn: Turn | None, until: int = 0, played: PlayerNote | None = None) -> Plan:
    return Plan(generation, boundary, played, Role.TRADE, turn, until)


def fed_with_keys(stepper: NoiseStepper) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The stream: each event with the held-now vector it came with."""
    return [(event, tuple(np.flatnonzero(held))) for event, held in zip(stepper.fed, stepper.held, strict=True)]
