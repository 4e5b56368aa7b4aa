"""Does the file play what torch plays? Runs with every export, through the very stepper that plays live.

`STEPS` random but legal events are streamed through both, with random contexts where the graph takes them, each step drawn
greedily by the graph; torch is given the same draws, head by head. In float32 the logits agree within `TOLERANCE`, and each
draw is torch's own best choice, or one whose logit is within `TIE` of it. For 8-bit weights both are only reported; what
counts there is `export.nats`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.nets.decoder import Decoder, Recalled, State
from realtime.composing.constraints import SLICES
from realtime.composing.contract import DRAWN, LOGITS, MASKED
from realtime.composing.memory import EXPERTS, FEATURES, NOTHING
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import BEAT, BEAT_EVENT, FIELDS, HEADS, HELD, MODEL_PART, OPEN

STEPS = 512
TOLERANCE = 1e-4
TIE = 1e-5
GREEDY = np.tile(np.array([1.0, 1.0, 1.0], np.float32), (len(DRAWN), 1))
"""Temperature 1, top-k 1, top-p 1 for every head."""


@dataclass(frozen=True)
class Parity:
    """What the check found; `problems` says what breaks the contract."""

    logit_error: float
    """Largest difference of a logit, step by step."""
    changed: int
    """Draws that are not torch's best choice, ties apart, out of `STEPS` * 6."""
    beats: bool
    """Whether every head, wholly masked, gave BEAT and finite numbers."""

    def problems(self, weights: str) -> list[str]:
        """One line for each clause that is not kept; empty means parity."""
        found = [] if self.beats else ["a head with every choice masked does not give BEAT"]
        if weights == "fp32":
            if not self.logit_error <= TOLERANCE:
                found.append(f"logits differ from torch's by {self.logit_error:.2g}, more than {TOLERANCE:g}")
            if self.changed:
                found.append(f"{self.changed} of {STEPS * len(DRAWN)} greedy choices are not torch's")
        return found

    def __str__(self) -> str:
        return (
            f"{STEPS} steps: logits within {self.logit_error:.2g}, "
            f"{self.changed} of {STEPS * len(DRAWN)} greedy choices differ, all-masked heads give "
            f"{'BEAT' if self.beats else 'something else'}"
        )


def check(decoder: Decoder, path: Path, seed: int = 0) -> Parity:
    """Compare a file with the decoder it was made of. Raises `UserError` where the stepper refuses the file."""
    rng = np.random.default_rng(seed)
    stepper = Stepper.load(path, "cpu", slots=2)
    events, held = legal_events(rng, STEPS)
    width = stepper.contract.context
    contexts = rng.normal(size=(STEPS, width)).astype(np.float32) if width else None
    candidates = random_candidates(rng, STEPS) if stepper.contract.memory else None
    nothing = np.zeros(LOGITS, np.float32)
    state, logit_error, changed = None, 0.0, 0
    for t, (event, sounds) in enumerate(zip(events, held, strict=True)):
        context = None if contexts is None else contexts[t]
        release = np.where(rng.random(HEADS["pitch"]) < 0.3, rng.uniform(0, 48, HEADS["pitch"]), 0).astype(np.float32)
        noise = rng.random(len(DRAWN), np.float32)
        recalled = (None, None) if candidates is None else (candidates[0][t], candidates[1][t])
        choice = stepper.step(event, sounds, release, nothing, GREEDY, noise, context, *recalled)
        with torch.no_grad():
            logits, state = _torch_logits(decoder, (event, sounds, context, *recalled), choice, state)
        logit_error = max(logit_error, float(np.abs(logits - stepper.last_logits).max()))
        allowed = logits.copy()
        allowed[SLICES["pitch"]][release > choice[0]] = MASKED
        changed += sum(
            bool(allowed[where].max() - allowed[where][chosen] > TIE)
            for where, chosen in zip(SLICES.values(), choice, strict=True)
        )
    return Parity(logit_error, changed, _gives_beats(stepper))


def _torch_logits(
    decoder: Decoder, inputs: tuple[np.ndarray | None, ...], choice: np.ndarray, state: State | None
) -> tuple[np.ndarray, State]:
    """What torch makes of a step's event, held, context, candidates and features: logits (337,), each head given the draws
    before."""
    event, held, context, ids, features = (None if x is None else torch.from_numpy(x)[None, None] for x in inputs)
    recalled = None
    if decoder.memory is not None and ids is not None:
        recalled = Recalled(ids, decoder.memory.embed(ids, features))
    h, state = decoder.mix(decoder.read(event, held, context, recalled), state, chunk=1)
    drawn = torch.from_numpy(choice[: len(HEADS)])[None, None]
    heads = decoder.add_bias(decoder.heads(h, drawn, decoder.memory, recalled), context)
    assert decoder.chord_head is not None
    return np.concatenate([head[0, 0].numpy() for head in (*heads, decoder.chord_head(h))]), state


def random_candidates(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random candidates (count, EXPERTS, 5), a third of them none, and their features (count, EXPERTS, FEATURES)."""
    ids = rng.integers(0, NOTHING, (count, EXPERTS, len(NOTHING)))
    features = rng.random((count, EXPERTS, FEATURES), np.float32)
    there = rng.random((count, EXPERTS)) < 0.67
    features[..., 0] = 1
    return np.where(there[..., None], ids, NOTHING), features * there[..., None].astype(np.float32)


def legal_events(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random events (count, 10) int64 that a player or the model could have made, and held-now flags (count, 256)."""
    sizes = [BEAT, *list(HEADS.values())[1:], *list(FIELDS.values())[len(HEADS) :]]
    events = rng.integers(0, sizes, (count, len(sizes)))
    events[:, 3] = np.where(events[:, 1] < MODEL_PART, OPEN, np.minimum(events[:, 3], OPEN - 1))
    is_beat = rng.random(count) < 0.2
    events[is_beat, : len(HEADS)] = BEAT_EVENT
    held = (rng.random((count, HELD)) < 0.02).astype(np.float32)
    notes = np.flatnonzero(~is_beat)
    held[notes, np.where(events[notes, 1] < MODEL_PART, 0, 128) + events[notes, 2]] = 1
    return events, held


def _gives_beats(stepper: Stepper) -> bool:
    """Mask each head in turn, the pitches once by their bias and once because all of them sound."""
    free, sounding = np.zeros(HEADS["pitch"]), np.full(HEADS["pitch"], 2.0 * BEAT)
    cases = []
    for name in HEADS:
        where = SLICES[name]
        bias = np.zeros(LOGITS, np.float32)
        bias[where] = MASKED
        cases.append((free, bias))
    only_notes = np.zeros(LOGITS, np.float32)
    only_notes[BEAT] = MASKED
    cases.append((sounding, only_notes))
    half = np.full(len(DRAWN), 0.5, np.float32)
    for sampling in (GREEDY, GREEDY * [1.0, 0.0, 1.0]):
        for release, bias in cases:
            choice = stepper.step(np.zeros(len(FIELDS)), np.zeros(HELD), release, bias, sampling, half)
            if choice[0] != BEAT or not np.isfinite(stepper.last_logits).all():
                return False
    return True
