"""The recorder: everything played and answered, safe against a kill -9, a .mid at the end.

While playing, a small thread appends records to a journal as they come, and forces them to the disk every SYNC_S. `finish` reads
the journal back and makes the .mid from it: so every session is saved by the code that rescues one (`salvage`). Where the journal
can no longer be written (the disk is full, the folder is gone) it goes on in another folder, with all that it holds.

`write`, `tempo`, `jump` and `mark` may be called from any thread and only append to a list; the rest belongs to the main thread.
Times in the .mid are the pulses the caller gives (480 a quarter note).
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from io import FileIO
from itertools import count
from pathlib import Path
from typing import NamedTuple

from realtime.errors import UserError
from realtime.io.files.midifile import encode
from realtime.io.files.whole import write_fresh
from realtime.io.live.journal import CODES, Start, lock, read, records
from realtime.io.live.journal import HEAD as _HEAD  # noqa: F401  # with the names below, what a journal is made of
from realtime.io.live.journal import MAGIC as _MAGIC
from realtime.io.live.journal import START as _START  # noqa: F401
from realtime.io.live.journal import TEMPO as _TEMPO
from realtime.io.live.journal import frame as _frame
from realtime.io.live.tracks import LeftOn, Tracks

SYNC_S = 0.2
BATCH_S = 0.01
"""How long what comes together is gathered before it is written."""
REFUGE_PREFIX = "antiphon-"


class Saved(NamedTuple):
    """A .mid that was written: where, how many notes it has, how many bytes of its journal were damaged, and what sounded of
    Antiphon's at the journal's end. `why_there`: a line for the user where it is elsewhere than was asked for."""

    path: Path
    notes: int
    lost: int
    left_on: LeftOn | None
    why_there: str = ""


class Recorder:
    """One session's recording. `open` creates the journal (UserError where it can't), `finish` turns it into the .mid.

    `trouble` is what keeps it from writing, as a line for the user, or "": what could not be written anywhere is kept in memory
    and tried again.
    """

    def __init__(self, journal_path: Path, tempo_bpm: float, beats_per_bar: int, compound: bool = False) -> None:
        self.journal_path = journal_path
        self.trouble = ""
        self._start = _frame(b"S", time.monotonic_ns(), 0, Start(tempo_bpm, beats_per_bar, compound).pack())
        self._pending: list[bytes] = []
        self._unwritten = b""
        self._safe_size = 0
        self._file: FileIO | None = None
        self._locked = False
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._write_often, name="recorder", daemon=True)

    def open(self, numbered: bool = False) -> None:
        """With `numbered`, a name that another recording has gets a number: `journal_path` is the one that is taken then. Raises
        `UserError`, and leaves nothing behind then."""
        try:
            if numbered:
                self._create_numbered()
            else:
                self._create(self.journal_path)
        except FileExistsError:
            raise UserError(
                f"{self.journal_path}: is there already, of another session that is recording or of something else; "
                "choose another place with --record"
            ) from None
        except OSError as error:
            raise self._not_started(error) from None
        self._unwritten = _MAGIC + self._start
        if (problem := self._append_to_file()) is not None:
            self._drop()
            raise self._not_started(problem)
        self._thread.start()

    def write(self, direction: str, pulse: int, message: bytes) -> None:
        """One message in ("player") or out ("antiphon"). Clock, start, stop and the like have no place in a .mid: left out."""
        if message and message[0] <= 0xF0:
            self._append(CODES[direction], pulse, message)

    def output(self, name: str) -> None:
        """Antiphon's notes go to the port of this name: a later start can release there what a kill leaves sounding."""
        self._append(b"O", 0, name.encode(errors="replace"))

    def tempo(self, pulse: int, bpm: float) -> None:
        """From this pulse on the tempo is `bpm`."""
        self._append(b"T", pulse, _TEMPO.pack(bpm))

    def jump(self, pulse: int) -> None:
        """The transport went to this pulse (a DAW's loop, a start from the top).

        Nothing recorded is overlaid: in the .mid a new pass begins with the next bar line.
        """
        self._append(b"J", pulse, b"")

    def mark(self, pulse: int, text: str) -> None:
        """A marker at this pulse."""
        self._append(b"M", pulse, text.encode())

    def finish(self, mid_path: Path) -> Saved:
        """Write the .mid and, once it stands, remove the journal. Where it cannot be written it goes to one of `refuges`, and
        where a file of that name has appeared, beside it: `Saved.path` says where. Raises UserError where nothing can be
        written: the journal is kept then."""
        self._end_thread()
        if (error := self._flush()) is not None and self._unwritten:
            self._move(error)
        data = self._contents()
        failed: UserError | None = None
        for path in (mid_path, *refuges(mid_path)):
            try:
                saved = to_mid(data, path)
            except UserError as reason:
                failed = failed or reason
                continue
            self._drop()
            taken = f"{mid_path}: there is a file of that name meanwhile, and a recording is never overwritten"
            return saved._replace(why_there="" if saved.path == mid_path else str(failed or taken))
        if self._file is not None:
            self._file.close()
            self._file = None
        raise UserError(f"{failed}; what was played is in {self.journal_path}, and the next session rescues it")

    def discard(self) -> None:
        """Stop, and remove the journal: for a session in which nothing was played."""
        self._end_thread()
        self._drop()

    # --- the recorder's thread ---

    def _append(self, kind: bytes, pulse: int, body: bytes) -> None:
        made = _frame(kind, time.monotonic_ns(), pulse, body)
        with self._lock:  # held by the other side only to take the list away
            self._pending.append(made)
        self._news.set()

    def _write_often(self) -> None:
        sync_at = 0.0
        while not self._over:
            self._news.wait(SYNC_S)
            self._news.clear()
            error = self._flush()
            if error is None and time.monotonic() >= sync_at:
                error = self._sync()
                sync_at = time.monotonic() + SYNC_S
            if error is not None and not self._move(error):
                self.trouble = (
                    f"the recording cannot be written ({error.strerror}); it is kept in memory, and tried again"
                )
                time.sleep(SYNC_S)
            time.sleep(BATCH_S)

    def _flush(self) -> OSError | None:
        """On the recorder's thread while it runs, else on the main thread. The error, where it could not be written."""
        with self._lock:
            batch, self._pending = self._pending, []
        self._unwritten += b"".join(batch)
        return self._append_to_file() if self._unwritten else None

    def _sync(self) -> OSError | None:
        assert self._file is not None
        try:
            os.fsync(self._file.fileno())
            ours = os.fstat(self._file.fileno())
            if not os.path.samestat(ours, self.journal_path.lstat()):  # FileNotFoundError where it was removed
                raise FileNotFoundError(errno.ENOENT, "another file has its name")
            if not self._locked:
                os.utime(self.journal_path)
        except OSError as error:
            return error
        return None

    def _append_to_file(self) -> OSError | None:
        assert self._file is not None
        try:
            # A failed write may have left half a frame: cut back to what is known to be whole.
            self._file.seek(self._safe_size)
            self._file.truncate()
            rest = memoryview(self._unwritten)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            return error
        self._safe_size += len(self._unwritten)
        self._unwritten = b""
        return None

    def _move(self, error: OSError) -> bool:
        """Go on in another folder, with all that was recorded so far. Whether that could be done."""
        before = self._file, self.journal_path, self._locked, self._safe_size, self._unwritten
        data = self._contents()
        for path in refuges(self.journal_path):
            try:
                self._create(path)
            except OSError:
                continue
            self._safe_size, self._unwritten = 0, data
            if self._append_to_file() is None:
                self.trouble = f"the recording cannot be written ({error.strerror}): it goes on in {path}"
                if before[0] is not None:
                    _remove(before[0], before[1])
                return True
            self._drop()
        self._file, self.journal_path, self._locked, self._safe_size, self._unwritten = before
        return False

    # --- the file ---

    def _create(self, path: Path) -> None:
        file = FileIO(path, "xb+")
        self._file, self.journal_path, self._locked = file, path, lock(file)

    def _create_numbered(self) -> None:
        for path in names(self.journal_path):
            with contextlib.suppress(FileExistsError):
                if not os.path.lexists(path.with_suffix(".mid")):
                    return self._create(path)
        return None

    def _contents(self) -> bytes:
        """All that was recorded. From the open file: its name may be gone."""
        if self._file is None:
            return self._unwritten
        self._file.seek(0)
        return self._file.read(self._safe_size) + self._unwritten

    def _drop(self) -> None:
        if self._file is not None:
            _remove(self._file, self.journal_path)
            self._file = None

    def _end_thread(self) -> None:
        self._over = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()

    def _not_started(self, error: OSError) -> UserError:
        return UserError(
            f"{self.journal_path}: the recording can't be started ({error.strerror}); choose another place with --record"
        )


def _remove(file: FileIO, path: Path) -> None:
    """Close a journal that is not needed any more, and remove it, unless another file has its name by now. Where it cannot be
    removed it is emptied: nobody is to rescue it."""
    with file, contextlib.suppress(OSError):
        file.truncate(0)
        if os.path.samestat(os.fstat(file.fileno()), path.lstat()):
            if os.name == "nt":  # Windows removes no open file
                file.close()
            path.unlink()


def refuges(path: Path) -> Iterator[Path]:
    """Where else `path` can go, best first: the nearest folder that is left of its own, the home folder, the temporary folder.
    Names that are free."""
    folders = [next((folder for folder in path.absolute().parents if folder.is_dir()), Path.cwd())]
    with contextlib.suppress(RuntimeError):  # no home
        folders.append(Path.home())
    with contextlib.suppress(OSError):
        folders.append(Path(tempfile.gettempdir()))
    name = path.name.removeprefix(REFUGE_PREFIX)
    for folder in dict.fromkeys(folders):
        yield free_name(folder / f"{REFUGE_PREFIX}{name}")


def free_name(path: Path) -> Path:
    """The first of `names` at which there is nothing."""
    return next(name for name in names(path) if not os.path.lexists(name))


def names(path: Path) -> Iterator[Path]:
    """The path, then with a number before its suffix."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def to_mid(data: bytes, mid_path: Path) -> Saved:
    """A journal's bytes -> a .mid. Raises UserError."""
    tracks = Tracks()
    for record in records(data):
        tracks.add(record)
    left_on = tracks.left_on()
    events, tempos, metre, markers = tracks.end()
    path = write_fresh(mid_path, encode(events, tempos, [(0, *metre)], markers))
    notes = sum(message[0] & 0xF0 == 0x90 for track in events.values() for _, message in track)
    return Saved(path, notes, tracks.lost, left_on)


def salvage(journal_path: Path, mid_path: Path) -> Saved:
    """Make the .mid a killed session could not, of all records that are whole. Raises UserError.

    The journal is kept, renamed to *.journal.salvaged, which `find_unfinished` does not list.
    """
    saved = to_mid(read(journal_path), mid_path)
    kept = journal_path.with_name(journal_path.name + ".salvaged")
    for number in count(1):
        if not kept.exists():
            break
        kept = journal_path.with_name(f"{journal_path.name}.salvaged-{number}")
    try:
        journal_path.replace(kept)
    except OSError as error:
        raise UserError(f"{journal_path}: rescued as {saved.path}, but cannot be renamed ({error.strerror})") from None
    return saved
