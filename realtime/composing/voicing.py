"""How a given chord is played: the biases that hold Antiphon's notes to it, and let none pass by. Pure; times in ticks.

    strict    a note is of the chord's scale; an accompaniment, or a bass, strikes each chord where it begins, its bass note first
              and lowest
    bias      the same as preferences, of a few nats, which the model may overrule

A chord that the model has drawn for itself, in an accompaniment, counts as one that is given with `bias`: the notes follow from
the chord, as they would if somebody had named it.

The player's own notes are never judged: an anticipation or a suspension of the tune changes nothing here.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from realtime.composing.constraints import Constraints
from realtime.composing.contract import MASKED
from realtime.composing.overuse import Overuse
from realtime.core.dialogue import Turn
from realtime.music.chords import NO_CHORD, UNKNOWN, root_of
from realtime.music.chords import chord as chord_of
from realtime.music.chords import symbol as symbol_name
from realtime.music.given import Chord, Given
from realtime.music.keys import Key
from realtime.music.metre import TICKS, Beat
from realtime.music.scales import pitches_of, scale_of
from realtime.music.symbols import Symbol, read
from realtime.music.vocabulary import ACCOMPANIMENT, ALONG, BASS, BEAT, DRUMS, Role

LEANING_NATS = -4.0
"""With `bias`, for what `strict` forbids."""
PASSING_NATS = {True: -4.0, False: -1.5}
"""For a note of the scale that is not of the chord, in what goes along with the player, and in a tune."""
MISSING_NATS = 1.5
"""For a tone of the chord that does not sound yet, in an accompaniment."""
BASS_TOP, BASS_ROOM = 57, 12
"""The highest bass note (A3), where the range has at least so many semitones below it."""
FULL = 3
"""Notes of a chord that is shorter than a beat, before the next one comes."""
FEWEST = 2
"""Tones of a chord that have to be struck before a beat may pass: a bass alone is none."""
LAST = 4
"""Ticks before another chord in which no note begins."""
GRID = 6
"""Ticks: where a chord is struck that could not be where it begins."""


class Now(NamedTuple):
    """Of a step: its tick and beat, the tick from which on onsets are allowed, Antiphon's pitches that sound at the tick, the
    chord that was drawn for the beat, if any, and the bias of what is not to be."""

    tick: int
    beat: Beat
    floor: int
    sounding: np.ndarray
    drawn: Chord | None = None
    nats: float = MASKED


@cache
def _symbol(chord: int) -> Symbol:
    """The symbol of a chord class, its root the bass."""
    return read(symbol_name(chord))


class Voicing:
    """The biases of a step where there is a chord."""

    def __init__(self, constraints: Constraints, given: Given, overuse: Overuse) -> None:
        self._given, self._overuse = given, overuse
        self._nats = MASKED if constraints.chords_strict else LEANING_NATS
        self._parts = constraints.parts
        self._fewest = 1 if set(constraints.parts) == {BASS} else FEWEST
        self._full = 1 if set(constraints.parts) == {BASS} else FULL
        self._top = BASS_TOP if constraints.lowest + BASS_ROOM <= BASS_TOP else 127

    def drawn(self, harmony: tuple[int, int], beat: Beat, key: Key | None) -> Chord | None:
        """The chord that was drawn for this beat, as one that is given."""
        chord, since = harmony
        if chord in (UNKNOWN, NO_CHORD):
            return None
        symbol, key = _symbol(chord), key or Key(root_of(chord) or 0, "major")
        start = max(since, beat.start - TICKS * beat.in_bar)  # it is struck anew in each bar
        return Chord(symbol, scale_of(symbol.tones, root_of(chord) or 0, key), key, start, beat.start + beat.length)

    def tonic(self, beat: Beat, key: Key | None) -> Chord | None:
        """The chord of this beat with which music in `key` ends."""
        if key is None:
            return None
        quality = "maj" if (key.tonic + 4) % 12 in key.triad else "min"
        return self.drawn((chord_of(key.tonic, quality), beat.start), beat, key)

    def at(self, tick: int) -> Chord | None:
        """The chord that is given."""
        return self._given.at(tick)

    def ends(self, onset: int, pitch: int, latest: int, role: Role, turn: Turn) -> int:
        """Until when a note may sound, at most `latest`: an accompaniment ends with its chord, a note of a tune where it would
        not be in the scale."""
        if turn.voices:
            return latest
        return self._given.ends(onset, latest, None if self._carries(role, turn) else pitch)

    def _carries(self, role: Role, turn: Turn) -> bool:
        """Whether Antiphon's part is one that plays the chords."""
        if turn.voices or role == Role.HARMONISE:
            return False
        return role == Role.ACCOMPANY if not self._parts else not {ACCOMPANIMENT, BASS}.isdisjoint(self._parts)

    def add(self, time: np.ndarray, pitch: np.ndarray, role: Role, turn: Turn, now: Now) -> None:
        """Add the biases to those of the times (25,) and of the pitches (128,)."""
        chord = self._given.at(max(now.tick, min(now.floor, now.beat.start + now.beat.length - 1)))
        now = now._replace(nats=self._nats)
        if chord is None:
            chord, now = now.drawn, now._replace(nats=LEANING_NATS)
        if chord is None or set(self._parts) == {DRUMS}:
            return
        carries = self._carries(role, turn)
        if carries:
            chord = self._due(time, chord, turn, now)
        if not chord.symbol.tones:  # N.C.
            if carries:
                time[:BEAT] += now.nats
            return
        pitch[~self._allowed(chord, now)] += now.nats
        inside = pitches_of(chord.symbol.tones)
        pitch[~inside] += PASSING_NATS[carries or role in ALONG]
        if not carries:
            return
        begin = max(self._given.held_from(chord), turn.start)
        self._leave_out(time, chord, now)
        struck = self._overuse.between(begin, now.tick + 1)
        sounding = now.sounding.tolist() if chord.start <= now.tick else []
        lowest = min([*struck, *sounding], default=None)
        if lowest is None or lowest % 12 != chord.symbol.bass:
            self._strike(pitch, chord, min(sounding, default=128), now)
            self._come_in(time, chord, now)
        else:
            pitch[:lowest] += now.nats
            heard = {each % 12 for each in (*struck, *sounding)}
            missing = pitches_of(chord.symbol.tones - heard)
            if len(chord.symbol.tones & heard) < self._fewest and (time[:BEAT] > MASKED / 2).any():
                time[BEAT] += now.nats
                pitch[~missing] += now.nats
            pitch[missing] += MISSING_NATS

    def _allowed(self, chord: Chord, now: Now) -> np.ndarray:
        """(128,) bool: of the scale; where another chord begins within the beat, of that one's too."""
        scale = chord.scale
        if chord.end < now.beat.start + now.beat.length and (after := self._given.at(chord.end)) is not None:
            scale = (scale & after.scale) or scale
        return pitches_of(scale)

    def _due(self, time: np.ndarray, chord: Chord, turn: Turn, now: Now) -> Chord:
        """The chord of the next note: this one, or, once this one is full, the one that begins within the beat."""
        after, end = self._given.at(chord.end), chord.end - now.beat.start
        if end >= now.beat.length or after is None or after.symbol == chord.symbol:
            return chord
        struck = self._overuse.between(max(chord.start, turn.start), now.tick + 1)
        if len(struck) < self._full and (time[: max(end - LAST, 0)] > MASKED / 2).any():
            time[end:] += now.nats
            return chord
        time[:end] += now.nats
        return after

    def _strike(self, pitch: np.ndarray, chord: Chord, under: int, now: Now) -> None:
        """The next note is the bass, under all that sounds."""
        bass = pitches_of(chord.symbol.tones & {chord.symbol.bass}).copy()
        bass[min(self._top + 1, under) :] = False
        if (pitch[bass] > MASKED / 2).any():
            pitch[~bass] += now.nats

    def _come_in(self, time: np.ndarray, chord: Chord, now: Now) -> None:
        """It comes where the chord begins, or else as soon as it can."""
        at = chord.start - now.beat.start
        here = np.flatnonzero(time[:BEAT] > MASKED / 2)
        if not len(here) or at > int(here[-1]):
            return
        if at not in here:  # the chord has begun before this turn, or is final there
            at = next((tick for tick in here.tolist() if tick % GRID == 0), int(here[0]))
        time[np.arange(BEAT + 1) != at] += now.nats

    def _leave_out(self, time: np.ndarray, chord: Chord, now: Now) -> None:
        """No note begins just before another chord: it would sound in that one, or be a click."""
        first = max(chord.end - LAST - now.beat.start, 0)
        after = self._given.at(chord.end)
        if first < TICKS and after is not None and after.symbol != chord.symbol:
            time[first : min(chord.end - now.beat.start, BEAT)] += now.nats
