"""The journal: damage costs what it hit and no more, and keeps nobody from playing."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import TUNE, Event, hanging, journal_of

from realtime import midi
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.whole import check_writable
from realtime.io.live.jam import rescue
from realtime.io.live.journal import MAGIC, START, TEMPO, find_unfinished, frame
from realtime.io.live.recorder import salvage


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_damage_costs_what_it_hit_and_no_more(data: st.DataObject) -> None:
    """Bits flipped, a hole of zeros, or garbage in between: all notes whose two records were not touched are there."""
    whole = journal_of(TUNE)
    size = (len(whole) - len(journal_of([]))) // len(TUNE)  # of a frame: all are of one length
    first = len(whole) - size * len(TUNE)
    at = data.draw(st.integers(first, len(whole) - 1), label="at")
    kind, length = (
        data.draw(st.sampled_from(["flip", "zeros", "garbage"])),
        data.draw(st.integers(1, 300), label="length"),
    )
    damaged = bytearray(whole)
    if kind == "garbage":
        length = 0
        damaged[at:at] = data.draw(st.binary(min_size=1, max_size=300))
    elif kind == "zeros":
        length = min(length, len(whole) - at)
        damaged[at : at + length] = bytes(length)
    else:
        length = 1
        damaged[at] ^= data.draw(st.integers(1, 255))
    hit = range((at - first) // size, (at + max(length, 1) - 1 - first) // size + 1)
    kept = {TUNE[i][1] for i in range(0, len(TUNE), 2) if i not in hit and i + 1 not in hit}
    with tempfile.TemporaryDirectory() as name:
        journal, mid = Path(name, "x.journal"), Path(name, "x.mid")
        journal.write_bytes(damaged)
        saved = salvage(journal, mid)
        notes = midifile.read(mid).notes
        assert kept <= {note.onset_pulse for note in notes if note.duration_pulse == 50}
        assert {note.onset_pulse for note in notes} <= {TUNE[i][1] for i in range(0, len(TUNE), 2)}
        in_the_middle = max(hit) < len(TUNE) - 1 and bytes(damaged) != whole
        assert saved.lost > 0 or not in_the_middle, "it is said that something was lost"
        assert journal.with_name("x.journal.salvaged").read_bytes() == bytes(damaged)
        assert not journal.exists()


@given(st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_a_torn_end_is_no_damage(cut: int) -> None:
    torn = journal_of(TUNE)[:-cut]
    with tempfile.TemporaryDirectory() as name:
        Path(name, "x.journal").write_bytes(torn)
        saved = salvage(Path(name, "x.journal"), Path(name, "x.mid"))
        assert saved.lost == 0
        lost_frames = -(-cut // ((len(journal_of(TUNE)) - len(journal_of([]))) // len(TUNE)))
        assert saved.notes == len(TUNE) // 2 - lost_frames // 2


NAN, INF = float("nan"), float("inf")
CRAFTED = {
    **{f"{bpm} BPM": [frame(b"S", 1, 0, START.pack(bpm, 4))] for bpm in (0.0, -1.0, 1e-300, NAN, INF)},
    "no beats": [frame(b"S", 1, 0, START.pack(90.0, 0)), frame(b"J", 1, 100, b"")],
    "255 beats": [frame(b"S", 1, 0, START.pack(90.0, 255)), frame(b"J", 1, 100, b"")],
    "a short start": [frame(b"S", 1, 0, b"abc")],
    "no start": [],
    **{f"tempo {bpm}": [frame(b"T", 1, 5, TEMPO.pack(bpm))] for bpm in (0.0, NAN, INF, -INF)},
    "a short tempo": [frame(b"T", 1, 5, b"abc")],
    **{f"pulse {pulse}": [frame(b"p", 1, pulse, b"\x90\x3c\x50")] for pulse in (-(1 << 62), 1 << 62, -(1 << 63), 1 << 39)},
    **{f"jump to {pulse}": [frame(b"J", 1, pulse, b"")] for pulse in (-(1 << 62), 1 << 62, 1 << 39)},
    "a tempo long ago": [frame(b"T", 1, -(1 << 60), TEMPO.pack(100.0))],
    "an unknown kind": [frame(b"z", 1, 1, b"xx")],
    **{f"message {body.hex()}": [frame(b"p", 1, 1, body)] for body in (b"", b"\xf4", b"\x90", b"\x90\xff\x01", b"\xf0\x01")},
    "a SysEx of 1 MB": [frame(b"p", 1, 1, b"\xf0" + bytes(1 << 20) + b"\xf7")],
    "4 GB announced": [b"\xff\xff\xff\xff\x00\x00\x00\x00" + b"x" * 100],
    "a port that is no text": [frame(b"O", 1, 1, b"\xff\xfe")],
}  # fmt: skip


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_journal_gives_what_is_whole_and_keeps_nobody_from_playing(tmp_path: Path, name: str) -> None:
    tune = [frame(b"p", 1, pulse, message) for _, pulse, message in TUNE]
    (tmp_path / "x.journal").write_bytes(MAGIC + b"".join(CRAFTED[name] + tune))
    said: list[str] = []
    rescue(tmp_path, said.append)
    (path,) = tmp_path.glob("*.mid")
    notes = midifile.read(path).notes
    assert {note.pitch for note in notes} >= {message[1] for _, _, message in TUNE[1:]}
    assert hanging(path) == []
    assert [str(path) in line for line in said] == [True]


def test_garbage_of_megabytes_is_searched_in_time(tmp_path: Path) -> None:
    """Every place looks like the beginning of a long frame."""
    for place in (b"\x00\xff\x0f\x00pppp", b"\x00\xff\x01\x00pppp", b"JJJJJJJJ"):
        (tmp_path / "x.journal").write_bytes(MAGIC + place * (1 << 20))
        saved = salvage(tmp_path / "x.journal", tmp_path / "x.mid")
        assert (saved.notes, saved.lost) == (0, 8 << 20)


@pytest.mark.parametrize("at", range(len(MAGIC)))
def test_a_bit_of_the_first_line_costs_nothing(tmp_path: Path, at: int) -> None:
    """But for one that makes it the first line of another version."""
    data = bytearray(journal_of(TUNE))
    data[at] ^= 4
    (tmp_path / "x.journal").write_bytes(data)
    said: list[str] = []
    rescue(tmp_path, said.append)
    if bytes(data[: len(MAGIC)]) == b"antiphon journal 5\n":
        assert "another version" in said[0] and (tmp_path / "x.journal").exists()
    else:
        assert len(midifile.read(tmp_path / "x-rescued.mid").notes) == len(
            midifile.read(rescued_of(tmp_path, TUNE)).notes
        )


def rescued_of(folder: Path, tune: list[Event]) -> Path:
    (folder / "whole").mkdir()
    (folder / "whole" / "x.journal").write_bytes(journal_of(tune))
    return salvage(folder / "whole" / "x.journal", folder / "x.mid").path


def test_a_block_that_was_never_written_costs_what_was_in_it(tmp_path: Path) -> None:
    """As a power cut leaves it, at the very beginning."""
    events: list[Event] = [("player", pulse * 100, midi.note_on(0, 60, 80)) for pulse in range(500)]
    data = bytearray(journal_of(events))
    data[:4096] = bytes(4096)
    (tmp_path / "x.journal").write_bytes(data)
    said: list[str] = []
    rescue(tmp_path, said.append)
    assert "bytes lost" in said[0]
    assert len(midifile.read(tmp_path / "x-rescued.mid").notes) > 500 - 4096 // 25


def test_a_recording_of_the_longest_name_is_rescued(tmp_path: Path) -> None:
    longest = max(range(200, 256), key=lambda size: (can_be_written(tmp_path / f"{'n' * size}.mid"), size))
    (tmp_path / f"{'n' * longest}.journal").write_bytes(journal_of(TUNE))
    rescue(tmp_path, lambda _: None)
    assert [path.name for path in tmp_path.glob("*.mid")] == [f"{'n' * longest}-rescued.mid"]


def can_be_written(path: Path) -> bool:
    with contextlib.suppress(UserError):
        check_writable(path)
        return True
    return False


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_links_and_fifos_are_no_journals(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(journal_of(TUNE))
    (tmp_path / "link.journal").symlink_to(elsewhere)
    os.mkfifo(tmp_path / "fifo.journal")
    (tmp_path / "folder.journal").mkdir()
    assert find_unfinished(tmp_path) == []
    for name in ("link", "fifo", "folder"):
        with pytest.raises(UserError, match="cannot be read"):
            salvage(tmp_path / f"{name}.journal", tmp_path / "x.mid")
    assert elsewhere.exists() and not (tmp_path / "x.mid").exists()
