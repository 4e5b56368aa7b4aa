"""Chord symbols as musicians write them on charts: read into a class of the model, a bass and the tones. Pure.

    read("Cm7b5")    C ø, C-7b5, Cmin7(b5) say the same
    read("C13/E")    a richer chord keeps its tones, and the class nearest to it

`realtime.music.chords.parse_label` reads the labels of annotations, which is laxer: it takes what it does not know for unknown. A
chart is written by hand, so here every word must be one of the language, and a slip names the nearest symbol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from realtime.errors import nearest
from realtime.music.chords import LETTERS, NO_CHORD, NO_CHORD_SYMBOL, UNKNOWN, nearest_quality
from realtime.music.chords import chord as class_of

TRIANGLES = ("Δ", "∆", "△", "^", "j")
"""These mean a major seventh, with a 7 after them or without."""
NONE_WORDS = ("N.C.", "NC", "N.C", "NONE")
DEGREES = {2: 2, 3: 4, 4: 5, 5: 7, 6: 9, 9: 2, 11: 5, 13: 9}
"""Semitones above the root, without octaves."""
SEVENTHS = ("7", "9", "11", "13")
DASHES = str.maketrans("‐‑‒–−", "-----")
"""What word processors make of a minus sign."""

_WORD = re.compile(
    r"(?P<half>half-?dim|hdim|ø|Ø)"
    r"|(?P<add>add(?P<add_sign>[#♯b♭]?)(?P<add_degree>11|13|2|4|6|9))"
    r"|(?P<no>(?:no|omit)(?P<no_degree>[35]))"
    r"|(?P<sus>sus(?P<sus_degree>24|2|4)?)"
    r"|(?P<alt>alt)"
    r"|(?P<alter>(?P<alter_sign>[#♯b♭]|(?<!^)[+-])(?P<alter_degree>11|13|5|6|9))"
    r"|(?P<dim>dim|°|º|o)"
    r"|(?P<aug>aug|\+)"
    r"|(?P<maj>[Mm]ajor|maj|Maj|MAJ|ma(?!dd)|Ma|MA|M(?![iI])|j|Δ|∆|△|\^)"
    r"|(?P<min>[Mm]inor|min|Min|MIN|mi|Mi|MI|m|-)"
    r"|(?P<dom>dom)"
    r"|(?P<sixnine>6/9|69)"
    r"|(?P<number>11|13|[2-79])"
    r"|(?P<stop>[(), ]|/(?=[#♯b♭+-]?\d|[Mm]))"
)
_ROOT = re.compile(r"[A-G](?:##|♯♯|bb|♭♭|[#♯b♭])?")
_GERMAN_ROOT = re.compile(r"(?:[A-H](?:is|es|[#♯b♭])|[AE]s|[A-H])")
SPELLINGS = (
    "", "m", "7", "maj7", "m7", "m7b5", "dim", "dim7", "aug", "sus4", "sus2", "6", "m6", "9", "m9", "maj9", "11", "m11",
    "13", "maj13", "7b9", "7#9", "7b5", "7#5", "7#11", "maj7#11", "7alt", "7sus4", "9sus4", "13sus4", "add9", "madd9",
    "6/9", "mmaj7", "5", "13b9", "7b13", "maj7#5",
)  # fmt: skip
"""Qualities to compare a slip with."""


class Symbol(NamedTuple):
    """A chord of a chart. `chord`: the nearest class of the model (`NO_CHORD` for N.C., `UNKNOWN` without a third); `bass`: the
    pitch class that is meant to be the lowest, None for N.C.; `tones`: all its pitch classes, with the bass; `name`: as it was
    written."""

    chord: int
    bass: int | None
    tones: frozenset[int]
    name: str


NO_SYMBOL = Symbol(NO_CHORD, None, frozenset(), NO_CHORD_SYMBOL)


def read(text: str, german: bool = False) -> Symbol:
    """The chord that a symbol names. `german`: H is B, and B is B flat; Fis, Es and the like are read too. Raises ValueError,
    with the nearest symbol, for what is none."""
    name = text.strip()
    if name.upper() in NONE_WORDS:
        return NO_SYMBOL
    inner = name[1:-1] if name.startswith("(") and name.endswith(")") else name
    for root, rest in _roots(inner.translate(DASHES), german):
        head, slash, bass_name = rest.rpartition("/")
        if slash and not rest.endswith("6/9") and (bass := pitch_class(bass_name, german)) is not None:
            quality = head
        else:
            quality, bass = rest, root
        if (parts := _parts_of(quality)) is not None:
            chord = UNKNOWN if parts.third is None else class_of(root, parts.quality)
            return Symbol(chord, bass, frozenset((root + tone) % 12 for tone in parts.intervals) | {bass}, name)
    raise ValueError(f"{name!r:.40} is no chord{_nearest_symbol(name, german)}")


def _roots(name: str, german: bool) -> list[tuple[int, str]]:
    """Every way to cut a symbol into a root (pitch class) and the rest, the longest root first: Esus is E with "sus"."""
    found = []
    for length in range(min(3, len(name)), 0, -1):
        if (root := pitch_class(name[:length], german)) is not None:
            found.append((root, name[length:]))
    return found


def pitch_class(name: str, german: bool) -> int | None:
    """0..11; None for what is no note's name. In German "Bb" and "B" are the same."""
    if not (_GERMAN_ROOT if german else _ROOT).fullmatch(name):
        return None
    if german and name in ("B", "Bb", "B♭"):
        return 10
    letter = LETTERS["B" if name[0] == "H" else name[0]]
    rest = name[1:].replace("is", "#")
    flats = rest.count("b") + rest.count("♭") + rest.endswith("s")
    return (letter + rest.count("#") + rest.count("♯") - flats) % 12


def _nearest_symbol(name: str, german: bool) -> str:
    starts = (name[:2], name[:1], name[:1].upper())
    root = next((start for start in starts if pitch_class(start, german) is not None), "")
    if not root and name[:1] in "Hh":
        return "; H is read where chords.german is set"
    if not root:
        return "; allowed a note and a quality, as in Am7, D7, Gmaj7, or N.C."
    return nearest(name, [f"{root}{quality}" for quality in SPELLINGS]) or f"; did you mean {root!r}?"


def _parts_of(quality: str) -> _Parts | None:
    """What follows a root ("m7b5"), word by word; None where something in it is no word, or stands in the wrong place."""
    parts, at = _Parts(), 0
    if "," in re.sub(r"\([^()]*\)", "", quality) or quality.count("(") != quality.count(")"):
        return None
    while at < len(quality):
        match = _WORD.match(quality, at)
        if match is None or (at == 0 and match[0] == "/") or not (match["stop"] or parts.add(match, at == 0)):
            return None
        at = match.end()
    return parts


@dataclass(slots=True)
class _Parts:
    """A chord that is put together, in semitones above the root. `third`: None in a power chord; `more`: what is neither third,
    fifth nor seventh; `without`: degrees left out; `has_ninth`:
    of a 9, 11 or 13, natural where it is not altered."""

    third: int | None = 4
    fifths: set[int] = field(default_factory=lambda: {7})
    seventh: int | None = None
    sus: set[int] = field(default_factory=set)
    more: set[int] = field(default_factory=set)
    without: set[int] = field(default_factory=set)
    is_major: bool = False
    is_diminished: bool = False
    has_ninth: bool = False
    is_numbered: bool = False

    @property
    def quality(self) -> str:
        """The nearest of `chords.QUALITIES`."""
        fifth = 7 if 7 in self.fifths or len(self.fifths) != 1 else min(self.fifths)
        return nearest_quality(self.third or 4, fifth, self.seventh or 0, bool(self.sus))

    @property
    def intervals(self) -> set[int]:
        """All its tones."""
        thirds = self.sus or ({self.third} if self.third is not None else set())
        tones = {0} | (thirds if 3 not in self.without else set()) | (self.fifths if 5 not in self.without else set())
        ninth = {DEGREES[9]} if self.has_ninth and not self.more & {1, 3} else set()
        return tones | self.more | ninth | ({self.seventh} if self.seventh is not None else set())

    def add(self, word: re.Match[str], first: bool) -> bool:
        """Take one word. Returns whether it can stand there."""
        text = word[0]
        if word["half"]:
            self.third, self.fifths, self.seventh = 3, {6}, 10
        elif word["dim"]:
            self.third, self.fifths, self.is_diminished = 3, {6}, True
        elif word["min"]:
            self.third = 3
        elif word["aug"]:
            self.fifths = {8}
        elif word["maj"]:
            self.is_major = True
            self.seventh = 11 if text in TRIANGLES or self.is_numbered else self.seventh  # C7M is Cmaj7
        elif word["dom"]:
            self.seventh = 10
        elif word["sus"]:
            self.sus = {"2": {2}, "24": {2, 5}}.get(word["sus_degree"] or "", {5})
        elif word["alt"]:
            self.seventh, self.fifths, self.more = 10, {6, 8}, {1, 3}
        elif word["sixnine"]:
            self.more |= {9, 2}
        elif word["add"]:
            self.more.add((DEGREES[int(word["add_degree"])] + _sign(word["add_sign"])) % 12)
        elif word["no"]:
            self.without.add(int(word["no_degree"]))
        elif word["alter"]:
            self._alter(int(word["alter_degree"]), _sign(word["alter_sign"]))
        else:
            return self._number(text, first)
        return True

    def _alter(self, degree: int, sign: int) -> None:
        tone = (DEGREES[degree] + sign) % 12
        if degree == 5:
            self.fifths = {tone} if self.fifths <= {7, tone} else self.fifths | {tone}
        else:
            self.more.add(tone)

    def _number(self, text: str, first: bool) -> bool:
        """A number that stands by itself: a seventh and what lies above it, a sixth, a power chord."""
        if text == "7" and self.is_numbered:
            return False
        self.is_numbered = True
        if text in SEVENTHS:
            self.seventh = 11 if self.is_major else 9 if self.is_diminished and text == "7" else self.seventh or 10
            self.has_ninth = text != "7"
            if text in ("11", "13"):
                self.more.add(DEGREES[int(text)])
        elif text == "6":
            self.more.add(9)
        elif text == "5" and (first or self.fifths == {8}):  # "+5" is an augmented triad
            self.third = None if first else self.third
        elif text in ("2", "4") and first:
            self.more.add(DEGREES[int(text)])
        else:
            return False
        return True


def _sign(sign: str) -> int:
    return {"#": 1, "♯": 1, "+": 1, "b": -1, "♭": -1, "-": -1}.get(sign, 0)
