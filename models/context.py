"""What the decoder is told beside the notes: the latents of the cells before, a plan of those to come, and controls.

It is one vector a cell, added to the embedding of every event in the cell. So it costs a note nothing, and is made off the
note path, once a cell. The last layer starts at zero: a decoder that is given a context net plays as before until it is
trained with it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.attributes import CONTROLS
from realtime.bars import LATENT

PAST, AHEAD = 16, 4
"""Cells before and cells ahead. See `models.contexts` for which."""
NARROW = 48


class Told(NamedTuple):
    """What a batch is told: the five inputs of `ContextNet` for R cells, and which of them each event has, (B, T)."""

    latent: Tensor
    known: Tensor
    plan: Tensor
    plan_time: Tensor
    controls: Tensor
    cell: Tensor


class ContextNet(nn.Module):
    """Context vectors. All of a row's inputs are known or not by themselves:

    latent    (B, 16, 128)  the cells before, oldest first; `known` (B, 16) is 0 where there is none
    plan      (B, 4, 128)   the cells to come as a flow has them at `plan_time` (B, 4): (1 - t) noise + t latent;
                            t = 0 says as little as no plan
    controls  (B, 18)       `realtime.attributes.controls`
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.past = nn.Linear(LATENT, NARROW)
        self.join = nn.Linear(PAST * NARROW, d_model)
        self.plan = nn.Linear(AHEAD * (LATENT + 1), d_model)
        self.controls = nn.Linear(CONTROLS, d_model)
        self.leave = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, latent: Tensor, known: Tensor, plan: Tensor, plan_time: Tensor, controls: Tensor) -> Tensor:
        """See the class. Returns (B, d_model)."""
        past = self.past(latent) * known.unsqueeze(-1)  # (B, 16, NARROW)
        t = plan_time.unsqueeze(-1)
        # The best linear guess of a latent from its noisy form: where t is 0, nothing.
        guess = torch.cat([plan * t / ((1 - t).square() + t.square()), t], -1)  # (B, 4, 129)
        h = self.join(past.flatten(1)) + self.plan(guess.flatten(1)) + self.controls(controls)
        return self.leave(F.silu(h))

    def tell(self, told: Told) -> Tensor:
        """The context of each event: (B, T, d_model)."""
        return self(*told[:5])[told.cell]
