"""Counts of what happened in a session. The engine counts, the summary at the end reports."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """`retracted`: planned notes that a new plan replaced before they were due. `missed_deadlines`: notes that the composer
    proposed after their onset, and events of the player's that were handled after a decision which should have known of them.
    `late_plans`: plans of the planner that were given up because their first cell had begun. While both are 0, the music is
    the same as in simulated time. `plan_ns`, `step_ns`: how long the latest plans and model steps took."""

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
