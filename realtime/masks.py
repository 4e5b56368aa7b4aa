"""What may be drawn at one step: the user's constraints, and what this moment allows. Pure functions of ticks.

A mask is a bias of -1e9, a leaning a bias of some nats; both are added to the model's logits before temperature, top-k and
top-p. That a pitch which still sounds is no choice is masked inside the graph, where the drawn time is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realtime.constraints import SLICES, Constraints
from realtime.contract import MASKED
from realtime.messages import Turn
from realtime.portrait import Portrait
from realtime.vocabulary import BEAT, HEADS, MELODY, TICKS, Beat, Role

MOST_NOTES = 4
"""How many notes sound together where nobody says, and there is no playing to go by."""
ALONG = (Role.ACCOMPANY, Role.HARMONISE)
"""The roles in which Antiphon plays while the player does."""
SILENT_BEAT_NATS = -2.0
"""An accompanist who is silent does not like to let another beat pass."""


class Moment(NamedTuple):
    """Where a step stands: its tick and beat, the first tick that may still be planned for (`floor`), how many notes the
    turn has so far, when each of Antiphon's pitches is free ((128,) absolute ticks), which keys the player holds ((128,) bool).
    """

    tick: int
    beat: Beat
    floor: int
    made: int
    release: np.ndarray
    keys_down: np.ndarray


class Masks:
    """The biases of every step. `portrait` is to be told what the player plays."""

    def __init__(self, constraints: Constraints) -> None:
        self.portrait = Portrait()
        self._constraints = constraints
        self._always = {role: constraints.bias(role) for role in Role}

    def bias(self, role: Role, turn: Turn | None, now: Moment) -> np.ndarray:
        """(228,) float32. Time runs forward, within the turn and the polyphony; the player's keys are the player's."""
        bias = self._always[role].copy()
        if turn is None:
            return bias
        constraints, beat = self._constraints, now.beat
        time, pitch = bias[SLICES["time"]], bias[SLICES["pitch"]]
        at = beat.start + np.arange(TICKS)
        allowed = at >= max(now.tick, turn.start)
        if turn.voices:
            allowed &= at == now.tick
        else:
            allowed &= (at >= now.floor) & (at < beat.start + beat.length)
            if turn.end is not None:
                allowed &= at + constraints.min_duration <= turn.end
        allowed &= (now.release[:, None] > at[None, :]).sum(0) < self._most_notes(role)
        time[:BEAT][~allowed] = MASKED
        if now.made == 0 and role != Role.ACCOMPANY and beat.start <= turn.start < beat.start + beat.length:
            time[BEAT] = MASKED  # an answer comes in with its turn; later it may rest as it likes
        if role == Role.ACCOMPANY and now.tick == beat.start and not (now.release > now.tick).any():
            time[BEAT] += SILENT_BEAT_NATS
        if role in ALONG:
            pitch[now.keys_down] = MASKED
        if constraints.follow and (not constraints.parts or MELODY in constraints.parts):
            pitch += self.portrait.leanings(role, now.keys_down, constraints.tonic is None)
        return bias

    def _most_notes(self, role: Role) -> int:
        """The polyphony: as set; else an answer has as many voices as the player plays at once."""
        follows = self._constraints.follow and role not in ALONG
        answered = self.portrait.voices() if follows else None
        return self._constraints.max_notes or answered or MOST_NOTES


def is_legal(choice: np.ndarray, bias: np.ndarray, release: np.ndarray) -> bool:
    """Whether a draw (5,) is a BEAT, or a note of which no field is masked and whose pitch is free by then.

    `release` (128,) in ticks from the start of the beat, as the drawn time is.
    """
    if choice[0] == BEAT:
        return True
    return (
        all(
            0 <= drawn < size and bias[SLICES[name]][int(drawn)] > MASKED / 2  # NaN is in no range
            for drawn, (name, size) in zip(choice, HEADS.items(), strict=True)
        )
        and release[int(choice[2])] <= choice[0]
    )
