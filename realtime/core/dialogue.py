"""What engine and composer say to each other. Plain values: they go through a pipe, or stay in one process.

All times are ticks (24 a quarter). A *plan* is a run of notes the composer proposes; a new plan's notes replace those of
the plan before it from its boundary on. `generation` numbers the plans.
"""

from __future__ import annotations

from typing import NamedTuple

from realtime.music.controls import Controls
from realtime.music.vocabulary import Role


class PlayerNote(NamedTuple):
    """A key of the player's went down at `tick`. `part` is 0..4 (`vocabulary.PART_NAMES`)."""

    tick: int
    pitch: int
    velocity: int
    part: int


class ModelNote(NamedTuple):
    """A note of Antiphon's: onset tick, MIDI pitch and velocity (1..127), duration in ticks (>= 1), part 0..4."""

    tick: int
    pitch: int
    velocity: int
    duration: int
    part: int


class Turn(NamedTuple):
    """A stretch in which Antiphon plays: onsets in [start, end); `end` None: until told otherwise. No note sounds beyond `end`.

    `voices` > 0: an answer to one note, all at `start`: at least one note and at most so many, held as long as the key.
    """

    start: int
    end: int | None = None
    voices: int = 0


class Plan(NamedTuple):
    """Go back to what is final (`boundary`: notes before it stay), take in what the player did, and propose for `turn` up to
    `until`. With `turn` None nothing is proposed; `role` is what the mode is about in either case. `silence`: what still
    sounds of Antiphon's notes was ended at the boundary."""

    generation: int
    boundary: int
    played: PlayerNote | None
    role: Role
    turn: Turn | None = None
    until: int = 0
    silence: bool = False


class KeyUp(NamedTuple):
    """A key of the player's went up at `tick`."""

    tick: int
    pitch: int


class Extend(NamedTuple):
    """Go on with the plan up to `until`."""

    generation: int
    until: int


class Advance(NamedTuple):
    """The beat around `tick` has come and nobody played: hear it pass, so that the next note need not wait for it."""

    tick: int


class Relocate(NamedTuple):
    """The song position jumped: time goes on from `tick`; nothing sounds."""

    tick: int


class Retempo(NamedTuple):
    """The tempo the model is told of, in beats per minute."""

    bpm: float


class Bar(NamedTuple):
    """The cell that ends at `tick` is over (`realtime.music.cells`: a bar, or a part of a long one). `target`: the
    start of the first
    cell for which nothing has been asked yet."""

    tick: int
    target: int


class Steer(NamedTuple):
    """The player has turned a knob."""

    controls: Controls


class Proposed(NamedTuple):
    """One note of a plan. The first comes as soon as it is drawn, before the rest is."""

    generation: int
    note: ModelNote


class Reached(NamedTuple):
    """The plan is complete up to `until`. `step_ns`: how long each model step since the last reply took; `rejected`: draws
    that were no legal note."""

    generation: int
    until: int
    step_ns: tuple[int, ...]
    rejected: int


class Planned(NamedTuple):
    """The planner has done a cell's work (`realtime.composing.latents`). `call_ns`: how long each of its graph calls
    took; none where it
    was given up. `late`: how many plans were given up since the last word, because their cell had come."""

    call_ns: tuple[int, ...]
    late: int


Request = Plan | KeyUp | Extend | Advance | Relocate | Retempo | Bar | Steer
Reply = Proposed | Reached | Planned
