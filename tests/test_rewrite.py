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
from realtime.io.files.rewrite import NewTrack, rewrite
from realtime.io.files.smf import load


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
    smf = load(path)
    assert smf.lengths
    return Counter(event for event in smf.events if event.status & 0xF0 not in (0x80, 0x90))


def bare(note: FileNote) -> tuple[int, ...]:
    if note.pitch == 72:  # it never ends: how long it seems depends on the others
        note = replace(note, duration_pulse=0)
    return (note.onset_pulse, note.pitch, note.velocity, note.duration_pulse, note.channel, note.track)


@pytest.mark.parametrize("division", [24, 96, 480, 960])
def test_nothing_changed_is_the_same_music(division: int, tmp_path: Path) -> None:
    busy_file(tmp_path / "a.mid", division)
    assert rewrite(load(tmp_path / "a.mid"), tmp_path / "b.mid", [], []) == []
    assert load(tmp_path / "a.mid") == load(tmp_path / "b.mid")
    assert midifile.read(tmp_path / "a.mid") == midifile.read(tmp_path / "b.mid")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 6)), st.lists(st.tuples(st.integers(0, 3000), st.integers(58, 68), st.integers(1, 900))))
def test_only_the_chosen_notes_change(tmp_path: Path, chosen: set[int], news: list[tuple[int, int, int]]) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    busy_file(source)
    notes = midifile.read(source).notes
    assert len(notes) == 7
    removed = [notes[i] for i in sorted(chosen)]
    added = rewrite(load(source), target, removed, [FileNote(on, key, 90, length, 3, 0) for on, key, length in news])
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
    assert rewrite(load(source), target, [], [before, inside, after, other]) == [
        replace(before, duration_pulse=180), other, after,
    ]  # fmt: skip


@pytest.mark.parametrize("division", [4, 480, 960, 1024])
@pytest.mark.parametrize("track", [0, 1, 2], ids=["before it", "its own", "after it"])
def test_one_key_of_a_channel_sounds_once_in_whatever_track(track: int, division: int, tmp_path: Path) -> None:
    """As a player merges the tracks, every note-off ends the note that it belongs to."""
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    file = mido.MidiFile(ticks_per_beat=division, tracks=[mido.MidiTrack() for _ in range(3)])
    for _ in range(4):
        file.tracks[1].append(mido.Message("note_on", note=60, velocity=70, time=division * 2 - 1))
        file.tracks[1].append(mido.Message("note_off", note=60, time=division + 1))
    file.save(source)
    news = [FileNote(at, 60, 90, length, 0, track) for at in range(0, 6000, 35) for length in (20, 240, 1000)]
    added = rewrite(load(source), target, [], news)
    assert added
    sounding = None
    for message in mido.merge_tracks(mido.MidiFile(target).tracks):
        if message.type == "note_on" and message.velocity:
            assert sounding is None
            sounding = message.velocity
        elif message.type == "note_off":
            assert sounding is not None
            sounding = None
    assert sounding is None and [n.velocity for n in midifile.read(target).notes].count(70) == 4


def test_a_note_on_a_key_that_rings_waits_for_it_if_half_of_it_is_left(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    midifile.write(source, {"piano": [FileNote(0, 60, 80, 540), FileNote(0, 62, 80, 900)]})
    late, short = FileNote(480, 60, 90, 480, 0, 1), FileNote(480, 62, 90, 480, 0, 1)
    assert rewrite(load(source), target, [], [late, short]) == [replace(late, onset_pulse=540, duration_pulse=420)]


def test_ports_have_keys_of_their_own(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    midifile.write(source, {"piano": [FileNote(0, 60, 80, 960)]})
    here, there = (FileNote(480, 60, 90, 240, 0, track) for track in (2, 3))
    tracks = [NewTrack("here"), NewTrack("there", 1, [(0, b"\xff\x21\1\1")])]
    assert rewrite(load(source), target, [], [here, there], tracks) == [there]


def test_a_key_that_is_never_released_is_not_struck_again(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    busy_file(source)
    news = [FileNote(at, 72, 90, 100, 3, track) for at in (500, 1300, 1900) for track in (0, 1)]
    assert [note.onset_pulse for note in rewrite(load(source), target, [], news)] == [500]


def test_a_note_that_has_no_room_on_its_new_key_stays_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    midifile.write(source, {"soprano": [FileNote(0, 72, 80, 960)], "alto": [FileNote(0, 60, 80, 480)]})
    alto, _ = midifile.read(source).notes
    moved = replace(alto, pitch=72)
    assert rewrite(load(source), target, [alto], [moved]) == []
    assert rewrite(load(source), target, [], [], changed=[(alto, moved)]) == [alto]


def test_a_note_before_the_beginning_is_refused(tmp_path: Path) -> None:
    busy_file(tmp_path / "a.mid")
    with pytest.raises(ValueError, match="a file begins at 0"):
        rewrite(load(tmp_path / "a.mid"), tmp_path / "b.mid", [], [FileNote(-1440, 60, 80, 480)])
    assert not (tmp_path / "b.mid").exists()


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    busy_file(tmp_path / "a.mid")
    with pytest.raises(UserError, match="cannot be written"):
        rewrite(load(tmp_path / "a.mid"), tmp_path / "nowhere" / "b.mid", [], [])
    assert [path.name for path in tmp_path.iterdir()] == ["a.mid"]


def test_a_note_that_is_changed_keeps_the_place_of_its_events_and_its_release(tmp_path: Path) -> None:
    """Ticks that are no pulses; a program that changes in the tick of a note-on, after it; a pedal before a note-off."""
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    messages = [
        mido.Message("note_on", note=60, velocity=70, time=1),
        mido.Message("program_change", program=40),
        mido.Message("control_change", control=64, value=127, time=999),
        mido.Message("note_off", note=60, velocity=33),
        mido.Message("note_on", note=65, velocity=70, time=3),
        mido.Message("note_on", note=65, velocity=0, time=5),
    ]
    mido.MidiFile(ticks_per_beat=960, tracks=[mido.MidiTrack(messages)]).save(source)
    first, last = midifile.read(source).notes
    for pitch, velocity in ((62, 70), (60, 90), (62, 90)):
        rewrite(load(source), target, [], [], changed=[(first, replace(first, pitch=pitch, velocity=velocity))])
        messages[0], messages[3] = (messages[0].copy(note=pitch, velocity=velocity), messages[3].copy(note=pitch))
        assert [*mido.MidiFile(target).tracks[0]][:-1] == messages
    rewrite(load(source), target, [], [], changed=[(last, replace(last, pitch=67))])
    assert [*mido.MidiFile(target).tracks[0]][-3:-1] == [message.copy(note=67) for message in messages[-2:]]


def test_a_note_that_is_moved_onto_a_key_is_neither_cut_short_nor_cuts(tmp_path: Path) -> None:
    """The file begins notes before it ends others of the same tick."""
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    track = mido.MidiTrack()
    for before, after in zip((0, 60, 62, 64), (60, 62, 64, 0), strict=True):
        track += [mido.Message("note_on", note=after, velocity=70, time=480)] if after else []
        track += [mido.Message("note_off", note=before, time=0 if after else 480)] if before else []
    mido.MidiFile(tracks=[track]).save(source)
    notes = midifile.read(source).notes
    turned = [(notes[1], replace(notes[1], pitch=60))]
    assert rewrite(load(source), target, [], [], changed=turned) == [after for _, after in turned]
    assert [(n.onset_pulse, n.pitch, n.duration_pulse) for n in midifile.read(target).notes] == [
        (480, 60, 480), (960, 60, 480), (1440, 64, 480),
    ]  # fmt: skip
    sounding: set[int] = set()
    for message in mido.MidiFile(target).tracks[0]:
        if message.type == "note_on":
            assert message.note not in sounding
            sounding.add(message.note)
        elif message.type == "note_off":
            sounding.remove(message.note)
    assert not sounding


def test_louder_notes_of_one_key_that_overlap_stay_as_long(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    track = mido.MidiTrack(mido.Message("note_on", note=60, velocity=v, time=100) for v in (50, 60, 70))
    track += [mido.Message("note_on", note=60, velocity=0, time=200) for _ in range(3)]
    mido.MidiFile(tracks=[track]).save(source)
    notes = midifile.read(source).notes
    louder = [replace(note, velocity=note.velocity + 20) for note in notes]
    assert rewrite(load(source), target, [], [], changed=zip(notes, louder, strict=True)) == louder
    assert midifile.read(target).notes == louder


def test_a_note_off_stays_where_it_ends_a_note_that_has_none(tmp_path: Path) -> None:
    """The first note-off of the key was lost: the note-off that is left ends all three in a synthesiser, and is the second's."""
    source, target = tmp_path / "a.mid", tmp_path / "b.mid"
    track = mido.MidiTrack(mido.Message("note_on", note=60, velocity=v, time=100) for v in (50, 60, 70))
    track.insert(2, mido.Message("note_off", note=60, time=50))
    track.append(mido.Message("note_off", note=60, time=100))
    mido.MidiFile(tracks=[track]).save(source)
    notes = midifile.read(source).notes
    assert [(note.velocity, note.onset_pulse + note.duration_pulse) for note in notes] == [
        (50, 250),
        (60, 450),
        (70, 450),
    ]
    rewrite(load(source), target, [notes[1]], [])
    assert midifile.read(target).notes == [notes[0], notes[2]]
    rewrite(load(source), target, [], [], changed=[(notes[1], replace(notes[1], pitch=64))])
    assert midifile.read(target).notes == [notes[0], replace(notes[1], pitch=64), notes[2]]


def test_a_note_that_cannot_move_stays_though_its_old_key_sounds_in_another_track(tmp_path: Path) -> None:
    """Two tracks of one channel hold the same key; one of them holds the other key, too, so there is no room for a move."""
    path, target = tmp_path / "in.mid", tmp_path / "out.mid"
    file = mido.MidiFile(ticks_per_beat=480)
    for pitches in ((60, 62), (60,)):
        track = mido.MidiTrack()
        file.tracks.append(track)
        track.extend(mido.Message("note_on", note=pitch, velocity=70) for pitch in pitches)
        track.extend(mido.Message("note_off", note=pitch, time=960 * (i == 0)) for i, pitch in enumerate(pitches))
    file.save(path)
    smf = load(path)
    notes = midifile.piece_of(smf).notes
    moved = next(note for note in notes if (note.track, note.pitch) == (1, 60))
    rewrite(smf, target, [], [], changed=[(moved, replace(moved, pitch=62))])
    assert Counter(map(bare, midifile.piece_of(load(target)).notes)) == Counter(map(bare, notes))


def test_of_two_equal_notes_one_is_taken_out_and_one_is_louder(tmp_path: Path) -> None:
    path, target = tmp_path / "in.mid", tmp_path / "out.mid"
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.extend(mido.Message(kind, note=60, velocity=70, time=time)
                 for kind, time in (("note_on", 0), ("note_on", 0), ("note_off", 480), ("note_off", 0)))  # fmt: skip
    file.save(path)
    smf = load(path)
    first, second = midifile.piece_of(smf).notes
    assert first == second
    rewrite(smf, target, [first], [], changed=[(second, replace(second, velocity=99))])
    assert [note.velocity for note in midifile.piece_of(load(target)).notes] == [99]
