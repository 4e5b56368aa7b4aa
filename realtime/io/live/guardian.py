"""A small process that outlives the player's: if that is killed, it sends the note-offs of what sounds.

Through its standard input it is told of every note before it is sent, and of who listens. When the input ends and something
still sounds, the player's process is dead, and the guardian opens a port of its own to whoever listened. A line of its input is
either the hexadecimal digits of a note-on or note-off, or a JSON list of ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from realtime import midi
from realtime.errors import UserError
from realtime.io.midi.ports import OutputPort, PortLost

NAME = "Antiphon Guardian"
LONGEST_LINE = 4000
"""Bytes; a longer line could be torn in the pipe."""
DELIVER_S = 0.3
"""Several of a driver's longest periods: by then, everything has been sent."""
TRIES = 10
"""How often a listener is tried: a JACK server may stand still for some seconds until it drops a client that was killed."""
_ROOT = Path(__file__).resolve().parents[3]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from realtime.io.live.guardian import main; main(sys.argv[2])"


class Mirror:
    """What sounds and who listens, as the guardian was told."""

    def __init__(self) -> None:
        self.sounding: dict[tuple[int, int], None] = {}
        self.listeners: list[str] = []

    def told(self, line: bytes) -> None:
        """A line of its input."""
        if line.startswith(b"["):
            self.listeners = json.loads(line)
            return
        message = bytes.fromhex(line.decode())
        key = (midi.channel(message), message[1])
        self.sounding.pop(key, None)
        if midi.is_note_on(message):
            self.sounding[key] = None


class Guarded:
    """An OutputPort with a guardian. `named`: the port was asked for by its name, so that it can be found by that."""

    def __init__(self, target: OutputPort, named: bool) -> None:
        self._target, self._named = target, named
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners: frozenset[str] = frozenset()

    @property
    def backend(self) -> str:
        """The port's."""
        return self._target.backend

    @property
    def name(self) -> str:
        """The port's."""
        return self._target.name

    def open(self) -> None:
        """Raises UserError."""
        self._target.open()
        if self._process is None:
            with contextlib.suppress(OSError):  # then there is none
                self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(_ROOT), self._target.backend],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is the player's business
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        assert self._process.stdin is not None
        if hasattr(os, "set_blocking"):  # on Windows from Python 3.12 on
            os.set_blocking(self._process.stdin.fileno(), False)  # a guardian that stands still holds up nothing

    def send(self, message: bytes) -> None:
        """Raises PortLost."""
        if midi.is_note_on(message):
            self._tell(message.hex())
        self._target.send(message)
        if midi.is_note_off(message):
            self._tell(message.hex())

    def is_alive(self) -> bool:
        """The port's."""
        return self._target.is_alive()

    def connections(self) -> frozenset[str] | None:
        """The port's; the guardian hears of them."""
        connections = self._target.connections()
        listeners = frozenset({self.name} if self._named else ()) if connections is None else connections
        if listeners != self._listeners:
            self._listeners = listeners
            line = json.dumps(sorted(listeners))
            if len(line) < LONGEST_LINE:
                self._tell(line)
        return connections

    def reconnect(self) -> None:
        """The port's."""
        self._target.reconnect()

    def close(self) -> None:
        """The port alone: the guardian stays, until this process ends."""
        self._target.close()

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), f"{line}\n".encode())


def release(backend: str, listeners: Iterable[str], sounding: Iterable[tuple[int, int]]) -> None:
    """Send the note-offs to every listener that can be reached."""
    from realtime.io.midi.rtmidi_ports import RtMidiOutput

    ports = []
    for listener in listeners:
        # ALSA's listeners are addresses, with which the names of its ports end.
        port = RtMidiOutput(backend, f" {listener}" if backend == "alsa" else listener, NAME)
        for _ in range(TRIES):
            try:
                port.open()
            except UserError:
                time.sleep(DELIVER_S)
            else:
                ports.append(port)
                break
    for port in ports:
        with contextlib.suppress(PortLost):
            for key in sounding:
                port.send(midi.note_off(*key))
    time.sleep(DELIVER_S)
    for port in ports:
        port.close()


def main(backend: str) -> None:
    """The guardian's process."""
    mirror = Mirror()
    for line in sys.stdin.buffer:
        mirror.told(line.strip())
    if mirror.sounding:
        release(backend, mirror.listeners, mirror.sounding)
