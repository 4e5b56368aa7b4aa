"""Chords as the model knows them: a root, one of nine qualities, or none. Pure numpy.

A chord is a class:

    0                        no chord
    1 + 12 * quality + root  root 0..11 (C = 0), quality an index into `QUALITIES`
    109 (`UNKNOWN`)          not known or not given: an input of the model, never something that it predicts

Names are read in the syntax of annotations, "C:min7/G" (Harte et al., Symbolic representation of musical chords, ISMIR 2005), and
as they stand on lead sheets, "Cm7/G". Richer qualities are reduced to the nine (`reduce`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from realtime.music.keys import Key

QUALITIES = ("maj", "min", "dim", "aug", "dom7", "maj7", "min7", "m7b5", "sus")
INTERVALS: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "dom7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "sus": (0, 5, 7),
}
"""Semitones above the root. The class does not say whether a diminished chord has a seventh, or whether a second or a
fourth is suspended."""
SUFFIXES = dict(zip(QUALITIES, ("", "m", "dim", "aug", "7", "maj7", "m7", "m7b5", "sus4"), strict=True))
NO_CHORD = 0
CHORDS = 1 + 12 * len(QUALITIES)
"""How many classes a chord head chooses from."""
UNKNOWN = CHORDS
CHORD_INPUTS = CHORDS + 1
"""How many classes a model is fed: with `UNKNOWN`."""

ROLES = ("outside", "root", "third", "fifth", "seventh")
"""What a pitch class is to a chord. The third of a suspended chord is its second or its fourth."""
NO_CHORD_SYMBOL = "N.C."
SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
FLATS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MIXED = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
DEGREES = {"1": 0, "2": 2, "3": 4, "4": 5, "5": 7, "6": 9, "7": 11, "9": 2, "11": 5, "13": 9}
NAME = re.compile(
    r"(?P<root>[A-G](?:[#♯]+|[b♭]+)?):?(?P<quality>.*?)(?:/(?P<bass>[A-G][#♯b♭]?|[#♯b♭]?(?:1[13]?|[2-7])))?(?P<guess>\?)?"
)
NONE_NAMES = frozenset({"N", "NC", "N.C.", "N.C"})


def chord(root: int, quality: str) -> int:
    """The class of a root (any integer, C = 0, counted modulo 12) and a quality of `QUALITIES`."""
    return 1 + 12 * QUALITIES.index(quality) + root % 12


def root_of(chord: int) -> int | None:
    """The root 0..11; None without a chord."""
    return (chord - 1) % 12 if NO_CHORD < chord < CHORDS else None


def quality_of(chord: int) -> str | None:
    """The name of the quality, of `QUALITIES`; None without a chord."""
    return QUALITIES[(chord - 1) // 12] if NO_CHORD < chord < CHORDS else None


def transpose(chords: np.ndarray | int, semitones: np.ndarray | int) -> np.ndarray:
    """The classes so many semitones higher, of any shape. No chord and `UNKNOWN` stay what they are."""
    classes = np.asarray(chords)
    place = classes - 1
    moved = 1 + place - place % 12 + (place + semitones) % 12
    return np.where((classes == NO_CHORD) | (classes == UNKNOWN), classes, moved)


def _roles() -> np.ndarray:
    table = np.zeros((CHORD_INPUTS, 12), np.uint8)
    for quality, intervals in INTERVALS.items():
        roles = dict(zip(intervals, (1, 2, 3, 4), strict=False)) | ({2: 2} if quality == "sus" else {})
        for root in range(12):
            for interval, role in roles.items():
                table[chord(root, quality), (root + interval) % 12] = role
    return table


ROLE = _roles()
"""(110, 12) uint8: what each pitch class is to each chord, an index into `ROLES`; 0 for all of them without a chord."""


def _members() -> np.ndarray:
    table = np.zeros((CHORD_INPUTS, 12), bool)
    for quality, intervals in INTERVALS.items():
        for root in range(12):
            table[chord(root, quality), [(root + interval) % 12 for interval in intervals]] = True
    return table


MEMBERS = _members()
"""(110, 12) bool: the pitch classes of each chord; none without a chord."""

MAJOR_MINOR = np.array(
    [
        chord(root_of(c) or 0, {4: "maj", 3: "min"}[INTERVALS[quality][1]])
        if (quality := quality_of(c)) is not None and quality != "sus"
        else c
        for c in range(CHORD_INPUTS)
    ],
    np.uint8,
)
"""(110,) the triad, major or minor, that a chord is reduced to for scoring: by its third. Suspended ones and no chord stay."""


def pitch_classes(chord: int) -> frozenset[int]:
    """The pitch classes of a chord, 0..11."""
    return frozenset(int(pc) for pc in np.flatnonzero(MEMBERS[chord]))


def note_name(pitch_class: int, key: Key | None = None) -> str:
    """C, Db ... B, with the accidentals of the key; without a key C#, Eb, F#, Ab, Bb."""
    if key is None:
        return MIXED[pitch_class]
    relative_major = (key.tonic + (0 if (key.tonic + 4) % 12 in key.triad else 3)) % 12
    return (FLATS if relative_major in (5, 10, 3, 8, 1) else SHARPS)[pitch_class]


def symbol(chord: int, key: Key | None = None) -> str:
    """As on a lead sheet: "C", "F#m7b5", "N.C."; "?" for `UNKNOWN`. Spelled in the key, if one is given."""
    root, quality = root_of(chord), quality_of(chord)
    if root is None or quality is None:
        return NO_CHORD_SYMBOL if chord == NO_CHORD else "?"
    return note_name(root, key) + SUFFIXES[quality]


class Label(NamedTuple):
    """What a chord's name says. `chord`: the class, `UNKNOWN` where the nine qualities have no place for it ("C:5"). `bass`: the
    lowest pitch class, where it is named. `guessed`: the name ends in "?", as annotations mark what they are not sure of."""

    chord: int
    bass: int | None = None
    guessed: bool = False


def parse_label(text: str) -> Label:
    """Read a chord's name: "C:min7/G", "Bbmaj7", "F#:hdim7?", "N". Raises ValueError for what is no chord's name."""
    name = text.strip()
    if name.rstrip("?") in NONE_NAMES:
        return Label(NO_CHORD, None, name.endswith("?"))
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{text!r} names no chord; allowed a root and a quality, as in C:min7 or Cm7, or N")
    root = _pitch_class(match["root"])
    bass = match["bass"]
    if bass is not None:
        degree = bass.lstrip("#♯b♭")
        bass = _pitch_class(bass) if bass[0] in LETTERS else (root + DEGREES[degree] + _accidental(bass)) % 12
    quality = reduce(match["quality"])
    return Label(UNKNOWN if quality is None else chord(root, quality), bass, match["guess"] is not None)


def _accidental(text: str) -> int:
    return sum({"#": 1, "♯": 1, "b": -1, "♭": -1}.get(sign, 0) for sign in text)


def _pitch_class(name: str) -> int:
    return (LETTERS[name[0]] + _accidental(name[1:])) % 12


TOKEN = re.compile(
    r"hdim|[Mm]aj|min|ma(?!dd)|Ma|mi|dim|aug|sus|add|alt|dom|[MmøΔ^°o]|[#b♯♭+-]?(?:1[13]|[1-79])|[+-]|[(),*/]",
    re.DOTALL,
)


def _tokens(quality: str) -> list[str] | None:
    """The words of a quality; None where something in it is no such word."""
    words, at = [], 0
    while at < len(quality):
        match = TOKEN.match(quality, at)
        if match is None:
            return None
        words.append(match[0])
        at = match.end()
    return words


def reduce(quality: str) -> str | None:
    """One of `QUALITIES` for a quality as annotations or lead sheets write it: "7#9" -> "dom7", "min9" -> "min7", "6" -> "maj",
    "dim7" -> "dim". What counts is the third, then the seventh, then the fifth. None where there is no third ("5", "1"), and
    where something is not known."""
    text = quality.replace(" ", "")
    for sign, word in (("-", "min"), ("+", "aug")):
        text = re.sub(rf"^\{sign}", word, text)
    words = _tokens(text)
    if words is None or words[:1] in (["("], ["1"], ["4"], ["5"]):
        return None
    third, fifth, seventh, major, added, suspended = 4, 7, 0, False, False, False
    for word in words:
        if word in ("min", "mi", "m", "dim", "°", "o", "hdim", "ø"):
            third, fifth = 3, fifth if word in ("min", "mi", "m") else 6
            seventh = {"hdim": 10, "ø": 10, "dim": 9, "°": 9, "o": 9}.get(word, 0)
        elif word in ("aug", "#5", "♯5", "+5"):
            fifth = 8
        elif word in ("b5", "♭5", "-5"):
            fifth = 6
        elif word in ("maj", "Maj", "ma", "Ma", "M", "Δ", "^"):
            major = True
            seventh = 11 if word in ("Δ", "^") else seventh
        elif word in ("7", "9", "11", "13") and not added:
            seventh = 11 if major else seventh or 10
        elif word == "alt":
            seventh = 10
        suspended = suspended or word == "sus"
        added = word in ("add", "6", "(") or (added and word != ")")
    return nearest_quality(third, fifth, seventh, suspended)


def nearest_quality(third: int, fifth: int, seventh: int, suspended: bool) -> str:
    """The quality with these semitones above the root; a seventh of 0 is none."""
    if suspended:
        return "sus"
    if third == 3:
        by_seventh = {10: "m7b5"} if fifth == 6 else {10: "min7"}
        return by_seventh.get(seventh, "dim" if fifth == 6 else "min")
    if seventh == 10:
        return "dom7"
    return "aug" if fifth == 8 else "maj7" if seventh == 11 else "maj"
