"""Metres: what is compound, how the model is told, and where musicians count."""

from __future__ import annotations

import pytest

from realtime.config import Sync
from realtime.music.metre import TICKS, BeatGrid, Segment, bar_segments, clocks_a_click, metre_index, time_signature
from realtime.music.vocabulary import BEAT_EVENT, FIELDS, Role, fields


@pytest.mark.parametrize(
    ("metre", "length", "compound"),
    [
        ((3, 4), 72, False),
        ((6, 8), 72, True),
        ((9, 8), 108, True),
        ((12, 8), 144, True),
        ((6, 16), 36, False),
        ((3, 8), 36, False),
        ((6, 4), 144, False),
        ((4, 4), 96, False),
        ((5, 8), 60, False),
        ((15, 8), 180, True),
    ],
)
def test_what_a_time_signature_means(metre: tuple[int, int], length: int, compound: bool) -> None:
    assert bar_segments([(0, *metre)]) == [Segment(0, length, compound)]
    beat = BeatGrid(bar_segments([(0, *metre)])).beat_at(length - 1)
    assert (beat.bar_ticks, beat.compound) == (length, compound)


def test_the_model_is_told_which_of_two_metres_of_one_length_it_is() -> None:
    """And the class of a metre that is not compound is what it was: the bar's length in eighths."""
    told = [
        dict(
            zip(
                FIELDS, fields(BEAT_EVENT, BeatGrid(bar_segments([(0, *metre)])).beat_at(0), 8, Role.TRADE), strict=True
            )
        )
        for metre in ((3, 4), (6, 8))
    ]
    assert [each.pop("metre") for each in told] == [6, 22]
    assert told[0] == told[1]
    assert [metre_index(12 * eighths, False) for eighths in (3, 8, 31, 40)] == [3, 8, 31, 31]
    assert {metre_index(bar, compound) for bar in range(1, 2000) for compound in (False, True)} <= set(
        range(FIELDS["metre"])
    )


def test_a_compound_metre_is_counted_in_dotted_quarters_bar_by_bar() -> None:
    grid = BeatGrid([Segment(0, 72, True), Segment(144, 96), Segment(240, 108, True)])
    counts, tick = [], 0
    while tick < 400:
        counts.append(grid.next_count(tick))
        tick = counts[-1] + 1
    assert counts == [0, 36, 72, 108, 144, 168, 192, 216, 240, 276, 312, 348, 384, 420]


def test_a_pick_up_and_a_late_first_signature_keep_their_metre() -> None:
    assert bar_segments([(0, 1, 8), (12, 6, 8)]) == [Segment(12, 72, True)]
    assert bar_segments([(48, 6, 8)]) == [Segment(0, 72, True), Segment(48, 72, True)]
    assert bar_segments([]) == [Segment(0, 4 * TICKS)]


def test_beats_are_numbered_as_they_are_counted() -> None:
    grid = BeatGrid([Segment(0, 72, True), Segment(144, 96)])
    assert [grid.count_at(tick) for tick in (0, 35, 36, 71, 72, 108, 144, 168, 239)] == [0, 0, 1, 1, 0, 1, 0, 1, 3]


def test_only_metres_that_can_be_set_are_advised() -> None:
    possible = {
        metre: Sync.metre(*metre)
        for metre in ((3, 4), (6, 8), (12, 8), (9, 8), (18, 8), (1, 4), (2, 2), (13, 4), (5, 8))
    }
    assert {metre for metre, found in possible.items() if found is not None} == {(3, 4), (6, 8), (12, 8)}
    assert possible[6, 8] == {"beats_per_bar": 3, "compound": True}


def test_signatures_are_written_as_they_are_counted() -> None:
    assert [clocks_a_click(*metre) for metre in ((4, 4), (3, 4), (6, 8), (12, 8), (3, 8))] == [24, 24, 36, 36, 24]
    assert [time_signature(quarters, compound) for quarters, compound in ((4, False), (3, True), (6, True))] == [
        (4, 4), (6, 8), (12, 8),
    ]  # fmt: skip
