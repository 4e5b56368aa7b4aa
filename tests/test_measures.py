"""The figures of what was played, on music small enough to reckon by hand."""

import math

import numpy as np
import pytest

from realtime.music import measures
from realtime.music.keys import Key, key_of
from realtime.music.notes import note_array, sounding

C_MAJOR = [60, 62, 64, 65, 67, 69, 71, 72]
NOTHING = note_array([])


def even(pitches: list[int], ticks: int = 24, start: int = 0) -> np.ndarray:
    """One note after the other."""
    return note_array((start + i * ticks, ticks, pitch) for i, pitch in enumerate(pitches))


def bars(count: int) -> np.ndarray:
    return np.arange(count + 1) * 96


def test_rows_become_notes_in_order() -> None:
    notes = note_array([(24, 6, 60), (0, 12, 64, 100), (0, 12, 60, 90, 3)])
    assert notes.tolist() == [(0, 12, 60, 90, 3), (0, 12, 64, 100, 0), (24, 6, 60, 80, 0)]


def test_the_fields_of_a_pack_will_do() -> None:
    narrow = np.dtype([("onset", "<i4"), ("duration", "<u2"), ("pitch", "u1"), ("velocity", "u1"), ("part", "u1")])
    low, high = even([72, 60, 67]).astype(narrow), even([60, 72, 60])
    assert measures.consonance(low, high) == 1.0  # 60 - 72 does not wrap around
    assert measures.similarity_curve(low, bars(1), 1).shape == (1,)


def test_entropy_of_one_pitch_class_and_of_all() -> None:
    assert measures.pitch_class_entropy(even([60, 72, 48])) == 0.0
    assert measures.pitch_class_entropy(even(list(range(60, 72)))) == pytest.approx(math.log2(12))
    assert measures.pitch_class_entropy(even([60, 67])) == pytest.approx(1.0)


def test_a_wrong_note_costs_its_share_of_the_scale() -> None:
    assert measures.scale_consistency(even(C_MAJOR)) == 1.0
    assert measures.scale_consistency(even([*C_MAJOR, 61, 63])) == pytest.approx(0.8)


@pytest.mark.parametrize("tonic", range(12))
def test_keys_are_found_in_every_transposition(tonic: int) -> None:
    assert key_of(even([p + tonic for p in (60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60)])) == Key(tonic, "major")
    assert key_of(even([p + tonic for p in (57, 59, 60, 62, 64, 65, 68, 69, 64, 60, 57)])) == Key(
        (tonic + 9) % 12, "minor"
    )


def test_both_sevenths_belong_to_a_minor_key() -> None:
    assert measures.key_agreement(even([57, 67, 68]), Key(9, "minor")) == 1.0
    assert measures.key_agreement(even([57, 61, 66, 60]), Key(9, "minor")) == 0.5
    assert Key(9, "minor").triad == {9, 0, 4}
    assert Key(2, "major").triad == {2, 6, 9}


def test_a_quarter_of_all_ticks_is_on_the_grid() -> None:
    assert measures.on_grid(note_array((tick, 1, 60) for tick in range(96))) == 0.25
    assert measures.on_grid(even(C_MAJOR, ticks=8)) == 1.0


def test_density_rests_and_what_sounds() -> None:
    notes = note_array([(0, 24, 60), (0, 12, 64), (48, 24, 67), (90, 24, 60)])
    assert measures.density(notes, 96) == 1.0
    assert measures.rests(notes, 0, 96) == pytest.approx(1 - (24 + 24 + 6) / 96)
    assert sounding(notes, 12, 60).sum(0)[[60, 64, 67]].tolist() == [12, 0, 12]
    assert measures.rests(NOTHING, 0, 96) == 1.0


def test_groove_is_one_where_bars_have_one_rhythm_whatever_the_pitches() -> None:
    steady = even([60, 62, 64, 65, 67, 69, 71, 72])
    assert measures.groove_consistency(steady, bars(2)) == 1.0
    moved = np.concatenate([even([60] * 4), even([60] * 4, start=96 + 12)])
    assert measures.groove_consistency(moved, bars(2)) == pytest.approx(1 - 8 / 48)


def test_bars_that_come_again_show_at_their_lag() -> None:
    a, b = [60, 62, 64, 65], [67, 65, 64, 62]
    curve = measures.similarity_curve(even([*a, *b, *a, *b]), bars(4), 4)
    assert curve[:3].tolist() == [pytest.approx(1 / 7), 1.0, pytest.approx(1 / 7)]  # the third note is in both
    assert math.isnan(curve[3])


def test_overlapping_area_goes_from_none_to_all() -> None:
    one, other = np.array([3, 1, 0]), np.array([0, 0, 5])
    assert measures.overlapping_area(one, one * 7) == pytest.approx(1.0)
    assert measures.overlapping_area(one, other) == 0.0
    assert measures.overlapping_area(one, np.array([1, 1, 0])) == pytest.approx(0.75)
    assert math.isnan(measures.overlapping_area(one, np.zeros(3)))


def test_histograms_count_each_thing_once() -> None:
    counts = measures.histograms(even([60, 60, 72, 60]))
    assert counts["pitch"][60] == 3
    assert counts["inter_onset"].sum() == 3
    assert counts["duration"].sum() == counts["duration"].max() == 4


def test_a_phrase_that_ends_and_one_that_breaks_off() -> None:
    key = Key(0, "major")
    ends = note_array([(0, 24, 64), (24, 24, 62), (48, 48, 60)])
    assert measures.ending(ends, 96, key) == measures.Ending(2.0, 1.0, 1.0, 1.0, 0.0)
    assert measures.ending(ends, 120, key).gap == 1.0
    assert measures.ending(ends, 90, key).closed == 0.0, "it rings on"
    breaks_off = note_array([(0, 24, 64), (24, 24, 62), (48, 24, 60), (90, 6, 61)])
    assert measures.ending(breaks_off, 96, key) == measures.Ending(0.25, 0.0, 0.0, 0.0, 0.0)
    assert measures.ending(even([60]), 96, key).lengthening == 0.0


def test_consonance_and_doubling_are_judged_when_struck() -> None:
    held = note_array([(0, 96, 60)])
    answers = note_array([(0, 24, 64), (24, 24, 66), (48, 24, 72), (72, 24, 71), (96, 24, 61)])
    assert measures.consonance(answers, held) == 0.5  # the last meets nothing
    assert measures.doubling(answers, held) == 0.25
    assert measures.unison(answers, held) == 0.0
    assert measures.unison(note_array([(0, 12, 60), (24, 12, 72)]), held) == 0.5
    assert math.isnan(measures.consonance(answers, NOTHING))


def test_one_dissonance_in_a_chord_is_enough() -> None:
    chord = note_array([(0, 24, 60), (0, 24, 65)])
    assert measures.consonance(even([64]), chord) == 0.0  # a third and a semitone
    assert measures.consonance(even([69]), chord) == 1.0


@pytest.mark.parametrize(
    ("below", "share"), [((12, 12, 12), 1.0), ((7, 19, 7), 1.0), ((5, 5, 5), 0.0), ((3, 4, 12), 0.0)]
)
def test_parallel_octaves_and_fifths_are_steps_that_keep_them(below: tuple[int, ...], share: float) -> None:
    tune = [72, 74, 76]
    assert measures.parallels(even([p - b for p, b in zip(tune, below, strict=True)]), even(tune)) == share


def test_a_note_that_stays_makes_no_parallels() -> None:
    assert math.isnan(measures.parallels(even([60, 60]), even([72, 72])))


def test_note_in_chord_counts_the_time_that_both_sound() -> None:
    melody, chords = even([60, 62, 64]), note_array([(12, 36, 48), (12, 36, 52), (48, 12, 76)])
    share = measures.note_in_chord(melody, chords, 0, 72)
    assert np.isnan(share[:12]).all()
    assert share[12:24].tolist() == [1.0] * 12
    assert share[24:48].tolist() == [0.0] * 24
    assert share[48:60].tolist() == [1.0] * 12
    assert np.isnan(share[60:]).all()


def chord_at_all_ticks(*pitch_classes: int, ticks: int = 96) -> np.ndarray:
    return np.tile(np.isin(np.arange(12), pitch_classes), (ticks, 1))


@pytest.mark.parametrize(
    ("note", "share"),
    [(60, 0.0), (65, 0.5), (62, 0.0), (63, 0.5), (40, 0.0), (77, 0.5), (51, 0.5)],
    ids=["third", "second above", "whole tone", "second below", "unison", "ninth above", "major seventh and more"],
)
def test_a_second_or_a_seventh_outside_of_the_chord_is_harsh(note: int, share: float) -> None:
    tune = note_array([(0, 24, 64), (24, 24, 67)])  # E, G
    accompaniment = note_array([(0, 48, note)])
    assert measures.harsh(accompaniment, tune, chord_at_all_ticks(0, 4, 7)) == share


def test_a_note_of_the_chord_is_not_harsh_and_a_rest_of_the_tune_does_not_count() -> None:
    tune = note_array([(0, 24, 72)])
    seventh = note_array([(0, 96, 71)])
    assert measures.harsh(seventh, tune, chord_at_all_ticks(0, 4, 7, 11)) == 0.0
    assert measures.harsh(seventh, tune, chord_at_all_ticks(0, 4, 7)) == 1.0
    beside = np.concatenate([seventh, note_array([(0, 8, 64)])])  # three quarters of all sound
    assert measures.harsh(beside, tune, chord_at_all_ticks(0, 4, 7)) == 0.75
    assert math.isnan(measures.harsh(seventh, NOTHING, chord_at_all_ticks(0)))


@pytest.mark.parametrize(
    ("last", "ends"),
    [((48, 64, 67), 1.0), ((48,), 1.0), ((64, 67), 0.0), ((48, 64, 69), 0.0)],
    ids=["triad", "tonic alone", "without the tonic", "another chord"],
)
def test_an_accompaniment_ends_on_the_tonic_chord(last: tuple[int, ...], ends: float) -> None:
    before = note_array([(0, 48, 55), (0, 84, 59)])  # over an eighth before the end: G, B
    notes = np.concatenate([before, note_array([(48, 48 - i, pitch) for i, pitch in enumerate(last)])])
    assert measures.ends_on_tonic(notes, Key(0, "major")) == ends


def test_nothing_is_no_error() -> None:
    key = Key(0, "major")
    for figure in (measures.pitch_class_entropy, measures.scale_consistency, measures.on_grid):
        assert math.isnan(figure(NOTHING))
    assert math.isnan(measures.key_agreement(NOTHING, key))
    assert math.isnan(measures.shared_register(NOTHING, even([60])))
    assert math.isnan(measures.density(NOTHING, 0))
    assert key_of(NOTHING) == key
    assert measures.ending(NOTHING, 96, key)[:4] == (0.0, 0.0, 0.0, 0.0)
    assert math.isnan(measures.parallels(NOTHING, even([60])))
    assert math.isnan(measures.ends_on_tonic(NOTHING, key))
    assert np.isnan(measures.similarity_curve(NOTHING, bars(4), 2)).all()
