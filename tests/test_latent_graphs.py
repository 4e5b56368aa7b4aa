"""The graphs around latents: the same functions as torch's, of one autoencoder, and refused otherwise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import latents
from export.convert import contract_of, to_onnx
from export.latents import Decode, Encode, example, main
from models.nets.autoencoder import BarAutoencoder
from models.nets.checkpoint import save_decoder, save_json, save_tensors
from models.nets.decoder import SIZES, Decoder
from models.nets.planner import PLACES, Planner
from realtime.composing.contract import METADATA_KEY
from realtime.errors import UserError
from realtime.io.graphs.latent_graphs import BarGraphs, LatentGraphs
from realtime.io.graphs.seal import check_seal, sealed
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music.attributes import CONTROLS
from realtime.music.cells import BEATS, LATENT, ROLL

STEP, CONTEXT = "duo.onnx", "duo.context.onnx"


def randomised(module: nn.Module) -> nn.Module:
    """Nothing in it is 0 any more, so that every part shows."""
    for parameter in module.parameters():
        with torch.no_grad():
            if not parameter.any() or parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


@pytest.fixture(scope="module")
def modules() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    bars, planner, decoder = BarAutoencoder(), Planner(), Decoder(replace(SIZES["tiny"], context=True))
    bars.mean.uniform_(-1, 1)
    bars.std.uniform_(0.5, 2)
    return {name: randomised(x) for name, x in (("bars", bars), ("planner", planner), ("decoder", decoder))}


@pytest.fixture(scope="module")
def runs(modules: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run of each."""
    folder = tmp_path_factory.mktemp("runs")
    trained_on = {"bars": modules["bars"].name, "data_hash": "abc"}
    for run, module, info in (("bars", "bars", {"data_hash": "abc"}), ("planner", "planner", trained_on)):
        (folder / run).mkdir()
        save_tensors(folder / run / "model.safetensors", modules[module].state_dict())
        save_json(folder / run / "run.json", info)
    save_decoder(folder / "duo", modules["decoder"].state_dict(), {"size": "tiny", **trained_on})
    return folder


@pytest.fixture(scope="module")
def shipped(runs: Path, modules: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command line writes of them, beside the step graph."""
    folder = tmp_path_factory.mktemp("shipped")
    asked = [
        str(x)
        for name, run in (("bars", "bars"), ("planner", "planner"), ("decoder", "duo"))
        for x in (f"--{name}", runs / run)
    ]
    assert main([*asked, "-o", str(folder)]) == 0
    decoder = modules["decoder"]
    assert isinstance(decoder, Decoder)
    step = to_onnx(decoder, contract_of(decoder, "duo", "fused", "fp32", "abc"))
    (folder / STEP).write_bytes(step.SerializeToString())
    return folder


def test_they_are_torch(shipped: Path, modules: dict[str, nn.Module]) -> None:
    """Through the files, in 8 bits, for other lengths than those they were checked on."""
    graphs = LatentGraphs.load(shipped / STEP)
    assert graphs is not None
    bars, planner, net = modules["bars"], modules["planner"], modules["decoder"].context
    net.read_with(bars)
    for kind, module, played in (
        ("bars.encode", Encode(bars), graphs.encode),
        ("bars.decode", Decode(bars), graphs.decode),
        ("planner", planner, graphs.velocity),
        ("context", net, graphs.context),
    ):
        inputs = example(kind, np.random.default_rng(2), 3)
        inputs.pop("drawn", None)  # made on the way, by another graph
        with torch.no_grad():
            expected = module(*map(torch.from_numpy, inputs.values())).numpy()
        made = played(*inputs.values())
        expected = expected[0] if kind == "context" else expected
        assert made.shape == expected.shape
        assert np.sqrt(np.mean((made - expected) ** 2)) < 0.05 * expected.std(), kind
    assert made.shape == (BEATS, net.width)


@pytest.mark.parametrize(("count", "length"), [(1, 1), (1, PLACES), (5, 16)])
def test_free_lengths(shipped: Path, count: int, length: int) -> None:
    """A window alone and among others is the same, and so is a cell."""
    graphs = LatentGraphs.load(shipped / STEP)
    assert graphs is not None
    rng = np.random.default_rng(3)
    latent, controls = rng.normal(size=(count, length, LATENT)), rng.normal(size=(count, length, CONTROLS))
    time, known = rng.random((count, length)), np.ones((count, length))
    together = graphs.velocity(latent, time, known, controls)
    assert together.shape == (count, length, LATENT)
    last = [x[-1:] for x in (latent, time, known, controls)]
    np.testing.assert_allclose(graphs.velocity(*last), together[-1:], atol=1e-4)
    rolls = rng.random((count, *ROLL)) < 0.02
    np.testing.assert_allclose(graphs.encode(rolls[-1:]), graphs.encode(rolls)[-1:], atol=1e-4)
    assert graphs.decode(np.zeros((count, LATENT))).shape == (count, *ROLL)


def test_matrices_are_8_bit(shipped: Path) -> None:
    for path in set(shipped.glob("*.onnx")) - {shipped / STEP}:
        large = [x for x in onnx.load(path).graph.initializer if np.prod(x.dims) > 10_000]
        assert large and {x.data_type for x in large} <= {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16}, path.name
        assert b".py" not in path.read_bytes()


def test_every_operator_has_a_kernel_on_cuda(shipped: Path) -> None:
    """Of what the exporter writes and of what is in the package."""
    in_package = [*SHIPPED_MODEL.parent.rglob("*.onnx")]
    assert {"planner.onnx", SHIPPED_MODEL.name} <= {path.name for path in in_package}
    for path in (*shipped.glob("*.onnx"), *in_package):
        check_seal(path, path.read_bytes())
        assert not {node.op_type for node in onnx.load(path).graph.node} & {"Elu", "ReduceMin"}, path


def test_a_model_without_a_context_needs_none(shipped: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert LatentGraphs.load(tiny_model) is None
    with pytest.raises(UserError, match=r"bars\.encode\.onnx: missing beside the model"):
        BarGraphs.load(tiny_model)
    for file in ("bars.encode.onnx", "bars.decode.onnx"):
        shutil.copy(shipped / file, tmp_path)
    alone = BarGraphs.load(tmp_path / "any.onnx")
    assert alone.decode(alone.encode(np.zeros((2, *ROLL)))).shape == (2, *ROLL)
    with pytest.raises(UserError, match="no model there"):
        LatentGraphs.load(tmp_path / "any.onnx")


def relabelled(**changes: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        model = onnx.load(path)
        (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
        entry.value = json.dumps({**json.loads(entry.value), **changes})
        path.write_bytes(sealed(model.SerializeToString()))

    return change


@pytest.mark.parametrize(
    ("file", "damage", "expected"),
    [
        ("bars.encode.onnx", Path.unlink, "missing beside the model"),
        ("bars.decode.onnx", Path.unlink, "missing beside the model"),
        ("planner.onnx", Path.unlink, "missing beside the model"),
        (CONTEXT, Path.unlink, "missing beside the model"),
        ("bars.decode.onnx", relabelled(bars="other"), "latents of the autoencoder other"),
        ("planner.onnx", relabelled(bars="other"), "latents of the autoencoder other"),
        (CONTEXT, relabelled(bars="other"), "latents of the autoencoder other"),
        (CONTEXT, relabelled(name="solo"), "made for the model solo, but lies beside duo"),
        ("planner.onnx", relabelled(version=0), "not a graph planner of version"),
        ("planner.onnx", relabelled(kind="context"), "not a graph planner"),
        ("planner.onnx", relabelled(surprise=1), "do not say what it is"),
        ("planner.onnx", lambda path: path.write_bytes(b"MThd"), "cannot open it"),
        ("planner.onnx", lambda path: shutil.copy(path.with_name(STEP), path), "do not say what it is"),
        ("bars.encode.onnx", lambda path: shutil.copy(path.with_name("planner.onnx"), path), "not a graph bars.encode"),
    ],
)
def test_what_does_not_belong_is_refused(
    shipped: Path, tmp_path: Path, file: str, damage: Callable[[Path], object], expected: str
) -> None:
    folder = shutil.copytree(shipped, tmp_path / "models")
    damage(folder / file)
    with pytest.raises(UserError) as error:
        LatentGraphs.load(folder / STEP)
    assert file in str(error.value) and expected in str(error.value) and "\n" not in str(error.value)


def test_no_file_without_parity(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(latents.BOUNDS, "context", 1e-9)
    assert main(["--decoder", str(runs / "duo"), "-o", str(tmp_path / "out")]) == 1
    assert f"{CONTEXT}: not written: in 8 bits it differs" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--bars", "none"], "no bar autoencoder there"),
        (["--planner", "bars"], "no planner there"),
        (["--decoder", "planner"], "names no size"),
        (["--planner", "astray"], "names no autoencoder"),
        (["--bars", "bars", "--planner", "elsewhere"], "trained on the latents of the autoencoder elsewhere"),
        (["--planner", "planner", "--data", "corpus"], "--data"),
        (["--planner", "planner", "-o", "bars/run.json/x"], "cannot be made"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    expected: str,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = shutil.copytree(runs, tmp_path / "runs")
    for name, info in (("astray", {}), ("elsewhere", {"bars": "elsewhere"})):
        shutil.copytree(here / "planner", here / name)
        save_json(here / name / "run.json", info)
    monkeypatch.chdir(here)
    assert main(["-o", "out", *arguments]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_the_names_in_their_files(shipped: Path, modules: dict[str, nn.Module]) -> None:
    for kind, name in (("bars.encode", "bars"), ("bars.decode", "bars"), ("planner", "planner"), ("context", "duo")):
        model = onnx.load(shipped / (CONTEXT if kind == "context" else f"{kind}.onnx"))
        (says,) = [json.loads(entry.value) for entry in model.metadata_props if entry.key == METADATA_KEY]
        assert says == {"kind": kind, "name": name, "bars": modules["bars"].name, "data_hash": "abc", "version": 1}
