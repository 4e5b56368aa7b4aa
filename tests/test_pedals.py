"""Pedals: a key that a pedal holds sounds; and in whole performances, it counts as held."""

from __future__ import annotations

import pytest
from performing import BEAT_NS, MS, StepByStep, assert_nothing_hangs, duet, onsets, settings_of, spans, tick_ns, tune

from realtime import midi
from realtime.config import load
from realtime.core.dialogue import KeyUp
from realtime.core.engine import Engine
from realtime.core.pedals import Pedals, Switch
from realtime.core.tempo import TempoMap
from realtime.io.live.player import Player
from realtime.io.live.settings import worker_setup
from realtime.io.live.take import Take
from realtime.io.midi.ports import MemoryPort

C, E, G = (0, 60), (0, 64), (0, 67)


def test_sustain_holds_every_key_that_goes_up_until_it_goes_up_itself() -> None:
    pedals = Pedals()
    pedals.key_down(C)
    pedals.control(0, midi.SUSTAIN, 64)
    pedals.key_down(E)
    assert pedals.key_up(C) == pedals.key_up(E) == []
    pedals.key_down(G)
    assert pedals.control(0, midi.SUSTAIN, 63) == [C, E], "G has a finger on it"
    assert pedals.key_up(G) == [G]


@pytest.mark.parametrize(("value", "held"), [(0, False), (63, False), (64, True), (127, True)])
def test_a_half_pedal_is_down_from_64_on(value: int, held: bool) -> None:
    pedals = Pedals()
    pedals.control(0, midi.SUSTAIN, value)
    pedals.key_down(C)
    assert pedals.key_up(C) == ([] if held else [C])


def test_sostenuto_holds_the_keys_that_were_down_when_it_was_pressed() -> None:
    pedals = Pedals()
    pedals.key_down(C)
    pedals.control(0, midi.SOSTENUTO, 127)
    pedals.key_down(E)
    pedals.control(0, midi.SOSTENUTO, 100)  # a continuous pedal goes on: it takes no further keys
    assert pedals.key_up(C) == []
    assert pedals.key_up(E) == [E]
    assert pedals.control(0, midi.SOSTENUTO, 0) == [C]


def test_with_both_pedals_a_key_ends_with_the_last_of_them() -> None:
    pedals = Pedals()
    pedals.key_down(C)
    pedals.control(0, midi.SOSTENUTO, 127)
    pedals.control(0, midi.SUSTAIN, 127)
    pedals.key_up(C)
    assert pedals.control(0, midi.SUSTAIN, 0) == []
    assert pedals.control(0, midi.SOSTENUTO, 0) == [C]


def test_a_key_struck_again_under_the_pedal_ends_and_begins() -> None:
    pedals = Pedals()
    pedals.control(0, midi.SUSTAIN, 127)
    pedals.key_down(C)
    pedals.key_up(C)
    assert pedals.key_down(C) == [C]
    assert pedals.control(0, midi.SUSTAIN, 0) == []
    assert pedals.key_up(C) == [C]


@pytest.mark.parametrize("number", [120, 123, 124, 127])
def test_all_notes_off_ends_every_key_of_its_channel_and_lifts_the_pedals(number: int) -> None:
    pedals, other = Pedals(), (1, 60)
    pedals.control(0, midi.SUSTAIN, 127)
    for key in (C, E, other):
        pedals.key_down(key)
    pedals.key_up(C)
    assert pedals.control(0, number, 0) == [C, E]
    assert pedals.key_up(E) == []
    pedals.key_down(C)
    assert pedals.key_up(C) == [C]
    assert pedals.key_up(other) == [other]


def test_reset_all_controllers_lifts_the_pedals_and_leaves_the_fingers() -> None:
    pedals = Pedals()
    pedals.key_down(C)
    pedals.key_down(E)
    pedals.control(0, midi.SOSTENUTO, 127)
    pedals.control(0, midi.SUSTAIN, 127)
    pedals.key_up(C)
    assert pedals.control(0, midi.RESET_CONTROLLERS, 0) == [C]
    assert pedals.key_up(E) == [E]


def test_the_pedals_of_a_master_channel_hold_the_keys_of_its_zone() -> None:
    pedals = Pedals()
    pedals.masters = frozenset({0})
    pedals.key_down((3, 60))
    pedals.control(0, midi.SUSTAIN, 127)
    assert pedals.key_up((3, 60)) == []
    assert pedals.control(0, midi.SUSTAIN, 0) == [(3, 60)]


def test_a_press_of_a_continuous_pedal_is_one_call() -> None:
    switch = Switch()
    values = [*range(0, 128, 4), *[120, 121, 122] * 20, *[66, 63, 65, 60, 64] * 5, *range(60, -1, -4), 127]
    assert [value for value in values if switch.moved(value)] == [64, 127]


# --- whole performances ---

HELD = [(0, midi.control(0, 64, 100)), *tune([60, 64], note_ns=200 * MS, start_ns=10)]


def test_continue_waits_while_the_pedal_holds_the_chord() -> None:
    lifted_ns = 12 * BEAT_NS
    performance, _ = duet([*HELD, (lifted_ns, midi.control(0, 64, 0))], 20 * BEAT_NS, "continue")
    first_ns = onsets(performance.sent)[0][0]
    assert lifted_ns + 2 * BEAT_NS <= first_ns < lifted_ns + 3.1 * BEAT_NS


def test_a_pedal_pressed_before_the_first_note_counts() -> None:
    performance, _ = duet(HELD, 12 * BEAT_NS, "continue")
    assert not performance.sent


def test_accompany_goes_on_while_the_pedal_holds_and_the_model_hears_the_keys_as_held() -> None:
    session = StepByStep("accompany")
    for ns, message in sorted(HELD, key=lambda item: item[0]):
        session.play(message, ns)
    session.until(tick_ns(200))
    assert session.composer._history.keys_down.nonzero()[0].tolist() == [60, 64]
    assert session.engine.turn is not None
    session.play(midi.control(0, 64, 0), tick_ns(200))
    assert {request.pitch for request in session.requests if isinstance(request, KeyUp)} == {60, 64}
    session.until(tick_ns(300))
    assert session.engine.turn is None


def test_harmonise_holds_its_answer_as_long_as_the_pedal() -> None:
    script = [*tune([60]), (100 * MS, midi.control(0, 64, 127)), (3 * BEAT_NS, midi.control(0, 64, 0))]
    performance, _ = duet(script, 8 * BEAT_NS, "harmonise")
    assert {span.off_ns for span in spans(performance.sent)} == {3 * BEAT_NS}


@pytest.mark.parametrize("ends", [midi.control(0, 120, 0), midi.control(0, 121, 0), midi.control(0, 123, 0)])
def test_what_resets_a_channel_ends_what_the_pedal_held(ends: bytes) -> None:
    performance, _ = duet([*HELD, (6 * BEAT_NS, ends)], 16 * BEAT_NS, "continue")
    assert 8 * BEAT_NS <= onsets(performance.sent)[0][0] < 9.1 * BEAT_NS


def test_transport_stop_lifts_the_pedal() -> None:
    clocks = [(clock * BEAT_NS // 24, bytes([midi.CLOCK])) for clock in range(1, 24 * 40)]
    script = [
        (0, bytes([midi.START])),
        *clocks,
        (BEAT_NS, midi.control(0, 64, 127)),
        (BEAT_NS + 5, midi.note_on(0, 60, 80)),
    ]
    script += [(2 * BEAT_NS, midi.note_off(0, 60)), (3 * BEAT_NS + 7, bytes([midi.STOP]))]
    script += [(4 * BEAT_NS + 7, bytes([midi.START])), *tune([60, 62], start_ns=5 * BEAT_NS)]
    performance, _ = duet(script, 30 * BEAT_NS, "continue", follow_clock=True)
    assert onsets(performance.sent)
    assert_nothing_hangs(performance.sent)


def test_a_key_repeated_under_the_pedal_is_answered_each_time() -> None:
    script = [(0, midi.control(0, 64, 127)), *tune([60] * 12), (14 * BEAT_NS, midi.control(0, 64, 0))]
    performance, _ = duet(script, 16 * BEAT_NS, "harmonise")
    assert len({span.on_ns for span in spans(performance.sent)}) == 12
    assert_nothing_hangs(performance.sent)


def test_a_foot_on_the_trigger_pedal_does_not_put_the_turn_off() -> None:
    press = [(tick_ns(30) + i * 4 * MS, midi.control(0, 64, min(4 * i, 127))) for i in range(33)]
    rest = [(tick_ns(40) + i * 30 * MS, midi.control(0, 64, 120 + i % 3)) for i in range(200)]
    script = [(0, midi.note_on(0, 60, 80)), *press, *rest]
    performance, engine = duet(script, 8 * BEAT_NS, "continue", trigger_cc=64)
    assert 2 * BEAT_NS <= onsets(performance.sent)[0][0] < 3 * BEAT_NS
    assert engine.counts.turns == 1


def test_the_pedal_is_recorded_as_it_was_also_from_before_the_first_note() -> None:
    settings, take = settings_of("trade"), Take()
    ports = MemoryPort("in", lambda: 0), MemoryPort("out", lambda: 0)
    player = Player(Engine(settings, TempoMap(120)), worker_setup(load()), *ports, take, lambda line: None)
    before = [midi.control(0, 64, 30), midi.control(0, 64, 90)]
    after = [midi.control(0, 64, 70), midi.control(0, 64, 0), midi.control(0, 66, 127)]
    messages = [*before, midi.note_on(0, 60, 80), *after]
    for i, message in enumerate(messages):
        player._take((message, i * 100 * MS))
    pulses = [0, 0, 0, 96, 192, 288]
    assert take.events["player"] == list(zip(pulses, messages, strict=True))
