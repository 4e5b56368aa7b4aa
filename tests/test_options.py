"""Options and settings: each option of `jam` sets one, help shows the defaults, and all settings are printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from test_cli import Run, antiphon

from realtime import __version__, cli
from realtime.config import Config, keys, load
from realtime.options import TWINS

__all__ = ["antiphon"]


def test_every_option_of_jam_has_its_twin() -> None:
    command = typer.main.get_command(cli.app)
    options = {parameter.name for parameter in command.commands["jam"].params} - {"config"}  # type: ignore[attr-defined]
    assert options == set(TWINS)
    assert set(TWINS.values()) <= set(keys())


def test_options_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("sync: {tempo_bpm: 90, beats_per_bar: 3}\nplay: {key: D dorian}\n")
    config = cli.configuration(tmp_path / "my.yaml", {"tempo": 100.0, "key": None, "mode": "continue"})
    assert (config.sync.tempo_bpm, config.sync.beats_per_bar) == (100.0, 3)
    assert (config.play.key.tonic, config.mode.name) == (2, "continue")


def test_a_configuration_is_printed_and_read_again(
    antiphon: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert antiphon("config") == 0
    (tmp_path / "my.yaml").write_text(capfd.readouterr().out)
    assert load(tmp_path / "my.yaml") == Config()


def test_the_version(antiphon: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert antiphon("--version") == 0
    assert capfd.readouterr().out == f"antiphon {__version__}\n"


def test_help_shows_the_defaults(
    antiphon: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert antiphon("jam", "-h") == 0
    words = capfd.readouterr().out
    assert "default: trade" in words and "default: 120" in words and "default: A0-C8" in words
    assert antiphon("duet", "-h") == 0
    assert "default: 120" not in capfd.readouterr().out  # it is the file's


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command(option: str, antiphon: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert antiphon(option) == 0
    out = capfd.readouterr().out
    assert all(name in out for name in ("jam", "demo", "duet", "compose", "ports", "doctor", "panic", "bench"))
