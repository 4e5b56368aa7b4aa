"""The layers of the trunk: each is `layer(x, state) -> (y, state)`, for any number of steps.

One definition serves training and streaming: a whole sequence, the same sequence in chunks with the state handed on,
and one step at a time give the same outputs and gradients. `state=None` means the start of a stream. A state is a plain
tensor (or a tuple of tensors), never hidden in the module.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_SIZE = 64
CONV_WIDTH = 4


def attend(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, state: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Gated linear attention with one decay a head, in chunks; exact for every chunk length.

        S_t = exp(g_t) S_{t-1} + k_t v_t^T        y_t = S_t^T q_t

    the scalar-decay form of Mamba-2 (state-space duality, arXiv 2405.21060, section 6) and, with constant g, of
    RetNet (arXiv 2307.08621). q, k, v: (B, H, T, d); log_decay g <= 0: (B, H, T); state S: (B, H, d, d), float32.
    Returns y (B, H, T, d) and the state after the last step. Decays are summed in float32 under autocast too.
    """
    B, H, T, d = q.shape
    pad = -T % chunk
    if pad:  # zero keys add nothing and zero log-decays forget nothing, so the final state is not disturbed
        q, k, v = (F.pad(x, (0, 0, 0, pad)) for x in (q, k, v))
        log_decay = F.pad(log_decay, (0, pad))
    n = (T + pad) // chunk
    q, k, v = (x.reshape(B, H, n, chunk, d) for x in (q, k, v))
    total = log_decay.float().reshape(B, H, n, chunk).cumsum(-1)  # (B, H, n, chunk)
    last = total[..., -1:]

    within = total.unsqueeze(-1) - total.unsqueeze(-2)  # (B, H, n, chunk, chunk)
    causal = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).tril()
    decay = within.masked_fill(~causal, -torch.inf).exp()
    y = ((q @ k.transpose(-1, -2)) * decay.to(q.dtype)) @ v  # (B, H, n, chunk, d)

    added = (k * (last - total).exp().unsqueeze(-1).to(k.dtype)).transpose(-1, -2) @ v  # (B, H, n, d, d)
    carry = last.exp().unsqueeze(-1)  # (B, H, n, 1, 1)
    before = []
    for i in range(n):
        before.append(state)
        state = carry[:, :, i] * state + added[:, :, i].float()
    y = y + (q * total.exp().unsqueeze(-1).to(q.dtype)) @ torch.stack(before, 2).to(q.dtype)
    return y.reshape(B, H, n * chunk, d)[:, :, :T], state


class ShortConv(nn.Module):
    """Depthwise causal convolution over the last `CONV_WIDTH` steps, then SiLU. State: (B, CONV_WIDTH - 1, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CONV_WIDTH, channels) / math.sqrt(CONV_WIDTH))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x: (B, T, channels)."""
        T = x.shape[1]
        if state is None:
            state = x.new_zeros(x.shape[0], CONV_WIDTH - 1, x.shape[2])
        seen = torch.cat([state.to(x.dtype), x], 1)  # (B, T + CONV_WIDTH - 1, channels)
        y = sum(seen[:, i : i + T] * self.weight[i].to(x.dtype) for i in range(CONV_WIDTH))
        return F.silu(y), seen[:, T:].float()


class LinearAttention(nn.Module):
    """Short convolution, gated linear recurrence, per-head norm, output gate. State: (S, conv); see `attend`."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.heads = d_model // HEAD_SIZE
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.conv = ShortConv(3 * d_model)
        self.gate = nn.Linear(d_model, d_model, bias=False)
        self.decay = nn.Linear(d_model, self.heads, bias=True)
        self.norm = nn.RMSNorm(HEAD_SIZE, eps=1e-6)
        self.out = nn.Linear(d_model, d_model, bias=False)
        # Time constants from a few events to about a thousand, spread over the heads.
        rate = torch.logspace(math.log10(0.001), math.log10(0.3), self.heads)
        with torch.no_grad():
            self.decay.weight.mul_(0.1)
            self.decay.bias.copy_(torch.log(torch.expm1(rate)))

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, chunk: int = 64
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x: (B, T, d_model)."""
        B, T, d = x.shape
        memory, window = state if state is not None else (None, None)
        qkv, window = self.conv(self.qkv(x), window)
        q, k, v = qkv.reshape(B, T, 3, self.heads, HEAD_SIZE).permute(2, 0, 3, 1, 4)  # 3 x (B, H, T, 64)
        rate = F.softplus(self.decay(x).float()).transpose(1, 2)  # (B, H, T)
        if memory is None:
            memory = x.new_zeros(B, self.heads, HEAD_SIZE, HEAD_SIZE, dtype=torch.float32)
        y, memory = attend(q * HEAD_SIZE**-0.5, k, v, -rate, memory, chunk)
        y = self.norm(y.to(x.dtype)).transpose(1, 2).reshape(B, T, d)  # (B, T, d)
        return self.out(y * F.silu(self.gate(x))), (memory, window)


class SwiGLU(nn.Module):
    """Gated feed-forward layer (arXiv 2002.05202); no state."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        hidden = -(-d_model * 8 // 3 // 32) * 32
        self.up = nn.Linear(d_model, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, T, d_model)."""
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)


class Block(nn.Module):
    """Pre-norm residual block: linear attention, then the feed-forward layer."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(d_model, eps=1e-6)
        self.mixer = LinearAttention(d_model)
        self.norm2 = nn.RMSNorm(d_model, eps=1e-6)
        self.mlp = SwiGLU(d_model)
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
