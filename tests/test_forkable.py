"""Music that is read once for several voices: each goes on as if it alone had read it, event by event."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from performing import AS_IT_COMES, FakeGraphs, NoiseStepper

from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints
from realtime.composing.contract import LOGITS
from realtime.composing.forkable import Forkable
from realtime.composing.latents import Latents
from realtime.composing.memory import Memory
from realtime.composing.writing import Writer
from realtime.core.dialogue import Turn
from realtime.music.chords import CHORDS
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import note_array
from realtime.music.vocabulary import Role

BAR = 4 * TICKS
GRID = BeatGrid()
VOICES = (Constraints(parts=(0,), lowest=60), Constraints(parts=(2,), highest=50), Constraints(parts=(3,)))


class Reader(NoiseStepper):
    """A ring of states, each the events that led to it. It draws from what it has read."""

    def __init__(self, slots: int = 8) -> None:
        super().__init__(slots)
        self.states: list[list[tuple[int, ...]]] = [[]]

    @property
    def position(self) -> int:
        return len(self.states) - 1

    @property
    def oldest(self) -> int:
        return max(self.position - self.slots + 1, 0)

    def step(  # type: ignore[no-untyped-def]
        self, event, held, release, bias, sampling, noise, context=None, candidates=None, features=None
    ):
        self.steps += 1
        read = (*map(int, event), *np.flatnonzero(held).tolist())
        if context is not None:
            read = (*read, round(float(np.sum(context)) * 1e3))
        if features is not None:
            read = (*read, int(candidates.sum()), round(float(features.sum()) * 1e3))
        self.states.append([*self.states[-1], read])
        mood = sum((i + 1) * sum(each) for i, each in enumerate(self.states[-1])) % 97 / 97
        return np.array([*self.draw(release, bias, (noise + mood) % 1), int(mood * CHORDS)])

    def rewind(self, position: int) -> None:
        assert self.oldest <= position <= self.position
        del self.states[position + 1 :]

    def reset(self) -> None:
        self.states = [[]]

    def save(self, count: int) -> list[dict[str, list[tuple[int, ...]]]]:
        return [{"read": list(state)} for state in self.states[max(self.position - count + 1, self.oldest) :]]

    def restore(self, states: list[dict[str, list[tuple[int, ...]]]]) -> None:
        self.states = [list(state["read"]) for state in states]


def feed(stepper: Forkable, event: int) -> None:
    stepper.step(
        (event,), np.zeros(256, np.float32), np.zeros(128), np.zeros(LOGITS), np.zeros((6, 3)), np.zeros(6, np.float32)
    )


moves = st.one_of(st.sampled_from(["step", "step", "step", "fork"]), st.floats(0, 1))


@settings(deadline=None, max_examples=200)
@given(st.lists(moves, max_size=40))
def test_going_back_and_forking_leave_the_events_of_single_steps(script: list[str | float]) -> None:
    reader = Reader()
    stepper, fed = Forkable(reader), list[int]()  # type: ignore[arg-type]
    for number, move in enumerate(script):
        if isinstance(move, float):
            back = stepper.oldest + round(move * (stepper.position - stepper.oldest))
            stepper.rewind(back)
            del fed[back:]
        elif move == "fork":
            stepper = stepper.fork()
        else:
            feed(stepper, number)
            fed.append(number)
        assert stepper.position == len(fed)
        assert stepper.oldest <= stepper.position
    feed(stepper, -1)
    assert [event[0] for event in reader.states[-1]] == [*fed, -1]


def composer_of(stepper: object, constraints: Constraints, seed: int) -> Composer:
    latents = Latents(FakeGraphs(), GRID, 1, lambda: 0)
    return Composer(stepper, constraints, AS_IT_COMES, GRID, 120.0, seed, lambda: 0, latents, memory=Memory(1 << 10))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4 * BAR), st.integers(1, 200), st.integers(40, 80)), min_size=1))
def test_each_voice_writes_what_it_would_if_it_alone_had_read(rows: list[tuple[int, int, int]]) -> None:
    notes, turn = note_array(rows), Turn(2 * BAR, 4 * BAR)
    once = Reader()
    reading = Writer(composer_of(Forkable(once), VOICES[0], 0), GRID)  # type: ignore[arg-type]
    reading.begin(0)
    reading.read(notes, turn.start, Role.ACCOMPANY)
    for seed, constraints in enumerate(VOICES):
        alone = Writer(composer_of(Reader(1000), constraints, seed), GRID)
        alone.begin(0)
        expected = alone.write(notes, turn, turn.end or 0, Role.ACCOMPANY)
        made = reading.fork(constraints, seed).write(notes, turn, turn.end or 0, Role.ACCOMPANY)
        assert made.tolist() == expected.tolist()


def test_what_is_read_is_fed_once() -> None:
    notes = note_array([(12 * i, 12, 50 + i % 20) for i in range(64)])
    reader = Reader()
    reading = Writer(composer_of(Forkable(reader), VOICES[0], 0), GRID)  # type: ignore[arg-type]
    reading.begin(0)
    reading.read(notes, 8 * BAR, Role.ACCOMPANY)
    read = reader.steps
    assert read >= 64 + 31
    for seed, constraints in enumerate(VOICES):
        before = reader.steps
        assert len(reading.fork(constraints, seed).write(notes, Turn(8 * BAR, 9 * BAR), 9 * BAR, Role.ACCOMPANY))
        assert reader.steps - before < read
