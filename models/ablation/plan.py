"""What the plan is worth, at equal parameters: a decoder conditioned on latents and a plan, and two without.

    python -m models.plan_ablation --corpus CORPUS --bars runs/bars --planner runs/planner --out runs/plan_ablation

For each seed three decoders are trained on the same windows in the same order: "told", a small one with a context net;
"rival", the equal-parameter baseline, a larger one without, which has as many parameters as the first, its planner and the
encoder of bars together; "reference", the small one without a context net. All are scored on the same held-out excerpts
(`models.ablation.plan_scores`), the first with no plan, the planner's, another song's, the past's mean, and the true one. The
time at which a plan is given is chosen on validation. All also continue the beginnings of held-out pieces
(`models.ablation.plan_form`), to measure whose self-similarity is nearest to the real music's. `--decoder` has a trained decoder
scored beside them. Without `--planner` only the decoders are trained.

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
    Excerpt,
    draw_plans,
    excerpts,
    unconditioned,
)
from models.ablation.plan_trials import DRAWN, MEAN, scores, trials
from models.command import Parser, make_folder, positive
from models.corpus.chords import load_charted
from models.corpus.contexts import TRAINING, contexts
from models.corpus.pack import Pack
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


def parameters(module: nn.Module) -> int:
    """How many it has."""
    return sum(p.numel() for p in module.parameters())


def sizes(name: str, bars: BarAutoencoder) -> dict[str, Size]:
    """The three decoders."""
    small = ABLATION_SIZES[name]
    conditioned = replace(small, context=True)
    whole = parameters(Decoder(conditioned)) + parameters(Planner()) + parameters(bars.encoder)
    return {"told": conditioned, "rival": equalise(Variant("", "", "", RIVALS[name]), whole).size, "reference": small}


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
        self.pack = load_charted(args.corpus, args.cache)
        self.bars = load_bars(args.bars)
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


class Scoring:
    """Scores the decoders of an experiment on excerpts of held-out songs. Raises `UserError`."""

    def __init__(self, experiment: Experiment, planner: Planner) -> None:
        self.experiment, self.planner, self.args = experiment, planner, experiment.args
        pack, bars = experiment.pack, experiment.bars
        self.trained = self._trained()
        self.found = {split: excerpts(pack, split, self.args.songs, bars) for split in SPLITS}
        self.plans = {split: experiment.plans(split, self.found[split], planner) for split in SPLITS}

    def results(self, trained: dict[str, dict[str, Decoder]]) -> dict[str, Any]:
        """What plans.json holds, but for the setting. `trained`: by kind, decoders by name."""
        experiment = self.experiment
        groups = {"told": trained["told"], **self.trained}
        sizes = {kind: parameters(Decoder(size)) for kind, size in experiment.sizes.items()}
        return {
            "parameters": {
                **sizes,
                "planner": parameters(self.planner),
                "encoder": parameters(experiment.bars.encoder),
            },
            "excerpts": {
                split: [{"song": of.song, "role": of.role.name.lower(), "notes": of.notes} for of in self.found[split]]
                for split in self.args.splits
            },
            "told": {group: self._with_plans(decoders) for group, decoders in groups.items()},
            "untold": {kind: self._without(trained[kind]) for kind in ("rival", "reference")},
        }

    def _trained(self) -> dict[str, dict[str, Decoder]]:
        """The decoder of `--decoder`, as a group of its own."""
        if self.args.decoder is None:
            return {}
        decoder, info = load_decoder(self.args.decoder)
        if info.get("bars") != self.experiment.bars.name:
            raise UserError(
                f"{self.args.decoder}: was not trained with {self.args.bars}; give the --bars that it was trained with"
            )
        return {"trained": {f"trained-{digest(decoder.state_dict().values())}": decoder}}

    def _with_plans(self, decoders: dict[str, Decoder]) -> dict[str, Any]:
        """Of decoders that are conditioned on plans: the ways that were tried on validation, the scores in the best of them,
        and the form of what they play."""
        once, found, plans = self.experiment.once, self.found, self.plans
        tried = [
            once(f"trials-{name}.json", partial(trials, decoder, found["valid"], plans["valid"]))
            for name, decoder in decoders.items()
        ]
        gained = np.mean(tried, 0)
        drawn, mean = DRAWN[int(gained[: len(DRAWN)].argmin())], MEAN[int(gained[len(DRAWN) :].argmin())]
        form = partial(
            forms, planner=self.planner, bars=self.experiment.bars, pack=self.experiment.pack, count=self.args.pieces
        )
        return {
            "used": {"drawn": drawn._asdict(), "mean": mean._asdict()},
            "trials": [{**way._asdict(), "difference": x} for way, x in zip([*DRAWN, *MEAN], gained, strict=True)],
            "scores": self._by_split(
                decoders, lambda decoder, split: scores(decoder, found[split], plans[split], drawn, mean)
            ),
            "forms": [
                once(f"form-{name}.json", partial(form, decoder, trust=drawn)) for name, decoder in decoders.items()
            ],
        }

    def _without(self, decoders: dict[str, Decoder]) -> dict[str, Any]:
        """Of decoders that are conditioned on nothing: their scores."""
        return self._by_split(decoders, lambda decoder, split: [unconditioned(decoder, of) for of in self.found[split]])

    def _by_split(self, decoders: dict[str, Decoder], score: Callable[[Decoder, str], Any]) -> dict[str, list[Any]]:
        """The scores of each decoder, from their files where they are there."""
        return {
            split: [
                self.experiment.once(f"scores-{name}-{split}.json", partial(score, decoder, split))
                for name, decoder in decoders.items()
            ]
            for split in self.args.splits
        }


def ablate(args: argparse.Namespace) -> None:
    """Train and score what is not there yet, and report. Raises `UserError`."""
    experiment = Experiment(args)
    each = {(kind, n): experiment.decoder(kind, n) for n in range(1, args.seeds + 1) for kind in experiment.sizes}
    trained = {
        kind: {f"{k}-{n}": decoder for (k, n), decoder in each.items() if k == kind} for kind in experiment.sizes
    }
    if args.planner is not None:
        planner = load_planner(args.planner)
        scoring = {name: getattr(args, name) for name in ("songs", "draws", "pieces")}
        experiment.same("scoring.json", {"planner": digest(planner.state_dict().values()), **scoring})
        results = Scoring(experiment, planner).results(trained)
        results["setting"] = {**experiment.setting, **scoring, "seeds": args.seeds}
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
