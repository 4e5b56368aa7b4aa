"""The pitches of a band: which notes of a chord its bass and its chords take, as biases. Pure; times in ticks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from realtime.music.given import Chord
from realtime.music.metre import TICKS
from realtime.music.scales import pitches_of
from realtime.music.symbols import Symbol

NOT_NATS = -12.0
"""For what a hit is not."""
PASSING_NATS = -3.0
"""For a tone of the scale that is not of the chord, between the hits."""
LEAP_NATS = {"bass": -0.3, "chords": -0.7}
"""For each semitone from the bass note before, and from the nearest note of the chord before."""
HOME, HOME_NATS = {"bass": 36, "chords": 60}, -0.12
"""The pitch that each stays near, and the nats for each semitone from it."""
NEW_NATS, GUIDE_NATS = 4.0, 1.0
"""For a tone of the chord that this stroke lacks; for any but its root and fifth where a bass plays these."""
HIGHEST_ROOT = 45
"""A root of the bass no higher than this (A2) has its fifth above it."""
UNDER_NATS = -9.0
"""For a root above that, for a bass note below the root that sounds, and for a note of a chord above the tune."""

_PITCHES = np.arange(128)


class Stroke(NamedTuple):
    """What a note is chosen by: the chord and the one after it, the tick, the letter of the line (None: between the hits), the
    pitches of this stroke so far and of the stroke before, the tune's lowest pitch of late, and those struck in the chord."""

    chord: Chord
    after: Chord | None
    tick: int
    sign: str | None
    here: Sequence[int]
    before: Sequence[int]
    tune: int
    struck: Sequence[int]


def bass(stroke: Stroke) -> np.ndarray:
    """(128,) nats for the next note of a bass."""
    chord = stroke.chord
    root = chord.symbol.bass or 0
    fifth = (root + 7) % 12
    tones, sign = chord.symbol.tones, stroke.sign
    roots = [pitch for pitch in stroke.struck if pitch % 12 == root]
    if not roots and sign is not None:
        sign = "r"
    others = tones - {root} or {root}
    bias = np.full(128, NOT_NATS, np.float32)
    leads = np.zeros(128, bool)
    changes = stroke.after is not None and stroke.after.symbol != chord.symbol
    if sign == "a" and changes and stroke.after is not None and chord.end - stroke.tick <= TICKS:
        leads = _leading(stroke.after.symbol, stroke.after.scale | chord.scale)
        bias[leads] = 0.0
    elif sign == "f":
        bias[pitches_of(frozenset({fifth} if fifth in tones else others))] = 0.0
    elif sign == "r":
        bias[pitches_of(frozenset({root}))] = 0.0
        bias[HIGHEST_ROOT + 1 :] += UNDER_NATS
    else:
        if sign is None:
            bias[pitches_of(chord.scale)] = PASSING_NATS
        bias[pitches_of(frozenset(tones if sign is None else others))] = 0.0
    if roots and sign != "r":
        bias[: min(roots)] += UNDER_NATS
    if stroke.before:
        bias += LEAP_NATS["bass"] * abs(_PITCHES - stroke.before[0])
    return bias + HOME_NATS * abs(_PITCHES - HOME["bass"])


def chords(stroke: Stroke, with_bass: bool) -> np.ndarray:
    """(128,) nats for the next note of a chord: tones that it lacks, near those of the chord before, below the tune. Without a
    bass in the band its own bass comes first, and the others lie above it."""
    symbol = stroke.chord.symbol
    bias = np.full(128, NOT_NATS, np.float32)
    if stroke.sign is None:
        bias[pitches_of(stroke.chord.scale)] = PASSING_NATS
    if not with_bass and not stroke.here and stroke.sign is not None:
        bias[pitches_of(frozenset({symbol.bass or 0}))] = 0.0
        return bias + 3 * HOME_NATS * abs(_PITCHES - (HOME["bass"] + 12))
    bias[pitches_of(symbol.tones)] = 0.0
    bias[pitches_of(symbol.tones - {pitch % 12 for pitch in stroke.here})] += NEW_NATS
    if with_bass:
        root = symbol.bass or 0
        bias[pitches_of(symbol.tones - {root, (root + 7) % 12})] += GUIDE_NATS
    elif stroke.here:
        bias[: min(stroke.here) + 3] += NOT_NATS
    bias[max(stroke.tune, HOME["chords"]) :] += UNDER_NATS
    before = stroke.before if with_bass else stroke.before[1:]
    if before:
        bias += LEAP_NATS["chords"] * abs(_PITCHES[:, None] - np.array(before)[None, :]).min(1)
    return bias + HOME_NATS * abs(_PITCHES - HOME["chords"])


def _leading(symbol: Symbol, scale: frozenset[int]) -> np.ndarray:
    """(128,) bool: a semitone from the bass of the next chord, or a whole tone of the scale."""
    target = symbol.bass
    if target is None:
        return np.zeros(128, bool)
    steps = {(target + step) % 12 for step in (-1, 1)} | ({(target - 2) % 12, (target + 2) % 12} & scale)
    return pitches_of(frozenset(steps))
