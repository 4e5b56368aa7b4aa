"""The ledger: every note-on gets exactly one note-off."""

from realtime.core.ledger import Ledger
from realtime.midi import note_off


def test_a_note_is_due_at_its_release_and_only_once() -> None:
    ledger = Ledger()
    assert ledger.strike(0, 60, 480) == []
    assert ledger.next_pulse() == 480
    assert ledger.due(479) == []
    assert ledger.due(480) == [(480, note_off(0, 60))]
    assert ledger.due(10_000) == []
    assert (ledger.next_pulse(), len(ledger)) == (None, 0)


def test_striking_a_sounding_key_ends_it_first() -> None:
    ledger = Ledger()
    ledger.strike(0, 60, 100)
    assert ledger.strike(0, 60, 300) == [note_off(0, 60)]
    assert ledger.strike(1, 60, 300) == [], "another channel is another key"
    assert ledger.due(200) == [], "the first note's release went with it"
    assert ledger.due(300) == [(300, note_off(0, 60)), (300, note_off(1, 60))]


def test_due_is_in_the_order_of_pulses_then_of_striking() -> None:
    ledger = Ledger()
    for pitch, release_pulse in ((64, 200), (62, 100), (60, 100), (61, 300)):
        ledger.strike(0, pitch, release_pulse)
    ledger.strike(0, 62, 100)
    assert [(pulse, message[1]) for pulse, message in ledger.due(250)] == [(100, 60), (100, 62), (200, 64)]
    assert ledger.sounding() == {(0, 61)}


def test_a_key_ends_earlier_but_never_later_and_a_silent_one_stays_silent() -> None:
    ledger = Ledger()
    ledger.strike(0, 60, 100)
    ledger.end_key(0, 60, 500)
    assert ledger.next_pulse() == 100
    ledger.end_key(0, 60, 50)
    ledger.end_key(0, 61, 50)
    assert ledger.due(50) == [(50, note_off(0, 60))]
    assert len(ledger) == 0


def test_release_ends_one_note_and_release_all_the_rest() -> None:
    ledger = Ledger()
    for pitch in (60, 64, 67):
        ledger.strike(2, pitch, 1000)
    assert ledger.release(2, 64) == [note_off(2, 64)]
    assert ledger.release(2, 64) == []
    assert ledger.release_all() == [note_off(2, 60), note_off(2, 67)]
    assert ledger.release_all() == []
    assert ledger.due(1000) == []


def test_sounding_is_a_snapshot() -> None:
    ledger = Ledger()
    ledger.strike(0, 60, 1)
    before = ledger.sounding()
    ledger.release_all()
    assert before == {(0, 60)}
    assert ledger.sounding() == frozenset()
