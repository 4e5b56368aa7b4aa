"""The chord of a tune as it is being played: in every key, of a bounded past, and by the definition that it was fitted with."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.io.files.harmony import load_tune_harmony
from realtime.music.chord_features import FAR, beats_of, features
from realtime.music.chords import CHORDS, NO_CHORD, UNKNOWN, chord, root_of, symbol, transpose
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import NOTE, note_array
from realtime.music.tune_harmony import KEY_KNOWN, RECENT, SEEN, TOLD, TuneHarmony, shapes
from realtime.music.vocabulary import DRUMS, MELODY

HARMONY = load_tune_harmony()
TWINKLE = [60, 60, 67, 67, 69, 69, 67, 65, 65, 64, 64, 62, 62, 60]


def tune(pitches: list[int]) -> np.ndarray:
    return note_array([(beat * TICKS, TICKS, pitch, 80, MELODY) for beat, pitch in enumerate(pitches)])


def grid(count: int) -> np.ndarray:
    return beats_of(BeatGrid(((0, 4 * TICKS),)), 0, count * TICKS)


def random_weights(hidden: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape) for name, shape in shapes(hidden).items()}


def test_a_broken_triad_is_its_chord_in_every_key() -> None:
    for up in range(12):
        found = HARMONY.heard(tune([up + pitch for pitch in (60, 64, 67, 72, 67, 64, 60)]), grid(7))
        assert int(found.argmax()) == transpose(np.array([chord(0, "maj")]), up)[0]
        assert found[int(found.argmax())] > 0.5
        assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize("pitch, expected", [(60, "C"), (64, "C"), (65, "F"), (67, "CG"), (69, "F"), (71, "G")])
def test_a_first_note_speaks_for_a_chord_of_a_common_key(pitch: int, expected: str) -> None:
    assert symbol(int(HARMONY.heard(tune([pitch]), grid(1)).argmax())) in expected


def test_how_common_the_roots_are_counts_until_the_key_is_known() -> None:
    weights = random_weights()
    weights["roots"] = np.where(np.arange(12) == 6, 3.0, 0)
    told, untold = TuneHarmony(weights), TuneHarmony({**weights, "roots": np.zeros(12)})
    over = [c for c in range(1, CHORDS) if root_of(c) == 6]
    for count in range(1, 13):
        notes, beats = tune(list(range(60, 60 + count))), grid(count)
        one, other = told.heard(notes, beats), untold.heard(notes, beats)
        odds, before = (found[over].sum() / (1 - found[over].sum()) for found in (one, other))
        assert odds / before == pytest.approx(np.exp(3) if count < KEY_KNOWN else 1)


def test_what_is_heard_depends_on_a_bounded_past() -> None:
    long, beats = tune(TWINKLE * 10), grid(10 * len(TWINKLE))
    recent = beats[-FAR - RECENT :]
    kept = long[long["onset"] + long["duration"] > recent["start"][0]]
    assert len(kept) < len(long)
    assert np.array_equal(HARMONY.heard(long, beats), HARMONY.heard(kept, recent))


def test_what_is_heard_does_not_depend_on_what_was_estimated_before() -> None:
    """The state that it keeps counts only for the same past: not for the next beat, an earlier one, or a note that ended."""
    notes, beats, weights = tune(TWINKLE), grid(len(TWINKLE)), random_weights()
    kept = TuneHarmony(weights)
    for now in (9, 9, 10, 5, 10, 1, 14):
        for shorter in (False, True):
            so_far = notes[: now - 1 + shorter].copy()
            so_far["duration"][-2:] -= 3 * shorter
            assert np.array_equal(kept.heard(so_far, beats[:now]), TuneHarmony(weights).heard(so_far, beats[:now]))


def test_where_nothing_sounds_there_is_no_chord() -> None:
    drums = note_array([(beat * TICKS, 6, 36, 90, DRUMS) for beat in range(8)])
    for notes in (np.zeros(0, NOTE), drums):
        assert HARMONY.heard(notes, grid(8)).tolist() == [float(state == NO_CHORD) for state in range(CHORDS)]
    assert HARMONY.heard(tune([60, 64, 67]), grid(5))[NO_CHORD] == 0


def test_weights_that_do_not_fit_are_refused() -> None:
    weights = random_weights()
    TuneHarmony(weights)
    for name in weights:
        with pytest.raises(ValueError, match=name):
            TuneHarmony({key: value for key, value in weights.items() if key != name})
        for wrong in (weights[name][None], weights[name][..., :-1], weights[name][:-1]):
            with pytest.raises(ValueError, match="weights of a chord estimator"):
                TuneHarmony({**weights, name: wrong})


def test_it_computes_what_is_fitted() -> None:
    torch = pytest.importorskip("torch", reason="needs torch (pip install '.[train]')")
    from models.training.tune_harmony import Recurrent

    torch.manual_seed(0)
    net = Recurrent(hidden=8).eval()
    weights = net.weights()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())  # as they are written
    notes, beats = tune(TWINKLE[:RECENT]), grid(RECENT)
    seen = features(notes, beats)
    windows, facts = (torch.from_numpy(x)[None] for x in (seen.windows[:, SEEN], seen.facts[:, :TOLD]))
    with torch.no_grad():
        expected = net(windows, facts)[0].softmax(-1).numpy()
    harmony = TuneHarmony(weights)
    for now in range(1, len(beats) + 1):
        so_far = notes[notes["onset"] < now * TICKS]
        assert np.allclose(harmony.heard(so_far, beats[:now])[1:], expected[now - 1], atol=1e-5)


def test_nothing_is_fitted_to_what_is_not_heard_yet() -> None:
    pytest.importorskip("torch", reason="needs torch (pip install '.[train]')")
    from models.training.tune_harmony import seen_of

    rng, half = np.random.default_rng(3), TICKS // 2
    onsets = np.flatnonzero(rng.random(80) < 0.5) * half
    notes = note_array([(int(onset), half, int(rng.integers(55, 80)), 80, MELODY) for onset in onsets])
    beats = grid(40)
    whole = features(notes, beats)
    seen = seen_of(whole.windows, whole.place)
    for now in range(40):
        heard = features(notes[notes["onset"] < now * TICKS + half], beats[: now + 1], 1)
        assert np.allclose(heard.windows[-1, SEEN], seen[now])
    assert (whole.windows[:, SEEN] != seen).any()


def test_the_common_roots_are_counted_by_piece_and_what_is_not_annotated_is_left_out() -> None:
    pytest.importorskip("torch", reason="needs torch (pip install '.[train]')")
    from models.training.chord_fitting import Example
    from models.training.tune_harmony import common_roots

    seen = features(tune(TWINKLE), grid(len(TWINKLE)))
    long = [chord(0, "maj")] * 60 + [chord(0, "min7")] * 40 + [UNKNOWN] * 50
    once, thrice = (np.array(chords, np.uint8) for chords in (long, [NO_CHORD, chord(7, "maj")]))
    shares = common_roots([Example({}, seen, once, 1), Example({}, seen, thrice, 3)]).exp().numpy()
    assert shares.sum() == pytest.approx(1)
    assert shares[7] > 2.5 * shares[0] > 10 * shares[1:7].max()


def test_a_fit_finds_the_chords_of_tunes_that_it_has_not_seen() -> None:
    """Broken triads, a bar each: by its last beat the chord of a bar is known."""
    pytest.importorskip("torch", reason="needs torch (pip install '.[train]')")
    from models.training.chord_fitting import Example
    from models.training.tune_harmony import fit

    rng = np.random.default_rng(0)

    def song(bars: int) -> tuple[np.ndarray, np.ndarray]:
        roots, minor = rng.integers(12, size=bars), rng.random(bars) < 0.5
        pitches = [
            int(60 + root + tone) for root, m in zip(roots, minor, strict=True) for tone in (0, 4 - int(m), 7, 12)
        ]
        chords = [chord(int(root), "min" if m else "maj") for root, m in zip(roots, minor, strict=True)]
        return tune(pitches), np.repeat(chords, 4)

    found = []
    for _ in range(40):
        notes, chords = song(16)
        seen = features(notes, grid(len(chords)))
        found.append(Example({"tune": seen.windows.astype(np.float16)}, seen, chords, 1))
    harmony = TuneHarmony(fit(found, 60, 1).weights())
    notes, chords = song(40)
    beats = grid(len(chords))
    ends = range(3, len(chords), 4)
    right = [int(harmony.heard(notes[: now + 1], beats[: now + 1]).argmax()) == chords[now] for now in ends]
    assert np.mean(right) > 0.9
