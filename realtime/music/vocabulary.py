"""Music <-> model input: the compound event, its fields and its features.

One model step per event. An event is a note, a BEAT (the step from one beat to the next) or a CHORD (the chord of the beat,
after the player's notes on the beat and before Antiphon's). It carries ten integer fields, in the order of `FIELDS`:

    time      0..23: tick within the beat of a note's onset (24 ticks a quarter); 24: BEAT; 25: CHORD
    part      0..4: the player's melody, accompaniment, bass, drums, other; 5..9: the model's; 10: none (BEAT)
    pitch     0..127; 128: none
    duration  0..31: an index into `DURATION_TICKS`; 32: OPEN (still held; every player's note); 33: none
    velocity  0..31: MIDI velocity // 4; 32: none
    beat      0..15: which beat of the bar this is
    metre     0..31: the bar's length in eighth notes, and 16 more for a compound metre, such as 6/8 (clipped)
    tempo     0..15: `tempo_bin`
    role      0..7: `Role`, what the model is asked to do
    chord     0..109: the chord of the beat, a class of `realtime.music.chords`; UNKNOWN before its CHORD, and where none is given

The first five are what the model predicts (its heads), and before a CHORD the last; the others are known beforehand. Beside
the fields each
event has the held-now vector: 2 x 128 flags (player, model), what sounds at the event, the event's own note included.

A feature is given only when it is known live. The player's notes are OPEN, and only the held-now vector shows when they end. The
model's notes have their duration from the start, so that none can hang.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from realtime.music.chords import CHORD_INPUTS, UNKNOWN
from realtime.music.metre import Beat, metre_index

VERSION = 2

BEAT, CHORD = 24, 25
OPEN = 32
SOURCES = 2
PART_NAMES = ("melody", "accompaniment", "bass", "drums", "other")
MELODY, ACCOMPANIMENT, BASS, DRUMS, OTHER = range(len(PART_NAMES))
MODEL_PART = len(PART_NAMES)
"""The model's parts start here: part + MODEL_PART."""

# Log-spaced from one tick to four 4/4 bars, moved to the values notation uses.
# fmt: off
DURATION_TICKS = np.array([
    1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28,
    32, 36, 42, 48, 60, 72, 84, 96, 120, 144, 168, 192, 240, 288, 336, 384,
], dtype=np.int64)
# fmt: on

HEADS = {"time": 25, "part": 10, "pitch": 128, "duration": 33, "velocity": 32}
"""What is predicted, in the order it is drawn, with the number of choices."""
FIELDS = {"time": 26, "part": 11, "pitch": 129, "duration": 34, "velocity": 33, "beat": 16, "metre": 32, "tempo": 16,
          "role": 8, "chord": CHORD_INPUTS}  # fmt: skip
"""What is fed, with the size of each embedding: the heads' choices, `none` where an event may lack the field."""
HELD = SOURCES * 128
NONE_PART, NONE_PITCH, NONE_DURATION, NONE_VELOCITY = 10, 128, 33, 32

_DURATION_EDGES = (DURATION_TICKS[1:] + DURATION_TICKS[:-1]) / 2


class Role(IntEnum):
    """What the model is asked to do in this stretch of music."""

    COMPOSE = 0
    CONTINUE = 1
    TRADE = 2
    ACCOMPANY = 3
    HARMONISE = 4
    INFILL = 5


ALONG = (Role.ACCOMPANY, Role.HARMONISE)
"""The roles in which Antiphon plays while the player does."""


class Event(NamedTuple):
    """The five predicted fields of one event; see the module's docstring for the codes."""

    time: int
    part: int
    pitch: int
    duration: int
    velocity: int


BEAT_EVENT = Event(BEAT, NONE_PART, NONE_PITCH, NONE_DURATION, NONE_VELOCITY)
CHORD_EVENT = BEAT_EVENT._replace(time=CHORD)


def pitched_first(parts: Iterable[int]) -> tuple[int, ...]:
    """The parts in order, drums last: the first of them answers where only one can."""
    return tuple(sorted(parts, key=lambda part: (part == DRUMS, part)))


def duration_index(ticks: int) -> int:
    """The nearest duration class, 0..31, for a length in ticks."""
    return int(np.searchsorted(_DURATION_EDGES, ticks, side="left"))


def duration_indices(ticks: np.ndarray) -> np.ndarray:
    """`duration_index` for an array of lengths in ticks."""
    return np.searchsorted(_DURATION_EDGES, ticks, side="left")


def velocity_index(velocity: int) -> int:
    """MIDI velocity 1..127 -> class 0..31."""
    return velocity >> 2


def velocity_of(index: int) -> int:
    """Class 0..31 -> the middle of its MIDI velocities, never 0 (which would be a note-off)."""
    return min(index * 4 + 2, 127)


def tempo_bin(bpm: float) -> int:
    """Tempo class 0..15: quarter-octave steps of beats per minute, 30 BPM and less being 0."""
    return min(max(int(4 * math.log2(max(bpm, 1.0) / 30.0)), 0), 15)


def fields(event: Event, beat: Beat, tempo: int, role: int, chord: int = UNKNOWN) -> tuple[int, ...]:
    """The ten model inputs of an event within a beat (see `FIELDS`)."""
    return (*event, min(beat.in_bar, 15), metre_index(beat.bar_ticks, beat.compound), tempo, role, chord)
