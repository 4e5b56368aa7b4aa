"""The chord of each beat: on harmonised tunes, in every key, live as offline, and by its definition."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.io.files.harmony import load_harmony
from realtime.music.chord_features import BEAT, FACTS, FAR, PLACES, WINDOWS, beats_of, features
from realtime.music.chords import CHORDS, MAJOR_MINOR, MEMBERS, NO_CHORD, UNKNOWN, chord, parse_label, transpose
from realtime.music.harmony import RECENT, STATES, Harmony, likeliest
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import NOTE, note_array
from realtime.music.vocabulary import ACCOMPANIMENT, DRUMS, MELODY

HARMONY = load_harmony()

# Public-domain melodies, harmonised by hand: (pitch, quarters), and the chord of each bar or half bar with its bass note.
TWINKLE = [60, 60, 67, 67, 69, 69, 67, 0, 65, 65, 64, 64, 62, 62, 60, 0]
TWINKLE_CHORDS = "C C F C F C G7 C"
ODE = [64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 62, 62, 60, 0]
ODE_CHORDS = "C G C G C G G7 C"
GREENSLEEVES = [69, 72, 0, 74, 76, 0, 77, 76, 74, 71, 0, 67, 69, 0, 71, 72, 0, 69, 68, 0, 68, 69, 0, 0]
GREENSLEEVES_CHORDS = "Am C G G Am Am E E"


def melody(pitches: list[int]) -> list[tuple[int, int, int, int, int]]:
    """A quarter a pitch; 0 holds the one before."""
    rows: list[tuple[int, int, int, int, int]] = []
    for beat, pitch in enumerate(pitches):
        if pitch:
            rows.append((beat * TICKS, TICKS, pitch, 80, MELODY))
        else:
            at, length, *rest = rows[-1]
            rows[-1] = (at, length + TICKS, *rest)  # type: ignore[assignment]
    return rows


def harmonised(pitches: list[int], chords: str, beats: int, broken: bool) -> tuple[np.ndarray, np.ndarray]:
    """Notes of a tune with its chords of so many beats each, as blocks over a bass note or broken; the classes beat by beat."""
    rows, truth = melody(pitches), []
    for place, name in enumerate(chords.split()):
        label = parse_label(name)
        start = place * beats * TICKS
        pitches_of = [48 + pc for pc in range(12) if MEMBERS[label.chord, pc]]
        root = 36 + (label.chord - 1) % 12
        rows.append((start, beats * TICKS, root, 70, ACCOMPANIMENT))
        for i, pitch in enumerate(pitches_of):
            at = start + (i * TICKS // 2 if broken else 0)
            rows.append((at, beats * TICKS - (at - start), pitch, 60, ACCOMPANIMENT))
        truth += [label.chord] * beats
    return note_array(rows), np.array(truth)


def grid(count: int, bar: int = 4) -> np.ndarray:
    return beats_of(BeatGrid(((0, bar * TICKS),)), 0, count * TICKS)


SONGS = [(TWINKLE, TWINKLE_CHORDS, 2, 4), (ODE, ODE_CHORDS, 2, 4), (GREENSLEEVES, GREENSLEEVES_CHORDS, 3, 3)]


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(("pitches", "chords", "beats", "bar"), SONGS)
def test_the_chords_of_a_harmonised_tune_are_found_in_every_key(
    pitches: list[int], chords: str, beats: int, bar: int, broken: bool
) -> None:
    notes, truth = harmonised(pitches, chords, beats, broken)
    found = HARMONY.estimate(notes, grid(len(truth), bar))
    assert (MAJOR_MINOR[found.chord] == MAJOR_MINOR[truth]).mean() >= 0.9
    assert found.sure.mean() > 0.7
    for up in range(1, 12):
        moved = notes.copy()
        moved["pitch"] += up
        again = HARMONY.estimate(moved, grid(len(truth), bar))
        assert np.array_equal(again.chord, transpose(found.chord, up))
        assert np.allclose(again.sure, found.sure, atol=1e-4)


def test_what_is_heard_is_the_same_live_and_offline() -> None:
    notes, truth = harmonised(TWINKLE, TWINKLE_CHORDS, 2, broken=True)
    beats = grid(len(truth))
    offline = HARMONY.posterior(notes, beats, ahead=False)
    for now in range(RECENT):
        end = int(beats["start"][now]) + TICKS
        so_far = notes[notes["onset"] < end]
        so_far["duration"] = np.minimum(so_far["duration"], end - so_far["onset"])  # a held note has sounded until now
        assert np.allclose(HARMONY.heard(so_far, beats[: now + 1]), offline[now], atol=1e-5)
    assert (likeliest(offline).chord == truth).mean() > 0.7


def test_what_is_heard_depends_on_a_bounded_past() -> None:
    notes, truth = harmonised(TWINKLE, TWINKLE_CHORDS, 2, broken=False)
    times = 8
    long = np.concatenate([notes] * times)
    long["onset"] += np.repeat(np.arange(times) * len(truth) * TICKS, len(notes))
    beats = grid(times * len(truth))
    recent = beats[-FAR - RECENT :]
    kept = long[long["onset"] + long["duration"] > recent["start"][0]]
    assert len(kept) < len(long)
    assert np.array_equal(HARMONY.heard(long, beats), HARMONY.heard(kept, recent))


def test_without_notes_there_is_no_chord_but_a_rest_keeps_it() -> None:
    notes, truth = harmonised(TWINKLE, TWINKLE_CHORDS, 2, broken=False)
    beats = grid(len(truth) + 12)
    drums = note_array([(beat * TICKS, 6, 36, 90, DRUMS) for beat in range(len(beats))])
    found = HARMONY.estimate(np.concatenate([notes, drums]), beats)
    assert np.array_equal(found.chord == NO_CHORD, np.arange(len(beats)) >= len(truth) + 4)
    assert (found.sure[found.chord == NO_CHORD] == 1).all()
    assert (HARMONY.estimate(drums, beats).chord == NO_CHORD).all()
    assert (HARMONY.estimate(np.zeros(0, NOTE), beats).chord == NO_CHORD).all()
    assert HARMONY.estimate(notes, beats[:0]).chord.shape == (0,)


def test_chords_that_are_given_stay_and_inform_their_neighbours() -> None:
    notes = note_array([(0, 8 * TICKS, 60, 80, MELODY), (0, 8 * TICKS, 64, 80, MELODY)])  # C and E: C or Am
    beats, given = grid(8), np.full(8, UNKNOWN)
    alone = HARMONY.posterior(notes, beats)
    given[2], given[6] = chord(9, "min"), NO_CHORD
    told = HARMONY.posterior(notes, beats, given=given)
    assert told[2, chord(9, "min")] == 1 and told[6, NO_CHORD] == 1
    assert told[3, chord(9, "min")] > alone[3, chord(9, "min")]
    assert np.allclose(told.sum(1), 1)


def random_weights(rng: np.random.Generator, hidden: int = 3) -> dict[str, np.ndarray]:
    shapes = {
        "windows": (hidden, len(WINDOWS), 12), "facts": (hidden, FACTS), "bias_1": (hidden,), "weight_2": (hidden, hidden),
        "bias_2": (hidden,), "weight_3": (9, hidden), "bias_3": (9,), "change": (9, 9, 12), "stay": (PLACES, 9),
    }  # fmt: skip
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def test_the_probabilities_are_those_of_all_rows_of_chords() -> None:
    """Three beats, all 108 ** 3 rows added up one by one."""
    weights = random_weights(np.random.default_rng(1))
    harmony = Harmony(weights)
    notes = note_array([(0, 30, 60, 80, MELODY), (30, 40, 63, 80, MELODY), (0, 72, 43, 80, ACCOMPANIMENT)])
    beats = grid(3, bar=2)
    emission = harmony.emission(features(notes, beats), True).astype(np.float64)
    quality, root = np.divmod(np.arange(STATES), 12)
    change = weights["change"][quality[:, None], quality, (root - root[:, None]) % 12]
    step = [np.where(np.eye(STATES, dtype=bool), weights["stay"][place][quality], change) for place in (1, 0)]
    rows = emission[0][:, None, None] + step[0][:, :, None] + emission[1][None, :, None] + step[1][None] + emission[2]
    paths = np.exp(rows - rows.max())
    expected = np.stack([paths.sum((1, 2)), paths.sum((0, 2)), paths.sum((0, 1))]) / paths.sum()
    found = harmony.posterior(notes, beats)
    assert np.allclose(found[:, 1:], expected, atol=1e-5) and not found[:, NO_CHORD].any()
    assert found.shape == (3, CHORDS)


def test_weights_that_do_not_fit_are_refused() -> None:
    weights = random_weights(np.random.default_rng(0))
    for name in weights:
        with pytest.raises(ValueError, match=name):
            Harmony({key: value for key, value in weights.items() if key != name})
        with pytest.raises(ValueError, match=name):
            Harmony(
                {
                    **weights,
                    name: weights[name][..., :-1] if name in ("change", "windows", "facts") else weights[name][None],
                }
            )


def test_what_the_estimator_sees_of_a_beat() -> None:
    notes = note_array(
        [(0, 24, 60, 80, MELODY), (12, 12, 64, 80, MELODY), (25, 47, 67, 80, MELODY),
         (0, 50, 48, 80, ACCOMPANIMENT), (0, 9, 36, 80, DRUMS)]
    )  # fmt: skip
    seen = features(notes, np.array([(0, 24, 0, 72), (24, 24, 1, 72), (48, 24, 2, 72)], BEAT))
    of = {name: seen.windows[:, i] for i, name in enumerate(WINDOWS)}
    assert np.allclose(of["first half"][0, [0, 4]], [np.log(3), 0]) and np.allclose(of["second half"][0, 4], np.log(2))
    assert np.allclose(of["struck"][1, 7], np.log(2)) and of["struck"][2].sum() == 0
    assert of["lowest of the first half"][0, 0] == 1 and of["lowest of the first half"][2, 7] == 1  # C3 ends too soon
    assert of["lowest before"][0].sum() == 0 and of["lowest after"][2].sum() == 0 and of["lowest after"][1, 7] == 1
    assert np.array_equal(of["lowest at the bar line"][:, 0], [1, 1, 1])
    before = np.array([4.0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    assert np.allclose(of["1 beat before"][1], before / (1 + before.sum()))
    assert np.allclose(of["bar so far"][1], of["1 beat before"][1]) and of["rest of the bar"][2].sum() == 0
    assert np.array_equal(seen.place, [0, 2, 2]) and np.array_equal(seen.facts[0], [1, 0, 0, 0, 1, 0, 1])
