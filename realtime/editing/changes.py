"""The changes that are possible in a cell when notes are edited, each with the decoder's evidence for it.

They are changes that a musician would make:

- A note is left out.
- A note is added. In a line of single notes it takes the end of a longer note, or fills a rest.
- All notes of one pitch class move by one or two semitones, to another degree of the key or as another mode has it (a minor third
  becomes a major one).
- Voices move by octaves: the highest first when they go up, the lowest first when they go down. In repeated chords, one pitch
  may move alone.

Pure numpy; times in ticks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from realtime.music.attributes import FIFTHS
from realtime.music.cells import KEYS, LOWEST, STEP_TICKS, STEPS, Split
from realtime.music.keys import Key
from realtime.music.metre import TICKS

OFFERED = 64
"""How many new notes are considered in a cell: the most probable ones."""
SHORTEST = 3
"""The least length of a new note, in steps."""
NEAR, REPEAT = 5, 2.0
"""Where a new note takes the end of a longer one: how many semitones it may lie from it; log odds against repeating its pitch."""
AROUND = 7
"""How many semitones a new note may lie below the cell's lowest note, or above its highest."""
OUT_OF_REACH = -4.0
"""Log odds of a pitch that a piano does not have."""


class New(NamedTuple):
    """A new note: onset and duration in ticks, MIDI pitch. `like` is the index of the note whose track, channel and velocity it
    gets."""

    onset: int
    duration: int
    pitch: int
    like: int


@dataclass
class Scene:
    """The music to edit.

    notes: (N,) `realtime.music.notes.NOTE`, without drums; voice: (N,) int, a number for each track and channel; chosen: (N,)
    bool, the note is of a part that is edited; free: (N,) bool, the note may be changed; edges: (C + 1,) where cells begin and
    end, in ticks; key: of the whole piece.
    """

    notes: np.ndarray
    voice: np.ndarray
    chosen: np.ndarray
    free: np.ndarray
    edges: np.ndarray
    key: Key


class Scope(NamedTuple):
    """Which kinds of change are allowed. rhythm: add notes and leave notes out; colour: move pitch classes, also out of the
    key; chords: let notes sound together in a line of single notes; octaves: how many octaves voices may move."""

    rhythm: bool
    colour: bool
    chords: bool
    octaves: int


class Evidence(NamedTuple):
    """What the decoder says after the step along the directions, each (C, 48, 88): log odds of onsets, how much the step raised
    them, and probabilities of holds. Pitches are moved by `shift` semitones, so that the tonic is C."""

    odds: np.ndarray
    rise: np.ndarray
    holds: np.ndarray
    shift: int


@dataclass
class Change:
    """One change to a cell. trust: log odds in favour of it; removed: indices of notes; moved: (index, new pitch); kind: equal
    for changes that do the same, such as the same pitch class to the same degree; () where there is no other like it."""

    cell: int
    trust: float
    removed: tuple[int, ...] = ()
    moved: tuple[tuple[int, int], ...] = ()
    added: tuple[New, ...] = ()
    kind: tuple[object, ...] = ()

    @property
    def touched(self) -> list[int]:
        """Indices of the notes that are removed or moved."""
        return [*self.removed, *(note for note, _ in self.moved)]


class Proposals:
    """The changes of one cell."""

    def __init__(self, scene: Scene, rows: Split, evidence: Evidence, cell: int, scope: Scope) -> None:
        self._scene, self._evidence, self._cell, self._scope = scene, evidence, cell, scope
        here = rows.cell == cell
        begins = here & (rows.first >= 0) & scene.free[rows.note]
        self._sounding, self._note, self._first = rows.note[here], rows.note[begins], rows.first[begins]
        self._pitch = scene.notes["pitch"].astype(int)
        self._start = int(scene.edges[cell])
        self._steps = (int(scene.edges[cell + 1]) - self._start) // STEP_TICKS

    def all(self) -> Iterator[Change]:
        """Every change that is allowed."""
        if self._scope.rhythm:
            yield from self._omissions()
            yield from self._additions()
        if self._scope.colour:
            yield from self._alterations()
        if self._scope.octaves:
            yield from self._transpositions()

    def _rise(self, step: int, pitch: int) -> float:
        """How much the step raised the log odds of an onset."""
        key = pitch + self._evidence.shift - LOWEST
        return float(self._evidence.rise[self._cell, step, key]) if 0 <= key < KEYS else OUT_OF_REACH

    def _omissions(self) -> Iterator[Change]:
        """Each note left out."""
        for note, step in zip(self._note.tolist(), self._first.tolist(), strict=True):
            yield Change(self._cell, -self._rise(step, int(self._pitch[note])), removed=(note,))

    def _additions(self) -> Iterator[Change]:
        """The most probable onsets: on sixteenths, or where else in the beat the cell has notes; in the key, unless `colour`."""
        beat = TICKS // STEP_TICKS
        known = {*range(0, beat, beat // 4), *(self._first % beat).tolist()}
        odds = self._evidence.odds[self._cell].copy()
        odds[
            [step not in known or place >= self._steps for place, step in enumerate(np.arange(STEPS) % beat)]
        ] = -np.inf
        keys = self._pitch[self._note] + self._evidence.shift - LOWEST
        odds[:, : max(int(keys.min()) - AROUND, 0)] = -np.inf
        odds[:, max(int(keys.max()) + AROUND + 1, 0) :] = -np.inf
        if not self._scope.colour:
            classes = (np.arange(KEYS) + LOWEST - self._evidence.shift) % 12
            odds[:, ~np.isin(classes, list(self._scene.key.pitch_classes))] = -np.inf
        for place in np.argsort(odds, axis=None)[::-1][:OFFERED].tolist():
            step, key = divmod(place, KEYS)
            if np.isfinite(odds[step, key]):
                trust = min(float(odds[step, key]), float(self._evidence.rise[self._cell, step, key]))
                yield from self._new_note(step, key, trust)

    def _new_note(self, step: int, key: int, trust: float) -> Iterator[Change]:
        """A note at a step. It lasts as long as the decoder holds it; where that is too short, as long as the nearest note."""
        notes, pitch = self._scene.notes, key + LOWEST - self._evidence.shift
        start = self._start + step * STEP_TICKS
        like = int(self._note[np.argmin(np.abs(self._first - step) * 2 + np.abs(self._pitch[self._note] - pitch))])
        silent = np.flatnonzero(self._evidence.holds[self._cell, step : self._steps, key] < 0.5)
        held = int(silent[0]) if len(silent) else self._steps - step
        if held < SHORTEST:
            held = max(int(notes["duration"][like]) // STEP_TICKS, SHORTEST)
        end = min(start + held * STEP_TICKS, self._start + self._steps * STEP_TICKS)
        line = self._line(like)
        if line is None or self._scope.chords:
            yield Change(self._cell, trust, added=(New(start, end - start, pitch, like),))
            return
        onsets, stops = notes["onset"][line], notes["onset"][line] + notes["duration"][line]
        end = min([end, *onsets[onsets > start].tolist()])
        if (onsets == start).any() or end - start < SHORTEST * STEP_TICKS:
            return
        longer = np.flatnonzero((onsets < start) & (stops > start))
        if not len(longer):
            yield Change(self._cell, trust, added=(New(start, end - start, pitch, like),))
            return
        note, begin, stop = int(line[longer[0]]), int(onsets[longer[0]]), int(stops[longer[0]])
        away = abs(pitch - int(self._pitch[note]))
        inside = note in self._note and stop <= self._start + self._steps * STEP_TICKS
        if inside and away <= NEAR and min(start - begin, stop - start) >= SHORTEST * STEP_TICKS:
            halves = (New(begin, start - begin, int(self._pitch[note]), note), New(start, stop - start, pitch, note))
            yield Change(self._cell, trust - REPEAT * (away == 0), removed=(note,), added=halves)

    def _line(self, like: int) -> np.ndarray | None:
        """Indices of this cell's notes in a note's voice, if they follow one another; None if they sound together."""
        notes, voice = self._scene.notes, self._scene.voice
        own = np.unique(self._sounding[voice[self._sounding] == voice[like]])
        own = own[np.argsort(notes["onset"][own], kind="stable")]
        stops = notes["onset"][own] + notes["duration"][own]
        overlap = stops[:-1] - notes["onset"][own][1:]
        return own if (overlap < np.maximum(notes["duration"][own][:-1] // 2, 1)).all() else None

    def _alterations(self) -> Iterator[Change]:
        """Moves of a pitch class; none of a class that a part which is not edited has too, as the two would clash."""
        staying = self._sounding[~self._scene.free[self._sounding]]
        classes = self._pitch[self._note] % 12
        tonic = self._scene.key.tonic
        for of in sorted({*classes.tolist()} - {*(self._pitch[staying] % 12).tolist()}):
            own = classes == of
            for by in (-2, -1, 1, 2):
                fifths = FIFTHS[(of + by - tonic) % 12] - FIFTHS[(of - tonic) % 12]
                if (of + by) % 12 in self._scene.key.pitch_classes or abs(fifths) == 7:
                    yield self._shifted(own, by, ("class", of, by))

    def _transpositions(self) -> Iterator[Change]:
        """Moves of voices by octaves, and of single pitches of chords where they cross no other voice."""
        voices = self._scene.voice[self._note]
        height = {voice: float(self._pitch[self._note[voices == voice]].mean()) for voice in voices.tolist()}
        order = sorted(height, key=lambda voice: height[voice])
        for octaves in range(1, self._scope.octaves + 1):
            for count in range(1, len(order) + 1):
                for by, first in ((12 * octaves, order[-count:]), (-12 * octaves, order[:count])):
                    yield self._shifted(np.isin(voices, first), by, ("octave", *first, by))
            for voice in order:
                own = voices == voice
                if own.sum() == len(np.unique(self._first[own])):
                    continue
                for pitch in np.unique(self._pitch[self._note[own]]).tolist():
                    for by in (12 * octaves, -12 * octaves):
                        crossed = [v for v, h in height.items() if v != voice and (h > pitch) != (h > pitch + by)]
                        if not crossed:
                            yield self._shifted(own & (self._pitch[self._note] == pitch), by, ())

    def _shifted(self, own: np.ndarray, by: int, kind: tuple[object, ...]) -> Change:
        """The change that moves some of the cell's notes (`own`, a mask) by so many semitones."""
        pairs = list(zip(self._note[own].tolist(), self._first[own].tolist(), strict=True))
        pitches = [(step, int(self._pitch[note])) for note, step in pairs]
        trust = float(np.mean([self._rise(step, pitch + by) - self._rise(step, pitch) for step, pitch in pitches]))
        moved = tuple((note, int(self._pitch[note]) + by) for note, _ in pairs)
        return Change(self._cell, trust, moved=moved, kind=kind)
