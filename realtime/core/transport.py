"""The transport: whether song time moves, where it is and at what tempo.

At an internal tempo the player's first note starts it, and is a downbeat; so is the first note after a long rest.
With MIDI clock the sender starts, stops and moves it. One that was started before anybody listened is joined at the player's
first note, or at the next song position.
"""

from __future__ import annotations

from realtime.core.clocksync import ClockFollower, TransportChange
from realtime.core.tempo import PULSES_PER_TICK, TempoMap


class Transport:
    """`rolling`: song time moves, or will with the next MIDI clock. `follower` is None at an internal tempo."""

    def __init__(self, tempo: TempoMap, follow_clock: bool, bar_ticks: int = 96) -> None:
        self.tempo = tempo
        self.follower = ClockFollower(tempo, bar_ticks) if follow_clock else None
        self.rolling = False
        self._tick = 0

    def downbeat(self, stamp_ns: int, tick: int) -> None:
        """Song time starts, or goes on, from `tick`, a bar line, at host time `stamp_ns`: at an internal tempo, or with a MIDI
        clock that nobody has started."""
        self.rolling = True
        self._tick = tick
        if self.follower is not None:
            self.follower.begin(stamp_ns, tick * PULSES_PER_TICK)
        else:
            self.tempo.locate(stamp_ns, tick * PULSES_PER_TICK)

    def relocated(self, tick: int) -> None:
        """At an internal tempo: the tempo map was moved, and song time goes on from `tick`."""
        self._tick = tick

    def handle(self, message: bytes, stamp_ns: int) -> TransportChange | None:
        """Take one system message. Returns what it changed; at an internal tempo, none changes anything."""
        if self.follower is None:
            return None
        change = self.follower.handle(message, stamp_ns)
        if change in (TransportChange.START, TransportChange.CONTINUE):
            self.rolling = True
        elif change is TransportChange.STOP:
            self.rolling = False
        return change

    @property
    def waiting(self) -> bool:
        """Whether song time stands until the next MIDI clock, however late it comes."""
        return self.follower is not None and self.follower.waiting

    def pulse_at(self, ns: int) -> int:
        """The pulse at host time `ns`. While song time waits for a clock, it does not get beyond that clock's pulse."""
        pulse = self.tempo.pulse_at(ns)
        return (
            min(pulse, self.follower.position_pulse) if self.follower is not None and self.follower.waiting else pulse
        )

    def next_tick(self) -> int:
        """The tick from which song time goes on after a change: with MIDI clock, the one that the next clock will be."""
        return self.follower.position_pulse // PULSES_PER_TICK if self.follower is not None else self._tick

    def bpm_at(self, pulse: int) -> float:
        """The tempo to play at from `pulse` on: with MIDI clock, the filtered one."""
        return self.follower.bpm if self.follower is not None else self.tempo.bpm_at(pulse)
