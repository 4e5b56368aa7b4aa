"""What to do when more comes in than anyone can play: a stuck controller, a loop in a DAW, a broken cable. Pure.

What ends notes is never left out. Of the rest that waits to be taken in, system exclusive messages go first, then controllers
and the like, then notes. Notes that nobody could mean are recorded, but not answered: the model would still be at work on them
long after the flood.
"""

from __future__ import annotations

from realtime import midi

BURST, A_SECOND = 48, 60.0
"""How many notes at once, and how many a second, are meant on one channel: a glissando with both hands is slower."""
MOST_PLANS = 32
"""With so many plans that are not answered yet, another note would be answered too late to be of use."""
MODE_NS = 100_000_000
"""How long a change of the mode stands before another: of many, the last counts."""
_PEDAL_UP = 64
_SYSEX_WAITING, _OTHERS_WAITING, _NOTES_WAITING = 64, 1024, 4096


def may_wait(message: bytes, waiting: int) -> bool:
    """Whether a message that has just come in is to be kept, while so many others wait. Not canonical yet."""
    if not message:
        return False
    kind, value = message[0] & 0xF0, message[2] if len(message) == 3 else 1
    if kind == midi.NOTE_OFF or (kind == midi.NOTE_ON and value == 0):
        return True
    if kind == midi.CONTROL and len(message) == 3:
        number = message[1]
        if number in (midi.ALL_SOUND_OFF, midi.ALL_NOTES_OFF) or (number == midi.SUSTAIN and value < _PEDAL_UP):
            return True
    if message[0] == midi.SYSEX:
        return waiting < _SYSEX_WAITING
    return waiting < (_NOTES_WAITING if kind in (midi.NOTE_ON, 0xF0) else _OTHERS_WAITING)


class Flood:
    """Which notes are meant: on each channel up to `BURST` at once and `A_SECOND` in the long run."""

    def __init__(self) -> None:
        self._left = [float(BURST)] * 16
        self._at_ns = [0] * 16

    def is_meant(self, message: bytes, stamp_ns: int) -> bool:
        """Whether a note-on at this host time is to be answered."""
        channel = midi.channel(message)
        passed = max(stamp_ns - self._at_ns[channel], 0) / 1e9
        self._left[channel] = min(self._left[channel] + passed * A_SECOND, float(BURST))
        self._at_ns[channel] = max(stamp_ns, self._at_ns[channel])
        if self._left[channel] < 1.0:
            return False
        self._left[channel] -= 1.0
        return True
