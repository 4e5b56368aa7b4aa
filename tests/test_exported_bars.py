"""The shipped bar autoencoder can be trained on: its weights are read back from what was exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.nets.autoencoder import load_bars
from realtime.io.graphs.latent_graphs import BarGraphs
from realtime.music.cells import ROLL

# The decoder's weights are part of the repository, not of the installed package.
SHIPPED = Path(__file__).parents[1] / "models" / "pretrained"


def test_latents_are_those_of_the_shipped_graphs() -> None:
    if not (SHIPPED / "bars.encode.onnx").exists():
        pytest.skip("the graphs around latents are not in this checkout")
    bars, graphs = load_bars(SHIPPED), BarGraphs.load(SHIPPED / "antiphon-s.onnx")
    rolls = (np.random.default_rng(0).random((8, *ROLL)) < 0.03).astype(np.float32)
    shipped = np.concatenate([graphs.encode(roll[None]) for roll in rolls])
    assert (
        np.abs(bars.latent(torch.from_numpy(rolls)).numpy() - shipped).max() < 0.2
    )  # the graph rounds activations too
    assert bars.name == graphs.name
