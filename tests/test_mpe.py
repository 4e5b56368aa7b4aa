"""MPE: what comes on the channels of a zone is one instrument."""

from __future__ import annotations

import pytest
from performing import BEAT_NS, MS, StepByStep, plans

from realtime import midi
from realtime.music.vocabulary import DRUMS, MELODY

CONFIGURATION = [midi.control(0, 101, 0), midi.control(0, 100, 6), midi.control(0, 6, 15)]


def parts(messages: list[tuple[int, bytes]]) -> list[int]:
    """The parts in which the notes among `messages` are heard."""
    session = StepByStep("trade")
    for ns, message in messages:
        session.play(message, ns)
    return [plan.played.part for plan in plans(session.requests) if plan.played is not None]


def rotating(first: int, bent: bool) -> list[tuple[int, bytes]]:
    """Sixteen notes, each on the channel after that of the one before."""
    script = []
    for i in range(16):
        channel, ns = 1 + (first - 1 + i) % 15, i * BEAT_NS // 2
        script += [(ns, bytes([midi.PITCH_BEND | channel, 0, 64]))] * bent
        script += [
            (ns + MS, midi.note_on(channel, 60 + i % 8, 80)),
            (ns + 200 * MS, midi.note_off(channel, 60 + i % 8)),
        ]
    return script


@pytest.mark.parametrize("first", [1, 9, 12])
def test_notes_that_are_bent_one_by_one_are_one_melody_from_the_first_on(first: int) -> None:
    assert parts(rotating(first, bent=True)) == [MELODY] * 16


def test_a_configured_zone_is_one_melody_without_any_bend() -> None:
    assert parts([(0, message) for message in CONFIGURATION] + rotating(1, bent=False)) == [MELODY] * 16
    ended = [*CONFIGURATION, midi.control(0, 6, 0)]
    assert DRUMS in parts([(0, message) for message in ended] + rotating(1, bent=False))


def test_drums_stay_drums_beside_an_instrument_that_is_bent() -> None:
    script = [(0, bytes([midi.PITCH_BEND, 0, 70])), (MS, midi.note_on(0, 60, 80)), (2 * MS, midi.note_on(9, 36, 80))]
    assert parts(script) == [MELODY, DRUMS]
