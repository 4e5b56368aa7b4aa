"""The last answer is taken back, and the same phrase is answered once more; a marker says where."""

from __future__ import annotations

from pathlib import Path

import mido
import pytest
from performing import BAR_NS, BEAT_NS, NoiseStepper, StepByStep, assert_nothing_hangs, composer_of, onsets, spans, tune

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.composing.overuse import AVOIDED_NATS, Overuse
from realtime.composing.rules import Rules
from realtime.config import load
from realtime.core.again import Again, Call
from realtime.core.dialogue import Avoid, HeardNote, KeyUp, PlayerNote, Turn
from realtime.core.engine import Engine
from realtime.core.tempo import PPQN, TempoMap
from realtime.io.live.desk import MARKED, TAKEN_BACK, Desk, Pressed
from realtime.io.live.recorder import Recorder
from realtime.io.live.settings import engine_settings
from realtime.io.live.take import Take
from realtime.music.keys import SCALES
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import MODEL_PART, Role

BAR = 96
PHRASE: list[int | None] = [60, 62, 64, 65, 67, 65, 64, 62]


def session(mode: str, stepper: NoiseStepper | None = None, seed: int = 1, **changes: object) -> StepByStep:
    made = StepByStep(mode, composer_of(stepper, seed=seed), **changes)
    for ns, message in tune(PHRASE):
        made.play(message, ns)
    return made


def again(step: StepByStep, ns: int) -> Turn | None:
    """Press the key at `ns`."""
    step.until(ns)
    taken_back = step.engine.again(ns)
    step.settle(ns)
    return taken_back


def answers(step: StepByStep, first_bar: int, last_bar: int) -> list[tuple[int, int]]:
    """(tick from the first bar on, pitch) of what is sent in these bars, counted from 0."""
    found = [(pulse // 20, pitch) for _, pulse, pitch in onsets(step.sent)]
    return [(tick - first_bar * BAR, pitch) for tick, pitch in found if first_bar * BAR <= tick < last_bar * BAR]


def test_in_trade_the_answer_ends_and_another_one_begins_with_the_next_bar() -> None:
    step = session("trade", seed=5)
    assert again(step, 2 * BAR_NS + BEAT_NS) == Turn(2 * BAR, 4 * BAR)
    step.until(8 * BAR_NS)
    assert_nothing_hangs(step.sent)
    first, second = answers(step, 2, 3), answers(step, 3, 5)
    assert first and all(tick <= 24 for tick, _ in first)
    assert second and [note for note in second if note[0] <= 24] != first
    assert max(tick for tick, _ in second) >= BAR  # as long as the one that was taken back
    assert not answers(step, 5, 8)  # the player's turn: nothing was played, and Antiphon waits


def test_the_rules_play_another_answer_too_when_theirs_is_taken_back_in_its_middle() -> None:
    step = StepByStep("trade", Rules(Constraints(tonic=0, scale=SCALES["major"]), BeatGrid()))  # type: ignore[arg-type]
    for ns, message in tune(PHRASE):
        step.play(message, ns)
    again(step, 3 * BAR_NS + 3 * BEAT_NS // 2)
    step.until(8 * BAR_NS)
    first, second = answers(step, 2, 4), answers(step, 4, 6)
    assert len(first) == 6 and [pitch for _, pitch in first] == PHRASE[:6]
    assert [pitch for _, pitch in second[:6]] == [67, 65, 64, 62, 60, 62]


def test_the_composer_hears_the_same_phrase_just_before_the_other_answer() -> None:
    stepper = NoiseStepper()
    step = session("trade", stepper)
    step.until(2 * BAR_NS + BEAT_NS)
    before = [event[:3] for event in stepper.fed if event[0] < 24 and event[1] < MODEL_PART]
    again(step, 2 * BAR_NS + BEAT_NS)
    fed = len(stepper.fed)  # what was planned has been gone back over
    step.until(4 * BAR_NS)
    notes = [event[:3] for event in stepper.fed[fed:] if event[0] < 24]
    assert notes[: len(before)] == before and len(before) == len(PHRASE)
    assert all(part >= MODEL_PART for _, part, _ in notes[len(before) :])
    assert step.engine.counts.player_notes == len(PHRASE)  # nobody played it


def test_the_pitches_of_what_was_taken_back_are_avoided_in_the_same_beats() -> None:
    step = session("trade", seed=5)
    again(step, 3 * BAR_NS)
    step.until(8 * BAR_NS)
    (avoid,) = [request for request in step.requests if isinstance(request, Avoid)]
    assert avoid.notes == tuple((tick + 4 * BAR, pitch) for tick, pitch in answers(step, 2, 3))
    overuse = Overuse()
    overuse.avoid(((100, 60), (119, 62), (100, 60), (120, 64)))
    bias = overuse.bias(BeatGrid().beat_at(96), Role.TRADE)
    assert (bias[60], bias[62], bias[64]) == (2 * AVOIDED_NATS, AVOIDED_NATS, 0)
    overuse.clear()
    assert not overuse.bias(BeatGrid().beat_at(96), Role.TRADE).any()


def test_an_answer_that_is_over_can_be_taken_back_as_often_as_one_likes() -> None:
    stepper = NoiseStepper()
    step = session("trade", stepper)
    assert again(step, 4 * BAR_NS + 3 * BEAT_NS // 2) == Turn(2 * BAR, 4 * BAR)
    assert again(step, 6 * BAR_NS) == Turn(5 * BAR, 7 * BAR)
    step.until(12 * BAR_NS)
    assert_nothing_hangs(step.sent)
    assert answers(step, 5, 6) and answers(step, 7, 9) and not answers(step, 9, 12)
    heard = [event[2] for event in stepper.fed if event[0] < 24 and event[1] < MODEL_PART]
    assert heard == PHRASE * 3


def test_who_asks_too_late_for_the_next_bar_gets_the_one_after() -> None:
    step = session("trade")
    again(step, 3 * BAR_NS - BEAT_NS // 2)
    step.until(8 * BAR_NS)
    assert not answers(step, 3, 4) and answers(step, 4, 6) and not answers(step, 6, 8)


def test_in_continue_it_begins_at_the_same_place_of_a_later_bar() -> None:
    step = session("continue")
    turn = Turn(10 * 24, 7 * BAR)  # after a rest of two beats
    step.until(3 * BAR_NS)
    assert step.engine.turn == turn
    assert again(step, 3 * BAR_NS) == turn
    assert step.engine.turns.again.turn == Turn(turn.start + BAR, 8 * BAR)
    step.until(10 * BAR_NS)
    assert_nothing_hangs(step.sent)
    ticks = [tick for tick, _ in answers(step, 3, 10)]
    assert turn.start + BAR - 3 * BAR <= min(ticks) < turn.start + BAR - 3 * BAR + 24 and max(ticks) < 5 * BAR


@pytest.mark.parametrize("mode", ["trade", "continue"])
@pytest.mark.parametrize("beats", [1.0, 3.2, 5.0])
def test_who_plays_again_is_answered_instead(mode: str, beats: float) -> None:
    """Before the other answer, just before it, and in it."""
    step = session(mode)
    step.until(3 * BAR_NS)
    assert again(step, 3 * BAR_NS) is not None
    start = 3 * BAR_NS + round(beats * BEAT_NS)
    for ns, message in tune([72, 74, 76, 77, 79, 77, 76, 74], start_ns=start):
        step.play(message, ns)
    assert step.engine.turns.again.turn is None
    step.until(14 * BAR_NS)
    assert_nothing_hangs(step.sent)
    late = [span for span in spans(step.sent) if start + 2 * BEAT_NS < span.on_ns < start + 7 * BEAT_NS]
    assert not late or (mode == "trade" and all(span.on_ns >= 4 * BAR_NS + 2 * BAR_NS for span in late))
    assert any(span.on_ns >= start + 7 * BEAT_NS for span in spans(step.sent))


@pytest.mark.parametrize("mode", ["accompany", "harmonise"])
def test_what_goes_along_with_the_player_is_not_taken_back(mode: str) -> None:
    step = session(mode)
    sent = len(step.sent)
    assert again(step, 2 * BAR_NS + 1) is None
    step.until(6 * BAR_NS)
    assert_nothing_hangs(step.sent)
    assert len(step.sent) >= sent


def test_after_another_mode_there_is_nothing_to_take_back() -> None:
    step = session("trade")
    step.until(3 * BAR_NS)
    step.engine.set_mode("accompany", 3 * BAR_NS)
    assert again(step, 3 * BAR_NS + BEAT_NS) is None
    step.engine.set_mode("trade", 5 * BAR_NS)
    assert again(step, 5 * BAR_NS + BEAT_NS) is None


def test_before_anything_was_played_there_is_nothing_to_take_back() -> None:
    step = StepByStep("trade")
    assert step.engine.again(0) is None


def test_the_phrase_is_what_was_played_since_the_answer_before() -> None:
    """In 3/4; notes before Antiphon's last one do not count, nor what the player does in the answer. A key that is still down
    ends where the other answer begins."""
    heard = [
        HeardNote(0, 0, True, 50, 12, 80),
        HeardNote(80, 0, False, 51, 12, 80),
        HeardNote(150, 0, True, 60, 12, 70),
        HeardNote(200, 1, True, 64, 0, 90),
        HeardNote(220, 0, True, 65, 12, 80),
        HeardNote(230, 0, False, 67, 12, 80),
    ]
    asked = Again(BeatGrid(((0, 72),)))
    asked.began(Turn(216, 288), Role.TRADE)
    assert asked.ask(250, 280) == Turn(216, 288)
    assert asked.turn == Turn(288, 360)
    assert asked.call(heard) == Call(
        216,
        (PlayerNote(222, 60, 70, 0), KeyUp(234, 60), PlayerNote(272, 64, 90, 1), KeyUp(288, 64)),
        ((302, 67),),
    )
    asked.began(asked.turn, Role.TRADE)
    assert asked.ask(300, 320) == Turn(288, 360)
    call = asked.call([*heard, HeardNote(300, 0, False, 69, 12, 80)])
    assert asked.turn == Turn(360, 432) and call.events[0] == PlayerNote(294, 60, 70, 0)
    assert call.avoid == ((374, 67), (372, 69))  # of both that were taken back
    assert asked.turn_at(431) == Turn(360, 432) and asked.turn_at(432) is None


def test_a_turn_that_is_only_planned_was_no_answer_yet() -> None:
    asked = Again(BeatGrid())
    asked.began(Turn(192, 384), Role.TRADE)
    asked.began(Turn(576, 768), Role.TRADE)
    assert asked.ask(560, 584) == Turn(192, 384) and asked.turn == Turn(672, 864)
    assert asked.call([HeardNote(100, 0, True, 60, 12, 80)]).events[0] == PlayerNote(580, 60, 80, 0)


def test_the_key_r_says_what_it_does_and_leaves_a_marker() -> None:
    config = load(None, {})
    engine, take = Engine(engine_settings(config), TempoMap(120)), Take()
    desk = Desk(engine, take, lambda state: None)
    assert desk.pressed(Pressed("r", 0)).startswith("nothing to take back")
    engine.handle(midi.note_on(0, 60, 80), 0)
    engine.handle(midi.note_off(0, 60), BEAT_NS)
    assert desk.pressed(Pressed("r", BAR_NS)) == "bar 2 is marked; there is no answer of Antiphon's to take back"
    engine.poll(3 * BAR_NS)
    line = desk.pressed(Pressed("r", 3 * BAR_NS))
    assert line == "the answer of bar 3 is taken back; another one comes in bar 5"
    assert take.marks == [(4 * PPQN, MARKED), (8 * PPQN, TAKEN_BACK)]


def test_a_marker_is_in_the_recording_and_after_a_jump_where_it_was_heard(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "take.journal", 120, 4)
    recorder.open()
    recorder.write("player", 0, midi.note_on(0, 60, 80))
    recorder.mark(480, "taken back")
    recorder.write("player", 960, midi.note_off(0, 60))
    recorder.jump(0)
    recorder.write("player", 0, midi.note_on(0, 62, 80))
    recorder.mark(240, "marked")
    recorder.write("player", 480, midi.note_off(0, 62))
    file = mido.MidiFile(recorder.finish(tmp_path / "take.mid").path)
    found, pulse = [], 0
    for message in file.tracks[0]:
        pulse += message.time
        if message.type == "marker":
            found.append((pulse, message.text))
    assert found == [(480, "taken back"), (1920 + 240, "marked")]
