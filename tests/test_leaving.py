"""What sounds of an accompaniment's earlier chord ends with the first note of the next one: of its part, and in its role."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import BAR_NS, NoiseStepper, composer_of, duet

from realtime import midi
from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints
from realtime.composing.writing import Writer
from realtime.core.dialogue import Extend, Plan, PlayerNote, Proposed, Request, Turn
from realtime.core.output import SHORTEST_TICKS
from realtime.core.tempo import PULSES_PER_TICK
from realtime.music.chords import MEMBERS, NO_CHORD, UNKNOWN
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import note_array
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, Role

BAR = 4 * TICKS
BAND = Constraints(parts=(ACCOMPANIMENT, BASS, DRUMS), band=True)


def proposed(composer: Composer, *requests: Request) -> list[Proposed]:
    replies = [reply for request in requests for reply in composer.handle(request)]
    return [reply for reply in replies if isinstance(reply, Proposed)]


def accompany(composer: Composer, until: int = 4 * BAR) -> list[Proposed]:
    """Notes under one held note of the player's."""
    return proposed(composer, Plan(1, 1, PlayerNote(0, 85, 80, MELODY), Role.ACCOMPANY, Turn(0), until))


@pytest.mark.parametrize("seed", range(8))
def test_with_the_first_note_of_another_chord_what_is_not_of_it_ends(seed: int) -> None:
    """Antiphon goes from chord to chord under a held note of the player's: nothing of an earlier chord sounds on."""
    played, engine = duet([(1, midi.note_on(0, 85, 80))], 4 * BAR_NS, "accompany", seed=seed, hold_ns=0)
    chords = dict(engine.chords)
    sounding: dict[int, int] = {}
    moved = False
    for _, pulse, message in played.sent:
        tick = pulse // PULSES_PER_TICK
        if not midi.is_note_on(message):
            sounding.pop(message[1], None)
            continue
        start = tick // TICKS * TICKS
        chord = chords[start]
        since = next(beat for beat in range(start, -2 * TICKS, -TICKS) if chords.get(beat - TICKS) != chord)
        for pitch, onset in sounding.items():
            if chord not in (NO_CHORD, UNKNOWN) and onset <= since - SHORTEST_TICKS:
                assert MEMBERS[chord, pitch % 12], f"{pitch} from {onset} at {tick}, in a chord from {since} on"
                moved = True
        sounding[message[1]] = tick
    assert moved, "some notes are of both chords, and stay"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 4 * BAR), max_size=8), st.integers(0, 5))
def test_it_does_not_depend_on_how_the_plan_was_cut(cuts: list[int], seed: int) -> None:
    whole = accompany(composer_of(seed=seed))
    pieces = composer_of(seed=seed)
    first, *rest = sorted([*cuts, 4 * BAR])
    assert accompany(pieces, first) + proposed(pieces, *(Extend(1, cut) for cut in rest)) == whole
    assert any(reply.ends for reply in whole)


@settings(deadline=None, max_examples=40)
@given(st.integers(BAR, 3 * BAR), st.booleans(), st.integers(0, 5))
def test_after_a_surprise_it_is_as_if_nothing_had_been_planned(tick: int, silence: bool, seed: int) -> None:
    surprise = Plan(2, tick + 1, PlayerNote(tick, 88, 80, MELODY), Role.ACCOMPANY, Turn(0), 4 * BAR, silence)
    ahead, never = composer_of(seed=seed), composer_of(seed=seed)
    accompany(ahead)
    accompany(never, tick + 1)
    assert proposed(ahead, surprise) == proposed(never, surprise)


@pytest.mark.parametrize("seed", range(4))
def test_each_part_of_a_band_lets_go_of_its_own_notes_and_a_drum_of_none(seed: int) -> None:
    found = accompany(composer_of(constraints=BAND, seed=seed), 8 * BAR)
    assert {reply.note.part for reply in found} == {ACCOMPANIMENT, BASS, DRUMS}
    assert any(reply.ends for reply in found)
    for reply in found:
        assert reply.note.part != DRUMS or not reply.ends
        assert {part for part, _ in reply.ends} <= {reply.note.part}


@pytest.mark.parametrize("role", [Role.CONTINUE, Role.TRADE, Role.HARMONISE])
def test_another_role_lets_what_sounds_end_as_planned(role: Role) -> None:
    for seed in range(8):
        composer = composer_of(seed=seed)
        accompany(composer, 2 * BAR + seed * 5)
        voices = 1 if role == Role.HARMONISE else 0
        turn = Turn(3 * BAR, None if voices else 4 * BAR, voices=voices)
        plan = Plan(2, 2 * BAR + 48, PlayerNote(3 * BAR, 85, 80, MELODY), role, turn, 4 * BAR)
        assert not any(reply.ends for reply in proposed(composer, plan))


def test_an_answer_ends_with_its_key_whatever_chord_comes() -> None:
    answered = 0
    for seed in range(8):
        composer = composer_of(seed=seed)
        held = [PlayerNote(0, 85, 80, MELODY), PlayerNote(0, 80, 80, MELODY)]
        plans = [Plan(i + 1, 1, note, Role.HARMONISE, Turn(0, voices=2), 1) for i, note in enumerate(held)]
        answers = {(reply.note.part, reply.note.pitch) for reply in proposed(composer, *plans)}
        after = proposed(composer, Plan(9, TICKS, None, Role.ACCOMPANY, Turn(TICKS), 4 * BAR))
        ends = {key for reply in after for key in reply.ends}
        assert not ends & answers
        answered += len(answers) > 0 and len(ends) > 0
    assert answered


def test_what_is_written_without_a_clock_ends_too() -> None:
    for seed in range(4):
        composer = composer_of(NoiseStepper(100_000), Constraints(follow=False, parts=(BASS,)), seed=seed)
        seen: list[Proposed] = []
        handle = composer.handle

        def listen(request: Request, handle=handle, seen=seen) -> list[object]:  # type: ignore[no-untyped-def]
            replies = list(handle(request))
            seen.extend(reply for reply in replies if isinstance(reply, Proposed))
            return replies

        composer.handle = listen  # type: ignore[method-assign, assignment]
        writer = Writer(composer, BeatGrid())
        writer.begin(0)
        tune = note_array([(beat * TICKS, TICKS, 85, 80, MELODY) for beat in range(16)])
        made = writer.write(tune, Turn(0, 4 * BAR), 4 * BAR, Role.ACCOMPANY)
        assert made["onset"].tolist() == [reply.note.tick for reply in seen]
        assert made["duration"].sum() < sum(reply.note.duration for reply in seen)
        for reply in seen:
            for part, pitch in reply.ends:
                own = made[(made["part"] == part) & (made["pitch"] == pitch) & (made["onset"] < reply.note.tick)]
                assert (own["onset"].astype(np.int64) + own["duration"] <= reply.note.tick).all()
