"""What `bench` measures of the planner: a plan and its graph calls, and how much later notes are while a plan is made.

A worker process like `jam`'s is asked for notes one after another, first while it has a plan to work on, then without.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from realtime.config import Config
from realtime.core.dialogue import Bar, KeyUp, Plan, Planned, PlayerNote, Reached, Reply, Turn
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.io.live.settings import worker_setup
from realtime.io.live.worker import Failed, Worker
from realtime.music.metre import TICKS
from realtime.music.vocabulary import MELODY, Role

CELL = 4 * TICKS
PITCHES = (60, 64, 67, 72)
GAP_S = 0.0007
"""Between an answer and the next note: less than a plan takes, so that most notes come in the middle of a graph call."""
ALONE = 6
"""Notes without a plan, after each plan."""


@dataclass(slots=True)
class Times:
    """Nanoseconds: of whole plans and of each graph call in them; by whether a plan was being made, of model steps, and from
    asking for a note to its answer."""

    plans: list[int] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    steps: dict[bool, list[int]] = field(default_factory=lambda: {True: [], False: []})
    answers: dict[bool, list[int]] = field(default_factory=lambda: {True: [], False: []})


def measure(config: Config, plans: int) -> Times:
    """Let a worker make so many plans, and answer notes meanwhile. Raises `UserError` where it dies; its model has a context."""
    replies: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()

    def heard(worker: Worker, reply: Reply | Failed) -> None:
        replies.put(None if isinstance(reply, Failed) else reply)

    setup = worker_setup(config)
    steered = replace(setup, controls=replace(setup.controls, density=1.0))  # else nothing is planned
    worker = Worker(steered, heard, lambda _: replies.put(None))
    times = Times()
    worker.start()
    try:
        for cell in range(1, plans + 1):
            notes = _notes(cell * CELL)
            worker.send(Bar(cell * CELL, (cell + 1) * CELL))
            while len(times.plans) < cell:
                _ask(worker, replies, next(notes), times, planning=True)
            for _ in range(ALONE):
                _ask(worker, replies, next(notes), times, planning=False)
    finally:
        worker.close()
    return times


def _notes(start: int) -> Iterator[Plan]:
    """Notes of the player's within the cell from `start` on, each with a beat of what goes along with it."""
    for nth in count():
        tick = start + min(nth, CELL - TICKS - 2)
        note = PlayerNote(tick, PITCHES[nth % len(PITCHES)], 80, MELODY)
        yield Plan(start * CELL + nth, tick + 1, note, Role.ACCOMPANY, Turn(0), tick + 1 + TICKS)


def _ask(worker: Worker, replies: queue.SimpleQueue[Reply | None], plan: Plan, times: Times, planning: bool) -> None:
    """Ask for a note and wait for all of its answer, and a little."""
    asked_ns, answered = now_ns(), False
    worker.send(plan)
    reply: Reply | None = None
    while not isinstance(reply, Reached):
        reply = _next(replies)
        if isinstance(reply, Planned):
            _took(reply, times)
        elif not answered:
            answered = True
            times.answers[planning].append(now_ns() - asked_ns)
    times.steps[planning] += reply.step_ns
    assert plan.played is not None
    worker.send(KeyUp(plan.boundary, plan.played.pitch))
    time.sleep(GAP_S)
    while not replies.empty():
        if isinstance(reply := _next(replies), Planned):
            _took(reply, times)


def _next(replies: queue.SimpleQueue[Reply | None]) -> Reply:
    reply = replies.get()
    if reply is None:
        raise UserError("the model's worker process died while it was measured; see `antiphon doctor`")
    return reply


def _took(planned: Planned, times: Times) -> None:
    times.plans.append(sum(planned.call_ns))
    times.calls += planned.call_ns
