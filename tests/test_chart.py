"""Chord symbols and charts as people write them, and the keys and scales that follow from them."""

import pytest

from realtime.music.chart import Chart, parse_chart, slot_starts
from realtime.music.chords import (
    CHORDS,
    FLATS,
    INTERVALS,
    NO_CHORD,
    QUALITIES,
    SHARPS,
    UNKNOWN,
    chord,
    parse_label,
    symbol,
)
from realtime.music.keys import Key
from realtime.music.scales import keys_of, scale_of
from realtime.music.symbols import SPELLINGS, read

# How each quality is written: by jazz musicians, in print, in sign shorthand.
WRITTEN = {
    "maj": " maj M Maj MAJ 6 6/9 69 add9 (add9) 2 maj6",
    "min": "m min mi - Min MIN m6 -6 madd9 m(maj7) mM7 -Δ7 mmaj7",
    "dim": "dim ° o dim7 °7 o7 º7",
    "aug": "aug + +5 (#5) maj7#5",
    "dom7": "7 9 11 13 dom7 7#9 7b9 7(b9,#11) 7alt alt 7b5 7#5 +7 aug7 13b9 13#11 7-9 7+9 7♭9♯9",
    "maj7": "maj7 M7 Maj7 ma7 Δ Δ7 △ ^ ^7 maj9 maj13 maj9#11 Δ9",
    "min7": "m7 min7 mi7 -7 m9 m11 m13 -9 m7add11 m7(11)",
    "m7b5": "m7b5 ø ø7 Ø -7b5 min7(b5) m7(♭5) hdim7",
    "sus": "sus sus4 sus2 7sus 7sus4 9sus4 13sus4 7(sus4)",
}
NAMES = {name: root for names in (SHARPS, FLATS) for root, name in enumerate(names)} | {
    "E#": 5,
    "Fb": 4,
    "B♭": 10,
    "F♯": 6,
}


def bars_of(text: str, german: bool = False) -> list[str]:
    return [" ".join(each.name for each in bar) for bar in parse_chart(text, german).bars]


@pytest.mark.parametrize("quality", QUALITIES)
def test_every_spelling_on_every_root(quality: str) -> None:
    for name, root in NAMES.items():
        for suffix in WRITTEN[quality].split(" "):
            found = read(name + suffix)
            assert (found.chord, found.bass) == (chord(root, quality), root), name + suffix
            assert read(f"{name}{suffix}/E").bass == 4 and read(f"{name}{suffix}/E").chord == found.chord


def test_what_is_printed_is_read_back() -> None:
    for c in range(CHORDS):
        for key in (None, Key(10, "major"), Key(2, "major")):
            found = read(symbol(c, key))
            assert found.chord == c == parse_label(symbol(c, key)).chord
            if c != NO_CHORD:
                root, quality = (c - 1) % 12, QUALITIES[(c - 1) // 12]
                assert found.tones == {(root + interval) % 12 for interval in INTERVALS[quality]}


@pytest.mark.parametrize(
    ("name", "tones"),
    [
        ("C7#9", {0, 3, 4, 7, 10}), ("C7alt", {0, 1, 3, 4, 6, 8, 10}), ("Bb13", {10, 2, 5, 8, 0, 7}), ("C6/9", {0, 2, 4, 7, 9}),
        ("C13b9", {0, 1, 4, 7, 9, 10}), ("C11", {0, 2, 4, 5, 7, 10}), ("C-Δ7", {0, 3, 7, 11}), ("C°7", {0, 3, 6, 9}),
        ("Cmaj7#11", {0, 4, 6, 7, 11}), ("C7no3", {0, 7, 10}), ("C5", {0, 7}), ("Am7/G", {9, 0, 4, 7}), ("C/D", {0, 2, 4, 7}),
    ],
)  # fmt: skip
def test_richer_chords_keep_their_tones(name: str, tones: set[int]) -> None:
    assert read(name).tones == tones


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("C7M", "Cmaj7"), ("Cj7", "Cmaj7"), ("Cj", "Cmaj7"), ("C∆7", "Cmaj7"), ("CMA7", "Cmaj7"), ("CMI7", "Cm7"),
        ("Cminor", "Cm"), ("Cm/maj7", "Cmmaj7"), ("C7/9", "C9"), ("C7/13", "C13"), ("Chalfdim", "Cm7b5"), ("C–7", "Cm7"),
        ("C−7", "Cm7"), ("(C7)", "C7"),
    ],
)  # fmt: skip
def test_other_spellings_of_the_same_chord(written: str, same: str) -> None:
    assert read(written)[1:3] == read(same)[1:3]


@pytest.mark.parametrize("name", ["C,", "C,F", "C7(", "C7)", "C/9", "(C", "C/D/E"])
def test_what_is_cut_off_is_no_chord(name: str) -> None:
    with pytest.raises(ValueError, match="is no chord"):
        read(name)


def test_no_chord_and_no_third() -> None:
    assert read("N.C.").chord == read("NC").chord == NO_CHORD and read("N.C.").bass is None
    assert read("C5").chord == UNKNOWN


def test_german_names_where_they_are_asked_for() -> None:
    for name, root in {"H": 11, "B": 10, "Bb": 10, "Fis": 6, "Es": 3, "As": 8, "Des": 1, "E": 4, "Hm7b5": 11}.items():
        assert read(name, german=True).bass == root
    assert read("Esus4", german=True).bass == 4 and read("Asus", german=True).bass == 9
    assert read("C7/H", german=True).bass == 11 and read("B").bass == 11
    with pytest.raises(ValueError, match="german"):
        read("Hm7")


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("Cmaj77", "Cmaj7"),
        ("cmaj7", "Cmaj7"),
        ("Gmsj7", "Gmaj7"),
        ("Bbm7b", "Bbm7b5"),
        ("Am7/Q", "Am7"),
        ("Dm77", "Dm7"),
    ],
)
def test_a_slip_names_the_nearest_chord(slip: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        read(slip)


def test_all_that_a_slip_is_compared_with_is_read() -> None:
    assert all(read(f"{name}{suffix}") for name in NAMES for suffix in SPELLINGS)


# --- the language ---


@pytest.mark.parametrize(
    ("text", "bars"),
    [
        ("Am7 | D7 | Gmaj7 | %", "Am7,D7,Gmaj7,Gmaj7"),
        ("| Am7 / D7 / | G |\n| C F |]", "Am7 Am7 D7 D7,G,C F"),
        ("C | / F", "C,C F"),
        ("|: C | F :| G", "C,F,C,F,G"),
        ("|: C :|x3 G", "C,C,C,G"),
        ("|: C |1. F :|2. G | A |: D :|", "C,F,C,G,A,D,D"),
        ("|: C |1,3. F :|2. G :|", "C,F,C,G,C,F"),
        ("|: C |1-2. F :|3. G || A", "C,F,C,F,C,G,A"),
        ("|: C :||: D :|", "C,C,D,D"),
        ("[A] C | F ; [B] G ; order: A A B", "C,F,C,F,G"),
        ("order: AABA\n[A] |: C :|\n# the bridge\n[B]\nG | %", "C,C,C,C,G,G,C,C"),
        ("[Verse 1] C\n[Chorus] G7(b9, #11) | N.C.", "C,G7(b9,#11),N.C."),
        ("[Verse 1] C; [Verse] F; [Coda] G; order: Verse 1, Verse Verse 1 Coda", "C,F,C,G"),
        ("|: C |1 F :|2 G", "C,F,C,G"),
        ("|: C |1.,2. F :|3.-4. G |", "C,F,C,F,C,G,C,G"),
        ("|: C | F :|x2 | G", "C,F,C,F,G"),
        ("# Kosma; 1945\nC | F # the end; of it", "C,F"),
        ("C\rF\r\nG\x0cA", "C,F,G,A"),
        ("\ufeffC | F", "C,F"),
    ],
)
def test_bars_repeats_endings_and_sections(text: str, bars: str) -> None:
    assert bars_of(text) == bars.split(",") if "(" not in text else bars_of(text)[1:] == ["G7(b9,#11)", "N.C."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Am7 | D7 | Gmaj77", "bar 3: 'Gmaj77' is no chord; did you mean 'Gmaj7'"),
        ("C | | G", "bar 2 is empty"),
        ("% | C", "bar 1: % repeats"),
        ("/ C", "bar 1: / is the chord before"),
        ("", "without chords"),
        ("[A] C; order: A Coda", "there is no section 'Coda'.*there are A"),
        ("[A] C; [A] D", "'A' is written twice"),
        ("|: C |2. D :|", "no ending 1"),
        ("C :|x99", "allowed 1 to 64"),
        ("C; [A] D; order: A", "before the first section"),
        ("key: X; C", "key: 'X' given"),
        ("|: C :|x64 :|x64 ; " * 80, "more than 4096 bars"),
        ("C" * 70_000, "allowed 65536"),
        ("C %", "bar 1: % is a whole bar"),
        ("A: C | F", r"bar 1: .*a section is named as in \[A\]"),
        ("[A] C; order:", "order: names no section"),
        ("C " * 65, "bar 1: 65 names in it; allowed 64"),
    ],
)
def test_what_is_wrong_is_said_with_its_bar(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_chart(text)


def test_sections_know_where_they_begin() -> None:
    chart = parse_chart("[A] C | F ; [B] G ; order: A B A")
    assert [section.name for section in chart.sections] == ["A", "B", "A"]
    assert chart.starts == (0, 2, 3) and [chart.section_at(bar) for bar in range(5)] == [0, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("count", "ticks", "starts"),
    [(1, 96, [0]), (2, 96, [0, 48]), (3, 96, [0, 48, 72]), (4, 96, [0, 24, 48, 72]), (8, 96, [*range(0, 96, 12)]),
     (2, 72, [0, 48]), (6, 72, [*range(0, 72, 12)]), (3, 60, [0, 24, 48])],
)  # fmt: skip
def test_names_share_the_bar_by_beats(count: int, ticks: int, starts: list[int]) -> None:
    assert slot_starts(count, ticks) == starts


# --- keys and scales ---

AUTUMN = "Cm7 | F7 | Bbmaj7 | Ebmaj7 | Am7b5 | D7b9 | Gm6 | %"
BRIDGE = "Gm7 | C7 | Fmaj7 | % | Fm7 | Bb7 | Ebmaj7 | %"


def test_the_key_follows_from_the_chords() -> None:
    assert {key.pitch_classes & {1, 3, 6} for key in keys_of(parse_chart(AUTUMN))} <= {
        frozenset({3}),
        frozenset({3, 6}),
    }
    assert keys_of(parse_chart("Dm7 | G7 | Cmaj7 | Cmaj7"))[0] == Key(0, "major")
    keys = keys_of(parse_chart(BRIDGE))
    assert keys[1:3] == (Key(5, "major"),) * 2 and keys[5:7] == (Key(3, "major"),) * 2
    assert set(keys_of(parse_chart("key: D dorian; Cmaj7 | G7"))) == {Key(2, "dorian")}


def test_a_scale_holds_its_chord_and_most_of_the_key() -> None:
    c = Key(0, "major")
    assert scale_of(read("E7").tones, 4, c) == {9, 11, 0, 2, 4, 5, 8}  # A harmonic minor
    assert scale_of(read("Fm").tones, 5, c) == {0, 2, 4, 5, 7, 8, 11}  # C harmonic major
    assert scale_of(frozenset(), 0, c) == c.pitch_classes
    chart = Chart(parse_chart(" | ".join(f"C{suffix}" for suffix in SPELLINGS)).sections)
    for (each,), key in zip(chart.bars, keys_of(chart), strict=True):
        assert each.tones <= scale_of(each.tones, 0, key) and len(scale_of(each.tones, 0, key)) >= 6


@pytest.mark.parametrize(
    ("written", "key"),
    [("H-Moll", Key(11, "minor")), ("B dur", Key(10, "major")), ("Es", Key(3, "major")), ("fis-moll", Key(6, "minor")),
     ("Bm", Key(10, "minor")), ("D dorian", Key(2, "dorian"))],
)  # fmt: skip
def test_a_german_key(written: str, key: Key) -> None:
    assert parse_chart(f"key: {written}; C", german=True).key == key
    assert parse_chart("key: B minor; C").key == Key(11, "minor")
