"""Counts of what happened in a session. The engine counts, the summary at the end reports."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MOST_TIMES = 100_000


class Times:
    """The latest durations in nanoseconds, 8 bytes each. Beyond `MOST_TIMES` the older half is forgotten."""

    def __init__(self) -> None:
        self._ns = array("q")

    def append(self, ns: int) -> None:
        """One more."""
        self._ns.append(ns)
        if len(self._ns) > MOST_TIMES:
            del self._ns[: MOST_TIMES // 2]

    def extend(self, times_ns: Iterable[int]) -> None:
        """Some more, in order."""
        for ns in times_ns:
            self.append(ns)

    def __len__(self) -> int:
        return len(self._ns)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ns)

    def __getitem__(self, index: int) -> int:
        return self._ns[index]


@dataclass(slots=True)
class Counts:
    """`retracted`: planned notes that a new plan replaced before they were due. `missed_deadlines`: notes that the composer
    proposed after they should have been sent, and events of the player's that were handled after a decision which should have
    known of them. `late_plans`: plans of the planner that were given up because their first cell had begun. While both are 0,
    the music is the same as in simulated time. `plan_ns`, `step_ns`: how long the latest plans and model steps took."""

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
    step_ns: Times = field(default_factory=Times)
