"""MIDI messages: builders, and a normalisation that survives anything."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime import midi

channels = st.integers(0, 15)
data = st.integers(0, 127)

# Any integers at all, and integers that look like MIDI often enough to get past the first checks.
anything = st.lists(st.integers(), max_size=6) | st.lists(st.integers(0, 300), max_size=6)
likely = st.builds(
    lambda status, rest: [status, *rest], st.integers(0x70, 0xFF), st.lists(st.integers(0, 130), max_size=3)
)

# Total length by status, written out once more by hand from the specification.
SYSTEM_LENGTHS = {0xF1: 2, 0xF2: 3, 0xF3: 2, 0xF6: 1, 0xF8: 1, 0xFA: 1, 0xFB: 1, 0xFC: 1, 0xFE: 1, 0xFF: 1}
CHANNEL_LENGTHS = {0x8: 3, 0x9: 3, 0xA: 3, 0xB: 3, 0xC: 2, 0xD: 2, 0xE: 3}


@given(anything | likely)
@example([])
@example([0x90, 60, 2**70])
@example([0xF0])
@example([0xF0, 0xF7])
@example([0xF7])
def test_normalise_survives_anything_and_is_canonical_and_idempotent(numbers: list[int]) -> None:
    message = midi.normalise(numbers)
    if message is None:
        return
    assert midi.normalise(message) == message
    status = message[0]
    if status == 0xF0:
        assert message[-1] == 0xF7 and all(byte < 0x80 for byte in message[1:-1])
    else:
        assert len(message) == (SYSTEM_LENGTHS[status] if status >= 0xF0 else CHANNEL_LENGTHS[status >> 4])
        assert all(byte < 0x80 for byte in message[1:])
    assert not (status >> 4 == 0x9 and message[2] == 0)


@given(st.integers(0x80, 0xFF), st.lists(data, min_size=2, max_size=2))
def test_every_complete_message_is_kept(status: int, numbers: list[int]) -> None:
    length = SYSTEM_LENGTHS.get(status) if status >= 0xF0 else CHANNEL_LENGTHS[status >> 4]
    if length is None:
        assert midi.normalise([status, *numbers]) is None
    elif status >> 4 != 0x9 or numbers[1] > 0:
        assert midi.normalise([status, *numbers][:length]) == bytes([status, *numbers][:length])


@given(channels, data)
def test_a_note_on_of_velocity_0_is_the_note_off_that_antiphon_sends(channel: int, pitch: int) -> None:
    assert midi.normalise([0x90 | channel, pitch, 0]) == midi.note_off(channel, pitch)


@pytest.mark.parametrize(
    "numbers",
    [
        [0x90, 60],  # cut short
        [0x90, 60, 64, 0],  # too long
        [60, 64],  # running status, which drivers resolve
        [0x90, 60, 200],
        [0x90, -1, 64],
        [0xF0, 1, 2],  # SysEx without its end
        [0xF0, 1, 0x90, 0xF7],
        [0xF4],
        [0xF9],
    ],
)
def test_malformed_messages_are_none(numbers: list[int]) -> None:
    assert midi.normalise(numbers) is None


def test_sysex_passes_whole() -> None:
    sysex = bytes([0xF0, 0x7E, 0x7F, 0x09, 0x01, 0xF7])
    assert midi.normalise(list(sysex)) == sysex
    assert midi.kind(sysex) == midi.SYSEX


@given(channels, data, st.integers(1, 127))
def test_builders_make_canonical_messages_and_helpers_read_them(channel: int, pitch: int, velocity: int) -> None:
    on, off = midi.note_on(channel, pitch, velocity), midi.note_off(channel, pitch)
    control = midi.control(channel, pitch, velocity)
    for message, kind in ((on, midi.NOTE_ON), (off, midi.NOTE_OFF), (control, midi.CONTROL)):
        assert midi.normalise(message) == message
        assert (midi.kind(message), midi.channel(message), message[1]) == (kind, channel, pitch)
        assert midi.is_note_on(message) == (message == on)
        assert midi.is_note_off(message) == (message == off)


def test_kind_of_system_messages_is_their_status() -> None:
    assert [midi.kind(bytes([status])) for status in (0xF8, 0xFA, 0xFB, 0xFC)] == [
        midi.CLOCK,
        midi.START,
        midi.CONTINUE,
        midi.STOP,
    ]


@pytest.mark.parametrize("values", [(16, 60, 64), (-1, 60, 64), (0, 128, 64), (0, 60, 128), (0, 60, 0)])
def test_builders_refuse_what_is_out_of_range(values: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be in range"):
        midi.note_on(*values)


def test_panic_lifts_the_pedal_before_it_ends_the_notes() -> None:
    messages = midi.panic([3, 9])
    assert len(messages) == 2 * 130
    for start, channel in ((0, 3), (130, 9)):
        assert messages[start] == bytes([0xB0 | channel, 64, 0])
        assert messages[start + 1 : start + 129] == [midi.note_off(channel, pitch) for pitch in range(128)]
        assert messages[start + 129] == bytes([0xB0 | channel, 123, 0])


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        ("f07e01f7", ["f07e01f7"]),
        ("903c40", ["903c40"]),
        ("f00102903c40803c40", ["903c40", "803c40"]),  # never ended: it goes on, for a driver, into the notes
        ("f001f802f7", ["f8", "f00102f7"]),  # real time may stand within
        ("f001f8903c40fec005f703", ["f8", "903c40", "fe", "c005"]),
        ("f001f002f7903c40", ["f002f7", "903c40"]),  # another begins
        ("f001f23d", []),  # cut short, as is the SysEx
        ("f001903c803c40f7", ["803c40"]),  # a note-on that is cut short swallows no note-off
        ("f00190f83cfe40", ["f8", "fe", "903c40"]),  # real time within a note
        ("f001903c403e403c00", ["903c40", "903e40", "903c00"]),  # running status
        ("f001f6903c40f4f5f101f301", ["f6", "903c40", "f101", "f301"]),
        ("", [""]),
        ("f0", []),
    ],
)
def test_what_a_driver_delivers_as_one_is_split(data: str, messages: list[str]) -> None:
    assert [message.hex() for message in midi.split(bytes.fromhex(data))] == messages


@given(st.binary(max_size=60))
def test_splitting_loses_no_message_that_follows_an_open_sysex(rest: bytes) -> None:
    note = b"\x90\x3c\x40"
    assert note in midi.split(b"\xf0\x01" + note + rest)
    for message in midi.split(b"\xf0" + rest):
        assert midi.normalise(message) or message in (b"\xf9", b"\xfd"), (
            "whole, or one that the standard leaves undefined"
        )


def test_a_sysex_is_canonical_up_to_64_kb() -> None:
    longest = b"\xf0" + bytes(midi.SYSEX_MOST - 2) + b"\xf7"
    assert midi.normalise(longest) == longest
    assert midi.normalise(b"\xf0" + bytes(midi.SYSEX_MOST - 1) + b"\xf7") is None
    endless = (
        b"\xf0" + bytes(1 << 20) + b"\xf8" + bytes(1 << 20) + b"\xf7"
    )  # no more is kept of it than makes it too long
    assert max(map(len, midi.split(endless))) < midi.SYSEX_MOST + 10
    assert [midi.normalise(message) for message in midi.split(endless)] == [b"\xf8", None]
