"""Train the bar autoencoder.

    python -m models.train_bars --corpus CORPUS --out runs/bars --steps 8000
    python -m models.train_bars --corpus CORPUS --out runs/bars2 --init runs/bars --decoder-only

Random cells of the training split, transposed, their parts dealt to player and model anew each time. The run folder gets
`model.safetensors` (the moving average of the weights), `run.json` with the gate's figures on held-out cells, and
`train.safetensors`: a killed run goes on from it. With `--decoder-only` the latents stay as they are, so that all that was
trained on them goes on fitting; what is drawn back from them gets better.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.command import Parser, make_folder
from models.corpus.cells import Cells
from models.corpus.pack import load_pack
from models.nets.autoencoder import FREE_NATS, BarAutoencoder, load_bars, rate, reconstruction
from models.nets.checkpoint import save_json, save_tensors
from models.nets.layers import autocast
from models.training.loop import Progress, holding, weights_of

RATE_WEIGHT = 0.01
"""What a nat of the latent costs beside one of the roll's: little, as the gate is on what can be drawn back."""
HELD_OUT = 8192
"""Cells that the gate is measured on."""
ACTIVE_VARIANCE = 0.01
"""A unit whose mean varies more than this over the held-out cells is active (Burda et al. 2016, section 5)."""
THRESHOLD = 0.5


@torch.no_grad()
def score(bars: BarAutoencoder, cells: Cells) -> dict[str, float]:
    """The gate, over `HELD_OUT` cells as they are drawn: F1 of the onsets, the mean over cells and that of all notes together
    (a bar of forty notes counts like forty of one), F1 of all held steps, and how many units are active."""
    bars.eval()
    rng = np.random.default_rng(7)
    hits: dict[str, list[Tensor]] = {"onset": [], "hold": []}  # by cell: right, too many, missing
    means = []
    for _ in range(HELD_OUT // 256):
        roll = cells.draw(rng, 256, transpose=False)
        logits, mean, _ = bars(roll)
        means.append(mean)
        drawn, there = logits.sigmoid() > THRESHOLD, roll > 0
        for first, of_kind in enumerate(hits.values()):
            a, b = drawn[:, first::2], there[:, first::2]
            of_kind.append(torch.stack([(x & y).sum((1, 2, 3)) for x, y in ((a, b), (a, ~b), (~a, b))], 1))
    bars.train()
    onset, hold = (torch.cat(of_kind).double() for of_kind in hits.values())
    with_onsets = onset[onset.sum(1) > 0]
    return {
        "onset_f1": round(float(_f1(with_onsets).mean()), 4),
        "onset_f1_of_notes": round(float(_f1(with_onsets.sum(0))), 4),
        "hold_f1_of_steps": round(float(_f1(hold.sum(0))), 4),
        "active_units": int((torch.cat(means).var(0) > ACTIVE_VARIANCE).sum()),
    }


def _f1(hits: Tensor) -> Tensor:
    """(..., 3) right, too many, missing -> (...)."""
    right, many, missing = hits.unbind(-1)
    return 2 * right / (2 * right + many + missing)


@torch.no_grad()
def standardise(bars: BarAutoencoder, cells: Cells) -> None:
    """Set what makes the latents of `cells` standard."""
    rng = np.random.default_rng(8)
    means = torch.cat([bars.encoder(cells.draw(rng, 256))[0] for _ in range(HELD_OUT // 256)])
    bars.mean.copy_(means.mean(0))
    bars.std.copy_(means.std(0))


def make_optimisers(bars: BarAutoencoder, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices between features, AdamW for the rest: those that touch keys, norms and biases."""
    trained = [(n, p) for n, p in bars.named_parameters() if p.requires_grad]
    matrices = [p for n, p in trained if p.ndim == 2 and ".step." not in n]
    rest = [p for n, p in trained if p.ndim != 2 or ".step." in n]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def step_loss(bars: BarAutoencoder, roll: Tensor, decoder_only: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of a batch of rolls: what is minimised, the nats of the rolls, and those of the latents."""
    with autocast(torch.device("cpu")):
        if decoder_only:
            with torch.no_grad():
                mean, log_variance = bars.encoder(roll)
            logits = bars.decoder(mean)
        else:
            logits, mean, log_variance = bars(roll)
    of_roll = reconstruction(logits, roll)
    of_units = rate(mean.float(), log_variance.float())
    loss = of_roll + RATE_WEIGHT * of_units.clamp(min=FREE_NATS).sum()
    return loss, of_roll.detach(), of_units.detach().sum()


def validate(
    progress: Progress, bars: BarAutoencoder, cells: Cells, held_out: Cells, decoder_only: bool
) -> dict[str, float]:
    """The gate, with the averaged weights; unless the encoder is fixed, these are first standardised on `cells`."""
    with holding(bars, progress.average):
        if not decoder_only:
            standardise(bars, cells)
        report = score(bars, held_out)
        progress.average = weights_of(bars)
    return report


def train(args: argparse.Namespace) -> None:
    """The loop. Raises `UserError`."""
    pack = load_pack(args.corpus, args.cache)
    make_folder(args.out)
    cells, held_out = Cells(pack, "train"), Cells(pack, "valid")
    torch.manual_seed(args.seed)
    bars = BarAutoencoder()
    if args.init:
        bars.load_state_dict(load_bars(args.init).state_dict())
    bars.encoder.requires_grad_(not args.decoder_only)
    progress = Progress(args.out / "train.safetensors", bars, make_optimisers(bars, args.lr))
    if progress.step:
        print(f"going on from step {progress.step}")
    info = {name: getattr(args, name) for name in ("steps", "batch", "lr", "seed", "decoder_only")}
    info |= {"data_hash": pack.hash}
    started = time.monotonic()
    running = np.zeros(2)
    bars.train()
    while (step := progress.step) < args.steps:
        torch.manual_seed(args.seed * 1_000_003 + step)
        roll = cells.draw(np.random.default_rng((args.seed, step)), args.batch)
        loss, of_roll, of_latent = step_loss(bars, roll, args.decoder_only)
        loss.backward()
        progress.descend(args.lr * min((step + 1) / 100, 1.0) * max(1 - step / args.steps, 0.01))
        step += 1
        running += [float(of_roll), float(of_latent)]
        if step % args.save_every == 0 or step == args.steps:
            progress.seconds += time.monotonic() - started
            started = time.monotonic()
            report = validate(progress, bars, cells, held_out, args.decoder_only)
            nats = (running / args.save_every).round(1).tolist()
            print(f"step {step} {progress.seconds:.0f} s roll {nats[0]} latent {nats[1]} nats {report}", flush=True)
            running[:] = 0
            save_tensors(args.out / "model.safetensors", progress.average)
            seconds = round(progress.seconds)
            save_json(args.out / "run.json", {**info, "step": step, "seconds": seconds, "valid": report})
            progress.save()


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.train_bars", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus(required=True)
    p.add_training(8000, 256, "cells a step", 3e-3, 500)
    p.add_argument("--init", type=Path, help="a run whose weights to start from")
    p.add_argument(
        "--decoder-only", action="store_true", help="leave the encoder, and with it the latents, as they are"
    )
    train(p.parse_args())
