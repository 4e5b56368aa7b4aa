"""Charts from outside: words on the command line, and files. Every file becomes a text in the language of charts first.

    .txt                      the language itself (`realtime.music.chart`)
    .mid                      chord names as markers, lyrics or texts; else the notes of a track named after chords
    .musicxml, .xml, .mxl     the harmonies of the first part that has some, with repeats, endings and rehearsal marks

Bar 1 of the chart is the first whole bar of a file.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError
from realtime.io.files import midifile, musicxml
from realtime.io.files.midifile import FileNote
from realtime.io.files.smf import META, Event, Smf, load
from realtime.io.files.timebase import timebase_of
from realtime.music.chart import FINEST, MOST_TEXT, Chart, bar_text, parse_chart
from realtime.music.fingers import chord_of
from realtime.music.metre import BeatGrid, bar_segments
from realtime.music.symbols import read

TEXT, MIDI, SCORE = (".txt",), (".mid", ".midi"), (".musicxml", ".xml", ".mxl")
TEXTS = (0x06, 0x05, 0x01, 0x07)
"""Meta events that may name chords: markers, lyrics, texts, cues."""
MOSTLY = 0.7
"""So many of a track's texts have to name chords: a lyric may have the words "A" and "Am"."""
NAMED = ("chord", "harmony")
"""What the name of a track with chords has in it."""

Placed = Sequence[tuple[int, str]]
"""(tick, name) in order."""


def read_chart(given: str, german: bool = False) -> Chart:
    """The chart that a text is, or the file that it names. Raises `UserError` that says what is wrong, and where."""
    path = Path(given).expanduser()
    kind = path.suffix.lower()
    if not is_file(given):
        return _parsed(given, german, "--chords")
    if kind in TEXT:
        return _parsed(_text(path), german, str(path))
    return _parsed(_of_midi(path, german) if kind in MIDI else musicxml.chart_text(path), german, str(path))


def is_file(given: str) -> bool:
    """Whether a text names a file, by its ending; else it is a chart."""
    return "|" not in given and "\n" not in given and Path(given).suffix.lower() in (*TEXT, *MIDI, *SCORE)


def _parsed(text: str, german: bool, source: str) -> Chart:
    try:
        return parse_chart(text, german)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(4 * MOST_TEXT + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a chart") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; a chart is written as in Am7 | D7 | Gmaj7 | %") from None


# --- MIDI files ---


def _of_midi(path: Path, german: bool) -> str:
    smf = load(path)
    piece = midifile.piece_of(smf)
    chords = _named(smf, german) or _played(piece)
    if not chords:
        raise UserError(
            f"{path}: no chord names (markers, lyrics, texts) and no track named chords in it; "
            f"antiphon chords {path.name} estimates the chords of a piece"
        )
    signatures = [(round(pulse / PULSES_PER_TICK), top, bottom) for pulse, top, bottom in piece.time_signatures]
    grid = BeatGrid(bar_segments(signatures))
    return _written(chords, grid, max(round(piece.length_pulse / PULSES_PER_TICK), chords[-1][0] + 1))


def _named(smf: Smf, german: bool) -> Placed:
    """The chord names of the first kind of text, in any track, that mostly has such."""
    timebase = timebase_of(smf)
    texts: dict[tuple[int, int], list[Event]] = {}
    for event in smf.events:
        if event.status == META and event.kind in TEXTS:
            texts.setdefault((TEXTS.index(event.kind), event.track), []).append(event)
    for _, events in sorted(texts.items()):
        named = []
        for event in events:
            name = event.data.decode("utf-8", "replace").strip()
            with contextlib.suppress(ValueError):
                read(name, german)
                named.append((round(timebase.pulse(event.tick) / PULSES_PER_TICK), name))
        if named and len(named) >= MOSTLY * len(events):
            return named
    return []


def _played(piece: midifile.MidiPiece) -> Placed:
    """The chords of the track that is named after them: the notes that sound together where one begins."""
    tracks = [number for number, name in enumerate(piece.track_names) if any(word in name.lower() for word in NAMED)]
    notes = deque(note for note in piece.notes if note.track in tracks[:1] and not note.is_drum)
    found: list[tuple[int, str]] = []
    sounding: list[FileNote] = []
    for onset in sorted({note.onset_pulse for note in notes}):
        late = onset + FINEST * PULSES_PER_TICK // 2  # strummed
        while notes and notes[0].onset_pulse <= late:
            sounding.append(notes.popleft())
        sounding = [note for note in sounding if note.onset_pulse + note.duration_pulse > late]
        chord = chord_of([note.pitch for note in sounding]) if sounding else None
        if chord is not None and (not found or found[-1][1] != chord.name):
            found.append((round(onset / PULSES_PER_TICK), chord.name))
    return found


def _written(chords: Placed, grid: BeatGrid, end: int) -> str:
    """Chords at ticks as a chart's text, a line a bar."""
    lines = []
    line, sounding = grid.bar_line(0), "N.C."
    waiting = [(max(tick + FINEST // 2, 0) // FINEST * FINEST, name) for tick, name in chords]
    while line < end:
        after = grid.bar_start(line, 1)
        inside = [(tick - line, name) for tick, name in waiting if line <= tick < after]
        sounding = next((name for tick, name in reversed(waiting) if tick <= line), sounding)
        lines.append(bar_text(sounding, inside, after - line))
        line = after
    return "\n".join(lines)
