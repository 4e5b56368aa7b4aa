"""Files that a command is configured by are only read, whatever its results are to be named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toycorpus import midi_bytes, tune

from realtime import cli


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["duet", "song.mid", "out.mid", "--config", "my.yaml", "--json", "my.yaml"],
            "my.yaml: is the file of --config",
        ),
        (["duet", "song.mid", "out.mid", "--chords", "my.txt", "--json", "my.txt"], "my.txt: is the chart of --chords"),
        (["duet", "song.mid", "out.mid", "--config", "charted.yaml", "--json", "my.txt"], "is the chart of --chords"),
        (["compose", "song.mid", "chart.mid", "--bars", "1", "--chords", "chart.mid"], "is the chart of --chords"),
        (["infill", "song.mid", "chart.mid", "--bars", "1", "--chords", "chart.mid"], "is the chart of --chords"),
        (["duet", "song.mid", "out.mid", "--model", "my.onnx", "--json", "my.onnx"], "my.onnx: is the model"),
        (["bench", "--model", "my.onnx", "--json", "planner.onnx"], "is the model's planner.onnx"),
        (["edit", "song.mid", "out.mid", "--density", "1", "--model", "my.onnx", "--png", "link.png"], "is the model"),
        (["demo", "--fast", "--out-dir", "demo", "--config", "demo/report.json"], "is the file of --config"),
        (["demo", "--fast", "--out-dir", "demo", "--chords", "demo/duet.mid"], "is the chart of --chords"),
        (["render", "song.mid", "font.wav", "--soundfont", "font.wav"], "font.wav: is the file of --soundfont"),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else None,
)
def test_what_configures_a_command_is_not_written_over(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "demo").mkdir()
    for name in ("song.mid", "chart.mid", "demo/duet.mid"):
        (tmp_path / name).write_bytes(midi_bytes(tune(1, 4)))
    for name in ("my.yaml", "my.txt", "my.onnx", "planner.onnx", "font.wav", "demo/report.json"):
        (tmp_path / name).write_text("sync: {tempo_bpm: 90}" if name.endswith(("yaml", "json")) else "Am | F")
    (tmp_path / "charted.yaml").write_text("chords: {chart: my.txt}")
    (tmp_path / "link.png").hardlink_to(tmp_path / "my.onnx")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["antiphon", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capfd.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert words in error and "give another name" in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("model", [".", "/", "nowhere/"])
def test_a_model_that_is_no_file_is_refused_in_a_line(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "song.mid").write_bytes(midi_bytes(tune(1, 4)))
    monkeypatch.setattr(sys, "argv", ["antiphon", "compose", "song.mid", "out.mid", "--bars", "1", "--model", model])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capfd.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1
    assert not (tmp_path / "out.mid").exists()
