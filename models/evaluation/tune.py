"""How much an accompanist listens: what the tune changes in what is likely next, while its own past stays the same.

    python -m models.tune RUN --corpus CORPUS

Held-out windows in which the player has the melody and the model goes along with it, each scored twice: as it stands, and with
the melody moved by -5 to +6 semitones. All else is the same: what the accompaniment has played, what it plays next, its chords.
Of the chord head, and of the pitch head under the given chord, the table has the nats with the true tune and with the moved
one, the Kullback-Leibler divergence of the two in nats, and how often the likeliest choice is another. A model that follows its
own past alone shows no difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from models.command import Parser, positive
from models.corpus.chords import load_charted
from models.corpus.pack import Pack, Piece
from models.corpus.perturb import NONE
from models.corpus.windows import Windows, collate, window
from models.nets.checkpoint import load_decoder
from models.nets.decoder import Decoder
from models.training.losses import candidates_of
from realtime.errors import UserError
from realtime.music.vocabulary import HEADS, MELODY, MODEL_PART, Role

LENGTH = 384
MOVES = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)
FEWEST = 20
"""Notes of the tune in a window."""
TRIES = 20
"""Windows that are drawn at most for each that is wanted."""
FIGURES = ("nats", "with another tune", "divergence", "another choice")
Arrays = dict[str, np.ndarray]


def moved(piece: Piece, semitones: int) -> Piece:
    """The piece with its melody moved, at most to the ends of the keyboard."""
    notes = np.array(piece.notes)
    tune = notes["part"] == MELODY
    notes["pitch"][tune] = np.clip(notes["pitch"][tune].astype(int) + semitones, 0, 127)
    return replace(piece, notes=notes)


def pairs(pack: Pack, count: int, seed: int, memory: bool) -> Iterator[tuple[str, Arrays, Arrays]]:
    """Of `count` windows the source, the window, and the same with a moved tune. Windows in which the two differ in anything but
    what the player plays are left out: there the model has some of the melody. Raises `UserError` where there are none."""
    windows, found = Windows(pack, "valid", LENGTH, seed, NONE, count * TRIES), 0
    for i in range(len(windows)):
        rng = np.random.default_rng((seed, i))
        piece = windows.piece(rng)
        other = moved(piece, int(rng.choice(MOVES)))
        drawn = int(rng.integers(1 << 32))
        one, two = (
            window(each, LENGTH, np.random.default_rng(drawn), NONE, Role.ACCOMPANY, memory=memory)
            for each in (piece, other)
        )
        player = one["events"][:, 1] < MODEL_PART
        differs = one["events"][:, 2] != two["events"][:, 2]
        if not np.array_equal(one["targets"], two["targets"]) or (differs & ~player).any() or differs.sum() < FEWEST:
            continue
        yield piece.source, one, two
        found += 1
        if found == count:
            return
    if not found:
        raise UserError("no window of the split valid has a melody and an accompaniment; give another --corpus")


@torch.no_grad()
def logits_of(decoder: Decoder, arrays: Arrays) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Of one window: the heads' log-probabilities, each (T, choices), and its batch."""
    batch = collate([arrays])
    found, _ = decoder(batch["events"], batch["held"], batch["targets"], candidates=candidates_of(batch))
    return [head[0].log_softmax(-1) for head in found], batch


def figures(true: Tensor, other: Tensor, asked: Tensor) -> np.ndarray:
    """Sums of `FIGURES` over rows of log-probabilities (N, choices), (4,). asked: (N,)."""
    nats = [-log_p.gather(1, asked[:, None]).sum() for log_p in (true, other)]
    divergence = (true.exp() * (true - other)).sum()
    return np.array([float(x) for x in (*nats, divergence, (true.argmax(1) != other.argmax(1)).sum())])


def measure(decoder: Decoder, pack: Pack, count: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """{source or "all": {"chord" or "pitch": (4,) means of `FIGURES`}}."""
    sums: dict[str, dict[str, list[np.ndarray]]] = {}
    pitch = list(HEADS).index("pitch")
    for source, *both in pairs(pack, count, seed, decoder.memory is not None):
        (true, batch), (other, _) = (logits_of(decoder, arrays) for arrays in both)
        for name, head, asked, counts in (
            ("chord", len(HEADS), batch["chord"][0], batch["due"][0] > 0),
            ("pitch", pitch, batch["targets"][0, :, pitch], batch["note"][0] > 0),
        ):
            row = np.append(figures(true[head][counts], other[head][counts], asked[counts]), int(counts.sum()))
            for group in (source, "all"):
                sums.setdefault(group, {}).setdefault(name, []).append(row)
    windows = len(sums.get("all", {}).get("pitch", ()))
    print(f"{windows} windows" + ("" if windows == count else f" of the {count} asked for: no more were found"))
    means: dict[str, dict[str, np.ndarray]] = {}
    for group in sorted(sums):
        totals = {name: np.sum(rows, axis=0) for name, rows in sums[group].items()}
        means[group] = {name: total[:-1] / max(total[-1], 1) for name, total in totals.items()}
    return means


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(prog="python -m models.tune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path, metavar="RUN", help="a run of models.train, or models/pretrained/antiphon-s")
    p.add_corpus(required=True)
    p.add_argument("--windows", type=positive, default=60)
    p.add_argument("--seed", type=int, default=5)
    args = p.parse_args()
    decoder, _ = load_decoder(args.run)
    if decoder.chord_head is None:
        raise UserError(f"{args.run}: draws no chords; give a run of a decoder that does")
    pack = load_charted(args.corpus, args.cache)
    table = Table("head", "source", *FIGURES)
    for source, means in measure(decoder, pack, args.windows, args.seed).items():
        for head, row in means.items():
            table.add_row(head, source, *(f"{x:.3f}" for x in row))
    Console().print(table)
