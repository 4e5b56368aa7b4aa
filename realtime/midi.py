"""MIDI messages as plain `bytes`: constants, builders, normalisation. No I/O; safe to call on any thread.

Channels are 0..15, data bytes 0..127. A message is *canonical* when it is complete, in range and not in running
status, and ends a note by a note-off, not by a note-on of velocity 0. Only `normalise` takes other input. Builders
raise ValueError out of range. After the MIDI 1.0 Detailed Specification (MMA, 1996).
"""

import re
from collections.abc import Iterable, Sequence

NOTE_OFF = 0x80
NOTE_ON = 0x90
POLY_PRESSURE = 0xA0
CONTROL = 0xB0
PROGRAM = 0xC0
CHANNEL_PRESSURE = 0xD0
PITCH_BEND = 0xE0
SYSEX = 0xF0
TIME_CODE = 0xF1
SONG_POSITION = 0xF2
SONG_SELECT = 0xF3
TUNE_REQUEST = 0xF6
SYSEX_END = 0xF7
CLOCK = 0xF8
START = 0xFA
CONTINUE = 0xFB
STOP = 0xFC
ACTIVE_SENSING = 0xFE
RESET = 0xFF

SYSEX_MOST = 1 << 16
"""The longest SysEx that is canonical, in bytes: longer ones are dumps of memories, and no music."""

DRUM_CHANNEL = 9  # General MIDI's channel 10, counted from 0

SUSTAIN = 64  # controller numbers
SOSTENUTO = 66
ALL_SOUND_OFF = 120
RESET_CONTROLLERS = 121
ALL_NOTES_OFF = 123
NOTES_OFF = range(ALL_NOTES_OFF, 128)  # omni off and on, mono and poly: each of them is all-notes-off, too

# The value that the specification gives to a release velocity that was not measured.
RELEASE_VELOCITY = 64

# Bytes per message by status; a status that is not here (data bytes, F4, F5, F7, F9, FD) opens no message.
_LENGTHS = {
    **{kind | channel: 3 for kind in (NOTE_OFF, NOTE_ON, POLY_PRESSURE, CONTROL, PITCH_BEND) for channel in range(16)},
    **{kind | channel: 2 for kind in (PROGRAM, CHANNEL_PRESSURE) for channel in range(16)},
    SONG_POSITION: 3,
    **dict.fromkeys((TIME_CODE, SONG_SELECT), 2),
    **dict.fromkeys((TUNE_REQUEST, CLOCK, START, CONTINUE, STOP, ACTIVE_SENSING, RESET), 1),
}

_STATUS = re.compile(rb"([\x80-\xff])([^\x80-\xff]*)")


def note_on(channel: int, pitch: int, velocity: int) -> bytes:
    """A note-on; velocity 1..127, because velocity 0 would mean a note-off."""
    if velocity == 0:
        raise ValueError("velocity must be in range 1..127, got 0: build a note-off with note_off")
    return _message(NOTE_ON, channel, pitch, velocity)


def note_off(channel: int, pitch: int) -> bytes:
    """The note-off of a key, in the only form that Antiphon sends."""
    return _message(NOTE_OFF, channel, pitch, RELEASE_VELOCITY)


def control(channel: int, number: int, value: int) -> bytes:
    """A control change."""
    return _message(CONTROL, channel, number, value)


def kind(message: bytes) -> int:
    """NOTE_ON, CONTROL, ... without the channel; the status byte itself for system messages."""
    status = message[0]
    return status if status >= SYSEX else status & 0xF0


def channel(message: bytes) -> int:
    """The channel, 0..15, of a channel message (status below 0xF0)."""
    return message[0] & 0x0F


def is_note_on(message: bytes) -> bool:
    """Whether a canonical message starts a note."""
    return message[0] & 0xF0 == NOTE_ON


def is_note_off(message: bytes) -> bool:
    """Whether a canonical message ends a note."""
    return message[0] & 0xF0 == NOTE_OFF


def normalise(data: Sequence[int]) -> bytes | None:
    """The canonical message in `data`, or None: empty, malformed, cut short, too long or out of range.

    A note-on of velocity 0 becomes `note_off`. A SysEx of up to SYSEX_MOST bytes passes whole, F0 to F7. Never raises;
    idempotent.
    """
    try:
        message = bytes(data)
    except (ValueError, TypeError):  # a number outside 0..255, or no number at all
        return None
    if not message:
        return None
    status = message[0]
    if status == SYSEX:
        whole = message[-1] == SYSEX_END and message[1:-1].isascii() and len(message) <= SYSEX_MOST
        return message if whole else None
    # isascii: every data byte is below 0x80.
    if len(message) != _LENGTHS.get(status) or not message[1:].isascii():
        return None
    if status & 0xF0 == NOTE_ON and message[2] == 0:
        return note_off(status & 0x0F, message[1])
    return message


def split(data: bytes) -> list[bytes]:
    """The messages in what a driver delivered as one: as it is, but for a SysEx with other messages in it.

    A SysEx that was never ended goes on, for a driver, into whatever follows it. Any status byte but those of real time ends it:
    the rest of it is lost, and what follows is played. The same holds for a message that is cut short. Real-time messages may
    stand within any other. Data bytes without a status are of the message before (running status).
    """
    if not data or data[0] != SYSEX or (data[-1] == SYSEX_END and data[1:-1].isascii()):
        return [data]
    found: list[bytes] = []
    status, body = 0, bytearray()  # of the message that is not whole yet
    for head, rest in _STATUS.findall(data):
        if head[0] >= CLOCK:
            found.append(head)
        elif head[0] == SYSEX_END:
            if status == SYSEX:
                found.append(bytes([SYSEX, *body, SYSEX_END]))
            status, body = 0, bytearray()
        else:
            status, body = head[0], bytearray()
        if status == SYSEX:
            body += rest[: SYSEX_MOST - len(body)]
        elif size := _LENGTHS.get(status):
            body += rest
            while len(body) >= size - 1 and (body or size == 1):
                found.append(bytes([status, *body[: size - 1]]))
                del body[: size - 1]
                if status >= SYSEX:  # only messages of a channel run on
                    status, body = 0, bytearray()
                    break
    return found


def panic(channels: Iterable[int]) -> list[bytes]:
    """The messages that silence `channels`, in the order of sending, channel by channel.

    Sustain off comes first, because a held pedal delays all-notes-off. The single note-offs are for instruments that ignore
    all-notes-off.
    """
    messages: list[bytes] = []
    for number in channels:
        messages.append(control(number, SUSTAIN, 0))
        messages.extend(note_off(number, pitch) for pitch in range(128))
        messages.append(control(number, ALL_NOTES_OFF, 0))
    return messages


def _message(status: int, channel: int, first: int, second: int) -> bytes:
    if not (0 <= channel <= 15 and 0 <= first <= 127 and 0 <= second <= 127):
        raise ValueError(f"channel must be in range 0..15 and data in 0..127, got {channel}, {first}, {second}")
    return bytes((status | channel, first, second))
