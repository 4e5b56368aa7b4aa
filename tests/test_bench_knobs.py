"""The table of the knobs: with a tiny random model, that it is whole; the knobs' own pull shows whatever the model is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from realtime.config import load
from realtime.io.bench.knobs import KNOBS, figures
from realtime.io.bench.music import MODES
from realtime.io.live.model import Model
from realtime.io.live.settings import worker_setup


def test_the_knobs_move_what_they_name_in_every_mode(tiny_model: Path) -> None:
    config = load(None, {"model.file": tiny_model, "model.provider": "cpu"})
    found = figures(config, Model.load(worker_setup(config)), seeds=1)
    assert set(found) == set(MODES)
    for mode, by_knob in found.items():
        assert set(by_knob) == set(KNOBS)
        assert np.isfinite([by_knob[knob] for knob in KNOBS]).all()
        for knob in ("register", "polyphony"):
            low, middle, high = by_knob[knob]
            assert low <= middle < high, (mode, knob)
        assert by_knob["density"][0] < by_knob["density"][2], mode
        assert by_knob["polyphony"][0] == 1
