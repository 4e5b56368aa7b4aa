"""What the player's port holds, so that it can be released where the port vanishes: keys that are down, and pedals."""

from __future__ import annotations

from realtime import midi

PEDALS = (midi.SUSTAIN, midi.SOSTENUTO)


class Held:
    """Told of every message that comes in."""

    def __init__(self) -> None:
        self._keys: dict[tuple[int, int], None] = {}  # in the order in which they went down
        self._pedals: dict[tuple[int, int], None] = {}

    def heard(self, message: bytes) -> None:
        """A canonical channel message came in."""
        kind = midi.kind(message)
        if kind in (midi.NOTE_ON, midi.NOTE_OFF):
            held, down = self._keys, kind == midi.NOTE_ON
        elif kind == midi.CONTROL and message[1] in PEDALS:
            held, down = self._pedals, message[2] > 0
        else:
            return
        key = (midi.channel(message), message[1])
        held.pop(key, None)
        if down:
            held[key] = None

    def releases(self) -> list[bytes]:
        """The messages that release all of it, as the player would have sent them."""
        return [midi.note_off(*key) for key in self._keys] + [midi.control(*pedal, 0) for pedal in self._pedals]
