"""The few operations of the step graph that onnxruntime has as one fused operator, and the same in plain operators.

Both classes are the recurrence of `models.nets.layers` for T events at once (one quadratic chunk), states in and out,
activations (1, T, channels) throughout. `Fused` needs onnxruntime's own operators (com.microsoft, CPU and CUDA); it only
exports, it does not run in torch. `Native` runs anywhere, torch included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from models.nets.layers import CONV_WIDTH, HEAD_SIZE

EPSILON = 1e-6


class Operators(Protocol):
    """What the trunk is made of beside matrix products."""

    def add_norm(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The residual sum x + y, and its RMS norm."""

    def conv(self, x: Tensor, weight: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """`ShortConv`. x: (1, T, c); weight: (CONV_WIDTH, c); window: (1, CONV_WIDTH - 1, c)."""

    def log_decay(self, z: Tensor, bias: Tensor) -> Tensor:
        """-softplus(z + bias). z: (1, T, heads)."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """`attend` and the scaling of q. q, k, v: (1, T, d); log_decay: (1, T, heads)."""

    def gated_norm(self, y: Tensor, weight: Tensor, gate: Tensor) -> Tensor:
        """RMS norm of each head, times silu(gate)."""

    def silu(self, x: Tensor) -> Tensor:
        """x * sigmoid(x)."""


class Native:
    """Operators of the ONNX standard only."""

    def add_norm(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        x = x + y
        return x, F.rms_norm(x, weight.shape, weight, EPSILON)

    def conv(self, x: Tensor, weight: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.cat([window, x], 1)  # (1, T + CONV_WIDTH - 1, c)
        y = seen[:, CONV_WIDTH - 1 :] * weight[-1]
        for i in range(CONV_WIDTH - 1):  # slices counted from the end do not depend on T
            y = y + seen[:, i : i - CONV_WIDTH + 1] * weight[i]
        return F.silu(y), seen[:, 1 - CONV_WIDTH :]

    def log_decay(self, z: Tensor, bias: Tensor) -> Tensor:
        return -F.softplus(z + bias)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        heads = memory.shape[1]
        q, k, v = (x.reshape(1, -1, heads, HEAD_SIZE).transpose(1, 2) for x in (q, k, v))  # (1, H, T, 64)
        total = log_decay.transpose(1, 2).cumsum(-1).unsqueeze(-1)  # (1, H, T, 1)
        index = torch.ones_like(total[:, :1]).cumsum(-2)  # (1, 1, T, 1)
        within = total - total.transpose(-1, -2)  # (1, H, T, T)
        within = torch.where(index >= index.transpose(-1, -2), within, -torch.inf)
        last = total[:, :, -1:]
        k = k.transpose(-1, -2)  # (1, H, 64, T)
        y = (q @ k * within.exp()) @ v + (q * total.exp()) @ memory
        memory = last.exp() * memory + (k * (last - total).exp().transpose(-1, -2)) @ v
        return y.transpose(1, 2).reshape(1, -1, heads * HEAD_SIZE) * HEAD_SIZE**-0.5, memory

    def gated_norm(self, y: Tensor, weight: Tensor, gate: Tensor) -> Tensor:
        heads = y.reshape(1, -1, y.shape[-1] // HEAD_SIZE, HEAD_SIZE)
        return F.rms_norm(heads, weight.shape, weight, EPSILON).reshape(y.shape) * F.silu(gate)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Fused:
    """onnxruntime's own operators; their schemas are in `onnxruntime.capi` (`get_all_operator_schema`)."""

    def add_norm(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        normed, _, _, total = _call(
            "SkipSimplifiedLayerNormalization", (x, y, weight), (x, x.new_empty(0), x.new_empty(0), x), epsilon=EPSILON
        )
        return total, normed

    def conv(self, x: Tensor, weight: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        taps = weight.t().unsqueeze(1)  # (c, 1, CONV_WIDTH)
        y, window = _call(
            "CausalConvWithState", (x, taps, None, window), (x, window), activation="silu", channels_last=1
        )
        return y, window

    def log_decay(self, z: Tensor, bias: Tensor) -> Tensor:
        return _call("LinearAttentionGate", (z, bias, -torch.ones_like(bias)), (z,))[0]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        heads = memory.shape[1]
        y, memory = _call(
            "LinearAttention",
            (q, k, v, memory, log_decay),
            (v, memory),
            update_rule="gated",
            q_num_heads=heads,
            kv_num_heads=heads,
            scale=HEAD_SIZE**-0.5,
        )
        return y, memory

    def gated_norm(self, y: Tensor, weight: Tensor, gate: Tensor) -> Tensor:
        return _call("GatedRMSNorm", (y, weight, gate), (y,), epsilon=EPSILON, activation="silu")[0]

    def silu(self, x: Tensor) -> Tensor:
        return _call("QuickGelu", (x,), (x,), alpha=1.0)[0]


OPERATORS: dict[str, Operators] = {"fused": Fused(), "native": Native()}


def _call(name: str, inputs: Sequence[Tensor | None], like: Sequence[Tensor], **attributes: Any) -> Sequence[Tensor]:
    """One com.microsoft node whose outputs are shaped as `like`."""
    return torch.onnx.ops.symbolic_multi_out(
        f"com.microsoft::{name}",
        inputs,
        attributes,
        dtypes=[x.dtype for x in like],
        shapes=[x.shape for x in like],
        version=1,
    )
