"""The scheduler: planned notes become messages when their pulse comes.

Times are pulses. A planned note is a note-on with a duration. Its note-off is made only when the note-on is sent, by the
ledger. So a note that is cancelled or dropped leaves no note-off behind, and every note that is sent has one. One thread
at a time.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from realtime.core.ledger import Ledger
from realtime.midi import note_on


@dataclass(frozen=True, slots=True)
class PlannedNote:
    """A note that may still be cancelled. It is sent `hold_pulse` after its onset, and ends as if it had been sent in time.
    `reacts`: it is sent as soon as it is known, because it goes with a note of the player's that has been struck. `ends`: the
    keys, (channel, pitch), that end as it is struck. `tag` is for the caller; the scheduler never reads it.

    Raises ValueError where channel 0..15, pitch 0..127, velocity 1..127 or duration >= 1 pulse does not hold.
    """

    onset_pulse: int
    channel: int
    pitch: int
    velocity: int
    duration_pulse: int
    tag: int = 0
    hold_pulse: int = 0
    reacts: bool = False
    ends: tuple[tuple[int, int], ...] = ()

    @property
    def send_pulse(self) -> int:
        """When it is due."""
        return self.onset_pulse + self.hold_pulse

    def __post_init__(self) -> None:
        if not (0 <= self.channel <= 15 and 0 <= self.pitch <= 127 and 1 <= self.velocity <= 127):
            raise ValueError(f"channel must be in 0..15, pitch in 0..127, velocity in 1..127: {self}")
        if self.duration_pulse < 1:
            raise ValueError(f"duration must be at least 1 pulse: {self}")


class Sent(NamedTuple):
    """A message to send now: its pulse (of a note-on, the onset), its bytes, and its place in the order of all sends.
    `due_pulse`: when a note-on was to be sent, the time for which it was held back included; None for every other message, and
    for a note that reacts to the player."""

    pulse: int
    message: bytes
    serial: int
    due_pulse: int | None = None


class Scheduler:
    """Planned notes, ordered by onset and, within an onset, by the order of planning.

    `late_dropped` counts the note-ons that came too late to be sent.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.late_dropped = 0
        self._ledger = ledger
        self._planned: list[PlannedNote] = []  # sorted by onset; equal onsets keep the order of planning
        self._serial = 0

    def plan(self, note: PlannedNote) -> None:
        """Add a note. It replaces a planned note with the same onset and key, and ends what that was to end: a key is struck only
        once at a pulse."""
        start = bisect_left(self._planned, note.onset_pulse, key=_onset_pulse)
        end = bisect_right(self._planned, note.onset_pulse, lo=start, key=_onset_pulse)
        key = (note.channel, note.pitch)
        chord = [other for other in self._planned[start:end] if (other.channel, other.pitch) != key]
        for other in self._planned[start:end]:
            if other.ends and other not in chord:
                note = replace(note, ends=(*other.ends, *note.ends))
        self._planned[start:end] = [*chord, note]

    def cancel(self, from_pulse: int) -> list[PlannedNote]:
        """Take back every planned note with onset >= `from_pulse`, and return them. What sounds is not touched."""
        start = bisect_left(self._planned, from_pulse, key=_onset_pulse)
        cancelled = self._planned[start:]
        del self._planned[start:]
        return cancelled

    def shorten(self, until_pulse: int, channel: int | None = None) -> None:
        """No note that is planned before `until_pulse` is to sound beyond it, on a channel or, with None, on all."""
        self._planned = [
            replace(note, duration_pulse=min(note.duration_pulse, max(until_pulse - note.onset_pulse, 1)))
            if note.onset_pulse < until_pulse and channel in (None, note.channel)
            else note
            for note in self._planned
        ]

    def clear(self) -> None:
        """Forget every planned note. What sounds is not touched."""
        self._planned.clear()

    def planned(self) -> list[PlannedNote]:
        """The planned notes in the order in which they will be sent."""
        return list(self._planned)

    def next_pulse(self) -> int | None:
        """The earliest pulse at which `due` has something to do, or None."""
        release_pulse = self._ledger.next_pulse()
        if not self._planned:
            return release_pulse
        send_pulse = self._planned[0].send_pulse
        return send_pulse if release_pulse is None else min(send_pulse, release_pulse)

    def due(self, now_pulse: int, late_pulse: int) -> list[Sent]:
        """Everything with pulse <= `now_pulse`, in the order (pulse, note-off before note-on, serial).

        A note-on that is late by more than `late_pulse` is dropped and counted, without a note-off; every note-off of the
        ledger is sent, however late. The work is done pulse by pulse, so that one late call returns the same messages as
        many punctual ones.
        """
        sent: list[Sent] = []
        while (pulse := self.next_pulse()) is not None and pulse <= now_pulse:
            for release_pulse, message in self._ledger.due(pulse):
                self._send(sent, release_pulse, message)
            chord = self._take(pulse)
            for note in chord:
                for message in chain.from_iterable(self._ledger.release(*key) for key in note.ends):
                    self._send(sent, note.onset_pulse, message)
            if now_pulse - pulse > late_pulse:
                self.late_dropped += len(chord)
                continue
            # All note-offs of this pulse come first, also those of keys that are struck again.
            for note in chord:
                for message in self._ledger.strike(note.channel, note.pitch, note.onset_pulse + note.duration_pulse):
                    self._send(sent, note.onset_pulse, message)
            for note in chord:
                due_pulse = None if note.reacts else pulse  # that of the whole chord
                self._send(sent, note.onset_pulse, note_on(note.channel, note.pitch, note.velocity), due_pulse)
        return sent

    def _take(self, pulse: int) -> list[PlannedNote]:
        """The notes of the first onset, if they are to be sent by `pulse`: those that are held back leave together."""
        if not self._planned or self._planned[0].send_pulse > pulse:
            return []
        end = bisect_right(self._planned, self._planned[0].onset_pulse, key=_onset_pulse)
        chord = self._planned[:end]
        del self._planned[:end]
        return chord

    def _send(self, sent: list[Sent], pulse: int, message: bytes, due_pulse: int | None = None) -> None:
        self._serial += 1
        sent.append(Sent(pulse, message, self._serial, due_pulse))


def _onset_pulse(note: PlannedNote) -> int:
    return note.onset_pulse
