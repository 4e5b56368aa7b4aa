"""What happened in a session, in numbers. Counted by the engine, reported at the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """What happened, for the summary. `retracted`: planned notes that a new plan replaced before they were due.
    `missed_deadlines`: notes that were proposed after their time, and events that were handled after a decision which they
    came before; `late_plans`: plans of bars to come that were not ready for theirs. Without any of both, the music is what it
    would have been with all the time in the world."""

    turns: int = 0
    notes: int = 0
    player_notes: int = 0
    retracted: int = 0
    missed_deadlines: int = 0
    rejected: int = 0
    echoes: int = 0
    jumps: int = 0
    late_plans: int = 0
    plan_ns: deque[int] = field(default_factory=lambda: deque(maxlen=10_000))
    step_ns: deque[int] = field(default_factory=lambda: deque(maxlen=100_000))
