"""Whole pieces through a step graph, as they are played: nats of every event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from models.bootstrap import interval, resampled
from models.corpus.contexts import LAG, REACH
from models.corpus.pack import Piece
from models.corpus.perturb import NONE
from models.corpus.windows import window
from models.evaluation.baselines import Stream
from models.nets.context import AHEAD, PAST
from realtime.composing.constraints import SLICES
from realtime.composing.contract import DRAWN, LOGITS, MASKED
from realtime.io.graphs.latent_graphs import LatentGraphs
from realtime.io.graphs.stepper import Stepper
from realtime.music.attributes import CONTROLS
from realtime.music.cells import BEATS, LATENT
from realtime.music.metre import TICKS
from realtime.music.vocabulary import BEAT, CHORD, HEADS, Role


def whole(piece: Piece, cells: bool = False, memory: bool = False) -> dict[str, np.ndarray]:
    """A piece from its first bar line to its end, as one window (see `windows.window`) without padding."""
    length = len(piece.notes) + len(piece.beats) * (1 if piece.chords is None else 2)
    arrays = window(piece, length, np.random.default_rng(0), NONE, Role.COMPOSE, bar=0, cells=cells, memory=memory)
    counts = (arrays["turn"] > 0) | (arrays["due"] > 0)
    return {name: values[counts] if len(values) == len(counts) else values for name, values in arrays.items()}


def latent_contexts(graphs: LatentGraphs, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The contexts (T, d) of the events of `whole` with cells: the latents that are known by then, no plan, no controls."""
    rolls = np.unpackbits(arrays["rolls"], axis=-1).astype(np.float32)
    latents = np.concatenate([np.zeros((REACH, LATENT), np.float32), graphs.encode(rolls)])
    nothing = (
        np.zeros((1, AHEAD, LATENT), np.float32),
        np.zeros((1, AHEAD), np.float32),
        np.zeros((1, CONTROLS), np.float32),
    )
    made = []
    for cell in range(len(rolls)):
        known = (np.arange(cell - REACH, cell - LAG + 1) >= 0).astype(np.float32)
        made.append(graphs.context(latents[None, cell : cell + PAST], known[None], *nothing))
    cell = np.searchsorted(arrays["edges"], arrays["tick"], side="right") - 1
    beat = np.clip((arrays["tick"] - arrays["edges"][cell]) // TICKS, 0, BEATS - 1)
    contexts: np.ndarray = np.stack(made)[cell, beat]
    return contexts


def stream_of(piece: Piece) -> Stream:
    """A piece for the baselines, which know no chords."""
    arrays = whole(replace(piece, chords=None))
    return Stream(arrays["events"][:, 5:7], arrays["targets"])


def forced_logits(stepper: Stepper, arrays: Mapping[str, np.ndarray], contexts: np.ndarray | None = None) -> np.ndarray:
    """The exported graph's logits (T, 337) over a stream from an empty history, each event followed by its target.

    arrays: a window's (`windows.window`); contexts: (T, d), where the graph takes them. The graph feeds
    its heads with its own draws, so each draw is forced to the target by masking all else; the logits are those before the masks.
    Raises ValueError for a stream without CHORDs (`models.corpus.chords.with_chords`): the model never saw one in training.
    """
    if not (arrays["events"][:, 0] == CHORD).any():
        raise ValueError("a stream without CHORD events: make it from a pack with chords")
    starts = np.array([where.start for where in SLICES.values()])
    free, noise = np.zeros(HEADS["pitch"], np.float32), np.zeros(len(DRAWN), np.float32)
    sampling = np.tile(np.array([1.0, 0.0, 1.0], np.float32), (len(DRAWN), 1))
    events, held, targets = arrays["events"], arrays["held"].astype(np.float32), arrays["targets"]
    recalled = stepper.contract.memory
    logits = np.empty((len(events), LOGITS), np.float32)
    stepper.reset()
    for t, (event, flags, target) in enumerate(zip(events, held, targets, strict=True)):
        bias = np.full(LOGITS, MASKED, np.float32)
        bias[starts[:-1] + target] = 0.0
        bias[SLICES["chord"]] = 0.0
        context = contexts[t] if contexts is not None else None
        memory = (arrays["candidates"][t], arrays["features"][t]) if recalled else (None, None)
        stepper.step(event, flags, free, bias, sampling, noise, context, *memory)
        logits[t] = stepper.last_logits
    return logits


def forced_nats(stepper: Stepper, graphs: LatentGraphs | None, piece: Piece) -> np.ndarray:
    """The exported model's score of a piece with chords, step by step as it is played: (N, 6) nats, of the heads in order and of
    the chord; 0 where a BEAT has no more than its time, and a CHORD no more than its chord. What comes after a CHORD is told the
    right one. With its graphs the model is conditioned on the bars before, as live."""
    arrays = whole(piece, cells=graphs is not None, memory=stepper.contract.memory)
    contexts = latent_contexts(graphs, arrays) if graphs is not None else None
    targets = arrays["targets"]
    logits = forced_logits(stepper, arrays, contexts).astype(np.float64)
    asked = np.concatenate([targets, arrays["chord"][:, None]], 1)
    nats = np.empty(asked.shape)
    for head, name in enumerate(DRAWN):
        rows = logits[:, SLICES[name]]
        top = rows.max(1)
        chosen = np.take_along_axis(rows, asked[:, head : head + 1], 1)[:, 0]
        nats[:, head] = np.log(np.exp(rows - top[:, None]).sum(1)) + top - chosen
    due = arrays["due"] > 0
    nats[targets[:, 0] == BEAT, 1:-1] = 0.0
    nats[due, :-1], nats[~due, -1] = 0.0, 0.0
    return nats


def summary(nats: np.ndarray, notes: np.ndarray, songs: np.ndarray) -> dict[str, Any]:
    """Pieces' nats (pieces, 5), or (pieces, 6) with those of the chords, and numbers of notes -> {nats_per_note, low, high,
    heads}; of six also `chords`: what it costs a note to foretell the chords too."""
    low, high = interval(resampled(nats[:, : len(HEADS)].sum(1), notes, songs))
    heads, chords = np.split(nats.sum(0) / notes.sum(), [len(HEADS)])
    found = {
        "nats_per_note": round(float(heads.sum()), 4),
        "low": low,
        "high": high,
        "heads": {name: round(float(x), 4) for name, x in zip(HEADS, heads, strict=True)},
    }
    return found | ({"chords": round(float(chords[0]), 4)} if len(chords) else {})
