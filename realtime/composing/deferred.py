"""A stepper for music that is read without a clock: events after which nothing is drawn wait, and are fed together.

    feed(event, ...)   an event after which nothing is drawn
    step(event, ...)   feeds what waits, in one go, and then this one
    fork()             a stepper that goes on from here: what was read once serves many voices

One go takes a sixth of the time of single steps. Between its events there is no way back (`oldest`).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from realtime.composing.contract import Stepper

_Event = tuple[tuple[int, ...], np.ndarray, np.ndarray | None]


class Resumable(Stepper, Protocol):
    """A stepper that takes many events at once, and whose state can be kept."""

    def prefill(self, events: np.ndarray, held: np.ndarray, context: np.ndarray | None = None) -> None:
        """Feed events (T, 9) with their held-now flags (T, 256) and contexts (T, d): one position more."""

    def save(self) -> dict[str, np.ndarray]:
        """A copy of the state."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Back to a state that was saved, as position 0."""


class Deferred:
    """See the module's docstring. It counts every event, fed or waiting, as a position, as `Stepper` says."""

    def __init__(self, stepper: Resumable) -> None:
        self._stepper = stepper
        self._waiting: list[_Event] = []
        self._more = 0
        """How many events more have been fed than the stepper has positions."""
        self._together = 0
        """Where the events that were fed in one go end."""
        self._state: dict[str, np.ndarray] | None = None

    @property
    def position(self) -> int:
        return self._fed + len(self._waiting)

    @property
    def oldest(self) -> int:
        return max(self._stepper.oldest + self._more, self._together)

    def feed(self, event: tuple[int, ...], held: np.ndarray, context: np.ndarray | None) -> None:
        """Feed one event and draw nothing. The arrays are kept."""
        self._waiting.append((event, held, context))

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
        """As `Stepper.step`."""
        self._feed_all(len(self._waiting))
        return self._stepper.step(event, held, release, bias, sampling, noise, context)

    def rewind(self, position: int) -> None:
        """As `Stepper.rewind`."""
        fed = self._fed
        del self._waiting[max(position - fed, 0) :]
        if position < fed:
            self._stepper.rewind(position - self._more)

    def reset(self) -> None:
        """As `Stepper.reset`."""
        self._stepper.reset()
        self._waiting.clear()
        self._more = self._together = 0

    def fork(self) -> Deferred:
        """Another that goes on from here, and that the one stepper serves from now on. This one may be forked again, and nothing
        else. The last event can still be gone back over."""
        if self._state is None:
            self._feed_all(len(self._waiting) - 1)
            self._state = self._stepper.save()
            self._more = self._together = self._fed
        self._stepper.restore(self._state)
        other = Deferred(self._stepper)
        other._waiting = [*self._waiting]
        other._more = other._together = self._more
        return other

    @property
    def _fed(self) -> int:
        return self._stepper.position + self._more

    def _feed_all(self, count: int) -> None:
        """Feed so many of the events that wait, in one go."""
        if count < 1:
            return
        events, held, context = zip(*self._waiting[:count], strict=True)
        del self._waiting[:count]
        contexts: Any = None if context[0] is None else np.stack(context)
        self._stepper.prefill(np.array(events, np.int64), np.stack(held), contexts)
        self._more += count - 1
        self._together = self._fed
