"""Fit the chord estimator (`realtime.music.harmony`) to annotated pieces.

Maximum conditional likelihood of the annotated chords, in stretches of up to `STRETCH` beats. Of a piece it sees all voices, or
without a part: the tune alone, or all but the tune. In a share of the stretches it does not look ahead, and in some of their
beats it has heard the first half only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.training.chord_fitting import Example, chords_of, descend, padded, stretches
from realtime.music.chord_features import AHEAD, FACTS, PLACES, WINDOWS
from realtime.music.chords import QUALITIES
from realtime.music.harmony import STATES

HIDDEN, STRETCH, BATCH, WEIGHT_DECAY = 48, 48, 64, 1e-4
ALL_VOICES, WITHOUT_TUNE, NOT_AHEAD, HALF = 0.6, 0.2, 0.35, 0.3
"""Shares of the stretches: with all voices, without the tune (the rest has the tune alone), not looking ahead; of the beats of
these, the share of which the second half is not heard."""
SECOND_HALF = [WINDOWS.index("second half"), WINDOWS.index("lowest of the second half")]


class Batch(NamedTuple):
    """Stretches of beats: windows (N, T, 18, 12), facts (N, T, 7), place and chord (N, T), `there` (N, T) bool: no padding."""

    windows: Tensor
    facts: Tensor
    place: Tensor
    chord: Tensor
    there: Tensor


class Field(nn.Module):
    """`realtime.music.harmony.Harmony`, to be fitted. Its parameters have the names and shapes of `harmony.SHAPES`."""

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        qualities, inputs = len(QUALITIES), len(WINDOWS) * 12 + FACTS

        def uniform(*shape: int, fan: int) -> nn.Parameter:
            return nn.Parameter((torch.rand(shape) * 2 - 1) / fan**0.5)

        self.windows = uniform(hidden, len(WINDOWS), 12, fan=inputs)
        self.facts = uniform(hidden, FACTS, fan=inputs)
        self.bias_1 = uniform(hidden, fan=inputs)
        self.weight_2, self.bias_2 = uniform(hidden, hidden, fan=hidden), uniform(hidden, fan=hidden)
        self.weight_3, self.bias_3 = uniform(qualities, hidden, fan=hidden), uniform(qualities, fan=hidden)
        self.change = nn.Parameter(torch.zeros(qualities, qualities, 12))
        self.stay = nn.Parameter(torch.full((PLACES, qualities), 3.0))
        self.quality, self.root = torch.arange(STATES) // 12, torch.arange(STATES) % 12

    def emission(self, windows: Tensor, facts: Tensor) -> Tensor:
        """(N, T, 108) from windows (N, T, 18, 12) and facts (N, T, 7)."""
        rolled = torch.stack([self.windows.roll(root, -1) for root in range(12)]).flatten(2).flatten(0, 1)
        x = (windows.flatten(-2) @ rolled.T).unflatten(-1, (12, -1))
        x = torch.relu(x + (facts @ self.facts.T + self.bias_1).unsqueeze(-2))
        x = torch.relu(x @ self.weight_2.T + self.bias_2) @ self.weight_3.T + self.bias_3
        return x.transpose(-1, -2).flatten(-2)

    def transitions(self) -> tuple[Tensor, Tensor]:
        """(108, 108) between two chords, -inf to the same; (3, 108) to stay, by place."""
        change = self.change[self.quality[:, None], self.quality, (self.root - self.root[:, None]) % 12]
        return change.masked_fill(torch.eye(STATES, dtype=torch.bool), -torch.inf), self.stay[:, self.quality]

    def nats(self, batch: Batch) -> Tensor:
        """Minus log likelihood of the annotated chords, a beat."""
        emission = self.emission(batch.windows, batch.facts)
        change, stay = self.transitions()
        own = (emission.gather(-1, batch.chord.unsqueeze(-1)).squeeze(-1) * batch.there).sum()
        before, after = batch.chord[:, :-1], batch.chord[:, 1:]
        same = before == after
        moved = change.masked_fill(torch.isinf(change), 0)[before, after]
        step = torch.where(same, stay[batch.place[:, 1:], after], moved)
        own = own + (step * batch.there[:, 1:]).sum()
        return (self._all_paths(emission, change.exp(), stay.exp(), batch) - own) / batch.there.sum()

    @staticmethod
    def _all_paths(emission: Tensor, change: Tensor, stay: Tensor, batch: Batch) -> Tensor:
        """Log of the sum over all rows of chords, all stretches together."""
        top = emission.amax(-1, keepdim=True).detach()
        fits, stays = (emission - top).exp(), stay[batch.place]
        row = fits[:, 0]
        sums = row.sum(-1, keepdim=True)
        total, row = (sums.log() + top[:, 0]).sum(), row / sums
        for beat in range(1, emission.shape[1]):
            new = (row @ change + row * stays[:, beat]) * fits[:, beat]
            sums, there = new.sum(-1, keepdim=True), batch.there[:, beat, None]
            total = total + torch.where(there, sums.log() + top[:, beat], 0).sum()
            row = torch.where(there, new / sums, row)
        return total

    def weights(self) -> dict[str, np.ndarray]:
        """What `Harmony` is built from, float16."""
        return {name: value.detach().numpy().astype(np.float16) for name, value in self.named_parameters()}


def batches(found: list[Example], rng: np.random.Generator) -> Iterator[Batch]:
    """An epoch."""
    rows = stretches(found, rng, STRETCH)
    for start in range(0, len(rows), BATCH):
        seen, here = [], [(found[i], slice(a, b)) for i, a, b in rows[start : start + BATCH]]
        for example, inside in here:
            drawn = rng.random()
            voices = "all" if drawn < ALL_VOICES else "rest" if drawn < ALL_VOICES + WITHOUT_TUNE else "tune"
            seen.append(example.windows.get(voices, example.windows["all"])[inside].astype(np.float32))
        windows, facts = padded(seen), padded([example.seen.facts[inside] for example, inside in here])
        place = padded([example.seen.place[inside].astype(np.int64) for example, inside in here])
        live = torch.from_numpy(rng.random(len(here)) < NOT_AHEAD)
        windows[live, :, AHEAD:], facts[live, :, -1] = 0, 0
        half = live[:, None] & torch.from_numpy(rng.random(windows.shape[:2]) < HALF)
        for window in SECOND_HALF:
            windows[half, window] = 0
        yield Batch(windows, facts, place, *chords_of(here))


def fit(found: list[Example], epochs: int, seed: int) -> Field:
    """A field fitted to the examples."""
    torch.manual_seed(seed)
    field = Field()
    steps = -(-len(stretches(found, np.random.default_rng(seed), STRETCH)) // BATCH)
    descend(field, field.nats, lambda rng: batches(found, rng), steps, epochs, seed, WEIGHT_DECAY)
    return field
