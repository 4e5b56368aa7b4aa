"""Bach's chorales in frames of a sixteenth: the published benchmark, by a model of this family.

    python -m models.chorales --data ../shared/data --out runs/chorales

Trains on the 229 training pieces alone, selects on the 76 validation pieces, and reports nats per frame on them and on the
77 test pieces: the sum over the four voices of -log p(the voice's pitch | all frames before, the voices before it in this
frame), silence being a pitch, over every frame from the first on, divided by the frames. The interval is the 95 % bootstrap
by piece. The frames are `Jsb16thSeparated.json` as published; held and repeated notes are not told apart in it.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.command import Parser, make_folder, positive, share
from models.nets.checkpoint import save_json, save_tensors
from models.nets.chorales import CLASSES, HIGHEST, LOWEST, SILENCE, START, STRIDE, VOICES, Chorale, features
from models.nets.layers import autocast
from models.training.loop import descend, lr_scale, make_optimisers, move_average
from realtime.errors import UserError

ARCHIVE, MEMBER = Path("set_apart", "jsb_chorales.zip"), "json/Jsb16thSeparated.json"
SPLITS = ("train", "valid", "test")
RESAMPLES = 1000
OFFBEAT_SHARE = 0.25
"""How many of the frames between the eighths a training step looks at, weighed up in turn: little happens there."""
TRANSPOSITIONS = (-2, -1, 0, 1, 2)
"""For the second figure of the report: the same for every piece, so that nothing of what is to come is known by them."""
PITCHED = ("frames", "previous", "before", "copied")
Piece = dict[str, np.ndarray]


def to_classes(frames: list[list[int]]) -> np.ndarray:
    """MIDI pitches, -1 for silence, four a frame from soprano to bass -> (T, 4) classes. Raises `ValueError`."""
    pitches = np.array(frames)
    if pitches.ndim != 2 or pitches.shape[1] != len(VOICES):
        raise ValueError(f"frames of shape {pitches.shape}, not (T, {len(VOICES)})")
    sounding = pitches[pitches != -1]
    if ((sounding < LOWEST) | (sounding > HIGHEST)).any():
        raise ValueError(f"pitches {sounding.min()} to {sounding.max()}, not {LOWEST} to {HIGHEST}")
    return np.where(pitches == -1, SILENCE, pitches - LOWEST + 1)


def load_frames(data: Path) -> dict[str, list[np.ndarray]]:
    """The published frames: {split: [(T, 4) classes]}. Raises `UserError`."""
    try:
        with zipfile.ZipFile(data / ARCHIVE) as archive:
            published = json.loads(archive.read(MEMBER))
        return {split: [to_classes(frames) for frames in published[split]] for split in SPLITS}
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(
            f"{data / ARCHIVE}: {MEMBER} cannot be read ({error}); give the corpus folder as --data"
        ) from None


def vocal_ranges(pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest class each voice sings: (4,), (4,)."""
    frames = np.concatenate(pieces)
    return np.where(frames == SILENCE, CLASSES, frames).min(0), frames.max(0)


def shifts(frames: np.ndarray, ranges: tuple[np.ndarray, np.ndarray]) -> range:
    """By how many semitones a piece can be transposed with every voice in its range."""
    low, high = vocal_ranges([frames])
    return range(int((ranges[0] - low).max()), int((ranges[1] - high).min()) + 1)


def transposed(piece: Piece, semitones: int) -> Piece:
    """A piece's `features`, transposed; silence and `START` stay, and what leaves the classes goes to the nearest."""
    moved = {}
    for name in PITCHED:
        sounding = (piece[name] != SILENCE) & (piece[name] != START)
        moved[name] = np.where(sounding, np.clip(piece[name] + semitones, SILENCE + 1, CLASSES - 1), piece[name])
    return {**piece, **moved}


def collate(pieces: list[Piece]) -> dict[str, Tensor]:
    """Pieces -> (B, T, ...) tensors, zeros after the end, and `real`: (B, T), where there is a frame."""
    T = max(len(piece["frames"]) for piece in pieces)
    batch = {}
    for name in pieces[0]:
        padded = np.zeros((len(pieces), T, *pieces[0][name].shape[1:]), np.int64)
        for i, piece in enumerate(pieces):
            padded[i, : len(piece[name])] = piece[name]
        batch[name] = torch.from_numpy(padded)
    lengths = torch.tensor([len(piece["frames"]) for piece in pieces])
    batch["real"] = torch.arange(T) < lengths[:, None]
    return batch


def nats(model: Chorale, batch: dict[str, Tensor], chosen: Tensor) -> Tensor:
    """Negative log-likelihoods (N, 4) of the N frames that `chosen` (B, T) names."""
    return -model(batch, chosen).gather(-1, batch["frames"][chosen].unsqueeze(-1)).squeeze(-1)


@torch.no_grad()
def score(model: Chorale, pieces: list[Piece], semitones: tuple[int, ...] = (0,)) -> np.ndarray:
    """Nats of each piece, summed over its frames: (pieces, 4). Of several transpositions the probabilities are averaged."""
    model.eval()
    sums = []
    for piece in pieces:
        log_p = []
        for shift in semitones:
            batch = collate([transposed(piece, shift)])
            left = (piece["frames"] != SILENCE) & (batch["frames"][0].numpy() != piece["frames"] + shift)
            log_p.append(-nats(model, batch, batch["real"]).masked_fill(torch.from_numpy(left), torch.inf))
        sums.append((math.log(len(semitones)) - torch.stack(log_p).double().logsumexp(0)).sum(0))
    model.train()
    return torch.stack(sums).numpy()


def summary(sums: np.ndarray, frames: np.ndarray) -> dict[str, Any]:
    """Nats (pieces, 4) and frames (pieces,) -> nats per frame, its 95 % bootstrap interval by piece, and each voice's."""
    draws = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums.sum(1)[draws].sum(1) / frames[draws].sum(1), (2.5, 97.5))
    voices = sums.sum(0) / frames.sum()
    return {
        "nats_per_frame": round(float(voices.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "per_voice": {name: round(float(x), 4) for name, x in zip(VOICES, voices, strict=True)},
        "pieces": len(sums),
        "frames": int(frames.sum()),
    }


def batches(lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """An epoch: every piece once, pieces of nearly equal length together, in random order."""
    ordered = np.argsort(lengths * rng.uniform(0.8, 1.25, len(lengths)))
    cut = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [cut[i] for i in rng.permutation(len(cut))]


def train(pieces: dict[str, list[Piece]], args: argparse.Namespace) -> tuple[Chorale, dict[str, Any]]:
    """Returns the moving average of the weights that did best on the validation pieces, and how it came about."""
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    device = torch.device("cpu")
    model = Chorale(args.width, args.layers, args.dropout)
    if args.init:
        try:
            model.load_state_dict(load_file(args.init / "model.safetensors"))
        except (OSError, SafetensorError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{args.init}: cannot start from it ({reason}); give a run of the same size") from None
    average = copy.deepcopy(model)
    ranges = vocal_ranges([piece["frames"] for piece in pieces["train"]])
    keys = [shifts(piece["frames"], ranges) for piece in pieces["train"]]
    lengths = np.array([len(piece["frames"]) for piece in pieces["train"]])
    optimisers = make_optimisers(model, args.lr, "muon")
    optimisers[0].param_groups[0]["weight_decay"] = args.weight_decay
    steps = args.epochs * -(-len(lengths) // args.batch)
    step, best, chosen, started = 0, np.inf, average, time.monotonic()
    info: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    for epoch in range(1, args.epochs + 1):
        total = 0.0
        for rows in batches(lengths, args.batch, rng):
            batch = collate([transposed(pieces["train"][i], int(rng.choice(keys[i]))) for i in rows])
            share = torch.where(torch.arange(batch["real"].shape[1]) % STRIDE == 0, 1.0, OFFBEAT_SHARE)
            seen = batch["real"] & (torch.rand(batch["real"].shape) < share)
            with autocast(device):
                loss = (nats(model, batch, seen).sum(-1) / share.expand_as(seen)[seen]).sum()
            (loss / batch["real"].sum()).backward()
            descend(model, optimisers, args.lr * lr_scale(step, steps))
            move_average(average.state_dict(), model, step, args.average)
            step += 1
            total += float(loss.detach())
        if epoch % args.validate_every == 0 or epoch == args.epochs:
            frames = np.array([len(piece["frames"]) for piece in pieces["valid"]])
            valid = float(score(average, pieces["valid"]).sum() / frames.sum())
            if valid < best:
                best, chosen = valid, copy.deepcopy(average)
                save_tensors(args.out / "model.safetensors", chosen.state_dict())
                info["epoch"] = epoch
            minutes = (time.monotonic() - started) / 60
            print(f"epoch {epoch} {minutes:.1f} min: train {total / lengths.sum():.4f}, valid {valid:.4f}", flush=True)
    info["minutes"] = round((time.monotonic() - started) / 60, 1)
    return chosen, info


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(
        prog="python -m models.chorales", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help=f"the corpus folder, with {ARCHIVE}")
    p.add_argument("--out", type=Path, required=True, help="folder of this run: model.safetensors, report.json")
    p.add_argument("--init", type=Path, help="a run whose weights to start from, with a new schedule")
    p.add_argument("--epochs", type=positive, default=16)
    p.add_argument("--batch", type=positive, default=6, help="pieces a step")
    p.add_argument("--width", type=positive, default=128, help="a multiple of 64")
    p.add_argument("--layers", type=positive, default=3)
    p.add_argument("--dropout", type=share, default=0.35)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--weight-decay", type=float, default=0.05, help="of the blocks' matrices, times the learning rate")
    p.add_argument("--average", type=float, default=0.99, help="decay of the moving average of the weights")
    p.add_argument("--validate-every", type=positive, default=4, help="epochs")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    pieces = {split: [features(frames) for frames in found] for split, found in load_frames(args.data).items()}
    make_folder(args.out)
    model, info = train(pieces, args)
    settings = {name: value for name, value in vars(args).items() if name not in ("data", "out", "init")}
    report: dict[str, Any] = {"settings": settings, **info}
    for split in ("valid", "test"):
        frames = np.array([len(piece["frames"]) for piece in pieces[split]])
        report[split] = summary(score(model, pieces[split]), frames)
        report[split]["transpositions_averaged"] = summary(score(model, pieces[split], TRANSPOSITIONS), frames)
    save_tensors(args.out / "model.safetensors", model.state_dict())
    save_json(args.out / "report.json", report)
    print(json.dumps(report, indent=2))
