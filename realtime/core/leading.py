"""Who leads the harmony: a chart, its sections at the player's call, chords played by hand, a player who leaves the chart. Pure.

What changes is told the composer, in a `Lead`, and is what `given` answers from then on. Times in ticks.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.core.chord_keys import ChordKeys
from realtime.core.plans import LONG_AGO
from realtime.core.settings import EngineSettings
from realtime.core.straying import Straying
from realtime.music.chart import Chart, Section, one_chord
from realtime.music.fingers import chord_of
from realtime.music.given import Given, Lead
from realtime.music.keys import Key
from realtime.music.metre import BeatGrid
from realtime.music.scales import keys_of
from realtime.music.symbols import Symbol

FORM_BARS = 8
"""A chart of fewer bars is no form that a tune ends with."""
KEY_CHORDS = 8
"""So many of the last chords played by hand say which key they are in."""


class Leading:
    """See the module's docstring. `ask` hands the composer a request. `notices`: what the user should know; `passed`: the chords
    that were given so far, (tick, name), where they changed."""

    def __init__(self, settings: EngineSettings, grid: BeatGrid, ask: Callable[[Lead], None]) -> None:
        self.given = Given(grid)
        self.keys = ChordKeys()
        self.notices: list[str] = []
        self.passed: list[tuple[int, str]] = []
        self._settings, self._grid, self._ask = settings, grid, ask
        self._straying = Straying(grid)
        self._by_hand: list[Symbol] = []
        self._beat = self._noted = LONG_AGO
        if settings.chart is not None:
            self._lead(self._first(settings.chart))

    @property
    def is_on(self) -> bool:
        """Whether chords are given, or may be."""
        return bool(self.given.leads) or self._settings.chord_channel is not None

    @property
    def has_chart(self) -> bool:
        """Whether a chart is given."""
        return self._settings.chart is not None

    def now(self, tick: int) -> str:
        """The chord that is given at a tick and the section it is in, such as "Am7 (B)"; "" where none is."""
        chord, place = self.given.at(tick), self.given.place(tick)
        if chord is None or place is None:
            return ""
        section = place[0].sections[place[0].section_at(place[1])].name
        return f"{chord.symbol.name} ({section})" if section else chord.symbol.name

    def jumped(self, tick: int, from_the_top: bool) -> None:
        """Song time goes on from `tick`: with its own bar of the chart, or from the chart's top, as after a rest of both."""
        self.keys.clear()
        self._straying.clear()
        self._beat = self._noted = LONG_AGO
        chart, bar = self._chart(tick), self._grid.bar_number(tick)
        if chart is not None:
            self._lead(Lead(LONG_AGO, chart, bar) if from_the_top and bar > 0 else self._first(chart))

    def tell_again(self) -> None:
        """The composer is new: it has to hear what holds."""
        for lead in self.given.leads:
            self._ask(lead)

    # --- the chart ---

    def form_end(self, first: int, last: int) -> int | None:
        """The first bar line in [first, last) with which a chart of `FORM_BARS` or more begins anew."""
        line = self._grid.next_bar(first)
        while line < last:
            place = self.given.place(line)
            if place is not None and place[1] == 0 and len(place[0].bars) >= FORM_BARS:
                return line
            line = self._grid.bar_start(line, 1)
        return None

    def _first(self, chart: Chart) -> Lead:
        """The chart from bar 1 on, or after an intro of its last bars."""
        intro, bars = self._settings.intro_bars, len(chart.bars)
        return Lead(self._grid.bar_line(0), chart, intro - -(-intro // bars) * bars) if intro else Lead(LONG_AGO, chart)

    def next_section(self, tick: int) -> int | None:
        """The section after the one at `tick` begins with the next bar; called again before that, the one after it. Returns that
        bar line; None without a chart."""
        line = self._line(tick)
        at_line, here = self.given.place(line), self.given.place(line - 1)
        if here is None or at_line is None:
            return None
        chart, bar = here
        is_asked = any(lead.tick == line for lead in self.given.leads)
        section = (chart.section_at(at_line[1] if is_asked else bar) + 1) % len(chart.sections)
        self._lead(Lead(line, chart, self._grid.bar_number(line) - chart.starts[section]))
        name = chart.sections[section].name or "the top of the chart"
        self.notices.append(f"bar {self._grid.bar_number(line) + 1}: {name}")
        return line

    def give(self, chart: Chart, tick: int) -> int:
        """Another chart, from the next bar on: in the same place where its sections are as long as before, else from the top.
        Returns that bar line."""
        line = self._line(tick)
        anchor, place = self._grid.bar_number(line), self.given.place(line)
        if place is not None and [len(each.bars) for each in place[0].sections] == [
            len(each.bars) for each in chart.sections
        ]:
            anchor -= place[1]
        self._lead(Lead(line, chart, anchor))
        self.notices.append(f"bar {self._grid.bar_number(line) + 1}: the new chart")
        return line

    # --- the hands ---

    def chord_struck(self, keys: frozenset[int], tick: int, free: int) -> int | None:
        """A chord was played by hand at `tick`: it holds from the next beat on, but not before `free`, up to where all is final.
        Returns from where on; None where it is no other chord."""
        now = self.given.at(tick)
        symbol = chord_of(keys, now.key if now is not None else None)
        if symbol is None:
            return None
        beat = max(self._grid.next_beat(tick), free)
        there = self.given.at(beat)
        if there is not None and there.symbol[:3] == symbol[:3]:
            return None
        self._by_hand = [*self._by_hand, symbol][-KEY_CHORDS:]
        self._lead(Lead(beat, one_chord(symbol, self._key_by_hand()), self._grid.bar_number(beat)))
        if beat < self._noted or self._beat == LONG_AGO:  # this beat has begun with another chord
            self._noted = beat
            self._note_down(beat, self._grid.next_beat(beat + 1))
        return beat

    def _key_by_hand(self) -> Key:
        bars = tuple((symbol,) for symbol in self._by_hand)
        return keys_of(Chart((Section("", bars),)))[-1]

    # --- the player ---

    def key_down(self, pitch: int, tick: int) -> None:
        """The player's key went down."""
        if self._settings.chart is not None:  # else nobody asks, and what it hears is never forgotten
            self._straying.key_down(pitch, tick)

    def key_up(self, pitch: int, tick: int) -> None:
        """It went up."""
        self._straying.key_up(pitch, tick)

    def beat(self, tick: int, free: int) -> int | None:
        """The beat around `tick` has begun; what comes before `free` is final. Returns the tick from which on other chords are
        given, if the player has left the chart and is followed."""
        beat = self._grid.beat_at(tick)
        if beat.start <= self._beat:
            return None
        before = self._grid.beat_at(beat.start - 1)
        self._note_down(before.start if self._beat == LONG_AGO else beat.start, beat.start + beat.length)
        self._beat = beat.start
        stray = self._straying.beat(before.start, beat.start, self.given) if self._settings.chart is not None else None
        if stray is None:
            return None
        number = self._grid.bar_number(beat.start) + 1
        if stray.symbol is None:
            late = "behind" if stray.bars < 0 else "ahead of"
            bars = "a bar" if abs(stray.bars) == 1 else f"{abs(stray.bars)} bars"
            self.notices.append(f"bar {number}: you are {bars} {late} the chart{self._then()}")
            return self._move(free, stray.bars) if self._settings.follow_player else None
        has = self.given.at(beat.start)
        given = has.symbol.name if has is not None else "none"
        self.notices.append(f"bar {number}: you play {stray.symbol.name}, the chart has {given}{self._then()}")
        return self._instead(free, stray.symbol) if self._settings.follow_player else None

    def _then(self) -> str:
        return ", and Antiphon goes with you" if self._settings.follow_player else ""

    def _move(self, tick: int, bars: int) -> int | None:
        """From `tick` on the chart runs `bars` bars later (negative: earlier)."""
        place = self.given.place(tick)
        if place is None:
            return None
        chart, bar = place
        self._lead(Lead(tick, chart, self._grid.bar_number(tick) - bar - bars))
        return tick

    def _instead(self, tick: int, symbol: Symbol) -> int | None:
        """Another chord until the chart changes its own."""
        chord, place = self.given.at(tick), self.given.place(tick)
        if chord is None or place is None:
            return None
        anchor = self._grid.bar_number(tick) - place[1]
        self._lead(Lead(tick, one_chord(symbol, chord.key), self._grid.bar_number(tick)))
        self._lead(Lead(chord.end, place[0], anchor))
        return tick

    # --- what is told ---

    def _lead(self, lead: Lead) -> None:
        self.given.lead(lead)
        self._ask(lead)

    def _chart(self, tick: int) -> Chart | None:
        """The last chart that was given; a chord by hand is none, and is over with a jump."""
        charts = [lead.chart for lead in self.given.leads if lead.chart is not None and len(lead.chart.bars) > 1]
        return charts[-1] if charts else self._settings.chart

    def _line(self, tick: int) -> int:
        """The first bar line after `tick`."""
        return self._grid.bar_start(tick, 1)

    def _note_down(self, tick: int, end: int) -> None:
        """Keep what is given in a beat that begins."""
        tick, self._noted = max(tick, self._noted), max(end, self._noted)
        while tick < end:
            chord = self.given.at(tick)
            name = chord.symbol.name if chord is not None else ""
            if name != (self.passed[-1][1] if self.passed else ""):
                self.passed.append((tick, name))
            tick = max(chord.end, tick + 1) if chord is not None else self._grid.next_beat(tick + 1)
