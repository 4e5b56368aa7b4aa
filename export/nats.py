"""What 8-bit weights cost in music: nats per note through the exported file, beside torch's, on the same windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from export.parity import GREEDY
from models.data import load_pack
from models.decoder import Decoder
from models.losses import VALIDATION_ROLES, head_losses
from models.windows import NONE, Windows, collate
from realtime.constraints import SLICES
from realtime.contract import LOGITS, MASKED
from realtime.io.stepper import Stepper
from realtime.vocabulary import HEADS

MOST_NATS = 0.02
"""How much worse than torch a file may be, per note."""


def validation_windows(corpus: Path, cache: Path, each: int = 8, length: int = 256) -> dict[str, Tensor]:
    """A batch of validation windows, `each` of every role that is scored; see `models.windows.window`."""
    pack = load_pack(corpus, cache)
    sets = [Windows(pack, "valid", length, 1, NONE, each, role) for role in VALIDATION_ROLES]
    return collate([windows[i] for windows in sets for i in range(each)])


def nats_difference(decoder: Decoder, path: Path, windows: dict[str, Tensor]) -> tuple[float, float]:
    """(nats per note in torch, how many more through the file) on a batch as `models.windows.collate` makes it.

    The graph feeds its heads with its own draws, so each draw is forced to the target by masking all else; its logits
    are those before the mask, and `models.losses.head_losses` weighs both sides alike.
    """
    notes = float(windows["note"].sum())
    ours = 0.0
    with torch.no_grad():
        for i in range(len(windows["events"])):
            one = {name: x[i : i + 1] for name, x in windows.items()}
            ours += float(head_losses(decoder(one["events"], one["held"], one["targets"])[0], one).sum())
    logits = _forced_logits(path, *(windows[name].numpy() for name in ("events", "held", "targets")))
    theirs = float(head_losses(list(logits.split(list(HEADS.values()), -1)), windows).sum())
    return ours / notes, (theirs - ours) / notes


def _forced_logits(path: Path, events: np.ndarray, held: np.ndarray, targets: np.ndarray) -> Tensor:
    """events (N, T, 9), held (N, T, 256), targets (N, T, 5) -> the file's logits (N, T, 228), given the targets."""
    stepper = Stepper.load(path, "cpu", slots=2)
    free, half = np.zeros(HEADS["pitch"]), np.full(len(HEADS), 0.5)
    starts = np.array([where.start for where in SLICES.values()])
    logits = np.empty((*events.shape[:2], LOGITS), np.float32)
    for n in range(len(events)):
        stepper.reset()
        for t in range(events.shape[1]):
            bias = np.full(LOGITS, MASKED, np.float32)
            bias[starts + targets[n, t]] = 0
            stepper.step(events[n, t], held[n, t], free, bias, GREEDY, half)
            logits[n, t] = stepper.last_logits
    return torch.from_numpy(logits)
