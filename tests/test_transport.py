"""MIDI clock and transport, through the engine: the grid of a followed clock, start, stop, song position, a lost clock."""

from __future__ import annotations

import random

import pytest
from performing import (
    BAR_PULSES,
    BEAT_NS,
    MS,
    Script,
    StepByStep,
    assert_nothing_hangs,
    composer_of,
    onsets,
    plans,
    settings_of,
    spans,
    tune,
)

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core.dialogue import (
    Advance,
    Bar,
    ModelNote,
    PlayerNote,
    Proposed,
    Retempo,
)
from realtime.core.engine import Engine
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.io.live.flood import MOST_PLANS
from realtime.music.vocabulary import MELODY
from realtime.simulate import Performance, perform

SHORT = Constraints(max_duration=12)
CLOCK, START, CONTINUE, STOP = (bytes([status]) for status in (midi.CLOCK, midi.START, midi.CONTINUE, midi.STOP))


def song_position(beats: int) -> bytes:
    return bytes([midi.SONG_POSITION, beats * 4 & 0x7F, beats * 4 >> 7])


def clocks(bpms: list[float], start_ns: int = 0, jitter_ms: float = 0.0, seed: int = 0) -> tuple[Script, list[int]]:
    """(MIDI clock with Start, the true times of the clocks), the tempo given for each clock."""
    rng = random.Random(seed)
    script: Script = [(start_ns - 4 * MS, START)]
    times = []
    time = float(start_ns)
    for bpm in bpms:
        times.append(round(time))
        script.append((round(time + rng.uniform(-jitter_ms, jitter_ms) * MS), CLOCK))
        time += 60e9 / 24 / bpm
    return script, times


def trade_by_clock(clock: Script, times: list[int]) -> tuple[Performance, Engine]:
    """Trade two bars each; the player strikes each quarter of bars 1, 2, 5, 6, ... with the true clocks."""
    script = list(clock)
    for beat in range(len(times) // 24):
        if beat // 8 % 2 == 0:
            script.append((times[24 * beat], midi.note_on(0, 60 + beat % 5, 80)))
            script.append((times[24 * beat + 20], midi.note_off(0, 60 + beat % 5)))
    settings = settings_of("trade", follow_clock=True)
    engine = Engine(settings, TempoMap(120))
    composer = composer_of(constraints=SHORT, settings=settings)
    return perform(engine, composer, script, times[-1]), engine


@pytest.mark.parametrize("jitter_ms", [0, 3])
@pytest.mark.parametrize("ramp", [False, True])
def test_trade_stays_on_the_grid_of_a_jittering_clock_and_through_a_ramp(ramp: bool, jitter_ms: float) -> None:
    """The seed is fixed, and so is the outcome. A followed clock's own error is below 6 ms (test_clocksync)."""
    middle = [90 + 50 * i / 768 for i in range(768)] if ramp else [90.0] * 768
    clock, times = clocks([90.0] * 192 + middle + [140.0 if ramp else 90.0] * 576, jitter_ms=jitter_ms, seed=4)
    performance, engine = trade_by_clock(clock, times)
    errors_ms = []
    for ns, pulse, _ in onsets(performance.sent):
        assert pulse // BAR_PULSES // 2 % 2 == 1
        errors_ms.append((ns - times[pulse // PULSES_PER_TICK]) / MS)
    assert len(errors_ms) > 30
    assert max(map(abs, errors_ms)) < (6 if jitter_ms else 4)
    assert engine.counts.missed_deadlines == 0
    assert_nothing_hangs(performance.sent)


def test_the_composer_gets_the_tempo_of_the_clock_when_a_turn_begins() -> None:
    clock, times = clocks([100.0] * 384)
    session = StepByStep("trade", follow_clock=True)
    for stamp_ns, message in sorted([*clock, *((times[24 * i], midi.note_on(0, 60 + i, 80)) for i in range(8))]):
        session.play(message, stamp_ns)
    assert [round(request.bpm) for request in session.requests if isinstance(request, Retempo)] == [100]
    session.requests.clear()
    session.engine.composer_is_new(times[-1])
    session.engine.handle(CLOCK, times[-1] + 25 * MS)
    session.settle(times[-1] + 30 * MS)
    assert any(isinstance(request, Retempo) for request in session.requests), "a new one knows only the settings"


@pytest.mark.parametrize("what", ["stop", "start", "locate"])
def test_a_transport_jump_in_the_middle_of_a_turn_releases_everything_at_once(what: str) -> None:
    clock, times = clocks([120.0] * (24 * 40))
    at = 24 * 8 + 40  # in Antiphon's bars
    jump_ns = times[at] + 5 * MS
    message = {"stop": STOP, "start": START, "locate": song_position(0)}[what]
    if what == "stop":
        clock = [item for item in clock if item[0] < jump_ns or item[0] > times[at + 200]]
    script = [*clock, (jump_ns, message)]
    for beat in range(8):
        script += [(times[24 * beat], midi.note_on(0, 60, 80)), (times[24 * beat + 20], midi.note_off(0, 60))]
    script += [(jump_ns + 100 * MS, midi.note_on(0, 70, 80))] if what == "stop" else []
    settings = settings_of("trade", follow_clock=True)
    engine = Engine(settings, TempoMap(120))
    performance = perform(engine, composer_of(constraints=Constraints(min_duration=96)), script, times[at + 150])
    notes = spans(performance.sent)
    assert any(span.off_ns == jump_ns for span in notes)
    assert max(span.off_ns for span in notes) == jump_ns
    assert not [one for one in performance.sent if one[0] > jump_ns]
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("what", ["start", "locate"])
def test_after_a_jump_no_note_of_before_is_played_however_late_the_composer_replies(what: str) -> None:
    """The composer needs a second for each request, and the song goes back to its beginning in the midst of a turn."""
    clock, times = clocks([120.0] * (24 * 24))
    jump_ns = times[24 * 10] - 5 * MS
    script = [*clock, (jump_ns, {"start": START, "locate": song_position(0)}[what])]
    for beat in range(6):
        script += [(times[24 * beat], midi.note_on(0, 60, 80)), (times[24 * beat + 20], midi.note_off(0, 60))]
    engine = Engine(settings_of("trade", follow_clock=True, prepare_ticks=96), TempoMap(120))
    performance = perform(engine, composer_of(constraints=SHORT), script, times[-1], think_ns=1000 * MS)
    moments = [ns for ns, _, _ in onsets(performance.sent)]
    assert any(ns < jump_ns for ns in moments)
    assert not any(ns > jump_ns for ns in moments), "the player has not played since"
    assert_nothing_hangs(performance.sent)


@pytest.mark.parametrize("what", ["start", "locate"])
def test_after_a_jump_back_the_session_goes_on_from_the_new_position(what: str) -> None:
    """Bars 1 to 10, back to bar 1: the player's bars are 1 and 2 again, and Antiphon's 3 and 4; every cell is reported."""
    clock, times = clocks([120.0] * (24 * 80))
    jump_ns = times[24 * 40] - 5 * MS
    script = [*clock, (jump_ns, {"start": START, "locate": song_position(0)}[what])]
    for beat in (*range(8), *range(16, 24), *range(32, 48), *range(56, 64), *range(72, 80)):
        script += [(times[24 * beat], midi.note_on(0, 60, 80)), (times[24 * beat + 20], midi.note_off(0, 60))]
    session = StepByStep("trade", composer_of(constraints=SHORT), follow_clock=True)
    for stamp_ns, message in sorted(script, key=lambda item: item[0]):
        session.play(message, stamp_ns)
    assert {pulse // BAR_PULSES for ns, pulse, _ in onsets(session.sent) if ns > jump_ns} == {2, 3, 6, 7}
    cells = [request.tick for request in session.requests if isinstance(request, Bar)]
    assert cells == [*range(96, 960, 96), *range(96, 960, 96)]
    beats = [request.tick for request in session.requests if isinstance(request, Advance)]
    assert all(tick // 192 % 2 == 0 for tick in beats), "in Antiphon's turns they pass with its notes"
    assert beats.count(24) == 2


def test_an_answer_given_before_a_jump_has_no_part_in_what_sounds_after_it() -> None:
    """Key 60 is answered by 67, then the song starts again; 67 now answers key 72 and has to sound until that is released."""
    session = StepByStep("harmonise", follow_clock=True)
    clock, times = clocks([120.0] * 48)
    engine = session.engine

    def answered(key: int, pitch: int, ns: int) -> None:
        engine.handle(midi.note_on(0, key, 80), ns)
        plan = plans(engine.take_requests())[-1]
        engine.receive(Proposed(plan.generation, ModelNote(plan.boundary - 1, pitch, 80, 384, 1)), ns)

    for stamp_ns, message in clock[:25]:
        engine.handle(message, stamp_ns)
    answered(60, 67, times[23] + MS)
    engine.handle(START, times[23] + 2 * MS)
    for stamp_ns, message in clock[25:30]:
        engine.handle(message, stamp_ns)
    answered(72, 67, times[28] + MS)
    answered(60, 64, times[28] + 2 * MS)
    engine.handle(midi.note_off(0, 60), times[28] + 100 * MS)
    engine.poll(times[28] + 100 * MS)
    assert engine.ledger.sounding() == {(0, 67)}
    engine.handle(midi.note_off(0, 72), times[28] + 200 * MS)
    engine.poll(times[28] + 200 * MS)
    assert not engine.ledger.sounding()


def test_after_stop_a_new_position_and_continue_it_goes_on_from_there() -> None:
    clock, times = clocks([120.0] * (24 * 60))
    stop, again = 24 * 9, 24 * 12
    script = [item for item in clock if item[0] < times[stop] or item[0] >= times[again]]
    script += [(times[stop], STOP), (times[stop] + MS, song_position(16)), (times[again] - MS, CONTINUE)]
    for beat in (0, *range(12, 20)):
        script += [(times[24 * beat], midi.note_on(0, 60, 80)), (times[24 * beat + 20], midi.note_off(0, 60))]
    settings = settings_of("trade", follow_clock=True)
    performance = perform(Engine(settings, TempoMap(120)), composer_of(constraints=SHORT), script, times[-1])
    moments = [(ns, pulse // BAR_PULSES) for ns, pulse, _ in onsets(performance.sent)]
    assert any(times[stop] - BEAT_NS < ns < times[stop] for ns, _ in moments)
    assert not [ns for ns, _ in moments if times[stop] <= ns < times[again]]
    later = [(ns, bar) for ns, bar in moments if ns >= times[again]]
    # The song goes on with bar 5; the player's first two bars there are 5 and 6, Antiphon's 7 and 8.
    assert {bar for ns, bar in later} <= {6, 7, 10, 11, 14, 15}
    assert min(ns for ns, _ in later) >= times[again + 24 * 8] - 5 * MS
    assert_nothing_hangs(performance.sent)


def test_a_note_that_overtakes_the_first_clock_is_still_in_the_first_bar() -> None:
    clock, times = clocks([120.0] * (24 * 20), start_ns=BEAT_NS)
    script = [(times[0] - MS // 2, midi.note_on(0, 60, 80)), *clock, (times[20], midi.note_off(0, 60))]
    settings = settings_of("trade", follow_clock=True)
    performance = perform(Engine(settings, TempoMap(120)), composer_of(), script, times[-1])
    assert {pulse // BAR_PULSES // 2 for _, pulse, _ in onsets(performance.sent)} == {1}


def test_after_stop_the_player_plays_alone() -> None:
    session = StepByStep("harmonise", follow_clock=True)
    clock, times = clocks([120.0] * 96)
    for stamp_ns, message in clock[:25]:
        session.play(message, stamp_ns)
    session.play(midi.note_on(0, 60, 80), times[24] - MS)
    assert onsets(session.sent)
    session.play(STOP, times[24])
    session.sends.clear()
    session.play(midi.note_on(0, 64, 80), times[30])
    session.until(times[90])
    assert not session.sent


@pytest.mark.parametrize("begin", [START, CONTINUE])
def test_song_time_waits_for_a_first_clock_that_comes_seconds_late(begin: bytes) -> None:
    """A key struck meanwhile is on the downbeat, and beats and cells are reported when the clock has reached them."""
    clock, _times = clocks([120.0] * 200, start_ns=5000 * MS)
    session = StepByStep("trade", follow_clock=True)
    session.play(begin, 0)
    assert session.engine.wake_ns() is None
    session.play(midi.note_on(0, 60, 80), 3000 * MS)
    plan = plans(session.requests)[-1]
    assert (plan.played, plan.boundary) == (PlayerNote(0, 60, 80, MELODY), 2), (
        "40 ms at 120 bpm are not quite two ticks"
    )
    session.until(4999 * MS)
    assert not [request for request in session.requests if isinstance(request, (Advance, Bar))]
    for stamp_ns, message in clock[1:]:
        session.play(message, stamp_ns)
    assert [request.tick for request in session.requests if isinstance(request, Advance)][:3] == [24, 48, 72]
    assert [request.tick for request in session.requests if isinstance(request, Bar)] == [96, 192]
    assert session.engine.counts.missed_deadlines == 0


def test_a_lost_clock_is_played_through_at_the_last_tempo() -> None:
    clock, times = clocks([120.0] * (24 * 32))
    lost = [item for item in clock if not times[24 * 6] < item[0] < times[24 * 14]]
    performance, _ = trade_by_clock(lost, times)
    errors_ms = [(ns - times[pulse // PULSES_PER_TICK]) / MS for ns, pulse, _ in onsets(performance.sent)]
    assert len(errors_ms) > 10
    assert max(map(abs, errors_ms)) < 2
    assert_nothing_hangs(performance.sent)


def test_clock_and_transport_are_ignored_at_an_internal_tempo() -> None:
    script = [*tune([60] * 8), (3 * BEAT_NS, START), (3 * BEAT_NS, CLOCK), (9 * BEAT_NS, STOP)]
    settings = settings_of("trade")
    engine = Engine(settings, TempoMap(120))
    performance = perform(engine, composer_of(), script, 16 * BEAT_NS)
    assert any(ns > 9 * BEAT_NS for ns, _, _ in onsets(performance.sent))
    assert engine.counts.jumps == 0


def unstarted(bpm: float, clocks_in_all: int, jitter_ms: float = 0.0) -> tuple[Script, list[int]]:
    """MIDI clock of a sender that started before anybody listened."""
    script, times = clocks([bpm] * clocks_in_all, start_ns=BEAT_NS, jitter_ms=jitter_ms)
    return script[1:], times


@pytest.mark.parametrize("early_ms", [-8, 0, 7])
def test_a_clock_without_start_is_followed_after_a_bar_from_the_player_s_first_note(early_ms: int) -> None:
    """Whichever clock is nearest to that note is the downbeat."""
    clock, times = unstarted(120, 24 * 48, jitter_ms=2)
    downbeat = 130  # no multiple of a beat: nobody knows where the sender's bars are
    script = [*clock, (times[40], midi.note_on(0, 60, 80)), (times[50], midi.note_off(0, 60))]  # too early
    for beat in range(8):
        at = times[downbeat + 24 * beat] - early_ms * MS
        script += [(at, midi.note_on(0, 60 + beat % 5, 80)), (at + 400 * MS, midi.note_off(0, 60 + beat % 5))]
    settings = settings_of("trade", follow_clock=True)
    engine = Engine(settings, TempoMap(90))
    performance = perform(engine, composer_of(constraints=SHORT, settings=settings), script, times[-1])
    assert any("without a Start" in notice for notice in engine.take_notices())
    errors_ms = [(ns - times[downbeat + pulse // PULSES_PER_TICK]) / MS for ns, pulse, _ in onsets(performance.sent)]
    assert len(errors_ms) > 4 and max(map(abs, errors_ms)) < 7
    assert {pulse // BAR_PULSES // 2 for _, pulse, _ in onsets(performance.sent)} == {1}
    assert engine.counts.player_notes == 9, "the note before it was followed counts as played, too"
    assert_nothing_hangs(performance.sent)


def test_a_clock_without_start_is_followed_from_its_next_song_position() -> None:
    session = StepByStep("trade", follow_clock=True)
    clock, times = unstarted(120, 300)
    for stamp_ns, message in clock[:200]:
        session.play(message, stamp_ns)
    assert not session.engine.rolling
    session.play(song_position(16), times[199] + MS)
    for stamp_ns, message in clock[200:]:
        session.play(message, stamp_ns)
    assert session.engine.rolling
    assert session.engine.tempo.pulse_at(times[299]) == pytest.approx((16 * 24 + 99) * PULSES_PER_TICK, abs=2)


def test_what_the_sender_says_later_counts_more_than_the_player_s_first_note() -> None:
    session = StepByStep("trade", follow_clock=True)
    clock, times = unstarted(120, 400)
    for stamp_ns, message in clock[:120]:
        session.play(message, stamp_ns)
    session.play(midi.note_on(0, 60, 80), times[120])
    assert session.engine.rolling
    session.play(song_position(8), times[130])  # it stood all the time, and continues from here
    for stamp_ns, message in clock[131:150]:
        session.play(message, stamp_ns)
    session.play(CONTINUE, times[150] - MS)
    for stamp_ns, message in clock[150:175]:
        session.play(message, stamp_ns)
    assert session.engine.tempo.pulse_at(times[174]) == pytest.approx((8 * 24 + 24) * PULSES_PER_TICK, abs=2)
    session.play(STOP, times[175])
    assert not session.engine.rolling


@pytest.mark.parametrize("told", [STOP, CONTINUE])
def test_a_sender_that_has_spoken_is_not_guessed_at(told: bytes) -> None:
    session = StepByStep("trade", follow_clock=True)
    clock, times = unstarted(120, 300)
    session.play(told, times[0] - MS)
    session.play(STOP, times[0])
    for stamp_ns, message in clock:
        session.play(message, stamp_ns)
    session.play(midi.note_on(0, 60, 80), times[-1])
    assert not session.engine.rolling and not session.engine.take_notices()


def test_clocks_that_stop_for_a_second_are_counted_anew() -> None:
    session = StepByStep("trade", follow_clock=True)
    clock, times = unstarted(120, 300)
    for stamp_ns, message in [*clock[:90], *clock[150:200]]:
        session.play(message, stamp_ns)
    session.play(midi.note_on(0, 60, 80), times[200])
    assert not session.engine.rolling


def test_a_sender_that_starts_and_stops_for_ever_leaves_nothing_that_waits() -> None:
    """A loop in a DAW, say, while nobody plays: every jump takes all plans back, and nothing is asked that could be answered."""
    session = StepByStep("accompany", follow_clock=True)
    for i in range(200):
        session.play(STOP if i % 2 else START, i * MS)
    assert session.engine.counts.jumps >= 100
    assert len(session.engine.turns.plans) < MOST_PLANS, "or no note would be answered any more"
    assert not session.engine.turns.plans.wanted(session.engine.turns.plans.generation - 1, 1 << 20)
    session.play(START, 300 * MS)
    session.play(CLOCK, 301 * MS)
    session.play(midi.note_on(0, 60, 80), 302 * MS)
    assert plans(session.requests)[-1].turn is not None
    assert not len(session.engine.turns.plans)


@pytest.mark.parametrize("far", [16, 250])
def test_an_accompaniment_goes_on_where_the_song_jumps_back(far: int) -> None:
    """As in a loop in a DAW: what was sent at a later place before is no reason to wait for that place."""
    session = StepByStep("accompany", composer_of(constraints=SHORT), follow_clock=True, hold_ns=20 * MS)
    clock, times = clocks([120.0] * (24 * 16), start_ns=10 * MS)
    jump = [
        (0, song_position(16 * far)),
        (1, CONTINUE),
        *clock[1:193],
        (times[192] - 2, song_position(0)),
        *clock[193:],
    ]
    keys = tune([60, 64, 67, 72] * 4, start_ns=times[0] + MS)
    for ns, message in sorted([*jump, *keys], key=lambda event: event[0]):
        session.play(message, ns)
    moments = [ns for ns, _, _ in onsets(session.sent)]
    assert any(ns < times[192] for ns in moments)
    for beats in range(9, 16):
        assert any(times[24 * beats] - BEAT_NS <= ns < times[24 * beats] + BEAT_NS for ns in moments)
