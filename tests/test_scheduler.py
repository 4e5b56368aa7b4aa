"""The scheduler: order of sending, late notes, and no hanging note after any sequence of calls."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from realtime.core.ledger import Ledger
from realtime.core.scheduler import PlannedNote, Scheduler, Sent
from realtime.midi import note_off, note_on

LATE = 60

notes = st.builds(
    PlannedNote,
    onset_pulse=st.integers(0, 400),
    channel=st.integers(0, 1),
    pitch=st.integers(60, 62),  # few keys, so that they collide
    velocity=st.integers(1, 127),
    duration_pulse=st.integers(1, 120),
    ends=st.lists(st.tuples(st.integers(0, 1), st.integers(60, 62)), max_size=2).map(tuple),
)


class Synth:
    """An instrument that knows only the bytes it gets. It fails on a note-on for a sounding key, and on a stray note-off."""

    def __init__(self) -> None:
        self.down: list[tuple[int, int]] = []
        self.ons = 0
        self.offs = 0

    def play(self, message: bytes) -> None:
        status, pitch, velocity = message
        key = (status % 16, pitch)
        if status // 16 == 9 and velocity > 0:
            assert key not in self.down, "struck while it sounds"
            self.down.append(key)
            self.ons += 1
        else:
            assert status // 16 == 8
            self.down.remove(key)  # raises for a note-off without its note
            self.offs += 1


def order(sent: Sent) -> tuple[int, bool, int]:
    return sent.pulse, sent.message[0] >= 0x90, sent.serial


def test_a_note_is_sent_with_its_note_off() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(480, 0, 60, 80, 240))
    assert scheduler.next_pulse() == 480
    assert scheduler.due(479, LATE) == []
    assert scheduler.due(480, LATE) == [Sent(480, note_on(0, 60, 80), 1, 480)]
    assert scheduler.next_pulse() == 720
    assert scheduler.due(720, LATE) == [Sent(720, note_off(0, 60), 2)]
    assert scheduler.next_pulse() is None


def test_a_late_wake_up_sends_whole_notes_in_order() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(20, 0, 62, 80, 10))
    scheduler.plan(PlannedNote(0, 0, 60, 80, 20))
    scheduler.plan(PlannedNote(20, 0, 60, 81, 15))
    sent = scheduler.due(40, LATE)
    assert [(one.pulse, one.message) for one in sent] == [
        (0, note_on(0, 60, 80)),
        (20, note_off(0, 60)),
        (20, note_on(0, 62, 80)),
        (20, note_on(0, 60, 81)),
        (30, note_off(0, 62)),
        (35, note_off(0, 60)),
    ]


def test_striking_a_sounding_key_sends_its_note_off_before_the_whole_chord() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(0, 0, 60, 80, 100))
    scheduler.plan(PlannedNote(50, 0, 64, 80, 100))
    scheduler.plan(PlannedNote(50, 0, 60, 80, 100))
    scheduler.due(0, LATE)
    assert [one.message for one in scheduler.due(50, LATE)] == [
        note_off(0, 60),
        note_on(0, 64, 80),
        note_on(0, 60, 80),
    ]


def test_what_ends_with_a_note_ends_as_it_is_struck_and_not_if_it_is_cancelled() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(0, 0, 60, 80, 500))
    scheduler.plan(PlannedNote(0, 1, 60, 80, 500))
    scheduler.plan(PlannedNote(50, 0, 64, 80, 100, hold_pulse=20, ends=((0, 60), (0, 61))))
    scheduler.plan(PlannedNote(200, 0, 65, 80, 100, ends=((1, 60),)))
    scheduler.due(0, LATE)
    assert scheduler.due(69, LATE) == []
    assert [(one.pulse, one.message) for one in scheduler.due(70, LATE)] == [
        (50, note_off(0, 60)),
        (50, note_on(0, 64, 80)),
    ]
    scheduler.cancel(200)
    assert [(one.pulse, one.message) for one in scheduler.due(600, LATE)] == [
        (150, note_off(0, 64)),
        (500, note_off(1, 60)),
    ]


def test_a_note_that_takes_anothers_place_ends_what_that_was_to_end() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(0, 0, 60, 80, 500))
    scheduler.plan(PlannedNote(50, 0, 64, 80, 100, ends=((0, 60),)))
    scheduler.plan(PlannedNote(50, 0, 64, 90, 10))
    scheduler.due(0, LATE)
    assert [one.message for one in scheduler.due(50, LATE)] == [note_off(0, 60), note_on(0, 64, 90)]


def test_a_note_that_comes_too_late_still_ends_what_ends_with_it() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(0, 0, 60, 80, 500))
    scheduler.plan(PlannedNote(50, 0, 64, 80, 100, ends=((0, 60),)))
    scheduler.due(0, LATE)
    assert [(one.pulse, one.message) for one in scheduler.due(50 + LATE + 1, LATE)] == [(50, note_off(0, 60))]


def test_late_note_ons_are_dropped_counted_and_leave_no_note_off() -> None:
    ledger = Ledger()
    scheduler = Scheduler(ledger)
    ledger.strike(0, 50, 10)
    for onset in (0, 39, 40, 100):
        scheduler.plan(PlannedNote(onset, 0, 60 + onset % 7, 80, 5))
    sent = scheduler.due(100, LATE)
    assert scheduler.late_dropped == 2
    assert sent[0].message == note_off(0, 50), "a note-off is sent however late"
    assert [one.pulse for one in sent] == [10, 40, 45, 100]


def test_cancel_returns_what_it_took_and_leaves_what_sounds() -> None:
    ledger = Ledger()
    scheduler = Scheduler(ledger)
    early, at, after = (PlannedNote(onset, 0, 60, 80, 480, tag=onset) for onset in (0, 100, 200))
    for note in (after, early, at):
        scheduler.plan(note)
    scheduler.due(0, LATE)
    assert scheduler.planned() == [at, after]
    assert scheduler.cancel(101) == [after]
    assert scheduler.cancel(100) == [at]
    assert scheduler.planned() == []
    assert [one.message for one in scheduler.due(480, LATE)] == [note_off(0, 60)]


def test_clear_forgets_plans_and_keeps_note_offs() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(0, 0, 60, 80, 10))
    scheduler.plan(PlannedNote(5, 0, 61, 80, 10))
    scheduler.due(0, LATE)
    scheduler.clear()
    assert scheduler.next_pulse() == 10
    assert [one.message for one in scheduler.due(100, LATE)] == [note_off(0, 60)]


def test_a_second_plan_for_one_onset_and_key_replaces_the_first() -> None:
    scheduler = Scheduler(Ledger())
    scheduler.plan(PlannedNote(0, 0, 60, 80, 10))
    scheduler.plan(PlannedNote(0, 0, 64, 80, 10))
    scheduler.plan(PlannedNote(0, 0, 60, 99, 20))
    assert scheduler.planned() == [PlannedNote(0, 0, 64, 80, 10), PlannedNote(0, 0, 60, 99, 20)]


@pytest.mark.parametrize("values", [(0, 16, 60, 80, 1), (0, 0, 128, 80, 1), (0, 0, 60, 0, 1), (0, 0, 60, 80, 0)])
def test_a_note_out_of_midi_range_is_refused(values: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PlannedNote(*values)


@given(st.lists(notes, max_size=25), st.lists(st.integers(0, 600), max_size=12))
def test_wake_ups_late_or_punctual_give_the_same_performance(plan: list[PlannedNote], wake_ups: list[int]) -> None:
    """With no lateness limit it does not matter when `due` is called: the same messages for the same pulses."""

    def perform(pulses: list[int]) -> list[Sent]:
        scheduler = Scheduler(Ledger())
        for note in plan:
            scheduler.plan(note)
        return [sent for pulse in pulses for sent in scheduler.due(pulse, late_pulse=10_000)]

    punctual = perform(list(range(601)))
    assert perform([*sorted(wake_ups), 600]) == punctual
    assert punctual == sorted(punctual, key=order)


class Performance(RuleBasedStateMachine):
    """Any sequence of calls of scheduler and ledger; a synth checks the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.scheduler = Scheduler(self.ledger)
        self.synth = Synth()
        self.now_pulse = 0
        self.planned = 0
        self.taken_back = 0
        self.struck = 0

    def play(self, messages: list[bytes]) -> None:
        for message in messages:
            self.synth.play(message)

    @rule(note=notes, ahead=st.integers(-100, 200))
    def plan(self, note: PlannedNote, ahead: int) -> None:
        before = len(self.scheduler.planned())
        self.scheduler.plan(
            PlannedNote(self.now_pulse + ahead, note.channel, note.pitch, note.velocity, note.duration_pulse)
        )
        self.planned += len(self.scheduler.planned()) - before

    @rule(offset=st.integers(-50, 200))
    def cancel(self, offset: int) -> None:
        cancelled = self.scheduler.cancel(self.now_pulse + offset)
        assert all(note.onset_pulse >= self.now_pulse + offset for note in cancelled)
        self.taken_back += len(cancelled)

    @rule()
    def clear(self) -> None:
        self.taken_back += len(self.scheduler.planned())
        self.scheduler.clear()

    @rule(step=st.integers(0, 250))
    def due(self, step: int) -> None:
        self.now_pulse += step
        sent = self.scheduler.due(self.now_pulse, LATE)
        assert sent == sorted(sent, key=order)
        for one in sent:
            assert one.pulse <= self.now_pulse
            if one.message[0] >= 0x90:
                assert one.pulse >= self.now_pulse - LATE
        self.play([one.message for one in sent])
        next_pulse = self.scheduler.next_pulse()
        assert next_pulse is None or next_pulse > self.now_pulse

    @rule(channel=st.integers(0, 1), pitch=st.integers(60, 62), length=st.integers(-20, 200))
    def strike(self, channel: int, pitch: int, length: int) -> None:
        self.play(self.ledger.strike(channel, pitch, self.now_pulse + length))
        self.synth.play(note_on(channel, pitch, 64))
        self.struck += 1

    @rule(channel=st.integers(0, 1), pitch=st.integers(60, 62), offset=st.integers(-200, 400))
    def end_key(self, channel: int, pitch: int, offset: int) -> None:
        self.ledger.end_key(channel, pitch, self.now_pulse + offset)

    @rule(channel=st.integers(0, 1), pitch=st.integers(60, 62))
    def release(self, channel: int, pitch: int) -> None:
        self.play(self.ledger.release(channel, pitch))

    @rule()
    def release_all(self) -> None:
        self.play(self.ledger.release_all())
        assert self.synth.down == []

    @invariant()
    def ledger_and_synth_agree(self) -> None:
        assert self.ledger.sounding() == set(self.synth.down)
        assert len(self.ledger) == len(self.synth.down)

    @invariant()
    def every_plan_is_accounted_for(self) -> None:
        sent = self.synth.ons - self.struck
        waiting = len(self.scheduler.planned())
        assert self.planned == sent + waiting + self.taken_back + self.scheduler.late_dropped

    def teardown(self) -> None:
        self.play(self.ledger.release_all())
        assert self.synth.down == []
        assert self.synth.ons == self.synth.offs


TestPerformance = Performance.TestCase
TestPerformance.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
