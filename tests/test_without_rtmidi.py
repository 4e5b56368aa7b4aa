"""Where python-rtmidi cannot be imported: there is no wheel for every Python, and no ALSA on a bare server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toycorpus import midi_bytes, tune

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    path.write_bytes(midi_bytes(tune(1, 4), tempos=((0, 96.0),)))
    return path


def test_the_demo_and_the_commands_for_files_need_no_rtmidi(song: Path, tiny_model: Path, tmp_path: Path) -> None:
    model = ["--provider", "cpu", "--model", str(tiny_model)]
    commands = [
        ["demo", "--fast", *model],
        ["duet", str(song), "duet.mid", "--bars", "2", *model],
        ["compose", str(song), "longer.mid", "--bars", "1", *model],
        ["chords", str(song)],
    ]
    code = f"""
import sys
sys.modules["rtmidi"] = sys.modules["_rtmidi"] = None  # what imports it fails
from realtime.cli import main
for arguments in {commands!r}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
sys.argv[1:] = ["jam"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("antiphon: python-rtmidi is not installed; pip install")
    assert {"duet.mid", "longer.mid", "antiphon-demo"} <= {path.name for path in tmp_path.iterdir()}
