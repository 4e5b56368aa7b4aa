"""A file with other notes: what was not asked for stays, to the byte of its event."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import mido
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote
from realtime.io.files.rewrite import rewrite


def busy_file(path: Path, division: int = 480) -> None:
    """Two tracks with all that a DAW may write beside notes; the keys of one of them overlap."""
    one, two = mido.MidiTrack(), mido.MidiTrack()
    one += [
        mido.MetaMessage("track_name", name="Käte"),
        mido.MetaMessage("set_tempo", tempo=400_000),
        mido.MetaMessage("time_signature", numerator=6, denominator=8),
        mido.Message("sysex", data=(1, 2, 3)),
        mido.Message("program_change", channel=3, program=40),
        mido.Message("control_change", channel=3, control=7, value=99),
    ]
    for key in (60, 64, 60, 67):
        one.append(mido.Message("note_on", channel=3, note=key, velocity=70, time=division // 2))
        one.append(mido.Message("pitchwheel", channel=3, pitch=100))
        one.append(mido.Message("note_off", channel=3, note=key, velocity=33, time=division))
    two += [mido.Message("note_on", channel=3, note=60, velocity=v, time=division // 4) for v in (50, 60)]
    two += [mido.Message("note_on", channel=3, note=60, velocity=0, time=division) for _ in range(2)]
    two.append(mido.Message("note_on", channel=3, note=72, velocity=80))  # never ends
    two.append(mido.MetaMessage("end_of_track", time=division * 4))
    file = mido.MidiFile(ticks_per_beat=division, tracks=[one, two], charset="utf8")
    file.save(path)


def other_events(path: Path) -> Counter[object]:
    _, events, lengths = midifile.read_events(path)
    assert lengths
    return Counter(event for event in events if event.status & 0xF0 not in (0x80, 0x90))


def bare(note: FileNote) -> tuple[int, ...]:
    return (note.onset_pulse, note.pitch, note.velocity, note.duration_pulse, note.channel, note.track)


@pytest.mark.parametrize("division", [24, 96, 480, 960])
def test_nothing_changed_is_the_same_music(division: int, tmp_path: Path) -> None:
    busy_file(tmp_path / "a.mid", division)
    assert rewrite(tmp_path / "a.mid", tmp_path / "b.mid", [], []) == []
    before, after = (midifile.read_events(tmp_path / name) for name in ("a.mid", "b.mid"))
    assert before == after
    assert midifile.read(tmp_path / "a.mid") == midifile.read(tmp_path / "b.mid")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 6)), st.lists(st.tuples(st.integers(0, 3000), st.integers(58, 68), st.integers(1, 900))))
def test_only_the_chosen_notes_change(tmp_path: Path, chosen: set[int], news: list[tuple[int, int, int]]) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    busy_file(source)
    notes = midifile.read(source).notes
    assert len(notes) == 7
    removed = [notes[i] for i in sorted(chosen)]
    added = rewrite(source, target, removed, [FileNote(on, key, 90, length, 3, 0) for on, key, length in news])
    after = midifile.read(target)
    staying = Counter(map(bare, notes)) - Counter(map(bare, removed))
    assert Counter(map(bare, after.notes)) == staying + Counter(map(bare, added))
    assert other_events(target) == other_events(source)


def test_a_note_that_stays_has_its_key_to_itself(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    kept = FileNote(480, 60, 80, 480)
    midifile.write(source, {"piano": [kept]})
    track = midifile.read(source).notes[0].track
    before, inside, after, other = (
        FileNote(at, key, 90, 240, 0, track) for at, key in ((300, 60), (600, 60), (960, 60), (600, 61))
    )
    assert rewrite(source, target, [], [before, inside, after, other]) == [
        replace(before, duration_pulse=180), other, after,
    ]  # fmt: skip


def test_tracks_on_one_channel_may_meet_on_a_key(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    midifile.write(source, {"soprano": [FileNote(0, 72, 80, 960)], "alto": [FileNote(0, 60, 80, 480)]})
    alto, soprano = midifile.read(source).notes
    moved = replace(alto, pitch=72)
    assert rewrite(source, target, [alto], [moved]) == [moved]
    assert sorted(map(bare, midifile.read(target).notes)) == sorted(map(bare, [soprano, moved]))


def test_a_note_before_the_beginning_is_refused(tmp_path: Path) -> None:
    busy_file(tmp_path / "a.mid")
    with pytest.raises(ValueError, match="a file begins at 0"):
        rewrite(tmp_path / "a.mid", tmp_path / "b.mid", [], [FileNote(-1440, 60, 80, 480)])
    assert not (tmp_path / "b.mid").exists()


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    busy_file(tmp_path / "a.mid")
    with pytest.raises(UserError, match="cannot be written"):
        rewrite(tmp_path / "a.mid", tmp_path / "nowhere" / "b.mid", [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mid"]
