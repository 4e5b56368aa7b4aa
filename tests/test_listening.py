"""Tempo and beat from the player's own notes: what is heard, and that song time goes with it."""

from __future__ import annotations

import random
from itertools import accumulate

import numpy as np
import pytest
from performing import MODES, MS, Script, StepByStep, assert_nothing_hangs, onsets, plans

from realtime import midi
from realtime.core.listening import Listener
from realtime.core.modes import Trade
from realtime.core.scheduler import Sent

RHYTHMS = {
    "quarters": [1.0] * 8,
    "eighths": [0.5] * 16,
    "ode": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1.5, 0.5, 2],
    "folk": [0.5, 0.5, 1, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 0.5, 2],
    "syncopes": [0.5, 1, 0.5, 1, 1] * 2,
    "sixteenths": [0.25, 0.25, 0.5, 1, 0.5, 0.25, 0.25, 1] * 2,
    "rests": [1, 1, 2, 0.5, 0.5, 1, 2],
}


class Human:
    """A player with a beat of their own: times of places in quarters, with a slow rubato and uneven touch."""

    def __init__(self, bpm: float, seed: int, rubato: float = 0.02, uneven_ms: float = 10.0) -> None:
        rng = np.random.default_rng(seed)
        self._places = np.arange(-4, 200, 0.25)
        waves = np.sin(self._places / 12 * 2 * np.pi + rng.uniform(0, 6)) * rubato
        steps = 60e9 / bpm * (1 + waves) * 0.25
        self._ns = np.cumsum(steps) - steps[:17].sum() + steps[16]
        self._uneven = random.Random(seed)
        self._uneven_ms = uneven_ms

    def beat_ns(self, place: float) -> float:
        """When the place comes."""
        return float(np.interp(place, self._places, self._ns))

    def strike_ns(self, place: float) -> int:
        """When a note there is struck."""
        return round(self.beat_ns(place) + self._uneven.gauss(0, self._uneven_ms) * MS)

    def bpm(self, place: float) -> float:
        return 60e9 / (self.beat_ns(place + 0.5) - self.beat_ns(place - 0.5))

    def script(self, rhythm: list[float], start: float = 0.0) -> Script:
        """The rhythm on changing pitches, from a place on."""
        played: Script = []
        for i, place in enumerate(accumulate([start, *rhythm[:-1]])):
            on_ns = self.strike_ns(place)
            played += [(on_ns, midi.note_on(0, 60 + i % 7, 80))]
            played += [(round(self.beat_ns(place + 0.7 * rhythm[i])), midi.note_off(0, 60 + i % 7))]
        return sorted(played)


def heard(human: Human, rhythm: list[float], usual_bpm: float) -> Listener:
    """What is heard by the downbeat of the third bar."""
    listener = Listener(usual_bpm)
    for ns, message in human.script(rhythm * 2):
        if midi.is_note_on(message) and ns < human.beat_ns(8.1):
            listener.onset(ns, message[2])
    return listener


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("bpm", [72, 90, 100, 110, 132, 150])
def test_tempo_and_beat_are_heard_within_two_bars(rhythm: str, bpm: int) -> None:
    """Of four players with a rubato of 2 %, at least three, with a tempo set that is off by a fifth."""
    right = 0
    for seed in range(4):
        human = Human(bpm, seed)
        beat = heard(human, RHYTHMS[rhythm], bpm * (1.2 if seed % 2 else 0.85)).beat
        assert beat is not None
        off = ((human.beat_ns(8) - beat.ns) / beat.period_ns + 0.5) % 1 - 0.5
        right += abs(beat.bpm / human.bpm(7) - 1) < 0.04 and abs(off) * beat.period_ns < 40 * MS
    assert right >= 3


def test_a_chord_that_is_rolled_is_one_onset() -> None:
    listener = Listener(120)
    for beat in range(8):
        for i in range(4):
            listener.onset(beat * 600 * MS + i * 14 * MS, 80)
    assert listener.beat is not None
    assert listener.beat.bpm == pytest.approx(100, rel=0.01)


def test_an_ornament_and_a_long_rest_do_not_throw_it() -> None:
    human, listener = Human(96, 1, rubato=0.0), Listener(110)
    places = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9.1, 9.2, 9.3, 10, 11, 19, 20, 20.13, 21, 22]
    for place in places:
        listener.onset(human.strike_ns(place), 80)
    beat = listener.beat
    assert beat is not None
    assert beat.bpm == pytest.approx(96, rel=0.02)
    off = ((human.beat_ns(22) - beat.ns) / beat.period_ns + 0.5) % 1 - 0.5
    assert abs(off) * beat.period_ns < 40 * MS


def test_a_slowly_changing_tempo_is_followed() -> None:
    listener, ns, errors = Listener(100), 0.0, []
    for i in range(64):
        listener.onset(round(ns), 80)
        bpm = 100 + 20 * i / 64
        if i > 8 and listener.beat is not None:
            errors.append(abs(listener.beat.bpm / bpm - 1))
        ns += 60e9 / bpm
    assert max(errors) < 0.04


def test_three_notes_are_no_beat_yet() -> None:
    listener = Listener(120)
    assert [listener.onset(i * 600 * MS, 80) for i in range(3)] == [None] * 3
    assert listener.onset(1800 * MS, 80) is not None


# --- song time ---


def session_of(script: Script, mode: str = "trade", **changes: object) -> StepByStep:
    session = StepByStep(mode, listen=True, bpm=120.0, modes=MODES | {"trade": Trade(2)}, **changes)
    for ns, message in script:
        session.play(message, ns)
    return session


@pytest.mark.parametrize("bpm", [96, 100, 110, 132])
@pytest.mark.parametrize("rhythm", ["quarters", "ode", "sixteenths"])
def test_the_answer_comes_in_the_players_own_tempo(rhythm: str, bpm: int) -> None:
    """The tempo that was set is 120. The player's two bars are on bars 1 and 2, and the answer begins on their own ninth beat."""
    human = Human(bpm, 3, rubato=0.0)
    line = RHYTHMS[rhythm]
    session = session_of(human.script(line[: next(i for i in range(len(line) + 1) if sum(line[:i]) >= 8)]))
    turn = session.engine.turn
    assert turn is not None
    assert turn.start % 96 == 0
    start_ns = session.engine.tempo.ns_at(turn.start * 20)
    assert abs(start_ns - human.beat_ns(8)) < 60 * MS
    assert session.engine.tempo.bpm_at(turn.start * 20) == pytest.approx(bpm, rel=0.04)
    session.until(start_ns + 9 * 10**9)
    moments = [ns for ns, _, _ in onsets(session.sent)]
    assert moments
    assert start_ns <= moments[0] < start_ns + 60e9 / bpm
    for message in session.engine.stop():
        session.sends.append((0, Sent(0, message, 0)))
    assert_nothing_hangs(session.sent)


def test_what_was_played_is_noted_anew_in_the_tempo_that_is_heard() -> None:
    human = Human(90, 1, rubato=0.0, uneven_ms=0.0)
    session = session_of(human.script([1.0] * 8))
    ticks: dict[int, int] = {}
    for plan in plans(session.requests):
        if plan.played is not None:
            ticks[plan.played.pitch] = plan.played.tick
    assert [ticks[60 + i] % 96 for i in range(1, 7)] == [24, 48, 72, 0, 24, 48]
    assert session.engine.counts.player_notes == 8


@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_nothing_hangs(mode: str) -> None:
    human = Human(104, 2)
    script = human.script(RHYTHMS["folk"] * 2) + human.script(RHYTHMS["ode"], 40)
    session = session_of(script, mode)
    session.until(script[-1][0] + 10**10)
    for message in session.engine.stop():
        session.sends.append((0, Sent(0, message, 0)))
    assert onsets(session.sent)
    assert_nothing_hangs(session.sent)
