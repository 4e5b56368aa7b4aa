"""A chord for every beat of a packed corpus: annotated, or else estimated from all voices.

Stored beside the pack, a row a beat of `Pack.beats`, in a file named after the hash of what goes into it: the annotations, the
weights of the estimator, and `CHORDS_VERSION`.

Annotations are the `annotations.jsonl` of the corpus' archives, a JSON object a line: `id`, `chords` = [[start, end, "C:min7/G"],
...] in quarters from the start of the file; a trailing "?" marks a guess. A piece whose `beat_aligned` is false is left out. A
beat's chord is the one that sounds for most of it, and for at least half of it; the earlier one of two. Beats without an
annotation, and those with one that the vocabulary has no class for ("C:5"), are estimated, the annotated beats around them
being known.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from models.corpus.corpora import find
from models.corpus.pack import Pack, load_pack
from realtime.errors import UserError
from realtime.io.files.harmony import SHIPPED_HARMONY, load_harmony
from realtime.music.chords import UNKNOWN, parse_label, root_of
from realtime.music.metre import TICKS

CHORDS_VERSION = 1
ANNOTATIONS = "annotations.jsonl"
CHORD = np.dtype([("chord", "u1"), ("origin", "u1"), ("sure", "u1")])
"""A beat's chord: its class (`realtime.music.chords`), an index of `ORIGINS`, and its probability in units of 1/255
(annotated: 255)."""
ORIGINS = ("annotated", "guessed", "estimated")
ANNOTATED, GUESSED, ESTIMATED = range(len(ORIGINS))
"""Where a chord comes from. `GUESSED`: annotated, with a question mark."""
NO_BASS = 255
Spans = Sequence[tuple[float, float, str]]
"""An annotation: start, end (quarters), the chord's name."""


def read_annotations(root: Path, tiers: tuple[str, ...] = ("main",)) -> dict[str, Spans]:
    """The chords of each annotated piece of a corpus, by its id. Raises `UserError` for annotations that cannot be read."""
    found: dict[str, Spans] = {}
    for archive in sorted({row["archive"] for row in find(root, tiers).rows if row["archive"].endswith(".zip")}):
        try:
            with zipfile.ZipFile(root / archive) as z:
                lines = z.read(ANNOTATIONS).decode("utf-8").splitlines() if ANNOTATIONS in z.namelist() else []
            rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
            found |= {
                row["id"]: [(float(start), float(end), str(name)) for start, end, name in row["chords"]]
                for row in rows
                if row.get("chords") and row.get("beat_aligned", True)
            }
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(f"{root / archive}: its {ANNOTATIONS} cannot be read ({error})") from None
    return found


class Annotation(NamedTuple):
    """What an annotation says of beats: `chord` (B,) uint8, their classes, `UNKNOWN` where it gives none; `guessed` (B,) bool;
    `bass` (B,) uint8, the lowest pitch class, the root where the name has no other, and `NO_BASS` where there is no chord.

    The stream of events has no bass. In 35 % of the annotated quarters of openscore_lieder it is not the root, in 5 and 3 % of
    those of pop909 and openewld."""

    chord: np.ndarray
    guessed: np.ndarray
    bass: np.ndarray


def annotated(spans: Spans, beats: np.ndarray) -> Annotation:
    """What an annotation says of these beats. Raises ValueError for what is no chord's name."""
    start = beats["start"] / TICKS
    end = start + beats["length"] / TICKS
    chords, guessed, most = np.full(len(beats), UNKNOWN, np.uint8), np.zeros(len(beats), bool), np.zeros(len(beats))
    bass = np.full(len(beats), NO_BASS, np.uint8)
    for begin, stop, name in spans:
        label = parse_label(name)
        here = np.arange(np.searchsorted(end, begin, "right"), np.searchsorted(start, stop, "left"))
        shared = np.minimum(end[here], stop) - np.maximum(start[here], begin)
        more = shared > most[here] + 1e-6
        here, shared = here[more], shared[more]
        chords[here], guessed[here], most[here] = label.chord, label.guessed, shared
        root = root_of(label.chord)
        lowest = root if label.bass is None else label.bass
        bass[here] = NO_BASS if root is None or lowest is None else lowest
    short = most < (end - start) / 2 - 1e-6
    chords[short], bass[short] = UNKNOWN, NO_BASS
    return Annotation(chords, guessed & (chords != UNKNOWN), bass)


def load_chords(root: Path, cache: Path, pack: Pack, tiers: tuple[str, ...] = ("main",)) -> np.ndarray:
    """(beats of the pack,) `CHORD`, memory-mapped: found in `cache`, or made. Raises `UserError` as `read_annotations` does.

    The rows of piece i are `chords[slice(*pack.table[i]["beats"])]`.
    """
    spans = read_annotations(root, tiers)
    content = json.dumps([CHORDS_VERSION, spans], sort_keys=True).encode() + SHIPPED_HARMONY.read_bytes()
    path = cache / pack.hash / f"chords.{hashlib.sha256(content).hexdigest()[:16]}.npy"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                np.save(file, _build(pack, spans))
            part.replace(path)  # another process may have been faster: its file is the same
        finally:
            part.unlink(missing_ok=True)
    chords: np.ndarray = np.load(path, mmap_mode="r")
    return chords


def with_chords(pack: Pack, root: Path, cache: Path, tiers: tuple[str, ...] = ("main",)) -> Pack:
    """The pack whose pieces have a chord for every beat. Raises `UserError` as `load_chords` does."""
    return replace(pack, chords=load_chords(root, cache, pack, tiers)["chord"])


def load_charted(root: Path, cache: Path, tiers: tuple[str, ...] = ("main",)) -> Pack:
    """The pack of a corpus with a chord for every beat: what a decoder is trained on, and has to be scored on. Raises
    `UserError` as `load_pack` and `load_chords` do."""
    return with_chords(load_pack(root, cache, tiers), root, cache, tiers)


def _build(pack: Pack, annotations: dict[str, Spans]) -> np.ndarray:
    harmony = load_harmony()
    out = np.zeros(len(pack.beats), CHORD)
    for i in track(range(len(pack)), "chords"):
        piece, rows = pack[i], out[slice(*pack.table[i]["beats"])]
        try:
            given, guessed, _ = annotated(annotations.get(piece.id, ()), piece.beats)
        except ValueError as error:
            raise UserError(f"the annotation of {piece.id}: {error}") from None
        origin = np.where(given == UNKNOWN, ESTIMATED, np.where(guessed, GUESSED, ANNOTATED))
        rows["origin"] = origin
        if (origin == ESTIMATED).any():
            found = harmony.estimate(piece.notes, piece.beats, given=given)
            rows["chord"], rows["sure"] = found.chord, np.rint(found.sure * 255)
        known = origin != ESTIMATED
        rows["chord"][known], rows["sure"][known] = given[known], 255
    return out
