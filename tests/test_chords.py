"""Chord classes, their names, and what names say."""

import numpy as np
import pytest

from realtime.music import chords
from realtime.music.chords import CHORDS, NO_CHORD, QUALITIES, UNKNOWN, chord, parse_label
from realtime.music.keys import Key

WRITTEN: dict[str | None, str] = {
    "maj": "6 maj6 add9 maj(9) 6/9 majb5 maj3",
    "min": "m - min6 mMaj7 minmaj7 min3 madd9",
    "dim": "dim7 ° o7 minb5",
    "aug": "+ maj7#5",
    "dom7": "7#9 7b9 7b5 aug7 +7 13 7(#11) 7alt 9 alt",
    "maj7": "maj9 M7 Δ maj7#11",
    "min7": "min9 -7 min11",
    "m7b5": "m7b5 min7(b5) ø ø7 -7b5",
    "sus": "sus2 7sus4 9sus",
    None: "5 1 4 other (1,5)",
}
EVERY = [(root, quality) for root in range(12) for quality in QUALITIES]


def test_every_root_and_quality_has_a_class_of_its_own() -> None:
    classes = {chord(root, quality) for root, quality in EVERY}
    assert classes == set(range(1, CHORDS)) and CHORDS == UNKNOWN == 109
    for root, quality in EVERY:
        assert (chords.root_of(chord(root, quality)), chords.quality_of(chord(root, quality))) == (root, quality)
    assert chords.root_of(NO_CHORD) is chords.root_of(UNKNOWN) is chords.quality_of(UNKNOWN) is None


@pytest.mark.parametrize("key", [None, Key(10, "major"), Key(2, "major"), Key(3, "minor"), Key(6, "dorian")])
def test_a_symbol_is_read_back_as_the_chord_it_names(key: Key | None) -> None:
    for c in range(CHORDS):
        assert parse_label(chords.symbol(c, key)) == (c, None, False)
    assert chords.symbol(UNKNOWN) == "?"


@pytest.mark.parametrize(
    ("harte", "quality"), [*zip(QUALITIES, QUALITIES, strict=True), ("7", "dom7"), ("hdim7", "m7b5")]
)
def test_the_words_of_annotations_in_every_spelling_of_a_root(harte: str, quality: str) -> None:
    spellings = (
        "C B# Dbb",
        "C# Db",
        "D C## Ebb",
        "D# Eb",
        "E Fb",
        "F E#",
        "F# Gb",
        "G Abb",
        "G# Ab",
        "A G##",
        "A# Bb",
        "B Cb",
    )
    word = "sus4" if harte == "sus" else "7" if harte == "dom7" else harte
    for root, names in enumerate(spellings):
        for name in names.split():
            assert parse_label(f"{name}:{word}") == (chord(root, quality), None, False)
            assert parse_label(f"{name}:{word}/Eb?") == (chord(root, quality), 3, True)


@pytest.mark.parametrize(
    ("written", "quality"),
    [("", "maj"), *((name, quality) for quality, names in WRITTEN.items() for name in names.split())],
)
def test_richer_qualities_are_reduced(written: str, quality: str | None) -> None:
    assert chords.reduce(written) == quality
    assert parse_label(f"A{written}").chord == (UNKNOWN if quality is None else chord(9, quality))


def test_no_chord_basses_and_nonsense() -> None:
    assert parse_label("N") == parse_label("N.C.") == (NO_CHORD, None, False)
    assert parse_label("G:maj/3").bass == 11 and parse_label("G:min/b3").bass == 10 and parse_label("Gm7/F#").bass == 6
    for wrong in ("H:maj", "", "maj", "X"):
        with pytest.raises(ValueError, match="names no chord"):
            parse_label(wrong)


def test_chords_move_by_semitones_and_come_back() -> None:
    classes = np.arange(chords.CHORD_INPUTS)
    for up in range(-13, 14):
        moved = chords.transpose(classes, up)
        assert moved[NO_CHORD] == NO_CHORD and moved[UNKNOWN] == UNKNOWN
        assert all(moved[chord(root, quality)] == chord(root + up, quality) for root, quality in EVERY)
        assert np.array_equal(chords.transpose(moved, -up), classes)
        rolled = np.roll(chords.ROLE[1:CHORDS], up, axis=1)
        assert np.array_equal(chords.ROLE[moved[1:CHORDS]], rolled)


def test_pitch_classes_and_their_roles() -> None:
    assert chords.pitch_classes(chord(7, "dom7")) == {7, 11, 2, 5} and chords.pitch_classes(NO_CHORD) == set()
    assert [chords.ROLES[chords.ROLE[chord(7, "dom7"), pc]] for pc in (7, 11, 2, 5, 0)] == [
        "root", "third", "fifth", "seventh", "outside",
    ]  # fmt: skip
    assert chords.ROLE[chord(0, "sus"), 2] == chords.ROLE[chord(0, "sus"), 5] == chords.ROLES.index("third")
    for c in range(CHORDS):
        assert np.flatnonzero(chords.MEMBERS[c]).tolist() == sorted(chords.pitch_classes(c))


def test_reduction_to_major_and_minor_goes_by_the_third() -> None:
    for root in range(12):
        for quality, triad in zip(
            QUALITIES, ("maj", "min", "min", "maj", "maj", "maj", "min", "min", "sus"), strict=True
        ):
            assert chords.MAJOR_MINOR[chord(root, quality)] == chord(root, triad)
    assert chords.MAJOR_MINOR[NO_CHORD] == NO_CHORD and chords.MAJOR_MINOR[UNKNOWN] == UNKNOWN


def test_a_symbol_is_spelled_in_its_key() -> None:
    assert (
        chords.symbol(chord(10, "dom7"), Key(5, "major")) == "Bb7"
        and chords.symbol(chord(10, "dom7"), Key(11, "major")) == "A#7"
    )
    assert (
        chords.symbol(chord(3, "min"), Key(0, "minor")) == "Ebm"
        and chords.symbol(chord(6, "m7b5"), Key(4, "minor")) == "F#m7b5"
    )
