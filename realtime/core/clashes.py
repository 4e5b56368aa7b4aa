"""Which sounding notes of an accompaniment end when the player strikes a key. Times in ticks.

A note that was right when it was struck may lie a semitone beside the tune's next one, in the same octave or in another: a minor
second or ninth. On a beat that is heard as a fault, and an accompanist lets go. Between beats the tune passes by, and a tone of a
chord that is given stays: there the tune has a suspension, which goes on to another note by itself. A note that has only just
begun is not cut off.
"""

from __future__ import annotations

from collections.abc import Iterable

from realtime.core.dialogue import PlayerNote
from realtime.core.output import SHORTEST_TICKS, Output
from realtime.core.tempo import PULSES_PER_TICK
from realtime.music.given import Given
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import DRUMS

NEAR_TICKS = TICKS // 8
"""A note so near to a beat is on it."""


def clashing(sounding: Iterable[int], pitch: int, tick: int, grid: BeatGrid, given: Given) -> list[int]:
    """The pitches, of those that sound, that end when the player strikes `pitch` at `tick`."""
    if tick + NEAR_TICKS - grid.beat_at(tick + NEAR_TICKS).start > 2 * NEAR_TICKS:
        return []
    chord = given.at(tick)
    tones = chord.symbol.tones if chord is not None else frozenset[int]()
    return [each for each in sounding if abs(pitch - each) % 12 == 1 and each % 12 not in tones]


def end_clashes(
    output: Output, channels: tuple[int, ...], note: PlayerNote, pulse: int, grid: BeatGrid, given: Given
) -> None:
    """What sounds of an accompaniment ends where it clashes with this note. channels: of Antiphon's parts."""
    pitched = channels[:DRUMS] + channels[DRUMS + 1 :]
    begun = output.begun_by((note.tick - SHORTEST_TICKS) * PULSES_PER_TICK)
    sounding = [key for key in begun if key[0] in pitched]
    ends = clashing({pitch for _, pitch in sounding}, note.pitch, note.tick, grid, given)
    for key in sounding:
        if key[1] in ends:
            output.end_key(key, pulse)
