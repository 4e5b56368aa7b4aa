"""Which chord the player's notes speak for."""

from types import SimpleNamespace

import numpy as np
import pytest

from realtime.composing.chord_hearing import FIT, KEPT, ChordHearing
from realtime.core.dialogue import PlayerNote
from realtime.io.files.harmony import load_tune_harmony
from realtime.music.chords import CHORDS, MEMBERS, NO_CHORD, chord, root_of
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import MELODY

HARMONY = load_tune_harmony()
BAR = 4 * TICKS


def hearing() -> ChordHearing:
    return ChordHearing(HARMONY, BeatGrid(((0, BAR),)))


def play(heard: ChordHearing, pitches: list[int], start: int = 0, ticks: int = TICKS) -> int:
    """One after the other; returns the tick after the last."""
    for number, pitch in enumerate(pitches):
        heard.key_down(PlayerNote(start + number * ticks, pitch, 80, MELODY))
        heard.key_up(start + (number + 1) * ticks - 1, pitch)
    return start + len(pitches) * ticks


def likeliest(heard: ChordHearing, tick: int) -> int:
    return int(heard.bias(BeatGrid(((0, BAR),)).beat_at(tick)).argmax())


def test_nothing_heard_says_nothing() -> None:
    assert not hearing().bias(BeatGrid(((0, BAR),)).beat_at(0)).any()


def test_of_chords_that_are_as_likely_the_one_comes_first_that_goes_with_the_others_too() -> None:
    """C, E minor or G: E minor shares two tones with each of the others, which share one."""
    found = np.zeros(CHORDS)
    c, e, g = chord(0, "maj"), chord(4, "min"), chord(7, "maj")
    found[[c, e, g]] = 0.34, 0.33, 0.33
    heard = ChordHearing(SimpleNamespace(heard=lambda notes, beats: found), BeatGrid(((0, BAR),)))  # type: ignore[arg-type]
    heard.key_down(PlayerNote(0, 67, 80, MELODY))
    assert likeliest(heard, 0) == e
    found[[c, e, g]] = 0.6, 0.2, 0.2
    heard.key_down(PlayerNote(0, 72, 80, MELODY))
    assert likeliest(heard, 0) == c


def test_every_chord_fits_itself_best() -> None:
    assert np.allclose(np.diag(FIT), 1)
    assert (FIT <= 1).all() and (FIT >= 0).all()
    assert FIT[NO_CHORD].sum() == FIT[:, NO_CHORD].sum() == 1


@pytest.mark.parametrize("semitones", range(-6, 6))
def test_a_broken_triad_is_its_chord_in_every_key(semitones: int) -> None:
    heard = hearing()
    end = play(heard, [60 + semitones + pitch for pitch in (0, 4, 7, 12, 7, 4, 0)])
    heard.key_down(PlayerNote(end, 64 + semitones, 80, MELODY))
    found = likeliest(heard, end)
    assert MEMBERS[found][[(semitones + tone) % 12 for tone in (0, 4)]].all()
    assert root_of(found) == semitones % 12


def test_the_key_on_the_beat_counts_before_it_goes_up() -> None:
    """C major; on the next bar line a B is struck: no chord with a C and without a B is likeliest any more."""
    heard = hearing()
    end = play(heard, [60, 64, 67, 64, 60, 64, 67, 72])
    before = heard.bias(BeatGrid(((0, BAR),)).beat_at(end)).copy()
    heard.key_down(PlayerNote(end, 71, 80, MELODY))
    after = heard.bias(BeatGrid(((0, BAR),)).beat_at(end))
    tonic, dominant = chord(0, "maj"), chord(7, "maj")
    assert after[dominant] - after[tonic] > before[dominant] - before[tonic] + 2
    assert MEMBERS[int(after.argmax())][11]


def test_what_is_played_later_changes_nothing() -> None:
    one, two = hearing(), hearing()
    end = play(one, [60, 62, 64, 65])
    play(two, [60, 62, 64, 65])
    play(two, [61, 63, 66, 68], end + TICKS)
    beat = BeatGrid(((0, BAR),)).beat_at(end)
    assert np.array_equal(one.bias(beat), two.bias(beat))


def test_time_that_goes_on_elsewhere_begins_anew() -> None:
    heard = hearing()
    end = play(heard, [60, 64, 67])
    heard.clear()
    assert not heard.bias(BeatGrid(((0, BAR),)).beat_at(end)).any()


def test_only_the_latest_notes_are_kept() -> None:
    """Ten times as many notes as there is room for, and then the same end: the same chord."""
    short, long = hearing(), hearing()
    tune = [60, 64, 67, 72] * 20
    many = play(long, [66 + i % 3 for i in range(10 * KEPT)], ticks=TICKS // 4)
    many = -(-many // (32 * BAR)) * 32 * BAR
    one, two = play(short, tune, many), play(long, tune, many)
    beat = BeatGrid(((0, BAR),)).beat_at(one)
    assert one == two and np.allclose(short.bias(beat), long.bias(beat))
