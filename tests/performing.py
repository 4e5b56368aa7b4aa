"""What the tests of whole performances share: a model with known behaviour, a way to write tunes, and the one invariant."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from realtime import midi
from realtime.composer import Composer
from realtime.constraints import SLICES, Constraints, Sampling
from realtime.contract import MASKED
from realtime.engine import Engine, EngineSettings
from realtime.modes import Accompany, Continue, Harmonise, Trade
from realtime.simulate import Performance, perform
from realtime.tempo import TempoMap
from realtime.vocabulary import BEAT, HEADS, BeatGrid

MODES = {"continue": Continue(4), "trade": Trade(2), "accompany": Accompany(), "harmonise": Harmonise(1)}
BEAT_NS = 500_000_000  # at 120 bpm


class NoiseStepper:
    """A stepper without a model: every choice that is not masked is equally likely, drawn with the noise it is given.

    It remembers what it was fed, so that a test can look at the stream the model would have seen.
    """

    def __init__(self, slots: int = 4096) -> None:
        self.slots = slots
        self.fed: list[tuple[int, ...]] = []
        self.held: list[np.ndarray] = []

    @property
    def position(self) -> int:
        return len(self.fed)

    @property
    def oldest(self) -> int:
        return max(0, len(self.fed) - self.slots + 1)

    def step(self, event, held, release, bias, sampling, noise):  # type: ignore[no-untyped-def]
        self.fed.append(tuple(event))
        self.held.append(held)
        choice = []
        for i, (name, where) in enumerate(SLICES.items()):
            allowed = bias[where] > MASKED / 2
            if name == "pitch" and choice[0] != BEAT:
                allowed &= release <= choice[0]
            ids = np.flatnonzero(allowed)
            if not len(ids):
                return np.array([BEAT, 0, 0, 0, 0]), np.zeros(len(HEADS))
            choice.append(int(ids[int(noise[i] * len(ids))]))
        return np.array(choice), np.zeros(len(HEADS))

    def rewind(self, position: int) -> None:
        assert self.oldest <= position <= self.position
        del self.fed[position:], self.held[position:]

    def reset(self) -> None:
        self.fed.clear()
        self.held.clear()


def duet(
    script: list[tuple[int, bytes]],
    until_ns: int,
    mode: str = "trade",
    constraints: Constraints = Constraints(),
    sampling: Sampling = Sampling(),
    seed: int = 1,
    think_ns: int = 0,
    stepper: NoiseStepper | None = None,
    **settings: object,
) -> tuple[Performance, Engine]:
    """Play a script with the engine and the composer in simulated time."""
    chosen = replace(EngineSettings(MODES, mode), **settings)  # type: ignore[arg-type]
    engine = Engine(chosen, TempoMap(chosen.bpm))
    grid = BeatGrid(chosen.bars)
    composer = Composer(stepper or NoiseStepper(), constraints, sampling, grid, chosen.bpm, seed, lambda: 0)
    return perform(engine, composer, script, until_ns, think_ns), engine


def tune(pitches: list[int | None], note_ns: int = BEAT_NS, start_ns: int = 0, channel: int = 0) -> list[tuple[int, bytes]]:
    """Even notes (None: a rest), each held for 80 % of its time."""
    script = []
    for i, pitch in enumerate(pitches):
        if pitch is not None:
            script.append((start_ns + i * note_ns, midi.note_on(channel, pitch, 80)))
            script.append((start_ns + i * note_ns + note_ns * 4 // 5, midi.note_off(channel, pitch)))
    return script


def assert_nothing_hangs(sent: list[tuple[int, int, bytes]]) -> None:
    """Every note-on sent is followed by exactly one note-off, and no note-off comes out of nowhere."""
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


def onsets(sent: list[tuple[int, int, bytes]]) -> list[tuple[int, int, int]]:
    """(host ns, pulse, pitch) of the note-ons sent."""
    return [(ns, pulse, message[1]) for ns, pulse, message in sent if midi.is_note_on(message)]
