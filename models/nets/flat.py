"""The decoder with flat tokens, to measure compound events against: an event is spelt as five tokens, or a BEAT as one, each
a step of the trunk, and one joint softmax, masked to the field that is due, predicts each from all before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nets.decoder import Decoder, Size, State
from realtime.music.vocabulary import BEAT, FIELDS, HEADS


class FlatDecoder(Decoder):
    """The same inputs, outputs and meaning as `Decoder`; see the module's docstring."""

    def __init__(self, size: Size, dropout: float = 0.0) -> None:
        super().__init__(size, dropout)
        self.heads = nn.Linear(size.d_model, sum(HEADS.values()))

    def spell(self, events: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
        """What the trunk reads: tokens (B, T, 5, d), and which of them there are (B, T, 5).

        The last token of an event carries the event's features and held-now vector; those before it carry the ones of the event
        before, since the event's own are known only when all of it is.
        """
        names = list(FIELDS)
        tokens = torch.stack([self.embed_field(name, events[..., i]) for i, name in enumerate(names[: len(HEADS)])], -2)
        context = self.held(held.to(self.held.weight.dtype))
        for i in range(len(HEADS), len(names)):
            context = context + self.embed_field(names[i], events[..., i])
        before = torch.cat([context[:, :1], context[:, :-1]], 1)
        is_beat = events[..., :1] >= BEAT  # a CHORD has no more than its time either
        place = torch.arange(len(HEADS), device=events.device)
        last = place == torch.where(is_beat, 0, len(HEADS) - 1)
        return tokens + torch.where(last[..., None], context[:, :, None], before[:, :, None]), ~is_beat | (place == 0)

    def forward(
        self, events: Tensor, held: Tensor, targets: Tensor, state: State | None = None, chunk: int = 64
    ) -> tuple[list[Tensor], State]:
        """As `Decoder.forward`. The event after the last one is spelt from `targets`. The state is that after all tokens, BEATs
        filled up: whole windows only."""
        following = torch.cat([targets[:, -1:], events[:, -1:, len(HEADS) :]], -1)
        tokens, there = self.spell(torch.cat([events, following], 1), torch.cat([held, held[:, -1:]], 1))
        order = (
            (~there).flatten(1).to(torch.uint8).argsort(dim=1, stable=True)
        )  # tokens that are not there go to the end
        at = order[..., None].expand(-1, -1, tokens.shape[-1])
        h, state = self.mix(tokens.flatten(1, 2).gather(1, at), state, chunk)
        h = torch.zeros_like(h).scatter(1, at, h).view(tokens.shape)
        closing = torch.where(events[..., :1] >= BEAT, h[:, :-1, 0], h[:, :-1, -1])
        after = [closing, *h[:, 1:, :-1].unbind(2)]  # what each field of the next event is predicted from
        weights, biases = (x.split(list(HEADS.values())) for x in (self.heads.weight, self.heads.bias))
        return [F.linear(x, w, b) for x, w, b in zip(after, weights, biases, strict=True)], state
