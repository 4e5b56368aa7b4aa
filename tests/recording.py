"""Recordings for tests: made by the recorder, and looked at by mido."""

import tempfile
from collections import Counter
from pathlib import Path

import mido
import pytest

from realtime import midi
from realtime.errors import UserError
from realtime.io.live.recorder import Recorder

Event = tuple[str, int, bytes]
TUNE = [message for i in range(60) for message in (("player", i * 60, midi.note_on(0, 40 + i, 80)),
        ("player", i * 60 + 50, midi.note_off(0, 40 + i)))]  # fmt: skip


def recorded(folder: Path, events: list[Event]) -> Recorder:
    recorder = Recorder(folder / "take.journal", 100.0, 3)
    recorder.open()
    for direction, pulse, message in events:
        recorder.write(direction, pulse, message)
    return recorder


def journal_of(events: list[Event]) -> bytes:
    """A whole journal, as a session killed after its last flush leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "take.journal")
        recorder = recorded(Path(folder), events)
        with pytest.raises(UserError):  # no file can have this name: the journal is kept
            recorder.finish(Path(folder, f"{'x' * 300}.mid"))
        return path.read_bytes()


def hanging(mid: Path) -> list[int]:
    """By mido, not by us: the notes still sounding at each track's end, negative where an end had no beginning."""
    left = []
    for track in mido.MidiFile(mid).tracks:
        sounding: Counter[tuple[int, int]] = Counter()
        for message in track:
            if message.type in ("note_on", "note_off"):
                struck = message.type == "note_on" and message.velocity > 0
                sounding[message.channel, message.note] += 1 if struck else -1
                assert 0 <= sounding[message.channel, message.note] <= 1
        left += [count for count in sounding.values() if count]
    return left
