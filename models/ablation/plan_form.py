"""Whether a plan brings the form of what is played nearer to real music's: self-similarity by lag (`measures.similarity_curve`).

A decoder goes on from the first `GIVEN` bars of held-out pieces up to bar `BARS`, all notes its own, with no plan, the planner's,
another piece's, or the true one. Plans and latents are made as live, cell by cell, of what it has played.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from models.ablation.plan_scores import ROWS, SEED, Trust, draw_plans, planned_contexts, true_plans, unplanned_contexts
from models.corpus.contexts import LAG
from models.corpus.pack import Pack, Piece
from models.corpus.perturb import NONE
from models.corpus.windows import Windows
from models.nets.autoencoder import BarAutoencoder
from models.nets.decoder import Decoder
from models.nets.planner import Planner
from models.training.duets import Duet
from models.training.playing import play
from realtime.errors import UserError
from realtime.music import measures
from realtime.music.cells import BEATS, LATENT, cell_edges, rolls
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE, between, note_array
from realtime.music.vocabulary import BEAT, DURATION_TICKS, HEADS, MODEL_PART, Role

GIVEN, BARS, LAGS = 8, 32, 16
MOST_EVENTS, TRIES = 800, 3000
TEMPERATURE = 1.0
BACK = 6
"""Cells back in which a note may have begun that still sounds."""
Plans = Callable[[Tensor, int], Tensor | None]
"""(latents so far (C, 128), number of a cell) -> its plan (1, 1, ROWS, 128)."""


class Listening:
    """A decoder as `playing.play` takes it, conditioned on its own latents and on plans, one for each duet. Of a row's events it
    makes the notes, of these, when a cell ends, its roll."""

    def __init__(self, decoder: Decoder, bars: BarAutoencoder, duets: list[Duet], plans: list[Plans], trust: Trust):
        assert decoder.context is not None
        self.decoder, self.bars, self.plans, self.trust = decoder, bars, plans, trust
        self.mix, self.heads, self.enter_all = decoder.mix, self, decoder.heads.enter_all
        self.beats = [duet.beats["start"].astype(int) for duet in duets]
        self.edges = [edges_of(duet) for duet in duets]
        self.beat, self.cell = [-1] * len(duets), [-1] * len(duets)
        self.notes: list[list[tuple[int, ...]]] = [[] for _ in duets]
        self.latent = [torch.zeros(0, LATENT) for _ in duets]
        nothing = unplanned_contexts(decoder.context, torch.zeros(1, LATENT), torch.tensor([0]))[0]
        self.now, self.next = nothing.repeat(len(duets), 1, 1), nothing.repeat(len(duets), 1, 1)  # (B, BEATS, d)

    def read(self, events: Tensor, held: Tensor) -> Tensor:
        """As the decoder's. events: (B, 1, 10)."""
        for row, event in enumerate(events[:, 0].tolist()):
            if event[0] != BEAT:
                start = self.beats[row][self.beat[row]] + event[0]
                self.notes[row].append((start, DURATION_TICKS[event[3]], event[2], 80, event[1] - MODEL_PART))
            elif self.beat[row] + 1 < len(self.beats[row]):  # at its end a row's last event is given again and again
                self.beat[row] += 1
                if self.beats[row][self.beat[row]] in self.edges[row]:
                    self.open(row)
        starts = [int(beats[i]) for beats, i in zip(self.beats, self.beat, strict=True)]
        opened = [int(edges[i]) for edges, i in zip(self.edges, self.cell, strict=True)]
        beat = (torch.tensor(starts) - torch.tensor(opened)) // TICKS
        self.context = self.now[torch.arange(len(beat)), beat.clamp(max=BEATS - 1)]  # (B, width)
        return self.decoder.read(events, held, self.context[:, None])

    def logits(self, i: int, entered: Tensor, drawn: list[Tensor]) -> Tensor:
        """As its heads', with what the context adds to them."""
        added = self.context[:, self.decoder.size.d_model :].split(list(HEADS.values()), -1)[i]
        return self.decoder.heads.logits(i, entered, drawn) + added

    def open(self, row: int) -> None:
        """A cell begins: the one before is heard, and the context of the one after is made."""
        self.cell[row] += 1
        cell, net = self.cell[row], self.decoder.context
        assert net is not None
        if cell:
            notes = note_array(self.notes[row])
            first = max(cell - BACK, 0)
            edges = self.edges[row][first : cell + 1]
            notes = notes[notes["onset"] >= edges[0]]
            roll = rolls(notes, np.zeros(len(notes), bool), edges)[-1:]
            self.latent[row] = torch.cat([self.latent[row], self.bars.latent(torch.from_numpy(roll))])
        self.now[row] = self.next[row]
        latent, ahead = self.latent[row], torch.tensor([cell + LAG - 1])
        plan = self.plans[row](latent, cell + LAG - 1) if cell else None
        seed = 1000 * row + cell
        if plan is not None:
            self.next[row] = planned_contexts(net, latent, ahead, plan, self.trust, seed)[0, 0]
        elif cell:
            self.next[row] = unplanned_contexts(net, latent, ahead)[0, 0]


def edges_of(duet: Duet) -> np.ndarray:
    """Of its cells."""
    return cell_edges(duet.beats["start"][duet.beats["index"] == 0].astype(int), duet.end)


def stretch_of(piece: Piece, rng: np.random.Generator) -> Duet | None:
    """`BARS` bars of a piece, from any bar on, with notes in nearly all; None where the draw hits none."""
    starts = piece.bar_starts.astype(np.int64)
    if len(starts) <= BARS:
        return None
    at = int(rng.integers(len(starts) - BARS))
    start, end = int(starts[at]), int(starts[at + BARS])
    notes = between(piece.notes, start, end).astype(NOTE)
    beats = piece.beats[(piece.beats["start"] >= start) & (piece.beats["start"] < end)].copy()
    filled = np.unique(np.searchsorted(starts, notes["onset"], side="right"))
    if len(filled) < BARS - 1 or len(notes) + len(beats) > MOST_EVENTS:
        return None
    notes["onset"] -= start
    beats["start"] -= start
    prefix = int(starts[at + GIVEN]) - start
    return Duet(notes, np.zeros(len(notes), bool), beats, Role.COMPOSE, 0, prefix)


def stretches(pack: Pack, split: str, count: int) -> list[Duet]:
    """`count` of them, no piece twice. Raises `UserError` where there are fewer than two."""
    windows = Windows(pack, split, MOST_EVENTS, SEED, NONE, count)
    rng, found = np.random.default_rng(SEED), {}
    for _ in range(TRIES):
        if len(found) == count:
            break
        piece = windows.piece(rng)
        if piece.id not in found and (duet := stretch_of(piece, rng)) is not None:
            found[piece.id] = duet
    if len(found) < 2:
        raise UserError(f"fewer than two pieces of the split {split!r} have {BARS} bars; give another --corpus")
    return list(found.values())


def curve(duet: Duet) -> list[float]:
    """(LAGS,) of all its bars."""
    bars = duet.beats["start"][duet.beats["index"] == 0].astype(int)
    return measures.similarity_curve(duet.notes, np.append(bars, duet.end), LAGS).tolist()


@torch.no_grad()
def forms(
    decoder: Decoder, planner: Planner, bars: BarAutoencoder, pack: Pack, count: int, trust: Trust
) -> dict[str, list[list[float]]]:
    """{"real" or how it was planned: a curve a piece}, on pieces of the test split."""
    duets = stretches(pack, "test", count)
    latents = []
    for duet in duets:
        roll = rolls(duet.notes, duet.player, edges_of(duet))
        latents.append(bars.latent(torch.from_numpy(roll)))
    planned: dict[str, list[Plans]] = {name: [] for name in ("no plan", "planner", "another piece's", "true")}
    for i, true in enumerate(latents):
        other = latents[(i + 1) % len(latents)]

        def drawn(latent: Tensor, cell: int, i: int = i) -> Tensor:
            return draw_plans(planner, latent, torch.tensor([cell]), 1, 1000 * i + cell)

        def foreign(latent: Tensor, cell: int, other: Tensor = other, i: int = i) -> Tensor:
            return draw_plans(planner, other, torch.tensor([min(cell, len(other))]), 1, 1000 * i + cell)

        def oracle(latent: Tensor, cell: int, true: Tensor = true) -> Tensor:
            return true_plans(torch.cat([true, true[-1:].expand(ROWS, -1)]), torch.tensor([cell]))

        for name, plan in zip(planned, (lambda *_: None, drawn, foreign, oracle), strict=True):
            planned[name].append(plan)
    rows = duets * len(planned)
    listening = Listening(decoder, bars, rows, [plan for plans in planned.values() for plan in plans], trust)
    steps = 3 * max(len(duet.notes) + len(duet.beats) for duet in duets) // 2
    played = play(listening, rows, steps, TEMPERATURE, torch.Generator().manual_seed(SEED))  # type: ignore[arg-type]
    found = {"real": [curve(duet) for duet in duets]}
    for n, name in enumerate(planned):
        found[name] = [curve(duet) for duet in played[n * len(duets) : (n + 1) * len(duets)]]
    return found
