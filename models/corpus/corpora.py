"""What is in a user's folder of MIDI files: every file with its source, split and composition, by the layout it lies in.

| layout | known by | published split | one composition is |
|---|---|---|---|
| manifest | `manifest.csv` | as it says | `cluster`, as it says |
| MAESTRO v3 | `maestro-v3.0.0.csv` | `split` | one composer and title |
| Groove | `info.csv` | `split` | one recording |
| Lakh matched, aligned | `lmd_matched/A/B/C/TR.../<md5>.mid`, `lmd_aligned/...` | none | one track of the Million Song Dataset |
| Lakh full | `lmd_full/0/<md5>.mid` | none | that track by `match_scores.json`, else a name by `md5_to_paths.json` |
| Lakh clean | `clean_midi/Artist/Title.2.mid` | none | one artist and title |
| plain | any other .mid or .midi | none | one file |

The layouts are documented at https://magenta.tensorflow.org/datasets/maestro, https://magenta.tensorflow.org/datasets/groove
and https://colinraffel.com/projects/lmd (with the Tutorial.ipynb of github.com/craffel/midi-dataset). A folder may hold several
of them, extracted or as downloaded (.zip, .tar.gz); the archive itself may be given too.

MAESTRO's files, and piano performances in general, have no beats: their tempo says 120 BPM whatever is played. A tick is then
1/48 of a second and a "bar" two seconds. Such pieces teach which notes follow each other and when, not metre. Lakh's aligned
files follow a recording's time, and their beats only as well as the alignment does.

But for a manifest, which is taken at its word, pieces with the same notes are one piece, and pieces of one composition lie in
one split (`fingerprint`, `settle`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from posixpath import basename, dirname, join, normpath
from typing import Any, NamedTuple

import numpy as np

from realtime.errors import UserError
from realtime.music.vocabulary import DRUMS

Row = dict[str, str]
"""id, source, tier, split ("" where none is published), archive ("" for a file of its own), path, sha1, cluster (the names of
its composition, `|` between), and of a manifest all its other columns."""
COLUMNS = ("id", "source", "tier", "split", "archive", "path", "sha1")
"""What a manifest cannot do without."""
SPLITS = {"train": "train", "validation": "valid", "valid": "valid", "test": "test"}
"""What archives call their splits, and what they are called here."""

MIDI = re.compile(r"\.midi?$", re.IGNORECASE)
ARCHIVE = re.compile(r"\.(zip|tar|tgz|tar\.gz)$", re.IGNORECASE)
METADATA = re.compile(r"^(maestro-v\d[\d.]*\.csv|info\.csv|match_scores\.json|md5_to_paths\.json)$")
MATCHED = re.compile(r"([^/]*)/[A-Z]/[A-Z]/[A-Z]/(TR\w{16})/([0-9a-f]{32})\.midi?$")
FULL = re.compile(r"/[0-9a-f]/([0-9a-f]{32})\.midi?$")
CLEAN = re.compile(r"(?:^|/)clean_midi/([^/]+)/([^/]+?)(?:\.\d+)?\.midi?$")
NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\s]+')
MIN_TITLE_LETTERS = 4
"""A file name with fewer letters ("01", "a2") names no composition."""
GIVE = "give a folder of .mid files, a folder with manifest.csv and its zips, or MAESTRO, Groove or Lakh as they come"
MOST_MIDI_BYTES, MOST_TABLE_BYTES = 16 << 20, 256 << 20
"""What is longer is no MIDI file, or no table, but a mistake or a decompression bomb."""
MOST_LETTERS = 4096
"""A longer path is no file's, and would take hours to look at."""
MOST_RATIO = 100
"""An archive that unpacks to so many times its size, and MOST_TABLE_BYTES more, is a decompression bomb; MIDI comes to 10."""
UNREADABLE = (OSError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, tarfile.TarError)
"""What a damaged, encrypted or missing archive raises."""


class Corpus(NamedTuple):
    """Its files; what of it cannot be used, with the reason; whether splits and doubles are settled (as in a manifest)."""

    rows: list[Row]
    skipped: dict[str, str]
    settled: bool


def find(root: Path, tiers: Sequence[str] = ("main",)) -> Corpus:
    """The files of a folder or an archive, of a manifest those of `tiers`. Raises `UserError` where there is no corpus."""
    return _manifest(root, tiers) if (root / "manifest.csv").exists() else _scan(root)


def read(root: Path, rows: Sequence[Row]) -> Iterator[tuple[Row, bytes]]:
    """Each row with its file's bytes, one at a time, archive by archive; a file that cannot be read gives empty bytes.

    Raises `UserError` where a whole archive cannot be read.
    """
    archives: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        archives.setdefault(row["archive"], {}).setdefault(row["path"], []).append(row)
    for archive, waiting in archives.items():
        try:
            if Path(archive).is_absolute() or ".." in Path(archive).parts:
                raise OSError("it lies outside of the corpus")
            for path, data in _contents(root / archive, list(waiting)):
                for row in waiting.pop(path):
                    yield row, data
        except UNREADABLE as error:
            raise UserError(f"{root / archive}: cannot be read ({error}); the corpus needs it") from None
        for left in waiting.values():
            for row in left:
                yield row, b""


def _contents(place: Path, paths: Sequence[str] | None = None) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of files in a folder or an archive: of `paths`, else of all that are MIDI or metadata.

    A folder and a zip keep the order of `paths`, a tar has its own. One that cannot be read, or is longer than any such file, has
    empty bytes. Raises OSError where the place is neither a folder nor a regular file.
    """
    if place.is_dir():
        for path in paths or _walk(place):
            yield path, _attempt(_regular, place, path)
    elif not place.is_file():
        raise FileNotFoundError(2, "no folder, and no regular file")
    elif zipfile.is_zipfile(place):
        unpack = _Unpacked(place)
        with zipfile.ZipFile(place) as z:
            for path in paths or filter(_is_of_use, dict.fromkeys(z.namelist())):
                if path in z.NameToInfo:
                    unpack(min(z.getinfo(path).file_size, _most_bytes(path)))
                yield path, _attempt(_unzipped, z, path)
    else:
        unpack = _Unpacked(place)
        with tarfile.open(place, "r|*") as tar:
            left = set(paths or ())
            for member in tar:
                if member.size > MOST_TABLE_BYTES:  # to get past it, all of it would have to be unpacked
                    raise tarfile.ReadError(
                        f"{member.name} in it has {member.size >> 20} MB, as nothing of a corpus has"
                    )
                unpack(max(member.size, 0))
                if member.isfile() and (member.name in left if paths else _is_of_use(member.name)):
                    file = tar.extractfile(member) if member.size <= _most_bytes(member.name) else None
                    yield member.name, file.read() if file else b""
                    left.discard(member.name)
                    if paths and not left:
                        return


class _Unpacked:
    """Counts what is unpacked of an archive. Raises OSError where that is more than a corpus comes to."""

    def __init__(self, archive: Path) -> None:
        self._left = MOST_TABLE_BYTES + MOST_RATIO * archive.stat().st_size

    def __call__(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise OSError(f"it unpacks to more than {MOST_RATIO} times its size and {MOST_TABLE_BYTES >> 20} MB more")


def _regular(folder: Path, path: str) -> bytes:
    """A file below the folder. Raises OSError where it lies elsewhere, is a device, a FIFO or the like, or is too long."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise OSError("it lies outside of the corpus")
    descriptor = os.open(folder / path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("no regular file")
        return _bounded(file.read(_most_bytes(path) + 1), path)


def _unzipped(z: zipfile.ZipFile, path: str) -> bytes:
    with z.open(path) as file:
        return _bounded(file.read(_most_bytes(path) + 1), path)


def _bounded(data: bytes, path: str) -> bytes:
    if len(data) > _most_bytes(path):
        raise OSError("too long")
    return data


def _most_bytes(path: str) -> int:
    return MOST_MIDI_BYTES if MIDI.search(path) else MOST_TABLE_BYTES


def _attempt(reader: Callable[..., bytes], *args: Any) -> bytes:
    try:
        return reader(*args)
    except (KeyError, ValueError, *UNREADABLE):  # ValueError: a name that no file can have
        return b""


def _walk(folder: Path, useful: Callable[[str], bool] | None = None) -> Iterator[str]:
    """Paths of the useful files below a folder, in the order of their names."""
    for inside, folders, names in os.walk(folder):
        folders.sort()
        for name in filter(useful or _is_of_use, sorted(names)):
            yield Path(inside, name).relative_to(folder).as_posix()


def _is_of_use(path: str) -> bool:
    if len(path) > MOST_LETTERS:
        return False
    name = basename(path)
    return not name.startswith("._") and bool(MIDI.search(name) or METADATA.match(name))  # "._": macOS's shadow files


def _manifest(root: Path, tiers: Sequence[str]) -> Corpus:
    try:
        text = io.StringIO(_regular(root, "manifest.csv").decode("utf8"), newline="")
        table = csv.DictReader(text, restval="")  # a row may be cut off
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise UserError(f"{root}/manifest.csv: it lacks the columns {', '.join(missing)}; see models/README.md")
        rows = [row for row in table if row["tier"] in tiers]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{root}/manifest.csv: cannot be read ({error}); see models/README.md") from None
    if not rows:
        raise UserError(f"{root}/manifest.csv: no piece of tier {', '.join(tiers)} in it; see models/README.md")
    return Corpus(rows, {}, settled=True)


def _scan(root: Path) -> Corpus:
    """All MIDI files below a folder and in its archives, or in one archive. Reads every byte once, for the SHA-1."""
    files: list[tuple[str, Row]] = []  # each with its path as if all archives were extracted where they lie
    metadata: dict[str, bytes] = {}
    skipped: dict[str, str] = {}
    name = root.resolve().name
    inner = list(_walk(root, lambda name: bool(ARCHIVE.search(name)))) if root.is_dir() else []
    for archive in ["", *inner]:
        above = join(name, dirname(archive)) if root.is_dir() else ""
        try:
            for path, data in _contents(root / archive):
                place = normpath(join(above, path))
                if METADATA.match(basename(path)):
                    metadata[place] = data
                else:
                    row = {"archive": archive, "path": path, "sha1": hashlib.sha1(data).hexdigest()}
                    files.append((place, row))
        except UNREADABLE as error:
            if not root.is_dir():
                raise UserError(f"{root}: no corpus here (no folder, zip or tar: {error}); {GIVE}") from None
            skipped[archive] = f"cannot be read to its end ({error})"
    if not files:
        raise UserError(f"{root}: no corpus here (no .mid or .midi file in it); {GIVE}")
    try:
        published, tracks, titles = _published(metadata), _tracks(metadata), _titles(metadata)
    except (AttributeError, TypeError, ValueError, RecursionError, csv.Error) as error:
        raise UserError(
            f"{root}: one of {', '.join(sorted(metadata))} cannot be read ({error}); get it again"
        ) from None
    ids: set[str] = set()
    for place, row in files:
        row["id"] = plain = NOT_IN_NAMES.sub("_", MIDI.sub("", normpath(row["path"])))
        number = 1
        while row["id"] in ids:
            number += 1
            row["id"] = f"{plain}-{number}"
        ids.add(row["id"])
        source, split, composition = published.get(place) or _unpublished(place, name, tracks, titles)
        row |= {"source": source, "tier": "main", "split": split, "cluster": composition}
    here = {place for place, _ in files}
    skipped |= {place: "named in the archive's table, but not here" for place in published if place not in here}
    return Corpus([row for _, row in files], skipped, settled=False)


def _published(metadata: dict[str, bytes]) -> dict[str, tuple[str, str, str]]:
    """(source, split, composition) by the file's place, from MAESTRO's and Groove's tables."""
    found = {}
    for place, data in metadata.items():
        for row in csv.DictReader(io.StringIO(data.decode("utf8", "replace"))) if place.endswith(".csv") else ():
            if "midi_filename" not in row or "split" not in row:
                continue  # somebody else's info.csv
            composition = ""
            if "canonical_title" in row:
                composition = _key("maestro", row.get("canonical_composer") or "", row["canonical_title"] or "")
            source = "maestro" if composition else "groove"
            file = normpath(join(dirname(place), row["midi_filename"] or ""))
            found[file] = (source, SPLITS.get(row["split"] or "", ""), composition)
    return found


def _tracks(metadata: dict[str, bytes]) -> dict[str, str]:
    """MD5 -> the track of the Million Song Dataset that it matches best, from Lakh's match_scores.json (track: MD5: score)."""
    best: dict[str, tuple[float, str]] = {}
    for track, scores in _json(metadata, "match_scores.json").items():
        for md5, score in scores.items():
            best[md5] = max(best.get(md5, (0.0, "")), (score, track))
    return {md5: track for md5, (_, track) in best.items()}


def _titles(metadata: dict[str, bytes]) -> dict[str, str]:
    """MD5 -> the letters of its first file name, from Lakh's md5_to_paths.json (MD5: paths), where there are enough."""
    letters = {
        md5: re.sub(r"[\W\d_]+", "", MIDI.sub("", basename(paths[0]))).casefold()
        for md5, paths in _json(metadata, "md5_to_paths.json").items()
        if paths
    }
    return {md5: name for md5, name in letters.items() if len(name) >= MIN_TITLE_LETTERS}


def _json(metadata: dict[str, bytes], name: str) -> dict[str, Any]:
    """What lies in all files of this name together."""
    together: dict[str, Any] = {}
    for data in (data for place, data in metadata.items() if basename(place) == name):
        together |= json.loads(data)
    return together


def _unpublished(place: str, root: str, tracks: dict[str, str], titles: dict[str, str]) -> tuple[str, str, str]:
    """(source, "", composition) of a file by where it lies. Lakh's sets share files: the MD5 is a name of the composition too."""
    if match := MATCHED.search(place):
        folder, track, md5 = match.groups()
        return (
            "lmd_aligned" if folder == "lmd_aligned" else "lmd_matched",
            "",
            f"{_key('lakh', track)}|{_key('lakh', md5)}",
        )
    if match := FULL.search(place):
        md5 = match[1]
        by = (
            [_key("lakh", tracks[md5])]
            if md5 in tracks
            else [_key("lakh", "title", titles[md5])]
            if md5 in titles
            else []
        )
        return "lmd_full", "", "|".join([*by, _key("lakh", md5)])
    if match := CLEAN.search(place):
        return "clean_midi", "", _key("lakh", *match.groups())
    return ARCHIVE.sub("", root), "", ""


def _key(*names: str) -> str:
    """The name of a composition: letter case, spaces and `|` make no difference."""
    return "/".join(" ".join(name.replace("|", " ").split()).casefold() for name in names)


def fingerprint(notes: np.ndarray) -> str:
    """The same for the same notes (`data.NOTE`) in another file, key, tempo or instrumentation, or after another rest.

    SHA-256 of the onsets, in ticks from the first, with the pitches, of melodic parts from the first and lowest note on.
    """
    drums = notes["part"] == DRUMS
    digest = hashlib.sha256()
    for chosen, is_drum in ((notes[~drums], False), (notes[drums], True)):
        grid = np.unique(np.stack([chosen["onset"], chosen["pitch"].astype(np.int32)], axis=1), axis=0)
        grid[:, 0] -= notes["onset"].min()
        if not is_drum:
            grid[:, 1] -= grid[:1, 1]
        digest.update(f"{len(grid)}:".encode() + grid.astype("<i4").tobytes())
    return digest.hexdigest()


def settle(pieces: Sequence[tuple[Row, str]]) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """((split, composition) of each piece, the compositions that published splits tear apart). `pieces`: (row, fingerprint).

    What shares a name of `cluster` or a fingerprint is one composition. A published split stays; without one a piece follows
    the others of its composition, else 80 % of the compositions go to train, 10 % to valid and 10 % to test, by SHA-256.
    """
    leader: dict[str, str] = {}

    def of(key: str) -> str:
        while leader.setdefault(key, key) != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    keys = [[*filter(None, row["cluster"].split("|")), f"~{notes}"] for row, notes in pieces]  # "~" sorts after names
    for names in keys:
        for name in names[1:]:
            first, second = sorted((of(names[0]), of(name)))
            leader[second] = first
    compositions = [of(names[0]) for names in keys]
    published: dict[str, list[str]] = {}
    for (row, _), composition in zip(pieces, compositions, strict=True):
        if row["split"]:
            published.setdefault(composition, []).append(row["split"])
    settled = []
    for (row, _), composition in zip(pieces, compositions, strict=True):
        drawn = int(hashlib.sha256(composition.encode()).hexdigest()[:8], 16) % 10
        split = row["split"] or published.get(composition, [("test", "valid")[drawn] if drawn < 2 else "train"])[0]
        settled.append((split, composition))
    torn = {name: ", ".join(sorted(set(splits))) for name, splits in published.items() if len(set(splits)) > 1}
    return settled, torn
