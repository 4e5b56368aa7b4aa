"""The compound-event decoder: one trunk step per event, five chained heads.

The trunk reads the sum of the field embeddings and of the held-now vector; the heads predict the next event of the
model's own, field by field, each given the fields before it (time -> part -> pitch -> duration -> velocity).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.nets.context import Conditioning, ContextNet
from models.nets.layers import HEAD_SIZE, Block
from models.nets.memory import MemoryNet
from models.nets.mixers import MIXERS
from models.nets.recurrent import LSTMBlock
from realtime.music.chords import CHORDS, MEMBERS
from realtime.music.vocabulary import FIELDS, HEADS, HELD


class Recalled(NamedTuple):
    """Candidates of a memory: their ids (..., EXPERTS, 5) and vectors (..., EXPERTS, 32)."""

    ids: Tensor
    vectors: Tensor


State = list[tuple[Tensor, Tensor]]
"""Per layer: the mixer's memory (of linear attention (B, H, 64, 64)) and its convolution's window (B, 3, 3 d), float32; of an
LSTM, hidden and cell. None instead of it is the start of a stream."""


@dataclass(frozen=True)
class Size:
    """The shape of a decoder. S is what a laptop plays; M is for servers and GPUs; tiny is for tests; LSTM is the baseline
    with as many parameters as S."""

    d_model: int
    layers: int
    head_hidden: int = 192
    mixers: tuple[str, ...] = ("decay",)
    """Names of `MIXERS`, dealt to the layers in turn and over again; or "lstm"."""
    mlp_hidden: int | None = None
    """Width of the feed-forward layers; 8/3 of d_model where it is not given."""
    memory: bool = False
    """Whether it has a memory (`models.nets.memory`)."""
    chords: bool = True
    """Whether it draws chords."""
    context: bool = False
    """Whether it is conditioned on latents, a plan and controls (`models.nets.context`)."""


SIZES = {
    "tiny": Size(64, 2, 32, memory=True),
    "S": Size(256, 6, memory=True),
    "M": Size(384, 8, 256, memory=True),
    "LSTM": Size(544, 2, mixers=("lstm",)),
}


def make_block(size: Size, layer: int, dropout: float) -> nn.Module:
    """Layer number `layer` of a trunk: `block(x, state, chunk) -> (x, state)`."""
    mixer = size.mixers[layer % len(size.mixers)]
    if mixer == "lstm":
        return LSTMBlock(size.d_model, dropout)
    if size.d_model % HEAD_SIZE:
        raise ValueError(f"d_model is {size.d_model}; it must be a multiple of {HEAD_SIZE}, the size of a head")
    return Block(size.d_model, dropout, MIXERS[mixer], size.mlp_hidden)


class ChainedHeads(nn.Module):
    """Five small heads. Head i sees the trunk's output and the embeddings of the fields already known."""

    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__()
        names = list(HEADS)
        self.enter = nn.Linear(d_model, len(names) * hidden, bias=False)
        self.known = nn.ModuleDict(
            {name: nn.Embedding(HEADS[name], (len(names) - 1 - i) * hidden) for i, name in enumerate(names[:-1])}
        )
        self.leave = nn.ModuleDict({name: nn.Linear(hidden, size) for name, size in HEADS.items()})
        self.norm = nn.ModuleList(nn.RMSNorm(hidden, eps=1e-6) for _ in names)
        self.hidden = hidden
        for embedding in self.known.values():
            nn.init.normal_(embedding.weight, std=0.5)

    def enter_all(self, h: Tensor) -> Tensor:
        """What each head gets from the trunk. h: (..., d_model) -> (..., 5 * hidden)."""
        return self.enter(h)

    def logits(self, i: int, entered: Tensor, drawn: list[Tensor]) -> Tensor:
        """Logits of head i, given `entered` (..., 5 * hidden) and the ids (...,) of the i fields before it."""
        return self.leave[list(HEADS)[i]](self.hidden_of(i, entered, drawn))

    def hidden_of(self, i: int, entered: Tensor, drawn: list[Tensor]) -> Tensor:
        """The hidden layer of head i, (..., hidden); inputs as in `logits`."""
        names = list(HEADS)
        z = entered[..., i * self.hidden : (i + 1) * self.hidden]
        for j, ids in enumerate(drawn):
            at = (i - j - 1) * self.hidden
            z = z + self.known[names[j]](ids)[..., at : at + self.hidden]
        return nn.functional.silu(self.norm[i](z))

    def forward(
        self, h: Tensor, targets: Tensor, memory: MemoryNet | None = None, of: Recalled | None = None
    ) -> list[Tensor]:
        """Teacher-forced logits of all heads. h: (..., d_model); targets: (..., 5) ids in range of each head; with a memory, also
        what it adds for the candidates `of` the events."""
        entered = self.enter_all(h)
        known = [targets[..., j] for j in range(len(HEADS))]
        agreed = memory.agreement(of.ids, targets) if memory is not None and of is not None else None
        out = []
        for i, name in enumerate(HEADS):
            z = self.hidden_of(i, entered, known[:i])
            logits = self.leave[name](z)
            if memory is not None and of is not None and agreed is not None:
                logits = logits + memory.copied(i, of.ids, of.vectors, z, agreed)
            out.append(logits)
        return out


class ChordHead(nn.Module):
    """Logits of the chord of the beat, from the trunk's output alone: (..., d_model) -> (..., CHORDS)."""

    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(d_model, hidden, bias=False)
        self.norm = nn.RMSNorm(hidden, eps=1e-6)
        self.leave = nn.Linear(hidden, CHORDS)

    def forward(self, h: Tensor) -> Tensor:
        """See the class."""
        return self.leave(nn.functional.silu(self.norm(self.enter(h))))


class Decoder(nn.Module):
    """Events and held-now vectors in, logits of the next own event out; see the module's docstring."""

    def __init__(self, size: Size, dropout: float = 0.0) -> None:
        super().__init__()
        d = size.d_model
        self.size = size
        self.embed = nn.ModuleDict({name: nn.Embedding(count, d) for name, count in FIELDS.items()})
        self.pitch_class = nn.Embedding(13, d)
        self.octave = nn.Embedding(12, d)
        self.held = nn.Linear(HELD, d, bias=False)
        self.context = ContextNet(d) if size.context else None
        self.blocks = nn.ModuleList(make_block(size, i, dropout) for i in range(size.layers))
        self.norm = nn.RMSNorm(d, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.heads = ChainedHeads(d, size.head_hidden)
        self.memory = MemoryNet(d, size.head_hidden) if size.memory else None
        self.chord_members = nn.Linear(12, d, bias=False) if size.chords else None
        self.chord_head = ChordHead(d, size.head_hidden) if size.chords else None
        for embedding in [*self.embed.values(), self.pitch_class, self.octave]:
            nn.init.normal_(embedding.weight, std=0.3)
        for block in self.blocks:
            block.start_small(0.02 / (2 * size.layers) ** 0.5)
        pitch = torch.arange(129)
        self.register_buffer("class_of", torch.where(pitch < 128, pitch % 12, 12), persistent=False)
        self.register_buffer("octave_of", torch.where(pitch < 128, pitch // 12, 11), persistent=False)
        self.register_buffer("members", torch.from_numpy(MEMBERS).float(), persistent=False)

    def read(
        self, events: Tensor, held: Tensor, context: Tensor | None = None, recalled: Recalled | None = None
    ) -> Tensor:
        """What an event is to the trunk: the sum of its embeddings and of its context. events: (B, T, 10) ids; held:
        (B, T, 256) flags; context: (B, T, d + 228) of `ContextNet`."""
        x = self.held(held.to(self.held.weight.dtype))
        x = x if context is None else x + context[..., : x.shape[-1]]
        for i, name in enumerate(FIELDS):
            x = x + self.embed_field(name, events[..., i])
        if self.memory is not None and recalled is not None:
            x = x + self.memory.read(recalled.vectors.flatten(-2))
        return x

    def embed_field(self, name: str, ids: Tensor) -> Tensor:
        """ids (...,) of one field -> (..., d). A pitch is also its class and its octave."""
        x = self.embed[name](ids)
        if name == "pitch":
            return x + self.pitch_class(self.class_of[ids]) + self.octave(self.octave_of[ids])
        return x + self.chord_members(self.members)[ids] if name == "chord" and self.chord_members is not None else x

    def recalled(self, candidates: tuple[Tensor, Tensor] | None) -> Recalled | None:
        """What the memory reads of candidates and their features; None without either."""
        if self.memory is None or candidates is None:
            return None
        return Recalled(candidates[0], self.memory.embed(*candidates))

    def mix(self, x: Tensor, state: State | None = None, chunk: int = 64) -> tuple[Tensor, State]:
        """The blocks: x (B, T, d) -> h (B, T, d) and the state after the last step."""
        x = self.dropout(x)
        after = []
        for i, block in enumerate(self.blocks):
            x, layer_state = block(x, state[i] if state is not None else None, chunk)
            after.append(layer_state)
        return self.norm(x), after

    def trunk(
        self,
        events: Tensor,
        held: Tensor,
        state: State | None = None,
        chunk: int = 64,
        context: Tensor | None = None,
        recalled: Recalled | None = None,
    ) -> tuple[Tensor, State]:
        """Inputs as `read` takes them. Returns h (B, T, d) and the state after the last event."""
        return self.mix(self.read(events, held, context, recalled), state, chunk)

    def forward(
        self,
        events: Tensor,
        held: Tensor,
        targets: Tensor,
        state: State | None = None,
        chunk: int = 64,
        conditioning: Conditioning | None = None,
        candidates: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[list[Tensor], State]:
        """Teacher-forced logits [(B, T, choices) x 5] of the event after each event, and with chords a sixth, of the chord of the
        beat; and the state after the last event. candidates: their ids and features, (B, T, EXPERTS, ...)."""
        context = (
            self.context.of_events(conditioning) if self.context is not None and conditioning is not None else None
        )
        recalled = self.recalled(candidates)
        h, state = self.trunk(events, held, state, chunk, context, recalled)
        logits = self.add_bias(self.heads(h, targets, self.memory, recalled), context)
        return [*logits, self.chord_head(h)] if self.chord_head is not None else logits, state

    def add_bias(self, logits: list[Tensor], context: Tensor | None = None) -> list[Tensor]:
        """The heads' logits [(B, T, choices) x 5] with what a context (B, T, d + 228) adds to them."""
        if context is None:
            return logits
        return [
            z + c
            for z, c in zip(logits, context[..., self.size.d_model :].split(list(HEADS.values()), -1), strict=True)
        ]
