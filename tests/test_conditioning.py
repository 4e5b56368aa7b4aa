"""What a decoder is told, in figures: every row of both tables is there, and other latents than its own are refused."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toycorpus import midi_bytes, tune, write_corpus

from models.ablation import conditioning
from models.nets.autoencoder import BarAutoencoder
from models.nets.checkpoint import save_decoder, save_tensors
from models.nets.decoder import SIZES, Decoder
from models.nets.planner import Planner
from realtime.errors import UserError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 40-bar tunes, and random runs of all three networks."""
    folder = tmp_path_factory.mktemp("told")
    splits = [split for split in ("train", "valid", "test") for _ in range(2)]
    lines = [tune(seed, 40) for seed in range(len(splits))]
    thin = [midi_bytes({"MELODY": each["MELODY"][::2], "Bass": each["Bass"]}, division=96) for each in lines]
    corpus = folder / "corpus"
    corpus.mkdir()
    write_corpus(corpus, {f"tune_{i}": pair for i, pair in enumerate(zip(splits, thin, strict=True))})
    torch.manual_seed(0)
    bars, other, planner = BarAutoencoder(), BarAutoencoder(), Planner()
    decoder = Decoder(replace(SIZES["tiny"], context=True))
    assert decoder.context is not None
    decoder.context.read_with(bars)
    for name, module in (("bars", bars), ("other", other), ("planner", planner)):
        (folder / name).mkdir()
        save_tensors(folder / name / "model.safetensors", module.state_dict())
    save_decoder(folder / "run", decoder.state_dict(), {"size": "tiny", "bars": bars.name})
    return folder


def run(monkeypatch: pytest.MonkeyPatch, runs: Path, *more: str) -> None:
    command = ["told", str(runs / "run"), "--corpus", str(runs / "corpus"), "--cache", str(runs / "cache"), *more]
    monkeypatch.setattr(sys, "argv", command)
    conditioning.main()


def test_both_tables(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "conditioning.json"
    few = ("--windows", "1", "--songs", "2", "--draws", "2", "--json", str(file))
    run(monkeypatch, runs, "--bars", str(runs / "bars"), "--planner", str(runs / "planner"), *few)
    report = json.loads(file.read_text())
    assert set(report["windows"]) == set(conditioning.DRAWS)
    rows = {"no plan", "another song's", "true plan", *(f"planner at {time}" for time in conditioning.TIMES)}
    assert set(report["excerpts"]) == rows
    for by_role in (*report["windows"].values(), *report["excerpts"].values()):
        assert all(math.isfinite(nats) and nats > 0 for nats in by_role.values())


def test_latents_of_another_autoencoder_are_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="give the --bars it was trained with"):
        run(monkeypatch, runs, "--bars", str(runs / "other"))
