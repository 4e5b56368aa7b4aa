"""Train the planner (`models.nets.planner`) on the latents of a frozen bar autoencoder.

    python -m models.train_planner --corpus CORPUS --bars runs/bars --out runs/planner --steps 6000

First every piece is encoded `VARIANTS` times, transposed and with its parts dealt to player and model anew. A run folder gets
`model.safetensors` (the moving average of the weights), `run.json` with the last validation (`judge`), and
`train.safetensors`: a killed run goes on from it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.command import Parser, make_folder, positive
from models.corpus.cells import PATTERNS, Batch, EncodedCells
from models.corpus.contexts import mean_of
from models.corpus.pack import load_pack
from models.nets.autoencoder import BarAutoencoder, load_bars
from models.nets.checkpoint import save_json, save_tensors
from models.nets.layers import autocast
from models.nets.planner import FUTURE, PREFIX, Planner, sample
from models.training.loop import Progress, holding, lr_scale
from realtime.music.attributes import ATTRIBUTES, SCALE, attributes, controls
from realtime.music.cells import CELL_TICKS, LOWEST, STEP_TICKS
from realtime.music.notes import NOTE

VARIANTS = 4
BUCKETS = (0.0, 0.25, 0.5, 0.75, 1.0)


def errors(planner: Planner, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of the velocity, a mean over units, and whether it counts: both (B, 20)."""
    time = batch.time[..., None]
    with autocast(noise.device):
        guess = planner((1 - time) * noise + time * batch.latent, *batch[1:])
    return (guess - (batch.latent - noise)).square().mean(-1), (batch.time < 1) & (batch.known > 0)


# --- validation ---


def flow_errors(planner: Planner, cells: EncodedCells, count: int) -> dict[str, float]:
    """Mean squared error of the velocity on `count` fixed windows of each pattern: by pattern, and of all by time."""
    rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
    report, times, found = {}, [], []
    for pattern, name in zip(PATTERNS, ("continue", "whole", "rest", "gap"), strict=True):
        batch = cells.batch(rng, count, pattern)
        error, counts = errors(planner, batch, torch.randn(batch.latent.shape, generator=generator))
        found.append(error[counts])
        times.append(batch.time[counts])
        report[name] = float(found[-1].mean())
    time, error = torch.cat(times), torch.cat(found)
    for low, high in pairwise(BUCKETS):
        report[f"time {low}-{high}"] = float(error[(time >= low) & (time < high)].mean())
    return report


class Live(NamedTuple):
    """Situations of live playing: `past` (N, 16, 128), `future` (N, 4, 128), its `controls` (N, 4, 18), `tonic` (N,)."""

    past: Tensor
    future: Tensor
    controls: Tensor
    tonic: np.ndarray


def live(cells: EncodedCells, count: int) -> Live | None:
    """`count` of them, the same each time, with all controls; None where no piece is so long."""
    rng = np.random.default_rng(2)
    span = PREFIX + FUTURE
    sizes = cells.last - cells.first
    weight = np.diff(cells.cumulative, prepend=0) * (sizes >= span)
    if not weight.any():
        return None
    rows = []
    for piece in rng.choice(len(sizes), count, p=weight / weight.sum()):
        start = int(cells.first[piece] + rng.integers(sizes[piece] - span + 1))
        window = cells.latents[0, start : start + span].astype(np.float32)
        values = cells.values[start : start + span]
        style = int(cells.style[piece])
        given = controls(values[PREFIX:] - mean_of(values[:PREFIX]), style if style >= 0 else None)
        rows.append((window[:PREFIX], window[PREFIX:], given, cells.tonic[piece]))
    past, future, given, tonic = (np.stack(column) for column in zip(*rows, strict=True))
    return Live(*map(torch.from_numpy, (past, future, given)), tonic)


def closeness(guess: Tensor, truth: Tensor) -> dict[str, float]:
    """Of latents (N, 4, 128): mean squared error and cosine to the true ones, and their deviation as a share of the true."""
    return {
        "mse": float((guess - truth).square().mean()),
        "cosine": float(F.cosine_similarity(guess, truth, dim=-1).mean()),
        "nearest_mse": float((guess - truth)[:, 0].square().mean()),
        "deviation": float(guess.std() / truth.std()),
    }


Sampler = Callable[[Tensor, float, int], Tensor]
"""(controls, guidance, Euler steps) -> the next cells."""


def sampler(planner: Planner, past: Tensor) -> Sampler:
    """Draws that go on from `past`, from the same noise each time."""
    known = past.new_ones(past.shape[:2])
    return lambda given, guidance, steps: sample(
        planner, past, known, given, steps, guidance, torch.Generator().manual_seed(3)
    )


def forecasts(draw: Sampler, situation: Live) -> dict[str, dict[str, float]]:
    """`closeness` of what the planner draws, of its best guess in one step (the mean of what may come), and of baselines."""
    past, future, given, _ = situation
    guesses = {
        "prefix mean": past.mean(1, keepdim=True).expand_as(future),
        "4 cells earlier": past[:, -4:],
        "8 cells earlier": past[:, -8:-4],
        "another song": future.roll(1, 0),
        "posterior mean": draw(given, 0, 1),
        "posterior mean, controls": draw(given, 1, 1),
        "sample, 4 steps": draw(given, 0, 4),
        "sample, 8 steps": draw(given, 0, 8),
        "sample, 8 steps, controls": draw(given, 1, 8),
        "sample, 8 steps, guidance 2": draw(given, 2, 8),
    }
    return {name: closeness(guess, future) for name, guess in guesses.items()}


def figures_of(rolls: np.ndarray, tonic: np.ndarray) -> np.ndarray:
    """Attributes (N, 5) of rolls (N, 4, 48, 88) bool. tonic: (N,)."""

    def notes_of(plane: int) -> np.ndarray:
        cell, step, key = np.nonzero(rolls[:, plane] | rolls[:, plane + 2])
        notes = np.zeros(len(cell), NOTE)
        notes["onset"], notes["duration"] = cell * CELL_TICKS + step * STEP_TICKS, STEP_TICKS
        notes["pitch"] = key + LOWEST + (12 - tonic[cell]) * (plane == 1)
        return notes

    edges = np.arange(len(rolls) + 1) * CELL_TICKS
    onsets, held = attributes(notes_of(0), edges, 0), attributes(notes_of(1), edges, 0)
    return np.concatenate([onsets[:, :2], held[:, 2:]], 1)


def steering(draw: Sampler, situation: Live, bars: BarAutoencoder, guidance: float) -> dict[str, list[float]]:
    """What controls come to in the decoded cells. Of each attribute, asked for at +2 and at -2 alone: by how many units it
    differs for each unit asked, and the share of windows in which it is higher for +2."""
    tonic = situation.tonic.repeat(FUTURE)
    report = {}
    for i, name in enumerate(ATTRIBUTES):
        sides = []
        for wish in (2.0, -2.0):
            values = np.full((len(situation.past), FUTURE, len(ATTRIBUTES)), np.nan)
            values[..., i] = wish
            z = draw(torch.from_numpy(controls(values)), guidance, 8)
            figure = figures_of((bars.roll(z.flatten(0, 1)) > 0.5).numpy(), tonic)[:, i]
            sides.append(figure.reshape(-1, FUTURE))
        apart = sides[0] - sides[1]
        apart = np.array([mean for row in apart if np.isfinite(row).any() for mean in [np.nanmean(row)]])
        report[name] = [float(apart.mean() / (4 * SCALE[i])), float((apart > 0).mean())]
    return report


def judge(planner: Planner, cells: EncodedCells, bars: BarAutoencoder, count: int) -> dict[str, Any]:
    """All of the above, over `count` windows of each kind; situations of live playing where there are any."""
    report: dict[str, Any] = {"velocity": flow_errors(planner, cells, count)}
    if situation := live(cells, count):
        draw = sampler(planner, situation.past)
        report["forecasts"] = forecasts(draw, situation)
        report["steering"] = {f"guidance {g:g}": steering(draw, situation, bars, g) for g in (1.0, 2.0)}
    return report


def rounded(report: Any) -> Any:
    """With three decimals."""
    if isinstance(report, dict):
        return {name: rounded(value) for name, value in report.items()}
    return [round(x, 3) for x in report] if isinstance(report, list) else round(report, 3)


# --- training ---


def make_optimisers(planner: Planner) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for p in planner.blocks.parameters() if p.ndim == 2]
    rest = [p for name, p in planner.named_parameters() if p.ndim != 2 or not name.startswith("blocks.")]
    return [
        torch.optim.Muon(matrices, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def train(args: argparse.Namespace) -> None:
    """The loop. Raises `UserError`."""
    bars = load_bars(args.bars)
    pack = load_pack(args.corpus, args.cache)
    make_folder(args.out)
    started = time.monotonic()
    cells = EncodedCells(pack, "train", bars, args.variants, args.seed)
    held_out = EncodedCells(pack, "valid", bars, 1, args.seed)
    encoding = time.monotonic() - started
    print(f"{cells.latents.shape[1]} cells encoded {args.variants} times: {encoding:.0f} s", flush=True)
    torch.manual_seed(args.seed)
    planner = Planner()
    progress = Progress(args.out / "train.safetensors", planner, make_optimisers(planner))
    if progress.step:
        print(f"going on from step {progress.step}")
    info = {"steps": args.steps, "batch": args.batch, "lr": args.lr, "optimiser": "muon", "seed": args.seed}
    info |= {"bars": bars.name, "variants": args.variants, "data_hash": pack.hash}
    started, running = time.monotonic(), 0.0
    while (step := progress.step) < args.steps:
        batch = cells.batch(np.random.default_rng((args.seed, step)), args.batch)
        noise = torch.randn(batch.latent.shape, generator=torch.Generator().manual_seed(args.seed * 1_000_003 + step))
        error, counts = errors(planner, batch, noise)
        loss = error[counts].mean()
        loss.backward()
        progress.descend(args.lr * lr_scale(step, args.steps))
        step += 1
        running += float(loss.detach())
        last = step == args.steps
        if step % 100 == 0:
            progress.seconds += time.monotonic() - started
            started = time.monotonic()
            print(f"step {step} {progress.seconds:.0f} s train {running / 100:.4f}", flush=True)
            running = 0.0
        if step % args.save_every == 0 or last:
            with holding(planner, progress.average), torch.no_grad():
                report = rounded(
                    judge(planner, held_out, bars, args.judged) if last else flow_errors(planner, held_out, args.judged)
                )
            print(f"step {step} {json.dumps(report, indent=1 if last else None)}", flush=True)
            save_tensors(args.out / "model.safetensors", progress.average)
            seconds = round(progress.seconds)
            save_json(args.out / "run.json", {**info, "step": step, "seconds": seconds, "valid": report})
            progress.save()


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.train_planner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus(required=True)
    p.add_training(6000, 64, "windows a step", 2e-3, 500)
    p.add_argument("--bars", type=Path, required=True, help="a run of models.training.autoencoder")
    p.add_argument("--variants", type=positive, default=VARIANTS, help="how often each piece is encoded, 1 to 12")
    p.add_argument("--judged", type=positive, default=256, help="windows of each kind in validations")
    train(p.parse_args())
