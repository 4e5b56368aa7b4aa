"""Follows MIDI clock: takes 24 clock messages a quarter note, each with its time stamp, and steers a tempo map by them.

Two parts. A second-order delay-locked loop (phase and period) estimates when each clock really was due, whatever its
stamp says: see F. Adriaensen, "Using a DLL to filter time" (2005). Its gains begin as those of a least-squares line
through all clocks so far and stop shrinking at `_MEMORY_CLOCKS` (the expanding-memory alpha-beta filter: N. Morrison,
"Introduction to Sequential Smoothing and Prediction", 1969), so it locks within a beat and still follows a changing tempo
afterwards. Only the slope of the tempo map is changed to meet the filtered clocks: its position jumps only where the
transport jumps.

Stamps and `now_ns` are host nanoseconds. One thread at a time; no clock is read here.
"""

from collections import deque
from enum import Enum

from realtime.core.tempo import PULSES_PER_TICK, TICKS_PER_QUARTER, TempoMap
from realtime.midi import CLOCK, CONTINUE, SONG_POSITION, START, STOP

LOST_NS = 1_000_000_000
SLOWEST_BPM = 10
"""A slower clock is not followed: between two of its messages too much happens."""

_PULSES_PER_SONG_POSITION = 6 * PULSES_PER_TICK
_NS_PER_TICK_AT_1_BPM = 60e9 / TICKS_PER_QUARTER
_SHORTEST_PERIOD_NS = _NS_PER_TICK_AT_1_BPM / 999
_LONGEST_PERIOD_NS = _NS_PER_TICK_AT_1_BPM / SLOWEST_BPM

# A longer memory lets less jitter through, a shorter one follows a tempo ramp more closely. With 17 clocks,
# jitter of +-3 ms leaves a phase error of 1.8 ms (p99), and a map that follows a ramp of 90 -> 140 bpm in four bars trails
# it by 1.9 ms.
_MEMORY_CLOCKS = 17

# A clock that is off by more than this (or by more than a quarter of the period, where that is longer) is an outlier: a
# hiccup of the driver or the sender. Its error is clipped to the limit. So many outliers in a row, all early or all late,
# are a step in tempo, and the new tempo is measured from just these clocks.
_OUTLIER_NS = 8e6
_OUTLIER_CLOCKS = 4

# So many long intervals in a row are no hiccup.
_SLOW_CLOCKS = 3

# To make up for a phase error, the map runs at no less than half and no more than twice the tempo.
_CATCH_UP = 2.0


class TransportChange(Enum):
    """What a message did to the transport."""

    START = "start"
    CONTINUE = "continue"
    STOP = "stop"
    LOCATE = "locate"


class ClockFollower:
    """Steers the given tempo map so that it follows MIDI clock.

    `running`: the position moves, from the first clock after Start or Continue until Stop, lost clock or not.
    `position_pulse`: the pulse of the next clock (while stopped: of the first clock after a Continue). For the present
    position, ask the map.
    While stopped the map goes on at the last tempo, but its position means nothing.

    A sender may have started before anybody listened. Where `bar_clocks` clocks have come and no Start, Continue or Stop, the
    position is `unplaced`: it begins with `begin`, or with the next song position; what the sender says later counts more.
    """

    def __init__(self, tempo_map: TempoMap, bar_clocks: int = 96) -> None:
        self.running = False
        self.placed_by_others = False
        """Whether the position began without a Start or Continue."""
        self.position_pulse = 0
        self._map = tempo_map
        self._bar_clocks = bar_clocks
        self._untold: int | None = 0  # clocks since the first; None once the sender has started, stopped or been placed
        self._said_pulse: int | None = None  # the song position that was said since
        self._anchor_next = False  # after Start or Continue: the next clock is at position_pulse, and sets it running
        self._stamps_ns: deque[int] = deque(maxlen=_OUTLIER_CLOCKS)
        self._period_ns = _bounded(_NS_PER_TICK_AT_1_BPM / tempo_map.bpm_at(0))
        self._due_ns = 0.0  # when the next clock is due
        self._phase_clocks = 0  # clocks since the phase was measured anew; the next one: since the period was
        self._period_clocks = 0
        self._last_ns: int | None = None
        self._slow_clocks = 0  # in a row
        self._outliers = 0  # outliers in a row: counted upwards if late, downwards if early

    @property
    def waiting(self) -> bool:
        """Whether the position stands at `position_pulse` until the next clock: after Start, Continue, or a jump."""
        return self._anchor_next

    @property
    def bpm(self) -> float:
        """The filtered tempo. The tempo of the map varies more, because it also corrects the phase."""
        return _NS_PER_TICK_AT_1_BPM / self._period_ns

    @property
    def too_slow(self) -> bool:
        """Whether the last clocks came more slowly than can be followed."""
        return self._slow_clocks >= _SLOW_CLOCKS

    @property
    def unplaced(self) -> bool:
        """Whether clocks have come for a bar, and nothing said where the song is."""
        return self._untold is not None and self._untold >= self._bar_clocks

    def begin(self, ns: int, pulse: int) -> None:
        """Where the position is unplaced: the clock nearest to host time `ns` is at `pulse`, and the position moves."""
        last_ns = round(self._due_ns - self._period_ns)
        is_last = ns - last_ns < self._period_ns / 2
        self._map.locate(last_ns if is_last else round(self._due_ns), pulse)
        self.position_pulse = pulse + (PULSES_PER_TICK if is_last else 0)
        self.running = self.placed_by_others = True
        self._untold = None

    def lost(self, now_ns: int) -> bool:
        """Whether no clock came during the last second. Until the next one the map keeps its tempo."""
        return not self._stamps_ns or now_ns - self._stamps_ns[-1] > LOST_NS

    def handle(self, message: bytes, stamp_ns: int) -> TransportChange | None:
        """Take one canonical message with its stamp. Returns what it did to the transport; other messages are ignored.

        After Start, Continue or a jump the map already stands just before the new position, which the next clock fixes.
        Returns None where nothing changed: also for a Continue while running, and for a song position that the next clock
        has anyway.
        """
        status = message[0]
        if status == CLOCK:
            self._clock(stamp_ns)
        elif status == SONG_POSITION:
            return self._jump((message[1] | message[2] << 7) * _PULSES_PER_SONG_POSITION, stamp_ns)
        elif status in (START, CONTINUE, STOP):
            said_pulse, self._said_pulse = self._said_pulse, None
            self._untold, self.placed_by_others = None, False
            if status == START:
                self._anchor(0, stamp_ns)
                self.running = False
                return TransportChange.START
            if status == STOP:
                self.running = self._anchor_next = False
                return TransportChange.STOP
            if not self.running or said_pulse is not None:
                self._anchor(self.position_pulse if said_pulse is None else said_pulse, stamp_ns)
                return TransportChange.CONTINUE
        return None

    def _jump(self, pulse: int, stamp_ns: int) -> TransportChange | None:
        if self.unplaced or self.placed_by_others:  # the sender may stand there, and continue later
            self._said_pulse = pulse
        if self.unplaced:
            self._anchor(pulse, stamp_ns)
            self._untold, self.placed_by_others = None, True
            return TransportChange.CONTINUE
        if pulse == self.position_pulse:
            return None
        if self.running or self._anchor_next:
            self._anchor(pulse, stamp_ns)
        self.position_pulse = pulse
        return TransportChange.LOCATE

    def _anchor(self, pulse: int, stamp_ns: int) -> None:
        """Let the next clock be `pulse`. Until it comes, the map expects it one period from now."""
        self.position_pulse = pulse
        self._anchor_next = True
        self._map.locate(stamp_ns + round(self._period_ns), pulse)

    def _clock(self, stamp_ns: int) -> None:
        lost = self.lost(stamp_ns)
        if self._untold is not None:
            self._untold = 1 if lost else self._untold + 1
        slow = self._last_ns is not None and stamp_ns - self._last_ns > 1.1 * _LONGEST_PERIOD_NS
        self._slow_clocks = self._slow_clocks + 1 if slow else 0
        self._last_ns = stamp_ns
        if self._anchor_next:
            # Many senders restart their clock with Start, so the clocks before it say nothing of the phase.
            self._begin_phase(stamp_ns)
            self._map.locate(stamp_ns, self.position_pulse)
            self._anchor_next, self.running = False, True
        elif lost:
            # The sender has most likely gone on counting, and so has the map: this is the clock nearest to its position.
            self._begin_phase(stamp_ns)
            if self.running:
                self.position_pulse = round(self._map.position_at(stamp_ns) / PULSES_PER_TICK) * PULSES_PER_TICK
        else:
            self._track(stamp_ns)
        self._stamps_ns.append(stamp_ns)
        if self.running:
            self.position_pulse += PULSES_PER_TICK
            self._steer_map(stamp_ns)
        else:
            self._map.steer(stamp_ns, self._period_ns / PULSES_PER_TICK)

    def _begin_phase(self, stamp_ns: int) -> None:
        """Measure the phase anew, from this stamp alone. The period is kept."""
        self._due_ns = stamp_ns + self._period_ns
        self._phase_clocks = 1
        self._period_clocks = max(self._period_clocks, 1)
        self._outliers = 0
        self._stamps_ns.clear()  # no interval reaches across a gap or a jump

    def _track(self, stamp_ns: int) -> None:
        """One step of the delay-locked loop: correct phase and period by the error of this clock."""
        error_ns = stamp_ns - self._due_ns
        if self._period_clocks >= _OUTLIER_CLOCKS:  # with fewer clocks the period is not known well enough
            limit_ns = max(_OUTLIER_NS, self._period_ns / 4)
            if error_ns > limit_ns:
                self._outliers = max(self._outliers, 0) + 1
            elif error_ns < -limit_ns:
                self._outliers = min(self._outliers, 0) - 1
            else:
                self._outliers = 0
            if abs(self._outliers) >= _OUTLIER_CLOCKS:
                self._begin_tempo(stamp_ns)
                return
            error_ns = min(max(error_ns, -limit_ns), limit_ns)
        self._phase_clocks = min(self._phase_clocks + 1, _MEMORY_CLOCKS)
        self._period_clocks = min(self._period_clocks + 1, _MEMORY_CLOCKS)
        alpha = 2 * (2 * self._phase_clocks - 1) / (self._phase_clocks * (self._phase_clocks + 1))
        beta = 6 / (self._period_clocks * (self._period_clocks + 1))
        self._period_ns = _bounded(self._period_ns + beta * error_ns)
        self._due_ns += alpha * error_ns + self._period_ns

    def _begin_tempo(self, stamp_ns: int) -> None:
        """A step in tempo: measure the period from the last few clocks alone."""
        self._period_ns = _bounded((stamp_ns - self._stamps_ns[0]) / len(self._stamps_ns))
        self._due_ns = stamp_ns + self._period_ns
        self._phase_clocks = self._period_clocks = len(self._stamps_ns) + 1
        self._outliers = 0

    def _steer_map(self, stamp_ns: int) -> None:
        """Steer so that the map reaches the next clock's pulse when that clock is due, and keeps the tempo after it."""
        arrival_ns = max(round(self._due_ns), stamp_ns + round(self._period_ns / _CATCH_UP))
        left_pulses = self.position_pulse - self._map.position_at(stamp_ns)
        ns_per_pulse = self._period_ns / PULSES_PER_TICK
        slowest = ns_per_pulse * _CATCH_UP
        wanted = (arrival_ns - stamp_ns) / left_pulses if left_pulses > 0 else slowest
        self._map.steer(stamp_ns, min(max(wanted, ns_per_pulse / _CATCH_UP), slowest))
        self._map.steer(arrival_ns, ns_per_pulse)


def _bounded(period_ns: float) -> float:
    """Within 10..999 bpm, whatever the stamps say."""
    return min(max(period_ns, _SHORTEST_PERIOD_NS), _LONGEST_PERIOD_NS)
