"""What a step takes: the network, streamed, and the memory's search in Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from models.ablation.readings import Arrays
from models.ablation.variants import Variant
from models.corpus.windows import collate
from models.nets.decoder import Decoder
from models.nets.flat import FlatDecoder
from models.training.losses import candidates_of
from realtime.composing.memory import FORGOTTEN, Memory, Recall
from realtime.music.metre import COMPOUND_CLASS, TICKS, Beat
from realtime.music.vocabulary import BEAT, MODEL_PART, NONE_DURATION, OPEN

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TIMED_STEPS = 100
ROUNDS = 5
"""Of which the fastest counts: others may be using the machine. Each round times all variants, as a machine's speed drifts."""


def now() -> float:
    """Seconds that count: the processor's own on a CPU, since it may be shared; on a GPU all that pass."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def step_times(variants: list[Variant], windows: Sequence[Arrays]) -> dict[str, dict[str, int]]:
    """Of each variant, untrained, on the first of the windows: microseconds (see `now`) an event, the memory's search included,
    and that alone."""
    decoders = {v.name: v.make(v.size).to(DEVICE).eval() for v in variants}
    read = {v.name: v.read(windows[0]) for v in variants}
    rounds = [
        {v.name: (_network_us(decoders[v.name], read[v.name]), _search_us(read[v.name]) if v.size.memory else 0.0)
         for v in variants}
        for _ in range(ROUNDS)
    ]  # fmt: skip
    found = {}
    for v in variants:
        network, search = (min(times[v.name][i] for times in rounds) for i in range(2))
        if v.make is FlatDecoder:
            times = np.concatenate(
                [w["events"][w["turn"] > 0, 0] for w in map(windows.__getitem__, range(len(windows)))]
            )
            network *= float(np.where(times == BEAT, 1, 5).mean())
        found[v.name] = {"step_us": round(network + search), "search_us": round(search)}
    return found


@torch.no_grad()
def _network_us(decoder: Decoder, arrays: Arrays) -> float:
    """For an event of a window, streamed; in flat tokens, for the trunk and the heads of one token."""
    batch = {name: x.to(DEVICE) for name, x in collate([arrays]).items()}
    x = torch.randn(1, 1, decoder.size.d_model, device=DEVICE)

    def once(t: int, state: Any) -> Any:
        if isinstance(decoder, FlatDecoder):
            h, state = decoder.mix(x, state, chunk=1)
            decoder.heads(h)
            return state
        one = {name: values[:, t : t + 1] for name, values in batch.items()}
        recalled = {"candidates": candidates_of(one)} if decoder.memory is not None else {}
        return decoder(one["events"], one["held"], one["targets"], state, 1, **recalled)[1]

    return _timed(min(TIMED_STEPS, batch["events"].shape[1]), once)


def _search_us(arrays: Arrays) -> float:
    """For an event of a window in `realtime.composing.memory.Memory`: a note is put in, and candidates are looked up."""
    events, ticks = arrays["events"].tolist(), arrays["tick"].tolist()
    is_beat = arrays["events"][:, 0] == BEAT
    starts = np.maximum.accumulate(np.where(is_beat, arrays["tick"], 0)).tolist()
    memory = Memory()

    def once(t: int, recall: Recall | None) -> Recall:
        time, part, pitch, duration, velocity, in_bar, metre, *_, chord = events[t]
        eighths = metre - COMPOUND_CLASS if metre > COMPOUND_CLASS else metre
        beat = Beat(starts[t], TICKS, in_bar, max(12 * eighths, TICKS))
        if time < BEAT:
            length = NONE_DURATION if duration == OPEN else duration
            memory.add(ticks[t], beat, part % MODEL_PART, part < MODEL_PART, pitch, length, velocity)
        return memory.recall(ticks[t], beat, recall or FORGOTTEN, chord)

    return _timed(int((arrays["turn"] + arrays["due"] > 0).sum()), once)


def _timed(steps: int, once: Callable[[int, Any], Any]) -> float:
    """Microseconds a step of `once(t, what the step before returned)`."""
    state, started = None, now()
    for t in range(steps):
        state = once(t, state)
    return (now() - started) / max(steps, 1) * 1e6
