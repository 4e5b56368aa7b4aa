"""Charts in files: text, MIDI with names or with chords, MusicXML plain and compressed; and files that are none."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import mido
import pytest

from realtime.errors import UserError
from realtime.io.files.charts import read_chart
from realtime.io.live.chart_watch import ChartWatch
from realtime.music.chart import Chart
from realtime.music.keys import Key


def bars(given: str | Path) -> list[str]:
    return [" ".join(symbol.name for symbol in bar) for bar in read_chart(str(given)).bars]


def midi_file(path: Path, events: Sequence[tuple[int, mido.Message | mido.MetaMessage]], name: str = "") -> Path:
    """One track; times in ticks of 480 a quarter."""
    track, before = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
    for at, message in sorted(events, key=lambda event: event[0]):
        track.append(message.copy(time=at - before))
        before = at
    file = mido.MidiFile(type=1, ticks_per_beat=480, tracks=[track])
    file.save(path)
    return path


def test_words_and_text_files(tmp_path: Path) -> None:
    path = tmp_path / "tune.txt"
    path.write_text("﻿key: G major\n[A] Am7 | D7\nGmaj7 | %\n", encoding="utf-8")
    assert bars(path) == ["Am7", "D7", "Gmaj7", "Gmaj7"] == bars("Am7 | D7 | Gmaj7 | %")
    assert read_chart(str(path)).key == Key(7, "major")
    assert bars("Am7") == ["Am7"]


@pytest.mark.parametrize("kind", ["marker", "lyrics", "text"])
def test_names_in_a_midi_file(kind: str, tmp_path: Path) -> None:
    names = [(0, "C"), (1920, "Am7"), (2880, "F"), (3600, "G7"), (5760, "N.C.")]
    events = [(at, mido.MetaMessage(kind, text=name)) for at, name in names]
    notes = [(0, mido.Message("note_on", note=60)), (7680, mido.Message("note_off", note=60))]
    path = midi_file(tmp_path / "a.mid", [*events, *notes])
    assert bars(path) == ["C", "Am7 Am7 Am7 Am7 F F F G7", "G7", "N.C."]


def test_a_track_of_chords_in_a_midi_file_strummed_and_inverted(tmp_path: Path) -> None:
    hands = [(0, (60, 64, 67)), (1930, (60, 65, 69)), (2880, (62, 65, 67, 71)), (3850, (57, 60, 64))]
    events = []
    for at, pitches in hands:
        for i, pitch in enumerate(pitches):
            events.append((at + 8 * i, mido.Message("note_on", note=pitch)))
            events.append((at + 900, mido.Message("note_off", note=pitch)))
    metre = [(0, mido.MetaMessage("time_signature", numerator=4, denominator=4))]
    path = midi_file(tmp_path / "a.mid", [*metre, *events], "CHORDS")
    assert bars(path) == ["C", "F/C G7/D", "Am"] or bars(path) == ["C", "F/C F/C G7/D G7/D", "Am"]
    with pytest.raises(UserError, match=r"no chord names.*antiphon chords"):
        read_chart(str(midi_file(tmp_path / "b.mid", events, "Piano")))


def hands(at: int, pitches: Sequence[int], length: int) -> list[tuple[int, mido.Message]]:
    return [
        event
        for pitch in pitches
        for event in ((at, mido.Message("note_on", note=pitch)), (at + length, mido.Message("note_off", note=pitch)))
    ]


FOUR = ((60, 64, 67), (57, 60, 64), (65, 69, 72), (67, 71, 74))


@pytest.mark.parametrize("length", [100, 240, 700])
def test_a_track_of_broken_chords_is_heard(length: int, tmp_path: Path) -> None:
    """Each on its own: eighths, detached, joined or held on; and a bass with chords after it."""
    arpeggio = [
        event
        for bar, keys in enumerate(FOUR)
        for eighth in range(8)
        for event in hands(1920 * bar + 240 * eighth, [keys[(0, 1, 2, 1)[eighth % 4]]], length)
    ]
    assert [bar.partition(" ")[0] for bar in bars(midi_file(tmp_path / "a.mid", arpeggio, "Chords"))][:4] == [
        "C",
        "Am",
        "F",
        "G",
    ]
    oompah = [
        event
        for bar, keys in enumerate(FOUR)
        for beat in range(4)
        for event in hands(1920 * bar + 480 * beat, keys if beat % 2 else [keys[0] - 24], 400)
    ]
    assert bars(midi_file(tmp_path / "b.mid", oompah, "Chords")) == ["C", "Am", "F", "G"]


@pytest.mark.parametrize("overlap", [0, 40, 200])
def test_chords_that_overlap_are_those_of_their_strokes(overlap: int, tmp_path: Path) -> None:
    struck = [event for bar, keys in enumerate(FOUR) for event in hands(1920 * bar, keys, 1920 + overlap)]
    read = bars(midi_file(tmp_path / "a.mid", struck, "Chords"))
    assert read[:4] == ["C", "Am", "F", "G"] and len(read) == 4 + (overlap > 120)


def test_letters_of_sections_are_no_chords(tmp_path: Path) -> None:
    """A, B, A, C every four bars beside a track of chords; a bar apart they are chords."""
    struck = [event for bar in range(16) for event in hands(1920 * bar, FOUR[bar % 4], 1800)]
    for bars_apart, read in ((4, ["C", "Am", "F", "G"] * 4), (1, ["A", "B", "A"])):
        marks = [(1920 * bars_apart * i, mido.MetaMessage("marker", text=name)) for i, name in enumerate("ABAC")]
        found = bars(midi_file(tmp_path / f"{bars_apart}.mid", [*marks, *struck], "Chords"))
        assert found[: len(read)] == read


def test_names_in_brackets_or_with_stray_characters(tmp_path: Path) -> None:
    names = [(0, "[C]"), (1920, "Am7\0"), (3840, "{F}\r")]
    events = [(at, mido.MetaMessage("lyrics", text=name)) for at, name in names]
    assert bars(midi_file(tmp_path / "a.mid", [*events, *hands(0, [60], 5760)])) == ["C", "Am7", "F"]


HARMONY = "<harmony><root><root-step>{step}</root-step><root-alter>{alter}</root-alter></root><kind>{kind}</kind>{more}</harmony>"


def rest(length: int) -> str:
    return f"<note><rest/><duration>{length}</duration></note>"


def score(*measures: str, head: str = "") -> str:
    first = "<attributes><divisions>2</divisions><time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
    body = "".join(
        f"<measure number='{n}'>{first if n == 1 else ''}{text}</measure>" for n, text in enumerate(measures, 1)
    )
    return f"<?xml version='1.0' encoding='UTF-8'?>{head}<score-partwise><part id='P1'>{body}</part></score-partwise>"


def harmony(step: str, kind: str, alter: int = 0, more: str = "") -> str:
    return HARMONY.format(step=step, kind=kind, alter=alter, more=more)


def degree(value: int, alter: int, what: str) -> str:
    fields = {"value": value, "alter": alter, "type": what}
    return f"<degree>{''.join(f'<degree-{name}>{x}</degree-{name}>' for name, x in fields.items())}</degree>"


BACK = "<barline location='right'><repeat direction='backward'/></barline>"
SECTION = "<direction><direction-type><rehearsal>A</rehearsal></direction-type></direction>"
FORWARD = "<barline location='left'><repeat direction='forward'/></barline>"
ENDING = "<barline location='left'><ending number='{}' type='start'/></barline>"
C_SHARP = "<bass><bass-step>C</bass-step><bass-alter>1</bass-alter></bass>"
PIECE = score(
    SECTION + FORWARD + harmony("C", "major-seventh") + rest(8),
    harmony("B", "half-diminished", -1) + rest(4) + harmony("E", "dominant", -1, degree(9, -1, "add")) + rest(4),
    ENDING.format(1) + harmony("A", "minor", -1) + rest(8) + BACK,
    ENDING.format(2) + harmony("F", "suspended-fourth", 1, C_SHARP) + rest(8),
    rest(6) + harmony("D", "none") + rest(2),
)
SECOND = "Bbm7b5 Bbm7b5 Eb7(b9) Eb7(b9)"
LAST = "F#sus4/C# F#sus4/C# F#sus4/C# N.C."
PLAYED = ["Cmaj7", SECOND, "Abm", "Cmaj7", SECOND, "F#sus4/C#", LAST]


def packed(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


CONTAINER = "<container><rootfiles><rootfile full-path='score.xml'/></rootfiles></container>"


def test_harmonies_of_musicxml_with_repeats_and_endings(tmp_path: Path) -> None:
    path = tmp_path / "a.musicxml"
    path.write_text(PIECE, encoding="utf-8")
    assert bars(path) == PLAYED and read_chart(str(path)).sections[0].name == "A"
    path.write_bytes(PIECE.encode("utf-16"))
    assert bars(path) == PLAYED
    assert bars(packed(tmp_path / "a.mxl", {"META-INF/container.xml": CONTAINER, "score.xml": PIECE})) == PLAYED


def test_degrees_that_are_added(tmp_path: Path) -> None:
    path = tmp_path / "a.musicxml"
    added = [(7, 0), (7, 1), (2, 0), (2, -1), (4, 1), (13, -1)]
    path.write_text(score(*(harmony("C", "major", 0, degree(*each, "add")) + rest(8) for each in added)))
    assert bars(path) == ["C7", "Cmaj7", "C(add2)", "C(b9)", "C(#11)", "C(b13)"]


def test_a_pick_up_is_no_bar(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        score(
            harmony("G", "dominant") + rest(2),
            rest(8),
            harmony("C", "major") + rest(8),
        )
    )
    assert bars(path) == ["G7", "C"]


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.musicxml", score("<note/>", head=BOMB).encode(), "entities"),
        ("a.musicxml", score("<note/>", head=BOMB).encode("utf-16"), "entities"),
        ("a.musicxml", b"<score-partwise>", "not XML"),
        ("a.musicxml", b"<score-timewise/>", "score-timewise"),
        ("a.xml", score(rest(8)).encode(), "no chord symbols"),
        ("a.xml", score(harmony("C", "Neapolitan") + rest(8)).encode(), "kind 'Neapolitan'"),
        ("a.xml", score("<harmony><function>I</function><kind>major</kind></harmony>" + rest(8)).encode(), "without a root"),
        ("a.xml", b" " * ((16 << 20) + 1), "larger than 16 MB"),
        ("a.mxl", b"no zip", "not a compressed"),
        ("a.txt", b"\xff\xfe\x00", "not text"),
        ("a.txt", b"Am7 | Gmaj77", "a.txt: bar 2: 'Gmaj77' is no chord; did you mean 'Gmaj7'"),
        ("a.mid", b"no midi", "a.mid"),
        ("b.txt", None, "cannot be read"),
        ("b.mxl", None, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_chart_is_refused_in_one_line(name: str, data: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=said) as caught:
        read_chart(str(path))
    assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    big = io.BytesIO()
    big.write(b"<a>" + b" " * (17 << 20) + b"</a>")
    path = packed(tmp_path / "a.mxl", {"META-INF/container.xml": CONTAINER, "score.xml": big.getvalue()})
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="larger than 16 MB"):
        read_chart(str(path))
    with pytest.raises(UserError, match="more than 256 files"):
        read_chart(str(packed(tmp_path / "b.mxl", {f"{n}": "" for n in range(300)})))
    with pytest.raises(UserError, match=r"names no score|not a compressed"):
        read_chart(str(packed(tmp_path / "c.mxl", {"META-INF/container.xml": "<container/>"})))


def test_a_chart_that_is_saved_while_it_is_played_is_given_and_a_slip_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "tune.txt"
    path.write_text("C | F")
    given: list[Chart] = []
    said: list[str] = []
    watch = ChartWatch(str(path), False, given.append, said.append)
    watch.look()
    path.write_text("C | F | G7")
    watch.look()
    watch.look()
    assert [len(chart.bars) for chart in given] == [3] and said == []
    path.write_text("C | Fxx")
    watch.look()
    path.unlink()
    watch.look()
    assert len(given) == 1 and said == [
        f"{path}: bar 2: 'Fxx' is no chord; did you mean 'F'?; the chart goes on as it was"
    ]
