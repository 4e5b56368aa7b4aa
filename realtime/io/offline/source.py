"""What the file commands read: a file's notes by part and voice, its bars, and which of them are asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError
from realtime.io.files import midifile, pianoroll
from realtime.io.files.midifile import FileNote, MidiPiece
from realtime.io.files.rewrite import check_outputs
from realtime.io.files.smf import load
from realtime.io.offline.studio import Plan, Studio
from realtime.io.offline.voices import voices_of
from realtime.music.attributes import attributes
from realtime.music.cells import notes_in
from realtime.music.keys import key_of
from realtime.music.metre import TICKS, BeatGrid, Segment, bar_segments
from realtime.music.notes import NOTE, between

NEAR_BARS = 4
"""Bars on either side of a gap that say which parts play in it, and where."""

DENSITY_BARS = 8
"""Bars on either side of a gap that say how dense it is to be."""

OWN_BARS = 16
"""Bars before a continuation that say in which metre and tempo it goes on, and who plays."""

AHEAD_BARS = 12
"""Bars after a gap that its plan leads to."""

MOST_BARS = 1024
MOST_VOICES = 64
"""How many voices are composed one after the other: more are a damaged file, and would take hours."""
Held = TypeVar("Held")


class Source:
    """A file that is to be gone on from, or into: its notes with their voices and parts, bars and tempo."""

    def __init__(self, source: Path, target: Path, png: Path | None) -> None:
        """Raises `UserError` where it cannot be read, has no notes, or something could not be written later."""
        check_outputs(source, target, png, "read")
        self.name = source.name
        self.smf = load(source)
        self.piece: MidiPiece = midifile.piece_of(self.smf)
        if not self.piece.notes:
            raise UserError(f"{source}: no notes in it; give a file with something to go on from")
        self.voice, self.part = voices_of(self.piece, self.smf)
        self._voices = np.array(self.voice)
        self.part_of = dict(zip(self.voice, self.part, strict=True))
        """The part of each voice."""
        self.bars = tuple(segments_of(self.piece))
        self.grid = BeatGrid(self.bars)
        self.notes = notes_of(self.piece.notes, self.part)
        """`NOTE`, in the order of the file's."""
        self.ends = self.notes["onset"] + self.notes["duration"]

    def line(self, done: str) -> str:
        """What is said to the user at the end: what was done, and what was mended on reading."""
        return "; ".join([done, *(f"{self.name}: {what}" for what in self.smf.mended)])

    def go_on_in(self, metre: tuple[int, int], start: int) -> None:
        """From the bar line `start` on, ticks, the bars are those of a time signature, whatever the file says there."""
        before = [segment for segment in self.bars if segment.start < start]
        after = bar_segments([(start, *metre)])[-1]
        self.bars = tuple(before if before and before[-1][1:] == after[1:] else [*before, after])
        self.grid = BeatGrid(self.bars)

    def playing(self, start: int, end: int) -> np.ndarray:
        """(N,) bool: which notes begin in [start, end), ticks, to the pulse: what begins a little before a bar is not in it."""
        onset = np.array([note.onset_pulse for note in self.piece.notes], np.int64)
        inside: np.ndarray = (onset >= start * PULSES_PER_TICK) & (onset < end * PULSES_PER_TICK)
        inside &= self.notes["onset"] < end
        return inside

    def of(self, voice: int) -> np.ndarray:
        """(N,) bool: which notes are a voice's."""
        result: np.ndarray = self._voices == voice
        return result

    def check_number(self, voices: int) -> None:
        """Raises `UserError` where so many are to be composed."""
        if voices > MOST_VOICES:
            raise UserError(
                f"{self.name}: {voices} voices play there; allowed are up to {MOST_VOICES} at once: choose a part with --part"
            )

    def bpm(self, tick: int) -> float:
        """The tempo at a tick."""
        return next(bpm for pulse, bpm in reversed(self.piece.tempos) if pulse <= max(tick, 0) * PULSES_PER_TICK)

    def own_bpm(self, start: int, end: int) -> float:
        """The tempo of [start, end), ticks: the median over its quarter notes. A ritardando does not count."""
        held = sorted((bpm, ticks) for ticks, bpm in _held(self.piece.tempos, start, end))
        left = sum(ticks for _, ticks in held) / 2
        for bpm, ticks in held:
            left -= ticks
            if left <= 0:
                return bpm
        return self.bpm(end)

    def own_metre(self, start: int, end: int) -> tuple[int, int]:
        """The time signature of most bars in [start, end), ticks; of two the later."""
        metres = [(pulse, (top, bottom)) for pulse, top, bottom in self.piece.time_signatures]
        bars: dict[tuple[int, int], float] = {}
        for ticks, (top, bottom) in _held(metres, start, end):
            bars[top, bottom] = bars.pop((top, bottom), 0.0) + ticks * bottom / top
        return max(reversed(bars), key=bars.__getitem__)

    def rate(self, notes: np.ndarray, start: int, end: int, first: int) -> float | None:
        """Notes a quarter around [start, end), from tick `first` to as many bars after it; None where there are none."""
        last = min(self.grid.bar_start(end, DENSITY_BARS), self.grid.bar_start(int(self.notes["onset"].max()), 1))
        around = len(between(notes, first, start)) + len(between(notes, end, last))
        return around * TICKS / (start - first + max(last - end, 0)) if around else None


def _held(changes: Sequence[tuple[int, Held]], start: int, end: int) -> list[tuple[int, Held]]:
    """For how many ticks of [start, end) each of the values held that changed at (pulse, value)."""
    edges = [max(pulse // PULSES_PER_TICK, start) for pulse, _ in changes] + [end]
    spans = zip(edges, edges[1:], (value for _, value in changes), strict=False)
    return [(min(after, end) - at, value) for at, after, value in spans if at < min(after, end)]


def as_played(made: np.ndarray, like: FileNote) -> list[FileNote]:
    """New notes (`NOTE`) as the player of `like` plays them: in its track, on its channel, with its program."""
    rows = made[["onset", "duration", "pitch", "velocity"]].tolist()
    return [
        replace(
            like, onset_pulse=onset * PULSES_PER_TICK, duration_pulse=duration * PULSES_PER_TICK, pitch=pitch,
            velocity=velocity,
        )
        for onset, duration, pitch, velocity in rows
    ]  # fmt: skip


def segments_of(piece: MidiPiece) -> list[Segment]:
    """`BeatGrid` segments of a piece."""
    half = PULSES_PER_TICK // 2
    signatures = [((pulse + half) // PULSES_PER_TICK, top, bottom) for pulse, top, bottom in piece.time_signatures]
    return bar_segments(signatures)


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
    pianoroll.draw(
        path, here, [line * PULSES_PER_TICK for line in lines], title, "attributes of the bars as they are now",
        bars_before(studio.grid, shown) + 1,
        curves=pianoroll.Curves([int(edge) * PULSES_PER_TICK for edge in edges], curves),
    )  # fmt: skip


def bars_before(grid: BeatGrid, line: int) -> int:
    """How many bars of a piece lie before a bar line, the pick-up counted as one."""
    return grid.bar_number(line) - grid.bar_number(0)


class Bars(NamedTuple):
    """Bars first..last of a file, numbered from 1, a pick-up counted as one; `starts` in ticks, the end of the last included.
    A pick-up starts at 0, though its whole bar would have before."""

    first: int
    last: int
    starts: np.ndarray


def bars_of(piece: MidiPiece, asked: str | None, source: Path) -> Bars:
    """The bars asked for ("9-16", "4", None: all). Raises `UserError` where there are none such."""
    grid = BeatGrid(segments_of(piece))
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
    return Bars(first, last, np.array(starts[first - 1 : last + 1]))
