"""Mixers to measure `LinearAttention` against, and the registry of all of them. Each has the shape of `layers.Mixer`, and differs
from it in the rule alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nets.layers import HEAD_SIZE, LinearAttention, Mixer, attend, decay_layer, log_decay


class EluAttention(Mixer):
    """Linear attention with the feature map elu(x) + 1 and its normaliser, nothing forgotten (arXiv 2006.16236).

        S_t = S_{t-1} + f(k_t) v_t^T      z_t = z_{t-1} + f(k_t)      y_t = S_t^T f(q_t) / z_t^T f(q_t)

    Memory: (S, z) as one matrix (B, H, 64, 65), z its last column: the sum for a value that is always 1.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.conv.activation = nn.Identity()  # SiLU would keep the features from coming near 0
        self.norm = nn.Identity()  # the normaliser is in its place

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, memory: Tensor | None, chunk: int
    ) -> tuple[Tensor, Tensor]:
        if memory is None:
            memory = x.new_zeros(x.shape[0], self.heads, HEAD_SIZE, HEAD_SIZE + 1, dtype=torch.float32)
        values = torch.cat([F.silu(v), torch.ones_like(v[..., :1])], -1)
        never = x.new_zeros(q.shape[:3], dtype=torch.float32)
        y, memory = attend((F.elu(q) + 1) / HEAD_SIZE, F.elu(k) + 1, values, never, memory, chunk)
        return y[..., :-1] / y[..., -1:].clamp(min=1e-6), memory


class GatedDeltaNet(Mixer):
    """The gated delta rule (arXiv 2412.06464): what a key is bound to is replaced, in the share b, rather than added to.

        S_t = a_t (I - b_t k_t k_t^T) S_{t-1} + b_t k_t v_t^T        y_t = S_t^T q_t        |k_t| = |q_t| = 1

    which is S_t = a_t S_{t-1} + k_t u_t^T with u_t = b_t (v_t - a_t S_{t-1}^T k_t): with what is written, u, for the values it is
    the recurrence of `attend`. Within a chunk that begins with S, and G_t the sum of log a up to t,

        u_t + b_t sum_{i<t} exp(G_t - G_i) (k_t . k_i) u_i = b_t (v_t - exp(G_t) S^T k_t),

    a unit triangular system (the UT transform of the WY form), solved for all chunks at once, for its two right sides apart.
    Memory: S (B, H, 64, 64).
    """

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.decay = decay_layer(d_model)
        self.share = nn.Linear(d_model, self.heads)

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, memory: Tensor | None, chunk: int
    ) -> tuple[Tensor, Tensor]:
        memory = self.empty(x) if memory is None else memory
        q, k = F.normalize(q.float(), dim=-1), F.normalize(k.float(), dim=-1)
        share = self.share(x).float().sigmoid().transpose(1, 2)  # (B, H, T)
        decay = log_decay(self.decay, x)
        with torch.autocast(x.device.type, enabled=False):  # the system is solved in float32
            written = writes(k, v.float(), share, decay, memory, chunk)
        return attend(q, k, written, decay, memory, chunk)


def writes(k: Tensor, v: Tensor, share: Tensor, log_decay: Tensor, state: Tensor, chunk: int) -> Tensor:
    """u of `GatedDeltaNet`, (B, H, T, e). k: (B, H, T, d) of length 1; v: (B, H, T, e); share, log_decay: (B, H, T)."""
    B, H, T, d = k.shape
    pad = -T % chunk  # a step with zero key, share and log-decay changes nothing
    k, v = (F.pad(x, (0, 0, 0, pad)).reshape(B, H, -1, chunk, x.shape[-1]) for x in (k, v))
    share, log_decay = (F.pad(x, (0, pad)).reshape(B, H, -1, chunk, 1) for x in (share, log_decay))
    total = log_decay.cumsum(-2)  # G: (B, H, n, chunk, 1)
    earlier = torch.ones(chunk, chunk, dtype=torch.bool, device=k.device).tril(-1)
    decay = (total - total.transpose(-1, -2)).masked_fill(~earlier, -torch.inf).exp()
    system = share * decay * (k @ k.transpose(-1, -2))  # its unit diagonal is understood
    sides = torch.cat([share * v, share * total.exp() * k], -1)
    fresh, of_state = torch.linalg.solve_triangular(system, sides, upper=False, unitriangular=True).split(
        [v.shape[-1], d], -1
    )
    last = total[..., -1:, :]
    added = k * (last - total).exp()  # what of each write is left at the chunk's end
    written = []
    for i in range(k.shape[2]):
        written.append(fresh[:, :, i] - of_state[:, :, i] @ state)
        state = last[:, :, i].exp() * state + added[:, :, i].transpose(-1, -2) @ written[-1]
    return torch.cat(written, -2)[:, :, :T]


class WindowAttention(Mixer):
    """Softmax attention over the last `width` steps, its own included, with linear biases for position (ALiBi, arXiv 2108.12409).

    Before the start of a stream lie zero keys and values, as in `ShortConv`: to look there is to look at nothing.
    Memory: keys and values of the last width - 1 steps, (B, 2 H, width - 1, 64).
    """

    width = 128

    def mix(
        self, q: Tensor, k: Tensor, v: Tensor, x: Tensor, memory: Tensor | None, chunk: int
    ) -> tuple[Tensor, Tensor]:
        B, H, T, d = q.shape
        back = self.width - 1
        if memory is None:
            memory = x.new_zeros(B, 2 * H, back, d)
        seen = torch.cat([memory.to(k.dtype), torch.cat([k, v], 1)], 2)  # (B, 2 H, back + T, d)
        pad = -T % chunk
        q = F.pad(q, (0, 0, 0, pad)).reshape(B, H, -1, chunk, d)
        spans = F.pad(seen, (0, 0, 0, pad)).unfold(2, chunk + back, chunk)  # (B, 2 H, n, d, chunk + back)
        keys, values = spans.chunk(2, 1)
        scores = (q * d**-0.5) @ keys + self.bias(chunk, x.device)
        y = scores.float().softmax(-1).to(values.dtype) @ values.transpose(-1, -2)  # (B, H, n, chunk, d)
        return y.reshape(B, H, -1, d)[:, :, :T], seen[:, :, T:].float()

    def bias(self, chunk: int, device: torch.device) -> Tensor:
        """Of every step of a chunk to all it could see: (H, 1, chunk, chunk + width - 1), -inf outside its window."""
        width = self.width
        back = torch.arange(chunk, device=device)[:, None] + width - 1 - torch.arange(chunk + width - 1, device=device)
        slope = 2.0 ** (-8 * torch.arange(1, self.heads + 1, device=device) / self.heads)
        bias = -slope[:, None, None, None] * back
        return bias.masked_fill((back < 0) | (back >= width), -torch.inf)


class WideWindowAttention(WindowAttention):
    """The same over 512 steps."""

    width = 512


MIXERS: dict[str, type[Mixer]] = {
    "decay": LinearAttention,
    "elu": EluAttention,
    "gated_delta": GatedDeltaNet,
    "window": WindowAttention,
    "window512": WideWindowAttention,
}
