"""A performance kept in memory: what the demo and `compose` write to files, and what the summary counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtime import midi
from realtime.core.engine import Engine
from realtime.io.files.midifile import FileNote
from realtime.io.live.player import Session


@dataclass(slots=True)
class Take:
    """A sink (see `player.Sink`): every message in and out with its pulse."""

    events: dict[str, list[tuple[int, bytes]]] = field(default_factory=lambda: {"player": [], "antiphon": []})
    tempos: list[tuple[int, float]] = field(default_factory=list)
    trouble: str = ""

    def write(self, direction: str, pulse: int, message: bytes) -> None:
        """`direction` is "player" or "antiphon"."""
        self.events[direction].append((pulse, message))

    def tempo(self, pulse: int, bpm: float) -> None:
        """The tempo changed."""
        self.tempos.append((pulse, bpm))

    def jump(self, pulse: int) -> None:
        """The song position jumped; nothing to do for a take that is made without a transport."""

    def notes(self, direction: str) -> list[FileNote]:
        """The notes, sorted; one that was never released ends with the last event."""
        events = self.events[direction]
        down: dict[tuple[int, int], tuple[int, int]] = {}
        notes = []

        def close(key: tuple[int, int], pulse: int) -> None:
            start, velocity = down.pop(key)
            notes.append(FileNote(start, key[1], velocity, max(pulse - start, 1), channel=key[0]))

        for pulse, message in events:
            key = (midi.channel(message), message[1])
            if midi.is_note_on(message) or midi.is_note_off(message):
                if key in down:
                    close(key, pulse)
                if midi.is_note_on(message):
                    down[key] = (pulse, message[2])
        for key in list(down):
            close(key, events[-1][0])
        return sorted(notes)


def percentiles_ms(times_ns: Any) -> dict[str, float]:
    """{p50, p99, max} in milliseconds of a sequence of nanoseconds; zeros where there is none."""
    if not len(times_ns):
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99, most = np.percentile(np.asarray(times_ns, float) / 1e6, (50, 99, 100))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(float(most), 3)}


def report(engine: Engine, session: Session) -> dict[str, Any]:
    """What a session comes to: counts, step and schedule-error times in milliseconds, notes left hanging."""
    counts = engine.counts
    return {
        "turns": counts.turns,
        "notes": counts.notes,
        "player_notes": counts.player_notes,
        "retracted_notes": counts.retracted,
        "missed_deadlines": counts.missed_deadlines,
        "late_notes_dropped": engine.scheduler.late_dropped,
        "late_plans": counts.late_plans,
        "rejected_draws": counts.rejected,
        "echoes_ignored": counts.echoes,
        "worker_restarts": session.restarts,
        "notes_left_hanging": session.left_hanging,
        "step_ms": percentiles_ms(counts.step_ns),
        "plan_ms": percentiles_ms(counts.plan_ns),
        "schedule_error_ms": percentiles_ms(session.schedule_error_ns),
    }


def summary(figures: dict[str, Any]) -> str:
    """The figures of `report` as the lines a session ends with."""
    step, error = figures["step_ms"], figures["schedule_error_ms"]
    return (
        f"{figures['turns']} turns, {figures['notes']} notes to your {figures['player_notes']}\n"
        f"model step p50 {step['p50']} ms, p99 {step['p99']} ms; "
        f"schedule error p50 {error['p50']} ms, p99 {error['p99']} ms\n"
        f"{figures['late_notes_dropped']} late notes dropped, {figures['missed_deadlines']} deadlines missed, "
        f"{figures['late_plans']} plans too late, {figures['notes_left_hanging']} notes left hanging"
    )
