"""What `bench` measures of the operators of a step: where its time goes on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from realtime.errors import UserError
from realtime.io.bench.model import Step
from realtime.io.graphs.stepper import Stepper

_SUFFIX = "_kernel_time"
"""With it ends the name of an event of the profile that is the run of a node."""
PROFILE_MB = 50
"""That the profile of a hundred steps takes at most."""


class Operator(NamedTuple):
    """How often a step runs an operator, and which share of the time of all operators that is."""

    runs: int
    share: float


def operator_shares(model: Path, steps: Sequence[Step]) -> dict[str, Operator]:
    """Of each operator of a step on the CPU, by name, the one with the largest share first: medians over `steps`. Raises
    `UserError`: no model, no place for temporary files.

    onnxruntime's profiler adds the same few microseconds to each node; what the cheapest one takes is taken off them all. It
    counts whole microseconds, so what takes less than one more has no share."""
    events = _profile(model, steps)
    times: dict[tuple[str, str], list[int]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            times.setdefault((event["args"]["op_name"], event["name"]), []).append(event["dur"])
    medians = {node: median(taken) for node, taken in times.items()}
    cheapest = min(medians.values())
    total = sum(taken - cheapest for taken in medians.values()) or 1
    runs: dict[str, int] = {}
    shares: dict[str, float] = {}
    for (operator, _), taken in medians.items():
        runs[operator] = runs.get(operator, 0) + 1
        shares[operator] = shares.get(operator, 0) + (taken - cheapest) / total
    return {name: Operator(runs[name], shares[name]) for name in sorted(shares, key=lambda name: -shares[name])}


def _profile(model: Path, steps: Sequence[Step]) -> list[dict[str, Any]]:
    try:
        with TemporaryDirectory(prefix="antiphon-") as folder:
            stepper = Stepper.profiled(model, Path(folder) / "step")
            for step in steps:
                stepper.step(*step)
            events: list[dict[str, Any]] = json.loads(stepper.end_profile().read_bytes())
    except (OSError, json.JSONDecodeError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it was cut short"
        raise UserError(
            f"no profile can be written to the folder for temporary files ({problem}); "
            f"make room for {PROFILE_MB} MB there, or set TMPDIR to another"
        ) from None
    return events
