"""The live line and the keys: in a process of its own on a real terminal, and what a key does to a session."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from realtime import midi
from realtime.config import load
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.io.live.desk import SHOW_NS, Desk, Pressed
from realtime.io.live.keyboard import keyboard
from realtime.io.live.screen import Ear, words
from realtime.io.live.session import Session
from realtime.io.live.settings import engine_settings
from realtime.io.live.take import Take

PATIENCE_S = 60.0
ON_A_TERMINAL = """
import json, queue, sys
from realtime.io.live.screen import Screen
keys = queue.Queue()
screen = Screen(lambda key, ns: keys.put((key, ns)))
screen.line("a line above")
state = dict(place=[3, 2], tick=0, bar=96, whose="you", mode="trade", feel="", chord="Am7", bpm=96.0, knobs={"density": 0.5},
             heard=[], step=0.4, late=0.2, dropped=1, **{"in": [60, 64], "out": [67]})
screen.state(json.dumps(state))
key, ns = keys.get(timeout=60)
screen.line(f"pressed {key} {ns > 0}")
screen.close()
print("the end")
"""


def desk_of(shown: list[str], **given: object) -> tuple[Engine, Desk]:
    config = load(None, {name.replace("__", "."): value for name, value in given.items()})
    engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
    return engine, Desk(engine, Take(), shown.append)


def test_a_line_is_drawn_and_keys_are_read_on_a_terminal() -> None:
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    root = str(Path(__file__).resolve().parents[1])
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(PYTHONPATH=root, TERM="xterm", COLUMNS="160")
        os.execv(sys.executable, [sys.executable, "-c", ON_A_TERMINAL])
    drawn, pressed, deadline = b"", False, time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            drawn += os.read(terminal, 65_536)
        except OSError:  # it is closed
            break
        if b"1 dropped" in drawn and not pressed:
            os.write(terminal, b"m")
            pressed = True
    assert os.waitpid(process, 0)[1] == 0, drawn
    text = drawn.decode()
    assert "a line above" in text and "pressed m True" in text
    assert (
        "bar 3.2 | you | trade | 96 bpm | plays Am7 | density +0.5 | in C4 E4 | out G4 | step 0.4 ms | late 0.2 ms"
        in text
    )
    assert text.rindex("the end") > text.rindex("pressed m") and "\x1b[?25h" in text  # the cursor is back


PAUSED = """
import os, queue, signal, termios
from realtime.io.live.screen import Screen
keys = queue.Queue()
screen = Screen(lambda key, ns: keys.put(key))

def settings():
    return [bool(termios.tcgetattr(0)[3] & flag) for flag in (termios.ECHO, termios.ICANON)]

screen.line("press a key")
keys.get(timeout=60)
screen.line(f"playing {settings()}")
keys.get(timeout=60)
screen.pause(True)
while not all(settings()):
    pass
print("stopped", settings(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
screen.pause(False)
while any(settings()):
    pass
screen.line(f"again {settings()}")
screen.line(f"then {keys.get(timeout=60)}")
screen.close()
print("the end", settings(), flush=True)
"""


def test_the_shell_has_its_terminal_back_while_the_program_is_stopped_and_keys_work_afterwards() -> None:
    """Ctrl-Z, and `fg`. What is typed meanwhile is the shell's to read."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(PYTHONPATH=str(Path(__file__).resolve().parents[1]), TERM="xterm", COLUMNS="160")
        os.execv(sys.executable, [sys.executable, "-c", PAUSED])
    drawn, answered = "", 0
    said = {
        "press a key": b"a",
        "playing [False, False]": b"b",
        "stopped [True, True]": None,
        "again [False, False]": b"m",
    }
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            drawn += os.read(terminal, 65_536).decode()
        except OSError:  # it is closed
            break
        if answered < len(said) and list(said)[answered] in drawn:
            key = list(said.values())[answered]
            answered += 1
            if key is not None:
                os.write(terminal, key)
            else:
                assert os.WIFSTOPPED(os.waitpid(process, os.WUNTRACED)[1])
                assert drawn.rindex("\x1b[?25h") < drawn.index("stopped")  # the cursor is back
                os.kill(process, signal.SIGCONT)
    assert os.waitpid(process, 0)[1] == 0, drawn
    assert "then m" in drawn and "the end [True, True]" in drawn


BACKGROUND = """
import os, queue, signal, sys, termios, time
from realtime.io.live.screen import Screen
keys = queue.Queue()
screen = Screen(lambda key, ns: keys.put(key))
screen.line("plays on")
screen.line(f"pressed {keys.get(timeout=60)}")
screen.close()
print("the end", flush=True)
"""
SHELL = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
command = [sys.executable, "-c", sys.argv[1]]
job = subprocess.Popen(command, process_group=0, preexec_fn=lambda: signal.signal(signal.SIGTTOU, signal.SIG_DFL))
print("read by the shell:", sys.stdin.readline().strip(), flush=True)
os.tcsetpgrp(0, job.pid)
while True:
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    assert not os.WIFSTOPPED(status), os.WSTOPSIG(status)
    break
os.tcsetpgrp(0, os.getpgrp())
print("status", status, flush=True)
"""


def test_in_the_background_the_program_goes_on_and_the_terminal_is_the_shell_s() -> None:
    """`jam &`, and `fg`: whoever touches the terminal in the background is stopped, with all that belongs to him."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    import termios

    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(PYTHONPATH=str(Path(__file__).resolve().parents[1]), TERM="xterm", COLUMNS="160")
        os.execv(sys.executable, [sys.executable, "-c", SHELL, BACKGROUND])
    drawn, asked, pressed = "", False, False
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (
            "read by the shell: for the shell" in drawn
            and not pressed
            and not termios.tcgetattr(terminal)[3] & termios.ICANON
        ):
            os.write(terminal, b"m")  # the program has the keyboard
            pressed = True
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            drawn += os.read(terminal, 65_536).decode()
        except OSError:  # it is closed
            break
        if "plays on" in drawn and not asked:
            os.write(terminal, b"for the shell\n")
            asked = True
    assert os.waitpid(process, 0)[1] == 0, drawn
    assert "pressed m" in drawn and "the end" in drawn and "status 0" in drawn


def test_a_console_of_windows_gives_keys_and_arrows_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["m", "\xe0", "H", "\x00", ";", " ", "q", ""])
    monkeypatch.setitem(sys.modules, "termios", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(getwch=lambda: next(typed)))
    pressed: queue.Queue[str] = queue.Queue()
    with keyboard(pressed.put):
        assert [pressed.get(timeout=PATIENCE_S) for _ in range(3)] == ["m", " ", "q"]


def test_without_terminal_and_console_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("termios", "msvcrt"):
        monkeypatch.setitem(sys.modules, name, None)
    pressed: list[str] = []
    with keyboard(pressed.append) as keys:
        keys.take()
        keys.free()
    assert not pressed


def test_states_come_ten_times_a_second_and_say_what_is_held() -> None:
    shown: list[str] = []
    engine, desk = desk_of(shown)
    session = Session(shed=2)
    engine.handle(midi.note_on(0, 60, 80), 0)
    desk.write("player", 0, midi.note_on(0, 60, 80))
    for ms in range(0, 1000, 5):
        assert desk.look(ms * 1_000_000, session) > ms * 1_000_000
    assert len(shown) == 1_000_000_000 // SHOW_NS
    first, last = json.loads(shown[0]), json.loads(shown[-1])
    assert (first["place"], first["in"], first["heard"]) == ([1, 1], [60], [[0, 60, 1]])
    assert (last["place"], last["heard"], last["dropped"], last["step"]) == ([1, 2], [], 2, None)
    assert "step" not in words(last, "") and words(last, "") == "bar 1.2 | you | trade | 120 bpm | in C4 | 2 dropped"


def test_keys_tap_and_change_the_mode() -> None:
    engine, desk = desk_of([])
    for beat in range(4):
        assert desk.pressed(Pressed(" ", beat * 600_000_000)) == ""
    assert engine.tempo.bpm_at(engine.tempo.pulse_at(1_800_000_000)) == pytest.approx(100.0)
    assert desk.pressed(Pressed("m", 0)) == "mode: accompany" and engine.mode_name == "accompany"
    assert desk.pressed(Pressed("x", 0)) == "" and "panic" in desk.pressed(Pressed("?", 0))


def test_key_and_chord_of_what_is_heard() -> None:
    ear = Ear()
    state = {"place": [1, 1], "bar": 96}
    chords = [(0, (60, 64, 67)), (96, (65, 69, 72)), (192, (67, 71, 74)), (288, (60, 64, 67))]
    for start, pitches in chords:
        ear.hear({**state, "tick": start + 1, "heard": [(start, pitch, 1) for pitch in pitches]})
        ear.hear({**state, "tick": start + 90, "heard": [(start + 90, pitch, 0) for pitch in pitches]})
    assert ear.words == "C in C major"
