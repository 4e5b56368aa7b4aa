"""The live line and the keyboard, in a process of their own that can never delay a note.

`Screen` is the handle of the process: it takes lines and states, and calls back for each key. `python -m realtime.io.live.screen`
is the process: it reads both from standard input as JSON, a line each, draws on standard error, and writes keys to standard
output.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from realtime.io.clock import now_ns
from realtime.io.live.keyboard import keyboard
from realtime.music.chord_features import beats_of
from realtime.music.chords import symbol
from realtime.music.keys import Key, key_of, pitch_name
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import note_array
from realtime.music.vocabulary import MELODY

CLOSE_S = 0.5
HEARD_TICKS = 16 * TICKS
"""Chord and key are estimated from what was played in so long a time."""
HEAR_TICKS = TICKS
LEAST_NOTES = 4


class Screen:
    """Opened and closed on one thread; lines and states may come on any."""

    def __init__(self, pressed: Callable[[str, int], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "realtime.io.live.screen"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout
        self._pressed = pressed
        threading.Thread(target=self._keys, name="keyboard", daemon=True).start()

    def line(self, text: str) -> None:
        """Write a line above the live line; without the process, to standard error."""
        try:
            os.write(self._to, json.dumps({"line": text}).encode() + b"\n")
        except OSError:
            print(text, file=sys.stderr, flush=True)

    def state(self, state: str) -> None:
        """Draw a state of `Desk`. Raises `OSError` where the process is gone."""
        os.write(self._to, state.encode() + b"\n")

    def pause(self, pause: bool) -> None:
        """Give the terminal back as it was, without a live line; or take it again. Raises `OSError` where the process is gone."""
        os.write(self._to, json.dumps({"pause": pause}).encode() + b"\n")

    def close(self) -> None:
        """Clear the live line and give the keyboard back. More lines go to standard error."""
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _keys(self) -> None:
        for line in self._from:
            ns, _, key = line.decode().rstrip("\n").partition(" ")
            self._pressed(key, int(ns))


class Ear:
    """What a listener makes of the player's notes: key and chord."""

    def __init__(self) -> None:
        from realtime.io.files.harmony import load_harmony

        self._harmony = load_harmony()
        self._down: dict[int, int] = {}
        self._notes: list[tuple[int, int, int]] = []
        self._until = 0
        self.words = ""

    def hear(self, state: dict[str, Any]) -> None:
        """Take the notes of a state, and estimate anew if a beat has passed."""
        for tick, pitch, is_on in state["heard"]:
            if pitch in self._down:
                start = self._down.pop(pitch)
                self._notes.append((start, max(tick - start, 1), pitch))
            if is_on:
                self._down[pitch] = tick
        tick, first = state["tick"], state["tick"] - HEARD_TICKS
        if state["place"] is None or 0 <= tick - self._until < HEAR_TICKS:
            return
        self._until = tick
        self._notes = [note for note in self._notes if first <= note[0] <= tick]
        held = [(start, max(tick - start, 1), pitch) for pitch, start in self._down.items() if first <= start <= tick]
        rows = sorted([*self._notes, *held])
        self.words = ""
        if len(rows) >= LEAST_NOTES and tick > 0:
            notes = note_array((start, length, pitch, 80, MELODY) for start, length, pitch in rows if start >= 0)
            key = key_of(notes)
            self.words = f"{self._chord(notes, tick, state['bar'], key)} in {symbol_of(key)}"

    def _chord(self, notes: np.ndarray, tick: int, bar_ticks: int, key: Key) -> str:
        beats = beats_of(BeatGrid(((0, bar_ticks),)), 0, tick)
        return symbol(int(self._harmony.heard(notes, beats).argmax()), key) if len(beats) else ""


def symbol_of(key: Key) -> str:
    """Such as "F♯ dorian"."""
    return f"{pitch_name(key.tonic)[:-2]} {key.scale}"


def words(state: dict[str, Any], ear: str) -> str:
    """The live line."""
    place = "bar {}.{}".format(*state["place"]) if state["place"] else "waits for you"
    knobs = " ".join(
        f"{name} {value:+}" if isinstance(value, float) else f"{value}" for name, value in state["knobs"].items()
    )
    held = [
        f"{name} {' '.join(map(pitch_name, state[key]))}" for name, key in (("in", "in"), ("out", "out")) if state[key]
    ]
    times = [f"{name} {state[key]} ms" for name, key in (("step", "step"), ("late", "late")) if state[key] is not None]
    dropped = f"{state['dropped']} dropped" if state["dropped"] else ""
    chord, heard = f"plays {state['chord']}" if state["chord"] else "", f"hears {ear}" if ear else ""
    mode, bpm = " ".join(filter(None, (state["mode"], state["feel"]))), f"{state['bpm']:g} bpm"
    parts = [place, state["whose"], mode, bpm, chord, heard, knobs, *held, *times, dropped]
    return " | ".join(part for part in parts if part)


def main() -> None:
    """The process, until standard input ends. What ends the session does not end it: its last lines are still to come."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    for name in ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(10)
    console, ear = Console(stderr=True, highlight=False), Ear()

    def press(key: str) -> None:
        os.write(1, f"{now_ns()} {key}\n".encode())

    live = Live(console=console, auto_refresh=False, transient=True)
    with keyboard(press) as keys, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(live.stop)

        def show(wanted: bool) -> None:
            """A line that is redrawn is of no use where a shell has sent the program to the background."""
            (live.start if wanted and keys.in_front() else live.stop)()

        show(True)
        paused = False
        for line in sys.stdin:
            given = json.loads(line)
            paused = given.get("pause", paused)
            show(not paused)
            if "pause" in given:
                (keys.free if paused else keys.take)()
            elif "line" in given:
                live.console.print(Text(given["line"]))
            elif live.is_started:
                ear.hear(given)
                live.update(Text(words(given, ear.words), no_wrap=True, overflow="ellipsis"), refresh=True)


if __name__ == "__main__":
    main()
