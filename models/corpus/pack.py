"""The corpus as memory-mapped arrays of notes and beats.

    python -m models.data CORPUS --cache runs/cache        # build (or find) the pack, print what is in it
    python -m models.data CORPUS --list                    # a line a piece
    python -m models.data CORPUS --stats                   # each source and split in figures
    python -m models.data CORPUS --piece ID --png FILE     # one piece as a piano roll

CORPUS is a folder with `manifest.csv` and zips, or MAESTRO, Groove, Lakh or any .mid files (see
`models.corpus.corpora`). Files are
parsed by symusic in worker processes; a corrupt one is skipped, named and counted. The pack's folder is named after the hash of
what goes into it: `READ_COLUMNS` of all rows, the files' SHA-1 sums among them, and `PACK_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from models.corpus.corpora import Corpus, Row, find, fingerprint, read, settle
from realtime.errors import UserError
from realtime.music.metre import TICKS, BeatGrid, bar_segments
from realtime.music.parts import TrackInfo, parts_of
from realtime.music.vocabulary import tempo_bin

PACK_VERSION = 3
READ_COLUMNS = ("id", "source", "tier", "split", "sha1", "cluster", "melody_track", "accomp_tracks")
"""What of a row goes into the pack: it changes the pack's hash."""
NOTE = np.dtype([("onset", "<i4"), ("duration", "<u2"), ("pitch", "u1"), ("velocity", "u1"), ("part", "u1")])
"""Onset and duration in ticks; part 0..4 as in `vocabulary.PART_NAMES`. Sorted by (onset, part, pitch) in each piece."""
BEAT = np.dtype(
    [("start", "<i4"), ("length", "u1"), ("index", "u1"), ("bar_ticks", "<u2"), ("tempo", "u1"), ("compound", "u1")]
)
"""One row a beat: start and length in ticks, which of its bar, the metre's bar length in ticks, tempo class, whether the metre
is compound (0 or 1)."""
MAX_DURATION = 384
MAX_BEATS = 50_000
"""Seven hours at 120 BPM: a later note is a broken file's."""
CHUNK, AHEAD = 16, 64
"""Files that a worker gets at once, and how many such chunks may wait: a corpus of any size is read in bounded memory."""


@dataclass(frozen=True)
class Piece:
    """One piece of a pack. The arrays are views of the memory map."""

    id: str
    source: str
    split: str
    notes: np.ndarray
    beats: np.ndarray
    chords: np.ndarray | None = None
    """The chord of each beat, a class of `realtime.music.chords`, where chords were made for the pack."""

    @property
    def bar_starts(self) -> np.ndarray:
        """Start ticks of its bars."""
        return self.beats["start"][self.beats["index"] == 0]


@dataclass(frozen=True)
class Pack:
    """A built corpus. `hash` identifies the content; `table` has a row a piece: id, source, split, note and beat ranges.

    `skipped`: what could not be used, and why. `duplicates`: pieces left out, and whose notes they have. `torn`: compositions
    in several published splits, and which (see `corpora.settle`).
    """

    hash: str
    table: list[dict[str, Any]]
    notes: np.ndarray
    beats: np.ndarray
    skipped: dict[str, str]
    duplicates: dict[str, str] = field(default_factory=dict)
    torn: dict[str, str] = field(default_factory=dict)
    chords: np.ndarray | None = None
    """The chord of each beat (`models.corpus.chords.with_chords`)."""

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> Piece:
        row = self.table[i]
        (n0, n1), (b0, b1) = row["notes"], row["beats"]
        return Piece(
            row["id"],
            row["source"],
            row["split"],
            self.notes[n0:n1],
            self.beats[b0:b1],
            None if self.chords is None else self.chords[b0:b1],
        )

    def rows(self, split: str) -> list[int]:
        """Indices of the pieces of a split."""
        return [i for i, row in enumerate(self.table) if row["split"] == split]

    def split_hash(self, split: str) -> str:
        """Identifies the pieces of a split (for model cards and exported metadata)."""
        ids = sorted(row["id"] for row in self.table if row["split"] == split)
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def parse(job: tuple[Row, bytes]) -> tuple[np.ndarray, np.ndarray] | str:
    """One MIDI file -> (notes, beats), or a line saying why not. Runs in a worker process."""
    from symusic import Score

    row, data = job
    if not data:
        return "cannot be read from its archive"
    if row.get("sha1") and hashlib.sha1(data).hexdigest() != row["sha1"].lower():
        return "another file than the one named: its SHA-1 differs"
    try:
        score = Score.from_midi(data)
    except Exception as error:  # symusic raises what its C++ raises; the file is named and counted by the caller
        return f"cannot be parsed ({error})"
    if not score.ticks_per_quarter:
        return "its header says 0 ticks per quarter"
    scale = TICKS / score.ticks_per_quarter
    infos = [
        TrackInfo(t.name, t.program, t.is_drum, float(np.mean(t.notes.numpy()["pitch"])) if len(t.notes) else 0.0)
        for t in score.tracks
    ]
    accompaniment = {name.split(" (")[0] for name in row.get("accomp_tracks", "").split("|") if name}
    parts = parts_of(infos, row.get("melody_track", ""), accompaniment)
    columns: list[np.ndarray] = []
    for t, part in zip(score.tracks, parts, strict=True):
        soa = t.notes.numpy()
        columns.append(
            np.stack([soa["time"], soa["duration"], soa["pitch"], soa["velocity"], np.full(len(t.notes), part)], 1)
        )
    raw = np.concatenate(columns) if columns else np.zeros((0, 5))
    raw = raw[raw[:, 3] > 0]
    if len(raw) < 8:
        return f"only {len(raw)} notes"
    last = raw[:, 0].max() / score.ticks_per_quarter
    if last > MAX_BEATS:
        return f"its last note is at quarter {last:.0f}"
    notes = np.zeros(len(raw), NOTE)
    notes["onset"] = np.rint(raw[:, 0] * scale)
    notes["duration"] = np.clip(np.rint(raw[:, 1] * scale), 1, MAX_DURATION)
    for i, name in enumerate(("pitch", "velocity", "part")):
        notes[name] = raw[:, i + 2]
    notes = np.unique(notes)
    notes = notes[np.lexsort((notes["pitch"], notes["part"], notes["onset"]))]
    same = np.zeros(len(notes), bool)
    same[1:] = np.all([notes[c][1:] == notes[c][:-1] for c in ("onset", "part", "pitch")], axis=0)
    notes = notes[~same]

    return notes, _beats(score, int(notes["onset"][-1]))


def _beats(score: Any, end: int) -> np.ndarray:
    """The beats of a symusic `Score` up to tick `end`, `BEAT`."""
    scale = TICKS / score.ticks_per_quarter
    signatures = [(round(x.time * scale), x.numerator, x.denominator) for x in score.time_signatures]
    grid = BeatGrid(bar_segments([s for s in signatures if min(s[1:]) > 0]))  # a broken one has 0: 2**8 in a byte
    tempos = sorted((round(x.time * scale), x.qpm) for x in score.tempos) or [(0, 120.0)]
    beats, tick, at = [], grid.beat_at(0).start, 0
    while tick <= end:
        beat = grid.beat_at(tick)
        while at + 1 < len(tempos) and tempos[at + 1][0] <= tick:
            at += 1
        beats.append(
            (beat.start, beat.length, min(beat.in_bar, 255), beat.bar_ticks, tempo_bin(tempos[at][1]), beat.compound)
        )
        tick = beat.start + beat.length
    return np.array(beats, BEAT)


Parsed = tuple[Row, tuple[np.ndarray, np.ndarray] | str, str]


def _parse_all(jobs: list[tuple[Row, bytes]]) -> list[Parsed]:
    """(row, `parse`, fingerprint) of each. Runs in a worker process."""
    results = [(row, parse((row, data))) for row, data in jobs]
    return [(row, result, "" if isinstance(result, str) else fingerprint(result[0])) for row, result in results]


def _parsed(jobs: Iterator[tuple[Row, bytes]]) -> Iterator[Parsed]:
    """All jobs done by worker processes, in order; no more of them are read ahead than `AHEAD` chunks."""
    with ProcessPoolExecutor() as pool:
        waiting: deque[Future[list[Parsed]]] = deque()
        while chunk := list(islice(jobs, CHUNK)):
            waiting.append(pool.submit(_parse_all, chunk))
            if len(waiting) == AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


class _Writer:
    """An .npy file of one dimension that grows. numpy's header leaves room for its length."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self.file, self.dtype, self.length = path.open("wb"), dtype, 0
        self._header()

    def _header(self) -> None:
        description = {"descr": self.dtype.descr, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self.file, description)

    def append(self, array: np.ndarray) -> list[int]:
        """[first, after the last] of where it lies now."""
        self.file.write(array.astype(self.dtype, copy=False).tobytes())
        start, self.length = self.length, self.length + len(array)
        return [start, self.length]

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.seek(0)
        self._header()
        self.file.close()


def load_pack(root: Path, cache: Path, tiers: tuple[str, ...] = ("main",)) -> Pack:
    """Find the pack of this corpus in `cache`, or build it there. Raises `UserError` for a folder that is no corpus."""
    corpus = find(root, tiers)
    rows = corpus.rows
    content = json.dumps([PACK_VERSION, *([row.get(name) or "" for name in READ_COLUMNS] for row in rows)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    folder = cache / digest
    if not (folder / "table.json").exists():
        part = cache / f"{digest}.{os.getpid()}.part"
        try:
            part.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"{cache}: cannot be written ({error.strerror}); give another folder with --cache"
            ) from None
        try:
            _build(root, part, corpus)
            with suppress(OSError):  # another process was faster: its pack is the same
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    try:
        meta = json.loads((folder / "table.json").read_text())
        notes, beats = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("notes", "beats"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: this pack cannot be read ({error}); remove it, and it is built anew") from None
    return Pack(digest, meta["pieces"], notes, beats, meta["skipped"], meta["duplicates"], meta["torn"])


def _build(root: Path, part: Path, corpus: Corpus) -> None:
    """Parse the corpus and write its pack into the folder `part`. Raises `UserError` where no file can be used."""
    table: list[dict[str, Any]] = []
    skipped, duplicates, torn = dict(corpus.skipped), {}, {}
    first_of: dict[str, str] = {}  # fingerprint -> id
    used: list[tuple[Row, str]] = []
    with _Writer(part / "notes.npy", NOTE) as all_notes, _Writer(part / "beats.npy", BEAT) as all_beats:
        results = _parsed(read(root, corpus.rows))
        for row, result, notes_hash in track(results, "reading", total=len(corpus.rows)):
            if isinstance(result, str):
                skipped[row["id"]] = result
                continue
            used.append((row, notes_hash))
            if not corpus.settled and first_of.setdefault(notes_hash, row["id"]) != row["id"]:
                duplicates[row["id"]] = first_of[notes_hash]
                continue
            notes, beats = result
            table.append(
                {
                    **{key: row[key] for key in ("id", "source", "split")},
                    "cluster": row.get("cluster", ""),
                    "notes": all_notes.append(notes),
                    "beats": all_beats.append(beats),
                    "bars": int((beats["index"] == 0).sum()),
                }
            )
    if not table:
        first, why = next(iter(skipped.items()))
        raise UserError(f"{root}: not one of {len(corpus.rows)} files could be used; the first, {first}: {why}")
    if not corpus.settled:
        settled, torn = settle(used)
        of = {row["id"]: place for (row, _), place in zip(used, settled, strict=True)}
        for piece in table:
            piece["split"], piece["cluster"] = of[piece["id"]]
    meta = {"pieces": table, "skipped": skipped, "duplicates": duplicates, "torn": torn}
    (part / "table.json").write_text(json.dumps(meta))


def song_of(row: dict[str, Any]) -> str:
    """What composition a piece belongs to."""
    return str(row["cluster"] or row["id"])


SOURCE_WEIGHTS = {
    "groove": 0.5,
    "openscore_quartets": 0.7,
    "freedoom": 0.6,
    "pop909": 1.3,
    "openewld": 2.0,
    "openhymnal": 1.5,
}
"""How often a bar of a source is drawn, relative to the other sources' bars. Small tuneful sets count for more; the long
quartets and the one-bar patterns of drums and game loops for less. A source that is not named counts 1."""
