"""What Antiphon has played of late, beat by beat: a figure that has been played often enough is worn. Pure; times in ticks.

A model that reads its own notes finds the same again ever likelier, and may end in two notes for good. A musician tires of a
figure sooner than a model does.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from realtime.core.dialogue import ModelNote
from realtime.music.metre import Beat
from realtime.music.vocabulary import ALONG, Role

BARS = 8
"""Bars that are looked back on."""
FREE_BARS, FREE_BARS_ALONG = 2, 5
"""In so many of them may a pitch come in the same beat at no cost: an accompaniment's pattern may stay longer than a tune's."""
OVERUSE_NATS = -0.6
"""For that pitch in that beat, by each bar beyond."""
KEPT = 2048
"""Onsets kept at most."""


class Overuse:
    """Told of Antiphon's notes and what is taken back of them; asked at each step what is worn."""

    def __init__(self) -> None:
        self._pitches: defaultdict[int, frozenset[int]] = defaultdict(frozenset)

    def proposed(self, note: ModelNote) -> None:
        """A note was made."""
        self._pitches[note.tick] |= {note.pitch}
        if len(self._pitches) > KEPT:
            self.forget(sorted(self._pitches)[KEPT // 2])

    def forget(self, tick: int) -> None:
        """What came before a tick is long ago."""
        for old in [each for each in self._pitches if each < tick]:
            del self._pitches[old]

    def take_back(self, boundary: int) -> None:
        """The notes from `boundary` on are no more."""
        for tick in [tick for tick in self._pitches if tick >= boundary]:
            del self._pitches[tick]

    def clear(self) -> None:
        """Time goes on elsewhere."""
        self._pitches.clear()

    def bias(self, beat: Beat, role: Role) -> np.ndarray:
        """(128,) nats for the pitches of this beat: 0, and less for what came in this beat of most bars of late."""
        times = np.zeros(128, np.float32)
        for start in range(beat.start - BARS * beat.bar_ticks, beat.start, beat.bar_ticks):
            came = [self._pitches[tick] for tick in range(start, start + beat.length) if tick in self._pitches]
            times[list(frozenset[int]().union(*came))] += 1
        patience = FREE_BARS_ALONG if role in ALONG else FREE_BARS
        bias: np.ndarray = np.maximum(times - patience, 0) * np.float32(OVERUSE_NATS)
        return bias
