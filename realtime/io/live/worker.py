"""The worker process: the composer and its networks, behind a pipe. It may die, hang or be replaced while the music goes on.

`Worker` is the handle in the player process. The worker itself is a new interpreter that runs `main`: it imports onnxruntime,
which the player process never does, and nothing of the command line.

Threads: `Worker.start` may be called on any thread. A reader thread passes every reply to `on_reply`. `send` only queues a
request, and a writer thread puts it into the pipe, so a worker that has stopped reading never delays the music.
"""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints, Sampling
from realtime.composing.latents import Latents
from realtime.core.dialogue import Plan, Reply, Request
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.metre import BeatGrid

if TYPE_CHECKING:
    from realtime.io.graphs.stepper import Stepper

START_TIMEOUT_S = 120.0
_ROOT = Path(__file__).resolve().parents[3]
# The same code as the player process, whatever is in the user's current folder (-P).
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[2]); from realtime.io.live.worker import main; main()"


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to compose."""

    model: str
    provider: str
    threads: int
    constraints: Constraints
    sampling: Sampling
    bars: tuple[tuple[int, int], ...]
    bpm: float
    seed: int
    controls: Controls = AS_IT_IS

    def composer(self) -> tuple[Composer, Stepper]:
        """Load the model and make the composer. Raises `UserError` for a model that cannot be played."""
        from realtime.io.graphs.latent_graphs import LatentGraphs  # with onnxruntime: only where it is played
        from realtime.io.graphs.stepper import Stepper

        stepper = Stepper.load(self.model, self.provider, self.threads)
        grid = BeatGrid(self.bars)
        graphs = LatentGraphs.load(Path(self.model), self.threads, stepper.contract)
        latents = Latents(graphs, grid, self.seed, now_ns, self.controls) if graphs is not None else None
        composer = Composer(
            stepper, self.constraints, self.sampling, grid, self.bpm, self.seed, now_ns, latents, self.controls
        )
        return composer, stepper


class Ready(NamedTuple):
    """The model is loaded and has taken its first step. `notice`: a line for the user, where the provider cannot be used."""

    provider: str
    model: str
    notice: str | None
    pid: int


class Failed(NamedTuple):
    """The model could not be loaded. `line` is for the user."""

    line: str


class Worker:
    """A running worker process. Nothing is started in the constructor."""

    def __init__(self, setup: Setup, on_reply: Callable[[Reply], None], on_death: Callable[[Worker], None]) -> None:
        self._setup = setup
        self._on_reply = on_reply
        self._on_death = on_death
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._reader: threading.Thread | None = None
        self._to_send: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._closing = False

    def start(self) -> Ready:
        """Start the process and wait until its model is ready. Raises `UserError` where the model cannot be loaded."""
        key = secrets.token_bytes(16)
        with Listener(authkey=key) as listener:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(listener.address), str(_ROOT)],
                stdin=subprocess.PIPE,
            )
            assert self._process.stdin is not None
            self._process.stdin.write(key.hex().encode() + b"\n")
            self._process.stdin.flush()
            # `accept` has no timeout of its own; a process that died before it connected would make it wait for ever.
            watch = threading.Thread(target=self._unblock, args=(listener.address, key), daemon=True)
            watch.start()
            self._pipe = listener.accept()
        answer: object = None
        with contextlib.suppress(EOFError, OSError):
            self._pipe.send(self._setup)
            if self._pipe.poll(START_TIMEOUT_S):
                answer = self._pipe.recv()
        if not isinstance(answer, Ready):
            self.close()
            raise UserError(answer.line if isinstance(answer, Failed) else "the model's worker process did not start")
        self._reader = threading.Thread(target=self._read, name="worker-replies", daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, name="worker-requests", daemon=True).start()
        return answer

    @property
    def pid(self) -> int | None:
        """The process's id, for measurements."""
        return self._process.pid if self._process is not None else None

    def send(self, request: Request) -> None:
        """Queue a request. It is lost if the worker is dead; `on_death` reports that."""
        self._to_send.put(request)

    def kill(self) -> None:
        """End a worker that hangs. `on_death` is called then."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process. `on_death` is not called."""
        self._closing = True
        self._to_send.put(None)
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.terminate()
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join()  # it ends, as the other end of the pipe is closed
        if self._pipe is not None:
            self._pipe.close()

    def _unblock(self, address: str, key: bytes) -> None:
        assert self._process is not None
        self._process.wait()
        with contextlib.suppress(OSError, EOFError):
            Client(address, authkey=key).close()

    def _write(self) -> None:
        assert self._pipe is not None
        with contextlib.suppress(OSError):
            while (request := self._to_send.get()) is not None:
                self._pipe.send(request)

    def _read(self) -> None:
        assert self._pipe is not None
        try:
            while True:
                self._on_reply(self._pipe.recv())
        except (EOFError, OSError):
            if not self._closing:
                self._on_death(self)


def serve(pipe: Connection) -> None:
    """What the worker process does: load the model, report it, answer requests until the pipe closes."""
    setup: Setup = pipe.recv()
    try:
        composer, stepper = setup.composer()
    except UserError as error:
        pipe.send(Failed(str(error)))
        return
    composer.warm_up()
    pipe.send(Ready(stepper.provider, stepper.contract.name, stepper.notice, os.getpid()))
    waiting: deque[Request] = deque()

    def limit() -> int | None:
        while pipe.poll():
            waiting.append(pipe.recv())
        return min((request.boundary for request in waiting if isinstance(request, Plan)), default=None)

    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a collection during a plan would delay notes audibly
    while True:
        # Notes come first: the work on plans is done in small pieces, while no request waits.
        while composer.busy and not waiting and not pipe.poll():
            if (planned := composer.work()) is not None:
                pipe.send(planned)
        request = waiting.popleft() if waiting else pipe.recv()
        for reply in composer.handle(request, limit):
            pipe.send(reply)


def main() -> None:
    """The worker process. Its argument is the pipe's address; its key comes on standard input. Ctrl-C is for the player."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    key = bytes.fromhex(sys.stdin.readline().strip())
    with contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt), Client(sys.argv[1], authkey=key) as pipe:
        serve(pipe)
