"""Charts from outside: words on the command line, and files. Every file becomes a text in the language of charts first.

    .txt                      the language itself (`realtime.music.chart`)
    .mid                      chord names as markers, lyrics or texts; else the notes of a track named after chords
    .musicxml, .xml, .mxl     the harmonies of the first part that has some, with repeats, endings and rehearsal marks

Bar 1 of the chart is the first whole bar of a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError
from realtime.io.files import midifile, musicxml
from realtime.io.files.harmony import load_harmony
from realtime.io.files.midifile import FileNote
from realtime.io.files.smf import META, Event, Smf, load
from realtime.io.files.timebase import timebase_of
from realtime.io.files.whole import at_home
from realtime.music.chart import FINEST, MOST_TEXT, Chart, bar_text, parse_chart
from realtime.music.chord_features import beats_of
from realtime.music.fingers import chord_of
from realtime.music.harmony import chord_spans
from realtime.music.keys import key_of
from realtime.music.metre import OVERHANG_TICKS, TICKS, BeatGrid, bar_segments
from realtime.music.notes import note_array
from realtime.music.symbols import read
from realtime.music.vocabulary import ACCOMPANIMENT
from realtime.reading import read_whole

TEXT, MIDI, SCORE = (".txt",), (".mid", ".midi"), (".musicxml", ".xml", ".mxl")
TEXTS = (0x06, 0x05, 0x01, 0x07)
"""Meta events that may name chords: markers, lyrics, texts, cues."""
MOSTLY = 0.7
"""So many of a track's texts have to name chords: a lyric may have the words "A" and "Am"."""
SECTION_BARS = 4
"""Letters from A on that are so far apart, or farther, name sections and no chords."""
NAMED = ("chord", "harmony")
"""What the name of a track with chords has in it."""
STRUCK = 0.8
"""Of the onsets of a track with chords, how many have to be of several notes; else its chords are broken."""

Placed = Sequence[tuple[int, str]]
"""(tick, name) in order."""


def read_chart(given: str, german: bool = False) -> Chart:
    """The chart that a text is, or the file that it names. Raises `UserError` that says what is wrong, and where."""
    path = at_home(Path(given))
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
        return read_whole(path, 4 * MOST_TEXT, "a chart").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; a chart is written as in Am7 | D7 | Gmaj7 | %") from None


# --- MIDI files ---


def _of_midi(path: Path, german: bool) -> str:
    smf = load(path)
    piece = midifile.piece_of(smf)
    signatures = [(round(pulse / PULSES_PER_TICK), top, bottom) for pulse, top, bottom in piece.time_signatures]
    grid = BeatGrid(bar_segments(signatures))
    chords = _named(smf, grid, german) or _played(piece, grid)
    if not chords:
        raise UserError(
            f"{path}: no chord names (markers, lyrics, texts) and no track named chords in it; "
            f"antiphon chords {path.name} estimates the chords of a piece"
        )
    end = round(piece.length_pulse / PULSES_PER_TICK) - OVERHANG_TICKS
    return _written(chords, grid, max(end, chords[-1][0] + 1))


def _named(smf: Smf, grid: BeatGrid, german: bool) -> Placed:
    """The chord names of the first kind of text, in any track, that mostly has such, and is not the letters of sections."""
    timebase = timebase_of(smf)
    texts: dict[tuple[int, int], list[Event]] = {}
    for event in smf.events:
        if event.status == META and event.kind in TEXTS:
            texts.setdefault((TEXTS.index(event.kind), event.track), []).append(event)
    for _, events in sorted(texts.items()):
        named = []
        for event in events:
            name = event.data.decode("utf-8", "replace").strip(" \t\r\n\0")
            if len(name) > 2 and name[0] + name[-1] in ("[]", "{}"):
                name = name[1:-1].strip()
            with contextlib.suppress(ValueError):
                read(name, german)
                named.append((round(timebase.pulse(event.tick) / PULSES_PER_TICK), name))
        if named and len(named) >= MOSTLY * len(events) and not _are_sections(named, grid):
            return named
    return []


def _are_sections(named: Placed, grid: BeatGrid) -> bool:
    """Whether names are rehearsal letters: A, B, C in the order of the alphabet, some bars apart, and nothing else."""
    letters = list(dict.fromkeys(name for _, name in named))
    bars = grid.bar_number(named[-1][0]) - grid.bar_number(named[0][0])
    return len(letters) > 1 and letters == list("ABCDEFG"[: len(letters)]) and bars >= SECTION_BARS * (len(named) - 1)


def _played(piece: midifile.MidiPiece, grid: BeatGrid) -> Placed:
    """The chords of the track that is named after them: where they are struck, of the notes that sound up to the next stroke;
    where they are broken, as the estimator hears them."""
    tracks = [number for number, name in enumerate(piece.track_names) if any(word in name.lower() for word in NAMED)]
    notes = sorted(note for note in piece.notes if note.track in tracks[:1] and not note.is_drum)
    strokes: list[list[FileNote]] = []
    for note in notes:
        # Strummed: a little later, and while the first of them sounds.
        if strokes and note.onset_pulse <= strokes[-1][0].onset_pulse + FINEST * PULSES_PER_TICK // 2:
            strokes[-1].append(note)
        else:
            strokes.append([note])
    if not notes or sum(len(stroke) > 1 for stroke in strokes) < STRUCK * len(strokes):
        return _broken(notes, grid)
    found: list[tuple[int, str]] = []
    held: list[FileNote] = []
    for stroke, after in zip(strokes, [*strokes[1:], []], strict=True):
        start = stroke[0].onset_pulse
        end = after[0].onset_pulse if after else max(map(_end, stroke))
        held = [note for note in held if 2 * _end(note) >= start + end] + stroke  # what only overlaps does not count
        chord = chord_of([note.pitch for note in held])
        if chord is not None and (not found or found[-1][1] != chord.name):
            found.append((round(start / PULSES_PER_TICK), chord.name))
    return found


def _end(note: FileNote) -> int:
    return note.onset_pulse + note.duration_pulse


def _broken(notes: Sequence[FileNote], grid: BeatGrid) -> Placed:
    """The chords of notes that do not begin together."""
    ticks = [
        (
            round(note.onset_pulse / PULSES_PER_TICK),
            max(round(note.duration_pulse / PULSES_PER_TICK), 1),
            note.pitch,
            note.velocity,
            ACCOMPANIMENT,
        )
        for note in notes
    ]
    if not ticks:
        return []
    array = note_array(ticks)
    beats = beats_of(grid, 0, max(onset + duration for onset, duration, *_ in ticks))
    spans = chord_spans(load_harmony().estimate(array, beats), beats, key_of(array))
    return [(round(span["start"] * TICKS), span["symbol"]) for span in spans]


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
