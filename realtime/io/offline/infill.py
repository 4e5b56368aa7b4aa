"""`antiphon infill`: some bars of a MIDI file are made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from realtime.config import Config
from realtime.errors import UserError
from realtime.io.files.rewrite import rewrite
from realtime.io.offline.source import (
    AHEAD_BARS,
    DENSITY_BARS,
    MOST_BARS,
    NEAR_BARS,
    Source,
    bars_of,
    draw_result,
)
from realtime.io.offline.studio import Studio
from realtime.music.vocabulary import PART_NAMES


def infill(
    config: Config,
    source: Path,
    target: Path,
    asked: str,
    parts: Sequence[str],
    png: Path | None,
    say: Callable[[str], None],
) -> str:
    """Write `source` into `target` with the notes of some parts in some bars made anew; everything else stays as it is.

    asked: bars, as in "9-12"; parts: of `PART_NAMES`, none: all that play there, or else near. Returns a line for the user;
    raises `UserError`, and then nothing is written.
    """
    music_of = Source(source, target, png)
    piece, notes, grid = music_of.piece, music_of.notes, music_of.grid
    chosen = bars_of(piece, asked, source)
    if chosen.last - chosen.first >= MOST_BARS:
        raise UserError(f"--bars {asked}: {chosen.last - chosen.first + 1} bars; allowed 1 to {MOST_BARS} at once")
    start, end = int(chosen.starts[0]), int(chosen.starts[-1])
    there = {PART_NAMES[part] for part in music_of.part}
    for name in parts:
        if name not in there:
            given = ", ".join(name for name in PART_NAMES if name in there)
            raise UserError(f"--part {name}: not in {source}; it has {given}")
    studio = Studio(config, music_of.bars, music_of.bpm(start), say)
    before, after = studio.back(start, NEAR_BARS), grid.bar_start(end, NEAR_BARS)
    near = np.flatnonzero((notes["onset"] >= before) & (notes["onset"] < after)).tolist()
    inside = (notes["onset"] >= start) & (notes["onset"] < end)
    playing = {*notes["part"][inside].tolist()} or {music_of.part[i] for i in near} or {*music_of.part}
    wanted = {PART_NAMES.index(name) for name in parts} or playing
    theirs = np.isin(notes["part"], sorted(wanted))
    gone = theirs & inside
    kept = np.sort(notes[~gone], order=("onset", "pitch"))
    if not (len(kept) or start):
        raise UserError(f"bars {chosen.first}-{chosen.last} are the whole file; leave something to go by")

    studio.parts = tuple(sorted(wanted))
    studio.rate = music_of.rate(notes[theirs], start, end, studio.back(start, DENSITY_BARS))
    if (kept["onset"] >= end).any():
        known = min(grid.bar_start(end, AHEAD_BARS), grid.bar_start(int(kept["onset"].max()), 1))
        plan = studio.plan(kept, start, end, after=known)
        made = studio.filled(kept, start, end, plan)
    else:
        plan = studio.plan(kept, start, end)
        made = studio.continued(kept, start, end, plan)
    removed = [note for note, is_gone in zip(piece.notes, gone, strict=True) if is_gone]
    added = rewrite(source, target, removed, music_of.as_played(made, near, np.flatnonzero(gone).tolist()))
    if png is not None:
        left = set(removed)
        voices = {"kept": [note for note in piece.notes if note not in left], "removed": removed, "new": added}
        name = f"{source.name}, bars {chosen.first}-{chosen.last} made anew"
        draw_result(png, name, studio, voices, kept, made, plan, (before, start, end))
    return f"{target}: bars {chosen.first}-{chosen.last}, {len(removed)} notes taken out, {len(added)} put in"
