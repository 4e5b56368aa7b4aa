"""The bar autoencoder: a cell's roll (`realtime.music.cells`) <-> 128 numbers.

    roll (B, 4, 48, 88) -> mean, log variance (B, 128) -> logits of a roll (B, 4, 48, 88)

The decoder is not autoregressive, so that nothing but the latent can say what is in the bar. Trained on the ELBO with
weighted onsets and free bits (Kingma et al. 2016, section 3.2: a unit's first `FREE_NATS` cost nothing); then frozen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.composing.contract import METADATA_KEY
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
        self.exported_name = ""
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(LATENT))
        nn.init.constant_(self.decoder.step.bias, -5.0)  # most of a roll is empty

    @property
    def name(self) -> str:
        """Identifies its latents, the encoder's weights that is: what was trained on them says so."""
        return self.exported_name or digest((*self.encoder.state_dict().values(), self.mean, self.std))

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
    """The autoencoder of a run (`models.training.autoencoder`), frozen. A folder with `bars.encode.onnx` and a decoder trained on
    its latents (`models/pretrained`) gives the autoencoder that was exported there, in 8 bits. Raises `UserError`."""
    bars = BarAutoencoder()
    try:
        if (run / "bars.encode.onnx").exists():
            weights, bars.exported_name = _exported(run)
        else:
            weights = load_file(run / "model.safetensors")
        bars.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{run}: no bar autoencoder there ({reason}); give the folder that models.training.autoencoder wrote"
        ) from None
    return bars.eval().requires_grad_(False)


def _exported(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The weights and the name of an autoencoder whose run is gone: the encoder's out of its graph, the decoder's out of the copy
    that a context net has."""
    import onnx

    from models.nets.checkpoint import widened  # which imports this file, by way of the decoder

    model = onnx.load(folder / "bars.encode.onnx")
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    stored = {name: torch.from_numpy(values) for name, values in arrays.items()}
    weights = {name: stored[name] for name in ("mean", "std")}
    for name, values in stored.items():
        if name.endswith("_int8"):  # (in, out), a scale for each block of rows
            scales = stored[name.replace("_int8", "_float16")].float()
            blocks = scales.repeat_interleave(len(values) // len(scales), 0)
            weights[name.removesuffix("_int8")] = (values.float() * blocks).t().contiguous()
        elif name.startswith("encoder.") and not name.endswith("_float16"):
            weights[name] = values.t().contiguous() if name.endswith("time.weight") else values
    run, inside = widened(load_file(folder / "antiphon-s" / "model.safetensors")), "context."
    decoder = f"{inside}decoder."
    weights |= {name.removeprefix(inside): values for name, values in run.items() if name.startswith(decoder)}
    said = {entry.key: entry.value for entry in model.metadata_props}
    return weights, str(json.loads(said[METADATA_KEY])["bars"])


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
