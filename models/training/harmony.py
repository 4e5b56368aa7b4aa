"""Fit the chord estimator (`realtime.music.harmony`) to the annotated pieces of a corpus' training split.

    python -m models.fit_chords CORPUS -o models/pretrained/harmony.npz
    python -m models.fit_chords CORPUS -o models/pretrained/harmony.tune.npz --hears tune --epochs 12

Maximum conditional likelihood of the annotated chords, in stretches of up to `STRETCH` beats. Of a piece it sees all voices, or
without a part: the tune alone, or all but the tune. In a share of the stretches it does not look ahead, and in some of their
beats it has heard the first half only. With `--hears tune` all that is seen is the tune up to the first half of each beat: what
an accompanist knows when a chord is due.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from models.command import Parser, positive
from models.corpus.chords import annotated, read_annotations
from models.corpus.pack import Pack, load_pack
from realtime.errors import UserError
from realtime.music.chord_features import AHEAD, FACTS, PLACES, WINDOWS, Features, features
from realtime.music.chords import NO_CHORD, QUALITIES, UNKNOWN
from realtime.music.harmony import STATES
from realtime.music.vocabulary import MELODY

HIDDEN, STRETCH, BATCH = 48, 48, 64
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 3e-3, 1e-4, 50


class Hears(NamedTuple):
    """What the estimator is to work with. Shares of the stretches: with all voices, without the tune (the rest has the tune
    alone), not looking ahead; of the beats of these, the share of which the second half is not heard."""

    all_voices: float
    without_tune: float
    not_ahead: float
    half: float


HEARS = {"all": Hears(0.6, 0.2, 0.35, 0.3), "tune": Hears(0.0, 0.0, 1.0, 1.0)}
TIMES = {"openewld": 3}
"""How often a source is seen in an epoch; the others once."""
SECOND_HALF = [WINDOWS.index("second half"), WINDOWS.index("lowest of the second half")]


class Example(NamedTuple):
    """A piece's features by what is heard of it ("all", "tune", "rest"), and the chord of each beat, `UNKNOWN` where it is not
    annotated or guessed."""

    windows: dict[str, np.ndarray]
    seen: Features
    chords: np.ndarray
    times: int


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


def examples(root: Path, pack: Pack) -> list[Example]:
    """The annotated pieces of the training split."""
    annotations, found = read_annotations(root), []
    for i in track([i for i in pack.rows("train") if pack.table[i]["id"] in annotations], "features"):
        piece = pack[i]
        tune = piece.notes["part"] == MELODY
        seen = features(piece.notes, piece.beats)
        windows = {"all": seen.windows.astype(np.float16)}
        if tune.any() and not tune.all():
            windows["tune"] = features(piece.notes[tune], piece.beats).windows.astype(np.float16)
            windows["rest"] = features(piece.notes[~tune], piece.beats).windows.astype(np.float16)
        chords, guessed = annotated(annotations[piece.id], piece.beats)
        known = np.where(guessed | (chords == NO_CHORD), UNKNOWN, chords)
        found.append(Example(windows, seen, known, TIMES.get(piece.source, 1)))
    return found


def stretches(found: list[Example], rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """(index of the example, first beat, beat after the last) of all that an epoch sees, shuffled."""
    rows = []
    for i, example in enumerate(found):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], example.chords != UNKNOWN, [False]])))
        for _ in range(example.times):
            shift = int(rng.integers(STRETCH))
            for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                cuts = [first, *range(first + 1 + shift, last, STRETCH), last]
                rows += [(i, a, b) for a, b in pairwise(cuts)]
    rng.shuffle(rows)
    return rows


def batches(found: list[Example], hears: Hears, rng: np.random.Generator) -> Iterator[Batch]:
    """An epoch."""
    rows = stretches(found, rng)
    for start in range(0, len(rows), BATCH):
        here = rows[start : start + BATCH]
        longest = max(b - a for _, a, b in here)
        windows = np.zeros((len(here), longest, len(WINDOWS), 12), np.float32)
        facts = np.zeros((len(here), longest, FACTS), np.float32)
        place, chord = np.zeros((2, len(here), longest), np.int64)
        there = np.zeros((len(here), longest), bool)
        for j, (i, a, b) in enumerate(here):
            example, drawn = found[i], rng.random()
            known = hears.all_voices + hears.without_tune
            voices = "all" if drawn < hears.all_voices else "rest" if drawn < known else "tune"
            windows[j, : b - a] = example.windows.get(voices, example.windows["all"])[a:b]
            facts[j, : b - a], place[j, : b - a] = example.seen.facts[a:b], example.seen.place[a:b]
            chord[j, : b - a], there[j, : b - a] = example.chords[a:b].astype(np.int64) - 1, True
        live = rng.random(len(here)) < hears.not_ahead
        windows[live, :, AHEAD:], facts[live, :, -1] = 0, 0
        half = live[:, None] & (rng.random((len(here), longest)) < hears.half)
        for window in SECOND_HALF:
            windows[half, window] = 0
        yield Batch(*(torch.from_numpy(array) for array in (windows, facts, place, chord, there)))


def fit(found: list[Example], hears: Hears, epochs: int, seed: int) -> Field:
    """A field fitted to the examples."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    field = Field()
    optimiser = torch.optim.AdamW(field.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * -(-len(stretches(found, np.random.default_rng(seed))) // BATCH)

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * float(np.cos(np.pi * min(step / steps, 1.0))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    for epoch in range(epochs):
        total = count = 0.0
        for batch in batches(found, hears, rng):
            loss = field.nats(batch)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(field.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            beats = float(batch.there.sum())
            total, count = total + loss.item() * beats, count + beats
        print(f"epoch {epoch + 1}: {total / count:.4f} nats a beat", flush=True)
    return field


def main() -> None:
    """Fit the chord estimator to the annotated pieces of a corpus."""
    parser = Parser(prog="python -m models.fit_chords", description=main.__doc__)
    parser.add_corpus("corpus", metavar="CORPUS")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.npz", help="where the weights go")
    parser.add_argument("--hears", choices=tuple(HEARS), default="all", help="what the estimator is to work with")
    parser.add_argument("--epochs", type=positive, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = examples(args.corpus, load_pack(args.corpus, args.cache))
    if args.hears == "tune":
        found = [example for example in found if "tune" in example.windows]
    if not found:
        raise UserError(f"{args.corpus}: no piece of its training split has annotated chords; they are needed here")
    field = fit(found, HEARS[args.hears], args.epochs, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("wb") as file:
        np.savez_compressed(file, **field.weights())
    print(f"{args.out}: written")
