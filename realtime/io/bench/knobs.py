"""`antiphon bench --knobs`: what the knobs for density, register and polyphony change when they are turned to their ends.

A tune is played in every mode, in simulated time, with each knob at one end, in the middle and at the other end, and with
several seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from realtime.config import Config
from realtime.io.bench.music import MODES, duet
from realtime.io.files.whole import check_writable, write_bytes
from realtime.io.live.model import Model
from realtime.io.live.settings import worker_setup
from realtime.music.tunes import ODE_TO_JOY

SEEDS = 8
KNOBS = {
    "density": "notes, over those with the knob in the middle",
    "register": "semitones from the mean pitch with the knob in the middle",
    "polyphony": "notes an onset",
}


def figures(config: Config, model: Model, seeds: int = SEEDS) -> dict[str, dict[str, list[float]]]:
    """By mode and knob, `KNOBS` at its lower end, in the middle and at its upper end: means over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for mode in MODES:
        middle = _of_place(config, model, mode, "density", 0.0, seeds)  # the same with every knob
        found[mode] = {knob: _of_knob(config, model, mode, knob, seeds, middle) for knob in KNOBS}
    return found


def _of_knob(config: Config, model: Model, mode: str, knob: str, seeds: int, middle: tuple[float, ...]) -> list[float]:
    low, high = (_of_place(config, model, mode, knob, place, seeds) for place in (-1.0, 1.0))
    counts, pitches, chords = np.array([low, middle, high]).T
    if knob == "density":
        return [float(count) for count in counts / max(counts[1], 1)]
    return [float(value) for value in (pitches - pitches[1] if knob == "register" else chords)]


def _of_place(config: Config, model: Model, mode: str, knob: str, place: float, seeds: int) -> tuple[float, ...]:
    """Notes, mean pitch and notes an onset of what Antiphon plays; means over the seeds."""
    found = []
    name = "register_" if knob == "register" else knob
    for seed in range(1, seeds + 1):
        turned = config.model_copy(
            update={
                "controls": config.controls.model_copy(update={name: place}),
                "engine": config.engine.model_copy(update={"seed": seed}),
            }
        )
        notes = duet(turned, model, ODE_TO_JOY, mode).antiphon
        if len(notes):
            found.append((len(notes), notes["pitch"].mean(), len(notes) / len(np.unique(notes["onset"]))))
    return tuple(np.mean(found, 0)) if found else (0.0, 0.0, 0.0)


def run(config: Config, json_file: Path | None = None) -> None:
    """Measure and print a table; with `json_file` write the figures there too. Raises `UserError`."""
    if json_file is not None:
        check_writable(json_file)
    result = figures(config, Model.load(worker_setup(config)))
    table = Table(title=f"knobs at 0, 64 and 127, means over {SEEDS} seeds")
    table.add_column("mode")
    for knob, what in KNOBS.items():
        table.add_column(f"{knob}: {what}", justify="right")
    for mode, by_knob in result.items():
        cells = [
            " ".join(f"{value:+.1f}" if knob == "register" else f"{value:.2f}" for value in values)
            for knob, values in by_knob.items()
        ]
        table.add_row(mode, *cells)
    Console().print(table)
    if json_file is not None:
        write_bytes(json_file, (json.dumps(result, indent=2) + "\n").encode())
