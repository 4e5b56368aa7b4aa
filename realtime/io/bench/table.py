"""`antiphon bench`: the figures by which a machine, or a change, is judged. Each is a percentile over many measurements.

What is measured where: `model.py` (a step, context, going back; in this process), `operators.py` (those of a step), `live.py` (in
to out, schedule error and memory of a process tree like `jam`'s), `plan.py` (plans, and notes while they are made), `jack.py`
(in to out as a DAW hears it).
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from realtime.config import Config
from realtime.errors import UserError
from realtime.io.bench import jack as bench_jack
from realtime.io.bench import live as bench_live
from realtime.io.bench import model as bench_model
from realtime.io.bench import operators as bench_operators
from realtime.io.bench import plan as bench_plan
from realtime.io.bench.model import percentiles
from realtime.io.files.whole import check_writable, write_bytes
from realtime.io.graphs.runtime import ort
from realtime.io.graphs.stepper import Stepper
from realtime.io.live.model import Model
from realtime.io.live.settings import model_path, worker_setup

MS, US = 1e6, 1e3
SHOWN = 0.02
"""The share of a step's operators that the table shows one from; all of them are in the JSON file."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many of each are measured. `context_runs` are of 20 steps each; the operators of `profiled` steps are timed; `seconds`
    of the session that is measured."""

    steps: int = 3000
    context_runs: int = 40
    rollbacks: int = 300
    profiled: int = 100
    plans: int = 150
    pairs: int = 150
    seconds: float = 14.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should come to: at most `most`, or `on_gpu` of it where the model is on a GPU."""

    what: str
    path: tuple[str, ...]
    unit: str
    most: float
    on_gpu: float | None = None


GOALS = (
    Goal("model step, p50", ("step_ms", "p50"), "ms", 1.0, 0.5),
    Goal("step after 16384 events over after 128", ("context", "ratio"), "", 1.1),
    Goal("going back over two beats, p50", ("rollback_us", "p50"), "us", 50.0),
    Goal("in to out, added to an echo, p50", ("in_out_ms", "added", "p50"), "ms", 5.0),
    Goal("memory of all processes", ("rss_mb",), "MB", 400.0),
)


def run(config: Config, json_file: Path | None, effort: Effort = Effort()) -> None:
    """Measure, print a table, and write the figures to `json_file`. Raises `UserError`: no model, no place to write."""
    if json_file is not None:
        check_writable(json_file)
    figures = measure(config, effort)
    Console().print(table(figures))
    if json_file is not None:
        write_bytes(json_file, (json.dumps(figures, indent=2) + "\n").encode())
        print(f"{json_file} is written")


def measure(config: Config, effort: Effort) -> dict[str, Any]:
    """The figures. Says on standard error what is being measured."""
    _say("loading the model")
    model = Model.load(worker_setup(config))
    if model.stepper.notice:
        _say(model.stepper.notice)
    figures = _model_figures(config, model, effort)
    if model.graphs is not None:
        _say(f"{effort.plans} plans, and notes while they are made")
        figures |= _plans(bench_plan.measure(config, effort.plans))
    live, counts = _live_figures(config, effort)
    return {
        **figures,
        **live,
        "provider": model.stepper.provider,
        "model": model.stepper.contract.name,
        "counts": counts,
        "machine": machine(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _model_figures(config: Config, model: Model, effort: Effort) -> dict[str, Any]:
    """Of the step graph in this process: a step, a step after a long history, going back, its operators on the CPU."""

    def load() -> Stepper:
        return Stepper.load(model_path(config), config.model.provider, threads=1, slots=8)

    steps = bench_model.duet_steps(config, model)
    _say(f"{effort.steps} steps, as in a duet")
    step_ns = bench_model.step_times(model.stepper, steps, effort.steps)
    _say(f"steps after {', '.join(map(str, bench_model.CONTEXTS))} events")
    context_ns = bench_model.context_times(load, steps, effort.context_runs)
    medians = {context: float(np.median(times)) for context, times in context_ns.items()}
    _say("going back")
    rollback_ns = bench_model.rollback_times(config, model, effort.rollbacks)
    _say("the operators of a step")
    operators = bench_operators.operator_shares(model_path(config), steps[: effort.profiled])
    return {
        "step_ms": percentiles(step_ns, MS, "p50", "p99", "max"),
        "context": {
            **{str(context): round(median / MS, 4) for context, median in medians.items()},
            "ratio": round(medians[bench_model.CONTEXTS[-1]] / medians[bench_model.CONTEXTS[0]], 4),
        },
        "rollback_us": percentiles(rollback_ns, US, "p50", "p99"),
        "operators": {name: operator._asdict() for name, operator in operators.items()},
    }


def _live_figures(config: Config, effort: Effort) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the live program in processes of its own, and how many notes each figure is of: those answered and those played, those
    sent. Raises `UserError` where none was."""
    overrides = {"model.provider": config.model.provider, "model.file": str(model_path(config).resolve())}
    _say(f"in to out, {effort.pairs} notes through memory ports")
    in_out_overrides = {**overrides, **bench_live.IN_OUT}
    in_out = bench_live.answer(bench_live.child("in_out", in_out_overrides, pairs=effort.pairs))
    _say("in to out through JACK, where there is a server")
    through_jack = bench_jack.measure(in_out_overrides, effort.pairs)
    _say(f"a session of {effort.seconds:g} s")
    trade = {**overrides, "mode.name": "trade"}  # nearly all notes of an accompaniment react to the player
    session = bench_live.answer(bench_live.child("session", trade, seconds=effort.seconds))
    if not in_out["echo"] or not session["schedule_error"]:
        raise UserError("the measured session planned no note; is this model trained? see `antiphon doctor`")
    counts: dict[str, Any] = {
        "in_out": [len(in_out["echo"]), effort.pairs],
        "schedule_error": len(session["schedule_error"]),
    }
    figures: dict[str, Any] = {"in_out_ms": _in_out(in_out)}
    if through_jack is not None:
        counts["in_out_jack"] = [len(through_jack["echo"]), effort.pairs]
        if through_jack["echo"]:
            figures["in_out_jack_ms"] = _in_out(through_jack)
    figures["schedule_error_ms"] = percentiles(session["schedule_error"], MS, "p50", "p99", "max")
    memory = list(session["rss_mb"].values())
    figures["rss_mb"] = round(sum(memory), 1) if memory and None not in memory else None
    return figures, counts


def _in_out(times: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    added = np.asarray(times["antiphon"]) - np.asarray(times["echo"])
    return {name: percentiles(ns, MS, "p50", "p99") for name, ns in {**times, "added": added}.items()}


def _plans(times: bench_plan.Times) -> dict[str, dict[str, Any]]:
    return {
        "plan_ms": percentiles(times.plans, MS, "p50", "p99"),
        "plan_call_ms": percentiles(times.calls, MS, "p50", "p99", "max"),
        **{
            name: {
                when: percentiles(by[planning], MS, "p50", "p99")
                for when, planning in (("planning", True), ("alone", False))
            }
            for name, by in (("step_beside_plans_ms", times.steps), ("answer_beside_plans_ms", times.answers))
        },
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    commit = ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        root = Path(__file__).resolve().parents[3]
        if (root / ".git").exists():
            said = subprocess.run(
                ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
            )
            commit = said.stdout.strip()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "onnxruntime": ort.__version__,
        "commit": commit,
    }


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def table(figures: dict[str, Any]) -> Table:
    """The figures with the goals beside those that have one."""
    where = figures["machine"]
    title = f"{figures['model']} on {figures['provider']}; {where['cpu']}, {where['cores']} cores"
    shown = Table(title=title, title_justify="left", show_edge=False)
    for heading, side in (("", "left"), ("measured", "right"), ("goal", "right"), ("", "left")):
        shown.add_column(heading, justify=side)  # type: ignore[arg-type]  # "left" and "right" are what it takes
    for goal in GOALS:
        value: Any = figures
        for key in goal.path:
            value = value[key]
        if value is None:  # a figure that is not there meets no goal
            shown.add_row(goal.what, "not measured", f"<= {goal.most:g} {goal.unit}", "")
            continue
        most = goal.on_gpu if goal.on_gpu is not None and figures["provider"] == "cuda" else goal.most
        met = "[green]met" if value <= most else "[red]not met"
        shown.add_row(goal.what, f"{value:.2f} {goal.unit}", f"<= {most:g} {goal.unit}", met)
    for name, label in (
        ("step_ms", "model step"),
        ("plan_ms", "plan of the next bars"),
        ("plan_call_ms", "each graph call of a plan"),
        ("step_beside_plans_ms", "model step"),
        ("answer_beside_plans_ms", "asked to answered"),
        ("in_out_ms", "in to out"),
        ("in_out_jack_ms", "in to out through JACK"),
        ("schedule_error_ms", "schedule error, model running"),
    ):
        if name not in figures:
            continue
        parts = figures[name].items()
        for part, values in parts if isinstance(next(iter(parts))[1], dict) else [("", figures[name])]:
            listed = ", ".join(f"{key} {value:.2f}" for key, value in values.items())
            shown.add_row(f"{label}{f', {part}' if part else ''}", f"{listed} ms")
    shown.add_row("of a step on the CPU take", "")
    for name, operator in figures["operators"].items():
        if operator["share"] >= SHOWN:
            shown.add_row(f"  {operator['runs']} {name}", f"{operator['share']:.0%}")
    for name, label in (("in_out", "in to out"), ("in_out_jack", "in to out through JACK")):
        if name in figures["counts"]:
            answered, played = figures["counts"][name]
            shown.add_row(f"{label}, notes answered", f"{answered} of {played}")
    shown.add_row("schedule error, notes that were due", f"{figures['counts']['schedule_error']}")
    return shown


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
