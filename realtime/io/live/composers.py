"""Who composes: the model's worker while one answers, and rules while none does. A worker comes into charge at a bar line.

A worker that dies, or cannot be started, is tried again for ever, at longer and longer intervals. `Player` calls everything on
its loop's thread; workers start on threads of their own and come back through `put`, which brings them to `take`.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from realtime.composing.rules import Rules
from realtime.core.dialogue import Extend, Plan, Reached, Reply, Request
from realtime.core.engine import Engine
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.clock import now_ns
from realtime.io.live.model import Setup
from realtime.io.live.worker import Failed, Ready, Worker

LATE_NS = 500_000_000, 1_000_000_000
"""Where the oldest request waits for its answer for a beat the worker is stood in for: after so long at least, and at most."""
HANG_NS = 3_000_000_000
"""A worker that has said nothing for so long is replaced."""
FIRST_WAIT_NS, LONGEST_WAIT_NS = 500_000_000, 15_000_000_000
"""How long after its death a worker is started again: at once the first time, then after waits that double."""
STOPPED_S = 0.1
"""How long a session may go on starting that is to be stopped."""
SOUND_NS = 60_000_000_000
"""A worker that has lived so long was sound: what follows is a first time again."""


class Said(NamedTuple):
    """A worker's word."""

    worker: Worker
    reply: Reply | Failed


class Died(NamedTuple):
    """A worker is gone, or could not be started: then with the line for the user."""

    worker: Worker
    line: str = ""


class Asked(NamedTuple):
    """A request that is to be answered by a `Reached` with the same numbers, and when it was made."""

    generation: int
    until: int
    ns: int


class Came(NamedTuple):
    """A worker is up, and its model is warm."""

    worker: Worker
    setup: Setup
    ready: Ready


class Composers:
    """See the module's docstring. `restarts` counts the workers started after the first."""

    def __init__(self, setup: Setup, engine: Engine, put: Callable[[object], None], say: Callable[[str], None]) -> None:
        self.worker: Worker | None = None
        self.restarts = 0
        self._setup = setup
        self._engine = engine
        self._put, self._say = put, say
        self._rules = Rules(setup.constraints, engine.grid)
        self._next: Came | None = None
        self._switch_pulse = 0
        self._asked: deque[Asked] = deque()
        self._heard_ns = 0
        self._standing_in = False
        self._retry_ns: int | None = None
        self._deaths = 0
        self._born_ns = 0
        self._over = False

    def start(self, stopped: Callable[[], bool] = lambda: False) -> Ready:
        """The first worker. Raises `UserError` where its model cannot be played, and KeyboardInterrupt once `stopped`."""
        self.worker = worker = self._new_worker(self._setup)
        self._born_ns = now_ns()
        started: queue.SimpleQueue[Ready | Exception] = queue.SimpleQueue()

        def start() -> None:
            try:
                started.put(worker.start())
            except Exception as error:
                started.put(error)
            if self._over:
                worker.close()

        # A model may take long to load. On a thread of its own, as that cannot be interrupted without leaving something behind.
        thread = threading.Thread(target=start, name="worker-start", daemon=True)
        thread.start()
        while not stopped():
            with contextlib.suppress(queue.Empty):
                answer = started.get(timeout=STOPPED_S)
                if isinstance(answer, Exception):
                    raise answer
                return answer
        self.close()
        thread.join(STOPPED_S)
        raise KeyboardInterrupt

    def swap(self, setup: Setup) -> None:
        """Play another model: it is loaded and warmed beside the music, and plays from a bar line on. If it cannot be loaded the
        one that plays goes on."""
        self._start_aside(setup)

    def ask(self, request: Request, now: int) -> list[Reply]:
        """Hand a request to the worker; the rules hear it too, and their answers are returned where they play. A worker that is
        stood in for is asked nothing, so that it catches up; it is told how things stand when it comes back into charge."""
        if self.worker is None or self._standing_in:
            return list(self._rules.handle(request))
        self.worker.send(request)
        if isinstance(request, Plan | Extend):  # the others are not answered
            self._asked.append(Asked(request.generation, request.until, now))
        self._rules.hear(request)
        return []

    def take(self, item: Said | Died | Came, now: int) -> Reply | None:
        """Something about a worker. Returns what the engine is to receive."""
        match item:
            case Said(worker, Failed(line)):
                if worker is self.worker:
                    self._say(line)
            case Said(worker, reply) if worker is self.worker:
                return self._answered(reply, now)
            case Died(worker, line):
                self._died(worker, line, now)
            case Came():
                if self._next is not None:
                    self._next.worker.close()
                self._next = item
                self._await_bar(now)
        return None

    def act(self, now: int) -> None:
        """Whatever is due."""
        engine = self._engine
        if self._retry_ns is not None and now >= self._retry_ns:
            self._retry_ns = None
            self._start_aside(self._setup)
        if self._asked and self.worker is not None:
            if now > self._hangs_ns():
                self._asked.clear()
                self._say("the model's worker does not answer: it is replaced")
                self.worker.kill()
            elif not self._standing_in and now > self._late_ns():
                self._standing_in = True
                self._say("the model is late: rules play until it answers")
                engine.composer_is_new(now)
        if self._next is not None:
            pulse = engine.tempo.pulse_at(now)
            if not engine.rolling or pulse >= self._switch_pulse:
                self._switch(self._next, now)
            else:  # song time may have jumped
                self._switch_pulse = min(self._switch_pulse, self._next_bar(now))

    def wake_ns(self) -> int | None:
        """When `act` has something to do next."""
        moments = [self._retry_ns]
        if self._asked:
            moments.append((self._hangs_ns() if self._standing_in else self._late_ns()) + 1)
        if self._next is not None:
            moments.append(self._engine.tempo.ns_at(self._switch_pulse) if self._engine.rolling else 0)
        return min((ns for ns in moments if ns is not None), default=None)

    def wait_no_longer(self) -> None:
        """The process stood still: what was asked before is not late."""
        now = now_ns()
        self._asked = deque(asked._replace(ns=now) for asked in self._asked)

    def close(self) -> None:
        """End all workers, those too that are just being started."""
        self._over = True
        for worker in (self.worker, self._next.worker if self._next is not None else None):
            if worker is not None:
                worker.close()

    # --- the worker in charge ---

    def _late_ns(self) -> int:
        """When the oldest request is late."""
        asked_ns = self._asked[0].ns
        beat_ns = round(60e9 / self._engine.tempo.bpm_at(self._engine.tempo.pulse_at(asked_ns)))
        return asked_ns + min(max(beat_ns, LATE_NS[0]), LATE_NS[1])

    def _hangs_ns(self) -> int:
        """When the worker has not said a word for too long."""
        return max(self._asked[0].ns, self._heard_ns) + HANG_NS

    def _answered(self, reply: Reply | Failed, now: int) -> Reply | None:
        assert not isinstance(reply, Failed)
        self._heard_ns = now
        if isinstance(reply, Reached):  # requests that a later one made void are not answered
            while self._asked and self._asked[0][:2] <= (reply.generation, reply.until):
                self._asked.popleft()
        if not self._standing_in:
            return reply
        if not self._asked and self._next is None:
            assert self.worker is not None
            self._next = Came(self.worker, self._setup, Ready("", "the model", None, 0))  # it has caught up
            self._await_bar(now)
        return None

    def _died(self, worker: Worker, line: str, now: int) -> None:
        worker.close()
        if self._next is not None and worker is self._next.worker:
            self._next = None
        if line:
            self._say(line)
        if worker is self.worker:
            self.worker = None
            self._asked.clear()
            self._standing_in = False
            self._say("the model's worker died: rules play until it is back")
            self._engine.composer_is_new(now)
            if now - self._born_ns > SOUND_NS:
                self._deaths = 0
        if self.worker is None and self._next is None:
            wait_ns = FIRST_WAIT_NS << min(self._deaths - 1, 10) if self._deaths else 0
            self._retry_ns = now + min(wait_ns, LONGEST_WAIT_NS)
            self._deaths += 1

    def _switch(self, came: Came, now: int) -> None:
        old, self.worker, self._next = self.worker, came.worker, None
        if old is not came.worker:
            self._born_ns = now
            if old is not None:
                threading.Thread(target=old.close, name="worker-end", daemon=True).start()
        self._setup = came.setup
        self._asked.clear()
        self._standing_in = False
        self._engine.composer_is_new(now)
        if old is None:
            self._say(f"the model's worker is back: {came.ready.model} plays")
        elif old is came.worker:
            self._say("the model answers again, and plays")
        else:
            self._say(f"the model {came.ready.model} plays from here on")

    def _await_bar(self, now: int) -> None:
        self._switch_pulse = self._next_bar(now)

    def _next_bar(self, now: int) -> int:
        tick = self._engine.tempo.pulse_at(now) // PULSES_PER_TICK
        return self._engine.grid.bar_start(tick, 1) * PULSES_PER_TICK

    # --- workers to come ---

    def _new_worker(self, setup: Setup) -> Worker:
        return Worker(
            setup, lambda worker, reply: self._put(Said(worker, reply)), lambda worker: self._put(Died(worker))
        )

    def _start_aside(self, setup: Setup) -> None:
        self.restarts += 1
        worker = self._new_worker(setup)

        def start() -> None:
            try:
                self._put(Came(worker, setup, worker.start()))
            except Exception as error:  # whatever it was: there is no worker, and the loop has to know
                self._put(Died(worker, str(error)))
            if self._over:  # the session ended meanwhile, and nobody takes it in any more
                with contextlib.suppress(Exception):
                    worker.close()

        threading.Thread(target=start, name="worker-start", daemon=True).start()
