"""The piano roll: it is drawn, it has the right colours in the right places, and the same notes give the same file."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from realtime.errors import UserError
from realtime.io.files.midifile import FileNote
from realtime.io.files.pianoroll import COLOURS, Curves, draw
from realtime.music.keys import pitch_name

PLAYER = [FileNote(beat * 480, 60 + beat, 127, 430) for beat in range(8)]
ANTIPHON = [FileNote(1920 * 2 + beat * 480, 72 - beat, 127, 430) for beat in range(8)]

DUET = {"player": PLAYER, "antiphon": ANTIPHON}


def four(bars: int) -> list[int]:
    """The edges of so many bars of 4/4."""
    return [1920 * bar for bar in range(bars + 1)]


def pixels(path: Path, who: str) -> list[int]:
    """The columns in which a voice's full colour is seen, below the legend."""
    wanted = [int(COLOURS[who][at : at + 2], 16) for at in (1, 3, 5)]
    image = (imread(path)[90:, :, :3] * 255).round()
    return sorted({int(column) for column in (abs(image - wanted).max(axis=2) <= 1).any(axis=0).nonzero()[0]})


def test_each_voice_in_its_bars(tmp_path: Path) -> None:
    path = tmp_path / "duet.png"
    draw(path, DUET, four(4), "Duet", "120 BPM, 4/4")
    assert imread(path).shape[:2] == (700, 1600)
    player, antiphon = pixels(path, "player"), pixels(path, "antiphon")
    assert max(player) < 830 < min(antiphon) + 20  # two bars each, the middle at about 824
    assert min(player) < 100 and max(antiphon) > 1500


def test_the_same_notes_give_the_same_file(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, DUET, four(4), "Duet", "120 BPM")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("bars", "least_height"), [(1, 700), (8, 700), (20, 900), (160, 4000)])
def test_long_pieces_go_on_below(tmp_path: Path, bars: int, least_height: int) -> None:
    notes = [FileNote(bar * 1920, 30 + bar % 60, 90, 400) for bar in range(bars)]
    draw(tmp_path / "long.png", {"player": notes, "antiphon": []}, four(bars), "Long", "100 BPM")
    height, width = imread(tmp_path / "long.png").shape[:2]
    assert width == 1600 and least_height <= height <= 16_000


def test_nothing_played_and_notes_past_the_end(tmp_path: Path) -> None:
    draw(tmp_path / "empty.png", {"player": []}, [0, 1440, 2880], "Nothing", "3/4")
    past = [FileNote(1920 * 9, 0, 1, 1), FileNote(0, 127, 127, 99_999)]
    draw(tmp_path / "past.png", {"player": past}, four(1), "Past", "4/4")


def test_bars_of_any_metre_with_their_attributes_under_them(tmp_path: Path) -> None:
    starts = [480, 1920, 3360, 5280]
    plain, curved = tmp_path / "plain.png", tmp_path / "curved.png"
    voices = {"kept": PLAYER, "removed": ANTIPHON, "new": []}
    draw(plain, voices, starts, "Song", "3/4", 9)
    values = np.full((3, 5), np.nan)
    values[:2] = [[1, 60, 0, 0.3, 2], [2, 66, 1, 0.4, 3]]
    draw(curved, voices, starts, "Song", "3/4", 9, curves=Curves(starts, {"before": values, "after": values + 1}))
    assert imread(curved).shape[0] >= imread(plain).shape[0]
    under = (imread(curved)[-200:, :, :3] * 255).round()
    wanted = [int(COLOURS["after"][at : at + 2], 16) for at in (1, 3, 5)]
    columns = (abs(under - wanted).max(axis=2) <= 1).any(axis=0).nonzero()[0]
    assert columns.min() < 120 and columns.max() < 1000  # two of three cells have values


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        draw(tmp_path / "none" / "x.png", {}, four(1), "x", "")


def test_note_names() -> None:
    assert [pitch_name(pitch) for pitch in (0, 21, 60, 61, 70, 108)] == ["C-1", "A0", "C4", "C♯4", "B♭4", "C8"]
