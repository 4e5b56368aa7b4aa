"""models.leanings: every leaning can be turned off, is on again afterwards, and changes what is played."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("torch", reason="models needs torch (pip install '.[train]')")

from models.ablation import leanings
from models.ablation.leanings import LEANINGS, Material, difference, listen, two_hands, unsteady
from models.command import exit_status
from models.evaluation.prompts import Listener, Prompt
from realtime.io.bench import music as bench_music
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music.notes import note_array
from realtime.music.tunes import TUNES
from realtime.music.vocabulary import ACCOMPANIMENT, DRUMS, MELODY

TUNE = next(tune for tune in TUNES if tune.name == "Ode to Joy")


def notes(mode: str, name: str | None = None) -> list[tuple[int, ...]]:
    """What the shipped model plays to a tune, without a leaning."""
    with ExitStack() as stack:
        for where, what, value in LEANINGS[name] if name else ():
            stack.enter_context(patch.object(where, what, value))
        listener = Listener(SHIPPED_MODEL, 1)
        return [tuple(row) for row in bench_music.duet(listener.config, listener.model, TUNE, mode).antiphon.tolist()]


def test_without_a_leaning_something_else_is_played_and_then_it_is_back() -> None:
    plain = {mode: notes(mode) for mode in ("trade", "accompany")}
    for name, mode in (
        ("chords heard in the tune", "accompany"),
        ("loudness", "trade"),
        ("taking up the call", "trade"),
        ("cadences", "trade"),
    ):
        assert notes(mode, name) != plain[mode], name
    assert {mode: notes(mode) for mode in plain} == plain


def test_what_is_turned_off_is_there() -> None:
    """A name that is gone from the sampler would be made anew by the patch, and nothing would be turned off."""
    for off in LEANINGS.values():
        for where, what, _ in off:
            assert hasattr(where, what), (where, what)


def test_a_difference_is_starred_where_its_interval_does_not_hold_zero() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=50)
    assert difference(values.tolist(), (values + 0.5).tolist()) == "+0.500*"
    noise = np.concatenate([rng.normal(size=25)] * 2) * np.repeat([1, -1], 25)
    assert difference(values.tolist(), (values + noise).tolist()) in ("+0.000", "-0.000")
    assert difference([np.nan, 1.0], [2.0, 1.25]) == "+0.250*"


def test_two_hands_play_one_keyboard_and_a_player_is_unsteady() -> None:
    rows = [
        (0, 24, 40, 80, ACCOMPANIMENT),
        (0, 24, 76, 80, MELODY),
        (0, 24, 76, 70, ACCOMPANIMENT),
        (0, 6, 36, 80, DRUMS),
    ]
    far = Prompt("x", note_array([(onset + 24 * i, *row) for i in range(16) for onset, *row in rows]), 96, 120.0, True)
    played = two_hands(far)
    assert played is not None and len(played.notes) == 32 and set(played.notes["part"].tolist()) == {MELODY}
    near = far.notes.copy()
    near["pitch"] = np.where(near["pitch"] == 40, 70, near["pitch"])
    assert two_hands(far._replace(notes=near)) is None
    moved = unsteady(far, 1).notes["onset"] - far.notes["onset"]
    assert 0.5 < moved.std() < 1.5 and np.array_equal(unsteady(far, 1).notes, unsteady(far, 1).notes)


def test_an_unknown_leaning_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with patch.object(sys, "argv", ["leanings", str(tmp_path), "--only", "kez"]):
        assert exit_status(leanings.main) == 2
    assert "--only kez: there is no such leaning; there are chords heard in the tune, " in capsys.readouterr().err


def test_all_figures_are_of_each_piece(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    material = Material.__new__(Material)
    material.charted, material.prompts, material.swung, material.hands = [], [], [], []
    monkeypatch.setattr(leanings, "TUNES", [TUNE])
    found = listen(Listener(tiny_model, 1), material)
    assert set(found) == {f"{name}, {mode}" for name in leanings.OF_TUNES for mode in ("trade", "continue")}
    assert all(len(values) == 1 for values in found.values())
