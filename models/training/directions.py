"""Directions in the space of latents along which music gets denser, higher, brighter, tenser, fuller, or more like a style.

    python -m models.directions --corpus CORPUS --bars RUN -o models/pretrained/directions.json

They are fitted on cells of the training split, moved to a tonic of C, all notes as the model's. What is fitted is by how much a
cell differs from the mean of its piece (`realtime.music.attributes`), in units of `SCALE`. Ridge regression gives
weights A (5, 128)
that read the attributes off a latent. They are no directions to go in: they leave the manifold the latents lie on. With the
latents' covariance S, along S a is where latents with more of an attribute lie (Haufe et al., NeuroImage 87, 2014), so

    W = S A' (A S A')^-1      and A W = I: a step along one direction changes its own attribute by 1 and no other's reading

The direction of a style is the mean of its latents less the mean of all, less what A reads in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from models.command import Parser, positive
from models.corpus.contexts import style_of
from models.corpus.pack import Pack, Piece, load_pack
from models.nets.autoencoder import load_bars
from models.nets.checkpoint import save_json
from realtime.editing.edit import Codec, shift_to_c
from realtime.music.attributes import ATTRIBUTES, MOST, SCALE, STYLES, attributes
from realtime.music.cells import LATENT, cell_edges, rolls
from realtime.music.keys import key_of
from realtime.music.vocabulary import DRUMS

RIDGE = 0.01
"""Penalty on the weights, against latents of variance 1."""
CELLS_A_PIECE = 12
DIGITS = 5


class Bars:
    """The latents of a run's autoencoder, as `realtime.editing.edit.Codec` has them."""

    def __init__(self, run: Path) -> None:
        """Raises `UserError`."""
        self._bars = load_bars(run)

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        """(N, 4, 48, 88) -> (N, 128)."""
        return np.asarray(self._bars.latent(torch.from_numpy(rolls)))

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, 128) -> probabilities (N, 4, 48, 88)."""
        return np.asarray(self._bars.roll(torch.from_numpy(latents)))


class Samples(NamedTuple):
    """Latents (N, 128), attributes against the piece's mean in control units (N, 5), styles (N,), -1 where there is none."""

    latents: np.ndarray
    values: np.ndarray
    styles: np.ndarray


def in_c(piece: Piece) -> tuple[np.ndarray, np.ndarray] | None:
    """A piece's pitched notes (`music.NOTE`-like) moved to a tonic of C, and the edges of its cells; None where it has none."""
    notes = piece.notes[piece.notes["part"] != DRUMS].copy()
    if not len(notes) or not len(piece.bar_starts):
        return None
    moved = notes["pitch"].astype(int) + shift_to_c(key_of(notes).tonic)
    notes["pitch"] = np.clip(moved, 0, 127)
    last = piece.beats[-1]
    return notes, cell_edges(piece.bar_starts, int(last["start"]) + int(last["length"]))


def samples(codec: Codec, pack: Pack, split: str, pieces: int, seed: int = 1) -> Samples:
    """The sounding ones of `CELLS_A_PIECE` cells in a row of each of so many pieces, drawn at random."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in rng.permutation(pack.rows(split))[:pieces]:
        moved = in_c(pack[i])
        if moved is None:
            continue
        notes, edges = moved
        figures = attributes(notes, edges, 0)
        values = (figures - np.nanmean(figures, 0)) / SCALE
        first = int(rng.integers(max(len(figures) - CELLS_A_PIECE, 0) + 1))
        span = slice(first, first + CELLS_A_PIECE)
        sounding = np.isfinite(figures[span]).all(1)
        if not sounding.any():
            continue
        style = style_of(pack[i].source)
        cells = rolls(notes, np.zeros(len(notes), bool), edges[first : first + CELLS_A_PIECE + 1])[sounding]
        values_there = values[span][sounding].clip(-MOST, MOST)
        rows.append((codec.encode(cells), values_there, np.full(len(cells), -1 if style is None else style)))
    return Samples(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def fit(data: Samples) -> dict[str, np.ndarray]:
    """A direction (128,) for each attribute and each style that the data have."""
    centred = data.latents - data.latents.mean(0)
    covariance = centred.T @ centred / len(centred)
    values = data.values - data.values.mean(0)
    read = np.linalg.solve(covariance + RIDGE * np.eye(LATENT), centred.T @ values / len(centred)).T  # (5, 128)
    ahead = covariance @ read.T @ np.linalg.inv(read @ covariance @ read.T)  # (128, 5)
    directions = dict(zip(ATTRIBUTES, ahead.T, strict=True))
    for index, style in enumerate(STYLES):
        if (of_style := data.styles == index).any():
            away = centred[of_style].mean(0)
            directions[style] = away - ahead @ (read @ away)
    return directions


def main() -> None:
    """Fit and write them."""
    parser = Parser(prog="python -m models.directions", description=main.__doc__)
    parser.add_corpus(required=True)
    parser.add_argument("--bars", type=Path, required=True, metavar="RUN", help="a run of models.training.autoencoder")
    parser.add_argument("--pieces", type=positive, default=1000, help="how many to fit on")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.json")
    args = parser.parse_args()
    data = samples(Bars(args.bars), load_pack(args.corpus, args.cache), "train", args.pieces)
    directions = fit(data)
    save_json(args.out, {name: np.round(way, DIGITS).tolist() for name, way in directions.items()})
    print(f"{args.out}: {len(directions)} directions from {len(data.latents)} cells")
