"""Counting in, clicks, and taps."""

from __future__ import annotations

import pytest
from performing import BAR_NS, BEAT_NS, MS, Script, StepByStep, assert_nothing_hangs, onsets, tune

from realtime import midi
from realtime.config import load
from realtime.core.metronome import ACCENT, PLAIN, Taps
from realtime.core.modes import Trade
from realtime.core.scheduler import Sent
from realtime.io.live.settings import engine_settings
from realtime.music.metre import Segment

CLICK = (9, 37)


def clicks(session: StepByStep) -> list[tuple[int, int]]:
    """(host ns, velocity) of the clicks."""
    return [
        (ns, message[2])
        for ns, _, message in session.sent
        if midi.is_note_on(message) and (midi.channel(message), message[1]) == CLICK
    ]


def counted(script: Script, until_ns: int, **changes: object) -> StepByStep:
    session = StepByStep("trade", modes={"trade": Trade(1)}, **changes)
    session.engine.count_in(0)
    for ns, message in script:
        session.play(message, ns)
    session.until(until_ns)
    return session


def test_a_compound_metre_is_counted_in_dotted_quarters() -> None:
    session = counted([], 4 * BAR_NS, count_in_bars=2, bars=(Segment(0, 72, compound=True),))
    assert clicks(session) == [(click * 3 * BEAT_NS // 2, PLAIN if click % 2 else ACCENT) for click in range(4)]


def test_two_bars_are_counted_in_and_bar_1_is_where_they_end() -> None:
    """The player comes in a little late, in the third bar: the answer is in the fourth."""
    session = counted(tune([60, 62, 64, 65], start_ns=2 * BAR_NS + 25 * MS), 4 * BAR_NS, count_in_bars=2)
    assert clicks(session) == [(beat * BEAT_NS, PLAIN if beat % 4 else ACCENT) for beat in range(8)]
    notes = [ns for ns, _, pitch in onsets(session.sent) if pitch != 37]
    assert 3 * BAR_NS <= min(notes) < 3 * BAR_NS + BEAT_NS
    for message in session.engine.stop():
        session.sends.append((0, Sent(0, message, 0)))
    assert_nothing_hangs(session.sent)


def test_the_click_may_go_on_and_plans_do_not_take_it_back() -> None:
    session = counted(tune([60, 62, 64, 65], start_ns=BAR_NS), 4 * BAR_NS - MS, count_in_bars=1, clicks=True)
    assert [ns for ns, _ in clicks(session)] == [beat * BEAT_NS for beat in range(16)]


def test_without_a_count_in_the_click_begins_with_the_first_note() -> None:
    session = counted(tune([60, 62, 64, 65], start_ns=700 * MS), 700 * MS + BAR_NS - MS, clicks=True)
    assert [ns for ns, _ in clicks(session)] == [700 * MS + beat * BEAT_NS for beat in range(4)]


@pytest.mark.parametrize(
    "changes", [{"click": None, "count_in_bars": 2}, {}, {"count_in_bars": 2, "follow_clock": True}]
)
def test_no_click_where_none_is_asked_for(changes: dict[str, object]) -> None:
    assert clicks(counted(tune([60]), 2 * BAR_NS, **changes)) == []


def test_whoever_comes_in_long_after_the_count_is_the_downbeat() -> None:
    start_ns = BAR_NS + 9 * BEAT_NS + 200 * MS
    session = counted(tune([60, 62, 64, 65], start_ns=start_ns), start_ns + 2 * BAR_NS, count_in_bars=1)
    notes = [ns for ns, _, pitch in onsets(session.sent) if pitch != 37]
    assert start_ns + BAR_NS <= min(notes) < start_ns + BAR_NS + BEAT_NS


# --- taps ---


def test_the_tempo_of_taps_is_the_median_of_the_last_ones() -> None:
    taps = Taps()
    assert taps.tap(0) is None
    assert taps.tap(600 * MS) == 600 * MS
    assert taps.tap(640 * MS) is None, "it bounced"
    assert taps.tap(1210 * MS) == 605 * MS
    assert taps.tap(1800 * MS) == 600 * MS
    assert taps.tap(10_000 * MS) is None, "begun anew"
    assert taps.tap(10_400 * MS) == 400 * MS


@pytest.mark.parametrize("by_key", [True, False])
def test_taps_set_the_tempo_before_the_first_note(by_key: bool) -> None:
    session = StepByStep("trade", modes={"trade": Trade(1)}, tap_cc=80, tap_key=24)
    for beat in range(4):
        press, lift = (
            (midi.note_on(0, 24, 90), midi.note_off(0, 24))
            if by_key
            else (midi.control(0, 80, 127), midi.control(0, 80, 0))
        )
        session.play(press, beat * 750 * MS)
        session.play(lift, beat * 750 * MS + 100 * MS)
    assert not session.engine.rolling
    start_ns = 3000 * MS
    for ns, message in tune([60, 62, 64, 65], note_ns=750 * MS, start_ns=start_ns):
        session.play(message, ns)
    session.until(start_ns + 6000 * MS)
    assert session.engine.counts.player_notes == 4
    assert start_ns + 3000 * MS <= onsets(session.sent)[0][0] < start_ns + 3750 * MS


def test_taps_while_playing_move_the_tempo_and_the_beat() -> None:
    session = StepByStep("trade", tap_key=24)
    session.play(midi.note_on(0, 60, 80), 0)
    for beat in range(1, 9):
        session.play(midi.note_on(0, 24, 90), beat * 600 * MS + 40 * MS)
    tempo = session.engine.tempo
    pulse = tempo.pulse_at(8 * 600 * MS + 40 * MS + 600 * MS)
    assert tempo.bpm_at(pulse) == pytest.approx(100)
    assert min(pulse % 480, -pulse % 480) <= 2


def test_the_configuration_says_how_to_count() -> None:
    given = {
        "sync.count_in": 2,
        "sync.click_channel": 1,
        "sync.click_key": "C6",
        "sync.click": "always",
        "sync.tap_key": "C1",
    }
    settings = engine_settings(load(None, given))
    assert (settings.count_in_bars, settings.click, settings.clicks, settings.tap_key) == (2, (0, 84), True, 24)
    assert engine_settings(load()).click == CLICK
    assert not engine_settings(load()).clicks
    assert engine_settings(load(None, {"sync.click": "none"})).click is None
    assert engine_settings(load(None, {"sync.source": "listen"})).listen
