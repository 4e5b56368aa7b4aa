"""The past that the composer can go back to: each event that the model was fed, and the situation after it.

    following(event, ...)   the snapshot that an event leads to, before it is fed
    append(snapshot)        the event was fed
    go_back(boundary, ...)  the events from `boundary` on were never fed, and Antiphon never played its notes from there on

A snapshot holds no state of the model, only its position in the stepper's ring of states, so going back copies nothing and takes
microseconds. Whatever else is remembered of Antiphon's own notes is taken back here too, and nowhere else. What the player played
is never taken back. Times in ticks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from realtime.composing.contract import Stepper
from realtime.composing.memory import FORGOTTEN, Memory, Recall
from realtime.composing.overuse import Overuse
from realtime.composing.recent_notes import RecentNotes
from realtime.core.dialogue import ModelNote, PlayerNote
from realtime.core.output import SHORTEST_TICKS
from realtime.music.chords import MEMBERS, NO_CHORD, UNKNOWN
from realtime.music.metre import Beat
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    CHORD,
    CHORD_EVENT,
    DRUMS,
    MODEL_PART,
    NONE_DURATION,
    OPEN,
    PART_NAMES,
    Event,
)

LONG_FREE = -(1 << 40)
"""A release tick long past: the pitch is free."""


class Snapshot(NamedTuple):
    """The situation after one event: enough to go back to it, and to feed the event again."""

    position: int
    """Of the model's state after the event, as the stepper counts."""
    tick: int
    beat: Beat
    event: Event
    nth: int
    """How many events at this tick came before."""
    keys: np.ndarray
    """The player's keys that were down, (128,) bool."""
    releases: np.ndarray
    """Absolute tick at which each pitch of each of Antiphon's parts is free, (5, 128) int64."""
    made: int
    """Notes proposed in this turn so far."""
    line: tuple[int, int]
    """The pitch of Antiphon's last note, and how many times in a row it has come by now."""
    chord: int = UNKNOWN
    """The chord of the beat, a class of `realtime.music.chords`; UNKNOWN until its CHORD event."""
    due: bool = False
    """Whether the CHORD event of the beat is still to come."""
    recall: Recall | None = None
    """What the memory says after the event."""
    harmony: tuple[int, int] = (UNKNOWN, 0)
    """The latest chord that was fed, and the tick of the beat from which on it has been the same."""
    drawn: Event = BEAT_EVENT
    """The event that was drawn to come next, when this one was fed."""
    drawn_chord: int = UNKNOWN
    """The chord of the beat that was drawn with it; it counts where that is due."""
    leaving: tuple[tuple[int, int], ...] = ()
    """What sounds, (part, pitch), and is not in the chord that was drawn after it was struck: it ends with the next note of its
    part."""

    @property
    def free(self) -> np.ndarray:
        """As `releases`, but that what is leaving is free for the next note."""
        free = self.releases
        if self.leaving:
            free = free.copy()
            free[tuple(zip(*self.leaving, strict=True))] = self.harmony[1]
        return free


class History:
    """See the module's docstring. Antiphon's notes are added to `overuse`, and taken back from it."""

    def __init__(self, stepper: Stepper, overuse: Overuse, memory: Memory | None = None) -> None:
        self.keys_down = np.zeros(128, bool)
        """The player's keys that are down now."""
        self._stepper = stepper
        self._snapshots: deque[Snapshot] = deque()
        self._gone: list[Snapshot] = []
        """Snapshots that were gone back over. Letting go of one takes microseconds, and going back is waited for: they
        go as the next events are fed."""
        self._notes = RecentNotes()
        self._overuse = overuse
        self._memory = memory
        self._answers: dict[int, list[int]] = {}
        """By key of the player's: the pitches of Antiphon's that sound until it goes up."""

    # --- events ---

    @property
    def is_empty(self) -> bool:
        """Whether no event was fed since time began, or began anew elsewhere."""
        return not self._snapshots

    @property
    def last(self) -> Snapshot:
        """The situation now. There is none while the history is empty."""
        return self._snapshots[-1]

    def following(
        self, event: Event, tick: int, beat: Beat, releases: np.ndarray | None = None, own: bool = False
    ) -> Snapshot:
        """The snapshot after one event more. `releases`: as in `Snapshot`, None where the event does not change it; `own`: the
        event is a note that Antiphon makes in this turn."""
        position, keys = self._stepper.position + 1, self.keys_down.copy()
        if self.is_empty:
            free = np.full((len(PART_NAMES), 128), LONG_FREE) if releases is None else releases
            return Snapshot(position, tick, beat, event, 0, keys, free, 0, (-1, 0), due=True)
        last = self.last
        nth = last.nth + 1 if last.tick == tick else 0
        releases, made, line = last.releases if releases is None else releases, last.made, last.line
        if own:
            made += 1
            line = (event.pitch, line[1] + 1 if event.pitch == line[0] else 1)
        chord, due = (UNKNOWN, True) if event.time == BEAT else (last.chord, last.due)
        leaving = tuple(key for key in last.leaving if key[0] != event.part - MODEL_PART) if own else last.leaving
        return Snapshot(
            position, tick, beat, event, nth, keys, releases, made, line, chord, due, None, last.harmony, leaving=leaving
        )  # fmt: skip

    def chord(self, chord: int, moves: bool = False) -> Snapshot:
        """The snapshot after the CHORD event of the beat, which is due. `moves`: where it is another chord than the one before,
        what sounds of Antiphon's and is not in it is leaving."""
        last = self.last
        following = self.following(CHORD_EVENT, last.tick, last.beat)
        since, leaving = last.harmony[1], last.leaving
        if chord != last.harmony[0]:
            since = last.beat.start
            leaving = self._strangers(chord, since) if moves and chord not in (NO_CHORD, UNKNOWN) else ()
        # It may be fed later than it counts.
        return following._replace(keys=last.keys, chord=chord, due=False, harmony=(chord, since), leaving=leaving)

    def _strangers(self, chord: int, tick: int) -> tuple[tuple[int, int], ...]:
        """(part, pitch) of what sounds beyond `tick`, has not only just begun, and is not in the chord. An answer ends with its
        key, and with nothing else."""
        answers = {pitch for pitches in self._answers.values() for pitch in pitches}
        sounding = [(part, pitch) for part, pitch in self._to_end(tick) if pitch not in answers]
        return tuple((part, pitch) for part, pitch in sounding if not MEMBERS[chord, pitch % 12])

    def ends_with(self, event: Event) -> tuple[tuple[int, int], ...]:
        """(part, pitch) of what ends as this note of Antiphon's, which comes next, is struck."""
        return tuple(key for key in self.last.leaving if key[0] == event.part - MODEL_PART)

    def remembered(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what the memory says after it; its note, if it is one, is remembered. For one that is fed again
        nothing changes."""
        if self._memory is None or snapshot.recall is not None:
            return snapshot
        before = self.last.recall if not self.is_empty else None
        before = FORGOTTEN._replace(held=self._memory.count) if before is None else before
        time, part, pitch, duration, velocity = snapshot.event
        tick, beat = snapshot.tick, snapshot.beat
        if time < BEAT:
            player = part < MODEL_PART
            length = NONE_DURATION if duration == OPEN else duration
            self._memory.add(tick, beat, part % MODEL_PART, player, pitch, length, velocity)
        return snapshot._replace(recall=self._memory.recall(tick, beat, before, snapshot.chord))

    def append(self, snapshot: Snapshot) -> None:
        """An event was fed. Snapshots whose state has left the ring are dropped."""
        self._snapshots.append(snapshot)
        self._drop_old()
        del self._gone[-2:]

    def compact(self) -> None:
        """Drop all that cannot be gone back to."""
        self._drop_old()
        self._gone.clear()

    def _drop_old(self) -> None:
        """Drop the snapshots whose state the stepper no longer has."""
        while self._snapshots and self._snapshots[0].position < self._stepper.oldest:
            self._snapshots.popleft()

    def go_back(
        self,
        boundary: int,
        silence: bool,
        same_turn: bool,
        struck: int | None = None,
        accompanies: bool = False,
    ) -> None:
        """Back to the last event before `boundary`, to the player's last note, or as far as the ring reaches; not while empty.

        `silence`: what sounds of Antiphon's ends at the boundary. `same_turn`: the notes made so far still count as this turn's.
        `struck`: the tick of a note of the player's that comes next. It comes after a beat that begins there, which stays, and
        before the chord of that beat: that chord, if nothing followed it, is to come again. `accompanies`: that chord stays, as
        an accompaniment does not wait for the player. In every other role what is leaving sounds on.
        """
        self._notes.take_back(boundary, silence)
        self._overuse.take_back(boundary)
        # The event that is gone back to may have to be fed again, so the ring must still know the state before it.
        snapshots, oldest = self._snapshots, self._stepper.oldest
        while (
            len(snapshots) > 1
            and snapshots[-2].position > oldest
            and _is_taken_back(snapshots[-1], boundary, silence, struck, not accompanies)
        ):
            self._gone.append(snapshots.pop())
        last = snapshots[-1]
        self._stepper.rewind(last.position)
        if self._memory is not None and last.recall is not None:
            self._memory.rewind(last.recall.held)
        if silence:
            last = last._replace(releases=np.minimum(last.releases, boundary))
        if last.made and not same_turn:
            last = last._replace(made=0)
        if last.leaving and not accompanies:
            last = last._replace(leaving=())
        snapshots[-1] = last

    def take_last(self) -> Snapshot:
        """Go back over the last event as well, which is then to be fed again."""
        last = self._snapshots.pop()
        self._stepper.rewind(last.position - 1)
        return last

    def clear(self) -> None:
        """Time begins anew elsewhere, in silence. The model's state stays as it is."""
        self.keys_down[:] = False
        self._snapshots.clear()
        self._gone.clear()
        self._notes.clear()
        self._overuse.clear()
        self._answers.clear()
        if self._memory is not None:
            self._memory.relocate()

    # --- notes ---

    def key_down(self, note: PlayerNote) -> None:
        """The player's key went down."""
        self.keys_down[note.pitch] = True
        self._notes.key_down(note)

    def key_up(self, tick: int, pitch: int) -> None:
        """The player's key went up, and its answers end with it."""
        self.keys_down[pitch] = False
        self._notes.key_up(tick, pitch)
        if self._memory is not None:
            self._memory.release(tick, pitch)
        for answer in self._answers.pop(pitch, ()):
            self._notes.release(tick, answer)
            for snapshot in self._snapshots:
                snapshot.releases[:, answer] = np.minimum(snapshot.releases[:, answer], tick)

    def sounding(self, tick: int) -> list[int]:
        """The pitches of Antiphon's that sound beyond `tick` and have not only just begun, without drums."""
        return sorted({pitch for _, pitch in self._to_end(tick)})

    def ended(self, tick: int, pitches: list[int]) -> np.ndarray | None:
        """Antiphon's notes of these pitches, of `sounding`, end at `tick`. Returns the releases that follow, None where nothing
        ends."""
        if not pitches:
            return None
        releases = self.last.releases.copy()
        for part, pitch in self._to_end(tick):
            if pitch in pitches:
                releases[part, pitch] = tick
        for pitch in pitches:
            self._notes.release(tick, pitch)
        return releases

    def _to_end(self, tick: int) -> list[tuple[int, int]]:
        """(part, pitch) of the notes of `sounding`."""
        new = set()
        for snapshot in reversed(self._snapshots):
            if snapshot.tick <= tick - SHORTEST_TICKS:
                break
            new.add((snapshot.event.part - MODEL_PART, snapshot.event.pitch))
        sounding = np.argwhere(self.last.releases > tick).tolist()
        return [(part, pitch) for part, pitch in sounding if part != DRUMS and (part, pitch) not in new]

    def proposed(self, note: ModelNote, answered: int | None = None, ends: Iterable[tuple[int, int]] = ()) -> None:
        """Antiphon made a note. `answered`: the key of the player's with which it ends; `ends`: what ends with it, (part,
        pitch)."""
        self._notes.proposed(note, ends)
        self._overuse.proposed(note)
        if answered is not None:
            self._answers.setdefault(answered, []).append(note.pitch)

    def close_cell(self, start: int, end: int) -> np.ndarray:
        """The roll (4, 48, 88) of a cell that is over (`RecentNotes.close`)."""
        return self._notes.close(start, end)

    def drop_cell(self) -> None:
        """A cell is over, and nobody will ask for its roll."""
        self._notes.clear()


def _is_taken_back(last: Snapshot, boundary: int, silence: bool, struck: int | None, waits: bool) -> bool:
    """Whether the last event is one of those that `History.go_back` goes back over."""
    time, part, *_ = last.event
    if time == CHORD and waits and last.beat.start == struck:
        return True
    if last.tick < boundary or (time < BEAT and part < MODEL_PART):
        return False
    # What has just been silenced sounded at the beat.
    return time != BEAT or last.tick != struck or silence
