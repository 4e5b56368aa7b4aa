"""Which latents, plan and controls the events of a window are given: the inputs of `models.nets.context.ContextNet`, by cell.

The events of cell c get the latents of the cells c-17 to c-2: live, c is composed while c-1 still sounds. The plan's rows are
the cells c to c+3, as noisy as `Draw` has it; in training they are the true ones, made noisy so that the decoder goes on
listening. The controls are those of what the model plays in cell c, against what it plays in the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.corpus.pack import Piece
from models.nets.autoencoder import BarAutoencoder
from models.nets.context import AHEAD, PAST, Conditioning
from realtime.music.attributes import ATTRIBUTES, MOST, SCALE, STYLES, attributes
from realtime.music.cells import BEATS, cell_edges, rolls
from realtime.music.keys import key_of
from realtime.music.metre import TICKS

LAG = 2
"""The newest latent of cell c is that of cell c - LAG."""
REACH = PAST + LAG - 1
"""Cells before a window that its first events know of."""
NEVER = 2**30
"""The tick of an event without a cell."""
RAGGED = ("rolls", "figures", "edges")
SOURCE_STYLES = {
    "pop909": "pop",
    "openscore_lieder": "song",
    "openscore_quartets": "quartet",
    "openewld": "standard",
    "openhymnal": "hymn",
    "cre_irish": "folk",
    "nottingham": "folk",
    "freedoom": "game",
    "openmsx": "game",
    "mutopia_pd_ccby": "classical",
    "mutopia_ccbysa": "classical",
}
"""The style of a source's pieces; other sources have none."""


def style_of(source: str) -> int | None:
    """Index in `STYLES`."""
    return STYLES.index(SOURCE_STYLES[source]) if source in SOURCE_STYLES else None


def mean_of(values: np.ndarray) -> np.ndarray:
    """Mean (5,) of attributes (C, 5) that may be nan; 0 where all are."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(0) / np.maximum(there.sum(0), 1)


def of_window(
    piece: Piece, start: int, notes: np.ndarray, player: np.ndarray, bars: np.ndarray
) -> dict[str, np.ndarray]:
    """The cells of a window that begins at tick `start` of a piece, and up to `REACH` bars before it.

    notes: dealt and changed, ticks from the window's start; player: (N,) bool; bars: the window's bar lines. Returns `edges` (C,)
    the ticks at which the C cells start, `rolls` (C, 4, 48, 88 / 8) bits, `figures` (C, 5) the attributes of the model's notes
    against their mean, in control units, nan where it plays nothing, `cells` (1,) C, `style` (1,) an index of `STYLES` or -1.
    """
    before = piece.bar_starts[piece.bar_starts < start] - start
    lines = np.unique(np.concatenate([before, [0], bars]))
    first = max(int(np.searchsorted(lines, 0)) - REACH, 0)
    lines = lines[first:]
    lines = lines[lines <= max(int(notes["onset"].max()), 0)]
    here = piece.beats[piece.beats["start"] - start <= lines[-1]][-1]
    edges = cell_edges(lines, int(lines[-1]) + int(here["bar_ticks"]))
    own = notes[~player]
    tonic = key_of(notes).tonic if len(notes) else 0
    figures = attributes(own, edges, tonic)
    figures[np.isnan(figures[:, 1])] = np.nan  # a density of nothing is not a wish
    style = style_of(piece.source)
    return {
        "edges": edges[:-1],
        "rolls": np.packbits(rolls(notes, player, edges).astype(bool), -1),
        "figures": ((figures - mean_of(figures)) / SCALE).astype(np.float32),
        "cells": np.array([len(edges) - 1]),
        "style": np.array([-1 if style is None else style]),
    }


@dataclass(frozen=True)
class Draw:
    """What of a batch's contexts is given: shares of windows. The defaults are for training."""

    past: float = 0.8
    """With latents."""
    own: float = 0.5
    """Of these, with none from before the window."""
    plan: float = 0.5
    times: tuple[float, float] = (0.0, 0.9)
    """Between which a plan's time is drawn: it stays coarse."""
    wrong: float = 0.4
    """Of the windows with a plan: those whose plan is no true one, but as often bars of the window's past or of other music. A
    plan is a guess, and a decoder that can always trust it stops listening to the player."""
    controls: float = 0.5
    """With controls, each of them given or not as by a coin."""
    style: float = 0.4


TRAINING = Draw()
LATENTS_ONLY = Draw(past=1, own=0, plan=0, wrong=0, controls=0, style=0)
"""What is known of itself while it plays: all latents, and nothing else."""


def contexts(batch: dict[str, Tensor], bars: BarAutoencoder, draw: Draw, rng: torch.Generator) -> Conditioning:
    """What the events of a batch are conditioned on: a row a cell (all windows' one after the other, as collated), and
    an empty one at the end, for events without a cell."""
    latent = encode(bars, batch["rolls"])
    counts = batch["cells"].flatten()
    device = latent.device
    window = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
    first = (counts.cumsum(0) - counts)[window]
    cell = torch.arange(len(window), device=device)

    def chance(share: float, *shape: int) -> Tensor:
        return torch.rand(len(counts), *shape, generator=rng, device=device) < share

    past = cell[:, None] + torch.arange(-REACH, 1 - LAG, device=device)  # (C, 16)
    inside = past >= first[:, None]
    own = chance(draw.own)[window, None] & (batch["edges"][past.clamp(min=0)] < 0)
    known = (inside & ~own & chance(draw.past)[window, None]).float()
    ahead = cell[:, None] + torch.arange(AHEAD, device=device)  # (C, 4)
    there = ahead < (first + counts[window])[:, None]
    ahead = ahead.clamp(max=len(cell) - 1)
    # Near cells are further along than far ones, and the last row is often not there yet.
    least, most = draw.times
    time = least + torch.rand(len(counts), 1, generator=rng, device=device) * (most - least)
    slope = torch.rand(len(counts), 1, generator=rng, device=device)
    times = time * (1 - 0.25 * slope * torch.arange(AHEAD, device=device))
    times[:, -1] *= chance(0.5)
    times = times[window] * there * chance(draw.plan)[window, None]
    noise = torch.randn(*ahead.shape, latent.shape[1], generator=rng, device=device)
    back = torch.randint(1, PAST, (len(counts), 1), generator=rng, device=device)[window]
    anywhere = (ahead + torch.randint(len(cell), (len(counts), 1), generator=rng, device=device)[window]) % len(cell)
    other = torch.where(chance(0.5)[window, None], (ahead - back).clamp(min=first[:, None]), anywhere)
    ahead = torch.where(chance(draw.wrong)[window, None], other, ahead)
    plan = (1 - times[..., None]) * noise + times[..., None] * latent[ahead]
    figures = batch["figures"].clone()
    figures[~(chance(0.5, len(ATTRIBUTES)) & chance(draw.controls, 1))[window]] = torch.nan
    given = ~figures.isnan()
    style = torch.where(chance(draw.style), batch["style"].flatten(), -1)[window]
    tags = (style[:, None] == torch.arange(len(STYLES), device=device)).float()
    controls = torch.cat([figures.nan_to_num(0).clamp(-MOST, MOST), given.float(), tags], 1)
    rows = [latent[past.clamp(min=0)] * known[..., None], known, plan, times, controls]
    return Conditioning(
        *(torch.cat([row, torch.zeros(1, *row.shape[1:], device=device)]) for row in rows), *cell_of(batch)
    )


def encode(bars: BarAutoencoder, packed: Tensor) -> Tensor:
    """Rolls as packed bits (C, 4, 48, 11) -> standardised latents (C, 128)."""
    bits = (packed[..., None] >> torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)) & 1
    return bars.latent(bits.flatten(-2).float())


def cell_of(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Which row of `contexts` each event gets, (B, T), the last, empty one where it has no cell; and which of its beats."""
    counts = batch["cells"].flatten()
    starts = (counts.cumsum(0) - counts).tolist()
    edges = torch.cat([batch["edges"], batch["edges"].new_zeros(1)])
    rows = []
    for tick, start, count in zip(batch["tick"], starts, counts.tolist(), strict=True):
        cell = torch.searchsorted(batch["edges"][start : start + count], tick.contiguous(), right=True) - 1 + start
        rows.append(torch.where((tick < NEVER) & (cell >= start), cell, len(batch["edges"])))
    cell = torch.stack(rows)
    return cell, ((batch["tick"] - edges[cell]) // TICKS).clamp(0, BEATS - 1)
