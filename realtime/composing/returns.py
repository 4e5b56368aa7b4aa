"""Which earlier bars come back: the form of a long turn. Pure; times in ticks.

By itself the model repeats the bar before more often than music does, and what lies four or eight bars back less often. So from
its second phrase on, a turn may return to what was played so many bars ago: a chain draws when, from the seed, the turn's start
and the phrase before it, and the notes that come back are favoured.

In 900 pieces of the training split 5 % of the bars are most like the bar 4 before, of the last 16, and 7 % like that 8 before
(half of their notes or more). After these the next bar is like that 4 or 8 before in .63 and .79 of the cases, after a bar that
is like none in .03.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from realtime.composing.closing import CLOSING_TICKS
from realtime.composing.constraints import SLICES
from realtime.composing.memory import Known, Memory
from realtime.core.dialogue import Turn
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.vocabulary import BEAT, MODEL_PART, NONE_DURATION, PART_NAMES, Event

PHRASE_BARS, STEP_BARS, BLOCK_BARS = 4, 2, 16
"""A return begins with the second phrase or later, lasts so many bars or a multiple of that, and ends with a block at the
latest, so that the chain is short in a turn without an end."""
BEGINS = {4: 0.1, 8: 0.15}
"""How many bars ago what comes back was played, and the chance that it begins to with a phrase."""
WITHIN, GOES_ON = 0.5, 0.6
"""What is left of that chance in the middle of a phrase, and the chance that a return goes on."""
RETURN_NATS = {"time": 8.0, "part": 8.0, "pitch": 8.0, "duration": 4.0, "velocity": 2.0}
"""For the fields of the note that comes back."""
VOICE_SEEDS = 1 << 40
"""How far the seeds of two voices of one piece lie apart: they draw other random numbers at the same ticks, and have one form."""
ALL_PARTS = tuple(range(len(PART_NAMES)))
RANDOM = 1
"""Keeps its random numbers apart from those of the draws (`Sampler`), whose key has 0 here."""


class Returns:
    """See the module's docstring. `memory` knows what was played."""

    def __init__(self, memory: Memory, grid: BeatGrid) -> None:
        self._memory, self._grid = memory, grid
        self.relocate()

    def relocate(self) -> None:
        """Time goes on from another tick."""
        self._bar: tuple[int, int, tuple[int, ...]] | None = None
        self._back = 0
        self._source: list[Known] = []
        """The bar that was asked for last, how many ticks before it lies what comes back in it, and the notes of that."""

    def favour(
        self,
        bias: np.ndarray,
        tick: int,
        beat: Beat,
        event: Event,
        turn: Turn,
        parts: tuple[int, ...],
        seed: int,
        strength: float,
    ) -> None:
        """Add to the biases (337,), in place, what comes back of some parts after an `event` at `tick`. strength: 0 to 1."""
        if not parts or turn.voices or (turn.end is not None and turn.end - beat.start <= CLOSING_TICKS):
            return
        bar = beat.start - beat.in_bar * TICKS
        if (bar, turn.start, parts) != self._bar:
            self._bar = bar, turn.start, parts
            phrase = self._memory.between(turn.start - PHRASE_BARS * beat.bar_ticks, turn.start, ALL_PARTS)
            self._back = self._lag(bar, beat.bar_ticks, turn, seed, phrase) * beat.bar_ticks
            start = bar - self._back
            fits = self._back and self._grid.bar_at(start)[0] == start
            self._source = self._memory.between(start, start + beat.bar_ticks, parts) if fits else []
        if not self._source:
            return
        is_own = event.time < BEAT and event.part >= MODEL_PART
        now = (tick - self._back, *((event.part - MODEL_PART, event.pitch) if is_own else (-1, -1)))
        note = next((note for note in self._source if note[: len(now)] > now), None)
        nats = {name: strength * most for name, most in RETURN_NATS.items()}
        if note is None or note.tick + self._back >= beat.start + beat.length:
            bias[SLICES["time"]][BEAT] += nats["time"]
            return
        bias[SLICES["time"]][note.tick + self._back - beat.start] += nats["time"]
        bias[SLICES["part"]][MODEL_PART + note.part] += nats["part"]
        bias[SLICES["pitch"]][note.pitch] += nats["pitch"]
        if note.duration != NONE_DURATION:
            bias[SLICES["duration"]][note.duration] += nats["duration"]
        bias[SLICES["velocity"]][note.velocity] += nats["velocity"]

    @staticmethod
    def _lag(bar: int, bar_ticks: int, turn: Turn, seed: int, phrase: Sequence[Known]) -> int:
        """How many bars ago what comes back in a bar was played; 0: nothing comes back. phrase: that before the turn."""
        number = round((bar - turn.start) / bar_ticks)
        if number < PHRASE_BARS:
            return 0
        first = max(number // BLOCK_BARS * BLOCK_BARS, PHRASE_BARS)
        heard = sum(note.pitch for note in phrase)
        random = np.random.Generator(
            np.random.Philox(key=[seed % VOICE_SEEDS, RANDOM], counter=[0, first, turn.start % (1 << 63), heard])
        )
        lag = 0
        for step in range(first, number + 1, STEP_BARS):
            if random.random() >= GOES_ON or not lag:
                chance = random.random() / (1 if step % PHRASE_BARS == 0 else WITHIN)
                within = zip(BEGINS, accumulate(BEGINS.values()), strict=True)
                lag = next((bars for bars, most in within if chance < most), 0)
        return lag
