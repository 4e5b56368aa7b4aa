"""However it ends: no traceback, the recording kept first, and no driver that keeps the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from performing import assert_nothing_hangs
from test_live import PATIENCE_S, PHRASES, Rehearsal, config_of, rehearsal

from realtime import midi
from realtime.config import load
from realtime.core.engine import Engine
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.io.live import worker as worker_module
from realtime.io.live.duet import last_tick
from realtime.io.live.session import Session
from realtime.io.live.settings import engine_settings
from realtime.io.live.simulated import Timing
from realtime.io.live.tracks import LeftOn
from realtime.io.midi.ports import MemoryPort

ROOT = Path(__file__).resolve().parent.parent
INTERRUPT_AT = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(os.environ["INTERRUPT_BY"]))

sys.meta_path.insert(0, Interrupt())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals on Windows")
@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT"])
@pytest.mark.parametrize(
    "module",
    ["typer", "realtime.errors", "pydantic", "yaml", "numpy", "realtime.io.live.worker", "mido", "onnxruntime"],
)
def test_ctrl_c_while_it_is_loaded_leaves_no_traceback(module: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT_AT)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))), "INTERRUPT_AT": module}
    env["INTERRUPT_BY"] = str(int(getattr(signal, name)))
    ran = subprocess.run(
        [sys.executable, "-m", "realtime.cli", "demo", "--fast"], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode in (-getattr(signal, name), 130)
    assert ran.stderr == ""


class NeverCloses(MemoryPort):
    """A port whose driver does not come back from closing, as JACK's can."""

    never = threading.Event()

    def close(self) -> None:
        self.never.wait()


class NeverTakesTheLast(MemoryPort):
    """A port whose driver does not come back from sending, once the music is over."""

    never = threading.Event()
    engine: Engine

    def send(self, message: bytes) -> None:
        if not self.engine.rolling:
            self.never.wait()
        super().send(message)


def test_the_recording_is_kept_before_a_driver_is_asked_to_close(tiny_model: Path) -> None:
    one = Rehearsal(config_of(tiny_model), NeverCloses("in", now_ns), NeverCloses("out", now_ns))
    kept: list[Session] = []
    one.player.prepare()
    worker = one.player.worker
    thread = threading.Thread(target=lambda: one.player.run(PATIENCE_S, None, kept.append), daemon=True)
    thread.start()
    one.play(PHRASES)
    one.wait_for(lambda: one.struck() > 0, "an answer")
    one.player.stop("enough")
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert [session.ended for session in kept] == ["enough"]
    assert_nothing_hangs(one.sent())
    assert worker is not None and worker._process is not None and worker._process.poll() is not None


def test_a_driver_that_takes_nothing_any_more_keeps_nobody_from_the_recording(tiny_model: Path) -> None:
    target = NeverTakesTheLast("out", now_ns)
    one = Rehearsal(config_of(tiny_model, play__min_duration_ticks=48), target=target)
    target.engine = one.engine
    kept: list[Session] = []
    one.player.prepare()
    thread = threading.Thread(target=lambda: one.player.run(PATIENCE_S, None, kept.append), daemon=True)
    thread.start()
    one.play(PHRASES)
    one.wait_for(lambda: len(one.engine.ledger) > 0, "a sounding note")
    one.player.stop("enough")
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert len(kept) == 1
    assert_nothing_hangs([(0, *event) for event in one.take.events["antiphon"]])


def test_notes_of_a_killed_session_are_released_where_they_sounded(tiny_model: Path) -> None:
    """As soon as somebody listens; and so are those of this session that ended while the cable was out."""
    one = Rehearsal(config_of(tiny_model))
    one.target.listeners = frozenset()
    one.player.prepare()
    one.player.left_on([LeftOn("out", ((3, 61),), (3,)), LeftOn("elsewhere", ((4, 62),), (4,))])
    one._thread.start()
    one.play(PHRASES)
    one.wait_for(lambda: one.struck() > 2, "an answer")
    assert midi.note_off(3, 61) not in [message for _, message in one.target.sent]
    one.target.listeners = frozenset({"synth"})
    one.wait_for(lambda: midi.control(3, 123, 0) in [message for _, message in one.target.sent], "the release")
    sent = [message for _, message in one.target.sent]
    assert sent.count(midi.note_off(3, 61)) == 1
    assert midi.note_off(4, 62) not in sent
    one.end()


def test_a_worker_that_says_nothing_is_given_up_on(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "START_TIMEOUT_S", 0.2)
    monkeypatch.setattr(worker_module, "_PROGRAM", "import time; time.sleep(1000)")
    one = Rehearsal(config_of(tiny_model))
    with pytest.raises(UserError, match="did not start"):
        one.player.prepare()
    assert one.player.worker is not None and one.player.worker._process is not None
    assert one.player.worker._process.poll() is not None


def test_a_message_that_could_not_be_handled_is_reported(tiny_model: Path) -> None:
    with rehearsal(config_of(tiny_model)) as one:
        one.source.fault = ValueError("strange")
        one.wait_for(lambda: any("could not be handled: ValueError('strange')" in line for line in one.said), "a word")


def test_the_last_notes_of_an_accompaniment_ring_to_the_bar_line() -> None:
    """Six beats of rest after 15.9 end at beat 22, in the middle of the sixth bar."""
    config = load(None, {"mode.name": "accompany", "mode.rest_beats": 6.0})
    engine = Timing(engine_settings(config), 120.0, counted_in=True).engine()
    engine.player.note_on(360, (0, 60))
    engine.player.note_off(382, (0, 60))
    assert last_tick(engine, 382) == 6 * 96
