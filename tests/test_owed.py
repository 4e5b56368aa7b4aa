"""Note-offs that may not have arrived, and who gets them when."""

from __future__ import annotations

from realtime import midi
from realtime.io.live.owed import Owed
from realtime.io.live.tracks import LeftOn
from realtime.io.midi.cables import alsa_connections

SYNTH, OTHER = frozenset({"synth"}), frozenset({"other"})
NONE: frozenset[str] = frozenset()
OFF = midi.note_off(2, 60)


def silent(key: tuple[int, int]) -> bool:
    return False


def test_what_ended_while_the_cable_was_out_is_released_when_it_is_back() -> None:
    owed = Owed()
    assert owed.due(SYNTH, silent) == [], "nothing has sounded yet"
    owed.released(midi.note_off(0, 50))
    assert owed.due(SYNTH, silent) == owed.due(SYNTH, silent) == []
    owed.released(OFF)  # perhaps after the cable was cut: the look that is reported next saw it just before
    assert owed.due(SYNTH, silent) == []
    assert owed.due(NONE, silent) == []
    owed.released(midi.note_off(3, 70))
    owed.released(midi.note_off(4, 80))
    assert owed.due(NONE, silent) == []
    assert owed.due(SYNTH, lambda key: key == (3, 70)) == [OFF, midi.note_off(4, 80)], "but for what sounds again"
    owed.released(OFF)
    assert owed.due(SYNTH, silent) == owed.due(SYNTH, silent) == owed.due(SYNTH | OTHER, silent) == []


def test_a_cable_that_goes_elsewhere_releases_there() -> None:
    owed = Owed()
    owed.due(SYNTH, silent)
    owed.released(OFF)
    assert owed.due(OTHER, silent) == [OFF]


def test_what_a_killed_session_left_on_is_released_once_somebody_listens() -> None:
    owed = Owed()
    owed.left_on([LeftOn("Out", ((2, 60),), (2, 5))])
    assert owed.due(NONE, silent) == []
    assert owed.due(SYNTH, silent) == [OFF, midi.control(2, 123, 0), midi.control(5, 123, 0)]
    assert owed.due(SYNTH | OTHER, silent) == []


def test_where_nobody_knows_who_listens_it_is_released_at_once() -> None:
    owed = Owed()
    owed.left_on([LeftOn("Out", ((2, 60),), ())])
    assert owed.due(None, silent) == [OFF]
    owed.released(OFF)
    assert owed.due(None, silent) == []


def test_alsa_says_who_listens() -> None:
    listed = """Client info
Client 128 : "Antiphon" [User Legacy]
  Port   0 : "Antiphon In" (-We-)
    Connected From: 24:0
Client 129 : "Antiphon" [User Legacy]
  Port   0 : "Antiphon Out" (R-e-)
    Connecting To: 20:0, 130:1[real:0]
  Port   1 : "another" (R-e-)
    Connecting To: 14:0
"""
    assert alsa_connections("Antiphon Out", listed) == {"20:0", "130:1"}
    assert alsa_connections("Antiphon", listed) == NONE
