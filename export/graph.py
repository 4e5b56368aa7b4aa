"""`Decoder` as the step graph of `realtime.composing.contract`: trunk, chained heads and sampling in one call.

What never changes is worked out once, at export: the embedding tables become one (pitch classes and octaves added to the
pitches), and projections that read the same input become one matrix. Products stay (1, T, d) x (d, n): what quantises.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.operators import EPSILON, OPERATORS, Operators
from models.nets.decoder import ChainedHeads, Decoder
from models.nets.layers import Block
from models.nets.recurrent import LSTMBlock
from realtime.composing.contract import MASKED
from realtime.music.vocabulary import BEAT, FIELDS, HEADS

SIZES = list(HEADS.values())
PITCH = list(HEADS).index("pitch")
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-3, 1e3
FORBIDDEN = -1e8
"""A biased logit below this belongs to a masked choice."""
NOISE_SCALE = 1 - 2**-20
"""Uniform noise is below 1, but in float32 its product with a total could round up to that total."""


class StepGraph(nn.Module):
    """The graph of the contract, B = 1. `operators` is a key of `OPERATORS`; only "native" also runs in torch.

    `stepwise`: it takes one event a call, T = 1.
    """

    starts: Tensor

    def __init__(self, decoder: Decoder, operators: str) -> None:
        super().__init__()
        self.operators = OPERATORS[operators]
        self.tables = nn.Parameter(_tables(decoder))
        self.register_buffer("starts", torch.tensor([0, *list(FIELDS.values())[:-1]]).cumsum(0))
        self.held = matrix(decoder.held)
        self.layers = nn.ModuleList(_layer(block, self.operators) for block in decoder.blocks)
        self.stepwise = any(isinstance(layer, _LSTMLayer) for layer in self.layers)
        self.norm = decoder.norm.weight
        self.heads = _Heads(decoder.heads, self.operators)

    def forward(
        self,
        event: Tensor,
        held: Tensor,
        release: Tensor,
        bias: Tensor,
        sampling: Tensor,
        noise: Tensor,
        context: Tensor | None,
        states: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """The inputs of the contract, `states` being s0, c0, s1, ...; returns its outputs in its order."""
        x = F.embedding(event + self.starts, self.tables).sum(2)  # (1, T, d)
        y = held @ self.held
        if context is not None:
            y = y + context[..., : y.shape[-1]]
        after: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            x, y, *state = layer(x, y, states[2 * i], states[2 * i + 1])
            after += state
        _, h = self.operators.add_norm(x[:, -1:], y[:, -1:], self.norm)  # (1, 1, d)
        context_bias = None if context is None else context[:, -1:, y.shape[-1] :]
        return (*self.heads(h, release, bias, sampling, noise, context_bias), *after)


class _Layer(nn.Module):
    """One block. The residual stream x and what is to be added to it, y, go in and out apart: their sum is fused."""

    def __init__(self, block: Block, operators: Operators) -> None:
        super().__init__()
        mixer = block.mixer
        self.operators = operators
        self.widths = [3 * mixer.out.out_features, mixer.out.out_features]
        self.norm1, self.norm2, self.head_norm = block.norm1.weight, block.norm2.weight, mixer.norm.weight
        self.enter = nn.Parameter(torch.cat([mixer.qkv.weight, mixer.gate.weight]).detach().t().contiguous())
        self.taps = mixer.conv.weight
        self.decay, self.decay_bias = matrix(mixer.decay), mixer.decay.bias
        self.leave = matrix(mixer.out)
        self.up, self.down = matrix(block.mlp.up), matrix(block.mlp.down)

    def forward(self, x: Tensor, y: Tensor, memory: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, y: (1, T, d)."""
        x, z = self.operators.add_norm(x, y, self.norm1)
        qkv, gate = (z @ self.enter).split(self.widths, -1)
        qkv, window = self.operators.conv(qkv, self.taps, window)
        decay = self.operators.log_decay(z @ self.decay, self.decay_bias)
        y, memory = self.operators.attend(*qkv.chunk(3, -1), decay, memory)
        x, z = self.operators.add_norm(x, self.operators.gated_norm(y, self.head_norm, gate) @ self.leave, self.norm2)
        gate, value = (z @ self.up).chunk(2, -1)
        return x, (self.operators.silu(gate) * value) @ self.down, memory, window


class _LSTMLayer(nn.Module):
    """One `LSTMBlock`, one event a call: both of its products as one, of [x, hidden]."""

    def __init__(self, block: LSTMBlock, operators: Operators) -> None:
        super().__init__()
        lstm = block.lstm
        self.operators = operators
        self.norm = block.norm.weight
        self.enter = nn.Parameter(torch.cat([lstm.weight_ih_l0, lstm.weight_hh_l0], 1).detach().t().contiguous())
        self.bias = nn.Parameter((lstm.bias_ih_l0 + lstm.bias_hh_l0).detach())

    def forward(self, x: Tensor, y: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, y, hidden, cell: (1, 1, d)."""
        x, z = self.operators.add_norm(x, y, self.norm)
        enter, forget, new, leave = (torch.cat([z, hidden], -1) @ self.enter + self.bias).chunk(4, -1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        return x, hidden, hidden, cell


def _layer(block: nn.Module, operators: Operators) -> nn.Module:
    """A block of the decoder as `layer(x, y, s, c) -> (x, y, s, c)`."""
    return _LSTMLayer(block, operators) if isinstance(block, LSTMBlock) else _Layer(block, operators)


class _Heads(nn.Module):
    """`ChainedHeads` with a draw after each head."""

    sizes: Tensor
    starts: Tensor
    table: Tensor
    absent: Tensor
    beat: Tensor

    def __init__(self, heads: ChainedHeads, operators: Operators) -> None:
        super().__init__()
        self.operators = operators
        self.hidden = heads.hidden
        self.enter = matrix(heads.enter)
        self.known = nn.ParameterList(embedding.weight for embedding in heads.known.values())
        self.norms = nn.ParameterList(norm.weight for norm in heads.norm)
        self.leave = nn.ParameterList(matrix(linear) for linear in heads.leave.values())
        self.leave_bias = nn.ParameterList(linear.bias for linear in heads.leave.values())
        sizes = torch.tensor(SIZES).reshape(1, -1, 1)
        starts = torch.tensor([0, *SIZES[:-1]]).cumsum(0).reshape(1, -1, 1)
        column = torch.arange(max(SIZES))
        self.register_buffer("sizes", sizes.float())
        self.register_buffer("starts", starts)
        self.register_buffer("table", torch.where(column < sizes, starts + column, 0).reshape(-1))
        self.register_buffer("absent", torch.where(column < sizes, 0.0, -torch.inf))
        self.register_buffer("beat", torch.tensor([[BEAT, 0, 0, 0, 0]]))

    def forward(
        self,
        h: Tensor,
        release: Tensor,
        bias: Tensor,
        sampling: Tensor,
        noise: Tensor,
        context_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """h: (1, 1, d); context_bias: (1, 1, 228), a part of the logits; the others as in the contract. Returns choice,
        log_prob and
        logits."""
        temperature, top_k, top_p = sampling.split(1, -1)  # (1, 5, 1)
        last = torch.where(top_k < 1, self.sizes, torch.minimum(top_k, self.sizes)) - 1
        parameters = zip(
            temperature.clamp(LEAST_TEMPERATURE, MOST_TEMPERATURE).split(1, 1),
            last.long().split(1, 1),
            top_p.split(1, 1),
            (noise * NOISE_SCALE).unsqueeze(-1).split(1, 1),
            strict=True,
        )
        biases = list(bias.unsqueeze(1).split(SIZES, -1))
        context_biases = [None] * len(SIZES) if context_bias is None else context_bias.split(SIZES, -1)
        rest = h @ self.enter  # (1, 1, 5 * hidden): what each head gets, the heads still to come
        logits: list[Tensor] = []
        biased: list[Tensor] = []
        choices: list[Tensor] = []
        for i, how in enumerate(parameters):
            if i == PITCH:
                sounding = release.unsqueeze(1) > choices[0].float().unsqueeze(-1)
                biases[i] = torch.where(sounding, MASKED, biases[i])
            z = rest[..., : self.hidden]
            z = self.operators.silu(F.rms_norm(z, (self.hidden,), self.norms[i], EPSILON))
            z = z @ self.leave[i] + self.leave_bias[i]  # (1, 1, choices)
            logits.append(z if context_biases[i] is None else z + context_biases[i])
            biased.append(logits[i] + biases[i])
            choices.append(_draw(biased[i], *how))
            if i + 1 < len(SIZES):
                rest = rest[..., self.hidden :] + F.embedding(choices[i], self.known[i])
        choice = torch.cat(choices, -1).unsqueeze(-1)  # (1, 5, 1)
        drawn = torch.cat(biased, -1).transpose(1, 2).gather(1, choice + self.starts)  # (1, 5, 1)
        # A masked choice is drawn only where there was no other.
        forbidden = (drawn < FORBIDDEN).long().sum(1) > 0  # counted: a minimum would need cuDNN on a GPU
        choice = torch.where(forbidden, self.beat, choice.squeeze(-1))
        flat = torch.cat(logits, -1).squeeze(1)  # (1, 228)
        scores = flat.index_select(1, self.table).reshape(self.absent.shape) + self.absent  # (1, 5, widest)
        log_prob = F.log_softmax(scores, -1).gather(-1, choice.unsqueeze(-1)).squeeze(-1)
        return choice, log_prob, flat


def _draw(z: Tensor, temperature: Tensor, last: Tensor, top_p: Tensor, noise: Tensor) -> Tensor:
    """Temperature, top-k, top-p, then the inverse of the cumulative mass. z: (1, 1, n), the others (1, 1, 1).

    `last` is top-k as a rank. In sorted order both cuts keep a prefix, so each is but a total: nothing is masked twice.
    The nucleus is the shortest prefix that reaches top_p of top-k's mass. Returns the id (1, 1).
    """
    values, ids = z.topk(z.shape[-1], -1)
    mass = F.softmax(values / temperature, -1).cumsum(-1)
    total = mass.gather(-1, last)
    total = mass.gather(-1, (mass < total * top_p).sum(-1, keepdim=True))
    rank = (mass <= total * noise).sum(-1, keepdim=True)
    return ids.gather(-1, rank).squeeze(-1)


def matrix(linear: nn.Linear) -> nn.Parameter:
    """The weight as the right factor of a product: (in, out)."""
    return nn.Parameter(linear.weight.detach().t().contiguous())


def _tables(decoder: Decoder) -> Tensor:
    """All embeddings of an event's fields, one after the other: (sum of sizes, d)."""
    tables = {name: embedding.weight.detach() for name, embedding in decoder.embed.items()}
    pitch_class, octave = decoder.pitch_class(decoder.class_of), decoder.octave(decoder.octave_of)
    tables["pitch"] = tables["pitch"] + pitch_class.detach() + octave.detach()
    return torch.cat([tables[name] for name in FIELDS])
