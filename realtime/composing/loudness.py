"""How loud the player's phrase is, and where its accents are: what an answer takes over. Pure; times in ticks.

Velocities are counted in the model's classes of 4. An accent belongs to a beat of the bar, and to notes on or off the beat.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from realtime.core.dialogue import PlayerNote
from realtime.music.metre import TICKS, Beat, count_ticks
from realtime.music.vocabulary import HEADS, velocity_index

PHRASE_GAP_TICKS = 4 * TICKS
"""A note so long after the one before it begins a new phrase."""
NOTES = 32
"""Of a long phrase so many last notes count."""
ON_BEAT_TICKS = 3
"""How far from a beat a note may lie and still be on it."""
METRE = np.array([[-1.0, 1.0], [-1.0, 0.0]])
"""The accents of a metre as such, in classes: [first beat, other beats][off the beat, on the beat]."""
EVEN = 0.5
"""A phrase whose velocities differ by less, in classes (standard deviation), comes from keys without touch, and has these."""
FEW_NOTES = 1.0
"""An accent is believed by half if it was heard so many times."""
SPREAD = 1.5
"""Classes by which a note may lie from what is looked for before it costs much."""
UNDER = 2.0
"""Classes by which those who play along stay below the player."""
FARTHEST_NATS = -40.0
MOST_KEPT = 64
"""Biases, and what is looked for, that are kept until the next note of the player's."""


class Loudness:
    """The player's phrase; `add` takes every note of the player's."""

    def __init__(self) -> None:
        self._notes: deque[tuple[int, int]] = deque(maxlen=NOTES)  # (tick, velocity class)
        self._made: dict[tuple[Beat, bool, bool], np.ndarray] = {}
        self._looked_for: dict[tuple[Beat, bool], tuple[float, float]] = {}

    def add(self, note: PlayerNote) -> None:
        """A key of the player's went down."""
        self._made.clear()
        self._looked_for.clear()
        if self._notes and not 0 <= note.tick - self._notes[-1][0] < PHRASE_GAP_TICKS:
            self._notes.clear()
        self._notes.append((note.tick, velocity_index(note.velocity)))

    def bias(self, beat: Beat, on_beat: bool, along: bool) -> np.ndarray:
        """(32,) nats for the velocity of a note in `beat`, on it or after it: a bell curve around the phrase's loudness there.
        Who plays `along` stays a little softer. Zeros before the first note. Not to be written to."""
        if not self._notes:
            return np.zeros(HEADS["velocity"], np.float32)
        asked = beat, on_beat, along
        if asked not in self._made:
            if len(self._made) == MOST_KEPT:
                self._made.clear()
            self._made[asked] = self._bias(*asked)
        return self._made[asked]

    def moved(self, velocity: int, beat: Beat, time: int, drawn_on_beat: bool) -> int:
        """A velocity class that was drawn before the place of its note was known, with the accent of that place. time: of the
        note, in ticks from the beat's start; drawn_on_beat: whether the bias was for a note on the beat."""
        on_beat = time <= ON_BEAT_TICKS
        if not self._notes or on_beat == drawn_on_beat:
            return velocity
        apart = self._wanted(beat, on_beat)[0] - self._wanted(beat, drawn_on_beat)[0]
        return min(max(round(velocity + apart), 0), HEADS["velocity"] - 1)

    def _bias(self, beat: Beat, on_beat: bool, along: bool) -> np.ndarray:
        wanted, spread = self._wanted(beat, on_beat)
        apart = (np.arange(HEADS["velocity"]) - (wanted - UNDER * along)) / spread
        bias: np.ndarray = np.maximum(-0.5 * apart**2, FARTHEST_NATS).astype(np.float32)
        return bias

    def _wanted(self, beat: Beat, on_beat: bool) -> tuple[float, float]:
        """The velocity class of a note there, and how far it may be off."""
        asked = beat, on_beat
        if asked not in self._looked_for:
            if len(self._looked_for) == MOST_KEPT:
                self._looked_for.clear()
            self._looked_for[asked] = self._look(beat, on_beat)
        return self._looked_for[asked]

    def _look(self, beat: Beat, on_beat: bool) -> tuple[float, float]:
        ticks, loud = np.array(self._notes).T
        from_bar = (ticks - beat.start + beat.in_bar * TICKS + ON_BEAT_TICKS) % beat.bar_ticks
        count = count_ticks(beat.compound)
        place = beat.in_bar * TICKS + (0 if on_beat else TICKS // 2)
        counted = place % count == 0  # 6/8 has its second beat in the middle of the second quarter
        on = from_bar % count <= 2 * ON_BEAT_TICKS
        same = on == counted
        here = same & (from_bar // TICKS == beat.in_bar)
        mean = float(loud.mean())
        if loud.std() < EVEN:
            accent = float(METRE[int(place >= count), int(counted)])
        else:
            kind = float((loud[same] - mean).sum()) / (same.sum() + FEW_NOTES)
            accent = float((loud[here] - mean).sum() + FEW_NOTES * kind) / (here.sum() + FEW_NOTES)
        spread = max(float(loud[here].std()) if here.any() else 0.0, SPREAD)
        return mean + accent, spread
