"""The recorder: everything played and answered, safe against a kill -9, a .mid at the end.

While playing, records are appended to a journal; a small thread writes and fsyncs them every FLUSH_S, so that a crash
loses less than 250 ms. `finish` reads the journal back and makes the .mid from it: the way of a rescue (`salvage`) is the
way of every day. Journal: MAGIC, then frames of (payload length, CRC-32, payload); reading stops at the first frame that
is not whole, hence a torn tail costs itself and nothing before it.

`write`, `tempo` and `jump` may be called from any thread and only append to a list; the rest belongs to the main thread.
Times in the .mid are the pulses the caller gives (480 a quarter note).
"""

import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple

from realtime.core.tempo import PPQN
from realtime.errors import UserError
from realtime.io.files.midifile import DEFAULT_BPM, MAX_QUARTERS, FileNote, encode, note_events
from realtime.io.files.whole import write_bytes

Direction = Literal["player", "antiphon"]
DIRECTIONS: tuple[Direction, ...] = ("player", "antiphon")

SUFFIX = ".journal"
FLUSH_S = 0.2
EARLY_PULSE = 60  # an upbeat shorter than this is a first note played early: it moves to the downbeat
LAST_PULSE = MAX_QUARTERS * PPQN

_MAGIC = b"antiphon journal 1\n"
_FRAME = struct.Struct("<II")  # payload length, CRC-32
_HEAD = struct.Struct("<cqq")  # kind, stamp_ns, pulse
_START, _TEMPO = struct.Struct("<dB"), struct.Struct("<d")
_KINDS: dict[bytes, Direction] = {b"p": "player", b"a": "antiphon"}
_CODES: dict[str, bytes] = {direction: code for code, direction in _KINDS.items()}


class _Record(NamedTuple):
    kind: bytes  # S start (bpm, beats per bar), T tempo (bpm), J jump, p and a messages
    stamp_ns: int
    pulse: int
    body: bytes


class Recorder:
    """One session's recording. `open` creates the journal (UserError where it can't), `finish` turns it into the .mid.

    `fault` is the last error of writing the journal (a full disk), or None: what could not be written is kept in memory and
    tried again.
    """

    def __init__(self, journal_path: Path, tempo_bpm: float, beats_per_bar: int) -> None:
        self.journal_path = journal_path
        self.fault: OSError | None = None
        self._start = _frame(b"S", time.monotonic_ns(), 0, _START.pack(tempo_bpm, beats_per_bar))
        self._pending: list[bytes] = []
        self._unwritten = b""
        self._safe_size = 0
        self._file: FileIO | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._flush_often, name="recorder", daemon=True)

    def open(self) -> None:
        try:
            self._file = FileIO(self.journal_path, "xb")
        except FileExistsError:
            raise UserError(
                f"{self.journal_path}: another session is recording there; choose another place with --record"
            ) from None
        except OSError as error:
            raise UserError(
                f"{self.journal_path}: the recording can't be started ({error.strerror}); choose another place with --record"
            ) from None
        _lock(self._file)
        self._unwritten = _MAGIC + self._start
        self._flush()
        if self.fault is not None:
            raise UserError(f"{self.journal_path}: the recording can't be started ({self.fault.strerror})")
        self._thread.start()

    def write(self, direction: str, pulse: int, message: bytes) -> None:
        """One message in ("player") or out ("antiphon"). Clock, start, stop and the like have no place in a .mid: left out."""
        if message and message[0] <= 0xF0:
            self._append(_CODES[direction], pulse, message)

    def tempo(self, pulse: int, bpm: float) -> None:
        """From this pulse on the tempo is `bpm`."""
        self._append(b"T", pulse, _TEMPO.pack(bpm))

    def jump(self, pulse: int) -> None:
        """The transport went to this pulse (a DAW's loop, a start from the top).

        Nothing recorded is overlaid: in the .mid a new pass begins with the next bar line.
        """
        self._append(b"J", pulse, b"")

    def finish(self, mid_path: Path) -> int:
        """Write the .mid and, once it stands, remove the journal. The number of notes. Raises UserError."""
        self._close()
        try:
            data = self.journal_path.read_bytes()[: self._safe_size] + self._unwritten
        except OSError as error:
            raise UserError(f"{self.journal_path}: the recording can't be read ({error.strerror})") from None
        notes = _to_mid(data, mid_path)
        self.journal_path.unlink(missing_ok=True)
        return notes

    def discard(self) -> None:
        """Stop, and remove the journal: for a session in which nothing was played."""
        self._close()
        self.journal_path.unlink(missing_ok=True)

    def _append(self, kind: bytes, pulse: int, body: bytes) -> None:
        frame = _frame(kind, time.monotonic_ns(), pulse, body)
        with self._lock:  # held by the other side only to take the list away
            self._pending.append(frame)

    def _flush_often(self) -> None:
        while not self._stop.wait(FLUSH_S):
            self._flush()

    def _flush(self) -> None:
        """On the recorder's thread while it runs, else on the main thread."""
        with self._lock:
            batch, self._pending = self._pending, []
        self._unwritten += b"".join(batch)
        if not self._unwritten or self._file is None:
            return
        try:
            # A failed write may have left half a frame: cut back to what is known to be whole.
            self._file.seek(self._safe_size)
            self._file.truncate()
            rest = memoryview(self._unwritten)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self.fault = error
        else:
            self.fault = None
            self._safe_size += len(self._unwritten)
            self._unwritten = b""

    def _close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._flush()
        if self._file is not None:
            self._file.close()
            self._file = None


def salvage(journal_path: Path, mid_path: Path) -> int:
    """Make the .mid a killed session could not: all records before the first damage. The number of notes. Raises UserError.

    The journal is kept, renamed to *.journal.salvaged, which `find_unfinished` does not list.
    """
    try:
        data = journal_path.read_bytes()
    except OSError as error:
        raise UserError(f"{journal_path}: cannot be read ({error.strerror}); give a recording's journal") from None
    notes = _to_mid(data, mid_path)
    kept = journal_path.with_name(journal_path.name + ".salvaged")
    for number in count(1):
        if not kept.exists():
            break
        kept = journal_path.with_name(f"{journal_path.name}.salvaged-{number}")
    journal_path.replace(kept)
    return notes


def find_unfinished(folder: Path) -> list[Path]:
    """The journals in `folder` that no living session is writing. Other programs' files of that ending are left alone."""
    return [path for path in sorted(folder.glob(f"*{SUFFIX}")) if _is_ours(path) and not _is_locked(path)]


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _frame(kind: bytes, stamp_ns: int, pulse: int, body: bytes) -> bytes:
    payload = _HEAD.pack(kind, stamp_ns, pulse) + body
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _records(data: bytes) -> Iterator[_Record]:
    """The whole records before the first damage."""
    at = len(_MAGIC)
    if data[:at] != _MAGIC:
        return
    while at + _FRAME.size <= len(data):
        size, crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + size]
        if len(payload) < size or size < _HEAD.size or zlib.crc32(payload) != crc:
            return
        kind, stamp_ns, pulse = _HEAD.unpack_from(payload)
        yield _Record(kind, stamp_ns, pulse, payload[_HEAD.size :])
        at += _FRAME.size + size


def _to_mid(data: bytes, mid_path: Path) -> int:
    """Records -> .mid; returns the number of notes."""
    take = _Take()
    for record in _records(data):
        take.add(record)
    tracks, tempos, beats_per_bar = take.end()
    write_bytes(mid_path, encode(tracks, tempos, [(0, beats_per_bar, 4)]))
    return sum(message[0] & 0xF0 == 0x90 for events in tracks.values() for _, message in events)


class _Take:
    """Records in the order they were written -> tracks. Pairs note-ons with note-offs, so that nothing can hang."""

    def __init__(self) -> None:
        self._bpm, self._beats_per_bar = DEFAULT_BPM, 4
        self._shift = 0  # what a jump added
        self._last = 0  # the latest pulse so far
        self._tempos: list[tuple[int, float]] = []
        self._held: dict[tuple[Direction, int, int], tuple[int, int]] = {}  # -> (onset, velocity)
        self._notes: dict[Direction, list[FileNote]] = {direction: [] for direction in DIRECTIONS}
        self._others: dict[Direction, list[tuple[int, bytes]]] = {direction: [] for direction in DIRECTIONS}

    def add(self, record: _Record) -> None:
        pulse = min(record.pulse + self._shift, LAST_PULSE)
        if record.kind == b"S":
            self._bpm, self._beats_per_bar = _START.unpack(record.body)
        elif record.kind == b"T":
            self._tempos.append((pulse, _TEMPO.unpack(record.body)[0]))
        elif record.kind == b"J":
            self._release_all()
            bar = self._beats_per_bar * PPQN
            begin = -(-self._last // bar) * bar  # the next bar line
            self._shift = begin - record.pulse // bar * bar
        elif record.kind in _KINDS and _is_whole(record.body):
            self._last = max(self._last, pulse)
            self._message(_KINDS[record.kind], pulse, record.body)

    def _message(self, direction: Direction, pulse: int, message: bytes) -> None:
        status, channel = message[0] & 0xF0, message[0] & 0x0F
        if status in (0x80, 0x90):
            key = (direction, channel, message[1])
            self._release(key, pulse)  # a note struck again ends first
            if status == 0x90 and message[2]:
                self._held[key] = (pulse, message[2])
        else:
            self._others[direction].append((pulse, message))

    def _release(self, key: tuple[Direction, int, int], pulse: int) -> None:
        if key in self._held:
            direction, channel, pitch = key
            onset, velocity = self._held.pop(key)
            self._notes[direction].append(FileNote(onset, pitch, velocity, max(1, pulse - onset), channel))
            self._last = max(self._last, onset + 1)

    def _release_all(self) -> None:
        for key in list(self._held):
            self._release(key, self._last)

    def end(self) -> tuple[dict[str, list[tuple[int, bytes]]], list[tuple[int, float]], int]:
        """(tracks, tempos, beats per bar), all pulses >= 0, every note and pedal released."""
        self._release_all()
        for others in self._others.values():
            controls = [message for _, message in others if message[0] & 0xF0 == 0xB0]
            pedals = {message[0] & 0x0F: message[2] for message in controls if message[1] == 64}
            others += [(self._last, bytes((0xB0 | channel, 64, 0))) for channel, value in pedals.items() if value >= 64]
        onsets = [note.onset_pulse for notes in self._notes.values() for note in notes]
        earliest = min(onsets + [pulse for others in self._others.values() for pulse, _ in others], default=0)
        bar = self._beats_per_bar * PPQN
        # A real upbeat moves everything on by whole bars, so that bar lines stay where they were played.
        shift = -((earliest + EARLY_PULSE) // bar) * bar if earliest < -EARLY_PULSE else 0

        def placed(pulse: int) -> int:
            return max(0, pulse + shift)

        tracks = {}
        for direction in DIRECTIONS:
            notes = []
            for note in self._notes[direction]:
                onset = placed(note.onset_pulse)
                end = placed(note.onset_pulse + note.duration_pulse)
                notes.append(replace(note, onset_pulse=onset, duration_pulse=max(1, end - onset)))
            others = [(placed(pulse), message) for pulse, message in self._others[direction]]
            tracks[str(direction)] = sorted(others + note_events(notes), key=_order)
        tempos = {0: self._bpm}
        for pulse, bpm in sorted(self._tempos, key=lambda tempo: tempo[0]):
            tempos[placed(pulse)] = bpm
        return tracks, sorted(tempos.items()), self._beats_per_bar


def _order(event: tuple[int, bytes]) -> tuple[int, int]:
    """By time; at one pulse the note-offs, then controls and the like in their own order, then the note-ons."""
    pulse, message = event
    return pulse, {0x80: 0, 0x90: 2}.get(message[0] & 0xF0, 1)


def _is_whole(message: bytes) -> bool:
    """A channel message of the right length, or a closed SysEx; all data bytes below 0x80."""
    status = message[0] if message else 0
    if status == 0xF0:
        return message[-1] == 0xF7 and len(message) >= 2 and max(message[1:-1], default=0) < 0x80
    size = 2 if status & 0xF0 in (0xC0, 0xD0) else 3
    return 0x80 <= status < 0xF0 and len(message) == size and max(message[1:]) < 0x80


# A journal is locked while its session lives, so that a second session does not take it for a dead one's.
if sys.platform == "win32":

    def _lock(file: FileIO) -> None:
        """An open file is lock enough: Windows refuses to rename it."""

    def _is_locked(path: Path) -> bool:
        try:
            path.rename(path)
        except OSError:
            return True
        return False

else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_locked(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
