"""The tunes are what they say, and the script plays them as written."""

import numpy as np
import pytest

from realtime import midi
from realtime.music import measures
from realtime.music.keys import key_of
from realtime.music.notes import note_array
from realtime.music.tunes import ODE_TO_JOY, SHARE_HELD, TUNES, Tune, script

BEAT_NS = 500_000_000
EACH = pytest.mark.parametrize("tune", TUNES, ids=lambda tune: tune.name)


def notes_of(tune: Tune) -> np.ndarray:
    at, rows = 0.0, []
    for pitch, quarters in tune.notes:
        rows.append((round(at * 24), round(quarters * 24), pitch))
        at += quarters
    return note_array(rows)


def test_there_are_metres_and_keys_enough() -> None:
    assert len({tune.name for tune in TUNES}) == len(TUNES) >= 8
    assert {tune.metre for tune in TUNES} >= {(4, 4), (3, 4), (6, 8)}
    assert {tune.key.scale for tune in TUNES} == {"major", "minor"}
    assert all(tune.year < 1900 and tune.origin for tune in TUNES)
    assert sum(tune.unheard for tune in TUNES) >= 3


@EACH
def test_bars_are_full(tune: Tune) -> None:
    lengths = [sum(quarters for _, quarters in bar) for bar in tune.bars]
    inner = lengths[1:-1] if tune.pickup_quarters else lengths[:-1]
    assert set(inner) == {tune.bar_quarters}
    # The last bar leaves the pick-up's time, or is full.
    assert lengths[-1] in (tune.bar_quarters, tune.bar_quarters - tune.pickup_quarters)


@EACH
def test_it_is_in_the_key_it_names_and_can_be_sung(tune: Tune) -> None:
    notes = notes_of(tune)
    # Greensleeves is dorian, with both sixths; elsewhere a raised note or two.
    assert measures.key_agreement(notes, tune.key) > 0.85
    assert notes["pitch"].min() >= 55
    assert notes["pitch"].max() <= 84
    assert abs(np.diff(notes["pitch"])).max() <= 15  # into the refrain of Greensleeves


def test_most_keys_are_found_from_the_notes() -> None:
    found = [key_of(notes_of(tune)) == tune.key for tune in TUNES]
    assert sum(found) >= len(TUNES) - 2  # a pentatonic tune may go as its relative


def test_held_notes_are_one() -> None:
    amazing = next(tune for tune in TUNES if "Amazing" in tune.name)
    assert (74, 5.0) in amazing.notes
    assert amazing.pickup_quarters == 1
    assert amazing.from_downbeat == amazing.notes[1:]
    assert ODE_TO_JOY.from_downbeat == ODE_TO_JOY.notes


def test_the_script_plays_the_notes_in_time() -> None:
    messages, stretches = script(ODE_TO_JOY, 120)
    struck = [(ns, message[1]) for ns, message in messages if midi.is_note_on(message)]
    assert [pitch for _, pitch in struck] == [pitch for pitch, _ in ODE_TO_JOY.notes]
    assert struck[1][0] == BEAT_NS
    assert stretches == [(0.0, 32.0)]
    released = next(ns for ns, message in messages if midi.is_note_off(message))
    assert released == round(BEAT_NS * SHARE_HELD)


def test_phrases_are_set_apart_by_rests() -> None:
    messages, stretches = script(ODE_TO_JOY, 120, phrase_bars=2, rest_bars=3)
    assert stretches == [(0, 8), (20, 28), (40, 48), (60, 68)]
    inside = [
        any(start <= ns / BEAT_NS < end for start, end in stretches) for ns, on in messages if midi.is_note_on(on)
    ]
    assert all(inside)


@EACH
def test_a_human_player_keeps_the_order_and_the_first_beat(tune: Tune) -> None:
    straight, _ = script(tune, tune.bpm)
    loose, _ = script(tune, tune.bpm, loose_ms=12, seed=3)
    assert [message for _, message in loose] == [message for _, message in straight]
    assert loose[0][0] == 0
    assert loose == script(tune, tune.bpm, loose_ms=12, seed=3)[0]
    assert loose != script(tune, tune.bpm, loose_ms=12, seed=4)[0]
