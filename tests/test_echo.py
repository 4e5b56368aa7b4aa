"""The echo guard: a wire from the output to the input returns every note; a player who imitates loses none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.core.echo import LONGEST_NS, RUN, WIRE_NS, EchoGuard
from realtime.midi import channel, control, note_off, note_on

MS = 1_000_000
Event = tuple[int, bytes]


def notes(count: int, seed: int, gap_ms: int = 240) -> list[Event]:
    """Notes that Antiphon sends, with their ends."""
    rng = random.Random(seed)
    events = []
    for i in range(count):
        pitch = rng.randint(55, 80)
        ns = i * gap_ms * MS
        events += [
            (ns, note_on(0, pitch, rng.randint(40, 100))),
            (ns + rng.randint(50, gap_ms - 10) * MS, note_off(0, pitch)),
        ]
    return events


def wire(
    sends: list[Event], delay_ms: float, jitter_ms: float = 0, to_channel: int = 0, velocity: int | None = None
) -> list[Event]:
    """What a wire returns of them."""
    rng = random.Random(1)
    returned = []
    for ns, message in sends:
        loudness = velocity if velocity is not None and message[0] & 0xF0 == 0x90 else message[2]
        late_ns = round((delay_ms + rng.uniform(0, jitter_ms)) * MS)
        returned.append((ns + late_ns, bytes([message[0] & 0xF0 | to_channel, message[1], loudness])))
    return returned


def heard(guard: EchoGuard, sends: list[Event], incoming: list[Event]) -> list[Event]:
    """What is left of `incoming` for the engine, in order, with its stamps."""
    left: list[Event] = []
    agenda = [(ns, 0, message) for ns, message in sends] + [(ns, 1, message) for ns, message in incoming]
    for ns, side, message in sorted(agenda):
        if side == 0:
            guard.sent(message, ns)
            left += [(stamp, held) for held, stamp in guard.released(ns)]
        else:
            is_echo = guard.is_echo(message, ns)
            left += [(stamp, held) for held, stamp in guard.released(ns)]
            if not is_echo:
                left.append((ns, message))
    last_ns = agenda[-1][0] + 1000 * MS
    return left + [(stamp, held) for held, stamp in guard.released(last_ns)]


@given(st.integers(0, 55), st.integers(0, 15), st.one_of(st.none(), st.integers(1, 127)), st.integers(0, 2**32))
def test_of_a_quick_wire_nothing_is_heard_whatever_it_does_to_channel_and_velocity(
    delay_ms: int, to_channel: int, velocity: int | None, seed: int
) -> None:
    guard, sends = EchoGuard(), notes(40, seed)
    assert heard(guard, sends, wire(sends, delay_ms, 3, to_channel, velocity)) == []
    assert guard.is_wired


@pytest.mark.parametrize("delay_ms", [70, 100, 200])
def test_a_slow_wire_is_found_within_eight_notes(delay_ms: int) -> None:
    guard, sends = EchoGuard(), notes(60, 3)
    left = heard(guard, sends, wire(sends, delay_ms, 3))
    assert sum(message[0] & 0xF0 == 0x90 for _, message in left) == RUN - 1
    assert guard.is_wired


def test_a_wire_that_is_plugged_in_later_is_found_within_eight_notes_and_gone_when_it_is_pulled() -> None:
    guard, sends = EchoGuard(), notes(90, 4)
    plugged, pulled = 30 * 240 * MS, 60 * 240 * MS
    returned = [event for event in wire(sends, 4, 2, 3) if plugged <= event[0] < pulled]
    left = heard(guard, sends, returned)
    assert sum(message[0] & 0xF0 == 0x90 for _, message in left) == RUN - 1
    assert not guard.is_wired
    late = sends[-2][0] + 2000 * MS
    guard.sent(note_on(0, 60, 80), late)
    assert not guard.is_echo(note_on(0, 60, 80), late + 5 * MS)


@pytest.mark.parametrize("velocity", [None, 100])
@pytest.mark.parametrize("delays_ms", [(100, 240), (2, 120), (150, 170), (0, 60)])
def test_of_ten_thousand_imitations_none_is_lost(delays_ms: tuple[int, int], velocity: int | None) -> None:
    """Each note is played again, on the same channel, with the same or with a fixed velocity; none ends together with it."""
    rng = random.Random(5)
    sends = [(ns, note_on(0, 60 + i % 12, 100)) for i, ns in enumerate(range(0, 10_000 * 240 * MS, 240 * MS))]
    offs = [(ns + 120 * MS, note_off(0, message[1])) for ns, message in sends]
    imitation = [
        (ns + round(rng.uniform(*delays_ms) * MS), note_on(0, message[1], velocity or message[2]))
        for ns, message in sends
    ]
    ends = [(ns + rng.randint(130, 220) * MS, note_off(0, message[1])) for ns, message in imitation]
    guard = EchoGuard()
    left = heard(guard, sorted(sends + offs), sorted(imitation + ends))
    assert sorted(left) == sorted(imitation + ends)
    assert not guard.is_wired


def test_the_players_own_notes_pass_a_wire() -> None:
    """Everything that is sent comes back; the player strikes the same keys at random moments, with other velocities."""
    rng = random.Random(2)
    sends = notes(200, 6)
    own = [
        (rng.randrange(3000 * MS, 48_000 * MS), note_on(0, rng.randint(55, 80), rng.randint(101, 127)))
        for _ in range(200)
    ]
    left = heard(EchoGuard(), sends, [*wire(sends, 12), *own])
    assert sorted(left) == sorted(own)


def test_a_note_in_unison_with_the_very_first_is_handed_over_with_its_own_time_when_the_next_does_not_come_back() -> (
    None
):
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 0)
    assert guard.is_echo(note_on(0, 60, 90), 8 * MS), "for now"
    guard.sent(note_on(0, 64, 80), 500 * MS)
    assert guard.released(500 * MS) == []
    assert guard.released(501 * MS + WIRE_NS) == [(note_on(0, 60, 90), 8 * MS)]
    assert guard.released(600 * MS) == []
    assert not guard.is_echo(note_off(0, 60), 700 * MS)


def test_it_is_handed_over_before_its_own_end() -> None:
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 0)
    guard.is_echo(note_on(0, 60, 90), 8 * MS)
    assert not guard.is_echo(note_off(0, 60), 100 * MS)
    assert guard.released(100 * MS) == [(note_on(0, 60, 90), 8 * MS)]


def test_it_is_handed_over_when_the_end_of_antiphons_note_does_not_come_back() -> None:
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 0)
    guard.is_echo(note_on(0, 60, 90), 8 * MS)
    guard.sent(note_off(0, 60), 200 * MS)
    assert guard.released(210 * MS) == []
    assert guard.released(201 * MS + WIRE_NS) == [(note_on(0, 60, 90), 8 * MS)]


def test_what_differs_or_comes_too_early_or_late_is_no_echo() -> None:
    guard = EchoGuard()
    guard.sent(note_on(0, 60, 80), 100 * MS)
    assert not guard.is_echo(note_on(0, 61, 80), 110 * MS)
    assert not guard.is_echo(note_on(0, 60, 80), 99 * MS), "it was stamped before the send"
    assert not guard.is_echo(note_on(0, 60, 80), 101 * MS + LONGEST_NS)


def test_controllers_that_come_back_are_ignored_once() -> None:
    guard = EchoGuard()
    guard.sent(control(0, 1, 5), 0)
    assert [guard.is_echo(control(0, 1, 5), stamp * MS) for stamp in (20, 30)] == [True, False]


def test_bytes_that_are_no_midi_message_are_no_echo() -> None:
    guard = EchoGuard()
    guard.sent(b"", 0)
    assert not guard.is_echo(b"", 0)


def test_the_form_of_a_note_off_does_not_matter() -> None:
    guard, sends = EchoGuard(), notes(20, 7)
    returned = [
        (ns, bytes([0x90 | channel(message), message[1], 0]) if message[0] & 0xF0 == 0x80 else message)
        for ns, message in wire(sends, 3)
    ]
    assert heard(guard, sends, returned) == []
