"""The engine step by step: plans and boundaries, late and stale replies, a new composer."""

from __future__ import annotations

from performing import (
    BAR_NS,
    BEAT_NS,
    MS,
    StepByStep,
    assert_nothing_hangs,
    composer_of,
    onsets,
    plans,
    settings_of,
    spans,
    tick_ns,
    tune,
)

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core.dialogue import (
    KeyUp,
    ModelNote,
    Plan,
    Proposed,
    Reached,
    Relocate,
    Remember,
    Steer,
    Turn,
)
from realtime.core.engine import Engine
from realtime.core.modes import Harmonise
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.music.controls import AS_IT_IS

SHORT = Constraints(max_duration=12)


def test_at_each_note_accompany_keeps_what_is_final_and_takes_back_the_rest() -> None:
    session = StepByStep("accompany", composer_of(constraints=SHORT, settings=settings_of("accompany")))
    session.play(midi.note_on(0, 60, 80), 0)
    retracted = 0
    for beat in range(1, 9):
        now_ns = beat * BEAT_NS - 130 * MS
        session.until(now_ns)
        before = session.engine.scheduler.planned()
        session.engine.handle(midi.note_on(0, 60 + beat, 80), now_ns)
        boundary = plans(session.engine.turns.requests)[0].boundary
        assert boundary * PULSES_PER_TICK >= session.engine.tempo.pulse_at(now_ns + session.engine.settings.commit_ns)
        kept = [note for note in before if note.onset_pulse < boundary * PULSES_PER_TICK]
        assert session.engine.scheduler.planned() == kept
        retracted += len(before) - len(kept)
        session.settle(now_ns)
        after = session.engine.scheduler.planned()
        assert after[: len(kept)] == kept
        assert all(note.onset_pulse >= boundary * PULSES_PER_TICK for note in after[len(kept) :])
    assert session.engine.counts.retracted == retracted > 0


def test_a_key_up_during_a_turn_is_sent_to_the_composer_and_the_rest_planned_anew() -> None:
    session = StepByStep("accompany")
    session.play(midi.note_on(0, 60, 80), 0)
    session.until(tick_ns(20))
    session.requests.clear()
    session.play(midi.note_off(0, 60), tick_ns(20))
    key_up, plan = session.requests
    assert key_up == KeyUp(20, 60)
    assert isinstance(plan, Plan)
    assert plan.played is None and plan.after_key_up
    assert plan.boundary > 20
    assert plan.turn == Turn(0, 72, rings=96), (
        "it ends on the beat after two beats of rest, and may ring to the bar line"
    )
    session.play(midi.note_on(0, 62, 80), tick_ns(40))
    plan = plans(session.requests)[-1]
    assert plan.turn == Turn(0), "the player goes on, and so does the turn"
    assert not plan.after_key_up


def test_a_pitch_held_on_two_channels_is_up_when_both_keys_are() -> None:
    session = StepByStep("trade")
    for channel in (0, 1):
        session.play(midi.note_on(channel, 60, 80), 0)
    session.play(midi.note_off(1, 60), tick_ns(10))
    assert not any(isinstance(request, KeyUp) for request in session.requests)
    session.play(midi.note_off(0, 60), tick_ns(20))
    assert session.requests[-1] == KeyUp(20, 60)


def test_a_note_off_without_its_note_on_is_ignored() -> None:
    session = StepByStep("trade")
    session.play(midi.note_on(0, 60, 80), 0)
    before = list(session.requests)
    session.play(midi.note_off(0, 61), tick_ns(10))
    session.play(midi.note_off(1, 60), tick_ns(10))
    assert session.requests == before


def test_all_notes_off_from_a_daw_releases_the_keys_of_its_channel() -> None:
    session = StepByStep("trade")
    for channel, pitch in ((0, 60), (0, 64), (1, 67)):
        session.play(midi.note_on(channel, pitch, 80), 0)
    session.play(midi.control(0, midi.ALL_NOTES_OFF, 0), tick_ns(12))
    assert session.engine.player.down == {(1, 67)}
    assert {request.pitch for request in session.requests if isinstance(request, KeyUp)} == {60, 64}


def test_notes_of_a_replaced_plan_are_refused_however_late_they_come() -> None:
    """A slow composer is still at its first plan while the player goes on: none of its stale notes may be taken."""
    session = StepByStep("accompany")
    session.engine.handle(midi.note_on(0, 40, 80), 0)
    first = plans(session.engine.take_requests())[-1]
    boundaries = []
    for i in range(1, 40):
        session.engine.handle(midi.note_on(0, 40 + i, 80), i * 10 * MS)
        boundaries += [plan.boundary for plan in plans(session.engine.take_requests())]
    now_ns = 400 * MS
    for tick in range(min(boundaries) - 1, max(boundaries) + 30):
        session.engine.receive(Proposed(first.generation, ModelNote(tick, 100, 80, 6, 0)), now_ns)
    planned = [note.onset_pulse // PULSES_PER_TICK for note in session.engine.scheduler.planned()]
    assert planned == [min(boundaries) - 1]


def test_what_was_final_stays_final_when_an_event_is_handled_late() -> None:
    """A key goes up 60 ms before the last note, but is handled after it: notes before that note's boundary stay planned."""
    session = StepByStep("accompany")
    session.play(midi.note_on(0, 60, 80), 0)
    session.play(midi.note_on(0, 64, 80), tick_ns(48))
    last = plans(session.requests)[-1]
    session.engine.scheduler.clear()
    session.engine.receive(Proposed(last.generation, ModelNote(last.boundary - 1, 50, 80, 6, 0)), tick_ns(48))
    session.engine.handle(midi.note_off(0, 60), tick_ns(48) - 60 * MS)
    (again,) = plans(session.engine.take_requests())
    assert again.boundary == last.boundary
    assert [note.pitch for note in session.engine.scheduler.planned()] == [50]


def test_a_complete_plan_leaves_no_older_plan_to_wait_for() -> None:
    session = StepByStep("accompany")
    for i in range(30):
        session.play(midi.note_on(0, 40 + i, 80), i * 100 * MS)
    assert not len(session.engine.turns.plans)


def test_after_yielding_nothing_more_of_the_turn_is_sent_whenever_it_comes() -> None:
    session = StepByStep("continue", modes={"continue": settings_of("continue").modes["continue"]})
    for message, ns in ((midi.note_on(0, 60, 80), 0), (midi.note_off(0, 60), 100 * MS)):
        session.play(message, ns)
    session.until(4 * BEAT_NS)
    turn = session.engine.turn
    assert turn is not None
    generation = plans(session.requests)[-1].generation
    session.engine.scheduler.clear()
    back_ns = tick_ns(turn.start + 20.4)
    tick = turn.start + 20
    session.until(back_ns - 1)
    session.engine.receive(Proposed(generation, ModelNote(tick, 50, 80, 96, 0)), back_ns - 1)  # not polled any more
    session.engine.handle(midi.note_on(0, 60, 80), back_ns)
    for early in (tick - 1, tick, tick + 1):
        session.engine.receive(Proposed(generation, ModelNote(early, 52, 80, 96, 0)), back_ns)
    sent = session.engine.poll(back_ns)
    assert not any(midi.is_note_on(one.message) for one in sent)
    assert not session.engine.scheduler.planned()
    assert not session.engine.ledger.sounding()


def test_an_answer_ends_with_its_key_even_if_it_was_not_sent_yet() -> None:
    """The reply and the key-up come in before the next poll."""
    engine = Engine(settings_of("harmonise", modes={"harmonise": Harmonise(1)}), TempoMap(120))
    engine.handle(midi.note_on(0, 60, 80), 0)
    (plan,) = plans(engine.take_requests())
    engine.receive(Proposed(plan.generation, ModelNote(0, 67, 80, 384, 1)), 10 * MS)
    engine.handle(midi.note_off(0, 60), 10 * MS)
    engine.receive(Reached(plan.generation, 1, (), 0), 10 * MS)
    assert [one.message for one in engine.poll(10 * MS)] == [midi.note_on(0, 67, 80)]
    assert engine.poll(tick_ns(3) - MS) == []
    assert [one.message for one in engine.poll(tick_ns(3))] == [midi.note_off(0, 67)], "shortly after, but no click"


def test_stopping_sends_what_waits_and_releases_it() -> None:
    engine = Engine(settings_of("harmonise"), TempoMap(120))
    engine.handle(midi.note_on(0, 60, 80), 0)
    (plan,) = plans(engine.take_requests())
    engine.receive(Proposed(plan.generation, ModelNote(0, 67, 80, 384, 1)), 10 * MS)
    assert_nothing_hangs([(0, 0, message) for message in engine.stop()])
    assert engine.poll(20 * MS) == []
    assert engine.wake_ns() is None


def test_without_replies_it_stays_silent_and_a_late_reply_clears_what_was_waited_for() -> None:
    engine = Engine(settings_of("harmonise"), TempoMap(120))
    for stamp_ns, message in tune([60, 64] * 50, note_ns=100 * MS):
        engine.handle(message, stamp_ns)
        assert engine.poll(stamp_ns) == []
    engine.receive(Reached(engine.turns.plans.generation, 0, (), 0), 10_000 * MS)
    assert not len(engine.turns.plans)
    assert not len(engine.turns.answers)


def test_a_new_composer_gets_knobs_and_position_and_continues_the_turn() -> None:
    session = StepByStep("trade", bpm=120.0)
    for stamp_ns, message in tune([60] * 8):
        session.play(message, stamp_ns)
    session.until(9 * BEAT_NS)
    session.composer = composer_of(seed=5)
    session.requests.clear()
    heard = session.engine.heard.notes()
    session.engine.composer_is_new(9 * BEAT_NS)
    session.until(16 * BEAT_NS)
    assert session.requests[:3] == [Steer(AS_IT_IS), Relocate(9 * 24), Remember(heard)]
    assert plans(session.requests)[0].turn == Turn(192, 384)
    assert any(ns > 10 * BEAT_NS for ns, _, _ in onsets(session.sent))
    assert all(span.off_ns <= 4 * BAR_NS for span in spans(session.sent))


def test_an_event_that_is_handled_after_a_later_decision_counts_as_a_missed_deadline() -> None:
    on_time, late = StepByStep("trade"), StepByStep("trade")
    for session, handled_ns in ((on_time, tick_ns(72)), (late, tick_ns(73))):
        session.play(midi.note_on(0, 60, 80), 0)
        session.until(handled_ns)  # half a tick after each beat there is a decision
        session.engine.handle(midi.note_on(0, 64, 80), tick_ns(72))
    assert [session.engine.counts.missed_deadlines for session in (on_time, late)] == [0, 1]
