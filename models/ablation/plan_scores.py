"""What a plan is worth to a decoder on held-out music, in nats.

An excerpt is `HISTORY` cells to hear, so that all latents a decoder is conditioned on come from the stream it has heard, and
up to `CELLS` to score. A plan is made as live: when a cell is about to be composed, the newest latent is that of the cell before
the last, and the planner went on from there. In a stream each cell has one plan, drawn from what was before it; K streams are a
mixture, and so a distribution like any other:

    -log p(x_1 .. x_n) = -log mean_k exp(sum_c log p(x_c | x_<c, plans of stream k))

With a generator streams are drawn anew after each cell, by how likely they found it (a particle filter): the mixture is then one
of each cell. Both say what x costs him who does not know it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.corpus.contexts import LAG, REACH, encode
from models.corpus.pack import Pack, Piece, song_of
from models.corpus.perturb import NONE
from models.corpus.windows import Windows, window
from models.nets.autoencoder import BarAutoencoder
from models.nets.context import AHEAD, ContextNet
from models.nets.decoder import Decoder, State
from models.nets.layers import autocast
from models.nets.planner import FUTURE, Planner, sample
from models.training.losses import candidates_of, window_losses
from realtime.errors import UserError
from realtime.music.attributes import CONTROLS
from realtime.music.cells import BEATS, LATENT
from realtime.music.metre import TICKS
from realtime.music.vocabulary import Role

HISTORY = REACH
CELLS, FEWEST = 8, 4
"""Cells of an excerpt that are scored: at most, and at least."""
LENGTH = 1024
"""Events an excerpt may have; denser music is scored for fewer cells, or left out."""
ROLES = (Role.COMPOSE, Role.CONTINUE, Role.ACCOMPANY)
ROWS = FUTURE - LAG + 1
"""Rows of a plan that there are live: its first cell is over by the time that it is used."""
EVENTS = ("events", "held", "targets", "kind", "turn", "note", "candidates", "features")
TRIES = 5000
SEED = 1
STEPS = 6
"""Euler steps of a plan, as many as were taken live when the tables were made."""
CPU = torch.device("cpu")


class Excerpt(NamedTuple):
    """`events`: arrays of `windows.window`, each (1, T, ...); `cell`, `beat` (T,): in which cell each event lies, and in which of
    its beats; `latent` (C, 128): of the cells from the first event on, some beyond the last."""

    song: str
    role: Role
    events: dict[str, Tensor]
    cell: Tensor
    beat: Tensor
    latent: Tensor

    @property
    def scored(self) -> Tensor:
        """Numbers of the cells that are scored."""
        return torch.arange(HISTORY, int(self.cell[-1]) + 1)

    @property
    def notes(self) -> float:
        """The model's notes in them."""
        return float(self.events["note"][0, self.cell >= HISTORY].sum())


class Trust(NamedTuple):
    """How a plan is given: as at this `time`, its first `rows`, with the `guidance` g: context c0 + g (c1 - c0). `noisy`: as
    a flow has it at that time; else clean, and only said to be no better."""

    time: float
    rows: int = ROWS
    guidance: float = 1.0
    noisy: bool = True


def excerpt(
    piece: Piece, bar: int, role: Role, song: str, bars: BarAutoencoder, rng: np.random.Generator
) -> Excerpt | None:
    """The excerpt from a bar on, in a role; None where the piece ends too soon."""
    arrays = window(piece, LENGTH, rng, NONE, role, bar=bar, cells=True, memory=True)
    own = arrays["edges"] >= 0
    end = int(np.flatnonzero(arrays["tick"] == arrays["tick"].max())[-1]) + 1  # the rest is padding
    cell = np.searchsorted(arrays["edges"][own], arrays["tick"][:end], side="right") - 1
    cells = min(int(cell[-1]), HISTORY + CELLS, int(own.sum()) - ROWS + 1)  # whole ones, all with a true plan
    if cells < HISTORY + FEWEST:
        return None
    end = int(np.searchsorted(cell, cells))
    events = {name: torch.from_numpy(arrays[name][:end])[None] for name in EVENTS}
    beat = ((arrays["tick"][:end] - arrays["edges"][own][cell[:end]]) // TICKS).clip(0, BEATS - 1)
    return Excerpt(
        song,
        role,
        events,
        torch.from_numpy(cell[:end]),
        torch.from_numpy(beat),
        encode(bars, torch.from_numpy(arrays["rolls"][own])),
    )


def excerpts(pack: Pack, split: str, count: int, bars: BarAutoencoder) -> list[Excerpt]:
    """`count` stretches, each of another song, in each of `ROLES`: song by song. Raises `UserError` where there are none."""
    windows = Windows(pack, split, LENGTH, SEED, NONE, count)
    songs = {row["id"]: song_of(row) for row in pack.table}
    rng = np.random.default_rng(SEED)
    found: dict[str, list[Excerpt]] = {}
    for _ in range(TRIES):
        if len(found) == count:
            break
        piece = windows.piece(rng)
        starts = len(piece.bar_starts) - HISTORY - FEWEST
        if (song := songs[piece.id]) in found or starts < 1:
            continue
        bar = int(rng.integers(starts))
        of_roles = [excerpt(piece, bar, role, song, bars, rng) for role in ROLES]
        whole = [each for each in of_roles if each is not None]
        if len(whole) == len(ROLES):
            found[song] = whole
    if len(found) < 2:
        raise UserError(
            f"fewer than two songs of the split {split!r} have {HISTORY + FEWEST} bars; give another --corpus"
        )
    return [each for of_song in found.values() for each in of_song]


# --- plans ---


def past(latent: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """What is known when these cells (n,) of a stream with latents (C, 128) are composed: (n, 16, 128), and (n, 16) which there
    are."""
    before = cells[:, None] + torch.arange(-REACH, 1 - LAG)
    known = (before >= 0).float()
    return latent[before.clamp(min=0)] * known[..., None], known


@torch.no_grad()
def draw_plans(planner: Planner, latent: Tensor, cells: Tensor, draws: int, seed: int) -> Tensor:
    """(n, draws, ROWS, 128): what the planner makes of the past of these cells (n,), from each cell itself on."""
    rows, known = (x.repeat_interleave(draws, 0) for x in past(latent, cells))
    none = torch.zeros(len(rows), FUTURE, CONTROLS)
    with autocast(CPU):
        drawn = sample(planner, rows, known, none, STEPS, 0.0, torch.Generator().manual_seed(seed))
    return drawn[:, LAG - 1 :].float().unflatten(0, (-1, draws))


def true_plans(latent: Tensor, cells: Tensor) -> Tensor:
    """(n, 1, ROWS, 128): what comes."""
    return latent[cells[:, None] + torch.arange(ROWS)][:, None]


def mean_plans(latent: Tensor, cells: Tensor) -> Tensor:
    """(n, 1, ROWS, 128): the mean of what was, all of it known."""
    return past(latent, cells)[0].mean(1)[:, None, None].expand(-1, 1, ROWS, -1)


def planned_contexts(net: ContextNet, latent: Tensor, cells: Tensor, plans: Tensor, trust: Trust, seed: int) -> Tensor:
    """Contexts (n, K, 4, d) of cells (n,) in K streams. plans: (n, K, ROWS, 128), clean; their noise is the seed's."""
    count = plans.shape[1]
    rows, known = (x.repeat_interleave(count, 0) for x in past(latent, cells))
    t = trust.time
    if trust.noisy:
        plans = t * plans + (1 - t) * torch.randn(plans.shape, generator=torch.Generator().manual_seed(seed))
    else:
        plans = plans * (t * t + (1 - t) * (1 - t)) / t  # the context net's guess of a noisy plan, undone
    plan, time = torch.zeros(len(rows), AHEAD, LATENT), torch.zeros(len(rows), AHEAD)
    plan[:, : trust.rows], time[:, : trust.rows] = plans.flatten(0, 1)[:, : trust.rows], t
    none = torch.zeros(len(rows), CONTROLS)
    with autocast(CPU):
        context = net(rows, known, plan, time, none).float()
        if trust.guidance != 1:
            without = net(rows, known, 0 * plan, 0 * time, none).float()
            context = without + trust.guidance * (context - without)
    return context.unflatten(0, (-1, count))


def unplanned_contexts(net: ContextNet, latent: Tensor, cells: Tensor) -> Tensor:
    """Contexts (n, 1, 4, d) of cells (n,) without a plan."""
    return planned_contexts(net, latent, cells, torch.zeros(len(cells), 1, ROWS, LATENT), Trust(0.0), 0)


# --- streams ---


@torch.no_grad()
def after_history(decoder: Decoder, of: Excerpt, contexts: Tensor | None) -> State:
    """The state after the history. contexts: (HISTORY, 4, d), or None for a decoder without conditioning."""
    before = of.cell < HISTORY
    context = contexts[of.cell[before], of.beat[before]][None] if contexts is not None else None
    with autocast(CPU):
        batch = {name: x[:, before] for name, x in of.events.items()}
        recalled = decoder.recalled(candidates_of(batch))
        return decoder.trunk(batch["events"], batch["held"], context=context, recalled=recalled)[1]


@torch.no_grad()
def streams(
    decoder: Decoder, of: Excerpt, state: State, contexts: Tensor | None, again: np.random.Generator | None = None
) -> Tensor:
    """Nats (n, K) of each scored cell in each of K streams, which go on from `state`. contexts: (n, K, 4, d), or None for
    one without conditioning; `again`: with it the streams are drawn anew after each cell."""
    count = contexts.shape[1] if contexts is not None else 1
    state = [(s.expand(count, *s.shape[1:]), c.expand(count, *c.shape[1:])) for s, c in state]
    nats = []
    for i, cell in enumerate(of.scored):
        here = of.cell == cell
        batch = {name: x[:, here].expand(count, *x[:, here].shape[1:]) for name, x in of.events.items()}
        context = contexts[i][:, of.beat[here]] if contexts is not None else None
        with autocast(CPU):
            recalled = decoder.recalled(candidates_of(batch))
            h, state = decoder.trunk(batch["events"], batch["held"], state, min(int(here.sum()), 64), context, recalled)
            logits = decoder.add_bias(decoder.heads(h, batch["targets"], decoder.memory, recalled), context)
        nats.append(window_losses(logits, batch).sum(1))
        if again is not None:
            weight = (-nats[-1].double()).softmax(0).cumsum(0).numpy()
            drawn = np.searchsorted(weight, (np.arange(count) + again.random()) / count).clip(max=count - 1)
            state = [(s[drawn], c[drawn]) for s, c in state]
    return torch.stack(nats)


def mixture(nats: Tensor) -> float:
    """Of nats (n, K) those of the K streams' mixture."""
    return float(math.log(nats.shape[1]) - (-nats.sum(0).double()).logsumexp(0))


def filtered(nats: Tensor) -> float:
    """The same where streams were drawn anew: the mixtures of all cells, summed."""
    return sum(mixture(cell[None]) for cell in nats)


# --- scores: nats of an excerpt, [of one stream on average, of the mixture], by conditioning ---

Scores = dict[str, list[float]]


def unconditioned(decoder: Decoder, of: Excerpt) -> float:
    """Of a decoder without conditioning."""
    return mixture(streams(decoder, of, after_history(decoder, of, None), None))


def planned(
    decoder: Decoder, of: Excerpt, plans: dict[str, tuple[Tensor, Trust]], seed: int, anew: tuple[str, ...] = ()
) -> Scores:
    """Conditioned on its latents, and on each of these plans (n, K, ROWS, 128) or on none. `anew`: those whose streams are also
    drawn anew after each cell."""
    net = decoder.context
    assert net is not None
    with torch.no_grad():
        state = after_history(decoder, of, unplanned_contexts(net, of.latent, torch.arange(HISTORY))[:, 0])
        contexts = {"no plan": unplanned_contexts(net, of.latent, of.scored)}
        for name, (plan, trust) in plans.items():
            contexts[name] = planned_contexts(net, of.latent, of.scored, plan, trust, seed)
    nats = streams(decoder, of, state, torch.cat(list(contexts.values()), 1))
    parts = nats.split([context.shape[1] for context in contexts.values()], 1)
    scores = {name: [float(part.sum(0).mean()), mixture(part)] for name, part in zip(contexts, parts, strict=True)}
    for name in anew:
        again = streams(decoder, of, state, contexts[name], np.random.default_rng(seed))
        scores[f"{name}, drawn anew"] = [float(again.sum(0).mean()), filtered(again)]
    return scores
