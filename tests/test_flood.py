"""More than anyone can play: what is left out, and what never is."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from performing import settings_of

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.composing.rules import Rules
from realtime.core.dialogue import Plan, Reply, Request
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.io.live.flood import A_SECOND, BURST, Flood, may_wait
from realtime.simulate import perform

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


class Counting(Rules):
    """Rules that count the notes of which they are told."""

    told = 0

    def handle(self, request: Request) -> Iterator[Reply]:
        self.told += isinstance(request, Plan) and request.played is not None
        return super().handle(request)


def test_of_thousands_of_notes_at_once_a_file_has_as_few_answered_as_a_player() -> None:
    """All of them were played, and each still has its end."""
    notes = [(midi.note_on(channel, pitch, 80), pitch) for channel in range(2) for pitch in range(128)]
    script = [(SECOND, message) for message, _ in notes for _ in range(10)]
    script += [(2 * SECOND, midi.note_off(message[0] & 15, pitch)) for message, pitch in notes]
    settings = settings_of("accompany")
    engine = Engine(settings, TempoMap(settings.bpm))
    composer = Counting(Constraints(), engine.grid)
    performance = perform(engine, composer, script, 4 * SECOND, is_meant=Flood().is_meant)
    assert composer.told == 2 * BURST
    assert [message for _, _, message in performance.played] == [message for _, message in script]
    assert engine.counts.player_notes >= 2560 - 1 and not engine.player.down
