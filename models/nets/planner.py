"""The planner: what the next bars may hold, as a rectified flow over the latents of cells (`models.nets.autoencoder`).

    latent (B, L, 128), time (B, L), known (B, L), controls (B, L, 18) -> velocity (B, L, 128)

A cell at time t is (1 - t) noise + t z, and its velocity z - noise (Liu et al. 2023, arXiv 2209.03003). Every cell has a time
of its own (as in diffusion forcing, Chen et al. 2024, arXiv 2407.01392): 1 is clean, so one network continues, fills gaps and
makes windows from nothing. Linear attention over the cells, elu + 1 with a normaliser (arXiv 2006.16236); time and controls
come in through adaLN-zero (arXiv 2212.09748). Places are counted from the end: a window of 16 is one of 20 whose first four
cells are not known.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.composing.latents import FUTURE, LEAD, PREFIX
from realtime.errors import UserError
from realtime.music.attributes import CONTROLS
from realtime.music.cells import LATENT

PLACES = PREFIX + FUTURE
"""The most cells in a window; live, so many of them are clean, and so many are planned."""
WIDTH, CONDITION, BLOCKS, HEADS, WIDER = 192, 64, 5, 6, 2
"""Features of a cell, of its time and controls; heads of 32; features inside of a feed-forward layer, in widths."""
FREQUENCIES = 32


class CellAttention(nn.Module):
    """Linear attention of every cell to all known ones."""

    def __init__(self) -> None:
        super().__init__()
        self.match = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.values, self.leave = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """x: (B, L, width), known: (B, L); out as x."""
        matched = self.match(x).float()
        # elu + 1, written out: the exported graph's Elu has no kernel on CUDA.
        match = torch.where(matched > 0, matched + 1, matched.clamp(max=0).exp())
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # (B, heads, L, size)
            for part in (*match.chunk(2, -1), self.values(x))
        )
        k = k * known[:, None, :, None]
        y = q @ (k.transpose(2, 3) @ v) / (q @ k.sum(2, keepdim=True).transpose(2, 3) + 1e-6)
        return self.leave(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a feed-forward layer, both scaled, shifted and gated by the condition; at first it does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.attend = CellAttention()
        self.feed = nn.Sequential(nn.Linear(WIDTH, WIDER * WIDTH), nn.GELU(), nn.Linear(WIDER * WIDTH, WIDTH))
        self.modulate = nn.Linear(CONDITION, 6 * WIDTH)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, known: Tensor, condition: Tensor) -> Tensor:
        """x: (B, L, width), known: (B, L), condition: (B, L, condition); out as x."""
        scale, shift, gate, scale_feed, shift_feed, gate_feed = self.modulate(condition).chunk(6, -1)
        x = x + gate * self.attend(self.norm(x) * (1 + scale) + shift, known)
        return x + gate_feed * self.feed(self.norm(x) * (1 + scale_feed) + shift_feed)


class Planner(nn.Module):
    """See the module's docstring."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(LATENT, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(PLACES, WIDTH))
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION))
        self.control = nn.Linear(CONTROLS, CONDITION, bias=False)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.modulate = nn.Linear(CONDITION, 2 * WIDTH)
        self.leave = nn.Linear(WIDTH, LATENT)
        for layer in (self.modulate, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("frequencies", torch.logspace(0, 2.5, FREQUENCIES), persistent=False)  # radians

    def forward(self, latent: Tensor, time: Tensor, known: Tensor, controls: Tensor) -> Tensor:
        """Velocity (B, L, 128), float32, L up to 20; without meaning where `known` is 0. Arguments: see the module."""
        t = time[..., None]
        # Were z and noise all that there is, independent and of variance 1, the best guess of the velocity would be
        # (2 t - 1) x / variance. The layers say what it differs by, in units that are the same at every time.
        variance = t * t + (1 - t) * (1 - t)
        angles = t * self.frequencies
        condition = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], -1)) + self.control(controls))
        x = self.enter(latent * variance.rsqrt()) + self.place[PLACES - latent.shape[1] :]
        for block in self.blocks:
            x = block(x, known, condition)
        scale, shift = self.modulate(condition).chunk(2, -1)
        out = self.leave(self.norm(x) * (1 + scale) + shift)
        return (2 * t - 1) / variance * latent + out.float() * variance.rsqrt()


def load_planner(run: Path) -> Planner:
    """The planner of a run (`models.training.planner`), frozen. Raises `UserError`."""
    planner = Planner()
    try:
        planner.load_state_dict(load_file(run / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{run}: no planner there ({reason}); give the folder that models.training.planner wrote"
        ) from None
    return planner.eval().requires_grad_(False)


def cell_times(progress: Tensor, lead: Tensor) -> Tensor:
    """Times (..., FUTURE) of the planned cells, the nearest first. progress: (...) 0 = all noise .. 1 = all clean; lead: (...)
    >= 0, see `realtime.composing.latents.LEAD`."""
    behind = torch.linspace(0, 1, FUTURE)
    return ((1 + lead[..., None]) * progress[..., None] - lead[..., None] * behind).clamp(0, 1)


@torch.no_grad()
def sample(
    planner: Planner,
    latent: Tensor,
    known: Tensor,
    controls: Tensor,
    steps: int,
    guidance: float,
    generator: torch.Generator,
    lead: float = LEAD,
) -> Tensor:
    """Draw the next cells (B, FUTURE, 128) by Euler steps. latent (B, PREFIX, 128) and known (B, PREFIX): the cells before,
    the oldest first; controls: (B, FUTURE, 18); guidance: 0 without controls, 1 with them, more: beyond them."""
    batch = len(latent)
    times = cell_times(torch.linspace(0, 1, steps + 1), torch.full((steps + 1,), lead))
    x = torch.randn(batch, FUTURE, LATENT, generator=generator)
    known = torch.cat([known, known.new_ones(batch, FUTURE)], 1)
    clean = latent.new_ones(batch, PREFIX)
    given = torch.cat([controls.new_zeros(batch, PREFIX, CONTROLS), controls], 1)
    sides = [torch.zeros_like(given)] * (guidance != 1) + [given] * (guidance != 0)
    weights = [1 - guidance] * (guidance != 1) + [guidance] * (guidance != 0)
    for now, then in pairwise(times):
        window = torch.cat([latent, x], 1), torch.cat([clean, now.expand(batch, -1)], 1), known
        velocity = sum(w * planner(*window, side)[:, PREFIX:] for w, side in zip(weights, sides, strict=True))
        x = x + (then - now)[:, None] * velocity
    return x
