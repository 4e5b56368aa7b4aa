"""Who composes: rules once a worker is gone, a worker again from a bar line on; in simulated time, without processes."""

from __future__ import annotations

from collections import deque

import pytest
from performing import BAR_NS, BEAT_NS, MS, settings_of, tune

from realtime import midi
from realtime.config import load
from realtime.core.dialogue import ModelNote, Proposed, Reached
from realtime.core.engine import Engine
from realtime.core.heard import Heard
from realtime.core.tempo import TempoMap
from realtime.io.live.composers import Came, Composers, Died, Said
from realtime.io.live.model import Setup
from realtime.io.live.settings import worker_setup
from realtime.io.live.worker import Failed, Ready, Worker

READY = Ready("cpu", "tiny", None, 0)
SETUP = worker_setup(load(None, {}))


class Stage:
    """An engine and its composers; workers are handles without a process, which keep what they are asked."""

    def __init__(self, mode: str = "accompany") -> None:
        self.said: list[str] = []
        self.starts: list[Setup] = []
        self.notes: list[tuple[int, bytes]] = []
        settings = settings_of(mode)
        self.engine = Engine(settings, TempoMap(settings.bpm))
        self.composers = Composers(SETUP, self.engine, lambda item: None, self.said.append)
        self.composers._start_aside = self.starts.append  # type: ignore[method-assign]
        self.composers.worker = self.worker()

    def worker(self) -> Worker:
        return self.composers._new_worker(SETUP)

    def until(self, ns: int) -> None:
        """Let time pass as the live loop does."""
        while True:
            moments = [self.engine.wake_ns(), self.composers.wake_ns()]
            now = min((moment for moment in moments if moment is not None and moment <= ns), default=None)
            if now is None:
                self.step(ns)
                return
            self.step(max(now, self.now))

    now = 0

    def step(self, ns: int) -> None:
        self.now = max(self.now, ns)
        self.composers.act(self.now)
        self.notes += [(self.now, sent.message) for sent in self.engine.poll(self.now)]
        for request in self.engine.take_requests():
            for reply in self.composers.ask(request, self.now):
                self.engine.receive(reply, self.now)

    def play(self, messages: list[tuple[int, bytes]]) -> None:
        for ns, message in messages:
            self.until(ns)
            self.engine.handle(message, ns)
            self.step(ns)

    def onsets(self, since: int) -> list[int]:
        return [ns for ns, message in self.notes if midi.is_note_on(message) and ns >= since]


HELD = [(1, midi.note_on(0, 60, 80)), (2, midi.note_on(0, 64, 80)), (3, midi.note_on(0, 67, 80))]


def test_rules_take_over_within_a_beat_and_the_worker_is_back_at_a_bar_line() -> None:
    stage = Stage()
    first = stage.composers.worker
    assert first is not None
    stage.play(HELD)
    stage.until(BEAT_NS)
    assert stage.onsets(0) == []
    stage.composers.take(Died(first), stage.now)
    stage.until(2 * BEAT_NS + 100 * MS)
    assert stage.onsets(BEAT_NS), "within a beat"
    assert stage.said == ["the model's worker died: rules play until it is back"]
    assert stage.starts == [SETUP], "and at once another is started"
    second = stage.worker()
    stage.composers.take(Came(second, SETUP, READY), stage.now)
    stage.until(BAR_NS - 10 * MS)
    assert stage.composers.worker is None
    stage.until(BAR_NS + 10 * MS)
    assert stage.composers.worker is second
    assert "is back" in stage.said[-1]
    stage.until(BAR_NS + BEAT_NS - MS)
    assert not stage.onsets(BAR_NS + 100 * MS), "from here on the worker is asked, and rules play no more"


def test_it_is_tried_again_for_ever_at_longer_and_longer_intervals() -> None:
    stage = Stage()
    worker = stage.composers.worker
    assert worker is not None
    waits = []
    for death in range(12):
        stage.composers.take(Died(worker, "it cannot be loaded" if death else ""), stage.now)
        due = stage.composers.wake_ns()
        assert due is not None
        waits.append((due - stage.now) / 1e9)
        stage.until(due)
        assert len(stage.starts) == death + 1
    assert waits[:7] == [0, 0.5, 1, 2, 4, 8, 15]
    assert set(waits[6:]) == {15}


def test_a_late_worker_is_stood_in_for_until_it_has_caught_up() -> None:
    stage = Stage()
    worker = stage.composers.worker
    assert worker is not None
    stage.play(HELD)
    stage.until(BEAT_NS + 600 * MS)
    assert stage.onsets(BEAT_NS), "rules play after a beat"
    assert stage.composers.worker is worker
    generation = stage.engine.turns.plans.generation
    stale = Said(worker, Proposed(generation, ModelNote(96, 80, 80, 24, 1)))
    assert stage.composers.take(stale, stage.now) is None, "what it says meanwhile is not played"
    assert stage.composers.take(Said(worker, Reached(generation - 1, 0, (), 0)), stage.now) is None
    stage.until(BAR_NS + 100 * MS)
    assert "answers again" not in stage.said[-1]
    stage.composers.take(Said(worker, Reached(stage.engine.turns.plans.generation, 0, (), 0)), stage.now)
    stage.until(2 * BAR_NS + 10 * MS)
    assert "answers again" in stage.said[-1]


def test_another_model_plays_from_a_bar_line_on_and_one_that_fails_changes_nothing() -> None:
    stage = Stage()
    first = stage.composers.worker
    assert first is not None
    stage.composers.take(Said(first, Reached(0, 0, (), 0)), 0)
    broken, other = stage.worker(), stage.worker()
    stage.composers.take(Died(broken, "x.onnx: no model there"), 0)
    assert stage.composers.worker is first and stage.said == ["x.onnx: no model there"]
    assert stage.starts == []
    stage.play([(1, midi.note_on(0, 60, 80)), (2, midi.note_off(0, 60))])
    stage.composers.take(Came(other, SETUP, READY), stage.now)
    stage.until(900 * MS)
    assert stage.composers.worker is first
    stage.composers.take(Said(first, Reached(stage.engine.turns.plans.generation, 0, (), 0)), stage.now)
    stage.until(BAR_NS + MS)
    assert stage.composers.worker is other
    assert stage.said[-1] == "the model tiny plays from here on"
    reply = Reached(1, 0, (), 0)
    assert stage.composers.take(Said(first, reply), stage.now) is None, "the old one's last words"
    assert stage.composers.take(Said(other, reply), stage.now) is reply


def test_why_a_worker_ends_is_said() -> None:
    stage = Stage()
    assert stage.composers.worker is not None
    stage.composers.take(Said(stage.composers.worker, Failed("x.onnx: cannot be run")), 0)
    assert stage.said == ["x.onnx: cannot be run"]


def kept(thing: object, seen: set[int]) -> int:
    """How many items all containers hold that are reached from here; those that have a limit do not count."""
    if id(thing) in seen or isinstance(thing, str | bytes | int | float | type(None) | type):
        return 0
    seen.add(id(thing))
    if isinstance(thing, Heard) or (isinstance(thing, deque) and thing.maxlen is not None):
        return 0
    if isinstance(thing, dict):
        return len(thing) + sum(kept(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return len(thing) + sum(kept(item, seen) for item in thing)
    if not type(thing).__module__.startswith("realtime"):
        return 0
    names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
    return sum(kept(getattr(thing, name), seen) for name in names)


@pytest.mark.parametrize("mode", ["accompany", "harmonise", "trade", "continue"])
def test_without_a_worker_nothing_grows(mode: str) -> None:
    """It is gone for good: no start of another one ever succeeds."""
    stage = Stage(mode)
    assert stage.composers.worker is not None
    stage.composers.take(Died(stage.composers.worker), 0)
    sizes, minute = [], 60_000 * MS
    for minutes in range(3):
        stage.play(tune([60 + i % 12 for i in range(600)], 100 * MS, start_ns=minutes * minute + 1))
        stage.notes.clear()
        stage.starts.clear()
        sizes.append(kept((stage.engine, stage.composers), set()))
    assert len(stage.engine.turns.plans) <= 1
    assert len(stage.engine.turns.answers) <= 1
    assert sizes[2] <= sizes[1] + 20
