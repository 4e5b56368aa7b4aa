"""The register: an answer spreads over what the player played, instead of staying on top of it. Pure.

A model that has played high goes on high. So what counts is how many of this turn's notes lie near each pitch, against how
many would if they were spread like the player's. Besides, the knob for register pulls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.music.controls import Controls
from realtime.music.vocabulary import Role

WIDTH = 4.0
"""Semitones: what counts as near (the standard deviation of a bell curve)."""
MISSING_NATS, MOST_MISSING_NATS = 3.0, 8.0
"""For a pitch, by each note that is missing near it; the same against it for each that is too many."""
NARROW, WIDE = 12, 24
"""Semitones between the player's lower and upper tenth: up to the first, register is left to the model; from the second on it is
followed fully."""

MIDDLE_PITCH, TILT_NATS, TILT_ALONG_NATS = 64, 0.2, 0.065
"""With the knob for register at its end: for each semitone up or down."""
BELOW, ALONG_WIDTH = 15, 4.0
"""The chords of an accompaniment lie so many semitones below the tune. With the knob for register turned they are drawn by a
bell curve of that standard deviation to where they are to lie."""

_apart = np.arange(128)[:, None] - np.arange(128)[None, :]
_NEAR = np.exp(-0.5 * (_apart / WIDTH) ** 2).astype(np.float32)


def wide(pitches: Sequence[int]) -> float:
    """How much, 0 to 1, the player's register is to be followed."""
    if not pitches:
        return 0.0
    lower, upper = np.quantile(pitches, (0.1, 0.9))
    return float(np.clip((upper - lower - NARROW) / (WIDE - NARROW), 0.0, 1.0))


def spread_bias(player: Sequence[int], own: Sequence[int], weight: float, higher: int = 0) -> np.ndarray:
    """(128,) nats. `player`: the pitches to spread like, moved by `higher` semitones; `own`: those of this turn so far."""
    wanted = np.bincount(np.clip(np.asarray(player) + higher, 0, 127), minlength=128) * ((len(own) + 1) / len(player))
    missing = _NEAR @ (wanted - np.bincount(np.asarray(own, int), minlength=128))
    bias: np.ndarray = np.clip(weight * MISSING_NATS * missing, -MOST_MISSING_NATS, MOST_MISSING_NATS).astype(
        np.float32
    )
    return bias


def pull(role: Role, controls: Controls, tune: float | None) -> np.ndarray:
    """(128,) nats: the pull of the knob for register. tune: the mean pitch of the player's notes, where chords go along with
    them. A harmony is moved with its range."""
    pitches = np.arange(128, dtype=np.float32)
    if role != Role.ACCOMPANY or tune is None:
        nats = {Role.ACCOMPANY: TILT_ALONG_NATS, Role.HARMONISE: 0.0}.get(role, TILT_NATS)
        return controls.register * nats * (pitches - MIDDLE_PITCH)
    away = (pitches - (tune - BELOW + controls.semitones)) / ALONG_WIDTH
    bell: np.ndarray = -0.5 * abs(controls.register) * away**2
    return bell
