"""The chorales' benchmark: what a frame is, that each prediction is a distribution over what is not yet known, that it learns."""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.nets.chorales import CLASSES, LOWEST, ORDER, SILENCE, START, Chorale, features, log_bin, longest_match
from models.training.chorales import (
    ARCHIVE,
    MEMBER,
    batches,
    collate,
    load_frames,
    nats,
    score,
    shifts,
    summary,
    train,
    transposed,
    vocal_ranges,
)
from realtime.errors import UserError

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


def chorale(T: int, seed: int) -> np.ndarray:
    """Four voices that hold or move by step, with a repeat and a rest."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-2, 3, (T, 4)) * (rng.random((T, 4)) < 0.4)
    frames = np.clip(np.array([30, 24, 19, 12]) + steps.cumsum(0), 1, CLASSES - 1)
    frames[T // 2 : T // 2 + T // 4] = frames[: T // 4]
    frames[T // 3, 1] = SILENCE
    return frames


def shaken(seed: int) -> Chorale:
    """A small model with weights far enough from zero that a leak would show."""
    torch.manual_seed(seed)
    model = Chorale(64, 2, 0.0).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write(folder: Path, content: object) -> Path:
    (folder / ARCHIVE).parent.mkdir(parents=True)
    with zipfile.ZipFile(folder / ARCHIVE, "w") as archive:
        archive.writestr(MEMBER, json.dumps(content))
    return folder


def test_frames_are_read_as_published(tmp_path: Path) -> None:
    piece = [[74, 70, 65, 58], [74, -1, 65, 36], [81, 70, 65, 58]]
    read = load_frames(write(tmp_path, {"train": [piece], "valid": [piece[:2]], "test": [piece[:1]]}))
    assert [len(read[split][0]) for split in ("train", "valid", "test")] == [3, 2, 1]
    assert read["train"][0].tolist() == [[39, 35, 30, 23], [39, SILENCE, 30, 1], [CLASSES - 1, 35, 30, 23]]


@pytest.mark.parametrize("bad", [[[74, 70, 65]], [[74, 70, 65, LOWEST - 1]], [[82, 70, 65, 58]]])
def test_other_frames_are_refused_in_one_line(tmp_path: Path, bad: list[list[int]]) -> None:
    with pytest.raises(UserError, match="give the corpus folder") as caught:
        load_frames(write(tmp_path, {"train": [bad], "valid": [], "test": []}))
    assert "\n" not in str(caught.value)


def test_a_missing_archive_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the corpus folder"):
        load_frames(tmp_path)


@pytest.mark.skipif(not (REAL / ARCHIVE).exists(), reason="needs ../shared/data, which is not part of the repository")
def test_the_published_set_is_whole() -> None:
    read = load_frames(REAL)
    assert {split: len(pieces) for split, pieces in read.items()} == {"train": 229, "valid": 76, "test": 77}
    assert {split: sum(map(len, pieces)) for split, pieces in read.items()} == {
        "train": 55228, "valid": 18408, "test": 18900,
    }  # fmt: skip
    every = np.concatenate([frames for pieces in read.values() for frames in pieces])
    sounding = every[every != SILENCE]
    assert (sounding.min() + LOWEST - 1, sounding.max() + LOWEST - 1) == (36, 81)
    assert (every == SILENCE).sum() == 284 + 411 + 589


def test_features_by_hand() -> None:
    a, b = [30, 25, 20, 10], [31, 25, 20, 10]
    known = features(np.array([a, b, b, a, b, SILENCE * np.array(b)]))
    assert known["previous"][:, 0].tolist() == [START, 30, 31, 31, 30, 31]
    assert known["before"][:, 0].tolist() == [START, START, 30, 30, 31, 30]
    assert known["age"][:, 0].tolist() == log_bin(np.array([0, 1, 1, 2, 1, 1])).tolist()
    assert known["age"][:, 1].tolist() == log_bin(np.arange(6)).tolist()
    # Before frame 2 nothing has come twice; before frame 3 `b` was followed by `b`, before 4 `a` by `b`, before 5 `a b` by `b`.
    where, length = longest_match(np.array([a, b, b, a, b, b]))
    assert where.tolist() == [-1, -1, -1, 2, 1, 2]
    assert length.tolist() == [0, 0, 0, 1, 1, 2]
    assert known["copied"][:, 0].tolist() == [START, START, START, 31, 31, 31]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=24))
@settings(max_examples=60, deadline=None)
def test_the_longest_match_is_the_longest(bits: list[int]) -> None:
    frames = np.array(bits)[:, None]
    where, length = longest_match(frames)
    for t in range(len(bits)):
        found = [(n, j) for j in range(1, t) for n in range(1, j + 1) if bits[j - n : j] == bits[t - n : t]]
        assert (length[t], where[t]) == max(found, default=(0, -1))


@pytest.mark.parametrize("seed", range(3))
def test_every_prediction_is_a_distribution_over_the_pitches(seed: int) -> None:
    batch = collate([features(chorale(20, seed)), features(chorale(33, seed + 9))])
    log_p = shaken(seed)(batch, batch["real"])
    assert log_p.shape == (20 + 33, 4, CLASSES)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(20 + 33, 4))


@pytest.mark.parametrize("place", range(4))
def test_nothing_later_is_seen(place: int) -> None:
    """Whatever comes from one voice of one frame on in the chain: what was predicted up to there stays, what follows moves."""
    model, t, frames = shaken(1), 13, chorale(29, 2)
    other = frames.copy()
    changed = ORDER[place:]
    other[t, changed] = other[t, changed] % (CLASSES - 1) + 1
    other[t + 1 :] = chorale(29, 5)[t + 1 :]
    with torch.no_grad():
        one, two = (model(batch, batch["real"]) for batch in (collate([features(f)]) for f in (frames, other)))
    torch.testing.assert_close(one[:t], two[:t], rtol=0, atol=1e-5)
    torch.testing.assert_close(one[t, ORDER[: place + 1]], two[t, ORDER[: place + 1]], rtol=0, atol=1e-5)
    for voice in ORDER[place + 1 :]:
        assert (one[t, voice] - two[t, voice]).abs().max() > 1e-3
    assert (one[t + 1] - two[t + 1]).abs().max() > 1e-3


def test_padding_costs_nothing_and_changes_nothing() -> None:
    model, pieces = shaken(3), [features(chorale(T, T)) for T in (9, 70, 31)]
    batch = collate(pieces)
    together = nats(model, batch, batch["real"]).detach().split([9, 70, 31])
    np.testing.assert_allclose(np.stack([x.sum(0).numpy() for x in together]), score(model, pieces), rtol=1e-4)


def test_transposing_commutes_with_the_features() -> None:
    frames = chorale(40, 4)
    ranges = vocal_ranges([frames, frames + 2 * (frames != SILENCE)])
    assert shifts(frames, ranges) == range(3)
    moved = np.where(frames == SILENCE, SILENCE, frames + 2)
    for name, values in features(moved).items():
        np.testing.assert_array_equal(transposed(features(frames), 2)[name], values, err_msg=name)


def test_averaged_transpositions_are_still_a_distribution() -> None:
    """One voice of the last frame through all classes, at the edge of the range too: the probabilities sum to at most one."""
    model, frames = shaken(6), chorale(6, 7)
    frames[:, 0] = CLASSES - 2  # two semitones up would leave the classes
    total = []
    for c in range(CLASSES):
        frames[-1, ORDER[0]] = c
        without, whole = ([features(frames[:n])] for n in (5, 6))
        nats_of = [score(model, piece, (-1, 0, 2))[0, ORDER[0]] for piece in (without, whole)]
        total.append(np.exp(nats_of[0] - nats_of[1]))
    assert 0.5 < np.sum(total) <= 1 + 1e-4


def test_an_epoch_has_every_piece_once() -> None:
    found = batches(np.arange(1, 24), 4, np.random.default_rng(0))
    assert sorted(np.concatenate(found)) == list(range(23))
    assert [len(rows) for rows in found].count(4) == 5


def test_the_summary_weighs_frames_and_adds_up() -> None:
    report = summary(np.array([[1.0, 2, 3, 4], [0, 0, 0, 0], [2, 2, 2, 4]]), np.array([10, 2, 8]))
    assert report["nats_per_frame"] == 1.0
    assert sum(report["per_voice"].values()) == pytest.approx(1.0)
    assert report["low"] < 1.0 < report["high"]


def test_a_run_that_cannot_be_started_from_is_said_in_one_line(tmp_path: Path) -> None:
    args = argparse.Namespace(width=64, layers=1, dropout=0.0, seed=1, init=tmp_path)
    with pytest.raises(UserError, match="give a run of the same size"):
        train({}, args)


def test_a_few_epochs_of_training_lower_the_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And the epoch that did best on validation is the one that comes back: here an early one, validation being noise."""
    noise = np.random.default_rng(1).integers(0, CLASSES, (40, 4))
    pieces = {"train": [features(chorale(40, seed)) for seed in range(8)], "valid": [features(noise)]}
    settings = {
        "width": 64,
        "layers": 1,
        "dropout": 0.0,
        "lr": 2e-3,
        "average": 0.5,
        "batch": 4,
        "seed": 1,
        "init": None,
        "out": tmp_path,
        "weight_decay": 0.1,
    }
    model, info = train(pieces, argparse.Namespace(**settings, epochs=30, validate_every=10))
    printed = [
        [float(line.split(key)[1].split(",")[0]) for key in ("train ", "valid ")]
        for line in capsys.readouterr().out.splitlines()
    ]
    losses, valid = zip(*printed, strict=True)
    assert losses[-1] < 0.7 * losses[0]
    assert info["epoch"] == 10 * (1 + valid.index(min(valid))) < 30
    assert score(model, pieces["valid"]).sum() / 40 == pytest.approx(min(valid), abs=1e-3)
