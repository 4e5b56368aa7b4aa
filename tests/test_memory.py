"""The memory's pointers: those of a session, note by note, against those of a window at once, and against naive ones."""

from __future__ import annotations

import numpy as np
import pytest

from models.corpus.memory import candidates, longest_matches
from realtime.composing.memory import (
    EXACT,
    EXPERTS,
    FIRST_BARS,
    FORGOTTEN,
    MOVED,
    NOTHING,
    ORDERS,
    UNDOABLE,
    Memory,
    Moment,
    Notes,
    slot,
)
from realtime.music.chords import CHORD_INPUTS, NO_CHORD, UNKNOWN, parse_label
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import BEAT, DRUMS, MELODY, NONE_DURATION

GRID = BeatGrid(((0, 96), (960, 72)))
IN_CHORD = 10
"""The feature that tells whether a candidate's pitch belongs to the chord."""


def melody(rng: np.random.Generator, count: int) -> list[tuple[int, int, bool, int, int, int, int]]:
    """Notes (tick, part, player, pitch, duration class, velocity class, known from), with much that comes again."""
    tick, notes = 0, []
    phrase = [(int(rng.integers(1, 4)) * 6, int(rng.integers(55, 70)), int(rng.integers(0, 3))) for _ in range(7)]
    while len(notes) < count:
        step, pitch, part = phrase[len(notes) % 7] if rng.random() < 0.8 else (int(rng.integers(0, 30)), 60, 1)
        tick += step
        player = bool(rng.random() < 0.5)
        length = int(rng.integers(0, 20))
        notes.append((tick, part, player, pitch, length, int(rng.integers(0, 32)), tick + 5 if player else tick))
    return notes


@pytest.mark.parametrize("seed", range(4))
def test_a_session_recalls_what_a_window_does(seed: int) -> None:
    """Note by note, with beats in between, as for all events at once; also after going back and doing it again."""
    rng = np.random.default_rng(seed)
    notes = melody(rng, 180)
    beats = []
    while not beats or beats[-1].start < notes[-1][0]:
        beats.append(GRID.beat_at(beats[-1].start + beats[-1].length if beats else 0))
    events = sorted([(beat.start, 0, i) for i, beat in enumerate(beats)] + [(n[0], 1, i) for i, n in enumerate(notes)])
    latest = np.cumsum([kind for _, kind, _ in events]) - 1
    when = [GRID.beat_at(tick) for tick, _, _ in events]
    columns = Notes(*(np.array(column, np.int64) for column in zip(*notes, strict=True)))
    slots = slot(columns.tick - np.array([GRID.beat_at(n[0]).start for n in notes]))
    chord = {beat.start: int(rng.integers(0, CHORD_INPUTS)) for beat in beats}
    moments = [
        (tick, beat.start, beat.length, beat.bar_ticks, chord[beat.start])
        for (tick, _, _), beat in zip(events, when, strict=True)
    ]
    now = Moment(*(np.array(column) for column in zip(*moments, strict=True)))
    ids, features = candidates(columns, slots, 0, latest, now)
    assert (features[..., 0] > 0).mean(0)[[EXACT, MOVED, FIRST_BARS]].min() > 0.5

    memory, recalls, pending = Memory(), [FORGOTTEN], []
    turns = [(0, 120), (90, 150), (150, len(events)), (100, len(events))]
    for begin, end in turns:  # the second and the last go back first
        memory.rewind(recalls[begin].held)
        del recalls[begin + 1 :]
        for i in range(begin, min(end, len(events))):
            tick, kind, which = events[i]
            for due in [p for p in pending if p[0] <= tick]:
                memory.release(*due)
                pending.remove(due)
            if kind:
                _, part, player, pitch, duration, velocity, known = notes[which]
                if player:  # it may be struck again before it was released: the window knows both ends, a keyboard one
                    memory.release(tick, pitch)
                memory.add(tick, when[i], part, player, pitch, NONE_DURATION if player else duration, velocity)
                if player:
                    pending.append((known, pitch))
            recalls.append(memory.recall(tick, when[i], recalls[-1], chord[when[i].start]))
    got_ids = np.stack([recall.ids for recall in recalls[1:]])
    got = np.stack([recall.features for recall in recalls[1:]])
    apart = np.arange(5) != 3  # what is known of held keys' durations is tested by itself
    np.testing.assert_array_equal(got_ids[..., apart], ids[..., apart])
    np.testing.assert_allclose(got, features, atol=1e-6)
    assert got.shape[1] == EXPERTS
    assert {-1.0, 0.0, 1.0} == set(np.unique(got[..., IN_CHORD]).tolist())


def test_what_is_taken_back_leaves_no_trace() -> None:
    """A memory that plays other notes again and again, and takes them back, against one that never does; beyond `UNDOABLE`."""
    rng = np.random.default_rng(5)
    straight, astray = Memory(), Memory()
    recalls = [FORGOTTEN, FORGOTTEN]
    for tick, part, player, pitch, duration, velocity, _ in melody(rng, 3 * UNDOABLE):
        beat = GRID.beat_at(tick)
        for other in range(int(rng.integers(0, 12))):
            astray.add(tick, beat, part, player, 55 + (pitch + other) % 12, duration, velocity)
        astray.rewind(straight.count)
        for i, memory in enumerate((straight, astray)):
            memory.add(tick, beat, part, player, pitch, duration, velocity)
            recalls[i] = memory.recall(tick, beat, recalls[i])
        for mine, other in zip(*recalls, strict=True):
            np.testing.assert_array_equal(mine, other)
    with pytest.raises(ValueError, match="notes to take back"):
        astray.rewind(astray.count - UNDOABLE - 1)


@pytest.mark.parametrize(
    ("chord", "pitch", "part", "expected"),
    [
        ("C:7", 60, MELODY, 1), ("C:7", 70, MELODY, 1), ("C:7", 59, MELODY, -1), ("C:7", 61, 2, -1), ("A:min", 60, 2, 1),
        ("C:7", 60, DRUMS, 0), ("C:7", 61, DRUMS, 0), (NO_CHORD, 60, MELODY, 0), (UNKNOWN, 60, MELODY, 0),
    ],
)  # fmt: skip
def test_a_candidate_knows_whether_it_fits_the_chord(chord: str | int, pitch: int, part: int, expected: int) -> None:
    """Its pitch class against the chord of the beat: 1 or -1; 0 for drums, and where there is no chord or none is known."""
    memory, now = Memory(), parse_label(chord).chord if isinstance(chord, str) else chord
    memory.add(0, GRID.beat_at(0), part, True, pitch, 5, 20)
    recall = memory.recall(96, GRID.beat_at(96), FORGOTTEN, now)
    assert recall.ids[FIRST_BARS, :3].tolist() == [0, part, pitch], "the note of a bar ago"
    assert recall.features[FIRST_BARS, IN_CHORD] == expected
    assert not recall.features[FIRST_BARS + 1].any(), "of two bars ago nothing is known"


def test_the_longest_match_is_found() -> None:
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 3, 300)
    match, length = longest_matches(keys)
    for i in range(len(keys)):
        best = (0, -1)
        for j in range(i):
            run = 0
            while run < 32 and run <= j and keys[j - run] == keys[i - run]:
                run += 1
            known = max((int(order) for order in ORDERS if order <= run), default=0)
            best = max(best, (known, j if known else -1))
        assert (length[i], match[i]) == best


@pytest.mark.parametrize("moved", [0, 3])
def test_the_first_theme_is_found_after_hours(moved: int) -> None:
    """Twenty thousand notes later, after time went on from elsewhere, and in another key too."""
    theme = [60, 67, 65, 71, 62, 74, 59, 69, 57, 72, 64, 76]
    rng, memory, tick = np.random.default_rng(5), Memory(), 0
    for pitch in (*theme, *rng.integers(55, 80, 20_000).tolist()):
        memory.add(tick, GRID.beat_at(tick), MELODY, True, int(pitch), 9, 20)
        tick += 24
    memory.relocate()
    for pitch in theme[:8]:
        memory.add(tick, GRID.beat_at(tick), MELODY, True, pitch + moved, 9, 20)
        tick += 24
    recall = memory.recall(tick - 24, GRID.beat_at(tick - 24), FORGOTTEN)
    assert recall.ids[[MELODY, MOVED], 2].tolist() == [theme[8] + moved] * 2
    assert recall.source[[MELODY, MOVED]].tolist() == [8 * 24] * 2
    assert (recall.ids[EXACT, 2] == theme[8]) == (moved == 0)


def test_a_candidate_in_another_beat_is_not_judged_by_the_chord_of_this_one() -> None:
    memory = Memory()
    for tick, pitch in ((0, 60), (30, 64)):
        memory.add(tick, GRID.beat_at(tick), MELODY, True, pitch, 5, 20)
    recall = memory.recall(97, GRID.beat_at(97), FORGOTTEN, parse_label("C:7").chord)
    assert recall.ids[FIRST_BARS, :3].tolist() == [BEAT, MELODY, 64] and recall.features[FIRST_BARS, 0] == 1
    assert recall.features[FIRST_BARS, IN_CHORD] == 0


def test_without_any_note_there_are_no_candidates() -> None:
    """A window with nothing but rests, and nothing before it."""
    none = Notes(*(np.zeros(0, np.int64) for _ in Notes._fields))
    tick = np.arange(3) * 24
    ids, features = candidates(
        none, np.zeros(0, np.int64), 0, np.full(3, -1), Moment(tick, tick, np.full(3, 24), np.full(3, 96))
    )
    assert np.array_equal(ids, np.tile(NOTHING, (3, EXPERTS, 1))) and not features.any()
