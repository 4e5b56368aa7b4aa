"""The mean of several runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.__main__ import random_decoder
from models.nets.checkpoint import load_decoder, save_decoder
from models.training.average import average, main
from realtime.errors import UserError


def runs_of(folder: Path, *sizes: str) -> list[Path]:
    for seed, size in enumerate(sizes):
        save_decoder(folder / f"r{seed}", random_decoder(size, seed).state_dict(), {"size": size, "step": 100 * seed})
    return [folder / f"r{seed}" for seed in range(len(sizes))]


def test_the_mean_of_three_runs_is_a_run_that_says_of_which_steps_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = runs_of(tmp_path, "tiny", "tiny", "tiny")
    monkeypatch.setattr("sys.argv", ["average", *map(str, runs), "-o", str(tmp_path / "mean")])
    main()
    assert "the mean of 3 runs" in capsys.readouterr().out
    decoder, info = load_decoder(tmp_path / "mean")
    assert info["averaged"] == [0, 100, 200] and info["step"] == 200
    parts = [load_decoder(run)[0].state_dict() for run in runs]
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(tensor, sum(part[name].double() for part in parts).div(3).to(tensor.dtype))  # type: ignore[union-attr]
    assert not torch.equal(decoder.held.weight, parts[0]["held.weight"])


def test_runs_of_other_sizes_have_no_mean(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, "tiny", "LSTM")
    with pytest.raises(UserError, match=r"r0: has other weights than .*r1; give runs of one training"):
        average(runs, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
