"""A session in simulated time, for `demo --fast` and `duet`: the engine and the composer of `jam`, a script instead of a player.

Host time 0 is pulse 0. Time jumps from one event to the next, so a session takes as long as the model needs, and the same script,
configuration and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from realtime import midi
from realtime.core.engine import Engine
from realtime.core.settings import EngineSettings
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.io.files import midifile, pianoroll
from realtime.io.files.playing import Timeline
from realtime.io.files.whole import write_bytes
from realtime.io.live.flood import Flood
from realtime.io.live.model import Model, RuleModel, Setup
from realtime.io.live.session import Session
from realtime.io.live.take import Take
from realtime.music.metre import BeatGrid
from realtime.simulate import perform

Script = Sequence[tuple[int, bytes]]
"""(host ns, message), ordered by time."""
Ending = Callable[[Engine, int], int | None]
"""Says after each step when the session ends (ns), from its engine and the time now (ns); None: that is not known yet."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How time passes in a session.

    `settings`: the engine's, with the metre. `bpm`: Antiphon's tempo; where it follows MIDI clock, until the first clocks have
    come. `counted_in`: its bars run from pulse 0 on; otherwise from the first note, as in `jam`. `clock`: the tempo map that is
    sent as MIDI clock; None: Antiphon keeps its own tempo. `shift_pulse`: how much later a file's music begins, after an intro.
    """

    settings: EngineSettings
    bpm: float | Fraction
    counted_in: bool = False
    clock: Timeline | None = None
    shift_pulse: int = 0

    @property
    def grid(self) -> BeatGrid:
        """The bars and beats."""
        return BeatGrid(self.settings.bars)

    def engine(self) -> Engine:
        """A new engine at the beginning of the session."""
        engine = Engine(self.settings, TempoMap(self.bpm))
        if self.counted_in and self.clock is None:  # with a clock, Start sets it rolling
            engine.begin()
        return engine

    def ns_at(self, pulse: int) -> int:
        """The first nanosecond at or after `pulse`."""
        return TempoMap(self.bpm).ns_at(pulse) if self.clock is None else self.clock.ns_at_pulse(pulse)

    def with_clock(self, script: Script, end_ns: int) -> Script:
        """The script, with Start at 0 and the clocks before `end_ns` where MIDI clock is sent. A clock comes before the notes of
        the same moment."""
        if self.clock is None:
            return script
        clocks = [(0, bytes((midi.START,)))]
        while (at_ns := self.ns_at((len(clocks) - 1) * PULSES_PER_TICK)) < end_ns:
            clocks.append((at_ns, bytes((midi.CLOCK,))))
        return sorted([*clocks, *script], key=lambda event: event[0])


def play(
    model: Model | RuleModel,
    setup: Setup,
    timing: Timing,
    script: Script,
    end: int | Ending,
    latest_ns: int | None = None,
) -> tuple[Engine, Take, Session]:
    """The session until `end`, in ns; where that is an `Ending`, MIDI clock goes on until `latest_ns`. Metre and tempo are those
    of `timing`, whatever the setup's are."""
    engine = timing.engine()
    composer = model.composer(replace(setup, bars=timing.settings.bars, bpm=float(timing.bpm)))
    if isinstance(end, int):
        performance = perform(engine, composer, timing.with_clock(script, end), end)
    else:
        clocked = timing.with_clock(script, script[-1][0] if latest_ns is None else latest_ns)
        performance = perform(engine, composer, clocked, lambda now_ns: end(engine, now_ns), is_meant=Flood().is_meant)
    clock, take = timing.clock, Take()
    take.end_pulse = performance.end_pulse if clock is None else clock.pulse_at(performance.end_ns)
    take.events["antiphon"] = [(pulse, message) for _, pulse, message in performance.sent]
    take.events["player"] = [
        # With a clock, where the sender has the message; the follower's own position may be a pulse off.
        (pulse if clock is None else clock.pulse_at(ns), message)
        for ns, pulse, message in performance.played
        if midi.kind(message) <= midi.SYSEX  # MIDI clock and transport have no place in a file
    ]
    sent = [message for _, _, message in performance.sent]
    return engine, take, Session(left_hanging=sum(map(midi.is_note_on, sent)) - sum(map(midi.is_note_off, sent)))


def save(
    path: Path, take: Take, tempos: Sequence[tuple[int, float]], time_signatures: Sequence[tuple[int, int, int]]
) -> None:
    """A type-1 file: a tempo track, "player" and "antiphon", every message of both at its pulse, and nothing sounding after the
    session's end. Raises `UserError`."""
    tracks = {name: take.track(name) for name in ("player", "antiphon")}
    write_bytes(path, midifile.encode(tracks, tempos, time_signatures))


def draw(
    path: Path, take: Take, grid: BeatGrid, title: str, facts: str, labels: Sequence[tuple[int, str]] = ()
) -> None:
    """A piano roll of both, in bars of `grid` from pulse 0 to the end of the last that begins before the session's end. labels:
    (pulse, chord) to stand above it."""
    voices = {name: take.notes(name) for name in ("player", "antiphon")}
    lines = [tick * PULSES_PER_TICK for tick in bar_lines(grid, take.end_pulse)]
    pianoroll.draw(path, voices, lines, title, facts, labels=labels)


def bar_lines(grid: BeatGrid, end_pulse: int) -> list[int]:
    """The ticks at which the bars from tick 0 on begin, and the end of the last that begins before `end_pulse`. The first bar of
    a file with a pick-up is shorter."""
    lines = [0]
    while len(lines) == 1 or lines[-1] * PULSES_PER_TICK < end_pulse:
        lines.append(grid.bar_start(lines[-1], 1))
    return lines
