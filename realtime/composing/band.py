"""Several parts from the one stream of events: what may come next, for each part by its own rules. Pure; times in ticks.

A step of the model draws time, part, pitch, duration and velocity at once, and one bias holds for all parts. So with several
parts a step is taken in turns (`sampler`): a first one in which only the time and the part count, under what any part may do
(`Choices.first`), and a last one in which both are fixed and the rules of that part alone count (`Choices.last`).

Bass, chords and drums follow an arrangement (`arrangement`): a hit of it that has not come yet is very likely, and nothing comes
after it before it has. Other parts play as they would alone (`masks.Masks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from realtime.composing import band_pitches
from realtime.composing.arrangement import ARRANGED, CHORD, KICK, LAST_SOUNDS, SNARE, Arrangement, Hit
from realtime.composing.band_pitches import NOT_NATS, Stroke
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import LOGITS, MASKED
from realtime.core.dialogue import Turn
from realtime.music.given import Chord, Given
from realtime.music.metre import TICKS
from realtime.music.scales import pitches_of
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, BEAT, DRUMS, DURATION_TICKS, MODEL_PART, OPEN, Role

if TYPE_CHECKING:
    from realtime.composing.masks import Masks, Moment

OFF_GRID_NATS = -12.0
"""For an onset between the cells of the feel."""
NEW_FEEL_NATS = -6.0
"""For a note between the hits, in the first bars of another feel."""
DENSITY_NATS = 3.0
"""For a note between the hits, with the knob for density at its end."""
SHORT_NATS = -3.0
"""For a note that ends long before the part's next hit, where notes are held."""
FILLED = 0.6
"""A held note fills at least this share of the way to the next hit."""
CHORD_NOTES = 3
RANGES = {ACCOMPANIMENT: (48, 79), BASS: (28, 52)}
"""Of a part in a band, where the range that is set leaves an octave of it."""
STROKE_TICKS = 6
"""How long a drum sounds at most: it may be struck again in the next cell."""
STROKES = 6
"""Drums at once."""
BASS_NOTES = 2
"""Bass notes at once: the next root may come while the one before still sounds, where the change was not known before."""
AHEAD_BEATS, UNKNOWN_BEATS = 4, 2
"""A note ends at most so many beats later; where no chords are given, after the second number: the chord may change."""
TUNE_NOTES = 4
"""So many of the player's last notes say how low the tune lies."""


def of_part(constraints: Constraints, part: int) -> Constraints:
    """What a part of a band may play, of what the user allows."""
    own = replace(constraints, parts=(part,), band=False)
    if part == DRUMS:
        return replace(own, max_notes=STROKES, max_duration=max(STROKE_TICKS, constraints.min_duration))
    if part in RANGES:
        low, high = max(RANGES[part][0], constraints.lowest), min(RANGES[part][1], constraints.highest)
        if high - low >= 12:
            own = replace(own, lowest=low, highest=high)
    return replace(own, max_notes=BASS_NOTES) if part == BASS else own


class Band:
    """The parts that play, each with its own masks, and what they are to strike."""

    def __init__(self, members: Mapping[int, Masks], constraints: Constraints, arrangement: Arrangement, given: Given):
        self.members = members
        self.arrangement = arrangement
        self.given = given
        self.strict, self.most = constraints.chords_strict, constraints.max_notes


class Choices:
    """What may come next, in one step."""

    def __init__(
        self,
        band: Band,
        role: Role,
        turn: Turn,
        now: Moment,
        releases: np.ndarray,
        chord: Chord | None,
        tonic: Chord | None,
        tune: list[int],
    ) -> None:
        """releases: (5, 128), when each pitch of each part is free; chord: the one of the beat where none is given; tonic: the
        one that ends what has no chart; tune: the player's last pitches."""
        self._band, self._turn, self._now, self._chord, self._tonic = band, turn, now, chord, tonic
        self._tune = min(tune[-TUNE_NOTES:], default=72)
        self._last = band.arrangement.last_tick(role, turn)
        self._free = releases
        self._rows: dict[int, np.ndarray] = {}
        self._due: dict[int, list[Hit]] = {}
        for part, member in band.members.items():
            made = len(member.overuse.pitches_since(turn.start))
            moment = now._replace(release=releases[part], made=made, line=(-1, 0))
            row = self._rows[part] = member.bias(role, turn, moment)
            self._due[part] = self._arrange(part, row[SLICES["time"]]) if part in ARRANGED else []
        dues = [hit.tick for hits in self._due.values() for hit in hits[:1]]
        self._until = min(dues) - now.beat.start if dues else None
        self.first = self._first()

    def parts_at(self, time: int) -> np.ndarray:
        """(10,) nats for the part of a note at a time within the beat. Where hits are due, the first of their parts comes."""
        bias = np.full(10, MASKED, np.float32)
        for part, row in self._rows.items():
            bias[MODEL_PART + part] = row[SLICES["time"]][time]
        due = [part for part, hits in self._due.items() if any(hit.tick == self._now.beat.start + time for hit in hits)]
        if due:
            bias[[MODEL_PART + part for part in self._rows if part != min(due)]] += NOT_NATS
        relative: np.ndarray = np.maximum(bias - bias.max(), MASKED)
        return relative

    def recall(self, bias: np.ndarray) -> None:
        """Add to the first bias, in place, what the memory gives to a time and a part (337,): no hit that is due is passed by,
        and only a part without an arrangement takes up what was played."""
        times, parts = bias[SLICES["time"]].copy(), bias[SLICES["part"]]
        if self._until is not None:
            times[self._until + 1 :] = 0.0
        if self.takes_up and times.any():
            self.first[SLICES["time"]] += times
            self.first[SLICES["part"]] += parts

    @property
    def takes_up(self) -> list[int]:
        """The parts that may take up what was played."""
        return [part for part in self._rows if part not in ARRANGED]

    def fixed(self, time: int, parts: np.ndarray) -> np.ndarray:
        """(337,) nats where the time is drawn, and these are the nats of the parts, (10,)."""
        bias = np.zeros(LOGITS, np.float32)
        bias[SLICES["time"]] = MASKED
        bias[SLICES["time"]][time] = 0.0
        bias[SLICES["part"]] = parts
        return bias

    def last(self, time: int, part: int) -> np.ndarray:
        """(337,) nats where the time and the part are drawn: the rules of that part alone."""
        only = np.full(10, MASKED, np.float32)
        only[MODEL_PART + part] = 0.0
        bias = self._rows[part].copy()
        bias[: SLICES["part"].stop] = self.fixed(time, only)[: SLICES["part"].stop]
        if part in ARRANGED:
            tick = self._now.beat.start + time
            bias[SLICES["pitch"]] += self._pitches(part, tick)
            self._weigh_durations(part, tick, bias[SLICES["duration"]][:OPEN])
        return bias

    # --- when, and which part ---

    def _first(self) -> np.ndarray:
        bias = np.zeros(LOGITS, np.float32)
        time, part = bias[SLICES["time"]], bias[SLICES["part"]]
        times = [row[SLICES["time"]] for row in self._rows.values()]
        time[:BEAT] = np.max([each[:BEAT] for each in times], 0) if times else MASKED
        time[BEAT] = max(sum(float(each[BEAT]) for each in times), MASKED)
        part[:] = MASKED
        if self._until is not None:
            time[self._until + 1 :] += NOT_NATS
            part[:] = self.parts_at(self._until)
        for each, row in self._rows.items():
            if self._until is None and (row[SLICES["time"]][:BEAT] > MASKED / 2).any():
                part[MODEL_PART + each] = 0.0
        return np.maximum(bias, MASKED)

    def _arrange(self, part: int, time: np.ndarray) -> list[Hit]:
        """Weigh the times of a part. Returns the hits of the beat that have not come and still can."""
        beat = self._now.beat
        feel = self._band.arrangement.feel_at(beat.start)
        if self._last is not None:
            time[:BEAT][beat.start + np.arange(TICKS) > self._last] = MASKED
        hits = [hit for hit in self._hits(part) if self._can_come(part, hit, time)]
        free = np.full(TICKS, OFF_GRID_NATS, np.float32)
        busy = feel.busy[ARRANGED.index(part)] + DENSITY_NATS * self._band.members[part].controls.density
        free[:: TICKS // feel.cells] = busy + NEW_FEEL_NATS * self._band.arrangement.is_new(beat.start)
        for tick in range(max(self._now.tick - beat.start, 0), TICKS):
            if self._is_full(part, beat.start + tick):
                free[tick] = MASKED
        free[[hit.tick - beat.start for hit in hits]] = 0.0
        time[:BEAT] = np.maximum(time[:BEAT] + free, MASKED)
        if self._last is not None and self._last < beat.start + beat.length and not hits:
            time[:BEAT] = MASKED
        return hits

    def _hits(self, part: int) -> list[Hit]:
        """What the arrangement has for the part in this beat; what ends an accompaniment comes in its place."""
        beat = self._now.beat
        if self._last is not None and self._last >= beat.start:
            if self._last >= beat.start + beat.length:
                return self._band.arrangement.hits(part, beat, self._chord)
            return [Hit(self._last, sound) for sound in LAST_SOUNDS[part]]
        hits = self._band.arrangement.hits(part, beat, self._chord)
        return hits or self._come_in(part)

    def _come_in(self, part: int) -> list[Hit]:
        """A chord that began before this turn, or where all was final, is struck on the next beat."""
        beat, chord = self._now.beat, self._chord_at(self._now.tick)
        if part == DRUMS or chord is None:
            return []
        began = self._band.given.held_from(chord) if self._is_given(chord) else chord.start
        struck = self._band.members[part].overuse.between(max(began, self._turn.start), beat.start)
        return [] if began >= beat.start or struck else [Hit(beat.start, "r" if part == BASS else CHORD)]

    def _is_full(self, part: int, tick: int) -> bool:
        """Whether the part has struck all that it strikes at a tick: what more would come there is beside the feel."""
        struck = len(self._band.members[part].overuse.between(tick, tick + 1))
        return struck >= (self._notes() if part == ACCOMPANIMENT else 1)

    def _can_come(self, part: int, hit: Hit, time: np.ndarray) -> bool:
        beat = self._now.beat
        at = hit.tick - beat.start
        if not 0 <= at < min(beat.length, BEAT) or time[at] <= MASKED / 2:
            return False
        struck = self._band.members[part].overuse.between(hit.tick, hit.tick + 1)
        if part == DRUMS:
            pitch = self._rows[part][SLICES["pitch"]]
            key = int(hit.sound)
            return key not in struck and bool(pitch[key] > MASKED / 2 and self._is_free(part, hit)[key])
        if self._chord_at(hit.tick) is None or self._is_full(part, hit.tick):
            return False
        near = self._pitches(part, hit.tick, hit) + self._rows[part][SLICES["pitch"]]
        return bool((near[self._is_free(part, hit)] > MASKED / 2).any())

    def _is_free(self, part: int, hit: Hit) -> np.ndarray:
        free: np.ndarray = self._free[part] <= hit.tick
        return free

    def _notes(self) -> int:
        """Notes of a chord."""
        member = self._band.members[ACCOMPANIMENT]
        full = CHORD_NOTES + (BASS not in self._band.members)
        return min(member.controls.voices(full), self._band.most or full)

    # --- what the part plays there ---

    def _chord_at(self, tick: int) -> Chord | None:
        """The chord at a tick of this beat, if it has tones."""
        is_last = self._last is not None and tick >= self._last
        given = self._band.given.closing(tick) if is_last else self._band.given.at(tick)
        chord = given or (self._tonic if is_last else None) or self._chord
        return chord if chord is not None and chord.symbol.tones else None

    def _is_given(self, chord: Chord) -> bool:
        return self._band.given.at(chord.start) == chord

    def _pitches(self, part: int, tick: int, hit: Hit | None = None) -> np.ndarray:
        """(128,) nats for the pitch of a part at a tick, where a hit may be due."""
        hits = [hit] if hit is not None else [each for each in self._due[part] if each.tick == tick]
        if part == DRUMS:
            return self._drums({int(each.sound) for each in hits})
        chord = self._chord_at(tick)
        if chord is None:
            return np.zeros(128, np.float32)
        own = self._band.members[part].overuse
        after = self._band.given.at(chord.end) if self._is_given(chord) else None
        sign = str(hits[0].sound) if hits else None
        here = sorted(own.between(tick, tick + 1))
        begin = max(chord.start, self._turn.start)
        stroke = Stroke(chord, after, tick, sign, here, own.latest(tick), self._tune, own.between(begin, tick))
        bias = band_pitches.bass(stroke) if part == BASS else band_pitches.chords(stroke, BASS in self._band.members)
        if self._band.strict and self._is_given(chord):
            bias[~pitches_of(chord.scale)] = MASKED
        return bias

    def _drums(self, due: set[int]) -> np.ndarray:
        bias = np.full(128, NOT_NATS, np.float32)
        feel = self._band.arrangement.feel_at(self._now.beat.start)
        bias[list(due) or [*map(int, feel.drums), KICK, SNARE]] = 0.0
        return bias

    def _weigh_durations(self, part: int, tick: int, duration: np.ndarray) -> None:
        """A note of a part ends where its next hit comes, or is held to there."""
        if part == DRUMS:
            return
        turn = self._turn
        is_last = self._last is not None and tick >= self._last
        end = (turn.silent_from or tick + TICKS) if is_last else self._next(part, tick)
        gap = max(end - tick, int(DURATION_TICKS[duration > MASKED / 2].min(initial=TICKS)))
        duration[gap < DURATION_TICKS] = MASKED
        if is_last or self._band.arrangement.feel_at(tick).held or part == BASS:
            duration[FILLED * gap > DURATION_TICKS] += NOT_NATS if is_last else SHORT_NATS

    def _next(self, part: int, tick: int) -> int:
        """The tick of the part's next hit, at most some beats away."""
        beat, grid = self._now.beat, self._band.arrangement.grid
        for _ in range(AHEAD_BEATS if self._band.given.at(tick) is not None else UNKNOWN_BEATS):
            chord = self._chord if beat is self._now.beat else None
            later = [hit.tick for hit in self._band.arrangement.hits(part, beat, chord) if hit.tick > tick]
            if later:
                return later[0]
            beat = grid.beat_at(beat.start + beat.length)
        return beat.start
