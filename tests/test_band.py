"""A band: several parts from one stream, each by its own rules and on its own channel, in simulated time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from performing import (
    BAR_NS,
    BEAT_NS,
    MS,
    NoiseStepper,
    SentList,
    StepByStep,
    assert_nothing_hangs,
    composer_of,
    duet,
    settings_of,
    tune,
)

from realtime import midi
from realtime.composing.arrangement import CRASH, FEELS, HIGH_TOM, KICK, SNARE
from realtime.composing.band import RANGES
from realtime.composing.composer import Composer
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import LOGITS, MASKED
from realtime.composing.rules import Rules
from realtime.core.dialogue import Muster, Plan, PlayerNote, Proposed, Request, Turn
from realtime.core.knobs import Parts
from realtime.core.tempo import PULSES_PER_TICK
from realtime.music.chart import parse_chart
from realtime.music.given import Lead
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, BEAT, CHORD, DRUMS, HEADS, MELODY, MODEL_PART, Role

TRIO = (ACCOMPANIMENT, BASS, DRUMS)
CHANNELS = (0, 1, 2, 9, 4)
CC = 102
BAR = 4 * TICKS
CHART = parse_chart("[A] C | Am | F | G7 ; [B] C | C7 | F | G7")
TUNE = tune([76, 72, 69, 72, 77, 72, 71, 74] * 4)


def trio(feel: str | None = "rock", parts: tuple[int, ...] = TRIO, **changes: object) -> Constraints:
    return replace(Constraints(parts=parts, band=True, feel=feel), **changes)  # type: ignore[arg-type]


class LogitStepper(NoiseStepper):
    """A stepper that prefers some choices to others, as a model does: it draws from seeded logits and the bias, and keeps the
    biases."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = np.random.default_rng(3).normal(0.0, 0.7, LOGITS).astype(np.float32)
        self.biases: list[np.ndarray] = []

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        if self.fed[-1][0] == CHORD or (
            self.fed[-1][1] >= MODEL_PART and self.fed[-1][0] != BEAT
        ):  # its chord is known
            self.biases.append(bias.copy())
        choice: list[int] = []
        for i, name in enumerate(HEADS):
            logits = (self.logits + bias)[SLICES[name]].astype(np.float64)
            if name == "pitch" and choice[0] != BEAT:
                logits[release > choice[0]] += MASKED
            weights = np.cumsum(np.exp(logits - logits.max()))
            choice.append(int(np.searchsorted(weights, noise[i] * weights[-1], side="right")))
        return choice


def composer_says(composer: Composer, *requests: Request) -> None:
    for request in requests:
        for _ in composer.handle(request):
            pass


class Note(NamedTuple):
    tick: int
    channel: int
    pitch: int
    end: int


def notes_of(sent: SentList) -> list[Note]:
    down: dict[tuple[int, int], int] = {}
    found = []
    for _, pulse, message in sent:
        key = (midi.channel(message), message[1])
        tick = round(pulse / PULSES_PER_TICK)
        if midi.is_note_on(message):
            down[key] = tick
        elif midi.is_note_off(message):
            found.append(Note(down.pop(key), *key, tick))
    return sorted(found)


def session(constraints: Constraints, script: list[tuple[int, bytes]] = TUNE, **changes: object):  # type: ignore[no-untyped-def]
    changes = {"channels": CHANNELS, "parts": constraints.parts, "parts_cc": CC, "chart": CHART, **changes}
    performance, engine = duet(
        script,
        10 * BAR_NS,
        "accompany",
        constraints,
        stepper=LogitStepper(),
        restart_ticks=0,
        hold_ns=20 * MS,
        **changes,
    )
    assert_nothing_hangs(performance.sent)
    return notes_of(performance.sent), engine


@pytest.mark.parametrize("feel", [None, *FEELS])
def test_each_part_is_on_its_channel_in_its_register_and_nothing_hangs(feel: str | None) -> None:
    notes, engine = session(trio(feel))
    assert {note.channel for note in notes} == {1, 2, 9}
    for channel, part in ((1, ACCOMPANIMENT), (2, BASS)):
        low, high = RANGES[part]
        assert all(low <= note.pitch <= high for note in notes if note.channel == channel)
    assert not engine.counts.rejected


@pytest.mark.parametrize("feel", ["rock", "swing"])
def test_the_first_beat_has_a_kick_and_a_root_and_the_second_and_fourth_a_snare(feel: str) -> None:
    notes, _ = session(trio(feel))
    struck = defaultdict(set)
    for note in notes:
        struck[note.tick, note.channel].add(note.pitch)
    for bar in range(1, 8):
        assert KICK in struck[bar * BAR, 9]
        assert {pitch % 12 for pitch in struck[bar * BAR, 2]} == {CHART.bars[bar][0].bass}
        assert all(SNARE in struck[bar * BAR + beat * TICKS, 9] for beat in (1, 3))


@pytest.mark.parametrize("feel", [None, *FEELS])
def test_bass_and_chords_follow_the_chart_and_the_root_is_lowest(feel: str | None) -> None:
    notes, _ = session(trio(feel))
    for bar in range(1, 8):
        symbol = CHART.bars[bar][0]
        here = [note for note in notes if bar * BAR <= note.tick < (bar + 1) * BAR and note.channel != 9]
        assert len({note.pitch % 12 for note in here} & symbol.tones) >= 3
        assert min(note.pitch for note in here) % 12 == symbol.bass
        assert all(note.end <= (bar + 1) * BAR for note in here)


def test_voices_of_the_chords_move_by_small_steps_below_the_tune() -> None:
    notes, _ = session(trio("ballad"))
    chords = [[note.pitch for note in notes if note.channel == 1 and note.tick == bar * BAR] for bar in range(1, 8)]
    assert all(len(chord) == 3 and max(chord) < 76 for chord in chords)
    steps = [min(abs(a - b) for b in after) for before, after in pairwise(chords) for a in before]
    assert np.mean(steps) <= 3


def test_a_fill_leads_to_the_next_section_and_a_crash_opens_it() -> None:
    notes, _ = session(trio("rock"))
    drums = {(note.tick, note.pitch) for note in notes if note.channel == 9}
    assert (4 * BAR - 18, HIGH_TOM) in drums and (4 * BAR, CRASH) in drums
    assert not any(pitch in (CRASH, HIGH_TOM) for tick, pitch in drums if BAR <= tick < 4 * BAR - TICKS)


def test_eighths_are_late_in_a_swing() -> None:
    notes, _ = session(trio("swing"))
    assert {note.tick % TICKS for note in notes} <= {0, 8, 16}
    assert 16 in {note.tick % TICKS for note in notes}


def test_an_ending_is_struck_by_all_held_and_followed_by_nothing() -> None:
    notes, _ = session(trio("rock"))  # the tune ends shortly before bar 9
    last = max(note.tick for note in notes)
    ending = [note for note in notes if note.tick == last]
    assert last == 8 * BAR
    assert {note.channel for note in ending} == {1, 2, 9}
    assert [note.pitch for note in ending if note.channel == 9] == [KICK]
    assert all(note.end - last >= 2 * TICKS for note in ending if note.channel != 9)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_chart_it_ends_on_the_tonic(seed: int) -> None:
    """Whatever chord was drawn for the beat, which may be none: the tune is over."""
    notes, _ = session(trio("rock"), chart=None, seed=seed)
    last = max(note.tick for note in notes)
    ending = [note for note in notes if note.tick == last]
    assert {note.channel for note in ending} == {1, 2, 9}
    assert {note.pitch % 12 for note in ending if note.channel != 9} <= {0, 4, 7}
    assert min(note.pitch for note in ending if note.channel != 9) % 12 == 0


def test_without_a_bass_the_chords_have_their_root_below() -> None:
    notes, _ = session(trio("rock", (ACCOMPANIMENT, DRUMS)))
    for bar in range(1, 8):
        chord = [note.pitch for note in notes if note.tick == bar * BAR and note.channel == 1]
        assert min(chord) % 12 == CHART.bars[bar][0].bass and len(chord) >= 3


def test_a_waltz_is_low_and_high_in_bars_of_three() -> None:
    notes, _ = session(trio("waltz"), bars=((0, 3 * TICKS),))
    kicks = {note.tick for note in notes if note.pitch == KICK and note.channel == 9}
    chords = {note.tick % (3 * TICKS) for note in notes if note.channel == 1 and 3 * TICKS <= note.tick < 30 * TICKS}
    assert {3 * TICKS * bar for bar in range(1, 10)} <= kicks
    assert {TICKS, 2 * TICKS} <= chords and 0 not in chords


# --- the step that is taken twice ---


def test_a_step_of_a_band_never_mixes_the_rules_of_two_parts() -> None:
    stepper = LogitStepper()
    composer = composer_of(stepper, trio("rock"), settings=settings_of("accompany"))
    composer_says(
        composer, Lead(0, CHART, 0), Plan(1, 1, PlayerNote(0, 76, 80, MELODY), Role.ACCOMPANY, Turn(0), 2 * BAR)
    )
    allowed = {part: np.zeros(128, bool) for part in TRIO}
    last = [bias for bias in stepper.biases if (bias[SLICES["part"]] > MASKED / 2).sum() == 1]
    for bias in last:
        times = bias[SLICES["time"]] > MASKED / 2
        if times.sum() == 1 and not times[BEAT]:
            part = int(np.argmax(bias[SLICES["part"]])) - MODEL_PART
            allowed[part] |= bias[SLICES["pitch"]] > MASKED / 2
    assert np.flatnonzero(allowed[BASS]).max() <= RANGES[BASS][1] < np.flatnonzero(allowed[ACCOMPANIMENT]).max()
    assert np.flatnonzero(allowed[ACCOMPANIMENT]).min() >= RANGES[ACCOMPANIMENT][0]
    scale = {0, 2, 4, 5, 7, 9, 11}
    assert {pitch % 12 for pitch in np.flatnonzero(allowed[BASS]).tolist()} <= scale
    assert not {pitch % 12 for pitch in np.flatnonzero(allowed[DRUMS]).tolist()} <= scale


def test_the_notes_of_a_band_are_fed_once_and_one_part_takes_one_step_an_event() -> None:
    for constraints, most in ((trio("rock"), 3), (Constraints(parts=(ACCOMPANIMENT,)), 1), (Constraints(), 1)):
        stepper = LogitStepper()
        composer = composer_of(stepper, constraints, settings=settings_of("accompany"))
        plan = Plan(1, 1, PlayerNote(0, 76, 80, MELODY), Role.ACCOMPANY, Turn(0), 2 * BAR)
        notes = [reply.note for reply in composer.handle(plan) if isinstance(reply, Proposed)]
        own = [event for event in stepper.fed if MODEL_PART <= event[1] < 2 * MODEL_PART]
        assert [event[2] for event in own] == [note.pitch for note in notes]
        if most == 1:
            assert stepper.steps == len(stepper.fed)
        else:
            assert len(stepper.fed) + len(notes) <= stepper.steps <= len(stepper.fed) + 2 * len(notes) + 1


def test_a_drum_and_a_note_of_the_same_number_sound_together() -> None:
    """Kick and snare are 36 and 38: as pitches of a bass, C2 and D2."""
    chart = parse_chart("C | D")
    notes, _ = session(trio("rock"), chart=chart)
    for bar in range(1, 8):
        at = [(note.channel, note.pitch) for note in notes if note.tick == bar * BAR]
        assert (9, KICK) in at
        assert (2, 38 if bar % 2 else 36) in at


# --- who plays ---


def test_a_part_that_is_muted_falls_silent_and_comes_back() -> None:
    script = [*TUNE, (2 * BAR_NS + 1, midi.control(0, CC + BASS, 0)), (5 * BAR_NS + 1, midi.control(0, CC + BASS, 127))]
    notes, engine = session(trio("ballad"), script=script)
    bass = [note for note in notes if note.channel == 2]
    assert {note.tick // BAR for note in bass} >= {1, 5, 6, 7}
    assert not {note.tick // BAR for note in bass} & {3, 4}
    assert all(note.end <= 3 * BAR for note in bass if note.tick < 3 * BAR)
    assert {note.tick // BAR for note in notes if note.channel == 9} >= {2, 3, 4}
    assert engine.muster.playing == TRIO


def test_a_part_may_be_added_and_all_may_be_silent() -> None:
    script = [*TUNE, (BAR_NS, midi.control(0, CC + DRUMS, 127))]
    notes, _ = session(trio("rock", (ACCOMPANIMENT, BASS)), script=script)
    drums = [note.tick for note in notes if note.channel == 9]
    assert drums and BAR <= min(drums) <= BAR + 2 * TICKS
    script = [*TUNE, *((BAR_NS, midi.control(0, CC + part, 0)) for part in TRIO)]
    notes, _ = session(trio("rock"), script=script)
    assert max(note.tick for note in notes) <= BAR + 2


def test_a_controller_in_the_same_half_changes_nothing() -> None:
    parts = Parts(TRIO, CC)
    assert parts.moved(CC + BASS, 100) is None and parts.moved(CC + BASS, 30) == BASS
    assert parts.moved(CC + BASS, 20) is None and parts.playing == (ACCOMPANIMENT, DRUMS)
    assert parts.moved(CC + 5, 0) is None and parts.moved(CC - 1, 0) is None
    assert Parts((), CC).moved(CC + BASS, 127) is None


def test_a_new_composer_is_told_who_plays() -> None:
    constraints = trio("rock")
    settings = settings_of("accompany")
    play = StepByStep(
        "accompany",
        composer_of(LogitStepper(), constraints, settings=settings),
        channels=CHANNELS,
        parts=TRIO,
        parts_cc=CC,
    )
    play.play(midi.control(0, CC + BASS, 0), BEAT_NS)
    assert Muster((ACCOMPANIMENT, DRUMS)) in play.requests
    play.engine.composer_is_new(2 * BEAT_NS)
    assert Muster((ACCOMPANIMENT, DRUMS)) in play.engine.take_requests()


def test_a_note_of_the_players_is_harmonised_by_one_part() -> None:
    performance, _ = duet(
        tune([72, 74, 76]), 2 * BAR_NS, "harmonise", trio("rock"), stepper=LogitStepper(), channels=CHANNELS, parts=TRIO
    )
    assert_nothing_hangs(performance.sent)
    assert {note.channel for note in notes_of(performance.sent)} == {1}


def test_in_a_trade_the_tune_and_its_band_answer_together() -> None:
    performance, _ = duet(
        tune([72, 74, 76, 77, 79, 77, 76, 74]),
        4 * BAR_NS,
        "trade",
        trio("rock", (MELODY, *TRIO)),
        stepper=LogitStepper(),
        channels=CHANNELS,
        parts=(MELODY, *TRIO),
    )
    assert_nothing_hangs(performance.sent)
    notes = notes_of(performance.sent)
    assert {note.channel for note in notes} == {0, 1, 2, 9}
    assert all(2 * BAR <= note.tick < 4 * BAR for note in notes)
    chord = [note for note in notes if note.channel == 1 and note.tick == 3 * BAR]
    assert len(chord) == 3  # though the player plays one note at a time


# --- rules instead of a model ---


@pytest.mark.parametrize("feel", [None, *FEELS])
def test_rules_play_the_same_parts(feel: str | None) -> None:
    rules = Rules(trio(feel), BeatGrid())
    rules.hear(Lead(0, CHART, 0))
    plan = Plan(1, 1, PlayerNote(0, 76, 80, MELODY), Role.ACCOMPANY, Turn(0, 4 * BAR, rings=4 * BAR), 4 * BAR)
    notes = [reply.note for reply in rules.handle(plan) if isinstance(reply, Proposed)]
    assert {note.part for note in notes} == {*TRIO}
    assert notes == sorted(notes)
    for bar in (1, 2):
        here = [note for note in notes if note.tick == bar * BAR]
        assert KICK in {note.pitch for note in here if note.part == DRUMS}
        assert [note.pitch % 12 for note in here if note.part == BASS] == [CHART.bars[bar][0].bass]
    assert {note.part for note in notes if note.tick == 4 * BAR - TICKS} == {*TRIO}  # the ending
    assert max(note.tick for note in notes) == 4 * BAR - TICKS
    rules.hear(Muster((DRUMS,)))
    again = [reply.note for reply in rules.handle(plan._replace(generation=2)) if isinstance(reply, Proposed)]
    assert {note.part for note in again} == {DRUMS}
