"""`models.nets.memory.MemoryNet` within the step graph: what the candidates of one step add to the trunk and to each head.

What is the same at every step is worked out at export. Candidates lie in columns, fields and choices in rows: a head's choices
are then rows of one matrix, and a draw picks a row. Gathering rows copies each row whole; gathering columns copied single
numbers, and took 20 us of each step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.operators import Operators, matrix
from models.nets.memory import MemoryNet
from realtime.composing.memory import NEAR_TICKS, NO_TIME
from realtime.music.vocabulary import HEADS, MODEL_PART

SIZES = list(HEADS.values())
TIME, PART = list(HEADS).index("time"), list(HEADS).index("part")


class Memory(nn.Module):
    """The constants of a memory."""

    starts: Tensor
    column: Tensor
    choice: Tensor
    others: Tensor

    def __init__(self, net: MemoryNet, operators: Operators) -> None:
        super().__init__()
        self.operators = operators
        self.fields = net.fields.weight
        self.features = matrix(net.features)
        self.kind = nn.Parameter(net.kind[net.kinds].detach())  # (EXPERTS, 32)
        # Rows of what a candidate adds where it agrees with a field: for each field that may agree, for each head after it.
        later = [net.agree[j:] for j in range(len(SIZES) - 1)]
        weights = [linear.weight[j] for j, heads in enumerate(later) for linear in heads]
        biases = [linear.bias[j] for j, heads in enumerate(later) for linear in heads]
        self.added = nn.Parameter(torch.stack(weights).detach())  # (4 + 3 + 2 + 1, 32)
        self.added_bias = nn.Parameter(torch.stack(biases).detach().unsqueeze(1))
        self.widths = [len(heads) for heads in later]
        self.register_buffer("starts", net.starts)
        self.register_buffer("column", torch.arange(len(SIZES)).repeat_interleave(torch.tensor(SIZES)))
        offset = torch.tensor([0, MODEL_PART, 0, 0, 0]).repeat_interleave(torch.tensor(SIZES))
        self.register_buffer("choice", (torch.cat([torch.arange(size) for size in SIZES]) - offset).unsqueeze(1))
        near = (net.ticks[: NO_TIME + 1, None] - net.ticks[: SIZES[0]]).abs() <= NEAR_TICKS
        self.near = nn.Parameter(near.float().t().contiguous())  # (25, NO_TIME + 1): a drawn time with a candidate's
        self.register_buffer("others", 1 - net.of_line.float())

    def embed(self, candidates: Tensor, features: Tensor) -> Tensor:
        """(EXPERTS, 5), (EXPERTS, FEATURES) -> vectors (EXPERTS, 32)."""
        e = nn.functional.embedding(candidates + self.starts, self.fields).sum(1)
        return self.operators.silu(e + torch.addmm(self.kind, features, self.features)) * features[:, :1]


class Recalled:
    """The candidates of one step, and which of them agree with what has been drawn so far. Heads are asked in order."""

    def __init__(self, memory: Memory, ids: Tensor, e: Tensor) -> None:
        """ids: (EXPERTS, 5); e: (EXPERTS, 32)."""
        self.memory, self.columns, self.ids = memory, e.t(), ids.t()
        added = torch.addmm(memory.added_bias, memory.added, self.columns)  # (10, EXPERTS)
        self.agree = added.split(memory.widths)
        named = (self.ids.index_select(0, memory.column) == memory.choice).float()
        self.named = named.split(SIZES)  # each (choices, EXPERTS): 1 where the candidate names the choice
        self.naming = named.t().split(SIZES, 1)  # the same the other way round
        self.rest: Tensor | None = None  # (heads to come, EXPERTS): what has been drawn so far adds to the candidates
        self.counts: Tensor | None = None

    def copied(self, i: int, z: Tensor, query: Tensor) -> Tensor:
        """The logits z of head i and what is added to them: (1, choices). query: (1, 32), of the head's hidden layer."""
        to_come = len(SIZES) - 1 - i
        if self.rest is None:
            amount = query @ self.columns  # (1, EXPERTS)
        else:
            added, self.rest = self.rest.split([1, to_come]) if to_come else (self.rest, None)
            amount = torch.addmm(added, query, self.columns)
        if self.counts is not None:
            amount = amount * self.counts
        return torch.addmm(z, amount, self.naming[i])

    def draw(self, i: int, choice: Tensor) -> None:
        """Head i, not the last, drew `choice`, (1,)."""
        matches = self.memory.near if i == TIME else self.named[i]
        agreed = nn.functional.embedding(choice, matches)  # (1, EXPERTS)
        if i == TIME:
            agreed = agreed.index_select(1, self.ids[TIME])
        added = self.agree[i] * agreed
        self.rest = added if self.rest is None else self.rest + added
        if i == PART:  # a line's candidate counts only for its own part
            self.counts = torch.maximum(agreed, self.memory.others)
