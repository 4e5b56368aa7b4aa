"""The report on how often tempo and beat are heard, on performances written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.tempo import NEAR, Performance, _from_downbeat, heard, is_heard, verdict

RHYTHM = [1, 1, 0.5, 0.5, 1] * 3


def performance(bpm: float, rhythm: list[float] = RHYTHM, early: float = 0.0) -> Performance:
    onsets = np.concatenate([[0], np.cumsum(rhythm)[:-1]])
    times = np.stack([onsets - early, np.full(len(onsets), 0.4)], 1)
    pitches = 60 + np.arange(len(onsets)) % 7
    return Performance("by hand", _from_downbeat(times, 4), pitches, np.full(len(onsets), 80), 4, bpm, 0)


@pytest.mark.parametrize(("bpm", "set_bpm"), [(100, 120), (84, 96), (132, 120), (150, 128)])
def test_an_even_performance_is_heard(bpm: float, set_bpm: float) -> None:
    ratio, off_ms = heard(performance(bpm), set_bpm)
    assert ratio == pytest.approx(1, abs=0.01) and abs(off_ms) < 10
    assert verdict(ratio, off_ms) == "right"


def test_with_the_tempo_set_to_half_of_it_half_of_it_is_heard() -> None:
    ratio, off_ms = heard(performance(150), 75)
    assert verdict(ratio, off_ms) == "octave"


@pytest.mark.parametrize(
    ("ratio", "off_ms", "said"),
    [(1.039, -39, "right"), (1.0, 41, "beat"), (2.05, 12, "octave"), (0.5, -90, "beat"), (1.34, 0, "tempo")],
)
def test_what_is_right(ratio: float, off_ms: float, said: str) -> None:
    assert verdict(ratio, off_ms) == said


def test_who_is_early_all_the_time_has_a_beat_of_their_own() -> None:
    times = performance(100, early=NEAR / 2).times
    np.testing.assert_allclose(times[:, 0], performance(100).times[:, 0], atol=1e-9)
    late = _from_downbeat(np.array([[3.96, 1.0], [4.96, 1.0], [5.96, 1.0]]), 4)
    assert late[0, 0] == pytest.approx(0)  # the downbeat of the second bar, not the end of the first


def test_with_seven_onsets_in_two_bars_there_is_nothing_to_hear() -> None:
    assert is_heard(performance(100)) and not is_heard(performance(100, [1.0, 1, 1, 1, 1, 1, 2, 1, 1]))
