"""A MIDI file as a player would send it: the messages of some of its tracks in playing order, with exact times.

Times in ticks are the file's own (`division` ticks a quarter note), times in ns count from tick 0 and are fractions: the file's
tempo map loses nothing. Tempos beyond `midifile.MIN_BPM` to `MAX_BPM` are brought into that range, as `midifile.read` does.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from realtime import midi
from realtime.core.tempo import PPQN
from realtime.errors import UserError, nearest
from realtime.io.files.midifile import MidiPiece, notes_of, piece_of
from realtime.io.files.smf import META, TEMPO, Event, Smf, load
from realtime.io.files.timebase import MAX_BPM, MIN_BPM, ticks_a_second, timebase_of

DEFAULT_US = 500_000
"""Microseconds a quarter note where a file gives no tempo: 120 bpm."""
MOST_NAMED = 20
"""An error message names no more tracks than this."""


class Timeline:
    """A file's tempo map: its ticks <-> nanoseconds from tick 0, both as fractions."""

    def __init__(self, division: int | Fraction, tempos: dict[int, int]) -> None:
        """tempos: microseconds a quarter note, by the tick from which they hold."""
        slowest, fastest = round(60e6 / MIN_BPM), round(60e6 / MAX_BPM)
        self.division = division
        self._ticks: list[int] = []
        self._ns: list[int] = []
        """Nanoseconds a quarter note from each of these ticks on."""
        self._starts: list[int] = []
        """Where they are, in nanoseconds times `division`: so whole numbers will do, of which a file may need a million."""
        start = 0
        for tick, us in sorted(({0: DEFAULT_US} | tempos).items()):
            if self._ticks:
                start += (tick - self._ticks[-1]) * self._ns[-1]
            self._ticks.append(tick)
            self._ns.append(min(max(us, fastest), slowest) * 1000)
            self._starts.append(start)

    @property
    def changes(self) -> bool:
        """Whether the tempo changes."""
        return len({*self._ns}) > 1

    def ns_at(self, tick: int | Fraction) -> Fraction:
        """When `tick` is, in nanoseconds."""
        at = bisect.bisect_right(self._ticks, tick) - 1
        return Fraction(self._starts[at] + (tick - self._ticks[at]) * self._ns[at], self.division)

    def tick_at(self, ns: int) -> Fraction:
        """The tick, with its fraction, at `ns` nanoseconds."""
        at = max(bisect.bisect_right(self._starts, ns * self.division) - 1, 0)
        return self._ticks[at] + Fraction(ns * self.division - self._starts[at]) / self._ns[at]

    def bpm_at(self, tick: int) -> Fraction:
        """Quarter notes a minute at `tick`."""
        at = bisect.bisect_right(self._ticks, tick) - 1
        return Fraction(60_000_000_000, self._ns[at])

    def ns_at_pulse(self, pulse: int) -> int:
        """The first whole nanosecond at or after `pulse` (1/480 quarter note)."""
        return -(-self.ns_at(Fraction(pulse * self.division) / PPQN) // 1)

    def pulse_at(self, ns: int) -> int:
        """The pulse nearest to `ns`."""
        return (self.tick_at(ns) * PPQN / self.division + Fraction(1, 2)) // 1


@dataclass(frozen=True, slots=True)
class Playing:
    """What some tracks of a file play. `messages`: (tick, message) in playing order, no note without its end; `first_tick`: of
    the first note; `last_tick`: the end of the last note; `mended`: what of the file had to be mended on reading."""

    piece: MidiPiece
    timeline: Timeline
    messages: list[tuple[int, bytes]]
    first_tick: int
    last_tick: int
    mended: tuple[str, ...] = ()

    @property
    def bpm(self) -> Fraction:
        """The file's first tempo."""
        return self.timeline.bpm_at(0)


def read_playing(path: Path, wanted: Sequence[str] = ()) -> Playing:
    """The tracks `wanted`, by name or by number from 1; all where none is named. Raises `UserError`: a file that cannot be read,
    a track that it does not have, or nothing in them that sounds."""
    smf = load(path)
    piece = piece_of(smf)
    if not piece.notes:
        raise UserError(f"{path}: no notes in it; give a file with something to play")
    chosen = _chosen(path, piece.track_names, wanted)
    own = [event for event in smf.events if event.track in chosen and event.status != META]
    notes = [span for _, span in notes_of(smf._replace(events=own), timebase_of(smf))]
    if not notes:
        sounding = sorted({note.track for note in piece.notes})
        given = " ".join(f"--track {word}" for word in wanted)
        raise UserError(f"{given}: no notes there; the notes of {path} are in {_named(piece.track_names, sounding)}")
    # A sequencer ends notes before it begins others of the same moment; a note of no length ends after it began.
    ranks = {span.off: 3 for span in notes if span.off is not None and span.start == span.end}
    ordered = [
        (event.tick, ranks.get(i, _rank(message)), message)
        for i, event in enumerate(own)
        if (message := _message(event)) is not None
    ]
    for span in notes:
        if span.off is None:
            start = own[span.on]
            ordered.append((span.end, 3, midi.note_off(start.status & 0x0F, start.kind)))
    ordered.sort(key=lambda entry: entry[:2])
    messages = [(tick, message) for tick, _, message in ordered]
    first, last = min(span.start for span in notes), max(span.end for span in notes)
    return Playing(piece, _timeline(smf), messages, first, last, smf.mended)


def _timeline(smf: Smf) -> Timeline:
    """The file's tempo map. In a file that is timed in frames a tick always lasts as long, and the first tempo says how many of
    them a quarter note has."""
    tempos = {
        event.tick: int.from_bytes(event.data, "big")
        for event in smf.events
        if event.status == META and event.kind == TEMPO and len(event.data) == 3 and any(event.data)
    }
    if not smf.division & 0x8000:
        return Timeline(smf.division, tempos)
    us = min(max(tempos.get(0, DEFAULT_US), round(60e6 / MAX_BPM)), round(60e6 / MIN_BPM))
    return Timeline(ticks_a_second(smf.division) * us / 1_000_000, {0: us})


def _message(event: Event) -> bytes | None:
    """The canonical message of a track's event; None for pieces of system exclusive messages, and what is malformed."""
    if event.status >= midi.SYSEX:
        return midi.normalise(bytes((event.status,)) + event.data) if event.status == midi.SYSEX else None
    return midi.normalise(bytes((event.status, event.kind)) + event.data)


def _rank(message: bytes) -> int:
    """Of messages at one moment: note-offs, then controllers and the like, then note-ons."""
    return 0 if midi.is_note_off(message) else 2 if midi.is_note_on(message) else 1


def _chosen(path: Path, names: Sequence[str], wanted: Sequence[str]) -> set[int]:
    """The indices of the tracks wanted. A name is looked for as it is, then in any case, then as a number."""
    chosen: set[int] = set()
    for word in wanted:
        found = {i for i, name in enumerate(names) if name == word}
        found = found or {i for i, name in enumerate(names) if name.casefold() == word.strip().casefold()}
        if not found and word.strip().isdecimal() and 1 <= int(word) <= len(names):
            found = {int(word) - 1}
        if not found:
            known = [name for name in names if name]
            like = nearest(word, known) or nearest(word.casefold(), [name.casefold() for name in known])
            raise UserError(
                f"--track {word}: no such track in {path}{like}; allowed {_named(names, range(len(names)))}"
            )
        chosen |= found
    return chosen if wanted else set(range(len(names)))


def _named(names: Sequence[str], which: Sequence[int]) -> str:
    """Such as: 1 "Piano", 2 (no name), 3 "Bass"."""
    words = [f'{i + 1} "{names[i]}"' if names[i] else f"{i + 1} (no name)" for i in which[:MOST_NAMED]]
    return ", ".join(words) + (f" and {len(which) - MOST_NAMED} more" if len(which) > MOST_NAMED else "")
