"""A band in the form of a tune: its intro, where it comes in, what it plays through, where it ends, and the feel that changes."""

from __future__ import annotations

from collections import Counter

import pytest
from performing import BAR_NS, BEAT_NS, MS, StepByStep, assert_nothing_hangs, composer_of, settings_of, tune
from test_band import BAR, CHANNELS, TRIO, LogitStepper, Note, notes_of, trio

from realtime import midi
from realtime.composing.arrangement import FEELS, HAT, KICK, RIDE, SNARE, Arrangement
from realtime.composing.constraints import SLICES, Constraints
from realtime.core.dialogue import Feel, Plan, PlayerNote, Turn
from realtime.core.engine import Engine
from realtime.core.knobs import FEEL_NAMES, Feels
from realtime.core.modes import Accompany
from realtime.core.remarks import Remarks
from realtime.core.tempo import TempoMap
from realtime.music.chart import Chart, parse_chart
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.given import Given, Lead
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, Role
from realtime.simulate import perform

CHART = parse_chart("C | Am | F | G7 | C | Am | Dm | E7")
CALL = 30


def played(
    script: list[tuple[int, bytes]],
    bars: int,
    chart: Chart | None = CHART,
    count_in: bool = False,
    constraints: Constraints | None = None,
    stepper: LogitStepper | None = None,
    **changes: object,
) -> tuple[list[Note], Engine]:
    """A band accompanies a script, at 120 BPM. count_in: song time begins at 0 ns, with the bars that are counted."""
    settings = settings_of(
        "accompany",
        modes={"accompany": Accompany(by_bars=True)},
        channels=CHANNELS,
        parts=TRIO,
        chart=chart,
        feel="rock",
        feel_cc=CALL,
        restart_ticks=0,
        hold_ns=20 * MS,
        **changes,
    )
    engine = Engine(settings, TempoMap(settings.bpm))
    if count_in:
        engine.count_in(0)
    composer = composer_of(stepper or LogitStepper(), constraints or trio("rock"), settings=settings)
    performance = perform(engine, composer, script, bars * BAR_NS)
    assert_nothing_hangs(performance.sent)
    return [note for note in notes_of(performance.sent) if (note.channel, note.pitch) != (9, 37)], engine  # clicks


def in_bar(notes: list[Note], bar: int, channel: int) -> list[Note]:
    return [note for note in notes if note.tick // BAR == bar and note.channel == channel]


def root(notes: list[Note], bar: int) -> set[int]:
    """The bass on the first beat of a bar."""
    return {note.pitch % 12 for note in notes if note.channel == 2 and note.tick == bar * BAR}


# --- where it begins ---


def test_without_a_count_in_the_band_comes_in_with_the_next_bar() -> None:
    notes, _ = played(tune([72, 74, 76, 77] * 4), 5)
    assert {note.channel for note in notes if note.tick == BAR} == {1, 2, 9}
    assert min(note.tick for note in notes) == BAR


@pytest.mark.parametrize("bars", [1, 2])
def test_counted_in_all_begin_with_bar_one(bars: int) -> None:
    script = tune([72, 74, 76, 77] * 4, start_ns=bars * BAR_NS)
    notes, _ = played(script, bars + 3, count_in=True, count_in_bars=bars)
    assert {note.channel for note in notes if note.tick == 0} == {1, 2, 9} and min(note.tick for note in notes) == 0
    assert root(notes, 0) == {0} and root(notes, 1) == {9}


def test_without_chords_the_band_hears_a_bar_first_also_after_a_count_in() -> None:
    notes, _ = played(tune([72, 74, 76, 77] * 4, start_ns=BAR_NS), 4, chart=None, count_in=True, count_in_bars=1)
    assert min(note.tick for note in notes) == BAR


@pytest.mark.parametrize("intro", [1, 2, 4, 8, 10])
def test_an_intro_is_the_end_of_the_chart_and_leads_to_its_top(intro: int) -> None:
    script = tune([72, 74, 76, 77] * 4, start_ns=intro * BAR_NS)
    notes, engine = played(script, intro + 3, count_in=True, intro_bars=intro)
    for bar in range(intro + 3):
        assert root(notes, bar) == {CHART.bars[(bar - intro) % 8][0].bass}
        assert any(note.pitch == KICK for note in in_bar(notes, bar, 9))
    assert engine.leading.passed[0] == (0, CHART.bars[-intro % 8][0].name)


def test_after_a_count_in_and_the_intro_the_band_goes_on_until_the_player_comes_in() -> None:
    script = [
        *tune([60], start_ns=2 * BAR_NS),  # a key that is tried out in the intro ends nothing
        *tune([72, 74, 76, 77] * 2, start_ns=7 * BAR_NS),
    ]
    notes, _ = played(script, 9, count_in=True, count_in_bars=1, intro_bars=4)
    assert all(in_bar(notes, bar, 9) for bar in range(8))
    notes, _ = played(tune([72], start_ns=20 * BAR_NS), 20, count_in=True, intro_bars=2)
    assert all(in_bar(notes, bar, 9) and in_bar(notes, bar, 2) for bar in range(19))


# --- what it plays through, and where it ends ---


def test_a_rest_of_less_than_a_bar_is_played_through() -> None:
    notes, engine = played(tune([72, 74, 76, None, None, None, 72, 74, 76, 77, 72, 74]), 4)
    kicks = {note.tick for note in notes if note.pitch == KICK and note.channel == 9}
    snares = {note.tick for note in notes if note.pitch == SNARE and note.channel == 9}
    assert kicks >= {BAR, 2 * BAR, BAR + 2 * TICKS} and snares >= {BAR + TICKS, BAR + 3 * TICKS, 2 * BAR + TICKS}
    assert engine.counts.turns == 1


def test_a_longer_rest_ends_it_on_a_bar_line() -> None:
    notes, _ = played(tune([72, 74, 76, 77, 72, 74]), 8)  # silent from the middle of bar 2
    last = max(note.tick for note in notes)
    assert last == 3 * BAR and {note.channel for note in notes if note.tick == last} == {1, 2, 9}


def test_it_ends_with_the_form_where_the_player_does_and_on_the_tonic() -> None:
    chart = parse_chart("Dm7 | G7 | C | C | Dm7 | G7 | C | C")
    notes, _ = played(tune([72, 74, 76, 77] * 8), 12, chart=chart)
    last = max(note.tick for note in notes)
    assert last == 8 * BAR
    ending = [note for note in notes if note.tick == last and note.channel != 9]
    assert {note.pitch % 12 for note in ending} == {0, 4, 7} and min(note.pitch for note in ending) % 12 == 0
    short = parse_chart("Dm7 | G7 | C | C")  # a vamp is no form: the bar after the rest ends it
    notes, _ = played(tune([72, 74, 76, 77] * 8), 12, chart=short)
    assert max(note.tick for note in notes) == 9 * BAR


def test_the_chord_to_end_with_is_the_tonic_beside_the_line() -> None:
    for text, name in (
        ("Dm7 | G7 | C | C", "C"),
        ("C7 | F7 | C7 | G7", "C7"),
        ("C | F | G7 | %", "C"),
        ("Dm | G7", "Dm"),
    ):
        given = Given(BeatGrid())
        given.lead(Lead(0, parse_chart(f"key: C; {text}")))
        closing = given.closing(BAR * len(parse_chart(text).bars))
        assert closing is not None and closing.symbol.name == name


# --- the feel ---


def test_the_names_of_the_feels_are_those_that_there_are() -> None:
    assert tuple(FEELS) == FEEL_NAMES


def press(at_ns: int) -> list[tuple[int, bytes]]:
    return [(at_ns, midi.control(0, CALL, 127)), (at_ns + 1, midi.control(0, CALL, 0))]


def cymbals(notes: list[Note], bar: int) -> Counter[int]:
    return Counter(note.pitch for note in in_bar(notes, bar, 9) if note.pitch in (HAT, RIDE))


def test_a_feel_is_called_and_holds_from_the_next_bar_on() -> None:
    """rock, waltz, march, none, ballad, swing: five presses in bar 3."""
    calls = [event for i in range(5) for event in press(2 * BAR_NS + BEAT_NS + 100 * MS * i)]
    notes, engine = played([*tune([72, 74, 76, 77] * 6), *calls], 6)
    assert cymbals(notes, 1)[HAT] == 8 and cymbals(notes, 2)[HAT] == 8 and not cymbals(notes, 2)[RIDE]
    assert cymbals(notes, 3)[RIDE] == 6 == cymbals(notes, 4)[RIDE] and not cymbals(notes, 3)[HAT]
    assert {note.tick % TICKS for note in notes if note.tick >= 3 * BAR} <= {0, 8, 16}
    assert engine.turns.feels.passed == [Feel(3 * BAR, "swing")]
    assert engine.take_notices()[-1] == "bar 4: swing"


def test_a_key_calls_it_too_and_is_no_music() -> None:
    key = [(2 * BAR_NS + 5, midi.note_on(0, 24, 90)), (2 * BAR_NS + 9, midi.note_off(0, 24))]
    notes, engine = played([*tune([72, 74, 76, 77] * 5), *key], 5, feel_key=24)
    assert engine.turns.feels.at(4 * BAR) == "waltz" and engine.counts.player_notes == 20
    assert cymbals(notes, 3)[RIDE] == 4


def test_a_feel_that_is_called_before_the_music_begins_holds_from_its_beginning() -> None:
    notes, engine = played([*press(0), *tune([72, 74, 76, 77] * 4, start_ns=BEAT_NS)], 5)
    assert engine.turns.feels.at(0) == "waltz" and cymbals(notes, 1)[RIDE] == 4 and not cymbals(notes, 1)[HAT]


def test_what_was_called_last_holds_where_time_goes_on_elsewhere() -> None:
    feels = Feels("rock")
    assert [feels.next(96).feel, feels.next(96).feel, feels.next(192).feel] == ["waltz", "march", None]
    assert (feels.at(0), feels.at(96), feels.at(191), feels.at(192)) == ("rock", "march", "march", None)
    assert feels.passed == [Feel(96, "march"), Feel(192, None)]
    feels.jumped()
    assert feels.at(-500) is None
    feels.next(96)
    feels.next(96)
    assert feels.at(96) == "swing" and feels.passed == [Feel(96, "march"), Feel(192, None), Feel(96, "swing")]
    arrangement = Arrangement("rock", BeatGrid(), Given(BeatGrid()))
    arrangement.change(Feel(96, "swing"))
    assert arrangement.feel_at(0) is FEELS["rock"] and arrangement.feel_at(96) is FEELS["swing"]
    arrangement.relocate()
    assert arrangement.feel_at(0) is FEELS["swing"]


def test_a_new_composer_is_told_the_feel() -> None:
    play = StepByStep("accompany", channels=CHANNELS, parts=TRIO, feel="rock", feel_cc=CALL)
    play.play(midi.note_on(0, 72, 80), 0)
    play.play(midi.control(0, CALL, 127), BEAT_NS)
    assert Feel(BAR, "waltz") in play.requests
    play.engine.composer_is_new(2 * BEAT_NS)
    assert Feel(BAR, "waltz") in play.engine.take_requests()


class Habit(LogitStepper):
    """Likes to play on the second eighth of a beat, as after bars of rock."""

    def __init__(self) -> None:
        super().__init__()
        self.logits[SLICES["time"]][12] += 9.0


def test_a_new_feel_is_played_at_once_whatever_the_model_is_used_to() -> None:
    calls = press(BAR_NS + BEAT_NS)  # a waltz from bar 3 on: the bass is on 1
    notes, _ = played([*tune([72, 74, 76, 77] * 6), *calls], 6, stepper=Habit())
    between = {bar: [note for note in in_bar(notes, bar, 2) if note.tick % TICKS] for bar in (1, 2, 3, 4)}
    assert len(between[1]) >= 3 and not (between[2] or between[3] or between[4])


# --- what a band leaves without effect, and what it does not ---


def test_what_has_no_effect_in_a_band_is_said_when_it_begins() -> None:
    modes = settings_of("accompany").modes
    remarks, louder = Remarks(True), Controls(memory=0.5)
    assert remarks.of(modes["accompany"], TRIO, AS_IT_IS) == []
    (line,) = remarks.of(modes["harmonise"], TRIO, AS_IT_IS)
    assert "answered by the accompaniment alone" in line
    assert remarks.of(modes["harmonise"], TRIO, AS_IT_IS) == [] == remarks.of(modes["accompany"], TRIO, AS_IT_IS)
    assert "memory" in remarks.of(modes["accompany"], (BASS, DRUMS), louder)[0]
    assert remarks.of(modes["accompany"], (MELODY, DRUMS), louder) == []
    assert "answered by the bass" in remarks.of(modes["harmonise"], (BASS, DRUMS), AS_IT_IS)[0]
    assert Remarks(False).of(modes["harmonise"], (ACCOMPANIMENT,), louder) == []


class Favouring(LogitStepper):
    """Keeps the biases under which the pitch of a melody is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.melody: list[float] = []

    def draw(self, release, bias, noise):  # type: ignore[no-untyped-def]
        parts = bias[SLICES["part"]]
        if (parts > -1e8).sum() == 1 and parts[5 + MELODY] > -1e8:
            self.melody.append(float(bias[SLICES["pitch"]].max()))
        return super().draw(release, bias, noise)


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_the_melody_of_a_band_takes_up_what_was_played_with_the_knob_for_memory(memory: float) -> None:
    theme = [60, 62, 64, 65, 67, 65, 64, 62]
    settings = settings_of("trade", controls=Controls(memory=memory), channels=CHANNELS, parts=(MELODY, DRUMS))
    stepper = Favouring()
    composer = composer_of(stepper, trio("rock", (MELODY, DRUMS)), settings=settings, memory=True)
    for i, pitch in enumerate(theme * 2):
        for _ in composer.handle(Plan(i, i * TICKS + 1, PlayerNote(i * TICKS, pitch, 80, MELODY), Role.CONTINUE)):
            pass
    turn = Turn(4 * BAR, 6 * BAR)
    for _ in composer.handle(Plan(99, 4 * BAR, None, Role.CONTINUE, turn, 6 * BAR)):
        pass
    assert stepper.melody
    assert (max(stepper.melody) > 10) == (memory > 0)
