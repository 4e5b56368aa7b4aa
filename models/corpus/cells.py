"""What the planner is trained on: the cells of a corpus as latents, and windows of them with a pattern of what is noisy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.corpus.contexts import mean_of, style_of
from models.corpus.pack import SOURCE_WEIGHTS, Pack, Piece
from models.nets.autoencoder import BarAutoencoder
from models.nets.layers import autocast
from models.nets.planner import FUTURE, PLACES, PREFIX, cell_times
from realtime.errors import UserError
from realtime.music.attributes import ATTRIBUTES, CONTROLS, SCALE, attributes, controls
from realtime.music.cells import KEYS, LATENT, LOWEST, MODEL, PLAYER, Split, cell_edges, paint, split
from realtime.music.keys import key_of
from realtime.music.vocabulary import DRUMS, MELODY, PART_NAMES

FEWEST = FUTURE + 1
"""Cells that a piece needs to be of use."""
CONTINUE, WHOLE, REST, GAP = PATTERNS = range(4)
"""What is noisy: the four cells after up to 16 (live); all of a window at one time (long pieces); all but the first 4 to 12;
1 to 8 cells between clean ones (infill, closing a loop)."""
SHARES = (0.55, 0.15, 0.12, 0.18)
MOST_LEAD = 1.5
"""The lead (`realtime.composing.latents.LEAD`) is drawn from 0 to this, so that any schedule can be used afterwards."""
NO_CONTROLS = 0.15
"""Share of windows without any; in the others each is there as often as a share drawn for the window says."""


class Batch(NamedTuple):
    """Windows of 20 cells: `latent` (B, 20, 128) clean; `time` and `known` (B, 20); `controls` (B, 20, 18)."""

    latent: Tensor
    time: Tensor
    known: Tensor
    controls: Tensor


def player_parts(rng: np.random.Generator) -> np.ndarray:
    """Which parts are the player's, (5,) bool: as often none, all, the melody, and any."""
    kinds = (np.zeros(5, bool), np.ones(5, bool), np.arange(5) == MELODY, rng.random(5) < 0.5)
    return kinds[rng.integers(len(kinds))]


def piece_rolls(piece: Piece, edges: np.ndarray, shift: int, player: np.ndarray) -> np.ndarray:
    """Rolls (C, 4, 48, 88) of a piece moved by `shift` semitones; what leaves the keyboard is left out."""
    rows = split(piece.notes, edges)
    key = piece.notes["pitch"][rows.note].astype(int) - LOWEST + shift
    inside = (key >= 0) & (key < KEYS)
    rows, key = Split(*(column[inside] for column in rows)), key[inside]
    return paint(rows, np.where(player[piece.notes["part"][rows.note]], PLAYER, MODEL), key, len(edges) - 1)


class EncodedCells:
    """The cells of a split's pieces, one piece after the other, as latents. Pieces without pitch or too short are left out.

    `latents` (V, C, 128) float16, variant 0 as it is written, the others transposed; `values` (C, 5) attributes less the
    piece's mean, in control units, nan where there is none; of each piece (P,): `first` and `last` of its cells, `style` (-1
    for none), `tonic`. Raises `UserError` where no piece is left.
    """

    def __init__(self, pack: Pack, split_name: str, bars: BarAutoencoder, variants: int, seed: int) -> None:
        latents: list[list[np.ndarray]] = [[] for _ in range(variants)]
        values, sizes, weights, styles, tonics = [], [], [], [], []
        for i in pack.rows(split_name):
            piece = pack[i]
            pitched = piece.notes[piece.notes["part"] != DRUMS]
            end = int(piece.beats["start"][-1]) + int(piece.beats["length"][-1])
            if (
                not len(pitched)
                or not len(piece.bar_starts)
                or len(edges := cell_edges(piece.bar_starts, end)) <= FEWEST
            ):
                continue
            rng = np.random.default_rng((seed, i))
            shifts = [0, *rng.permutation([*range(-6, 0), *range(1, 6)])]
            for done, shift in zip(latents, shifts, strict=False):
                rolls = torch.from_numpy(piece_rolls(piece, edges, int(shift), player_parts(rng)))
                with autocast(rolls.device):
                    done.append(bars.latent(rolls).half().numpy())
            tonics.append(key_of(pitched).tonic)
            figures = attributes(piece.notes, edges, tonics[-1])
            values.append((figures - mean_of(figures)) / SCALE)
            sizes.append(len(figures))
            weights.append(len(figures) * SOURCE_WEIGHTS.get(piece.source, 1.0))
            style = style_of(piece.source)
            styles.append(-1 if style is None else style)
        if not sizes:
            raise UserError(f"no piece of the split {split_name!r} has {FEWEST} bars and pitches; give another corpus")
        self.latents = np.stack([np.concatenate(done) for done in latents])
        self.values = np.concatenate(values).astype(np.float32)
        self.last = np.cumsum(sizes)
        self.first = self.last - sizes
        self.style, self.tonic = np.array(styles), np.array(tonics)
        self.cumulative = np.cumsum(weights) / np.sum(weights)

    def piece(self, rng: np.random.Generator) -> int:
        """Draw one by its number of cells and its source's weight."""
        return min(int(np.searchsorted(self.cumulative, rng.random(), side="right")), len(self.first) - 1)

    def window(self, rng: np.random.Generator, pattern: int) -> tuple[np.ndarray, ...]:
        """A row of a `Batch`."""
        piece = self.piece(rng)
        start, end = int(self.first[piece]), int(self.last[piece])
        progress, lead = rng.random(2) * (1, MOST_LEAD)
        if pattern == CONTINUE:
            here = int(rng.integers(start, end - FUTURE + 1))
            reach = PREFIX if rng.random() < 0.8 else int(rng.integers(PREFIX))
            start, end = max(here - reach, start), here + FUTURE
            planned = np.arange(start, end) >= here
            time = np.ones(end - start)
            time[planned] = cell_times(torch.tensor(progress), torch.tensor(lead)).numpy()
        else:
            length = min(PREFIX if rng.random() < 0.6 else int(rng.integers(FEWEST, PLACES + 1)), end - start)
            start = int(rng.integers(start, end - length + 1))
            end = start + length
            if pattern == GAP:
                gap = min(int(rng.integers(1, 9)), length - 2)
                first = int(rng.integers(1, length - gap))
                last = first + gap
            else:
                first = 0 if pattern == WHOLE else min(int(rng.integers(4, 13)), length - 1)
                last = length
            planned = (np.arange(length) >= first) & (np.arange(length) < last)
            time = np.where(planned, progress, 1.0)
        # Places count from the end. A window that is no continuation may have its end anywhere: a short piece is padded.
        before = PLACES - (end - start)
        if pattern != CONTINUE and rng.random() < 0.3:
            before = int(rng.integers(before + 1))
        room = slice(before, before + end - start)
        latent, times, known = np.zeros((PLACES, LATENT), np.float32), np.ones(PLACES), np.zeros(PLACES)
        latent[room], times[room], known[room] = self.latents[rng.integers(len(self.latents)), start:end], time, 1
        given = np.zeros((PLACES, CONTROLS), np.float32)
        given[room] = given_controls(rng, self.values[start:end], planned, int(self.style[piece]))
        return latent, times.astype(np.float32), known.astype(np.float32), given

    def batch(self, rng: np.random.Generator, count: int, pattern: int | None = None) -> Batch:
        """`count` windows, of one pattern or of all by `SHARES`."""
        patterns = rng.choice(len(PATTERNS), count, p=SHARES) if pattern is None else [pattern] * count
        rows = [self.window(rng, int(p)) for p in patterns]
        return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))


def given_controls(rng: np.random.Generator, values: np.ndarray, planned: np.ndarray, style: int) -> np.ndarray:
    """Controls (L, 18) of a window's planned cells: what they have against its clean ones (against the piece where there are
    none), each cell its own or all their mean, as a player turns a knob. values: (L, 5) of `EncodedCells`; planned: (L,)."""
    values = values - mean_of(values[~planned])
    if rng.random() < 0.5:
        values = np.where(np.isnan(values[planned]).all(0), np.nan, mean_of(values[planned]))[None].repeat(
            len(values), 0
        )
    share = 0.0 if rng.random() < NO_CONTROLS else rng.random()
    *kept, styled = rng.random(len(ATTRIBUTES) + 1) < share
    given = controls(np.where(kept, values, np.nan), style if styled and style >= 0 else None)
    given[~planned] = 0
    return given


CELL_NOTE = np.dtype([("cell", "<i4"), ("first", "i1"), ("last", "i1"), ("key", "i1"), ("part", "u1")])
"""One row a note in a cell, as `realtime.music.cells.Split` has it."""


class Cells:
    """Every cell of a split that has a pitched note, with who plays what dealt anew at each draw."""

    def __init__(self, pack: Pack, split_name: str) -> None:
        rows, weights, cells = [], [], 0
        for i in pack.rows(split_name):
            piece = pack[i]
            if not len(piece.bar_starts):
                continue
            edges = cell_edges(piece.bar_starts, int(piece.beats["start"][-1] + piece.beats["length"][-1]))
            cut = split(piece.notes, edges)
            row = np.zeros(len(cut.note), CELL_NOTE)
            row["cell"], row["first"], row["last"] = cells + cut.cell, cut.first, cut.last
            row["key"], row["part"] = piece.notes["pitch"][cut.note] - LOWEST, piece.notes["part"][cut.note]
            rows.append(row)
            cells += len(edges) - 1
            weights.append(np.full(len(edges) - 1, SOURCE_WEIGHTS.get(piece.source, 1.0)))
        self.notes = np.concatenate(rows)
        self.notes = self.notes[np.argsort(self.notes["cell"], kind="stable")]
        self.edges = np.searchsorted(self.notes["cell"], np.arange(cells + 1))
        weight = np.concatenate(weights) * (np.diff(self.edges) > 0)
        self.cumulative = np.cumsum(weight / weight.sum())

    def draw(self, rng: np.random.Generator, count: int, transpose: bool = True) -> Tensor:
        """`count` rolls, (count, 4, 48, 88), by their sources' weights; `transpose`: each by -6 to +5 semitones."""
        cells = np.minimum(np.searchsorted(self.cumulative, rng.random(count), side="right"), len(self.edges) - 2)
        sizes = self.edges[cells + 1] - self.edges[cells]
        which = np.repeat(np.arange(count), sizes)
        inside = np.arange(len(which)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        notes = self.notes[np.repeat(self.edges[cells], sizes) + inside]
        key = notes["key"].astype(int) + (rng.integers(-6, 6, count)[which] if transpose else 0)
        player = deal_parts(rng, count)[which, notes["part"]]
        on = (key >= 0) & (key < KEYS)
        rows = Split(which[on], which[on], notes["first"][on].astype(int), notes["last"][on].astype(int))
        return torch.from_numpy(paint(rows, np.where(player, PLAYER, MODEL)[on], key[on], count))


def deal_parts(rng: np.random.Generator, count: int) -> np.ndarray:
    """Which parts are the player's, (count, 5) bool: none, all, the melody, or any, each as often."""
    kind = rng.integers(0, 4, count)
    player = rng.random((count, len(PART_NAMES))) < 0.5
    player[kind < 3] = False
    player[kind == 1] = True
    player[kind == 2, MELODY] = True
    return player
