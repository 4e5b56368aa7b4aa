"""`ChainedHeads` and the chord's head within the step graph: a draw after each head, which the next ones are given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from export.memory import Recalled
from export.operators import EPSILON, Operators, matrix
from models.nets.decoder import Decoder
from models.nets.memory import SIZE
from realtime.composing.contract import DRAWN, MASKED
from realtime.music.vocabulary import BEAT, HEADS

SIZES = list(HEADS.values())
DRAWS = list(DRAWN.values())
"""Choices of the chain's heads, and of the chord's, which is drawn by itself."""
PITCH = list(HEADS).index("pitch")
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-3, 1e3
FORBIDDEN = -1e8
"""A biased logit below this belongs to a masked choice."""
NOISE_SCALE = 1 - 2**-20
"""Uniform noise is below 1, but in float32 its product with a total could round up to that total."""


class Heads(nn.Module):
    """See the module's docstring."""

    order: Tensor
    sizes: Tensor
    starts: Tensor
    beat: Tensor

    def __init__(self, decoder: Decoder, operators: Operators) -> None:
        super().__init__()
        heads, chord = decoder.heads, decoder.chord_head
        self.operators = operators
        self.hidden = heads.hidden
        self.enter = nn.Parameter(torch.cat([heads.enter.weight, chord.enter.weight]).detach().t().contiguous())
        self.chord_norm, self.chord_leave, self.chord_bias = chord.norm.weight, matrix(chord.leave), chord.leave.bias
        self.known = nn.ParameterList(embedding.weight for embedding in heads.known.values())
        self.norms = nn.ParameterList(norm.weight for norm in heads.norm)
        # The query of the memory is read off a head's hidden layer together with its logits.
        weights = [linear.weight for linear in heads.leave.values()]
        biases = [linear.bias for linear in heads.leave.values()]
        if decoder.memory is not None:
            weights = [torch.cat([w, query.weight]) for w, query in zip(weights, decoder.memory.query, strict=True)]
            biases = [torch.cat([b, query.bias]) for b, query in zip(biases, decoder.memory.query, strict=True)]
        self.leave = nn.ParameterList(nn.Parameter(weight.detach().t().contiguous()) for weight in weights)
        self.leave_bias = nn.ParameterList(nn.Parameter(bias.detach()) for bias in biases)
        self.register_buffer("order", torch.tensor([0, len(SIZES), *range(1, len(SIZES))]))
        self.register_buffer("sizes", torch.tensor(DRAWS, dtype=torch.float32)[self.order].unsqueeze(1))
        self.register_buffer("starts", torch.tensor([0, *SIZES[:-1]]).cumsum(0))
        self.register_buffer("beat", torch.tensor([BEAT, 0, 0, 0, 0]))

    def forward(
        self,
        h: Tensor,
        release: Tensor,
        bias: Tensor,
        sampling: Tensor,
        noise: Tensor,
        context_bias: Tensor | None = None,
        recalled: Recalled | None = None,
    ) -> tuple[Tensor, Tensor]:
        """h: (1, d); context_bias: (1, 228), a part of the chain's logits; the others as in the contract. Returns choice and
        logits."""
        parameters = self.parameters_of(sampling, noise)
        bias, chord_bias = bias.split([sum(SIZES), DRAWS[-1]], -1)
        if context_bias is not None:
            bias = bias + context_bias
        biases = list(bias.split(SIZES, -1))
        # What each head gets of the trunk: the chain's, those still to come, and the chord's.
        rest, mine = (h @ self.enter).split([len(SIZES) * self.hidden, self.hidden], -1)
        chord = self.activated(mine, self.chord_norm) @ self.chord_leave + self.chord_bias
        logits: list[Tensor] = []
        biased: list[Tensor] = []
        choices: list[Tensor] = []
        for i in range(len(SIZES)):
            last = i + 1 == len(SIZES)
            mine, rest = (rest, rest) if last else rest.split([self.hidden, (len(SIZES) - 1 - i) * self.hidden], -1)
            z = self.activated(mine, self.norms[i]) @ self.leave[i] + self.leave_bias[i]
            if recalled is not None:
                z = recalled.copied(i, *z.split([SIZES[i], SIZE], -1))
            logits.append(z)  # (1, choices)
            if i == PITCH:
                biases[i] = torch.where(release > choices[0].float(), MASKED, biases[i])
            biased.append(z + biases[i])
            if i == 0:  # the chord depends on nothing that is drawn here, so one draw gives both
                both = torch.cat([F.pad(biased[0], (0, DRAWS[-1] - SIZES[0]), value=-torch.inf), chord + chord_bias])
                time, chord_choice = _draw(both, *parameters[0]).split(1)
                choices.append(time.clamp(max=BEAT))  # beyond only where the logits are no numbers
            else:
                choices.append(_draw(biased[i], *parameters[i]))
            if not last:
                rest = rest + F.embedding(choices[i], self.known[i])
                if recalled is not None:
                    recalled.draw(i, choices[i])
        flat = torch.cat(logits, -1)
        if context_bias is not None:
            flat = flat + context_bias
        event = torch.cat(choices)  # (5,)
        # A masked choice is drawn only where there was no other.
        drawn = torch.cat(biased, -1).index_select(1, event + self.starts)
        forbidden = (drawn < FORBIDDEN).long().sum(1) > 0  # counted: a minimum would need cuDNN on a GPU
        event = torch.where(forbidden, self.beat, event)
        choice = torch.cat([event, chord_choice]).unsqueeze(0)
        return choice, torch.cat([flat, chord], -1)

    def parameters_of(self, sampling: Tensor, noise: Tensor) -> list[tuple[Tensor, ...]]:
        """What `_draw` takes beside the logits, for each draw, the first being that of time and chord: temperature, last rank,
        top-p and noise, a row a field."""
        temperature, top_k, top_p = sampling.squeeze(0).index_select(0, self.order).split(1, -1)  # (6, 1)
        last = torch.where(top_k < 1, self.sizes, torch.minimum(top_k, self.sizes)) - 1
        columns = (
            temperature.clamp(LEAST_TEMPERATURE, MOST_TEMPERATURE),
            last.long(),
            top_p,
            (noise * NOISE_SCALE).t().index_select(0, self.order),
        )
        rows = [2, *[1] * (len(SIZES) - 1)]
        return list(zip(*(column.split(rows) for column in columns), strict=True))

    def activated(self, z: Tensor, norm: Tensor) -> Tensor:
        """The hidden layer of a head."""
        return self.operators.silu(F.rms_norm(z, (self.hidden,), norm, EPSILON))


def _draw(z: Tensor, temperature: Tensor, last: Tensor, top_p: Tensor, noise: Tensor) -> Tensor:
    """Temperature, top-k, top-p, then the inverse of the cumulative mass. z: (rows, n), the others (rows, 1).

    `last` is top-k as a rank. In sorted order both cuts keep a prefix, so each is but a total: nothing is masked twice.
    The nucleus is the shortest prefix that reaches top_p of top-k's mass. Returns the ids (rows,).
    """
    values, ids = z.topk(z.shape[-1], -1)
    mass = F.softmax(values / temperature, -1).cumsum(-1)
    total = mass.gather(-1, last)
    total = mass.gather(-1, (mass < total * top_p).sum(-1, keepdim=True))
    rank = (mass <= total * noise).sum(-1, keepdim=True)
    return ids.gather(-1, rank).squeeze(-1)
