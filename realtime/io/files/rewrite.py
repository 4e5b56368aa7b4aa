"""A MIDI file with some notes taken out and others put in; every other event stays what and where it was."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from realtime.core.tempo import PPQN
from realtime.errors import UserError
from realtime.io.files.midifile import END, META, NAME, FileNote, notes_of, read_events
from realtime.io.files.whole import check_writable, write_bytes

_LONGEST_DELTA = (1 << 28) - 1
_NOTHING = bytes((META, 0x01, 0))
"""An empty text, to count on from where a delta time can get no longer."""


def rewrite(
    source: Path, target: Path, removed: Iterable[FileNote], added: Iterable[FileNote], names: Sequence[str] = ()
) -> list[FileNote]:
    """Write `source` without the notes `removed`, as `midifile.read` gave them, and with `added`, each in its `track` and on its
    `channel`. Returns what was added in the end: on one key the notes that stay come first (see `make_room`).

    names: of new tracks after the file's own. A note in one of them sets its program.

    The whole file or nothing. Raises `UserError` where one cannot be read or the other cannot be written, ValueError for a note
    before the beginning.
    """
    division, events, lengths = read_events(source)
    leaving = Counter(removed)
    gone: set[int] = set()
    staying: list[FileNote] = []
    for note, indices in notes_of(division, events, lengths):
        if leaving[note]:
            leaving[note] -= 1
            gone.update(indices)
        else:
            staying.append(note)
    put_in = make_room(staying, added)

    def ticks(pulse: int) -> int:
        return (pulse * division + PPQN // 2) // PPQN

    tracks: list[list[tuple[int, int, bytes]]] = [
        [] for _ in lengths
    ]  # (tick, note-off 0, what was 1, note-on 2; message)
    tracks += [[(0, 1, bytes((META, NAME)) + _sized(name.encode()))] for name in names]
    for at, event in enumerate(events):
        if at not in gone:
            tracks[event.track].append((event.tick, 1, _bytes(event.status, event.kind, event.data)))
    programs: dict[int, int] = {}
    for note in put_in:
        start = ticks(note.onset_pulse)
        if start < 0:
            raise ValueError(f"a note at pulse {note.onset_pulse}: a file begins at 0")
        if note.track >= len(lengths) and programs.get(note.channel) != note.program:
            programs[note.channel] = note.program
            tracks[note.track].append((start, 1, bytes((0xC0 | note.channel, note.program))))
        end = max(ticks(note.onset_pulse + note.duration_pulse), start + 1)
        tracks[note.track].append((start, 2, bytes((0x90 | note.channel, note.pitch, note.velocity))))
        tracks[note.track].append((end, 0, bytes((0x80 | note.channel, note.pitch, 0))))
    header = b"".join(n.to_bytes(2, "big") for n in (int(len(tracks) > 1), len(tracks), division))
    chunks = [_chunk(b"MThd", header)]
    for track, length in zip(tracks, [*lengths, *(0 for _ in names)], strict=True):
        chunks.append(_chunk(b"MTrk", _timed(sorted(track, key=lambda event: event[:2]), length)))
    write_bytes(target, b"".join(chunks))
    return put_in


def check_outputs(source: Path, target: Path, png: Path | None, use: str) -> None:
    """Before anything is done: whether the result and its picture could be written. use: what `source` is there for. Raises
    `UserError`."""
    if png is not None and png.suffix.lower() != ".png":
        raise UserError(f"--png {png}: a picture is written as .png; give such a name")
    if png is not None and png.resolve() == target.resolve():
        raise UserError(f"--png {png}: is the name of the result; give another")
    for path in [target, *([png] if png is not None else [])]:
        check_writable(path)
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f"{target}: is the file to be {use}; give another name for the result")


def make_room(staying: Sequence[FileNote], added: Iterable[FileNote]) -> list[FileNote]:
    """The notes of `added` as a channel of one track can have them: on a key on which another note sounds already a note that
    stays forbids the new one; else the earlier note ends where the later begins. Tracks may meet, as voices do in unison."""
    lines: defaultdict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
    for note in staying:
        key = (note.track, note.channel, note.pitch)
        lines[key].append((note.onset_pulse, note.onset_pulse + note.duration_pulse))
    kept: dict[tuple[int, int, int], list[FileNote]] = defaultdict(list)
    for note in sorted(added):
        key = (note.track, note.channel, note.pitch)
        line, others = kept[key], lines[key]
        start, end = note.onset_pulse, note.onset_pulse + note.duration_pulse
        if any(begin <= start < stop for begin, stop in others) or (line and line[-1].onset_pulse == start):
            continue
        end = min([end, *(begin for begin, _ in others if begin > start)])
        if line and line[-1].onset_pulse + line[-1].duration_pulse > start:
            line[-1] = replace(line[-1], duration_pulse=start - line[-1].onset_pulse)
        line.append(replace(note, duration_pulse=end - start))
    return sorted(note for line in kept.values() for note in line)


def _bytes(status: int, kind: int, data: bytes) -> bytes:
    """A message as it stands in a file."""
    if status < 0xF0:
        return bytes((status, kind)) + data
    return bytes((status, kind) if status == META else (status,)) + _sized(data)


def _timed(events: Sequence[tuple[int, int, bytes]], length: int) -> bytes:
    """A track's events with their delta times, and its end where it was, or later where it has to be."""
    out, before = bytearray(), 0
    for tick, _, message in [*events, (max([length, *(tick for tick, _, _ in events)]), 1, bytes((META, END, 0)))]:
        delta = tick - before
        while delta > _LONGEST_DELTA:
            out += _number(_LONGEST_DELTA) + _NOTHING
            delta -= _LONGEST_DELTA
        out += _number(delta) + message
        before = tick
    return bytes(out)


def _sized(data: bytes) -> bytes:
    """Data after their length."""
    return _number(len(data)) + data


def _number(value: int) -> bytes:
    """A variable-length number."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "big") + body
