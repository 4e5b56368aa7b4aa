"""A stepper for music that is read once and continued by many voices.

step(event, ...)   as the stepper's
fork()             a stepper that goes on from here
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from realtime.composing.contract import Stepper

States = list[dict[str, np.ndarray]]
"""A model's last states, oldest first, by name."""


class Resumable(Stepper, Protocol):
    """A stepper whose last states can be kept."""

    def save(self, count: int) -> States:
        """Copies of the last `count` states, or of as many as it still has."""

    def restore(self, states: States) -> None:
        """Go on from states that were saved: they are the positions 0, 1, ... from now on."""


class Forkable:
    """See the module's docstring. Positions go on from one to the next."""

    def __init__(self, stepper: Resumable) -> None:
        self._stepper = stepper
        self._before = 0
        """How many events had been fed at the stepper's position 0."""
        self._states: States | None = None

    @property
    def position(self) -> int:
        return self._stepper.position + self._before

    @property
    def oldest(self) -> int:
        return self._stepper.oldest + self._before

    def step(
        self,
        event: tuple[int, ...],
        held: np.ndarray,
        release: np.ndarray,
        bias: np.ndarray,
        sampling: np.ndarray,
        noise: np.ndarray,
        context: np.ndarray | None = None,
        candidates: np.ndarray | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `Stepper.step`."""
        return self._stepper.step(event, held, release, bias, sampling, noise, context, candidates, features)

    def rewind(self, position: int) -> None:
        """As `Stepper.rewind`."""
        self._stepper.rewind(position - self._before)

    def reset(self) -> None:
        """As `Stepper.reset`."""
        self._stepper.reset()
        self._before = 0

    def fork(self) -> Forkable:
        """Another that goes on from here, and that the one stepper serves from now on. This one may be forked again, and nothing
        else. The last event can still be gone back over."""
        if self._states is None:
            self._states = self._stepper.save(2)
            self._before = self.position - (len(self._states) - 1)
        self._stepper.restore(self._states)
        other = Forkable(self._stepper)
        other._before = self._before
        return other
