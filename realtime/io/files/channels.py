"""Channels of a file: their ports, the MPE zones, and what state each one is left in for the notes of a continuation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median_low

from realtime.io.files.smf import DEVICE, META, PORT, Event, Smf, meta

Place = tuple[int, int]
"""A port's number and a channel 0..15: what one instrument listens to."""

_BANK_MSB, _BANK_LSB, _MODULATION, _BREATH, _DATA, _VOLUME, _EXPRESSION = 0, 32, 1, 2, 6, 7, 11
_RPN_LSB, _RPN_MSB, _RESET = 100, 101, 121
_SILENCE = (120, 123)  # all sound off, all notes off
_PEDALS = (64, 66, 67, 69)  # sustain, sostenuto, soft, hold 2
_LEVELS = {
    _BREATH: 127,
    _VOLUME: 100,
    _EXPRESSION: 127,
}  # what a channel can be silenced by, and what holds where none is set
_MPE_CONFIGURATION = (0, 6)
_LOWER_MASTER, _UPPER_MASTER = 0, 15
CENTRE = 8192
"""No pitch bend."""


def ports_of(smf: Smf) -> list[int]:
    """The port of each track; 0 where it names none."""
    ports = [0] * len(smf.lengths)
    for event in reversed(smf.events):  # the first of a track counts
        if (event.status, event.kind) == (META, PORT) and event.data:
            ports[event.track] = event.data[0]
    return ports


def port_events(smf: Smf, track: int) -> list[bytes]:
    """The messages by which a track names its port and device."""
    found = {e.kind: e.data for e in reversed(smf.events) if e.track == track and e.status == META}
    return [meta(kind, found[kind]) for kind in (PORT, DEVICE) if found.get(kind)]


def zones_of(smf: Smf) -> dict[Place, int]:
    """The MPE zone of each channel that is in one, its master included: 0 the lower, 1 the upper. A zone that was ever
    configured counts for the whole file.

    Source: MIDI Polyphonic Expression (MIDI Association, RP-053): RPN 6 on channel 1 or 16 says how many channels follow.
    """
    ports, chosen = ports_of(smf), dict[Place, list[int]]()
    zones: dict[Place, int] = {}
    for event in smf.events:
        channel = event.status & 0x0F
        if event.status & 0xF0 != 0xB0:
            continue
        place = ports[event.track], channel
        number = chosen.setdefault(place, [127, 127])
        if event.kind in (_RPN_MSB, _RPN_LSB):
            number[event.kind == _RPN_LSB] = event.data[0]
        members = min(event.data[0], 15) if event.kind == _DATA and tuple(number) == _MPE_CONFIGURATION else 0
        if members and channel in (_LOWER_MASTER, _UPPER_MASTER):
            upper = int(channel == _UPPER_MASTER)
            channels = range(15 - members, 16) if upper else range(members + 1)
            zones |= {(place[0], each): upper for each in channels}
    return zones


@dataclass
class ChannelState:
    """What a channel was last told."""

    program: int = 0
    bank: tuple[int | None, int | None] = (None, None)
    """Bank select MSB and LSB that came before the program change; None: none did."""
    controllers: dict[int, int] = field(default_factory=dict)
    bend: int = CENTRE
    pressure: int = 0

    def copy(self) -> ChannelState:
        """The same state, which goes its own way from here on."""
        return ChannelState(self.program, self.bank, dict(self.controllers), self.bend, self.pressure)

    def take(self, event: Event) -> None:
        """An event of this channel."""
        message, value = event.status & 0xF0, event.data[0] if event.data else 0
        if message == 0xC0:
            self.program = event.kind
            self.bank = (self.controllers.get(_BANK_MSB), self.controllers.get(_BANK_LSB))
        elif message == 0xD0:
            self.pressure = event.kind
        elif message == 0xE0:
            self.bend = event.kind | value << 7
        elif message == 0xB0 and event.kind == _RESET:
            for controller in (_MODULATION, *_PEDALS):
                self.controllers.pop(controller, None)
            self.controllers[_EXPRESSION] = 127
            self.bend, self.pressure = CENTRE, 0
        elif message == 0xB0:
            self.controllers[event.kind] = value

    def level(self, controller: int) -> int:
        """A controller's value, or what holds where it was never set."""
        return self.controllers.get(controller, _LEVELS.get(controller, 0))


def program_messages(channel: int, program: int, bank: tuple[int | None, int | None] = (None, None)) -> list[bytes]:
    """The messages that choose a sound."""
    banks = [
        bytes((0xB0 | channel, controller, value))
        for controller, value in zip((_BANK_MSB, _BANK_LSB), bank, strict=True)
        if value is not None
    ]
    return [*banks, bytes((0xC0 | channel, program))]


class Channels:
    """The states of all channels of a file at a tick, and what is usual on each."""

    def __init__(self, smf: Smf, tick: int) -> None:
        """tick: where a continuation begins; what a channel is told at it counts."""
        self._ports = ports_of(smf)
        self._later = [event for event in smf.events if event.tick > tick and event.status < 0xF0]
        self._tick = tick
        self._states: defaultdict[Place, ChannelState] = defaultdict(ChannelState)
        self._at_notes: defaultdict[Place, list[ChannelState]] = defaultdict(list)
        self._held: defaultdict[Place, set[int]] = defaultdict(set)
        """The keys that nothing in the file releases."""
        for event in smf.events:
            if event.status >= 0xF0:
                continue
            place = self._ports[event.track], event.status & 0x0F
            self._hold(place, event)
            if event.tick > tick:
                continue
            if event.status & 0xF0 == 0x90 and event.data[0]:
                self._at_notes[place].append(self._states[place].copy())
            self._states[place].take(event)

    def _hold(self, place: Place, event: Event) -> None:
        message = event.status & 0xF0
        if message == 0x90 and event.data[0]:
            self._held[place].add(event.kind)
        elif message in (0x80, 0x90):
            self._held[place].discard(event.kind)
        elif message == 0xB0 and event.kind in _SILENCE:
            self._held[place].clear()

    def endings(self, port: int) -> list[tuple[int, bytes]]:
        """(tick, note-off) where the continuation begins, for each key of a port that nothing in the file releases; else it would
        sound on."""
        keys = [(channel, pitch) for (of, channel), held in self._held.items() if of == port for pitch in held]
        return [(self._tick, bytes((0x80 | channel, pitch, 0))) for channel, pitch in sorted(keys)]

    def at(self, place: Place) -> ChannelState:
        """The state of a channel."""
        return self._states[place]

    def free(self, taken: Iterable[Place], drums: int) -> Place:
        """The first channel that nothing is written for and that is not among `taken`: on a port of the file, else on the next.
        drums: the channel that is left to them."""
        used = {*self._states, *taken}
        return next(
            (port, channel)
            for port in range(128)
            for channel in range(16)
            if channel != drums and (port, channel) not in used
        )

    def corrections(self, place: Place) -> list[tuple[int, bytes]]:
        """(tick, message): what makes new notes of a channel sound as its notes did: audible, in tune, with the pedals up, with
        the program in force. Said where the continuation begins, and again after whatever the file says later."""
        port, channel = place
        state, wanted = self._states[place].copy(), self._wanted(place)
        messages = [(self._tick, message) for message in _changes(channel, state, wanted)]
        here = [e for e in self._later if e.status & 0x0F == channel and self._ports[e.track] == port]
        for tick, events in groupby(here, lambda event: event.tick):
            state = wanted.copy()
            for event in events:
                state.take(event)
            messages += [(tick, message) for message in _changes(channel, state, wanted)]
        return messages

    def _wanted(self, place: Place) -> ChannelState:
        wanted, notes = self._states[place].copy(), self._at_notes[place]
        for controller in _LEVELS:
            heard = [level for state in notes if (level := state.level(controller))]
            usual = median_low(heard) if heard else 0 if notes else _LEVELS[controller]
            if wanted.level(controller) < usual:
                wanted.controllers[controller] = usual
        if _MODULATION in wanted.controllers:
            wanted.controllers[_MODULATION] = median_low([state.level(_MODULATION) for state in notes] or [0])
        for pedal in _PEDALS:
            if wanted.level(pedal):
                wanted.controllers[pedal] = 0
        bends = {state.bend for state in notes}
        wanted.bend = CENTRE if len(bends) != 1 else bends.pop()  # a channel may be out of tune on purpose, throughout
        wanted.pressure = median_low([state.pressure for state in notes] or [0])
        return wanted


def _changes(channel: int, state: ChannelState, wanted: ChannelState) -> list[bytes]:
    """The messages that lead from one state to another."""
    messages = []
    if (state.program, state.bank) != (wanted.program, wanted.bank):
        messages += program_messages(channel, wanted.program, wanted.bank)
    for controller in (*_LEVELS, _MODULATION, *_PEDALS):
        if state.level(controller) != wanted.level(controller):
            messages.append(bytes((0xB0 | channel, controller, wanted.level(controller))))
    if state.bend != wanted.bend:
        messages.append(bytes((0xE0 | channel, wanted.bend & 0x7F, wanted.bend >> 7)))
    if state.pressure != wanted.pressure:
        messages.append(bytes((0xD0 | channel, wanted.pressure)))
    return messages
