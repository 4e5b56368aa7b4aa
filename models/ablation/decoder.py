"""Ablations: what each part of the decoder, of the events' form and of the windows is worth, in one run.

    python -m models.ablate --corpus CORPUS --out runs/ablate [--set memory --length 512]

Every variant has the parameters of the base (to within 2 %, by the width of its feed-forward layers, or of an LSTM's trunk; the
larger size aside) and is trained from the same seed on the same windows in the same order. `models.ablation.variants` has the two
sets of variants.

All are scored on the same windows of the validation split: as the music stands (clean), with a live player (`perturb.LIVE`),
pieces from their start (opening), where no memory knows more than the window shows, and repeats: four bars, other music and the
four bars again, all in one window, the first time and again. The default size is a seventh of S, so that all of it is a matter of
hours on one core: read the differences for their sign and rank. Intervals are 95 % bootstraps over windows, paired with the base.
They do not cover the variation between trainings: "reseeded", the base from another seed, shows how large that is.

`--out` gets one file a variant and seed, and from all that are there results.json, results.md and results.png. A variant with a
file is not run again.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.utils.data import DataLoader

from models.ablation.decoder_report import report
from models.ablation.material import Kept, Material, Read
from models.ablation.readings import Arrays
from models.ablation.speed import DEVICE, now, step_times
from models.ablation.variants import ABLATION_SIZES, SETS, TRICKS, Variant, equalise, parameters
from models.command import Parser, make_folder, positive
from models.corpus.chords import with_chords
from models.corpus.pack import load_pack
from models.corpus.windows import collate
from models.nets.checkpoint import save_json
from models.nets.decoder import Decoder
from models.nets.layers import autocast
from models.training.decoder import CHORD_WEIGHT
from models.training.loop import descend, lr_scale, make_optimisers
from models.training.losses import candidates_of, window_losses
from realtime.errors import UserError
from realtime.music.vocabulary import HEADS


def batches(windows: Kept | list[Arrays], variant: Variant, batch: int) -> Iterator[dict[str, Tensor]]:
    """The windows as the variant gets them."""
    for found in DataLoader(Read(windows, variant.read), batch, collate_fn=collate):
        yield {name: x.to(DEVICE) for name, x in found.items()}


def losses_of(decoder: Decoder, batch: dict[str, Tensor], recalls: bool = True) -> Tensor:
    """`window_losses` of a batch, with a column for chords in any case: (B, 6). recalls: its memory, if it has one, is asked."""
    recalled = {"candidates": candidates_of(batch)} if decoder.memory is not None and recalls else {}
    logits, _ = decoder(batch["events"], batch["held"], batch["targets"], **recalled)
    losses = window_losses(logits, batch)
    return torch.nn.functional.pad(losses, (0, len(HEADS) + 1 - losses.shape[1]))


def train(
    variant: Variant, material: Material, args: argparse.Namespace, seed: int
) -> tuple[Decoder, list[list[float]], float]:
    """Train one. Returns it, its curve [[step, nats a note]], and its seconds (see `now`); making windows is not counted."""
    torch.manual_seed(seed)
    decoder = variant.make(variant.size).to(DEVICE)
    optimisers = make_optimisers(decoder, args.lr, "muon")
    windows = material.training(seed, variant.augment, args.steps * args.batch, variant.role)
    curve: list[list[float]] = []
    seconds, lost, notes = 0.0, 0.0, 0.0
    for step, batch in enumerate(batches(windows, variant, args.batch), 1):
        started = now()
        with autocast(DEVICE):
            *heads, chords = losses_of(decoder, batch, step > variant.grown * args.steps).sum(0)
        loss, count, due = sum(heads), batch["note"].sum(), batch["due"].sum()
        (loss / count.clamp(min=1) + CHORD_WEIGHT * chords / due.clamp(min=1)).backward()
        descend(decoder, optimisers, args.lr * lr_scale(step - 1, args.steps, max(args.steps // 10, 1)))
        seconds += now() - started
        lost, notes = lost + float(loss.detach()), notes + float(count)
        if step % max(args.steps // 30, 1) == 0 or step == args.steps:
            curve.append([step, round(lost / max(notes, 1), 4)])
            lost = notes = 0.0
    return decoder.eval(), curve, seconds


@torch.no_grad()
def score(decoder: Decoder, variant: Variant, material: Material, batch: int) -> dict[str, list[list[float]]]:
    """{"clean/compose": a row a window: nats of each head, of the chords, then notes}."""
    found = {}
    for name, windows in material.scored.items():
        rows = []
        for one in batches(windows, variant, batch):
            rows += torch.cat([losses_of(decoder, one), one["note"].sum(1, keepdim=True)], 1).tolist()
        found[name] = [[round(x, 3) for x in row] for row in rows]
    return found


def ablate(args: argparse.Namespace) -> None:
    """Train and score what is not there yet, and report on all that is. Raises `UserError`."""
    chosen = SETS[args.set](ABLATION_SIZES[args.size])
    base, *others = chosen.all
    names = [variant.name for variant in chosen.all]
    if unknown := set(args.only) - set(names):
        raise UserError(f"--only {' '.join(sorted(unknown))}: there is no such variant; there are {', '.join(names)}")
    pack = load_pack(args.corpus, args.cache)
    if chosen.chords:
        pack = with_chords(pack, args.corpus, args.cache)
    make_folder(args.out)
    target = parameters(base.make, base.size)
    setting = {
        **{name: getattr(args, name) for name in ("set", "size", "steps", "batch", "length", "lr", "valid_windows")},
        "data_hash": pack.hash,
        "tricks": json.loads(json.dumps(asdict(TRICKS))),  # as it comes back from a file
    }
    console = Console()
    console.print(f"size {args.size}: {target} parameters; {args.steps * args.batch * args.length} events a variant")
    compared = [base, *(v for v in others if not args.only or v.name in args.only)]
    missing = []
    for seed in range(1, args.seeds + 1):
        for variant in compared:
            file = args.out / f"{variant.name}-{seed}.json"
            if not file.exists():
                missing.append((seed, variant if variant.group == "size" else equalise(variant, target), file))
            elif (was := json.loads(file.read_text())["setting"]) != setting:
                raise UserError(f"{file}: made with {was}, not with {setting}; give another --out")
    if missing:
        material = Material(pack, args.length, args.valid_windows, chosen.memory)
        once = {variant.name: variant for _, variant, _ in missing}
        speeds = step_times(list(once.values()), material.scored["clean/compose"])
        for seed, variant, file in missing:
            result = {**run(variant, material, args, seed), **speeds[variant.name], "setting": setting}
            save_json(file, result)
            console.print(
                f"{variant.name} ({seed}): {result['parameters']} parameters, train {result['curve'][-1][1]}, "
                f"{result['seconds']} s"
            )
    console.print(report(args.out, names, setting, chosen.pairs))


def run(variant: Variant, material: Material, args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train and score one: what its file holds."""
    decoder, curve, seconds = train(variant, material, args, seed + variant.seed)
    return {
        **{name: getattr(variant, name) for name in ("name", "group", "what")},
        "seed": seed,
        "shape": asdict(variant.size),
        "parameters": sum(p.numel() for p in decoder.parameters()),
        "curve": curve,
        "seconds": round(seconds),
        "events_per_second": round(args.steps * args.batch * args.length / max(seconds, 1e-9)),
        "scores": score(decoder, variant, material, args.batch),
    }


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(
        prog="python -m models.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus(required=True)
    p.add_argument("--out", type=Path, required=True, help="folder of the results")
    p.add_argument("--set", choices=SETS, default="form", help="the variants")
    p.add_argument("--size", choices=ABLATION_SIZES, default="small", help="of the base; small: 128 x 3")
    p.add_argument("--steps", type=positive, default=300)
    p.add_argument("--batch", type=positive, default=8, help="windows a step")
    p.add_argument("--length", type=positive, default=256, help="events a window")
    p.add_argument("--lr", type=float, default=5e-3)
    p.add_argument("--valid-windows", type=positive, default=64, help="for each role")
    p.add_argument("--seeds", type=positive, default=1, help="trainings a variant, which are averaged")
    p.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these variants and the base")
    ablate(p.parse_args())
