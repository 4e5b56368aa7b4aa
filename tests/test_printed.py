"""What is printed of names and values that a user gives: one line, and nothing that a terminal takes for a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realtime import cli

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["brighter " * 300, "x" * 246 + ".onnx", "a\nb", "\x1b[31m.onnx", "\udcff"]


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """The one line that says why."""
    monkeypatch.setattr(sys, "argv", ["antiphon", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capfd.readouterr().err
    assert ended.value.code == 2 and error.endswith("\n") and error[:-1].isprintable()
    return error


@pytest.mark.parametrize("name", NAMES, ids=["long", "long suffix", "lines", "escape", "no text"])
def test_a_model_whose_name_no_file_has_or_that_would_reach_the_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "no model there" in refused(["jam", "--model", name], monkeypatch, capfd)


@pytest.mark.parametrize("value", ["a\nb", "\x1b[31m"])
@pytest.mark.parametrize(
    "command", [["ports", "--backend"], ["compose", "x.mid", "y.mid", "--temperature"]], ids=" ".join
)
def test_no_value_reaches_the_terminal_as_it_is(
    command: list[str], value: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert value.encode("unicode_escape").decode() in refused([*command, value], monkeypatch, capfd)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["config", "--help", "--version"])
def test_a_full_disk_behind_standard_output_is_said_in_a_line(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "realtime.cli", command], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ran.returncode == 2
    assert ran.stderr == "antiphon: standard output cannot be written (No space left on device); send it elsewhere\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes on Windows")
def test_a_reader_that_has_read_enough_is_no_error() -> None:
    end, begin = os.pipe()
    os.close(end)
    ran = subprocess.run(
        [sys.executable, "-m", "realtime.cli", "config"], cwd=ROOT, stdout=begin, stderr=subprocess.PIPE, text=True
    )
    os.close(begin)
    assert (ran.returncode, ran.stderr) == (1, "")


@pytest.mark.parametrize("command", [["config"], ["--version"], ["ports", "--backend", "x"]], ids=" ".join)
def test_without_a_standard_output_nothing_is_printed_and_all_else_is_as_ever(command: list[str]) -> None:
    start = "import sys; sys.stdout = None; sys.argv[0] = 'antiphon'; from realtime.cli import main; main()"
    ran = subprocess.run([sys.executable, "-c", start, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == (2 if command[0] == "ports" else 0)
    assert ran.stderr.count("\n") == (command[0] == "ports")


def test_a_command_that_is_interrupted_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(standalone_mode: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capfd.readouterr().err == "antiphon: interrupted; a file that was not finished is not written\n"
