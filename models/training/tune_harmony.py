"""Fit the estimator of a tune's chords (`realtime.music.tune_harmony`): maximum likelihood of each beat's annotated chord."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training.chord_fitting import Example, chords_of, descend, padded, stretches
from realtime.errors import UserError
from realtime.music.chord_features import WINDOWS
from realtime.music.chords import NO_CHORD, QUALITIES, UNKNOWN
from realtime.music.tune_harmony import BEGINNING, KEY_KNOWN, PAST, SEEN, TOLD

FIRST_HALF, BAR_LINE = WINDOWS.index("lowest of the first half"), WINDOWS.index("lowest at the bar line")
HIDDEN, STRETCH, BATCH, DROPOUT, WEIGHT_DECAY = 128, 96, 24, 0.1, 1e-3
HEARD = [SEEN.index(window) for window in (BEGINNING, PAST)]
"""The windows that have all pitch classes heard so far."""
ROOTS_WEIGHT = 1.5
"""What the common roots of annotated pieces count live as long as the key is not known. While it was fitted, those of all
pieces counted 1. In 144 validation tunes, on which this was chosen, the root of the first chord is then right in .45 of the
cases, with 1 in .42; of all beats in .46 with both."""


class Batch(NamedTuple):
    """Stretches of beats: windows (N, T, 10, 12), facts (N, T, 6), chord (N, T), `there` (N, T) bool: no padding."""

    windows: Tensor
    facts: Tensor
    chord: Tensor
    there: Tensor


class Recurrent(nn.Module):
    """`realtime.music.tune_harmony.TuneHarmony`, to be fitted."""

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.enter = nn.Linear(len(SEEN) * 12 + TOLD, hidden)
        self.recur = nn.GRU(hidden, hidden, batch_first=True)
        self.join, self.leave = nn.Linear(2 * hidden, hidden), nn.Linear(hidden, len(QUALITIES))
        self.drop = nn.Dropout(DROPOUT)
        self.roots: Tensor
        self.register_buffer("roots", torch.zeros(12))

    def forward(self, windows: Tensor, facts: Tensor) -> Tensor:
        """(N, T, 108) scores of the chords, by quality, then root, from windows (N, T, 10, 12) and facts (N, T, 6)."""
        x = torch.stack([windows.roll(-root, -1) for root in range(12)], 1).flatten(-2)
        x = torch.cat([x, facts.unsqueeze(1).expand(-1, 12, -1, -1)], -1).flatten(0, 1)
        x = torch.relu(self.enter(self.drop(x)))
        x = torch.cat([x, self.recur(x)[0]], -1)
        x = self.leave(self.drop(torch.relu(self.join(x))))
        return x.unflatten(0, (-1, 12)).permute(0, 2, 3, 1).flatten(2)

    def nats(self, batch: Batch) -> Tensor:
        """Minus log likelihood of the known chords, a beat; the common roots count until the key is known."""
        unknown = (batch.windows[:, :, HEARD] > 0).any(2).sum(-1) < KEY_KNOWN
        scores = self(batch.windows, batch.facts) + unknown[..., None] * self.roots.repeat(len(QUALITIES))
        return F.cross_entropy(scores[batch.there], batch.chord[batch.there])

    def weights(self) -> dict[str, np.ndarray]:
        """What `TuneHarmony` is built from, float16."""
        count = len(SEEN) * 12
        named = {
            "windows": self.enter.weight[:, :count].unflatten(1, (-1, 12)), "facts": self.enter.weight[:, count:],
            "bias": self.enter.bias, "now": self.recur.weight_ih_l0, "bias_now": self.recur.bias_ih_l0,
            "before": self.recur.weight_hh_l0, "bias_before": self.recur.bias_hh_l0, "join": self.join.weight,
            "bias_join": self.join.bias, "leave": self.leave.weight, "bias_leave": self.leave.bias, "roots": self.roots,
        }  # fmt: skip
        return {name: value.detach().numpy().astype(np.float16) for name, value in named.items()}


def seen_of(windows: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(B, 10, 12) the windows that are seen when each beat has only begun, of those of a whole tune (B, 18, 12): there the lowest
    note at the bar line may be one of the second half of this very beat. place: (B,), as in `Features`."""
    silent = (place == 0) & ~windows[:, FIRST_HALF].any(1)
    windows = windows.copy()
    windows[silent, BAR_LINE] = 0
    return windows[:, SEEN]


def batches(found: list[Example], rng: np.random.Generator) -> Iterator[Batch]:
    """An epoch."""
    rows = stretches(found, rng, STRETCH)
    for start in range(0, len(rows), BATCH):
        here = [(found[i], slice(a, b)) for i, a, b in rows[start : start + BATCH]]
        seen = [seen_of(example.windows["tune"][inside], example.seen.place[inside]) for example, inside in here]
        facts = padded([example.seen.facts[inside, :TOLD] for example, inside in here])
        yield Batch(padded([windows.astype(np.float32) for windows in seen]), facts, *chords_of(here))


def common_roots(found: list[Example]) -> Tensor:
    """(12,) the logarithm of how common each root is, every piece counted as often as an epoch sees it."""
    counts = np.ones(12) / 12
    for example in found:
        known = example.chords[(example.chords != UNKNOWN) & (example.chords != NO_CHORD)].astype(int)
        if len(known):
            counts += example.times * np.bincount((known - 1) % 12, minlength=12) / len(known)
    return torch.from_numpy(np.log(counts / counts.sum())).float()


def fit(found: list[Example], epochs: int, seed: int) -> Recurrent:
    """An estimator fitted to the examples that have a tune. Raises `UserError` where none has."""
    found = [example for example in found if "tune" in example.windows]
    if not found:
        raise UserError("no annotated piece has a tune beside other parts; the tunes' estimator needs some")
    torch.manual_seed(seed)
    net = Recurrent()
    steps = -(-len(stretches(found, np.random.default_rng(seed), STRETCH)) // BATCH)
    net.roots = common_roots(found)
    descend(net, net.nats, lambda rng: batches(found, rng), steps, epochs, seed, WEIGHT_DECAY)
    # Whose chords are only estimated may stand in any key.
    net.roots = ROOTS_WEIGHT * common_roots([example for example in found if example.annotated])
    return net
