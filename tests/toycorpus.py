"""A corpus of a few bars, in the form of the real one, with what goes wrong in real ones."""

from __future__ import annotations

import csv
import hashlib
import io
import random
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mido

COLUMNS = ("id", "source", "tier", "split", "archive", "path", "sha1", "melody_track", "accomp_tracks", "cluster")
CHANNELS = {"MELODY": 0, "PIANO": 1, "Bass": 2, "DRUMS": 9}

# One track's notes: (onset, duration, pitch, velocity), times in quarter notes.
Line = Sequence[tuple[float, float, int, int]]

Messages = Sequence[tuple[int, mido.Message | mido.MetaMessage]]
"""(tick, message), in any order."""


class Metre(NamedTuple):
    at: float
    top: int
    bottom: int


def save(path: Path, *tracks: Messages, division: int = 480, form: int = 1) -> None:
    """A MIDI file of these tracks."""
    file = mido.MidiFile(type=form, ticks_per_beat=division)
    for messages in tracks:
        before, track = 0, mido.MidiTrack()
        for tick, message in sorted(messages, key=lambda each: each[0]):
            track.append(message.copy(time=tick - before))
            before = tick
        file.tracks.append(track)
    file.save(path)


def midi_bytes(
    tracks: dict[str, Line],
    metres: Sequence[Metre] = (Metre(0, 4, 4),),
    tempos: Sequence[tuple[float, float]] = ((0, 120.0),),
    division: int = 480,
) -> bytes:
    """A type-1 MIDI file. `tracks` by name, in the channel of `CHANNELS` where the name is there; times in quarters."""
    file = mido.MidiFile(type=1, ticks_per_beat=division)
    conductor = [(m.at, mido.MetaMessage("time_signature", numerator=m.top, denominator=m.bottom)) for m in metres] + [
        (at, mido.MetaMessage("set_tempo", tempo=round(60e6 / bpm))) for at, bpm in tempos
    ]
    _append(file, conductor, division)
    for name, notes in tracks.items():
        channel = CHANNELS.get(name, 3)
        messages = [(0.0, mido.MetaMessage("track_name", name=name))]
        messages += [(at, mido.Message("note_on", channel=channel, note=p, velocity=v)) for at, _, p, v in notes]
        messages += [(at + d, mido.Message("note_off", channel=channel, note=p)) for at, d, p, _ in notes]
        _append(file, messages, division)
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _append(file: mido.MidiFile, messages: list[tuple[float, mido.Message]], division: int) -> None:
    track, before = mido.MidiTrack(), 0
    for at, message in sorted(messages, key=lambda m: (m[0], m[1].type == "note_on")):  # note-offs first
        tick = round(at * division)
        track.append(message.copy(time=tick - before))
        before = tick
    file.tracks.append(track)


def tune(seed: int, bars: int) -> dict[str, Line]:
    """Four tracks that keep to a chord a bar: the same seed gives the same tune."""
    rng = random.Random(seed)
    roots = [rng.choice((48, 53, 55, 57)) for _ in range(bars)]
    melody, piano, bass, drums = [], [], [], []
    for bar, root in enumerate(roots):
        at = 4.0 * bar
        for step in range(8):
            if rng.random() < 0.75:
                melody.append((at + step / 2, rng.choice((0.5, 0.45, 1.0)), root + rng.choice((12, 16, 19, 24)), 80))
        piano += [(at + beat, 1.75, root + third, 60) for beat in (0, 2) for third in (0, 4, 7)]
        bass.append((at, 3.5, root - 12, 90))
        drums += [(at + beat, 0.25, 36 if beat % 2 == 0 else 38, 100) for beat in range(4)]
    return {"MELODY": melody, "PIANO": piano, "Bass": bass, "DRUMS": drums}


# A pick-up of one quarter, three bars of 4/4, two of 3/4; 90 bpm, from the first whole bar's third beat on 180.
SONG_METRES = (Metre(0, 1, 4), Metre(1, 4, 4), Metre(13, 3, 4))
SONG_TEMPOS = ((0, 90.0), (3, 180.0))
SONG: dict[str, Line] = {
    "MELODY": [(0, 1, 67, 80), (1, 2, 72, 81), (3, 0.5, 71, 82), (4.5, 0.5, 69, 83), (13, 3, 72, 84), (16, 3, 60, 85)],
    "PIANO": [(1, 4, 60, 50), (1, 4, 64, 51), (5, 30, 62, 52)],
    "Bass": [(1, 4, 36, 90), (5, 8, 43, 91)],
    "DRUMS": [(1, 0.1, 36, 100), (2, 0.1, 38, 101), (18, 0.1, 36, 102)],
}


def corpus_files() -> dict[str, tuple[str, bytes]]:
    """id -> (split, MIDI bytes) of the whole corpus: one song to check by hand, tunes to train on, and what is broken."""
    files = {"song": ("train", midi_bytes(SONG, SONG_METRES, SONG_TEMPOS))}
    for i, split in enumerate(("train", "train", "train", "valid", "valid", "test")):
        files[f"tune_{i}"] = (split, midi_bytes(tune(i, 12), division=96))
    files["solo"] = ("train", midi_bytes({"Violin": tune(9, 4)["MELODY"]}))
    files["broken"] = ("train", midi_bytes(SONG)[:150])
    files["short"] = ("train", midi_bytes({"MELODY": SONG["MELODY"][:5]}))
    return files


def write_corpus(folder: Path, files: dict[str, tuple[str, bytes]] | None = None, missing: Sequence[str] = ()) -> Path:
    """manifest.csv and main/toy.zip in `folder`. `missing`: ids that the manifest names and the zip lacks."""
    files = corpus_files() if files is None else files
    (folder / "main").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "main" / "toy.zip", "w") as z:
        for name, (_, data) in files.items():
            if name not in missing:
                z.writestr(f"midi/{name}.mid", data)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf8") as f:
        table = csv.DictWriter(f, COLUMNS)
        table.writeheader()
        for name, (split, data) in files.items():
            sha1, path = hashlib.sha1(data).hexdigest(), f"midi/{name}.mid"
            row = (name, "toy", "main", split, "main/toy.zip", path, sha1, "MELODY", "PIANO (rendered)|STRINGS", name)
            table.writerow(dict(zip(COLUMNS, row, strict=True)))
    return folder
