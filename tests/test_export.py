"""Export of a tiny random model: both operator sets, 8 bits, what the file says of itself, and how errors are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.__main__ import export, main, random_decoder
from export.convert import contract_of, to_onnx
from export.nats import MOST_NATS, nats_difference
from export.parity import STEPS, check, legal_events, random_candidates
from export.quantise import BLOCK, quantise, to_blocks
from models.corpus.stream import CENSORED, EXACT
from models.nets.decoder import Decoder, Size
from models.nets.rounding import to_rows
from realtime.composing.contract import DRAWN, LOGITS, METADATA_KEY, Contract
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import CHORD_EVENT, FIELDS, HEADS

VARIANTS = [("fused", "fp32"), ("native", "fp32"), ("fused", "int8"), ("native", "int8")]


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    return random_decoder("tiny", 0)


@pytest.fixture(scope="session")
def files(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Every variant of the tiny model, unchecked."""
    folder = tmp_path_factory.mktemp("export")
    made = {}
    for operators in ("fused", "native"):
        model = to_onnx(decoder, contract_of(decoder, "tiny", operators, "fp32", "none"))
        for weights, content in (("fp32", model), ("int8", quantise(model))):
            made[operators, weights] = folder / f"{operators}-{weights}.onnx"
            made[operators, weights].write_bytes(content.SerializeToString())
    return made


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_parity(decoder: Decoder, files: dict[tuple[str, str], Path], variant: tuple[str, str]) -> None:
    parity = check(decoder, files[variant])
    assert parity.problems(variant[1]) == []
    assert parity.beats
    if variant[1] == "int8":
        assert parity.logit_error < 0.1 and parity.changed < 0.1 * STEPS * len(DRAWN)


def test_parity_finds_another_model(files: dict[tuple[str, str], Path]) -> None:
    problems = check(random_decoder("tiny", 1), files["fused", "fp32"]).problems("fp32")
    assert len(problems) == 2, problems


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_lstm(variant: tuple[str, str], tmp_path: Path) -> None:
    """The baseline plays through the same contract, one event a call, and all of its products are 8-bit."""
    torch.manual_seed(6)
    lstm = Decoder(Size(96, 2, 32, mixers=("lstm",))).eval()
    with torch.no_grad():
        for block in lstm.blocks:
            block.norm.weight.uniform_(0.5, 2.0)
    operators, weights = variant
    model = to_onnx(lstm, contract_of(lstm, "lstm", operators, "fp32", "none"))
    model = quantise(model) if weights == "int8" else model
    path = tmp_path / "lstm.onnx"
    path.write_bytes(model.SerializeToString())
    parity = check(lstm, path)
    assert parity.problems(weights) == []
    stepper = Stepper.load(path, "cpu", slots=2)
    assert (
        stepper.contract.fields == FIELDS
        and not stepper.contract.memory
        and (stepper.contract.layers, stepper.contract.d_model) == (2, 96)
    )
    if weights == "int8":
        assert parity.beats and parity.logit_error < 0.1
        large = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > 1000]
        assert {tensor.data_type for tensor in large} == {onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16}


def test_fused_and_native_draw_the_same(files: dict[tuple[str, str], Path]) -> None:
    """Any temperature, top-k, top-p, bias and noise: one noise, one note."""
    rng = np.random.default_rng(2)
    fused, native = (Stepper.load(files[operators, "fp32"], "cpu", slots=2) for operators in ("fused", "native"))
    for event, held in zip(*legal_events(rng, 200), strict=True):
        n = len(DRAWN)
        sampling = np.stack([rng.uniform(0, 2, n), rng.integers(0, 140, n), rng.uniform(0, 1, n)], 1)
        bias = np.where(rng.random(LOGITS) < 0.3, -1e9, rng.normal(size=LOGITS))
        inputs = (event, held, rng.uniform(0, 24, 128), bias, sampling, rng.random(n), None)
        recalled = (x[0] for x in random_candidates(rng, 1))
        inputs = (*inputs, *recalled)
        assert fused.step(*inputs).tolist() == native.step(*inputs).tolist()
        np.testing.assert_allclose(fused.last_logits, native.last_logits, atol=1e-4)


def test_native_needs_no_operators_but_the_standards(files: dict[tuple[str, str], Path]) -> None:
    for weights in ("fp32", "int8"):
        model = onnx.load(files["native", weights])
        onnx.checker.check_model(model, full_check=True)
        assert {node.domain for node in model.graph.node} == {""}
    fused = {node.op_type for node in onnx.load(files["fused", "fp32"]).graph.node if node.domain == "com.microsoft"}
    assert "LinearAttention" in fused


def test_8_bits_are_small(files: dict[tuple[str, str], Path]) -> None:
    size = {weights: files["fused", weights].stat().st_size for weights in ("fp32", "int8")}
    assert size["int8"] < 0.5 * size["fp32"]


def test_nats_difference(decoder: Decoder, files: dict[tuple[str, str], Path]) -> None:
    rng = np.random.default_rng(3)
    events, held = legal_events(rng, 2 * 40)
    events[::8, :5] = CHORD_EVENT
    candidates, features = random_candidates(rng, 2 * 40)
    windows = {
        "events": events.reshape(2, 40, len(FIELDS)),
        "held": held.reshape(2, 40, 256),
        "targets": rng.integers(0, list(HEADS.values()), (2, 40, 5)),
        "kind": rng.choice([EXACT, CENSORED], (2, 40)),
        "turn": np.ones((2, 40), np.float32),
        "note": (rng.random((2, 40)) < 0.7).astype(np.float32),
        "candidates": candidates.reshape(2, 40, *candidates.shape[1:]),
        "features": features.reshape(2, 40, *features.shape[1:]),
    }
    batch = {name: torch.from_numpy(x) for name, x in windows.items()}
    nats, more = nats_difference(decoder, files["fused", "fp32"], batch)
    assert nats > 1 and abs(more) < 1e-5
    assert abs(nats_difference(decoder, files["fused", "int8"], batch)[1]) < MOST_NATS


def test_blocks() -> None:
    weight = np.random.default_rng(4).normal(size=(2 * BLOCK, 7)).astype(np.float32)
    weight[:, 3] = 0
    integers, scales = to_blocks(weight)
    assert integers.dtype == np.int8 and scales.dtype == np.float16 and scales.shape == (2, 7)
    steps = scales.astype(np.float32).repeat(BLOCK, 0)
    assert np.all(
        np.abs(integers * steps - weight) <= 0.57 * steps
    )  # half a step, and what float16 rounds off 127 of them
    with pytest.raises(ValueError, match="multiple"):
        to_blocks(weight[:-1])


@pytest.mark.parametrize("size", [1e-12, 1e-3, 1e4])
def test_rows(size: float) -> None:
    """Each row has its own scale, however small or large the others are."""
    table = np.random.default_rng(5).normal(size=(9, 40)).astype(np.float32)
    table[4] *= size
    integers, scales = to_rows(table)
    assert integers.dtype == np.int8 and scales.shape == (9, 1)
    steps = scales.astype(np.float32)
    assert np.all(np.abs(integers * steps - table) <= 0.57 * steps)


def test_command_line_writes_a_whole_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "tiny.onnx"
    assert main(["--random", "tiny", "-o", str(out), "--weights", "int8"]) == 0
    assert "all-masked heads give BEAT" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out], "one file, no data beside it, nothing half-written"
    content = out.read_bytes()
    assert b".py" not in content and str(Path.cwd()).encode() not in content
    contract = Contract.from_json({p.key: p.value for p in onnx.load(out).metadata_props}[METADATA_KEY])
    assert (contract.name, contract.operators, contract.weights) == ("random-tiny", "fused", "int8")
    assert (contract.d_model, contract.layers, contract.heads) == (64, 2, 1)


def test_no_file_without_parity(tmp_path: Path) -> None:
    decoder = random_decoder("tiny", 0)
    decoder.dropout.p = 0.5
    decoder.train()  # its own torch form is now another function at each call
    contract = contract_of(decoder, "tiny", "fused", "fp32", "none")
    report, problems = export(decoder, contract, tmp_path / "x.onnx")
    assert report and problems
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["RUN", "-o", "OUT"], "RUN: not a training run"),
        (["--random", "huge", "-o", "OUT"], "tiny"),
        (["-o", "OUT"], "RUN"),
        (["--random", "tiny"], "--out"),
        (["--random", "tiny", "-o", "nowhere/x.onnx"], "cannot be written"),
    ],
)
def test_error_is_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.count("\n") == 1 and not captured.out
    assert list(tmp_path.iterdir()) == []
