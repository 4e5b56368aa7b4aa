"""What is printed of names and values that a user gives: one line, and nothing that a terminal takes for a command."""

from __future__ import annotations

import sys

import pytest

from realtime import cli

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
