"""What a musician can steer Antiphon by while it plays: seven knobs, and the MIDI controllers that turn them. Pure.

Density, register, brightness, tension and polyphony (`realtime.attributes`) are -1 to 1, where 0 leaves it to the music; a
style is one of `attributes.STYLES`, or none. They reach the model through its context (`realtime.latents`), and where
Antiphon leans towards the player's own register, density or number of voices (`realtime.masks`), they move what it leans to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from realtime.attributes import ATTRIBUTES, CONTROLS, SCALE, STYLES, controls

UNITS = 2.0
"""Control units at the end of a knob's way."""
CENTRE, HIGHEST = 64, 127
KNOBS = (*ATTRIBUTES, "style", "guidance")
"""What the controllers turn, in order from the first number on."""


@dataclass(frozen=True, slots=True)
class Controls:
    """Where the knobs are. `style`: an index of `STYLES`. `guidance`: how much plan and controls count, 0 (not at all) to 2,
    1 being what the model was trained for."""

    density: float = 0.0
    register: float = 0.0
    brightness: float = 0.0
    tension: float = 0.0
    polyphony: float = 0.0
    style: int | None = None
    guidance: float = 1.0

    def turned(self, knob: int, value: int) -> Controls:
        """With the knob (an index of `KNOBS`) at a controller's value, 0..127. 64 is the middle: 0, of guidance 1. The styles
        have a band each, and 0 is none."""
        if KNOBS[knob] == "style":
            return replace(self, style=(value - 1) * len(STYLES) // HIGHEST if value else None)
        place = (value - CENTRE) / (CENTRE if value < CENTRE else HIGHEST - CENTRE)
        if KNOBS[knob] == "guidance":
            return replace(self, guidance=1.0 + place)
        turned: dict[str, Any] = {KNOBS[knob]: place}
        return replace(self, **turned)

    def vector(self) -> np.ndarray:
        """(18,) float32, see `attributes.controls`; zeros where nothing is set."""
        units = np.array([getattr(self, name) for name in ATTRIBUTES], np.float32) * UNITS
        return controls(np.where(units == 0, np.nan, units), self.style)

    # What an attribute's knob comes to, for the leanings towards the player.

    @property
    def times_denser(self) -> float:
        """Notes for each that there would be."""
        return float(2.0 ** (self.density * UNITS * SCALE[ATTRIBUTES.index("density")]))

    @property
    def semitones(self) -> int:
        """How much higher."""
        return round(self.register * UNITS * float(SCALE[ATTRIBUTES.index("register")]))

    @property
    def more_voices(self) -> int:
        """How many more notes at once."""
        return round(self.polyphony * UNITS * float(SCALE[ATTRIBUTES.index("polyphony")]))


NOTHING = np.zeros(CONTROLS, np.float32)
"""The vector of controls that are not set."""
AS_IT_IS = Controls()
