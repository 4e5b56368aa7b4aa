"""More than anyone can play: what is left out, and what never is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime import midi
from realtime.io.live.flood import A_SECOND, BURST, Flood, may_wait

SECOND = 1_000_000_000
SYSEX, KNOB, NOTE, PROGRAM = b"\xf0\x01\xf7", midi.control(0, 1, 0), midi.note_on(0, 60, 80), b"\xc0\x01"


def test_sysex_goes_first_then_controllers_then_notes() -> None:
    def most(message: bytes) -> int:
        return next(waiting for waiting in range(1 << 20) if not may_wait(message, waiting))

    assert 0 < most(SYSEX) < most(KNOB) == most(PROGRAM) < most(NOTE)


@given(st.integers(0, 15), st.integers(0, 127), st.integers(0, 127), st.integers(0, 1 << 40))
def test_what_ends_notes_is_never_left_out(channel: int, pitch: int, value: int, waiting: int) -> None:
    ends = [bytes((0x80 | channel, pitch, value)), bytes((0x90 | channel, pitch, 0)), midi.control(channel, 123, value)]
    ends += [midi.control(channel, 120, value), midi.control(channel, 64, value // 2)]
    assert all(may_wait(message, waiting) for message in ends)


def test_one_channel_floods_and_the_others_are_heard() -> None:
    flood = Flood()
    meant = [flood.is_meant(midi.note_on(1, 60, 80), i * SECOND // 1250) for i in range(6 * 1250)]
    assert all(meant[:BURST])
    assert sum(meant) <= BURST + 6 * A_SECOND + 1
    assert all(flood.is_meant(midi.note_on(0, 60, 80), 6 * SECOND + i * SECOND // 20) for i in range(100))
    assert flood.is_meant(midi.note_on(1, 60, 80), 7 * SECOND), "and when it is over this one too"


def test_what_a_pianist_plays_is_meant() -> None:
    """Chords of ten notes at 16 a second for a while, and a glissando over 88 keys in a second."""
    flood = Flood()
    assert all(flood.is_meant(NOTE, i * SECOND // 4) for i in range(16) for _ in range(10))
    assert all(flood.is_meant(NOTE, 10 * SECOND + i * SECOND // 88) for i in range(88))
