"""Whole performances in simulated time: every mode, changes of mode, speed of the composer, and any stream of events."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from performing import (
    BAR_NS,
    BAR_PULSES,
    BEAT_NS,
    MODES,
    MS,
    Eager,
    NoiseStepper,
    Script,
    assert_nothing_hangs,
    composer_of,
    duet,
    onsets,
    settings_of,
    spans,
    tick_ns,
    tune,
)

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core.engine import Engine
from realtime.core.modes import Harmonise, Trade
from realtime.core.scheduler import Sent
from realtime.core.tempo import PPQN, TempoMap
from realtime.simulate import perform

PHRASE = [60, 62, 64, 65]  # a bar; the last key goes up at 1.9 s, the rest is long enough at 2.9 s
LONG = Constraints(min_duration=96)


def test_continue_comes_in_on_the_beat_after_the_rest_and_ends_with_its_bars() -> None:
    performance, engine = duet(tune(PHRASE), 60 * BEAT_NS, "continue")
    notes = spans(performance.sent)
    assert 6 * BEAT_NS <= notes[0].on_ns < 7 * BEAT_NS
    assert max(span.off_ns for span in notes) <= 6 * BAR_NS, (
        "four bars from the middle of one: up to the nearest bar line"
    )
    assert engine.counts.turns == 1
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("think_ns", [0, 30 * MS])
def test_continue_yields_at_once_and_comes_back_after_the_next_rest(think_ns: int) -> None:
    back_ns = 11 * BEAT_NS + 123_456_789
    script = tune(PHRASE) + tune(PHRASE, start_ns=back_ns)
    performance, engine = duet(script, 60 * BEAT_NS, "continue", LONG, think_ns=think_ns)
    notes = spans(performance.sent)
    assert any(span.on_ns < back_ns == span.off_ns for span in notes), "something sounded until then"
    assert all(span.off_ns <= back_ns for span in notes if span.on_ns <= back_ns)
    again_ns = min(span.on_ns for span in notes if span.on_ns > back_ns)
    assert again_ns >= back_ns + 3.8 * BEAT_NS + 2 * BEAT_NS
    assert engine.counts.turns == 2
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("called_by", ["pedal", "key"])
def test_continue_comes_when_it_is_called(called_by: str) -> None:
    call = midi.control(0, 64, 127) if called_by == "pedal" else midi.note_on(0, 24, 90)
    script = [(0, midi.note_on(0, 60, 80)), (tick_ns(30), call), (tick_ns(60), midi.note_off(0, 60))]
    performance, engine = duet(script, 2 * BAR_NS, "continue", trigger_cc=64, trigger_key=24)
    assert 2 * BEAT_NS <= onsets(performance.sent)[0][0] < 3 * BEAT_NS, "the beat after the call, the key still down"
    assert engine.counts.player_notes == 1
    assert_nothing_hangs(performance.sent)


def test_releasing_the_trigger_pedal_does_not_call() -> None:
    script = [(0, midi.note_on(0, 60, 80)), (tick_ns(30), midi.control(0, 64, 0))]
    assert not duet(script, 2 * BAR_NS, "continue", trigger_cc=64)[0].sent


@pytest.mark.parametrize("beats_per_bar", [3, 4])
@pytest.mark.parametrize("constraints", [Constraints(), LONG])
def test_trade_plays_in_its_own_bars_and_nothing_sounds_past_them(beats_per_bar: int, constraints: Constraints) -> None:
    bar_ns = beats_per_bar * BEAT_NS
    script = [item for turn in (0, 4, 8) for item in tune([60] * 2 * beats_per_bar, start_ns=turn * bar_ns)]
    performance, engine = duet(script, 16 * bar_ns, constraints=constraints, bars=((0, beats_per_bar * 24),))
    notes = spans(performance.sent)
    turns = {span.on_ns // (2 * bar_ns) for span in notes}
    assert turns == {1, 3, 5}
    assert all(span.off_ns <= (span.on_ns // (2 * bar_ns) + 1) * 2 * bar_ns for span in notes)
    assert engine.counts.turns == 3
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("script", [tune(PHRASE), tune([60], note_ns=50 * MS)])
def test_trade_answers_once_and_waits_when_the_player_falls_silent(script: Script) -> None:
    performance, engine = duet(script, 60 * BAR_NS, modes={"trade": Trade(1)})
    assert {pulse // BAR_PULSES for _, pulse, _ in onsets(performance.sent)} == {1}
    assert engine.counts.turns == 1


def test_after_it_waited_the_next_note_begins_trade_again() -> None:
    """In the third beat of what would be a bar of Antiphon's: the player's turn is the bar of that note."""
    back_ns = 7 * BAR_NS + BEAT_NS + 30 * MS
    performance, _ = duet(
        tune(PHRASE) + tune(PHRASE[:2], start_ns=back_ns), 60 * BAR_NS, modes={"trade": Trade(1)}, restart_ticks=0
    )
    assert {pulse // BAR_PULSES for _, pulse, _ in onsets(performance.sent)} == {1, 8}


def test_a_lost_note_off_does_not_silence_continue_for_ever() -> None:
    """A bass key stays down; the player rests after 17 beats of tune, and again after two more phrases."""
    script = [(0, midi.note_on(0, 36, 80)), *tune([60, 62] * 9, start_ns=MS)]
    script += tune(PHRASE, start_ns=24 * BEAT_NS) + tune(PHRASE, start_ns=32 * BEAT_NS)
    performance, engine = duet(script, 44 * BEAT_NS, "continue")
    assert engine.counts.turns == 3
    first_ns = onsets(performance.sent)[0][0]
    assert 20 * BEAT_NS - MS <= first_ns < 21 * BEAT_NS
    (notice,) = engine.take_notices()
    assert "key 36" in notice
    assert engine.take_notices() == []
    assert_nothing_hangs(performance.sent)


def test_accompany_plays_while_the_player_does_and_stops_after_the_rest() -> None:
    performance, engine = duet(tune([60, 64] * 8), 8 * BAR_NS, "accompany", Constraints(max_duration=12))
    moments = [ns for ns, _, _ in onsets(performance.sent)]
    rest_is_over_ns = 18 * BEAT_NS  # the first beat at least two after the last key went up, at 15.8
    assert min(moments) < BEAT_NS
    assert any(ns > 15 * BEAT_NS for ns in moments)
    assert max(moments) <= rest_is_over_ns - 120 * MS, "nothing begins in the last sixteenth"
    assert engine.counts.retracted > 0
    assert engine.counts.turns == 1
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("first", [0, 5, 30])
@pytest.mark.parametrize("think_ns", [0, 5 * MS])
def test_an_accompaniment_that_listens_comes_in_with_the_first_note(first: int, think_ns: int) -> None:
    """One that does not comes in beyond the commit window. The same after a rest."""
    phrase = tune(PHRASE, start_ns=tick_ns(first))
    script = phrase + [(ns + 16 * BEAT_NS, message) for ns, message in phrase]
    for hold_ns, after_ns in ((20 * MS, think_ns), (0, 40 * MS)):
        performance, _ = duet(script, 32 * BEAT_NS, "accompany", stepper=Eager(), think_ns=think_ns, hold_ns=hold_ns)
        for begins in (script[0][0], script[len(phrase)][0]):
            entry = min(ns for ns, _, _ in onsets(performance.sent) if ns >= begins)
            assert after_ns <= entry - begins <= after_ns + 25 * MS
        assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize(("ring_to_bar", "beat"), [(True, 20), (False, 18)])
def test_an_accompaniment_rings_to_the_bar_line_when_the_player_has_stopped(ring_to_bar: bool, beat: int) -> None:
    performance, _ = duet(
        tune([60, 64] * 8), 24 * BEAT_NS, "accompany", Constraints(min_duration=288), ring_to_bar=ring_to_bar
    )
    notes = spans(performance.sent)
    assert beat * BEAT_NS <= max(span.off_ns for span in notes) <= tick_ns(beat * 24 + 0.5)
    assert_nothing_hangs(performance.sent)


SHORTEST_NS = 40 * MS


@pytest.mark.parametrize(
    "constraints", [Constraints(min_duration=6), LONG, Constraints(min_duration=6, max_duration=12)]
)
@pytest.mark.parametrize("mode", MODES)
def test_no_end_is_a_click(mode: str, constraints: Constraints) -> None:
    """However the player stops, comes in again or changes the mode, each note sounds for longer than the commit window."""
    for seed in range(4):
        rng = random.Random(seed)
        script, now_ns = [], 0
        for _ in range(40):
            script += [(now_ns, midi.note_on(0, rng.randint(55, 75), 80)), (now_ns + 40 * MS, midi.control(0, 123, 0))]
            now_ns += rng.choice([200, 333, 500, 1700, 2500, 4000]) * MS + rng.randint(0, 60) * MS
            if rng.random() < 0.3:
                script.append((now_ns - rng.randint(0, 150) * MS, bytes([midi.PROGRAM, rng.randint(0, 3)])))
        performance, _ = duet(script, now_ns, mode, constraints, seed=seed, program_channel=0)
        notes = spans(performance.sent)
        struck = {(span.pitch, span.on_ns) for span in notes}
        short = [span for span in notes if span.off_ns - span.on_ns <= SHORTEST_NS and span.off_ns < now_ns]
        assert not [span for span in short if (span.pitch, span.off_ns) not in struck], "unless the key is struck again"
        assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("think_ns", [0, 5 * MS, 40 * MS])
@pytest.mark.parametrize("voices", [1, 2])
def test_harmonise_answers_each_note_on_its_onset_and_lets_go_with_the_key(think_ns: int, voices: int) -> None:
    script = tune([60, None, 64, 67, None, 60], note_ns=250 * MS) + tune([72], note_ns=3 * BEAT_NS, start_ns=700 * MS)
    script += tune([76, 79], note_ns=BEAT_NS, start_ns=10 * BEAT_NS) + tune([84, 88], start_ns=10 * BEAT_NS)
    performance, engine = duet(
        script, 4 * BAR_NS, "harmonise", think_ns=think_ns, modes={"harmonise": Harmonise(voices)}
    )
    down = [(ns, message[1]) for ns, message in script if midi.is_note_on(message)]
    up = {ns for ns, message in script if midi.is_note_off(message)}
    notes = spans(performance.sent)
    answered = {span.on_ns - think_ns for span in notes}
    assert answered == {ns for ns, _ in down}
    assert {span.off_ns for span in notes} <= up
    assert len(down) <= len(notes) <= voices * len(down)
    assert engine.scheduler.late_dropped == 0
    assert_nothing_hangs(performance.sent)


def test_a_key_that_is_up_again_before_its_answer_comes_is_answered_shortly() -> None:
    script = [(0, midi.note_on(0, 60, 80)), (10 * MS, midi.note_off(0, 60))]
    performance, _ = duet(script, BAR_NS, "harmonise", think_ns=30 * MS)
    (span,) = spans(performance.sent)
    assert (span.on_ns, span.off_ns) == (30 * MS, tick_ns(3) - 1)


def test_an_answer_that_comes_in_the_moment_its_key_goes_up_does_not_ring_on() -> None:
    script = [(0, midi.note_on(0, 60, 80)), (30 * MS, midi.note_off(0, 60))]
    performance, _ = duet(script, 4 * BAR_NS, "harmonise", think_ns=30 * MS)
    assert all(span.off_ns < BEAT_NS for span in spans(performance.sent))


def test_a_program_change_ends_the_turn_and_begins_the_other_mode() -> None:
    change_ns = 9 * BEAT_NS  # in the midst of Antiphon's two bars
    script = [*tune(PHRASE * 2), (change_ns, bytes([midi.PROGRAM, 3])), *tune([60, 62], start_ns=14 * BEAT_NS)]
    performance, engine = duet(script, 6 * BAR_NS, program_channel=0)
    assert engine.mode_name == "harmonise"
    moments = [ns for ns, _, _ in onsets(performance.sent)]
    assert any(8 * BEAT_NS <= ns < change_ns for ns in moments)
    commit_ns = engine.settings.commit_ns
    assert [ns for ns in moments if ns > change_ns + commit_ns] == [14 * BEAT_NS, 15 * BEAT_NS]
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("program", [0, 1, 2, 3])
def test_a_program_change_before_the_first_note(program: int) -> None:
    mode = list(MODES)[program]
    late = 3_600_000 * MS  # a host clock does not begin at 0
    script = [(late, bytes([midi.PROGRAM, program])), *tune(PHRASE, start_ns=late + BAR_NS)]
    performance, engine = duet(script, late + 8 * BAR_NS, "trade" if mode != "trade" else "continue", program_channel=0)
    assert engine.mode_name == mode
    assert onsets(performance.sent)


# --- the same and not the same ---


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(mode: str) -> None:
    script = tune(PHRASE * 2) + tune(PHRASE * 2, start_ns=20 * BEAT_NS)
    first, again, other = (duet(script, 10 * BAR_NS, mode, seed=seed)[0].sent for seed in (1, 1, 2))
    assert first
    assert first == again
    assert first != other


@pytest.mark.parametrize("mode", MODES)
def test_how_long_the_composer_thinks_does_not_change_the_notes(mode: str) -> None:
    script = tune(PHRASE * 4, note_ns=333 * MS) + tune(PHRASE * 2, start_ns=9 * BAR_NS + 17 * MS)
    quick, slow = (duet(script, 12 * BAR_NS, mode, think_ns=think_ns) for think_ns in (0, 5 * MS))
    assert quick[1].counts.missed_deadlines == slow[1].counts.missed_deadlines == 0
    assert [sent[1:] for sent in quick[0].sent] == [sent[1:] for sent in slow[0].sent]


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_composers_late_notes_are_dropped_and_never_burst(mode: str) -> None:
    script = tune(PHRASE * 8)
    performance, engine = duet(script, 12 * BAR_NS, mode, think_ns=2000 * MS)
    assert engine.scheduler.late_dropped > 0
    tempo = TempoMap(120)
    assert all(ns - tempo.ns_at(pulse) <= engine.settings.late_ns for ns, pulse, _ in onsets(performance.sent))
    assert_nothing_hangs(performance.sent)


def test_an_hour_of_trading_ends_with_every_note_released() -> None:
    rng = random.Random(1)
    script = [
        item
        for turn in range(0, 1800, 4)
        for item in tune([rng.randint(55, 80) for _ in range(8)], start_ns=turn * BAR_NS)
    ]
    performance, engine = duet(script, 3600 * 1000 * MS)
    assert engine.counts.turns == 450
    assert {pulse // BAR_PULSES // 2 % 2 for _, pulse, _ in onsets(performance.sent)} == {1}
    assert onsets(performance.sent)[-1][1] > 1796 * BAR_PULSES
    assert_nothing_hangs(performance.sent)


def test_beats_of_a_rest_are_fed_as_they_pass() -> None:
    """After an hour's rest, the next note finds no beats left to feed."""
    hour_ns = 3600 * 1000 * MS
    resting, resumed = NoiseStepper(slots=96), NoiseStepper(slots=96)
    duet(tune(PHRASE), hour_ns, "harmonise", stepper=resting)
    performance, engine = duet(
        [*tune(PHRASE), *tune([64], start_ns=hour_ns)], hour_ns + MS, "harmonise", stepper=resumed
    )
    assert engine.counts.turns == sum(pitch is not None for pitch in PHRASE) + 1
    assert resumed.steps - resting.steps <= 5, "a beat, its chord, the note, its answer"
    assert_nothing_hangs(performance.sent)


# --- anything at all ---

keys = st.integers(58, 63)
channels = st.sampled_from((0, 0, 1, 9, 15))
strikes = st.builds(midi.note_on, channels, keys, st.integers(1, 127))
releases = st.one_of(
    st.builds(midi.note_off, channels, keys),
    st.builds(lambda channel, pitch: bytes([midi.NOTE_ON | channel, pitch, 0]), channels, keys),
)
others = st.one_of(
    st.builds(midi.control, channels, st.sampled_from((1, 64, 66, 120, 121, 123)), st.integers(0, 127)),
    st.builds(lambda n: bytes([midi.PROGRAM, n]), st.integers(0, 5)),
    st.builds(lambda a, b: bytes([midi.PITCH_BEND, a, b]), st.integers(0, 127), st.integers(0, 127)),
    st.just(bytes([midi.SYSEX, 1, 2, 3, midi.SYSEX_END])),
    st.binary(max_size=4),
)
transport = st.one_of(
    st.sampled_from([bytes([status]) for status in (midi.START, midi.CONTINUE, midi.STOP)]),
    st.builds(lambda n: bytes([midi.SONG_POSITION, n, 0]), st.integers(0, 127)),
)
messages = st.one_of(strikes, strikes, releases, releases, others)
gaps_ns = st.one_of(st.just(0), st.integers(0, 50 * MS), st.integers(100 * MS, 900 * MS))


class Watched(Engine):
    """An engine that checks the order of what it sends: note-ons in the order of their pulses."""

    def poll(self, now_ns: int) -> list[Sent]:
        sends = super().poll(now_ns)
        struck = [sent.pulse for sent in sends if midi.is_note_on(sent.message)]
        assert all(first <= second for first, second in pairwise(struck))
        return sends


@settings(deadline=None, max_examples=250)
@given(
    st.lists(st.tuples(gaps_ns, messages), min_size=4, max_size=40),
    st.lists(st.tuples(st.integers(0, 12_000 * MS), transport), max_size=4),
    st.sampled_from(list(MODES)),
    st.booleans(),
    st.one_of(st.just(0), st.integers(0, 60 * MS), st.integers(0, 2000 * MS)),
    st.integers(3000 * MS, 16_000 * MS),
    st.integers(0, 3),
)
def test_whatever_comes_in_every_note_on_has_one_note_off(
    events: Script,
    jumps: Script,
    mode: str,
    follow_clock: bool,
    think_ns: int,
    until_ns: int,
    seed: int,
) -> None:
    script, now_ns = [*jumps, (0, midi.note_on(0, 60, 80)), (300 * MS, midi.note_off(0, 60))], 0
    for gap_ns, message in events:
        now_ns += gap_ns
        script.append((now_ns, message))
    if follow_clock:
        rng = random.Random(seed)
        script.append((0, bytes([midi.START])))
        for clock in range(700):
            jitter_ns = rng.randint(-3 * MS, 3 * MS)
            script.append((4 * MS + clock * 20_833_333 + jitter_ns, bytes([midi.CLOCK])))
    settings = settings_of(mode, follow_clock=follow_clock, trigger_cc=1, trigger_key=58, program_channel=0)
    engine = Watched(settings, TempoMap(120))
    performance = perform(engine, composer_of(seed=seed, settings=settings), script, until_ns, think_ns)
    event(f"{min(len(performance.sent) // 20, 5)} x 20 messages sent, {min(engine.counts.turns, 3)} turns")
    assert_nothing_hangs(performance.sent)
    assert not engine.ledger.sounding()
    tempo_moved = follow_clock or engine.tempo.ns_at(0) != 0  # a pulse is then no fixed moment
    for ns, pulse, _ in onsets(performance.sent):
        assert tempo_moved or ns >= pulse * BEAT_NS // PPQN, "too early"
    assert all(len(message) <= 3 for _, _, message in performance.sent)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 16 * BEAT_NS), st.sampled_from(list(MODES)))
def test_stopped_at_any_moment_it_leaves_nothing_sounding(until_ns: int, mode: str) -> None:
    performance, engine = duet(tune([60, 64] * 6), until_ns, mode, LONG)
    assert_nothing_hangs(performance.sent)
    assert engine.wake_ns() is None
    assert all(pulse <= until_ns * PPQN // BEAT_NS for _, pulse, _ in performance.sent)
