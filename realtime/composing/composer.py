"""The composer: what was played -> what to play next, one model step per event.

It keeps the stream of events that the model has eaten, with the model's state after each (the stepper's ring), so that
going back to any recent moment costs nothing. A surprise is handled in three moves: go back to the last event before the
boundary, feed what the player did, propose again. It reads no clock but the one handed to it for measuring, and its
randomness comes from (seed, tick) alone: the same input and seed give the same notes however the work was cut up, and a
revision changes a note only where the music made it change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from realtime.composing.constraints import Constraints, Sampling
from realtime.composing.latents import Latents
from realtime.composing.masks import Masks, Moment, is_legal
from realtime.composing.recent_notes import Heard
from realtime.core.dialogue import (
    Advance,
    Bar,
    Extend,
    KeyUp,
    ModelNote,
    Plan,
    Planned,
    PlayerNote,
    Proposed,
    Reached,
    Relocate,
    Reply,
    Request,
    Retempo,
    Steer,
    Turn,
)
from realtime.music.cells import cell_at
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.metre import Beat, BeatGrid
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    DRUMS,
    DURATION_TICKS,
    HEADS,
    MODEL_PART,
    OPEN,
    Event,
    Role,
    duration_index,
    fields,
    tempo_bin,
    velocity_index,
    velocity_of,
)

FREE = -(1 << 40)
"""A release tick long past: the pitch is free."""
HELD_TICKS = 384
"""The longest an answer sounds if the key it answers never goes up."""
PHRASE_BARS = 4
"""In a turn that is longer, or has no end, the temperature's schedule begins anew after so many bars."""


class Stepper(Protocol):
    """The model behind `realtime.composing.contract`, with a ring of states: one call feeds an event and draws what follows."""

    @property
    def position(self) -> int:
        """How many events have been fed; `rewind` goes back to an earlier count."""

    @property
    def oldest(self) -> int:
        """The earliest position that can still be gone back to."""

    def step(
        self,
        event: tuple[int, ...],
        held: np.ndarray,
        release: np.ndarray,
        bias: np.ndarray,
        sampling: np.ndarray,
        noise: np.ndarray,
        context: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feed one event (9 fields); returns (choice (5,), log_prob (5,)). Shapes as in `realtime.composing.contract`,
        without B."""

    def rewind(self, position: int) -> None:
        """Go back to `position`."""

    def reset(self) -> None:
        """An empty context, position 0."""


class _Past(NamedTuple):
    """The situation after one event: enough to go back to it."""

    position: int
    tick: int
    beat: Beat
    event: Event
    nth: int
    """How many events at this tick came before."""
    keys: np.ndarray
    """The player's keys that were down, (128,) bool."""
    release: np.ndarray
    """Absolute tick at which each of Antiphon's pitches is free, (128,) int64."""
    made: int
    """Notes proposed in this turn so far."""
    line: tuple[int, int]
    """The pitch of Antiphon's last note, and how many times in a row it has come by now."""


class Composer:
    """See the module's docstring. Not thread-safe: one thread calls it (the worker's, or the simulation's)."""

    def __init__(
        self,
        stepper: Stepper,
        constraints: Constraints,
        sampling: Sampling,
        grid: BeatGrid,
        bpm: float,
        seed: int,
        clock_ns: Callable[[], int],
        latents: Latents | None = None,
        controls: Controls = AS_IT_IS,
    ) -> None:
        self._stepper = stepper
        self._latents = latents
        self._heard = Heard()
        self._masks = Masks(constraints)
        self._masks.controls = controls
        self._sampling = sampling
        self._grid = grid
        self._tempo = tempo_bin(bpm)
        self._seed = seed
        self._clock_ns = clock_ns
        self._keys_down = np.zeros(128, bool)
        self._role = Role.CONTINUE
        self._turn: Turn | None = None
        self._floor = 0
        self._generation = -1
        self._start = 0
        self._past: deque[_Past] = deque()
        self._choice = np.array(BEAT_EVENT)
        self._answered: int | None = None
        self._answers: dict[int, list[int]] = {}
        self._step_ns: list[int] = []
        self._rejected = 0

    def warm_up(self) -> None:
        """Take a step and forget it: a model's first run takes longer than the others."""
        self._begin()
        self._past.clear()
        self._step_ns.clear()
        self._stepper.reset()
        if self._latents is not None:
            self._latents.warm_up()

    def handle(self, request: Request, limit: Callable[[], int | None] = lambda: None) -> Iterator[Reply]:
        """Answer one request, note by note.

        `limit` is asked between steps: where a newer plan is waiting, its boundary; what lies beyond would be thrown away, so
        the old plan stops there. It still runs up to there, so that the outcome does not depend on when the new plan came.
        """
        match request:
            case Plan():
                self._go_back(request)
                yield from self._propose(request.until, limit)
            case Extend(generation, until):
                if generation == self._generation:
                    yield from self._propose(until, limit)
            case KeyUp(tick, pitch):
                self._key_up(tick, pitch)
            case Advance(tick):
                if self._past:
                    self._advance_to(tick)
            case Relocate(tick):
                self._relocate(tick)
            case Retempo(bpm):
                self._tempo = tempo_bin(bpm)
            case Bar(tick, target):
                if self._latents is None:
                    self._heard.clear()  # nobody will ask for it
                else:
                    start, _ = cell_at(self._grid, tick - 1)
                    self._latents.close(self._heard.close(start, tick), tick, target)
            case Steer(controls):
                self._masks.controls = controls
                if self._latents is not None:
                    self._latents.controls = controls

    @property
    def busy(self) -> bool:
        """Whether there is work for when no request waits."""
        return self._latents is not None and self._latents.busy

    def work(self) -> Planned | None:
        """Do a small piece of it, while `busy`: one graph call of the planner's."""
        assert self._latents is not None
        return self._latents.work()

    # --- what was played ---

    def _go_back(self, plan: Plan) -> None:
        """Back to the last event before the boundary; on from there with what was played, under the new plan's masks."""
        goes_on = plan.turn is not None and plan.turn == self._turn and not plan.turn.voices
        self._generation, self._role, self._turn, self._floor = plan.generation, plan.role, plan.turn, plan.boundary
        self._heard.take_back(plan.boundary, plan.silence)
        self._masks.figures.take_back(plan.boundary)
        if not self._past:
            self._begin()
        # The event that is gone back to may have to be fed again, so the ring must still know the state before it.
        while (
            len(self._past) > 1
            and self._past[-1].tick >= plan.boundary
            and self._past[-2].position > self._stepper.oldest
        ):
            self._past.pop()
        last = self._past[-1]
        self._stepper.rewind(last.position)
        release = np.minimum(last.release, plan.boundary) if plan.silence else last.release
        self._past[-1] = last = last._replace(release=release, made=last.made if goes_on else 0)
        self._answered = None
        if plan.played is not None:
            self._take_in(plan.played)
            self._answered = plan.played.pitch
        if plan.turn is not None:
            self._advance_to(max(plan.turn.start, self._past[-1].tick))
            if self._past[-1] is last:  # nothing was fed: what follows has to be drawn anew, under these masks
                self._past.pop()
                self._stepper.rewind(last.position - 1)
                self._feed(last.event, last.tick, last.beat, last.release, again=last)

    def _take_in(self, note: PlayerNote) -> None:
        """The player's key went down."""
        tick = max(note.tick, self._past[-1].tick)
        self._advance_to(tick)
        self._keys_down[note.pitch] = True
        self._heard.key_down(note)
        if note.part != DRUMS:
            self._masks.portrait.hear(note, int(self._keys_down.sum()))
        beat = self._past[-1].beat
        event = Event(tick - beat.start, note.part, note.pitch, OPEN, velocity_index(note.velocity))
        self._feed(event, tick, beat, self._past[-1].release)

    def _key_up(self, tick: int, pitch: int) -> None:
        """The player's key went up: the next step sees it in the held-now vector. Its answers end with it."""
        if self._past:
            self._advance_to(tick - 1)  # the beats that it was still held in
        self._keys_down[pitch] = False
        self._heard.key_up(tick, pitch)
        for answer in self._answers.pop(pitch, ()):
            self._heard.release(tick, answer)
            for past in self._past:
                past.release[answer] = min(past.release[answer], tick)

    def _relocate(self, tick: int) -> None:
        """Time goes on from another tick, in silence. What was heard before stays in the state."""
        self._keys_down[:] = False
        self._turn = None
        self._answers.clear()
        self._past.clear()
        self._start = tick
        self._masks.figures.clear()
        self._heard.clear()
        if self._latents is not None:
            self._latents.relocate()

    def _begin(self) -> None:
        """Feed the beat where time begins. It waits for the first plan, whose role it has like all that follows."""
        beat = self._grid.beat_at(self._start)
        self._feed(BEAT_EVENT, beat.start, beat, np.full(128, FREE))

    # --- what to play ---

    def _propose(self, until: int, limit: Callable[[], int | None]) -> Iterator[Reply]:
        """Notes up to `until`, each fed to the model as it is made; the draw that lies beyond waits for `Extend`."""
        turn = self._turn
        while turn is not None:
            last = self._past[-1]
            newer = limit()
            stop = until if newer is None else min(until, newer)
            choice = Event(*(int(x) for x in self._choice))
            if choice.time == BEAT:
                next_beat = last.beat.start + last.beat.length
                if next_beat >= stop:
                    break
                self._advance_to(next_beat)
                continue
            onset = last.beat.start + choice.time
            if onset >= stop and not turn.voices:
                break
            ticks = HELD_TICKS if turn.voices else int(DURATION_TICKS[choice.duration])
            if turn.end is not None and onset + ticks > turn.end and not turn.voices:
                ticks = turn.end - onset
                choice = choice._replace(duration=duration_index(ticks))
            release = last.release.copy()
            release[choice.pitch] = onset + ticks
            note = ModelNote(onset, choice.pitch, velocity_of(choice.velocity), ticks, choice.part - MODEL_PART)
            self._heard.proposed(note)
            self._masks.figures.proposed(note)
            yield Proposed(self._generation, note)
            if self._answered is not None and turn.voices:
                self._answers.setdefault(self._answered, []).append(choice.pitch)
            self._feed(choice, onset, last.beat, release, notes=1)
            if turn.voices and last.made + 1 >= turn.voices:
                break
        yield Reached(self._generation, until, tuple(self._step_ns), self._rejected)
        self._step_ns.clear()
        self._rejected = 0

    def _advance_to(self, tick: int) -> None:
        """Feed the BEATs up to the beat around `tick`."""
        while (last := self._past[-1]).beat.start + last.beat.length <= tick:
            start = last.beat.start + last.beat.length
            self._feed(BEAT_EVENT, start, self._grid.beat_at(start), last.release)

    # --- one step ---

    def _feed(
        self, event: Event, tick: int, beat: Beat, release: np.ndarray, notes: int = 0, again: _Past | None = None
    ) -> None:
        """Feed one event to the model and keep what it draws next; everything goes through here. `notes`: 1 if it is a note
        of this turn's; `again`: how it was fed before."""
        if again is not None:
            keys, nth, made, line = again.keys, again.nth, again.made, again.line
        else:
            before = self._past[-1] if self._past else None
            keys = self._keys_down.copy()
            nth = before.nth + 1 if before is not None and before.tick == tick else 0
            made = before.made + notes if before is not None else 0
            line = before.line if before is not None else (-1, 0)
            if notes:
                line = (event.pitch, line[1] + 1 if event.pitch == line[0] else 1)
        turn = self._turn
        moment = Moment(tick, beat, self._floor, made, line, release, self._keys_down)
        bias = self._masks.bias(self._role, turn, moment)
        held = np.concatenate([keys, release > tick]).astype(np.float32)
        free_from = np.maximum(release - beat.start, -1).astype(np.float32)
        sampling = self._sampling.rows(_progress(turn, tick, beat) if turn is not None else 0.0, self._role)
        random = np.random.Generator(np.random.Philox(key=self._seed, counter=[nth, tick % (1 << 63), 0, 0]))
        noise = random.random(len(HEADS), np.float32)
        inputs = fields(event, beat, self._tempo, self._role)
        context = self._latents.at(tick) if self._latents is not None else None
        started = self._clock_ns()
        choice, _ = self._stepper.step(inputs, held, free_from, bias, sampling, noise, context)
        self._step_ns.append(self._clock_ns() - started)
        self._past.append(_Past(self._stepper.position, tick, beat, event, nth, keys, release, made, line))
        while self._past[0].position < self._stepper.oldest:
            self._past.popleft()
        if not is_legal(choice, bias, release - beat.start):
            self._rejected += 1
            choice = np.array(BEAT_EVENT)
        self._choice = choice


def _progress(turn: Turn, tick: int, beat: Beat) -> float:
    """How far through the turn, 0..1, or, where that is longer or has no end, through the phrase of `PHRASE_BARS` bars; the last
    one ends with the turn. 0 before its start."""
    phrase = PHRASE_BARS * beat.bar_ticks
    if turn.end is None or turn.end - turn.start > phrase:
        return (max(tick, turn.start) - (turn.start if turn.end is None else turn.end)) % phrase / phrase
    return max(tick - turn.start, 0) / (turn.end - turn.start)
