"""`compose` and `infill`: what is made anew lies in its bars, all else stays as it was, and what cannot be done says so."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from toycorpus import Metre, midi_bytes

from realtime import cli
from realtime.config import load as load_config
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote
from realtime.io.files.smf import load
from realtime.io.offline.source import Source
from realtime.io.offline.studio import CONTEXT_NOTES, Studio
from realtime.music.notes import note_array
from realtime.music.vocabulary import MELODY

BAR = 4 * 480
Run = Callable[..., int]
SHIPPED = Path(__file__).parents[1] / "models" / "pretrained" / "antiphon-s.onnx"
"""It has a planner."""


@pytest.fixture
def antiphon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, model: Path | None = None) -> int:
        monkeypatch.setattr(sys, "argv", ["antiphon", *map(str, arguments), "--model", str(model or tiny_model)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def two_hands(bars: int) -> dict[str, list[tuple[float, float, int, int]]]:
    """A tune in quarters over held notes of a bar; the last of a bar's four rings half a beat into the next."""
    tune = [(beat, 1.5 if beat % 4 == 3 else 0.9, 72 + beat % 5, 80) for beat in range(4 * bars)]
    return {"MELODY": tune, "BASS": [(4 * bar, 4.0, 40 + bar % 3, 70) for bar in range(bars)]}


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    path.write_bytes(midi_bytes(two_hands(12), tempos=((0, 96.0), (20, 120.0))))
    file = mido.MidiFile(path)
    file.tracks[1].insert(1, mido.Message("control_change", control=64, value=127))
    file.save(path)
    return path


def bare(notes: list[FileNote]) -> Counter[tuple[int, ...]]:
    return Counter((n.onset_pulse, n.pitch, n.velocity, n.duration_pulse, n.channel, n.track) for n in notes)


@pytest.mark.parametrize("part", [(), ("--part", "melody"), ("--part", "bass")], ids=str)
@pytest.mark.parametrize(("bars", "first", "last"), [("5-8", 5, 8), ("3", 3, 3), ("2-11", 2, 11), ("9-12", 9, 12)])
def test_only_the_gap_is_made_anew(
    part: tuple[str, ...], bars: str, first: int, last: int, antiphon: Run, song: Path, tmp_path: Path
) -> None:
    assert antiphon("infill", "song.mid", "out.mid", "--bars", bars, *part) == 0
    before, after = midifile.read(song), midifile.read(tmp_path / "out.mid")
    start, end = (first - 1) * BAR, last * BAR
    track = {"melody": "MELODY", "bass": "BASS"}.get(part[1] if part else "")
    gone = [
        n for n in before.notes
        if start <= n.onset_pulse < end and (track is None or before.track_names[n.track] == track)
    ]  # fmt: skip
    made = bare(after.notes) - (bare(before.notes) - bare(gone))
    assert not (bare(before.notes) - bare(gone)) - bare(after.notes), "something else was changed"
    assert made and all(start <= onset and onset + duration <= end for onset, _, _, duration, *_ in made)
    assert {before.track_names[row[5]] for row in made} <= ({track} if track else {"MELODY", "BASS"})
    events = [load(path).events for path in (song, tmp_path / "out.mid")]
    others = [Counter(event for event in those if event.status & 0xF0 not in (0x80, 0x90)) for those in events]
    assert others[0] == others[1] and any(event.status & 0xF0 == 0xB0 for event in others[0])
    assert (before.tempos, before.time_signatures, before.track_names) == (
        after.tempos, after.time_signatures, after.track_names,
    )  # fmt: skip


@pytest.mark.parametrize(("top", "bottom"), [(3, 4), (6, 8), (5, 4)])
def test_any_metre(top: int, bottom: int, antiphon: Run, tmp_path: Path) -> None:
    bar = top * 4 / bottom
    rows = [(beat * bar / 3, bar / 4, 60 + beat % 7, 80) for beat in range(30)]
    (tmp_path / "song.mid").write_bytes(midi_bytes({"MELODY": rows}, [Metre(0, top, bottom)]))
    assert antiphon("infill", "song.mid", "out.mid", "--bars", "4-5", "--seed", "2") == 0
    assert antiphon("compose", "song.mid", "more.mid", "--bars", "5", "--loop") == 0
    whole = midifile.read(tmp_path / "song.mid")
    pulses = round(bar * 480)
    for name, start, end in (("out.mid", 3, 5), ("more.mid", 10, 15)):
        piece = midifile.read(tmp_path / name)
        old = {(n.onset_pulse, n.pitch, n.duration_pulse) for n in whole.notes}
        new = [n for n in piece.notes if (n.onset_pulse, n.pitch, n.duration_pulse) not in old]
        assert new and all(
            start * pulses <= n.onset_pulse < n.onset_pulse + n.duration_pulse <= end * pulses for n in new
        )


def test_from_a_pick_up_on(antiphon: Run, tmp_path: Path) -> None:
    quarters = [(beat, 1.0, 60 + beat % 5, 80) for beat in range(17)]
    metres = [Metre(0, 1, 4), Metre(1, 4, 4), Metre(9, 3, 4)]
    (tmp_path / "song.mid").write_bytes(midi_bytes({"MELODY": quarters}, metres))
    for model in (None, SHIPPED):
        assert antiphon("infill", "song.mid", "out.mid", "--bars", "1-2", "--png", "out.png", model=model) == 0
        before, after = (bare(midifile.read(tmp_path / name).notes) for name in ("song.mid", "out.mid"))
        assert {row[0] // 480 for row in before - after} <= {*range(5)} >= {row[0] // 480 for row in after - before}
        assert sum((after - before).values())
    assert antiphon("infill", "song.mid", "out.mid", "--bars", "2-5") == 0, "though the metre changes"
    before, after = (bare(midifile.read(tmp_path / name).notes) for name in ("song.mid", "out.mid"))
    assert {row[0] // 480 for row in before - after} <= {*range(1, 17)}
    assert {row[0] // 480 for row in after - before} & {*range(9, 17)}


def test_a_part_may_be_made_anew_throughout(antiphon: Run, song: Path, tmp_path: Path) -> None:
    chosen = ("--bars", "1-13", "--part", "melody", "--png", "out.png")
    assert antiphon("infill", "song.mid", "out.mid", *chosen, model=SHIPPED) == 0
    before, after = (midifile.read(path) for path in (song, tmp_path / "out.mid"))
    bass, melody = (before.track_names.index(name) for name in ("BASS", "MELODY"))
    assert [n for n in before.notes if n.track == bass] == [n for n in after.notes if n.track == bass]
    assert any(n.track == melody for n in after.notes)


def test_the_same_seed_makes_the_same_bars_and_a_picture(antiphon: Run, song: Path, tmp_path: Path) -> None:
    for command, bars in (("infill", "5-6"), ("compose", "2")):
        for name, seed, more in (("a", 1, ("--png", f"{command}.png")), ("b", 1, ()), ("c", 2, ())):
            assert antiphon(command, "song.mid", f"{name}.mid", "--bars", bars, "--seed", seed, *more) == 0
        first, second, other = ((tmp_path / f"{name}.mid").read_bytes() for name in "abc")
        assert first == second != other
        assert (tmp_path / f"{command}.png").read_bytes().startswith(b"\x89PNG")


def test_no_track_of_the_file_makes_way_for_another_of_its_name(antiphon: Run, tmp_path: Path) -> None:
    tune = [FileNote(beat * 480, 72 + beat % 5, 80, 400) for beat in range(16)]
    bass = [FileNote(bar * 1920, 40, 80, 1900, 1) for bar in range(4)]
    midifile.write(tmp_path / "song.mid", {"track 3": tune, "": bass})
    source = "song.mid"
    for target in ("once.mid", "twice.mid"):
        assert antiphon("compose", source, target, "--bars", "2") == 0
        before, after = (midifile.read(tmp_path / name).notes for name in (source, target))
        assert not Counter(replace(n, track=0) for n in before) - Counter(replace(n, track=0) for n in after)
        source = target


def test_a_file_that_goes_on_keeps_its_events_and_its_programs(antiphon: Run, song: Path, tmp_path: Path) -> None:
    file = mido.MidiFile(song)
    for track, program in zip(file.tracks[1:], (40, 43), strict=True):
        channel = next(message.channel for message in track if message.type == "note_on")
        track.insert(1, mido.Message("program_change", channel=channel, program=program))
    file.save(song)
    assert antiphon("compose", "song.mid", "out.mid", "--bars", "4") == 0
    whole, continued = (load(path) for path in (song, tmp_path / "out.mid"))
    old, lengths, new, longer = whole.events, whole.lengths, continued.events, continued.lengths
    assert Counter(old) == Counter(event for event in new if event.track < len(lengths))
    assert longer[: len(lengths)] == lengths and mido.MidiFile(tmp_path / "out.mid").type == 1
    before, after = midifile.read(song), midifile.read(tmp_path / "out.mid")
    own = len(before.track_names)
    assert after.track_names[:own] == before.track_names
    assert {name.split()[0] for name in after.track_names[own:]} == {"antiphon"}
    programs = {after.track_names[note.track]: note.program for note in after.notes}
    assert {programs.get("antiphon melody", 40), programs.get("antiphon bass", 43)} == {40, 43}
    told = [event for event in new if event.track >= own and event.status & 0xF0 not in (0x80, 0x90, 0xC0, 0xF0)]
    assert {(event.kind, event.data) for event in told} <= {(64, b"\0")}, "the pedal that the file leaves down"
    assert any(event.status & 0xF0 == 0xC0 for event in new if event.track >= own)


def test_new_notes_come_where_the_old_ones_were_taken_out(antiphon: Run, tmp_path: Path) -> None:
    """Two who take turns of two bars: nobody comes in where he rested, whether they play one part or two."""
    for name, lower in (("two parts", "hers"), ("one part", "Bass two")):
        first, second = ("his", lower) if name == "two parts" else ("Bass one", lower)
        turns: dict[str, list[FileNote]] = {first: [], second: []}
        for beat in range(48):
            who = second if beat // 8 % 2 else first
            turns[who].append(FileNote(beat * 480, 60 + beat % 5, 80, 400, int(who == second)))
        midifile.write(tmp_path / "song.mid", turns)
        assert antiphon("infill", "song.mid", "out.mid", "--bars", "7-8") == 0
        before, after = midifile.read(tmp_path / "song.mid"), midifile.read(tmp_path / "out.mid")
        inside = [note for note in after.notes if 6 * BAR <= note.onset_pulse < 8 * BAR]
        assert inside and {after.track_names[note.track] for note in inside} == {second}
        assert len(before.track_names) == len(after.track_names)


def test_a_gap_is_as_dense_as_the_bars_around_it(song: Path, tmp_path: Path) -> None:
    source = Source(song, tmp_path / "out.mid", None)
    bar = source.grid.bar_start(0, 1)
    tune = source.notes[source.notes["part"] == MELODY]
    assert source.rate(tune, 4 * bar, 6 * bar, 0) == pytest.approx(40 / 40)  # its last note makes no bar of its own
    assert source.rate(source.notes, 4 * bar, 6 * bar, 2 * bar) == pytest.approx((10 + 30) / 32)
    assert source.rate(tune[:0], 4 * bar, 6 * bar, 0) is None


@pytest.mark.parametrize("bars", [1, 2, 9])
def test_a_loop_does_not_ring_beyond_its_end(bars: int, antiphon: Run, song: Path, tmp_path: Path, capfd) -> None:  # type: ignore[no-untyped-def]
    assert antiphon("compose", "song.mid", "out.mid", "--bars", bars, "--loop") == 0
    first = 14  # a note rings into bar 13
    assert f"bars {first} to {first + bars - 1} are a loop" in capfd.readouterr().out
    piece = midifile.read(tmp_path / "out.mid")
    made = [n for n in piece.notes if piece.track_names[n.track].startswith("antiphon")]
    start, end = (first - 1) * BAR, (first - 1 + bars) * BAR
    assert all(start <= n.onset_pulse and n.onset_pulse + n.duration_pulse <= end for n in made)
    assert any(n.onset_pulse >= end - BAR for n in made)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["infill", "song.mid", "out.mid", "--bars", "12-14"], "song.mid has bars 1 to 13"),
        (["infill", "song.mid", "out.mid", "--bars", "8-5"], "--bars 8-5: the range is reversed"),
        (
            ["infill", "song.mid", "out.mid", "--bars", "1-13"],
            "bars 1-13 are the whole file; leave something to go by",
        ),
        (["infill", "song.mid", "out.mid", "--bars", "0-2"], "--bars 0-2"),
        (["infill", "song.mid", "out.mid", "--bars", "some"], "--bars some"),
        (["infill", "song.mid", "out.mid"], "--bars"),
        (
            ["infill", "song.mid", "out.mid", "--bars", "3", "--part", "drums"],
            "--part drums: not in song.mid; it has melody, bass",
        ),
        (["infill", "song.mid", "song.mid", "--bars", "3"], "song.mid: is the file"),
        (["infill", "song.mid", "nowhere/out.mid", "--bars", "3"], "nowhere/out.mid: cannot be written"),
        (["infill", "song.mid", "out.mid", "--bars", "3", "--png", "out.jpg"], "--png out.jpg"),
        (
            ["infill", "song.mid", "out.mid", "--bars", "3", "--png", "nowhere/out.png"],
            "nowhere/out.png: cannot be written",
        ),
        (["infill", "silent.mid", "out.mid", "--bars", "3"], "silent.mid: no notes in it"),
        (["infill", "long.mid", "out.mid", "--bars", "1-1100"], "1100 bars; allowed 1 to 1024"),
        (["compose", "song.mid", "out.mid", "--bars", "1025"], "1024"),
        (["compose", "song.mid", "out.mid", "--png", "out.gif"], "--png out.gif"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else "",
)
def test_what_cannot_be_done(
    arguments: list[str], words: str, antiphon: Run, song: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "silent.mid").write_bytes(midi_bytes({"MELODY": []}))
    (tmp_path / "long.mid").write_bytes(midi_bytes({"MELODY": [(4 * bar, 1, 60, 80) for bar in range(1100)]}))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    status = antiphon(*arguments)
    out, error = capfd.readouterr()
    assert status == 2 and words in error, error
    assert error.count("\n") == 1 and error.startswith("antiphon: ") and "Traceback" not in out + error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_only_so_many_notes_are_read_after_a_gap(tiny_model: Path) -> None:
    """A dense file has thousands within the few bars that count."""
    studio = Studio(load_config(None, {"model.file": tiny_model}), ((0, 96),), 96.0, print)
    studio.turn_to(studio.general)
    end = 4 * 96
    before = note_array((12 * i, 12, 60 + i % 5) for i in range(24))
    after = note_array((end + i // 4, 1, 40 + i % 4 + i % 31, 80) for i in range(1280))
    made = [
        studio.filled(np.concatenate([before, after[:count]]), 3 * 96, end, {})
        for count in (CONTEXT_NOTES // 2, CONTEXT_NOTES, len(after))
    ]
    assert np.array_equal(made[1], made[2]) and not np.array_equal(made[0], made[1])


def test_the_share_that_is_done_grows_to_the_end(song: Path, tmp_path: Path, tiny_model: Path) -> None:
    config = load_config(None, {"model.file": tiny_model})
    source = Source(song, tmp_path / "out.mid", None)
    studio, shares = Studio(config, source.bars, 96.0, print), list[float]()
    start, end = 12 * 96, 16 * 96
    studio.show(shares.append, 2, start, end)
    for _ in range(2):
        studio.turn_to(studio.general)
        studio.continued(source.notes, start, end, {})
    assert shares == sorted(shares) and shares[0] == 0 and 0.5 in shares and 0.8 < shares[-1] <= 1
