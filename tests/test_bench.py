"""The bench: every figure is there and a number; what was not measured is never a goal met. No figure is judged here."""

import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

from realtime.config import load
from realtime.errors import UserError
from realtime.io.bench import operators, table
from realtime.io.bench.live import paired, rss_mb, waits
from realtime.io.bench.model import duet_steps
from realtime.io.bench.operators import operator_shares
from realtime.io.bench.plan import Times
from realtime.io.live.model import Model
from realtime.io.live.settings import worker_setup

EFFORT = table.Effort(steps=40, context_runs=2, rollbacks=5, pairs=6, seconds=9.0)
SHAPE = {
    "step_ms": {"p50", "p99", "max"},
    "context": {"128", "1024", "16384", "ratio"},
    "rollback_us": {"p50", "p99"},
    "in_out_ms": {"echo", "antiphon", "added"},
    "schedule_error_ms": {"p50", "p99", "max"},
}


def rendered(figures: dict[str, Any]) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(table.table(figures))
    return capture.get()


def numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [number for value in tree.values() for number in numbers(value)]
    return [float(tree)]


@pytest.fixture(scope="module")
def figures(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("bench") / "figures.json"
    table.run(load(None, {"model.file": tiny_model, "model.provider": "cpu"}), path, EFFORT)
    said: dict[str, Any] = json.loads(path.read_text())
    return said


def test_every_figure_is_there(figures: dict[str, Any]) -> None:
    assert {name: set(figures[name]) for name in SHAPE} == SHAPE
    assert all(set(part) == {"p50", "p99"} for part in figures["in_out_ms"].values())
    assert figures["provider"] == "cpu" and figures["model"]


def test_every_figure_is_a_number(figures: dict[str, Any]) -> None:
    measured = numbers({name: figures[name] for name in SHAPE})
    assert all(map(math.isfinite, measured))
    assert figures["step_ms"]["p50"] > 0 and figures["rollback_us"]["p50"] > 0


def test_the_operators_of_a_step_are_all_there_and_their_shares_make_the_whole(
    figures: dict[str, Any], tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The profiler's file is gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    config = load(None, {"model.file": tiny_model, "model.provider": "cpu"})
    steps = duet_steps(config, Model.load(worker_setup(config)))
    found = operator_shares(tiny_model, steps[:9])
    nodes = Counter(node.op_type for node in onnx.load(tiny_model).graph.node)
    assert {name: found[name].runs for name in ("TopK", "CumSum")} == {name: nodes[name] for name in ("TopK", "CumSum")}
    assert figures["operators"].keys() == found.keys()
    assert sum(operator.share for operator in found.values()) == pytest.approx(1)
    assert all(operator.share >= 0 for operator in found.values())
    assert not list(tmp_path.iterdir())
    largest = next(iter(figures["operators"]))
    assert f"{figures['operators'][largest]['runs']} {largest}" in rendered(figures)


def test_shares_are_of_medians_without_what_the_profiler_adds(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        {"cat": "Node", "name": f"{node}_kernel_time", "dur": dur, "args": {"op_name": operator}}
        for node, operator, durs in (("a", "Large", (9, 10, 900)), ("b", "Large", (8, 8, 8)), ("c", "Small", (4, 3, 5)))
        for dur in durs
    ]
    monkeypatch.setattr(operators, "_profile", lambda model, steps: [*events, {"cat": "Session", "name": "model_run"}])
    assert operator_shares(tiny_model, []) == {"Large": (2, pytest.approx(1.0)), "Small": (1, 0.0)}


@pytest.mark.parametrize("what", ["missing", "full"])
def test_a_folder_for_temporary_files_that_cannot_hold_the_profile_is_said(
    what: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "missing":
        monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    else:
        monkeypatch.setattr(Path, "read_bytes", lambda path: b'[{"cat"')
    with pytest.raises(UserError, match="set TMPDIR"):
        operators._profile(tiny_model, [])


def test_how_many_notes_stand_behind_a_figure_is_said(figures: dict[str, Any]) -> None:
    answered, played = figures["counts"]["in_out"]
    assert 0 < answered <= played == EFFORT.pairs
    assert f"{answered} of {played}" in rendered(figures)


def test_a_model_without_context_has_no_plans_to_measure(figures: dict[str, Any]) -> None:
    assert "plan_ms" not in figures and "plan" not in rendered(figures)


def test_notes_beside_plans_are_shown_beside_notes_alone(figures: dict[str, Any]) -> None:
    times = Times([8_000_000] * 3, [1_000_000] * 24, {True: [2_000_000], False: [3_000_000]}, {True: [4], False: [5]})
    planned = table._plans(times)
    assert planned["plan_ms"] == {"p50": 8.0, "p99": 8.0} and planned["plan_call_ms"]["max"] == 1.0
    assert {when: part["p50"] for when, part in planned["step_beside_plans_ms"].items()} == {
        "planning": 2.0,
        "alone": 3.0,
    }
    lines = [line.split("  ")[0] for line in rendered({**figures, **planned}).splitlines()]
    assert {"plan of the next bars", "model step, planning", "model step, alone"} <= {line.strip() for line in lines}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_memory_is_that_of_both_processes(figures: dict[str, Any]) -> None:
    assert figures["rss_mb"] > 40  # two interpreters, one of them with onnxruntime


def test_what_was_not_measured_is_no_goal_met(figures: dict[str, Any]) -> None:
    line = next(line for line in rendered({**figures, "rss_mb": None}).splitlines() if "memory" in line)
    assert "not measured" in line and "met" not in line


def test_the_memory_of_a_process_that_is_gone_is_not_zero() -> None:
    assert rss_mb(2**22 + 1) is None  # above the largest process id there can be


def test_each_note_out_belongs_to_the_last_note_in() -> None:
    assert waits([15, 16, 42], [10, 20, 40]) == [5, None, 2]


def test_a_pair_counts_only_whole() -> None:
    assert paired([1, None, 3], [4, 5, None]) == {"echo": [1], "antiphon": [4]}


def test_percentiles_carry_their_unit() -> None:
    assert table.percentiles(np.full(3, 2_000_000), 1e6, "p50", "max") == {"p50": 2.0, "max": 2.0}


def test_a_model_that_is_not_there_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    config = load(None, {"model.file": tmp_path / "none.onnx"})
    with pytest.raises(UserError, match="no model there"):
        table.run(config, None, EFFORT)
    with pytest.raises(UserError, match="cannot be written"):
        table.run(config, tmp_path / "nowhere" / "figures.json", EFFORT)
