"""The knob for memory, and which notes are quotes.

At 0 the model follows the candidates of its memory (`realtime.composing.memory`) as it has learned to. Below, more and more steps
are taken without candidates; at -1, all of them, and nothing is quoted but by chance. Above, the fields of one candidate, that of
the longest and surest match, are favoured; at 1, so strongly that little else is drawn.
"""

from __future__ import annotations

import numpy as np

from realtime.composing.constraints import SLICES
from realtime.composing.memory import EXPERTS, FIRST_BARS, FORGOTTEN, NEAR_TICKS, Recall
from realtime.core.dialogue import Quote, Turn
from realtime.music.metre import Beat
from realtime.music.vocabulary import BEAT, MODEL_PART, NONE_DURATION, Event

QUOTE_NATS = 12.0
"""At the knob's end: for each field of the candidate that is favoured."""
LONG_ENOUGH = 4
"""A note counts as quoted if at least so many notes before it were those before its source."""
_SOURCES = np.arange(EXPERTS) < FIRST_BARS
"""The experts that know how long their match is."""


def _lengths(recall: Recall) -> np.ndarray:
    """(EXPERTS,) how many notes match, 0 for an expert without a candidate or a length."""
    return np.where(_SOURCES & (recall.features[:, 0] > 0), recall.length, 0)


def faded(recall: Recall, memory: float, random: float) -> Recall:
    """What is left of the candidates with the knob at `memory`: below 0, none in so large a share of the steps. random: in
    [0, 1)."""
    return recall if random >= -memory else FORGOTTEN


def favour(bias: np.ndarray, recall: Recall, memory: float) -> None:
    """Add to the biases (337,), in place, what the knob at `memory` > 0 gives to the fields of the best candidate."""
    lengths = _lengths(recall)
    if lengths.max() < LONG_ENOUGH:
        return
    best = int(np.argmax(lengths + recall.success[:, 1]))
    time, part, pitch, duration, velocity = recall.ids[best].tolist()
    nats = memory * QUOTE_NATS
    bias[SLICES["time"]][time] += nats
    if time < BEAT:
        bias[SLICES["part"]][MODEL_PART + part] += nats / 2  # a player's keyboard is one part, whatever is played on it
        bias[SLICES["pitch"]][pitch] += nats
        if duration != NONE_DURATION:
            bias[SLICES["duration"]][duration] += nats / 2
        bias[SLICES["velocity"]][velocity] += nats / 4


def waiting(recall: Recall, memory: float, beat: Beat, turn: Turn) -> bool:
    """Whether what the longest match points to begins after this beat, within a bar of the turn's start: the place of a tune that
    the player broke off comes again at the same place of a bar. An answer to a single note never waits."""
    if memory < 0 or turn.voices:
        return False
    lengths = _lengths(recall)
    best = int(np.argmax(lengths))
    later = beat.start + beat.length <= recall.onset[best] <= turn.start + beat.bar_ticks
    return bool(later and lengths[best] >= LONG_ENOUGH)


def quoted(recall: Recall, event: Event) -> Quote | None:
    """The source of a note that was drawn after `recall`, or None: what the longest of the matches foretold, in time and
    pitch."""
    lengths = _lengths(recall)
    right = (
        (lengths >= LONG_ENOUGH)
        & (recall.ids[:, 2] == event.pitch)
        & (np.abs(recall.ids[:, 0] - event.time) <= NEAR_TICKS)
        & (recall.ids[:, 0] < BEAT)
    )
    if not right.any():
        return None
    best = int(np.argmax(lengths * right))
    return Quote(int(recall.source[best]), bool(recall.features[best, 3]))
