"""`antiphon compose` and `antiphon infill`: a MIDI file goes on, or some of its bars are made anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import numpy as np

from realtime.config import Config
from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError
from realtime.io.files import midifile, pianoroll
from realtime.io.files.midifile import FileNote, MidiPiece
from realtime.io.files.rewrite import check_outputs, rewrite
from realtime.io.offline.edit import bars_of, voices_of
from realtime.io.offline.studio import Plan, Studio
from realtime.midi import DRUM_CHANNEL
from realtime.music.attributes import attributes
from realtime.music.cells import notes_in
from realtime.music.keys import key_of
from realtime.music.metre import TICKS, BeatGrid, bar_segments
from realtime.music.notes import NOTE, between
from realtime.music.vocabulary import DRUMS, PART_NAMES

OVERHANG_TICKS = 6
"""A last note that rings this little beyond a bar line does not push the continuation into the next bar."""
NEAR_BARS = 4
"""Bars on either side of a gap that say which parts play in it, and where."""
DENSITY_BARS = 8
"""Bars on either side of a gap that say how dense it is to be."""
AHEAD_BARS = 12
"""Bars after a gap that its plan leads to."""
MOST_BARS = 1024


class Source:
    """A file that is to be gone on from, or into: its notes with their parts, bars and tempo."""

    def __init__(self, source: Path, target: Path, png: Path | None) -> None:
        """Raises `UserError` where it cannot be read, has no notes, or something could not be written later."""
        check_outputs(source, target, png, "read")
        self.piece: MidiPiece = midifile.read(source)
        if not self.piece.notes:
            raise UserError(f"{source}: no notes in it; give a file with something to go on from")
        self.voice, self.part = voices_of(self.piece)
        signatures = [(pulse // PULSES_PER_TICK, top, bottom) for pulse, top, bottom in self.piece.time_signatures]
        self.bars = tuple(bar_segments(signatures))
        self.grid = BeatGrid(self.bars)
        self.notes = notes_of(self.piece.notes, self.part)
        """`NOTE`, in the order of the file's."""

    def bpm(self, tick: int) -> float:
        """The tempo at a tick."""
        return next(bpm for pulse, bpm in reversed(self.piece.tempos) if pulse <= max(tick, 0) * PULSES_PER_TICK)

    def rate(self, notes: np.ndarray, start: int, end: int, first: int) -> float | None:
        """Notes a quarter around [start, end), from tick `first` to as many bars after it; None where there are none."""
        last = min(self.grid.bar_start(end, DENSITY_BARS), self.grid.bar_start(int(self.notes["onset"].max()), 1))
        around = len(between(notes, first, start)) + len(between(notes, end, last))
        return around * TICKS / (start - first + max(last - end, 0)) if around else None

    def as_played(self, made: np.ndarray, near: Sequence[int], gone: Sequence[int] = ()) -> list[FileNote]:
        """New notes (`NOTE`), each as one of the voice of its part that lies nearest to it: of the track that
        most of the
        part's notes among `gone` (indices) were taken out of, else of the voices with notes among `near`, or else of all. A
        part that the file does not have is on a channel of its own."""
        added = []
        for part in np.unique(made["part"]).tolist():
            players: dict[int, list[FileNote]] = {}
            everybody = [i for i, of in enumerate(self.part) if of == part]
            tracks = Counter(self.piece.notes[i].track for i in gone if self.part[i] == part).most_common(1)
            left = [i for i in gone if self.part[i] == part and self.piece.notes[i].track == tracks[0][0]]
            for i in left or [i for i in near if self.part[i] == part] or everybody:
                players.setdefault(self.voice[i], []).append(self.piece.notes[i])
            alone = FileNote(0, 0, 0, 0, DRUM_CHANNEL if part == DRUMS else part)
            heights = [(float(np.mean([note.pitch for note in own])), own[0]) for own in players.values()]
            for onset, duration, pitch, velocity, _ in made[made["part"] == part].tolist():
                like = min(heights, key=lambda player: abs(player[0] - pitch))[1] if heights else alone
                start, length = onset * PULSES_PER_TICK, duration * PULSES_PER_TICK
                added.append(replace(like, onset_pulse=start, duration_pulse=length, pitch=pitch, velocity=velocity))
        return added


def notes_of(notes: Sequence[FileNote], part: Sequence[int]) -> np.ndarray:
    """Notes in pulses -> `NOTE` in ticks, in the same order."""
    made = np.zeros(len(notes), NOTE)
    half = PULSES_PER_TICK // 2
    for row, (note, of) in enumerate(zip(notes, part, strict=True)):
        onset = (note.onset_pulse + half) // PULSES_PER_TICK
        end = (note.onset_pulse + note.duration_pulse + half) // PULSES_PER_TICK
        made[row] = (onset, max(end - onset, 1), note.pitch, note.velocity, of)
    return made


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
    first = _bar_number(grid, start)
    if png is not None:
        title = f"{source.name} and {bars} bars more"
        voices: dict[str, Sequence[FileNote]] = {"player": piece.notes, "antiphon": added}
        _draw(png, title, studio, voices, notes, made, plan, (studio.back(start, NEAR_BARS), start, end))
    return f"{target}: {bars} bars and {len(added)} notes after bar {first}" + (
        f"; bars {first + 1} to {first + bars} are a loop" if loop else ""
    )


def _unused(name: str, taken: Container[str]) -> str:
    """`name`, numbered where it is taken: a track of that name, Antiphon's of an earlier run say, stays beside the new one."""
    return next(each for each in chain((name,), (f"{name} {n}" for n in count(2))) if each not in taken)


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
        _draw(png, name, studio, voices, kept, made, plan, (before, start, end))
    return f"{target}: bars {chosen.first}-{chosen.last}, {len(removed)} notes taken out, {len(added)} put in"


def _draw(
    path: Path, title: str, studio: Studio, voices: Mapping[str, Sequence[FileNote]], others: np.ndarray,
    made: np.ndarray, plan: Plan, span: tuple[int, int, int],
) -> None:  # fmt: skip
    """The new bars [start, end) and some around them, with the attributes of what there is now (`others` and `made`) and of what
    was planned. span: the first tick shown, start, end."""
    shown, start, end = span
    lines = [shown]
    while lines[-1] < studio.grid.bar_start(end, NEAR_BARS if "kept" in voices else 0):
        lines.append(studio.grid.bar_start(lines[-1], 1))
    edges = studio.edges(shown, lines[-1])
    now = np.concatenate([others, made])
    tonic = key_of(now).tonic
    curves = {"after": attributes(now, edges, tonic)}
    if studio.graphs is not None:
        new = (edges[1:] > start) & (edges[:-1] < end)
        rolls = studio.graphs.decode(np.stack([plan[tick] for tick in edges[:-1][new].tolist()]))
        planned = np.append(edges[:-1][new], end)
        curves["planned"] = np.full_like(curves["after"], np.nan)
        curves["planned"][new] = attributes(notes_in(rolls, planned), planned, tonic)
    first, last = lines[0] * PULSES_PER_TICK, lines[-1] * PULSES_PER_TICK
    here = {
        who: [note for note in notes if not note.is_drum and first <= note.onset_pulse < last]
        for who, notes in voices.items()
    }
    pianoroll.draw_bars(
        path, here, [line * PULSES_PER_TICK for line in lines], title, "attributes of the bars as they are now",
        _bar_number(studio.grid, shown) + 1,
        curves=pianoroll.Curves([int(edge) * PULSES_PER_TICK for edge in edges], curves),
    )  # fmt: skip


def _bar_number(grid: BeatGrid, tick: int) -> int:
    """How many bars lie before `tick`, the pick-up counted as one."""
    count, at = 0, grid.bar_start(0)
    while at < tick:
        count, at = count + 1, grid.bar_start(at, 1)
    return count
