"""The journal of a recording: what its records are, and how they are read back whatever happened to the file.

A journal is MAGIC, then frames of (payload length, CRC-32, payload). A frame that is not whole costs itself and nothing else: the
reader goes on with the next one whose sum is right. A record whose numbers make no sense counts as damage too.
"""

from __future__ import annotations

import errno
import math
import os
import re
import stat
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Literal, NamedTuple

from realtime.core.tempo import PPQN
from realtime.errors import UserError
from realtime.io.files.midifile import MAX_BPM, MAX_QUARTERS, MIN_BPM
from realtime.midi import SYSEX_MOST
from realtime.reading import read_whole

Direction = Literal["player", "antiphon"]
DIRECTIONS: tuple[Direction, ...] = ("player", "antiphon")
KINDS: dict[bytes, Direction] = {b"p": "player", b"a": "antiphon"}
CODES: dict[str, bytes] = {direction: code for code, direction in KINDS.items()}

SUFFIX = ".journal"
LAST_PULSE = (MAX_QUARTERS - 1) * PPQN  # a note that begins here still ends in time for the reader of MIDI files
MAGIC = b"antiphon journal 1\n"
FRAME = struct.Struct("<II")  # payload length, CRC-32
HEAD = struct.Struct("<cqq")  # kind, stamp_ns, pulse
START, TEMPO = struct.Struct("<dB"), struct.Struct("<d")
_COMPOUND = 0x80
"""In the byte of `START` that says how many quarters a bar has: dotted quarters are counted."""
MAX_BYTES = 256 << 20
"""Weeks of playing. What is longer is no journal of ours."""
MAX_PAYLOAD = 2 * SYSEX_MOST
SEARCH, A_TRY = 1 << 30, 1 << 10
"""What looking for whole frames in what is damaged may cost in all, in bytes that are summed up, and what looking at a place
costs: a crafted file must not keep us for hours."""
ALIVE_S = 5.0
"""Where files cannot be locked, a journal that was touched so recently belongs to a living session."""
_HEADS = re.compile(rb"[STJOMpa]")
_OF_OTHERS = re.compile(rb"antiphon journal (?!1\n)\d{1,4}\n")
_BEGINNING = 1 << 16
"""In so many bytes a journal has a whole record, whatever has happened to its first ones."""


class Start(NamedTuple):
    """How a session begins: quarters a minute, quarters in a bar, and whether the metre is compound."""

    bpm: float
    beats_per_bar: int
    compound: bool

    def pack(self) -> bytes:
        """The body of its record."""
        return START.pack(self.bpm, self.beats_per_bar + _COMPOUND * self.compound)

    @classmethod
    def unpack(cls, body: bytes) -> Start:
        """Undo `pack`."""
        bpm, metre = START.unpack(body)
        return cls(bpm, metre % _COMPOUND, metre >= _COMPOUND)


class Record(NamedTuple):
    """One thing that happened. Kinds: S start (`Start`), T tempo (bpm), J jump, O the name of the output port,
    M a marker's text, p and a messages of the player's and of Antiphon's."""

    kind: bytes
    stamp_ns: int
    pulse: int
    body: bytes


class Damage(NamedTuple):
    """A place of the journal that could not be read, and how many bytes it is long."""

    size: int


def frame(kind: bytes, stamp_ns: int, pulse: int, body: bytes) -> bytes:
    """A record as it stands in the file."""
    payload = HEAD.pack(kind, stamp_ns, pulse) + body
    return FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def read(path: Path) -> bytes:
    """What is in the file. Raises UserError where it is no regular file, or too long, or cannot be read."""
    data = read_whole(path, MAX_BYTES, "a recording's journal", lambda: BufferedReader(_opened(path)))
    if _OF_OTHERS.match(data):
        raise UserError(f"{path}: written by another version of Antiphon; start that version to have it rescued")
    return data


def records(data: bytes) -> Iterator[Record | Damage]:
    """All whole records, and between them the damages. A torn end, as a kill leaves it, is no damage."""
    view = memoryview(data)
    at = good = len(MAGIC)
    budget = SEARCH
    while at + FRAME.size + HEAD.size <= len(data):
        size, crc = FRAME.unpack_from(data, at)
        start = at + FRAME.size
        end = start + size
        if HEAD.size <= size <= MAX_PAYLOAD and end <= len(data):
            if zlib.crc32(view[start:end]) == crc:
                kind, stamp_ns, pulse = HEAD.unpack_from(data, start)
                record = Record(kind, stamp_ns, pulse, data[start + HEAD.size : end])
                if at > good or not _makes_sense(record):
                    yield Damage(at - good)
                if _makes_sense(record):
                    yield record
                at = good = end
                continue
            budget -= size
        budget -= A_TRY
        # The next place at which a frame could begin: its kind is the first byte of the payload.
        found = _HEADS.search(data, at + FRAME.size + 1) if budget > 0 else None
        if found is None:
            break
        at = found.start() - FRAME.size
    if not _is_torn(data, good):
        yield Damage(len(data) - good)


def _is_torn(data: bytes, at: int) -> bool:
    """Whether what is left is the beginning of one frame, or nothing."""
    left = len(data) - at - FRAME.size
    if left < HEAD.size:
        return True
    size: int = FRAME.unpack_from(data, at)[0]
    return left < size <= MAX_PAYLOAD


def _makes_sense(record: Record) -> bool:
    if not -LAST_PULSE <= record.pulse < 1 << 40:
        return False
    match record.kind:
        case b"S":
            if len(record.body) != START.size:
                return False
            start = Start.unpack(record.body)
            return _is_tempo(start.bpm) and start.beats_per_bar > 0
        case b"T":
            return len(record.body) == TEMPO.size and _is_tempo(TEMPO.unpack(record.body)[0])
        case b"p" | b"a":
            return _is_whole(record.body)
        case _:
            return record.kind in (b"J", b"O", b"M")


def _is_tempo(bpm: float) -> bool:
    return math.isfinite(bpm) and MIN_BPM <= bpm <= MAX_BPM


def _is_whole(message: bytes) -> bool:
    """A channel message of the right length, or a closed SysEx; all data bytes below 0x80."""
    status = message[0] if message else 0
    if status == 0xF0:
        return message[-1] == 0xF7 and 2 <= len(message) <= SYSEX_MOST and message[1:-1].isascii()
    size = 2 if status & 0xF0 in (0xC0, 0xD0) else 3
    return 0x80 <= status < 0xF0 and len(message) == size and max(message[1:]) < 0x80


# --- whose it is ---


def find_unfinished(folder: Path, pattern: str = "*") -> list[Path]:
    """The journals in `folder` that no living session is writing. Files of others, links, FIFOs and the like are left alone."""
    try:
        there = sorted(folder.glob(f"{pattern}{SUFFIX}"))
    except OSError:
        return []
    return [path for path in there if _is_ours(path) and not _is_locked(path)]


def _opened(path: Path) -> FileIO:
    """Opened for reading: a regular file of this user's. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    file = FileIO(descriptor, "rb")
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file of yours")
    return file


_BINARY = getattr(os, "O_BINARY", 0)


def _is_ours(path: Path) -> bool:
    try:
        with _opened(path) as file:
            data = file.read(_BEGINNING)
    except OSError:
        return False
    return (
        data.startswith(MAGIC)
        or _OF_OTHERS.match(data) is not None
        or any(isinstance(record, Record) for record in records(data))
    )


# A journal is locked while its session lives, so that a second session does not take it for a dead one's.
if sys.platform == "win32":

    def lock(file: FileIO) -> bool:
        """An open file is lock enough: Windows refuses to rename it."""
        return True

    def _is_locked(path: Path) -> bool:
        try:
            path.rename(path)
        except OSError:
            return True
        return False

else:
    import fcntl

    def lock(file: FileIO) -> bool:
        """Whether it could be locked: some network drives know no locks. There the journal has to be touched now and then."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _is_locked(path: Path) -> bool:
        try:
            with _opened(path) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
                except OSError:
                    return time.time() - os.fstat(file.fileno()).st_mtime < ALIVE_S
        except OSError:
            return True
        return False
