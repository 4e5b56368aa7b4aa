"""Accompany hears the note that it accompanies: notes are held back where the player is likely to strike."""

from __future__ import annotations

import numpy as np
import pytest
from performing import (
    BEAT_NS,
    MS,
    Eager,
    NoiseStepper,
    SentList,
    StepByStep,
    assert_nothing_hangs,
    composer_of,
    settings_of,
    tick_ns,
)

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core.dialogue import ModelNote, Proposed, Reached
from realtime.core.engine import Engine
from realtime.core.strikes import Strikes
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import BEAT, MODEL_PART
from realtime.simulate import perform

HOLD_NS = 20 * MS
BUSY = Constraints(max_duration=12)


def struck(sent: SentList, tick: int) -> list[int]:
    """When Antiphon's note-ons with this onset were sent, in nanoseconds after it."""
    return [
        ns - tick_ns(tick)
        for ns, pulse, message in sent
        if midi.is_note_on(message) and pulse == tick * PULSES_PER_TICK
    ]


def onsets_at(play: StepByStep, tick: int, now_ns: int) -> list[int]:
    """The pitches that begin at a tick, among what is sent by now."""
    sent = play.engine.poll(now_ns)
    return [each.message[1] for each in sent if midi.is_note_on(each.message) and each.pulse == tick * PULSES_PER_TICK]


def session(hold_ns: int = HOLD_NS) -> StepByStep:
    settings = settings_of("accompany", hold_ns=hold_ns)
    return StepByStep("accompany", composer_of(constraints=BUSY, settings=settings), hold_ns=hold_ns)


def quarters(play: StepByStep, beats: int, late_ns: int = 0) -> None:
    """The player strikes a key on each of the first beats; the first note is the downbeat, those after it are late."""
    for beat in range(beats):
        play.play(midi.note_on(0, 60 + beat % 12, 80), beat * BEAT_NS + late_ns * (beat > 0))
        play.play(midi.note_off(0, 60 + beat % 12), beat * BEAT_NS + BEAT_NS // 2)


def test_what_sounds_with_a_late_note_is_chosen_after_it() -> None:
    play = session()
    quarters(play, 40, 8 * MS)
    fed = play.composer._stepper.fed  # type: ignore[attr-defined]
    beats = np.cumsum([event[0] == BEAT for event in fed])
    together = 0
    for beat in range(3, 40):
        here = [event[1] for event, at in zip(fed, beats, strict=True) if at == beat + 1 and event[0] == 0]
        if any(part >= MODEL_PART for part in here):
            together += 1
            assert here[0] < MODEL_PART, "the player's note comes first in what the model hears"
        assert all(late > 8 * MS - 10 for late in struck(play.sent, beat * TICKS))
    assert together


@pytest.mark.parametrize("late_ms", [-8, 0, 8])
def test_a_note_is_due_when_it_has_waited_unless_it_reacts_to_a_note(late_ms: int) -> None:
    settings = settings_of("accompany", hold_ns=HOLD_NS)
    play = StepByStep("accompany", composer_of(Eager(), BUSY, settings=settings), hold_ns=HOLD_NS)
    quarters(play, 20, late_ms * MS)
    play.until(24 * BEAT_NS)
    ons = [(ns, sent) for ns, sent in play.sends if midi.is_note_on(sent.message)]
    reacts = [(ns, sent.pulse) for ns, sent in ons if sent.due_pulse is None]
    due = [(ns, sent.due_pulse) for ns, sent in ons if sent.due_pulse is not None]
    assert all(ns - play.engine.tempo.ns_at(pulse) in (0, 1) for ns, pulse in due)
    with_player = {beat * TICKS * PULSES_PER_TICK for beat in range(1, 20)}
    if late_ms > 0:
        assert with_player <= {pulse for _, pulse in reacts}, "each beat waits for the player"
        assert all(ns % BEAT_NS == late_ms * MS for ns, pulse in reacts if pulse in with_player)
    else:
        assert not with_player & {pulse for ns, pulse in reacts if ns < play.engine.tempo.ns_at(pulse)}
    assert len(due) > 20


def test_what_answers_a_key_reacts_to_it() -> None:
    play = StepByStep("harmonise")
    for beat in range(8):
        play.play(midi.note_on(0, 60 + beat, 80), beat * BEAT_NS + 5 * MS)
        play.play(midi.note_off(0, 60 + beat), beat * BEAT_NS + BEAT_NS // 2)
    ons = [sent for _, sent in play.sends if midi.is_note_on(sent.message)]
    assert len(ons) >= 8 and all(sent.due_pulse is None for sent in ons)


def test_where_the_player_does_not_strike_it_waits_no_longer_than_it_is_told_to() -> None:
    play = session()
    quarters(play, 6)
    play.play(midi.note_on(0, 60, 80), 6 * BEAT_NS)  # held on: the beats after it are not struck
    play.until(14 * BEAT_NS)
    held = [
        late
        for tick in range(7 * TICKS, 14 * TICKS)
        if tick % TICKS in (0, 1, 2, 22, 23)
        for late in struck(play.sent, tick)
    ]
    assert held and max(held) < HOLD_NS + MS
    assert max(held) > HOLD_NS - 2 * MS


def test_places_that_the_player_leaves_out_are_not_held() -> None:
    play = session()
    quarters(play, 12)
    offbeats = [
        late for tick in range(2 * TICKS, 11 * TICKS) if 6 <= tick % TICKS < 18 for late in struck(play.sent, tick)
    ]
    assert offbeats and max(offbeats) < 2 * MS


def test_a_strike_makes_another_likely_a_beat_later_and_not_right_after_it() -> None:
    strikes = Strikes(BeatGrid(settings_of("accompany").bars))
    strikes.add(2 * TICKS)
    likely = [tick for tick in range(2 * TICKS - 6, 12 * TICKS) if strikes.likely(tick)]
    assert likely == [beat * TICKS + off for beat in range(3, 11) for off in range(-3, 3) if beat < 10 or off <= 0]


@pytest.mark.parametrize("mode", ["trade", "continue", "harmonise"])
def test_other_modes_hold_nothing(mode: str) -> None:
    settings = settings_of(mode, hold_ns=HOLD_NS)
    engine = Engine(settings, TempoMap(settings.bpm))
    script = [
        (beat * BEAT_NS + off, midi.note_on(0, 60, 80) if not off else midi.note_off(0, 60))
        for beat in range(8)
        for off in (0, BEAT_NS // 2)
    ]
    sent = perform(engine, composer_of(settings=settings), script, 24 * BEAT_NS).sent
    late = [ns - engine.tempo.ns_at(pulse) for ns, pulse, message in sent if midi.is_note_on(message)]
    assert late and max(late) < 2 * MS


def test_a_chord_that_was_struck_first_leaves_together() -> None:
    play = session()
    quarters(play, 4)
    play.engine.handle(midi.note_on(0, 70, 80), 4 * BEAT_NS + 5 * MS)
    (plan,) = [request for request in play.engine.take_requests() if hasattr(request, "boundary")]
    tick = 4 * TICKS
    assert plan.boundary == tick
    for i, pitch in enumerate((48, 55, 64)):
        now_ns = 4 * BEAT_NS + (6 + i) * MS
        play.engine.receive(Proposed(plan.generation, ModelNote(tick, pitch, 80, 24, 0)), now_ns)
        assert not onsets_at(play, tick, now_ns)
    play.engine.receive(Reached(plan.generation, tick + 48, (), 0), 4 * BEAT_NS + 10 * MS)
    assert onsets_at(play, tick, 4 * BEAT_NS + 10 * MS) == [48, 55, 64]


def test_what_a_second_key_replaces_is_not_sent() -> None:
    play = session()
    quarters(play, 4)
    plans = []
    for key in (70, 74):
        play.engine.handle(midi.note_on(0, key, 80), 4 * BEAT_NS + 5 * MS)
        plans += [request for request in play.engine.take_requests() if hasattr(request, "boundary")]
        if key == 70:
            play.engine.receive(
                Proposed(plans[-1].generation, ModelNote(4 * TICKS, 48, 80, 24, 0)), 4 * BEAT_NS + 6 * MS
            )
    for plan in plans:
        play.engine.receive(Reached(plan.generation, 5 * TICKS, (), 0), 4 * BEAT_NS + 8 * MS)
    assert not onsets_at(play, 4 * TICKS, 4 * BEAT_NS + 30 * MS)


@pytest.mark.parametrize("think_ms", [0, 3, 12, 45])
def test_nothing_hangs_and_little_is_late_however_slow_the_composer_is(think_ms: int) -> None:
    settings = settings_of("accompany", hold_ns=HOLD_NS)
    rng = np.random.default_rng(think_ms)
    script = []
    for beat in range(64):
        for key in rng.choice(np.arange(48, 80), 1 + rng.integers(3), replace=False).tolist():
            start = max(round(beat * BEAT_NS + rng.normal(0, 12) * MS), 0)
            script += [(start, midi.note_on(0, key, 80)), (start + round(BEAT_NS * 0.7), midi.note_off(0, key))]
    engine = Engine(settings, TempoMap(settings.bpm))
    composer = composer_of(NoiseStepper(), BUSY, settings=settings)
    performance = perform(engine, composer, script, 66 * BEAT_NS, think_ns=think_ms * MS)
    assert_nothing_hangs(performance.sent)
    assert engine.counts.notes > 64
    assert engine.scheduler.late_dropped == 0
