"""How far ahead of song time the plan of a turn is drawn. Pure; ticks where nothing else is said.

What the player does next calls for another plan, and what the one before had drawn is thrown away. So while the player plays,
notes are drawn only `NEAR_NS` before song time reaches them, and as far ahead as is set after `QUIET_TICKS` in which nothing
called for another plan. A note does not depend on when it is drawn, so the notes are the same. What lies before the
boundary of another plan and is not drawn yet is drawn first: only there may a note know what was called since.

A note that is held back, because the player is likely to strike at its onset, is drawn `DRAW_NS` before it is sent, while it
waits: on most beats the player has struck by then, and what had been drawn before would be thrown away, three steps of ten.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.core.dialogue import Turn
from realtime.core.plans import LONG_AGO
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.music.metre import TICKS

NEAR_NS = 80_000_000
"""A beat with a chord of six notes takes a slow machine 30 ms; the rest is for what else it does."""
DRAW_NS = 15_000_000
"""For each part: a beat with a chord of four notes takes a machine without AVX-512 10 ms. Where the player does not strike, a
slower one is late by what it needs beyond; where the player does, by all that it needs."""
FAR_STEP = TICKS
"""The plan is extended by so much at a time while the player does nothing."""
QUIET_TICKS = TICKS


class Lookahead:
    """See the module's docstring. `until`: the tick up to which the plan was asked for, or is known to be complete."""

    def __init__(
        self, ticks: int, tempo: TempoMap, hold_pulse: Callable[[int], int] = lambda tick: 0, parts: int = 1
    ) -> None:
        """`ticks`: how far ahead is planned while the player does nothing. `hold_pulse`: for how many pulses a note at a tick is
        held back because the player is likely to strike there. `parts`: how many parts may play."""
        self._far = ticks
        self._tempo = tempo
        self._hold_pulse = hold_pulse
        self._draw_ns = parts * DRAW_NS
        self.jump()

    def jump(self) -> None:
        """Song time stopped or goes on elsewhere: nothing was asked for."""
        self.until, self._quiet_from = 0, LONG_AGO

    def begin(self, tick: int, turn: Turn) -> int:
        """A turn begins, planned from `tick` on. Returns until when."""
        self.until = tick + self._far
        return self.bound(turn)

    def missing(self, boundary: int, turn: Turn) -> int | None:
        """A new plan from `boundary` on comes. Until when the old one has to be drawn first, so that nothing is missing before
        the boundary; None: it reaches so far."""
        end = boundary if turn.end is None else min(boundary, turn.end)
        if self.until >= end:
            return None
        self.until = end
        return end

    def reached(self, until: int) -> None:
        """The composer says that the newest plan is complete up to there: what comes next is drawn, and lies no earlier."""
        self.until = max(self.until, until)

    def renewed(self, boundary: int, turn: Turn | None, struck: int | None = None) -> int:
        """There is a new plan from `boundary` on; `struck`: because of what the player did at this tick. Returns until when."""
        if struck is not None:
            self._quiet_from = struck + QUIET_TICKS
            self.until = boundary
        self.until = max(self.until, boundary)
        while self._due_pulse(self.until) <= boundary * PULSES_PER_TICK:
            self.until += 1
        return self.bound(turn)

    def bound(self, turn: Turn | None) -> int:
        """The turn may have another end now: nothing is planned beyond it. Returns until when."""
        if turn is not None and turn.end is not None:
            self.until = min(self.until, turn.end)
        return self.until

    def extended(self, pulse: int, turn: Turn) -> int | None:
        """At `pulse`: until when the plan is to be extended; None where it reaches far enough, or to the turn's end."""
        before, quiet = self.until, pulse >= self._quiet_from * PULSES_PER_TICK
        while (due := self.next_pulse(turn)) is not None and due <= pulse:
            self.until += FAR_STEP if quiet else 1
        self.bound(turn)
        return self.until if self.until > before else None

    def next_pulse(self, turn: Turn) -> int | None:
        """When the plan is to be extended next if nothing calls for another; None: it reaches to the turn's end."""
        if turn.end is not None and self.until >= turn.end:
            return None
        far_pulse = max(self._quiet_from, self.until - self._far) * PULSES_PER_TICK
        return min(self._due_pulse(self.until), far_pulse)

    def _due_pulse(self, tick: int) -> int:
        """The pulse at which a note at `tick` is to be drawn at the latest; never farther ahead than is set."""
        hold_pulse = self._hold_pulse(tick)
        sent_ns = self._tempo.ns_at(tick * PULSES_PER_TICK + hold_pulse)
        due_pulse = self._tempo.pulse_at(sent_ns - (self._draw_ns if hold_pulse else NEAR_NS))
        return max(due_pulse, (tick - self._far) * PULSES_PER_TICK)
