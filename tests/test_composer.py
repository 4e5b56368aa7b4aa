"""The composer: what it feeds to the model, and that every mask holds. Going back: test_history.py."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import (
    AS_IT_COMES,
    BAR_NS,
    NoiseStepper,
    composer_of,
    duet,
    fed_with_keys,
    proposals,
    trade,
    tune,
)

from realtime.composing.constraints import Constraints
from realtime.composing.contract import MASKED
from realtime.core.dialogue import Advance, Extend, KeyUp, ModelNote, Plan, PlayerNote, Reached, Steer, Turn
from realtime.core.modes import Harmonise
from realtime.music.controls import Controls
from realtime.music.keys import SCALES
from realtime.music.metre import TICKS
from realtime.music.vocabulary import BEAT, CHORD, MODEL_PART, Role

BAR = 4 * TICKS


# --- what is fed ---


def test_each_beat_is_fed_with_the_keys_that_were_down_in_it() -> None:
    """A BEAT is fed when something happens after it, and even then tells of its own moment."""
    stepper = NoiseStepper()
    composer = composer_of(stepper)
    proposals(composer, trade(1, 1, None, 0, PlayerNote(0, 60, 80, 0)))
    list(composer.handle(KeyUp(30, 60)))
    proposals(composer, trade(2, 56, None, 0, PlayerNote(55, 64, 80, 0)))
    assert [(event[0], keys) for event, keys in fed_with_keys(stepper)] == [
        (BEAT, ()),
        (0, (60,)),
        (CHORD, (60,)),
        (BEAT, (60,)),
        (CHORD, (60,)),
        (BEAT, ()),
        (CHORD, ()),
        (7, (64,)),
    ]


def test_a_key_that_goes_up_on_a_beat_is_not_held_in_it() -> None:
    stepper = NoiseStepper()
    composer = composer_of(stepper)
    proposals(composer, trade(1, 1, None, 0, PlayerNote(0, 60, 80, 0)))
    list(composer.handle(KeyUp(48, 60)))
    list(composer.handle(Advance(48)))
    assert [(event[0], keys) for event, keys in fed_with_keys(stepper)][1:] == [
        (0, (60,)),
        (CHORD, (60,)),
        (BEAT, (60,)),
        (CHORD, (60,)),
        (BEAT, ()),
    ]


def test_all_events_have_the_role_of_their_plan_from_the_first_on() -> None:
    stepper = NoiseStepper()
    proposals(composer_of(stepper), Plan(1, 1, PlayerNote(0, 60, 80, 0), Role.ACCOMPANY, Turn(0), 48))
    assert {event[8] for event in stepper.fed} == {Role.ACCOMPANY}


class Resting(NoiseStepper):
    """Lets every beat pass."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        return [BEAT, 0, 0, 0, 0]


class Late(NoiseStepper):
    """Plays late in the beat."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        bias[:18] = MASKED
        return super().draw(release, bias, noise * 0)


@pytest.mark.parametrize(
    ("stepper", "role", "after_key_up", "steps"),
    [
        (Resting, Role.ACCOMPANY, True, 0),
        (Late, Role.ACCOMPANY, True, 1),
        (Resting, Role.ACCOMPANY, False, 1),
        (Resting, Role.CONTINUE, True, 1),
    ],
)
def test_a_key_that_goes_up_costs_an_accompaniment_that_rests_no_step(
    stepper: type[NoiseStepper], role: Role, after_key_up: bool, steps: int
) -> None:
    made = stepper()
    composer = composer_of(made)
    proposals(composer, Plan(1, 1, PlayerNote(0, 60, 80, 0), role, Turn(0), 12))
    list(composer.handle(KeyUp(10, 60)))
    before = made.steps
    proposals(composer, Plan(2, 12, None, role, Turn(0, 72), 12, after_key_up=after_key_up))
    assert made.steps - before == steps


def test_a_chord_that_is_still_due_is_drawn_anew_when_a_key_goes_up() -> None:
    stepper = Resting()
    composer = composer_of(stepper)
    proposals(composer, Plan(1, 1, PlayerNote(0, 60, 80, 0), Role.ACCOMPANY, Turn(0), 12))
    proposals(composer, Plan(2, 24, PlayerNote(24, 62, 80, 0), Role.ACCOMPANY, None))  # on the beat, before its chord
    list(composer.handle(KeyUp(24, 60)))
    before = stepper.steps
    proposals(composer, Plan(3, 25, None, Role.ACCOMPANY, Turn(0), 25, after_key_up=True))
    assert stepper.steps - before == 2, "the note again, and then the chord"


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 1000), st.sampled_from([Constraints(), Constraints(lowest=62, highest=62)]), st.integers(2, 22))
def test_a_key_up_changes_the_same_notes_wherever_the_plan_before_had_got_to(
    seed: int, constraints: Constraints, up: int
) -> None:
    """A plan stops at the boundary of a newer one that waits, or has run beyond it."""
    boundary = up + 1
    heard = []
    for limit in (None, boundary):
        stepper = NoiseStepper()
        composer = composer_of(stepper, constraints, seed=seed)
        requests = [
            (Plan(1, 1, PlayerNote(0, 62, 80, 0), Role.ACCOMPANY, Turn(0), 48), limit),
            (Steer(Controls(density=1.0, register=-1.0)), None),
            (KeyUp(up, 62), None),
            (Plan(2, boundary, None, Role.ACCOMPANY, Turn(0, 72), 96, after_key_up=True), None),
        ]
        for request, newer in requests:
            list(composer.handle(request, lambda newer=newer: newer))  # type: ignore[misc]
        heard.append(fed_with_keys(stepper))
    assert heard[0] == heard[1]


def test_a_rest_heard_beat_by_beat_is_the_same_rest() -> None:
    at_once, as_it_passed = NoiseStepper(), NoiseStepper()
    for stepper in (at_once, as_it_passed):
        composer = composer_of(stepper)
        proposals(composer, trade(1, 1, None, 0, PlayerNote(0, 60, 80, 0)))
        list(composer.handle(KeyUp(20, 60)))
        if stepper is as_it_passed:
            for tick in range(24, 1000, 24):
                assert not list(composer.handle(Advance(tick)))
            assert stepper.fed[-1][0] == BEAT
        proposals(composer, trade(2, 1001, None, 0, PlayerNote(1000, 60, 80, 0)))
    assert at_once.fed == as_it_passed.fed
    assert np.array_equal(at_once.held, as_it_passed.held)


def test_the_noise_depends_on_seed_tick_and_place_alone() -> None:
    class Listening(NoiseStepper):
        def step(self, event, held, release, bias, sampling, noise, *others):  # type: ignore[no-untyped-def]
            drawn.append(tuple(noise))
            return super().step(event, held, release, bias, sampling, noise, *others)

    def noises(seed: int, *notes: PlayerNote) -> list[tuple[float, ...]]:
        drawn.clear()
        composer = composer_of(Listening(), seed=seed)
        proposals(composer, *(trade(i, note.tick + 1, None, 0, note) for i, note in enumerate(notes)))
        return list(drawn)

    drawn: list[tuple[float, ...]] = []
    chord = noises(1, PlayerNote(24, 60, 80, 0), PlayerNote(24, 64, 80, 0))  # BEAT, CHORD, BEAT, note, note
    assert len(set(chord)) == 5
    assert noises(1, PlayerNote(0, 40, 1, 2), PlayerNote(24, 70, 99, 1), PlayerNote(24, 71, 99, 1))[3:] == chord[2:]
    assert not set(noises(2, PlayerNote(24, 60, 80, 0))) & set(chord)
    assert all(0 <= x < 1 for row in chord for x in row)


def test_it_is_freer_first_and_cooler_towards_the_end_of_its_turn() -> None:
    class Listening(NoiseStepper):
        def step(self, event, held, release, bias, sampling, noise, *others):  # type: ignore[no-untyped-def]
            temperatures.append(float(sampling[0, 0]))
            return super().step(event, held, release, bias, sampling, noise, *others)

    temperatures: list[float] = []
    proposals(composer_of(Listening()), trade(1, 0, Turn(0, 192), 192))
    assert temperatures == sorted(temperatures, reverse=True)
    assert temperatures[0] == pytest.approx(1.0)
    assert temperatures[-1] >= AS_IT_COMES.cool - 1e-6


# --- masks ---

constraints = st.builds(
    lambda tonic, scale, low, span, notes, short, longer: Constraints(
        tonic=tonic,
        scale=SCALES[scale],
        lowest=low,
        highest=low + span,
        max_notes=notes,
        min_duration=short,
        max_duration=short + longer,
    ),
    st.one_of(st.none(), st.integers(0, 11)),
    st.sampled_from(list(SCALES)),
    st.integers(0, 100),
    st.integers(0, 27),
    st.integers(1, 6),
    st.sampled_from((1, 3, 12, 24, 48)),
    st.integers(24, 300),
)


def assert_allowed(notes: Sequence[ModelNote], turn: Turn, rules: Constraints) -> None:
    for i, note in enumerate(notes):
        assert turn.start <= note.tick
        assert turn.end is None or note.tick + note.duration <= turn.end
        assert rules.lowest <= note.pitch <= rules.highest
        assert rules.tonic is None or (note.pitch - rules.tonic) % 12 in rules.scale
        assert rules.min_duration <= note.duration <= rules.max_duration
        sounding = [other for other in notes[:i] if other.tick + other.duration > note.tick]
        assert len(sounding) < rules.max_notes
        assert note.pitch not in {other.pitch for other in sounding}
    assert [note.tick for note in notes] == sorted(note.tick for note in notes)


@settings(deadline=None, max_examples=100)
@given(constraints, st.integers(0, 200), st.integers(0, 100), st.booleans())
def test_every_mask_holds(rules: Constraints, start: int, seed: int, open_ended: bool) -> None:
    turn = Turn(start, None if open_ended else start + 2 * BAR)
    composer = composer_of(constraints=rules, seed=seed)
    notes = proposals(composer, trade(1, start, turn, start + BAR), Extend(1, start + 2 * BAR))
    assert_allowed(notes, turn, rules)
    boundary = start + 70
    again = proposals(composer, trade(2, boundary, turn, start + 2 * BAR, PlayerNote(boundary - 2, 60, 80, 0)))
    assert all(note.tick >= boundary for note in again)
    assert_allowed([note for note in notes if note.tick < boundary] + again, turn, rules)


@pytest.mark.parametrize("role", [Role.TRADE, Role.CONTINUE])
def test_an_answer_comes_in_with_its_turn_and_going_back_forces_no_second_entrance(role: Role) -> None:
    class Resting(NoiseStepper):
        """Rests wherever it may."""

        def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
            return [BEAT, 0, 0, 0, 0] if bias[BEAT] > MASKED / 2 else super().draw(release, bias, noise)

    for seed in range(20):
        composer = composer_of(Resting(), seed=seed)
        turn = Turn(96, 288)
        (first,) = proposals(composer, Plan(1, 72, None, role, turn, 288))
        assert 96 <= first.tick < 120
        if first.tick < 115:
            revised = Plan(2, first.tick + 2, PlayerNote(first.tick + 1, 60, 80, 0), role, turn, 288)
            assert proposals(composer, revised) == []


def test_the_players_keys_are_theirs_where_both_play() -> None:
    for seed in range(30):
        composer = composer_of(constraints=Constraints(lowest=60, highest=62), seed=seed)
        notes = proposals(composer, Plan(1, 1, PlayerNote(0, 61, 80, 0), Role.ACCOMPANY, Turn(0), 96))
        assert {note.pitch for note in notes} <= {60, 62}


def test_an_answer_sounds_until_its_key_goes_up_and_is_free_then() -> None:
    """Each of a key's answers is its own, the second as well as the first."""
    stepper = NoiseStepper()
    composer = composer_of(stepper, constraints=Constraints(lowest=70, highest=71))

    def answer(generation: int, tick: int, pitch: int) -> list[ModelNote]:
        note = PlayerNote(tick, pitch, 80, 0)
        return proposals(composer, Plan(generation, tick + 1, note, Role.HARMONISE, Turn(tick, tick + 1, 2), tick + 1))

    assert sum(len(answer(i, 0, 60)) for i in (1,)) in (1, 2)
    assert answer(2, 1, 62) == [] or len(answer(3, 1, 63)) == 0, "both pitches are taken"
    for pitch in (60, 62, 63):
        list(composer.handle(KeyUp(10, pitch)))
    proposals(composer, Plan(4, 13, PlayerNote(12, 64, 80, 0), Role.HARMONISE, None, 0))
    assert list(np.flatnonzero(stepper.held[-1])) == [64]


def test_all_answers_to_a_key_end_with_it() -> None:
    """Two voices answer one key; after it went up neither sounds for the model."""

    class Both(NoiseStepper):
        def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
            return [0, MODEL_PART + 1, 55 if release[55] <= 0 else 52, 20, 20]

    stepper = Both()
    composer = composer_of(stepper)
    note = PlayerNote(0, 60, 80, 0)
    made = proposals(composer, Plan(1, 1, note, Role.HARMONISE, Turn(0, 1, 2), 1))
    assert [answer.pitch for answer in made] == [55, 52]
    assert list(np.flatnonzero(stepper.held[-1])) == [60, 128 + 52, 128 + 55]
    list(composer.handle(KeyUp(10, 60)))
    list(composer.handle(Advance(24)))
    assert not stepper.held[-1].any()


def test_harmony_stays_within_the_polyphony() -> None:
    rules = Constraints(max_notes=3)
    chord = [item for pitch in (60, 64, 67, 71) for item in tune([pitch])]
    _, engine = duet(chord, BAR_NS, "harmonise", rules, modes={"harmonise": Harmonise(2)})
    assert engine.counts.notes == 3


# --- what no model should draw ---

nonsense = st.one_of(
    st.lists(st.integers(-5, 400), min_size=5, max_size=5).map(np.array),
    st.lists(st.sampled_from((math.nan, math.inf, -math.inf, 3.0)), min_size=5, max_size=5).map(np.array),
    st.just(np.array([3, MODEL_PART, 60, 5, 20])),
    st.just(np.array([3, 0, 60, 5, 20])),  # a note of the player's
    st.just(np.array([3, MODEL_PART, 60, 32, 20])),  # an open duration
    st.just(np.array([BEAT, 0, 0, 0, 0])),
)


@settings(deadline=None, max_examples=80)
@given(st.lists(nonsense, min_size=1, max_size=6))
def test_a_draw_that_is_no_legal_note_becomes_a_rest_and_is_counted(draws: list[np.ndarray]) -> None:
    class Broken(NoiseStepper):
        def step(self, *inputs):  # type: ignore[no-untyped-def]
            choice = super().step(*inputs)
            return np.array([*draws[self.steps % len(draws)], choice[-1]])

    rules = Constraints(lowest=50, highest=70)
    turn = Turn(0, 384)
    replies = list(composer_of(Broken(), rules).handle(Plan(1, 0, None, Role.ACCOMPANY, turn, 384)))
    notes = [reply.note for reply in replies if not isinstance(reply, Reached)]
    assert_allowed(notes, turn, rules)
    (reached,) = [reply for reply in replies if isinstance(reply, Reached)]
    assert reached.rejected + len(notes) > 0 or all(draw[0] == BEAT for draw in draws)
    assert len(reached.step_ns) >= 16


def test_a_pitch_that_still_sounds_is_no_legal_note() -> None:
    class Stubborn(NoiseStepper):
        def step(self, event, held, release, bias, sampling, noise, *others):  # type: ignore[no-untyped-def]
            chord = super().step(event, held, release, bias, sampling, noise, *others)[-1]
            return np.array([5 if event[0] >= BEAT else 9, MODEL_PART, 60, 16, 20, chord])  # 32 ticks long

    replies = list(composer_of(Stubborn()).handle(Plan(1, 0, None, Role.TRADE, Turn(0, 96), 96)))
    notes = [reply.note for reply in replies if not isinstance(reply, Reached)]
    assert [(note.tick, note.duration) for note in notes] == [(5, 32), (53, 32)]
    assert replies[-1].rejected > 0  # type: ignore[union-attr]


def test_rejected_draws_reach_the_summary() -> None:
    class Wild(NoiseStepper):
        def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
            return [int(x * 30) for x in noise]

    _, engine = duet(tune([60] * 8), 4 * BAR_NS, stepper=Wild())
    assert engine.counts.rejected > 0
