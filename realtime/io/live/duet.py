"""`antiphon duet`: a MIDI file takes the player's place, and the session runs in simulated time (`simulated.py`)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from realtime import midi
from realtime.config import FASTEST_BPM, SLOWEST_BPM, Config, Sync
from realtime.core.engine import Engine
from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError, nearest
from realtime.io.files.playing import Playing, read_playing
from realtime.io.files.rewrite import check_outputs
from realtime.io.files.whole import check_writable, write_bytes
from realtime.io.live.chords import chords_of
from realtime.io.live.model import Model
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.simulated import Ending, Script, Timing, bar_lines, draw, play, save
from realtime.io.live.take import report
from realtime.music.metre import OVERHANG_TICKS, bar_segments, is_compound
from realtime.music.vocabulary import ALONG

GRIDS = ("player", "file")
MOST_QUARTERS = 20_000
"""How long a session may go on that nothing but its file ends: almost three hours at 120 bpm. A few bytes may last for days."""
CLOCK_AFTER_NS = 20 * 60 * 10**9
"""How long MIDI clock goes on after a script whose session ends when its engine says so. No turn is longer."""


def duet(
    config: Config,
    source: Path,
    target: Path,
    tracks: Sequence[str],
    grid: str,
    json_file: Path | None,
    png: Path | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Play with `source` and write what both play to `target`; returns the report.

    tracks: names, or numbers from 1; all where none is given. grid: one of `GRIDS`. Raises `UserError` before anything is
    written.
    """
    if grid not in GRIDS:
        raise UserError(f"--grid {grid}: allowed {' or '.join(GRIDS)}{nearest(grid, GRIDS)}")
    check_outputs(source, target, png, "played")
    _check_json(json_file, [path for path in (source, target, png) if path is not None])
    playing = read_playing(source, tracks)
    _check_length(config, source, playing, grid)
    config, timing = timing_of(config, source, playing, grid)
    script = script_of(playing, timing, grid)
    setup = worker_setup(config)
    model = Model.load(setup)
    for line in [*([model.stepper.notice] if model.stepper.notice else []), *remarks(config, source, playing, grid)]:
        say(line)

    end, latest_ns = ending(config, timing, script), _latest_ns(config, timing, script)
    engine, take, session = play(model, setup, timing, script, end, latest_ns)
    for line in engine.take_notices():
        say(line)
    tempos, metres = conductor(config, timing, playing, grid, take.end_pulse)
    save(target, take, tempos, metres)
    chords = chords_of(engine, take, timing.grid)
    if png is not None:
        facts = f"{tempos[0][1]:.4g} BPM, {metres[0][1]}/{metres[0][2]}"
        draw(png, take, timing.grid, f"Antiphon, {config.mode.name}: {source.name}", facts, chords.labels)
    bars = len(bar_lines(timing.grid, take.end_pulse)) - 1
    figures = {**report(engine, session), "mode": config.mode.name, "bars": bars, "seed": config.engine.seed}
    figures["chords"] = chords._asdict()
    if json_file is not None:
        write_bytes(json_file, (json.dumps(figures, indent=2) + "\n").encode())
    return figures


def ending(config: Config, timing: Timing, script: Script) -> Ending:
    """When the session ends: after the bars or the seconds of the configuration, whichever comes first; without either, with the
    turn that follows the file (`last_tick`)."""
    bars, seconds = config.run.bars, config.run.seconds
    last_ns = max(ns for ns, message in script if midi.is_note_off(message))
    known: list[int] = [] if bars is None else [timing.grid.bar_start(0, bars)]

    def end_ns(engine: Engine, now_ns: int) -> int | None:
        if not known and seconds is None and now_ns >= last_ns:
            known.append(last_tick(engine, round(engine.tempo.pulse_at(last_ns) / PULSES_PER_TICK)))
        ends_ns = [round(seconds * 1e9)] if seconds is not None else []
        if known and engine.rolling:
            pulse = known[0] * PULSES_PER_TICK
            # Antiphon's own song time may go on from a later bar line after a rest; a clock's does not.
            ends_ns.append(engine.tempo.ns_at(pulse) if timing.clock is None else timing.clock.ns_at_pulse(pulse))
        return min(ends_ns, default=None)

    return end_ns


def last_tick(engine: Engine, tick: int) -> int:
    """Where a session ends whose file's last note has ended at `tick`: with the first turn of Antiphon's that begins then, or at
    most `OVERHANG_TICKS` before, or else with the one that is on. Without such a turn it goes on for a bar from the next bar line
    on, and up to the bar line after Antiphon's last note."""
    grid, mode = engine.grid, engine.mode
    turn = engine.turns.turn_at(tick)
    if turn is not None and turn.end is not None and mode.role not in ALONG:
        after = mode.turn(turn.end, engine.player, grid) if turn.start < tick - OVERHANG_TICKS else None
        return turn.end if after is None or after.end is None else after.end
    rings = grid.next_bar(turn.end) if turn is not None and turn.end is not None else 0
    return max(grid.bar_start(grid.next_bar(tick), 1), rings)


def conductor(
    config: Config, timing: Timing, playing: Playing, grid: str, end_pulse: int
) -> tuple[list[tuple[int, float]], list[tuple[int, int, int]]]:
    """The tempos and the time signatures of the session's file, up to its end: Antiphon's, or the file's where Antiphon follows
    its clock, or counts its bars."""
    tempos, metres = [(0, float(timing.bpm))], [(0, *config.sync.signature)]
    if timing.clock is not None:
        tempos = playing.piece.tempos
    if grid == "file":
        metres = playing.piece.time_signatures
        if shift := timing.shift_pulse:
            line = timing.settings.intro_bars * timing.settings.bars[0].length * PULSES_PER_TICK
            (_, top, bottom), *later = [each for each in metres if each[0] + shift >= line] or metres[-1:]
            metres = [(0, top, bottom), *((pulse + shift, above, below) for pulse, above, below in later)]
    return (
        [tempo for tempo in tempos if tempo[0] < max(end_pulse, 1)],
        [metre for metre in metres if metre[0] < max(end_pulse, 1)],
    )


def timing_of(config: Config, source: Path, playing: Playing, grid: str) -> tuple[Config, Timing]:
    """How time passes, and the configuration with the session's tempo: the one given, else the file's. Raises `UserError`."""
    follows = config.sync.source == "clock"
    bpm: float | Fraction = playing.bpm
    if "tempo_bpm" in config.sync.model_fields_set:
        bpm = config.sync.tempo_bpm
    elif follows:
        bpm = min(max(bpm, Fraction(SLOWEST_BPM)), Fraction(FASTEST_BPM))
    elif not SLOWEST_BPM <= bpm <= FASTEST_BPM:
        raise UserError(
            f"{source}: its tempo is {float(bpm):.4g} bpm; allowed {SLOWEST_BPM} to {FASTEST_BPM}; give one with --tempo"
        )
    config = config.model_copy(update={"sync": config.sync.model_copy(update={"tempo_bpm": float(bpm)})})
    settings = engine_settings(config)
    if grid == "file":
        signatures = [(pulse // PULSES_PER_TICK, top, bottom) for pulse, top, bottom in playing.piece.time_signatures]
        settings = replace(settings, bars=tuple(bar_segments(signatures)), restart_ticks=0)
    shift = 0
    if settings.intro_bars:  # bars of the first metre; a pick-up comes in the last of them
        first, *later = settings.bars
        shift = settings.intro_bars * first.length - first.start
        bars = (first._replace(start=0), *(segment._replace(start=segment.start + shift) for segment in later))
        settings = replace(settings, bars=bars)
    counted_in = grid == "file" or settings.intro_bars > 0
    clock = playing.timeline if follows else None
    return config, Timing(settings, bpm, counted_in, clock, shift * PULSES_PER_TICK)


def script_of(playing: Playing, timing: Timing, grid: str) -> Script:
    """The file's messages with their times, in whole nanoseconds from pulse 0: from the file's tick 0, or from its first note
    where that is the downbeat (what comes before it has negative times); after the intro, if there is one."""
    at_tick = playing.timeline.ns_at
    from_start = grid == "file" or timing.clock is not None
    origin = Fraction(0) if from_start else at_tick(playing.first_tick)
    origin -= timing.ns_at(timing.shift_pulse)
    return [(math.ceil(at_tick(tick) - origin), message) for tick, message in playing.messages]


def remarks(config: Config, source: Path, playing: Playing, grid: str) -> list[str]:
    """What of the file was mended, and where its tempo or metre is not Antiphon's, what that means: a line each."""
    lines = [f"{source}: {what}" for what in playing.mended]
    bpm, own = config.sync.tempo_bpm, float(playing.bpm)
    if config.sync.source == "internal":
        if playing.timeline.changes:
            lines.append(
                f"{source} changes its tempo and Antiphon keeps {bpm:.4g} bpm: they drift apart; --sync clock follows the file"
            )
        elif abs(bpm - own) > 0.01:
            lines.append(f"{source} is played in its own tempo, {own:.4g} bpm, and Antiphon keeps {bpm:.4g} bpm")
    if grid == "player":
        signatures = playing.piece.time_signatures
        ends = [*(pulse for pulse, _, _ in signatures[1:]), playing.piece.length_pulse]
        most = max(
            zip(signatures, ends, strict=True), key=lambda metre: metre[1] - metre[0][0]
        )  # not that of a pick-up
        (_, top, bottom), _ = most
        over, under = config.sync.signature
        if top * under != over * bottom or is_compound(top, bottom) != config.sync.compound:
            line = f"{source} has bars of {top}/{bottom} and Antiphon counts {over}/{under}: --grid file takes the file's bars"
            if (metre := Sync.metre(top, bottom)) is not None:
                settings = " and ".join(f"sync.{name}: {str(value).lower()}" for name, value in metre.items())
                line += f"; so do {settings} in the configuration"
            lines.append(line)
    return lines


def _check_length(config: Config, source: Path, playing: Playing, grid: str) -> None:
    """Raise `UserError` where a session would go on for too long, and nothing ends it sooner."""
    from_start = grid == "file" or config.sync.source == "clock"
    ticks = playing.last_tick - (0 if from_start else playing.first_tick)
    quarters = math.ceil(ticks / playing.timeline.division)
    if quarters > MOST_QUARTERS and config.run.bars is None and config.run.seconds is None:
        raise UserError(
            f"{source}: {quarters} quarter notes long; allowed {MOST_QUARTERS}, unless --bars or --seconds ends the session"
        )


def _latest_ns(config: Config, timing: Timing, script: Script) -> int:
    """A moment at which the session is over in any case."""
    ends_ns = [script[-1][0] + CLOCK_AFTER_NS]
    if config.run.seconds is not None:
        ends_ns.append(round(config.run.seconds * 1e9))
    if config.run.bars is not None and timing.clock is not None:
        ends_ns.append(timing.clock.ns_at_pulse(timing.grid.bar_start(0, config.run.bars) * PULSES_PER_TICK))
    return min(ends_ns)


def _check_json(json_file: Path | None, others: Sequence[Path]) -> None:
    """Raise `UserError` where the report could not be written, or would replace another file of the command's."""
    if json_file is None:
        return
    check_writable(json_file)
    if any(json_file.resolve() == other.resolve() for other in others):
        raise UserError(f"--json {json_file}: is the name of another file of this command; give another")
