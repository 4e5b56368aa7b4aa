"""MPE: a player whose notes are spread over many channels, so that each can be bent by itself, is one instrument.

A zone is known by its configuration message (RPN 6 on channel 1 or 16), or by what comes just before each of its notes: pitch
bend or timbre (CC 74) on the note's own channel. See the MIDI Polyphonic Expression specification 1.0 (MMA, 2018).
"""

from __future__ import annotations

from realtime import midi
from realtime.core.pedals import Pedals

BEFORE_NS = 20_000_000
"""A bend so shortly before a note on its channel is the note's own."""
_MASTERS = (0, 15)
_RPN_COARSE, _RPN_FINE, _DATA, _TIMBRE, _ZONE = 101, 100, 6, 74, 6


class Mpe:
    """Receives every message and knows the part of each channel: `player_parts`, by channel, as long as there is no zone.
    Within a
    zone channel 10 is no drums either, and the pedals of the zone's master channel hold all its keys."""

    def __init__(self, player_parts: tuple[int, ...], pedals: Pedals) -> None:
        self._parts = player_parts
        self._pedals = pedals
        self._bent_ns: dict[int, int] = {}
        self._selected: dict[int, list[int]] = {master: [127, 127] for master in _MASTERS}

    def heard(self, message: bytes, stamp_ns: int) -> None:
        """A channel message of the player's, at host time `stamp_ns`."""
        kind, channel = midi.kind(message), midi.channel(message)
        if kind == midi.PITCH_BEND or (kind == midi.CONTROL and message[1] == _TIMBRE):
            self._bent_ns[channel] = stamp_ns
        elif kind == midi.CONTROL and channel in _MASTERS:
            number, value, selected = message[1], message[2], self._selected[channel]
            if number in (_RPN_COARSE, _RPN_FINE):
                selected[number == _RPN_FINE] = value
            elif number == _DATA and selected == [0, _ZONE]:
                self._pedals.masters = (
                    self._pedals.masters - {channel} if value == 0 else self._pedals.masters | {channel}
                )

    def part(self, channel: int, stamp_ns: int) -> int:
        """The part of a note that is struck on `channel` now."""
        bent_ns = self._bent_ns.get(channel)
        if channel == midi.DRUM_CHANNEL and bent_ns is not None and stamp_ns - bent_ns <= BEFORE_NS:
            self._pedals.masters |= {0}  # nobody bends a drum
        in_zone = self._pedals.masters and channel not in _MASTERS
        return self._parts[1 if in_zone else channel]
