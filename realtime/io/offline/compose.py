"""`antiphon compose` and `antiphon infill`: a MIDI file goes on, or some of its bars are made anew."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import numpy as np

from realtime.config import Config
from realtime.io.files.midifile import FileNote
from realtime.io.files.rewrite import rewrite
from realtime.io.offline.source import (
    NEAR_BARS,
    OVERHANG_TICKS,
    Source,
    bar_number,
    draw_result,
)
from realtime.io.offline.studio import Studio
from realtime.music.vocabulary import PART_NAMES


def compose(
    config: Config, source: Path, target: Path, bars: int, loop: bool, png: Path | None, say: Callable[[str], None]
) -> str:
    """Continue `source` by `bars` bars into `target`: the file's own tracks, and one of Antiphon's for each part.

    Without `play.part` Antiphon plays the parts the file has. `loop`: the new bars lead back to the first of them. Returns a line
    for the user; raises `UserError`, and then nothing is written.
    """
    music_of = Source(source, target, png)
    piece, notes, grid = music_of.piece, music_of.notes, music_of.grid
    last = int((notes["onset"] + notes["duration"]).max()) - OVERHANG_TICKS
    start = grid.bar_start(max(last, int(notes["onset"].max())), 1)
    end = grid.bar_start(start, bars)
    studio = Studio(config, music_of.bars, music_of.bpm(start), say)
    studio.parts = studio.parts or tuple(sorted({*music_of.part}))
    plan = studio.plan(notes, start, end, loop)
    made = (studio.looped if loop else studio.continued)(notes, start, end, plan)

    near = np.flatnonzero(notes["onset"] >= studio.back(start, NEAR_BARS)).tolist()
    new: list[FileNote] = []
    names: list[str] = []
    for part in np.unique(made["part"]).tolist():
        track = len(piece.track_names) + len(names)
        names.append(_unused(f"antiphon {PART_NAMES[part]}", piece.track_names))
        new += [replace(note, track=track) for note in music_of.as_played(made[made["part"] == part], near)]
    added = rewrite(source, target, (), new, names)
    first = bar_number(grid, start)
    if png is not None:
        title = f"{source.name} and {bars} bars more"
        voices: dict[str, Sequence[FileNote]] = {"player": piece.notes, "antiphon": added}
        draw_result(png, title, studio, voices, notes, made, plan, (studio.back(start, NEAR_BARS), start, end))
    return f"{target}: {bars} bars and {len(added)} notes after bar {first}" + (
        f"; bars {first + 1} to {first + bars} are a loop" if loop else ""
    )


def _unused(name: str, taken: Container[str]) -> str:
    """`name`, numbered where it is taken: a track of that name, Antiphon's of an earlier run say, stays beside the new one."""
    return next(each for each in chain((name,), (f"{name} {n}" for n in count(2))) if each not in taken)
