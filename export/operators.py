"""The few operations of the step graph that onnxruntime has as one fused operator, and the same in plain operators.

Both classes are one step of the recurrence of `models.nets.layers`, states in and out, activations (1, 1, channels)
throughout. `Fused` needs onnxruntime's own operators (com.microsoft, CPU and CUDA); it only exports, it does not run in torch.
`Native` runs anywhere, torch included. The short convolution and the gated norm are no operators of their own: for one event
onnxruntime's fused ones take 13.5 and 7.5 us on a core with AVX2, the plain ones 2.5 and 4.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nets.layers import HEAD_SIZE

EPSILON = 1e-6


class Operators(Protocol):
    """What the trunk is made of beside matrix products."""

    def add_norm(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The residual sum x + y, and its RMS norm."""

    def log_decay(self, z: Tensor, bias: Tensor) -> Tensor:
        """-softplus(z + bias). z: (1, 1, heads)."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """`attend` and the scaling of q. q, k, v: (1, 1, d); log_decay: (1, 1, heads)."""

    def silu(self, x: Tensor) -> Tensor:
        """x * sigmoid(x)."""


class Native:
    """Operators of the ONNX standard only."""

    def add_norm(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        x = x + y
        return x, F.rms_norm(x, weight.shape, weight, EPSILON)

    def log_decay(self, z: Tensor, bias: Tensor) -> Tensor:
        return -F.softplus(z + bias)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        heads = memory.shape[1]
        q, k, v = (x.reshape(1, heads, 1, HEAD_SIZE) for x in (q, k, v))
        memory = log_decay.exp().reshape(1, heads, 1, 1) * memory + k.transpose(-1, -2) @ v
        return (q @ memory).reshape(1, 1, heads * HEAD_SIZE) * HEAD_SIZE**-0.5, memory

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(x)


class Fused:
    """onnxruntime's own operators; their schemas are in `onnxruntime.capi` (`get_all_operator_schema`)."""

    def add_norm(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        normed, _, _, total = _call(
            "SkipSimplifiedLayerNormalization", (x, y, weight), (x, x.new_empty(0), x.new_empty(0), x), epsilon=EPSILON
        )
        return total, normed

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


def matrix(linear: nn.Linear) -> nn.Parameter:
    """The weight as the right factor of a product: (in, out)."""
    return nn.Parameter(linear.weight.detach().t().contiguous())
