"""The chords that were planned, and the times that are kept: compact, and the latest counts."""

from __future__ import annotations

from realtime.core.counts import MOST_TIMES, Times
from realtime.core.planned_chords import PlannedChords
from realtime.io.live.take import percentiles_ms
from realtime.music.chords import UNKNOWN


def test_each_beat_has_the_chord_that_was_planned_last() -> None:
    chords = PlannedChords()
    chords.update([(-24, 5), (0, 5), (24, 5), (72, 9)])
    assert [chords.at(tick) for tick in (-24, 0, 24, 48, 72)] == [5, 5, 5, UNKNOWN, 9]
    assert list(chords) == [(-24, 5), (0, 5), (24, 5), (72, 9)] and len(chords) == 4


def test_a_beat_that_is_gone_back_to_takes_back_the_later_ones() -> None:
    chords = PlannedChords()
    chords.update([(0, 1), (24, 2), (48, 3), (72, 4)])
    chords.update([(24, 7)])
    assert list(chords) == [(0, 1), (24, 7)] and chords.at(48) == UNKNOWN
    chords.update([(24, 8), (48, 109)])
    assert list(chords) == [(0, 1), (24, 8), (48, 109)]


def test_of_many_times_the_latest_are_kept() -> None:
    times = Times()
    times.extend(range(MOST_TIMES))
    assert len(times) == MOST_TIMES and times[0] == 0
    times.append(3_000_000)
    assert len(times) == MOST_TIMES // 2 + 1 and times[0] == MOST_TIMES // 2 and times[-1] == 3_000_000
    assert percentiles_ms(times) == {"p50": 0.075, "p99": 0.1, "max": 3.0}
