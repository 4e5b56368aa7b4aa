"""What a prediction costs: negative log-likelihoods of the model's own next events, per head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from models.corpus.stream import CENSORED
from models.corpus.windows import Windows, collate
from models.nets.context import Conditioning
from models.nets.decoder import Decoder
from models.nets.layers import autocast
from realtime.music.vocabulary import HEADS, Role

VALIDATION_ROLES = (Role.COMPOSE, Role.CONTINUE, Role.TRADE, Role.ACCOMPANY)


def head_losses(logits: list[Tensor], batch: dict[str, Tensor]) -> Tensor:
    """`window_losses` summed over the batch: (5,), or (6,) with chords."""
    return window_losses(logits, batch).sum(0)


def window_losses(logits: list[Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Negative log-likelihood in nats, summed over each window, per head: (B, 5), in the order of `HEADS`, and
    with a chord head a sixth.

    The time head counts wherever it is the model's turn; where the player cut the step short (CENSORED) it is
    -log sum of p over the times still possible. The others count where the next event is a note of the model's, the
    chord's where the next event is a CHORD.
    """
    targets, turn, note = batch["targets"], batch["turn"], batch["note"]
    log_p = logits[0].float().log_softmax(-1)  # (B, T, 25)
    exact = log_p.gather(-1, targets[..., :1]).squeeze(-1)
    possible = torch.arange(log_p.shape[-1], device=log_p.device) >= targets[..., :1]
    at_least = log_p.masked_fill(~possible, -torch.inf).logsumexp(-1)
    time_nll = -torch.where(batch["kind"] == CENSORED, at_least, exact)
    losses = [(time_nll * turn).sum(1)]
    for i in range(1, len(HEADS)):
        nll = F.cross_entropy(logits[i].float().flatten(0, 1), targets[..., i].flatten(), reduction="none")
        losses.append((nll.view_as(note) * note).sum(1))
    for chords in logits[len(HEADS) :]:
        nll = F.cross_entropy(chords.float().flatten(0, 1), batch["chord"].flatten(), reduction="none")
        losses.append((nll.view_as(note) * batch["due"]).sum(1))
    return torch.stack(losses, 1)


def candidates_of(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor] | None:
    """The candidates of a batch and their features, as a decoder takes them; None where its windows have none."""
    return (batch["candidates"], batch["features"]) if "candidates" in batch else None


@torch.no_grad()
def validate(
    decoder: Decoder,
    sets: dict[str, Windows],
    batch_size: int,
    device: torch.device,
    condition: Callable[[dict[str, Tensor]], Conditioning | None] = lambda batch: None,
) -> dict[str, Any]:
    """Nats per note of the model's own notes, by role: the sum and each head (the time head's BEATs included). `condition`: what
    a batch's contexts are made of."""
    decoder.eval()
    report: dict[str, Any] = {}
    for role, windows in sets.items():
        total, notes, chords = torch.zeros(len(HEADS) + 1), 0.0, 0.0
        for batch in DataLoader(windows, batch_size, collate_fn=collate):
            batch = {name: x.to(device) for name, x in batch.items()}
            with autocast(device):
                logits, _ = decoder(
                    batch["events"], batch["held"], batch["targets"], conditioning=condition(batch),
                    candidates=candidates_of(batch),
                )  # fmt: skip
            losses = head_losses(logits, batch).cpu()
            total[: len(losses)] += losses
            notes += float(batch["note"].sum())
            chords += float(batch["due"].sum())
        per_head = {name: round(float(x) / max(notes, 1), 4) for name, x in zip(HEADS, total, strict=False)}
        report[role] = {"nats_per_note": round(sum(per_head.values()), 4), **per_head}
        if chords:
            report[role]["nats_per_chord"] = round(float(total[-1]) / chords, 4)
    decoder.train()
    return report
