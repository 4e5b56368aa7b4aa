"""All that can happen to a session, in any order, against a model of a synthesiser that knows nothing of Antiphon."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from performing import MODES, MS, composer_of, settings_of

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.composing.rules import Rules
from realtime.core.dialogue import Reply
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap

CLOCKS = [bytes([status]) for status in (midi.CLOCK, midi.START, midi.CONTINUE, midi.STOP)]


class Synthesiser:
    """What sounds at the other end of the cable, by the MIDI specification alone."""

    def __init__(self) -> None:
        self.sounding: set[tuple[int, int]] = set()

    def hear(self, message: bytes) -> None:
        status, channel = message[0] & 0xF0, message[0] & 0x0F
        assert status in (0x80, 0x90) and len(message) == 3, message.hex()
        key = (channel, message[1])
        if status == 0x90 and message[2]:
            assert key not in self.sounding, f"{key} is struck while it sounds"
            self.sounding.add(key)
        else:
            assert key in self.sounding, f"{key} is released while it is silent"
            self.sounding.remove(key)


class Session:
    """An engine, and a composer that answers late, dies, and is stood in for by rules."""

    def __init__(self, mode: str, follows: bool, seed: int) -> None:
        self.settings = settings_of(mode, follow_clock=follows, controls_cc=20, trigger_cc=90, hold_ns=20_000_000)
        self.engine = Engine(self.settings, TempoMap(self.settings.bpm))
        self.synth, self.seed, self.now = Synthesiser(), seed, 0
        self.replies: list[Reply] = []
        self.lag = 0
        self.new_composer(False)

    def new_composer(self, by_rules: bool) -> None:
        """The one before is gone, and with it all that it had not said yet."""
        self.composer = (
            Rules(Constraints(), self.engine.grid) if by_rules else composer_of(settings=self.settings, seed=self.seed)
        )
        self.replies.clear()
        self.engine.composer_is_new(self.now)

    def pass_time(self, ns: int) -> None:
        end = self.now + ns
        while (wake := self.engine.wake_ns()) is not None and wake <= end:
            self.now = max(self.now, wake)
            self.settle()
        self.now = end
        self.settle()

    def settle(self) -> None:
        """Send what is due; ask the composer; take in its replies but for the last `lag`, which are still under way."""
        for _ in range(100):
            for sent in self.engine.poll(self.now):
                self.synth.hear(sent.message)
            requests = self.engine.take_requests()
            for request in requests:
                self.replies += self.composer.handle(request)
            while getattr(self.composer, "busy", False):
                self.composer.work()  # type: ignore[union-attr]
            ready = max(len(self.replies) - self.lag, 0)
            for reply in self.replies[:ready]:
                self.engine.receive(reply, self.now)
            del self.replies[:ready]
            if not requests and not ready:
                return

    def handle(self, message: bytes) -> None:
        self.engine.handle(message, self.now)
        self.settle()

    def end(self) -> None:
        """Whatever happened: nothing sounds, and nothing was kept that grows."""
        assert len(self.engine.turns.plans) < 2000
        for message in self.engine.stop():
            self.synth.hear(message)
        assert not self.synth.sounding


class AllThatCanHappen(RuleBasedStateMachine):
    """Hypothesis looks for the shortest way to break it."""

    @initialize(mode=st.sampled_from(list(MODES)), follows=st.booleans(), seed=st.integers(0, 99))
    def begin(self, mode: str, follows: bool, seed: int) -> None:
        self.session = Session(mode, follows, seed)

    @rule(channel=st.integers(0, 15), pitch=st.integers(0, 127), velocity=st.integers(1, 127))
    def strike(self, channel: int, pitch: int, velocity: int) -> None:
        self.session.handle(midi.note_on(channel, pitch, velocity))

    @rule(channel=st.integers(0, 15), pitch=st.integers(0, 127))
    def let_go(self, channel: int, pitch: int) -> None:
        self.session.handle(midi.note_off(channel, pitch))

    @rule(number=st.integers(0, 127), value=st.integers(0, 127))
    def control(self, number: int, value: int) -> None:
        self.session.handle(midi.control(0, number, value))

    @rule(program=st.integers(0, 5))
    def change_mode(self, program: int) -> None:
        self.session.handle(bytes((midi.PROGRAM, program)))

    @rule(message=st.sampled_from(CLOCKS), times=st.integers(1, 30))
    def clock(self, message: bytes, times: int) -> None:
        for _ in range(times):
            self.session.handle(message)
            self.session.pass_time(20 * MS)

    @rule(low=st.integers(0, 127), high=st.integers(0, 7))
    def locate(self, low: int, high: int) -> None:
        self.session.handle(bytes((midi.SONG_POSITION, low, high)))

    @rule(ms=st.integers(1, 3000))
    def wait(self, ms: int) -> None:
        self.session.pass_time(ms * MS)

    @rule(by_rules=st.booleans())
    def lose_the_composer(self, by_rules: bool) -> None:
        self.session.new_composer(by_rules)

    @rule(lag=st.integers(0, 40))
    def slow_down(self, lag: int) -> None:
        self.session.lag = lag

    @invariant()
    def nothing_sounds_that_the_ledger_does_not_know(self) -> None:
        if hasattr(self, "session"):
            assert self.session.synth.sounding <= self.session.engine.ledger.sounding()

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.end()


TestAllThatCanHappen = AllThatCanHappen.TestCase
TestAllThatCanHappen.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def perform(seed: int, events: int) -> Session:
    """So many random events, musical for the most part."""
    rng = random.Random(seed)
    session = Session(rng.choice(list(MODES)), rng.random() < 0.5, seed)
    down: list[tuple[int, int]] = []

    def strike() -> None:
        down.append((rng.choice((0, 0, 0, 9, 15)), rng.randint(30, 90)))
        session.handle(midi.note_on(*down[-1], rng.randint(1, 127)))

    def let_go() -> None:
        if down:
            session.handle(midi.note_off(*down.pop(rng.randrange(len(down)))))

    seldom: list[Callable[[], None]] = [
        lambda: session.handle(midi.control(0, rng.randrange(128), rng.randrange(128))),
        lambda: session.handle(bytes((midi.PROGRAM, rng.randrange(6)))),
        lambda: session.handle(rng.choice(CLOCKS)),
        lambda: session.handle(bytes((midi.SONG_POSITION, rng.randrange(128), rng.randrange(8)))),
        lambda: session.new_composer(rng.random() < 0.5),
        lambda: setattr(session, "lag", rng.choice((0, 0, 3, 30))),
        lambda: session.pass_time(rng.randrange(5000) * MS),
    ]
    for _ in range(events):
        draw = rng.random()
        if draw < 0.1:
            strike()
        elif draw < 0.2 or len(down) > 12:
            let_go()
        elif draw < 0.23:
            rng.choice(seldom)()
        else:
            session.handle(CLOCKS[0])
            session.pass_time(20 * MS)
        assert session.synth.sounding <= session.engine.ledger.sounding()
    return session


@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_events(seed: int) -> None:
    perform(seed, 1_000).end()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_a_million_events(seed: int) -> None:
    """Hours: `pytest -m long tests/test_machine.py`."""
    perform(seed, 1_000_000).end()
