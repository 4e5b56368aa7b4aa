"""`antiphon infill`: some bars of a MIDI file are made anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from realtime.composing.constraints import Constraints
from realtime.config import Config
from realtime.errors import UserError, counted
from realtime.io.files.midifile import FileNote
from realtime.io.files.rewrite import rewrite
from realtime.io.offline.source import (
    AHEAD_BARS,
    DENSITY_BARS,
    MOST_BARS,
    NEAR_BARS,
    Bars,
    Source,
    as_played,
    bars_of,
    draw_result,
)
from realtime.io.offline.studio import Studio
from realtime.io.offline.voices import NOTHING, constraints_of, in_order
from realtime.io.progress import Progress
from realtime.music.metre import TICKS
from realtime.music.notes import between
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
    chosen = _chosen(music_of, source, asked, parts)
    start, end = int(chosen.starts[0]), int(chosen.starts[-1])
    studio = Studio(config, music_of.bars, music_of.bpm(start), say)
    studio.give_chords(start)
    before, after = studio.back(start, NEAR_BARS), grid.bar_start(end, NEAR_BARS)
    inside = music_of.playing(start, end)
    voices = _voices(music_of, {PART_NAMES.index(name) for name in parts}, inside, music_of.playing(before, after))
    music_of.check_number(len(voices))
    gone = inside & np.isin(music_of.voice, voices)
    kept = notes[~gone]
    # A note that begins a little before the bars is not in them, though the nearest tick is.
    early = (kept["onset"] == start) & ~inside[~gone]
    kept["onset"][early] = start - 1
    if not (len(kept) or start):
        raise UserError(f"bars {chosen.first}-{chosen.last} are the whole file; leave something to go by")

    end_known = min(grid.bar_start(end, AHEAD_BARS), grid.bar_start(int(kept["onset"].max(initial=0)), 1))
    leads = bool((kept["onset"] >= end).any())
    plan = studio.plan(np.sort(kept, order=("onset", "pitch")), start, end, after=end_known if leads else None)
    made, new = [NOTHING], list[FileNote]()
    with Progress("composing") as show:
        studio.show(show, len(voices), start, end)
        for voice in in_order(voices, music_of.part_of):
            own = music_of.of(voice)
            studio.turn_to(_constraints(music_of, studio, voice, own & inside, start, end))
            others = np.concatenate([kept, *made])
            made.append((studio.filled if leads else studio.continued)(others, start, end, plan))
            first = np.flatnonzero(own & inside if (own & inside).any() else own)[0]
            new += as_played(made[-1], piece.notes[first])
    removed = [note for note, is_gone in zip(piece.notes, gone, strict=True) if is_gone]
    added = rewrite(music_of.smf, target, removed, new)
    if png is not None:
        left = set(removed)
        shown = {"kept": [note for note in piece.notes if note not in left], "removed": removed, "new": added}
        name = f"{source.name}, bars {chosen.first}-{chosen.last} made anew"
        draw_result(png, name, studio, shown, kept, np.concatenate(made), plan, (before, start, end))
    return music_of.line(
        f"{target}: bars {chosen.first}-{chosen.last}, {counted(len(removed), 'note')} taken out, {len(added)} put in"
    )


def _chosen(music_of: Source, source: Path, asked: str, parts: Sequence[str]) -> Bars:
    """The bars that are asked for. Raises `UserError` where the file does not have them, or one of the parts."""
    chosen = bars_of(music_of.piece, asked, source)
    if chosen.last - chosen.first >= MOST_BARS:
        raise UserError(f"--bars {asked}: {chosen.last - chosen.first + 1} bars; allowed 1 to {MOST_BARS} at once")
    there = {PART_NAMES[part] for part in music_of.part}
    for name in parts:
        if name not in there:
            given = ", ".join(name for name in PART_NAMES if name in there)
            raise UserError(f"--part {name}: not in {source}; it has {given}")
    return chosen


def _voices(source: Source, parts: set[int], inside: np.ndarray, near: np.ndarray) -> list[int]:
    """The voices that are to be made anew: of each part asked for (none: of all) those with notes `inside`, else those `near`, or
    else all. inside, near: (N,) bool."""
    voice, part = np.array(source.voice), np.array(source.part)
    chosen: set[int] = set()
    for of in [part == each for each in sorted(parts)] or [np.ones(len(part), bool)]:
        there = next(mask for mask in (inside & of, near & of, of) if mask.any())
        chosen |= {*voice[there].tolist()}
    return sorted(chosen)


def _constraints(source: Source, studio: Studio, voice: int, gone: np.ndarray, start: int, end: int) -> Constraints:
    """What a voice may play in [start, end): as many notes as were taken out (`gone`: (N,) bool), else as around the gap; in the
    register that it has there, or, where it rests, has anywhere."""
    own = source.notes[source.of(voice)]
    first = studio.back(start, DENSITY_BARS)
    rate = gone.sum() * TICKS / (end - start) if gone.any() else source.rate(own, start, end, first)
    near = between(own, first, source.grid.bar_start(end, DENSITY_BARS))
    return constraints_of(studio.general, source.part_of[voice], near if len(near) else own, rate)
