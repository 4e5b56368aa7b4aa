"""A session kept in memory: what `demo` and `duet` write to files, and what the summary counts."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from realtime import midi
from realtime.core.engine import Engine
from realtime.errors import counted
from realtime.io.files.midifile import FileNote
from realtime.io.live.session import Session

PEDALS = (midi.SUSTAIN, midi.SOSTENUTO)
"""Controllers that hold notes beyond their note-offs: the sustain pedal, and the sostenuto pedal."""


@dataclass(slots=True)
class Take:
    """A sink (see `player.Sink`): every message in and out with its pulse."""

    events: dict[str, list[tuple[int, bytes]]] = field(default_factory=lambda: {"player": [], "antiphon": []})
    tempos: list[tuple[int, float]] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)
    trouble: str = ""
    end_pulse: int = 0
    """When the session ended, where that is known: what still sounds then is released in a file."""

    def write(self, direction: str, pulse: int, message: bytes) -> None:
        """`direction` is "player" or "antiphon"."""
        self.events[direction].append((pulse, message))

    def tempo(self, pulse: int, bpm: float) -> None:
        """The tempo changed."""
        self.tempos.append((pulse, bpm))

    def jump(self, pulse: int) -> None:
        """The song position jumped; nothing to do for a take that is made without a transport."""

    def mark(self, pulse: int, text: str) -> None:
        """A marker."""
        self.marks.append((pulse, text))

    def track(self, direction: str) -> list[tuple[int, bytes]]:
        """(pulse, message) as a track of a file takes them: none before pulse 0, every note and pedal released by `end_pulse` or
        with the last event, note-offs before and note-ons after what else there is at a pulse. Every note lasts at least a
        pulse; note-offs have no release velocity."""
        ordered: list[tuple[int, int, bytes]] = []
        down: dict[tuple[int, int], deque[int]] = defaultdict(deque)
        pedals: dict[tuple[int, int], int] = {}
        last = self.end_pulse
        for at, message in self.events[direction]:
            pulse, kind = max(at, 0), midi.kind(message)
            last = max(last, pulse)
            key = (midi.channel(message), message[1])
            if kind == midi.NOTE_ON:
                down[key].append(pulse)
                ordered.append((pulse, 2, message))
            elif kind == midi.NOTE_OFF:
                if down[key]:  # of equal pitches the one struck first is the first to end
                    pulse = max(pulse, down[key].popleft() + 1)
                ordered.append((pulse, 0, _off(*key)))
            else:
                if kind == midi.CONTROL and message[1] in PEDALS:
                    pedals[key] = message[2]
                ordered.append((pulse, 1, message))
        ordered += [(max(last, start + 1), 0, _off(*key)) for key, starts in down.items() for start in starts]
        ordered += [(last, 1, midi.control(*key, 0)) for key, value in pedals.items() if value >= 64]
        # Controllers of one pulse keep their order; notes do not need it, and are sorted as `midifile.note_events` sorts them.
        ordered.sort(key=lambda event: (event[0], event[1], event[2] if event[1] != 1 else b""))
        return [(pulse, message) for pulse, _, message in ordered]

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


def _off(channel: int, pitch: int) -> bytes:
    return bytes((midi.NOTE_OFF | channel, pitch, 0))


def percentiles_ms(times_ns: Any) -> dict[str, float] | None:
    """{p50, p99, max} in milliseconds of a sequence of nanoseconds; None where nothing was measured."""
    if not len(times_ns):
        return None
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
        "quoted": engine.quotes.report(engine.grid),
        "feels": [{"bar": engine.grid.bar_number(tick) + 1, "feel": feel} for tick, feel in engine.turns.feels.passed],
        "worker_restarts": session.restarts,
        "notes_left_hanging": session.left_hanging,
        "step_ms": percentiles_ms(counts.step_ns),
        "plan_ms": percentiles_ms(counts.plan_ns),
        "schedule_error_ms": percentiles_ms(session.schedule_error_ns),
    }


def summary(figures: dict[str, Any]) -> str:
    """The figures of `report` as the lines a session ends with. A time that was not measured is left out."""
    times = [
        f"{name} p50 {figures[key]['p50']} ms, p99 {figures[key]['p99']} ms"
        for name, key in (("model step", "step_ms"), ("schedule error", "schedule_error_ms"))
        if figures[key] is not None
    ]
    lines = [
        f"{counted(figures['turns'], 'turn')}, {counted(figures['notes'], 'note')} to your {figures['player_notes']}",
        "; ".join(times),
        f"{counted(figures['late_notes_dropped'], 'late note')} dropped, "
        f"{counted(figures['missed_deadlines'], 'deadline')} missed, "
        f"{counted(figures['late_plans'], 'plan')} too late, "
        f"{counted(figures['notes_left_hanging'], 'note')} left hanging",
    ]
    return "\n".join(line for line in lines if line)
