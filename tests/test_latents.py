"""The rolling latent context: plans and contexts by their rules; and work that is done late or in pieces changes nothing, as
long as it is done in time."""

from __future__ import annotations

import numpy as np
import pytest
from performing import (
    BAR_NS,
    MODES,
    MS,
    PROJECT,
    ContextStepper,
    D,
    FakeGraphs,
    NoiseStepper,
    StepByStep,
    composer_of,
    duet,
    settings_of,
    tune,
)

from realtime.composing.latents import FUTURE, LEAD, PLAN_STEPS, PLAN_TRUST, PREFIX, Latents
from realtime.core.counts import Counts
from realtime.core.dialogue import Planned
from realtime.music.cells import rolls
from realtime.music.controls import AS_IT_IS, NOTHING, Controls
from realtime.music.metre import BeatGrid
from realtime.music.notes import note_array

GRID = BeatGrid()


def made(latents: Latents) -> list[Planned]:
    said = []
    while latents.busy:
        if (planned := latents.work()) is not None:
            said.append(planned)
    return said


STEERED = Controls(density=0.5)


def latents_of(graphs: FakeGraphs, controls: Controls = STEERED) -> Latents:
    return Latents(graphs, GRID, 1, lambda: 0, controls)


# --- plans and contexts ---


def roll_with(pitch: int) -> np.ndarray:
    return rolls(note_array([(0, 24, pitch)]), np.array([True]), np.array([0, 96]))[0]


def test_at_first_the_context_is_that_of_nothing() -> None:
    graphs = FakeGraphs()
    latents = latents_of(graphs, AS_IT_IS)
    assert all(not given.any() for given in graphs.contexts[0])
    assert np.array_equal(latents.at(0), np.zeros(D))
    assert not latents.busy


def test_a_context_sees_the_cells_up_to_two_before_its_own_and_the_plan_from_its_own_on() -> None:
    graphs = FakeGraphs()
    latents = latents_of(graphs)
    for cell in range(1, 20):
        latents.close(roll_with(40 + cell), 96 * cell, 96 * (cell + 1))
        (planned,) = made(latents)
        assert len(planned.call_ns) == 1 + PLAN_STEPS + 1 and planned.late == 0
    latent, known, plan, plan_time, controls = graphs.contexts[-1]
    encoded = [(roll_with(40 + cell).reshape(-1) @ PROJECT) for cell in range(4, 20)]
    assert np.allclose(latent[0], encoded, atol=1e-5)
    assert known.all() and np.array_equal(controls[0], STEERED.vector())
    assert plan_time[0] == pytest.approx([PLAN_TRUST] * 3 + [0]) and not plan[0, 3].any() and plan[0, :3].any(1).all()


def test_with_few_cells_the_window_is_filled_from_its_end() -> None:
    graphs = FakeGraphs()
    latents = latents_of(graphs)
    latents.close(roll_with(60), 96, 192)
    made(latents)
    assert graphs.contexts[-1][1].tolist() == [[0] * 15 + [1]]
    _, time, known, _ = graphs.velocities[0]
    assert known.tolist() == [[0] * 15 + [1] * 5]
    assert time.tolist() == [[1] * 16 + [0] * 4]


def test_a_plan_is_the_flow_from_the_cells_own_noise() -> None:
    """Its steps add up to one for every cell, the nearest first; the same cell always begins with the same noise."""
    graphs = FakeGraphs()
    latents = latents_of(graphs)
    for cell in (1, 2):
        latents.close(roll_with(60), 96 * cell, 96 * (cell + 1))
        made(latents)
    first, second = (graphs.velocities[i][0][0, PREFIX:] for i in (0, PLAN_STEPS))
    assert np.array_equal(first[1:], second[:-1])
    assert not np.array_equal(first[0], first[1])
    times = np.array([time[0, PREFIX:] for _, time, _, _ in graphs.velocities[:PLAN_STEPS]] + [[1] * FUTURE])
    assert (np.diff(times, axis=0) >= 0).all() and (np.diff(times, axis=1) <= 0).all()
    assert times[1, 0] == pytest.approx((1 + LEAD) / PLAN_STEPS)
    cells = first
    for (latent, _, known, controls), dt in zip(graphs.velocities[:PLAN_STEPS], np.diff(times, axis=0), strict=True):
        velocity = FakeGraphs().velocity(latent, np.zeros((1, 20), np.float32), known, controls)[0, PREFIX:]
        cells = cells + dt[:, None] * velocity
    noised = PLAN_TRUST * cells + (1 - PLAN_TRUST) * first
    assert np.allclose(graphs.contexts[1][2][0, :3], noised[1:], atol=1e-5)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 2.0])
def test_guidance_goes_from_nothing_beyond_everything(guidance: float) -> None:
    graphs = FakeGraphs()
    controls = Controls(density=0.5, guidance=guidance)
    latents = latents_of(graphs, controls)
    latents.close(roll_with(60), 96, 192)
    before = len(graphs.contexts)
    made(latents)
    noised = graphs.contexts[before:]
    without = [given for given in noised if not given[3].any()]
    with_all = [given for given in noised if given[3].any()]
    assert (len(without), len(with_all)) == (int(guidance != 1), int(guidance != 0))
    assert all(not given[2].any() and not given[4].any() for given in without)
    assert all(np.array_equal(given[4][0], controls.vector()) for given in with_all)
    values = [FakeGraphs().context(*given) for given in without + with_all]
    weights = [1 - guidance] * len(without) + [guidance] * len(with_all)
    assert np.allclose(latents.at(192), np.tensordot(weights, values, 1)[0], rtol=1e-4)
    assert bool(graphs.velocities) == (guidance != 0), "a plan that counts for nothing is not made"
    for _, _, _, seen in graphs.velocities:
        assert not seen[:, :PREFIX].any()
        assert np.array_equal(seen[-1, -1], controls.vector())
        assert len(seen) == 1 + (guidance != 1) and (guidance == 1 or not seen[0].any())


@pytest.mark.parametrize("guidance", [0.0, 1.0, 1.5])
def test_nothing_is_planned_where_nobody_steers(guidance: float) -> None:
    """The latents of what was count all the same."""
    graphs = FakeGraphs()
    latents = latents_of(graphs, Controls(guidance=guidance, memory=1.0))
    before = len(graphs.contexts)
    latents.close(roll_with(60), 96, 192)
    (planned,) = made(latents)
    assert len(planned.call_ns) == 2 and not graphs.velocities
    _, known, plan, plan_time, controls = graphs.contexts[before]
    assert known.sum() == 1 and not plan.any() and not plan_time.any() and not controls.any()


def test_knobs_count_from_the_next_cell_that_closes() -> None:
    graphs = FakeGraphs()
    latents = latents_of(graphs, AS_IT_IS)
    latents.close(roll_with(60), 96, 192)
    latents.controls = Controls(tension=1.0)
    made(latents)
    assert not graphs.contexts[-1][4].any()
    latents.close(roll_with(60), 192, 288)
    made(latents)
    assert np.array_equal(graphs.contexts[-1][4][0], latents.controls.vector())
    assert NOTHING.shape == latents.controls.vector().shape


def test_a_context_counts_from_its_cell_on_and_is_found_again() -> None:
    latents = latents_of(FakeGraphs())
    before = latents.at(191)
    latents.close(roll_with(60), 96, 192)
    made(latents)
    latents.close(roll_with(70), 192, 288)
    made(latents)
    first, second = latents.at(192), latents.at(288)
    assert np.array_equal(latents.at(191), before) and np.array_equal(latents.at(192 + 23), first)
    assert not np.array_equal(first, before) and not np.array_equal(first, second)
    assert not np.array_equal(first, latents.at(192 + 24)), "each beat has its own"


@pytest.mark.parametrize("pieces", [0, 1, PLAN_STEPS, 1 + PLAN_STEPS])
def test_a_plan_whose_cell_has_come_is_given_up_and_said_and_its_latent_kept(pieces: int) -> None:
    graphs = FakeGraphs()
    latents = latents_of(graphs)
    latents.close(roll_with(60), 96, 192)
    for _ in range(pieces):
        latents.work()
    before = latents.at(192)
    assert made(latents) == [Planned((), 1)]
    assert np.array_equal(latents.at(192), before), "what was fed stays fed"
    latents.close(roll_with(62), 192, 288)
    (planned,) = made(latents)
    assert planned.late == 0 and planned.call_ns
    assert graphs.contexts[-1][1].sum() == 2


def test_a_plan_that_the_next_cell_overtakes_is_late_too() -> None:
    latents = latents_of(FakeGraphs())
    latents.close(roll_with(60), 96, 192)
    latents.close(roll_with(62), 192, 288)
    overtaken, planned = made(latents)
    assert overtaken == Planned((), 1)
    assert planned.late == 0 and planned.call_ns


def test_after_a_jump_the_newest_context_counts_wherever_it_leads() -> None:
    latents = latents_of(FakeGraphs())
    latents.close(roll_with(60), 960, 1056)
    made(latents)
    newest = latents.at(1056)
    latents.close(roll_with(62), 1056, 1152)
    latents.relocate()
    assert not latents.busy
    assert np.array_equal(latents.at(0), newest)
    latents.close(roll_with(64), 96, 192)
    assert [planned.late for planned in made(latents)] == [1, 0]


def test_warming_up_leaves_no_trace() -> None:
    cold, warm = latents_of(FakeGraphs()), latents_of(FakeGraphs())
    warm.warm_up()
    for latents in (cold, warm):
        latents.close(roll_with(60), 96, 192)
        assert [planned.late for planned in made(latents)] == [0]
    assert np.array_equal(cold.at(192), warm.at(192))


# --- in a performance ---

TUNE = tune([60, 64, 67, 72] * 6)


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("bar", [48, 96])
def test_work_in_pieces_between_the_notes_changes_nothing(mode: str, bar: int) -> None:
    """Real time is simulated time as long as no plan is late; one that is, is counted."""

    def play(pieces: int | None) -> tuple[StepByStep, ContextStepper]:
        stepper = ContextStepper()
        config = settings_of(mode, bars=((0, bar),), controls=STEERED)
        desk = StepByStep(mode, composer_of(stepper, settings=config, graphs=FakeGraphs()), bars=((0, bar),))
        desk.pieces = pieces
        for stamp_ns, message in sorted(TUNE):
            desk.play(message, stamp_ns)
        desk.until(9 * BAR_NS)
        return desk, stepper

    whole, stepper = play(None)
    assert whole.engine.counts.late_plans == 0
    assert len({context.tobytes() for context in stepper.contexts}) > 4
    late = {}
    for pieces in (1, 3, 7):
        desk, its_stepper = play(pieces)
        late[pieces] = desk.engine.counts.late_plans
        if not late[pieces]:
            assert desk.sent == whole.sent
            assert np.array_equal(its_stepper.contexts, stepper.contexts)
    assert late[1] > late[7] == 0


def test_plans_that_are_late_are_counted_and_the_music_goes_on() -> None:
    def counts(pieces: int | None) -> Counts:
        steered = settings_of("trade", controls=STEERED)
        desk = StepByStep("trade", composer_of(ContextStepper(), seed=4, settings=steered, graphs=FakeGraphs()))
        desk.pieces = pieces
        for stamp_ns, message in sorted(TUNE):
            desk.play(message, stamp_ns)
        desk.until(20 * BAR_NS)
        return desk.engine.counts

    late, in_time = counts(1), counts(None)
    assert late.late_plans > 4 and not in_time.late_plans
    assert late.turns == in_time.turns > 1 and late.notes > 5


def test_going_back_feeds_an_event_with_its_own_context() -> None:
    """Whatever was planned and taken back: the contexts of the stream are those of its cells."""
    graphs, stepper = FakeGraphs(), ContextStepper()
    duet(tune([60, 62, 64] * 12, 170 * MS), 9 * BAR_NS, "accompany", stepper=stepper, graphs=graphs, controls=STEERED)
    beats = 0
    cells: dict[int, set[bytes]] = {}
    for event, context in zip(stepper.fed, stepper.contexts, strict=True):
        beats += event[0] == 24
        cells.setdefault(beats - 1, set()).add(context.tobytes())
    assert len(cells) > 4
    assert all(len(contexts) == 1 for contexts in cells.values())


def test_another_plan_is_another_music() -> None:
    def sent(controls: Controls) -> object:
        return duet(TUNE, 9 * BAR_NS, "trade", stepper=ContextStepper(), graphs=FakeGraphs(), controls=controls)[0].sent

    assert sent(AS_IT_IS) == sent(AS_IT_IS)
    assert sent(AS_IT_IS) != sent(Controls(brightness=1.0))


def test_a_model_without_context_is_given_none() -> None:
    class Watching(NoiseStepper):
        def step(self, event, held, release, bias, sampling, noise, *others):  # type: ignore[no-untyped-def]
            assert all(other is None for other in others)
            return super().step(event, held, release, bias, sampling, noise)

    _, engine = duet(TUNE, 9 * BAR_NS, "trade", stepper=Watching())
    assert engine.counts.notes > 0
    assert not engine.counts.plan_ns
