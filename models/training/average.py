"""The mean of the weights of several runs of one training: it often predicts better than each of them (Wortsman et al., "Model
soups", ICML 2022; Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018).

    python -m models.average RUN RUN ... -o OUT

OUT is a run, for `python -m export` and `--init`: the mean, and the last run's `run.json`, which says of which steps it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from models.command import Parser, make_folder
from models.nets.checkpoint import load_decoder, save_decoder
from realtime.errors import UserError


def average(runs: list[Path], out: Path) -> None:
    """Write the mean of `runs` to the folder `out`. Raises `UserError`: what cannot be read, or has other weights."""
    loaded = [load_decoder(run) for run in runs]
    weights = [decoder.state_dict() for decoder, _ in loaded]
    for run, each in zip(runs, weights, strict=True):
        if {name: x.shape for name, x in each.items()} != {name: x.shape for name, x in weights[-1].items()}:
            raise UserError(f"{run}: has other weights than {runs[-1]}; give runs of one training")
    info = loaded[-1][1] | {"averaged": [info["step"] for _, info in loaded]}
    mean = {name: torch.stack([each[name].float() for each in weights]).mean(0) for name in weights[-1]}
    make_folder(out)
    save_decoder(out, mean, info)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = Parser(
        prog="python -m models.average", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs of one training")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the mean")
    args = parser.parse_args()
    average(args.runs, args.out)
    print(f"{args.out}: the mean of {len(args.runs)} runs")
