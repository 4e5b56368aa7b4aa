"""The recorder: what goes in stands in the .mid, nothing hangs, and no damage to a journal costs more than its tail."""

import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import midi
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.live.jam import rescue
from realtime.io.live.recorder import Recorder, find_unfinished, salvage

ROOT = Path(__file__).resolve().parent.parent
Event = tuple[str, int, bytes]

STATUS = st.sampled_from([0x80, 0x90, 0x90, 0x90, 0x91, 0xB0, 0xC0, 0xE0, 0xF0, 0xF8])
MESSAGE = st.builds(lambda status, a, b: bytes((status, a, b)), STATUS, st.integers(58, 66), st.integers(0, 127))
EVENT = st.tuples(st.sampled_from(["player", "antiphon"]), st.integers(-3000, 9000), MESSAGE)
EVENTS = st.lists(EVENT, max_size=40)


def recorded(folder: Path, events: list[Event]) -> Recorder:
    recorder = Recorder(folder / "take.journal", 100.0, 3)
    recorder.open()
    for direction, pulse, message in events:
        recorder.write(direction, pulse, message)
    return recorder


def journal_of(events: list[Event]) -> bytes:
    """A whole journal, as a session killed after its last flush leaves it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "take.journal")
        recorder = recorded(Path(folder), events)
        with pytest.raises(UserError):  # the .mid can't be written, so that the journal is kept
            recorder.finish(Path(folder, "missing", "take.mid"))
        return path.read_bytes()


def hanging(mid: Path) -> list[int]:
    """By mido, not by us: the notes still sounding at each track's end, negative where an end had no beginning."""
    left = []
    for track in mido.MidiFile(mid).tracks:
        sounding: Counter[tuple[int, int]] = Counter()
        for message in track:
            if message.type in ("note_on", "note_off"):
                struck = message.type == "note_on" and message.velocity > 0
                sounding[message.channel, message.note] += 1 if struck else -1
                assert 0 <= sounding[message.channel, message.note] <= 1
        left += [count for count in sounding.values() if count]
    return left


def test_a_duet_with_tempo_and_metre(tmp_path: Path) -> None:
    recorder = recorded(
        tmp_path,
        [("player", 0, b"\x90\x3c\x50"), ("player", 240, b"\x80\x3c\x00"), ("player", 250, b"\xb0\x40\x7f")],
    )
    recorder.tempo(480, 90.0)
    recorder.write("antiphon", 480, b"\x91\x40\x60")
    recorder.write("antiphon", 960, b"\x91\x40\x00")  # velocity 0 ends a note
    recorder.write("antiphon", 960, b"\xf8")  # a clock has no place in a .mid
    assert recorder.finish(tmp_path / "duet.mid") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["duet.mid"]
    piece = midifile.read(tmp_path / "duet.mid")
    assert piece.track_names == ["tempo", "player", "antiphon"]
    assert piece.time_signatures == [(0, 3, 4)]
    assert [(pulse, round(bpm, 3)) for pulse, bpm in piece.tempos] == [(0, 100.0), (480, 90.0)]
    assert piece.notes == [
        midifile.FileNote(0, 60, 80, 240, channel=0, track=1),
        midifile.FileNote(480, 64, 96, 480, channel=1, track=2),
    ]
    file = mido.MidiFile(tmp_path / "duet.mid")
    assert (file.type, file.ticks_per_beat) == (1, 480)
    pedal = [message.value for message in file.tracks[1] if message.is_cc(64)]
    assert pedal == [127, 0]  # a pedal left down is lifted at the end


@pytest.mark.parametrize(("first", "onset"), [(-1, 0), (-60, 0), (-61, 1379), (-1440, 0), (-1600, 1280)])
def test_an_upbeat_moves_everything_by_whole_bars(tmp_path: Path, first: int, onset: int) -> None:
    recorder = recorded(tmp_path, [("player", first, b"\x90\x3c\x50"), ("player", 480, b"\x90\x3e\x50")])
    recorder.finish(tmp_path / "x.mid")
    notes = midifile.read(tmp_path / "x.mid").notes
    assert notes[0].onset_pulse == onset
    assert notes[1].onset_pulse % 1440 == 480  # the bars are where they were played


def test_a_jump_begins_a_new_pass_on_a_bar_line(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [("player", 100, b"\x90\x3c\x50")])
    recorder.write("player", 2000, b"\x90\x3e\x50")
    recorder.jump(480)
    recorder.write("player", 490, b"\x90\x3c\x50")
    recorder.write("player", 700, b"\x80\x3c\x00")
    recorder.finish(tmp_path / "x.mid")
    notes = [(note.onset_pulse, note.duration_pulse) for note in midifile.read(tmp_path / "x.mid").notes]
    assert notes == [(100, 1900), (2000, 1), (2880 + 490, 210)]


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_no_note_hangs_and_the_same_input_gives_the_same_bytes(events: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for attempt in ("a.mid", "b.mid"):
            recorded(folder, events).finish(folder / attempt)
            files.append((folder / attempt).read_bytes())
        assert files[0] == files[1]
        assert hanging(folder / "a.mid") == []
        midifile.read(folder / "a.mid")


@given(st.lists(EVENT, max_size=12), st.data())
@settings(max_examples=80, deadline=None)
def test_a_damaged_journal_salvages_a_prefix(events: list[Event], data: st.DataObject) -> None:
    whole = journal_of(events)
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    damaged = bytearray(whole[:cut])
    for at in data.draw(st.lists(st.integers(0, max(0, cut - 1)), max_size=3 if cut else 0), label="flipped"):
        damaged[at] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        journal, mid, prefixes = Path(name, "x.journal"), Path(name, "x.mid"), set()
        for length in range(len(events) + 1):
            recorded(Path(name), events[:length]).finish(mid)
            prefixes.add(mid.read_bytes())
        Path(name, "empty.journal").write_bytes(b"")  # where even the tempo was lost
        salvage(Path(name, "empty.journal"), mid)
        prefixes.add(mid.read_bytes())
        journal.write_bytes(damaged)
        salvage(journal, mid)
        assert mid.read_bytes() in prefixes
        assert journal.with_name("x.journal.salvaged").read_bytes() == bytes(damaged)
        assert not journal.exists()


def test_a_killed_session_is_found_and_saved(tmp_path: Path) -> None:
    journal = tmp_path / "take.journal"
    program = f"""
import pathlib, sys
from realtime.io.live.recorder import Recorder
path = pathlib.Path({str(journal)!r})
recorder = Recorder(path, 120, 4)
recorder.open()
for beat in range(100):
    recorder.write("player", beat * 480, bytes((0x90, 60, 80)))
    recorder.write("player", beat * 480 + 400, bytes((0x80, 60, 0)))
while path.stat().st_size < 200 * 20:
    pass
print("written", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "written\n"
        assert find_unfinished(tmp_path) == []  # it is alive
        session.send_signal(signal.SIGKILL)
        session.wait()
    assert find_unfinished(tmp_path) == [journal]
    assert salvage(journal, tmp_path / "take.mid") == 100
    assert find_unfinished(tmp_path) == []


def test_the_journal_is_kept_until_the_mid_stands(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [("player", 0, b"\x90\x3c\x50")])
    with pytest.raises(UserError, match="nowhere"):
        recorder.finish(tmp_path / "nowhere" / "x.mid")
    assert (tmp_path / "take.journal").exists()
    assert recorder.finish(tmp_path / "x.mid") == 1
    assert not (tmp_path / "take.journal").exists()


def test_where_no_journal_can_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be started"):
        Recorder(tmp_path / "nowhere" / "x.journal", 120, 4).open()
    recorded(tmp_path, []).discard()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="cannot be read"):
        salvage(tmp_path / "x.journal", tmp_path / "x.mid")


def test_a_rescue_leaves_other_files_and_earlier_rescues_alone(tmp_path: Path) -> None:
    (tmp_path / "accounts.journal").write_text("2026-01-01 * opening\n")
    for pitch in (60, 62):
        recorder = Recorder(tmp_path / "take.journal", 120.0, 4)
        recorder.open()
        recorder.write("player", 0, midi.note_on(0, pitch, 80))
        recorder._close()  # as a kill leaves it
        assert find_unfinished(tmp_path) == [tmp_path / "take.journal"]
        rescue(tmp_path, lambda _: None)
    rescued = sorted(tmp_path.glob("*.mid"))
    assert [[note.pitch for note in midifile.read(path).notes] for path in rescued] == [[62], [60]]
    assert len(list(tmp_path.glob("*.salvaged*"))) == 2
    assert (tmp_path / "accounts.journal").exists()
