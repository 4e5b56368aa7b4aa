"""The eight knobs with which a musician steers Antiphon while it plays, and the MIDI controllers that turn them. Pure.

Density, register, brightness, tension and polyphony (`realtime.music.attributes`) are -1 to 1, where 0 leaves it to the music; a
style is one of `attributes.STYLES`, or none. They reach the model through its context (`realtime.composing.latents`).
Besides,
independently of the guidance, they move the targets of the biases towards the player's register, density and number of voices
(`realtime.composing.masks`), and brightness and tension add a bias to the pitches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from realtime.errors import nearest
from realtime.music.attributes import ATTRIBUTES, CONTROLS, FIFTHS, MOST, SCALE, STYLES, controls

UNITS = 2.0
"""Control units at the end of a knob's range."""
BRIGHT_NATS, TENSE_NATS = 0.35, 1.5
"""At the end of a knob's range: for each step on the line of fifths; for a pitch class a quarter of the circle away."""
MIDDLE = 2
"""Steps on the line of fifths from a tonic to the middle of its major scale."""
MORE_VOICES = 2
"""Notes at once beyond the usual at the end of the knob's way."""
CENTRE, HIGHEST = 64, 127
KNOBS = (*ATTRIBUTES, "style", "guidance", "memory")
"""What the controllers turn, in order from the first number on."""


@dataclass(frozen=True, slots=True)
class Controls:
    """The positions of the knobs. `style`: an index of `STYLES`. `guidance`: how much plan and controls count in the context, 0
    (not at all) to 2, 1 being what the model was trained for. `memory`: how much of what was played is taken up, -1 (nothing)
    to 1 (as much as can be), 0 being what the model has learned (`realtime.composing.quoting`)."""

    density: float = 0.0
    register: float = 0.0
    brightness: float = 0.0
    tension: float = 0.0
    polyphony: float = 0.0
    style: int | None = None
    guidance: float = 1.0
    memory: float = 0.0

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

    # What the position of an attribute's knob means for the biases towards the player.

    @property
    def times_denser(self) -> float:
        """The factor on the number of notes."""
        return float(2.0 ** (self.density * UNITS * SCALE[ATTRIBUTES.index("density")]))

    @property
    def semitones(self) -> int:
        """How many semitones higher."""
        return round(self.register * UNITS * float(SCALE[ATTRIBUTES.index("register")]))

    def voices(self, usual: float) -> int:
        """How many notes at once there are to be where there would be `usual`: one at one end of the knob, two more at the
        other."""
        most = usual + MORE_VOICES * self.polyphony if self.polyphony > 0 else usual + (usual - 1) * self.polyphony
        return max(round(most), 1)

    def answering(self, usual: int) -> int:
        """How many notes answer one, where there would be at most `usual`: by polyphony, and by density."""
        return max(round(self.voices(usual) * self.times_denser), 1)

    @property
    def modal(self) -> bool:
        """Whether brightness or tension ask for other pitch classes."""
        return bool(self.brightness or self.tension)

    def colour(self, tonic: int) -> np.ndarray:
        """(128,) nats for each pitch: bright ones lie up the line of fifths from the tonic, tense ones far from the middle of
        its scale on the circle."""
        line = FIFTHS[(np.arange(128) - tonic) % 12]
        away = 1 - np.cos(2 * np.pi * (line - MIDDLE) / 12)
        nats: np.ndarray = (self.brightness * BRIGHT_NATS * line + self.tension * TENSE_NATS * away).astype(np.float32)
        return nats


NOTHING = np.zeros(CONTROLS, np.float32)
"""The vector of controls that are not set."""
AS_IT_IS = Controls()


class Amount(NamedTuple):
    """How much of a control is asked for: the amount at the beginning, and how much more at the end."""

    level: float = 0.0
    rise: float = 0.0

    def times(self, factor: float) -> Amount:
        """The amount times a factor."""
        return Amount(self.level * factor, self.rise * factor)

    def plus(self, other: Amount) -> Amount:
        """The sum of two amounts."""
        return Amount(self.level + other.level, self.rise + other.rise)

    def over(self, cells: int) -> np.ndarray:
        """(cells,) the amount in each."""
        return self.level + self.rise * (np.arange(cells) + 0.5) / cells


Wishes = Mapping[str, Amount]
"""What is asked for, by control: an attribute in units of `SCALE`, a style in shares of its direction."""


Preset = dict[str, Amount]
"""A named mix of controls: how much of each."""


def parse_preset(given: object) -> Preset:
    """Such as {"density": 1, "rise": True}: amounts of controls, which with `rise` grow over the bars. Raises ValueError."""
    known = (*ATTRIBUTES, *STYLES)
    names = [name for name in given if name != "rise"] if isinstance(given, dict) else []
    if not isinstance(given, dict) or not names:
        raise ValueError(f"allowed amounts of {', '.join(known)}, as in {{density: 0.5, tension: -0.3}}")
    if all(isinstance(amount, Amount) for amount in given.values()):
        return dict(given)
    rise = given.get("rise", False)
    if not isinstance(rise, bool):
        raise ValueError("rise: allowed true or false")
    for name in names:
        amount = given[name]
        if name not in known:
            raise ValueError(f"no control {name!r}{nearest(str(name), list(known))}; allowed {', '.join(known)}")
        if isinstance(amount, bool) or not isinstance(amount, int | float) or not -MOST <= amount <= MOST:
            raise ValueError(f"{name}: allowed {-MOST:g} to {MOST:g}")
    return {name: Amount(rise=given[name]) if rise else Amount(given[name]) for name in names}
