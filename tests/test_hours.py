"""Hours of playing in simulated time: nothing hangs, nothing grows, and no mode takes longer the longer it is played."""

from __future__ import annotations

import random

import numpy as np
import pytest
from performing import BEAT_NS, MODES, FakeGraphs, NoiseStepper, composer_of
from test_machine import Session

from realtime import midi
from realtime.music.chords import CHORDS
from realtime.music.vocabulary import BEAT

resource = pytest.importorskip("resource", reason="memory is measured as POSIX systems count it")
HOUR_NS = 3600 * 10**9
GROWS_KB = 4096
"""By so much the whole process may have grown since its first tenth."""


class Forgetful(NoiseStepper):
    """It rests more often than it plays, and keeps nothing of what it was fed."""

    def __init__(self) -> None:
        super().__init__(96)
        self._position = 0

    @property
    def position(self) -> int:
        return self._position

    def step(  # type: ignore[no-untyped-def]
        self, event, held, release, bias, sampling, noise, context=None, candidates=None, features=None
    ):
        self.steps += 1
        self._position += 1
        self._oldest = max(self._oldest, self._position - self.slots + 1)
        drawn = [BEAT, 0, 0, 0, 0] if noise[1] < 0.6 else self.draw(release, bias, noise)
        return np.array([*drawn, int(noise[-1] * CHORDS)])

    def rewind(self, position: int) -> None:
        assert self._oldest <= position <= self._position
        self._position = position

    def reset(self) -> None:
        self._position = self._oldest = 0


class Unrecorded(FakeGraphs):
    """Graphs that keep none of their inputs."""

    def context(self, latent, known, plan, plan_time, controls):  # type: ignore[no-untyped-def]
        for kept in (self.rolls, self.velocities, self.contexts):
            kept.clear()
        return super().context(latent, known, plan, plan_time, controls)


class Long(Session):
    """A session whose composer has latents, and keeps none of what it was fed."""

    def new_composer(self, by_rules: bool) -> None:
        self.stepper = Forgetful()
        self.composer = composer_of(self.stepper, settings=self.settings, seed=self.seed, graphs=Unrecorded())


def phrase(session: Session, rng: random.Random, pitch: int) -> int:
    """Two bars of quarters; two of rest, in trade always, else now and then; seldom a knob. Returns the last pitch."""
    for _ in range(8):
        pitch = min(80, max(50, pitch + rng.choice((-3, -2, -1, 1, 2, 4))))
        session.handle(midi.note_on(0, pitch, rng.randint(40, 110)))
        session.pass_time(BEAT_NS * 4 // 5)
        session.handle(midi.note_off(0, pitch))
        session.pass_time(BEAT_NS // 5)
    if session.settings.mode == "trade" or rng.random() < 0.1:
        session.pass_time(8 * BEAT_NS)
    if rng.random() < 0.02:
        session.handle(midi.control(0, 20 + rng.randrange(7), rng.randrange(128)))
    return pitch


def play(mode: str, hours: float) -> None:
    rng, session, pitch, known = random.Random(7), Long(mode, False, 1), 64, 0
    while session.now < hours * HOUR_NS:
        pitch = phrase(session, rng, pitch)
        if not known and session.now > hours * HOUR_NS / 10:
            known = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - known < GROWS_KB
    assert session.stepper.steps > hours * 4000
    session.end()


@pytest.mark.parametrize("mode", MODES)
def test_two_minutes(mode: str) -> None:
    play(mode, 1 / 30)


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_eight_hours(mode: str) -> None:
    """Minutes each: `pytest -m long tests/test_hours.py`."""
    play(mode, 8)
