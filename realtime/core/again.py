"""The last answer is taken back, and the same phrase is answered once more. Pure; times in ticks.

The other answer begins at the same place of a later bar. Just before, the composer hears the phrase again, moved to where it
would lie if the player had repeated it; the recording knows nothing of that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from realtime.core.dialogue import HeardNote, KeyUp, PlayerNote, Turn
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import ALONG, Role

MOST_BARS = 8
"""Of a phrase that is longer, its last bars are heard again."""


class Call(NamedTuple):
    """A phrase to be heard again. `start`: the bar line from which on the composer hears it. `events`: what the player did, in
    order. `avoid`: the notes, (tick, pitch), of the answers that were taken back, moved to the next one."""

    start: int
    events: tuple[PlayerNote | KeyUp, ...]
    avoid: tuple[tuple[int, int], ...]


class Again:
    """`turn`: the one that was asked for in place of the last answer, until it is over, or the player plays."""

    def __init__(self, grid: BeatGrid) -> None:
        self.turn: Turn | None = None
        self._grid = grid
        self._answers: deque[tuple[Turn, ...]] = deque(maxlen=2)
        """The last answer, and the one before, as long as the last is only planned; each with all those of the same phrase that
        were taken back before, the first one first."""

    def began(self, turn: Turn, role: Role) -> None:
        """A turn is planned from now on. One that goes along with the player is no answer."""
        if role not in ALONG:
            self._answers.append((turn,) if self.turn is None else (*self._answers[-1], turn))

    def ask(self, tick: int, first: int) -> Turn | None:
        """At `tick` the last answer is taken back. `first`: another one begins no sooner. Returns the turn that is taken back,
        None where there is none."""
        while self._answers and self._answers[-1][-1].start > tick:
            self._answers.pop()
        if not self._answers:
            return None
        last = self._answers[-1][-1]
        assert last.end is not None
        line = self._grid.bar_start(last.start)
        offset = last.start - line
        start = self._grid.next_bar(max(line + 1, first - offset)) + offset
        self.turn = Turn(start, start + last.end - last.start)
        return last

    def turn_at(self, tick: int) -> Turn | None:
        """The turn that was asked for, unless it is over by `tick`."""
        if self.turn is not None and self.turn.end is not None and tick >= self.turn.end:
            self.turn = None
        return self.turn

    def call(self, heard: Sequence[HeardNote]) -> Call:
        """The phrase, as if it led to `turn`. heard: the notes of the session, in order."""
        assert self.turn is not None
        taken_back = self._answers[-1]
        first, start = taken_back[0].start, self.turn.start
        phrase: list[HeardNote] = []
        for note in reversed(heard):
            if note.tick >= first:
                continue
            if not note.player or note.tick < self._grid.bar_start(first, -MOST_BARS):
                break
            phrase.append(note)
        events: list[PlayerNote | KeyUp] = []
        for note in phrase:
            onset = note.tick + start - first
            end = min(onset + note.duration, start) if note.duration else start
            events += [PlayerNote(onset, note.pitch, note.velocity, note.part), KeyUp(max(end, onset + 1), note.pitch)]
        events.sort(key=lambda event: (event.tick, isinstance(event, PlayerNote)))
        avoid = [
            (note.tick + start - turn.start, note.pitch)
            for turn in taken_back
            for note in heard
            if not note.player and turn.start <= note.tick < (turn.end or turn.start)
        ]
        begin = min((event.tick for event in events), default=start)
        return Call(self._grid.bar_at(begin)[0], tuple(events), tuple(avoid))

    def drop(self) -> None:
        """The player plays: what comes next is answered instead."""
        self.turn = None

    def clear(self) -> None:
        """Song time is elsewhere, or the mode is another: there is nothing to take back."""
        self.turn = None
        self._answers.clear()
