"""What a session is written to, and what is measured in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from realtime.core.counts import Times


class Sink(Protocol):
    """Where everything in and out is written down: the recorder, or the demo's list. `trouble`: what keeps it from writing, as a
    line for the user, or ""."""

    trouble: str

    def write(self, direction: str, pulse: int, message: bytes) -> None:
        """`direction` is "player" or "antiphon"."""

    def tempo(self, pulse: int, bpm: float) -> None:
        """The tempo changed."""

    def jump(self, pulse: int) -> None:
        """The song position jumped."""

    def mark(self, pulse: int, text: str) -> None:
        """A marker that the user finds again in a DAW."""


@dataclass(slots=True)
class Session:
    """Measurements of a session, for the summary. recorded: messages written to the sink; shed: messages left out in a flood;
    left_hanging: note-offs that could not be sent; ended: why the session ended; closed: whether every driver let go."""

    schedule_error_ns: Times = field(default_factory=Times)
    recorded: int = 0
    restarts: int = 0
    shed: int = 0
    left_hanging: int = 0
    ended: str = ""
    closed: bool = True
