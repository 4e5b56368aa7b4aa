"""What the player of a session sees and does at the computer: the state for the live line, and the keys of the keyboard.

All of it runs on the loop's thread, and none of it waits: a state is a short text that is handed to another process (`screen`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from realtime import midi
from realtime.core.engine import Engine
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.live.session import Session, Sink
from realtime.music.attributes import STYLES
from realtime.music.chords import NO_CHORD, UNKNOWN, symbol
from realtime.music.controls import AS_IT_IS, KNOBS

SHOW_NS = 100_000_000
"""The live line changes at most so often."""
MARKED, TAKEN_BACK = "marked", "taken back"
"""Texts of markers."""
HELP = "space: tap the tempo, m: next mode, f: next feel of a band, p: panic, r: answer again, q: end"


class Pressed(NamedTuple):
    """A key of the keyboard, and when it was pressed."""

    key: str
    ns: int


class Desk:
    """A sink that passes on to `sink` all that it gets, and so knows what is played. show: takes a state;
    pause: gives the terminal back to the shell, True, or takes it again."""

    def __init__(
        self,
        engine: Engine,
        sink: Sink,
        show: Callable[[str], None],
        pause: Callable[[bool], None] = lambda paused: None,
    ) -> None:
        self.trouble = ""
        self.pause = pause
        self._engine, self._sink, self._show = engine, sink, show
        self._next_ns = 0
        self._sounding: dict[str, Counter[int]] = {"player": Counter(), "antiphon": Counter()}
        self._heard: list[tuple[int, int, int]] = []

    def write(self, direction: str, pulse: int, message: bytes) -> None:
        """See `Sink`."""
        self._sink.write(direction, pulse, message)
        self.trouble = self._sink.trouble
        if midi.is_note_on(message) or midi.is_note_off(message):
            down = self._sounding[direction]
            down[message[1]] = max(down[message[1]] + (1 if midi.is_note_on(message) else -1), 0)
            if direction == "player":
                self._heard.append((pulse // PULSES_PER_TICK, message[1], int(midi.is_note_on(message))))

    def tempo(self, pulse: int, bpm: float) -> None:
        """See `Sink`."""
        self._sink.tempo(pulse, bpm)

    def jump(self, pulse: int) -> None:
        """See `Sink`."""
        self._sink.jump(pulse)

    def mark(self, pulse: int, text: str) -> None:
        """See `Sink`."""
        self._sink.mark(pulse, text)

    def look(self, now: int, session: Session) -> int:
        """Show the state if it is time. Returns when it is time again."""
        if now >= self._next_ns:
            self._next_ns = now + SHOW_NS
            self._show(json.dumps(self._state(now, session)))
            self._heard.clear()
        return self._next_ns

    def _state(self, now: int, session: Session) -> dict[str, object]:
        engine = self._engine
        tick = engine.tempo.pulse_at(now) // PULSES_PER_TICK
        grid, turn, knobs = engine.grid, engine.turn, engine.knobs.controls
        turned = {
            name: STYLES[value] if name == "style" else round(value, 2)
            for name, value in ((name, getattr(knobs, name)) for name in KNOBS)
            if value != getattr(AS_IT_IS, name)
        }
        errors, steps = session.schedule_error_ns, engine.counts.step_ns
        return {
            "place": (grid.bar_number(tick) + 1, grid.count_at(tick) + 1) if engine.rolling else None,
            "tick": tick,
            "bar": grid.bar_length_at(tick),
            "whose": "Antiphon" if turn is not None and tick >= turn.start else "you" if engine.rolling else "",
            "mode": engine.mode_name,
            "feel": engine.turns.feels.at(tick) or "",
            "chord": self._chord(tick),
            "bpm": round(engine.transport.bpm_at(engine.tempo.pulse_at(now)), 1),
            "knobs": turned,
            "in": sorted(+self._sounding["player"]),
            "out": sorted(+self._sounding["antiphon"]),
            "heard": self._heard,
            "step": round(steps[-1] / 1e6, 1) if steps else None,
            "late": round(errors[-1] / 1e6, 1) if errors else None,
            "dropped": engine.scheduler.late_dropped + session.shed,
        }

    def _chord(self, tick: int) -> str:
        """The chord of the beat: "Am7 (B)" where it is given, in a section B; else as it is planned."""
        planned = self._engine.chords.at(self._engine.grid.beat_at(tick).start)
        return self._engine.leading.now(tick) or ("" if planned in (UNKNOWN, NO_CHORD) else symbol(planned))

    def pressed(self, pressed: Pressed) -> str:
        """Do what a key asks for, panic and the end aside. Returns a line for the user, or ""."""
        engine = self._engine
        if pressed.key == " ":
            engine.tap(pressed.ns)
        elif pressed.key == "m":
            names = list(engine.settings.modes)
            engine.set_mode(names[(names.index(engine.mode_name) + 1) % len(names)], pressed.ns)
            return f"mode: {engine.mode_name}"
        elif pressed.key == "f":
            engine.next_feel(pressed.ns)
            return "" if engine.settings.parts else "feel: only a band of several parts has one"
        elif pressed.key == "r":
            return self._again(pressed.ns)
        elif pressed.key in ("h", "?"):
            return HELP
        return ""

    def _again(self, ns: int) -> str:
        """Another answer to the same phrase, and a marker where the one begins that is taken back."""
        engine, grid = self._engine, self._engine.grid
        if not engine.rolling:
            return "nothing to take back: nobody has played yet"
        now = engine.tempo.pulse_at(ns) // PULSES_PER_TICK
        last, turn = engine.again(ns), engine.turns.again.turn
        start = grid.bar_start(now) if last is None else last.start
        self.mark(start * PULSES_PER_TICK, MARKED if last is None else TAKEN_BACK)
        bar = grid.bar_number(start) + 1
        if last is None or turn is None:
            return f"bar {bar} is marked; there is no answer of Antiphon's to take back"
        return f"the answer of bar {bar} is taken back; another one comes in bar {grid.bar_number(turn.start) + 1}"
