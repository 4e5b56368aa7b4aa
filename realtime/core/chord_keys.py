"""Chords played by hand on a channel of their own: which keys make a chord, and when. Pure; times in host nanoseconds.

Keys that go down within `SETTLE_NS` of each other are one chord, struck or strummed. It is what is down, or was struck, when the
fingers have come to rest; keys that go up change nothing, so the last chord holds. With a pedal down, what is struck is added to
what it holds: a broken chord.
"""

from __future__ import annotations

SETTLE_NS = 60_000_000
"""A hand has come to rest when no key has gone down for so long."""
WHOLE = 3
"""So many keys are a chord of their own, also with a pedal down."""
SUSTAIN, DOWN = 64, 64
"""The pedal's controller, and the value from which on it is down."""


class ChordKeys:
    """The keys of one channel. `settle_ns`: when what was struck is a chord; None: nothing new was struck."""

    def __init__(self) -> None:
        self.settle_ns: int | None = None
        self._down: set[int] = set()
        self._before: set[int] = set()
        self._struck: set[int] = set()
        self._held: set[int] = set()
        self._pedal = False

    def key_down(self, pitch: int, stamp_ns: int) -> None:
        """A key went down."""
        if self.settle_ns is None:
            self._before, self._struck = set(self._down), set()
        self._struck.add(pitch)
        self._down.add(pitch)
        self.settle_ns = stamp_ns + SETTLE_NS

    def key_up(self, pitch: int) -> None:
        """A key went up."""
        self._down.discard(pitch)

    def control(self, number: int, value: int) -> None:
        """A controller moved: the pedal is the only one that counts."""
        if number == SUSTAIN:
            self._pedal = value >= DOWN
            if not self._pedal:
                self._held.clear()

    def take(self, now_ns: int) -> frozenset[int] | None:
        """The keys of the chord, once: at `settle_ns` or later, else None."""
        if self.settle_ns is None or now_ns < self.settle_ns:
            return None
        self.settle_ns = None
        keys = self._struck | (self._before & self._down)
        if self._pedal:
            keys = keys if len(self._struck) >= WHOLE else keys | self._held
            self._held = set(keys)
        return frozenset(keys)

    def clear(self) -> None:
        """Song time is elsewhere: nothing is down."""
        self.__init__()  # type: ignore[misc]
