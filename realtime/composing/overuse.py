"""Overused patterns: a pitch that came in the same beat of most of the last bars gets a negative bias there. Pure; times in
ticks.

A model reads the notes that it has played. Each repetition makes the next one likelier, and it may end up repeating two notes
for ever. The bias breaks such loops. The pitches of an answer that the player took back have a
negative bias in their beats, too.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from realtime.core.dialogue import ModelNote
from realtime.music.metre import Beat
from realtime.music.vocabulary import ALONG, Role

BARS = 8
"""How many of the last bars count."""
FREE_BARS, FREE_BARS_ALONG = 2, 5
"""In this many of them a pitch may come in the same beat without a bias, in a tune and in what goes along with the player: an
accompaniment may repeat its pattern longer."""
OVERUSE_NATS = -0.6
"""The bias of that pitch in that beat, for each bar beyond these."""
AVOIDED_NATS = -3.0
"""The bias of a pitch in a beat, for each answer that had it there and was taken back."""
KEPT = 2048
"""Onsets kept at most."""


class Overuse:
    """Keeps the pitches and onsets of Antiphon's notes, and makes a bias of them at each step."""

    def __init__(self) -> None:
        self._pitches: defaultdict[int, frozenset[int]] = defaultdict(frozenset)
        self._counted: tuple[Beat, np.ndarray] | None = None
        """The last beat that was asked for, and how many times each pitch came in it in the bars before."""
        self._parts: dict[int, Overuse] = {}
        self._avoided: tuple[tuple[int, int], ...] = ()

    def of(self, part: int) -> Overuse:
        """The same of the notes of one part, from the first time on that it is asked for."""
        return self._parts.setdefault(part, Overuse())

    def proposed(self, note: ModelNote) -> None:
        """A note was made."""
        if note.part in self._parts:
            self._parts[note.part].proposed(note)
        self._changed(note.tick)
        self._pitches[note.tick] |= {note.pitch}
        if len(self._pitches) > KEPT:
            self.forget(sorted(self._pitches)[KEPT // 2])

    def forget(self, tick: int) -> None:
        """Drop the notes before a tick."""
        self._counted = None
        for old in [each for each in self._pitches if each < tick]:
            del self._pitches[old]

    def take_back(self, boundary: int) -> None:
        """Drop the notes from `boundary` on: a new plan replaces them."""
        for part in self._parts.values():
            part.take_back(boundary)
        self._changed(boundary)
        while self._pitches and next(reversed(self._pitches)) >= boundary:  # they are in order
            self._pitches.popitem()

    def clear(self) -> None:
        """Drop all notes: time goes on elsewhere."""
        for part in self._parts.values():
            part.clear()
        self._counted, self._avoided = None, ()
        self._pitches.clear()

    def avoid(self, notes: tuple[tuple[int, int], ...]) -> None:
        """These notes, (tick, pitch), are not wanted."""
        for part in self._parts.values():
            part.avoid(notes)
        self._counted, self._avoided = None, notes

    def pitches_since(self, tick: int) -> list[int]:
        """The pitches of Antiphon's notes from `tick` on."""
        return [pitch for onset, pitches in self._pitches.items() if onset >= tick for pitch in pitches]

    def first_since(self, tick: int) -> int | None:
        """The first onset of Antiphon's from `tick` on."""
        first = None
        for onset in reversed(self._pitches):  # they are in order, and only the last turn's matter
            if onset < tick:
                break
            first = onset
        return first

    def between(self, start: int, end: int) -> list[int]:
        """The pitches of Antiphon's notes with onsets in [start, end)."""
        return [pitch for tick in range(start, end) if tick in self._pitches for pitch in self._pitches[tick]]

    def latest(self, before: int) -> list[int]:
        """The pitches of the last onset before a tick; none where there is none."""
        tick = next((onset for onset in reversed(self._pitches) if onset < before), None)
        return [] if tick is None else sorted(self._pitches[tick])

    def notes_at(self, tick: int) -> int:
        """How many notes Antiphon plays at `tick`."""
        return len(self._pitches.get(tick, ()))

    def bias(self, beat: Beat, role: Role) -> np.ndarray:
        """(128,) nats for the pitches in this beat: negative for those that came in the same beat of most of the last bars, or
        are to be avoided there, else 0."""
        if self._counted is None or self._counted[0] != beat:
            self._counted = beat, self._count(beat)
        times = self._counted[1]
        patience = FREE_BARS_ALONG if role in ALONG else FREE_BARS
        bias: np.ndarray = np.maximum(times - patience, 0) * np.float32(OVERUSE_NATS)
        for tick, pitch in self._avoided:
            if beat.start <= tick < beat.start + beat.length:
                bias[pitch] += AVOIDED_NATS
        return bias

    def _count(self, beat: Beat) -> np.ndarray:
        """(128,) in how many of the last bars each pitch came in this beat."""
        times = np.zeros(128, np.float32)
        for start in range(beat.start - BARS * beat.bar_ticks, beat.start, beat.bar_ticks):
            came = [self._pitches[tick] for tick in range(start, start + beat.length) if tick in self._pitches]
            times[list(frozenset[int]().union(*came))] += 1
        return times

    def _changed(self, tick: int) -> None:
        """What comes from `tick` on is about to change."""
        if self._counted is not None and tick < self._counted[0].start:
            self._counted = None
