"""Which earlier bars come back: the form of a long turn. Pure; times in ticks.

By itself the model repeats the bar before more often than music does, and what lies four or eight bars back less often. So from
its second phrase on, a turn may return to what was played so many bars ago: a chain draws when, from the seed and the place in
the turn alone, and the notes that come back are favoured. In 900 pieces of the training split a bar that is like the one 4 or 8
bars before it, and like no other of the last 16 more so, is followed by one that is too in .63 and .79 of the cases.
"""

from __future__ import annotations

import numpy as np

from realtime.composing.closing import CLOSING_TICKS
from realtime.composing.constraints import SLICES
from realtime.composing.memory import Known, Memory
from realtime.core.dialogue import Turn
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.vocabulary import BEAT, NONE_DURATION

PHRASE_BARS, STEP_BARS, BLOCK_BARS = 4, 2, 16
"""A return begins with the second phrase or later, lasts so many bars or a multiple of that, and ends with a block at the
latest, so that the chain is short in a turn without an end."""
LAGS = (4, 8)
"""How many bars ago what comes back was played."""
BEGINS, BEGINS_WITHIN, GOES_ON = 0.1, 0.05, 0.6
"""The chance that a return to each of these begins with a phrase, and in the middle of one; and that it goes on."""
RETURN_NATS = {"time": 8.0, "pitch": 8.0, "duration": 4.0, "velocity": 2.0}
"""For the fields of the note that comes back."""
RANDOM = 1
"""Keeps its random numbers apart from those of the draws (`Sampler`), whose key has 0 here."""


class Returns:
    """See the module's docstring. `memory` knows what was played."""

    def __init__(self, memory: Memory, grid: BeatGrid) -> None:
        self._memory, self._grid = memory, grid
        self.relocate()

    def relocate(self) -> None:
        """Time goes on from another tick."""
        self._bar: tuple[int, ...] = ()
        self._back = 0
        self._source: list[Known] = []
        """The bar that was asked for last, how many ticks before it lies what comes back in it, and the notes of that."""

    def favour(
        self,
        bias: np.ndarray,
        tick: int,
        beat: Beat,
        last: int,
        turn: Turn,
        part: int | None,
        seed: int,
        strength: float,
    ) -> None:
        """Add to the biases (337,), in place, what comes back of a part after an event at `tick`; part: None: nothing does. last:
        the pitch of that event, if it is a note of Antiphon's, else -1. strength: 0 to 1."""
        if part is None or turn.voices or (turn.end is not None and turn.end - beat.start <= CLOSING_TICKS):
            return
        bar = beat.start - beat.in_bar * TICKS
        if (bar, turn.start, part) != self._bar:
            self._bar = bar, turn.start, part
            self._back = self._lag(bar, beat.bar_ticks, turn, seed) * beat.bar_ticks
            start = bar - self._back
            fits = self._back and self._grid.bar_at(start)[0] == start
            self._source = self._memory.between(start, start + beat.bar_ticks, part) if fits else []
        if not self._source:
            return
        ahead = (note for note in self._source if (note.tick + self._back, note.pitch) > (tick, last))
        note = next(ahead, None)
        nats = {name: strength * most for name, most in RETURN_NATS.items()}
        if note is None or note.tick + self._back >= beat.start + beat.length:
            bias[SLICES["time"]][BEAT] += nats["time"]
            return
        bias[SLICES["time"]][note.tick + self._back - beat.start] += nats["time"]
        bias[SLICES["pitch"]][note.pitch] += nats["pitch"]
        if note.duration != NONE_DURATION:
            bias[SLICES["duration"]][note.duration] += nats["duration"]
        bias[SLICES["velocity"]][note.velocity] += nats["velocity"]

    @staticmethod
    def _lag(bar: int, bar_ticks: int, turn: Turn, seed: int) -> int:
        """How many bars ago what comes back in a bar was played; 0: nothing comes back."""
        number = round((bar - turn.start) / bar_ticks)
        if number < PHRASE_BARS:
            return 0
        first = max(number // BLOCK_BARS * BLOCK_BARS, PHRASE_BARS)
        random = np.random.Generator(
            np.random.Philox(key=[seed, RANDOM], counter=[0, first, turn.start % (1 << 63), 0])
        )
        lag = 0
        for step in range(first, number + 1, STEP_BARS):
            chance = random.random()
            begins = BEGINS if step % PHRASE_BARS == 0 else BEGINS_WITHIN
            if not lag or chance >= GOES_ON:
                chance = random.random()
                lag = next((each for i, each in enumerate(LAGS, 1) if chance < i * begins), 0)
        return lag
