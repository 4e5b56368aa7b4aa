"""The model's input in a session is the same as in training: one piece is fed by the engine, and made a training window.

The piece is dealt to player and model as in training. Live, the player's notes are played as MIDI, and the model's are
drawn by a stepper that knows them beforehand. Then both streams are compared, event by event and flag by flag.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the training side needs torch (pip install '.[train]')")

from performing import NoiseStepper, Script, assert_nothing_hangs, composer_of, settings_of, tick_ns

from models.corpus.pack import BEAT, NOTE
from models.corpus.stream import remembered, stream
from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.composing.contract import MASKED
from realtime.composing.memory import NOTHING
from realtime.core.engine import Engine
from realtime.core.modes import Accompany, Continue, Harmonise, Trade
from realtime.core.tempo import TempoMap
from realtime.music.chords import CHORDS, MEMBERS, NO_CHORD
from realtime.music.metre import BeatGrid, Segment
from realtime.music.notes import NOTE as WIDE_NOTE
from realtime.music.vocabulary import (
    BEAT_EVENT,
    CHORD_EVENT,
    FIELDS,
    MODEL_PART,
    PART_NAMES,
    Role,
    duration_index,
    tempo_bin,
)
from realtime.simulate import perform

Note = tuple[int, int, int, int]  # onset and duration in ticks, pitch, velocity
Music = tuple[list[Note], list[Note]]  # the player's, the model's

TRADE: Music = (
    [
        *[(0, 20, 60, 80), (24, 20, 64, 91), (24, 19, 67, 70), (31, 40, 72, 80), (48, 70, 62, 80)],  # over three beats
        *[(130, 8, 60, 80), (138, 30, 60, 80), (168, 32, 65, 100)],  # legato; the last is held into the other's bars
        *[(384, 22, 60, 80), (408, 22, 62, 80), (500, 44, 60, 80)],
    ],
    [(194, 24, 70, 82), (194, 12, 74, 82), (212, 6, 71, 82), (217, 96, 72, 66), (312, 36, 67, 82), (312, 72, 60, 30)],
)
CONTINUE_: Music = (
    [(0, 44, 60, 80), (48, 44, 64, 80), (96, 46, 67, 80)],
    [(192, 24, 70, 82), (240, 12, 74, 82), (252, 48, 75, 82), (300, 24, 77, 50), (360, 24, 70, 82)],
)
ACCOMPANY_: Music = (
    [(0, 40, 72, 80), (48, 20, 74, 80), (72, 20, 76, 80), (100, 85, 77, 80), (192, 30, 79, 80), (198, 10, 72, 80)],
    [(24, 48, 50, 82), (24, 48, 54, 82), (72, 24, 48, 82), (96, 48, 52, 82), (110, 24, 55, 82), (194, 24, 50, 82)],
)
HARMONISE_: Music = (
    [(0, 24, 72, 80), (24, 24, 74, 80), (48, 36, 76, 80), (60, 12, 79, 80), (120, 60, 77, 80)],
    [(0, 24, 50, 82), (24, 24, 54, 82), (48, 36, 48, 82), (60, 12, 52, 82), (120, 60, 55, 82)],
)


class Score(NoiseStepper):
    """Chooses given notes, each at its onset, and BEAT until then."""

    def __init__(self, notes: list[Note], part: int, grid: BeatGrid) -> None:
        super().__init__()
        self._notes = sorted(notes, key=lambda note: (note[0], note[2]))
        self._part, self._grid = part, grid

    def step(self, event, *inputs):  # type: ignore[no-untyped-def]
        choice = super().step(event, *inputs)
        beats = sum(fed[0] == BEAT_EVENT.time for fed in self.fed)
        choice[-1] = chord_of(beats - 1)
        return choice

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        beat = self._grid.beat_at(0)
        for event in self.fed[1:]:
            if event[0] == BEAT_EVENT.time:
                beat = self._grid.beat_at(beat.start + beat.length)
        played = sum(MODEL_PART <= event[1] < MODEL_PART + len(PART_NAMES) for event in self.fed)
        if played < len(self._notes):
            onset, duration, pitch, velocity = self._notes[played]
            if onset < beat.start + beat.length and bias[onset - beat.start] > MASKED / 2:
                return [onset - beat.start, MODEL_PART + self._part, pitch, duration_index(duration), velocity >> 2]
        return list(BEAT_EVENT)


class Gone:
    """What an accompaniment lets go of as its chord changes: what sounds and is not in the new chord is held no more, and ends
    with its next note."""

    def __init__(self) -> None:
        self._gone: set[int] = set()

    def left(self, event: dict[str, int], sounding: list[int]) -> list[int]:
        """Of the flags that are set after an event those that are set live."""
        if event["time"] < BEAT_EVENT.time and event["part"] >= MODEL_PART:
            self._gone.discard(128 + event["pitch"])
        chord = event["chord"]
        if event["time"] == CHORD_EVENT.time and chord != NO_CHORD:
            self._gone |= {key for key in sounding if key >= 128 and not MEMBERS[chord, (key - 128) % 12]}
        return [key for key in sounding if key not in self._gone]


def chord_of(beat: int) -> int:
    """Some chord for each beat of the piece."""
    return (beat * 37 + 5) % CHORDS


def trained(music: Music, edges: list[int], role: Role, part: int, grid: BeatGrid) -> dict[str, np.ndarray]:
    """The window as training makes it, without augmentation."""
    rows = [(*note, 0, True) for note in music[0]] + [(*note, part, False) for note in music[1]]
    notes = np.zeros(len(rows), NOTE)
    for i, (onset, duration, pitch, velocity, which, _) in enumerate(rows):
        notes[i] = (onset, duration, pitch, velocity, which)
    player = np.array([row[-1] for row in rows])
    order = np.lexsort((notes["pitch"], notes["part"], notes["onset"]))
    notes, player = notes[order], player[order]
    beats, tick = [], 0
    while tick <= notes["onset"][-1]:
        beat = grid.beat_at(tick)
        beats.append((beat.start, beat.length, beat.in_bar, beat.bar_ticks, tempo_bin(120), beat.compound))
        tick = beat.start + beat.length
    return stream(
        notes.astype(WIDE_NOTE),
        player,
        np.array(beats, BEAT),
        np.array(edges, np.int64),
        role,
        0,
        np.random.default_rng(0),
        0.0,
        np.array([chord_of(i) for i in range(len(beats))]),
        remembered(np.zeros(0, WIDE_NOTE), np.zeros(0, bool), np.array(beats, BEAT), 0),
        listens=role != Role.ACCOMPANY,
    )


@pytest.mark.parametrize("compound", [False, True])
@pytest.mark.parametrize("beats_per_bar", [4, 3])
@pytest.mark.parametrize(
    ("mode", "role", "music", "edges", "part"),
    [
        (Trade(2), Role.TRADE, TRADE, [192, 384], 0),
        (Continue(4), Role.CONTINUE, CONTINUE_, [192], 0),
        (Accompany(), Role.ACCOMPANY, ACCOMPANY_, [], 1),
        (Harmonise(1), Role.HARMONISE, HARMONISE_, [], 1),
    ],
    ids=["trade", "continue", "accompany", "harmonise"],
)
def test_the_stream_of_a_session_is_that_of_a_training_window(
    mode: object, role: Role, music: Music, edges: list[int], part: int, beats_per_bar: int, compound: bool
) -> None:
    bars = (Segment(0, beats_per_bar * 24, compound and beats_per_bar == 3),)
    if beats_per_bar == 3 and role is Role.TRADE:
        mode = Trade(8 // 3)  # two bars of three: other edges
        music = ([note for note in music[0] if note[0] + note[1] <= 144], [(150, 24, 70, 82), (180, 48, 74, 82)])
        edges = [144, 288]
    assert_the_same_stream(mode, role, music, edges, part, bars)


def assert_the_same_stream(
    mode: object, role: Role, music: Music, edges: list[int], part: int, bars: tuple[tuple[int, int], ...]
) -> None:
    grid = BeatGrid(bars)
    window = trained(music, edges, role, part, grid)

    stepper = Score(music[1], part, grid)
    chosen = settings_of("mode", modes={"mode": mode}, bars=bars, commit_ns=1_000_000, rest_ticks=44, restart_ticks=0)
    script: Script = []
    for onset, duration, pitch, velocity in music[0]:
        script.append((tick_ns(onset), midi.note_on(0, pitch, velocity)))
        script.append((tick_ns(onset + duration), midi.note_off(0, pitch)))
    engine = Engine(chosen, TempoMap(120))
    # `follow` would move the loudness of what the score has to the player's.
    constraints = Constraints(max_notes=16, follow=False)
    composer = composer_of(stepper, constraints, settings=chosen, memory=True)
    performance = perform(engine, composer, script, tick_ns(max(note[0] for note in music[0] + music[1]) + 3))
    assert_nothing_hangs(performance.sent)
    assert engine.counts.rejected == engine.counts.missed_deadlines == 0

    count, gone = len(window["events"]), Gone()
    assert len(stepper.fed) >= count
    fed, held = np.array(stepper.fed[:count]), np.array(stepper.held[:count])
    for i in range(count):
        live, training = (dict(zip(FIELDS, map(int, row), strict=True)) for row in (fed[i], window["events"][i]))
        assert live == training, f"event {i}"
        sounding = [np.flatnonzero(flags).tolist() for flags in (held[i], window["held"][i])]
        if role == Role.ACCOMPANY:
            sounding[1] = gone.left(live, sounding[1])
        assert sounding[0] == sounding[1], f"held at event {i}, {live}"
        ids, features = stepper.recalled[i]
        expected = window["candidates"][i], window["features"][i]
        if chosen.modes["mode"].role == Role.TRADE:  # where it may answer, Antiphon's own notes are not taken up
            left = (ids[:, 0] != NOTHING[0]) | (expected[1][:, 3] > 0)
            expected = np.where(left[:, None], expected[0], NOTHING), expected[1] * left[:, None]
        np.testing.assert_array_equal(ids, expected[0], f"candidates after event {i}, {live}")
        np.testing.assert_allclose(features, expected[1], atol=1e-6, err_msg=f"features after event {i}, {live}")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 186), st.integers(1, 96), st.integers(55, 66)), max_size=25))
def test_the_stream_is_that_of_training_for_any_notes_of_the_player(drawn: list[tuple[int, int, int]]) -> None:
    """Notes of any length, chords, rests: each key is let go before it is struck again, the last before the bar line."""
    notes: list[Note] = [(0, 12, 40, 80)]
    free = dict.fromkeys(range(55, 67), 0)
    for onset, duration, pitch in sorted(drawn, key=lambda note: (note[0], note[2])):
        duration = min(duration, 188 - onset)
        if onset >= free[pitch]:
            notes.append((onset, duration, pitch, 80))
            free[pitch] = onset + duration
    answer = [(192, 24, 70, 82), (216, 12, 74, 82), (230, 60, 71, 82)]
    assert_the_same_stream(Trade(2), Role.TRADE, (notes, answer), [192, 384], 0, ((0, 96),))
