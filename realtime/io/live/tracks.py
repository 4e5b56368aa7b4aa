"""The records of a journal -> the tracks of a .mid. Note-ons are paired with note-offs, so that no note can hang."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from realtime.core.tempo import PPQN
from realtime.io.files.midifile import DEFAULT_BPM, FileNote, note_events
from realtime.io.live.journal import DIRECTIONS, KINDS, LAST_PULSE, TEMPO, Damage, Direction, Record, Start
from realtime.music.metre import time_signature

EARLY_PULSE = 60  # an upbeat shorter than this is a first note played early: it moves to the downbeat
PEDALS = (64, 66, 67)
"""The controllers of the sustain, sostenuto and soft pedals: one that is down at the end is lifted there."""


class LeftOn(NamedTuple):
    """What sounded at a port when a session was cut off: keys (channel, pitch), and the channels that were played on."""

    port: str
    keys: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]


class Tracks:
    """Takes records in the order in which they were written. `lost`: how many bytes of the journal were damaged."""

    def __init__(self) -> None:
        self.lost = 0
        self._gap = False
        self._port: str | None = None
        self._bpm, self._beats_per_bar, self._compound = DEFAULT_BPM, 4, False
        self._shift = 0  # what a jump added
        self._last = 0  # the latest pulse so far
        self._tempos: list[tuple[int, float]] = []
        self._markers: list[tuple[int, str]] = []
        self._held: dict[tuple[Direction, int, int], tuple[int, int]] = {}  # -> (onset, velocity)
        self._notes: dict[Direction, list[FileNote]] = {direction: [] for direction in DIRECTIONS}
        self._others: dict[Direction, list[tuple[int, bytes]]] = {direction: [] for direction in DIRECTIONS}

    def add(self, record: Record | Damage) -> None:
        """The next record."""
        if isinstance(record, Damage):
            self.lost += record.size
            self._gap = True
            return
        pulse = min(record.pulse + self._shift, LAST_PULSE)
        match record.kind:
            case b"S":
                self._bpm, self._beats_per_bar, self._compound = Start.unpack(record.body)
            case b"T":
                self._tempos.append((pulse, TEMPO.unpack(record.body)[0]))
            case b"O":
                self._port = record.body.decode(errors="replace")
            case b"M":
                self._markers.append((pulse, record.body.decode(errors="replace")))
            case b"J":
                self._release_all(self._last)
                bar = self._beats_per_bar * PPQN
                begin = -(-self._last // bar) * bar  # the next bar line
                self._shift = begin - record.pulse // bar * bar
            case _:
                self._last = max(self._last, pulse)
                if self._gap:  # the note-offs may have been lost
                    self._release_all(pulse)
                    self._gap = False
                self._message(KINDS[record.kind], pulse, record.body)

    def _message(self, direction: Direction, pulse: int, message: bytes) -> None:
        status, channel = message[0] & 0xF0, message[0] & 0x0F
        if status in (0x80, 0x90):
            key = (direction, channel, message[1])
            self._release(key, pulse)  # a note struck again ends first
            if status == 0x90 and message[2]:
                self._held[key] = (pulse, message[2])
        else:
            self._others[direction].append((pulse, message))

    def _release(self, key: tuple[Direction, int, int], pulse: int) -> None:
        if key in self._held:
            direction, channel, pitch = key
            onset, velocity = self._held.pop(key)
            self._notes[direction].append(FileNote(onset, pitch, velocity, max(1, pulse - onset), channel))
            self._last = max(self._last, onset + 1)

    def _release_all(self, pulse: int) -> None:
        for key in list(self._held):
            self._release(key, pulse)

    def left_on(self) -> LeftOn | None:
        """What of Antiphon's sounds after the last record, if it is known where. To be asked before `end`."""
        channels = {note.channel for note in self._notes["antiphon"]}
        keys = [(channel, pitch) for direction, channel, pitch in self._held if direction == "antiphon"]
        channels |= {channel for channel, _ in keys}
        if self._port is None or not channels:
            return None
        return LeftOn(self._port, tuple(keys), tuple(sorted(channels)))

    def end(
        self,
    ) -> tuple[dict[str, list[tuple[int, bytes]]], list[tuple[int, float]], tuple[int, int], list[tuple[int, str]]]:
        """(tracks, tempos, time signature, markers), all pulses >= 0, every note and pedal released."""
        self._release_all(self._last)
        for others in self._others.values():
            controls = [message for _, message in others if message[0] & 0xF0 == 0xB0]
            pedals = {(message[0], message[1]): message[2] for message in controls if message[1] in PEDALS}
            others += [(self._last, bytes((*pedal, 0))) for pedal, value in pedals.items() if value]
        onsets = [note.onset_pulse for notes in self._notes.values() for note in notes]
        earliest = min(onsets + [pulse for others in self._others.values() for pulse, _ in others], default=0)
        bar = self._beats_per_bar * PPQN
        # A real upbeat moves everything on by whole bars, so that bar lines stay where they were played.
        shift = -((earliest + EARLY_PULSE) // bar) * bar if earliest < -EARLY_PULSE else 0

        def placed(pulse: int) -> int:
            return min(max(0, pulse + shift), LAST_PULSE)

        tracks = {}
        for direction in DIRECTIONS:
            notes, free = [], dict[tuple[int, int], int]()
            for note in sorted(self._notes[direction], key=lambda note: note.onset_pulse):
                # A driver that was held up hands over several notes of one key at once, but a file holds one of them at a pulse.
                key = note.channel, note.pitch
                onset = min(max(placed(note.onset_pulse), free.get(key, 0)), LAST_PULSE)
                free[key] = onset + 1
                end = placed(note.onset_pulse + note.duration_pulse)
                notes.append(replace(note, onset_pulse=onset, duration_pulse=max(1, end - onset)))
            others = [(placed(pulse), message) for pulse, message in self._others[direction]]
            tracks[str(direction)] = sorted(others + note_events(notes), key=_order)
        tempos = {0: self._bpm}
        for pulse, bpm in sorted(self._tempos, key=lambda tempo: tempo[0]):
            tempos[placed(pulse)] = bpm
        markers = sorted((placed(pulse), text) for pulse, text in self._markers)
        return tracks, sorted(tempos.items()), time_signature(self._beats_per_bar, self._compound), markers


def _order(event: tuple[int, bytes]) -> tuple[int, int]:
    """By time; at one pulse the note-offs, then controls and the like in their own order, then the note-ons."""
    pulse, message = event
    return pulse, {0x80: 0, 0x90: 2}.get(message[0] & 0xF0, 1)
