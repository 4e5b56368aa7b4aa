"""Overused patterns: a pitch that comes in the same beat of bar after bar gets a stronger bias each time, and no other does."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.composing.overuse import BARS, FREE_BARS, FREE_BARS_ALONG, KEPT, OVERUSE_NATS, Overuse
from realtime.core.dialogue import ModelNote
from realtime.music.metre import Beat
from realtime.music.vocabulary import Role


def played(bars: int, bar: int = 96, pitch: int = 60, offset: int = 30) -> Overuse:
    """The same pitch in the second beat of so many bars."""
    overuse = Overuse()
    for start in range(0, bars * bar, bar):
        overuse.proposed(ModelNote(start + offset, pitch, 80, 12, 0))
    return overuse


def beat(bar_number: int, index: int, bar: int = 96) -> Beat:
    return Beat(bar_number * bar + index * 24, 24, index, bar)


@pytest.mark.parametrize(("role", "patience"), [(Role.TRADE, FREE_BARS), (Role.ACCOMPANY, FREE_BARS_ALONG)])
@pytest.mark.parametrize("bars", range(BARS + 3))
def test_a_pitch_is_overused_in_its_beat_alone(role: Role, patience: int, bars: int) -> None:
    overuse = played(bars)
    expected = np.zeros(128)
    expected[60] = OVERUSE_NATS * max(min(bars, BARS) - patience, 0)
    assert np.allclose(overuse.bias(beat(bars, 1), role), expected)
    assert not overuse.bias(beat(bars, 2), role).any()


def test_what_is_long_ago_is_forgiven_and_what_is_taken_back_was_never_played() -> None:
    overuse = played(6)
    assert not overuse.bias(beat(6 + BARS, 1), Role.TRADE).any()
    overuse.take_back(2 * 96)
    assert not overuse.bias(beat(6, 1), Role.TRADE).any()
    overuse = played(6)
    overuse.clear()
    assert not overuse.bias(beat(6, 1), Role.TRADE).any()


def test_its_memory_is_bounded_and_the_newest_stays() -> None:
    overuse = played(3 * KEPT)
    assert overuse.bias(beat(3 * KEPT, 1), Role.TRADE)[60] < 0


def test_a_beat_that_a_bar_cuts_short_does_not_reach_into_the_next() -> None:
    overuse = played(5, bar=60, offset=0)  # 5/8, on each downbeat
    assert not overuse.bias(Beat(5 * 60 - 12, 12, 2, 60), Role.TRADE).any()


def test_a_waltz_has_bars_of_three_beats() -> None:
    assert played(5, bar=72).bias(beat(5, 1, bar=72), Role.TRADE)[60] < 0


def test_the_first_note_of_a_turn() -> None:
    overuse = played(6)
    assert overuse.first_since(96) == 96 + 30 and overuse.first_since(5 * 96 + 31) is None
    overuse.take_back(4 * 96)
    assert overuse.first_since(3 * 96) == 3 * 96 + 30 and overuse.first_since(4 * 96) is None
