"""The composer: what was played -> what to play next, one model step per event.

A surprise is handled in three moves: go back to the last event before the boundary (`history`), feed what the player did,
propose again (`sampler`). Its randomness comes from (seed, tick) alone, that of a turn's form from the seed and the phrase before
it: the same input and seed give the same notes however the work was cut up, and a revision changes a note only where the music
made it change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

from realtime.composing.chord_hearing import ChordHearing
from realtime.composing.constraints import Constraints, Sampling
from realtime.composing.contract import Stepper
from realtime.composing.forkable import Forkable
from realtime.composing.history import History, Snapshot
from realtime.composing.latents import Latents
from realtime.composing.masks import Masks
from realtime.composing.memory import Memory
from realtime.composing.quoting import quoted
from realtime.composing.returns import Returns
from realtime.composing.sampler import Sampler
from realtime.core.clashes import clashing
from realtime.core.dialogue import (
    Advance,
    Avoid,
    Bar,
    Extend,
    Feel,
    HeardNote,
    KeyUp,
    ModelNote,
    Muster,
    Plan,
    Planned,
    PlayerNote,
    Proposed,
    Reached,
    Relocate,
    Remember,
    Reply,
    Request,
    Retempo,
    Steer,
    Turn,
)
from realtime.music.cells import cell_at
from realtime.music.chords import UNKNOWN
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.given import Given, Lead
from realtime.music.metre import BeatGrid
from realtime.music.tune_harmony import TuneHarmony
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    DRUMS,
    DURATION_TICKS,
    MODEL_PART,
    NONE_DURATION,
    OPEN,
    Event,
    Role,
    duration_index,
    tempo_bin,
    velocity_index,
    velocity_of,
)

HELD_TICKS = 384
"""The longest an answer sounds if the key it answers never goes up."""


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
        memory: Memory | None = None,
        harmony: TuneHarmony | None = None,
    ) -> None:
        """`memory`: for a model that takes candidates, and only for it. `harmony`: estimates chords from the player's notes."""
        self._given = Given(grid)
        """Says for each tick which chord is given: `chord(tick)` is its class, `chords.UNKNOWN` where none is."""
        hearing = ChordHearing(harmony, grid) if harmony is not None else None
        self._masks = Masks(constraints, self._given, hearing)
        self._masks.controls = controls
        self._history = History(stepper, self._masks.overuse, memory)
        self._returns = Returns(memory, grid) if memory is not None else None
        self._sampler = Sampler(stepper, self._masks, sampling, tempo_bin(bpm), seed, clock_ns, latents, self._returns)
        self._stepper = stepper
        self._latents = latents
        self._grid = grid
        self._plan = Plan(-1, 0, None, Role.CONTINUE)
        self._start = 0
        self._memory = memory
        self._chords: list[tuple[int, int]] = []
        """Of beats, by their ticks, since this was last told."""

    def warm_up(self) -> None:
        """Take a step and forget it: a model's first run takes longer than the others."""
        self._begin()
        self._history.clear()
        if self._memory is not None:
            self._memory.reset()
        self._sampler.take_counts()
        self._stepper.reset()
        if self._latents is not None:
            self._latents.warm_up()

    def fork(self, constraints: Constraints, seed: int) -> Composer:
        """A composer that has heard what this one has heard, under constraints and with a seed of its own. The model is its from
        now on: this one, which has a `Forkable` stepper and no work left, may be forked again, and nothing else."""
        assert isinstance(self._stepper, Forkable)
        stepper = self._stepper.fork()
        self._history.compact()
        made = copy.deepcopy(self, {id(self._stepper): stepper})
        made._masks.constrain(constraints)
        made._sampler.seed = seed
        if made._returns is not None:
            made._returns.reset()
        return made

    def handle(self, request: Request, limit: Callable[[], int | None] = lambda: None) -> Iterator[Reply]:
        """Answer one request, note by note.

        `limit` is asked between steps: where a newer plan is waiting, its boundary; what lies beyond would be thrown away, so
        the old plan stops there. It still runs up to there, so that the outcome does not depend on when the new plan came.
        """
        match request:
            case Plan():
                self._start_plan(request)
                yield from self._propose(request.until, limit)
            case Extend(generation, until):
                if generation == self._plan.generation:
                    yield from self._propose(until, limit)
            case KeyUp(tick, pitch):
                if not self._history.is_empty:
                    self._advance_to(tick - 1)  # the beats that it was still held in
                self._history.key_up(tick, pitch)
                self._masks.key_up(tick, pitch)
            case Advance(tick):
                if not self._history.is_empty:
                    self._advance_to(tick)
            case Relocate(tick):
                self._relocate(tick)
            case Retempo(bpm):
                self._sampler.tempo = tempo_bin(bpm)
            case Bar(tick, target):
                self._close_cell(tick, target)
            case Lead():
                self._given.lead(request)
            case Avoid(notes):
                self._masks.overuse.avoid(notes)
            case Remember(notes):
                self._remember(notes)
            case Muster(parts):
                self._masks.play(parts)
            case Feel():
                self._masks.arrangement.change(request)
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

    def _start_plan(self, plan: Plan) -> None:
        """Back to the last event before the boundary; on from there with what was played, under the new plan's masks."""
        before = self._plan.turn
        same_turn = (
            plan.turn is not None and before is not None and plan.turn.start == before.start and not plan.turn.voices
        )
        self._plan = plan
        if self._history.is_empty:
            self._begin()
        struck = plan.played.tick if plan.played is not None else None
        accompanies = plan.role == Role.ACCOMPANY
        self._history.go_back(plan.boundary, plan.silence, same_turn, struck, accompanies)
        last = self._history.last
        if plan.played is not None:
            self._take_in(plan.played)
        if plan.turn is not None:
            self._advance_to(max(plan.turn.start, self._history.last.tick))
            # A key that goes up only frees a pitch for an accompaniment: where it was to let the beat pass, it does so still.
            rests = plan.after_key_up and accompanies and not last.due and last.drawn.time == BEAT
            if self._history.last is last and not rests:
                # Nothing was fed: what follows has to be drawn anew, under these masks.
                self._feed(self._history.take_last())

    def _take_in(self, note: PlayerNote) -> None:
        """The player's key went down."""
        tick = max(note.tick, self._history.last.tick)
        self._advance_to(tick)
        if tick > self._history.last.beat.start:
            self._settle_chord()  # the player's notes on the beat come before its chord, all others after it
        clashes: list[int] = []
        if self._plan.role == Role.ACCOMPANY and note.part != DRUMS:
            clashes = clashing(self._history.sounding(tick), note.pitch, note.tick, self._grid, self._given)
        self._history.key_down(note)
        self._masks.hear(note, int(self._history.keys_down.sum()))
        beat = self._history.last.beat
        event = Event(tick - beat.start, note.part, note.pitch, OPEN, velocity_index(note.velocity))
        self._feed(self._history.following(event, tick, beat, self._history.ended(tick, clashes)))

    def _close_cell(self, tick: int, target: int) -> None:
        """The cell that ends at `tick` is over; what the planner makes of it is for the cell that starts at `target`."""
        if self._latents is None:
            self._history.drop_cell()
        else:
            start, _ = cell_at(self._grid, tick - 1)
            self._latents.close(self._history.close_cell(start, tick), tick, target)

    def _relocate(self, tick: int) -> None:
        """Time goes on from another tick, in silence. What was heard before stays in the model's state."""
        self._plan = self._plan._replace(turn=None)
        self._start = tick
        self._history.clear()
        self._masks.relocate()
        if self._returns is not None:
            self._returns.reset()
        if self._latents is not None:
            self._latents.relocate()

    def _remember(self, notes: Sequence[HeardNote]) -> None:
        """Replace all that the memory knows by these notes. The history begins anew."""
        if self._memory is None:
            return
        self._history.clear()  # it points into the memory
        self._memory.reset()
        if self._returns is not None:
            self._returns.reset()
        for tick, part, player, pitch, duration, velocity in notes:
            length = duration_index(duration) if duration else NONE_DURATION
            self._memory.add(tick, self._grid.beat_at(tick), part, player, pitch, length, velocity_index(velocity))
        self._memory.relocate()

    def _begin(self) -> None:
        """Feed the beat where time begins. It waits for the first plan, whose role it has like all that follows."""
        beat = self._grid.beat_at(self._start)
        self._feed(self._history.following(BEAT_EVENT, beat.start, beat))

    # --- what to play ---

    def _propose(self, until: int, limit: Callable[[], int | None]) -> Iterator[Reply]:
        """Notes up to `until`, each fed to the model as it is made; the draw that lies beyond waits for `Extend`."""
        turn = self._plan.turn
        while turn is not None:
            self._settle_chord()
            last = self._history.last
            newer = limit()
            stop = until if newer is None else min(until, newer)
            rests = last.drawn.time == BEAT
            following = last.beat.start + (last.beat.length if rests else last.drawn.time)
            if following >= stop and (rests or not turn.voices):
                until = following
                break
            if rests:
                self._advance_to(following)
                continue
            quote = quoted(last.recall, last.drawn) if last.recall is not None else None
            note, snapshot, ends = self._make_note(turn)
            yield Proposed(self._plan.generation, note, quote, ends)
            self._feed(snapshot)
            if turn.voices and last.made + 1 >= self._masks.controls.answering(turn.voices):
                break
        chords, self._chords = tuple(self._chords), []
        yield Reached(self._plan.generation, until, *self._sampler.take_counts(), chords)

    def _make_note(self, turn: Turn) -> tuple[ModelNote, Snapshot, tuple[tuple[int, int], ...]]:
        """The note that was drawn, cut where the turn ends, the snapshot that it leads to, and what ends with it, (part, pitch).
        It is not fed yet."""
        beat, event = self._history.last.beat, self._history.last.drawn
        onset = beat.start + event.time
        ticks = HELD_TICKS if turn.voices else int(DURATION_TICKS[event.duration])
        if turn.silent_from is not None and onset + ticks > turn.silent_from and not turn.voices:
            ticks = turn.silent_from - onset
        part = event.part - MODEL_PART
        ticks = self._masks.ends(onset, part, event.pitch, onset + ticks, self._plan.role, turn) - onset
        if ticks < DURATION_TICKS[event.duration]:
            event = event._replace(duration=duration_index(ticks))
        releases, ends = self._history.last.releases.copy(), self._history.ends_with(event)
        for key in ends:
            releases[key] = min(onset, releases[key])
        releases[part, event.pitch] = onset + ticks
        note = ModelNote(onset, event.pitch, velocity_of(event.velocity), ticks, part)
        answered = self._plan.played.pitch if turn.voices and self._plan.played is not None else None
        self._history.proposed(note, answered, ends)
        return note, self._history.following(event, onset, beat, releases, own=True), ends

    def _advance_to(self, tick: int) -> None:
        """Feed the BEATs up to the beat around `tick`."""
        while (last := self._history.last).beat.start + last.beat.length <= tick:
            self._settle_chord()
            start = last.beat.start + last.beat.length
            self._feed(self._history.following(BEAT_EVENT, start, self._grid.beat_at(start)))

    def _feed(self, snapshot: Snapshot) -> None:
        """Feed one event to the model and keep what it draws next; everything goes through here."""
        snapshot = self._history.remembered(snapshot)
        drawn, chord = self._sampler.step(snapshot, self._plan, self._history.keys_down)
        self._history.append(snapshot._replace(drawn=drawn, drawn_chord=chord))

    def _settle_chord(self) -> None:
        """Feed the CHORD of the beat, as it is given or else as it was drawn, unless it was fed before."""
        if self._history.last.due:
            beat = self._history.last.beat.start
            given = self._given.chord(beat)
            chord = self._history.last.drawn_chord if given == UNKNOWN else given
            self._chords.append((beat, chord))
            moves = self._plan.role == Role.ACCOMPANY and given == UNKNOWN
            self._feed(self._history.chord(chord, moves))
