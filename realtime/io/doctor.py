"""`antiphon doctor` checks what Antiphon needs and how to fix it; `ports` lists MIDI ports; `panic` silences one.

The checks of `doctor` are independent, and an exception in one becomes a line of the report: a machine without anything gets a
whole report, never a traceback. Main thread only.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtime import midi
from realtime.composing.constraints import Sampling
from realtime.composing.contract import DRAWN, LOGITS
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import BEAT_EVENT, HEADS, HELD, Role, fields, tempo_bin

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 12)
"""Beyond the newest, python-rtmidi has to be built from its source."""
INSTALL = "pip install ."
DOCTOR = "Antiphon Doctor"
ORT = ("onnxruntime", "onnxruntime-gpu")
STEPS, WARM_UP = 50, 10
SLEEPS, SLEEP_S = 50, 0.004
LATE_MS = 2.0
"""A timer that is later than this is audible."""
BYTE_S = 0.00032
"""The time of a byte on a MIDI cable (31,250 baud, ten bits a byte)."""
DELIVER_S = 0.3
"""Several of a driver's longest periods: by then, everything has been sent."""
FIX_BACKEND = {
    "alsa": "sudo modprobe snd-seq",
    "jack": "start a JACK server (such as qjackctl, or jackd -d alsa)",
    "coremidi": "open Audio MIDI Setup",
    "winmm": "install loopMIDI or Windows MIDI Services",
}


class Line(NamedTuple):
    """One item of the report. mark: ok, note (Antiphon works without it) or missing; fix: the command, or what else to do."""

    mark: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.mark:8}{self.text}{f'; to fix it: {self.fix}' if self.fix else ''}"


# --- the report ---


def report(model: Path = SHIPPED_MODEL, folder: Path | None = None) -> tuple[str, bool]:
    """The report, one line an item, and whether `jam` can play. `folder`: for recordings; None: the current one."""
    where = folder if folder is not None else Path.cwd()
    checks: list[tuple[bool, Callable[[], Iterator[Line]]]] = [
        (True, _python),
        (True, _libraries),
        (True, _midi),
        (False, lambda: _providers(model)),
        (True, lambda: _model(model)),
        (False, _clock),
        (False, _timer),
        (False, _priority),
        (True, lambda: _folder(where)),
    ]
    found = [(needed, line) for needed, check in checks for line in _surviving(check)]
    missing = [line for needed, line in found if needed and line.mark == "missing"]
    healthy = not missing
    if healthy:
        verdict = "Antiphon can play here"
    elif all(line.text.startswith("MIDI") for line in missing):
        verdict = "antiphon jam cannot play until that is fixed; antiphon demo and the commands for files need no MIDI"
    else:
        verdict = "Antiphon cannot play until that is fixed"
    return "\n".join([*(str(line) for _, line in found), verdict]), healthy


def _surviving(check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from check()
    except Exception as error:  # an exception that nobody foresaw is a finding too
        yield Line("missing", f"a check failed: {type(error).__name__}: {_one_line(error)}")


def _python() -> Iterator[Line]:
    running = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] > NEWEST_PYTHON:
        yield Line("note", f"Python {running}: python-rtmidi has no wheel for it", "install Python 3.12, for jam")
    elif sys.version_info >= OLDEST_PYTHON:
        yield Line("ok", f"Python {running}")
    else:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Line("missing", f"Python {running} is too old", f"install Python {wanted} or newer")


def _libraries() -> Iterator[Line]:
    """The two onnxruntime packages overwrite each other's files: with both installed, the files are a mixture."""
    there = {}
    for name in ORT:
        with contextlib.suppress(PackageNotFoundError):
            there[name] = version(name)
    if len(there) == len(ORT):
        both = " ".join(ORT)
        yield Line(
            "missing",
            f"{' and '.join(ORT)} are both installed and overwrite each other",
            f"pip uninstall -y {both} && {INSTALL}",
        )
        return
    try:
        ort = importlib.import_module("realtime.io.graphs.runtime").ort
    except ImportError as error:
        yield Line("missing", f"onnxruntime cannot be loaded ({_one_line(error)})", f"{INSTALL} --force-reinstall")
        return
    yield Line("ok", f"{next(iter(there), 'onnxruntime')} {ort.__version__}")


def _midi() -> Iterator[Line]:
    """Each back end, and whether the ports that `jam` would open can be opened."""
    try:
        from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput, backends, list_ports
    except UserError as error:
        reason, _, fix = str(error).rpartition("; ")
        yield Line("missing", f"MIDI: {reason}", fix)
        return
    works = False
    failed = []
    for name in backends():
        try:
            ports = list_ports(name)
        except UserError as error:
            reason = str(error).partition("(")[2].partition(");")[0] or str(error)
            failed.append((name, reason))
            continue
        works = True
        there = {way: ", ".join(f'"{port}"' for port in listed) or "none" for way, listed in ports.items()}
        yield Line("ok", f"MIDI by {name}: inputs {there['in']}; outputs {there['out']}")
    for name, reason in failed:  # Antiphon needs only one that works
        yield Line("note" if works else "missing", f"MIDI by {name}: {reason}", FIX_BACKEND[name])
    if not works and not failed:
        yield Line(
            "missing",
            "MIDI: this python-rtmidi was built without any MIDI system",
            "pip install --force-reinstall python-rtmidi",
        )
    if works and "winmm" not in backends():  # Windows has no virtual ports: what is listed is what there is
        pair = RtMidiOutput("auto", None, DOCTOR), RtMidiInput("auto", None, DOCTOR)
        try:
            pair[0].open()
            pair[1].open(lambda *_: None)
        except UserError as error:
            yield Line("missing", f"MIDI: ports cannot be opened ({_one_line(error)})", "restart the MIDI system")
        finally:
            for port in pair:
                port.close()


def _providers(model: Path) -> Iterator[Line]:
    from realtime.io.graphs.stepper import Stepper

    ort = importlib.import_module("realtime.io.graphs.runtime").ort
    listed = [name.removesuffix("ExecutionProvider").lower() for name in ort.get_available_providers()]
    yield Line("ok" if "cpu" in listed else "missing", f"providers in this onnxruntime: {', '.join(listed)}")
    if "cuda" not in listed:
        yield Line("note", "CUDA: not in this onnxruntime; the CPU plays")
        return
    try:
        stepper = Stepper.load(model, "cuda", slots=2)
    except UserError:
        yield Line("note", "CUDA: cannot be tried without a model that loads")
        return
    if stepper.provider == "cuda":
        yield Line("note" if stepper.notice else "ok", f"CUDA works{f'; {stepper.notice}' if stepper.notice else ''}")
        return
    notice = stepper.notice or "CUDA cannot be used; playing on the CPU"
    driver = "install NVIDIA's driver, if the card is NVIDIA's"
    yield Line("note", notice, driver if "driver" in notice else "pip install '.[cuda]'")


def _model(path: Path) -> Iterator[Line]:
    from realtime.io.graphs.stepper import Stepper

    fix = f"{INSTALL} --force-reinstall"
    if not path.is_file():
        yield Line("missing", f"model {path}: not there", fix)
        return
    size = path.stat().st_size
    try:
        stepper = Stepper.load(path, "cpu", slots=2)
    except UserError as error:
        yield Line("missing", f"model, {size} bytes: {_one_line(error).partition(';')[0]}", fix)
        return
    contract = stepper.contract
    yield Line(
        "ok",
        f"model {path}: {size / 1e6:.1f} MB, {contract.name}, {contract.weights}, {contract.operators} operators, "
        f"contract {contract.contract_version}, vocabulary {contract.vocabulary_version}",
    )
    beat = BeatGrid().beat_at(0)
    event = fields(BEAT_EVENT, beat, tempo_bin(120.0), Role.CONTINUE)
    held, release, bias = (np.zeros(size, np.float32) for size in (HELD, HEADS["pitch"], LOGITS))
    noise = np.full(len(DRAWN), 0.5, np.float32)
    times = []
    for _ in range(WARM_UP + STEPS):
        started = now_ns()
        stepper.step(event, held, release, bias, Sampling().rows(0.0), noise)
        times.append(now_ns() - started)
    if not np.isfinite(stepper.last_logits).all():
        yield Line("missing", "model: its probabilities are not numbers", fix)
        return
    yield Line("ok", f"model step: {statistics.median(times[WARM_UP:]) / 1e6:.2f} ms")


def _clock() -> Iterator[Line]:
    steps = []
    for _ in range(100):
        start = now = now_ns()
        while now == start:
            now = now_ns()
        steps.append(now - start)
    fine = min(steps) <= 1_000_000
    yield Line("ok" if fine else "note", f"clock: resolution {min(steps) / 1e3:.2f} us")


def _timer() -> Iterator[Line]:
    """How late a wait with a deadline ends, when waiting as the live loop does."""
    inbox: queue.SimpleQueue[None] = queue.SimpleQueue()
    late_ms = []
    for _ in range(SLEEPS):
        deadline_ns = now_ns() + int(SLEEP_S * 1e9)
        with contextlib.suppress(queue.Empty):
            inbox.get(timeout=SLEEP_S)
        late_ms.append((now_ns() - deadline_ns) / 1e6)
    late_ms.sort()
    median, worst = statistics.median(late_ms), late_ms[-1]
    text = f"timer: {median:.2f} ms late (median), {worst:.2f} ms at most"
    yield Line("ok", text) if median < LATE_MS else Line("note", text, "close other programs; use mains power")


def _priority() -> Iterator[Line]:
    if not hasattr(os, "sched_setscheduler"):
        yield Line("note", "real-time priority: not used on this system")
    elif real_time_allowed():
        yield Line("ok", "real-time priority: allowed")
    else:
        yield Line(
            "note",
            "real-time priority: not allowed; Antiphon plays without it, but notes may be late on a busy machine",
            "echo '@audio - rtprio 95' | sudo tee /etc/security/limits.d/audio.conf && sudo usermod -aG audio $USER, "
            "then log in again",
        )


def real_time_allowed() -> bool:
    """Whether this user may have real-time priority. It is tried on a thread that ends at once."""
    allowed = []

    def try_it() -> None:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(20))
            allowed.append(True)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    return bool(allowed)


def _folder(folder: Path) -> Iterator[Line]:
    """Whether recordings can be written there. A file is written to find out, because permission bits do not hold for root."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
        free_mb = shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        yield Line("missing", f"folder {folder}: cannot be written ({error.strerror})", "cd to a folder of your own")
        return
    yield Line("ok", f"folder {folder}: can be written, {free_mb:.0f} MB free")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


# --- ports and panic ---


def ports_report(backend: str) -> str:
    """The MIDI ports, as options to type. Raises `UserError` where there is no MIDI system."""
    from realtime.io.midi.rtmidi_ports import backends, list_ports

    works = {}
    for name in backends() if backend == "auto" else [backend]:
        with contextlib.suppress(UserError):
            works[name] = list_ports(name)
    if not works:
        list_ports(backend)  # raises, with the reason of each
    lines = []
    for place, (name, ports) in enumerate(works.items()):
        lines.append(name if place == 0 else f"{name} (with --backend {name})")
        for way, what in (("in", "inputs"), ("out", "outputs")):
            there = ports[way]  # type: ignore[index]  # "in" and "out" are its keys
            lines += [f'  --{way} "{port}"' for port in there] or [f"  no {what} except those that Antiphon makes"]
    return "\n".join(lines)


def silence(port_name: str, backend: str) -> str:
    """Silence all 16 channels of a port (exact name, else a unique part of it). Raises `UserError`.

    The messages are sent no faster than a MIDI cable carries them, in about two seconds, so that no driver's buffer overflows.
    """
    from realtime.io.midi.ports import PortLost
    from realtime.io.midi.rtmidi_ports import RtMidiOutput

    port = RtMidiOutput(backend, port_name)
    port.open()
    try:
        for channel in range(16):
            messages = midi.panic([channel])
            for message in messages:
                port.send(message)
            time.sleep(BYTE_S * sum(map(len, messages)))
        time.sleep(DELIVER_S)
        if not port.is_alive():
            raise PortLost(f"{port.name}: the port is gone")
    except PortLost as lost:
        raise UserError(f"{lost}; notes that it held may still sound: silence the instrument itself") from None
    finally:
        port.close()
    return f"{port.name}: silenced, all 16 channels"
