"""Files of a few bytes that are long in time: what is done with them takes time by their size, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from realtime.config import load
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote
from realtime.io.live.duet import duet
from realtime.io.offline.chords import lead_sheet

DAYS = 240_000 * 480
"""Pulses: 33 hours at 120 bpm."""


@pytest.mark.parametrize(("grid", "sync"), [("player", "internal"), ("file", "internal"), ("file", "clock")])
def test_a_duet_that_would_go_on_for_days_is_refused_unless_a_limit_ends_it(
    grid: str, sync: str, tiny_model: Path, tmp_path: Path
) -> None:
    def play(**limit: float) -> None:
        settings = {"model.file": tiny_model, "model.provider": "cpu", "sync.source": sync}
        config = load(None, settings | {f"run.{name}": value for name, value in limit.items()})
        duet(config, source, target, [], grid, tmp_path / "out.json", None, lambda _: None)

    source, target = tmp_path / "in.mid", tmp_path / "out.mid"
    midifile.write(source, {"Lead": [FileNote(0, 60, 80, 480), FileNote(DAYS, 62, 80, 480)]})
    with pytest.raises(
        UserError, match=r"in\.mid: 240001 quarter notes long; allowed 20000, unless --bars or --seconds"
    ):
        play()
    assert not target.exists()
    for limit in ({"bars": 2}, {"seconds": 4.0}):
        play(**limit)
        assert [note.pitch for note in midifile.read(target).notes if note.track == 1] == [60]
        assert json.loads((tmp_path / "out.json").read_text())["bars"] == 2


def test_a_lead_sheet_of_days_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.mid"
    midifile.write(source, {"Lead": [FileNote(0, 60, 80, 480), FileNote(DAYS, 62, 80, 480)]})
    with pytest.raises(UserError, match=r"in\.mid: 240001 beats long; allowed 50000 for a lead sheet"):
        lead_sheet(source, None)


def test_a_time_signature_that_no_music_has_does_not_count(tmp_path: Path) -> None:
    """A bar of 255/1 is as long as 255 others, and each command on bars takes as long."""
    metres = [(0, 3, 4), (1440, 255, 1), (2880, 65, 4), (4320, 64, 4)]
    midifile.write(tmp_path / "in.mid", {"Lead": [FileNote(0, 60, 80, 480)]}, time_signatures=metres)
    assert midifile.read(tmp_path / "in.mid").time_signatures == [(0, 3, 4), (4320, 64, 4)]


def test_a_file_that_is_longer_than_all_music_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.mid"
    midifile.write(source, {"Lead": [FileNote(0, 60, 80, 480), FileNote(2 * DAYS, 62, 80, 480)]})
    with pytest.raises(UserError, match="longer than 250000 quarter notes"):
        midifile.read(source)
