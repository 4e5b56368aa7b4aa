"""`Decoder` as the step graph of `realtime.composing.contract`: trunk, chained heads and sampling in one call.

What never changes is worked out once, at export: the embedding tables become one (pitch classes and octaves added to the
pitches), and projections that read the same input become one matrix. Products stay (1, 1, d) x (d, n): what quantises.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.heads import Heads
from export.memory import Memory, Recalled
from export.operators import EPSILON, OPERATORS, Operators, matrix
from models.nets.decoder import Decoder
from models.nets.layers import CONV_WIDTH, HEAD_SIZE, Block
from models.nets.recurrent import LSTMBlock
from realtime.music.chords import CHORD_INPUTS
from realtime.music.vocabulary import FIELDS


class StepGraph(nn.Module):
    """The graph of the contract. `operators` is a key of `OPERATORS`; only "native" also runs in torch."""

    starts: Tensor

    def __init__(self, decoder: Decoder, operators: str) -> None:
        super().__init__()
        self.operators = OPERATORS[operators]
        self.tables = nn.Parameter(_tables(decoder))
        self.register_buffer("starts", torch.tensor([0, *list(FIELDS.values())[:-1]]).cumsum(0))
        self.memory = Memory(decoder.memory, self.operators) if decoder.memory is not None else None
        # The held-now vector, and the candidates' vectors after it.
        beside = [decoder.held] if decoder.memory is None else [decoder.held, decoder.memory.read]
        self.read = nn.Parameter(torch.cat([linear.weight for linear in beside], 1).detach().t().contiguous())
        self.layers = nn.ModuleList(_layer(block, self.operators) for block in decoder.blocks)
        self.norm = decoder.norm.weight
        self.heads = Heads(decoder, self.operators)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every state by its bare name, in the graph's order."""
        return {
            f"{name}{i}": x for i, layer in enumerate(self.layers) for name, x in zip("sc", layer.shapes, strict=True)
        }

    def forward(
        self,
        event: Tensor,
        held: Tensor,
        release: Tensor,
        bias: Tensor,
        sampling: Tensor,
        noise: Tensor,
        candidates: Tensor | None,
        features: Tensor | None,
        context: Tensor | None,
        states: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """The inputs of the contract, `states` being s0, c0, s1, ...; returns its outputs in its order."""
        x = F.embedding(event + self.starts, self.tables).sum(2)  # (1, 1, d)
        recalled = None
        if self.memory is not None and candidates is not None and features is not None:
            ids = candidates.reshape(candidates.shape[2:])
            e = self.memory.embed(ids, features.reshape(features.shape[2:]))  # (EXPERTS, 32)
            held = torch.cat([held, e.reshape(1, 1, -1)], -1)
            recalled = Recalled(self.memory, ids, e)
        y = held @ self.read
        context_bias = None
        if context is not None:
            added, context_bias = context.split([y.shape[-1], context.shape[-1] - y.shape[-1]], -1)
            y, context_bias = y + added, context_bias.squeeze(0)
        after: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            x, y, *state = layer(x, y, states[2 * i], states[2 * i + 1])
            after += state
        _, h = self.operators.add_norm(x, y, self.norm)
        return (*self.heads(h.squeeze(0), release, bias, sampling, noise, context_bias, recalled), *after)


class _Layer(nn.Module):
    """One block; `shapes`: of its states. The residual stream x and what is to be added to it, y, go in and out apart, because
    their sum is fused with the norm."""

    def __init__(self, block: Block, operators: Operators) -> None:
        super().__init__()
        mixer = block.mixer
        self.operators = operators
        d = mixer.out.out_features
        self.widths = [3 * d, d]
        self.shapes = [(1, d // HEAD_SIZE, HEAD_SIZE, HEAD_SIZE), (1, CONV_WIDTH - 1, 3 * d)]
        self.norm1, self.norm2, self.head_norm = block.norm1.weight, block.norm2.weight, mixer.norm.weight
        self.enter = nn.Parameter(torch.cat([mixer.qkv.weight, mixer.gate.weight]).detach().t().contiguous())
        self.taps = mixer.conv.weight
        self.decay, self.decay_bias = matrix(mixer.decay), mixer.decay.bias
        self.leave = matrix(mixer.out)
        self.up, self.down = matrix(block.mlp.up), matrix(block.mlp.down)

    def forward(self, x: Tensor, y: Tensor, memory: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, y: (1, 1, d)."""
        x, z = self.operators.add_norm(x, y, self.norm1)
        qkv, gate = (z @ self.enter).split(self.widths, -1)
        seen = torch.cat([window, qkv], 1)  # (1, CONV_WIDTH, 3 d)
        qkv = self.operators.silu((seen * self.taps).sum(1, keepdim=True))
        decay = self.operators.log_decay(z @ self.decay, self.decay_bias)
        y, memory = self.operators.attend(*qkv.chunk(3, -1), decay, memory)
        normed = F.rms_norm(y.reshape(1, -1, HEAD_SIZE), (HEAD_SIZE,), self.head_norm, EPSILON).reshape(y.shape)
        x, z = self.operators.add_norm(x, (normed * self.operators.silu(gate)) @ self.leave, self.norm2)
        gate, value = (z @ self.up).chunk(2, -1)
        return x, (self.operators.silu(gate) * value) @ self.down, memory, seen[:, 1:]


class _LSTMLayer(nn.Module):
    """One `LSTMBlock`, one event a call: both of its products as one, of [x, hidden]."""

    def __init__(self, block: LSTMBlock, operators: Operators) -> None:
        super().__init__()
        lstm = block.lstm
        self.shapes = [(1, 1, lstm.hidden_size)] * 2
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


def _tables(decoder: Decoder) -> Tensor:
    """All embeddings of an event's fields, one after the other: (sum of sizes, d)."""
    tables = {name: embedding.weight.detach() for name, embedding in decoder.embed.items()}
    pitch_class, octave = decoder.pitch_class(decoder.class_of), decoder.octave(decoder.octave_of)
    tables["pitch"] = tables["pitch"] + pitch_class.detach() + octave.detach()
    tables["chord"] = decoder.embed_field("chord", torch.arange(CHORD_INPUTS)).detach()
    return torch.cat([tables[name] for name in FIELDS])
