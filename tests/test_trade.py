"""What an answer takes up of its call, on notes written by hand, and the prompts that are accented and swung."""

import math

import numpy as np
import pytest

from models.corpus.pack import Pack
from models.evaluation import trade
from models.evaluation.prompts import BARS, Played, Prompt
from realtime.io.bench.music import Duet
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE, note_array
from realtime.music.vocabulary import ACCOMPANIMENT, DRUMS, MELODY

BAR = 4 * TICKS
NOTHING = np.zeros(0, NOTE)


def even(pitches: list[int], start: int = 0, ticks: int = TICKS) -> np.ndarray:
    """One note after the other."""
    return note_array((start + i * ticks, ticks, pitch) for i, pitch in enumerate(pitches))


def eighths(second: int, velocity: int = 80) -> np.ndarray:
    """Two bars of eighths, the second of each beat at this tick."""
    return note_array((beat * TICKS + at, 6, 60, velocity) for beat in range(8) for at in (0, second))


def test_the_top_line_has_no_note_under_a_higher_one() -> None:
    tune = even([72, 71, 74])
    under = note_array([(0, 12, 60), (12, 12, 67), (24, 24, 64), (48, 96, 67)])
    line = trade.top_line(np.concatenate([under, tune]))
    assert line["pitch"].tolist() == [72, 71, 74]


def test_a_note_that_overlaps_a_higher_one_by_a_little_stays() -> None:
    legato = note_array([(0, 28, 72), (24, 24, 71)])
    assert trade.top_line(legato)["pitch"].tolist() == [72, 71]


def test_intervals_are_taken_up_in_any_key_and_rhythm() -> None:
    call = even([60, 62, 64, 65, 67])  # two triples: 2 2 1 and 2 1 2
    assert trade.taken_up(even([67, 69, 71, 72], 96, 12), call, 3) == 1.0
    assert trade.taken_up(even([67, 69, 71, 72, 71]), call, 3) == 0.5  # 2 2 1, and 2 1 -1
    assert trade.taken_up(even([67, 69, 71, 72, 71]), call, 2) == pytest.approx(2 / 3)  # 2 2, 2 1, and 1 -1
    assert trade.taken_up(even([72, 71, 69, 67]), call, 2) == 0.0
    assert math.isnan(trade.taken_up(even([60, 62, 64]), call, 3))
    assert math.isnan(trade.taken_up(call, even([60, 62, 64]), 3))
    assert trade.taken_up(even([60, 62, 64]), call, 2) == 1.0
    assert math.isnan(trade.taken_up(NOTHING, call, 2))


@pytest.mark.parametrize(("mine", "alike"), [(12, 0.0), (13, 0.0), (14, 0.0), (15, 1.0), (16, 1.0), (17, 1.0)])
def test_an_answer_is_swung_when_it_lies_nearer_to_the_swung_place(mine: int, alike: float) -> None:
    assert trade.swung_alike(eighths(mine), eighths(16)) == alike


def test_an_answer_without_second_eighths_is_neither() -> None:
    sixteenths = note_array((tick, 6, 60) for tick in (0, 6, 18, 24))
    assert math.isnan(trade.swung_alike(sixteenths, eighths(16)))
    assert math.isnan(trade.swung_alike(NOTHING, eighths(16)))
    assert trade.second_eighth(eighths(15)) == 15.0


def test_the_spread_of_velocities_is_over_that_of_a_call_with_accents() -> None:
    call = note_array([(0, 6, 60, 70), (24, 6, 60, 90)])
    assert trade.spread(note_array([(0, 6, 60, 75), (24, 6, 60, 85)]), call) == pytest.approx(0.5)
    assert trade.spread(even([60, 62]), call) == 0.0
    assert math.isnan(trade.spread(call, even([60, 62])))
    assert math.isnan(trade.spread(NOTHING, call))


def performance(call: list[int], mine: list[int], real: list[int], answer: int = 2 * BAR) -> Played:
    """A call of two bars and its answer; there are drums that do not count."""
    drums = note_array([(tick, 3, 38, 127, DRUMS) for tick in range(0, 4 * BAR, 12)])
    parts = [even(call), even(mine, answer), even(real, answer)]
    player, made, music = (np.concatenate([notes, drums]) for notes in parts)
    bars = np.arange(5) * BAR
    return Played(player, made, music, np.concatenate([player, music]), bars, [(2 * BAR, 4 * BAR)])


def test_figures_stand_beside_the_real_phrase_and_beside_chance() -> None:
    one = performance([60, 62, 64, 65], [67, 69, 71, 72], [72, 71, 69, 67])
    other = performance([72, 71, 69, 67], [60], [60])
    found = trade.figures(one, other)
    assert found["interval triples of the call"] == (1.0, 0.0)
    assert found["interval triples of another call"] == (0.0, 1.0)
    assert found["interval pairs of the call"] == (1.0, 0.0)
    assert found["interval pairs of another call"] == (0.0, 1.0)
    assert all(math.isnan(value) for value in found["velocity spread over the call's"])
    assert found["turns that end as a phrase"] == (1.0, 1.0)  # C and G, four quarters before the end


def test_swing_counts_the_turns_that_have_second_eighths() -> None:
    player, straight = eighths(16), eighths(12)
    straight["onset"] += 2 * BAR
    swung = eighths(16)
    swung["onset"] += 2 * BAR
    bars, spans = np.arange(5) * BAR, [(2 * BAR, 4 * BAR)]
    found = trade.swing_figures(Played(player, straight, swung, player, bars, spans))
    assert found == {"swung as the call": (0.0, 1.0), "turns with second eighths": (1.0, 1.0)}
    silent = trade.swing_figures(Played(player, NOTHING, swung, player, bars, spans))
    assert math.isnan(silent["swung as the call"][0])
    assert silent["turns with second eighths"] == (0.0, 1.0)


def test_the_real_next_phrase_of_a_tune_comes_after_the_answer() -> None:
    tune = np.concatenate([even([60, 62, 64, 65]), even([67, 69, 71, 72], 4 * BAR)])
    made = np.concatenate([even([60, 62, 64, 65], 2 * BAR), even([50], 8 * BAR)])  # the last after all turns
    played = trade.of_duet(
        Duet(tune, made, [(0, 2 * BAR), (4 * BAR, 6 * BAR)], [(2 * BAR, 4 * BAR), (6 * BAR, 8 * BAR)])
    )
    (call, mine, real), (_, silent, none) = trade.turns(played)
    assert call["pitch"].tolist() == mine["pitch"].tolist() == [60, 62, 64, 65]
    assert real.tolist() == even([67, 69, 71, 72], 2 * BAR).tolist()
    assert not len(silent) and not len(none)
    assert trade.figures(played, played)["interval triples of the call"] == (1.0, 1.0)


def prompt(step: int, bar: int = BAR) -> Prompt:
    """Twelve bars of even notes with a bass, and drums in sixteenths."""
    rows = [(tick, step, 60 + tick // step % 5, 80, MELODY) for tick in range(0, BARS * bar, step)]
    rows += [(tick, bar, 48, 80, ACCOMPANIMENT) for tick in range(0, BARS * bar, bar)]
    rows += [(tick, 3, 38, 80, DRUMS) for tick in range(0, BARS * bar, 6)]
    return Prompt("even", note_array(rows), bar, 120.0, True)


def test_straight_eighths_are_swung_and_everything_else_is_not() -> None:
    straight = prompt(12)
    before = straight.notes.copy()
    swung = trade.swung(straight)
    assert swung is not None
    assert set((swung.notes["onset"] % TICKS).tolist()) == {0, 16}
    assert DRUMS not in swung.notes["part"]
    assert swung.notes["onset"].max() < 8 * BAR
    assert straight.notes.tolist() == before.tolist()
    assert trade.swung(prompt(24)) is None  # no second eighths
    assert trade.swung(prompt(6)) is None  # sixteenths
    assert trade.swung(prompt(12, 72)) is None  # 3/4, or 6/8


def test_even_loudness_gets_accents_and_a_performance_keeps_its_own() -> None:
    even_loud = prompt(12)
    accented = trade.accented(even_loud, seed=3)
    tune = accented.notes[accented.notes["part"] == MELODY]
    first, second = (tune["velocity"][tune["onset"] % BAR == tick].mean() for tick in (0, 12))
    assert first > second + trade.ACCENTED
    assert set(even_loud.notes["velocity"].tolist()) == {80}
    assert trade.accented(even_loud, seed=3).notes.tolist() == accented.notes.tolist()
    assert trade.accented(accented, seed=4).notes.tolist() == accented.notes.tolist()


def test_swung_prompts_are_drawn_from_the_split(toy_pack: Pack) -> None:
    found = trade.swung_prompts_of(toy_pack, "valid", 2, seed=1)
    assert {each.name for each in found} == {"toy tune_3", "toy tune_4"}
    for each in found:
        assert 16 in each.notes["onset"] % TICKS
        assert 12 not in each.notes["onset"] % TICKS
