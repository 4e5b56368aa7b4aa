"""The tempo map: a bijection between pulses and nanoseconds, without drift."""

from collections import deque
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.tempo import PPQN, PULSES_PER_TICK, TICKS_PER_QUARTER, TempoMap

bpms = st.floats(10, 1000)
pulses = st.integers(-100_000, 1_000_000)
origins_ns = st.integers(-(10**15), 10**15)
HOUR_NS = 3600 * 10**9


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, int, float]]:
    """(set or steer, pulse, bpm) in any order of pulses. Steering happens at the host time of its pulse."""
    return draw(st.lists(st.tuples(st.sampled_from(["set", "steer"]), st.integers(-5000, 50_000), bpms), max_size=12))


def changed(bpm: float, origin_ns: int, edits: list[tuple[str, int, float]]) -> TempoMap:
    tempo_map = TempoMap(bpm, origin_ns)
    for verb, pulse, new_bpm in edits:
        if verb == "set":
            tempo_map.set_tempo(pulse, new_bpm)
        else:
            tempo_map.steer(tempo_map.ns_at(pulse) + 1234, 125e6 / new_bpm)
    return tempo_map


def test_ticks_and_pulses_divide_a_quarter_note() -> None:
    assert TICKS_PER_QUARTER * PULSES_PER_TICK == PPQN == 480


def test_a_quarter_at_120_bpm_is_half_a_second() -> None:
    tempo_map = TempoMap(120, origin_ns=7)
    assert tempo_map.ns_at(0) == 7
    assert tempo_map.ns_at(PPQN) == 500_000_007
    assert tempo_map.ns_at(-PPQN) == -499_999_993
    assert tempo_map.pulse_at(6) == -1
    assert tempo_map.position_at(250_000_007) == 240.0


@given(bpms, origins_ns, changes(), pulses)
def test_every_pulse_comes_back_from_its_first_nanosecond(
    bpm: float, origin_ns: int, edits: list[tuple[str, int, float]], pulse: int
) -> None:
    tempo_map = changed(bpm, origin_ns, edits)
    ns = tempo_map.ns_at(pulse)
    assert tempo_map.pulse_at(ns) == pulse
    assert tempo_map.pulse_at(ns - 1) == pulse - 1


@given(bpms, changes(), st.lists(st.integers(-(10**11), 10**12), min_size=2, max_size=20))
def test_time_and_position_only_grow_together(
    bpm: float, edits: list[tuple[str, int, float]], stamps_ns: list[int]
) -> None:
    tempo_map = changed(bpm, 0, edits)
    for (early, late), (here, there) in zip(
        pairwise(sorted(stamps_ns)), pairwise(tempo_map.position_at(ns) for ns in sorted(stamps_ns)), strict=True
    ):
        assert here <= there
        assert tempo_map.pulse_at(early) <= tempo_map.pulse_at(late)


@given(bpms, changes(), st.integers(-5000, 50_000), bpms, st.integers(0, 60_000))
def test_a_tempo_change_keeps_what_lies_before_it(
    bpm: float, edits: list[tuple[str, int, float]], pulse: int, new_bpm: float, before: int
) -> None:
    tempo_map = changed(bpm, 0, edits)
    expected = [tempo_map.ns_at(pulse - back) for back in (0, 1, before)]
    tempo_map.set_tempo(pulse, new_bpm)
    assert [tempo_map.ns_at(pulse - back) for back in (0, 1, before)] == expected
    assert tempo_map.bpm_at(pulse) == tempo_map.bpm_at(10**9) == new_bpm


@given(bpms, changes(), st.integers(-(10**10), 10**11), bpms, st.integers(0, 10**10))
def test_steering_keeps_the_present_and_the_past(
    bpm: float, edits: list[tuple[str, int, float]], ns: int, new_bpm: float, before_ns: int
) -> None:
    tempo_map = changed(bpm, 0, edits)
    here, past = tempo_map.position_at(ns), tempo_map.position_at(ns - before_ns)
    tempo_map.steer(ns, 125e6 / new_bpm)
    assert (tempo_map.position_at(ns), tempo_map.position_at(ns - before_ns)) == (here, past)
    assert tempo_map.position_at(ns + 10**9) == pytest.approx(here + new_bpm * PPQN / 60, abs=1e-6)


@given(bpms, changes(), st.integers(-(10**12), 10**12), pulses)
def test_locate_makes_this_time_that_pulse_at_the_same_tempo(
    bpm: float, edits: list[tuple[str, int, float]], ns: int, pulse: int
) -> None:
    tempo_map = changed(bpm, 0, edits)
    tempo_before = tempo_map.bpm_at(tempo_map.pulse_at(ns + 10**12))
    tempo_map.locate(ns + 10**12, pulse)
    assert tempo_map.ns_at(pulse) == ns + 10**12
    assert tempo_map.bpm_at(pulse) == tempo_before
    assert tempo_map.bpm_at(pulse - 10**6) == tempo_map.bpm_at(pulse + 10**6) == tempo_before
    assert tempo_map.pulse_at(ns + 10**12 - 1) == pulse - 1


@given(bpms)
def test_eight_hours_do_not_drift(bpm: float) -> None:
    tempo_map = TempoMap(bpm)
    exact = Fraction(8 * HOUR_NS) * Fraction(bpm) * PPQN / (60 * 10**9)
    assert tempo_map.pulse_at(8 * HOUR_NS) == exact.__floor__()


def test_eight_hours_of_tempo_changes_stay_within_their_rounding() -> None:
    tempo_map = TempoMap(120)
    exact_ns = Fraction(0)
    bars = 14_400
    for bar in range(bars):
        bpm = 120 + bar % 7 / 3
        tempo_map.set_tempo(bar * 4 * PPQN, bpm)
        exact_ns += Fraction(4 * 60 * 10**9) / Fraction(bpm)
    # Each change rounds its own start up by less than a nanosecond: 14 microseconds at the very worst.
    assert 0 <= tempo_map.ns_at(bars * 4 * PPQN) - exact_ns < bars


def test_an_hour_of_steering_stays_small_and_the_recent_past_known() -> None:
    """An hour of MIDI clock, with tempos from 80 to 160 bpm: the last ten seconds can be asked for at any time."""
    tempo_map = TempoMap(120)
    positions: deque[tuple[int, float]] = deque(maxlen=555)
    for number in range(200_000):
        ns = number * 18_000_000
        tempo_map.steer(ns, 125e6 / (80 + number % 81))
        positions.append((ns, tempo_map.position_at(ns)))
        if number % 997 == 0:
            assert all(tempo_map.position_at(past_ns) == position for past_ns, position in positions)
            assert len(tempo_map._segments) <= 2048


def test_steering_in_the_midst_of_planned_tempos_starts_from_the_position_there() -> None:
    tempo_map = TempoMap(120)
    tempo_map.set_tempo(960, 60)
    tempo_map.steer(250_000_000, 125e6 / 240)
    assert tempo_map.position_at(250_000_000) == 240
    assert tempo_map.pulse_at(500_000_000) == 240 + 480, "a beat at 240 bpm later"
    assert tempo_map.bpm_at(960) == 240, "what was planned after it is gone"


def test_a_tempo_holds_from_its_pulse_until_the_next_one_and_replaces_later_ones() -> None:
    tempo_map = TempoMap(120)
    tempo_map.set_tempo(1920, 90.5)
    tempo_map.set_tempo(3840, 100.1)
    assert [tempo_map.bpm_at(pulse) for pulse in (0, 1919, 1920, 3839, 3840)] == [120, 120, 90.5, 90.5, 100.1]
    tempo_map.set_tempo(960, 77)
    assert [tempo_map.bpm_at(pulse) for pulse in (0, 959, 960, 1920, 3840)] == [120, 120, 77, 77, 77]
    tempo_map.set_tempo(0, 60)
    assert [tempo_map.bpm_at(pulse) for pulse in (-1, 0, 960)] == [120, 60, 60]
    assert tempo_map.ns_at(-480) == -500_000_000


@pytest.mark.parametrize("bpm", [0, -1, float("nan"), float("inf"), 1e-9, 1e12])
def test_a_bpm_that_is_no_tempo_is_refused(bpm: float) -> None:
    tempo_map = TempoMap(120)
    with pytest.raises(ValueError, match="must"):
        TempoMap(bpm)
    with pytest.raises(ValueError, match="must"):
        tempo_map.set_tempo(480, bpm)
    assert tempo_map.bpm_at(480) == 120
