"""Fit the chord estimators to the annotated pieces of a corpus' training split.

    python -m models.fit_chords CORPUS -o models/pretrained/harmony.npz
    python -m models.fit_chords CORPUS -o models/pretrained/harmony.tune.npz --hears tune --epochs 5

That of all voices (`realtime.music.harmony`), or that of a tune as it is being played (`realtime.music.tune_harmony`), which is
fitted to the tunes of other pieces too, whose chords the first one has estimated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from models.command import Parser, positive
from models.corpus.chords import load_charted
from models.corpus.pack import load_pack
from models.training import harmony, tune_harmony
from models.training.chord_fitting import estimated_examples, examples
from realtime.errors import UserError

FIT = {"all": harmony.fit, "tune": tune_harmony.fit}


def main() -> None:
    """Command line; see the module's docstring."""
    parser = Parser(
        prog="python -m models.fit_chords",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_corpus("corpus", metavar="CORPUS")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.npz", help="where the weights go")
    parser.add_argument("--hears", choices=tuple(FIT), default="all", help="what the estimator is to work with")
    parser.add_argument("--epochs", type=positive, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = examples(args.corpus, load_pack(args.corpus, args.cache))
    if not found:
        raise UserError(f"{args.corpus}: no piece of its training split has annotated chords; they are needed here")
    if args.hears == "tune":
        found += estimated_examples(args.corpus, load_charted(args.corpus, args.cache))
    weights = FIT[args.hears](found, args.epochs, args.seed).weights()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("wb") as file:
        np.savez_compressed(file, **weights)
    print(f"{args.out}: written")
