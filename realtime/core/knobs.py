"""The knobs: where they are, and the MIDI controllers that turn them."""

from __future__ import annotations

from realtime.music.controls import KNOBS, Controls


class Knobs:
    """Controller `first_cc` turns the first of `controls.KNOBS`, the controllers after it the others, in order.

    With `first_cc` None they stay where they are.
    """

    def __init__(self, controls: Controls, first_cc: int | None) -> None:
        self.controls = controls
        self._first_cc = first_cc

    def turn(self, number: int, value: int) -> bool:
        """Controller `number` went to `value`, 0..127. Returns whether it belongs to a knob."""
        if self._first_cc is None or not 0 <= number - self._first_cc < len(KNOBS):
            return False
        self.controls = self.controls.turned(number - self._first_cc, value)
        return True
