"""Where a piece ends, and what goes on from there: its own metre and tempo, its voices, and the state of their channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.files.channels import Channels, Place, port_events, ports_of, program_messages, zones_of
from realtime.io.files.midifile import FileNote
from realtime.io.files.rewrite import NewTrack
from realtime.io.files.smf import METRE, PORT, TEMPO, meta
from realtime.io.files.timebase import timebase_of
from realtime.io.offline.source import OWN_BARS, Source
from realtime.io.offline.studio import bars_back
from realtime.io.offline.voices import NOTHING, in_order
from realtime.midi import DRUM_CHANNEL
from realtime.music.metre import OVERHANG_TICKS, TICKS, clocks_a_click
from realtime.music.notes import between
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, OTHER

PROGRAMS = {MELODY: 0, ACCOMPANIMENT: 0, BASS: 33, DRUMS: 0, OTHER: 48}
"""General MIDI sounds of a part that the file does not have: piano, fingered bass, the standard kit, strings."""


class Player(NamedTuple):
    """Who goes on: a part; what he last played (`NOTE`) and how many notes a quarter; a note that has his channel and program;
    his port and channel; and the file's track he plays in, None for a part that the file does not have."""

    part: int
    own: np.ndarray
    rate: float | None
    like: FileNote
    place: Place
    track: int | None


class Continuation:
    """See the module's docstring."""

    def __init__(self, source: Source) -> None:
        self._source, grid = source, source.grid
        last = int(source.ends.max()) - OVERHANG_TICKS
        self.start = grid.bar_start(max(last, int(source.notes["onset"].max())), 1)
        """The bar line after the last note, in ticks."""
        self._near = bars_back(grid, self.start, OWN_BARS)
        self.bpm = source.own_bpm(self._near, self.start)
        self._metre = source.own_metre(self._near, self.start)
        source.go_on_in(self._metre, self.start)
        self._timebase = timebase_of(source.smf)
        self._tick = self._timebase.tick(self.start * PULSES_PER_TICK)
        self._channels = Channels(source.smf, self._tick)
        self._ports, self._zones = ports_of(source.smf), zones_of(source.smf)
        self._told: set[Place] = set()
        """The channels of which some track says the state."""
        self._ended: set[int] = set()
        """The ports on which some track ends the notes that the file does not."""

    def players(self, parts: tuple[int, ...]) -> Iterator[Player]:
        """Who goes on, in the order in which they are written: the voices that play near the end. `parts`: only those, none: all;
        of one that does not play there the voice that did last, and of one that the file does not have somebody new."""
        source = self._source
        last = dict(sorted(zip(source.voice, source.notes["onset"].tolist(), strict=True)))
        here = {voice for voice, onset in last.items() if onset >= self._near}
        if parts:
            here = {voice for voice in here if source.part_of[voice] in parts}
            for part in {*parts} - {source.part_of[voice] for voice in here}:
                here |= {*sorted((v for v in last if source.part_of[v] == part), key=last.__getitem__)[-1:]}
        source.check_number(len(here))
        for voice in in_order(here, source.part_of):
            yield self._voice(voice)
        taken: list[Place] = []
        for part in sorted({*parts} - {source.part_of[voice] for voice in here}):
            place = (0, DRUM_CHANNEL) if part == DRUMS else self._channels.free(taken, DRUM_CHANNEL)
            taken.append(place)
            like = FileNote(0, 0, 0, 0, place[1], 0, PROGRAMS[part], part == DRUMS)
            yield Player(part, NOTHING, None, like, place, None)

    def _voice(self, voice: int) -> Player:
        source, grid = self._source, self._source.grid
        indices = np.flatnonzero(source.of(voice))
        own = source.notes[indices]
        end = grid.bar_start(int(own["onset"].max()), 1)
        own = between(own, bars_back(grid, end, OWN_BARS), end)
        if int(own["onset"].max()) >= self._near:  # its rests near the end count
            own, end = between(own, self._near, end), self.start
        quarters = (end - grid.bar_start(int(own["onset"].min()))) / TICKS
        like = source.piece.notes[indices[-1]]
        place = self._ports[like.track], like.channel
        like = replace(like, program=self._channels.at(place).program)
        return Player(source.part_of[voice], own, len(own) / quarters, like, place, like.track)

    def track(self, name: str, player: Player) -> NewTrack:
        """The track of a player: on his port, with his program, and with what makes his channel sound as it did. The first of a
        port ends the notes that the file leaves sounding there."""
        port, channel = player.place
        ports = [meta(PORT, bytes((port,)))] if port else []
        bank: tuple[int | None, int | None] = (None, None)
        if player.track is not None:
            ports, bank = port_events(self._source.smf, player.track), self._channels.at(player.place).bank
        events = [(0, message) for message in ports]
        events += [(self._tick, message) for message in program_messages(channel, player.like.program, bank)]
        for place in [player.place, *(master for master in self._masters(player.place))]:
            if place not in self._told:
                events += self._channels.corrections(place)
                self._told.add(place)
        if port not in self._ended:
            events += self._channels.endings(port)
            self._ended.add(port)
        return NewTrack(name, port, sorted(events, key=lambda event: event[0]))

    def _masters(self, place: Place) -> list[Place]:
        """The channel that bends all notes of an MPE zone."""
        zone = self._zones.get(place)
        return [] if zone is None else [(place[0], 15 if zone else 0)]

    def times(self) -> list[tuple[int, bytes]]:
        """(tick, message): the piece's own metre and tempo, where others hold at the end or are set after it."""
        events = []
        tempo = meta(TEMPO, round(60e6 / self.bpm).to_bytes(3, "big"))
        top, bottom = self._metre
        metre = meta(METRE, bytes((top, bottom.bit_length() - 1, clocks_a_click(top, bottom), 8)))
        tempos, metres = self._source.piece.tempos, self._source.piece.time_signatures
        for tick in self._ticks([(pulse, bpm == self.bpm) for pulse, bpm in tempos]):
            events.append((tick, tempo))
        for tick in self._ticks([(pulse, (*signature,) == self._metre) for pulse, *signature in metres]):
            events.append((tick, metre))
        return sorted(events)

    def _ticks(self, changes: list[tuple[int, bool]]) -> list[int]:
        """Where to say what is the piece's own. changes: (pulse, whether to that); the last one before the end counts, and all
        after it."""
        end = self.start * PULSES_PER_TICK
        first = max(at for at, (pulse, _) in enumerate(changes) if pulse <= end)
        return [self._timebase.tick(max(pulse, end)) for pulse, is_own in changes[first:] if not is_own]
