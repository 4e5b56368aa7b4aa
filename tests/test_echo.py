"""The echo guard: each send makes one equal message an echo, and never a note of the player's."""

import random

from hypothesis import given
from hypothesis import strategies as st

from realtime.core.echo import EchoGuard
from realtime.midi import control, note_off, note_on

MS = 1_000_000


def test_an_echo_is_consumed_once() -> None:
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 0)
    assert guard.is_echo(note_on(0, 60, 80), 20 * MS)
    assert not guard.is_echo(note_on(0, 60, 80), 21 * MS)


def test_two_sends_explain_two_echoes() -> None:
    guard = EchoGuard()
    guard.sent(control(0, 1, 5), 0)
    guard.sent(control(0, 1, 5), 10 * MS)
    assert [guard.is_echo(control(0, 1, 5), stamp * MS) for stamp in (20, 30, 31)] == [True, True, False]


def test_what_differs_or_comes_outside_the_window_passes() -> None:
    guard = EchoGuard(window_ns=250 * MS)
    guard.sent(note_on(0, 60, 80), 100 * MS)
    assert not guard.is_echo(note_on(0, 60, 81), 110 * MS)
    assert not guard.is_echo(note_on(1, 60, 80), 110 * MS)
    assert not guard.is_echo(note_on(0, 61, 80), 110 * MS)
    assert not guard.is_echo(note_on(0, 60, 80), 99 * MS), "it was stamped before the send"
    assert not guard.is_echo(note_on(0, 60, 80), 351 * MS)
    assert guard.is_echo(note_on(0, 60, 80), 350 * MS)


def test_the_form_of_a_note_off_does_not_matter() -> None:
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 0)
    guard.sent(note_off(0, 60), 100 * MS)
    assert guard.is_echo(note_on(0, 60, 80), 5 * MS)
    assert guard.is_echo(bytes([0x90, 60, 0]), 105 * MS)


def test_the_players_release_is_not_taken_for_ours() -> None:
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 0)
    guard.sent(note_off(0, 60), 100 * MS)
    assert not guard.is_echo(note_on(0, 60, 99), 10 * MS)
    assert not guard.is_echo(note_off(0, 60), 110 * MS), "nothing of ours came back, so this is the player's"


def test_bytes_that_are_no_midi_message_are_no_echo() -> None:
    guard = EchoGuard()
    guard.sent(b"", 0)
    assert not guard.is_echo(b"", 0)


@given(st.integers(0, 100), st.integers(0, 2**32))
def test_a_loopback_is_silenced_and_no_note_of_the_player_is_eaten(delay_ms: int, seed: int) -> None:
    """Everything sent comes back; the player plays the same keys, velocities apart, at random moments in between."""
    rng = random.Random(seed)
    guard = EchoGuard()
    ours = [(at * 60 * MS, note_on(0, 60 + at % 3, 70)) for at in range(30)]
    ours += [(stamp + 50 * MS, note_off(0, message[1])) for stamp, message in ours]
    theirs = [(rng.randrange(1800 * MS), note_on(0, rng.randint(60, 62), rng.randint(71, 127))) for _ in range(30)]
    sends = [(stamp, 0, message) for stamp, message in ours]
    echoes = [(stamp + delay_ms * MS, 1, message) for stamp, message in ours]
    played = [(stamp, 2, message) for stamp, message in theirs]
    for stamp, source, message in sorted(sends + echoes + played):
        if source == 0:
            guard.sent(message, stamp)
        else:
            assert guard.is_echo(message, stamp) == (source == 1)


def test_it_trips_on_more_echoes_a_second_than_allowed() -> None:
    guard = EchoGuard(echoes_per_s=10)
    for number in range(11):
        assert not guard.tripped(number * 50 * MS)
        guard.sent(control(0, 1, number), number * 50 * MS)
        assert guard.is_echo(control(0, 1, number), number * 50 * MS)
    assert guard.tripped(500 * MS)
    assert not guard.tripped(1001 * MS)
