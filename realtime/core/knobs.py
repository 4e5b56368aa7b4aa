"""The knobs: where they are, and the MIDI controllers that turn them; which parts of a band play, and with which feel."""

from __future__ import annotations

from realtime.core.dialogue import Feel
from realtime.core.plans import LONG_AGO
from realtime.music.controls import KNOBS, Controls
from realtime.music.vocabulary import PART_NAMES

FEEL_NAMES = ("ballad", "swing", "bossa", "rock", "waltz", "march")
ON = 64
"""A controller at this value or above is on."""


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


class Parts:
    """Controller `first_cc` says whether the first part of `PART_NAMES` plays, the controllers after it the others.

    `playing`: those that do, in order. Without a band, `parts` being empty, and with `first_cc` None nothing changes.
    """

    def __init__(self, parts: tuple[int, ...], first_cc: int | None) -> None:
        self.playing = parts
        self._first_cc = first_cc if parts else None

    def moved(self, number: int, value: int) -> int | None:
        """Controller `number` went to `value`, 0..127. Returns the part that has come in or fallen silent by that."""
        part = number - self._first_cc if self._first_cc is not None else -1
        if not 0 <= part < len(PART_NAMES) or (value >= ON) == (part in self.playing):
            return None
        self.playing = tuple(sorted({*self.playing} ^ {part}))
        return part


class Feels:
    """The feel of a band. `changes`: what holds, each from its tick on, in order; `passed`: all that was called."""

    def __init__(self, feel: str | None) -> None:
        self.changes = [Feel(LONG_AGO, feel)]
        self.passed: list[Feel] = []

    def at(self, tick: int) -> str | None:
        """The feel at a tick."""
        return next(change.feel for change in reversed(self.changes) if change.tick <= tick)

    def next(self, line: int) -> Feel:
        """From the bar line `line` on the next feel of `FEEL_NAMES`, after the last one none; called again before that, the one
        after it."""
        names = (None, *FEEL_NAMES)
        feel = Feel(line, names[(names.index(self.changes[-1].feel) + 1) % len(names)])
        if self.changes[-1].tick >= line:  # never played; `passed` may have later ticks, of before a jump
            self.changes.pop()
            self.passed.pop()
        self.changes.append(feel)
        self.passed.append(feel)
        return feel

    def jumped(self) -> None:
        """Song time goes on elsewhere: what was called last holds from now on."""
        self.changes = [Feel(LONG_AGO, self.changes[-1].feel)]
