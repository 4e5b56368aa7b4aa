"""Music written without a clock: what is heard when, what is foretold, and which cells are closed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import AS_IT_COMES, FakeGraphs, NoiseStepper, composer_of

from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints
from realtime.composing.latents import PLAN_TRUST
from realtime.composing.long_plan import PlannedLatents
from realtime.composing.writing import Writer
from realtime.core.dialogue import Turn
from realtime.music.cells import LATENT
from realtime.music.chart import parse_chart
from realtime.music.controls import AS_IT_IS
from realtime.music.given import Lead
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import between, note_array
from realtime.music.vocabulary import ACCOMPANIMENT, BEAT, MODEL_PART, Role

BAR = 4 * TICKS
GRID = BeatGrid()
FREELY = Constraints(follow=False, parts=(0, 1))


def writer_of(stepper: NoiseStepper) -> Writer:
    return Writer(composer_of(stepper, FREELY), GRID)


def written(writer: Writer, notes: np.ndarray, turn: Turn, until: int, role: Role) -> np.ndarray:
    """What it writes in a stretch that begins at 0."""
    writer.begin(0)
    return writer.write(notes, turn, until, role)


def ticks(fed: list[tuple[int, ...]], start: int) -> list[int]:
    """The tick of each event of a stream that begins with the beat at `start`."""
    found, beat = [], start - TICKS
    for event in fed:
        beat += TICKS * (event[0] == BEAT)
        found.append(beat + (event[0] if event[0] < BEAT else 0))
    return found


def line(*rows: tuple[int, int, int]) -> np.ndarray:
    return note_array(rows)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 4 * BAR), st.integers(1, 200), st.integers(40, 80)), min_size=1),
    st.integers(0, 9),
)
def test_what_is_written_lies_in_the_turn_and_all_is_heard_in_order(
    rows: list[tuple[int, int, int]], seed: int
) -> None:
    stepper = NoiseStepper(100_000)
    notes = line(*rows)
    writer = Writer(composer_of(stepper, FREELY, seed=seed), GRID)
    made = written(writer, notes, Turn(2 * BAR, 3 * BAR), 3 * BAR, Role.ACCOMPANY)
    assert ((made["onset"] >= 2 * BAR) & (made["onset"] + made["duration"] <= 3 * BAR)).all()
    at = ticks(stepper.fed, 0)
    assert at == sorted(at)
    heard = [(tick, event[2]) for tick, event in zip(at, stepper.fed, strict=True) if event[1] < MODEL_PART]
    assert heard == [(n["onset"], n["pitch"]) for n in notes if n["onset"] < 3 * BAR]
    own = [
        (tick, event[2]) for tick, event in zip(at, stepper.fed, strict=True) if MODEL_PART <= event[1] < 2 * MODEL_PART
    ]
    assert sorted(own) == [(n["onset"], n["pitch"]) for n in made]


def test_a_key_that_two_hold_is_up_when_both_are() -> None:
    stepper = NoiseStepper()
    notes = line((0, 48, 60), (24, 72, 60), (12, 100, 64))
    written(writer_of(stepper), notes, Turn(BAR, 2 * BAR), 2 * BAR, Role.CONTINUE)
    held = [tick for tick, keys in zip(ticks(stepper.fed, 0), stepper.held, strict=True) if keys[60]]
    assert min(held) == 0 and 48 <= max(held) < BAR


def test_the_end_of_a_turn_may_be_left_to_another() -> None:
    whole, part = (
        written(writer_of(NoiseStepper()), line((0, 24, 60)), Turn(BAR, 3 * BAR), until, Role.CONTINUE)
        for until in (3 * BAR, 2 * BAR)
    )
    assert len(part) and np.array_equal(part, between(whole, BAR, 2 * BAR))


def test_what_a_gap_leads_to_is_fed_first() -> None:
    """First, in the role of training, the empty gap and what is after it; then the time before it."""
    stepper = NoiseStepper()
    writer = writer_of(stepper)
    notes = line((0, 24, 60), (2 * BAR, 24, 72), (9 * BAR, 24, 50))
    writer.begin(BAR)
    writer.feed_ahead(notes[notes["onset"] >= 2 * BAR], 4 * BAR)
    ahead = len(stepper.fed)
    assert {event[8] for event in stepper.fed} == {Role.INFILL}
    assert [(t, e[2]) for t, e in zip(ticks(stepper.fed, BAR), stepper.fed, strict=True) if e[0] < BEAT] == [
        (2 * BAR, 72)
    ]
    written(writer, notes, Turn(BAR, 2 * BAR), 2 * BAR, Role.CONTINUE)
    after = stepper.fed[ahead:]
    assert {event[8] for event in after} == {Role.CONTINUE}
    assert ticks(after, 0)[0] == 0
    assert [event[2] for event in after if event[1] < MODEL_PART] == [60]
    assert not stepper.held[ahead].any(), "no key is down from one stretch to the other"


def test_the_context_of_a_cell_has_the_latents_up_to_two_before_it_and_the_plan_from_it_on() -> None:
    graphs = FakeGraphs()
    rng = np.random.default_rng(0)
    plan = {bar * BAR: rng.normal(size=LATENT).astype(np.float32) for bar in (3, 4, 5)}
    latents = PlannedLatents(graphs, GRID, 1, lambda: 0, AS_IT_IS, plan)
    composer = Composer(NoiseStepper(), FREELY, AS_IT_COMES, GRID, 120.0, 1, lambda: 0, latents)
    graphs.contexts.clear()
    notes = line(*((bar * BAR, 24, 60 + bar) for bar in range(3)))
    written(Writer(composer, GRID), notes, Turn(3 * BAR, 5 * BAR), 5 * BAR, Role.CONTINUE)
    assert len(graphs.rolls) == 4, "cells 0 to 3 are over before the last one ends"
    _, known, rows, times, _ = graphs.contexts[2]  # made when cell 2 opened into 3: for cell 4
    assert known.sum() == 3
    np.testing.assert_allclose(times[0], [PLAN_TRUST, PLAN_TRUST, 0, 0])
    noise = (rows[0, 0] - PLAN_TRUST * plan[4 * BAR]) / (1 - PLAN_TRUST)
    assert 0.7 < noise.std() < 1.3 and not rows[0, 2:].any()


def test_given_chords_hold_what_is_written() -> None:
    writer = Writer(composer_of(NoiseStepper(100_000), Constraints(parts=(ACCOMPANIMENT,))), GRID)
    writer.lead(Lead(2 * BAR, parse_chart("Fm | G7"), 2))
    made = written(writer, line((0, 90, 60)), Turn(2 * BAR, 6 * BAR), 6 * BAR, Role.CONTINUE)
    for bar, bass in enumerate((5, 7, 5, 7), 2):
        now = between(made, bar * BAR, (bar + 1) * BAR)
        assert now["onset"][0] == bar * BAR and now["pitch"].min() % 12 == bass
