"""What the plan is worth, at equal parameters: a decoder that is told of latents and a plan, and two that are told nothing.

    python -m models.plan_ablation --corpus CORPUS --bars runs/bars --planner runs/planner --out runs/plan_ablation

Trained for each seed, on the same windows in the same order: "told", a small decoder with a context net; "rival", a larger one
without, whose parameters are those of the first, of its planner and of the encoder of bars together; "reference", the small one
alone. All are scored on the same held-out excerpts (`models.ablation.plan_scores`), the first with no plan, the
planner's, another
song's, the mean of the past, and the true one. How far a plan is trusted is chosen on validation. And all go on from the
beginnings of held-out pieces (`models.ablation.plan_form`), to see whose form is nearest to the real one's. `--decoder`
has a trained
decoder scored beside them. Without `--planner` only the decoders are trained.

`--out` gets a file a decoder and a file for its scores; what has one is not made again. From all, plans.json, plans.md and
plans.png.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from models.ablation.decoder import ABLATION_SIZES, Variant, equalise
from models.ablation.plan_form import forms
from models.ablation.plan_report import report
from models.ablation.plan_scores import (
    CPU,
    ROLES,
    Excerpt,
    Scores,
    Trust,
    draw_plans,
    excerpts,
    mean_plans,
    planned,
    true_plans,
    unconditioned,
)
from models.command import Parser, make_folder, positive
from models.corpus.contexts import TRAINING, contexts
from models.corpus.pack import Pack, load_pack
from models.corpus.perturb import Augment
from models.corpus.windows import Windows, collate
from models.nets.autoencoder import BarAutoencoder, digest, load_bars
from models.nets.checkpoint import load_decoder, save_json, save_tensors
from models.nets.decoder import Decoder, Size
from models.nets.layers import autocast
from models.nets.planner import Planner, load_planner
from models.training.loop import descend, lr_scale, make_optimisers
from models.training.losses import head_losses
from realtime.errors import UserError

SPLITS = ("valid", "test")
RIVALS = {"small": Size(256, 4, 96), "tiny": Size(128, 4, 32)}
DRAWN = [
    *(Trust(time) for time in (0.3, 0.5, 0.7, 0.9, 1.0)),
    *(Trust(0.5, rows=rows) for rows in (1, 2)),
    *(Trust(0.5, guidance=guidance) for guidance in (0.25, 0.5, 2.0)),
]
MEAN = [
    *(Trust(time, noisy=False) for time in (0.2, 0.4, 0.6, 0.9)),
    *(Trust(0.4, rows=rows, noisy=False) for rows in (1, 2)),
    *(Trust(0.4, guidance=guidance, noisy=False) for guidance in (0.1, 0.25, 0.5, 2.0)),
]
"""How to tell a plan that is drawn, and how the mean of all that are drawn for a cell. Of each the best on validation is used."""
TRIAL_DRAWS = 4


def parameters(module: nn.Module) -> int:
    """How many it has."""
    return sum(p.numel() for p in module.parameters())


def sizes(name: str, bars: BarAutoencoder) -> dict[str, Size]:
    """The three decoders."""
    small = ABLATION_SIZES[name]
    told = replace(small, context=True)
    whole = parameters(Decoder(told)) + parameters(Planner()) + parameters(bars.encoder)
    return {"told": told, "rival": equalise(Variant("", "", "", RIVALS[name]), whole).size, "reference": small}


def train(size: Size, pack: Pack, bars: BarAutoencoder, args: argparse.Namespace, seed: int) -> Decoder:
    """One decoder; what it sees depends on the seed alone."""
    torch.manual_seed(seed)
    decoder = Decoder(size)
    if decoder.context is not None:
        decoder.context.read_with(bars)
    optimisers = make_optimisers(decoder, args.lr, "muon")
    stream = Windows(pack, "train", args.length, seed, Augment(), args.steps * args.batch, cells=True)
    for step, batch in enumerate(DataLoader(stream, args.batch, collate_fn=collate)):
        rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
        with autocast(CPU):
            logits, _ = decoder(
                batch["events"],
                batch["held"],
                batch["targets"],
                conditioning=contexts(batch, bars, TRAINING, rng) if size.context else None,
            )
        (head_losses(logits, batch).sum() / batch["note"].sum().clamp(min=1)).backward()
        descend(decoder, optimisers, args.lr * lr_scale(step, args.steps, max(args.steps // 10, 1)))
    return decoder.eval()


class Experiment:
    """A folder of results, in which nothing is made twice."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, args.out
        self.pack, self.bars = load_pack(args.corpus, args.cache), load_bars(args.bars)
        self.sizes = sizes(args.size, self.bars)
        make_folder(self.out)
        names = ("size", "steps", "batch", "length", "lr")
        self.setting = {name: getattr(args, name) for name in names}
        self.setting |= {"bars": self.bars.name, "data_hash": self.pack.hash}
        self.same("training.json", self.setting)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The JSON file of this name, made if it is not there."""
        if not (file := self.out / name).exists():
            save_json(file, make())
            print(f"{file}: written", flush=True)
        return json.loads(file.read_text())

    def same(self, name: str, setting: dict[str, Any]) -> None:
        """Raises `UserError` where the folder was made with another setting."""
        if (was := self.once(name, lambda: setting)) != setting:
            raise UserError(f"{self.out}: made with {was}, not with {setting}; give another --out")

    def decoder(self, kind: str, seed: int) -> Decoder:
        """One, trained now or before."""
        file = self.out / f"{kind}-{seed}.safetensors"
        if not file.exists():
            started = time.process_time()
            trained = train(self.sizes[kind], self.pack, self.bars, self.args, seed)
            save_tensors(file, trained.state_dict())
            print(f"{file}: {parameters(trained)} parameters, {time.process_time() - started:.0f} s", flush=True)
        decoder = Decoder(self.sizes[kind])
        decoder.load_state_dict(load_file(file))
        return decoder.eval()

    def plans(self, split: str, found: list[Excerpt], planner: Planner) -> list[Tensor]:
        """The planner's for each excerpt, (n, draws, ROWS, 128)."""
        file = self.out / f"plans-{split}.safetensors"
        if not file.exists():
            drawn = [draw_plans(planner, of.latent, of.scored, self.args.draws, i) for i, of in enumerate(found)]
            save_tensors(file, {str(i): plan.half() for i, plan in enumerate(drawn)})
            print(f"{file}: written", flush=True)
        tensors = load_file(file)
        return [tensors[str(i)].float() for i in range(len(found))]


def trials(decoder: Decoder, found: list[Excerpt], plans: list[Tensor]) -> list[float]:
    """Nats a note more than with no plan on validation, in each way of `DRAWN` and `MEAN`."""
    total, ways = np.zeros(len(DRAWN) + len(MEAN)), [*DRAWN, *MEAN]
    for i, (of, plan) in enumerate(zip(found, plans, strict=True)):
        kinds = [plan[:, :TRIAL_DRAWS]] * len(DRAWN) + [plan.mean(1, keepdim=True)] * len(MEAN)
        nats = planned(decoder, of, {str(n): way for n, way in enumerate(zip(kinds, ways, strict=True))}, i)
        total += [nats[str(n)][1] - nats["no plan"][1] for n in range(len(ways))]
    return (total / sum(of.notes for of in found)).round(5).tolist()


def scores(decoder: Decoder, found: list[Excerpt], plans: list[Tensor], drawn: Trust, mean: Trust) -> list[Scores]:
    """Of each excerpt with each kind of plan."""
    rows = []
    for i, (of, plan) in enumerate(zip(found, plans, strict=True)):
        other = plans[(i + len(ROLES)) % len(plans)]  # the next song's, in the same role
        other = other[torch.arange(len(plan)) % len(other)]
        true = true_plans(of.latent, of.scored)
        kinds = {
            "planner": (plan, drawn),
            "another song's": (other, drawn),
            "true": (true.expand(-1, TRIAL_DRAWS, -1, -1), drawn),
            "planner's mean": (plan.mean(1, keepdim=True), mean),
            "another song's mean": (other.mean(1, keepdim=True), mean),
            "mean of the past": (mean_plans(of.latent, of.scored), mean),
            "true, told as a mean": (true, mean),
            "true, nearly clean": (true, Trust(TRAINING.times[1])),
        }
        nats = planned(decoder, of, kinds, i, ("planner", "another song's"))
        rows.append({**nats, "nothing told": [unconditioned(decoder, of)] * 2})
    return rows


def ablate(args: argparse.Namespace) -> None:
    """Train and score what is not there yet, and report. Raises `UserError`."""
    experiment = Experiment(args)
    each = {(kind, n): experiment.decoder(kind, n) for n in range(1, args.seeds + 1) for kind in experiment.sizes}
    trained = {
        kind: {f"{k}-{n}": decoder for (k, n), decoder in each.items() if k == kind} for kind in experiment.sizes
    }
    if args.planner is None:
        return
    planner = load_planner(args.planner)
    scoring = {name: getattr(args, name) for name in ("songs", "draws", "pieces")}
    experiment.same("scoring.json", {"planner": digest(planner.state_dict().values()), **scoring})
    found = {split: excerpts(experiment.pack, split, args.songs, experiment.bars) for split in SPLITS}
    plans = {split: experiment.plans(split, found[split], planner) for split in SPLITS}
    groups = {"told": trained["told"]}
    if args.decoder is not None:
        decoder, info = load_decoder(args.decoder)
        if info.get("bars") != experiment.bars.name:
            raise UserError(f"{args.decoder}: was not told of {args.bars}; give the --bars that it was trained with")
        groups["trained"] = {f"trained-{digest(decoder.state_dict().values())}": decoder}

    results: dict[str, Any] = {
        "setting": {**experiment.setting, **scoring, "seeds": args.seeds},
        "parameters": {kind: parameters(Decoder(size)) for kind, size in experiment.sizes.items()}
        | {"planner": parameters(planner), "encoder": parameters(experiment.bars.encoder)},
        "excerpts": {
            split: [{"song": of.song, "role": of.role.name.lower(), "notes": of.notes} for of in found[split]]
            for split in args.splits
        },
        "told": {},
        "untold": {},
    }
    for group, decoders in groups.items():
        tried = [
            experiment.once(f"trials-{name}.json", partial(trials, decoder, found["valid"], plans["valid"]))
            for name, decoder in decoders.items()
        ]
        gained = np.mean(tried, 0)
        drawn, mean = DRAWN[int(gained[: len(DRAWN)].argmin())], MEAN[int(gained[len(DRAWN) :].argmin())]
        results["told"][group] = {
            "used": {"drawn": drawn._asdict(), "mean": mean._asdict()},
            "trials": [{**way._asdict(), "difference": x} for way, x in zip([*DRAWN, *MEAN], gained, strict=True)],
            "scores": {
                split: [
                    experiment.once(
                        f"scores-{name}-{split}.json", partial(scores, decoder, found[split], plans[split], drawn, mean)
                    )
                    for name, decoder in decoders.items()
                ]
                for split in args.splits
            },
            "forms": [
                experiment.once(
                    f"form-{name}.json",
                    partial(forms, decoder, planner, experiment.bars, experiment.pack, args.pieces, drawn),
                )
                for name, decoder in decoders.items()
            ],
        }
    for kind in ("rival", "reference"):
        results["untold"][kind] = {
            split: [
                experiment.once(
                    f"scores-{name}-{split}.json", lambda d=decoder, of=found[split]: [unconditioned(d, x) for x in of]
                )
                for name, decoder in trained[kind].items()
            ]
            for split in args.splits
        }
    Console().print(report(args.out, results))


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(
        prog="python -m models.plan_ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus(required=True)
    p.add_argument("--bars", type=Path, required=True, help="a run of models.training.autoencoder")
    p.add_argument("--planner", type=Path, help="a run of models.training.planner")
    p.add_argument("--decoder", type=Path, help="a run of models.training.decoder with the same --bars")
    p.add_argument("--out", type=Path, required=True, help="folder of the results")
    p.add_argument("--size", choices=RIVALS, default="small", help="of the decoders; small: 128 x 3")
    p.add_argument("--seeds", type=positive, default=3)
    p.add_argument("--steps", type=positive, default=300)
    p.add_argument("--batch", type=positive, default=4, help="windows a step")
    p.add_argument("--length", type=positive, default=512, help="events a window")
    p.add_argument("--lr", type=float, default=5e-3)
    p.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="to score")
    p.add_argument("--songs", type=positive, default=32, help="to score, of each split")
    p.add_argument("--draws", type=positive, default=16, help="plans a cell")
    p.add_argument("--pieces", type=positive, default=16, help="to go on from")
    ablate(p.parse_args())
