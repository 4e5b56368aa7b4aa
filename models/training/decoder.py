"""Train the decoder.

    python -m models.train --corpus CORPUS --out runs/s --size S --steps 4000
    torchrun --nproc-per-node 2 -m models.train ...        # the same batches, shared out: same curve, more cores

A run folder gets `model.safetensors` (the moving average of the weights: what is evaluated and shipped), `run.json`,
`train.safetensors` (weights, average, optimiser, step: a killed run goes on from it and keeps its curve), `log.jsonl` and
TensorBoard events. The schedule is warm-up, flat, and a linear decay over the last fifth of `--steps`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter

from models.command import Parser, positive, share
from models.corpus.contexts import LATENTS_ONLY, TRAINING, Draw, contexts
from models.corpus.pack import load_pack
from models.corpus.perturb import NONE, Augment
from models.corpus.windows import Windows, collate
from models.nets.autoencoder import load_bars
from models.nets.checkpoint import load_info, load_weights, save_decoder
from models.nets.context import Conditioning
from models.nets.decoder import SIZES, Decoder
from models.nets.layers import autocast, product_name
from models.training.loop import descend, holding, load_progress, lr_scale, make_optimisers, move_average, save_progress
from models.training.losses import VALIDATION_ROLES, head_losses, validate
from realtime.errors import UserError
from realtime.music.vocabulary import HEADS


def train(args: argparse.Namespace) -> None:
    """The loop. Under torchrun each process takes every n-th window of the same stream of batches. Raises `UserError`."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if args.batch % world:
        raise UserError(f"--batch {args.batch} over {world} processes; give a multiple of {world}")
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(args.seed + rank)
    pack = load_pack(args.corpus, args.cache)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be made ({error.strerror}); give a folder that can be written") from None
    torch.manual_seed(args.seed)
    bars = load_bars(args.bars).to(device) if args.bars else None
    decoder = Decoder(replace(SIZES[args.size], context=bars is not None), args.dropout).to(device)
    if args.init:
        load_weights(args.init, decoder)
    if bars is not None and decoder.context is not None:
        decoder.context.read_with(bars)
    average = {name: p.detach().clone() for name, p in decoder.state_dict().items()}
    optimisers = make_optimisers(decoder, args.lr, args.optimiser)

    step, seconds = 0, 0.0
    if (saved := args.out / "train.safetensors").exists():
        average, step, seconds = load_progress(saved, decoder, optimisers, device)
        if rank == 0:
            print(f"going on from step {step}")

    model: nn.Module = DistributedDataParallel(decoder) if world > 1 else decoder
    if args.compile:
        model = torch.compile(model)  # type: ignore[assignment]
    in_cells = bars is not None
    stream = Windows(pack, "train", args.length, args.seed, Augment(), args.steps * args.batch, cells=in_cells)
    mine = range(step * args.batch + rank, args.steps * args.batch, world)
    loader = iter(DataLoader(Subset(stream, mine), args.batch // world, collate_fn=collate, num_workers=args.workers))
    sets = {
        role.name.lower(): Windows(pack, "valid", args.length, 1, NONE, args.valid_windows, role, in_cells)
        for role in VALIDATION_ROLES
    }
    info = {
        "size": args.size,
        "steps": args.steps,
        "batch": args.batch,
        "length": args.length,
        "lr": args.lr,
        "optimiser": args.optimiser,
        "dropout": args.dropout,
        "seed": args.seed,
        "init": load_info(args.init) if args.init else None,
        "data_hash": pack.hash,
        "split_hashes": {split: pack.split_hash(split) for split in ("train", "valid", "test")},
    }
    if bars is not None:
        info["bars"] = bars.name
    info["products"] = product_name(device)
    if rank == 0:
        compiled = "compiled" if args.compile else "not compiled"
        print(f"{info['products']} products on {device}, {torch.get_num_threads()} threads, {compiled}", flush=True)
    board = SummaryWriter(args.out / "tensorboard") if rank == 0 else None
    started = time.monotonic()
    logged, busy = step, 0.0  # seconds of training alone since the last line of the log
    running = torch.zeros(len(HEADS) + 1)

    def condition(batch: dict[str, Tensor], seed: int, draw: Draw = TRAINING) -> Conditioning | None:
        return contexts(batch, bars, draw, torch.Generator(device).manual_seed(seed)) if bars is not None else None

    def log(entry: dict[str, Any]) -> None:
        with (args.out / "log.jsonl").open("a") as f:
            f.write(json.dumps({"step": step, "seconds": round(seconds), **entry}) + "\n")
        print(f"step {step} {seconds:.0f} s {entry}", flush=True)

    while step < args.steps:
        busy -= time.monotonic()
        torch.manual_seed(args.seed * 1_000_003 + step * world + rank)  # dropout, the same after a resume
        batch = {name: x.to(device) for name, x in next(loader).items()}
        conditioning = condition(batch, args.seed * 1_000_003 + step * world + rank)
        with autocast(device):
            logits, _ = model(batch["events"], batch["held"], batch["targets"], conditioning=conditioning)
        losses = head_losses(logits, batch)
        sums = torch.cat([losses.detach(), batch["note"].sum()[None]])  # (6,): per head, and the number of notes
        if world > 1:
            dist.all_reduce(sums)
        # DDP averages the gradients over the processes, so each contributes its sum over the mean number of notes.
        (losses.sum() / (sums[-1] / world).clamp(min=1)).backward()
        descend(decoder, optimisers, args.lr * lr_scale(step, args.steps))
        move_average(average, decoder, step)
        step += 1
        running += sums.cpu()
        busy += time.monotonic()
        if rank == 0 and board and (step % args.log_every == 0 or step == args.steps):
            seconds += time.monotonic() - started
            started = time.monotonic()
            per_head = (running[:-1] / running[-1].clamp(min=1)).tolist()
            entry = dict(zip(HEADS, (round(x, 4) for x in per_head), strict=True))
            rate = round((step - logged) * args.batch * args.length / busy)
            log({"train": round(sum(per_head), 4), **entry, "events_per_second": rate})
            logged, busy = step, 0.0
            board.add_scalar("train/nats_per_note", sum(per_head), step)
            running.zero_()
        if rank == 0 and board and (step % args.save_every == 0 or step == args.steps):
            with holding(decoder, average):
                report = validate(decoder, sets, args.batch, device, lambda batch: condition(batch, 0, LATENTS_ONLY))
            log({"valid": report})
            for role, values in report.items():
                board.add_scalar(f"valid/{role}", values["nats_per_note"], step)
            # First what ships: a run that is killed between the two goes on from the step before, and writes both again.
            save_decoder(args.out, average, {**info, "step": step, "seconds": round(seconds), "valid": report})
            save_progress(saved, decoder, average, optimisers, step, seconds)
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(prog="python -m models.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_corpus(required=True)
    p.add_argument("--out", type=Path, required=True, help="folder of this run")
    p.add_argument(
        "--init", type=Path, help="a run whose weights to start from, as a new training with its own schedule"
    )
    p.add_argument(
        "--bars",
        type=Path,
        help="a run of models.training.autoencoder: train a decoder that is conditioned on its latents",
    )
    p.add_argument("--size", choices=SIZES, default="S")
    p.add_argument("--steps", type=positive, default=4000)
    p.add_argument("--batch", type=positive, default=16, help="windows a step, over all processes")
    p.add_argument("--length", type=positive, default=512, help="events a window")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--optimiser", choices=("adamw", "muon"), default="adamw")
    p.add_argument("--dropout", type=share, default=0.1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--workers", type=int, default=0, help="processes that make windows (a GPU wants many)")
    p.add_argument("--valid-windows", type=positive, default=32)
    p.add_argument("--log-every", type=positive, default=20)
    p.add_argument("--save-every", type=positive, default=200)
    p.add_argument("--compile", action="store_true", help="torch.compile the model")
    train(p.parse_args())
