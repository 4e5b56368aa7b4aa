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
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from realtime.composing.composer import Composer
from realtime.composing.constraints import Constraints, Sampling
from realtime.composing.latents import Latents
from realtime.composing.memory import Memory
from realtime.core.dialogue import Plan, Reply, Request
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.metre import BeatGrid

if TYPE_CHECKING:
    from realtime.io.graphs.stepper import Stepper

START_TIMEOUT_S = 120.0
END_S = 0.5
"""How long a worker has to end by itself."""
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
        memory = Memory() if stepper.contract.memory else None
        composer = Composer(
            stepper, self.constraints, self.sampling, grid, self.bpm, self.seed, now_ns, latents, self.controls, memory
        )
        return composer, stepper


class Ready(NamedTuple):
    """The model is loaded and has taken its first step. `notice`: a line for the user, where the provider cannot be used."""

    provider: str
    model: str
    notice: str | None
    pid: int


class Failed(NamedTuple):
    """The model could not be loaded, or not be run: the line for the user. The worker ends with it."""

    line: str


class Worker:
    """A running worker process. Nothing is started in the constructor."""

    def __init__(
        self,
        setup: Setup,
        on_reply: Callable[[Worker, Reply | Failed], None],
        on_death: Callable[[Worker], None],
    ) -> None:
        self._setup = setup
        self._on_reply = on_reply
        self._on_death = on_death
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._reader: threading.Thread | None = None
        self._to_send: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._closing = False

    def start(self) -> Ready:
        """Start the process and wait until its model is warm. Raises `UserError` where it cannot be loaded."""
        self._pipe, theirs = Pipe()
        handle = theirs.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(handle), str(_ROOT)],
            stdin=subprocess.DEVNULL,
            **_inherit(handle),
        )
        theirs.close()  # it has its own: so each side sees the other's end
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
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:  # it is stopped, or hangs
                self._process.kill()
                self._process.wait()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join()  # it ends, as the other end of the pipe is closed
        if self._pipe is not None:
            self._pipe.close()

    def _write(self) -> None:
        assert self._pipe is not None
        with contextlib.suppress(OSError):
            while (request := self._to_send.get()) is not None:
                self._pipe.send(request)

    def _read(self) -> None:
        assert self._pipe is not None
        try:
            while True:
                self._on_reply(self, self._pipe.recv())
        except (EOFError, OSError):
            if not self._closing:
                self._on_death(self)


def serve(pipe: Connection) -> None:
    """What the worker process does: load the model, report it, answer requests until the pipe closes."""
    setup: Setup = pipe.recv()
    try:
        composer, stepper = setup.composer()
        composer.warm_up()
        _compose(pipe, composer, stepper)
    except UserError as error:
        pipe.send(Failed(str(error)))


def _compose(pipe: Connection, composer: Composer, stepper: Stepper) -> None:
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
    """The worker process: its end of the pipe is its argument."""
    handle = int(sys.argv[1])
    with contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt), _connection(handle) as pipe:
        serve(pipe)


# The pipe is inherited: nothing lies in a folder for others to find, and neither side can wait for one that never comes.
# The worker is in a process group of its own: Ctrl-C is the player's business.
if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection

    def _inherit(handle: int) -> dict[str, Any]:
        os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        return {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}

    def _connection(handle: int) -> PipeConnection:
        return PipeConnection(handle)

else:

    def _inherit(handle: int) -> dict[str, Any]:
        return {"pass_fds": [handle], "process_group": 0}

    def _connection(handle: int) -> Connection:
        return Connection(handle)
