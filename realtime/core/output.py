"""The way out: what is due, and the note-offs of all that sounds, in the order of sending."""

from __future__ import annotations

from realtime.core.ledger import Ledger
from realtime.core.scheduler import Scheduler, Sent
from realtime.core.tempo import TempoMap


class Output:
    """The scheduler of planned notes, the ledger of sounding ones, and the messages that wait to be taken and sent.

    A note-on that is due since more than `late_ns` is dropped. `last_pulse`: when the last message was due.
    """

    def __init__(self, tempo: TempoMap, late_ns: int) -> None:
        self.ledger = Ledger()
        self.scheduler = Scheduler(self.ledger)
        self._tempo = tempo
        self._late_ns = late_ns
        self._waiting: list[Sent] = []
        self.last_pulse: int | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting)

    def collect_due(self, now_ns: int) -> None:
        """Turn what is due into messages. From then on the ledger knows when its notes end."""
        pulse = self._tempo.pulse_at(now_ns)
        due = self.scheduler.due(pulse, pulse - self._tempo.pulse_at(now_ns - self._late_ns))
        self._waiting += due
        if due:
            self.last_pulse = due[-1].pulse

    def release_all(self, pulse: int) -> None:
        """End all that sounds, at `pulse`."""
        if len(self.ledger):
            self.last_pulse = pulse
        self._waiting += [Sent(pulse, off, 0) for off in self.ledger.release_all()]

    def take(self) -> list[Sent]:
        """What is to be sent now, in order. Nothing waits afterwards."""
        taken, self._waiting = self._waiting, []
        return taken
