"""Edits that words ask for: loudness over the bars, and a style that leaves music."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_cli import Run, antiphon
from toycorpus import midi_bytes

from realtime.io.files import midifile
from realtime.io.live.settings import SHIPPED_MODEL

__all__ = ["antiphon"]

TUNE = [(float(beat), 0.9, 60 + (0, 2, 4, 5, 7, 5, 4, 2)[beat % 8], 64) for beat in range(32)]


@pytest.fixture
def tune(tmp_path: Path) -> Path:
    if not SHIPPED_MODEL.exists():
        pytest.skip(f"the model that ships is not in this checkout: {SHIPPED_MODEL.name}")
    path = tmp_path / "tune.mid"
    path.write_bytes(midi_bytes({"MELODY": TUNE}))
    return path


@pytest.mark.parametrize(("words", "sign"), [("crescendo", 1), ("diminuendo", -1)])
def test_loudness_grows_with_a_crescendo(words: str, sign: int, antiphon: Run, tune: Path, tmp_path: Path) -> None:
    assert antiphon("edit", "tune.mid", "out.mid", "--words", words, "--bars", "3-8") == 0
    notes = midifile.read(tmp_path / "out.mid").notes
    assert {note.velocity for note in notes if note.onset_pulse < 2 * 1920} == {64}
    changed = [sign * (note.velocity - 64) for note in notes if note.onset_pulse >= 2 * 1920]
    assert changed == sorted(changed) and changed[0] <= 1 and 20 <= changed[-1] <= 24


def test_louder_moves_nothing_but_loudness(antiphon: Run, tune: Path, tmp_path: Path) -> None:
    assert antiphon("edit", "tune.mid", "out.mid", "--words", "louder") == 0
    notes = midifile.read(tmp_path / "out.mid").notes
    assert [(n.onset_pulse, n.pitch, n.velocity) for n in notes] == [(round(at * 480), p, 88) for at, _, p, _ in TUNE]


def test_a_style_leaves_music_and_says_how_far_it_went(
    antiphon: Run, tune: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert antiphon("edit", "tune.mid", "out.mid", "--style", "folk=2") == 0
    assert "folk " in (said := capfd.readouterr().out) and " of +2.00" in said
    notes = midifile.read(tmp_path / "out.mid").notes
    for bar in range(8):
        assert sum(bar * 1920 <= note.onset_pulse < (bar + 1) * 1920 for note in notes) >= 3
