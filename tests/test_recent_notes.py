"""What was heard of a cell is what sounded in it, in every mode, whatever was planned and taken back."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from performing import BAR_NS, MODES, MS, FakeGraphs, Script, duet

from realtime import midi
from realtime.composing.recent_notes import RecentNotes
from realtime.core.dialogue import ModelNote, PlayerNote
from realtime.core.tempo import PULSES_PER_TICK
from realtime.music.cells import cell_edges, rolls
from realtime.music.notes import note_array


def test_a_cell_holds_what_sounded_in_it_and_nothing_that_was_taken_back() -> None:
    recent = RecentNotes()
    recent.key_down(PlayerNote(0, 60, 80, 0))
    recent.key_up(30, 60)
    recent.key_down(PlayerNote(90, 64, 80, 0))
    recent.proposed(ModelNote(48, 40, 80, 96, 2))
    recent.proposed(ModelNote(70, 43, 80, 20, 2))
    recent.take_back(60, silence=False)
    notes = note_array([(0, 30, 60), (90, 200, 64), (48, 96, 40)])
    player = np.isin(notes["pitch"], (60, 64))
    both = rolls(notes, player, np.array([0, 96, 192]))
    assert np.array_equal(recent.close(0, 96), both[0])
    assert np.array_equal(recent.close(96, 192), both[1])


def test_what_is_silenced_or_answers_a_key_ends_with_it() -> None:
    recent = RecentNotes()
    recent.proposed(ModelNote(0, 40, 80, 384, 0))
    recent.proposed(ModelNote(0, 41, 80, 384, 0))
    recent.proposed(ModelNote(0, 42, 80, 4, 0))
    recent.release(10, 40)
    recent.take_back(20, silence=True)
    notes = note_array([(0, 10, 40), (0, 20, 41), (0, 4, 42)])
    assert np.array_equal(recent.close(0, 96), rolls(notes, np.zeros(3, bool), np.array([0, 96]))[0])
    assert not recent.close(96, 192).any()


def test_what_a_later_note_ends_sounds_on_if_that_one_is_taken_back() -> None:
    recent, kept = RecentNotes(), RecentNotes()
    for notes in (recent, kept):
        notes.proposed(ModelNote(0, 40, 80, 96, 1))
        notes.proposed(ModelNote(0, 40, 80, 96, 2))
        notes.proposed(ModelNote(24, 43, 80, 24, 2), [(2, 40)])
    recent.take_back(24, silence=False)
    kept.take_back(25, silence=False)
    for notes, ends in ((recent, 96), (kept, 24)):
        there = note_array(
            [(0, 96, 40, 80, 1), (0, ends, 40, 80, 2), *([(24, 24, 43, 80, 2)] if notes is kept else [])]
        )
        assert np.array_equal(notes.close(0, 48), rolls(there, np.zeros(len(there), bool), np.array([0, 48]))[0])


def test_what_has_just_begun_sounds_for_three_ticks_unless_it_was_shorter_anyway() -> None:
    recent = RecentNotes()
    recent.proposed(ModelNote(10, 40, 80, 96, 0))
    recent.proposed(ModelNote(10, 41, 80, 2, 0))
    recent.proposed(ModelNote(10, 42, 80, 96, 0))
    recent.take_back(11, silence=True)
    recent.release(11, 42)
    notes = note_array([(10, 3, 40), (10, 2, 41), (10, 3, 42)])
    assert np.array_equal(recent.close(0, 96), rolls(notes, np.zeros(3, bool), np.array([0, 96]))[0])


def ticks_of(messages: list[tuple[int, int, bytes]]) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch) in ticks; what never ends, ends long after."""
    down: dict[int, int] = {}
    notes = []
    for _, pulse, message in [*messages, *((0, 1 << 20, midi.note_off(0, pitch)) for pitch in range(128))]:
        tick = -(-pulse // PULSES_PER_TICK)  # what is silenced between two ticks ends with the later one
        if midi.is_note_on(message) or midi.is_note_off(message):
            if message[1] in down:
                onset = down.pop(message[1])
                notes.append((onset, max(tick - onset, 1), message[1]))
            if midi.is_note_on(message):
                down[message[1]] = tick
    return notes


player_scripts = st.lists(
    st.tuples(st.integers(0, 16 * 96), st.integers(48, 72), st.integers(1, 150)), min_size=1, max_size=30
)


def script_of(notes: list[tuple[int, int, int]]) -> Script:
    """(onset, pitch, duration) in ticks at 120 bpm, the first on 0; equal pitches do not overlap."""
    first = min(onset for onset, _, _ in notes)
    script: Script = []
    free: dict[int, int] = {}
    for onset, pitch, duration in sorted(notes):
        onset -= first
        if onset > free.get(pitch, -1):
            free[pitch] = onset + duration
            script += [(tick * 125 * MS // 6 + 1, message) for tick, message in (
                (onset, midi.note_on(0, pitch, 80)), (onset + duration, midi.note_off(0, pitch)))]  # fmt: skip
    return script


@settings(deadline=None, max_examples=40)
@given(player_scripts, st.sampled_from(list(MODES)), st.sampled_from((48, 72, 96, 120, 144)))
def test_every_cell_is_encoded_as_it_was_played(notes: list[tuple[int, int, int]], mode: str, bar: int) -> None:
    """In every mode and metre, with all that was planned and taken back in between."""
    graphs = FakeGraphs()
    performance, engine = duet(script_of(notes), 9 * BAR_NS, mode, graphs=graphs, bars=((0, bar),), restart_ticks=0)
    # The player's key that looks like an echo of Antiphon's note is held back until it is known to be none: its answer is too
    # late, and dropped. The composer is not told of notes that are dropped.
    assume(not engine.scheduler.late_dropped)
    sides = [ticks_of(performance.played), ticks_of(performance.sent)]
    is_player = np.repeat([True, False], [len(side) for side in sides])
    played = note_array([note for side in sides for note in side])
    onset, duration, pitch = zip(*(note for side in sides for note in side), strict=True)
    order = np.lexsort((duration, pitch, onset))  # as `note_array` sorts: both may strike one key at once
    edges = cell_edges(np.arange(0, 10 * 96, bar), 10 * 96 // bar * bar + bar)
    expected = rolls(played, is_player[order], edges)
    assert len(graphs.rolls) >= 9 * 96 // bar - 1
    for cell, roll in enumerate(graphs.rolls):
        assert np.array_equal(roll[:3], expected[cell][:3]), f"cell {cell}"
        # A note that the engine ends with its turn is shorter than the composer proposed it.
        assert (roll[3] >= expected[cell][3]).all(), f"cell {cell}"
