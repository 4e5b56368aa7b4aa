"""What a MIDI port is to Antiphon, and the port that lives in memory.

Messages are plain `bytes` (status, data...); stamps are host nanoseconds of the monotonic clock.
No port opens in a constructor. A port that was closed may be opened again: the same port object finds its device by name.
"""

import threading
from collections.abc import Callable
from typing import Protocol

from realtime.errors import UserError

OnMessage = Callable[[bytes, int], None]  # (message, stamp_ns)


class PortLost(Exception):
    """The port is gone (unplugged, its server ended, closed): nothing sent through it arrives any more."""


class NoSuchPort(UserError):
    """The port that was asked for by name is not there. It may come: a keyboard can be plugged in later."""


class _Port(Protocol):
    """What both kinds of port have. All but `send` belongs to one thread at a time."""

    @property
    def name(self) -> str:
        """As the system calls it, where it is one of the system's."""

    def is_alive(self) -> bool:
        """False where this is not open, or what it was connected to has vanished. Called about twice a second."""

    def connections(self) -> frozenset[str] | None:
        """What the port is connected to, by whatever names; None where that cannot be known. Not asked once it is not alive."""

    def reconnect(self) -> None:
        """Connect again what has vanished and is back. What others have disconnected stays so. Not called once the port is not
        alive."""

    def close(self) -> None:
        """Closing twice is allowed."""


class InputPort(_Port, Protocol):
    """Where the player's notes come from. `fault` is the first exception that came out of `on_message`, or None."""

    fault: Exception | None

    def open(self, on_message: OnMessage) -> None:
        """Start delivering. `on_message` is called on a driver's thread: it enqueues and returns. No call of it begins after
        `close` has returned. Raises UserError, NoSuchPort among them."""


class OutputPort(_Port, Protocol):
    """Where Antiphon's notes go."""

    @property
    def backend(self) -> str:
        """The MIDI system that it belongs to, once it is open."""

    def open(self) -> None:
        """Make the port ready for `send`. Raises UserError, NoSuchPort among them."""

    def send(self, message: bytes) -> None:
        """Send one message now, without waiting; one other thread may call this. Raises PortLost where it cannot arrive."""


class MemoryPort:
    """Both ends of a port in one process, for the demo and the tests: an InputPort and an OutputPort in one.

    `inject(message, stamp_ns)` plays into it: it is handed to the callback it was opened with, on the caller's thread.
    `sent` holds what was sent through it as (stamp_ns, message), stamped by `now_ns`.
    `vanish()` is the cable pulled out, `come_back()` the cable plugged in again: then the port can be opened again.
    `listeners` is what it is connected to. Every method may be called from any thread.
    """

    backend = "memory"
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
                raise NoSuchPort(f"{self.name}: the port is gone")
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
        return self._open

    def connections(self) -> frozenset[str] | None:
        return self.listeners

    def reconnect(self) -> None:
        """There is nobody else who could disconnect it."""

    def vanish(self) -> None:
        with self._lock:
            self._gone = True
            self._open = False

    def come_back(self) -> None:
        with self._lock:
            self._gone = False

    def close(self) -> None:
        with self._lock:
            self._open = False
            self._on_message = None
