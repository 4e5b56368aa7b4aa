"""Loudness and register of an answer: those of the phrase that is answered."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.composing.loudness import PHRASE_GAP_TICKS, UNDER, Loudness
from realtime.composing.register import MOST_MISSING_NATS, spread_bias, wide
from realtime.core.dialogue import PlayerNote
from realtime.music.metre import TICKS, BeatGrid

GRID = BeatGrid()


def loudness(*phrases: list[int], ticks: int = TICKS // 2) -> Loudness:
    """Phrases of even notes with these velocities, each beginning on a bar line."""
    made, tick = Loudness(), 0
    for velocities in phrases:
        for i, velocity in enumerate(velocities):
            made.add(PlayerNote(tick + i * ticks, 60, velocity, 0))
        tick += len(velocities) * ticks + 2 * PHRASE_GAP_TICKS
    return made


def target(made: Loudness, tick: int = 4800, on_beat: bool = True, along: bool = False) -> int:
    """The likeliest velocity class."""
    return int(np.argmax(made.bias(GRID.beat_at(tick), on_beat, along)))


@pytest.mark.parametrize("velocity", [30, 64, 110])
def test_an_answer_is_as_loud_as_its_phrase_and_an_accompanist_softer(velocity: int) -> None:
    made = loudness([velocity] * 16)
    assert target(made, TICKS) == velocity // 4
    assert target(made, TICKS) - target(made, TICKS, along=True) == UNDER


def test_what_was_played_before_a_rest_does_not_count() -> None:
    assert target(loudness([120] * 64, [30] * 4), TICKS) == 7
    bias = loudness([120] * 64, [30] * 16).bias(GRID.beat_at(TICKS), True, False)
    assert bias[7] - bias[28] > 30, "no copy of what was loud outweighs this"


def test_accents_are_taken_over_where_they_are() -> None:
    """Eighths: every bar's third beat is loud, the notes off the beat are soft."""
    made = loudness([70, 40, 70, 40, 110, 40, 70, 40] * 2)
    on = [target(made, beat * TICKS) for beat in range(4)]
    off = [target(made, beat * TICKS, on_beat=False) for beat in range(4)]
    assert max(on) == on[2]
    assert on[2] - max(on[1], on[3]) >= 4
    assert max(off) < min(on)
    assert max(off) * 4 <= 50


def test_a_note_has_the_accent_of_its_own_place_whatever_came_before_it_in_the_beat() -> None:
    """Eighths, loud on the beat and soft after it. After the note on the beat the next one's velocity is drawn as if it were on
    the beat too, because its time is not yet known."""
    made, beat = loudness([110, 50] * 8), GRID.beat_at(4800)
    on, off = target(made), target(made, on_beat=False)
    assert on - off >= 12
    assert made.moved(on, beat, 12, True) == pytest.approx(off, abs=1)
    assert made.moved(on, beat, 2, True) == on and made.moved(off, beat, 18, False) == off
    assert made.moved(off, beat, 0, False) == pytest.approx(on, abs=1)
    assert made.moved(0, beat, 12, True) == 0 and made.moved(31, beat, 0, False) == 31  # no farther than there is
    assert Loudness().moved(20, beat, 12, True) == 20


def test_even_playing_has_the_accents_of_its_metre() -> None:
    made = loudness([80] * 16)
    assert target(made, 0) >= target(made, TICKS) >= target(made, TICKS, on_beat=False)
    assert target(made, 0) > target(made, TICKS, on_beat=False)


def test_before_the_first_note_nothing_is_asked() -> None:
    assert not Loudness().bias(GRID.beat_at(0), True, False).any()


# --- register ---


def test_a_wide_register_is_followed_and_a_narrow_one_left_alone() -> None:
    assert wide([]) == wide([60, 62, 64, 65, 67, 72]) == 0
    assert wide(list(range(40, 78))) == 1
    assert 0 < wide(list(range(50, 72))) < 1


def test_what_is_missing_of_the_register_is_asked_for() -> None:
    player = [40, 45, 50, 55, 60, 65, 70, 75]
    first = spread_bias(player, [], 1.0)
    high = spread_bias(player, [74, 75, 76, 77] * 2, 1.0)
    assert high[42] > 4
    assert high[75] == -MOST_MISSING_NATS
    assert np.ptp(first[40:76]) < 2, "nothing is missing yet"
    like = spread_bias(player, player * 4, 1.0)
    assert np.ptp(like[42:74]) < 2, "and nothing once it is spread like the player"


def test_the_register_moves_with_its_knob() -> None:
    bias = spread_bias([60, 62, 64, 65, 67], [], 1.0, higher=12)
    assert np.argmax(bias) in range(74, 78)
