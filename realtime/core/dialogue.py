"""The messages between engine and composer. Plain values: they go through a pipe, or stay in one process.

All times are ticks (24 a quarter). A *plan* is a run of notes the composer proposes; a new plan's notes replace those of
the plan before it from its boundary on. `generation` numbers the plans.
"""

from __future__ import annotations

from typing import NamedTuple

from realtime.music.controls import Controls
from realtime.music.given import Lead
from realtime.music.vocabulary import Role


class PlayerNote(NamedTuple):
    """The player struck a key at `tick`. `part` is 0..4 (`vocabulary.PART_NAMES`)."""

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


class HeardNote(NamedTuple):
    """A note of the session, the player's or Antiphon's: onset tick, part 0..4, whose, MIDI pitch, duration in ticks (0: the key
    is still down) and velocity."""

    tick: int
    part: int
    player: bool
    pitch: int
    duration: int
    velocity: int


class Turn(NamedTuple):
    """The ticks in which Antiphon plays: onsets in [start, end), no note sounds beyond `rings`, which is `end` where it is None.
    With `end` None the turn lasts until a plan ends it.

    `voices` > 0: the turn is an answer to one note of the player's, of 1 to `voices` notes, all at `start`.
    """

    start: int
    end: int | None = None
    voices: int = 0
    rings: int | None = None

    @property
    def silent_from(self) -> int | None:
        """The tick at which the last note is over; None: the turn has no end yet."""
        return self.end if self.rings is None else self.rings


class Plan(NamedTuple):
    """Roll back to `boundary` (notes before it are final), add the note `played`, if any, and propose notes for `turn` up to
    `until`. With `turn` None nothing is proposed. `role` is that of the mode. `silence`: all notes of Antiphon's that
    sounded at the boundary were ended there. `after_key_up`: it is asked for because a key of the player's went up, and for
    nothing else; that `KeyUp` came before it."""

    generation: int
    boundary: int
    played: PlayerNote | None
    role: Role
    turn: Turn | None = None
    until: int = 0
    silence: bool = False
    after_key_up: bool = False


class KeyUp(NamedTuple):
    """The player released a key at `tick`."""

    tick: int
    pitch: int


class Extend(NamedTuple):
    """Continue the plan up to `until`."""

    generation: int
    until: int


class Advance(NamedTuple):
    """The beat around `tick` has come while Antiphon has no turn: feed it to the model now, so that the next note does not
    have to wait for it."""

    tick: int


class Relocate(NamedTuple):
    """The song position jumped: time goes on from `tick`; nothing sounds."""

    tick: int


class Retempo(NamedTuple):
    """The tempo, in quarter notes per minute, that the model is conditioned on from now on."""

    bpm: float


class Avoid(NamedTuple):
    """Notes of answers that were taken back, (tick, pitch), moved to the turn that comes in their place."""

    notes: tuple[tuple[int, int], ...]


class Remember(NamedTuple):
    """What was played before this composer took over, in order."""

    notes: tuple[HeardNote, ...]


class Bar(NamedTuple):
    """The cell that ends at `tick` is over (`realtime.music.cells`: a bar, or a part of a long one). `target`: the start of
    the first cell for which no notes have been asked yet."""

    tick: int
    target: int


class Steer(NamedTuple):
    """The knobs' positions, after the player has turned one."""

    controls: Controls


class Muster(NamedTuple):
    """Which parts of a band play from the next plan on, each 0..4, in order."""

    parts: tuple[int, ...]


class Feel(NamedTuple):
    """From `tick` on a band plays with this feel (`composing.arrangement.FEELS`), or without one."""

    tick: int
    feel: str | None


class Quote(NamedTuple):
    """Where a quoted note comes from: the onset of its source, in ticks, and whether that is the player's."""

    tick: int
    player: bool


class Proposed(NamedTuple):
    """One note of a plan. The first comes as soon as it is drawn, before the rest is."""

    generation: int
    note: ModelNote
    quote: Quote | None = None
    """What it quotes, if it does."""
    ends: tuple[tuple[int, int], ...] = ()
    """What sounds of its part and ends as it is struck: (part, pitch)."""


class Reached(NamedTuple):
    """The plan is complete up to `until`: what comes next is drawn, and may lie farther ahead than was asked for. `step_ns`: how
    long each model step since the last reply took; `rejected`: draws that were no legal note; `chords`: the beats, by their
    ticks, whose chord (its class) was settled since then."""

    generation: int
    until: int
    step_ns: tuple[int, ...]
    rejected: int
    chords: tuple[tuple[int, int], ...] = ()


class Planned(NamedTuple):
    """The planner has finished its work for a cell (`realtime.composing.latents`). `call_ns`: how long each of its graph calls
    took, empty where the plan was given up. `late`: how many plans were given up since the last such reply, because their
    first cell had begun."""

    call_ns: tuple[int, ...]
    late: int


Request = Plan | KeyUp | Extend | Advance | Relocate | Retempo | Bar | Steer | Muster | Feel | Lead | Remember | Avoid
Reply = Proposed | Reached | Planned
