"""A composer without a network, for when there is none: it answers the same requests by rules, at once.

In accompany and harmonise it plays root and triad of the chord that is heard; else it plays the call again and leads it home. A
band plays the hits of its feel (`arrangement`), and no more. It receives every request all the time, so that it knows the music
when it takes over. What it plays depends on these requests alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from realtime.composing.arrangement import ARRANGED, CHORD, HAT, KICK, LAST_SOUNDS, PLAIN, SNARE, Arrangement, Hit
from realtime.composing.constraints import Constraints
from realtime.composing.player_harmony import PlayerHarmony
from realtime.core.dialogue import (
    Avoid,
    Extend,
    Feel,
    KeyUp,
    ModelNote,
    Muster,
    Plan,
    PlayerNote,
    Proposed,
    Reached,
    Relocate,
    Remember,
    Reply,
    Request,
    Turn,
)
from realtime.music.given import Given, Lead
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, Role, pitched_first

HELD_TICKS = 384
"""How long an answer sounds if the key it answers never goes up."""
GAP_TICKS = 2
"""Between a note of an accompaniment and the next: it is struck anew."""
BASS_HEIGHT, ROOT_HEIGHT, TRIAD_HEIGHT = 31, 43, 60
"""The lowest root of a bass (G1) and of a chord (G2) and the lowest note of a triad (C4), where the range allows them."""
SOFTER = 0.8
"""How loud an accompaniment is, of the player's loudness."""


class Rules:
    """See the module's docstring. One thread uses it."""

    busy = False

    def __init__(self, constraints: Constraints, grid: BeatGrid) -> None:
        self._constraints = constraints
        self._grid = grid
        self._given = Given(grid)
        self._heard = PlayerHarmony(constraints, grid, self._given)
        self._avoided: frozenset[tuple[int, int]] = frozenset()
        """(tick, pitch) of the notes of answers that were taken back."""
        self._parts = constraints.parts
        """Those of the band that play."""
        self._arrangement = Arrangement(constraints.feel, grid, self._given)
        self._plan: Plan | None = None
        self._done = 0

    def work(self) -> None:
        """The rules have no work for when no request waits."""

    def hear(self, request: Request) -> None:
        """Take in what a request says of the player, without an answer."""
        match request:
            case Plan(played=PlayerNote() as note):
                self._heard.key_down(note)
            case KeyUp(tick, pitch):
                self._heard.key_up(tick, pitch)
            case Remember(notes):
                self._heard.forget()
                jumps = [i for i in range(1, len(notes)) if notes[i].tick < notes[i - 1].tick - TICKS]
                for tick, part, player, pitch, duration, velocity in notes[max(jumps, default=0) :]:
                    if player:
                        self._heard.key_down(PlayerNote(tick, pitch, velocity, part))
                        if duration:
                            self._heard.key_up(tick + duration, pitch)
            case Lead():
                self._given.lead(request)
            case Muster(parts):
                self._parts = parts
            case Feel():
                self._arrangement.change(request)
            case Relocate():
                self._arrangement.relocate()
                self._heard.forget()
                self._avoided = frozenset()
            case Avoid(notes):
                self._avoided = frozenset(notes)

    def handle(self, request: Request) -> Iterator[Reply]:
        """Take in a request and answer it, as the composer does."""
        self.hear(request)
        match request:
            case Plan():
                self._plan = request
                self._done = request.boundary
                yield from self._propose(request.until)
            case Extend(generation, until):
                if self._plan is not None and generation == self._plan.generation:
                    yield from self._propose(until)

    def _propose(self, until: int) -> Iterator[Reply]:
        plan = self._plan
        assert plan is not None
        if (turn := plan.turn) is not None:
            first = max(self._done, turn.start)
            last = until if turn.end is None else min(until, turn.end)
            for note in self._notes(plan, turn, first, last):
                yield Proposed(plan.generation, note)
            self._done = max(self._done, until)
        yield Reached(plan.generation, until, (), 0)

    def _notes(self, plan: Plan, turn: Turn, first: int, last: int) -> Iterator[ModelNote]:
        """The notes of the turn with onsets in [first, last)."""
        constraints = self._constraints
        along = plan.role in (Role.ACCOMPANY, Role.HARMONISE)
        parts = constraints.parts or ((ACCOMPANIMENT,) if along else (MELODY,))
        if constraints.band:
            parts = pitched_first(self._parts or parts)
        if constraints.band and not turn.voices:
            yield from self._band(plan, turn, first, last)
        elif turn.voices and parts[0] == DRUMS:
            yield ModelNote(turn.start, HAT, self._heard.loudness(SOFTER), GAP_TICKS, DRUMS)
        elif turn.voices:
            yield from self._harmony(plan, turn, parts[0])
        elif parts[0] == DRUMS:
            yield from self._beats(first, last)
        elif along:
            yield from self._accompaniment(first, last, turn, parts[0])
        else:
            yield from (note for note in self._answer(turn, parts[0]) if first <= note.tick < last)

    # --- a band ---

    def _band(self, plan: Plan, turn: Turn, first: int, last: int) -> list[ModelNote]:
        """The notes of all parts in order."""
        end = self._arrangement.last_tick(plan.role, turn)
        notes: list[ModelNote] = []
        beat = self._grid.beat_at(first)
        while beat.start < last:
            for part in self._parts:
                if part in ARRANGED:
                    notes += [
                        note for hit in self._hits(part, beat, end) for note in self._struck(hit, part, turn, end)
                    ]
            beat = self._grid.beat_at(beat.start + beat.length)
        for part in self._parts:
            if part not in ARRANGED:
                notes += self._answer(turn, part)
        return sorted(note for note in notes if first <= note.tick < last)

    def _hits(self, part: int, beat: Beat, end: int | None) -> list[Hit]:
        """What a part strikes in a beat: as arranged, and at the end, once more."""
        if end is not None and beat.start + beat.length > end:
            return [Hit(end, sound) for sound in LAST_SOUNDS[part]] if beat.start <= end else []
        hits = self._arrangement.hits(part, beat)
        if (
            hits
            or part == DRUMS
            or self._given.at(beat.start) is not None
            or self._arrangement.feel_at(beat.start) is not PLAIN
        ):
            return hits
        return [Hit(beat.start, "r" if part == BASS else CHORD)] if beat.in_bar == 0 else []

    def _struck(self, hit: Hit, part: int, turn: Turn, end: int | None) -> list[ModelNote]:
        """The notes of a hit."""
        loudness = self._heard.loudness(SOFTER)
        if part == DRUMS:
            return [ModelNote(hit.tick, int(hit.sound), loudness, GAP_TICKS, DRUMS)]
        given = self._given.closing(hit.tick) if hit.tick == end else self._given.at(hit.tick)
        if given is not None and not given.symbol.tones:  # N.C.
            return []
        if given is not None and given.symbol.bass is not None:
            tones, root = given.symbol.tones, given.symbol.bass
        else:
            tones, root = self._heard.tones_at(hit.tick)
        beat = self._grid.beat_at(hit.tick)
        length = 2 * beat.bar_ticks if hit.tick == end else beat.start + beat.length - hit.tick - GAP_TICKS
        low = self._fold(root, BASS_HEIGHT)
        if part == BASS:
            fifth = low + 7 if (low + 7) % 12 in tones else low
            return [self._note(hit.tick, fifth if hit.sound in ("f", "t") else low, loudness, length, part, turn)]
        pitches = [*([] if BASS in self._parts else [self._fold(root, ROOT_HEIGHT)]), *self._voicing(tones)]
        return [self._note(hit.tick, pitch, loudness, length, part, turn) for pitch in pitches]

    # --- along with the player ---

    def _accompaniment(self, first: int, last: int, turn: Turn, part: int) -> Iterator[ModelNote]:
        """The root at the start of a bar, the triad on every beat."""
        tick, loudness = self._grid.next_beat(first), self._heard.loudness(SOFTER)
        while tick < last:
            beat = self._grid.beat_at(tick)
            tones, root = self._heard.tones_at(tick)
            voices = self._voicing(tones)
            length = beat.length - GAP_TICKS
            if beat.in_bar == 0:
                yield self._note(tick, self._fold(root, ROOT_HEIGHT), loudness, beat.bar_ticks - GAP_TICKS, part, turn)
                voices = voices[: max((self._constraints.max_notes or 4) - 1, 0)]
            elif self._constraints.max_notes is not None:
                voices = voices[: max(self._constraints.max_notes - 1, 1)]
            for pitch in voices:
                yield self._note(tick, pitch, loudness, length, part, turn)
            tick = beat.start + beat.length

    def _voicing(self, tones: frozenset[int]) -> list[int]:
        """The chord from `TRIAD_HEIGHT` up, without the keys that the player holds; an octave lower where they hold all of it."""
        pitches = sorted({self._fold(pitch_class, TRIAD_HEIGHT) for pitch_class in tones})
        free = [pitch for pitch in pitches if pitch not in self._heard.down]
        lower = [pitch - 12 for pitch in pitches if pitch - 12 >= self._constraints.lowest]
        return free or [pitch for pitch in lower if pitch not in self._heard.down]

    def _harmony(self, plan: Plan, turn: Turn, part: int) -> Iterator[ModelNote]:
        """Under the note that was struck: the nearest notes of the chord, or else of the key, at least a minor third apart."""
        if plan.played is None:
            return
        below, wanted = plan.played.pitch, turn.voices
        members, bass = self._heard.tones_at(turn.start)
        in_key = self._heard.scale()
        for pitch in range(plan.played.pitch - 3, self._constraints.lowest - 1, -1):
            if not wanted:
                break
            fits = pitch % 12 in members or (pitch % 12 in in_key and below - pitch == 4)
            if fits and below - pitch >= 3 and pitch not in self._heard.down and pitch <= self._constraints.highest:
                yield self._note(turn.start, pitch, self._heard.loudness(SOFTER), HELD_TICKS, part, None)
                below, wanted = pitch, wanted - 1
        if wanted == turn.voices:  # the range lies above it
            pitch = self._fold(bass, self._constraints.lowest)
            yield self._note(turn.start, pitch, self._heard.loudness(SOFTER), HELD_TICKS, part, None)

    def _beats(self, first: int, last: int) -> Iterator[ModelNote]:
        tick = self._grid.next_beat(first)
        while tick < last:
            beat = self._grid.beat_at(tick)
            for pitch in (HAT, SNARE if beat.in_bar % 2 else KICK):
                yield ModelNote(tick, pitch, self._heard.loudness(SOFTER), GAP_TICKS, DRUMS)
            tick = beat.start + beat.length

    # --- the call, led home ---

    def _answer(self, turn: Turn, part: int) -> list[ModelNote]:
        """The call from the turn's start on, as often as it fits; its last notes lead by step to the tonic, which lasts. If that
        answer was taken back: the call's inversion, then its retrograde, then the retrograde's inversion, all in the call's
        rhythm. If all four were, or begin alike, the last of them."""
        bar = self._grid.bar_at(turn.start)[1]
        length = (turn.end - turn.start) if turn.end is not None else 2 * bar
        heard = [note for note in self._heard.notes if note.tick < turn.start and note.part != DRUMS]
        lately = [note for note in heard if note.tick >= turn.start - length]
        if not lately and heard:
            lately = [note for note in heard if note.tick > heard[-1].tick - length]
        top: dict[int, PlayerNote] = {}
        for note in lately:  # of a chord its highest note: the tune
            if note.tick not in top or note.pitch > top[note.tick].pitch:
                top[note.tick] = note
        line = [(note.tick, note.pitch, note.velocity) for note in top.values()]
        if not line:
            tonic = self._fold(self._heard.key().tonic, TRIAD_HEIGHT)
            line = [(turn.start - length + i * TICKS, tonic + (0, 7, 4, 7)[i % 4], 80) for i in range(length // TICKS)]
        shift = -(-(turn.start - line[0][0]) // bar) * bar
        span = max(-(-(line[-1][0] + 1 - line[0][0]) // bar) * bar, bar)
        placed = [(tick + shift + k * span, pitch, velocity) for k in range(-1, 64) for tick, pitch, velocity in line]
        end = turn.start + length
        placed = [note for note in placed if turn.start <= note[0] <= end - TICKS] or [(turn.start, *line[0][1:])]
        ends = [following[0] for _, following in pairwise(placed)] + [end]
        call = [pitch for _, pitch, _ in placed]
        notes: list[ModelNote] = []
        for pitches in self._variants(call):
            notes = [
                self._note(tick, pitch, velocity, until - tick, part, turn)
                for (tick, _, velocity), pitch, until in zip(placed, self._led_home(pitches), ends, strict=True)
            ]
            if (notes[0].tick, notes[0].pitch) not in self._avoided:  # more than its first may not have been played
                break
        return notes

    def _variants(self, call: list[int]) -> Iterator[list[int]]:
        """See `_answer`. Each is made when it is asked for: mostly the first is the answer."""
        for pitches in (call, call[::-1]):
            yield pitches
            yield self._inverted(pitches)

    def _inverted(self, pitches: list[int]) -> list[int]:
        """The steps of the scale in the other direction, in the same register."""
        scale = self._heard.scale()
        ladder = [pitch for pitch in range(128) if pitch % 12 in scale]
        steps = [min(bisect_left(ladder, pitch), len(ladder) - 1) for pitch in pitches]
        return [ladder[min(steps) + max(steps) - step] for step in steps]

    def _led_home(self, pitches: list[int]) -> list[int]:
        """The last becomes the tonic nearest to where the line is, the one before it a step of the scale beside that."""
        tonic = self._heard.key().tonic
        before = pitches[-2] if len(pitches) > 1 else pitches[-1]
        home = min((pitch for pitch in range(128) if pitch % 12 == tonic), key=lambda pitch: abs(pitch - before))
        pitches = [*pitches[:-1], home]
        if len(pitches) > 2:
            up = next(home + step for step in (1, 2, 3) if (home + step) % 12 in self._heard.scale())
            down = next(home - step for step in (1, 2, 3) if (home - step) % 12 in self._heard.scale() or step == 3)
            pitches[-2] = up if pitches[-3] >= home else down
        return pitches

    # --- notes that are allowed ---

    def _fold(self, pitch: int, lowest: int) -> int:
        """The pitch, in octaves, at or above `lowest` and within the range as far as it can be."""
        low, high = self._constraints.lowest, self._constraints.highest
        pitch = max(lowest, low) + (pitch - max(lowest, low)) % 12
        while pitch > high and pitch - 12 >= low:
            pitch -= 12
        return min(max(pitch, low), high)

    def _note(self, tick: int, pitch: int, velocity: int, ticks: int, part: int, turn: Turn | None) -> ModelNote:
        """Within the range, the scale that is set, the durations and the turn."""
        constraints = self._constraints
        low, high = constraints.lowest, constraints.highest
        while pitch < low and pitch + 12 <= high:
            pitch += 12
        while pitch > high and pitch - 12 >= low:
            pitch -= 12
        pitch = min(max(pitch, low), high)
        if constraints.tonic is not None and self._given.at(tick) is None:
            allowed = [near for near in range(low, high + 1) if near % 12 in self._heard.scale()]
            pitch = min(allowed, key=lambda near: abs(near - pitch), default=pitch)
        ticks = min(max(ticks, constraints.min_duration, 1), constraints.max_duration)
        if turn is not None and turn.silent_from is not None:
            ticks = min(ticks, turn.silent_from - tick)
        return ModelNote(tick, pitch, velocity, max(ticks, 1), part)
