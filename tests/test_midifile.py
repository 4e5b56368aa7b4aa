"""MIDI files: mido as the referee of what we read and write, and every kind of damage ends in one line."""

import io
import tempfile
from pathlib import Path

import mido
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote, MidiPiece
from realtime.io.files.smf import MAX_BYTES
from realtime.io.files.timebase import MAX_BPM, MIN_BPM
from realtime.io.files.whole import check_writable, write_bytes

NOTES = st.lists(
    st.builds(
        FileNote,
        onset_pulse=st.integers(0, 20_000),
        pitch=st.integers(0, 127),
        velocity=st.integers(1, 127),
        duration_pulse=st.integers(1, 5000),
        channel=st.integers(0, 15),
    ),
    max_size=30,
)


def piece_of(data: bytes) -> MidiPiece:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.mid")
        path.write_bytes(data)
        return midifile.read(path)


def mido_file(division: int = 96, form: int = 1) -> bytes:
    """A small piece by mido: running programs, two tracks, tempo and metre changes, a drum, a note never ended."""
    file = mido.MidiFile(type=form, ticks_per_beat=division)
    meta = [
        mido.MetaMessage("track_name", name="Song"),
        mido.MetaMessage("set_tempo", tempo=600_000),
        mido.MetaMessage("time_signature", numerator=3, denominator=8),
        mido.MetaMessage("set_tempo", tempo=500_000, time=division),
    ]
    notes = [
        mido.MetaMessage("track_name", name="Keys"),
        mido.Message("program_change", channel=2, program=7),
        mido.Message("note_on", channel=2, note=60, velocity=80),
        mido.Message("sysex", data=(1, 2, 3), time=division // 2),
        mido.Message("note_on", channel=2, note=60, velocity=0, time=division // 2),
        mido.Message("note_on", channel=9, note=36, velocity=100),
        mido.Message("note_on", channel=2, note=64, velocity=90, time=division),
        mido.Message("note_off", channel=9, note=36, time=division),
        mido.MetaMessage("end_of_track", time=division),
    ]
    file.tracks += [mido.MidiTrack(meta), mido.MidiTrack(notes)]
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("division", [24, 96, 480, 960])
def test_reading_what_mido_writes(division: int) -> None:
    piece = piece_of(mido_file(division))
    assert piece.notes == [
        FileNote(0, 60, 80, 480, 2, 1, program=7),
        FileNote(480, 36, 100, 960, 9, 1, is_drum=True),
        FileNote(960, 64, 90, 480, 2, 1, program=7),  # never ended: ends with the last note, or after a quarter note
    ]
    assert piece.tempos == [(0, 100.0), (480, 120.0)]
    assert piece.time_signatures == [(0, 3, 8)]
    assert piece.track_names == ["Song", "Keys"]
    assert piece.length_pulse == 1920


@given(NOTES)
@settings(max_examples=50, deadline=None)
def test_notes_survive_the_way_through_a_file(notes: list[FileNote]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder, "a.mid"), Path(folder, "b.mid")
        midifile.write(path, {"one": notes, "two": []}, [(0, 100.0), (960, 50.0)], [(0, 3, 4)])
        piece = midifile.read(path)
        # Overlapping equal pitches are cut, so compare with what is left after one pass; a second changes nothing.
        midifile.write(again, {"one": piece.notes, "two": []}, piece.tempos, piece.time_signatures)
        assert again.read_bytes() == path.read_bytes()
        assert {note.onset_pulse for note in piece.notes} == {note.onset_pulse for note in notes}
        assert piece.track_names == ["tempo", "one", "two"]
        assert piece.time_signatures == [(0, 3, 4)] and piece.tempos == [(0, 100.0), (960, 50.0)]
        mido.MidiFile(path)  # the referee takes it


def test_overlapping_equal_pitches() -> None:
    first, second = FileNote(0, 60, 80, 1000), FileNote(480, 60, 90, 100)
    assert midifile.note_events([second, first]) == [
        (0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00"), (480, b"\x90\x3c\x5a"), (580, b"\x80\x3c\x00"),
    ]  # fmt: skip


def test_a_program_is_set_before_the_note_that_needs_it() -> None:
    notes = [FileNote(0, 60, 80, 480, channel=1, program=33), FileNote(480, 62, 80, 480, channel=1, program=33)]
    assert [message[0] for _, message in midifile.note_events(notes)] == [0xC1, 0x91, 0x81, 0x91, 0x81]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a MIDI file"),
        (b"RIFF" + bytes(100), "not a MIDI file"),
        (b"MThd", "damaged"),
        (b"MThd\0\0\0\6", "its header is cut short"),
        (mido_file()[:14], "there is no track in it"),
        (b"MThd\0\0\0\6\0\1\0\1\xe7\0" + mido_file()[14:], "damaged"),
        (b"MThd\0\0\0\6\0\1\0\1\0\0" + mido_file()[14:], "damaged"),
        # A length whose bytes never end: the reader must not follow it.
        (b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\x4c\x4b\x40" + b"\xff" * 5_000_000, "a length that never ends"),
        (b"MThd\0\0\0\6\0\0\0\1\0\1MTrk\0\0\0\x08\xff\xff\xff\x7f\x90\x3c\x40\x00", "longer than"),
        (b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\x00\x3c\x40\x00", "without a status"),
        (b"MThd" + bytes(MAX_BYTES), "larger than 16 MB"),
    ],
)
def test_one_line_for_each_damage(data: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as error:
        piece_of(data)
    assert "in.mid: " in str(error.value) and "\n" not in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mid", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            midifile.read(path)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_file_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(mido_file(data.draw(st.sampled_from([1, 96, 480]))))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        whole[at] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, len(whole)))
    piece: MidiPiece | None = None
    try:
        piece = piece_of(bytes(whole[:start] + data.draw(st.binary(max_size=12)) + whole[start:]))
    except UserError as error:
        assert "in.mid: " in str(error) and "\n" not in str(error)
    if piece is not None:
        check(piece)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_in_a_track(body: bytes) -> None:
    header = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk"
    try:
        check(piece_of(header + len(body).to_bytes(4, "big") + body))
    except UserError as error:
        assert "\n" not in str(error)


def check(piece: MidiPiece) -> None:
    """A valid piece, which can be written again."""
    assert piece.notes == sorted(piece.notes)
    for note in piece.notes:
        assert note.onset_pulse >= 0 and note.duration_pulse >= 1
        assert 0 <= note.pitch < 128 and 1 <= note.velocity < 128 and 0 <= note.channel < 16 and 0 <= note.program < 128
        assert note.onset_pulse + note.duration_pulse <= piece.length_pulse
        assert note.is_drum <= (note.channel == 9)
    assert piece.tempos[0][0] == 0 and all(MIN_BPM <= bpm <= MAX_BPM for _, bpm in piece.tempos)
    assert piece.time_signatures[0][0] == 0
    midifile.encode({"all": midifile.note_events(piece.notes)}, piece.tempos, piece.time_signatures)


def test_unwritable_is_known_beforehand(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "x.mid", tmp_path, tmp_path / ("x" * 300), tmp_path / "a\0b"):
        with pytest.raises(UserError):
            check_writable(path)
    check_writable(tmp_path / "x.mid")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "x.mid"
    folder.mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_bytes(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]
