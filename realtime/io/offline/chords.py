"""A lead sheet of a MIDI file: its chords, bar by bar, and how sure the estimate of each is."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.harmony import load_harmony
from realtime.io.files.smf import load
from realtime.io.files.whole import are_same, check_writable, write_bytes
from realtime.io.offline.source import notes_of, segments_of
from realtime.io.offline.voices import voices_of
from realtime.music.chord_features import beats_of
from realtime.music.chords import note_name, symbol
from realtime.music.harmony import Estimate, chord_spans
from realtime.music.keys import Key, key_of
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import DRUMS

AS_BEFORE = "/"
MOST_BEATS = 50_000
"""Of a lead sheet: seven hours at 120 bpm. The chords of all beats are weighed together."""


def lead_sheet(source: Path, json_file: Path | None) -> str:
    """The chords of a file as text, a line a bar, after a line for each thing that was mended on reading; with `json_file` also
    as a list of spans (`harmony.chord_spans`). Raises `UserError` where the file cannot be read or has no pitched notes, or
    `json_file` cannot be written."""
    if json_file is not None:
        check_writable(json_file)
        if are_same(json_file, source):
            raise UserError(f"--json {json_file}: is the file to be read; give another name")
    smf = load(source)
    piece = midifile.piece_of(smf)
    notes = notes_of(piece.notes, voices_of(piece, smf)[1])
    pitched = notes[notes["part"] != DRUMS]
    if not len(pitched):
        raise UserError(f"{source}: no pitched notes in it; give a file with chords or a tune")
    beats = beats_of(BeatGrid(segments_of(piece)), 0, int((notes["onset"] + notes["duration"]).max()))
    if len(beats) > MOST_BEATS:
        raise UserError(f"{source}: {len(beats)} beats long; allowed {MOST_BEATS} for a lead sheet; give a part of it")
    found = load_harmony().estimate(notes, beats)
    key = key_of(pitched)
    if json_file is not None:
        write_bytes(json_file, (json.dumps(chord_spans(found, beats, key), indent=1) + "\n").encode())
    mended = [f"{source}: {what}" for what in smf.mended]
    return "\n".join([*mended, f"{source}: probably in {symbol_of(key)}", *bar_lines(found, beats, key)])


def symbol_of(key: Key) -> str:
    """Such as "Eb major"."""
    return f"{note_name(key.tonic, key)} {key.scale}"


def bar_lines(found: Estimate, beats: np.ndarray, key: Key) -> list[str]:
    """A line a bar: its number from 1, a pick-up counted as one, a chord or "/" (as before) a beat, and how sure the bar is."""
    opens = np.flatnonzero(beats["index"] == 0)
    pickup = not len(opens) or opens[0] > 0
    edges = [*([0] if pickup else []), *opens.tolist(), len(beats)]
    rows: list[tuple[str, float]] = []
    for first, last in pairwise(edges):
        words = [
            symbol(int(found.chord[beat]), key)
            if beat == first or found.chord[beat] != found.chord[beat - 1]
            else AS_BEFORE
            for beat in range(first, last)
        ]
        rows.append((" ".join(words), float(found.sure[first:last].mean())))
    width = max(len(words) for words, _ in rows)
    return [f"{number:4d} | {words:{width}s} | {sure:4.0%}" for number, (words, sure) in enumerate(rows, 1)]
