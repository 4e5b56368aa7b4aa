"""The bytes of MIDI files: what other programs read is read, what was mended is said, and mido and symusic are the referees."""

from __future__ import annotations

import io
import tempfile
from collections import Counter, defaultdict, deque
from pathlib import Path

import mido
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st
from toycorpus import SONG, SONG_METRES, SONG_TEMPOS, midi_bytes

from realtime.errors import UserError
from realtime.io.files import midifile, smf
from realtime.io.files.smf import METRE, Smf, encoded, load, message_bytes, meta, variable_length
from realtime.io.files.timebase import Timebase, bpm_of, timebase_of

KEPT_FILES = Path(__file__).parents[2] / "shared" / "files" / "mid"
"""Small files after public bug reports, beside a checkout where they are there."""
TUNE = (60, 62, 64, 65, 67, 65, 64, 62)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "big") + body


def header(tracks: int = 1, form: int = 1, division: int = 480, more: bytes = b"") -> bytes:
    return chunk(b"MThd", b"".join(number.to_bytes(2, "big") for number in (form, tracks, division)) + more)


def quarters(between: bytes = b"", running: bool = True, channel: int = 0) -> bytes:
    """A track of quarter notes of 480 ticks; `between` stands, with its delta time, before each note but the first."""
    body = b""
    for number, key in enumerate(TUNE):
        status = b"" if running and number else bytes((0x90 | channel,))
        body += (between if number else b"") + b"\0" + status + bytes((key, 80)) + b"\x83\x60"
        body += (b"" if running else bytes((0x80 | channel,))) + bytes((key, 0))
    return body + b"\0\xff\x2f\0"


def loaded(data: bytes) -> Smf:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.mid")
        path.write_bytes(data)
        return load(path)


Rows = Counter[tuple[int, ...]]  # onset, end, pitch, velocity; ticks


def notes_in(smf: Smf) -> Rows:
    return Counter(
        (span.start, span.end, note.pitch, note.velocity) for note, span in midifile.notes_of(smf, timebase_of(smf))
    )


WHOLE = Counter({(480 * at, 480 * at + 480, key, 80): 1 for at, key in enumerate(TUNE)})


@pytest.mark.parametrize(
    ("data", "mended"),
    [
        pytest.param(header() + chunk(b"MTrk", quarters(b"\0\xff\x06\1x")), [], id="running status over a meta event"),
        pytest.param(header() + chunk(b"MTrk", quarters(b"\0\xf0\3\x7e\1\xf7")), [], id="running status over a sysex"),
        pytest.param(header() + chunk(b"MTrk", quarters(b"\0\xf8")), ["system messages"], id="a clock between notes"),
        pytest.param(header() + chunk(b"MTrk", quarters(b"\0\xf2\1\2")), ["system messages"], id="a song position"),
        pytest.param(header(form=2) + chunk(b"MTrk", quarters()), [], id="type 2 with one track"),
        pytest.param(header(form=7) + chunk(b"MTrk", quarters()), ["type 7"], id="a type that is none"),
        pytest.param(header(3) + chunk(b"MTrk", quarters()), ["1 track read where 3"], id="fewer tracks"),
        pytest.param(header(0) + chunk(b"MTrk", quarters()), ["1 track read where 0"], id="more tracks"),
        pytest.param(header() + chunk(b"MTrk", quarters())[:-1], ["track 1 is cut short"], id="the last byte is missing"),
        pytest.param(header() + chunk(b"MTrk", quarters()[:-4]), [], id="no end of track"),
        pytest.param(header() + b"MTrk\xff\xff\xff\xff" + quarters(), [], id="a length that is wrong"),
        pytest.param(
            header(2) + b"MTrk\0\1\0\0" + meta(3, b"a").join((b"\0", b"\0\xff\x2f\0")) + chunk(b"MTrk", quarters()),
            [], id="a wrong length, and a track after it",
        ),
        pytest.param(header(more=b"1234") + chunk(b"MTrk", quarters()), [], id="a longer header"),
        pytest.param(header() + chunk(b"MTrk", quarters()) + b"\0\1\2" * 9, [], id="bytes after the end"),
        pytest.param(
            header() + b"\0" + chunk(b"MTrk", quarters()), ["between the tracks"], id="a byte too many between chunks"
        ),
        pytest.param(bytes(128) + header() + chunk(b"MTrk", quarters()), ["128 bytes before"], id="MacBinary"),
        pytest.param(
            b"RIFF\0\0\0\0RMID" + b"LIST\3\0\0\0abc\0" + b"data\xff\xff\0\0" + header() + chunk(b"MTrk", quarters()),
            ["RIFF"], id="RIFF",
        ),
        pytest.param(header() + chunk(b"MTrk", b"\x80\x80\x80\x80\0\xff\1\0" + quarters()), [], id="a padded number"),
    ],
)  # fmt: skip
def test_what_others_read_is_read(data: bytes, mended: list[str]) -> None:
    smf = loaded(data)
    assert notes_in(smf) == WHOLE
    assert len(smf.mended) == len(mended) and all(word in said for word, said in zip(mended, smf.mended, strict=True))


@pytest.mark.parametrize("cut", range(30, len(chunk(b"MTrk", quarters())), 3))
def test_of_a_file_that_is_cut_short_all_that_is_whole_is_read(cut: int) -> None:
    smf = loaded(header(2) + chunk(b"MTrk", quarters(channel=1)) + chunk(b"MTrk", quarters())[:cut])
    notes = [(span.start, note.pitch) for note, span in midifile.notes_of(smf, timebase_of(smf)) if note.track]
    struck = [(480 * at, key) for at, key in enumerate(TUNE)]
    assert notes == struck[: len(notes)] and len(notes) >= (cut - 8 - 1) // 6 - 1
    assert any("cut short" in said for said in smf.mended)


def test_data_bytes_above_127_are_clipped_and_it_is_said() -> None:
    smf = loaded(header() + chunk(b"MTrk", b"\0\xb0\7\xff\0\xe0\xf0\x40" + quarters()))
    assert [(event.kind, event.data) for event in smf.events[:2]] == [(7, b"\x7f"), (0x7F, b"\x40")]
    assert notes_in(smf) == WHOLE and smf.mended == ("data bytes above 127 read as 127",)


@pytest.mark.parametrize(("frames", "rate"), [(24, 24.0), (25, 25.0), (29, 30 / 1.001), (30, 30.0)])
@pytest.mark.parametrize("bpm", [None, 60, 240])
def test_frames_are_seconds_at_the_tempo_in_force(frames: int, rate: float, bpm: int | None) -> None:
    ticks = rate * 40  # a second
    tempo = b"" if bpm is None else b"\0" + meta(0x51, (60_000_000 // bpm).to_bytes(3, "big"))
    body = tempo + b"\0\x90\x3c\x50" + variable_length(round(10 * ticks)) + b"\x3c\0\0\xff\x2f\0"
    smf = loaded(header(division=(0x100 - frames) << 8 | 40) + chunk(b"MTrk", body))
    piece = midifile.piece_of(smf)
    assert piece.notes[0].duration_pulse == pytest.approx(10 * (bpm or 120) / 60 * 480, abs=1)
    assert piece.tempos == [(0, bpm or 120.0)]


@given(st.integers(1, 0x7FFF), st.integers(0, 10**6))
def test_ticks_and_pulses(division: int, pulse: int) -> None:
    timebase = Timebase(division)
    tick = timebase.tick(pulse)
    assert abs(tick - pulse * division / 480) <= 0.5
    assert timebase.pulse(tick) <= tick * 480 / division < timebase.pulse(tick) + 1


def test_pulses_across_tempos_in_frames() -> None:
    timebase = Timebase((0x100 - 25) << 8 | 40, [(0, 120.0), (5000, 60.0)])  # a tick is a millisecond
    assert [timebase.pulse(tick) for tick in (0, 500, 5000, 6000)] == [0, 480, 4800, 5280]
    assert [timebase.tick(pulse) for pulse in (0, 480, 4800, 5280)] == [0, 500, 5000, 6000]


def test_tracks_with_a_piece_each_are_refused() -> None:
    with pytest.raises(UserError, match="type 2 given: its tracks are pieces of their own"):
        loaded(header(2, form=2) + chunk(b"MTrk", quarters()) * 2)


@pytest.mark.parametrize(
    "data", [b"SMF2CLIP" + bytes(40), b"RIFF\0\0\0\0RMIDdata\0\0\0\0", b"RIFF\0\0\0\0WAVE" + bytes(90)]
)
def test_no_midi_file(data: bytes) -> None:
    with pytest.raises(UserError, match="not a MIDI file"):
        loaded(data)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (chunk(b"MTrk", b"\0\xd0\x40" + b"\1\x41" * 400), "more than 300 events"),
        (chunk(b"MTrk", b"\0\xfe" * 400), "more than 300 events"),
        (chunk(b"MTrk", quarters()) + chunk(b"ABCD", b"") * 400, "more than 300 events"),
        (chunk(b"MTrk", b"") * 200, "more than 100 tracks"),
    ],
    ids=["channel pressure", "active sensing", "other chunks", "tracks"],
)
def test_what_is_in_a_file_is_bounded_be_it_kept_or_left_out(
    body: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smf, "MAX_EVENTS", 300)
    monkeypatch.setattr(smf, "MAX_TRACKS", 100)
    with pytest.raises(UserError, match=problem):
        loaded(header() + body)


def test_chunks_of_other_kinds_stay_where_they_are() -> None:
    one, two = chunk(b"MTrk", quarters(running=False)), chunk(b"MTrk", quarters(running=False, channel=1))
    data = header(2, more=b"tail") + chunk(b"XFIH", b"odd") + one + chunk(b"ABCD", b"") + two + chunk(b"XFKM", b"end")
    smf = loaded(data)
    tracks = [[(e.tick, message_bytes(e)) for e in smf.events if e.track == number] for number in range(2)]
    assert encoded(smf, list(zip(tracks, smf.lengths, strict=True))) == data


def by_mido(path: Path) -> tuple[Rows, dict[int, int], dict[int, tuple[int, int]]]:
    """Notes that end, tempos and metres by tick."""
    notes: Rows = Counter()
    held: defaultdict[tuple[int, ...], deque[tuple[int, int]]] = defaultdict(deque)
    tempos, metres = {}, {}
    file = mido.MidiFile(path, clip=True)
    for tick, number, message in sorted(
        (
            (sum(each.time for each in track[: at + 1]), number, message)
            for number, track in enumerate(file.tracks)
            for at, message in enumerate(track)
        ),
        key=lambda row: row[:2],
    ):
        if message.type == "set_tempo":
            tempos[tick] = message.tempo
        elif message.type == "time_signature":
            metres[tick] = (message.numerator, message.denominator)
        elif message.type == "note_on" and message.velocity:
            held[number, message.channel, message.note].append((tick, message.velocity))
        elif message.type in ("note_on", "note_off") and held[number, message.channel, message.note]:
            onset, velocity = held[number, message.channel, message.note].popleft()
            notes[onset, tick, message.note, velocity] += 1
    return notes, tempos, metres


def by_symusic(path: Path) -> tuple[Rows, dict[int, int], dict[int, tuple[int, int]]]:
    score = symusic.Score(path)
    rows = ((note.time, note.time + note.duration, note.pitch, note.velocity) for t in score.tracks for note in t.notes)
    metres = {each.time: (each.numerator, each.denominator) for each in score.time_signatures}
    return Counter(rows), {each.time: each.mspq for each in score.tempos}, metres


def by_us(path: Path) -> tuple[Rows, dict[int, int], dict[int, tuple[int, int]]]:
    smf = load(path)
    spans = [(note, span) for note, span in midifile.notes_of(smf, timebase_of(smf)) if span.off is not None]
    tempos = {e.tick: int.from_bytes(e.data, "big") for e in smf.events if bpm_of(e) is not None}
    metres = {e.tick: (e.data[0], 1 << e.data[1]) for e in smf.events if (e.status, e.kind) == (0xFF, METRE)}
    return Counter((span.start, span.end, note.pitch, note.velocity) for note, span in spans), tempos, metres


def agrees(path: Path) -> None:
    ours = by_us(path)
    assert ours == by_mido(path)
    assert ours == by_symusic(path)


MESSAGES = st.lists(
    st.tuples(
        st.integers(0, 700),
        st.sampled_from(
            ("note", "note", "note", "control_change", "program_change", "pitchwheel", "sysex", "set_tempo", "text")
        ),
        st.integers(0, 15),
        st.integers(0, 127),
        st.integers(1, 127),
        st.integers(1, 900),
    ),
    max_size=40,
)


def message_of(kind: str, channel: int, value: int, other: int) -> mido.Message | mido.MetaMessage:
    match kind:
        case "control_change":
            return mido.Message(kind, channel=channel, control=value, value=other)
        case "program_change":
            return mido.Message(kind, channel=channel, program=value)
        case "pitchwheel":
            return mido.Message(kind, channel=channel, pitch=value * 64)
        case "sysex":
            return mido.Message(kind, data=(value, other))
        case "set_tempo":
            return mido.MetaMessage(kind, tempo=200_000 + value * 1000)
        case _:
            return mido.MetaMessage("text", text="a" * value)


@settings(deadline=None, max_examples=100)
@given(st.lists(MESSAGES, min_size=1, max_size=4), st.sampled_from((24, 96, 480, 960, 1024)), st.data())
def test_any_file_is_read_as_mido_and_symusic_read_it(
    tracks: list[list[tuple[int, str, int, int, int, int]]], division: int, data: st.DataObject
) -> None:
    file = mido.MidiFile(type=1, ticks_per_beat=division)
    file.tracks.append(mido.MidiTrack())
    for top, bottom in data.draw(
        st.lists(st.tuples(st.integers(1, 12), st.sampled_from((1, 2, 4, 8, 16))), max_size=4)
    ):
        metre = mido.MetaMessage("time_signature", numerator=top, denominator=bottom, time=4 * division)
        file.tracks[0].append(metre)
    for rows in tracks:
        events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = []
        now = 0
        for delta, kind, channel, value, other, length in rows:
            now += delta
            if kind == "note":
                events.append((now, 1, mido.Message("note_on", channel=channel, note=value, velocity=other)))
                events.append((now + length, 0, mido.Message("note_off", channel=channel, note=value, velocity=other)))
            else:
                events.append((now, 1, message_of(kind, channel, value, other)))
        events.sort(key=lambda event: event[:2])
        before = 0
        track = mido.MidiTrack()
        for tick, _, message in events:
            track.append(message.copy(time=tick - before))
            before = tick
        file.tracks.append(track)
    buffer = io.BytesIO()
    file.save(file=buffer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any.mid")
        path.write_bytes(buffer.getvalue())
        agrees(path)


def test_our_files_are_read_as_mido_and_symusic_read_them(tmp_path: Path) -> None:
    (tmp_path / "song.mid").write_bytes(midi_bytes(SONG, SONG_METRES, SONG_TEMPOS))
    notes = [midifile.FileNote(at * 240, 60 + at % 7, 80, 300, at % 3) for at in range(50)]
    midifile.write(
        tmp_path / "own.mid", {"a": notes, "b": notes[::2]}, [(0, 97.0), (960, 141.5)], [(0, 3, 4), (2880, 7, 8)]
    )
    for path in tmp_path.iterdir():
        agrees(path)


REASONS = {
    "F02": "running status over a sysex: mido takes the sysex for the status, symusic loses the track",
    "F04": "cut short: both refuse",
    "F05": "timed in frames: mido takes the frames for ticks, symusic refuses",
    "F06": "RIFF: both refuse",
    "F09": "a value above 127: symusic refuses",
    "F10": "fewer tracks than announced: mido refuses",
    "F11": "more tracks than announced: both leave them out",
    "F12": "a chunk of another kind: mido refuses",
    "F14": "events after the end of a track: mido reads on",
    "F15": "MacBinary: both refuse",
    "F18": "a longer header: symusic refuses",
    "F20": "system exclusive in pieces: symusic moves what follows",
    "F23": "a key that is none: mido refuses",
    "F26": "meta events that are too short: mido refuses, symusic reads beyond their end",
    "F27": "a tempo of 0: both keep it, and no clock could follow",
    "F16": "a system message in a track: symusic reads it as it likes",
}
"""Where we differ from one of them or from both, and why."""


@pytest.mark.skipif(not KEPT_FILES.is_dir(), reason="the files after public bug reports are not beside this checkout")
def test_odd_files_are_read_as_mido_and_symusic_read_them() -> None:
    files = [path for path in sorted(KEPT_FILES.glob("*.mid")) if path.stem not in REASONS and path.stem != "F08"]
    assert len(files) > 50
    for path in files:
        agrees(path)
