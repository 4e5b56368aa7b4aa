"""Memory: pointers into what was played, as candidates for the next event. Pure numpy and standard library; times in ticks.

A recurrent state of fixed size cannot repeat long stretches exactly; a pointer can (induction heads: Olsson et al., "In-context
Learning and Induction Heads", 2022; pointer-generator networks: See et al., ACL 2017; neural caches: Grave et al., ICLR 2017).
After every event each *expert* points to at most one earlier note. Its candidate is that note as the next event. The model
learns how far to follow each expert (`models.nets.memory`). The experts:

    line 0..4   one for each part, with the player's and Antiphon's notes in one line: the longest earlier match of the line's
                last notes, by slot in the beat and interval. The candidate is the next note of the matched line, transposed.
    exact       the longest earlier match of all notes, by slot and pitch
    moved       the longest earlier match of all notes, by slot and interval
    bars 1..8   the next note at this place of the bar 1, 2, 4 and 8 bars ago

Of equally long matches the latest counts. Matches are found by the hash of the last n notes, n in `ORDERS`, so a note costs the
same at any length of history. The candidate keeps its distance in time from the match. Where that moment has passed (after a
rest, say), the candidate waits for the same place in the next bar.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from realtime.composing.memory_keys import exact_key, line_key, moved_key, place, slot
from realtime.music.chords import MEMBERS, NO_CHORD, UNKNOWN
from realtime.music.metre import TICKS, Beat
from realtime.music.vocabulary import (
    BEAT,
    DRUMS,
    HEADS,
    NONE_DURATION,
    NONE_PITCH,
    NONE_VELOCITY,
    PART_NAMES,
    duration_index,
)

ORDERS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32])
"""Lengths of match that are told apart, in notes."""
BARS = np.array([1, 2, 4, 8])
LINES = len(PART_NAMES)
EXACT, MOVED = LINES, LINES + 1
FIRST_BARS = LINES + 2
EXPERTS = FIRST_BARS + len(BARS)
KINDS = (*(0,) * LINES, 1, 2, *(3,) * len(BARS))
"""Which experts share weights: lines, exact, moved, bars."""
FEATURES = 11
NEAR_TICKS = 2
"""Onsets no farther apart count as equal when success is counted."""
RATES = np.array([0.25, 0.05])
"""Rates of the fast and the slow mean of an expert's success."""
ROUND_TICKS = 12
"""The distance between match and now is rounded to eighths, so that small deviations of a player do not add up."""
NO_TIME, NO_PART = HEADS["time"], LINES
NOTHING = np.array([NO_TIME, NO_PART, NONE_PITCH, NONE_DURATION, NONE_VELOCITY])
"""The candidate of an expert that has none."""
CAPACITY = 1 << 16
"""Notes that are kept: some hours of music. The oldest are forgotten first."""
UNDOABLE = 128
"""Notes that `Memory.rewind` can take back."""
LOOKED_BACK = 1024
"""A key that went down more notes ago than this stays without a duration."""
BASE = np.uint64(0x9E3779B97F4A7C15)
"""Of the rolling hash of the last n keys k: sum of k[-1 - i] BASE^i, modulo 2^64."""
_KEYS, _NUMBERS, _BEFORE_LAST = np.arange(3), np.arange(len(ORDERS)) + 1, ORDERS - 1
_LENGTHS = np.concatenate([[0], ORDERS])
_SALT = np.arange(1, LINES + 1, dtype=np.uint64) * np.uint64(0xD6E8FEB86659FD93)
"""Tells the lines apart within one table."""
_WHICH = np.array([(part, LINES, LINES + 1) for part in range(LINES)])
"""The rows of the lines that a note of each part belongs to: its own, `EXACT` and `MOVED`."""
_RATES_OF = (
    np.where(np.arange(EXPERTS) >= LINES, True, np.arange(EXPERTS) == np.arange(LINES)[:, None])[..., None] * RATES
)
"""(part, expert, 2): an expert is judged at a note of its part, or at any where it follows them all."""
_NONE, _NOWHERE = np.uint64(0), -1
_HALF, _LOWER = np.uint64(32), np.uint64((1 << 32) - 1)
_FAR, _NO_LEAP = 1 << 40, 128
OWN, SOURCE, LENGTH, COUNTS = range(4)
"""What is known of each line, and of all notes as `EXACT` and as `MOVED`: the latest row, the row of its longest match, the
length of that, and how many rows there are."""
HARMONY = np.where(MEMBERS, 1, -1).astype(np.float32)
"""Whether a pitch class belongs to a chord, (110, 12): 1 or -1; 0 where there is no chord."""
HARMONY[[NO_CHORD, UNKNOWN]] = 0


class Notes(NamedTuple):
    """Columns of notes in the order of the event stream, int64 (N,): onset, part 0..4, whose (1: the player's), pitch, duration
    class, velocity class, and the tick from which on the duration is known."""

    tick: np.ndarray
    part: np.ndarray
    player: np.ndarray
    pitch: np.ndarray
    duration: np.ndarray
    velocity: np.ndarray
    known: np.ndarray


TICK, PART, PLAYER, PITCH, DURATION, VELOCITY, KNOWN, LEAP = range(len(Notes._fields) + 1)
"""What a row of the memory holds: a note, and its interval in semitones from the note before."""


class Known(NamedTuple):
    """A note that is remembered: onset, part 0..4, pitch, duration and velocity classes, and whether it is the player's."""

    tick: int
    part: int
    pitch: int
    duration: int
    velocity: int
    player: bool


class Moment(NamedTuple):
    """When candidates are asked for, ints or arrays that broadcast against (..., EXPERTS): the tick, its beat's start and length,
    the metre's bar length, and the chord of the beat, a class of `realtime.music.chords`."""

    tick: np.ndarray | int
    start: np.ndarray | int
    length: np.ndarray | int
    bar: np.ndarray | int
    chord: np.ndarray | int = UNKNOWN


def describe(
    notes: Notes,
    now: Moment,
    there: np.ndarray,
    delta: np.ndarray,
    shift: np.ndarray,
    length: np.ndarray,
    success: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates and their features.

    notes: (..., EXPERTS), those that the experts point to; there: bool, whether they do; delta: ticks to add to the note's onset;
    shift: semitones; length: of the match, in notes; success: (..., EXPERTS, 2). Returns ids (..., EXPERTS, 5) as in `NOTHING`,
    features (..., EXPERTS, FEATURES) float32, the first of which is 1 for a candidate and else 0, and the onsets (..., EXPERTS).
    """
    tick, part, pitch = notes.tick, notes.part, notes.pitch + shift
    there = there & (pitch >= 0) & (pitch < 128)
    onset = tick + delta
    bars_later = np.maximum(-((onset - now.tick) // now.bar), 0)
    onset += bars_later * now.bar
    ids = np.empty((*there.shape, len(NOTHING)), np.int64)
    ids[..., 0] = time = np.where(onset < now.start + now.length, onset - now.start, BEAT)
    ids[..., 1], ids[..., 2] = part, pitch
    ids[..., 3] = np.where(notes.known <= now.tick, notes.duration, NONE_DURATION)
    ids[..., 4] = notes.velocity
    ids[~there] = NOTHING
    features = np.empty((*there.shape, FEATURES), np.float32)
    features[..., 0] = 1
    features[..., 1] = np.log2(1 + length) / 5
    features[..., 2] = np.log2(1 + np.maximum(now.tick - tick, 0) / TICKS) / 10
    features[..., 3] = notes.player
    features[..., 4] = np.minimum(bars_later, 4) / 4
    features[..., 5] = shift == 0
    features[..., 6] = np.log2(1 + (onset - now.tick) / TICKS) / 4
    features[..., 7:9] = success
    features[..., 9] = onset == now.tick
    chord = np.where((time < BEAT) & (part != DRUMS), now.chord, UNKNOWN)
    features[..., 10] = HARMONY[chord, np.where(there, pitch, 0) % 12]
    features[~there] = 0
    return ids, features, onset


class Recall(NamedTuple):
    """What the memory says after an event: candidates and features as `describe` gives them, their onsets, the means of each
    expert's success (EXPERTS, 2) up to then, how many notes match, and the notes that they point to, rows of the memory
    (EXPERTS, 8). `held`: the notes that the memory held."""

    held: int
    ids: np.ndarray
    features: np.ndarray
    onset: np.ndarray
    success: np.ndarray
    length: np.ndarray
    notes: np.ndarray

    @property
    def source(self) -> np.ndarray:
        """The onsets of the notes that they point to."""
        source: np.ndarray = self.notes[:, TICK]
        return source

    @property
    def leap(self) -> np.ndarray:
        """The intervals in semitones that lead to these notes from those before them."""
        leap: np.ndarray = self.notes[:, LEAP]
        return leap


FORGOTTEN = Recall(
    0,
    np.tile(NOTHING, (EXPERTS, 1)),
    np.zeros((EXPERTS, FEATURES), np.float32),
    np.zeros(EXPERTS, np.int64),
    np.zeros((EXPERTS, 2)),
    np.zeros(EXPERTS, np.int64),
    np.zeros((EXPERTS, LEAP + 1), np.int64),
)
"""Before the first event."""


class Memory:
    """The notes of a session and an index of them. `add` a note, `recall` the candidates after an event, `rewind` to fewer notes.

    Each costs some microseconds a note, at any length. Notes are rows 0, 1, ..., the last `capacity` of which are known. One hash
    table for each order and kind of key holds the latest row with that hash; older rows give way. An entry is 32 bits of 1 + the
    row, then 32 bits of the row's hash beside those that gave it its place: it is believed only if they are those looked for.
    The entries of the latest notes wait in a ring beside the tables, so that going back need not restore any. Nothing is random.
    Not thread-safe.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """`capacity`: the notes that are kept, a power of two."""
        self._capacity, self._unused_bits = capacity, np.uint64(64 - (capacity.bit_length() - 1))
        # A row, with its leap, is one line of a cache.
        self._notes = np.zeros((capacity, LEAP + 1), np.int64)
        self._next_in_line = np.full(capacity, -1, np.int64)
        self._tables = np.zeros(3 * len(ORDERS) * capacity + 1, np.uint64)  # the last is nobody's place
        self._begins = np.arange(3 * len(ORDERS)).reshape(3, -1) * capacity
        # Of each of the latest notes: the entries that wait for the tables, and what was before it.
        self._new_places = np.full((UNDOABLE, 3, len(ORDERS)), _NOWHERE)
        self._new_entries = np.zeros((UNDOABLE, 3, len(ORDERS)), np.uint64)
        self._old_chains = np.zeros((UNDOABLE, LINES + 2, ORDERS[-1]), np.uint64)
        self._old_ends = np.zeros((UNDOABLE, 4, LINES + 2), np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._tables[...] = 0
        self._new_places[...] = _NOWHERE
        self.count = 0
        self._chains = np.zeros((LINES + 2, ORDERS[-1]), np.uint64)
        self._ends = np.zeros((4, LINES + 2), np.int64)
        self._ends[[OWN, SOURCE]] = -1
        self._undoable = 0
        self.relocate()

    def relocate(self) -> None:
        """Time goes on from another tick, earlier perhaps: what bars ago was played is not known from there on. The rest is."""
        self._ticks, self._places = array("q"), array("h")
        self._first = self.count

    def add(self, tick: int, beat: Beat, part: int, player: bool, pitch: int, duration: int, velocity: int) -> None:
        """A note was struck, `part` 0..4; ticks must not fall but after `relocate`. duration: its class, `NONE_DURATION` while
        the player holds the key; velocity: its class."""
        row, at = self.count, self.count % self._capacity
        known = tick if duration != NONE_DURATION else _FAR
        leap = self._leap(MOVED, pitch)
        self._notes[at] = tick, part, player, pitch, duration, velocity, known, leap if row else _NO_LEAP
        which, ends, new_at = _WHICH[part], self._ends, row % UNDOABLE
        self._old_chains[new_at], self._old_ends[new_at] = self._chains, ends
        slots, drums = slot(tick - beat.start), part == DRUMS
        keys = (
            line_key(slots, self._leap(part, pitch)),
            exact_key(slots, drums, pitch),
            moved_key(slots, drums, leap),
        )
        chains = self._chains[which]
        chains[:, 1:] = chains[:, :-1] * BASE + np.array(keys, np.uint64)[:, None]
        chains[:, 0] = keys
        self._chains[which] = chains
        hashes = chains[:, _BEFORE_LAST]
        hashes[0] ^= _SALT[part]
        hashes *= BASE
        places = (hashes >> self._unused_bits).astype(np.int64) + self._begins
        waiting = np.where(self._new_places == places, self._new_entries, _NONE).max(0)
        entries = np.maximum(waiting, self._tables[places])  # the latest
        rows = (entries >> _HALF).astype(np.int64) - 1
        checks = hashes & _LOWER
        whole = ends[COUNTS][which][:, None] >= _BEFORE_LAST
        fits = whole & (rows > max(row - self._capacity, -1)) & (entries & _LOWER == checks)
        self._tables[self._new_places[new_at]] = self._new_entries[new_at]  # it cannot be taken back any more
        self._new_places[new_at] = np.where(whole, places, _NOWHERE)
        self._new_entries[new_at] = np.uint64(row + 1 << 32) | checks
        self._undoable = min(self._undoable + 1, UNDOABLE)
        if ends[OWN, part] >= 0:
            self._next_in_line[ends[OWN, part] % self._capacity] = row
        longest = (fits * _NUMBERS).max(1)  # 0: none
        ends[OWN][which] = row
        ends[SOURCE][which] = np.where(longest > 0, rows[_KEYS, longest - 1], -1)
        ends[LENGTH][which] = _LENGTHS[longest]
        ends[COUNTS][which] += 1
        self._ticks.append(tick)
        self._places.append(place(part, pitch))
        self.count += 1
        if len(self._ticks) > 2 * self._capacity:
            del self._ticks[: self._capacity], self._places[: self._capacity]
            self._first += self._capacity

    def _leap(self, line: int, pitch: int) -> int:
        """The interval from the latest note of a line, or of all, to this one."""
        before = int(self._ends[OWN, line])
        return pitch - int(self._notes[before % self._capacity, PITCH]) if before >= 0 else 0

    def release(self, tick: int, pitch: int) -> None:
        """The player's key of this pitch went up at `tick`. A key that is not known to be down is ignored."""
        for row in range(self.count - 1, max(self.count - LOOKED_BACK, 0) - 1, -1):
            note = self._notes[row % self._capacity]
            if note[PLAYER] and note[PITCH] == pitch:
                if note[DURATION] == NONE_DURATION:
                    note[DURATION], note[KNOWN] = duration_index(max(tick - int(note[TICK]), 1)), tick
                return

    def rewind(self, count: int) -> None:
        """Take back the latest notes, down to `count`. Raises `ValueError` for more than `UNDOABLE`."""
        back = self.count - count
        if back > self._undoable:
            raise ValueError(f"{back} notes to take back; at most {self._undoable} can be")
        if back <= 0:
            return
        begin = count % UNDOABLE
        self._new_places[begin : begin + back] = _NOWHERE
        self._new_places[: max(begin + back - UNDOABLE, 0)] = _NOWHERE
        self._chains[...], self._ends[...] = self._old_chains[begin], self._old_ends[begin]
        kept = max(len(self._ticks) - back, 0)
        del self._ticks[kept:], self._places[kept:]
        self.count, self._undoable = count, self._undoable - back

    def between(self, start: int, end: int, parts: tuple[int, ...]) -> list[Known]:
        """The notes of some parts with onsets in [start, end), since `relocate`, by onset, part and pitch."""
        first, last = bisect_left(self._ticks, start), bisect_left(self._ticks, end)
        first = max(first, len(self._ticks) - self._capacity)
        found = []
        for i in range(first, last):
            tick, part, player, pitch, duration, velocity, *_ = self._notes[(self._first + i) % self._capacity].tolist()
            if part in parts:
                found.append(Known(tick, part, pitch, duration, velocity, player > 0))
        return sorted(found)

    def recall(self, tick: int, beat: Beat, before: Recall, chord: int = UNKNOWN) -> Recall:
        """The candidates after an event at `tick`; `before`: those after the event before it; chord: of the beat."""
        ends, sources = self._ends, self._ends[SOURCE]
        index = np.empty(EXPERTS, np.int64)
        delta, shift, length = (np.zeros(EXPERTS, np.int64) for _ in range(3))
        there = sources > max(self.count - self._capacity, -1)
        source = sources % self._capacity
        following = sources + 1
        following[:LINES] = self._next_in_line[source[:LINES]]
        apart = self._notes[ends[OWN] % self._capacity] - self._notes[source]
        index[:FIRST_BARS] = np.where(there, following % self._capacity, -1)
        delta[:FIRST_BARS] = ROUND_TICKS * np.rint(apart[:, TICK] / ROUND_TICKS) * there
        shift[:FIRST_BARS] = apart[:, PITCH] * there
        shift[EXACT] = 0
        length[:FIRST_BARS] = ends[LENGTH] * there
        back = delta[FIRST_BARS:] = BARS * beat.bar_ticks
        index[FIRST_BARS:] = [self._bars_ago(tick, ticks) for ticks in back.tolist()]
        success = self._judged(before) if self.count > before.held else before.success
        notes, moment = self._notes[index], Moment(tick, beat.start, beat.length, beat.bar_ticks, chord)
        ids, features, onset = describe(Notes(*notes.T[:LEAP]), moment, index >= 0, delta, shift, length, success)
        return Recall(self.count, ids, features, onset, success, length, notes)

    def _judged(self, before: Recall) -> np.ndarray:
        """The means of success after the latest note, which the candidates `before` it foretold or not."""
        note = self._notes[(self.count - 1) % self._capacity]
        right = (before.features[:, 0] > 0) & (before.ids[:, 2] == note[PITCH])
        right &= np.abs(before.onset - note[TICK]) <= NEAR_TICKS
        success: np.ndarray = before.success + _RATES_OF[note[PART]] * (right[:, None] - before.success)
        return success

    def _bars_ago(self, tick: int, back: int) -> int:
        """Where in the columns the note is that came next, so many ticks ago; -1 where there is none."""
        ticks, places, then = self._ticks, self._places, tick - back
        if not ticks or then < ticks[0]:
            return -1
        last = places[-1] if ticks[-1] == tick else -1
        begin = bisect_left(ticks, then)
        while begin < len(ticks):
            end = bisect_left(ticks, ticks[begin] + 1, begin)
            later = [(places[i], i) for i in range(begin, end) if ticks[begin] > then or places[i] > last]
            if later:
                return (self._first + min(later)[1]) % self._capacity
            begin = end
        return -1
