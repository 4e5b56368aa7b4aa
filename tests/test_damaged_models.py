"""Models that are damaged: refused with one line where they are opened, or at the first step that shows it."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from onnx import numpy_helper

from realtime.composing.contract import DRAWN, LOGITS, METADATA_KEY, Contract, ContractError
from realtime.errors import UserError
from realtime.io.graphs.latent_graphs import LatentGraphs
from realtime.io.graphs.runtime import run
from realtime.io.graphs.seal import sealed
from realtime.io.graphs.stepper import Stepper, read_contract
from realtime.io.graphs.weights import check_weights
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music.vocabulary import FIELDS

SHIPPED = sorted(SHIPPED_MODEL.parent.glob("*.onnx"))


def opened(path: Path) -> None:
    Stepper.load(path, "cpu", slots=2)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        opened(path)
    line = str(error.value)
    assert str(path) in line and "\n" not in line and len(line) < 600 + len(str(path))
    return line


def with_weights(model: Path, to: Path, change: Callable[[np.ndarray], np.ndarray], which: int) -> bool:
    """A copy whose `which`-th float weight is changed, sealed as if it had been exported so. Whether there is such a weight."""
    graph = onnx.load(model)
    floats = [
        tensor for tensor in graph.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and tensor.dims
    ]
    if which >= len(floats):
        return False
    floats[which].CopyFrom(
        numpy_helper.from_array(change(numpy_helper.to_array(floats[which]).copy()), floats[which].name)
    )
    to.write_bytes(sealed(graph.SerializeToString()))
    return True


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf], ids=str)
def test_a_weight_that_is_no_number(tiny_model: Path, tmp_path: Path, number: float) -> None:
    """One of a tensor is enough: a graph that computes with integers takes it for 0."""
    bad, which = tmp_path / "bad.onnx", 0

    def change(weights: np.ndarray) -> np.ndarray:
        weights.flat[weights.size // 3] = number if weights.size > 1 else np.nan
        return weights

    while with_weights(tiny_model, bad, change, which):
        assert "is no number" in refused(bad)
        which += 1
    assert which > 3


def test_one_number_may_be_minus_infinity_and_nothing_else(tmp_path: Path) -> None:
    for values, is_fine in (([-np.inf], True), ([np.inf], False), ([np.nan], False), ([-np.inf, 0.0], False)):
        for kind in (np.float16, np.float32, np.float64):
            tensor = numpy_helper.from_array(np.array(values, kind), "mask")
            node = onnx.helper.make_node("Constant", [], ["y"], value=tensor)
            for graph in (
                onnx.helper.make_graph([], "g", [], [], [tensor]),
                onnx.helper.make_graph([node], "g", [], []),
            ):
                data = onnx.helper.make_model(graph).SerializeToString()
                with contextlib.nullcontext() if is_fine else pytest.raises(UserError, match="is no number"):
                    check_weights(tmp_path / "x.onnx", data)


def test_weights_in_another_file_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    """No seal covers that file, which may lie anywhere."""
    model = onnx.load(tiny_model)
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "weights.bin")
    tensor.ClearField("raw_data")
    (tmp_path / "bad.onnx").write_bytes(sealed(model.SerializeToString()))
    assert "in another file" in refused(tmp_path / "bad.onnx")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_model_are_left_to_onnxruntime(data: bytes) -> None:
    with contextlib.suppress(UserError):
        check_weights(Path("x.onnx"), b"\x3a\x7f" + data)


def test_a_step_that_gives_no_numbers_ends_in_one_line(tiny_model: Path, tmp_path: Path) -> None:
    stepper = Stepper.load(tiny_model, "cpu", slots=2)
    with pytest.raises(UserError, match="no number"):
        stepper.step(
            np.zeros(len(FIELDS)),
            np.full(256, np.nan),
            np.zeros(128),
            np.zeros(LOGITS),
            np.tile([1.0, 0.0, 1.0], (len(DRAWN), 1)),
            np.zeros(len(DRAWN)),
        )


def test_every_bit_of_a_sealed_file_counts(tiny_model: Path, tmp_path: Path) -> None:
    data, bad, rng = tiny_model.read_bytes(), tmp_path / "bad.onnx", random.Random(1)
    for at in rng.sample(range(len(data)), 40):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.randrange(8)
        bad.write_bytes(damaged)
        refused(bad)
    bad.write_bytes(sealed(data))
    opened(bad)
    assert sealed(data) == data


@pytest.mark.skipif(not SHIPPED, reason="no model came along")
def test_what_ships_is_sealed() -> None:
    for path in SHIPPED:
        assert sealed(path.read_bytes()) == path.read_bytes(), path


@pytest.mark.skipif(not SHIPPED, reason="no model came along")
def test_a_graph_beside_the_model_counts_too(tmp_path: Path) -> None:
    for path in SHIPPED:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damaged = bytearray((tmp_path / "planner.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 4
    (tmp_path / "planner.onnx").write_bytes(damaged)
    with pytest.raises(UserError, match=r"planner\.onnx: damaged"):
        LatentGraphs.load(tmp_path / SHIPPED_MODEL.name)


GOOD = Contract("tiny", 64, 2, 1, "native", "fp32", "none").to_json()


@pytest.mark.parametrize(
    "clauses",
    [
        {"layers": 10**9},
        {"layers": -1},
        {"layers": True},
        {"layers": 2.0},
        {"heads": "six"},
        {"d_model": None},
        {"name": ["a", "list"]},
        {"name": "x" * 10_000},
        {"name": "two\nlines"},
        {"name": "\x1b[2J"},
        {"weights": 8},
        {"context": -484},
        {"context": "484"},
        {"fields": {"x" * 10_000: 1}},
        {"fields": None},
        {"fields": {"beat": "16"}},
        {"fields": {"beat": [[]]}},
    ],
    ids=lambda clauses: next(iter(clauses)),
)
def test_a_contract_of_nonsense(clauses: dict[str, object]) -> None:
    with pytest.raises(ContractError) as error:
        Contract.from_json(json.dumps({**json.loads(GOOD), **clauses}))
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


NESTED = GOOD.replace('"fields": {', '"fields": {"x": ' + "[" * 900 + "]" * 900 + ", ")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "1" * 5000,
        "null",
        "",
        "{" * 100_000,
        '{"name": ' * 50_000,
        NESTED,
        GOOD[:-1] + " " * 100_000 + "}",
    ],
    ids=lambda text: text[:10],
)
def test_metadata_that_are_no_contract(text: str, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read") as error:
        Contract.from_json(text)
    assert len(str(error.value)) < 300
    model = onnx.load(tiny_model)
    next(entry for entry in model.metadata_props if entry.key == METADATA_KEY).value = text
    (tmp_path / "bad.onnx").write_bytes(sealed(model.SerializeToString()))
    with pytest.raises(UserError, match="cannot be read"):
        read_contract(tmp_path / "bad.onnx")


def test_what_onnxruntime_raises_while_it_runs_is_one_line() -> None:
    def fail() -> None:
        raise RuntimeError("out of memory\nat line 12\n" + "x" * 10_000)

    with pytest.raises(UserError, match=r"model tiny: onnxruntime .* cannot run it \(out of memory\)") as error:
        run("tiny", fail)
    assert "\n" not in str(error.value)
