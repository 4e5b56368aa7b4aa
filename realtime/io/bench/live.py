"""What `bench` measures of the live program: a process tree as `antiphon jam` has it, played by a script.

`python -m realtime.io.bench.live`, with the configuration's overrides and what to measure as JSON on standard input,
plays and prints what it saw as JSON. It is a process of its own so that nothing `bench` has loaded counts.

The trivial echo is a thread that waits for a message and sends it back, through ports and an inbox like Antiphon's: what
ports, threads and the machine take is in both, and their difference is Antiphon's own.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime import midi
from realtime.config import Config, load
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.io.live.demo import scripted_player
from realtime.io.live.jam import jam  # noqa: F401  # what a session has loaded belongs to its memory
from realtime.io.live.player import Player
from realtime.io.live.recorder import Recorder
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.speaker import Speaker
from realtime.io.midi.ports import InputPort, MemoryPort, OutputPort
from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput

NOTES = (60, 64, 67, 65, 62, 69, 71, 59)
VELOCITY = 80
"""A velocity that Antiphon never plays (its own are 2 more than a multiple of 4), so that no answer is mistaken for the note."""
IN_OUT = {"mode.name": "harmonise", "sync.tempo_bpm": 240.0}
NOTE_S = 0.125
"""Eighth notes at 240 bpm: every other note of the player's falls on a beat."""
JACK_CLIENT, JACK_ECHO = "Antiphon bench", "Antiphon bench echo"
LEAD_S = 0.2


def child(what: str, overrides: dict[str, Any], **settings: Any) -> subprocess.Popen[str]:
    """Start the process that plays. Its answer is one line of JSON; `answer` waits for it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "realtime.io.bench.live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"what": what, "overrides": overrides, **settings}) + "\n")
    process.stdin.flush()
    return process


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The process's answer. Raises `UserError` with the process's own error, or where it ended without an answer."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.communicate()
        raise UserError("the session that was to be measured did not play; see above, and `antiphon doctor`")
    said: dict[str, Any] = json.loads(line)
    if "error" in said:
        process.communicate()
        raise UserError(said["error"])
    return said


# --- in the process that plays ---


@dataclass
class _Played:
    """A session through memory ports and the trivial echo beside it."""

    player: Player
    source: MemoryPort
    target: MemoryPort


def in_out(config: Config, pairs: int) -> dict[str, Any]:
    """Nanoseconds from a note in to a note out through memory ports: {"echo": [...], "antiphon": [...]}, paired."""
    echo_in, echo_out = MemoryPort("echo in", now_ns), MemoryPort("echo out", now_ns)
    stop_echo = start_echo(echo_in, echo_out)
    played: list[tuple[int, int]] = []

    def script(session: _Played) -> None:
        both = [echo_in, session.source]
        for i in range(pairs + 1):
            on, off = midi.note_on(0, NOTES[i % len(NOTES)], VELOCITY), midi.note_off(0, NOTES[i % len(NOTES)])
            stamps = {}
            for port in both if i % 2 else reversed(both):
                stamps[port] = now_ns()
                port.inject(on, stamps[port])
                time.sleep(NOTE_S / 4)
            played.append((stamps[echo_in], stamps[session.source]))
            for port in both:
                port.inject(off, now_ns())
            time.sleep(NOTE_S / 2)

    session = _play(config, script)
    stop_echo()
    echo, antiphon = (
        waits([now for now, message in port.sent if midi.is_note_on(message)], list(stamps))
        for port, stamps in zip((echo_out, session.target), zip(*played, strict=True), strict=True)
    )
    return paired(echo[1:], antiphon[1:])  # the first note starts things that later ones find running


def paired(echo: Sequence[int | None], antiphon: Sequence[int | None]) -> dict[str, list[int]]:
    """The pairs of which both were measured."""
    whole = [(a, b) for a, b in zip(echo, antiphon, strict=True) if a is not None and b is not None]
    return {"echo": [a for a, _ in whole], "antiphon": [b for _, b in whole]}


def session(config: Config, seconds: float) -> dict[str, Any]:
    """Trade with the demo's tune: {"schedule_error": [ns, of each due note-on], "rss_mb": {"player": ..., "worker": ...}}."""
    tune, _ = scripted_player(config)
    rss: dict[str, float | None] = {}

    def script(session: _Played) -> None:
        start_ns = now_ns()
        for offset_ns, message in tune:
            if offset_ns > seconds * 1e9:
                break
            time.sleep(max(0.0, (start_ns + offset_ns - now_ns()) / 1e9))
            session.source.inject(message, now_ns())
        worker = session.player.worker
        pids = {"player": os.getpid(), "worker": worker.pid if worker is not None else None}
        rss.update({name: rss_mb(pid) if pid is not None else None for name, pid in pids.items()})

    played = _play(config, script)
    return {"schedule_error": list(played.player.session.schedule_error_ns), "rss_mb": rss}


def in_out_jack(config: Config) -> dict[str, Any]:
    """Play through JACK until standard input closes; the process that asked measures in JACK's frames."""
    echo_ports = RtMidiInput("jack", None, JACK_ECHO), RtMidiOutput("jack", None, JACK_ECHO)
    stop_echo = start_echo(*echo_ports)
    ports = RtMidiInput("jack", None, JACK_CLIENT), RtMidiOutput("jack", None, JACK_CLIENT)
    player, folder = _player(config, *ports)
    with folder:
        player.prepare()
        print(json.dumps({"ready": True}), flush=True)
        threading.Thread(target=_stop_at_end_of_input, args=(player,), daemon=True).start()
        player.run()
    stop_echo()
    return {}


def _stop_at_end_of_input(player: Player) -> None:
    sys.stdin.read()
    player.stop()


def start_echo(source: InputPort, target: OutputPort) -> Callable[[], None]:
    """Send back what comes in, from a thread of its own as punctual as Antiphon's. Returns what stops it."""
    inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def echo() -> None:
        if hasattr(os, "sched_setscheduler"):
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(20))
        while (message := inbox.get()) is not None:
            target.send(message)

    target.open()
    source.open(lambda message, _: inbox.put(message))
    thread = threading.Thread(target=echo, name="echo", daemon=True)
    thread.start()

    def stop() -> None:
        source.close()
        inbox.put(None)
        thread.join()
        target.close()

    return stop


def waits(out: Sequence[int], into: Sequence[int]) -> list[int | None]:
    """From each note in, the time to the first note out after it; None where none came before the next note in."""
    found: list[int | None] = []
    for i, went in enumerate(into):
        came = bisect.bisect_left(out, went)
        answered = came < len(out) and (i + 1 == len(into) or out[came] < into[i + 1])
        found.append(out[came] - went if answered else None)
    return found


def rss_mb(pid: int) -> float | None:
    """Resident memory of a process in MB; None where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
        return int(said.stdout) / 1024
    return None


def _player(config: Config, source: InputPort, target: OutputPort) -> tuple[Player, Any]:
    """A player with a recorder as `jam` has it; the context that comes with it removes the recording."""
    context = contextlib.ExitStack()
    folder = context.enter_context(tempfile.TemporaryDirectory())
    sync = config.sync
    recorder = Recorder(Path(folder) / "bench.journal", sync.tempo_bpm, sync.beats_per_bar, sync.compound)
    recorder.open()
    context.callback(recorder.discard)
    engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
    return Player(engine, worker_setup(config), source, target, recorder, Speaker(_say)), context


def _play(config: Config, script: Callable[[_Played], None]) -> _Played:
    """A session through memory ports that lasts as long as the script, which runs on a thread of its own as a driver does."""
    source, target = MemoryPort("bench in", now_ns), MemoryPort("bench out", now_ns)
    player, folder = _player(config, source, target)
    session = _Played(player, source, target)

    def perform() -> None:
        time.sleep(LEAD_S)
        try:
            script(session)
        finally:
            player.stop()

    with folder:
        player.prepare()
        threading.Thread(target=perform, name="scripted-player", daemon=True).start()
        player.run()
    return session


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {"in_out": in_out, "session": session, "in_out_jack": in_out_jack}


def main() -> None:
    """Read what to measure as a line of JSON, and print the figures as another."""
    asked = json.loads(sys.stdin.readline())
    measure, overrides = MEASURES[asked.pop("what")], asked.pop("overrides")
    overrides = {key: Path(value) if key == "model.file" else value for key, value in overrides.items()}
    try:
        said = measure(load(None, overrides), **asked)
    except UserError as error:
        said = {"error": str(error)}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
