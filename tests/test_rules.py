"""The composer without a network: what is heard decides, what is allowed holds, and it is quick to answer as a whole session."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import BAR_NS, BEAT_NS, MODES, assert_nothing_hangs, onsets, settings_of, spans, tune

from realtime.composing.constraints import Constraints
from realtime.composing.rules import Rules
from realtime.core.dialogue import Avoid, Extend, KeyUp, ModelNote, Plan, PlayerNote, Proposed, Reached, Relocate, Turn
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.music.keys import SCALES
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import DRUMS, MELODY, Role
from realtime.simulate import perform

BAR = 96


def rules(**constraints: object) -> Rules:
    return Rules(Constraints(**constraints), BeatGrid())  # type: ignore[arg-type]


def played(composer: Rules, *notes: tuple[int, int, int]) -> None:
    """(tick, pitch, ticks) of the player's, of whom no answer is asked."""
    for generation, (tick, pitch, ticks) in enumerate(notes, 1):
        list(composer.handle(Plan(generation, tick + 1, PlayerNote(tick, pitch, 80, MELODY), Role.TRADE)))
        list(composer.handle(KeyUp(tick + ticks, pitch)))


def answers(composer: Rules, turn: Turn, role: Role, until: int, boundary: int | None = None) -> list[ModelNote]:
    struck = PlayerNote(turn.start, 60, 80, MELODY) if turn.voices else None
    plan = Plan(999, turn.start if boundary is None else boundary, struck, role, turn, until)
    replies = list(composer.handle(plan))
    assert isinstance(replies[-1], Reached) and replies[-1].until == until
    return [reply.note for reply in replies if isinstance(reply, Proposed)]


C, F, G = (60, 64, 67), (65, 69, 72), (67, 71, 74)


@pytest.mark.parametrize(("chord", "root"), [(C, 0), (F, 5), (G, 7), ((69, 72, 76), 9), ((62, 65, 69), 2)])
def test_an_accompaniment_is_root_and_triad_of_what_is_heard(chord: tuple[int, ...], root: int) -> None:
    composer = rules()
    played(composer, *((0, pitch, 90) for pitch in C), *((BAR, pitch, 90) for pitch in chord))
    notes = answers(composer, Turn(0), Role.ACCOMPANY, 3 * BAR, boundary=2 * BAR)
    assert {note.tick for note in notes} == {2 * BAR, 2 * BAR + 24, 2 * BAR + 48, 2 * BAR + 72}
    lowest = min(notes, key=lambda note: note.pitch)
    assert lowest.tick == 2 * BAR and lowest.pitch % 12 == root
    assert {note.pitch % 12 for note in notes} == {pitch % 12 for pitch in chord}
    assert all(note.velocity < 80 for note in notes)


def test_a_trade_is_the_call_led_home() -> None:
    """A call in G that ends on its fifth: the answer begins as the call does, and ends on the tonic by step."""
    call = [67, 71, 74, 67, 72, 71, 67, 74]
    composer = rules()
    played(composer, *((i * 24, pitch, 20) for i, pitch in enumerate(call)))
    notes = answers(composer, Turn(2 * BAR, 4 * BAR), Role.TRADE, 4 * BAR)
    assert [note.tick for note in notes] == [2 * BAR + i * 24 for i in range(8)]
    assert [note.pitch for note in notes][:6] == call[:6]
    assert notes[-1].pitch % 12 == 7
    assert 1 <= abs(notes[-1].pitch - notes[-2].pitch) <= 3
    assert notes[-1].tick + notes[-1].duration == 4 * BAR


CALL = [(24 * i, pitch, 24) for i, pitch in enumerate((60, 62, 64, 67, 65, 64, 62, 64))]


@pytest.mark.parametrize("played_on", [1, 3, 8])
def test_an_answer_that_is_taken_back_comes_as_inversion_then_as_retrograde(played_on: int) -> None:
    """However much of it had been played."""
    composer, turn = rules(tonic=0, scale=SCALES["major"]), Turn(192, 384)
    played(composer, *CALL)
    taken_back: list[ModelNote] = []
    heard = []
    for _ in range(4):
        composer.hear(Avoid(tuple((note.tick, note.pitch) for note in taken_back)))
        made = answers(composer, turn, Role.TRADE, 384)
        heard.append([note.pitch for note in made])
        taken_back += made[:played_on]
    assert heard == [
        [60, 62, 64, 67, 65, 64, 62, 60],
        [67, 65, 64, 60, 62, 64, 62, 60],
        [64, 62, 64, 65, 67, 64, 62, 60],
        [64, 65, 64, 62, 60, 64, 62, 60],
    ]


def test_what_was_taken_back_is_forgotten_when_song_time_goes_elsewhere() -> None:
    composer, turn = rules(tonic=0, scale=SCALES["major"]), Turn(192, 384)
    played(composer, *CALL)
    first = answers(composer, turn, Role.TRADE, 384)
    composer.hear(Avoid(tuple((note.tick, note.pitch) for note in first)))
    composer.hear(Relocate(0))
    played(composer, *CALL)
    assert answers(composer, turn, Role.TRADE, 384) == first


def test_extensions_go_on_and_old_ones_are_not_answered() -> None:
    composer = rules()
    whole = answers(composer, Turn(0), Role.ACCOMPANY, 4 * BAR)
    parts = rules()
    pieces = answers(parts, Turn(0), Role.ACCOMPANY, 30)
    for until in (60, 100, 4 * BAR):
        pieces += [reply.note for reply in parts.handle(Extend(999, until)) if isinstance(reply, Proposed)]
    assert pieces == whole
    assert list(parts.handle(Extend(3, 5 * BAR))) == []
    assert list(parts.handle(Relocate(7))) == []


NOTES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 127), st.integers(1, 60)), max_size=30)


@given(
    NOTES,
    st.sampled_from(list(Role)),
    st.integers(21, 90),
    st.integers(0, 18),
    st.sampled_from(["major", "blues", "minor pentatonic"]),
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([(), (0,), (2,), (DRUMS,)]),
)
@settings(max_examples=150, deadline=None)
def test_what_is_allowed_holds(
    notes: list[tuple[int, int, int]],
    role: Role,
    lowest: int,
    width: int,
    scale: str,
    most: int | None,
    parts: tuple[int, ...],
) -> None:
    highest = lowest + 11 + width
    allowed = {(4 + degree) % 12 for degree in SCALES[scale]}
    composer = rules(
        tonic=4, scale=SCALES[scale], lowest=lowest, highest=highest, max_notes=most, parts=parts, max_duration=48
    )
    played(composer, *sorted(notes))
    turn = Turn(480, 481, 2) if role is Role.HARMONISE else Turn(480, None if role is Role.ACCOMPANY else 480 + 2 * BAR)
    until = turn.end or 480 + 2 * BAR
    made = answers(composer, turn, role, until)
    for note in made:
        assert turn.start <= note.tick < until and 1 <= note.velocity <= 127
        if parts != (DRUMS,):
            assert lowest <= note.pitch <= highest and note.pitch % 12 in allowed
            assert 1 <= note.duration <= 48 or turn.voices
            assert not turn.end or turn.voices or note.tick + note.duration <= turn.end
        assert not parts or note.part == parts[0]
    if role is not Role.ACCOMPANY or most is None:
        assert made, "never silent"
    if most and role is Role.ACCOMPANY and parts != (DRUMS,):
        assert all(sum(note.tick == other.tick for other in made) <= max(most, 1) for note in made)


@pytest.mark.parametrize("mode", MODES)
def test_a_whole_session_by_rules(mode: str) -> None:
    """Something is answered in every mode, and nothing hangs; the same input gives the same notes."""
    script = tune([60, 64, 67, 64, 65, 62, 67, 71], BEAT_NS, start_ns=1) + tune(
        [60, 64, 67, 64], BEAT_NS, 4 * BAR_NS + 1
    )
    sent = []
    for _ in range(2):
        config = settings_of(mode)
        engine = Engine(config, TempoMap(config.bpm))
        performance = perform(engine, Rules(Constraints(), BeatGrid(config.bars)), script, 8 * BAR_NS)
        sent.append(performance.sent)
    assert sent[0] == sent[1]
    assert len(onsets(sent[0])) >= 8
    assert spans(sent[0])
    assert_nothing_hangs(sent[0])


def test_it_remembers_no_more_than_it_needs() -> None:
    composer = rules()
    for generation, tick in zip(range(5000), count(0, 6), strict=False):
        list(composer.handle(Plan(generation, tick, PlayerNote(tick, 30 + generation % 60, 80, MELODY), Role.TRADE)))
        list(composer.handle(KeyUp(tick + 3, 30 + generation % 60)))
    assert len(composer._heard._ends) <= len(composer._heard.notes) == 512
