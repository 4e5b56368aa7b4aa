"""`antiphon compose`: the engine of `jam` in simulated time, with a MIDI file as the player: it continues the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from realtime import midi
from realtime.config import Config
from realtime.engine import Engine
from realtime.errors import UserError
from realtime.io import midifile
from realtime.io.midifile import FileNote, MidiPiece
from realtime.io.settings import engine_settings, worker_setup
from realtime.io.take import Take
from realtime.messages import Turn
from realtime.midi import DRUM_CHANNEL
from realtime.modes import Fixed
from realtime.parts import TrackInfo, parts_of
from realtime.simulate import perform
from realtime.tempo import PULSES_PER_TICK, TempoMap
from realtime.vocabulary import DRUMS, PART_NAMES, BeatGrid, bar_segments

OVERHANG_TICKS = 6
"""A last note that rings this little beyond a bar line does not push the continuation into the next bar."""


def part_of_tracks(piece: MidiPiece) -> list[int]:
    """The part of each track of a file, 0..4."""
    infos = []
    for i, name in enumerate(piece.track_names):
        notes = [note for note in piece.notes if note.track == i]
        height = sum(note.pitch for note in notes) / len(notes) if notes else 0.0
        infos.append(TrackInfo(name, notes[0].program if notes else 0, any(n.is_drum for n in notes), height))
    return parts_of(infos)


def continuation(piece: MidiPiece, grid: BeatGrid, bars: int) -> Turn:
    """The bars after the last note: from the first bar line at which the file is over."""
    last = max(note.onset_pulse + note.duration_pulse for note in piece.notes) // PULSES_PER_TICK - OVERHANG_TICKS
    start = grid.bar_start(max(last, max(note.onset_pulse for note in piece.notes) // PULSES_PER_TICK), 1)
    return Turn(start, grid.bar_start(start, bars))


def compose(config: Config, source: Path, target: Path, bars: int, say: Callable[[str], None]) -> str:
    """Continue `source` by `bars` bars into `target`: the file's own tracks, and one of Antiphon's for each part.

    Without `play.part` Antiphon plays the parts the file has. Returns a line for the user; raises `UserError`, and then
    nothing is written.
    """
    midifile.check_writable(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target}: is the file to be continued; give another name for the result")
    piece = midifile.read(source)
    if not piece.notes:
        raise UserError(f"{source}: no notes in it; give a file with something to go on from")
    part_of = part_of_tracks(piece)
    grid_bars = tuple(
        bar_segments([(pulse // PULSES_PER_TICK, top, bottom) for pulse, top, bottom in piece.time_signatures])
    )
    turn = continuation(piece, BeatGrid(grid_bars), bars)
    assert turn.end is not None
    tempo = TempoMap(piece.tempos[0][1])
    for pulse, bpm in piece.tempos[1:]:
        tempo.set_tempo(pulse, bpm)

    setup = worker_setup(config)
    parts = setup.constraints.parts or tuple(sorted({part_of[note.track] for note in piece.notes}))
    bpm = tempo.bpm_at(turn.start * PULSES_PER_TICK)
    composer, stepper = replace(
        setup, bars=grid_bars, bpm=bpm, constraints=replace(setup.constraints, parts=parts)
    ).composer()
    if stepper.notice:
        say(stepper.notice)
    settings = replace(
        engine_settings(config),
        modes={"compose": Fixed(turn)},
        mode="compose",
        bpm=bpm,
        bars=grid_bars,
        # Inside, each part has the channel of its own number, the player's parts and Antiphon's alike.
        player_parts=tuple(min(channel, len(PART_NAMES) - 1) for channel in range(16)),
        channels=tuple(range(len(PART_NAMES))),
        follow_clock=False,
        trigger_key=None,
    )
    engine = Engine(settings, tempo)
    engine.rolling = True  # the file's beginning is bar 1, whenever its first note comes
    script = []
    for note in piece.notes:
        channel, end_pulse = part_of[note.track], note.onset_pulse + note.duration_pulse
        script.append((tempo.ns_at(note.onset_pulse), midi.note_on(channel, note.pitch, note.velocity)))
        script.append((tempo.ns_at(end_pulse), midi.note_off(channel, note.pitch)))
    performance = perform(engine, composer, script, tempo.ns_at(turn.end * PULSES_PER_TICK))

    take = Take()
    for _, pulse, message in performance.sent:
        take.write("antiphon", pulse, message)
    made: dict[int, list[FileNote]] = {}
    for note in take.notes("antiphon"):
        channel = DRUM_CHANNEL if note.channel == DRUMS else note.channel
        made.setdefault(note.channel, []).append(replace(note, channel=channel))
    names = piece.track_names
    tracks = {
        (name if name and names.count(name) == 1 else f"{name or 'track'} {i + 1}"): [
            note for note in piece.notes if note.track == i
        ]
        for i, name in enumerate(names)
    }
    tracks |= {f"antiphon {PART_NAMES[part]}": notes for part, notes in sorted(made.items())}
    tracks = {name: notes for name, notes in tracks.items() if notes}
    midifile.write(target, tracks, piece.tempos, piece.time_signatures)
    count = sum(len(notes) for notes in made.values())
    return f"{target}: {bars} bars and {count} notes after bar {bar_number(BeatGrid(grid_bars), turn.start)}"


def bar_number(grid: BeatGrid, tick: int) -> int:
    """How many bars lie before `tick`, the pick-up counted as one."""
    count, at = 0, grid.bar_start(0)
    while at < tick:
        count, at = count + 1, grid.bar_start(at, 1)
    return count
