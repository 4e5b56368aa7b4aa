"""What is shipped of a run: 8 bits a weight, the same run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from export.__main__ import random_decoder
from export.parity import legal_events
from models.nets.checkpoint import LEAST_ROWS, SCALE, load_decoder, load_weights, save_decoder
from models.nets.decoder import SIZES, Decoder
from models.training.ship import main, ship
from realtime.errors import UserError
from realtime.music.chords import UNKNOWN
from realtime.music.vocabulary import BEAT, HEADS


@pytest.mark.parametrize("size", ["tiny", "LSTM"])
def test_a_shipped_run_is_the_run_in_8_bits(size: str, tmp_path: Path) -> None:
    decoder = random_decoder(size, 1)
    save_decoder(tmp_path / "run", decoder.state_dict(), {"size": size, "data_hash": "abc"})
    ship(tmp_path / "run", tmp_path / "shipped")
    again, info = load_decoder(tmp_path / "shipped")
    assert info["data_hash"] == "abc"
    files = {name: tmp_path / name / "model.safetensors" for name in ("run", "shipped")}
    assert files["shipped"].stat().st_size < 0.3 * files["run"].stat().st_size
    stored, loaded = load_file(files["shipped"]), again.state_dict()
    for name, tensor in decoder.state_dict().items():
        assert loaded[name].dtype == torch.float32
        if tensor.ndim == 2 and len(tensor) >= LEAST_ROWS:
            assert stored[name].dtype == torch.int8 and stored[name + SCALE].dtype == torch.float16
            step = stored[name + SCALE].float()
            assert ((loaded[name] - tensor).abs() <= 0.57 * step).all(), name  # half a step, and float16's own rounding
        else:
            assert torch.equal(loaded[name], tensor), name


def test_shipping_again_changes_nothing(tmp_path: Path) -> None:
    save_decoder(tmp_path / "run", random_decoder("tiny", 2).state_dict(), {"size": "tiny"})
    for before, after in (("run", "once"), ("once", "twice")):
        ship(tmp_path / before, tmp_path / after)
    once, twice = (load_decoder(tmp_path / name)[0].state_dict() for name in ("once", "twice"))
    for name, tensor in once.items():
        torch.testing.assert_close(twice[name], tensor, rtol=1e-3, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(random_decoder("tiny", 2).held.weight, once["held.weight"], rtol=1e-3, atol=0)


def test_weights_in_bfloat16_are_read_too(tmp_path: Path) -> None:
    weights = random_decoder("tiny", 3).state_dict()
    save_decoder(tmp_path, {name: tensor.bfloat16() for name, tensor in weights.items()}, {"size": "tiny"})
    for name, tensor in load_decoder(tmp_path)[0].state_dict().items():
        assert torch.equal(tensor, weights[name].bfloat16().float())


def test_the_command_ships_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_decoder(tmp_path / "run", random_decoder("tiny", 4).state_dict(), {"size": "tiny"})
    monkeypatch.setattr("sys.argv", ["checkpoint", str(tmp_path / "run"), str(tmp_path / "shipped")])
    main()
    assert load_decoder(tmp_path / "shipped")[1]["size"] == "tiny"


@pytest.mark.parametrize(
    ("words", "expected"), [(["run"], "required: folder"), (["nowhere", "shipped"], "nowhere: not a training run")]
)
def test_a_wrong_command_ends_in_one_line(words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["checkpoint", *words])
    with pytest.raises(UserError, match=expected) as caught:
        main()
    assert "\n" not in str(caught.value)


def test_weights_of_vocabulary_1_go_on_as_they_were(tmp_path: Path) -> None:
    """A run from before chords and memory: a training may start from it, and plays the same at first. It cannot be exported."""
    torch.manual_seed(5)
    old = Decoder(replace(SIZES["tiny"], memory=False, chords=False)).eval()
    with torch.no_grad():
        old.embed["chord"].weight.zero_()
    weights = {name: tensor for name, tensor in old.state_dict().items() if "chord" not in name}
    weights["embed.time.weight"] = weights["embed.time.weight"][: BEAT + 1]
    save_decoder(tmp_path, weights, {"size": "tiny"})
    info = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**info, "vocabulary_version": 1}))
    new = Decoder(SIZES["tiny"]).eval()
    load_weights(tmp_path, new)
    rng = np.random.default_rng(1)
    events, held = (torch.from_numpy(x)[None] for x in legal_events(rng, 60))
    events[..., -1] = UNKNOWN
    targets = torch.from_numpy(rng.integers(0, list(HEADS.values()), (1, 60, len(HEADS))))
    with torch.no_grad():
        ours, theirs = (decoder(events, held, targets)[0][: len(HEADS)] for decoder in (new, old))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(new.embed["time"].weight[BEAT + 1], old.embed["time"].weight[BEAT]), "a CHORD is like a BEAT"
    with pytest.raises(UserError, match="made for vocabulary 1, this is 2; train again") as caught:
        load_decoder(tmp_path)
    assert "\n" not in str(caught.value)
