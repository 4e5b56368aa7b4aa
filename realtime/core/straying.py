"""Whether the player still plays the chart: what sounds in each beat against the chords that are given. Pure; times in ticks.

One beat says little: an anticipation, a suspension or a passing note is no other chord. So a player is a bar off only where the
chart, moved by a bar or two, fits clearly better over `BEATS` beats; and plays another chord only where the same one, complete,
sounds in `SAME` beats in a row and the given one does not fit.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from realtime.music.fingers import chord_of
from realtime.music.given import Chord, Given
from realtime.music.metre import BeatGrid
from realtime.music.symbols import Symbol

BEATS, FEWEST = 12, 9
"""Beats that are looked at, and how many of them must have notes."""
OFFSETS = (-1, 1, -2, 2)
"""Bars by which a player may be off: negative is late."""
BETTER, WELL = 0.6, 0.5
"""How much better a moved chart must fit, and how well: a fit is 1 where all that sounds is in the chord, -1 where nothing is.
Of 36 annotated pieces of 16 bars, 2 are judged to be a bar off although they are not, and 32 where the chart does come a bar
late, if the tune alone is heard; 0 and 35 if all voices are. With 8 beats and 0.4 these are 8 and 33, and 2 and 36."""
SAME, COMPLETE, POORLY = 2, 3, 0.0
"""Beats in a row of another chord, its pitch classes, and how well at most the given chord fits them."""


class Stray(NamedTuple):
    """Where the player is off: by how many bars, or with which chord."""

    bars: int = 0
    symbol: Symbol | None = None


class _Heard(NamedTuple):
    tick: int
    classes: np.ndarray
    symbol: Symbol | None


class Straying:
    """It hears the player's keys, and is asked once a beat."""

    def __init__(self, grid: BeatGrid) -> None:
        self._grid = grid
        self._down: dict[int, int] = {}
        self._sound: list[tuple[int, int, int]] = []
        self._beats: deque[_Heard] = deque(maxlen=BEATS)

    def key_down(self, pitch: int, tick: int) -> None:
        """The player's key went down."""
        self.key_up(pitch, tick)
        self._down[pitch] = tick

    def key_up(self, pitch: int, tick: int) -> None:
        """It went up; one that is not down is ignored."""
        if (start := self._down.pop(pitch, None)) is not None:
            self._sound.append((pitch, start, max(tick, start + 1)))

    def clear(self) -> None:
        """What was heard belongs to another place, or another chart."""
        self._down.clear()
        self._sound.clear()
        self._beats.clear()

    def beat(self, start: int, end: int, given: Given) -> Stray | None:
        """The beat [start, end) is over. Where the player has left the chart: how; else None. Said once: it is listened anew."""
        spans = [*self._sound, *((pitch, on, end) for pitch, on in self._down.items())]
        self._sound = [span for span in self._sound if span[2] > end]
        classes = np.zeros(12)
        for pitch, on, off in spans:
            classes[pitch % 12] += max(min(off, end) - max(on, start), 0)
        pitches = [pitch for pitch, on, off in spans if min(off, end) - max(on, start) >= (end - start) / 2]
        now = given.at(start)
        found = chord_of(pitches, now.key if now is not None else None, inversions=False)
        complete = found is not None and len({pitch % 12 for pitch in pitches}) >= COMPLETE
        self._beats.append(_Heard(start, classes, found if complete else None))
        stray = self._off_by_bars(given) or self._another(given)
        if stray is not None:
            self._beats.clear()
        return stray

    def _off_by_bars(self, given: Given) -> Stray | None:
        heard = [beat for beat in self._beats if beat.classes.any()]
        if len(self._beats) < BEATS or len(heard) < FEWEST:
            return None
        means = {}
        for bars in (0, *OFFSETS):
            there = [given.at(self._moved(beat.tick, bars)) for beat in heard]
            fits = [_fit(beat.classes, chord) for beat, chord in zip(heard, there, strict=True) if chord is not None]
            means[bars] = sum(fits) / len(fits) if len(fits) == len(heard) else -1.0
        best = max(OFFSETS, key=means.__getitem__)
        return Stray(best) if means[best] >= WELL and means[best] >= means[0] + BETTER else None

    def _another(self, given: Given) -> Stray | None:
        last = list(self._beats)[-SAME:]
        symbols = {beat.symbol.chord for beat in last if beat.symbol is not None}
        chords = [given.at(beat.tick) for beat in last]
        if (
            len(last) < SAME
            or len(symbols) != 1
            or last[-1].symbol is None
            or any(beat.symbol is None for beat in last)
        ):
            return None
        pairs = list(zip(last, chords, strict=True))
        poor = all(chord is not None and _fit(beat.classes, chord) <= POORLY for beat, chord in pairs)
        return Stray(symbol=last[-1].symbol) if poor and not self._is_near(last, given) else None

    def _is_near(self, beats: list[_Heard], given: Given) -> bool:
        """Whether these beats may be of the chart, some bars off: more beats will show that."""
        for bars in OFFSETS:
            there = [given.at(self._moved(beat.tick, bars)) for beat in beats]
            if all(chord and _fit(beat.classes, chord) >= WELL for beat, chord in zip(beats, there, strict=True)):
                return True
        return False

    def _moved(self, tick: int, bars: int) -> int:
        """The same place so many bars later, or earlier."""
        return tick + self._grid.bar_start(tick, bars) - self._grid.bar_start(tick)


def _fit(classes: np.ndarray, chord: Chord) -> float:
    """1 to -1: how much of what sounds is in the chord."""
    inside = classes[list(chord.symbol.tones)].sum() if chord.symbol.tones else 0.0
    return float(2 * inside / classes.sum() - 1) if classes.any() else 0.0
