"""Keeps a session's two ports open: one that vanishes is closed, and opened again as soon as it is there.

`look` runs on a thread of its own, so that no driver keeps the live loop waiting; what it finds goes through `put`, in the order
in which it happened.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import NamedTuple

from realtime.errors import UserError
from realtime.io.midi.ports import InputPort, NoSuchPort, OnMessage, OutputPort

LOOK_S = 0.25
"""Between two looks. A port is to be back within two seconds of its return, and leaving a JACK server that died takes as long."""


class InputLost(NamedTuple):
    """The input, or something that was connected to it, is gone, and holds nothing any more. `line`: for the user, or ""."""

    line: str


class OutputLost(NamedTuple):
    """The output is gone: what is sent arrives nowhere until it is back."""

    line: str


class Looked(NamedTuple):
    """All is as it was, or better. `listeners`: what the output is connected to; None where nobody knows, or the output is gone.
    `output`: whether it is there. `lines`: for the user."""

    listeners: frozenset[str] | None
    output: bool
    lines: tuple[str, ...]


News = InputLost | OutputLost | Looked


class Keeper:
    """See the module's docstring. `open`, `start` and `close` belong to the main thread."""

    def __init__(
        self, source: InputPort, target: OutputPort, on_message: OnMessage, put: Callable[[News], None]
    ) -> None:
        self._source, self._target = source, target
        self._on_message, self._put = on_message, put
        self._ports: tuple[InputPort | OutputPort, ...] = (target, source)
        self._away: set[InputPort | OutputPort] = set()
        self._sources: frozenset[str] = frozenset()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ports", daemon=True)

    def open(self, wait: bool) -> list[str]:
        """Open both. With `wait`, one that is not there is opened when it comes; returns what to tell the user of that.
        Raises UserError, and leaves nothing open then."""
        lines = []
        for port in self._ports:
            try:
                self._open(port)
            except NoSuchPort as missing:
                if not wait:
                    self.close_ports()
                    raise
                self._away.add(port)
                lines.append(f"{missing}; waiting for it")
            except BaseException:
                self.close_ports()
                raise
        return lines

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A look that is going on ends first."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def close_ports(self) -> None:
        """Nothing comes in or goes out any more."""
        self._source.close()
        self._target.close()

    def output_is_there(self) -> bool:
        """Whether what is sent now can arrive."""
        return self._target not in self._away and self._target.is_alive()

    def look(self) -> None:
        """One look at the ports, and what has to be done."""
        self._find_lost()
        lines = self._find_returned()
        if self._source not in self._away:
            self._source.reconnect()
            sources = self._source.connections() or frozenset()
            if self._sources - sources:
                self._put(InputLost(""))
            self._sources = sources
        output = self._target not in self._away
        if output:
            self._target.reconnect()
        self._put(Looked(self._target.connections() if output else None, output, lines))

    # --- on the thread ---

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            with contextlib.suppress(Exception):  # a fault of a driver's now is no reason not to look again
                self.look()

    def _open(self, port: InputPort | OutputPort) -> None:
        if port is self._source:
            self._source.open(self._on_message)
        else:
            self._target.open()

    def _find_lost(self) -> None:
        if all(port in self._away or port.is_alive() for port in self._ports):
            return
        # Where a JACK server died every port has to be closed, and one may have been looked at just before.
        lost = [port for port in self._ports if port not in self._away and not port.is_alive()]
        for port in lost:
            self._away.add(port)
            line = f"the port {port.name} is gone; the music goes on, and the port is opened again when it is back"
            self._put(InputLost(line) if port is self._source else OutputLost(line))
        for port in self._away:
            port.close()

    def _find_returned(self) -> tuple[str, ...]:
        lines = []
        for port in [port for port in self._ports if port in self._away]:
            try:
                self._open(port)
            except UserError:  # not yet
                continue
            self._away.remove(port)
            self._sources = frozenset() if port is self._source else self._sources
            lines.append(f"the port {port.name} is there")
        return tuple(lines)
