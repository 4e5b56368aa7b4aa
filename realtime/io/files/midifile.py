"""Standard MIDI files: reading anything that is given, writing what any DAW opens.

Times are pulses, 480 a quarter note, whatever the file's own division. `read` accepts untrusted bytes: it ends with a
whole `MidiPiece` or with UserError, in time and memory bounded by MAX_BYTES and MAX_EVENTS. It parses the chunks itself:
a reader that follows a mutated variable-length number for megabytes never comes back. Writing goes through mido.
Format: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001).
"""

import io
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import mido

from realtime.core.tempo import PPQN
from realtime.errors import UserError
from realtime.io.files.whole import write_bytes
from realtime.midi import DRUM_CHANNEL

MAX_BYTES = 16 << 20
MAX_EVENTS = 1_000_000
MAX_QUARTERS = 100_000  # 14 hours at 120 BPM; a mutated delta time reaches far beyond
DEFAULT_BPM = 120.0
MIN_BPM, MAX_BPM = 4.0, 1000.0  # a file's tempo may be a trick (a pause, a skip); no engine follows further than this


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


class _Damaged(Exception):
    """What is wrong with the file, in words that continue "the file is damaged: "."""


class Event(NamedTuple):
    """One event of a track, at a tick of the file's own division."""

    tick: int
    track: int
    status: int  # 0x80..0xEF with its channel; META for a meta event, 0xF0 and 0xF7 for a system exclusive one
    kind: int  # first data byte, or the meta event's type
    data: bytes


META = 0xFF
NAME, END = 0x03, 0x2F
Parsed = TypeVar("Parsed")
TEMPO, _METRE = 0x51, 0x58


def read(path: Path) -> MidiPiece:
    """The piece in the file. Raises UserError, one line with the path, for anything that is not a whole MIDI file."""
    return _parsed(path, _piece)


def read_events(path: Path) -> tuple[int, list[Event], list[int]]:
    """(ticks a quarter, every event by time, each track's length in ticks). Raises UserError as `read` does."""
    return _parsed(path, lambda data: _events(data, everything=True))


def _parsed(path: Path, parse: Callable[[bytes], Parsed]) -> Parsed:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason}); give a MIDI file") from None
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES >> 20} MB; allowed are MIDI files up to that size")
    if data[:4] != b"MThd":
        raise UserError(f"{path}: not a MIDI file; give a Standard MIDI File (.mid)")
    try:
        return parse(data)
    except _Damaged as damage:
        raise UserError(f"{path}: {damage}; export it again from the program that made it") from None


def _piece(data: bytes) -> MidiPiece:
    division, events, lengths = _events(data)
    names = [""] * len(lengths)
    tempos: dict[int, float] = {0: DEFAULT_BPM}
    metres: dict[int, tuple[int, int]] = {0: (4, 4)}
    for event in events:
        if event.status != META:
            continue
        if event.kind == NAME:
            names[event.track] = names[event.track] or _text(event.data)
        elif event.kind == TEMPO and len(event.data) == 3 and any(event.data):
            bpm = 60e6 / int.from_bytes(event.data, "big")
            tempos[_pulse(event.tick, division)] = min(MAX_BPM, max(MIN_BPM, bpm))
        elif event.kind == _METRE and len(event.data) >= 2 and event.data[0] and event.data[1] <= 6:
            metres[_pulse(event.tick, division)] = (event.data[0], 1 << event.data[1])
    notes = sorted(note for note, _ in notes_of(division, events, lengths))
    length = max(
        [_pulse(tick, division) for tick in lengths] + [note.onset_pulse + note.duration_pulse for note in notes],
        default=0,
    )
    return MidiPiece(
        notes, sorted(tempos.items()), [(at, *metre) for at, metre in sorted(metres.items())], names, length
    )


def _pulse(tick: int, division: int) -> int:
    return (tick * PPQN + division // 2) // division


def notes_of(
    division: int, events: Sequence[Event], lengths: Sequence[int]
) -> Iterator[tuple[FileNote, tuple[int, ...]]]:
    """The notes of events that are ordered by time, each with the indices of its events: two, or one if it never ends (it ends
    with its track then)."""
    programs = [0] * 16
    held: defaultdict[tuple[int, int, int], deque[tuple[int, int]]] = defaultdict(deque)

    def note(start: Event, program: int, end_tick: int) -> FileNote:
        onset, channel = _pulse(start.tick, division), start.status & 0x0F
        duration = max(1, _pulse(end_tick, division) - onset)
        drum = channel == DRUM_CHANNEL
        return FileNote(onset, start.kind, start.data[0], duration, channel, start.track, program, drum)

    for at, event in enumerate(events):
        message, channel = event.status & 0xF0, event.status & 0x0F
        key = (event.track, channel, event.kind)
        if message == 0xC0:
            programs[channel] = event.kind  # programs belong to a channel, across tracks
        elif message == 0x90 and event.data[0] > 0:
            held[key].append((at, programs[channel]))
        elif message in (0x80, 0x90) and held[key]:  # a stray note-off ends nothing
            # Overlapping equal pitches: the first note struck is the first to end.
            start, program = held[key].popleft()
            yield note(events[start], program, event.tick), (start, at)
    for (track, _, _), sounding in held.items():
        for start, program in sounding:
            yield note(events[start], program, lengths[track]), (start,)


def _events(data: bytes, everything: bool = False) -> tuple[int, list[Event], list[int]]:
    """(division, events by time, each track's length in ticks); `everything`: also those that a `MidiPiece` has no use for.
    Raises _Damaged."""
    if len(data) < 14:
        raise _Damaged("the file is damaged: its header is cut short")
    header_end = 8 + int.from_bytes(data[4:8], "big")
    form, tracks, division = (int.from_bytes(data[at : at + 2], "big") for at in (8, 10, 12))
    if form not in (0, 1):
        raise _Damaged(f"MIDI file type {form} given, allowed 0 and 1")
    if division & 0x8000:
        raise _Damaged("timed in SMPTE frames, allowed are ticks per quarter note")
    if division == 0 or header_end < 14:
        raise _Damaged("the file is damaged: its header makes no sense")
    events: list[Event] = []
    lengths: list[int] = []
    at = header_end
    while len(lengths) < tracks:
        if at + 8 > len(data):
            raise _Damaged(f"the file is damaged: track {len(lengths) + 1} of {tracks} is missing")
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        if end > len(data):
            raise _Damaged("the file is damaged: it is cut short")
        if data[at : at + 4] == b"MTrk":  # other chunks are to be skipped, says the standard
            lengths.append(_track(data, at + 8, end, len(lengths), events, MAX_QUARTERS * division, everything))
        at = end
    return division, sorted(events, key=lambda event: event.tick), lengths


def _track(data: bytes, at: int, end: int, track: int, events: list[Event], max_tick: int, everything: bool) -> int:
    """Append the chunk's events and return its length in ticks. Raises _Damaged."""
    tick, running = 0, 0
    while at < end:
        delta, at = _number(data, at, end)
        tick += delta
        if tick > max_tick:
            raise _Damaged(f"longer than {MAX_QUARTERS} quarter notes")
        if at >= end:
            raise _Damaged("the file is damaged: an event is cut short")
        status = data[at]
        if status >= 0x80:
            at += 1
        elif running:
            status = running
        else:
            raise _Damaged("the file is damaged: data without a status byte")
        if status >= 0xF0:
            running = 0
            if status not in (0xF0, 0xF7, META):
                raise _Damaged(f"the file is damaged: status byte {status:#04x}")
            kind = data[at] if status == META and at < end else 0
            size, at = _number(data, at + (status == META), end)
            body = data[at : at + size]
            at += size
            if at > end:
                raise _Damaged("the file is damaged: an event is cut short")
            if status == META and kind == END:
                return tick
            if everything or (status == META and kind in (NAME, TEMPO, _METRE)):
                events.append(Event(tick, track, status, kind, body))
        else:
            running = status
            size = 1 if status & 0xF0 in (0xC0, 0xD0) else 2
            body = data[at : at + size]
            at += size
            if at > end or max(body) >= 0x80:
                raise _Damaged("the file is damaged: a message is incomplete")
            if everything or status & 0xF0 in (0x80, 0x90, 0xC0):
                events.append(Event(tick, track, status, body[0], body[1:]))
        if len(events) > MAX_EVENTS:
            raise _Damaged(f"more than {MAX_EVENTS} events")
    return tick


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A variable-length number of at most four bytes -> (value, where the next byte is)."""
    value = 0
    for here in range(at, min(at + 4, end)):
        value = value << 7 | data[here] & 0x7F
        if data[here] < 0x80:
            return value, here + 1
    raise _Damaged("the file is damaged: a length that never ends")


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
) -> bytes:
    """The bytes of a type-1 file of (pulse, message) lists, each in playing order, all pulses >= 0."""
    file = mido.MidiFile(type=1, ticks_per_beat=PPQN, charset="utf-8")
    conductor: list[tuple[int, mido.MetaMessage]] = [
        (pulse, mido.MetaMessage("time_signature", numerator=numerator, denominator=denominator))
        for pulse, numerator, denominator in time_signatures
    ]
    conductor += [(pulse, mido.MetaMessage("set_tempo", tempo=_microseconds(bpm))) for pulse, bpm in tempos]
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
