"""How much the tune changes what an accompanist plays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.__main__ import random_decoder
from models.corpus.chords import with_chords
from models.corpus.pack import Pack
from models.evaluation.tune import measure, pairs
from models.nets.decoder import Decoder, Size
from realtime.music.vocabulary import MODEL_PART, Role


@pytest.fixture(scope="module")
def charted(toy_pack: Pack, toy_corpus: Path, toy_cache: Path) -> Pack:
    return with_chords(toy_pack, toy_corpus, toy_cache)


def test_only_the_player_differs(charted: Pack) -> None:
    found = list(pairs(charted, 3, 1, memory=True))
    assert len(found) == 3
    for _, one, two in found:
        own = one["events"][:, 1] >= MODEL_PART
        assert np.array_equal(one["events"][own], two["events"][own])
        assert np.array_equal(one["targets"], two["targets"]) and np.array_equal(one["chord"], two["chord"])
        assert set(one["events"][:, 8]) == {int(Role.ACCOMPANY)}
        steps = np.delete(one["events"], 2, 1), np.delete(two["events"], 2, 1)
        assert np.array_equal(*steps)
        assert (one["events"][:, 2] != two["events"][:, 2]).any()


def test_who_hears_no_pitch_makes_no_difference(charted: Pack) -> None:
    torch.manual_seed(2)
    deaf = Decoder(Size(64, 1, 32)).eval()
    for layer in (deaf.embed["pitch"], deaf.pitch_class, deaf.octave, deaf.held):
        torch.nn.init.zeros_(layer.weight)
    for row in measure(deaf, charted, 3, 1)["all"].values():
        assert row[0] == pytest.approx(row[1]) and row[2] == pytest.approx(0, abs=1e-5) and row[3] == 0
    for row in measure(random_decoder("tiny", 0), charted, 3, 1)["all"].values():
        assert row[2] > 0
