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

from models.nets.decoder import Decoder
from realtime.composing.constraints import SLICES
from realtime.composing.contract import LOGITS, MASKED
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import BEAT, BEAT_EVENT, FIELDS, HEADS, HELD, MODEL_PART, OPEN

STEPS = 512
TOLERANCE = 1e-4
TIE = 1e-5
GREEDY = np.tile(np.array([1.0, 1.0, 1.0], np.float32), (len(HEADS), 1))
"""Temperature 1, top-k 1, top-p 1 for every head."""


@dataclass(frozen=True)
class Parity:
    """What the check found; `problems` says what breaks the contract."""

    logit_error: float
    """Largest difference of a logit, step by step."""
    prefill_error: float
    """The same after the whole stream was eaten in one call, for the last step."""
    changed: int
    """Draws that are not torch's best choice, ties apart, out of `STEPS` * 5."""
    beats: bool
    """Whether every head, wholly masked, gave BEAT and finite numbers."""

    def problems(self, weights: str) -> list[str]:
        """One line for each clause that is not kept; empty means parity."""
        found = [] if self.beats else ["a head with every choice masked does not give BEAT"]
        if weights == "fp32":
            worst = max(self.logit_error, self.prefill_error)
            if not worst <= TOLERANCE:
                found.append(f"logits differ from torch's by {worst:.2g}, more than {TOLERANCE:g}")
            if self.changed:
                found.append(f"{self.changed} of {STEPS * len(HEADS)} greedy choices are not torch's")
        return found

    def __str__(self) -> str:
        return (
            f"{STEPS} steps: logits within {self.logit_error:.2g} (prefill {self.prefill_error:.2g}), "
            f"{self.changed} of {STEPS * len(HEADS)} greedy choices differ, all-masked heads give "
            f"{'BEAT' if self.beats else 'something else'}"
        )


def check(decoder: Decoder, path: Path, seed: int = 0) -> Parity:
    """Compare a file with the decoder it was made of. Raises `UserError` where the stepper refuses the file."""
    rng = np.random.default_rng(seed)
    stepper = Stepper.load(path, "cpu", slots=2)
    events, held = legal_events(rng, STEPS)
    width = stepper.contract.context
    contexts = rng.normal(size=(STEPS, width)).astype(np.float32) if width else None
    nothing = np.zeros(LOGITS, np.float32)
    state, logit_error, changed = None, 0.0, 0
    for t, (event, sounds) in enumerate(zip(events, held, strict=True)):
        context = None if contexts is None else contexts[t]
        release = np.where(rng.random(HEADS["pitch"]) < 0.3, rng.uniform(0, 48, HEADS["pitch"]), 0).astype(np.float32)
        noise = rng.random(len(HEADS), np.float32)
        choice, _ = stepper.step(event, sounds, release, nothing, GREEDY, noise, context)
        with torch.no_grad():
            fed = [torch.from_numpy(x)[None, None] for x in (event, sounds, context) if x is not None]
            h, state = decoder.mix(decoder.read(*fed), state, chunk=1)
            heads = decoder.add_bias(decoder.heads(h, torch.from_numpy(choice)[None, None]), *fed[2:])
        logits = np.concatenate([head[0, 0].numpy() for head in heads])
        logit_error = max(logit_error, float(np.abs(logits - stepper.last_logits).max()))
        allowed = logits.copy()
        allowed[SLICES["pitch"]][release > choice[0]] = MASKED
        changed += sum(
            bool(allowed[where].max() - allowed[where][chosen] > TIE)
            for where, chosen in zip(SLICES.values(), choice, strict=True)
        )
    stepper.reset()
    stepper.prefill(events[:-1], held[:-1], None if contexts is None else contexts[:-1])
    stepper.step(events[-1], held[-1], release, nothing, GREEDY, noise, context)
    prefill_error = float(np.abs(logits - stepper.last_logits).max())
    return Parity(logit_error, prefill_error, changed, _gives_beats(stepper))


def legal_events(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random events (count, 9) int64 that a player or the model could have made, and held-now flags (count, 256)."""
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
    for where in SLICES.values():
        bias = np.zeros(LOGITS, np.float32)
        bias[where] = MASKED
        cases.append((free, bias))
    only_notes = np.zeros(LOGITS, np.float32)
    only_notes[BEAT] = MASKED
    cases.append((sounding, only_notes))
    half = np.full(len(HEADS), 0.5, np.float32)
    for sampling in (GREEDY, GREEDY * [1.0, 0.0, 1.0]):
        for release, bias in cases:
            choice, log_prob = stepper.step(np.zeros(len(FIELDS)), np.zeros(HELD), release, bias, sampling, half)
            if choice[0] != BEAT or not np.isfinite(log_prob).all():
                return False
    return True
