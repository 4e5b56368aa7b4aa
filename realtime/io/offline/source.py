"""What the file commands read: a file's notes by part and voice, its bars, and which of them are asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError
from realtime.io.files import midifile, pianoroll
from realtime.io.files.midifile import FileNote, MidiPiece
from realtime.io.files.rewrite import check_outputs
from realtime.io.offline.studio import Plan, Studio
from realtime.midi import DRUM_CHANNEL
from realtime.music.attributes import attributes
from realtime.music.cells import notes_in
from realtime.music.keys import key_of
from realtime.music.metre import TICKS, BeatGrid, bar_segments
from realtime.music.notes import NOTE, between
from realtime.music.parts import TrackInfo, parts_of
from realtime.music.vocabulary import DRUMS

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


def draw_result(
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
        bar_number(studio.grid, shown) + 1,
        curves=pianoroll.Curves([int(edge) * PULSES_PER_TICK for edge in edges], curves),
    )  # fmt: skip


def bar_number(grid: BeatGrid, tick: int) -> int:
    """How many bars lie before `tick`, the pick-up counted as one."""
    count, at = 0, grid.bar_start(0)
    while at < tick:
        count, at = count + 1, grid.bar_start(at, 1)
    return count


class Bars(NamedTuple):
    """Bars first..last of a file, numbered from 1, a pick-up counted as one; `starts` in ticks, the end of the last included.
    A pick-up starts at 0, though its whole bar would have before."""

    first: int
    last: int
    starts: np.ndarray


def bars_of(piece: MidiPiece, asked: str | None, source: Path) -> Bars:
    """The bars asked for ("9-16", "4", None: all). Raises `UserError`: none such, or with a change of metre between them."""
    signatures = [(pulse // PULSES_PER_TICK, top, bottom) for pulse, top, bottom in piece.time_signatures]
    segments = bar_segments(signatures)
    grid = BeatGrid(segments)
    end = max(note.onset_pulse + note.duration_pulse for note in piece.notes) / PULSES_PER_TICK
    starts = [0]
    while starts[-1] < end:
        starts.append(grid.bar_start(starts[-1], 1))
    count = len(starts) - 1
    match = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", asked) if asked is not None else None
    if asked is not None and match is None:
        raise UserError(f"--bars {asked}: not bars; give the first and the last, as in 9-16, or one, as in 9")
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, count)
    if first > last:
        raise UserError(f"--bars {asked}: the range is reversed; give the first bar first, as in {last}-{first}")
    if not 1 <= first <= last <= count:
        raise UserError(
            f"--bars {asked}: {source} has bars 1 to {count}; give the first and the last of those to change"
        )
    chosen = np.array(starts[first - 1 : last + 1])
    metres = signatures[-len(segments) :] if len(segments) < len(signatures) else signatures
    for (_, *before), (tick, *after) in pairwise(metres):
        if chosen[0] < tick < chosen[-1] and before != after:
            bar = int(np.searchsorted(starts, tick, side="right"))
            raise UserError(
                f"--bars {first}-{last}: the metre changes at bar {bar} to {after[0]}/{after[1]}; give bars of one metre"
            )
    return Bars(first, last, chosen)


def voices_of(piece: MidiPiece) -> tuple[list[int], list[int]]:
    """Of each note its voice, a number for each track and channel, and its part 0..4."""
    names = sorted({(note.track, note.channel) for note in piece.notes})
    voice = [names.index((note.track, note.channel)) for note in piece.notes]
    infos = []
    for number, (track, _) in enumerate(names):
        own = [note for note, of in zip(piece.notes, voice, strict=True) if of == number]
        height = sum(note.pitch for note in own) / len(own)
        infos.append(TrackInfo(piece.track_names[track], own[0].program, own[0].is_drum, height))
    part_of = parts_of(infos)
    return voice, [part_of[number] for number in voice]
