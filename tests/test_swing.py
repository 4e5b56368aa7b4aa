"""A player who swings is answered in swing."""

from __future__ import annotations

import numpy as np
import pytest
from performing import BAR_NS, assert_nothing_hangs, duet, spans, tick_ns

from realtime import midi
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import MASKED
from realtime.composing.swing import STRAIGHT, Swing
from realtime.core.dialogue import PlayerNote
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import BEAT, BEAT_EVENT, DURATION_TICKS, MODEL_PART, OPEN, Event, Role, duration_index

GRID = BeatGrid()
FREE = np.zeros(337, np.float32)
LATER = 40 * TICKS


def heard(*seconds: int, onbeats: bool = True) -> Swing:
    """Beats whose second eighths lie so many ticks after them."""
    made = Swing()
    for i, place in enumerate(seconds):
        for tick in ([i * TICKS] if onbeats else []) + [i * TICKS + place]:
            made.hear(PlayerNote(tick, 60, 80, 0), GRID.beat_at(tick))
    return made


def eighth(time: int = TICKS // 2, ticks: int = TICKS // 2) -> Event:
    return Event(time, MODEL_PART, 64, duration_index(ticks), 20)


@pytest.mark.parametrize(
    ("places", "place"),
    [
        ([16, 16], 16),
        ([14, 15, 14, 13, 15, 14], 14),
        ([12, 12, 12, 16, 16, 16, 16, 16, 16, 16, 16], 16),  # straight at first
    ],
)
def test_swung_eighths_are_heard(places: list[int], place: int) -> None:
    assert heard(*places).place == place


@pytest.mark.parametrize(
    "places", [[], [16], [12, 12, 12], [11, 13, 12, 14, 12, 11], [6, 18, 6, 18], [16, 12, 16, 12], [18, 18, 18, 18]]
)
def test_straight_eighths_late_ones_and_sixteenths_are_no_swing(places: list[int]) -> None:
    assert heard(*places).place is None


def test_a_straight_second_eighth_is_moved_and_ends_with_its_beat() -> None:
    beat = GRID.beat_at(LATER)
    moved = heard(16, 16, 16).swung(eighth(), beat, FREE)
    assert moved.time == 16
    assert moved.time + DURATION_TICKS[moved.duration] <= TICKS
    long = eighth(ticks=2 * TICKS)
    assert heard(16, 16, 16).swung(long, beat, FREE) == long._replace(time=16)
    held = long._replace(duration=OPEN)
    assert heard(16, 16, 16).swung(held, beat, FREE) == held._replace(time=16)


@pytest.mark.parametrize("event", [BEAT_EVENT, eighth(0), eighth(6), eighth(16), eighth(18)])
def test_what_is_no_straight_second_eighth_stays(event: Event) -> None:
    assert heard(16, 16, 16).swung(event, GRID.beat_at(LATER), FREE) == event


def test_nothing_is_moved_to_where_it_may_not_be() -> None:
    bias = FREE.copy()
    bias[SLICES["time"]][14:BEAT] = MASKED
    assert heard(16, 16, 16).swung(eighth(), GRID.beat_at(LATER), bias) == eighth()


def test_a_moved_note_is_not_shorter_than_the_user_allows() -> None:
    bias = Constraints(min_duration=TICKS // 2).bias(Role.TRADE)
    assert heard(16, 16, 16).swung(eighth(), GRID.beat_at(LATER), bias) == eighth()._replace(time=16)


def test_a_short_beat_has_no_second_eighth() -> None:
    grid = BeatGrid([(0, 60)])  # 5/8: the third beat has 12 ticks
    assert heard(16, 16).swung(eighth(11), grid.beat_at(48), FREE) == eighth(11)


@pytest.mark.parametrize("mode", ["trade", "accompany"])
@pytest.mark.parametrize(("second", "straight"), [(16, False), (12, True)])
def test_a_whole_performance_takes_over_the_swing(mode: str, second: int, straight: bool) -> None:
    """The stepper draws any time of the beat alike."""
    script = []
    for i in (beat for beat in range(64) if mode == "accompany" or beat % 16 < 8):
        for n, tick in enumerate((i * TICKS, i * TICKS + second)):
            script.append((tick_ns(tick), midi.note_on(0, 60 + n, 80)))
            script.append((tick_ns(tick + 6), midi.note_off(0, 60 + n)))
    performance, _ = duet(script, 16 * BAR_NS, mode)
    late = [span.tick % TICKS for span in spans(performance.sent) if span.tick >= 2 * 4 * TICKS]
    assert len(late) > 10
    assert any(place in STRAIGHT for place in late) == straight
    assert_nothing_hangs(performance.sent)
