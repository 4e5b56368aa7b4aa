"""The corpus as memory-mapped arrays of notes and beats.

    python -m models.data CORPUS --cache runs/cache        # build (or find) the pack, print what is in it

A corpus is a folder with `manifest.csv` and zips, as `manifest.csv` names them (the columns `COLUMNS`, and where known
cluster, melody_track, accomp_tracks). Files are parsed by symusic in worker processes; a corrupt one is skipped, named and
counted. The pack's folder is named after the hash of what goes into it: `READ_COLUMNS` of all rows, the files' SHA-1 sums
among them, and `PACK_VERSION`.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from rich.progress import track

from realtime.errors import UserError
from realtime.parts import TrackInfo, parts_of
from realtime.vocabulary import TICKS, BeatGrid, bar_segments, tempo_bin

PACK_VERSION = 2
COLUMNS = ("id", "source", "tier", "split", "archive", "path", "sha1")
"""What a manifest cannot do without."""
READ_COLUMNS = ("id", "source", "tier", "split", "sha1", "cluster", "melody_track", "accomp_tracks")
"""What of a row goes into the pack: it changes the pack's hash."""
NOTE = np.dtype([("onset", "<i4"), ("duration", "<u2"), ("pitch", "u1"), ("velocity", "u1"), ("part", "u1")])
"""Onset and duration in ticks; part 0..4 as in `vocabulary.PART_NAMES`. Sorted by (onset, part, pitch) in each piece."""
BEAT = np.dtype([("start", "<i4"), ("length", "u1"), ("index", "u1"), ("bar_ticks", "<u2"), ("tempo", "u1")])
"""One row a beat: start and length in ticks, which of its bar, the metre's bar length in ticks, tempo class."""
MAX_DURATION = 384


@dataclass(frozen=True)
class Piece:
    """One piece of a pack. The arrays are views of the memory map."""

    id: str
    source: str
    split: str
    notes: np.ndarray
    beats: np.ndarray

    @property
    def bar_starts(self) -> np.ndarray:
        """Start ticks of its bars."""
        return self.beats["start"][self.beats["index"] == 0]


@dataclass(frozen=True)
class Pack:
    """A built corpus. `hash` identifies the content; `table` has a row a piece: id, source, split, note and beat ranges."""

    hash: str
    table: list[dict[str, Any]]
    notes: np.ndarray
    beats: np.ndarray
    skipped: dict[str, str]

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> Piece:
        row = self.table[i]
        (n0, n1), (b0, b1) = row["notes"], row["beats"]
        return Piece(row["id"], row["source"], row["split"], self.notes[n0:n1], self.beats[b0:b1])

    def rows(self, split: str) -> list[int]:
        """Indices of the pieces of a split."""
        return [i for i, row in enumerate(self.table) if row["split"] == split]

    def split_hash(self, split: str) -> str:
        """Identifies the pieces of a split (for model cards and exported metadata)."""
        ids = sorted(row["id"] for row in self.table if row["split"] == split)
        return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def parse(job: tuple[dict[str, str], bytes]) -> tuple[np.ndarray, np.ndarray] | str:
    """One MIDI file -> (notes, beats), or a line saying why not. Runs in a worker process."""
    from symusic import Score

    row, data = job
    if not data:
        return "cannot be read from its archive"
    if row.get("sha1") and hashlib.sha1(data).hexdigest() != row["sha1"].lower():
        return "not the file of the manifest: its SHA-1 is another"
    try:
        score = Score.from_midi(data)
    except Exception as error:  # symusic raises what its C++ raises; the file is named and counted by the caller
        return f"cannot be parsed ({error})"
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

    signatures = [(round(x.time * scale), x.numerator, x.denominator) for x in score.time_signatures]
    grid = BeatGrid(bar_segments(signatures))
    tempos = sorted((round(x.time * scale), x.qpm) for x in score.tempos) or [(0, 120.0)]
    beats, tick, at = [], grid.beat_at(0).start, 0
    end = int(notes["onset"][-1])
    while tick <= end:
        beat = grid.beat_at(tick)
        while at + 1 < len(tempos) and tempos[at + 1][0] <= tick:
            at += 1
        beats.append((beat.start, beat.length, min(beat.in_bar, 255), beat.bar_ticks, tempo_bin(tempos[at][1])))
        tick = beat.start + beat.length
    return notes, np.array(beats, BEAT)


def _jobs(root: Path, rows: list[dict[str, str]]) -> Iterator[tuple[dict[str, str], bytes]]:
    """(manifest row, MIDI bytes), archive by archive; a member that cannot be read gives empty bytes."""
    for archive in dict.fromkeys(row["archive"] for row in rows):
        try:
            with zipfile.ZipFile(root / archive) as z:
                for row in (r for r in rows if r["archive"] == archive):
                    try:
                        yield row, z.read(row["path"])
                    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError):
                        yield row, b""
        except (OSError, zipfile.BadZipFile) as error:
            raise UserError(f"{root / archive}: cannot be read ({error}); the manifest names it") from None


def load_pack(root: Path, cache: Path, tiers: tuple[str, ...] = ("main",)) -> Pack:
    """Find the pack of this corpus in `cache`, or build it there. Raises `UserError` for a folder that is no corpus."""
    try:
        with (root / "manifest.csv").open(newline="", encoding="utf8") as f:
            table = csv.DictReader(f)
            missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise UserError(f"{root}/manifest.csv: it lacks the columns {', '.join(missing)}; see models/README.md")
            rows = [row for row in table if row["tier"] in tiers]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{root}: no corpus here ({error}); give a folder with manifest.csv and its zips") from None
    if not rows:
        raise UserError(f"{root}/manifest.csv: no piece of tier {', '.join(tiers)} in it; see models/README.md")
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
            _build(root, part, rows)
            with suppress(OSError):  # another process was faster: its pack is the same
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    try:
        meta = json.loads((folder / "table.json").read_text())
        notes, beats = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("notes", "beats"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: this pack cannot be read ({error}); remove it, and it is built anew") from None
    return Pack(digest, meta["pieces"], notes, beats, meta["skipped"])


def _build(root: Path, part: Path, rows: list[dict[str, str]]) -> None:
    """Parse the pieces of `rows` and write the pack into the folder `part`. Raises `UserError` where none can be read."""
    table, skipped, all_notes, all_beats = [], {}, [], []
    n = b = 0
    with ProcessPoolExecutor() as pool:
        archives = dict.fromkeys(row["archive"] for row in rows)
        ordered = [row for archive in archives for row in rows if row["archive"] == archive]
        results = pool.map(parse, _jobs(root, rows), chunksize=16)
        for row, result in zip(ordered, track(results, "reading", total=len(rows)), strict=True):
            if isinstance(result, str):
                skipped[row["id"]] = result
                continue
            notes, beats = result
            all_notes.append(notes)
            all_beats.append(beats)
            table.append(
                {
                    **{key: row[key] for key in ("id", "source", "split")},
                    "cluster": row.get("cluster", ""),
                    "notes": [n, n + len(notes)],
                    "beats": [b, b + len(beats)],
                    "bars": int((beats["index"] == 0).sum()),
                }
            )
            n, b = n + len(notes), b + len(beats)
    if not table:
        first, why = next(iter(skipped.items()))
        raise UserError(f"{root}: not one of {len(skipped)} files could be used; the first, {first}: {why}")
    np.save(part / "notes.npy", np.concatenate(all_notes))
    np.save(part / "beats.npy", np.concatenate(all_beats))
    (part / "table.json").write_text(json.dumps({"pieces": table, "skipped": skipped}))


class Parser(argparse.ArgumentParser):
    """A command line that says in one line what is wrong with it. Raises `UserError`."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def exit_status(command: Callable[[], None]) -> int:
    """Run a command: 0, or 2 after one line on standard error about what the user got wrong."""
    try:
        command()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def main() -> None:
    """Pack a corpus (or find its pack), and print what is in it."""
    parser = Parser(prog="python -m models.data", description=main.__doc__)
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="folder with manifest.csv and its zips")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the packed corpus lies")
    args = parser.parse_args()
    pack = load_pack(args.corpus, args.cache)
    count: Counter[tuple[str, str]] = Counter()
    for row in pack.table:
        count[row["source"], row["split"]] += row["notes"][1] - row["notes"][0]
    for (source, split), notes in sorted(count.items()):
        print(f"{source:20s} {split:6s} {notes:9d} notes")
    for name, why in pack.skipped.items():
        print(f"skipped {name}: {why}")
    print(f"{len(pack)} pieces, {len(pack.notes)} notes, {len(pack.skipped)} skipped; pack {pack.hash}")


if __name__ == "__main__":
    sys.exit(exit_status(main))
