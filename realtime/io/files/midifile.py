"""Standard MIDI files as pieces of music: reading anything that is given, writing what any DAW opens.

Times are pulses, 480 a quarter note, whatever the file's own division. The bytes are `realtime.io.files.smf`'s to read;
writing goes through mido.
"""

from __future__ import annotations

import io
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import mido

from realtime.core.tempo import PPQN
from realtime.io.files.channels import Place, ports_of, zones_of
from realtime.io.files.smf import MAX_QUARTERS, META, METRE, NAME, Smf, load
from realtime.io.files.timebase import DEFAULT_BPM, MAX_BPM, MIN_BPM, Timebase, bpm_of, timebase_of
from realtime.io.files.whole import write_bytes
from realtime.midi import DRUM_CHANNEL
from realtime.music.metre import clocks_a_click

LONGEST_BAR = 64
"""Quarter notes. A damaged time signature may say 1,020."""

__all__ = ["DEFAULT_BPM", "MAX_BPM", "MAX_QUARTERS", "MIN_BPM", "FileNote", "MidiPiece"]


@dataclass(frozen=True, slots=True, order=True)
class FileNote:
    """One note; channel 0..15, velocity 1..127, duration at least one pulse."""

    onset_pulse: int
    pitch: int
    velocity: int
    duration_pulse: int
    channel: int = 0
    track: int = 0
    program: int = 0
    is_drum: bool = False


@dataclass(frozen=True, slots=True)
class MidiPiece:
    """A file's music. Notes by (onset, pitch); the first tempo and the first time signature stand at pulse 0."""

    notes: list[FileNote]
    tempos: list[tuple[int, float]]  # (pulse, bpm)
    time_signatures: list[tuple[int, int, int]]  # (pulse, numerator, denominator)
    track_names: list[str]
    length_pulse: int


def read(path: Path) -> MidiPiece:
    """The piece in the file. Raises UserError, one line with the path, for anything that cannot be read as a MIDI file."""
    return piece_of(load(path))


def piece_of(smf: Smf) -> MidiPiece:
    """The piece of a file's events."""
    timebase = timebase_of(smf)
    names = [""] * len(smf.lengths)
    tempos: dict[int, float] = {0: DEFAULT_BPM}
    metres: dict[int, tuple[int, int]] = {0: (4, 4)}
    for event in smf.events:
        if event.status != META:
            continue
        if event.kind == NAME:
            names[event.track] = names[event.track] or _text(event.data)
        elif (bpm := bpm_of(event)) is not None:
            tempos[timebase.pulse(event.tick)] = bpm
        elif event.kind == METRE and (metre := _metre(event.data)) is not None:
            metres[timebase.pulse(event.tick)] = metre
    notes = sorted(note for note, _ in notes_of(smf, timebase))
    length = max([timebase.pulse(tick) for tick in smf.lengths] + [n.onset_pulse + n.duration_pulse for n in notes])
    signatures = [(at, *metre) for at, metre in sorted(metres.items())]
    return MidiPiece(notes, sorted(tempos.items()), signatures, names, length)


def _metre(data: bytes) -> tuple[int, int] | None:
    """(numerator, denominator) of a time signature; None for one that no music has."""
    if len(data) < 2 or not data[0] or data[1] > 6 or 4 * data[0] > LONGEST_BAR << data[1]:
        return None
    return data[0], 1 << data[1]


class Span(NamedTuple):
    """Where a note lies among a file's events: the indices of its note-on and its note-off (None: it has none), and the ticks
    at which it begins and ends."""

    on: int
    off: int | None
    start: int
    end: int

    @property
    def events(self) -> tuple[int, ...]:
        """The indices of its events."""
        return (self.on,) if self.off is None else (self.on, self.off)


def notes_of(smf: Smf, timebase: Timebase) -> Iterator[tuple[FileNote, Span]]:
    """The notes of a file's events. Overlapping equal pitches: the first note struck is the first to end.

    A note that is never ended ends where a synthesiser would end it, with the last note-off of its key; else where its key is
    struck again; else with the last note of the file, or a quarter note after its onset if that is later: the far end of a track
    is no end of the music.
    """
    ports, zones = ports_of(smf), zones_of(smf)
    programs: defaultdict[Place, int] = defaultdict(int)
    held: defaultdict[tuple[int, int, int], deque[tuple[int, int]]] = defaultdict(deque)
    ended: dict[tuple[int, int, int], int] = {}
    music_end = 0

    def note(at: int, program: int, off: int | None, end: int) -> tuple[FileNote, Span]:
        event = smf.events[at]
        channel = event.status & 0x0F
        onset = timebase.pulse(event.tick)
        duration = max(1, timebase.pulse(end) - onset)
        drum = channel == DRUM_CHANNEL and (ports[event.track], channel) not in zones
        made = FileNote(onset, event.kind, event.data[0], duration, channel, event.track, program, drum)
        return made, Span(at, off, event.tick, end)

    for at, event in enumerate(smf.events):
        message, channel = event.status & 0xF0, event.status & 0x0F
        if message == 0xC0:
            programs[ports[event.track], channel] = event.kind  # programs belong to a channel, across tracks
        elif message in (0x80, 0x90):
            key = (event.track, channel, event.kind)
            music_end = event.tick
            if message == 0x90 and event.data[0] > 0:
                held[key].append((at, programs[ports[event.track], channel]))
            else:
                ended[key] = event.tick
                if held[key]:  # a stray note-off ends nothing
                    start, program = held[key].popleft()
                    yield note(start, program, at, event.tick)
    quarter = timebase.tick(PPQN)
    for key, sounding in held.items():
        for (start, program), following in zip_longest(sounding, list(sounding)[1:]):
            onset = smf.events[start].tick
            if ended.get(key, -1) > onset:
                end = ended[key]
            elif following is not None:
                end = smf.events[following[0]].tick
            else:
                end = min(max(music_end, onset + quarter), max(smf.lengths[key[0]], onset))
            yield note(start, program, None, end)


def _text(data: bytes) -> str:
    """The standard knows no encoding: UTF-8 where it is, else Latin-1; one line of printable characters."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return "".join(letter for letter in text if letter.isprintable()).strip()[:200]


def write(
    path: Path,
    tracks: Mapping[str, Sequence[FileNote]],
    tempos: Sequence[tuple[int, float]] = ((0, DEFAULT_BPM),),
    time_signatures: Sequence[tuple[int, int, int]] = ((0, 4, 4),),
) -> None:
    """A type-1 file: a tempo track, then one track for each name. The same notes give the same bytes. Raises UserError."""
    events = {name: note_events(notes) for name, notes in tracks.items()}
    write_bytes(path, encode(events, tempos, time_signatures))


def note_events(notes: Iterable[FileNote]) -> list[tuple[int, bytes]]:
    """Notes -> (pulse, message) in playing order; every note-on has its note-off.

    Of equal pitches on one channel that overlap, the earlier ends where the later begins: on one channel MIDI knows no two.
    Of two with the same onset the longer stays. A program change goes before the first note that needs it.
    """
    kept: dict[tuple[int, int], list[FileNote]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: (note.onset_pulse, note.duration_pulse, note.velocity)):
        line = kept[note.channel, note.pitch]
        if line and line[-1].onset_pulse == note.onset_pulse:
            line.pop()
        line.append(note)
    ordered: list[tuple[int, int, bytes]] = []  # (pulse, rank: note-off 0, program 1, note-on 2; message)
    programs: dict[int, int] = {}
    starts: list[FileNote] = []
    for (channel, pitch), line in kept.items():
        for index, note in enumerate(line):
            end = note.onset_pulse + max(1, note.duration_pulse)
            if index + 1 < len(line):
                end = min(end, line[index + 1].onset_pulse)
            ordered.append((note.onset_pulse, 2, bytes((0x90 | channel, pitch, note.velocity))))
            ordered.append((end, 0, bytes((0x80 | channel, pitch, 0))))
        starts += line
    for note in sorted(starts):
        if programs.get(note.channel, 0) != note.program:
            programs[note.channel] = note.program
            ordered.append((note.onset_pulse, 1, bytes((0xC0 | note.channel, note.program))))
    return [(pulse, message) for pulse, _, message in sorted(ordered)]


def encode(
    tracks: Mapping[str, Sequence[tuple[int, bytes]]],
    tempos: Sequence[tuple[int, float]],
    time_signatures: Sequence[tuple[int, int, int]],
    markers: Sequence[tuple[int, str]] = (),
) -> bytes:
    """The bytes of a type-1 file of (pulse, message) lists, each in playing order, all pulses >= 0."""
    file = mido.MidiFile(type=1, ticks_per_beat=PPQN, charset="utf-8")
    conductor: list[tuple[int, mido.MetaMessage]] = [
        (
            pulse,
            mido.MetaMessage(
                "time_signature",
                numerator=top,
                denominator=bottom,
                clocks_per_click=clocks_a_click(top, bottom),
            ),
        )
        for pulse, top, bottom in time_signatures
    ]
    conductor += [(pulse, mido.MetaMessage("set_tempo", tempo=_microseconds(bpm))) for pulse, bpm in tempos]
    conductor += [(pulse, mido.MetaMessage("marker", text=text)) for pulse, text in markers]
    file.tracks.append(_smf_track("tempo", sorted(conductor, key=lambda event: event[0])))
    for name, events in tracks.items():
        file.tracks.append(_smf_track(name, [(pulse, mido.Message.from_bytes(message)) for pulse, message in events]))
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _microseconds(bpm: float) -> int:
    return min(0xFFFFFF, max(1, round(60e6 / bpm)))


def _smf_track(name: str, events: Sequence[tuple[int, mido.Message | mido.MetaMessage]]) -> mido.MidiTrack:
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name)])
    before = 0
    for pulse, message in events:
        track.append(message.copy(time=pulse - before))
        before = pulse
    track.append(mido.MetaMessage("end_of_track"))
    return track
