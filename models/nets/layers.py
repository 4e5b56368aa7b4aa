"""The layers of the trunk: each is `layer(x, state) -> (y, state)`, for any number of steps.

One definition serves training and streaming: a whole sequence, the same sequence in chunks with the state handed on,
and one step at a time give the same outputs and gradients. `state=None` means the start of a stream. A state is a plain
tensor (or a tuple of tensors), never hidden in the module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_SIZE = 64
CONV_WIDTH = 4


def attend(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Gated linear attention with one decay a head, in chunks; exact for every chunk length.

        S_t = exp(g_t) S_{t-1} + k_t v_t^T        y_t = S_t^T q_t

    the scalar-decay form of Mamba-2 (state-space duality, arXiv 2405.21060, section 6) and, with constant g, of
    RetNet (arXiv 2307.08621). q, k: (B, H, T, d); v: (B, H, T, e); log_decay g <= 0: (B, H, T); state S: (B, H, d, e),
    float32. Returns y (B, H, T, e) and the state after the last step. Decays are summed in float32 under autocast too.
    """
    B, H, T, _ = q.shape
    pad = -T % chunk
    if pad:  # zero keys add nothing and zero log-decays forget nothing, so the final state is not disturbed
        q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
        log_decay = F.pad(log_decay, (0, pad))
    n = (T + pad) // chunk
    q, k, v = (x.reshape(B, H, n, chunk, -1) for x in (q, k, v))
    total = log_decay.float().reshape(B, H, n, chunk).cumsum(-1)  # (B, H, n, chunk)
    last = total[..., -1:]

    within = total.unsqueeze(-1) - total.unsqueeze(-2)  # (B, H, n, chunk, chunk)
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    decay = within.masked_fill(~causal, -torch.inf).exp()
    y = ((q @ k.transpose(-1, -2)) * decay.to(q.dtype)) @ v  # (B, H, n, chunk, e)

    added = (k * (last - total).exp().unsqueeze(-1).to(k.dtype)).transpose(-1, -2) @ v  # (B, H, n, d, e)
    carry = last.exp().unsqueeze(-1)  # (B, H, n, 1, 1)
    before = []
    for i in range(n):
        before.append(state)
        state = carry[:, :, i] * state + added[:, :, i].float()
    y = y + (q * total.exp().unsqueeze(-1).to(q.dtype)) @ torch.stack(before, 2).to(q.dtype)
    return y.reshape(B, H, n * chunk, -1)[:, :, :T], state


class ShortConv(nn.Module):
    """Depthwise causal convolution over the last `CONV_WIDTH` steps, then `activation`. State: (B, CONV_WIDTH - 1, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CONV_WIDTH, channels) / math.sqrt(CONV_WIDTH))
        self.activation: nn.Module = nn.SiLU()

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: (B, T, channels)."""
        T = x.shape[1]
        if state is None:
            state = x.new_zeros(x.shape[0], CONV_WIDTH - 1, x.shape[2])
        seen = torch.cat([state.to(x.dtype), x], 1)  # (B, T + CONV_WIDTH - 1, channels)
        y = sum(seen[:, i : i + T] * self.weight[i].to(x.dtype) for i in range(CONV_WIDTH))
        return self.activation(y), seen[:, T:].float()


class Mixer(nn.Module):
    """Short convolution, a rule that mixes the steps, per-head norm, output gate. State: (the rule's memory, conv's window).

    A rule is a `mix`: queries, keys and values (B, H, T, 64), the layer's input x (B, T, d_model) and the memory (None at the
    start) -> (y (B, H, T, 64), memory, float32).
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.heads = d_model // HEAD_SIZE
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.conv = ShortConv(3 * d_model)
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.norm = nn.RMSNorm(HEAD_SIZE, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, memory: Tensor | None, chunk: int
    ) -> tuple[Tensor, Tensor]:
        """The rule; see the class."""
        raise NotImplementedError

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, chunk: int = 64
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: (B, T, d_model)."""
        B, T, d = x.shape
        memory, window = state if state is not None else (None, None)
        qkv, window = self.conv(self.qkv(x), window)
        q, k, v = qkv.reshape(B, T, 3, self.heads, HEAD_SIZE).permute(2, 0, 3, 1, 4)  # 3 x (B, H, T, 64)
        y, memory = self.mix(q, k, v, x, memory, chunk)
        y = self.norm(y.to(x.dtype)).transpose(1, 2).reshape(B, T, d)  # (B, T, d)
        return self.out(y * F.silu(self.gate(x))), (memory, window)

    def empty(self, x: Tensor) -> Tensor:
        """The memory S (B, H, 64, 64) at the start of a stream."""
        return x.new_zeros(x.shape[0], self.heads, HEAD_SIZE, HEAD_SIZE, dtype=torch.float32)


class LinearAttention(Mixer):
    """Gated linear recurrence with one decay a head and step; see `attend`."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.decay = decay_layer(d_model)

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, memory: Tensor | None, chunk: int
    ) -> tuple[Tensor, Tensor]:
        memory = self.empty(x) if memory is None else memory
        return attend(q * HEAD_SIZE**-0.5, k, v, log_decay(self.decay, x), memory, chunk)


def decay_layer(d_model: int) -> nn.Linear:
    """Whose softplus is the rate of forgetting, a head: from a few events to about a thousand, spread over the heads."""
    heads = d_model // HEAD_SIZE
    layer = nn.Linear(d_model, heads)
    rate = torch.logspace(math.log10(0.001), math.log10(0.3), heads)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        layer.bias.copy_(torch.log(torch.expm1(rate)))
    return layer


def log_decay(layer: nn.Linear, x: Tensor) -> Tensor:
    """x (B, T, d_model) -> (B, H, T), at most 0, float32."""
    return -F.softplus(layer(x).float()).transpose(1, 2)


class SwiGLU(nn.Module):
    """Gated feed-forward layer (arXiv 2002.05202); no state. `hidden` is 8/3 of d_model where it is not given."""

    def __init__(self, d_model: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or -(-d_model * 8 // 3 // 32) * 32
        self.up = nn.Linear(d_model, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, d_model)."""
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)


class Block(nn.Module):
    """Pre-norm residual block: a mixer, then the feed-forward layer."""

    def __init__(self, d_model: int, dropout: float, mixer: type[Mixer] = LinearAttention, hidden: int | None = None):
        super().__init__()
        self.norm1 = nn.RMSNorm(d_model, eps=1e-6)
        self.mixer = mixer(d_model)
        self.norm2 = nn.RMSNorm(d_model, eps=1e-6)
        self.mlp = SwiGLU(d_model, hidden)
        self.dropout = nn.Dropout(dropout)

    def start_small(self, std: float) -> None:
        """Draw what is added to the residual stream anew, with this deviation: depth shall not grow the stream."""
        nn.init.normal_(self.mixer.out.weight, std=std)
        nn.init.normal_(self.mlp.down.weight, std=std)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, chunk: int = 64
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: (B, T, d_model)."""
        y, state = self.mixer(self.norm1(x), state, chunk)
        x = x + self.dropout(y)
        return x + self.dropout(self.mlp(self.norm2(x))), state


def product_dtype(device: torch.device, features: Mapping[str, bool | int | str] | None = None) -> torch.dtype:
    """The dtype of matrix products in training: bfloat16 where the device has instructions for it, else float32.

    Without them bfloat16 is emulated, which on a CPU takes about twenty times as long as float32. `features`: what the CPU
    has, by the names of `torch.cpu.get_capabilities`, which is asked where they are not given.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    features = torch.cpu.get_capabilities() if features is None else features
    native = any(features.get(name) for name in ("amx_bf16", "avx512_bf16"))
    return torch.bfloat16 if native else torch.float32


def autocast(device: torch.device) -> Any:
    """Within it, matrix products are computed in `product_dtype(device)`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=product_dtype(device) == torch.bfloat16)


def product_name(device: torch.device) -> str:
    """`product_dtype` in words, for logs and `run.json`."""
    return str(product_dtype(device)).removeprefix("torch.")
