"""A chart: the chords of a tune bar by bar, as musicians write them. Pure.

    Am7 | D7 / G7 C7 | Gmaj7 | %      a bar a cell; names and "/" (the chord before) share the bar; % is the bar before
    |: Am7 | D7 |1. G | E7 :|2. G ||  repeats (:|x3 plays three times), with endings (1,3. is the first and the third)
    [A] Am7 | D7 ; [B] C | F          named sections; a new line, or ";", ends a bar as "|" does
    order: A A B A                    the order in which the sections are played; else as they are written
    key: A minor                      the key; else it follows from the chords
    # a comment                       to the end of the line

As many names as beats: one a beat. Fewer: the first ones get more (3 in 4: 2, 1, 1). More: equal shares of the bar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from realtime.errors import nearest
from realtime.music.keys import PITCH_NAMES, Key, parse_key
from realtime.music.metre import TICKS
from realtime.music.symbols import Symbol, pitch_class, read

MOST_BARS, MOST_TEXT, MOST_TIMES, MOST_NAMES = 4096, 1 << 16, 64, 64
AS_BEFORE, SAME_BAR = "/", "%"
FINEST = TICKS // 4
"""Ticks: chords of a file begin on sixteenths."""
_SIGN = re.compile(
    r"\[(?P<section>[^\[\]|]*)\]|(?P<close>:\|+)(?P<open_too>:)?(?:\s*x\s*(?P<times>\d+))?|(?P<open>\|+:)|\|+\]?"
)
_ENDING = re.compile(r"\s*(\d+(?:\.?\s*[,-]\s*\d+)*)(?:\.|\s)\s*(?=\S|$)")
_FIELD = re.compile(r"\s*(order|form|key)\s*:\s*(.*?)\s*", re.IGNORECASE)
_COMMENT = re.compile(r"(?:^\s*#|\s#(?!\d)).*")
_LINES = re.compile(r"[\r\n\v\f\x85\u2028\u2029]")
_GERMAN_KEY = re.compile(r"([A-Ha-h](?:is|es|s)?[#♯b♭]?)(m(?=\s*$))?(?:[\s-]+(.*))?")
GERMAN_SCALES = {"dur": "major", "moll": "minor", "dorisch": "dorian", "mixolydisch": "mixolydian"}

Bar = tuple[Symbol, ...]
"""The chords that share a bar, see `slot_starts`."""


WORDS = "words before a colon are key: and order:, each on a line of its own; a section is named as in [A]"


class Section(NamedTuple):
    """A stretch of a chart as it is played, repeats and endings written out. `name`: "" where it has none."""

    name: str
    bars: tuple[Bar, ...]


class Chart(NamedTuple):
    """The sections in the order in which they are played; after the last comes the first again. `key`: where one is named."""

    sections: tuple[Section, ...]
    key: Key | None = None

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All bars in the order in which they are played."""
        return tuple(bar for section in self.sections for bar in section.bars)

    @property
    def starts(self) -> tuple[int, ...]:
        """The bar, from 0, with which each section begins."""
        starts = [0]
        for section in self.sections[:-1]:
            starts.append(starts[-1] + len(section.bars))
        return tuple(starts)

    def section_at(self, bar: int) -> int:
        """Which section a bar, from 0, lies in."""
        return max(number for number, start in enumerate(self.starts) if start <= bar)


def one_chord(symbol: Symbol, key: Key | None = None) -> Chart:
    """A chart of one chord that goes on for ever."""
    return Chart((Section("", ((symbol,),)),), key)


def slot_starts(count: int, bar_ticks: int) -> list[int]:
    """The ticks of a bar at which its `count` chords begin."""
    beats = -(-bar_ticks // TICKS)
    if count > beats:
        return [bar_ticks * place // count for place in range(count)]
    return [TICKS * -(-place * beats // count) for place in range(count)]


def bar_text(sounding: str, changes: Sequence[tuple[int, str]], length: int) -> str:
    """The words of a bar of `length` ticks. sounding: the name at its beginning; changes: (tick in the bar, name) in order."""
    names = {0: sounding, **dict(changes)}
    if len(names) == 1:
        return names[0]
    steps = (TICKS, TICKS // 2, FINEST, 1)
    step = next(step for step in steps if not length % step and not any(tick % step for tick in names))
    return " ".join(names.get(tick, AS_BEFORE) for tick in range(0, length, step))


def parse_chart(text: str, german: bool = False) -> Chart:
    """Read a chart. Raises ValueError that names the bar, counted as written from 1, and what is wrong with it."""
    if len(text) > MOST_TEXT:
        raise ValueError(f"a chart of {len(text)} characters; allowed {MOST_TEXT}")
    reader = _Reader(german)
    for line in _LINES.split(text.lstrip("\ufeff")):
        for piece in _COMMENT.sub("", line).split(";"):
            reader.line(piece)
    return reader.chart()


def _in_english(key: str) -> str:
    """The name of a key in German, such as "h-Moll", as `parse_key` reads it; what is none stays as it is."""
    match = _GERMAN_KEY.fullmatch(key)
    tonic = pitch_class(match[1].capitalize(), True) if match is not None else None
    if match is None or tonic is None:
        return key
    scale = match[3] or ""
    return f"{PITCH_NAMES[tonic]}{match[2] or ''} {GERMAN_SCALES.get(scale.lower(), scale)}".strip()


@dataclass(slots=True)
class _Block:
    """What is repeated: bars, and endings with the passes they are for."""

    bars: list[Bar] = field(default_factory=list)
    endings: list[tuple[frozenset[int], list[Bar]]] = field(default_factory=list)

    @property
    def last(self) -> list[Bar]:
        """Where the next bar belongs."""
        return self.endings[-1][1] if self.endings else self.bars


class _Reader:
    """Reads line by line. A section is built up from blocks that are played out as they end."""

    def __init__(self, german: bool) -> None:
        self._german = german
        self._sections: dict[str, list[Bar]] = {}
        self._order: str | None = None
        self._key: Key | None = None
        self._name = ""
        self._block = _Block()
        self._closed = False
        self._bar: Bar | None = None
        self._number = 0

    def line(self, line: str) -> None:
        """A line of the chart."""
        if match := _FIELD.fullmatch(line):
            self._set(match[1].lower(), match[2])
            return
        at, after_bar = 0, False
        for sign in _SIGN.finditer(line):
            self._cell(line[at : sign.start()], after_bar and sign["section"] is None and sign[0] == "|")
            self._sign(sign)
            at, after_bar = sign.end(), sign["section"] is None and not sign["times"]
        self._cell(line[at:], False)

    def chart(self) -> Chart:
        """What was read."""
        self._play_out()
        if not any(self._sections.values()):
            raise ValueError("a chart without chords; allowed bars as in Am7 | D7 | Gmaj7 | %")
        sections = {name: bars for name, bars in self._sections.items() if bars}
        played = self._played(list(sections))
        if sum(len(sections[name]) for name in played) > MOST_BARS:
            raise ValueError(f"a chart of more than {MOST_BARS} bars, with its repeats; give a shorter one")
        return Chart(tuple(Section(name, tuple(sections[name])) for name in played), self._key)

    def _played(self, names: list[str]) -> list[str]:
        """The sections in order."""
        if self._order is not None and "" in names:
            raise ValueError("order: cannot name the bars before the first section; give them a name, as in [A]")
        if self._order is None:
            return names
        words = re.split(r"[\s,]+", self._order)
        if len(words) == 1 and words[0] not in names and all(letter in names for letter in words[0]):
            words = list(words[0])  # AABA
        order = []
        while any(words):
            for length in range(len(words), 0, -1):  # the longest name first: "Verse 1" before "Verse"
                if (name := " ".join(words[:length])) in names:
                    break
            else:
                known = ", ".join(name for name in names if name) or "none has a name"
                name = words[0]
                raise ValueError(f"order: there is no section {name!r:.40}{nearest(name, names)}; there are {known}")
            order.append(name)
            words = words[length:]
        if not order:
            raise ValueError("order: names no section; give the sections in order, as in A A B A")
        return order

    def _set(self, what: str, value: str) -> None:
        if what == "key":
            try:
                self._key = parse_key(_in_english(value) if self._german else value)
            except ValueError as error:
                raise ValueError(f"key: {value!r:.40} given; {error}") from None
        else:
            self._order = value

    def _sign(self, sign: re.Match[str]) -> None:
        if sign["section"] is not None:
            self._play_out()
            self._name = " ".join(sign["section"].split())
            if self._name in self._sections:
                raise ValueError(
                    f"section {self._name!r:.40} is written twice; write it once, and say order: when it is played"
                )
        elif sign["close"]:
            times = int(sign["times"] or 2)
            if not 1 <= times <= MOST_TIMES:
                raise ValueError(f"bar {self._number}: x{times} given; allowed 1 to {MOST_TIMES} times")
            if self._block.endings:
                self._closed = True  # another ending may follow
            else:
                self._play_out(times)
            if sign["open_too"]:
                self._play_out()
        elif sign["open"]:
            self._play_out()

    def _cell(self, cell: str, may_not_be_empty: bool) -> None:
        if ending := _ENDING.match(cell):
            self._begin_ending(ending[1])
            cell = cell[ending.end() :]
        words = re.sub(r"\s*,\s*(?=[^()]*\))", ",", cell).split()
        if not words:
            if may_not_be_empty:
                raise ValueError(
                    f"bar {self._number + 1} is empty; {SAME_BAR} repeats the bar before, N.C. is no chord"
                )
            return
        if self._closed:
            self._play_out()
        self._number += 1
        if words == [SAME_BAR]:
            if self._bar is None:
                raise ValueError(f"bar {self._number}: {SAME_BAR} repeats the bar before, and there is none")
        else:
            if len(words) > MOST_NAMES:
                raise ValueError(f"bar {self._number}: {len(words)} names in it; allowed {MOST_NAMES}")
            self._bar = tuple(self._slots(words))
        self._block.last.append(self._bar)
        if len(self._block.last) > MOST_BARS:
            raise ValueError(f"a chart of more than {MOST_BARS} bars; give a shorter one")

    def _slots(self, words: Sequence[str]) -> Iterator[Symbol]:
        before = self._bar[-1] if self._bar is not None else None
        for word in words:
            if word == SAME_BAR:
                raise ValueError(f"bar {self._number}: {SAME_BAR} is a whole bar; {AS_BEFORE} is the chord before")
            if word != AS_BEFORE:
                try:
                    before = read(word, self._german)
                except ValueError as error:
                    advice = WORDS if word.endswith(":") else error
                    raise ValueError(f"bar {self._number}: {advice}") from None
            elif before is None:
                raise ValueError(f"bar {self._number}: {AS_BEFORE} is the chord before, and there is none")
            yield before

    def _begin_ending(self, numbers: str) -> None:
        passes: set[int] = set()
        for part in numbers.replace(".", "").split(","):
            first, _, last = part.partition("-")
            passes |= set(range(int(first), min(int(last or first), MOST_TIMES) + 1))
        if not passes or max(passes) > MOST_TIMES or min(passes) < 1:
            raise ValueError(f"bar {self._number + 1}: ending {numbers}. given; allowed 1 to {MOST_TIMES}")
        if 1 in passes and self._block.endings:
            self._play_out()
        self._closed = False
        self._block.endings.append((frozenset(passes), []))

    def _play_out(self, times: int = 1) -> None:
        """The block is over: its bars as they are played, into the section."""
        block, self._block, self._closed = self._block, _Block(), False
        bars = self._sections.setdefault(self._name, [])
        if not block.endings:
            bars += block.bars * times
        else:
            passes = max(max(numbers) for numbers, _ in block.endings)
            for number in range(1, passes + 1):
                ending = next((bars for numbers, bars in block.endings if number in numbers), None)
                if ending is None:
                    raise ValueError(f"bar {self._number}: there is no ending {number}.; every pass needs one")
                bars += block.bars + ending
        if len(bars) > MOST_BARS:
            raise ValueError(f"a chart of more than {MOST_BARS} bars, with its repeats; give a shorter one")
