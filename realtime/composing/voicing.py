"""How a given chord is played: the biases that hold Antiphon's notes to it, and let none pass by. Pure; times in ticks.

    strict    a note is of the chord's scale; an accompaniment, or a bass, strikes each chord where it begins, its bass note first
              and lowest
    bias      the same as preferences, of a few nats, which the model may overrule

The player's own notes are never judged: an anticipation or a suspension of the tune changes nothing here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realtime.composing.constraints import Constraints
from realtime.composing.contract import MASKED
from realtime.composing.overuse import Overuse
from realtime.core.dialogue import Turn
from realtime.music.given import Chord, Given
from realtime.music.metre import TICKS, Beat
from realtime.music.vocabulary import ACCOMPANIMENT, ALONG, BASS, BEAT, DRUMS, Role

LEANING_NATS = -4.0
"""With `bias`, for what `strict` forbids."""
PASSING_NATS = {True: -4.0, False: -1.5}
"""For a note of the scale that is not of the chord, in what goes along with the player, and in a tune."""
MISSING_NATS = 1.5
"""For a tone of the chord that does not sound yet, in an accompaniment."""
BASS_TOP, BASS_ROOM = 57, 12
"""The highest bass note (A3), where the range has at least so many semitones below it."""

_CLASSES = np.arange(128) % 12


class Now(NamedTuple):
    """Of a step: its tick and beat, the tick from which on onsets are allowed, and Antiphon's pitches that sound at the tick."""

    tick: int
    beat: Beat
    sounding: np.ndarray


class Voicing:
    """The biases of a step where chords are given."""

    def __init__(self, constraints: Constraints, given: Given, overuse: Overuse) -> None:
        self._given, self._overuse = given, overuse
        self._nats = MASKED if constraints.chords_strict else LEANING_NATS
        self._parts = constraints.parts
        self._top = BASS_TOP if constraints.lowest + BASS_ROOM <= BASS_TOP else 127

    def at(self, tick: int) -> Chord | None:
        """The chord that is given."""
        return self._given.at(tick)

    def add(self, time: np.ndarray, pitch: np.ndarray, role: Role, turn: Turn, now: Now) -> None:
        """Add the biases to those of the times (25,) and of the pitches (128,)."""
        chord = self._given.at(now.tick)
        if chord is None or set(self._parts) == {DRUMS}:
            return
        along = role in ALONG
        carries = role == Role.ACCOMPANY and (not self._parts or not {ACCOMPANIMENT, BASS}.isdisjoint(self._parts))
        if not chord.symbol.tones:  # N.C.
            if carries:
                time[:BEAT] += self._nats
            return
        pitch[~self._allowed(chord, now)] += self._nats
        inside = np.isin(_CLASSES, list(chord.symbol.tones))
        pitch[~inside] += PASSING_NATS[along]
        if not carries:
            return
        begin = max(self._given.held_from(chord), turn.start)
        struck = self._overuse.between(begin, now.tick + 1)
        bass = self._bass(chord, struck, now.sounding)
        if bass is None:
            self._strike(pitch, chord, now)
            self._come_in(time, chord, now)
        else:
            pitch[:bass] += self._nats
            heard = {each % 12 for each in (*struck, *now.sounding.tolist())}
            pitch[np.isin(_CLASSES, list(chord.symbol.tones - heard))] += MISSING_NATS

    def _allowed(self, chord: Chord, now: Now) -> np.ndarray:
        """(128,) bool: of the scale; where another chord begins within the beat, of that one's too."""
        scale = chord.scale
        if chord.end < now.beat.start + now.beat.length and (after := self._given.at(chord.end)) is not None:
            scale = (scale & after.scale) or scale
        return np.isin(_CLASSES, list(scale))

    def _bass(self, chord: Chord, struck: list[int], sounding: np.ndarray) -> int | None:
        """The lowest note of this chord so far, if it is the chord's bass; else None."""
        pitches = [*struck, *sounding.tolist()]
        return min(pitches) if pitches and min(pitches) % 12 == chord.symbol.bass else None

    def _strike(self, pitch: np.ndarray, chord: Chord, now: Now) -> None:
        """The next note is the bass, under all that sounds."""
        top = min(self._top, int(now.sounding.min()) - 1) if len(now.sounding) else self._top
        bass = np.isin(_CLASSES, list(chord.symbol.tones & {chord.symbol.bass}))
        bass[top + 1 :] = False
        if (pitch[bass] > MASKED / 2).any():
            pitch[~bass] += self._nats

    def _come_in(self, time: np.ndarray, chord: Chord, now: Now) -> None:
        """It comes where the chord begins, or else within this beat."""
        at = chord.start - now.beat.start
        here = time[:BEAT] > MASKED / 2
        if 0 <= at < TICKS and here[at]:
            time[np.arange(BEAT + 1) != at] += self._nats
        elif here.any() and chord.start <= now.beat.start:
            time[BEAT] += self._nats
