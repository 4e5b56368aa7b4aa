"""The recorder: what goes in stands in the .mid, nothing hangs, and damage to a journal costs what it hit and no more."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import Event, hanging, recorded

from realtime import midi
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.live.jam import recording_file, rescue
from realtime.io.live.journal import find_unfinished
from realtime.io.live.recorder import Recorder, salvage
from realtime.io.live.tracks import LeftOn

ROOT = Path(__file__).resolve().parent.parent

STATUS = st.sampled_from([0x80, 0x90, 0x90, 0x90, 0x91, 0xB0, 0xC0, 0xE0, 0xF0, 0xF8])
MESSAGE = st.builds(lambda status, a, b: bytes((status, a, b)), STATUS, st.integers(58, 66), st.integers(0, 127))
EVENT = st.tuples(st.sampled_from(["player", "antiphon"]), st.integers(-3000, 9000), MESSAGE)
EVENTS = st.lists(EVENT, max_size=40)


@pytest.mark.parametrize(("quarters", "signature"), [(3, (6, 8)), (6, (12, 8))])
def test_a_compound_metre_is_in_the_file(quarters: int, signature: tuple[int, int], tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "take.journal", 100.0, quarters, compound=True)
    recorder.open()
    recorder.write("player", 0, b"\x90\x3c\x50")
    assert recorder.finish(tmp_path / "take.mid").notes == 1
    assert midifile.read(tmp_path / "take.mid").time_signatures == [(0, *signature)]


def test_a_duet_with_tempo_and_metre(tmp_path: Path) -> None:
    recorder = recorded(
        tmp_path,
        [("player", 0, b"\x90\x3c\x50"), ("player", 240, b"\x80\x3c\x00"), ("player", 250, b"\xb0\x40\x7f")],
    )
    recorder.tempo(480, 90.0)
    recorder.write("antiphon", 480, b"\x91\x40\x60")
    recorder.write("antiphon", 960, b"\x91\x40\x00")  # velocity 0 ends a note
    recorder.write("antiphon", 960, b"\xf8")  # a clock has no place in a .mid
    assert recorder.finish(tmp_path / "duet.mid").notes == 2
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
        struck = sum(message[0] & 0xF0 == 0x90 and message[2] > 0 for _, _, message in events)
        assert len(midifile.read(folder / "a.mid").notes) == struck, "each note is in it"


def test_notes_of_one_key_that_were_delivered_at_once_are_all_kept(tmp_path: Path) -> None:
    down, up = b"\x90\x3c\x50", b"\x80\x3c\x00"
    events = [("player", 100, message) for message in (down, up, down, up, down)]
    recorder = recorded(tmp_path, [*events, ("player", 100, b"\x90\x40\x50"), ("player", 160, up)])
    recorder.finish(tmp_path / "x.mid")
    notes = [(note.onset_pulse, note.duration_pulse) for note in midifile.read(tmp_path / "x.mid").notes]
    assert sorted(notes) == [(100, 1), (100, 60), (101, 1), (102, 58)]


def test_the_journal_of_another_session_is_not_removed(tmp_path: Path) -> None:
    """The folder was put away, and another one made in its place."""
    recorder = recorded(tmp_path, [("player", 0, b"\x90\x3c\x50")])
    (tmp_path / "take.journal").rename(tmp_path / "away")
    (tmp_path / "take.journal").write_bytes(b"precious")
    while not recorder.trouble:
        time.sleep(0.01)
    saved = recorder.finish(tmp_path / "take.mid")
    assert [note.pitch for note in midifile.read(saved.path).notes] == [60]
    assert (tmp_path / "take.journal").read_bytes() == b"precious"
    assert (tmp_path / "away").read_bytes() == b"", "nobody is to rescue it"


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere"), Path.touch])
def test_a_name_that_is_taken_is_refused_at_the_start(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "take.journal")
    with pytest.raises(UserError, match="is there already"):
        Recorder(tmp_path / "take.journal", 120.0, 4).open()
    make(tmp_path / "take.mid")
    with pytest.raises(UserError, match=r"is there already|is a folder"):
        recording_file(tmp_path / "take.mid")


def test_a_home_of_nobody_is_a_name_like_any_other() -> None:
    with pytest.raises(UserError, match=r"~nobody-of-this-name/take\.mid: cannot be written"):
        recording_file(Path("~nobody-of-this-name/take.mid"))


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
    assert salvage(journal, tmp_path / "take.mid").notes == 100
    assert find_unfinished(tmp_path) == []


def test_the_journal_is_kept_until_the_mid_stands(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [("player", 0, b"\x90\x3c\x50")])
    with pytest.raises(UserError, match=r"the next session rescues it"):
        recorder.finish(tmp_path / f"{'x' * 300}.mid")  # no file can have this name, wherever it is
    assert find_unfinished(tmp_path) == [tmp_path / "take.journal"]
    assert rescue(tmp_path, lambda _: None) == []
    assert [note.pitch for note in midifile.read(tmp_path / "take-rescued.mid").notes] == [60]


def test_a_file_that_has_appeared_is_not_overwritten(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [("player", 0, b"\x90\x3c\x50")])
    (tmp_path / "x.mid").write_bytes(b"precious")
    (tmp_path / "x-2.mid").symlink_to(tmp_path / "nowhere")
    saved = recorder.finish(tmp_path / "x.mid")
    assert saved.path == tmp_path / "x-3.mid" and "never overwritten" in saved.why_there
    assert (tmp_path / "x.mid").read_bytes() == b"precious"
    assert midifile.read(tmp_path / "x-3.mid").notes[0].pitch == 60


def test_sessions_that_begin_in_one_second_get_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "take-2.mid").write_bytes(b"precious")
    recorders = [Recorder(tmp_path / "take.journal", 100.0, 3) for _ in range(3)]
    for recorder in recorders:
        recorder.open(numbered=True)
        recorder.write("player", 0, b"\x90\x3c\x50")
    names = [recorder.journal_path.stem for recorder in recorders]
    assert names == ["take", "take-3", "take-4"]
    with pytest.raises(UserError, match="is there already, of another session"):
        Recorder(tmp_path / "take.journal", 100.0, 3).open()
    for recorder in recorders:
        path = recorder.journal_path.with_suffix(".mid")
        saved = recorder.finish(path)
        assert (saved.path, saved.why_there) == (path, "")


def test_a_folder_that_is_gone_takes_nothing_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "usb" / "takes"
    folder.mkdir(parents=True)
    recorder = recorded(folder, [("player", 0, b"\x90\x3c\x50")])
    shutil.rmtree(tmp_path / "usb")
    recorder.write("player", 480, b"\x90\x3e\x50")
    while not recorder.trouble:
        time.sleep(0.01)
    assert str(tmp_path / "antiphon-take.journal") in recorder.trouble
    assert find_unfinished(tmp_path) == [], "it is being written"
    recorder.write("player", 960, b"\x90\x40\x50")
    saved = recorder.finish(folder / "take.mid")
    assert saved.path == tmp_path / "antiphon-take.mid" and "choose a folder that exists" in saved.why_there
    assert [note.pitch for note in midifile.read(saved.path).notes] == [60, 62, 64]
    assert [path.name for path in tmp_path.iterdir()] == ["antiphon-take.mid"]


def test_a_session_that_was_cut_off_says_what_it_left_sounding(tmp_path: Path) -> None:
    recorder = recorded(tmp_path, [("antiphon", 0, midi.note_on(3, 60, 80)), ("antiphon", 9, midi.note_off(3, 60))])
    recorder.output("Synth")
    for event in (("antiphon", 10, midi.note_on(2, 64, 80)), ("player", 10, midi.note_on(0, 70, 80))):
        recorder.write(*event)
    with pytest.raises(UserError):
        recorder.finish(tmp_path / f"{'x' * 300}.mid")
    assert rescue(tmp_path, lambda _: None) == [LeftOn("Synth", ((2, 64),), (2, 3))]


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
        with pytest.raises(UserError):  # no file can have this name: the journal is kept, as a kill leaves it
            recorder.finish(tmp_path / f"{'x' * 300}.mid")
        assert find_unfinished(tmp_path) == [tmp_path / "take.journal"]
        rescue(tmp_path, lambda _: None)
    rescued = sorted(tmp_path.glob("*.mid"))
    assert [[note.pitch for note in midifile.read(path).notes] for path in rescued] == [[62], [60]]
    assert len(list(tmp_path.glob("*.salvaged*"))) == 2
    assert (tmp_path / "accounts.journal").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks every open file")
def test_where_files_cannot_be_locked_a_living_session_is_known_by_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network drives know no locks."""
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    recorder = recorded(tmp_path, [("player", 0, midi.note_on(0, 60, 80))])
    assert find_unfinished(tmp_path) == []
    with pytest.raises(UserError):
        recorder.finish(tmp_path / f"{'x' * 300}.mid")
    os.utime(tmp_path / "take.journal", (1, 1))
    assert find_unfinished(tmp_path) == [tmp_path / "take.journal"]
