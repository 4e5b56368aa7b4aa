"""What the decoder is conditioned on beside the notes: the latents of the cells before, a plan of those to come, and controls.

It is one vector a beat: its first part is added to the embedding of every event in the beat, the rest to the logits of the
five heads. So it costs a note next to nothing, and is made off the note path, once a cell. What a plan says of this cell and
the next is read as the bar decoder draws it, frozen: a latent is a code, and a roll says which keys, and when. The last layers
start at zero, but for a bias towards the plan's keys and steps: without a plan, a decoder plays what it played before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.nets.autoencoder import BarAutoencoder, BarDecoder
from realtime.composing.constraints import SLICES
from realtime.composing.contract import EVENT_LOGITS
from realtime.composing.latents import DRAWN, FUTURE, PREFIX
from realtime.music.attributes import CONTROLS
from realtime.music.cells import BEATS, KEYS, LATENT, LOWEST, STEP_TICKS, STEPS
from realtime.music.vocabulary import BEAT

PAST, AHEAD = PREFIX, FUTURE
"""Cells before and cells ahead. See `models.corpus.contexts` for which."""
NARROW = 48
SOURCES = 2
OF_SOURCE = 3 * KEYS + STEPS // BEATS
SEEN = SOURCES * OF_SOURCE
"""What is read for a beat, of each source: the keys begun in it, in the next and in the whole cell; the onsets at its steps."""
KEY_NATS, STEP_NATS = 2.0, 1.0
"""The first bias of the heads (nats) towards a key, and towards an onset's step, of which the plan is certain."""


class Conditioning(NamedTuple):
    """What a batch is conditioned on: the five inputs of `ContextNet` for R cells, and which of them and which of its
    beats each event has, (B, T)."""

    latent: Tensor
    known: Tensor
    plan: Tensor
    plan_time: Tensor
    controls: Tensor
    cell: Tensor
    beat: Tensor


class ContextNet(nn.Module):
    """Context vectors. All of a row's inputs are known or not by themselves:

    latent    (B, 16, 128)  the cells before, oldest first; `known` (B, 16) is 0 where there is none
    plan      (B, 4, 128)   the cells to come as a flow has them at `plan_time` (B, 4): (1 - t) noise + t latent;
                            t = 0 says as little as no plan
    controls  (B, 18)       `realtime.music.attributes.controls`
    """

    mean: Tensor
    std: Tensor

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.decoder = BarDecoder().requires_grad_(False)
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(LATENT))
        self.past = nn.Linear(LATENT, NARROW)
        self.join = nn.Linear(PAST * NARROW, d_model)
        self.drawn = nn.Linear(SEEN, d_model)
        self.plan = nn.Linear(AHEAD * (LATENT + 1), d_model)
        self.controls = nn.Linear(CONTROLS, d_model)
        self.leave = nn.Linear(d_model, d_model, bias=False)
        # The weights of released runs are stored under this name: it gives the context's bias on the logits.
        self.lean = nn.Linear(SEEN + CONTROLS, EVENT_LOGITS, bias=False)
        for layer in (self.leave, self.lean):
            nn.init.zeros_(layer.weight)
        time, key, tick = SLICES["time"].start, torch.arange(KEYS), torch.arange(BEAT)
        own = SEEN - OF_SOURCE
        with torch.no_grad():
            self.lean.weight[SLICES["pitch"].start + LOWEST + key, own + key] = KEY_NATS
            step = ((tick + STEP_TICKS // 2) // STEP_TICKS).clamp(max=STEPS // BEATS - 1)
            self.lean.weight[time + tick, own + 3 * KEYS + step] = STEP_NATS

    @property
    def width(self) -> int:
        """Length of a context vector."""
        return self.leave.out_features + EVENT_LOGITS

    def read_with(self, bars: BarAutoencoder) -> None:
        """Take over the decoder of the autoencoder whose latents it will be given."""
        self.decoder.load_state_dict(bars.decoder.state_dict())
        self.mean.copy_(bars.mean)
        self.std.copy_(bars.std)

    def forward(self, latent: Tensor, known: Tensor, plan: Tensor, plan_time: Tensor, controls: Tensor) -> Tensor:
        """See the class. Returns (B, 4, d_model + 228), a row a beat of the cell."""
        return self.make(latent, known, plan, plan_time, self.draw(plan, plan_time), controls)

    @torch.no_grad()
    def draw(self, plan: Tensor, plan_time: Tensor) -> Tensor:
        """The rolls of this cell and the next as far as the plan says, probabilities (B, DRAWN, 4, 48, 88)."""
        guess = best_guess(plan, plan_time)[:, :DRAWN]
        drawn = self.decoder(guess.flatten(0, 1) * self.std + self.mean).sigmoid()
        return drawn.unflatten(0, (-1, DRAWN)).float()

    def make(
        self, latent: Tensor, known: Tensor, plan: Tensor, plan_time: Tensor, drawn: Tensor, controls: Tensor
    ) -> Tensor:
        """`forward`, of what `draw` gave. This is what is exported: live, another graph draws."""
        past = self.past(latent) * known.unsqueeze(-1)  # (B, 16, NARROW)
        guess = torch.cat([best_guess(plan, plan_time), plan_time.unsqueeze(-1)], -1)  # (B, 4, 129)
        h = self.join(past.flatten(1)) + self.plan(guess.flatten(1)) + self.controls(controls)
        seen = self.read(drawn, plan_time[:, :DRAWN])
        bias = self.lean(torch.cat([seen, controls.unsqueeze(1).expand(-1, BEATS, -1)], -1))
        return torch.cat([self.leave(F.silu(h.unsqueeze(1) + self.drawn(seen))), bias], -1)

    @staticmethod
    def read(drawn: Tensor, time: Tensor) -> Tensor:
        """What rolls (B, DRAWN, 4, 48, 88) say of this cell, beat by beat: (B, 4, SEEN). time: (B, DRAWN)."""
        onsets = drawn[:, :, ::2].reshape(-1, DRAWN, SOURCES, BEATS, STEPS // BEATS, KEYS)
        onsets = onsets * time.reshape(-1, DRAWN, 1, 1, 1, 1)
        keys = onsets.sum(4).clamp(max=1)  # (B, DRAWN, sources, beats, keys)
        following = torch.cat([keys[:, 0, :, 1:], keys[:, 1, :, :1]], 2)
        whole = keys[:, 0].amax(2, keepdim=True).expand(-1, -1, BEATS, -1)
        rhythm = onsets[:, 0].sum(-1).clamp(max=4) / 2  # (B, sources, beats, steps)
        return torch.cat([keys[:, 0], following, whole, rhythm], -1).transpose(1, 2).flatten(2)

    def of_events(self, conditioning: Conditioning) -> Tensor:
        """The context of each event: (B, T, width)."""
        return self(*conditioning[:5])[conditioning.cell, conditioning.beat]


def best_guess(plan: Tensor, plan_time: Tensor) -> Tensor:
    """The best linear one of latents (..., 128) from their noisy forms at times (...): nothing at 0."""
    t = plan_time.unsqueeze(-1)
    return plan * t / ((1 - t).square() + t.square())
