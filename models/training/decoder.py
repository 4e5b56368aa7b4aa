"""Train the decoder.

    python -m models.train --corpus CORPUS --out runs/s --size S --steps 4000
    torchrun --nproc-per-node 2 -m models.train ...        # the same batches, shared out: same curve, more cores

A run folder gets `model.safetensors` (the moving average of the weights: what is evaluated and shipped), `run.json`,
`train.safetensors` (weights, average, optimiser, step: a killed run goes on from it and keeps its curve), `log.jsonl` and
TensorBoard events. The schedule is warm-up, flat, and a linear decay over the last fifth of `--steps`.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Subset
from torch.utils.tensorboard import SummaryWriter

from models.command import Parser, make_folder, positive, share
from models.corpus.chords import load_charted
from models.corpus.contexts import LATENTS_ONLY, TRAINING, Draw, contexts
from models.corpus.pack import Pack
from models.corpus.perturb import NONE, Augment
from models.corpus.windows import Windows, collate
from models.nets.autoencoder import load_bars
from models.nets.checkpoint import load_info, load_weights, save_decoder
from models.nets.context import Conditioning
from models.nets.decoder import SIZES, Decoder
from models.nets.layers import autocast, product_name
from models.training.loop import Progress, holding, lr_scale, make_optimisers, write_log
from models.training.losses import VALIDATION_ROLES, candidates_of, head_losses, validate
from realtime.errors import UserError
from realtime.music.vocabulary import HEADS

CHORD_WEIGHT = 0.3
"""What a nat of a chord counts beside one of a note: chords are foretold from little, and are there for the notes' sake."""


class Process(NamedTuple):
    """One of the processes that share a training (torchrun's `RANK` and `WORLD_SIZE`; else the only one), and its device."""

    rank: int
    world: int
    device: torch.device


def this_process() -> Process:
    """Read from the environment."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    return Process(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)), device)


class Training:
    """A run: what is trained, on what, and how far it has come. Raises `UserError`."""

    def __init__(self, args: argparse.Namespace, process: Process) -> None:
        self.args, self.process = args, process
        pack = load_charted(args.corpus, args.cache)
        make_folder(args.out)
        torch.manual_seed(args.seed)  # the same weights in every process
        self.bars = load_bars(args.bars).to(process.device) if args.bars else None
        self.decoder = self._make_decoder()
        optimisers = make_optimisers(self.decoder, args.lr, args.optimiser)
        self.progress = Progress(args.out / "train.safetensors", self.decoder, optimisers, process.device)
        self.model: nn.Module = DistributedDataParallel(self.decoder) if process.world > 1 else self.decoder
        if args.compile:
            self.model = torch.compile(self.model)  # type: ignore[assignment]
        self.batches = self._batches(pack)
        self.valid = {
            role.name.lower(): Windows(
                pack, "valid", args.length, 1, NONE, args.valid_windows, role, self.bars is not None, self.remembers
            )
            for role in VALIDATION_ROLES
        }
        self.info = self._describe(pack)

    def _make_decoder(self) -> Decoder:
        """With new weights, or those of `--init`."""
        args = self.args
        size = replace(SIZES[args.size], context=self.bars is not None)
        decoder = Decoder(size, args.dropout).to(self.process.device)
        if args.init:
            load_weights(args.init, decoder)
        if self.bars is not None and decoder.context is not None:
            decoder.context.read_with(self.bars)
        return decoder

    def _batches(self, pack: Pack) -> Iterator[dict[str, Tensor]]:
        """From the next step on, this process's share of each batch: every n-th window of one stream."""
        args, (rank, world, _) = self.args, self.process
        count, done = args.steps * args.batch, self.progress.step * args.batch
        cells = self.bars is not None
        stream = Windows(pack, "train", args.length, args.seed, Augment(), count, cells=cells, memory=self.remembers)
        mine = Subset(stream, range(done + rank, count, world))
        return iter(DataLoader(mine, args.batch // world, collate_fn=collate, num_workers=args.workers))

    def _describe(self, pack: Pack) -> dict[str, Any]:
        """What `run.json` says of the settings and the data."""
        args = self.args
        settings = ("size", "steps", "batch", "length", "lr", "optimiser", "dropout", "seed")
        info = {
            **{name: getattr(args, name) for name in settings},
            "init": load_info(args.init) if args.init else None,
            "data_hash": pack.hash,
            "split_hashes": {split: pack.split_hash(split) for split in ("train", "valid", "test")},
            "products": product_name(self.process.device),
        }
        return info if self.bars is None else {**info, "bars": self.bars.name}

    @property
    def remembers(self) -> bool:
        """Whether the decoder has a memory, and so wants candidates."""
        return self.decoder.memory is not None

    def condition(self, batch: dict[str, Tensor], seed: int, draw: Draw = TRAINING) -> Conditioning | None:
        """What the events of a batch are conditioned on; None without `--bars`."""
        noise = torch.Generator(self.process.device).manual_seed(seed)
        return contexts(batch, self.bars, draw, noise) if self.bars is not None else None

    def step(self) -> Tensor:
        """Train on the next batch. Returns what was summed over all processes' windows: the nats of each head, with the
        chord's, the
        notes and the CHORDs, (8,)."""
        args, progress, (rank, world, device) = self.args, self.progress, self.process
        seed = args.seed * 1_000_003 + progress.step * world + rank
        torch.manual_seed(seed)  # dropout, the same after a resume
        batch = {name: x.to(device) for name, x in next(self.batches).items()}
        conditioning = self.condition(batch, seed)
        with autocast(device):
            logits, _ = self.model(
                batch["events"],
                batch["held"],
                batch["targets"],
                conditioning=conditioning,
                candidates=candidates_of(batch),
            )
        losses = head_losses(logits, batch)
        sums = torch.cat([losses.detach(), batch["note"].sum()[None], batch["due"].sum()[None]])
        if world > 1:
            dist.all_reduce(sums)
        # DDP averages the gradients over the processes, so each contributes its sum over the mean number of notes.
        notes, chords = (sums[-2:] / world).clamp(min=1)
        (losses[: len(HEADS)].sum() / notes + CHORD_WEIGHT * losses[len(HEADS) :].sum() / chords).backward()
        progress.descend(args.lr * lr_scale(progress.step, args.steps))
        return sums.cpu()

    def validate(self) -> dict[str, Any]:
        """Nats a note on the validation split with the averaged weights, by role."""
        args, device = self.args, self.process.device
        with holding(self.decoder, self.progress.average):
            return validate(
                self.decoder, self.valid, args.batch, device, lambda batch: self.condition(batch, 0, LATENTS_ONLY)
            )

    def save(self, report: dict[str, Any]) -> None:
        """Write the averaged weights, `run.json` with this validation, and the progress."""
        progress = self.progress
        # First what ships: a run that is killed between the two goes on from the step before, and writes both again.
        info = {**self.info, "step": progress.step, "seconds": round(progress.seconds), "valid": report}
        save_decoder(self.args.out, progress.average, info)
        progress.save()


class Journal:
    """What the first process prints and writes to the log and to TensorBoard."""

    def __init__(self, training: Training) -> None:
        self.training, out = training, training.args.out
        self.log_file, self.board = out / "log.jsonl", SummaryWriter(out / "tensorboard")
        self.started = time.monotonic()
        self._begin()
        if step := training.progress.step:
            print(f"going on from step {step}")
        compiled = "compiled" if training.args.compile else "not compiled"
        device, threads = training.process.device, torch.get_num_threads()
        print(f"{training.info['products']} products on {device}, {threads} threads, {compiled}", flush=True)

    def _begin(self) -> None:
        """Nothing was trained since the last line."""
        self.sums, self.steps, self.busy = torch.zeros(len(HEADS) + 3), 0, 0.0

    def count(self, sums: Tensor, seconds: float) -> None:
        """A step was trained; see `Training.step`."""
        self.sums += sums
        self.steps += 1
        self.busy += seconds

    def write_training(self) -> None:
        """Nats a note of the steps since the last line, and their rate."""
        args, progress = self.training.args, self.training.progress
        progress.seconds += time.monotonic() - self.started
        self.started = time.monotonic()
        notes, chords = self.sums[-2:].clamp(min=1)
        per_head = (self.sums[: len(HEADS)] / notes).tolist()
        entry = dict(zip(HEADS, (round(x, 4) for x in per_head), strict=True))
        entry["chord"] = round(float(self.sums[len(HEADS)] / chords), 4)
        rate = round(self.steps * args.batch * args.length / self.busy)
        self._write({"train": round(sum(per_head), 4), **entry, "events_per_second": rate})
        self.board.add_scalar("train/nats_per_note", sum(per_head), progress.step)
        self._begin()

    def write_validation(self, report: dict[str, Any]) -> None:
        """Nats a note on the validation split, by role."""
        self._write({"valid": report})
        for role, values in report.items():
            self.board.add_scalar(f"valid/{role}", values["nats_per_note"], self.training.progress.step)

    def _write(self, entry: dict[str, Any]) -> None:
        progress = self.training.progress
        write_log(self.log_file, progress.step, progress.seconds, entry)
        print(f"step {progress.step} {progress.seconds:.0f} s {entry}", flush=True)


def train(args: argparse.Namespace) -> None:
    """The loop. Under torchrun each process takes every n-th window of the same stream of batches. Raises `UserError`."""
    process = this_process()
    if args.batch % process.world:
        raise UserError(f"--batch {args.batch} over {process.world} processes; give a multiple of {process.world}")
    if process.world > 1:
        dist.init_process_group("nccl" if process.device.type == "cuda" else "gloo")
    training = Training(args, process)
    journal = Journal(training) if process.rank == 0 else None
    while (step := training.progress.step) < args.steps:
        started = time.monotonic()
        sums = training.step()
        step += 1
        if journal is None:
            continue
        journal.count(sums, time.monotonic() - started)
        if step % args.log_every == 0 or step == args.steps:
            journal.write_training()
        if step % args.save_every == 0 or step == args.steps:
            report = training.validate()
            journal.write_validation(report)
            training.save(report)
    if process.world > 1:
        dist.barrier()
        dist.destroy_process_group()


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(prog="python -m models.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_corpus(required=True)
    p.add_training(4000, 16, "windows a step, over all processes", 2e-3, 200)
    p.add_argument(
        "--init", type=Path, help="a run whose weights to start from, as a new training with its own schedule"
    )
    p.add_argument(
        "--bars",
        type=Path,
        help="a run of models.training.autoencoder: train a decoder that is conditioned on its latents",
    )
    p.add_argument("--size", choices=SIZES, default="S")
    p.add_argument("--length", type=positive, default=512, help="events a window")
    p.add_argument("--optimiser", choices=("adamw", "muon"), default="adamw")
    p.add_argument("--dropout", type=share, default=0.1)
    p.add_argument("--workers", type=int, default=0, help="processes that make windows (a GPU wants many)")
    p.add_argument("--valid-windows", type=positive, default=32)
    p.add_argument("--log-every", type=positive, default=20)
    p.add_argument("--compile", action="store_true", help="torch.compile the model")
    train(p.parse_args())
