"""A MIDI file with some notes taken out and others put in; every other event stays what and where it was.

Whatever is compared is compared in ticks of the file: pulses are too coarse for a file of 960 ticks a quarter note, and too
fine for one of 4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from realtime.errors import UserError
from realtime.io.files.channels import ports_of
from realtime.io.files.midifile import FileNote, Span, notes_of
from realtime.io.files.smf import NAME, Event, Smf, encoded, message_bytes, meta
from realtime.io.files.timebase import Timebase, timebase_of
from realtime.io.files.whole import are_same, check_writable, write_bytes


class NewTrack(NamedTuple):
    """A track after the file's own. `events` come before the notes of their tick; the first tick's messages after the name."""

    name: str
    port: int = 0
    events: Sequence[tuple[int, bytes]] = ()  # (tick, message) by tick


def rewrite(
    smf: Smf, target: Path, removed: Iterable[FileNote], added: Iterable[FileNote],
    new_tracks: Sequence[NewTrack] = (), changed: Iterable[tuple[FileNote, FileNote]] = (),
) -> list[FileNote]:  # fmt: skip
    """Write a file without the notes `removed`, as `midifile.piece_of` gave them, and with `added`, each in its `track` and on
    its `channel`. Returns what was put in in the end: on one key the notes that stay come first (see `_Keys`). changed: notes
    and what becomes of them, another pitch or velocity; their events stay where they are, with the velocities of their
    note-offs. One whose new key has no room stays as it was.

    The whole file or nothing. Raises `UserError` where it cannot be written, ValueError for a note before the beginning.
    """
    timebase, own = timebase_of(smf), len(smf.lengths)
    ports = [*ports_of(smf), *(track.port for track in new_tracks)]
    stay = _Staying(smf, timebase, _Keys(ports), Counter(removed), changed)

    def placed(note: FileNote) -> Placed:
        if note.onset_pulse < 0:
            raise ValueError(f"a note at pulse {note.onset_pulse}: a file begins at 0")
        start = timebase.tick(note.onset_pulse)
        return start, max(timebase.tick(note.onset_pulse + note.duration_pulse), start + 1), note, None

    fresh = stay.keys.placed(sorted([[placed(note)] for note in added] + stay.moved, key=lambda forms: forms[0][:3]))
    tracks: list[list[_Timed]] = [[] for _ in ports]
    for at, message in stay.messages():
        tracks[smf.events[at].track].append((smf.events[at].tick, 1, at, message))
    for track, new in zip(tracks[own:], new_tracks, strict=True):
        track += [(0, 1, 0, meta(NAME, new.name.encode())), *((tick, 1, 0, message) for tick, message in new.events)]
    for each in fresh:
        tracks[each[2].track] += stay.keys.events(each, smf)
    for track in tracks:
        track.sort(key=lambda event: event[:3])
    lengths = [*smf.lengths, *(0 for _ in new_tracks)]
    plain = [[(tick, message) for tick, _, _, message in track] for track in tracks]
    write_bytes(target, encoded(smf, list(zip(plain, lengths, strict=True))))
    result = stay.turned
    for start, end, note, _ in fresh:
        onset = timebase.pulse(start)
        result.append(replace(note, onset_pulse=onset, duration_pulse=max(timebase.pulse(end) - onset, 1)))
    return sorted(result)


Placed = tuple[int, int, FileNote, Span | None]
"""A note's first tick, the tick at which it ends, the note, and where its events were in the file; None: nowhere."""
Key = tuple[int, int, int]
"""Port, channel, pitch."""
_Timed = tuple[int, int, int, bytes]
"""(tick, rank, index among the file's events, message). Rank 0: a note-off that comes first in its tick; 1: what was there; 2: a
note-on that comes last."""


class _Staying:
    """What of a file is not taken out of it."""

    def __init__(
        self, smf: Smf, timebase: Timebase, keys: _Keys, leaving: Counter[FileNote],
        changed: Iterable[tuple[FileNote, FileNote]],
    ) -> None:  # fmt: skip
        self._smf = smf
        self.keys = keys
        """The keys of the notes that stay."""
        self.moved: list[Sequence[Placed]] = []
        """Of each note that goes to another key, what it becomes and what it was."""
        self.turned: list[FileNote] = []
        """What becomes of those that stay on their keys."""
        self._gone: set[int] = set()
        self._instead: dict[int, bytes] = {}
        """By index among the file's events: those that are taken out, and what stands in another's place."""
        self._unended: set[tuple[int, int, int, int]] = set()
        """Track, channel and pitch of notes without a note-off of their own, and the ticks in which another one's ends them."""
        becomes = defaultdict[FileNote, list[FileNote]](list)
        for before, after in changed:
            becomes[before].append(after)
        for note, span in notes_of(smf, timebase):
            if leaving[note]:
                leaving[note] -= 1
                self._gone.update(span.events)
                continue
            after = becomes[note].pop() if becomes.get(note) else note
            if after.pitch != note.pitch:
                self._gone.update(span.events)
                self.moved.append([(span.start, max(span.end, span.start + 1), form, span) for form in (after, note)])
            else:
                keys.stays(note, span, smf.lengths[note.track])
                if span.off is None:
                    self._unended.add((note.track, note.channel, note.pitch, span.end))
                if after != note:
                    self._instead[span.on] = _note_on(after)
                    self.turned.append(after)

    def messages(self) -> Iterator[tuple[int, bytes]]:
        """(index, message) of what stays. A note-off stays, though its note is taken out, where it ends another one too."""
        for at, event in enumerate(self._smf.events):
            if at not in self._gone or self._ends_another(event):
                yield at, self._instead.get(at) or message_bytes(event)

    def _ends_another(self, event: Event) -> bool:
        ends = event.status & 0xF0 == 0x80 or not event.data[0]
        return ends and (event.track, event.status & 0x0F, event.kind, event.tick) in self._unended


def _note_on(note: FileNote) -> bytes:
    return bytes((0x90 | note.channel, note.pitch, note.velocity))


class _Keys:
    """The keys of every channel, across tracks: MIDI knows one note at a time on each.

    Where players read two tracks at the same tick, the earlier track's message comes first. So between notes of two tracks a
    tick is left free where else the note-off of the one would end the other.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        """ports: of each track."""
        self._ports = ports
        self._staying: defaultdict[Key, list[tuple[int, int, int]]] = defaultdict(list)
        self._reach: dict[Key, list[int]] = {}
        """Up to each of them: where the last of a key ends."""
        self._begun: dict[Key, set[int]] = {}
        self._ended: dict[Key, set[int]] = {}
        """At which ticks notes of a key begin and end, when new ones are placed on it."""

    def stays(self, note: FileNote, span: Span, length: int) -> None:
        """A note that stays. One that is never ended has its key to the track's end, `length`; a drum's rings out by itself."""
        end = span.end if span.off is not None or note.is_drum else max(length, span.end)
        self._staying[self._key(note)].append((span.start, end, note.track))

    def placed(self, added: Iterable[Sequence[Placed]]) -> list[Placed]:
        """New notes, in the order of time, as there is room for them; of each the first of its forms that has room. One that
        begins while its key sounds waits for it, if half of it is left then; of two new ones the earlier ends where the later
        begins. What has no room is left out, or stays as it was if it was in the file."""
        kept: defaultdict[Key, list[Placed]] = defaultdict(list)
        for key, staying in self._staying.items():
            staying.sort()
            self._reach[key] = list(accumulate((end for _, end, _ in staying), max))
        for forms in added:
            fits = any(self._put(kept[self._key(form[2])], form) for form in forms)
            if not fits and forms[-1][3] is not None:  # it was in the file, whatever else sounds on its key
                kept[self._key(forms[-1][2])].append(forms[-1])
        for key, placed in kept.items():
            spans = [(start, end) for start, end, _ in self._staying.get(key, ())] + [each[:2] for each in placed]
            self._begun[key], self._ended[key] = {start for start, _ in spans}, {end for _, end in spans}
        return sorted(chain.from_iterable(kept.values()), key=lambda each: each[:3])

    def events(self, each: Placed, smf: Smf) -> list[_Timed]:
        """The note-on and the note-off of what was placed: where they were in the file, unless its key ends or begins in the same
        tick, or the note has moved in time; then at the end, and at the beginning, of their ticks."""
        start, end, note, span = each
        key = self._key(note)
        on, off = (start, 2, 0, _note_on(note)), (end, 0, 0, bytes((0x80 | note.channel, note.pitch, 0)))
        if span is not None and span.start == start and start not in self._ended[key]:
            on = (start, 1, span.on, on[-1])
        if span is not None and span.off is not None:
            was = smf.events[span.off]
            stays = was.tick == end and end not in self._begun[key]
            off = (end, int(stays), span.off, bytes((was.status, note.pitch)) + was.data)
        return [on, off]

    def _put(self, line: list[Placed], new: Placed) -> bool:
        """Put a note after those of its key, if there is room."""
        start, end, note, span = new
        length, key = end - start, self._key(note)
        staying = self._staying.get(key, [])
        first = bisect_left(self._reach.get(key, []), start)
        for begin, stop, track in staying[first : bisect_left(staying, (end + 1, 0, 0))]:
            if begin <= start:
                start = max(start, stop + (track > note.track))
            else:
                end = min(end, begin - (note.track > track))
        if end <= start or (start > new[0] and 2 * (new[1] - start) < length):
            return False
        if line:
            onset, last, before, origin = line[-1]
            last = min(last, start - (before.track > note.track))
            if last <= onset:
                return False
            line[-1] = onset, last, before, origin
        line.append((start, end, note, span))
        return True

    def _key(self, note: FileNote) -> Key:
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
