"""What Antiphon may play, as biases on the model's logits before temperature, top-k and top-p.

A mask is a bias of -1e9. Each constraint is one line of `Constraints.bias`, so that it is easy to see what is forbidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from realtime.composing.contract import DRAWN, LOGITS, MASKED
from realtime.music.keys import SCALES
from realtime.music.vocabulary import ACCOMPANIMENT, ALONG, DRUMS, DURATION_TICKS, MELODY, MODEL_PART, OPEN, Role

_ends = np.cumsum(list(DRAWN.values())).tolist()
SLICES: dict[str, slice] = {
    name: slice(end - size, end) for (name, size), end in zip(DRAWN.items(), _ends, strict=True)
}
"""Where each head lies in the 337 logits and biases."""


class Draw(NamedTuple):
    """Temperature, top-p, and top-k (0: off)."""

    temperature: float
    top_p: float
    top_k: int = 0


PRESETS: dict[str, dict[Role, Draw]] = {
    "usual": {
        Role.CONTINUE: Draw(0.9, 0.95),
        Role.TRADE: Draw(0.9, 0.95),
        Role.ACCOMPANY: Draw(1.0, 0.98),
        Role.HARMONISE: Draw(0.8, 0.9),
    },
    "strict": {
        Role.CONTINUE: Draw(0.8, 0.9),
        Role.TRADE: Draw(0.8, 0.9),
        Role.ACCOMPANY: Draw(0.85, 0.9),
        Role.HARMONISE: Draw(0.6, 0.9),
    },
    "free": {
        Role.CONTINUE: Draw(1.2, 0.98),
        Role.TRADE: Draw(1.2, 0.98),
        Role.ACCOMPANY: Draw(1.1, 0.98),
        Role.HARMONISE: Draw(1.0, 0.95),
    },
}
"""How choices are drawn, by preset and role; a role that is not listed is drawn as CONTINUE."""


CHORD_DRAW, CHORD_DRAW_ALONG = Draw(0.92, 0.97), Draw(0.3, 0.9)
"""How chords are drawn: more surely where the player's notes decide which chord is right. A chord comes again in most beats, so
one that is drawn too surely stays for bars, and the notes with it; one that is drawn too freely leaves no form. In continuations
of 36 held-out prompts a bar shares .33 of its notes with the bar four before at a temperature of 0.85, .21 at 1.0 (real music
.25). With 0.95 for the notes a tune that the player breaks off is taken up less surely than with 0.9 (F1 .50 and .53)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a choice is drawn: as in the preset, except where a value is given. `cool` multiplies the temperature at the end of a
    phrase (1: no change over the phrase)."""

    preset: str = "usual"
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    cool: float = 0.85

    def rows(self, progress: float, role: Role = Role.CONTINUE) -> np.ndarray:
        """(6, 3) float32 temperature, top-k, top-p per head, at `progress` 0..1 through the phrase."""
        draw = PRESETS[self.preset].get(role, PRESETS[self.preset][Role.CONTINUE])
        temperature = draw.temperature if self.temperature is None else self.temperature
        top_k = draw.top_k if self.top_k is None else self.top_k
        top_p = draw.top_p if self.top_p is None else self.top_p
        temperature *= 1.0 + (self.cool - 1.0) * min(max(progress, 0.0), 1.0)
        rows = np.empty((len(DRAWN), 3), np.float32)
        rows[:-1] = temperature, top_k, top_p
        chord = CHORD_DRAW_ALONG if role in ALONG else CHORD_DRAW
        rows[-1] = chord.temperature, chord.top_k, chord.top_p
        return rows


@dataclass(frozen=True, slots=True)
class Constraints:
    """What may be played. Key: tonic pitch class 0..11 and scale degrees, or None. Range: lowest and highest pitch.

    `out_of_key` is added to pitches outside the scale (nats; -1e9 forbids them). Durations in ticks. `max_notes` is the
    polyphony; None: as many as the player plays at once. `parts`, each 0..4; none: the tune, or the accompaniment in the roles
    `ALONG`. `follow`: add the biases towards the player's own playing (`player_profile.PlayerProfile`) and, with `closes`,
    towards an end of the phrase at the end of the turn (`masks.Masks`). `rate`: the density to aim at, in notes a quarter, where
    a file gives it. `kit`: the drums that may be played; none: all. `chords_strict`: hold the notes to
    given chords by masks, else by biases (`voicing.Voicing`); where a chord is given, its scale counts, and not the key.
    `band`: each of the `parts` plays by its own rules (`band`), else all by what any of them may do; `feel`, a name of
    `arrangement.FEELS`, says what a band strikes where.
    """

    parts: tuple[int, ...] = ()
    tonic: int | None = None
    scale: tuple[int, ...] = SCALES["chromatic"]
    out_of_key: float = MASKED
    lowest: int = 21
    highest: int = 108
    max_notes: int | None = None
    min_duration: int = 1
    max_duration: int = 384
    follow: bool = True
    closes: bool = True
    rate: float | None = None
    kit: tuple[int, ...] = ()
    chords_strict: bool = True
    band: bool = False
    feel: str | None = None

    def bias(self, role: Role) -> np.ndarray:
        """(337,) float32, what stays the same from step to step."""
        along = role in ALONG
        parts = self.parts or (ACCOMPANIMENT if along else MELODY,)
        bias = np.zeros(LOGITS, np.float32)
        part, pitch, duration = bias[SLICES["part"]], bias[SLICES["pitch"]], bias[SLICES["duration"]]
        part[:] = MASKED
        part[[MODEL_PART + p for p in parts]] = 0.0
        if DRUMS not in parts:  # a drum's number is no pitch
            pitch[: self.lowest] = MASKED
            pitch[self.highest + 1 :] = MASKED
            if self.tonic is not None:
                inside = np.isin((np.arange(128) - self.tonic) % 12, self.scale)
                pitch[~inside] = np.minimum(pitch[~inside], self.out_of_key)
        elif self.kit:
            pitch[~np.isin(np.arange(128), self.kit)] = MASKED
        duration[OPEN] = MASKED  # only a player's note is open
        duration[:OPEN][(self.min_duration > DURATION_TICKS) | (self.max_duration < DURATION_TICKS)] = MASKED
        return bias
