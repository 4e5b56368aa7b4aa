"""Which plans were asked of the composer, and which of their notes are still wanted: the bookkeeping of rollback."""

from __future__ import annotations

LONG_AGO = -(1 << 40)
"""A tick, or pulse, before every other."""


class Plans:
    """Plans are numbered by `generation`. A new plan takes back what the plans before it had from its boundary on.

    The composer answers later than it is asked, so notes of a plan that was replaced may still come in. They are wanted only
    before the boundaries of all plans made since. Times are ticks.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.boundary = LONG_AGO
        """The last plan's: notes before it are final."""
        self._incomplete: list[tuple[int, int]] = []  # (generation, boundary) of plans with notes still to come

    def new(self, boundary: int, taken_back_from: int) -> int:
        """A plan from `boundary` on replaces all earlier notes from `taken_back_from` on. Returns its generation."""
        self.generation += 1
        self.boundary = boundary
        self._incomplete.append((self.generation, taken_back_from))
        return self.generation

    def jump(self) -> None:
        """The song position jumped: nothing asked before is wanted any more, and nothing is final."""
        self._incomplete.clear()  # what follows stands for all of them
        self.new(LONG_AGO, LONG_AGO)

    def wanted(self, generation: int, tick: int) -> bool:
        """Whether a note at `tick` of the plan `generation` was taken back by no later plan."""
        return not any(later > generation and tick >= boundary for later, boundary in self._incomplete)

    def complete(self, generation: int) -> None:
        """No more notes will come of plans up to `generation`: the composer answers in order."""
        self._incomplete = [plan for plan in self._incomplete if plan[0] > generation]

    def __len__(self) -> int:
        """How many plans still have notes to come."""
        return len(self._incomplete)
