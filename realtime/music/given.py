"""The harmony that is given: for every tick the chord of the chart, its scale and its key, or none. Pure; times in ticks."""

from __future__ import annotations

import bisect
from typing import NamedTuple

from realtime.music.chart import Bar, Chart, slot_starts
from realtime.music.chords import UNKNOWN, root_of
from realtime.music.keys import Key
from realtime.music.metre import BeatGrid
from realtime.music.scales import keys_of, scale_of
from realtime.music.symbols import Symbol

KEPT = 64
"""Changes of who leads that are remembered."""


class Lead(NamedTuple):
    """From `tick` on `chart` gives the chords: its first bar is the bar with the number `anchor` of the grid
    (`BeatGrid.bar_number`), and after its last bar comes the first again. None: no chords are given."""

    tick: int
    chart: Chart | None
    anchor: int = 0


class Chord(NamedTuple):
    """A given chord, in [start, end): the symbol, the pitch classes to play over it, the key there."""

    symbol: Symbol
    scale: frozenset[int]
    key: Key
    start: int
    end: int


class _Lead(NamedTuple):
    """A `Lead`, with the bars of its chart, none where no chords are given, and their keys."""

    lead: Lead
    bars: tuple[Bar, ...]
    keys: tuple[Key, ...]


def _tick(lead: _Lead) -> int:
    return lead.lead.tick


class Given:
    """Who leads when. What one `Lead` says holds until the next one's tick."""

    def __init__(self, grid: BeatGrid) -> None:
        self.grid = grid
        self._leads: list[_Lead] = []

    def lead(self, lead: Lead) -> None:
        """Take over from `lead.tick` on; what was given from there on before is forgotten."""
        bars = lead.chart.bars if lead.chart is not None else ()
        keys = keys_of(lead.chart) if lead.chart is not None else ()
        first = bisect.bisect_left(self._leads, lead.tick, key=_tick)
        self._leads[first:] = [_Lead(lead, bars, keys)]
        del self._leads[:-KEPT]

    @property
    def leads(self) -> list[Lead]:
        """What holds, in order."""
        return [each.lead for each in self._leads]

    def place(self, tick: int) -> tuple[Chart, int] | None:
        """The chart that gives the chord at a tick, and which of its bars, from 0; None as in `at`."""
        number = bisect.bisect_right(self._leads, tick, key=_tick) - 1
        if number < 0 or (chart := self._leads[number].lead.chart) is None:
            return None
        bar = self.grid.bar_number(tick) - self._leads[number].lead.anchor
        return (chart, bar % len(self._leads[number].bars)) if bar >= 0 else None

    def at(self, tick: int) -> Chord | None:
        """The chord that is given at a tick; None where none is, and before the chart's first bar."""
        number = bisect.bisect_right(self._leads, tick, key=_tick) - 1
        if number < 0 or not (bars := self._leads[number].bars):
            return None
        bar = self.grid.bar_number(tick) - self._leads[number].lead.anchor
        if bar < 0:
            return None
        bar %= len(bars)
        start, length = self.grid.bar_at(tick)
        starts = slot_starts(len(bars[bar]), self.grid.bar_length_at(tick))
        place = bisect.bisect_right(starts, tick - start) - 1
        end = start + min([length, *starts[place + 1 : place + 2]])
        if number + 1 < len(self._leads):
            end = min(end, _tick(self._leads[number + 1]))
        symbol = bars[bar][place]
        root = root_of(symbol.chord)
        key = self._leads[number].keys[bar]
        scale = scale_of(symbol.tones, root if root is not None else symbol.bass or 0, key)
        return Chord(symbol, scale, key, max(start + starts[place], _tick(self._leads[number])), end)

    def closing(self, tick: int) -> Chord | None:
        """The chord to end with at a tick: the one that is given there, but where only the one before is on the tonic, that."""
        now, before = self.at(tick), self.at(tick - 1)
        if now is None or before is None:
            return now
        here, there = root_of(now.symbol.chord), root_of(before.symbol.chord)
        if here == before.key.tonic or there != before.key.tonic:
            return now
        return now._replace(symbol=before.symbol, scale=before.scale, key=before.key)

    def chord(self, tick: int) -> int:
        """The class of the chord that is given at a tick; `UNKNOWN` where none is."""
        given = self.at(tick)
        return UNKNOWN if given is None else given.symbol.chord

    def held_from(self, chord: Chord) -> int:
        """The tick from which on this chord has been given without another between: at most a bar back."""
        before = self.at(chord.start - 1)
        return before.start if before is not None and before.symbol.chord == chord.symbol.chord else chord.start

    def ends(self, tick: int, latest: int, pitch: int | None = None) -> int:
        """Until when a note that begins at `tick` may sound, at most `latest`: to where another chord begins; of a tune, with its
        `pitch`: one whose scale does not have it."""
        now = self.at(tick)
        while now is not None and now.end < latest:
            after = self.at(now.end)
            if after is None or (
                after.symbol[:3] != now.symbol[:3] if pitch is None else pitch % 12 not in (after.scale or {pitch % 12})
            ):
                return now.end
            now = after
        return latest
