"""Whole performances in simulated time: engine and composer are those of the live program, the player is a script.

Time jumps from each moment at which something happens to the next. The same script and seed give the same bytes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from realtime.core.dialogue import Planned, Reply, Request
from realtime.core.engine import Engine
from realtime.midi import is_note_on, normalise


class Composes(Protocol):
    """What answers the engine's requests: a `Composer`, or `Rules`."""

    @property
    def busy(self) -> bool: ...

    def handle(self, request: Request) -> Iterator[Reply]: ...

    def work(self) -> Planned | None: ...


@dataclass(slots=True)
class Performance:
    """All messages in (`played`) and out (`sent`), in order, as (host ns, pulse, message), and when it ended."""

    played: list[tuple[int, int, bytes]] = field(default_factory=list)
    sent: list[tuple[int, int, bytes]] = field(default_factory=list)
    end_ns: int = 0
    end_pulse: int = 0


def perform(
    engine: Engine,
    composer: Composes,
    script: Iterable[tuple[int, bytes]],
    until_ns: int | Callable[[int], int | None],
    think_ns: int = 0,
    loopback_ns: int | None = None,
    is_meant: Callable[[bytes, int], bool] = lambda note_on, stamp_ns: True,
) -> Performance:
    """Play `script`, (host ns, message) in any order, to the engine up to `until_ns` (exclusive), then stop the engine.

    `until_ns` may be a function of the time now, asked before every step; None: the end is not known yet.
    `think_ns`: how long the composer takes for each request, as on a slow machine: its replies arrive that much later.
    `is_meant`: which note-ons are to be answered; all are played.
    `loopback_ns`: the output is wired to the input: what is sent comes in again that much later. None: it is not.
    """
    performance = Performance()
    serial = 0
    agenda: list[tuple[int, int, object]] = []
    for stamp_ns, message in sorted(script, key=lambda item: item[0]):
        serial += 1
        agenda.append((stamp_ns, serial, message))
    heapq.heapify(agenda)
    starts = [engine.wake_ns(), agenda[0][0] if agenda else None]
    now_ns = min((ns for ns in starts if ns is not None), default=0)
    while True:
        wake_ns = engine.wake_ns()
        moments = [] if wake_ns is None else [max(wake_ns, now_ns)]
        if agenda:
            moments.append(agenda[0][0])
        end_ns = until_ns(now_ns) if callable(until_ns) else until_ns
        if not moments or (end_ns is not None and min(moments) >= end_ns):
            break
        now_ns = max(now_ns, min(moments))
        while agenda and agenda[0][0] <= now_ns:
            _, _, item = heapq.heappop(agenda)
            if isinstance(item, bytes):
                if (canonical := normalise(item)) is not None:
                    if is_note_on(canonical) and not is_meant(canonical, now_ns):
                        engine.counts.player_notes += engine.rolling
                    else:
                        engine.handle(canonical, now_ns)
                    performance.played.append((now_ns, engine.tempo.pulse_at(now_ns), canonical))
            else:
                engine.receive(item, now_ns)  # type: ignore[arg-type]  # the agenda holds only messages and replies
        for sent in engine.poll(now_ns):
            performance.sent.append((now_ns, sent.pulse, sent.message))
            if loopback_ns is not None:
                serial += 1
                heapq.heappush(agenda, (now_ns + loopback_ns, serial, sent.message))
        for request in engine.take_requests():
            for reply in composer.handle(request):
                serial += 1
                heapq.heappush(agenda, (now_ns + think_ns, serial, reply))
        while composer.busy:
            if (planned := composer.work()) is not None:
                engine.receive(planned, now_ns)
    performance.end_ns = now_ns if end_ns is None else end_ns
    performance.end_pulse = engine.tempo.pulse_at(performance.end_ns)
    performance.sent += [(performance.end_ns, performance.end_pulse, message) for message in engine.stop()]
    return performance
