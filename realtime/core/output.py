"""The way out: what is due, and the note-offs of all that sounds, in the order of sending."""

from __future__ import annotations

from realtime.core.ledger import Ledger
from realtime.core.metronome import Click
from realtime.core.scheduler import Scheduler, Sent
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.midi import channel, is_note_on

SHORTEST_TICKS = 3
SHORTEST_PULSES = SHORTEST_TICKS * PULSES_PER_TICK
"""A note that has to end sounds so long at least: shorter, it would be a click."""


class Output:
    """The scheduler of planned notes, the ledger of sounding ones, and the messages that wait to be taken and sent.

    A note-on that is due since more than `late_ns` is dropped. `last_pulse`: when the last message was due; None where song
    time is elsewhere since.
    """

    def __init__(self, tempo: TempoMap, late_ns: int, click: Click | None = None) -> None:
        self.ledger = Ledger()
        self.scheduler = Scheduler(self.ledger)
        self.click = click
        self._tempo = tempo
        self._late_ns = late_ns
        self._waiting: list[Sent] = []
        self.last_pulse: int | None = None
        self._onset_pulse: int | None = None
        """The onset of the last note that was sent; None as before."""
        self._struck_pulse: dict[tuple[int, int], int] = {}

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting)

    def collect_due(self, now_ns: int) -> None:
        """Turn what is due into messages. From then on the ledger knows when its notes end."""
        pulse = self._tempo.pulse_at(now_ns)
        for click in self.click.due(pulse) if self.click is not None else ():
            self.scheduler.plan(click)
        due = self.scheduler.due(pulse, pulse - self._tempo.pulse_at(now_ns - self._late_ns))
        self._waiting += due
        for sent in due:
            self.last_pulse = sent.pulse
            if is_note_on(sent.message):
                self._onset_pulse = sent.pulse
                self._struck_pulse[channel(sent.message), sent.message[1]] = sent.pulse

    def next_pulse(self) -> int | None:
        """When there is something to collect next; None: nothing is planned, and nothing sounds."""
        pulses = [self.scheduler.next_pulse(), self.click.next_pulse() if self.click is not None else None]
        return min((pulse for pulse in pulses if pulse is not None), default=None)

    def unsent_from(self, tick: int) -> int:
        """The first tick from `tick` on with no note of Antiphon's sent: what is planned there can still be drawn anew."""
        return tick if self._onset_pulse is None else max(tick, self._onset_pulse // PULSES_PER_TICK + 1)

    def end_key(self, key: tuple[int, int], pulse: int) -> None:
        """End one sounding note, (channel, pitch), at `pulse`, or a little later if it has only just begun; never later than it
        would end anyway."""
        self.ledger.end_key(*key, max(pulse, self._struck_pulse.get(key, pulse) + SHORTEST_PULSES))

    def begun_by(self, pulse: int) -> list[tuple[int, int]]:
        """The notes, (channel, pitch), that sound and have begun at `pulse` or before."""
        return [key for key in self.ledger.sounding() if self._struck_pulse.get(key, pulse) <= pulse]

    def end_all(self, pulse: int) -> None:
        """End all that sounds in the same way."""
        for key in self.ledger.sounding():
            self.end_key(key, pulse)

    def end_by(self, pulse: int, channel: int | None = None) -> None:
        """Nothing that sounds, or is planned before `pulse`, sounds beyond it, on a channel or, with None, on all."""
        self.ledger.end_by(pulse, channel)
        self.scheduler.shorten(pulse, channel)

    def release_all(self, pulse: int) -> None:
        """End all that sounds, at `pulse` and at once: song time stops or is elsewhere."""
        self._waiting += [Sent(pulse, off, 0) for off in self.ledger.release_all()]
        self.last_pulse = self._onset_pulse = None
        self._struck_pulse.clear()

    def take(self) -> list[Sent]:
        """What is to be sent now, in order. Nothing waits afterwards."""
        taken, self._waiting = self._waiting, []
        return taken
