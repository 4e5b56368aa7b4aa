"""`antiphon chords`: the lead sheet of a file, as text and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toycorpus import Line, Metre, midi_bytes

from realtime import cli

Run = Callable[..., int]
# The last phrase of "Ah, vous dirai-je, maman" over block chords; a pick-up of one quarter goes before.
TUNE: Line = [(0, 1, 67, 80), *((1 + beat, 1, pitch, 80) for beat, pitch in enumerate((65, 65, 64, 64, 62, 62, 60)))]
CHORDS: Line = [
    (1 + 2 * place, 2, pitch, 60)
    for place, pitches in enumerate(((41, 53, 57, 60), (36, 52, 55, 60), (43, 50, 53, 59), (36, 52, 55, 60)))
    for pitch in pitches
]


@pytest.fixture
def antiphon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mid").write_bytes(midi_bytes({"MELODY": TUNE, "PIANO": CHORDS}, (Metre(0, 1, 4), Metre(1, 4, 4))))
    (tmp_path / "drums.mid").write_bytes(midi_bytes({"DRUMS": [(beat, 0.1, 36, 90) for beat in range(9)]}))

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["antiphon", "chords", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def test_a_lead_sheet_has_a_line_a_bar(antiphon: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert antiphon("song.mid") == 0
    head, *bars = capsys.readouterr().out.splitlines()
    assert head == "song.mid: probably in C major"
    assert [[part.strip() for part in bar.split("|")][:2] for bar in bars[1:]] == [["2", "F / C /"], ["3", "G7 / C /"]]
    assert bars[0].split("|")[0].strip() == "1" and all(0 < int(bar.split("|")[2].strip(" %")) <= 100 for bar in bars)


def test_what_was_mended_is_said(antiphon: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("cut.mid").write_bytes(Path("song.mid").read_bytes()[:-20])
    assert antiphon("cut.mid") == 0
    mended, head, *_ = capsys.readouterr().out.splitlines()
    assert mended == "cut.mid: track 3 is cut short, what is whole was read"
    assert head.startswith("cut.mid: probably in ")


def test_json_has_the_chords_as_spans(antiphon: Run) -> None:
    assert antiphon("song.mid", "--json", "song.json") == 0
    spans = json.loads(Path("song.json").read_text())
    assert [(s["start"], s["end"], s["root"], s["quality"], s["symbol"]) for s in spans[-4:]] == [
        (1, 3, 5, "maj", "F"), (3, 5, 0, "maj", "C"), (5, 7, 7, "dom7", "G7"), (7, 9, 0, "maj", "C"),
    ]  # fmt: skip
    assert all(set(s) == {"start", "end", "root", "quality", "symbol", "sure"} and 0 < s["sure"] <= 1 for s in spans)


def test_a_stretch_without_notes_has_no_chord(antiphon: Run) -> None:
    late = [(at + 16, *rest) for at, *rest in CHORDS]
    Path("late.mid").write_bytes(midi_bytes({"PIANO": late}))  # type: ignore[dict-item]
    assert antiphon("late.mid", "--json", "late.json") == 0
    first = json.loads(Path("late.json").read_text())[0]
    assert first == {"start": 0, "end": 17, "root": None, "quality": "none", "symbol": "N.C.", "sure": 1}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["drums.mid"], "drums.mid: no pitched notes in it"),
        (["none.mid"], "none.mid"),
        (["song.mid", "--json", "no/song.json"], "no/song.json: cannot be written"),
        (["song.mid", "--json", "song.mid"], "--json song.mid: is the file to be read"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    antiphon: Run, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert antiphon(*arguments) == 2
    assert line in (said := capsys.readouterr().err) and said.count("\n") == 1
