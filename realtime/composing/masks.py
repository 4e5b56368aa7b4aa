"""The bias on the logits of one step: the user's constraints, and what this moment allows and prefers. Pure; times in ticks.

A mask is a bias of -1e9, a preference a bias of some nats; both are added to the model's logits before temperature, top-k and
top-p. A pitch that still sounds is masked inside the graph, because only there the drawn time is known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from realtime.composing.arrangement import ARRANGED, Arrangement
from realtime.composing.band import Band, Choices, of_part
from realtime.composing.chord_hearing import ChordHearing
from realtime.composing.closing import CLOSING_TICKS, close
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import MASKED
from realtime.composing.density import (
    ALONG_NOTES,
    KNOWN_NATS,
    MOST_KNOWN_NATS,
    MOST_SURPLUS_NATS,
    SURPLUS_NATS,
    TURNED,
    along_rate,
    surplus,
)
from realtime.composing.overuse import Overuse
from realtime.composing.player_profile import PlayerProfile
from realtime.composing.register import pull, spread_bias, wide
from realtime.composing.swing import Swing
from realtime.composing.voicing import Now, Voicing
from realtime.core.dialogue import PlayerNote, Turn
from realtime.music import measures
from realtime.music.chords import UNKNOWN
from realtime.music.controls import AS_IT_IS
from realtime.music.given import Given
from realtime.music.keys import Key
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.vocabulary import (
    ACCOMPANIMENT,
    ALONG,
    BEAT,
    DRUMS,
    DURATION_TICKS,
    HEADS,
    MELODY,
    OPEN,
    Event,
    Role,
    pitched_first,
)

MOST_NOTES = 4
"""The polyphony where none is set and the player has not played yet."""
MAJOR_THIRD = 4
FULL, THIN_NATS = 3, -1.0
"""For letting a beat pass, for each note that an accompaniment lacks to this many at once: one note may leave the harmony
open."""
OVER_THE_BAR_NATS = -2.0
"""For a note of an accompaniment that would sound on over the bar line: the harmony may change there."""
ROOM_NATS = 2.0
"""For resting while the player holds keys in Antiphon's turn."""
USUAL_ALONG = 2
"""Notes on an onset of those who play along."""
CHORD_NATS = -10.0
"""With the knob for polyphony turned: for going on while notes of the onset are missing, and for one too many."""
LONG_NATS = -4.0
"""With the knob for density at its end: for a note that would leave no room for as many as there are to be."""
REPEATS, REPEATED_NATS = 2, -0.7
"""A pitch may come this many times in a row without a bias, and the bias for each further time: an answer does not get stuck."""
OFF_GRID_NATS = -8.0
"""For an onset of an accompaniment off the sixteenths and triplets. A chord that comes late, because it was heard late, is struck
between them; the model would go on from there, late by as much for bars."""
LAST_ONSET_TICKS = TICKS // 4
"""No note begins in this many last ticks of a turn, so that no end is a click."""

_ON_GRID = np.isin(np.arange(TICKS), measures.GRID_TICKS)


class Moment(NamedTuple):
    """The situation of one step: its tick and beat, the first tick that may still be planned for (`floor`), how many notes the
    turn has so far, the pitch of the last one and how many times in a row it has come (`line`), when each of Antiphon's pitches
    is free ((128,) absolute ticks), which keys the player holds ((128,) bool). `waits`: what the memory points to begins later,
    and so does the turn. `harmony`: the chord that was drawn or given last, and since when; `due`: the chord of this
    beat is still to come. `follows`: a tune of the player's is taken up, which has an end of its own.
    """

    tick: int
    beat: Beat
    floor: int
    made: int
    line: tuple[int, int]
    release: np.ndarray
    keys_down: np.ndarray
    waits: bool = False
    harmony: tuple[int, int] = (UNKNOWN, 0)
    due: bool = False
    follows: bool = False


class Masks:
    """The biases of every step. The caller adds the player's notes to `profile` and Antiphon's to `overuse`, and sets `controls`,
    the positions of the knobs: they move the targets of the biases, so that the biases do not work against them."""

    def __init__(
        self,
        constraints: Constraints,
        given: Given | None = None,
        hearing: ChordHearing | None = None,
        leader: Masks | None = None,
    ) -> None:
        """`hearing`: what the player's notes say of the chords, where Antiphon goes along with them. `leader`: the masks of the
        band that these are of one part of."""
        self.profile: PlayerProfile = PlayerProfile() if leader is None else leader.profile
        self.overuse: Overuse = Overuse() if leader is None else leader.overuse.of(constraints.parts[0])
        self._arranged = leader is not None and constraints.parts[0] in ARRANGED
        self.controls = AS_IT_IS
        self._swing = Swing()
        self._drums: deque[bool] = deque(maxlen=16)
        self._given = given or Given(BeatGrid())
        self._hearing = hearing
        self.constrain(constraints)

    def constrain(self, constraints: Constraints) -> None:
        """From now on these are the user's constraints. What has been heard still counts."""
        self._asked = constraints
        self.arrangement = Arrangement(constraints.feel, self._given.grid, self._given)
        self.band: Band | None = None
        """The parts, where there are several."""
        if constraints.band:
            self.play(constraints.parts)
        else:
            self._constrain(constraints)

    def play(self, parts: tuple[int, ...]) -> None:
        """From now on these parts of a band play. Who plays one part alone goes on with it."""
        asked = self._asked
        if not asked.band:
            return
        members = {part: Masks(of_part(asked, part), self._given, leader=self) for part in sorted(parts)}
        self.band = Band(members, asked, self.arrangement, self._given)
        # What answers a single note is the first part that has pitches.
        alone = pitched_first(parts or asked.parts)[0]
        self._constrain(replace(asked, parts=(alone,), band=False))

    def choices(self, role: Role, turn: Turn, now: Moment, releases: np.ndarray) -> Choices:
        """What a band may play next. releases: (5, 128), as in `history.Snapshot`."""
        assert self.band is not None
        for member in self.band.members.values():
            member.controls = self.controls
        chord = self.voicing.drawn(now.harmony, now.beat, self.home)
        tune = np.flatnonzero(now.keys_down).tolist() or self.profile.pitches
        tonic = self.voicing.tonic(now.beat, self.home)
        return Choices(self.band, role, turn, now, releases, chord, tonic, tune)

    def ends(self, onset: int, part: int, pitch: int, latest: int, role: Role, turn: Turn) -> int:
        """Until when a note may sound, at most `latest`; see `Voicing.ends`."""
        if part == DRUMS:
            return latest
        of = self.band.members.get(part) if self.band is not None else None
        return (of.voicing if of is not None else self.voicing).ends(onset, pitch, latest, role, turn)

    def _constrain(self, constraints: Constraints) -> None:
        self._constraints = constraints
        self._always = {role: constraints.bias(role) for role in Role}
        in_any_key = replace(constraints, tonic=None)
        self._always_given = {role: in_any_key.bias(role) for role in Role}
        self.voicing = Voicing(constraints, self._given, self.overuse)
        self._alone = set(constraints.parts) <= {MELODY}
        """Whether Antiphon's answers are one part: the tune."""
        self._is_drummer = set(constraints.parts) == {DRUMS}
        self._tune = not constraints.parts or MELODY in constraints.parts
        self._pitched = DRUMS not in constraints.parts
        self._full = FULL if not constraints.parts or ACCOMPANIMENT in constraints.parts else 1
        self._drummer = Masks(replace(constraints, parts=(DRUMS,))) if not constraints.parts else None
        """What answers drums, unless a part was asked for."""
        self._key: Key | None = None
        if constraints.tonic is not None:
            self._key = Key(constraints.tonic, "major" if MAJOR_THIRD in constraints.scale else "minor")

    def bias(self, role: Role, turn: Turn | None, now: Moment) -> np.ndarray:
        """(337,) float32, for the fields of `contract.DRAWN` in order. Without a turn only the user's constraints count, and so
        they do while the chord of the beat is still to come: what is drawn beside it is not played."""
        if self._drummer is not None and role not in ALONG and self.hears_drums:
            self._drummer.controls, self._drummer.overuse = self.controls, self.overuse
            return self._drummer.bias(role, turn, now)
        chord = self.voicing.at(now.tick)
        bias = (self._always if chord is None else self._always_given)[role].copy()
        if self._hearing is not None and now.due and role in ALONG and chord is None:
            bias[SLICES["chord"]] += self._hearing.bias(now.beat)
        if turn is None or now.due:
            return bias
        time, _, pitch, duration, velocity = (bias[SLICES[name]] for name in HEADS)  # views
        self._mask_times(time, role, turn, now)
        if role in ALONG and self._pitched:
            pitch[now.keys_down] = MASKED  # the player sounds these pitches already
        if role == Role.ACCOMPANY and self._constraints.follow:
            time[:BEAT][~_ON_GRID] += OFF_GRID_NATS
        if self._constraints.follow:
            velocity += self.profile.loudness.bias(now.beat, now.tick == now.beat.start, role in ALONG)
        if self._arranged:  # `band` weighs the rest
            return bias
        self._weigh_pitches(pitch, role, turn, now, chord is not None)
        self._weigh_resting(time[BEAT:], role, turn, now)
        if self.controls.polyphony or (turn.voices and self.controls.density > 0):
            self._weigh_chords(time, role, turn, now)
        if self.controls.density > 0 and role != Role.HARMONISE and self.profile.rate is not None:
            onsets = self.profile.rate if role not in ALONG else along_rate(self.profile.rate) / USUAL_ALONG
            room = TICKS / (onsets * self.controls.times_denser)
            duration[:OPEN][room < DURATION_TICKS] += LONG_NATS * self.controls.density
            if role not in ALONG:
                time[:BEAT][now.beat.start + np.arange(TICKS) - now.tick > room] += LONG_NATS * self.controls.density
        if role == Role.ACCOMPANY and self._constraints.follow:
            bar_end = now.beat.start + now.beat.bar_ticks - now.beat.in_bar * TICKS
            duration[:OPEN][bar_end - now.tick < DURATION_TICKS] += OVER_THE_BAR_NATS
        if self._is_answer(role):
            last, times = now.line
            if (left := self.closing(role, turn, now.beat)) is not None and not now.follows:
                close(left, time, pitch, duration, chord, self.home)
            elif times >= REPEATS:
                pitch[last] += (times - REPEATS + 1) * REPEATED_NATS
        drawn = None
        if role == Role.ACCOMPANY and chord is None:
            drawn = self.voicing.drawn(now.harmony, now.beat, self.home)
        if chord is not None or drawn is not None:
            sounding = np.flatnonzero(now.release > now.tick)
            self.voicing.add(time, pitch, role, turn, Now(now.tick, now.beat, now.floor, sounding, drawn))
        return bias

    def hear(self, note: PlayerNote, keys_down: int) -> None:
        """The player struck a key; `keys_down` are down now, this one included."""
        if self._hearing is not None and note.part != DRUMS:
            self._hearing.key_down(note)
        self._drums.append(note.part == DRUMS)
        self._swing.hear(note, self._given.grid.beat_at(note.tick))
        if note.part != DRUMS:
            self.profile.add(note, keys_down)
        elif self._drummer is not None:
            self._drummer.profile.add(note, keys_down)

    def accented(self, event: Event, now: Moment, role: Role) -> Event:
        """The note that was drawn, with the accent of its own place: the bias of its velocity had to be known before its time."""
        if not self._constraints.follow or event.time >= BEAT:
            return event
        drummer = self._drummer if role not in ALONG and self.hears_drums else None
        loudness = (drummer or self).profile.loudness
        velocity = loudness.moved(event.velocity, now.beat, event.time, now.tick == now.beat.start)
        return event._replace(velocity=velocity)

    def swung(self, event: Event, beat: Beat, bias: np.ndarray) -> Event:
        """The event as a player who swings would place it; see `Swing.swung`."""
        return self._swing.swung(event, beat, bias) if self._constraints.follow else event

    def free_parts(self, tick: int, role: Role) -> tuple[int, ...]:
        """The parts that may come back to earlier bars: those that continue, and those of a file's further voices. None of a
        band, or where drums are answered or chords are given."""
        goes_on = role == Role.CONTINUE or (role == Role.ACCOMPANY and self._constraints.rate is not None)
        bound = self.band is not None or self.hears_drums or self.voicing.at(tick) is not None
        return (self._asked.parts or (MELODY,)) if goes_on and not bound else ()

    def key_up(self, tick: int, pitch: int) -> None:
        """The player's key went up."""
        if self._hearing is not None:
            self._hearing.key_up(tick, pitch)

    def relocate(self) -> None:
        """Time goes on from another tick."""
        self.arrangement.relocate()
        if self._hearing is not None:
            self._hearing.clear()

    @property
    def hears_drums(self) -> bool:
        """Whether most of what the player plays of late is drums."""
        return 2 * sum(self._drums) > len(self._drums)

    @property
    def home(self) -> Key | None:
        """The key that is set, or else the player's, if that is known."""
        return self._key or self.profile.key

    def _goes_with_player(self, role: Role) -> bool:
        """Whether the register, key and loudness of the player are followed."""
        return self._constraints.follow and (self._pitched if role in ALONG else self._tune)

    def _is_answer(self, role: Role) -> bool:
        """Whether Antiphon plays a tune of its own that follows the player's."""
        return self._constraints.follow and role not in ALONG and self._alone

    def closing(self, role: Role, turn: Turn, beat: Beat) -> int | None:
        """The ticks that are left of a turn that is brought to its end in this beat; None elsewhere, for a band, each part of
        which has masks of its own, and for an answer to drums."""
        if turn.end is None or not self._constraints.closes or not self._is_answer(role):
            return None
        left = turn.end - beat.start
        return left if left <= CLOSING_TICKS and self.band is None and not self.hears_drums else None

    def _mask_times(self, time: np.ndarray, role: Role, turn: Turn, now: Moment) -> None:
        """Onsets lie in the turn, not before what is final or already fed, and where a voice is free. The first note of an
        answer must come in the beat in which its turn starts, or where what it takes up goes on; that of an accompaniment with
        the player's first, unless there is no chord, or else in its own time."""
        beat = now.beat
        at = beat.start + np.arange(TICKS)
        allowed = at >= max(now.tick, turn.start)
        if turn.voices:
            allowed &= at == now.tick
        else:
            allowed &= (at >= now.floor) & (at < beat.start + beat.length)
            if turn.end is not None and turn.silent_from is not None:
                allowed &= at + (LAST_ONSET_TICKS if self._constraints.closes else 1) <= turn.end
                allowed &= at + self._constraints.min_duration <= turn.silent_from
        sounding = now.release[now.release > beat.start]
        allowed &= (sounding[:, None] > at).sum(0) < self._most_notes(role)
        time[:BEAT][~allowed] = MASKED
        if now.made or self._arranged:
            return
        along, given = role == Role.ACCOMPANY, self.voicing.at(beat.start)
        is_silent = given is not None and not given.symbol.tones  # N.C.
        opens = turn.start - beat.length < beat.start <= turn.start + beat.bar_ticks
        if now.waits and not along:
            time[:BEAT] = MASKED
        elif opens and not (along and (now.floor > turn.start or is_silent)):
            time[BEAT] = MASKED

    def _weigh_pitches(self, pitch: np.ndarray, role: Role, turn: Turn, now: Moment, chord_given: bool) -> None:
        """Prefer the player's key and register, avoid overused patterns, and follow the knobs for register and colour."""
        if self._goes_with_player(role):
            by_key = self._constraints.tonic is None and not self.controls.modal
            pitch += self.profile.pitch_bias(role, now.keys_down, by_key, self.controls.semitones, chord_given)
            weight = 0.0
            if role not in ALONG and self.profile.pitches:
                weight = max(wide(self.profile.pitches), abs(self.controls.register))
            if weight:
                own = self.overuse.pitches_since(turn.start)
                pitch += spread_bias(self.profile.pitches, own, weight, self.controls.semitones)
        if self._constraints.follow and self._pitched:
            pitch += self.overuse.bias(now.beat, role)
        if self.controls.register and self._pitched:
            chords = self._full > 1 and self.profile.pitches
            pitch += pull(role, self.controls, float(np.mean(chords)) if chords else None)
        if self.controls.modal and self._pitched and (key := self.home) is not None:
            pitch += self.controls.colour(key.tonic)

    def _weigh_resting(self, rest: np.ndarray, role: Role, turn: Turn, now: Moment) -> None:
        """The bias of letting the beat pass, `rest` (1,): higher after many notes and while the player plays, lower after few."""
        known = self._constraints.rate
        if role == Role.ACCOMPANY and now.tick == now.beat.start and known is None:
            full = self.controls.voices(self._full)
            rest += THIN_NATS * max(full - int((now.release > now.tick).sum()), 0)
        quarters = (now.beat.start - turn.start) / TICKS + 0.5
        if known is not None:
            rest += surplus(now.made, known, quarters, self.controls, KNOWN_NATS / (1 + known), MOST_KNOWN_NATS)
        rate = self.profile.rate if known is None else None
        if self._constraints.follow and role == Role.ACCOMPANY:
            if rate is not None:
                if self.controls.density:
                    rest += surplus(now.made, along_rate(rate), quarters, self.controls)
                else:
                    turned = 1 + TURNED * abs(self.controls.register)  # near the tune it would strike again and again
                    nats, most = turned * SURPLUS_NATS, turned * MOST_SURPLUS_NATS
                    rest += max(surplus(now.made, rate * ALONG_NOTES, quarters, self.controls, nats, most), 0.0)
        elif self._is_answer(role) or (self._is_drummer and self._constraints.follow):
            if now.keys_down.any() and not self._is_drummer:
                rest += ROOM_NATS
            if rate is not None:
                begun = self.overuse.first_since(turn.start)  # it may have waited for its place
                quarters -= (begun - turn.start) / TICKS if begun is not None else 0.0
                rest += surplus(now.made, rate, quarters, self.controls)

    def _weigh_chords(self, time: np.ndarray, role: Role, turn: Turn, now: Moment) -> None:
        """Prefer as many notes on an onset as the knobs ask for: no more, and no fewer."""
        usual = USUAL_ALONG if role in ALONG else self.profile.voices() or 1
        asked = self.controls.answering(turn.voices) if turn.voices else self.controls.voices(usual)
        here, made = now.tick - now.beat.start, now.made if turn.voices else self.overuse.notes_at(now.tick)
        if not made:
            return
        if made >= asked:
            time[here] = MASKED if self.controls.polyphony < 0 else time[here] + CHORD_NATS
        elif self.controls.polyphony >= 0:
            time[here + 1 :] += CHORD_NATS

    def _most_notes(self, role: Role) -> int:
        """The polyphony: as set; else an answer has as many voices as the player plays at once. The next chord of a band, and of
        an accompaniment whose chords the knob makes fuller, may be struck while the one before sounds."""
        if self._arranged:
            return self._constraints.max_notes or 2 * MOST_NOTES
        usual = self.profile.voices() if self._constraints.follow and role not in ALONG else None
        chords = 2 * self.controls.voices(USUAL_ALONG) if role == Role.ACCOMPANY and self.controls.polyphony > 0 else 0
        return self._constraints.max_notes or max(self.controls.voices(usual or MOST_NOTES), chords)
