"""Sessions whose output is wired to their input, and sessions with a player who imitates Antiphon."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from performing import BAR_NS, MODES, MS, Script, StepByStep, composer_of, duet, settings_of, tune

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core.modes import Harmonise, Mode, Trade

SHORT = Constraints(max_duration=6)
PHRASE = [60, 62, 64, 65]


@pytest.mark.parametrize("delay_ms", [0, 1, 20])
@pytest.mark.parametrize("mode", MODES)
def test_with_the_output_wired_to_the_input_it_does_not_answer_itself(mode: str, delay_ms: int) -> None:
    script = tune(PHRASE * 3, note_ns=450 * MS) + tune(PHRASE, start_ns=5 * BAR_NS)
    alone, _ = duet(script, 8 * BAR_NS, mode)
    wired, engine = duet(script, 8 * BAR_NS, mode, loopback_ns=delay_ms * MS)
    assert engine.counts.player_notes == 16, "none is eaten, and none of Antiphon's is taken for one"
    assert wired.sent == alone.sent
    assert engine.counts.echoes > 0


def test_a_wire_that_takes_long_is_found_within_eight_notes() -> None:
    _, engine = duet(tune(PHRASE * 2), 4 * BAR_NS, constraints=SHORT, loopback_ns=100 * MS)
    assert engine.feeds_back
    assert engine.counts.player_notes == 8 + 7


def session_of(mode: str, modes: dict[str, Mode]) -> StepByStep:
    """A session in which Antiphon plays short notes, and so many of them."""
    return StepByStep(mode, composer_of(constraints=SHORT, settings=settings_of(mode, modes=modes)), modes=modes)


def with_returns(session: StepByStep, script: Script, until_ns: int, returns: Callable[[bytes], Script]) -> None:
    """Play `script`; each message that is sent also comes in again as `returns` says, by its delay in ns."""
    agenda, done = list(script), 0
    for now_ns in range(0, until_ns, MS):
        for item in sorted(item for item in agenda if item[0] <= now_ns):
            agenda.remove(item)
            session.play(item[1], now_ns)
        session.until(now_ns)
        for _, _, message in session.sent[done:]:
            agenda += [(now_ns + delay_ns, returned) for delay_ns, returned in returns(message)]
        done = len(session.sent)


@pytest.mark.parametrize("channel", [0, 4])
def test_a_wire_that_changes_channel_and_velocity_is_ignored_too(channel: int) -> None:
    session = session_of("trade", {"trade": Trade(1)})

    def returned(message: bytes) -> Script:
        return [(2 * MS, bytes([midi.kind(message) | channel, message[1], 100 if midi.is_note_on(message) else 64]))]

    with_returns(session, tune(PHRASE) + tune(PHRASE, start_ns=2 * BAR_NS), 4 * BAR_NS, returned)
    assert session.engine.counts.player_notes == 8
    assert session.engine.counts.echoes == len(session.sent) > 8


@pytest.mark.parametrize("mode", ["trade", "harmonise"])
def test_a_player_who_imitates_is_heard(mode: str) -> None:
    """Every note of Antiphon's is played again, some 150 ms later."""
    session, rng = session_of(mode, {"trade": Trade(1), "harmonise": Harmonise(1)}), random.Random(3)
    imitated: list[bytes] = []

    def imitate(message: bytes) -> Script:
        if not midi.is_note_on(message) or len(imitated) == 20:
            return []
        imitated.append(message)
        delay_ns = rng.randint(100, 220) * MS
        return [(delay_ns, message), (delay_ns + 90 * MS, midi.note_off(0, message[1]))]

    with_returns(session, tune(PHRASE) + tune(PHRASE, start_ns=2 * BAR_NS), 4 * BAR_NS + 500 * MS, imitate)
    assert len(imitated) > 5
    assert session.engine.counts.player_notes == 8 + len(imitated)
    assert session.engine.counts.echoes == 0
