"""A MIDI file with some notes taken out and others put in; every other event stays what and where it was.

Whatever is compared is compared in ticks of the file: pulses are too coarse for a file of 960 ticks a quarter note, and too
fine for one of 4.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from realtime.errors import UserError
from realtime.io.files.channels import ports_of
from realtime.io.files.midifile import FileNote, Span, notes_of
from realtime.io.files.smf import NAME, Smf, encoded, message_bytes, meta
from realtime.io.files.timebase import timebase_of
from realtime.io.files.whole import are_same, check_writable, write_bytes


class NewTrack(NamedTuple):
    """A track after the file's own. `events` come before the notes of their tick; the first tick's messages after the name."""

    name: str
    port: int = 0
    events: Sequence[tuple[int, bytes]] = ()  # (tick, message) by tick


def rewrite(
    smf: Smf, target: Path, removed: Iterable[FileNote], added: Iterable[FileNote],
    new_tracks: Sequence[NewTrack] = (), otherwise: Mapping[FileNote, FileNote] | None = None,
) -> list[FileNote]:  # fmt: skip
    """Write a file without the notes `removed`, as `midifile.piece_of` gave them, and with `added`, each in its `track` and on
    its `channel`. Returns what was added in the end: on one key the notes that stay come first (see `_Keys`). otherwise: what to
    add where there is no room for an added note.

    The whole file or nothing. Raises `UserError` where it cannot be written, ValueError for a note before the beginning.
    """
    timebase, own = timebase_of(smf), len(smf.lengths)
    ports = [*ports_of(smf), *(track.port for track in new_tracks)]
    leaving = Counter(removed)
    gone: set[int] = set()
    keys = _Keys(ports)
    for note, span in notes_of(smf, timebase):
        if leaving[note]:
            leaving[note] -= 1
            gone.update(span.events)
        else:
            keys.stays(note, span, smf.lengths[note.track])

    # (tick, rank: note-off 0, what was 1, note-on 2; message)
    tracks: list[list[tuple[int, int, bytes]]] = [[] for _ in range(own)]
    for at, event in enumerate(smf.events):
        if at not in gone:
            tracks[event.track].append((event.tick, 1, message_bytes(event)))
    for new in new_tracks:
        name = [(0, 1, meta(NAME, new.name.encode()))]
        tracks.append(name + [(tick, 1, message) for tick, message in new.events])

    def in_ticks(note: FileNote) -> Placed:
        if note.onset_pulse < 0:
            raise ValueError(f"a note at pulse {note.onset_pulse}: a file begins at 0")
        start = timebase.tick(note.onset_pulse)
        return start, max(timebase.tick(note.onset_pulse + note.duration_pulse), start + 1), note

    placed = keys.placed(
        [in_ticks(form) for form in (note, (otherwise or {}).get(note)) if form] for note in sorted(added)
    )
    for start, end, note in placed:
        tracks[note.track].append((start, 2, bytes((0x90 | note.channel, note.pitch, note.velocity))))
        tracks[note.track].append((end, 0, bytes((0x80 | note.channel, note.pitch, 0))))
    ordered = [sorted(track, key=lambda event: event[:2]) for track in tracks]
    lengths = [*smf.lengths, *(0 for _ in new_tracks)]
    messages = [[(tick, message) for tick, _, message in track] for track in ordered]
    write_bytes(target, encoded(smf, list(zip(messages, lengths, strict=True))))
    result = []
    for start, end, note in placed:
        onset = timebase.pulse(start)
        result.append(replace(note, onset_pulse=onset, duration_pulse=max(timebase.pulse(end) - onset, 1)))
    return sorted(result)


Placed = tuple[int, int, FileNote]
"""A new note's first tick, the tick at which it ends, and the note."""


class _Keys:
    """The keys of every channel, across tracks: MIDI knows one note at a time on each.

    Where players read two tracks at the same tick, the earlier track's message comes first. So between notes of two tracks a
    tick is left free where else the note-off of the one would end the other.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        """ports: of each track."""
        self._ports = ports
        self._staying: defaultdict[tuple[int, int, int], list[tuple[int, int, int]]] = defaultdict(list)

    def stays(self, note: FileNote, span: Span, length: int) -> None:
        """A note that stays. One that is never ended has its key to the track's end, `length`; a drum's rings out by itself."""
        end = span.end if span.off is not None or note.is_drum else max(length, span.end)
        self._staying[self._key(note)].append((span.start, end, note.track))

    def placed(self, added: Iterable[Sequence[Placed]]) -> list[Placed]:
        """New notes, in the order of time, as there is room for them; of each the first of its forms that has room. One that
        begins while its key sounds waits for it, if half of it is left then; of two new ones the earlier ends where the later
        begins. What has no room is left out."""
        kept: defaultdict[tuple[int, int, int], list[Placed]] = defaultdict(list)
        for line in self._staying.values():
            line.sort()
        for forms in added:
            next((True for form in forms if self._put(kept[self._key(form[2])], form)), False)
        return sorted(placed for line in kept.values() for placed in line)

    def _put(self, line: list[Placed], new: Placed) -> bool:
        """Put a note after those of its key, if there is room."""
        start, end, note = new
        length = end - start
        for begin, stop, track in self._staying[self._key(note)]:
            if begin <= start:
                start = max(start, stop + (track > note.track))
            else:
                end = min(end, begin - (note.track > track))
        if end <= start or (start > new[0] and 2 * (new[1] - start) < length):
            return False
        if line:
            first, last, before = line[-1]
            last = min(last, start - (before.track > note.track))
            if last <= first:
                return False
            line[-1] = first, last, before
        line.append((start, end, note))
        return True

    def _key(self, note: FileNote) -> tuple[int, int, int]:
        return self._ports[note.track], note.channel, note.pitch


def check_outputs(source: Path, target: Path, png: Path | None, use: str) -> None:
    """Before anything is done: whether the result and its picture could be written. use: what `source` is there for. Raises
    `UserError`."""
    if target.suffix.lower() not in (".mid", ".midi"):
        raise UserError(f"{target}: the result is a MIDI file; give a name that ends with .mid")
    if png is not None and png.suffix.lower() != ".png":
        raise UserError(f"--png {png}: a picture is written as .png; give such a name")
    if png is not None and png.resolve() == target.resolve():
        raise UserError(f"--png {png}: is the name of the result; give another")
    for path in [target, *([png] if png is not None else [])]:
        check_writable(path)
    if are_same(target, source):
        raise UserError(f"{target}: is the file to be {use}; give another name for the result")
