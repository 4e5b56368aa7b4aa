"""The live loop in real time: ports in memory, a worker process with a tiny random model, and what may happen to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from performing import MS, Script, assert_nothing_hangs, onsets, tune

from realtime import midi
from realtime.config import Config, load
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.io.live import composers, demo
from realtime.io.live.model import Setup
from realtime.io.live.player import Player
from realtime.io.live.session import Session
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.speaker import Speaker
from realtime.io.live.take import Take
from realtime.io.live.worker import Worker
from realtime.io.midi.ports import MemoryPort

PATIENCE_S = 60.0
"""How long a busy machine may take for what should take a moment."""


def config_of(model: Path, **overrides: object) -> Config:
    values = {"model.file": model, "model.provider": "cpu", "mode.bars_per_turn": 1, "sync.tempo_bpm": 240.0}
    return load(None, values | {name.replace("__", "."): value for name, value in overrides.items()})


class Rehearsal:
    """A player on a thread of its own, and what was said and sent."""

    def __init__(self, config: Config, source: MemoryPort | None = None, target: MemoryPort | None = None) -> None:
        self.said: list[str] = []
        self.take = Take()
        self.engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
        self.source, self.target = source or MemoryPort("in", now_ns), target or MemoryPort("out", now_ns)
        self.player = Player(
            self.engine, worker_setup(config), self.source, self.target, self.take, Speaker(self.said.append)
        )
        self.session: Session | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.session = self.player.run(seconds=PATIENCE_S)

    def begin(self) -> None:
        self.player.prepare()
        self._thread.start()

    def play(self, script: Script) -> threading.Thread:
        """Play in real time, beginning now, on a thread: stamped with its own times, as a driver stamps."""
        start_ns = now_ns() + 20 * MS

        def perform() -> None:
            for offset_ns, message in sorted(script):
                time.sleep(max(0.0, (start_ns + offset_ns - now_ns()) / 1e9))
                self.source.inject(message, start_ns + offset_ns)

        thread = threading.Thread(target=perform, daemon=True)
        thread.start()
        return thread

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen; said: {self.said}"
            time.sleep(0.005)

    def struck(self) -> int:
        return sum(midi.is_note_on(message) for _, message in list(self.target.sent))

    def end(self) -> Session:
        self.player.stop("enough")
        self._thread.join(PATIENCE_S)
        assert self.session is not None
        return self.session

    def sent(self) -> list[tuple[int, int, bytes]]:
        return [(ns, 0, message) for ns, message in self.target.sent]


@contextmanager
def rehearsal(config: Config) -> Iterator[Rehearsal]:
    one = Rehearsal(config)
    one.begin()
    try:
        yield one
    finally:
        one.end()


BEAT_NS = 250 * MS  # at 240 bpm
PHRASES = [item for turn in range(0, 40, 2) for item in tune([60, 62, 64, 65], BEAT_NS, turn * 4 * BEAT_NS)]


def test_the_player_process_has_no_model_in_it() -> None:
    code = "import sys, realtime.io.live.jam, realtime.io.live.demo; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_session_in_real_time(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model)) as one:
        one.play(PHRASES)
        one.wait_for(lambda: one.engine.counts.turns >= 2 and one.struck() > 4, "an answer")
        one.wait_for(lambda: len(one.engine.counts.step_ns) > 10, "word of its steps")
    assert one.session is not None
    assert one.session.ended == "enough"
    assert one.session.left_hanging == 0
    assert one.session.restarts == 0
    assert_nothing_hangs(one.sent())
    assert {pulse // 1920 % 2 for _, pulse, _ in onsets([(0, *e) for e in one.take.events["antiphon"]])} == {1}


def test_a_model_that_is_not_there_leaves_nothing_open(tmp_path: Path) -> None:
    one = Rehearsal(config_of(tmp_path / "none.onnx"))
    with pytest.raises(UserError, match=r"none\.onnx"):
        one.begin()
    one.source.inject(midi.note_on(0, 60, 80), 0)
    assert one.player._inbox.empty()


def test_a_worker_that_is_killed_is_replaced_while_the_music_goes_on(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model)) as one:
        one.play(PHRASES)
        one.wait_for(lambda: one.engine.turn is not None and one.struck() > 0, "an answer")
        first = one.player.worker
        assert first is not None
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        one.wait_for(lambda: one.player.worker not in (None, first), "another worker")
        before = one.struck()
        one.wait_for(lambda: one.struck() > before, "an answer of the new worker")
        played = one.engine.counts.player_notes
        one.wait_for(lambda: one.engine.counts.player_notes > played, "more of the player's notes")
    assert one.session is not None
    assert one.session.restarts == 1
    assert one.session.left_hanging == 0
    assert "the model's worker died: rules play until it is back" in one.said
    assert any("the model's worker is back" in line for line in one.said)
    assert_nothing_hangs(one.sent())


def test_a_worker_that_hangs_is_replaced_and_one_that_has_nothing_to_do_is_not(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composers, "HANG_NS", 1500 * MS)
    with rehearsal(config_of(tiny_model, mode__bars_per_turn=16)) as one:
        one.play([(0, midi.note_on(0, 60, 80)), (50 * MS, midi.note_off(0, 60))])
        one.wait_for(lambda: one.engine.counts.player_notes == 1 and not one.engine.player.down, "the key to go up")
        time.sleep(2.6)
        assert one.said == [], "a key that went up is no question"
        worker = one.player.worker
        assert worker is not None
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGSTOP)
        # More than a pipe holds: the loop must go on taking them in although nobody reads what it asks.
        one.play([(i * 2 * MS, midi.note_on(0, 62, 80)) for i in range(400)])
        one.wait_for(lambda: one.engine.counts.player_notes == 401, "the player's notes")
        one.wait_for(lambda: one.player.worker not in (None, worker), "another worker")
    assert one.session is not None
    assert one.session.restarts == 1


def test_a_session_that_ends_while_a_worker_starts_leaves_no_process(tiny_model: Path) -> None:
    started: list[Worker] = []
    with rehearsal(config_of(tiny_model)) as one:
        make = one.player._composers._new_worker

        def note_it(setup: Setup) -> Worker:
            started.append(make(setup))
            return started[-1]

        one.player._composers._new_worker = note_it  # type: ignore[method-assign]
        assert one.player.worker is not None
        one.player.worker.kill()
        one.wait_for(lambda: bool(started), "the new worker's start")
    (worker,) = started
    one.wait_for(lambda: worker._process is not None and worker._process.poll() is not None, "its end")


def test_a_keyboard_that_is_unplugged_is_released_and_found_again(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model, mode__name="accompany")) as one:
        one.source.inject(midi.note_on(0, 48, 80), now_ns())
        one.source.inject(midi.control(0, 64, 127), now_ns())
        one.wait_for(lambda: len(one.engine.player.down) > 0, "a held key")
        for times in range(1, 4):
            one.source.vanish()
            one.wait_for(lambda: len(one.engine.player.down) == 0, "its release")
            one.source.come_back()
            one.wait_for(lambda times=times: one.said.count("the port in is there") == times, "its return")
            one.source.inject(midi.note_on(0, 48 + times, 80), now_ns())
            one.wait_for(lambda: len(one.engine.player.down) > 0, "a held key")
        one.play(PHRASES)
        one.wait_for(lambda: one.struck() > 4, "an answer")
    assert one.session is not None and one.session.ended == "enough" and one.session.left_hanging == 0
    assert sum("the port in is gone" in line for line in one.said) == 3
    assert_nothing_hangs(one.sent())
    player = [message for _, message in one.take.events["player"]]
    assert player[:4] == [
        midi.note_on(0, 48, 80),
        midi.control(0, 64, 127),
        midi.note_off(0, 48),
        midi.control(0, 64, 0),
    ]
    assert player.count(midi.note_on(0, 49, 80)) == player.count(midi.note_off(0, 49)) == 1, "nothing comes twice"


def test_what_came_in_is_recorded_though_the_clock_never_started(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model, sync__source="clock")) as one:
        for pitch in range(60, 74):
            one.source.inject(midi.note_on(0, pitch, 80), now_ns())
            one.source.inject(midi.note_off(0, pitch), now_ns())
        one.wait_for(lambda: len(one.take.events["player"]) == 28, "the notes")
    assert one.session is not None and one.session.recorded == 28
    assert one.engine.counts.player_notes == 14


def test_a_pedal_that_was_never_followed_by_a_note_is_recorded(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model)) as one:
        one.source.inject(midi.control(0, 64, 127), now_ns())
    assert one.session is not None and one.session.recorded == 1
    assert one.take.events["player"] == [(0, midi.control(0, 64, 127))]


def test_an_output_that_comes_back_is_played_to_again_and_what_it_held_is_released(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model, play__min_duration_ticks=48)) as one:
        one.play(PHRASES)
        one.wait_for(lambda: len(one.engine.ledger) > 0, "a sounding note")
        one.target.vanish()
        one.wait_for(lambda: any("out is gone" in line for line in one.said), "word of it")
        before = one.engine.counts.notes
        one.wait_for(lambda: one.engine.counts.notes > before + 4, "music that nobody hears")
        one.target.come_back()
        struck = one.struck()
        one.wait_for(lambda: one.struck() > struck + 2, "notes again")
    assert one.session is not None and one.session.left_hanging == 0
    down: set[int] = set()
    for _, message in one.target.sent:
        (down.add if midi.is_note_on(message) else down.discard)(message[1])
    assert not down


def test_the_summary_says_what_an_output_took_with_it(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model, play__min_duration_ticks=48)) as one:
        one.play(PHRASES)
        one.wait_for(lambda: len(one.engine.ledger) > 0, "a sounding note")
        one.target.vanish()
        one.wait_for(lambda: any("out is gone" in line for line in one.said), "word of it")
    assert one.session is not None
    down = {message[1]: midi.is_note_on(message) for _, message in one.target.sent}
    assert one.session.left_hanging >= sum(down.values()) > 0, "a note counts that was on its way, too"
    assert len(one.engine.ledger) == 0


@pytest.mark.parametrize("mode", ["accompany", "trade"])
def test_the_demo_plays_the_same_notes_live_and_fast(
    tiny_model: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as no deadline is missed: a machine that is too busy for that shows nothing."""
    monkeypatch.setattr(demo, "ODE_TO_JOY", replace(demo.ODE_TO_JOY, text="E4 E4 F4 G4 | G4 F4 E4 D4"))
    config = config_of(tiny_model, mode__name=mode, sync__tempo_bpm=160.0, engine__commit_ms=200)
    said: list[str] = []
    _, fast, _ = demo.play_fast(config, said.append)
    engine, take, session = demo.play_live(config, said.append, lambda beat, beats: None)
    assert session.left_hanging == session.restarts == 0
    missed = engine.counts.missed_deadlines + engine.scheduler.late_dropped
    if missed:
        pytest.skip(f"{missed} deadlines were missed on this machine: the runs cannot be compared")
    _, bars = demo.scripted_player(config)
    end_pulse = bars * 1920
    for direction in ("player", "antiphon"):
        both = [[event for event in one.events[direction] if event[0] < end_pulse] for one in (fast, take)]
        assert both[0] == both[1]
        assert both[0]
