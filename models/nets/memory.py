"""What a decoder makes of the candidates of its memory (`realtime.composing.memory`).

Each candidate becomes a small vector e (`SIZE` numbers) of its fields, its features and the kind of its expert. The vectors are
added to the embedding of the event, through a matrix. At each head a candidate adds a learned amount to the logit of the field
that it names:

    amount = e . (q + v) + sum over the earlier fields j of (candidate agrees with field j) (c_j + u_j . e)

with q a query of the head's hidden layer. It is a copy mechanism as a pointer-generator network's (See et al., ACL 2017), but its
gate acts on logits and not on probabilities, so that masks, temperature, top-k and top-p act on one distribution. A line's
candidate adds nothing where another part was drawn. All amounts start at zero: a decoder that is given a memory plays as before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtime.composing.memory import EXPERTS, FEATURES, KINDS, NEAR_TICKS, NO_PART, NO_TIME
from realtime.music.vocabulary import BEAT, HEADS, MODEL_PART, NONE_DURATION, NONE_PITCH, NONE_VELOCITY

SIZE = 32
WIDTHS = (NO_TIME + 1, NO_PART + 1, NONE_PITCH + 1, NONE_DURATION + 1, NONE_VELOCITY + 1)
"""Choices of each field of a candidate, with that of none."""
FIELDS = len(WIDTHS)
PART = list(HEADS).index("part")
FAR_TICKS = 1000
"""What is put for BEAT, and for no time, when ticks are compared: far from all ticks."""


class MemoryNet(nn.Module):
    """See the module's docstring. d_model: of the trunk; hidden: of the heads."""

    starts: Tensor
    ticks: Tensor

    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__()
        heads = len(HEADS)
        self.fields = nn.Embedding(sum(WIDTHS), SIZE)
        self.features = nn.Linear(FEATURES, SIZE, bias=False)
        self.kind = nn.Parameter(torch.randn(max(KINDS) + 1, SIZE) * 0.3)
        self.read = nn.Linear(EXPERTS * SIZE, d_model, bias=False)
        self.query = nn.ModuleList(nn.Linear(hidden, SIZE) for _ in range(heads))
        self.agree = nn.ModuleList(nn.Linear(SIZE, i) for i in range(1, heads))
        nn.init.normal_(self.fields.weight, std=0.3)
        for layer in (self.read, *self.query, *self.agree):
            nn.init.zeros_(layer.weight)
        for layer in (*self.query, *self.agree):
            nn.init.zeros_(layer.bias)
        self.register_buffer("starts", torch.tensor([0, *WIDTHS[:-1]]).cumsum(0), persistent=False)
        self.register_buffer("kinds", torch.tensor(KINDS), persistent=False)
        self.register_buffer("of_line", torch.tensor(KINDS) == 0, persistent=False)
        ticks = torch.arange(NO_TIME + 1)
        ticks[BEAT], ticks[NO_TIME] = FAR_TICKS, -FAR_TICKS
        self.register_buffer("ticks", ticks, persistent=False)

    def embed(self, ids: Tensor, features: Tensor) -> Tensor:
        """ids (..., EXPERTS, 5), features (..., EXPERTS, FEATURES) -> vectors (..., EXPERTS, SIZE), zero where there is no
        candidate."""
        e = self.fields(ids + self.starts).sum(-2) + self.features(features) + self.kind[self.kinds]
        return F.silu(e) * features[..., :1]

    def agreement(self, ids: Tensor, drawn: Tensor) -> Tensor:
        """Which candidates agree with drawn fields. ids (..., EXPERTS, 5), drawn (..., 5) -> (..., EXPERTS, 5) bool. A time
        agrees where it is at most `NEAR_TICKS` away; a part, where it is the model's of that name."""
        near = (self.ticks[ids[..., 0]] - self.ticks[drawn[..., :1]]).abs() <= NEAR_TICKS
        part = ids[..., 1] == drawn[..., 1:2] - MODEL_PART
        rest = ids[..., 2:] == drawn[..., None, 2:]
        return torch.cat([near.unsqueeze(-1), part.unsqueeze(-1), rest], -1)

    def amounts(self, i: int, e: Tensor, hidden: Tensor, agreed: Tensor) -> Tensor:
        """How much each candidate adds to the logit that it names at head i: (..., EXPERTS). hidden: (..., hidden) of the head;
        agreed: (..., EXPERTS, 5), of which the first i are read."""
        amount = (e * self.query[i](hidden).unsqueeze(-2)).sum(-1)
        if i:
            amount = amount + (self.agree[i - 1](e) * agreed[..., :i].to(e.dtype)).sum(-1)
        return torch.where(self.of_line, amount * agreed[..., PART].to(e.dtype), amount) if i > PART else amount

    def named(self, i: int, ids: Tensor) -> Tensor:
        """The choice of head i that each candidate names, (..., EXPERTS); 0 for one that names none."""
        choice = ids[..., i] + MODEL_PART if i == PART else ids[..., i]
        return torch.where(ids[..., i] < list(WIDTHS)[i] - 1, choice, 0)

    def copied(self, i: int, ids: Tensor, e: Tensor, hidden: Tensor, agreed: Tensor) -> Tensor:
        """What is added to the logits of head i: (..., choices)."""
        there = (ids[..., i] < WIDTHS[i] - 1) & (ids[..., 0] < NO_TIME)
        amount = self.amounts(i, e, hidden, agreed).float() * there
        zeros = amount.new_zeros(*amount.shape[:-1], list(HEADS.values())[i])
        return zeros.scatter_add(-1, self.named(i, ids), amount)
