"""Note-offs that may not have arrived: those sent while a cable was out, and those that a killed session never sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from realtime import midi
from realtime.io.live.tracks import LeftOn

Key = tuple[int, int]


class Owed:
    """Note-offs that still have to be sent. The caller reports every note-off that was sent, and now and then what the output is
    connected to."""

    def __init__(self) -> None:
        self._released: set[Key] = set()
        # Released before the last look, which may have seen the cable just before it was cut.
        self._before: set[Key] = set()
        self._channels: set[int] = set()
        self._plugged: frozenset[str] = frozenset()
        self._missing = False
        self._lost: set[Key] = set()

    def left_on(self, left: Iterable[LeftOn]) -> None:
        """What killed sessions left sounding at this port. The last moments of their journals may be lost, so that their channels
        are silenced as a whole."""
        for one in left:
            self._released |= set(one.keys)
            self._channels |= set(one.channels)
            self._missing = True

    def lost(self, sounding: Iterable[Key]) -> None:
        """The output is gone, and with it what sounded. Until `due` is called again, nothing arrives."""
        self._lost = self._lost or set(sounding)
        self._missing = True
        self._plugged = frozenset()

    def left(self) -> int:
        """How many notes an output that is lost took with it."""
        return len(self._lost)

    def released(self, message: bytes) -> None:
        """A note-off was sent."""
        self._released.add((midi.channel(message), message[1]))

    def due(self, plugged: frozenset[str] | None, sounds: Callable[[Key], bool]) -> list[bytes]:
        """What to send, now that the output is connected to `plugged` (None: nobody knows). `sounds`: the keys to leave alone."""
        new = plugged is None or bool(plugged - self._plugged)
        if plugged is not None:
            self._missing |= bool(self._plugged - plugged)
            self._plugged = plugged
        if not (new and self._missing):
            if not self._missing:
                self._before, self._released = self._released, set()
            return []
        messages = [midi.note_off(*key) for key in sorted(self._released | self._before) if not sounds(key)]
        messages += [midi.control(channel, midi.ALL_NOTES_OFF, 0) for channel in sorted(self._channels)]
        self._released.clear()
        self._before.clear()
        self._channels.clear()
        self._lost.clear()
        self._missing = False
        return messages
