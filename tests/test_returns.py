"""Bars that come back in a long turn. The network is noise: what comes back comes from the form alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from performing import NoiseStepper, composer_of, proposals

from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import MASKED
from realtime.composing.memory import Memory
from realtime.composing.returns import BEGINS, GOES_ON, RETURN_NATS, VOICE_SEEDS, WITHIN, Returns, lag
from realtime.core.dialogue import Extend, KeyUp, Plan, PlayerNote, Relocate, Turn
from realtime.music.chart import parse_chart
from realtime.music.controls import Controls
from realtime.music.given import Lead
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, BEAT, BEAT_EVENT, HEADS, MELODY, MODEL_PART, Event, Role

BAR = 4 * TICKS
TURN = Turn(4 * BAR)
ALONE = Constraints(follow=False)
BARS = 8


def form(seed: int, bars: int = 16, start: int = TURN.start, phrase: int = 0) -> list[int]:
    return [lag(bar, start, phrase, seed) for bar in range(bars)]


def seed_for(wanted: Callable[[list[int]], bool], start: int = TURN.start, phrase: int = 0) -> int:
    """The first seed with such a form."""
    return next(seed for seed in range(1, 10_000) if wanted(form(seed, start=start, phrase=phrase)))


# --- the form ---


def test_a_chain_draws_when_earlier_bars_come_back() -> None:
    chains = np.array([form(seed) for seed in range(4000)])
    assert not chains[:, :4].any(), "the first phrase is new"
    assert np.array_equal(chains[:, ::2], chains[:, 1::2]), "for two bars at least"
    assert set(np.unique(chains)) == {0, *BEGINS}
    for bars, begins in BEGINS.items():
        assert (chains[:, 4] == bars).mean() == pytest.approx(begins, abs=0.02)
        new, on = chains[:, 4] == 0, chains[:, 4] == bars
        assert (chains[new, 6] == bars).mean() == pytest.approx(WITHIN * begins, abs=0.02)
        assert (chains[on, 6] == bars).mean() == pytest.approx(GOES_ON + (1 - GOES_ON) * WITHIN * begins, abs=0.07)
    forms = [form(7, 64), form(7, 64, start=0), form(8, 64), form(7, 64, phrase=60)]
    assert form(7, 64) == forms[0] and all(a != b for i, a in enumerate(forms) for b in forms[:i])
    assert form(7 + VOICE_SEEDS, 64) == forms[0], "all voices of a piece have one form"


# --- what comes back in a bar ---


def known(
    bars: int = BARS, grid: BeatGrid | None = None, part: int = MELODY, player: bool = True, capacity: int = 1 << 10
) -> Memory:
    """Bars of a chord on 1, a note on 2 and one on 3 and a half, the second unlike in each."""
    grid, memory = grid or BeatGrid(), Memory(capacity)
    for bar in range(bars):
        for tick, pitch in ((0, 48), (0, 60), (24, 62 + bar % 40), (60, 64)):
            memory.add(bar * BAR + tick, grid.beat_at(bar * BAR + tick), part, player, pitch, 20, 15)
    return memory


SUM = sum(48 + 60 + 62 + bar + 64 for bar in range(4, 8))
"""Of the pitches of the phrase before a turn that begins after eight known bars."""
LONG = Turn(BARS * BAR)
AT = (BARS + 4) * BAR
"""Its fifth bar."""
SEED = {ago: seed_for(lambda bars, ago=ago: bars[4] == ago, LONG.start, SUM) for ago in (0, 4, 8)}  # type: ignore[misc]


def favoured(
    memory: Memory,
    ago: int,
    tick: int,
    event: Event = BEAT_EVENT,
    floor: int = 0,
    turn: Turn = LONG,
    parts: tuple[int, ...] = (MELODY,),
    grid: BeatGrid | None = None,
) -> dict[str, int]:
    """The choice of each field that is favoured; times count from the beat around the tick."""
    grid = grid or BeatGrid()
    bias = Returns(memory, grid).bias(tick, floor, grid.beat_at(tick), event, turn, parts, SEED[ago])
    found = {}
    for name in HEADS if bias is not None else ():
        where = np.flatnonzero(bias[SLICES[name]])
        assert len(where) <= 1
        if len(where):
            found[name] = int(where[0])
            assert bias[SLICES[name]][where[0]] == RETURN_NATS[name]
    return found


def pitches_before(memory: Memory, turn: Turn) -> int:
    return sum(note.pitch for note in memory.between(turn.start - 4 * BAR, turn.start, (MELODY, ACCOMPANIMENT)))


def own(pitch: int, part: int = MELODY) -> Event:
    return Event(0, MODEL_PART + part, pitch, 20, 15)


def extended() -> Memory:
    """Eight bars of the player's, then four of Antiphon's, an octave higher."""
    memory = known()
    for bar in range(BARS, BARS + 4):
        for tick, pitch in ((0, 60), (0, 72), (24, 66 + bar), (60, 76)):
            memory.add(bar * BAR + tick, BeatGrid().beat_at(bar * BAR + tick), MELODY, False, pitch, 20, 15)
    return memory


def test_the_note_that_comes_next_at_the_same_place_is_favoured() -> None:
    memory = extended()
    assert favoured(memory, 4, AT) == {"time": 0, "part": MODEL_PART, "pitch": 60, "duration": 20, "velocity": 15}
    assert favoured(memory, 4, AT, own(60))["pitch"] == 72
    assert favoured(memory, 4, AT, own(72)) == {"time": BEAT}, "the next one lies in the next beat"
    assert favoured(memory, 4, AT + TICKS)["pitch"] == 66 + BARS
    assert favoured(memory, 4, AT + 2 * TICKS)["time"] == 12
    assert favoured(memory, 4, AT + 3 * TICKS) == {"time": BEAT}, "and the rest comes back too"
    assert favoured(memory, 8, AT + TICKS)["pitch"] == 62 + 4, "what the player played before the turn"
    assert not favoured(memory, 0, AT)


def test_a_note_that_can_no_longer_be_planned_is_passed_over() -> None:
    """The player strikes with Antiphon's note: the plan goes on behind it, and so does what comes back."""
    played = Event(0, MELODY, 50, 20, 15)
    assert favoured(extended(), 4, AT, played, floor=AT + 1) == {"time": BEAT}
    assert favoured(extended(), 4, AT + TICKS, played, floor=AT + TICKS + 1) == {"time": BEAT}


def test_nothing_comes_back() -> None:
    memory = extended()
    assert not favoured(memory, 4, AT, parts=())
    assert not favoured(memory, 4, AT, parts=(ACCOMPANIMENT,)), "it has not played"
    assert not favoured(memory, 4, AT - BAR), "the first phrase is new"
    assert not favoured(known(), 4, AT), "a bar of silence does not come back"
    others = known(BARS + 4)
    assert favoured(others, 8, AT) and not favoured(others, 4, AT), "what the player plays in the turn"
    memory.relocate()
    assert not favoured(memory, 4, AT), "what was played before a jump"


def test_bars_of_another_length_do_not_come_back() -> None:
    start = BARS * BAR
    for metres in (((0, 72), (start, BAR)), ((0, BAR), (start, 72)), ((0, BAR), (start - 12, BAR))):
        grid, memory = BeatGrid(metres), Memory(1 << 10)
        for beat in range(4 * BARS):
            memory.add(beat * TICKS, grid.beat_at(beat * TICKS), MELODY, True, 60, 20, 15)
        fifth = grid.bar_line(grid.bar_number(grid.next_bar(start)) + 4)
        for seed in range(200):
            ago = lag(4, start, 60 * 16, seed)
            bias = Returns(memory, grid).bias(fifth, 0, grid.beat_at(fifth), BEAT_EVENT, LONG, (MELODY,), seed)
            source = grid.bar_line(grid.bar_number(fifth) - ago)
            same = ago > 0 and grid.bar_at(source)[1] == grid.bar_at(fifth)[1] and source < start
            assert (bias is None) == (not same)


def test_a_turn_that_begins_within_a_bar_counts_whole_bars() -> None:
    memory = extended()
    late = Turn(LONG.start - 2 * TICKS)
    seed = seed_for(lambda bars: bars[4] == 4, late.start, pitches_before(memory, late))
    for bar in range(4):
        at = LONG.start + bar * BAR
        assert (
            Returns(memory, BeatGrid()).bias(at, 0, BeatGrid().beat_at(at), BEAT_EVENT, late, (MELODY,), seed) is None
        )
    assert (
        Returns(memory, BeatGrid()).bias(AT, 0, BeatGrid().beat_at(AT), BEAT_EVENT, late, (MELODY,), seed) is not None
    )


def test_an_early_downbeat_belongs_to_its_bar() -> None:
    memory = Memory(1 << 10)
    for bar in range(BARS):
        for tick in (0, 24):
            at = max(bar * BAR + tick - 2, 0)
            memory.add(at, BeatGrid().beat_at(at), MELODY, True, 60 + tick // 24, 20, 15)
    seed = seed_for(lambda bars: bars[4] == 8, LONG.start, pitches_before(memory, LONG))
    bias = Returns(memory, BeatGrid()).bias(AT, 0, BeatGrid().beat_at(AT), BEAT_EVENT, LONG, (MELODY,), seed)
    assert bias is not None and bias[SLICES["time"]].argmax() == 0 and bias[SLICES["pitch"]].argmax() == 60


def test_all_parts_that_play_come_back_in_their_order() -> None:
    memory = known(BARS - 1)
    for tick in range((BARS - 1) * BAR, AT, BAR):
        for part, pitch in ((MELODY, 70), (ACCOMPANIMENT, 50)):
            memory.add(tick, BeatGrid().beat_at(tick), part, False, pitch, 20, 15)
    both = (MELODY, ACCOMPANIMENT)
    seed = seed_for(lambda bars: bars[4] == 4, LONG.start, pitches_before(memory, LONG))
    bias = [
        Returns(memory, BeatGrid()).bias(AT, 0, BeatGrid().beat_at(AT), event, LONG, parts, seed)
        for event, parts in ((BEAT_EVENT, both), (own(70), both), (BEAT_EVENT, (ACCOMPANIMENT,)))
    ]
    found = [
        (int(b[SLICES["part"]].argmax()) - MODEL_PART, int(b[SLICES["pitch"]].argmax())) for b in bias if b is not None
    ]
    assert found == [(MELODY, 70), (ACCOMPANIMENT, 50), (ACCOMPANIMENT, 50)]


def test_the_memory_says_what_lies_between_two_ticks_as_long_as_it_knows_it() -> None:
    memory = known(500, capacity=1 << 8)
    for bar in (0, 200, 435):
        assert not memory.between(bar * BAR, (bar + 1) * BAR, (MELODY,)), "overwritten, or dropped"
    for bar in (440, 499):
        found = memory.between(bar * BAR, (bar + 1) * BAR, (MELODY,))
        assert [(note.tick - bar * BAR, note.pitch) for note in found] == [
            (0, 48),
            (0, 60),
            (24, 62 + bar % 40),
            (60, 64),
        ]


def test_a_form_stays_when_the_phrase_before_it_is_forgotten() -> None:
    """In a turn of hours the memory loses what was played before it."""
    memory = known(capacity=1 << 8)
    plan, grid, forms = Returns(memory, BeatGrid()), BeatGrid(), []
    for bar in range(BARS, 200):
        plan.bias(bar * BAR, 0, grid.beat_at(bar * BAR), BEAT_EVENT, LONG, (MELODY,), SEED[4])
        forms.append(bool(plan._source))
        for tick, pitch in ((0, 48), (24, 62), (48, 64)):
            memory.add(bar * BAR + tick, grid.beat_at(bar * BAR), MELODY, False, pitch, 20, 15)
    assert forms == [ago > 0 for ago in form(SEED[4], 200 - BARS, LONG.start, SUM)] and any(forms[100:])


# --- in a composer ---


class Leaning(NoiseStepper):
    """A stepper whose draws are noise, but for the biases."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        choice: list[int] = []
        for i, name in enumerate(HEADS):
            nats = bias[SLICES[name]].astype(float)
            if name == "pitch" and choice[0] != BEAT:
                nats = np.where(release <= choice[0], nats, MASKED)
            p = np.exp(nats - nats.max()).cumsum()
            choice.append(int(np.searchsorted(p, noise[i] * p[-1], side="right")))
        return choice


START = Turn(BAR, 13 * BAR)
RETURNING = seed_for(lambda bars: bars[4:12] == [4] * 8, BAR, 60)
NEW = seed_for(lambda bars: not any(bars[:12]), BAR, 60)


def played(
    seed: int,
    role: Role = Role.CONTINUE,
    chart: str | None = None,
    memory: float = 0.0,
    constraints: Constraints = ALONE,
    cuts: Sequence[int] = (),
) -> list[tuple[int, int]]:
    """The notes (tick, pitch) of twelve bars that Antiphon plays after a note of the player's. cuts: the plan is extended bit by
    bit up to these ticks."""
    composer = composer_of(Leaning(), constraints, seed=seed, memory=True)
    composer._masks.controls = Controls(memory=memory)
    if chart is not None:
        list(composer.handle(Lead(0, parse_chart(chart))))
    proposals(composer, Plan(1, 1, PlayerNote(0, 60, 80, MELODY), role))
    list(composer.handle(KeyUp(TICKS, 60)))
    steps = [*sorted(cuts), START.end]
    made = proposals(composer, Plan(2, BAR, None, role, START, steps[0]), *(Extend(2, until) for until in steps[1:]))
    return [(note.tick, note.pitch) for note in made]


def alike(notes: Sequence[tuple[int, int]]) -> float:
    """How alike bars 4 apart are, from the fifth on."""
    bars = [{(tick % BAR, pitch) for tick, pitch in notes if tick // BAR == bar} for bar in range(1, 12)]
    return float(np.mean([len(a & b) / max(len(a | b), 1) for a, b in zip(bars, bars[4:], strict=False)]))


def test_what_comes_back_is_played() -> None:
    assert alike(played(NEW)) < 0.1
    assert alike(played(RETURNING)) > 0.6
    assert alike(played(RETURNING, memory=-1.0)) < 0.1, "the knob for memory turns it off"
    assert alike(played(RETURNING, role=Role.TRADE)) < 0.1
    assert alike(played(RETURNING, role=Role.ACCOMPANY)) < 0.1, "the player's tune has the form"
    assert alike(played(RETURNING, chart="| C | F | G | C |")) < 0.1, "a chart has a form of its own"


def test_a_further_voice_of_a_file_goes_along() -> None:
    voice = Constraints(follow=False, parts=(ACCOMPANIMENT,), rate=2.0)
    along, new = (alike(played(seed, role=Role.ACCOMPANY, constraints=voice)) for seed in (RETURNING, NEW))
    assert along > 0.1 and along > 3 * new


def test_a_plan_that_is_cut_up_is_the_same_plan() -> None:
    cuts = np.random.default_rng(1).integers(BAR + 1, 13 * BAR, 40).tolist()
    assert played(RETURNING, cuts=cuts) == played(RETURNING)


def test_after_going_back_over_bars_that_came_back_it_is_as_if_they_had_not_been_played() -> None:
    plain = [note for note in played(RETURNING) if note[0] < 6 * BAR]
    composer = composer_of(Leaning(), ALONE, seed=RETURNING, memory=True)
    proposals(composer, Plan(1, 1, PlayerNote(0, 60, 80, MELODY), Role.CONTINUE))
    list(composer.handle(KeyUp(TICKS, 60)))
    proposals(composer, Plan(2, BAR, None, Role.CONTINUE, START, 9 * BAR))
    again = proposals(composer, Plan(3, 5 * BAR, None, Role.CONTINUE, START, 6 * BAR))
    assert [(note.tick, note.pitch) for note in again] == [note for note in plain if note[0] >= 5 * BAR]


def test_a_jump_forgets_the_bar_that_was_asked_for() -> None:
    composer = composer_of(Leaning(), ALONE, seed=seed_for(lambda bars: bars[4:12] == [4] * 8, BAR, 0), memory=True)
    proposals(composer, Plan(1, BAR, None, Role.CONTINUE, START, START.end))
    assert composer._returns is not None and composer._returns._turn is not None
    list(composer.handle(Relocate(0)))
    assert composer._returns._turn is None and not composer._returns._source
