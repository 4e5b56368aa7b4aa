"""What a player does to the score, and what is done to both streams: each change alone, and where it must not reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dealing import LENGTH, piece_of, read_back

from models.corpus.pack import NOTE, Piece
from models.corpus.perturb import LIVE, NONE, Augment, perturb, tempo_shift
from models.corpus.windows import LEAD_BEATS, window
from realtime.music.metre import TICKS
from realtime.music.vocabulary import BEAT, DRUMS, MELODY, MODEL_PART, OPEN, Role

WIDE = np.dtype([(name, "i8") for name in NOTE.names or ()])
BARS = np.arange(0, 960, 96)


def chords(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Three-note chords a beat apart, a drum under each; every other chord is the player's."""
    notes = np.zeros(4 * count, WIDE)
    notes["onset"] = np.repeat(np.arange(count) * TICKS, 4)
    notes["duration"], notes["velocity"] = 20, 80
    notes["pitch"] = np.tile([60, 64, 67, 36], count)
    notes["part"] = np.tile([1, 1, 1, DRUMS], count)
    return notes, np.repeat(np.arange(count) % 2 == 0, 4)


def changed(augment: Augment, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(before, after, whose after)."""
    notes, player = chords()
    after, whose = perturb(np.random.default_rng(seed), notes.copy(), player, BARS, augment)
    return notes, after, whose


@pytest.mark.parametrize(
    "augment",
    [
        replace(NONE, drop=0.5),
        replace(NONE, wrong=0.5),
        replace(NONE, insert=0.5),
        replace(NONE, unsteady=1.0),
        replace(NONE, roll=1.0),
        replace(NONE, touch=1.0),
        replace(NONE, one_part=1.0),
        LIVE,
    ],
    ids=["drop", "wrong", "insert", "unsteady", "roll", "touch", "one part", "live"],
)
def test_what_the_player_does_leaves_the_model_alone(augment: Augment) -> None:
    before, after, whose = changed(augment)
    _, player = chords()
    assert np.array_equal(after[~whose], before[~player])
    assert not np.array_equal(np.sort(after[whose]), np.sort(before[player]))
    drums = after["part"] == DRUMS
    assert set(after["pitch"][drums].tolist()) == {36}


def test_nothing_is_nothing() -> None:
    before, after, _ = changed(NONE)
    assert np.array_equal(before, after)
    assert tempo_shift(np.random.default_rng(0), NONE) == 0


def test_slips_are_neighbours_and_touches_are_short() -> None:
    before, after, whose = changed(replace(NONE, wrong=0.3))
    apart = (after["pitch"] - before["pitch"])[whose & (before["part"] != DRUMS)]
    assert set(apart.tolist()) == {-2, -1, 0, 1, 2}
    assert 0.2 < (apart != 0).mean() < 0.4
    before, after, whose = changed(replace(NONE, insert=0.3))
    extra = after[len(before) :]
    assert len(extra) > 50
    assert extra["duration"].max() <= 4
    assert extra["velocity"].max() < 80
    assert whose[len(before) :].all()


def test_a_rolled_chord_goes_up() -> None:
    _, after, whose = changed(replace(NONE, roll=1.0))
    mine = after[whose & (after["part"] != DRUMS)].reshape(-1, 3)
    assert np.array_equal(mine["onset"] - mine["onset"][:, :1], np.tile([0, 1, 2], (len(mine), 1)))


def test_the_player_wavers_and_stays_near() -> None:
    before, after, whose = changed(replace(NONE, unsteady=1.0))
    apart = (after["onset"] - before["onset"])[whose]
    assert 0.5 < apart.std() < 1.5
    assert abs(apart).max() <= 8
    assert after["onset"].min() >= 0


def test_one_keyboard_strikes_a_key_once() -> None:
    notes = np.zeros(3, WIDE)
    notes["pitch"], notes["part"], notes["duration"], notes["velocity"] = 60, [MELODY, 1, 2], 10, 80
    after, whose = perturb(
        np.random.default_rng(0), notes, np.array([True, True, False]), BARS, replace(NONE, one_part=1)
    )
    assert after["part"].tolist() == [MELODY, 2]
    assert whose.tolist() == [True, False]


def test_both_streams_go_to_another_key_at_a_bar_line() -> None:
    before, after, _ = changed(replace(NONE, shift=1.0))
    apart = after["pitch"] - before["pitch"]
    pitched = before["part"] != DRUMS
    assert not apart[~pitched].any()
    edge = before["onset"][np.flatnonzero(apart)[0]]
    assert edge in BARS[1:-1]
    assert len(set(apart[pitched & (before["onset"] >= edge)].tolist())) == 1
    assert not apart[before["onset"] < edge].any()


def test_both_streams_get_louder_alike_and_only_with_a_player() -> None:
    before, after, whose = changed(replace(NONE, loudness=1.0))
    assert len(set(after["velocity"].tolist())) == 1
    assert after["velocity"][0] != before["velocity"][0]
    alone, _ = perturb(
        np.random.default_rng(1), before.copy(), np.zeros(len(whose), bool), BARS, Augment(transpose=False)
    )
    assert set(alone["velocity"].tolist()) == {80}


def eighths(third: bool = False, second: int = 12) -> np.ndarray:
    """Eight bars of eighths in even loudness, the second of each beat at tick `second`; with `third` also a sixteenth."""
    notes = np.zeros(64, WIDE)
    notes["onset"], notes["velocity"], notes["pitch"] = np.arange(64) // 2 * 24 + np.arange(64) % 2 * second, 80, 60
    notes["duration"] = np.diff(notes["onset"], append=768)
    if third:
        notes["onset"][21] += 6
    return notes


BEATS = np.arange(0, 768, TICKS)


@pytest.mark.parametrize("whose", [0, 1], ids=["nobody plays", "a player"])
@pytest.mark.parametrize("written", [12, 16, 18], ids=["straight", "swung", "dotted"])
def test_swing_moves_the_second_eighths_of_all_beats_alike(whose: int, written: int) -> None:
    places = set()
    for seed in range(40):
        player = np.arange(64) % 2 < whose
        before = eighths(second=written)
        after, _ = perturb(np.random.default_rng(seed), before.copy(), player, BARS, replace(NONE, swing=1.0), BEATS)
        assert np.array_equal(after["onset"][::2], BEATS), "the beats stay"
        place = set((after["onset"][1::2] - BEATS).tolist())
        assert len(place) == 1
        places |= place
        ends = after["onset"] + after["duration"]
        assert np.array_equal(ends[:-1], after["onset"][1:]), "a note still ends where the next begins"
        assert all(np.array_equal(after[name], before[name]) for name in ("pitch", "velocity", "part"))
    assert places == {12, 14, 15, 16, 17, 18}, "straight, swung up to a triplet and a bit more, dotted"


def test_only_eighths_of_quarters_are_swung() -> None:
    swing, no_player = replace(NONE, swing=1.0), np.zeros(64, bool)
    quarters = eighths()
    quarters["onset"] *= 2
    for notes, beats in (
        (eighths(third=True), BEATS),
        (quarters, np.arange(0, 1536, TICKS)),
        (eighths(), np.arange(0, 768, 36)),
        (eighths(second=8), BEATS),
        (eighths(), BEATS[:0]),
    ):
        after, _ = perturb(np.random.default_rng(0), notes.copy(), no_player, BARS, swing, beats)
        assert np.array_equal(after, notes)


def test_even_loudness_gets_accents_by_the_place_in_the_bar() -> None:
    notes = eighths()
    first, on, off = (
        np.isin(notes["onset"], BARS),
        np.isin(notes["onset"], BEATS) & ~np.isin(notes["onset"], BARS),
        ~np.isin(notes["onset"], BEATS),
    )
    levels = []
    for seed in range(40):
        after, _ = perturb(
            np.random.default_rng(seed), notes.copy(), np.zeros(64, bool), BARS, replace(NONE, accent=1.0), BEATS
        )
        velocity = after["velocity"]
        assert velocity.min() >= 1 and velocity.max() <= 127 and len(set(velocity.tolist())) > 3
        assert velocity[first].mean() > velocity[on].mean() > velocity[off].mean()
        levels.append(velocity.mean())
        assert all(np.array_equal(after[name], notes[name]) for name in ("onset", "duration", "pitch", "part"))
    assert np.std(levels) > 8, "some are loud and some soft"


def test_a_performance_keeps_its_own_accents() -> None:
    notes = eighths()
    notes["velocity"] += np.arange(64) % 5
    after, _ = perturb(
        np.random.default_rng(0), notes.copy(), np.zeros(64, bool), BARS, replace(NONE, accent=1.0), BEATS
    )
    assert np.array_equal(after, notes)


def test_tempo_moves_by_no_more_than_a_class() -> None:
    rng = np.random.default_rng(0)
    steps = [tempo_shift(rng, replace(NONE, tempo=1.0)) for _ in range(400)]
    assert set(steps) == {-1, 0, 1}
    assert abs(np.mean(steps)) < 0.15


def test_an_accompanist_cannot_rely_on_its_own_past() -> None:
    """Its past is wrong to another degree in each window, what it should have played is not; who answers is spared."""
    piece = piece_of([(i * 12, 12, 60 + i % 8, i % 2) for i in range(80)])
    shares = []
    for seed in range(30):
        out = window(piece, LENGTH, np.random.default_rng(seed), replace(NONE, stray=0.5), Role.ACCOMPANY, bar=0)
        own = out["note"][:-1] == 1
        wrong = out["events"][1:][own, 2] != out["targets"][:-1][own, 2]
        shares.append(wrong.mean())
        assert set(out["targets"][:-1][own, 2].tolist()) <= set(range(60, 68))
    assert min(shares) < 0.1 < 0.35 < max(shares) < 0.65
    out = window(piece, LENGTH, np.random.default_rng(0), replace(NONE, stray=0.5), Role.TRADE, bar=0)
    assert np.array_equal(out["events"][1:, 2][out["note"][:-1] == 1], out["targets"][:-1, 2][out["note"][:-1] == 1])


# --- windows made of two streams ---


def song(bars: int = 12) -> Piece:
    """A note a beat, its pitch telling the beat."""
    return piece_of([(beat * TICKS, 20, 40 + beat, MELODY) for beat in range(4 * bars)])


def test_infill_feeds_what_comes_after_and_asks_for_the_gap() -> None:
    piece = song()
    for seed in range(30):
        out = window(piece, LENGTH, np.random.default_rng(seed), NONE, Role.INFILL, bar=0)
        ahead, before_gap = out["events"][:, 8] == Role.INFILL, out["events"][:, 8] == Role.CONTINUE
        asked = out["targets"][out["note"] == 1][:, 2] - 40  # the beats of the gap
        assert len(asked) in (4, 8, 12, 16)
        assert asked[0] % 4 == 0
        assert np.array_equal(asked, np.arange(asked[0], asked[0] + len(asked)))
        pitched = out["events"][:, 0] != BEAT
        known = out["events"][ahead & pitched]
        assert np.all(known[:, 1] < MODEL_PART)
        assert np.all(known[:, 3] == OPEN)
        after = asked[-1] + 1
        assert np.array_equal(known[:, 2] - 40, np.arange(after, min(after + LEAD_BEATS, 48))[: len(known)])
        quiet = np.flatnonzero(out["events"][ahead][:, 0] != BEAT)[0]  # the gap's beats and the beat of the first note
        assert quiet == len(asked) + 1
        assert not out["turn"][ahead].any()
        before = out["events"][before_gap & pitched & (out["events"][:, 1] < MODEL_PART)]
        assert np.array_equal(before[:, 2] - 40, np.arange(asked[0])[-len(before) :])


def test_a_gap_fits_where_the_window_is_short() -> None:
    piece = song(20)
    for seed in range(20):
        out = window(piece, LENGTH, np.random.default_rng(seed), NONE, Role.INFILL, bar=0)
        asked = out["targets"][out["note"] == 1][:, 2]
        assert len(asked) in (4, 8, 12, 16)
        first = np.flatnonzero(out["events"][:, 8] == Role.CONTINUE)[0]
        assert out["events"][first, 0] == BEAT


def test_a_pick_up_is_in_the_first_window() -> None:
    piece = piece_of([(0, 20, 60, MELODY), *((24 + i * 24, 20, 62, MELODY) for i in range(20))], ((24, 96),))
    out = window(piece, LENGTH, np.random.default_rng(0), NONE, Role.COMPOSE, bar=0)
    events = read_back(piece, out, 0)
    assert (events[1].tick, events[1].pitch) == (0, 60)
    assert out["events"][0, 5] == 3, "the last beat of a whole bar"
