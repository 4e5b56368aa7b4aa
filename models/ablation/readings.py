"""What a variant makes of a window before it reads it: windows are made once, and some variants see less of them, or more."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from models.corpus.stream import fit
from realtime.composing.memory import KINDS, NOTHING
from realtime.music.chords import UNKNOWN
from realtime.music.metre import TICKS
from realtime.music.vocabulary import BEAT, CHORD, FIELDS, MODEL_PART, Role, duration_index

Arrays = dict[str, np.ndarray]
"""A window as `models.corpus.windows.window` makes it."""
Reading = Callable[[Arrays], Arrays]
ROLE_AT, CHORD_AT = (list(FIELDS).index(name) for name in ("role", "chord"))
ASKED = ("targets", "kind", "turn", "note")
"""What a step is asked for: the arrays that tell of the next event, beside its chord."""
IN_CHORD = 10
"""The feature that tells whether a candidate's pitch belongs to the chord of the beat (`realtime.composing.memory.describe`)."""


def as_it_is(arrays: Arrays) -> Arrays:
    """All of it."""
    return arrays


def reveal_durations(arrays: Arrays) -> Arrays:
    """A window with the player's durations known at onset: how long the key's held flag stays up, as the stream shows it.

    No live player can be known so: an oracle."""
    events, held = arrays["events"].copy(), arrays["held"]
    is_beat = events[:, 0] == BEAT
    tick = TICKS * np.cumsum(is_beat) + np.where(is_beat, 0, events[:, 0])
    player = ~is_beat & (events[:, 1] < MODEL_PART)
    for i in np.flatnonzero(player):
        key = events[i, 2]
        ends = (held[i + 1 :, key] == 0) | (player[i + 1 :] & (events[i + 1 :, 2] == key))
        end = i + 1 + int(ends.argmax()) if ends.any() else len(tick) - 1
        events[i, 3] = duration_index(int(tick[end] - tick[i]))
    return {**arrays, "events": events}


def without_chords(arrays: Arrays) -> Arrays:
    """A window without its CHORD events, padded to the same length: the same notes in fewer events. What was asked for after a
    CHORD is asked for after the event before it."""
    is_chord = arrays["events"][:, 0] == CHORD
    chords = np.flatnonzero(is_chord)
    out = {name: values.copy() for name, values in arrays.items() if len(values) == len(is_chord)}
    for name in ASKED:
        out[name][chords - 1] = arrays[name][chords]
    out["events"][:, CHORD_AT] = UNKNOWN
    out["due"][:], out["chord"][:] = 0, 0
    if "features" in out:
        out["features"][..., IN_CHORD] = 0
    rest = {name: values[~is_chord] for name, values in out.items()}
    return fit(rest, len(is_chord), Role(int(arrays["events"][0, ROLE_AT])))


def without_pointers(kinds: Collection[int]) -> Reading:
    """A window whose memory has no experts of these `KINDS`."""
    gone = np.isin(KINDS, list(kinds))

    def read(arrays: Arrays) -> Arrays:
        ids, features = arrays["candidates"].copy(), arrays["features"].copy()
        ids[:, gone], features[:, gone] = NOTHING, 0
        return {**arrays, "candidates": ids, "features": features}

    return read
