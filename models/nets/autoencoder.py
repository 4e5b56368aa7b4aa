"""The bar autoencoder: a cell's roll (`realtime.music.cells`) <-> 128 numbers.

    roll (B, 4, 48, 88) -> mean, log variance (B, 128) -> logits of a roll (B, 4, 48, 88)

The decoder is not autoregressive, so that nothing but the latent can say what is in the bar. Trained on the ELBO with
weighted onsets and free bits (Kingma et al. 2016, section 3.2: a unit's first `FREE_NATS` cost nothing); then frozen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.errors import UserError
from realtime.music.cells import KEYS, LATENT, ROLL, STEPS

PLANES = ROLL[0]
WIDTH, NARROW, SLOTS = 192, 64, 12
"""Features a slot of four steps has, those of it that the latent is made from, and slots in a cell."""
FREE_NATS = 0.05
ONSET_WEIGHT, HOLD_WEIGHT = 2.0, 1.0
"""How much an onset and a held step that are there count against one that is not."""


class Mix(nn.Module):
    """A residual block over slots of time: each sees all the others (a matrix over slots), then its own features.

    `still`: at first it does nothing."""

    def __init__(self, still: bool = False) -> None:
        super().__init__()
        self.norm_time, self.norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.time = nn.Linear(SLOTS, SLOTS)
        self.wide, self.narrow = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        if still:
            for layer in (self.time, self.narrow):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, slots, width), and out the same."""
        x = x + self.time(self.norm_time(x).transpose(1, 2)).transpose(1, 2)
        return x + self.narrow(F.gelu(self.wide(self.norm(x))))


class BarEncoder(nn.Module):
    """roll (B, 4, 48, 88) -> mean and log variance, each (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(PLANES * KEYS, WIDTH)
        self.join = nn.Linear(WIDTH * (STEPS // SLOTS), WIDTH)
        self.mix = nn.Sequential(Mix(), Mix())
        self.narrow = nn.Linear(WIDTH, NARROW)
        self.leave = nn.Linear(SLOTS * NARROW, 2 * LATENT)

    def forward(self, roll: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = roll.permute(0, 2, 1, 3).flatten(2)  # (B, 48, 352)
        x = F.gelu(self.step(x))
        x = F.gelu(self.join(x.reshape(x.shape[0], SLOTS, -1)))  # (B, slots, width)
        mean, log_variance = self.leave(self.narrow(self.mix(x)).flatten(1)).chunk(2, -1)
        return mean, log_variance.clamp(-12, 4)


class BarDecoder(nn.Module):
    """latent (B, 128) -> logits of the roll (B, 4, 48, 88)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(LATENT, SLOTS * NARROW)
        self.widen = nn.Linear(NARROW, WIDTH)
        self.mix = nn.Sequential(Mix(), Mix(), Mix(still=True), Mix(still=True))
        self.split = nn.Linear(WIDTH, WIDTH * (STEPS // SLOTS))
        self.step = nn.Linear(WIDTH, PLANES * KEYS)

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        x = self.mix(self.widen(self.enter(z).reshape(-1, SLOTS, NARROW)))
        x = F.gelu(self.split(x)).reshape(-1, STEPS, WIDTH)
        return self.step(x).reshape(-1, STEPS, PLANES, KEYS).permute(0, 2, 1, 3)


def digest(tensors: Iterable[Tensor]) -> str:
    """Identifies weights."""
    summed = hashlib.sha256()
    for tensor in tensors:
        summed.update(tensor.cpu().contiguous().numpy().tobytes())
    return summed.hexdigest()[:16]


class BarAutoencoder(nn.Module):
    """Both, and what makes the latents standard: `mean` and `std` (128,) of the training cells' means."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = BarEncoder(), BarDecoder()
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(LATENT))
        nn.init.constant_(self.decoder.step.bias, -5.0)  # most of a roll is empty

    @property
    def name(self) -> str:
        """Identifies its latents, the encoder's weights that is: what was trained on them says so."""
        return digest((*self.encoder.state_dict().values(), self.mean, self.std))

    def forward(self, roll: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(logits of the roll, mean, log variance); the latent is drawn in training, and the mean otherwise."""
        mean, log_variance = self.encoder(roll)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
        return self.decoder(z), mean, log_variance

    @torch.no_grad()
    def latent(self, roll: Tensor) -> Tensor:
        """roll (B, 4, 48, 88) -> standardised latent (B, 128)."""
        return (self.encoder(roll)[0] - self.mean) / self.std

    @torch.no_grad()
    def roll(self, latent: Tensor) -> Tensor:
        """Standardised latent (B, 128) -> probabilities of the roll (B, 4, 48, 88)."""
        return self.decoder(latent * self.std + self.mean).sigmoid()


def load_bars(run: Path) -> BarAutoencoder:
    """The autoencoder of a run (`models.training.autoencoder`), frozen. Raises `UserError`."""
    bars = BarAutoencoder()
    try:
        bars.load_state_dict(load_file(run / "model.safetensors"))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{run}: no bar autoencoder there ({reason}); give the folder that models.training.autoencoder wrote"
        ) from None
    return bars.eval().requires_grad_(False)


def reconstruction(logits: Tensor, roll: Tensor) -> Tensor:
    """Weighted binary cross-entropy, nats a bar (a scalar).

    Of a logit x it is softplus(x) where nothing is, and weight * softplus(-x) where something is. As a roll is nearly empty,
    the first is summed over all, and only what is there is put right.
    """
    weight = (
        torch.tensor([ONSET_WEIGHT, HOLD_WEIGHT] * 2, device=roll.device).reshape(PLANES, 1, 1).expand(roll.shape[1:])
    )
    there = roll.flatten().nonzero().squeeze(1)
    x = logits.flatten()[there].float()
    weight = weight.flatten()[there % weight.numel()]
    right = weight * (F.softplus(x) - x) - F.softplus(x)
    return (F.softplus(logits).sum(dtype=torch.float32) + right.sum()) / roll.shape[0]


def rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL from the standard normal by unit, its mean over the batch: (128,) nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
