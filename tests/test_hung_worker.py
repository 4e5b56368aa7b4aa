"""A worker that stands still for some seconds while the music goes on, in simulated time and without processes: rules take over
within a beat, and soon after it goes on, or another one has come, the model plays again."""

from __future__ import annotations

from collections import deque
from itertools import pairwise

import pytest
from performing import BAR_NS, BEAT_NS, MS, NoiseStepper, composer_of, settings_of, tune

from realtime import midi
from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints
from realtime.core.dialogue import Plan, Request
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.io.live.composers import Came, Composers, Died, Said
from realtime.io.live.model import Setup
from realtime.io.live.worker import Ready, Worker

READY = Ready("cpu", "tiny", None, 0)
BUSY = Constraints(max_duration=12, max_notes=4, follow=False)
START_NS = 2_000 * MS
"""How long a worker takes to start."""


class Standing(Worker):
    """A worker in simulated time, without a process. It answers at once, but not while it stands still; each request takes it
    `pace_ns`."""

    def __init__(self, composer: Composer) -> None:
        self.composer, self.asked, self.stands, self.dead = composer, deque[Request](), False, False
        self.pace_ns = self.free_ns = 0

    def send(self, request: Request) -> None:
        self.asked.append(request)

    def kill(self) -> None:
        self.dead = True

    def close(self) -> None:
        self.dead = True

    def limit(self) -> int | None:
        return min((request.boundary for request in self.asked if isinstance(request, Plan)), default=None)


class Stage:
    """An engine, its composers and a player, moved on step by step."""

    def __init__(self, mode: str, seed: int) -> None:
        self.settings = settings_of(mode)
        self.seed, self.now, self.said = seed, 0, list[tuple[int, str]]()
        self.engine = Engine(self.settings, TempoMap(self.settings.bpm))
        setup = Setup("", "", 1, BUSY, None, self.settings.bars, self.settings.bpm, seed)  # type: ignore[arg-type]
        self.composers = Composers(
            setup, self.engine, lambda item: None, lambda line: self.said.append((self.now, line))
        )
        self.composers._start_aside = self.start_aside  # type: ignore[method-assign]
        self.coming: tuple[int, Setup] | None = None
        self.workers = [self.new_worker()]
        self.composers.worker = self.workers[0]
        self.sent: list[tuple[int, bytes]] = []
        self.by_rules: list[int] = []

    def new_worker(self) -> Standing:
        return Standing(composer_of(NoiseStepper(), BUSY, seed=self.seed, settings=self.settings, memory=True))

    def start_aside(self, setup: Setup) -> None:
        self.coming = self.now + START_NS, setup

    def until(self, ns: int) -> None:
        while True:
            moments = [self.engine.wake_ns(), self.composers.wake_ns(), self.coming[0] if self.coming else None]
            moments += [worker.free_ns for worker in self.workers if worker.asked and worker.free_ns > self.now]
            now = min((moment for moment in moments if moment is not None and moment <= ns), default=None)
            if now is None:
                break
            self.now = max(self.now, now)
            self.step()
        self.now = ns
        self.step()

    def step(self) -> None:
        for _ in range(100):
            if not (self.act() | self.send() | self.answer()):
                return
        raise AssertionError("it does not come to rest")

    def act(self) -> bool:
        self.composers.act(self.now)
        for worker in self.workers:
            if worker.dead:
                self.workers.remove(worker)
                self.composers.take(Died(worker), self.now)
        if self.coming is not None and self.now >= self.coming[0]:
            (_, setup), self.coming = self.coming, None
            self.workers.append(self.new_worker())
            self.composers.take(Came(self.workers[-1], setup, READY), self.now)
            return True
        return False

    def send(self) -> bool:
        for sent in self.engine.poll(self.now):
            self.sent.append((self.now, sent.message))
        requests = self.engine.take_requests()
        for request in requests:
            for reply in self.composers.ask(request, self.now):
                self.engine.receive(reply, self.now)
        return bool(requests)

    def answer(self) -> bool:
        for worker in self.workers:
            if worker.asked and not worker.stands and self.now >= worker.free_ns:
                worker.free_ns = self.now + worker.pace_ns
                for reply in worker.composer.handle(worker.asked.popleft(), worker.limit):
                    if (passed := self.composers.take(Said(worker, reply), self.now)) is not None:
                        self.engine.receive(passed, self.now)
                return True
        return False

    def onsets(self, start: int, end: int) -> list[int]:
        return [ns for ns, message in self.sent if midi.is_note_on(message) and start <= ns < end]


CALL = [60, 62, 64, 65, 67, 65, 64, 62]
SECOND = 1000 * MS


def played(mode: str, beats: int, stands_at: float, stands_ns: int, pace_ns: int = 0) -> Stage:
    """A tune with a worker that stands still from a beat on, or with `pace_ns` is slow; in trade the player keeps to turns."""
    stage, from_ns = Stage(mode, seed=1), round(stands_at * BEAT_NS)
    worker = stage.workers[0]
    script = [(ns, message) for ns, message in tune(CALL * (beats // 8), start_ns=1)]
    if mode == "trade":
        script = [(ns, message) for ns, message in script if ns // BEAT_NS % 16 < 8]
    stands: list[tuple[int, bytes | bool]] = [(from_ns, True), (from_ns + stands_ns, False)]
    for ns, what in sorted([*script, *stands], key=lambda event: event[0]):
        stage.until(ns)
        if isinstance(what, bytes):
            stage.engine.handle(what, ns)
        else:
            worker.stands, worker.pace_ns = what and not pace_ns, pace_ns * what
        stage.step()
    stage.until(beats * BEAT_NS)
    return stage


@pytest.mark.parametrize("stands_at", [9.9, 11.3, 12.6])
@pytest.mark.parametrize("seconds", [1, 2, 6])
def test_an_accompaniment_goes_on_after_a_beat_and_the_model_is_back_within_two_bars(
    stands_at: float, seconds: int
) -> None:
    stage = played("accompany", 40, stands_at, seconds * SECOND)
    from_ns = round(stands_at * BEAT_NS)
    (late_ns, late), *_, (back_ns, back) = stage.said
    assert "late" in late and late_ns - from_ns <= 2 * BEAT_NS  # a beat after it was asked something
    for beat in range(round(stands_at) + 2, back_ns // BEAT_NS - 1):
        assert stage.onsets(beat * BEAT_NS - 1, (beat + 1) * BEAT_NS), "rules play on every beat"
    assert "answers again" in back if seconds < 3 else "is back" in back
    gone_ns = max(seconds * SECOND, 3 * SECOND + START_NS if seconds > 3 else 0)
    assert back_ns <= from_ns + gone_ns + 2 * BAR_NS
    assert len(stage.workers[0].composer._history._snapshots) > 1, "and the model is at work"  # type: ignore[attr-defined]
    assert stage.onsets(back_ns, back_ns + 2 * BAR_NS)


@pytest.mark.parametrize("stands_at", [4.5, 7.9, 8.2, 10.5, 20.7])
@pytest.mark.parametrize("seconds", [1, 2, 6])
def test_in_trade_every_bar_of_antiphons_turns_has_notes(stands_at: float, seconds: int) -> None:
    stage = played("trade", 48, stands_at, seconds * SECOND)
    for turn in (8, 24, 40):
        for bar in (turn, turn + 4):
            assert stage.onsets(bar * BEAT_NS - 1, (bar + 4) * BEAT_NS)


def test_rules_that_take_over_in_the_middle_answer_the_call_that_was_played_before() -> None:
    stage = played("trade", 16, 7.5, 20 * SECOND)
    notes = [message[1] for ns, message in stage.sent if midi.is_note_on(message) and ns >= 10 * BEAT_NS]
    assert notes[:4] == CALL[2:6], "the third beat of the answer is that of the call"


def test_a_worker_that_only_stood_still_remembers_each_note_once() -> None:
    stage = played("accompany", 40, 9.9, SECOND)
    memory = stage.workers[0].composer._memory  # type: ignore[attr-defined]
    assert memory is not None and memory.count <= 40 + len(stage.onsets(0, 40 * BEAT_NS)) + 8


@pytest.mark.parametrize("pace", [150, 400])
def test_a_worker_that_answers_but_falls_behind_is_stood_in_for(pace: int) -> None:
    stage = played("accompany", 48, 9.9, 8 * SECOND, pace * MS)
    from_ns, to_ns = round(9.9 * BEAT_NS), round(9.9 * BEAT_NS) + 8 * SECOND
    assert len(stage.workers) == 1 and "is back" not in str(stage.said), "it is slow, and not replaced"
    assert "late" in stage.said[0][1] and stage.said[0][0] <= from_ns + 2 * SECOND
    gaps = [later - earlier for earlier, later in pairwise(stage.onsets(stage.said[0][0], 48 * BEAT_NS))]
    assert max(gaps) <= 2 * BEAT_NS, "somebody plays all the time"
    assert stage.said[-1][1] == "the model answers again, and plays" and stage.said[-1][0] <= to_ns + 2 * BAR_NS
