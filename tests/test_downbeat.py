"""Downbeats at an internal tempo: the first note after a long rest, a key or controller that says so, and a key that was only
touched."""

from __future__ import annotations

from itertools import pairwise

import pytest
from performing import (
    BAR_NS,
    BAR_PULSES,
    BEAT_NS,
    MODES,
    MS,
    StepByStep,
    assert_nothing_hangs,
    duet,
    onsets,
    plans,
    tune,
)

from realtime import midi
from realtime.core.dialogue import Relocate
from realtime.core.modes import Trade
from realtime.core.tempo import PULSES_PER_TICK


def answered_from(script: list[tuple[int, bytes]], mode: str = "trade", bars: int = 12, **changes: object) -> list[int]:
    """The host times of Antiphon's first notes: of the first, and of each after a bar without any."""
    performance, _ = duet(script, bars * BAR_NS, mode, **changes)
    assert_nothing_hangs(performance.sent)
    moments = [ns for ns, _, _ in onsets(performance.sent)]
    return [ns for before, ns in pairwise([-BAR_NS, *moments]) if ns - before > BAR_NS]


def test_after_a_long_rest_the_next_note_is_the_downbeat_again() -> None:
    """Off the old grid by a third of a beat; the answer comes a bar after the note."""
    back_ns = 5 * BAR_NS + BEAT_NS // 3
    first, second = answered_from(
        tune([60, 62, 64, 65]) + tune([60, 62, 64, 65], start_ns=back_ns), modes={"trade": Trade(1)}
    )
    assert BAR_NS <= first < BAR_NS + BEAT_NS
    assert back_ns + BAR_NS <= second < back_ns + BAR_NS + BEAT_NS


@pytest.mark.parametrize("changes", [{"restart_ticks": 0}, {"restart_ticks": 1000}])
def test_a_shorter_rest_leaves_the_bars_where_they_are(changes: dict[str, object]) -> None:
    back_ns = 5 * BAR_NS + BEAT_NS // 3
    script = tune([60, 62, 64, 65]) + tune([60, 62, 64, 65], start_ns=back_ns)
    _, second = answered_from(script, modes={"trade": Trade(1)}, **changes)
    assert 6 * BAR_NS <= second < 6 * BAR_NS + BEAT_NS


@pytest.mark.parametrize("mode", MODES)
def test_the_players_rest_alone_is_none_while_antiphon_plays(mode: str) -> None:
    session = StepByStep(mode)
    for ns, message in tune([60, 62, 64, 65] * 2) + tune([67], start_ns=4 * BAR_NS):
        session.play(message, ns)
    relocated = [request.tick for request in session.requests if isinstance(request, Relocate)]
    assert relocated == ([4 * 96] if mode == "harmonise" else [])


@pytest.mark.parametrize("mode", MODES)
def test_a_stray_touch_spoils_nothing(mode: str) -> None:
    """A key is touched, and after three beats and a bit the player begins: from there on all is as if it had not been."""
    start_ns = 3 * BEAT_NS + 123 * MS
    phrase = tune([60, 62, 64, 65] * 2, start_ns=start_ns)
    session = StepByStep(mode)
    for ns, message in [*tune([71], note_ns=60 * MS), *phrase]:
        session.play(message, ns)
    first = next(plan.played for plan in plans(session.requests) if plan.played is not None and plan.played.pitch == 60)
    assert first.tick % 96 == 0
    assert session.engine.tempo.ns_at(first.tick * PULSES_PER_TICK) == start_ns


@pytest.mark.parametrize("with_key", [True, False])
def test_one_is_here_by_a_key_or_a_controller(with_key: bool) -> None:
    """The player begins with a pick-up of a beat and a half, and marks the beat after it."""
    one_ns = BEAT_NS * 3 // 2
    press = midi.note_on(0, 24, 90) if with_key else midi.control(0, 80, 127)
    script = [*tune([60, 62], note_ns=BEAT_NS // 2), (one_ns - 5, press), *tune([64, 65, 67, 69], start_ns=one_ns)]
    first, *_ = answered_from(script, modes={"trade": Trade(1)}, one_key=24, one_cc=80)
    assert one_ns + BAR_NS - 5 <= first < one_ns + BAR_NS + BEAT_NS


def test_time_in_the_recording_goes_on_from_the_next_bar_line() -> None:
    """No pulse comes twice, and the wait lasts at most a bar longer than it did."""
    back_ns = 5 * BAR_NS + BEAT_NS // 3
    performance, _ = duet(
        tune([60, 62, 64, 65]) + tune([60, 62], start_ns=back_ns), 12 * BAR_NS, modes={"trade": Trade(1)}
    )
    pulses = [pulse for ns, pulse, _ in sorted(performance.played)]
    assert pulses == sorted(pulses)
    assert next(pulse for ns, pulse, _ in performance.played if ns == back_ns) == 6 * BAR_PULSES


def test_calling_antiphon_is_no_downbeat() -> None:
    script = [*tune([60], note_ns=60 * MS), (3 * BEAT_NS + 20 * MS, midi.note_on(0, 24, 90))]
    session = StepByStep("continue", trigger_key=24)
    for ns, message in script:
        session.play(message, ns)
    assert not any(isinstance(request, Relocate) for request in session.requests)
    assert session.engine.turn is not None
