"""An intro before a file that takes the player's place, and where none can be."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_duet import LINE, config_of, onsets
from toycorpus import Metre, midi_bytes

from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.live.duet import duet


@pytest.mark.parametrize(("grid", "first"), [("file", (2 * 3 - 1) * 480), ("player", 2 * 4 * 480)])
def test_an_intro_comes_before_the_file(grid: str, first: int, tiny_model: Path, tmp_path: Path) -> None:
    """Two bars: of the file's metre, with its pick-up in the last of them; or of Antiphon's."""
    path = tmp_path / "waltz.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE[:13]}, [Metre(0, 1, 4), Metre(1, 3, 4), Metre(7, 4, 4)]))
    config = config_of(
        tiny_model,
        mode__name="accompany",
        play__intro=2,
        play__part=("accompaniment", "bass", "drums"),
        play__feel="waltz",
        chords__chart="C | F | G7 | C",
        run__bars=5,
    )
    duet(config, path, tmp_path / "out.mid", [], grid, None, None, lambda _: None)
    assert min(onsets(tmp_path / "out.mid", "player"))[0] == first
    assert min(onsets(tmp_path / "out.mid", "antiphon"))[0] == 0
    metres = midifile.read(tmp_path / "out.mid").time_signatures
    assert metres == ([(0, 3, 4), (12 * 480, 4, 4)] if grid == "file" else [(0, 4, 4)])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "last bars of a chart"),
        ({"chords__chart": "C", "mode__name": "trade"}, "only who accompanies"),
        ({"chords__chart": "C", "sync__source": "clock"}, "MIDI clock"),
    ],
)
def test_an_intro_that_cannot_be_is_refused(settings: dict[str, str], said: str, tiny_model: Path) -> None:
    with pytest.raises(UserError, match=said):
        config_of(tiny_model, **{"mode__name": "accompany", "play__intro": 2, **settings})
