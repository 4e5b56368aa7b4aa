"""What 8-bit weights cost in music: nats per note through the exported file, beside torch's, on the same windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.corpus.chords import load_charted
from models.corpus.perturb import NONE
from models.corpus.windows import Windows, collate
from models.evaluation.scoring import forced_logits
from models.nets.decoder import Decoder
from models.training.losses import VALIDATION_ROLES, head_losses
from realtime.composing.contract import DRAWN
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import HEADS

MOST_NATS = 0.02
"""How much worse than torch a file may be, per note."""


def validation_windows(corpus: Path, cache: Path, each: int = 8, length: int = 256) -> dict[str, Tensor]:
    """A batch of validation windows, `each` of every role that is scored; see `models.corpus.windows.window`."""
    pack = load_charted(corpus, cache)
    sets = [Windows(pack, "valid", length, 1, NONE, each, role, memory=True) for role in VALIDATION_ROLES]
    return collate([windows[i] for windows in sets for i in range(each)])


def nats_difference(decoder: Decoder, path: Path, windows: dict[str, Tensor]) -> tuple[float, float]:
    """(nats per note in torch, how many more through the file) on a batch as `models.corpus.windows.collate` makes it.

    Both sides are weighed by `models.training.losses.head_losses`; the file's logits are
    `models.evaluation.scoring.forced_logits`.
    """
    notes = float(windows["note"].sum())
    ours = 0.0
    with torch.no_grad():
        for i in range(len(windows["events"])):
            one = {name: x[i : i + 1] for name, x in windows.items()}
            recalled = (one["candidates"], one["features"])
            logits, _ = decoder(one["events"], one["held"], one["targets"], candidates=recalled)
            ours += float(head_losses(logits[: len(HEADS)], one).sum())
    stepper = Stepper.load(path, "cpu", slots=2)
    arrays = [{name: x[i].numpy() for name, x in windows.items()} for i in range(len(windows["events"]))]
    logits = torch.from_numpy(np.stack([forced_logits(stepper, one) for one in arrays]))
    theirs = float(head_losses(list(logits.split(list(DRAWN.values()), -1))[: len(HEADS)], windows).sum())
    return ours / notes, (theirs - ours) / notes
