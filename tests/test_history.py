"""Going back: it is as if the composer had never played ahead, and everything that a revision undoes is undone."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import (
    BAR_NS,
    BEAT_NS,
    MS,
    FakeGraphs,
    NoiseStepper,
    StepByStep,
    composer_of,
    duet,
    fed_with_keys,
    proposals,
    trade,
    tune,
)

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.composing.contract import MASKED
from realtime.core.dialogue import Bar, Extend, KeyUp, Plan, PlayerNote, Reached, Relocate, Turn
from realtime.music.cells import rolls
from realtime.music.chords import UNKNOWN
from realtime.music.metre import TICKS
from realtime.music.notes import note_array
from realtime.music.vocabulary import BEAT, CHORD, MODEL_PART, Role

BAR = 4 * TICKS


@settings(deadline=None, max_examples=60)
@given(st.integers(72, 95), st.integers(1, 24), st.integers(0, 5))
def test_after_a_surprise_it_is_as_if_it_had_never_planned(tick: int, commit: int, seed: int) -> None:
    """Prepared a beat ahead, then the player goes on: what the model has eaten is what they played and nothing else."""
    note, boundary, turn = PlayerNote(tick, 60, 80, 0), tick + commit, Turn(96, 192)
    ahead, never = NoiseStepper(), NoiseStepper()
    planner, listener = composer_of(ahead, seed=seed), composer_of(never, seed=seed)
    proposals(planner, trade(1, 72, turn, 144), Extend(1, 168))
    proposals(listener, trade(1, 72, turn, min(boundary, 144)))
    first = proposals(planner, trade(2, boundary, turn, 192, note))
    second = proposals(listener, trade(2, boundary, turn, 192, note))
    assert fed_with_keys(ahead) == fed_with_keys(never)
    assert first == second
    if boundary <= 96:
        alone = NoiseStepper()
        composer = composer_of(alone, seed=seed)
        assert proposals(composer, trade(1, boundary, None, 0, note), trade(2, boundary, turn, 192)) == first
        assert fed_with_keys(alone) == fed_with_keys(ahead)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(97, 240), min_size=1, max_size=8), st.integers(0, 5))
def test_a_plan_cut_into_pieces_is_the_same_plan(cuts: list[int], seed: int) -> None:
    turn = Turn(96, 288)
    whole, pieces = NoiseStepper(), NoiseStepper()
    at_once = proposals(composer_of(whole, seed=seed), trade(1, 96, turn, 240))
    cuts = [*sorted(cuts), 240]
    bit_by_bit = proposals(
        composer_of(pieces, seed=seed), trade(1, 96, turn, cuts[0]), *(Extend(1, cut) for cut in cuts[1:])
    )
    assert bit_by_bit == at_once != []
    assert fed_with_keys(whole) == fed_with_keys(pieces)


@settings(deadline=None, max_examples=60)
@given(st.integers(97, 240), st.integers(0, 5), st.booleans())
def test_stopping_where_a_newer_plan_begins_changes_nothing(boundary: int, seed: int, limited: bool) -> None:
    turn = Turn(96, 288)
    note = PlayerNote(boundary - 1, 60, 80, 0)
    finished, stopped = NoiseStepper(), NoiseStepper()
    one, other = composer_of(finished, seed=seed), composer_of(stopped, seed=seed)
    all_of_it = proposals(one, trade(1, 96, turn, 240))
    replies = list(other.handle(trade(1, 96, turn, 240), lambda: boundary))
    notes = [reply.note for reply in replies if not isinstance(reply, Reached)]
    assert notes == [note for note in all_of_it if note.tick < boundary]
    for composer in (one, other):
        list(composer.handle(KeyUp(boundary - 1, 62)))
    assert proposals(one, trade(2, boundary, turn, 288, note)) == proposals(other, trade(2, boundary, turn, 288, note))
    assert fed_with_keys(finished) == fed_with_keys(stopped)


def test_going_back_with_nothing_new_to_hear_feeds_the_last_event_as_it_was() -> None:
    """Only the draw after it is made again; its keys stay those that were down then."""
    stepper = NoiseStepper()
    composer = composer_of(stepper)
    turn = Turn(0, 192)
    proposals(composer, trade(1, 1, turn, 0, PlayerNote(0, 60, 80, 0)))
    before = fed_with_keys(stepper)
    list(composer.handle(KeyUp(4, 60)))
    proposals(composer, trade(2, 6, turn, 0))
    assert fed_with_keys(stepper) == before


def test_a_revision_changes_only_what_the_music_changes() -> None:
    """The same plan made again, with nothing played: the same notes."""
    turn = Turn(96, 288)
    composer = composer_of()
    first = proposals(composer, trade(1, 96, turn, 240))
    again = proposals(composer, trade(2, 150, turn, 240))
    assert again == [note for note in first if note.tick >= 150]


class Biases(NoiseStepper):
    """It also keeps the bias of every event that it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.biases: list[np.ndarray] = []

    def step(self, event, held, release, bias, sampling, noise, *others):  # type: ignore[no-untyped-def]
        del self.biases[len(self.fed) :]
        self.biases.append(bias)
        return super().step(event, held, release, bias, sampling, noise, *others)


class Long(NoiseStepper):
    """It draws one long note, C4, at the start of each beat that it may."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        return [0, MODEL_PART, 60, 31, 20] if bias[0] > MASKED / 2 and release[60] <= 0 else [BEAT, 0, 0, 0, 0]


def test_notes_that_are_taken_back_are_no_overused_pattern() -> None:
    """Six bars are planned and taken back; in the turn after them each bias is that of a composer that never planned them."""
    ahead, never = Biases(), Biases()
    rules = Constraints(lowest=60, highest=62, max_duration=12)  # short, of three pitches: each comes in most bars
    planner, listener = (composer_of(stepper, rules) for stepper in (ahead, never))
    assert len(proposals(planner, trade(1, 0, Turn(0, 6 * BAR), 6 * BAR))) > 24
    turn = Turn(6 * BAR, 8 * BAR)
    first, second = (proposals(composer, trade(2, 0, turn, 8 * BAR)) for composer in (planner, listener))
    assert first == second != []
    assert np.array_equal(ahead.biases[1:], never.biases[1:]), (
        "all but the first beat, which is fed under the first plan"
    )


@pytest.mark.parametrize("silence", [False, True])
def test_what_a_plan_silences_no_longer_sounds_for_the_model(silence: bool) -> None:
    """A long note begins before the boundary: it is held on, or, where the plan silences it, over at the boundary."""
    stepper = Long()
    composer = composer_of(stepper)
    assert [note.tick for note in proposals(composer, trade(1, 0, Turn(0), 48))] == [0]
    again = proposals(composer, Plan(2, 30, PlayerNote(30, 72, 80, 0), Role.TRADE, Turn(0), 60, silence))
    assert [note.tick for note in again] == ([48] if silence else [])
    sounding = [int(event[0]) for event, held in zip(stepper.fed, stepper.held, strict=True) if held[128 + 60]]
    assert sounding == ([0, BEAT, CHORD, 0] if silence else [0, BEAT, CHORD, 6, BEAT, CHORD])


def test_a_cell_holds_nothing_that_was_taken_back() -> None:
    """The planner sees the notes before the boundary, and of those after it only what was proposed anew."""
    graphs = FakeGraphs()
    composer = composer_of(graphs=graphs)
    turn = Turn(0, BAR)
    first = proposals(composer, trade(1, 0, turn, BAR))
    again = proposals(composer, trade(2, 48, turn, BAR, PlayerNote(47, 60, 80, 0)))
    kept = [note for note in first if note.tick < 48] + again
    list(composer.handle(KeyUp(60, 60)))
    list(composer.handle(Bar(BAR, 3 * BAR)))
    while composer.busy:
        composer.work()
    notes = note_array([(note.tick, note.duration, note.pitch) for note in kept])
    own = rolls(notes, np.zeros(len(kept), bool), np.array([0, BAR]))[0]
    assert np.array_equal(graphs.rolls[-1][2:], own[2:]) and own.any()
    assert first != kept


def test_with_a_small_ring_it_goes_back_as_far_as_it_can_and_plays_on() -> None:
    script = tune([60, 64, 67] * 8, note_ns=170_000_000) + tune([60] * 8, start_ns=5 * BAR_NS)
    for mode in ("trade", "accompany", "continue", "harmonise"):
        for slots in (2, 3, 6):
            _, engine = duet(script, 9 * BAR_NS, mode, stepper=NoiseStepper(slots))
            assert engine.counts.notes > 0
            assert engine.counts.rejected == 0


def test_a_jump_keeps_what_was_heard_and_frees_the_keys() -> None:
    stepper = NoiseStepper()
    composer = composer_of(stepper)
    proposals(composer, trade(1, 1, None, 0, PlayerNote(0, 60, 80, 0)))
    list(composer.handle(Relocate(200)))
    proposals(composer, trade(2, 201, None, 0, PlayerNote(205, 64, 80, 0)))
    assert [event[0] for event in stepper.fed] == [BEAT, 0, BEAT, CHORD, 205 - 192]
    assert [event[5] for event in stepper.fed] == [0] * 5, "tick 200 lies in the first beat of the third bar"
    assert list(np.flatnonzero(stepper.held[-1])) == [64]


def test_after_a_jump_no_pattern_is_overused_and_no_note_sounds_into_the_next_cell() -> None:
    """Six bars are played, then time goes on from bar 6: the biases there, and the roll, are those of a composer that rested."""
    stepper, rested = Biases(), Biases()
    rules = Constraints(lowest=60, highest=62, max_duration=12)
    graphs = FakeGraphs()
    composer, other = composer_of(stepper, rules, graphs=graphs), composer_of(rested, rules)
    assert proposals(composer, trade(1, 0, Turn(0, 6 * BAR), 6 * BAR, PlayerNote(0, 61, 80, 0)))
    proposals(other, trade(1, 1, None, 0, PlayerNote(0, 61, 80, 0)))
    rolls_before = len(graphs.rolls)
    for each in (composer, other):
        list(each.handle(Relocate(6 * BAR)))
    first, second = (proposals(each, trade(2, 6 * BAR, Turn(6 * BAR, 8 * BAR), 8 * BAR)) for each in (composer, other))
    assert first == second != []
    count = sum(event[0] != BEAT for event in rested.fed[2:]) + 8
    assert np.array_equal(stepper.biases[-count:], rested.biases[-count:])
    list(composer.handle(Bar(7 * BAR, 9 * BAR)))
    while composer.busy:
        composer.work()
    own = note_array([(note.tick, note.duration, note.pitch) for note in first])
    expected = rolls(own, np.zeros(len(own), bool), np.array([6 * BAR, 7 * BAR]))[0]
    assert len(graphs.rolls) == rolls_before + 1 and np.array_equal(graphs.rolls[-1], expected)


def test_warming_up_leaves_no_trace() -> None:
    warm, cold = NoiseStepper(), NoiseStepper()
    composer = composer_of(warm)
    composer.warm_up()
    plan = trade(1, 96, Turn(96, 192), 192)
    assert proposals(composer, plan) == proposals(composer_of(cold), plan)
    assert fed_with_keys(warm) == fed_with_keys(cold)


# --- the chord of the beat ---


class Drawing(NoiseStepper):
    """It also keeps the chord that was drawn after each event."""

    def __init__(self) -> None:
        super().__init__()
        self.chords: list[int] = []

    def step(self, event, *inputs):  # type: ignore[no-untyped-def]
        del self.chords[len(self.fed) :]
        choice = super().step(event, *inputs)
        self.chords.append(int(choice[-1]))
        return choice


def test_the_chord_comes_after_the_players_notes_on_the_beat_and_before_all_others() -> None:
    stepper = Drawing()
    composer = composer_of(stepper)
    for i, tick in enumerate((0, 0, 7, 24)):
        proposals(composer, trade(i, tick + 1, None, 0, PlayerNote(tick, 60 + i, 80, 0)))
    own = proposals(composer, trade(9, 25, Turn(24, 48), 47))
    expected = [(BEAT, 128), (0, 60), (0, 61), (CHORD, 128), (7, 62), (BEAT, 128), (0, 63), (CHORD, 128)]
    expected += [(note.tick - 24, note.pitch) for note in own]
    assert own and [(event[0], event[2]) for event in stepper.fed] == expected
    chords = [event[-1] for event in stepper.fed]
    first, second = stepper.chords[2], stepper.chords[6]  # drawn after the last of the player's notes on the beat
    assert chords == [UNKNOWN] * 3 + [first] * 2 + [UNKNOWN] * 2 + [second] * (1 + len(own))


@pytest.mark.parametrize("mode", ["continue", "trade", "accompany", "harmonise"])
def test_each_beat_has_one_chord_whatever_was_taken_back(mode: str) -> None:
    stepper = Drawing()
    duet(tune([60, 64, 67, None] * 12, note_ns=170_000_000), 9 * BAR_NS, mode, stepper=stepper)
    told, own, last = UNKNOWN, 0, -1
    for i, event in enumerate(stepper.fed):
        if event[0] == BEAT:
            told = UNKNOWN
        elif event[0] == CHORD:
            assert told == UNKNOWN, "once a beat"
            told, last = stepper.chords[i - 1], event[-1]
            assert last == told
        assert event[-1] == told
        if event[0] < BEAT and event[1] >= MODEL_PART:
            own += 1
            assert told != UNKNOWN, "Antiphon plays when the chord is known"
    assert own


@settings(deadline=None, max_examples=30)
@given(st.integers(72, 95), st.integers(1, 24), st.integers(0, 5))
def test_what_was_planned_and_taken_back_is_not_remembered(tick: int, commit: int, seed: int) -> None:
    """Each event of the stream has the candidates that it would have had without the plan."""
    note, boundary, turn = PlayerNote(tick, 60, 80, 0), tick + commit, Turn(96, 192)
    ahead, never = NoiseStepper(), NoiseStepper()
    planner, listener = (composer_of(stepper, seed=seed, memory=True) for stepper in (ahead, never))
    for composer in (planner, listener):
        for i, (start, pitch) in enumerate(((0, 60), (24, 62), (48, 64))):
            proposals(composer, trade(i, start + 1, None, 0, PlayerNote(start, pitch, 80, 0)))
            list(composer.handle(KeyUp(start + 12, pitch)))
    proposals(planner, trade(4, 72, turn, 144), Extend(4, 168))
    proposals(listener, trade(4, 72, turn, min(boundary, 144)))
    for composer in (planner, listener):
        proposals(composer, trade(5, boundary, turn, 192, note))
    assert fed_with_keys(ahead) == fed_with_keys(never)
    for ours, theirs in zip(ahead.recalled, never.recalled, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert any((features[:, 0] > 0).any() for _, features in ahead.recalled)


@pytest.mark.parametrize("hold_ns", [0, 20 * MS])
@pytest.mark.parametrize("apart_ns", [0, 8 * MS, 25 * MS])
def test_every_note_of_a_chord_that_is_accompanied_stays_in_the_stream(hold_ns: int, apart_ns: int) -> None:
    stepper, chord = NoiseStepper(), (60, 64, 67)
    session = StepByStep("accompany", composer_of(stepper, memory=True), hold_ns=hold_ns)
    for bar in range(4):
        for i, pitch in enumerate(chord):
            session.play(midi.note_on(0, pitch, 80), bar * BAR_NS + i * apart_ns + 1)
        for i, pitch in enumerate(chord):
            session.play(midi.note_off(0, pitch), bar * BAR_NS + 3 * BEAT_NS + i * apart_ns + 1)
    session.until(4 * BAR_NS)
    struck = [pitch for time, part, pitch, *_ in stepper.fed if time < BEAT and part < MODEL_PART]
    assert struck == [*chord] * 4


def test_a_beat_stays_where_the_player_strikes_on_it() -> None:
    stepper = NoiseStepper()
    session = StepByStep("accompany", composer_of(stepper), hold_ns=20 * MS)
    for beat, pitch in enumerate((60, 62, 64, 65)):
        ns = beat * BEAT_NS + 1
        session.until(ns + 6 * MS * (beat > 0))  # what comes on the beat is drawn by now, and held back
        drawn = list(stepper.fed)
        at = max((at for at, event in enumerate(drawn) if event[0] == BEAT), default=0)
        session.play(midi.note_on(0, pitch, 80), ns + 8 * MS * (beat > 0))
        if beat:
            assert len(drawn) > at + 1, "the beat's chord was drawn"
            assert stepper.fed[: at + 1] == drawn[: at + 1]
            assert stepper.fed[at + 1][2] == pitch, "and the note comes right after it"
        session.play(midi.note_off(0, pitch), ns + BEAT_NS * 4 // 5)


def test_what_was_gone_back_over_is_let_go() -> None:
    """As the next events are fed, two for each: a surprise does not wait for it, and no session keeps them."""
    composer = composer_of(NoiseStepper(), memory=True)
    for beat in range(20):
        tick = beat * TICKS
        proposals(composer, Plan(2 * beat, tick, None, Role.ACCOMPANY, Turn(tick), tick + 4 * TICKS))
        ahead = [weakref.ref(snapshot.keys) for snapshot in composer._history._snapshots if snapshot.tick > tick]
        list(composer.handle(Plan(2 * beat + 1, tick, None, Role.ACCOMPANY)))
        assert len(ahead) > 8 and composer._history.last.tick <= tick
        assert all(keys() is not None for keys in ahead), "going back does not wait until they are gone"
        proposals(composer, Plan(2 * beat + 1, tick, None, Role.ACCOMPANY, Turn(tick), tick + 3 * TICKS))
        assert not any(keys() is not None for keys in ahead)
