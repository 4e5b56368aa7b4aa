"""The planner of chords and of returning bars that the decoder is compared with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dealing import piece_of

from models.ablation.chord_plan import (
    AHEAD,
    SLOTS,
    Bars,
    ChordPlanner,
    Scored,
    bars_of,
    moved,
    nats_of,
    places,
    recalled,
)
from models.corpus.pack import Piece
from models.corpus.perturb import NONE
from models.corpus.windows import window
from realtime.music.chords import CHORDS, NO_CHORD, UNKNOWN, chord, transpose
from realtime.music.vocabulary import ACCOMPANIMENT, DRUMS, MELODY, Role

BAR = 96
FORM = [chord(root, "maj") for root in (0, 5, 7, 0)]


def song(bars: int = 24) -> Piece:
    """Four bars that come again and again, their roots in quarters, a tune above in the first half of each bar."""
    roots = [(chord_class - 1) % 12 for chord_class in FORM]
    notes = [(24 * i, 24, 48 + roots[i // 4 % 4], ACCOMPANIMENT) for i in range(4 * bars)]
    notes += [(BAR * bar, 48, 72 + roots[bar % 4], MELODY) for bar in range(bars)]
    notes += [(24 * i, 6, 36, DRUMS) for i in range(4 * bars)]
    piece = piece_of(notes)
    return replace(piece, chords=np.array([FORM[i // 4 % 4] for i in range(len(piece.beats))]))


def test_bars_of_a_piece() -> None:
    bars = bars_of(song())
    assert np.array_equal(bars.chords, np.array([[FORM[bar % 4]] * SLOTS for bar in range(24)]))
    expected = np.zeros((SLOTS, 24))
    expected[:, 5] = 1  # the bass of the second bar
    expected[0, [5, 17]] = 2, 1  # and the tune, which counts for a beat where it begins
    assert np.array_equal(bars.content[1], expected)


def test_beats_beyond_the_fourth_and_unknown_chords_are_left_out() -> None:
    piece = piece_of([(24 * i, 24, 60, MELODY) for i in range(25)], ((0, 72), (144, 144)))
    piece = replace(piece, chords=np.where(np.arange(len(piece.beats)) == 1, UNKNOWN, 1))
    assert bars_of(piece).chords[:4].tolist() == [[1, -1, 1, -1], [1, 1, 1, -1], [1] * 4, [1] * 4]


def test_in_another_key_all_is_moved() -> None:
    bars = bars_of(song())
    for semitones in range(12):
        chords, content = moved(bars, semitones)
        assert np.array_equal(chords, transpose(bars.chords, semitones))
        for part in (0, 12):
            was, now = (x.content[..., part : part + 12] for x in (bars, Bars(chords, content)))
            assert np.array_equal(now, np.roll(was, semitones, -1))


@torch.no_grad()
def test_a_plan_knows_the_bars_before_alone() -> None:
    torch.manual_seed(1)
    planner = ChordPlanner().eval()
    chords, content = (torch.from_numpy(field)[None] for field in bars_of(song()))
    plain = planner(chords, content)
    assert plain.chords.shape == (1, 24, AHEAD, SLOTS, CHORDS)
    torch.testing.assert_close(plain.chords.sum(-1), torch.ones(1, 24, AHEAD, SLOTS), atol=1e-3, rtol=0)
    other, changed = chords.clone(), content.clone()
    other[0, 10], changed[0, 10] = NO_CHORD, 0
    out = planner(other, changed)
    for was, now in zip(plain, out, strict=True):
        torch.testing.assert_close(now[0, :11], was[0, :11])
        assert not torch.allclose(now[0, 11], was[0, 11])
    for bar in range(24):
        assert not plain.pointer[0, bar, :, bar:-1].any()


def test_it_learns_that_a_form_comes_back() -> None:
    torch.manual_seed(1)
    planner, rng = ChordPlanner(), np.random.default_rng(1)
    optimiser = torch.optim.AdamW(planner.parameters(), 3e-3)
    bars = bars_of(song())
    for _ in range(150):
        fields = moved(bars, int(rng.integers(12)))
        loss = planner.nats(*(torch.from_numpy(field)[None] for field in fields))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    planner.eval()
    with torch.no_grad():
        planned = planner(*(torch.from_numpy(field)[None] for field in bars)).chords[0]
    right = [
        planned[bar, ahead, 0].argmax() == FORM[(bar + ahead) % 4] for bar in range(8, 20) for ahead in range(AHEAD)
    ]
    assert np.mean(right) > 0.9


def test_what_a_pointer_would_have_told_of_the_notes() -> None:
    """From each bar to the fourth before it: all notes. To the second before it: none, as that has another root."""
    piece = song()
    arrays = window(piece, 300, np.random.default_rng(0), NONE, Role.COMPOSE, bar=0, memory=True)
    asked = arrays["note"] > 0
    bar, row = places(piece, arrays["tick"])
    assert np.array_equal(bar, row // 4)
    later, drums = bar[asked] > 4, arrays["targets"][asked, 1] == 5 + DRUMS
    for back, share in ((4, 1.0), (2, 0.0)):
        found = recalled(piece, arrays, asked, np.eye(24, k=-back), 0)
        assert found[later & ~drums, 1].mean() == pytest.approx(share, abs=0.02) and found[later & drums, 1].all()
        assert found[later, 2].all(), "the best bar has them all"
        assert found[later, 0].mean() > 0.9, "and so have the candidates"


def test_a_plan_that_knows_is_mixed_in_and_one_that_does_not_is_left_out() -> None:
    rng, at, scored = np.random.default_rng(0), np.arange(200), []
    for _ in range(8):
        true = rng.integers(0, CHORDS, len(at))

        def right(share: float, true: np.ndarray = true) -> np.ndarray:
            x = np.zeros((len(at), CHORDS))
            x[at, np.where(rng.random(len(at)) < share, true, rng.integers(0, CHORDS, len(at)))] = 6
            return torch.from_numpy(x).log_softmax(-1).numpy()

        scored.append(Scored(right(0.6), (right(0.95), right(0.0)), true, np.zeros((0, 3), bool)))
    alone, knows, guesses = (np.mean(nats_of(scored, before)) for before in (None, 0, 1))
    assert knows < 0.5 * alone and guesses == pytest.approx(alone, abs=0.05)
    expected = np.mean([-of.plans[0][at, of.true].mean() for of in scored])
    assert np.mean(nats_of(scored, 0, plan_alone=True)) == pytest.approx(expected)
