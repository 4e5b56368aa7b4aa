"""The chords of a session, for its report and above its piano roll: those that were given, planned, and are heard in it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from realtime.core.engine import Engine
from realtime.core.planned_chords import PlannedChords
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.files.harmony import load_harmony
from realtime.io.live.take import Take
from realtime.midi import DRUM_CHANNEL
from realtime.music.chord_features import beats_of
from realtime.music.chords import NO_CHORD, UNKNOWN, symbol
from realtime.music.harmony import chord_spans
from realtime.music.keys import key_of
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import note_array
from realtime.music.vocabulary import ACCOMPANIMENT, DRUMS


class Chords(NamedTuple):
    """Spans in order, {start, end (quarters), symbol, ...}: `given` by a chart or by hand; `planned`, the chord of each beat in
    Antiphon's stream of events; `heard`, estimated from what both played, as `harmony.chord_spans` has them."""

    given: list[dict[str, Any]]
    planned: list[dict[str, Any]]
    heard: list[dict[str, Any]]

    @property
    def labels(self) -> list[tuple[int, str]]:
        """(pulse, symbol) to stand above a piano roll: what was given, or else what is heard."""
        pulses = TICKS * PULSES_PER_TICK
        return [(round(span["start"] * pulses), span["symbol"]) for span in self.given or self.heard]


def chords_of(engine: Engine, take: Take, grid: BeatGrid) -> Chords:
    """The chords of a session that is over."""
    end = -(-take.end_pulse // PULSES_PER_TICK)
    return Chords(_given(engine.leading.passed, end), _planned(engine.chords, grid, end), _heard(take, grid, end))


def _planned(chords: PlannedChords, grid: BeatGrid, end: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for tick, chord in chords:
        if tick >= end:
            break
        beat = grid.beat_at(tick)
        start, stop, name = tick / TICKS, (beat.start + beat.length) / TICKS, symbol(chord)
        if rows and rows[-1]["symbol"] == name and rows[-1]["end"] == start:
            rows[-1]["end"] = stop
        elif chord not in (NO_CHORD, UNKNOWN):
            rows.append({"start": start, "end": stop, "symbol": name})
    return rows


def _given(passed: list[tuple[int, str]], end: int) -> list[dict[str, Any]]:
    edges = [*passed, (end, "")]
    return [
        {"start": tick / TICKS, "end": min(after, end) / TICKS, "symbol": name}
        for (tick, name), (after, _) in pairwise(edges)
        if name and tick < min(after, end)
    ]


def _heard(take: Take, grid: BeatGrid, end: int) -> list[dict[str, Any]]:
    notes = note_array(
        (
            round(note.onset_pulse / PULSES_PER_TICK),
            max(round(note.duration_pulse / PULSES_PER_TICK), 1),
            note.pitch,
            note.velocity,
            DRUMS if note.channel == DRUM_CHANNEL else ACCOMPANIMENT,
        )
        for name in ("player", "antiphon")
        for note in take.notes(name)
    )
    notes = np.sort(notes[notes["part"] != DRUMS], order="onset")
    if not len(notes) or end <= 0:
        return []
    beats = beats_of(grid, 0, end)
    return chord_spans(load_harmony().estimate(notes, beats), beats, key_of(notes))
