"""Which earlier bars come back: the form of a long turn. Pure; times in ticks.

From its second phrase on, a turn may return to what was played four or eight bars ago. A chain over bars decides when. It draws
from the seed, the turn's start and the phrase before the turn. The notes of the bars that come back are favoured.

By itself the model repeats the bar before too often, and bars of four and eight bars ago too seldom: in 40 continuations and 40
compositions of eight bars, pairs of bars 4 and 8 apart were .84 and .65, and .75 and .58 as much alike as in the music itself.
With the chain they are 1.06 and 1.01, and .95 and .73.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from realtime.composing.constraints import SLICES
from realtime.composing.contract import LOGITS
from realtime.composing.memory import Known, Memory
from realtime.composing.memory_keys import SLOT_TICKS
from realtime.core.dialogue import Turn
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.vocabulary import BEAT, MODEL_PART, NONE_DURATION, PART_NAMES, Event

PHRASE_BARS, STEP_BARS, BLOCK_BARS = 4, 2, 16
"""A return begins with the second phrase or later, lasts so many bars or a multiple of that, and ends with a block at the
latest, so that the chain is short in a turn without an end."""
BEGINS = {4: 0.1, 8: 0.15}
"""By how many bars ago what comes back was played: the chance that such a return begins at the start of a phrase."""
WITHIN, GOES_ON = 0.5, 0.6
"""What is left of that chance in the middle of a phrase, and the chance that a return goes on for two bars more."""
RETURN_NATS = {"time": 8.0, "part": 8.0, "pitch": 8.0, "duration": 4.0, "velocity": 2.0}
"""For the fields of the note that comes back."""
VOICE_SEEDS = 1 << 40
"""How far the seeds of two voices of one piece lie apart: they draw other random numbers at the same ticks, and have one form."""
ALL_PARTS = tuple(range(len(PART_NAMES)))
EARLY_TICKS = SLOT_TICKS // 2
"""A note so shortly before a bar line belongs to the bar after it."""
FORM_STREAM = 1
"""The second half of the random numbers' key; for the draws of `Sampler` it is 0."""


def lag(number: int, start: int, phrase: int, seed: int) -> int:
    """How many bars ago what comes back in a bar was played; 0: nothing comes back.

    number: of the bar in its turn, from 0; start: of the turn, in ticks; phrase: the sum of the pitches before it."""
    if number < PHRASE_BARS:
        return 0
    first = max(number // BLOCK_BARS * BLOCK_BARS, PHRASE_BARS)
    key, counter = [seed % VOICE_SEEDS, FORM_STREAM], [0, first, start % (1 << 63), phrase]
    random = np.random.Generator(np.random.Philox(key=key, counter=counter))
    bars = 0
    for step in range(first, number + 1, STEP_BARS):
        if random.random() >= GOES_ON or not bars:
            chance = random.random() / (1 if step % PHRASE_BARS == 0 else WITHIN)
            most = zip(BEGINS, accumulate(BEGINS.values()), strict=True)
            bars = next((each for each, below in most if chance < below), 0)
    return bars


class Returns:
    """See the module's docstring. `memory` knows what was played."""

    def __init__(self, memory: Memory, grid: BeatGrid) -> None:
        self._memory, self._grid = memory, grid
        self.reset()

    def reset(self) -> None:
        """Time goes on from another tick, the memory is another, or another voice plays."""
        self._turn: tuple[int, int] | None = None
        """Start of the turn that was asked for last, and the sum of the pitches before it."""
        self._bar: tuple[int, int, tuple[int, ...]] | None = None
        """The bar that was asked for last, its turn and the parts."""
        self._source: Sequence[Known] = ()
        """The notes that come back in that bar, at their new ticks."""

    def bias(
        self,
        tick: int,
        floor: int,
        beat: Beat,
        event: Event,
        turn: Turn,
        parts: tuple[int, ...],
        seed: int,
    ) -> np.ndarray | None:
        """(LOGITS,) nats for what comes back of some parts after an `event` at `tick`; None: nothing does. floor: the first tick
        that may still be planned for. What the player plays since the turn began does not come back."""
        bar = beat.start - beat.in_bar * TICKS
        if (bar, turn.start, parts) != self._bar:
            self._bar = bar, turn.start, parts
            self._source = self._notes(bar, beat.bar_ticks, turn, parts, seed)
        if not self._source:
            return None
        is_own = event.time < BEAT and event.part >= MODEL_PART
        passed = (tick, event.part - MODEL_PART, event.pitch) if is_own else (max(tick, floor), -1, -1)
        note = next((note for note in self._source if note[:3] > passed and note.tick >= floor), None)
        bias = np.zeros(LOGITS, np.float32)
        if note is None or note.tick >= beat.start + beat.length:
            bias[SLICES["time"]][BEAT] = RETURN_NATS["time"]
            return bias
        bias[SLICES["time"]][note.tick - beat.start] = RETURN_NATS["time"]
        bias[SLICES["part"]][MODEL_PART + note.part] = RETURN_NATS["part"]
        bias[SLICES["pitch"]][note.pitch] = RETURN_NATS["pitch"]
        if note.duration != NONE_DURATION:
            bias[SLICES["duration"]][note.duration] = RETURN_NATS["duration"]
        bias[SLICES["velocity"]][note.velocity] = RETURN_NATS["velocity"]
        return bias

    def _notes(self, bar: int, bar_ticks: int, turn: Turn, parts: tuple[int, ...], seed: int) -> Sequence[Known]:
        """What comes back in a bar, at the ticks where it does."""
        grid = self._grid
        number = grid.bar_number(bar) - grid.bar_number(grid.next_bar(turn.start))
        if number < PHRASE_BARS:
            return ()
        if self._turn is None or self._turn[0] != turn.start:
            before = self._memory.between(turn.start - PHRASE_BARS * bar_ticks, turn.start, ALL_PARTS)
            self._turn = turn.start, sum(note.pitch for note in before)
        ago = lag(number, *self._turn, seed)
        start = grid.bar_line(grid.bar_number(bar) - ago)
        if not ago or grid.bar_at(start) != (start, bar_ticks):
            return ()
        source = self._memory.between(start - EARLY_TICKS, start + bar_ticks - EARLY_TICKS, parts)
        own = [note for note in source if not note.player or note.tick < turn.start]
        return sorted(note._replace(tick=max(note.tick, start) + bar - start) for note in own)
