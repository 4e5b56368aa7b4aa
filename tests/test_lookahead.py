"""How far ahead a plan is drawn: far enough always, and not far while the player plays."""

from __future__ import annotations

import pytest
from performing import BAR_NS, BEAT_NS, MS, Eager, NoiseStepper, StepByStep, composer_of, duet, settings_of, spans, tune

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core import lookahead
from realtime.core.dialogue import Extend, Plan, Turn
from realtime.core.lookahead import DRAW_NS, NEAR_NS, QUIET_TICKS, Lookahead
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.music.chart import parse_chart
from realtime.music.metre import TICKS

FAR = 2 * TICKS
NEAR_TICKS = 4
"""`NEAR_NS` at 120 bpm."""
ALL_NS = 8 * BEAT_NS
"""As far ahead as is ever set."""
BUSY = Constraints(max_duration=12, max_notes=4, follow=False)
WALK = tune([60, 62, 64, 65, 67, 65, 64, 62] * 4, start_ns=1)


def pulse_of(tick: int) -> int:
    return tick * PULSES_PER_TICK


def test_a_plan_reaches_far_enough_at_every_tick_and_no_farther_than_it_needs_while_the_player_plays() -> None:
    ahead, turn = Lookahead(FAR, TempoMap(120)), Turn(0)
    ahead.begin(0, turn)
    struck = [*range(0, 400, 20), *range(1000, 1400, 20)]
    for tick in range(2000):
        if tick in struck:
            ahead.renewed(tick + 2, turn, tick)
        due = ahead.next_pulse(turn)
        extended = ahead.extended(pulse_of(tick), turn)
        assert (extended is not None) == (due is not None and due <= pulse_of(tick))
        quiet = tick - max((at for at in struck if at <= tick), default=-TICKS) >= QUIET_TICKS
        assert ahead.until - tick > (FAR if quiet else NEAR_TICKS - 1), "enough is planned"
        if any(tick - TICKS < at <= tick for at in struck):
            assert ahead.until - tick <= 2 + NEAR_TICKS


def test_nothing_is_planned_beyond_the_end_of_a_turn() -> None:
    ahead = Lookahead(FAR, TempoMap(120))
    assert ahead.begin(96, Turn(96, 192)) == 96 + FAR
    asked = [until for tick in range(96, 192) if (until := ahead.extended(pulse_of(tick), Turn(96, 192))) is not None]
    assert asked[-1] == 192 and ahead.next_pulse(Turn(96, 192)) is None
    assert ahead.bound(Turn(96, 180)) == 180


@pytest.mark.parametrize("bpm", [20, 40, 90, 120, 240, 400])
def test_however_fast_the_music_a_note_is_drawn_as_long_before_it_is_due(bpm: int) -> None:
    tempo, turn = TempoMap(bpm), Turn(0)
    ahead = Lookahead(192, tempo)
    ahead.begin(0, turn)
    ahead.renewed(0, turn, 0)
    for _ in range(20):
        until, due = ahead.until, ahead.next_pulse(turn)
        assert due is not None
        left = tempo.ns_at(pulse_of(until)) - tempo.ns_at(due)
        assert abs(left - NEAR_NS) <= tempo.ns_at(1) - tempo.ns_at(0)
        assert ahead.extended(due, turn) == until + 1


def test_what_the_composer_has_drawn_already_is_not_asked_for() -> None:
    ahead, turn = Lookahead(FAR, TempoMap(120)), Turn(0)
    ahead.begin(0, turn)
    assert ahead.renewed(10, turn, 10) == 10 + NEAR_TICKS
    ahead.reached(24)
    due = ahead.next_pulse(turn)
    assert due is not None and pulse_of(24 - NEAR_TICKS) <= due < pulse_of(25 - NEAR_TICKS)
    assert [ahead.extended(pulse, turn) for pulse in (pulse_of(16), due - 1, due)] == [None, None, 25]


def test_a_rest_costs_no_requests() -> None:
    """The composer says where the next beat, or note, lies: it is asked again shortly before that."""
    session = StepByStep(
        "accompany", composer_of(constraints=Constraints(max_notes=1), settings=settings_of("accompany"))
    )
    for stamp_ns, message in WALK:
        session.play(message, stamp_ns)
    assert len([request for request in session.requests if isinstance(request, Extend)]) < 2 * len(WALK)


@pytest.mark.parametrize(("hold_ms", "parts"), [(5, 1), (20, 1), (30, 1), (20, 3)])
@pytest.mark.parametrize("bpm", [30, 120, 300])
def test_a_note_that_is_held_back_is_drawn_in_time_to_be_sent(bpm: int, hold_ms: int, parts: int) -> None:
    tempo, turn, held = TempoMap(bpm), Turn(0), range(45, 51)
    hold_pulse = tempo.pulse_at(hold_ms * MS)
    ahead = Lookahead(FAR, tempo, lambda tick: hold_pulse if tick in held else 0, parts)
    ahead.begin(0, turn)
    ahead.renewed(40, turn, 40)
    ahead.reached(48)
    due = ahead.next_pulse(turn)
    assert due is not None
    left = tempo.ns_at(pulse_of(48) + hold_pulse) - tempo.ns_at(due)
    assert abs(left - parts * DRAW_NS) <= tempo.ns_at(2) - tempo.ns_at(0)
    if due > pulse_of(47):
        assert ahead.renewed(46, turn) == 48, "another plan does not draw it either"
    assert [ahead.extended(pulse, turn) for pulse in (due - 1, due)] == [None, 49]
    ahead.reached(51)
    after = ahead.next_pulse(turn)
    assert after is not None and abs(tempo.ns_at(pulse_of(51)) - tempo.ns_at(after) - NEAR_NS) < tempo.ns_at(2)
    if after <= due:
        assert (ahead.extended(due + 1, turn) or 0) > 51, "what follows is not held back, and is drawn at once"


@pytest.mark.parametrize(("mode", "hold_ms"), [("accompany", 0), ("accompany", 20), ("trade", 0)])
def test_what_is_played_does_not_depend_on_how_far_ahead_it_is_drawn(
    mode: str, hold_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = []
    script = [
        *WALK,
        *tune([None, 62] * 12, 4 * BEAT_NS // 3, 33 * BEAT_NS),
        *tune([64] * 9, BEAT_NS, 66 * BEAT_NS + 9 * MS),
    ]
    for near, far in ((45 * MS, 12), (NEAR_NS, 12), (NEAR_NS, 48), (NEAR_NS, 192), (ALL_NS, 192)):
        monkeypatch.setattr(lookahead, "NEAR_NS", near)
        changes = {"lookahead_ticks": far, "hold_ns": hold_ms * MS}
        played.append(duet(script, 80 * BEAT_NS, mode, BUSY, **changes)[0].sent)  # type: ignore[arg-type]
    monkeypatch.setattr(Lookahead, "_due_pulse", lambda self, tick: pulse_of(tick - NEAR_TICKS))
    played.append(duet(script, 80 * BEAT_NS, mode, BUSY, hold_ns=hold_ms * MS)[0].sent)
    assert len(played[0]) > 160
    assert all(each == played[0] for each in played)


def test_a_machine_that_is_too_slow_for_what_is_held_back_is_told_so() -> None:
    script, missed = tune([60, 62, 64, None] * 10), []
    for think_ns in (14 * MS, 30 * MS):
        slow = {"stepper": Eager(), "think_ns": think_ns, "hold_ns": 20 * MS}
        _, engine = duet(script, 40 * BEAT_NS, "accompany", Constraints(min_duration=6), **slow)  # type: ignore[arg-type]
        missed.append(engine.counts.missed_deadlines)
    assert missed[0] == 0 < missed[1]


def test_what_is_held_back_leaves_in_time_where_the_player_does_not_strike() -> None:
    """Drawing takes 14 ms of the 15 that are left for it."""
    script = tune([60, 62, 64, None] * 30)
    performance, engine = duet(
        script,
        120 * BEAT_NS,
        "accompany",
        Constraints(min_duration=6),
        stepper=Eager(),
        think_ns=14 * MS,
        hold_ns=20 * MS,
    )
    bar = 4 * TICKS
    missed = [
        span
        for span in spans(performance.sent)
        if span.tick > bar and span.tick % bar in range(3 * TICKS, 3 * TICKS + 3)
    ]
    late = [span.on_ns - engine.tempo.ns_at(span.tick * PULSES_PER_TICK) for span in missed]
    assert len(late) > 25 and all(abs(ns - 20 * MS) < MS for ns in late)


@pytest.mark.parametrize("commit_ms", [200, 300, 500])
@pytest.mark.parametrize("mode", ["accompany", "trade"])
def test_a_commit_window_beyond_what_is_drawn_loses_nothing(
    mode: str, commit_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for near in (NEAR_NS, ALL_NS):
        monkeypatch.setattr(lookahead, "NEAR_NS", near)
        changes = {"lookahead_ticks": 192, "commit_ns": commit_ms * MS}
        counts.append(len(spans(duet(WALK, 32 * BEAT_NS, mode, BUSY, **changes)[0].sent)))  # type: ignore[arg-type]
    assert counts[0] == counts[1] > 25


@pytest.mark.parametrize("hold_ms", [0, 20])
@pytest.mark.parametrize("beat", [8.3, 8.9, 9.3, 9.9, 10.3])
def test_what_is_called_for_the_next_bar_line_loses_nothing_before_it(
    beat: float, hold_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = parse_chart("[A] C | C | C | C ; [B] G | G | G | G")
    script = [*WALK, (round(beat * BEAT_NS), midi.control(0, 30, 127))]
    called = {"chart": chart, "next_cc": 30, "hold_ns": hold_ms * MS, "lookahead_ticks": 192}
    played = []
    for near in (NEAR_NS, ALL_NS):
        monkeypatch.setattr(lookahead, "NEAR_NS", near)
        sent = duet(script, 16 * BEAT_NS, "accompany", BUSY, **called)[0].sent  # type: ignore[arg-type]
        played.append([note for note in spans(sent) if beat * TICKS <= note.tick < 12 * TICKS])
    assert len(played[0]) >= len(played[1]) > 1


@pytest.mark.parametrize(("hold_ms", "most"), [(0, 1.7), (20, 1.35)])
def test_little_of_an_accompaniment_is_drawn_and_thrown_away(hold_ms: int, most: float) -> None:
    stepper = NoiseStepper()
    _, engine = duet(WALK, 32 * BEAT_NS, "accompany", BUSY, stepper=stepper, hold_ns=hold_ms * MS)
    wanted = 32 + 2 * 32 + engine.counts.notes  # the player's notes, beats and their chords, Antiphon's notes
    assert stepper.steps < most * wanted


def test_a_held_chord_is_planned_far_ahead_again() -> None:
    session = StepByStep("accompany")
    for pitch in (60, 64, 67):
        session.play(midi.note_on(0, pitch, 80), 1)
    session.until(BAR_NS)
    near = next(request for request in reversed(session.requests) if isinstance(request, Plan) and request.turn)
    assert near.until - near.boundary <= NEAR_TICKS
    far = [request for request in session.requests if isinstance(request, Extend)]
    assert far[-1].until * PULSES_PER_TICK - session.engine.tempo.pulse_at(BAR_NS) >= (FAR - 1) * PULSES_PER_TICK
