"""A JACK server for tests, and programs beside it: in a mount namespace with its own /dev/shm where that is allowed, so that it
shares no registry with other servers and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RATE, PERIOD = 48_000, 256
PATIENCE_S = 60.0
OWN_SHM = "mount -t tmpfs -o size=256m tmpfs /dev/shm && echo ready && exec sleep infinity"


class Room:
    """The server, which may be killed and started again, and how to start something beside it."""

    def __init__(self, private: bool) -> None:
        self._name = f"antiphon-test-{os.getpid()}"
        self._env = {
            **os.environ,
            "JACK_DEFAULT_SERVER": self._name,
            "JACK_NO_START_SERVER": "1",
            "JACK_NO_AUDIO_RESERVATION": "1",
            "PYTHONPATH": str(ROOT),
        }
        self._holder: subprocess.Popen[str] | None = None
        self._enter: list[str] = []
        self._beside: list[subprocess.Popen[str]] = []
        if private:
            command = ["unshare", "-m", "sh", "-c", OWN_SHM]
            self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert self._holder.stdout is not None and self._holder.stdout.readline() == "ready\n"
            self._enter = ["nsenter", "-t", str(self._holder.pid), "-m", "sh", "-c", f'cd {ROOT} && exec "$@"', "_"]
        self.start_server()

    def start_server(self) -> None:
        """Returns when it takes clients. Skips the test where it does not start."""
        command = ["jackd", "-r", "-n", self._name, "-S", "-d", "dummy", "-r", str(RATE), "-p", str(PERIOD)]
        nowhere = subprocess.DEVNULL
        self.server = subprocess.Popen([*self._enter, *command], env=self._env, stdout=nowhere, stderr=nowhere)
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_open():
            if self.server.poll() is not None or time.monotonic() > deadline:
                pytest.skip("jackd does not start here")
            time.sleep(0.1)

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait(PATIENCE_S)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a Python command in the room."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*self._enter, sys.executable, *command],
            env=self._env,
            cwd=ROOT,
            text=True,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
        )
        self._beside.append(process)
        return process

    def clear(self) -> None:
        """End all that was started in it, but for the server."""
        for process in self._beside:
            process.kill()
            process.wait(PATIENCE_S)
        self._beside.clear()

    def _is_open(self) -> bool:
        probe = self.start("tests/jack_player.py")
        probe.communicate(timeout=PATIENCE_S)
        return probe.returncode == 0

    def close(self) -> None:
        self.clear()
        for process in (self.server, self._holder):
            if process is not None:
                process.terminate()
                process.wait(PATIENCE_S)


@contextmanager
def open_room() -> Iterator[Room]:
    """A room until the end of the block."""
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]
    one = Room(private=subprocess.run(mount, capture_output=True, check=False).returncode == 0)
    try:
        yield one
    finally:
        one.close()


class Keys:
    """A keyboard with a sound of its own: the JACK client `name` with the ports "out" and "in", in a process of its own."""

    def __init__(self, room: Room, name: str = "Keys") -> None:
        self._process = room.start("tests/jack_keys.py", name)
        assert self._read() == "ready"

    def play(self, *messages: bytes) -> None:
        self._write(" ".join(message.hex() for message in messages))

    def heard(self) -> list[bytes]:
        """All that has come in so far. What is to be played, is played first."""
        self._write("heard")
        return [bytes.fromhex(message) for message in json.loads(self._read())]

    def unplug(self) -> None:
        """The client leaves the server, or is gone with it."""
        self._process.communicate(timeout=PATIENCE_S)

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class Said:
    """The lines that a program writes to standard error, as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.strip())

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline and self._process.poll() is None, f"{what}: {self.lines}"
            time.sleep(0.02)

    def times(self, words: str) -> int:
        """How many lines have these words."""
        return sum(words in line for line in self.lines)
