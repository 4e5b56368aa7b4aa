"""What both chord estimators are fitted to, the features of annotated pieces, and how: AdamW with a cosine schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from models.corpus.chords import annotated, read_annotations
from models.corpus.pack import Pack
from realtime.music.chord_features import Features, features
from realtime.music.chords import NO_CHORD, UNKNOWN
from realtime.music.vocabulary import MELODY

LEARNING_RATE, WARM_UP = 3e-3, 50
TIMES = {"openewld": 3}
"""How often a source is seen in an epoch; the others once."""
SONGS = ("openscore_lieder", "mutopia_pd_ccby", "openhymnal")
"""Sources of tunes with an accompaniment, most of which nobody has annotated."""


class Example(NamedTuple):
    """A piece's features by what is heard of it ("all", "tune", "rest"), the chord of each beat, `UNKNOWN` where it is
    not known or guessed, how often an epoch sees it, and whether its chords are annotated."""

    windows: dict[str, np.ndarray]
    seen: Features
    chords: np.ndarray
    times: int
    annotated: bool = True


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
        chords, guessed, _ = annotated(annotations[piece.id], piece.beats)
        known = np.where(guessed | (chords == NO_CHORD), UNKNOWN, chords)
        found.append(Example(windows, seen, known, TIMES.get(piece.source, 1)))
    return found


def estimated_examples(root: Path, pack: Pack) -> list[Example]:
    """Other pieces of the training split with a tune and something that goes with it, of `SONGS`, by the tune alone: their chords
    were estimated from all voices (`Pack.chords`), which is right far more often than the tune can tell."""
    annotations, found = read_annotations(root), []
    rows = [
        i for i in pack.rows("train") if pack.table[i]["source"] in SONGS and pack.table[i]["id"] not in annotations
    ]
    for i in track(rows, "features"):
        piece = pack[i]
        tune = piece.notes["part"] == MELODY
        if tune.any() and not tune.all():
            seen = features(piece.notes[tune], piece.beats)
            known = np.where(piece.chords == NO_CHORD, UNKNOWN, piece.chords).astype(np.uint8)
            found.append(Example({"tune": seen.windows.astype(np.float16)}, seen, known, 1, annotated=False))
    return found


def stretches(found: list[Example], rng: np.random.Generator, length: int) -> list[tuple[int, int, int]]:
    """(index of the example, first beat, beat after the last) of all that an epoch sees, shuffled, each of `length`
    beats at most."""
    rows = []
    for i, example in enumerate(found):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], example.chords != UNKNOWN, [False]])))
        for _ in range(example.times):
            shift = int(rng.integers(length))
            for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                cuts = [first, *range(first + 1 + shift, last, length), last]
                rows += [(i, a, b) for a, b in pairwise(cuts)]
    rng.shuffle(rows)
    return rows


def padded(parts: Sequence[np.ndarray]) -> Tensor:
    """(N, T, ...) of N arrays (T_n, ...), zeros behind the shorter ones."""
    return pad_sequence([torch.from_numpy(part) for part in parts], batch_first=True)


def chords_of(here: Sequence[tuple[Example, slice]]) -> tuple[Tensor, Tensor]:
    """Of stretches of examples the chords, counted from 0, and where they are no padding, (N, T) each."""
    chords = [example.chords[inside].astype(np.int64) - 1 for example, inside in here]
    return padded(chords), padded([np.ones(len(each), bool) for each in chords])


def descend(
    net: nn.Module,
    nats: Callable[[Any], Tensor],
    epoch: Callable[[np.random.Generator], Iterator[Any]],
    steps: int,
    epochs: int,
    seed: int,
    weight_decay: float,
) -> None:
    """Fit `net`. nats: of a batch, a beat; epoch: the batches of an epoch, about `steps`, each with `there` (N, T) bool: no
    padding."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=weight_decay)

    def rate(step: int) -> float:
        return min(1.0, (step + 1) / WARM_UP) * (0.5 + 0.5 * float(np.cos(np.pi * min(step / (epochs * steps), 1.0))))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    for number in range(1, epochs + 1):
        total = count = 0.0
        for batch in track(epoch(rng), "fitting", steps):
            loss = nats(batch)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            beats = float(batch.there.sum())
            total, count = total + loss.item() * beats, count + beats
        print(f"epoch {number}: {total / count:.4f} nats a beat", flush=True)
