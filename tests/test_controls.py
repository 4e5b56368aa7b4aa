"""The knobs: where each controller turns them to, the control vector, and the biases that move with them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from performing import ANYTHING, StepByStep, tick_ns

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.composing.contract import MASKED
from realtime.composing.masks import LONG_NATS, Masks, Moment
from realtime.composing.register import BELOW
from realtime.config import Style, load
from realtime.core.dialogue import ModelNote, PlayerNote, Steer, Turn
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.music.attributes import ATTRIBUTES, CONTROLS, STYLES
from realtime.music.controls import AS_IT_IS, KNOBS, Controls
from realtime.music.metre import Beat
from realtime.music.vocabulary import BASS, BEAT, Role


@pytest.mark.parametrize("knob", range(len(ATTRIBUTES)))
def test_an_attribute_goes_from_end_to_end_with_nothing_in_the_middle(knob: int) -> None:
    places = [getattr(AS_IT_IS.turned(knob, value), KNOBS[knob]) for value in range(128)]
    assert places == sorted(set(places))
    assert (places[0], places[64], places[127]) == (-1, 0, 1)
    assert AS_IT_IS.turned(knob, 3).turned(knob, 64) == AS_IT_IS


def test_guidance_goes_from_none_to_twice() -> None:
    knob = KNOBS.index("guidance")
    assert [AS_IT_IS.turned(knob, value).guidance for value in (0, 64, 127)] == [0, 1, 2]


def test_every_style_has_its_band() -> None:
    knob = KNOBS.index("style")
    bands = [AS_IT_IS.turned(knob, value).style for value in range(128)]
    assert bands[0] is None
    assert sorted(set(bands[1:])) == list(range(len(STYLES)))
    assert bands[1:] == sorted(bands[1:])
    assert min(bands.count(style) for style in range(len(STYLES))) >= 15


def test_a_vector_holds_what_is_set_and_nothing_else() -> None:
    assert not AS_IT_IS.vector().any()
    assert AS_IT_IS.vector().shape == (CONTROLS,)
    vector = Controls(density=-0.5, polyphony=1.0, style=3, guidance=2.0).vector()
    assert vector[:5] == pytest.approx([-1, 0, 0, 0, 2])
    assert vector[5:10].tolist() == [1, 0, 0, 0, 1]
    assert np.flatnonzero(vector[10:]).tolist() == [3]


# --- from the controllers to the composer ---


def test_controllers_of_any_channel_turn_the_knobs_before_and_while_playing() -> None:
    session = StepByStep("trade", controls_cc=20)
    session.play(midi.control(5, 21, 127), 0)
    assert not session.engine.rolling
    session.play(midi.note_on(0, 60, 80), 10)
    session.play(midi.control(0, 26, 0), tick_ns(5))
    session.play(midi.control(0, 28, 0), tick_ns(6))
    assert session.engine.knobs.controls == Controls(register=1.0, guidance=0.0)
    assert [request.controls for request in session.requests if isinstance(request, Steer)] == [
        Controls(register=1.0),
        Controls(register=1.0, guidance=0.0),
    ]


def test_without_controllers_and_beside_the_pedal_the_knobs_stay() -> None:
    off, pedal = StepByStep("continue"), StepByStep("continue", controls_cc=20, trigger_cc=22)
    for session in (off, pedal):
        session.play(midi.note_on(0, 60, 80), 0)
        for value in (127, 0):
            session.play(midi.control(0, 22, value), tick_ns(5))
        assert session.engine.knobs.controls == AS_IT_IS
    assert pedal.engine.player.trigger_tick == 5


def test_the_configuration_says_where_the_knobs_are_at_first() -> None:
    config = load(None, {"controls.register": -0.5, "controls.style": "hymn", "controls.cc": 0})
    expected = Controls(register=-0.5, style=STYLES.index("hymn"))
    engine, setup = engine_settings(config), worker_setup(config)
    assert engine.controls == setup.controls == expected
    assert engine.controls_cc is None
    assert engine_settings(load()).controls_cc == 20
    assert get_args(Style) == STYLES


# --- the biases ---


def masks_of(controls: Controls, constraints: Constraints = ANYTHING) -> Masks:
    """After eight quarters of C4 by one voice."""
    masks = Masks(constraints)
    masks.controls = controls
    for i in range(8):
        masks.profile.add(PlayerNote(24 * i, 60, 80, 0), 1)
    return masks


def bias(masks: Masks, sounding: int = 0, made: int = 0, role: Role = Role.TRADE) -> np.ndarray:
    release = np.full(128, -1)
    release[100 : 100 + sounding] = 1000
    moment = Moment(240, Beat(240, 24, 2, 96), 240, made, (-1, 0), release, np.zeros(128, bool))
    return masks.bias(role, Turn(192, 384), moment)


def test_register_moves_the_register_that_the_bias_aims_at() -> None:
    pitch = slice(35, 163)

    def best(controls: Controls) -> int:
        return int(np.argmax(bias(masks_of(controls, Constraints(tonic=0)))[pitch]))

    assert best(AS_IT_IS) in range(55, 66)
    assert best(Controls(register=0.5)) in range(63, 72)
    assert best(Controls(register=1.0)) in range(70, 79)
    assert best(Controls(register=-1.0)) in range(42, 51)


def test_register_draws_chords_to_a_place_an_octave_from_the_usual_and_no_farther() -> None:
    keys = slice(35 + 21, 35 + 109)  # the others are forbidden
    usual = bias(masks_of(AS_IT_IS), role=Role.ACCOMPANY)[keys]
    for register in (-1.0, -0.5, 0.5, 1.0):
        pull = bias(masks_of(Controls(register=register)), role=Role.ACCOMPANY)[keys] - usual
        place = 60 - BELOW + round(12 * register) - 21
        assert abs(int(np.argmax(pull)) - place) <= 1  # the player's own register moves too
        assert pull[place] > pull[place - 12] and pull[place] > pull[place + 12]
    low = bias(masks_of(Controls(register=-1.0), Constraints(parts=(BASS,))), role=Role.ACCOMPANY)[keys]
    bass = bias(masks_of(AS_IT_IS, Constraints(parts=(BASS,))), role=Role.ACCOMPANY)[keys]
    assert (np.diff(low - bass) < 0).all()  # a bass lies lower than chords: it is only pulled


def test_with_density_at_its_end_an_answer_leaves_no_gaps() -> None:
    """The player's notes come a quarter apart, so those of twice as many an eighth; the event before is on the beat."""
    usual, dense = (bias(masks_of(Controls(density=density)))[:BEAT] for density in (0.0, 1.0))
    assert (dense[:13] - usual[:13] == 0).all() and (dense[13:] - usual[13:] == LONG_NATS).all()


def test_density_moves_the_number_of_notes_that_the_bias_aims_at() -> None:
    """Two beats and a half into the turn, of a player of a note a beat."""
    rests = {density: bias(masks_of(Controls(density=density)), made=3)[BEAT] for density in (-1.0, 0.0, 1.0)}
    assert rests[1.0] < rests[0.0] < rests[-1.0]


def test_polyphony_moves_the_number_of_voices_but_not_a_limit_that_is_set() -> None:
    def may_sound(controls: Controls, constraints: Constraints = ANYTHING) -> int:
        masks = masks_of(controls, constraints)
        return next(n for n in range(20) if (bias(masks, sounding=n)[:BEAT] < -1e8).all())

    assert [may_sound(Controls(polyphony=polyphony)) for polyphony in (-1.0, 0.0, 1.0)] == [1, 1, 3]
    assert may_sound(Controls(polyphony=1.0), Constraints(max_notes=3)) == 3


def test_polyphony_asks_for_so_many_notes_on_an_onset() -> None:
    """A player of one voice; Antiphon has played `made` notes on the beat."""

    def going_on(polyphony: float, made: int) -> tuple[float, float]:
        masks = masks_of(Controls(polyphony=polyphony))
        for pitch in range(70, 70 + made):
            masks.overuse.proposed(ModelNote(240, pitch, 80, 12, 0))
        time = bias(masks, made=made)[: BEAT + 1]
        return float(time[0]), float(time[BEAT])

    assert going_on(-1.0, 1)[0] == MASKED, "one note and no more"
    for made in (1, 2):
        again, rest = going_on(1.0, made)
        assert again - rest > 5, "three on an onset"
    again, rest = going_on(1.0, 3)
    assert rest - again > 5


def test_bright_and_tense_pitch_classes_are_where_the_fifths_say() -> None:
    bright, tense = Controls(brightness=1).colour(0), Controls(tension=1).colour(0)
    assert bright[64] > bright[60] > bright[63] > bright[61], "E, C, E flat, D flat"
    assert tense[68] > tense[65] > tense[62], "A flat, F, D"
    assert np.allclose(Controls(brightness=-0.5).colour(0), -0.5 * bright)
    assert np.allclose(Controls(tension=1).colour(7)[7:], tense[:-7])
    assert not Controls(density=1).modal and not Controls(density=1).colour(3).any()


def test_with_polyphony_at_its_end_a_chord_may_be_struck_while_the_one_before_sounds() -> None:
    def free(controls: Controls, sounding: int) -> bool:
        return bool((bias(masks_of(controls), sounding, made=1, role=Role.ACCOMPANY)[:BEAT] > MASKED / 2).any())

    assert free(AS_IT_IS, 3) and not free(AS_IT_IS, 4)
    assert free(Controls(polyphony=1.0), 7) and not free(Controls(polyphony=1.0), 8)
