"""Directions of attributes and styles, and the measurement of edits along them, on latents whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toycorpus import write_corpus

from models.corpus.pack import load_pack
from models.evaluation.edits import controls, scenes, spearman, styles
from models.nets.autoencoder import BarAutoencoder
from models.nets.checkpoint import save_tensors
from models.training.directions import Bars, Samples, fit, samples
from realtime.music.attributes import ATTRIBUTES, STYLES
from realtime.music.cells import LATENT


def test_the_truth_is_found() -> None:
    """Latents made of five causes, mixed and correlated, with noise: a step along a direction is a step of its cause."""
    rng = np.random.default_rng(1)
    causes = rng.normal(size=(4000, 5)) @ (np.eye(5) + 0.3)
    mixing = rng.normal(size=(5, LATENT))
    latents = causes @ mixing + 0.3 * rng.normal(size=(4000, LATENT))
    kinds = rng.integers(-1, 2, 4000)
    latents[kinds == 1] += np.eye(LATENT)[7]
    directions = fit(Samples(latents.astype(np.float32), causes, kinds))
    assert {*directions} == {*ATTRIBUTES, STYLES[0], STYLES[1]}
    for k, name in enumerate(ATTRIBUTES):
        cosine = directions[name] @ mixing[k] / np.linalg.norm(directions[name]) / np.linalg.norm(mixing[k])
        assert cosine > 0.95
        assert np.linalg.norm(directions[name]) == pytest.approx(np.linalg.norm(mixing[k]), rel=0.15)
    assert np.argmax(directions[STYLES[1]]) == 7


def test_rank_correlation() -> None:
    x = np.arange(9.0)
    assert spearman(x, x**3) == pytest.approx(1) and spearman(x, -x) == pytest.approx(-1)
    assert spearman(x, np.ones(9)) == 0
    assert spearman(x, np.append(x[:8], np.nan)) == pytest.approx(1)
    assert spearman(x, np.maximum(x, 4)) == pytest.approx(np.corrcoef([2, 2, 2, 2, 2, 5, 6, 7, 8], x)[0, 1])


def test_the_measurement_runs_on_a_small_corpus(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bars = BarAutoencoder()
    (tmp_path / "run").mkdir()
    save_tensors(tmp_path / "run" / "model.safetensors", bars.state_dict())
    pack = load_pack(write_corpus(tmp_path / "corpus"), tmp_path / "cache")
    codec = Bars(tmp_path / "run")
    data = samples(codec, pack, "train", 4)
    assert data.latents.shape[1] == LATENT and np.isfinite(data.values).all()
    directions = {name: way.astype(np.float32) for name, way in fit(data).items()}
    chosen = scenes(pack, ("valid", "test"), 2)
    assert len(chosen) == 2 and all(len(scene.edges) == 9 for scene in chosen)
    report = controls(chosen, directions, codec)
    assert {*report} == {*ATTRIBUTES}
    for figures in report.values():
        assert figures["kept"]["0"] == 1 and figures["kept"]["1"] < 1
    assert report["density"]["spearman"]["median"] > 0.8
    assert styles(chosen, directions, codec, data) == {}  # the toy corpus is of no style
