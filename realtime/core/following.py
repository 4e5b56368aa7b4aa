"""Song time follows the beat that is heard in the player's own notes (`listening.Listener`).

Until the beat is established the phrase is noted anew whenever it is heard otherwise: its first note is laid where the beat says,
and everything that was played since is to be played to the engine again. From then on the tempo map is only steered, so that song
time never jumps.
"""

from __future__ import annotations

from realtime import midi
from realtime.core.listening import Beat, Listener
from realtime.core.tempo import PPQN, TempoMap

EARLIEST, LATEST = -0.75, 0.25
"""Where the first note may lie about its downbeat, in beats: before it as a pick-up, after it as a late one."""
PULSES_OFF, TEMPO_OFF = PPQN // 10, 0.03
"""So far may the map be off and still be steered."""
MOST = 512
"""A phrase of more messages is not noted anew."""
CATCH_UP = 1.5
"""To get where it should be, song time runs at most so much faster or slower."""

Played = tuple[bytes, int]
"""(message, host ns)."""


class TempoFollower:
    """Told of what the player plays; it moves `tempo`, on the thread that calls it."""

    def __init__(self, tempo: TempoMap) -> None:
        self._tempo = tempo
        self._listener = Listener(tempo.bpm_at(0))
        self._phrase: list[Played] = []
        self._line_pulse = 0
        self._begun = False

    @property
    def settled(self) -> bool:
        """Whether the beat is established, and what was played keeps its place."""
        return self._listener.settled

    def begin(self, line_pulse: int) -> None:
        """The player begins anew: what comes next is the downbeat at `line_pulse`, a bar line."""
        self._listener.restart()
        self._phrase.clear()
        self._line_pulse = line_pulse
        self._begun = True

    def expect(self, period_ns: float) -> None:
        """The player has tapped: a beat is this long."""
        self._listener.expect(period_ns)

    def heard(self, message: bytes, stamp_ns: int, bar_pulses: int) -> list[Played]:
        """The player played `message`. Returns what is to be played again because song time has changed, or nothing."""
        if not self._phrase and not self._begun and not midi.is_note_on(message):
            return []  # a pedal before the first note
        if not self.settled and len(self._phrase) < MOST:
            self._phrase.append((message, stamp_ns))
        if not midi.is_note_on(message):
            return []
        beat = self._listener.onset(stamp_ns, message[2])
        if beat is None:
            return []
        if self._listener.settled or self._fits(beat, stamp_ns) or len(self._phrase) == MOST:
            steer(self._tempo, beat, stamp_ns)
            return []
        first_ns = self._phrase[0][1]
        self._tempo.locate(first_ns, self._first_pulse(beat, bar_pulses))
        self._tempo.steer(first_ns, beat.period_ns / PPQN)
        return list(self._phrase)

    def _first_pulse(self, beat: Beat, bar_pulses: int) -> int:
        """Where the first note lies. A pick-up begins a bar later, so that song time has no negative pulses."""
        place = (self._phrase[0][1] - beat.ns) / beat.period_ns
        pulse = round(((place - EARLIEST) % 1 + EARLIEST) * PPQN)
        return self._line_pulse + pulse + (bar_pulses if pulse < 0 else 0)

    def _fits(self, beat: Beat, stamp_ns: int) -> bool:
        """Whether song time is nearly where the beat says."""
        apart = off_beat(self._tempo, beat, stamp_ns)
        bpm = self._tempo.bpm_at(self._tempo.pulse_at(stamp_ns))
        return abs(apart) <= PULSES_OFF and abs(beat.bpm / bpm - 1) <= TEMPO_OFF


def off_beat(tempo: TempoMap, beat: Beat, ns: int, pulses: int = PPQN) -> float:
    """By how many pulses song time at `ns` is beyond the nearest place that `beat` allows, a beat of so many pulses; negative: it
    is behind."""
    wanted = (ns - beat.ns) / beat.period_ns * pulses
    return float((tempo.pulse_at(ns) - wanted + pulses / 2) % pulses - pulses / 2)


def steer(tempo: TempoMap, beat: Beat, ns: int, pulses: int = PPQN) -> None:
    """From `ns` on let song time approach `beat`, of so many pulses, be on it after half a beat, and go on in its tempo."""
    ns_per_pulse = beat.period_ns / pulses
    arrival_ns = ns + round(beat.period_ns / 2)
    wanted = (arrival_ns - ns) / max(pulses / 2 - off_beat(tempo, beat, ns, pulses), 1)
    tempo.steer(ns, min(max(wanted, ns_per_pulse / CATCH_UP), ns_per_pulse * CATCH_UP))
    tempo.steer(arrival_ns, ns_per_pulse)
