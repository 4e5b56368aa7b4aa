"""The knob for memory, and the report of what was quoted. The network is noise: what is quoted comes from the memory alone."""

from __future__ import annotations

import numpy as np
import pytest
from performing import BEAT_NS, NoiseStepper, StepByStep, assert_nothing_hangs, composer_of, settings_of

from realtime import midi
from realtime.composing.composer import Composer
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import MASKED
from realtime.composing.memory import FORGOTTEN, NOTHING, Memory, Recall
from realtime.composing.quoting import CALL_NATS, LATER, faded, favour, follows_player, of_the_player, quoted, take_up
from realtime.core.dialogue import HeardNote, KeyUp, ModelNote, Plan, PlayerNote, Quote, Turn
from realtime.core.engine import Engine
from realtime.core.heard import Heard
from realtime.core.quotes import Quotes
from realtime.core.tempo import TempoMap
from realtime.music.controls import KNOBS, Controls
from realtime.music.keys import Key
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import BEAT, HEADS, MELODY, MODEL_PART, Event, Role
from realtime.simulate import perform

GRID = BeatGrid()
TUNE = (64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62, 60)
"""Ode to Joy, in quarters."""


def remembered(notes: int) -> tuple[Memory, Recall]:
    """The tune, and so many of its first notes again, all in quarters and the player's."""
    memory, recall = Memory(), FORGOTTEN
    for i, pitch in enumerate((*TUNE, *TUNE[:notes])):
        memory.add(i * TICKS, GRID.beat_at(i * TICKS), MELODY, True, pitch, 20, 20)
        recall = memory.recall(i * TICKS, GRID.beat_at(i * TICKS), recall)
    return memory, recall


def likelihood_bias(recall: Recall, memory: float) -> np.ndarray:
    bias = np.zeros(sum(HEADS.values()) + 109, np.float32)
    favour(bias, recall, memory)
    return bias


def test_the_knob_favours_what_came_next() -> None:
    memory, recall = remembered(6)
    start = (len(TUNE) + 6) * TICKS
    recall = memory.recall(start, GRID.beat_at(start), recall)
    bias = likelihood_bias(recall, 1.0)
    assert int(bias[SLICES["time"]].argmax()) == 0
    assert int(bias[SLICES["part"]].argmax()) == MODEL_PART + MELODY
    assert int(bias[SLICES["pitch"]].argmax()) == TUNE[6]
    assert np.array_equal(likelihood_bias(recall, 0.5) * 2, bias)


def test_nothing_is_favoured_without_a_long_match() -> None:
    _, recall = remembered(1)
    assert not likelihood_bias(recall, 1.0).any()
    assert not likelihood_bias(FORGOTTEN, 1.0).any()


def test_at_its_other_end_the_knob_takes_all_candidates_away() -> None:
    _, recall = remembered(8)
    randoms = np.random.default_rng(1).random(1000)
    assert all(faded(recall, -1.0, x) is FORGOTTEN for x in randoms)
    assert all(faded(recall, 0.0, x) is recall for x in randoms)
    assert 420 < sum(faded(recall, -0.5, x) is FORGOTTEN for x in randoms) < 580


def call_bias(
    bars: int,
    memory: float = 0.0,
    player: bool = True,
    turn_bars: int = 2,
    later: float = 0,
    last: int | None = None,
    key: Key | None = None,
) -> tuple[np.ndarray, int]:
    """An answer that begins so many bars after the tune did: the biases at its start, or so many bars later, and the pitch that
    the call has at its start."""
    kept, recall = Memory(), FORGOTTEN
    for i, pitch in enumerate(TUNE[: 4 * bars]):
        kept.add(i * TICKS, GRID.beat_at(i * TICKS), MELODY, player, pitch, 20, 25 if i % 4 == 0 else 15)
        recall = kept.recall(i * TICKS, GRID.beat_at(i * TICKS), recall)
    start = bars * 4 * TICKS
    now = start + round(later * 4 * TICKS)
    recall = kept.recall(now, GRID.beat_at(now), recall)
    bias = np.zeros(sum(HEADS.values()) + 109, np.float32)
    take_up(bias, recall, memory, GRID.beat_at(now), Turn(start, start + turn_bars * 4 * TICKS), last, key)
    return bias, TUNE[4 * (bars - turn_bars)]


@pytest.mark.parametrize("bars", [2, 4])
def test_an_answer_takes_up_what_its_call_has_at_the_same_place(bars: int) -> None:
    """The onset, the pitch, the length, and the accent, of which near classes count too."""
    bias, pitch = call_bias(bars)
    assert np.flatnonzero(bias[SLICES["pitch"]]).tolist() == [pitch]
    assert bias[SLICES["pitch"]][pitch] == CALL_NATS["pitch"]
    assert np.flatnonzero(bias[SLICES["time"]]).tolist() == [0]
    assert bias[SLICES["velocity"]].argmax() == 25 and bias[SLICES["velocity"]][24] > 0 == bias[SLICES["velocity"]][20]
    assert np.flatnonzero(bias[SLICES["duration"]]).tolist() == [20]


def test_an_answer_takes_up_the_intervals_of_its_call_from_where_it_is() -> None:
    """A beat after the start the call has its second note. The answer began a fourth higher, so that note comes a fourth higher
    too."""
    for bars in (2, 4):
        call = TUNE[4 * (bars - 2) :]
        bias, _ = call_bias(bars, later=0.25, last=call[0] + 5)
        favoured = np.flatnonzero(bias[SLICES["pitch"]]).tolist()
        assert favoured == sorted([call[1], call[1] + 5])
        assert bias[SLICES["pitch"]][call[1] + 5] == CALL_NATS["interval"]


@pytest.mark.parametrize(("tonic", "there"), [(0, True), (6, False)])
def test_an_interval_that_leads_out_of_the_key_is_not_taken_up(tonic: int, there: bool) -> None:
    bias, _ = call_bias(2, later=0.25, last=TUNE[0] + 5, key=Key(tonic, "major"))
    moved = TUNE[1] + 5
    assert (moved % 12 in Key(tonic, "major").pitch_classes) == there
    assert bool(bias[SLICES["pitch"]][moved]) == there


@pytest.mark.parametrize(("last", "later"), [(0, 1.25), (127, 0.5)])
def test_no_interval_leads_beyond_the_range_of_pitches(last: int, later: float) -> None:
    """The call goes down after five beats and up after two."""
    leap = TUNE[round(4 * later)] - TUNE[round(4 * later) - 1]
    assert not 0 <= last + leap < 128
    bias, _ = call_bias(2, later=later, last=last)
    assert np.flatnonzero(bias[SLICES["pitch"]]).tolist() == [TUNE[round(4 * later)]]


def test_in_its_second_half_an_answer_goes_its_own_way() -> None:
    """In pitch; the rhythm and the accents are still the call's."""
    first, second = (call_bias(2, later=later)[0] for later in (0, 1))
    pitches = [float(bias[SLICES["pitch"]].max()) for bias in (first, second)]
    assert pitches[1] == pytest.approx(LATER * pitches[0])
    for name in ("time", "duration", "velocity"):
        assert first[SLICES[name]].max() == second[SLICES[name]].max() > 0


def test_an_answer_ends_as_a_phrase_and_not_as_its_call_went_on() -> None:
    bias, _ = call_bias(2, later=1.5)
    for name in ("time", "pitch", "duration"):
        assert not bias[SLICES[name]].any()
    assert bias[SLICES["velocity"]].max() == CALL_NATS["velocity"], "as loud as the call"


def test_only_what_the_player_played_is_left_to_an_answer() -> None:
    memory, recall = Memory(), FORGOTTEN
    for i, pitch in enumerate((*TUNE, *TUNE[:4])):
        memory.add(i * TICKS, GRID.beat_at(i * TICKS), MELODY, i >= 8, pitch, 20, 20)
        recall = memory.recall(i * TICKS, GRID.beat_at(i * TICKS), recall)
    left = of_the_player(recall)
    theirs = recall.features[:, 3] > 0
    assert theirs.any() and (recall.features[~theirs, 0] > 0).any()
    assert np.array_equal(left.ids[theirs], recall.ids[theirs]) and (left.ids[~theirs] == NOTHING).all()
    assert np.array_equal(left.features[theirs], recall.features[theirs]) and not left.features[~theirs].any()
    assert left.held == recall.held and np.array_equal(left.success, recall.success)


def test_how_much_it_takes_up_depends_on_the_knob() -> None:
    usual, _ = call_bias(2)
    assert np.allclose(call_bias(2, 1.0)[0], 2 * usual) and not call_bias(2, -1.0)[0].any()


def test_only_a_call_as_long_as_the_turn_is_taken_up_and_only_the_players() -> None:
    assert not call_bias(4, turn_bars=3)[0].any()
    assert not call_bias(2, player=False)[0].any()


def test_a_note_is_a_quote_of_the_place_that_foretold_it() -> None:
    memory, recall = remembered(6)
    start = (len(TUNE) + 6) * TICKS
    recall = memory.recall(start, GRID.beat_at(start), recall)
    again = Event(0, MODEL_PART, TUNE[6], 20, 20)
    assert quoted(recall, again) == Quote(6 * TICKS, True)
    assert quoted(recall, again._replace(pitch=TUNE[6] + 1)) is None
    assert quoted(recall, again._replace(time=12)) is None
    assert quoted(FORGOTTEN, again) is None


class BiasStepper(NoiseStepper):
    """A stepper without a model that draws by the biases alone: all choices are equally likely where they are equal."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        choice: list[int] = []
        for i, name in enumerate(HEADS):
            logits = bias[SLICES[name]].astype(float)
            if name == "pitch" and choice[0] != BEAT:
                logits = np.where(release <= choice[0], logits, MASKED)
            mass = np.cumsum(np.exp(logits - logits.max()))
            choice.append(int(np.searchsorted(mass, noise[i] * mass[-1], side="right")))
        return choice


def duet(memory: float, seed: int) -> tuple[Engine, list[int]]:
    """The tune twice, its first half a third time; then what Antiphon plays: its pitches."""
    settings = settings_of("continue", controls=Controls(memory=memory), restart_ticks=0)
    composer = composer_of(BiasStepper(), Constraints(max_duration=TICKS), settings=settings, seed=seed, memory=True)
    script = []
    for i, pitch in enumerate((*TUNE, *TUNE, *TUNE[:8])):
        script += [(i * BEAT_NS, midi.note_on(0, pitch, 80)), (round((i + 0.9) * BEAT_NS), midi.note_off(0, pitch))]
    engine = Engine(settings, TempoMap(settings.bpm))
    performance = perform(engine, composer, script, 56 * BEAT_NS)
    assert_nothing_hangs(performance.sent)
    return engine, [message[1] for _, _, message in performance.sent if midi.is_note_on(message)]


def test_with_the_knob_at_its_end_the_tune_is_taken_up_where_it_was_left() -> None:
    for seed in range(3):
        engine, pitches = duet(1.0, seed)
        assert pitches[:6] == list(TUNE[8:14])
        assert engine.quotes.of_player >= 6
        (first, *_) = engine.quotes.report(GRID)["passages"]
        assert first["of"] == "player" and first["notes"] >= 6


def test_without_memory_next_to_nothing_is_quoted() -> None:
    quotes = sum(duet(-1.0, seed)[0].quotes.of_player for seed in range(3))
    assert quotes <= 2


def test_the_report_joins_notes_in_a_row_and_counts_what_was_sent() -> None:
    heard, quotes = Heard(), Quotes()
    for i in range(4):
        heard.planned(ModelNote(400 + i * TICKS, 60 + i, 80, 12, MELODY), Quote(i * TICKS, True))
    heard.planned(ModelNote(800, 70, 80, 12, MELODY), Quote(90, False))
    heard.planned(ModelNote(900, 71, 80, 12, MELODY), Quote(90, False))
    heard.planned(ModelNote(900, 71, 80, 12, MELODY))  # planned anew, as no quote
    for tick, pitch in ((400, 60), (424, 61), (448, 62), (800, 70), (900, 71)):
        if (quote := heard.sent(tick, pitch)) is not None:
            quotes.add(tick, quote)
    report = quotes.report(GRID)
    assert (report["of_player"], report["of_own"]) == (3, 1)
    assert report["passages"] == [
        {"bar": 5, "from_bar": 1, "of": "player", "notes": 3},
        {"bar": 9, "from_bar": 1, "of": "own", "notes": 1},
    ]


def test_a_controller_turns_it() -> None:
    session = StepByStep("trade", controls_cc=20)
    number = 20 + KNOBS.index("memory")
    assert number == 27
    session.play(midi.control(0, number, 127), 0)
    assert session.engine.knobs.controls.memory == 1.0
    session.play(midi.control(0, number, 0), 1)
    assert session.engine.knobs.controls.memory == -1.0


def test_a_composer_that_takes_over_knows_what_was_played() -> None:
    settings = settings_of("continue", controls=Controls(memory=1.0), restart_ticks=0)

    def composer() -> Composer:
        return composer_of(BiasStepper(), Constraints(max_duration=TICKS), settings=settings, memory=True)

    session = StepByStep("continue", composer(), controls=Controls(memory=1.0), restart_ticks=0)
    for i, pitch in enumerate((*TUNE, *TUNE, *TUNE[:7])):
        session.play(midi.note_on(0, pitch, 80), i * BEAT_NS)
        session.play(midi.note_off(0, pitch), round((i + 0.9) * BEAT_NS))
    session.composer = composer()
    session.engine.composer_is_new(round(38.95 * BEAT_NS))
    session.play(midi.note_on(0, TUNE[7], 80), 39 * BEAT_NS)
    session.play(midi.note_off(0, TUNE[7]), round(39.9 * BEAT_NS))
    session.until(52 * BEAT_NS)
    pitches = [message[1] for _, _, message in session.sent if midi.is_note_on(message)]
    assert pitches[:4] == list(TUNE[8:12])


def test_notes_that_were_heard_have_their_durations_and_planned_ones_count_when_sent() -> None:
    heard = Heard()
    heard.key_down(PlayerNote(0, 60, 80, MELODY))
    heard.key_down(PlayerNote(0, 64, 70, MELODY))
    heard.key_up(20, 60)
    heard.key_up(21, 99)
    heard.planned(ModelNote(24, 67, 90, 12, 2))
    heard.planned(ModelNote(48, 69, 90, 12, 2))
    heard.sent(24, 67)
    assert heard.notes() == (
        HeardNote(0, MELODY, True, 60, 20, 80),
        HeardNote(0, MELODY, True, 64, 0, 70),
        HeardNote(24, 2, False, 67, 12, 90),
    )


@pytest.mark.parametrize("closes", [True, False])
def test_the_memory_is_not_asked_for_an_end(closes: bool) -> None:
    """Within the last two beats of a turn: what came next where the tune went on is no end."""
    stepper = NoiseStepper()
    composer = composer_of(stepper, Constraints(closes=closes), memory=True)
    for i, pitch in enumerate(TUNE):
        plan = Plan(i, i * TICKS + 1, PlayerNote(i * TICKS, pitch, 80, MELODY), Role.CONTINUE)
        list(composer.handle(plan))
        list(composer.handle(KeyUp(i * TICKS + 20, pitch)))
    turn = Turn(16 * TICKS, 24 * TICKS)
    list(composer.handle(Plan(99, turn.start, None, Role.CONTINUE, turn, turn.end)))
    ticks = TICKS * (np.cumsum([time == BEAT for time, *_ in stepper.fed]) - 1)
    asked = [features is not None and features[:, 0].any() for _, features in stepper.recalled]
    own = [(tick, found) for tick, found in zip(ticks.tolist(), asked, strict=True) if tick >= turn.start]
    assert all(found for tick, found in own if tick < 22 * TICKS)
    assert {found for tick, found in own if tick >= 22 * TICKS} == {not closes}


@pytest.mark.parametrize("player", [True, False])
def test_a_tune_of_the_players_that_is_taken_up_is_known_by_its_length(player: bool) -> None:
    memory, recall = Memory(), FORGOTTEN
    for i, pitch in enumerate((*TUNE, *TUNE[:10])):
        memory.add(i * TICKS, GRID.beat_at(i * TICKS), MELODY, player and i < len(TUNE), pitch, 20, 20)
        recall = memory.recall(i * TICKS, GRID.beat_at(i * TICKS), recall)
        if i < len(TUNE) + 5:
            assert not follows_player(recall)
    assert follows_player(recall) == player, "its own loop is no tune of the player's"
