"""What a decoder gains by its conditioning: nats per note on held-out windows and excerpts.

    python -m models.conditioning RUN --corpus CORPUS --bars RUN --planner RUN

The first table has the validation windows of `models.training.decoder`, by role: no conditioning, the latents of the cells
before, controls
(those of the true bars, which a musician would have had to turn by hand), a style, the true plan at some of its times. The
second has excerpts with plans as they are made live (`models.ablation.plan_scores`): no plan, the planner's, another
song's, the true one.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.ablation.plan_scores import Trust, draw_plans, excerpts, planned, true_plans
from models.command import Parser, positive
from models.corpus.chords import load_charted
from models.corpus.contexts import LATENTS_ONLY, Draw, contexts
from models.corpus.pack import Pack
from models.corpus.perturb import NONE
from models.corpus.windows import Windows
from models.nets.autoencoder import BarAutoencoder, load_bars
from models.nets.checkpoint import load_decoder, save_json
from models.nets.context import Conditioning
from models.nets.decoder import Decoder
from models.nets.planner import load_planner
from models.training.losses import VALIDATION_ROLES, validate
from realtime.composing.latents import PLAN_TRUST
from realtime.errors import UserError

NOTHING = Draw(past=0, plan=0, controls=0, style=0)
TIMES = (0.3, 0.5, 0.7, 0.9)
"""The times (0 noise, 1 clean) at which a plan is given."""
TRUST = PLAN_TRUST
DRAWS = {
    "nothing": NOTHING,
    "latents": LATENTS_ONLY,
    "latents, style": replace(LATENTS_ONLY, style=1),
    "latents, controls": replace(LATENTS_ONLY, controls=1),
} | {f"latents, true plan at {time}": replace(LATENTS_ONLY, plan=1, times=(time, time)) for time in TIMES}
BATCH = 16
Report = dict[str, dict[str, float]]
CPU = torch.device("cpu")


def of_windows(args: argparse.Namespace, decoder: Decoder, bars: BarAutoencoder, pack: Pack) -> Report:
    """The first table: by conditioning and by role."""
    sets = {
        role.name.lower(): Windows(
            pack, "valid", 512, 1, NONE, args.windows, role, cells=True, memory=decoder.memory is not None
        )
        for role in VALIDATION_ROLES
    }
    report = {}
    for name, draw in DRAWS.items():

        def condition(batch: dict[str, Tensor], draw: Draw = draw) -> Conditioning:
            return contexts(batch, bars, draw, torch.Generator().manual_seed(0))

        scores = validate(decoder, sets, BATCH, CPU, condition)
        report[name] = {role: score["nats_per_note"] for role, score in scores.items()}
    return report


def of_plans(args: argparse.Namespace, decoder: Decoder, bars: BarAutoencoder, pack: Pack) -> Report:
    """The second table: by conditioning and by role, the mixture of the streams of `plan_scores`."""
    planner = load_planner(args.planner)
    nats: dict[str, dict[str, list[float]]] = {}
    notes: dict[str, float] = {}
    found = excerpts(pack, "valid", args.songs, bars)
    for i, of in enumerate(found):
        other = found[(i + len(found) // 2) % len(found)]
        made = draw_plans(planner, of.latent, of.scored, args.draws, i)
        strange = draw_plans(planner, other.latent, other.scored, 1, i)
        rows = torch.arange(len(of.scored)) % len(other.scored)
        plans = {
            "another song's": (strange[rows], Trust(TRUST)),
            "true plan": (true_plans(of.latent, of.scored), Trust(TRUST)),
        }
        plans |= {f"planner at {time}": (made, Trust(time)) for time in TIMES}
        role = of.role.name.lower()
        notes[role] = notes.get(role, 0) + of.notes
        for name, (_, mixture) in planned(decoder, of, plans, i).items():
            nats.setdefault(name, {}).setdefault(role, []).append(mixture)
    return {
        name: {role: round(sum(each) / notes[role], 4) for role, each in by_role.items()}
        for name, by_role in nats.items()
    }


def show(title: str, report: Report) -> None:
    """One table."""
    roles = list(next(iter(report.values())))
    table = Table("conditioning", *roles, title=title)
    for name, scores in report.items():
        table.add_row(name, *(f"{scores[role]:.3f}" for role in roles))
    Console().print(table)


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.conditioning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("run", type=Path, metavar="RUN", help="a run of models.training.decoder --bars")
    p.add_corpus(required=True)
    p.add_argument(
        "--bars", type=Path, required=True, help="the run of models.training.autoencoder that it was trained with"
    )
    p.add_argument("--planner", type=Path, help="a run of models.training.planner; without, no second table")
    p.add_argument("--windows", type=positive, default=32, help="windows a role")
    p.add_argument("--songs", type=positive, default=40, help="songs of the second table")
    p.add_argument("--draws", type=positive, default=8, help="plans drawn for an excerpt")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    args = p.parse_args()
    pack = load_charted(args.corpus, args.cache)
    bars = load_bars(args.bars)
    decoder, info = load_decoder(args.run)
    if info.get("bars") != bars.name:
        raise UserError(
            f"{args.run}: trained on the latents {info.get('bars', '(none)')}, those of {args.bars} are {bars.name}; "
            "give the --bars it was trained with"
        )
    report = {"windows": of_windows(args, decoder, bars, pack)}
    show("windows, nats per note", report["windows"])
    if args.planner:
        report["excerpts"] = of_plans(args, decoder, bars, pack)
        show("excerpts, nats per note", report["excerpts"])
    if args.json:
        save_json(args.json, report)
