"""What a MIDI port is to Antiphon, and the port that lives in memory.

Messages are plain `bytes` (status, data...); stamps are host nanoseconds of the monotonic clock.
No port opens in a constructor, and none opens itself again after `close`.
"""

import threading
from collections.abc import Callable
from typing import Protocol

OnMessage = Callable[[bytes, int], None]  # (message, stamp_ns)


class PortLost(Exception):
    """The port is gone (unplugged, its server ended, closed): nothing sent through it arrives any more."""


class InputPort(Protocol):
    """Where the player's notes come from. `fault` is the first exception that came out of `on_message`, or None."""

    name: str
    fault: Exception | None

    def open(self, on_message: OnMessage) -> None:
        """Start delivering. `on_message` is called on a driver's thread: it enqueues and returns."""

    def is_alive(self) -> bool:
        """False once what this port was connected to has vanished. Called from the main thread about twice a second."""

    def close(self) -> None:
        """Stop delivering; no call of `on_message` begins after this returns. Closing twice is allowed."""


class OutputPort(Protocol):
    """Where Antiphon's notes go."""

    name: str

    def open(self) -> None:
        """Make the port ready for `send`."""

    def send(self, message: bytes) -> None:
        """Send one message now, without waiting. Raises PortLost where it cannot arrive."""

    def is_alive(self) -> bool:
        """False once what this port was connected to has vanished. Called from the main thread about twice a second."""

    def connections(self) -> frozenset[str] | None:
        """Who listens, by whatever names; None where that cannot be known."""

    def close(self) -> None:
        """Closing twice is allowed."""


class MemoryPort:
    """Both ends of a port in one process, for the demo and the tests: an InputPort and an OutputPort in one.

    `inject(message, stamp_ns)` plays into it: it is handed to the callback it was opened with, on the caller's thread.
    `sent` holds what was sent through it as (stamp_ns, message), stamped by `now_ns`.
    `vanish()` is the cable pulled out for good; `listeners` is who listens. Every method may be called from any thread.
    """

    fault: Exception | None = None
    listeners: frozenset[str] | None = None

    def __init__(self, name: str, now_ns: Callable[[], int]) -> None:
        self.name = name
        self.sent: list[tuple[int, bytes]] = []
        self._now_ns = now_ns
        self._on_message: OnMessage | None = None
        self._open = False
        self._gone = False
        self._lock = threading.RLock()  # re-entrant: a callback may send through the very port it was called from

    def open(self, on_message: OnMessage | None = None) -> None:
        with self._lock:
            if self._gone:
                raise PortLost(f"{self.name}: the port is gone")
            self._on_message = on_message
            self._open = True

    def inject(self, message: bytes, stamp_ns: int) -> None:
        """Deliver `message` as if a player had sent it; dropped where nobody listens, as a driver does."""
        with self._lock:
            if self._open and not self._gone and self._on_message is not None:
                self._on_message(message, stamp_ns)

    def send(self, message: bytes) -> None:
        with self._lock:
            if self._gone or not self._open:
                raise PortLost(f"{self.name}: the port is {'gone' if self._gone else 'not open'}")
            self.sent.append((self._now_ns(), bytes(message)))

    def is_alive(self) -> bool:
        return not self._gone

    def connections(self) -> frozenset[str] | None:
        return self.listeners

    def vanish(self) -> None:
        with self._lock:
            self._gone = True

    def close(self) -> None:
        with self._lock:
            self._open = False
            self._on_message = None
