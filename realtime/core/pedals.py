"""The player's pedals: which keys still sound after they went up. Sustain (CC 64) and sostenuto (CC 66), per channel.

A pedal is down from 64 on, half-pedals too (MIDI 1.0 Detailed Specification, table III). In an MPE zone the pedals come on the
zone's master channel and hold the keys of all its channels.
"""

from __future__ import annotations

from realtime import midi

Key = tuple[int, int]
"""(channel, pitch)."""
DOWN_FROM = 64
UP_BELOW = 48
"""A switch that went down is up again below this: a foot that rests on a continuous pedal does not press it again and again."""


class Switch:
    """A controller that calls: a press is one call, however many values it sends."""

    def __init__(self) -> None:
        self._is_down = False

    def moved(self, value: int) -> bool:
        """The controller went to `value`, 0..127. Returns whether this presses it."""
        was_down = self._is_down
        self._is_down = value >= (UP_BELOW if was_down else DOWN_FROM)
        return self._is_down and not was_down


class Pedals:
    """Every method returns the keys that stop to sound. `masters`: channels whose pedals hold the keys of all channels."""

    def __init__(self) -> None:
        self.masters: frozenset[int] = frozenset()
        self._down: set[Key] = set()  # by a finger
        self._held: set[Key] = set()  # up, and kept sounding by a pedal
        self._sustained: set[int] = set()  # channels whose sustain pedal is down
        self._sostenuto: dict[int, set[Key]] = {}  # by channel whose sostenuto pedal is down: the keys that it took

    def key_down(self, key: Key) -> list[Key]:
        """A key was struck. A pedal may have kept it sounding until now."""
        ended = [key] if key in self._held else []
        self._held.discard(key)
        self._down.add(key)
        return ended

    def key_up(self, key: Key) -> list[Key]:
        """A key went up; one that is not down is ignored."""
        if key not in self._down:
            return []
        self._down.remove(key)
        if self._is_held(key):
            self._held.add(key)
            return []
        return [key]

    def control(self, channel: int, number: int, value: int) -> list[Key]:
        """A controller moved. All-sound-off, all-notes-off and the mode messages that imply it end every key of the channel and
        lift its pedals; reset-all-controllers lifts the pedals alone."""
        if number == midi.SUSTAIN and value >= DOWN_FROM:
            self._sustained.add(channel)
        elif number == midi.SOSTENUTO and value >= DOWN_FROM:
            if channel not in self._sostenuto:
                self._sostenuto[channel] = {key for key in self._down if channel in self._channels(key)}
        elif number in (midi.SUSTAIN, midi.SOSTENUTO, midi.ALL_SOUND_OFF, midi.RESET_CONTROLLERS, *midi.NOTES_OFF):
            if number != midi.SOSTENUTO:
                self._sustained.discard(channel)
            if number != midi.SUSTAIN:
                self._sostenuto.pop(channel, None)
            return self._ended(channel if number in (midi.ALL_SOUND_OFF, *midi.NOTES_OFF) else None)
        return []

    def _ended(self, silenced: int | None) -> list[Key]:
        """Take out the keys that no finger and no pedal holds any more, and all keys of the channel `silenced`."""
        ended = {key for key in self._held if not self._is_held(key)}
        ended |= {key for key in self._down | self._held if key[0] == silenced}
        self._down -= ended
        self._held -= ended
        return sorted(ended)

    def _channels(self, key: Key) -> frozenset[int]:
        return self.masters | {key[0]}

    def _is_held(self, key: Key) -> bool:
        return any(c in self._sustained or key in self._sostenuto.get(c, ()) for c in self._channels(key))

    def silence(self) -> None:
        """No key sounds any more; pedals that are down stay down."""
        self._down.clear()
        self._held.clear()
        for keys in self._sostenuto.values():
            keys.clear()

    def lift(self) -> None:
        """No key sounds any more, and all pedals are up."""
        self.silence()
        self._sustained.clear()
        self._sostenuto.clear()
