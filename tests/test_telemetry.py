"""Nothing calls home: no connection is made, and no file is written but those that the user asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "command", [("demo", "--fast", "--out-dir", "out"), ("doctor",)], ids=lambda command: command[0]
)
def test_a_fresh_home_stays_as_it_was(command: tuple[str, ...], tmp_path: Path) -> None:
    for folder in ("home", "tmp", "work"):
        (tmp_path / folder).mkdir()
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace)]
    watched = shutil.which("strace") and subprocess.run([*strace, "true"], capture_output=True).returncode == 0
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_", "MPL"))}
    env |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*(strace if watched else ()), sys.executable, "-m", "realtime.cli", *command],
        env=env,
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
    )
    assert ran.returncode in (0, 1) and "Traceback" not in ran.stderr, ran.stderr
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} - {"trace"}
    asked_for = (
        {f"work/out/{name}" for name in ("duet.mid", "duet.png", "duet.wav", "report.json")}
        if "demo" in command
        else set()
    )
    assert written == asked_for
    if watched:
        assert not re.findall(r".*AF_INET6?\b.*", trace.read_text())


def test_all_that_is_loaded_of_onnxruntime_is_loaded_with_telemetry_off() -> None:
    code = "import os; from realtime.io.graphs.runtime import ort; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    ran = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
