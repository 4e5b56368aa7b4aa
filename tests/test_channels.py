"""What a channel is left in, and what makes new notes on it sound as its notes did."""

from __future__ import annotations

from pathlib import Path

import mido
import pytest
from toycorpus import Messages, save

from realtime.io.files import midifile
from realtime.io.files.channels import CENTRE, Channels, ports_of, zones_of
from realtime.io.files.smf import Smf, load

END = 3840


def smf_of(path: Path, *tracks: Messages) -> Smf:
    save(path, *tracks)
    return load(path)


def notes(channel: int = 0) -> list[tuple[int, mido.Message]]:
    """Eight quarter notes."""
    on = [(480 * at + 1, mido.Message("note_on", channel=channel, note=60 + at)) for at in range(8)]
    return on + [(480 * at + 400, mido.Message("note_off", channel=channel, note=60 + at)) for at in range(8)]


def control(tick: int, number: int, value: int, channel: int = 0) -> tuple[int, mido.Message]:
    return tick, mido.Message("control_change", channel=channel, control=number, value=value)


def bend(tick: int, value: int) -> tuple[int, mido.Message]:
    return tick, mido.Message("pitchwheel", pitch=value)


CC7, CC11, SUSTAIN = (0xB0, 7), (0xB0, 11), (0xB0, 64)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([control(0, 7, 90), *(control(2900 + 80 * i, 7, 80 - 8 * i) for i in range(11))], [(*CC7, 90)], id="a fade"),
        pytest.param([control(0, 11, 100), control(3500, 11, 20)], [(*CC11, 100)], id="expression"),
        pytest.param([control(3500, 11, 0)], [(*CC11, 127)], id="expression never set before"),
        pytest.param([control(0, 2, 90), control(3500, 2, 0)], [(0xB0, 2, 90)], id="breath"),
        pytest.param([control(0, 7, 60), control(3000, 7, 110)], [], id="louder at the end"),
        pytest.param([control(0, 7, 0)], [], id="muted throughout"),
        pytest.param([bend(3500, 4096)], [(0xE0, 0, 64)], id="a bend"),
        pytest.param([bend(0, 700)], [], id="out of tune throughout"),
        pytest.param([bend(400, 700), bend(900, 0), bend(2000, -50)], [(0xE0, 0, 64)], id="bends between the notes"),
        pytest.param([control(100, 64, 127)], [(*SUSTAIN, 0)], id="the pedal"),
        pytest.param([control(100, 64, 40), control(100, 66, 127), control(100, 67, 127)],
                     [(*SUSTAIN, 0), (0xB0, 66, 0), (0xB0, 67, 0)], id="all pedals"),
        pytest.param([control(100, 64, 127), bend(100, 3000), control(3600, 11, 0), control(3700, 121, 0)], [], id="reset"),
        pytest.param([control(3600, 1, 127)], [(0xB0, 1, 0)], id="modulation"),
        pytest.param([(3600, mido.Message("aftertouch", value=90))], [(0xD0, 0)], id="pressure"),
        pytest.param([control(0, 10, 20), control(0, 74, 30)], [], id="what changes nothing of this"),
    ],
)  # fmt: skip
def test_a_channel_is_made_audible_in_tune_and_dry(told: Messages, said: list[tuple[int, ...]], tmp_path: Path) -> None:
    channels = Channels(smf_of(tmp_path / "a.mid", [*notes(), *told]), END)
    assert channels.corrections((0, 0)) == [(END, bytes(message)) for message in said]
    assert channels.corrections((0, 1)) == [], "another channel"


def test_what_comes_after_the_end_is_taken_back_where_it_comes(tmp_path: Path) -> None:
    later = [
        control(5000, 7, 0),
        control(5000, 121, 0),
        control(6000, 64, 127),
        (7000, mido.Message("program_change", program=9)),
    ]
    channels = Channels(
        smf_of(tmp_path / "a.mid", [(0, mido.Message("program_change", program=4)), *notes(), *later]), END
    )
    assert channels.corrections((0, 0)) == [(5000, b"\xb0\x07\x64"), (6000, b"\xb0\x40\x00"), (7000, b"\xc0\x04")]


def test_a_sound_is_a_program_and_the_bank_it_was_chosen_from(tmp_path: Path) -> None:
    program = (0, mido.Message("program_change", program=4))
    smf = smf_of(tmp_path / "a.mid", [control(0, 0, 8), control(0, 32, 1), program, *notes(), control(3000, 0, 9)])
    state = Channels(smf, END).at((0, 0))
    assert (state.program, state.bank) == (4, (8, 1)), "a bank counts from the next program change on"


def test_ports_are_told_apart(tmp_path: Path) -> None:
    first = [(0, mido.MetaMessage("midi_port", port=0)), (0, mido.Message("program_change", program=73)), *notes()]
    second = [(0, mido.MetaMessage("midi_port", port=1)), (0, mido.Message("program_change", program=33)), *notes()]
    second.append(control(3000, 7, 0))
    smf = smf_of(tmp_path / "a.mid", first, second)
    assert ports_of(smf) == [0, 1]
    assert {(note.track, note.program) for note in midifile.piece_of(smf).notes} == {(0, 73), (1, 33)}
    channels = Channels(smf, END)
    assert [channels.at((port, 0)).program for port in (0, 1)] == [73, 33]
    assert channels.corrections((0, 0)) == [] and channels.corrections((1, 0)) == [(END, bytes((*CC7, 100)))]


def test_a_free_channel_is_one_that_nothing_is_written_for(tmp_path: Path) -> None:
    taken = [control(0, 7, 90, channel) for channel in (0, 1, 3)]
    assert Channels(smf_of(tmp_path / "a.mid", [*notes(2), *taken]), END).free([(0, 4)], 9) == (0, 5)
    full = [control(0, 7, 90, channel) for channel in range(16)]
    assert Channels(smf_of(tmp_path / "a.mid", full), END).free([], 9) == (1, 0)


@pytest.mark.parametrize(
    ("master", "members", "expected"),
    [
        (0, 15, dict.fromkeys(range(16), 0)),
        (0, 4, dict.fromkeys(range(5), 0)),
        (15, 3, dict.fromkeys(range(12, 16), 1)),
        (0, 0, {}),
        (5, 3, {}),
    ],
)
def test_mpe_zones(master: int, members: int, expected: dict[int, int], tmp_path: Path) -> None:
    setup = [control(0, number, value, master) for number, value in ((101, 0), (100, 6), (6, members))]
    smf = smf_of(tmp_path / "a.mid", [*setup, *notes(9)])
    assert zones_of(smf) == {(0, channel): zone for channel, zone in expected.items()}
    assert {note.is_drum for note in midifile.piece_of(smf).notes} == {9 not in expected}


def test_another_parameter_makes_no_zone(tmp_path: Path) -> None:
    setup = [control(0, number, value) for number, value in ((101, 0), (100, 0), (6, 12))]
    assert zones_of(smf_of(tmp_path / "a.mid", setup)) == {}
    assert Channels(smf_of(tmp_path / "a.mid", setup), END).at((0, 0)).bend == CENTRE


def test_keys_that_nothing_releases_end_where_a_continuation_begins(tmp_path: Path) -> None:
    keys = ((1, 40), (1, 41), (2, 50), (3, 60))
    held = [(100, mido.Message("note_on", channel=channel, note=key, velocity=60)) for channel, key in keys]
    released = [
        (200, mido.Message("note_on", channel=1, note=41, velocity=0)),
        (END + 9, mido.Message("control_change", channel=2, control=123)),
    ]
    channels = Channels(smf_of(tmp_path / "a.mid", [*notes(), *held, *released]), END)
    assert channels.endings(0) == [(END, bytes((0x81, 40, 0))), (END, bytes((0x83, 60, 0)))]
    assert channels.endings(1) == []
