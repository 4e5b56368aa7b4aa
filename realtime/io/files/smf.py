"""The bytes of Standard MIDI files: from any bytes to events, and from events to bytes.

`load` accepts untrusted bytes. It ends with a whole `Smf` or with UserError, in time and memory bounded by MAX_BYTES and
MAX_EVENTS. It parses the chunks itself: a reader that follows a mutated variable-length number for megabytes never comes
back. What other programs read although the standard forbids it is read here too, and `Smf.mended` says what was wrong.
Format: Standard MIDI Files 1.0 (MIDI Manufacturers Association, RP-001).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from realtime.errors import UserError, counted
from realtime.reading import read_whole

MAX_BYTES = 16 << 20
MAX_EVENTS = 1_000_000
MAX_TRACKS = 16_384  # a header can count 65,535, and a track may get a new one beside it
MAX_QUARTERS = 250_000  # 34 hours at 120 BPM; a mutated delta time, which takes four bytes, reaches far beyond

META = 0xFF
NAME, DEVICE, PORT, END, TEMPO, METRE = 0x03, 0x09, 0x21, 0x2F, 0x51, 0x58
"""Types of meta events."""

_SYSTEM_DATA = {0xF1: 1, 0xF2: 2, 0xF3: 1}
"""How many data bytes a system message has that is not exclusive; the others have none."""
_SEARCHED = 4096
"""How far from the beginning of a file its header may lie: MacBinary puts 128 bytes before it."""
_LONGEST_NUMBER = 8
"""Bytes of a variable-length number. The standard allows 4; some programs write zeros before."""
_LONGEST_DELTA = (1 << 28) - 1
_NOTHING = bytes((META, 0x01, 0))
"""An empty text, to count on from where a delta time can get no longer."""


class Event(NamedTuple):
    """One event of a track, at a tick of the file's own division."""

    tick: int
    track: int
    status: int  # 0x80..0xEF with its channel; META for a meta event, 0xF0 and 0xF7 for a system exclusive one
    kind: int  # first data byte, or the meta event's type
    data: bytes


class Smf(NamedTuple):
    """What a file consists of. `division`: its 16 bits as they stand in the header, see `realtime.io.files.timebase`."""

    form: int  # 0 or 1
    division: int
    header_tail: bytes  # what a header has beyond its three numbers
    events: list[Event]  # by tick; in a tick by track, and in the order of the file; without ends of tracks
    lengths: list[int]  # of each track, in ticks
    others: list[tuple[int, bytes]]  # chunks of other kinds: after how many tracks, and the whole chunk
    mended: tuple[str, ...]  # what was wrong with the file, in words for the user


class Damaged(Exception):
    """What is wrong with the file, in words for the user."""


def load(path: Path) -> Smf:
    """The file's events. Raises UserError, one line with the path, for anything that cannot be read as a MIDI file."""
    data = read_whole(path, MAX_BYTES, "a MIDI file")
    start = _header_at(data)
    if start is None:
        raise UserError(f"{path}: not a MIDI file; give a Standard MIDI File (.mid)")
    try:
        return _Reader(data, start).read()
    except Damaged as damage:
        raise UserError(f"{path}: {damage}; export it again from the program that made it") from None


def _header_at(data: bytes) -> int | None:
    """Where the header chunk is: at the beginning, in the data chunk of a RIFF file, or after a foreign header."""
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        at = 12
        while at + 8 <= len(data):
            if data[at : at + 8][:4] == b"data" and data[at + 8 : at + 12] == b"MThd":
                return at + 8
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + size + size % 2
    found = data.find(b"MThd", 0, _SEARCHED)
    return found if found >= 0 else None


class _Reader:
    """Reads one file."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start
        self._events: list[Event] = []
        self._left = MAX_EVENTS
        self._lengths: list[int] = []
        self._others: list[tuple[int, bytes]] = []
        self._mended: dict[str, None] = {}  # in order, each once

    def read(self) -> Smf:
        """Raises Damaged."""
        data, start = self._data, self._start
        if len(data) < start + 14:
            raise Damaged("the file is damaged: its header is cut short")
        header_end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "big")
        form, announced, division = (int.from_bytes(data[at : at + 2], "big") for at in range(start + 8, start + 14, 2))
        smpte = division & 0x8000
        if header_end < start + 14 or not division or (smpte and not division & 0xFF):
            raise Damaged("the file is damaged: its header makes no sense")
        if start:
            riff = data[:4] == b"RIFF"
            self._mend("taken out of its RIFF file" if riff else f"{counted(start, 'byte')} before its header left out")
        a_quarter = (
            (0x100 - (division >> 8)) * (division & 0xFF) // 2 + 1 if smpte else division
        )  # in frames: at 120 BPM
        self._max_tick = MAX_QUARTERS * a_quarter
        self._chunks(header_end, announced)
        if form == 2 and len({event.track for event in self._events if event.status & 0xF0 == 0x90}) > 1:
            raise Damaged(
                "MIDI file type 2 given: its tracks are pieces of their own; allowed are types 0 and 1, and type 2 with one track"
            )
        if form > 2:
            self._mend(f"type {form} read as type 1")
        events = sorted(self._events, key=lambda event: event.tick)
        tail = data[start + 14 : header_end]
        return Smf(min(form, 1), division, tail, events, self._lengths, self._others, tuple(self._mended))

    def _mend(self, what: str) -> None:
        self._mended[what] = None

    def _chunks(self, at: int, announced: int) -> None:
        data = self._data
        while at + 8 <= len(data) and data[at : at + 4] != b"MThd":
            name, end = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
            if name == b"MTrk":
                stopped, ended = self._track(at + 8, min(end, len(data)))
                if end > len(data) and ended and data[stopped : stopped + 4] == b"MTrk":
                    end = stopped  # the length is wrong, not the file cut
                elif end > len(data) and not ended:
                    self._cut_short()
            elif end <= len(data) and all(0x20 <= byte < 0x7F for byte in name):
                # Chunks of other kinds are to be skipped, says the standard.
                self._others.append((len(self._lengths), data[at:end]))
            elif (end := data.find(b"MTrk", at)) >= 0:
                self._mend("bytes between the tracks left out")
            else:
                break  # what follows the last chunk is no part of the file
            at, self._left = end, self._left - 1
            if self._left < 0:
                raise _too_many()
            if len(self._lengths) > MAX_TRACKS:
                raise Damaged(f"more than {MAX_TRACKS} tracks")
        tracks = len(self._lengths)
        if not tracks:
            raise Damaged("the file is damaged: there is no track in it")
        if tracks != announced:
            self._mend(f"{counted(tracks, 'track')} read where {announced} are announced")

    def _cut_short(self) -> None:
        self._mend(f"track {len(self._lengths)} is cut short, what is whole was read")

    def _track(self, at: int, end: int) -> tuple[int, bool]:
        """Append the events of a chunk's bytes [at, end); returns where it stopped, and whether at an end of track. Raises
        Damaged."""
        data, track, events = self._data, len(self._lengths), self._events
        tick, running, ended = 0, 0, False
        self._lengths.append(0)
        try:
            while at < end and not ended:
                self._left -= 1  # also by what is left out: a file may hold millions of it
                if self._left < 0:
                    raise _too_many()
                delta, at = (data[at], at + 1) if data[at] < 0x80 else _number(data, at, end)
                now = tick + delta
                if now > self._max_tick:
                    raise Damaged(f"longer than {MAX_QUARTERS} quarter notes")
                status, after = _status(data, at, end, running)
                if status < 0xF0:
                    event, at = self._message(status, after, end, now, track)
                    events.append(event)
                    # A system message between two messages ends running status by the standard; nobody reads it so.
                    running = status
                elif status in (0xF0, 0xF7, META):
                    event, at = _block(data, status, after, end, now, track)
                    ended = status == META and event.kind == END
                    if not ended:
                        events.append(event)
                else:
                    self._mend("system messages left out")
                    at = after + _SYSTEM_DATA.get(status, 0)
                tick = now
        except EOFError:
            self._cut_short()
        self._lengths[track] = tick
        return at, ended

    def _message(self, status: int, at: int, end: int, tick: int, track: int) -> tuple[Event, int]:
        data, stop = self._data, at + (1 if 0xC0 <= status < 0xE0 else 2)
        if stop > end:
            raise EOFError
        kind, rest = data[at], data[at + 1 : stop]
        if kind > 0x7F or rest > b"\x7f":
            self._mend("data bytes above 127 read as 127")
            kind, rest = min(kind, 0x7F), min(rest, b"\x7f")
        return Event(tick, track, status, kind, rest), stop


def _too_many() -> Damaged:
    return Damaged(f"more than {MAX_EVENTS} events")


def _status(data: bytes, at: int, end: int, running: int) -> tuple[int, int]:
    """(status byte, where what follows it is). Raises EOFError at the end of the data, else Damaged."""
    if at >= end:
        raise EOFError
    if data[at] >= 0x80:
        return data[at], at + 1
    if not running:
        raise Damaged("the file is damaged: data without a status byte")
    return running, at


def _block(data: bytes, status: int, at: int, end: int, tick: int, track: int) -> tuple[Event, int]:
    """A meta or a system exclusive event. Raises EOFError, Damaged."""
    kind = 0
    if status == META:
        if at >= end:
            raise EOFError
        kind, at = data[at], at + 1
    size, at = (data[at], at + 1) if at < end and data[at] < 0x80 else _number(data, at, end)
    if at + size > end and (status, kind) != (META, END):
        raise EOFError
    return Event(tick, track, status, kind, data[at : at + size]), at + size


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A variable-length number -> (value, where the next byte is). Raises EOFError, Damaged."""
    value = 0
    for here in range(at, min(at + _LONGEST_NUMBER, end)):
        value = value << 7 | data[here] & 0x7F
        if data[here] < 0x80:
            return value, here + 1
    if at + _LONGEST_NUMBER > end:
        raise EOFError
    raise Damaged("the file is damaged: a length that never ends")


def encoded(smf: Smf, tracks: Sequence[tuple[Iterable[tuple[int, bytes]], int]]) -> bytes:
    """The bytes of a file with the header and the other chunks of `smf`, and these tracks: (tick, message) in playing order, and
    the tick at which the track ends at the earliest."""
    form = max(smf.form, int(len(tracks) > 1))
    header = b"".join(number.to_bytes(2, "big") for number in (form, len(tracks), smf.division))
    chunks = [_chunk(b"MThd", header + smf.header_tail)]
    others: defaultdict[int, list[bytes]] = defaultdict(list)
    for before, chunk in smf.others:
        others[before].append(chunk)
    for number in range(len(tracks) + 1):
        chunks += others[number]
        if number < len(tracks):
            chunks.append(_chunk(b"MTrk", _timed(*tracks[number])))
    return b"".join(chunks)


def message_bytes(event: Event) -> bytes:
    """An event as it stands in a file, after its delta time."""
    if event.status < 0xF0:
        return bytes((event.status, event.kind)) + event.data
    if event.status == META:
        return meta(event.kind, event.data)
    return bytes((event.status,)) + variable_length(len(event.data)) + event.data


def meta(kind: int, data: bytes) -> bytes:
    """A meta event."""
    return bytes((META, kind)) + variable_length(len(data)) + data


def variable_length(value: int) -> bytes:
    """A variable-length number."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def _timed(events: Iterable[tuple[int, bytes]], length: int) -> bytes:
    """A track's events with their delta times, and its end."""
    out, before = bytearray(), 0

    def put(tick: int, message: bytes) -> None:
        nonlocal before
        delta = tick - before
        while delta > _LONGEST_DELTA:
            out.extend(variable_length(_LONGEST_DELTA) + _NOTHING)
            delta -= _LONGEST_DELTA
        out.extend(variable_length(delta) + message)
        before = tick

    for tick, message in events:
        put(tick, message)
    put(max(length, before), meta(END, b""))
    return bytes(out)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "big") + body
