"""Edits that words ask for: loudness over the bars, and a style that leaves music."""

from __future__ import annotations

import re
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


def test_notes_are_not_changed_for_a_style_that_no_change_brings_nearer(
    antiphon: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is printed and what is written agree, whichever of the styles the model can bring nearer."""
    lullaby = [
        (64, 1),
        (64, 0.5),
        (67, 1.5),
        (64, 1),
        (64, 0.5),
        (67, 1.5),
        (64, 0.5),
        (67, 0.5),
        (72, 1),
        (71, 1),
        (69, 1),
    ]
    notes, at = [], 0.0
    for pitch, quarters in [*lullaby, *lullaby]:
        notes.append(midifile.FileNote(round(at * 480), pitch, 64, round(quarters * 450)))
        at += quarters
    midifile.write(tmp_path / "lullaby.mid", {"Tune": notes}, [(0, 80.0)], [(0, 3, 4)])
    for style in ("folk", "classical"):
        assert antiphon("edit", "lullaby.mid", "out.mid", "--style", f"{style}=2") == 0
        said = capfd.readouterr().out
        way = float(re.search(rf"{style} ([+-]\d\.\d\d) of", said)[1])  # type: ignore[index]
        same = midifile.read(tmp_path / "out.mid").notes == midifile.read(tmp_path / "lullaby.mid").notes
        assert same == ("they stay" in said) and (same or way >= 0.1) and (not same or way == 0)


def test_a_style_leaves_music_and_says_how_far_it_went(
    antiphon: Run, tune: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert antiphon("edit", "tune.mid", "out.mid", "--style", "folk=2") == 0
    assert "folk " in (said := capfd.readouterr().out) and " of +2.00" in said
    notes = midifile.read(tmp_path / "out.mid").notes
    for bar in range(8):
        assert sum(bar * 1920 <= note.onset_pulse < (bar + 1) * 1920 for note in notes) >= 3
