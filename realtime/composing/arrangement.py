"""The feels of a band: which hits of drums, bass and chords are due where in a bar. Pure; times in ticks.

A feel is a table of lines, as on a drum machine: a line for each drum, one for the bass and one for the chords, with a group of
cells for each beat and a "|" between bars. These are rules and not learned; a model fills in between the hits
(`realtime.composing.band`), and `realtime.composing.rules` plays them as they are.

    x    the drum is struck               c    a chord is struck
    r f  the bass plays root or fifth     t    another tone of the chord
    a    a tone that leads to the next root, where another chord comes next; else as t

A line of fewer beats than the bar has goes on from its second beat on, so every feel can be played in every metre.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from realtime.core.dialogue import Feel as Change
from realtime.core.dialogue import Turn
from realtime.core.plans import LONG_AGO
from realtime.music.given import Chord, Given
from realtime.music.metre import TICKS, Beat, BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, Role

KICK, STICK, SNARE, LOW_TOM, HAT, MIDDLE_TOM, PEDAL_HAT, HIGH_TOM, CRASH, RIDE = 36, 37, 38, 43, 42, 45, 44, 48, 49, 51
"""Keys of the General MIDI drum kit."""
CYMBALS = frozenset({HAT, PEDAL_HAT, RIDE})
FILL = (SNARE, HIGH_TOM, MIDDLE_TOM, LOW_TOM)
"""What is struck on the last beat before a section, in order."""
SECTION_BARS, FORM_BARS = 4, 8
"""Sections of fewer bars have no fill; without a chart every so many bars are one."""
NEW_BARS = 4
"""So long after a feel has begun, a model is likely to go on with the hits of the one before."""
CHORD = "c"
LAST_SOUNDS: dict[int, tuple[int | str, ...]] = {ACCOMPANIMENT: (CHORD,), BASS: ("r",), DRUMS: (KICK,)}
"""What each part strikes at the end of an accompaniment."""
ARRANGED = (ACCOMPANIMENT, BASS, DRUMS)
"""The parts that a feel has lines for."""


@dataclass(frozen=True)
class Feel:
    """The lines of a feel. `held`: the chords sound until the next one. `busy`: nats for a note of the model's own between the
    hits, for each part."""

    drums: Mapping[int | str, str] = field(default_factory=dict)
    bass: str = ""
    chords: str = ""
    held: bool = False
    busy: tuple[float, float, float] = (-7.0, -7.0, -5.0)

    @property
    def cells(self) -> int:
        """Cells of a beat: 4, or 3 where eighths are late."""
        return len(next(iter(self.drums.values()), "....").split()[0])

    def line(self, part: int) -> Mapping[int | str, str]:
        """The lines of a part: by key of the kit, or by "" where it has one."""
        return self.drums if part == DRUMS else {"": self.bass if part == BASS else self.chords}


FEELS: dict[str, Feel] = {
    "ballad": Feel(
        {KICK: "x... .... x... ....", STICK: ".... x... .... x...", HAT: "x.x. x.x. x.x. x.x."},
        bass="r... .... f... ....",
        chords="c... .... c... ....",
        held=True,
    ),
    "swing": Feel(
        {KICK: "x.. ... x.. ...", SNARE: "... x.. ... x..", PEDAL_HAT: "... x.. ... x..", RIDE: "x.. x.x x.. x.x"},
        bass="r.. t.. f.. a..",
        chords="c.. ..c ... ...",
    ),
    "bossa": Feel(
        {
            KICK: "x... ..x. x... ..x.",
            STICK: "x... ..x. .... x... | .... x... x... ....",
            HAT: "x.x. x.x. x.x. x.x.",
        },
        bass="r... ..f. f... ..t.",
        chords="c... ..c. .... c... | ..c. .... c... ....",
    ),
    "rock": Feel(
        {KICK: "x... .... x.x. ....", SNARE: ".... x... .... x...", HAT: "x.x. x.x. x.x. x.x."},
        bass="r.r. r.r. r.r. r.a.",
        chords="c... .... c... ....",
        held=True,
    ),
    "waltz": Feel(
        {KICK: "x... .... ....", STICK: ".... x... x...", RIDE: "x... x... x..."},
        bass="r... .... .... | f... .... ....",
        chords=".... c... c...",
    ),
    "march": Feel(
        {KICK: "x... .... x... ....", SNARE: ".... x... .... x.xx"},
        bass="r... .... f... ....",
        chords=".... c... .... c...",
    ),
}
PLAIN = Feel(
    {KICK: "x... .... x... ....", SNARE: ".... x... .... x...", HAT: "x... x... x... x..."},
    held=True,
    busy=(-1.0, -1.0, -5.0),
)
"""No feel: chords and bass come where a chord or a bar begins, with a plain beat."""


class Hit(NamedTuple):
    """What is due at a tick: `sound` is a key of the kit, a letter of the bass line, or `CHORD`."""

    tick: int
    sound: int | str


@cache
def _beat_of(line: str, bar: int, beat: int) -> str:
    """The cells of a beat in a bar, both counted from 0."""
    bars = [each.split() for each in line.split("|")]
    beats = bars[bar % len(bars)]
    if not beats:
        return ""
    return beats[beat] if beat < len(beats) or len(beats) == 1 else beats[1 + (beat - 1) % (len(beats) - 1)]


class Arrangement:
    """The feels over the bars of a grid and the chords that are given."""

    def __init__(self, feel: str | None, grid: BeatGrid, given: Given) -> None:
        self._changes = [Change(LONG_AGO, feel)]
        self.grid, self._given = grid, given

    def change(self, change: Change) -> None:
        """Another feel from its tick on; what was to change later does not."""
        self._changes = [*(each for each in self._changes if each.tick < change.tick), change]

    def is_new(self, tick: int) -> bool:
        """Whether another feel has begun at most `NEW_BARS` bars ago."""
        began = max(each.tick for each in self._changes if each.tick <= tick or each is self._changes[0])
        return began > LONG_AGO and self.grid.bar_number(tick) - self.grid.bar_number(began) < NEW_BARS

    def relocate(self) -> None:
        """Time goes on from another tick: what changed last holds everywhere."""
        self._changes = [Change(LONG_AGO, self._changes[-1].feel)]

    def feel_at(self, tick: int) -> Feel:
        """The feel that holds at a tick."""
        name = next((each.feel for each in reversed(self._changes) if each.tick <= tick), self._changes[0].feel)
        return FEELS[name] if name is not None else PLAIN

    def hits(self, part: int, beat: Beat, chord: Chord | None = None) -> list[Hit]:
        """What a part, of `ARRANGED`, has to strike in a beat, in order. chord: the one that counts there where none is given."""
        feel = self.feel_at(beat.start)
        length = TICKS // feel.cells
        bar = self.grid.bar_number(beat.start)
        found = {
            Hit(beat.start + place * length, key if key != "" else sign)
            for key, line in feel.line(part).items()
            for place, sign in enumerate(_beat_of(line, bar, beat.in_bar) if line else "")
            if sign != "." and place * length < beat.length
        }
        if part == DRUMS:
            return sorted(self._form(found, beat, bar))
        begins = [tick for tick in range(beat.start, beat.start + beat.length) if self._begins(tick, beat, chord)]
        for tick in begins:
            if part == BASS:
                found = {hit for hit in found if hit.tick != tick} | {Hit(tick, "r")}
            elif not self._comes_soon(tick, beat, found):
                found.add(Hit(tick, CHORD))
        return sorted(found)

    def last_tick(self, role: Role, turn: Turn) -> int | None:
        """Where all strike for the last time in an accompaniment whose end is known: on the bar line in its last two beats, or
        else on the last beat."""
        if role != Role.ACCOMPANY or turn.end is None or turn.voices:
            return None
        line = self.grid.bar_start(turn.end - 1)
        return line if line >= max(turn.end - 2 * TICKS, turn.start) else max(turn.end - TICKS, turn.start)

    def _begins(self, tick: int, beat: Beat, chord: Chord | None) -> bool:
        """Whether another chord begins at a tick; without a feel, a bar too."""
        here = self._given.at(tick) or chord
        if here is None or here.start != tick:
            return False
        before = self._given.at(tick - 1)
        is_bar = self.feel_at(tick) is PLAIN and beat.in_bar == 0 and tick == beat.start
        return is_bar or before is None or before.symbol != here.symbol

    def _comes_soon(self, tick: int, beat: Beat, found: set[Hit]) -> bool:
        """Whether the line has a chord at most a beat after a tick, before another one begins."""
        here = self._given.at(tick)
        end = here.end if here is not None else tick + 2 * TICKS
        if any(tick <= hit.tick < end for hit in found):
            return True
        after = self.grid.beat_at(beat.start + beat.length)
        chords = self.feel_at(after.start).chords
        cells = _beat_of(chords, self.grid.bar_number(after.start), after.in_bar) if chords else ""
        return cells[:1] == CHORD and after.start <= tick + TICKS and after.start < end

    def _form(self, found: set[Hit], beat: Beat, bar: int) -> set[Hit]:
        """The hits of the drums with a fill before a section, and a crash where it begins."""
        if beat.in_bar == 0 and bar > 0 and self._opens(bar):
            found = found | {Hit(beat.start, CRASH)}
        is_last = beat.start + beat.length == self.grid.bar_line(bar + 1)
        if is_last and beat.in_bar > 0 and self._opens(bar + 1):
            cells = self.feel_at(beat.start).cells
            fill = {Hit(beat.start + place * (TICKS // cells), key) for place, key in enumerate(FILL[:cells])}
            found = {hit for hit in found if hit.sound not in CYMBALS and hit.tick == beat.start} | fill
        return {hit for hit in found if hit.tick < beat.start + beat.length}

    def _opens(self, bar: int) -> bool:
        """Whether a section begins with a bar."""
        place = self._given.place(self.grid.bar_line(bar))
        if place is None:
            return bar % FORM_BARS == 0
        chart, number = place
        if number not in chart.starts:
            return False
        before = chart.sections[chart.starts.index(number) - 1]  # before the first comes the last again
        return len(before.bars) >= SECTION_BARS
