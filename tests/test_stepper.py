"""The stepper on the CPU: the model's own numbers, going back, sampling, and files it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.__main__ import random_decoder
from export.convert import contract_of, to_onnx
from export.parity import GREEDY, check, legal_events, random_candidates
from models.nets.decoder import Decoder
from realtime.composing.constraints import SLICES
from realtime.composing.contract import DRAWN, EVENT_LOGITS, LOGITS, MASKED, METADATA_KEY
from realtime.composing.memory import EXPERTS, FEATURES, NOTHING
from realtime.errors import UserError
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import BEAT, FIELDS, HEADS

NO_EVENT = np.zeros(len(FIELDS))
FREE = np.zeros(128)
OPEN_BIAS = np.zeros(LOGITS)
HALF = np.full(len(DRAWN), 0.5)
Outcome = tuple[list[int], list[float]]


@pytest.fixture(scope="session")
def decoder() -> Decoder:
    return random_decoder("tiny", 5)


@pytest.fixture(scope="session")
def file(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stepper") / "tiny.onnx"
    model = to_onnx(decoder, contract_of(decoder, "tiny", "fused", "fp32", "none"))
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def events() -> tuple[np.ndarray, np.ndarray]:
    return legal_events(np.random.default_rng(6), 300)


def sampling(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> np.ndarray:
    return np.tile(np.array([temperature, top_k, top_p]), (len(DRAWN), 1))


@pytest.mark.parametrize("remembers", [False, True])
def test_steps_are_the_whole_of_torch(
    file: Path, decoder: Decoder, events: tuple[np.ndarray, np.ndarray], remembers: bool
) -> None:
    """With what the memory says after each event, and without."""
    stepper = Stepper.load(file, "cpu", slots=3)
    rng = np.random.default_rng(7)
    candidates = random_candidates(rng, len(events[0])) if remembers else None
    choices, logits = [], []
    for t, (event, held) in enumerate(zip(*events, strict=True)):
        recalled = (candidates[0][t], candidates[1][t]) if candidates else (None, None)
        noise = rng.random(len(DRAWN))
        choices.append(stepper.step(event, held, FREE, OPEN_BIAS, sampling(), noise, None, *recalled))
        logits.append(stepper.last_logits)
    assert np.array(choices).shape == (len(events[0]), len(DRAWN))
    inputs = [torch.from_numpy(x)[None] for x in (*events, np.array(choices)[:, : len(HEADS)])]
    given = tuple(torch.from_numpy(x)[None] for x in candidates) if candidates else None
    with torch.no_grad():
        heads, _ = decoder(*inputs, candidates=given)
    np.testing.assert_allclose(logits, torch.cat(heads, -1)[0].numpy(), atol=1e-4)


def test_candidates_change_what_is_drawn(file: Path, events: tuple[np.ndarray, np.ndarray]) -> None:
    """None are the same as those of an empty memory."""
    stepper, rng = Stepper.load(file, "cpu", slots=2), np.random.default_rng(3)
    ids, features = random_candidates(rng, 1)
    logits = []
    for recalled in (
        (None, None),
        (np.tile(NOTHING, (EXPERTS, 1)), np.zeros((EXPERTS, FEATURES))),
        (ids[0], features[0]),
    ):
        stepper.reset()
        stepper.step(events[0][0], events[1][0], FREE, OPEN_BIAS, GREEDY, HALF, None, *recalled)
        logits.append(stepper.last_logits)
    assert logits[0].tolist() == logits[1].tolist()
    assert np.abs(logits[2] - logits[0]).max() > 1e-2


@pytest.mark.parametrize("operators", ["fused", "native"])
def test_a_context_is_added_to_the_embeddings(operators: str, decoder: Decoder, file: Path, tmp_path: Path) -> None:
    """Every event has its own; zeros and none are the same, and the same as a graph that takes none."""
    contract = contract_of(decoder, "tiny", operators, "fp32", "none")
    path = tmp_path / "context.onnx"
    width = contract.d_model + EVENT_LOGITS
    path.write_bytes(to_onnx(decoder, replace(contract, context=width)).SerializeToString())
    assert check(decoder, path).problems("fp32") == []
    stepper, plain = (Stepper.load(model, "cpu", slots=4) for model in (path, file))
    streams = legal_events(np.random.default_rng(11), 5)
    zeros, ones = np.zeros(width), np.ones(width)
    logits = []
    for player, context in ((plain, None), (stepper, None), (stepper, zeros), (stepper, ones)):
        player.reset()
        for event, held in zip(*streams, strict=True):
            player.step(event, held, FREE, OPEN_BIAS, GREEDY, HALF, context)
        logits.append(player.last_logits)
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4)
    assert logits[1].tolist() == logits[2].tolist()
    assert np.abs((logits[3] - logits[1])[:EVENT_LOGITS] - 1).max() > 1e-2, (
        "more than what is added to the logits themselves"
    )
    with pytest.raises(KeyError):
        plain.step(streams[0][0], streams[1][0], FREE, OPEN_BIAS, GREEDY, HALF, ones)


def test_a_file_from_before_contexts_plays(file: Path, tmp_path: Path) -> None:
    """Its contract does not know the word."""
    model = onnx.load(file)
    (entry,) = (p for p in model.metadata_props if p.key == METADATA_KEY)
    entry.value = json.dumps({key: value for key, value in json.loads(entry.value).items() if key != "context"})
    old = tmp_path / "old.onnx"
    old.write_bytes(model.SerializeToString())
    streams = legal_events(np.random.default_rng(12), 5)
    then, now = (walk(Stepper.load(path, "cpu", slots=2), streams, 0, 5) for path in (old, file))
    assert then == now


def walk(stepper: Stepper, events: tuple[np.ndarray, np.ndarray], start: int, end: int) -> list[Outcome]:
    outcomes = []
    for t in range(start, end):
        noise = np.random.default_rng((8, t)).random(len(DRAWN))
        choice = stepper.step(events[0][t], events[1][t], FREE, OPEN_BIAS, sampling(), noise)
        outcomes.append((choice.tolist(), stepper.last_logits.tolist()))
    return outcomes


def test_going_back_changes_nothing(file: Path, events: tuple[np.ndarray, np.ndarray]) -> None:
    """The same inputs give the same bits, after any detour."""
    stepper = Stepper.load(file, "cpu", slots=16)
    first = walk(stepper, events, 0, 40)
    stepper.rewind(28)
    assert walk(stepper, events, 28, 31) == first[28:31]
    stepper.rewind(30)
    walk(stepper, events, 90, 97)  # another future, over the ring's seam
    stepper.rewind(30)
    assert walk(stepper, events, 30, 40) == first[30:40]
    stepper.reset()
    assert walk(stepper, events, 0, 40) == first


def test_the_ring_knows_its_ends(file: Path, events: tuple[np.ndarray, np.ndarray]) -> None:
    stepper = Stepper.load(file, "cpu", slots=8)
    assert (stepper.position, stepper.oldest) == (0, 0)
    walk(stepper, events, 0, 7)
    assert (stepper.position, stepper.oldest) == (7, 0)
    walk(stepper, events, 7, 20)
    assert (stepper.position, stepper.oldest) == (20, 13)
    stepper.rewind(13)
    assert (stepper.position, stepper.oldest) == (13, 13)
    for gone in (12, 14, 20, -1):
        with pytest.raises(ValueError, match="ring"):
            stepper.rewind(gone)
    stepper.reset()
    assert (stepper.position, stepper.oldest) == (0, 0)


def test_results_are_copies(file: Path, events: tuple[np.ndarray, np.ndarray]) -> None:
    stepper = Stepper.load(file, "cpu", slots=2)
    choice = stepper.step(events[0][0], events[1][0], FREE, OPEN_BIAS, sampling(), HALF)
    logits = stepper.last_logits
    kept = choice.tolist(), logits.tolist()
    walk(stepper, events, 1, 5)
    assert (choice.tolist(), logits.tolist()) == kept


def expected_masses(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """Temperature, then top-k, then the nucleus, in float64."""
    p = np.exp((logits - logits.max()) / max(temperature, 1e-3))
    order = np.argsort(-p, kind="stable")[: top_k or None]
    mass = p[order] / p[order].sum()
    order = order[: int(np.searchsorted(mass.cumsum(), top_p - 1e-12)) + 1]
    kept = np.zeros_like(p)
    kept[order] = p[order] / p[order].sum()
    return kept


def times(stepper: Stepper, how: np.ndarray, noise: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """How often each time is drawn at the empty history, one draw for each noise."""
    counts = np.zeros(HEADS["time"])
    for u in noise:
        stepper.rewind(0)
        choice = stepper.step(NO_EVENT, np.zeros(256), FREE, bias, how, np.full(len(DRAWN), u))
        counts[choice[0]] += 1
    return counts


SETTINGS = [(1.0, 0, 1.0), (0.3, 0, 1.0), (3.0, 0, 1.0), (1.0, 5, 1.0), (1.0, 0, 0.6), (0.7, 9, 0.8), (1.0, 99, 1.0)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_draws_are_the_inverse_of_the_mass(file: Path, setting: tuple[float, int, float]) -> None:
    """Even noise gives each choice its share to within one draw: nothing is left to chance."""
    stepper = Stepper.load(file, "cpu", slots=2)
    bias = np.zeros(LOGITS)
    bias[: HEADS["time"]] = np.random.default_rng(9).normal(size=HEADS["time"])
    bias[[3, 8, BEAT]] = MASKED
    count = 500
    counts = times(stepper, sampling(*setting), (np.arange(count) + 0.5) / count, bias)
    shares = expected_masses(stepper.last_logits[SLICES["time"]].astype(np.float64) + bias[SLICES["time"]], *setting)
    np.testing.assert_allclose(counts, shares * count, atol=1.01)
    assert not counts[shares == 0].any()


def test_frequencies(file: Path) -> None:
    """2,000 draws with seeded noise, each frequency within 6 standard deviations: wrong once in 10 million seeds."""
    stepper = Stepper.load(file, "cpu", slots=2)
    noise = np.random.default_rng(10).random(2000)
    counts = times(stepper, sampling(0.8, 12, 0.9), noise, OPEN_BIAS)
    shares = expected_masses(stepper.last_logits[SLICES["time"]].astype(np.float64), 0.8, 12, 0.9)
    assert np.all(np.abs(counts - shares * len(noise)) <= 6 * np.sqrt(shares * (1 - shares) * len(noise)))


def test_greedy_takes_the_best_and_the_lowest_of_equals(file: Path) -> None:
    stepper = Stepper.load(file, "cpu", slots=2)
    for u in (0.0, 0.5, np.float32(1 - 2**-24)):
        for how in (GREEDY, sampling(0.0), sampling(1.0, 0, 0.0)):
            counts = times(stepper, how, np.array([u]), OPEN_BIAS)
            assert counts.argmax() == stepper.last_logits[SLICES["time"]].argmax()
    level = OPEN_BIAS.copy()
    level[SLICES["time"]] = np.float32(1e9)  # so large that the logits vanish beside it
    level[:4] = 0
    assert times(stepper, GREEDY, HALF[:1], level).argmax() == 4


def test_sounding_pitches_are_masked(file: Path) -> None:
    """A pitch is free at its release tick and after, and taken before."""
    stepper = Stepper.load(file, "cpu", slots=2)
    bias = OPEN_BIAS.copy()
    bias[SLICES["time"]] = MASKED
    bias[10] = 0
    release = np.full(128, 11.0)
    release[[40, 41]] = 10, 9
    drawn = set()
    for u in (np.arange(50) + 0.5) / 50:
        stepper.rewind(0)
        choice = stepper.step(NO_EVENT, np.zeros(256), release, bias, sampling(), np.full(len(DRAWN), u))
        assert choice[0] == 10
        drawn.add(int(choice[2]))
    assert drawn == {40, 41}
    release[[40, 41]] = 11
    choice = stepper.step(NO_EVENT, np.zeros(256), release, bias, sampling(), HALF)
    assert choice[0] == BEAT and np.isfinite(stepper.last_logits).all()


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_late(data: bytes) -> bytes:
    return data[:-200]


def foreign(data: bytes) -> bytes:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y])
    opsets = [onnx.helper.make_opsetid("", 21)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def amended(**changes: object) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        model = onnx.load_from_string(data)
        (entry,) = (p for p in model.metadata_props if p.key == METADATA_KEY)
        entry.value = json.dumps({**json.loads(entry.value), **changes})
        return bytes(model.SerializeToString())

    return change


def of_version_1(data: bytes) -> bytes:
    """Such a file said nothing of a memory, and knew nine fields."""
    model = onnx.load_from_string(data)
    (entry,) = (p for p in model.metadata_props if p.key == METADATA_KEY)
    says = {key: value for key, value in json.loads(entry.value).items() if key != "memory"}
    fields = {name: size - (name == "time") for name, size in FIELDS.items() if name != "chord"}
    entry.value = json.dumps({**says, "contract_version": 1, "vocabulary_version": 1, "fields": fields})
    return bytes(model.SerializeToString())


def renamed(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        model = onnx.load_from_string(data)
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        return bytes(model.SerializeToString())

    return change


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: b"", "no model there"),
        (lambda data: b"MThd" * 100, "cannot open it"),
        (cut, "cannot open it"),
        (cut_late, ""),
        (foreign, "holds no contract"),
        (amended(contract_version=99), "contract_version is 99, this program plays"),
        (amended(contract_version=1), "contract_version is 1, this program plays 2; export it again"),
        (amended(vocabulary_version=1), "vocabulary_version is 1, this program plays 2; export it again"),
        (amended(vocabulary_version=0), "vocabulary_version is 0"),
        (of_version_1, "contract_version is 1, this program plays 2; export it again"),
        (amended(memory=1), "memory is 1, of another kind"),
        (amended(memory="yes"), "memory is yes, of another kind"),
        (amended(memory=None), "memory is None, of another kind"),
        (amended(context=True), "context is True, of another kind"),
        (amended(memory=False), "inputs and outputs are not those"),
        (amended(fields={}), "fields"),
        (amended(layers=3), "inputs and outputs are not those"),
        (amended(layers="two"), ""),
        (renamed("c1_in", "c1"), "inputs and outputs are not those"),
        (renamed("s1_out", "s2_out"), "inputs and outputs are not those"),
        (renamed("logits", "scores"), "inputs and outputs are not those"),
        (amended(surprise=1), "contract cannot be read"),
    ],
)
def test_refused_files(file: Path, tmp_path: Path, damage: Callable[[bytes], bytes], expected: str) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError) as error:
        Stepper.load(bad, "cpu")
    assert str(bad) in str(error.value) and expected in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_unknown_provider(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model there"):
        Stepper.load(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="no model there"):
        Stepper.load(tmp_path)
    with pytest.raises(UserError, match="auto, cpu, cuda"):
        Stepper.load(file, "tpu")


@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_it_plays_on_what_there_is(
    file: Path, events: tuple[np.ndarray, np.ndarray], provider: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """With a GPU or without: a provider that was asked for and is not had is said, and the notes are the same."""
    stepper = Stepper.load(file, provider, slots=4)
    assert stepper.provider in ("cpu", "cuda")
    if provider == "cuda" and stepper.provider == "cpu":
        assert stepper.notice is not None and "playing on the CPU" in stepper.notice
    reference = Stepper.load(file, "cpu", slots=4)
    assert [x[0] for x in walk(stepper, events, 0, 20)] == [x[0] for x in walk(reference, events, 0, 20)]
    assert capfd.readouterr().err == ""
