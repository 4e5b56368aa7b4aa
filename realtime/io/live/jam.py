"""`antiphon jam`: ports, worker, recorder and signals around the live loop, and the summary at its end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import FrameType

from realtime.config import Config
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.errors import UserError
from realtime.io.files.whole import check_writable
from realtime.io.live.player import Player
from realtime.io.live.recorder import SUFFIX, Recorder, find_unfinished, salvage
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.take import report, summary
from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput


def jam(config: Config, say: Callable[[str], None]) -> None:
    """Play until Ctrl-C, SIGTERM or a limit of the configuration; then release, record, and print one summary.

    Raises `UserError` before anything sounds, and then leaves nothing behind.
    """
    target_file = (
        config.run.record.expanduser()
        if config.run.record is not None
        else Path(time.strftime("antiphon-%Y%m%d-%H%M%S.mid"))
    )
    check_writable(target_file)
    if target_file.exists():
        raise UserError(f"{target_file}: is there already, and a recording is never overwritten; give another --record")
    rescue(target_file.parent, say)
    if config.ports.in_ is not None and config.ports.in_ == config.ports.out:
        raise UserError(
            f"ports.in and ports.out are both {config.ports.out!r}: Antiphon would answer itself; give two different ports"
        )
    engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
    source = RtMidiInput(config.ports.backend, config.ports.in_)
    target = RtMidiOutput(config.ports.backend, config.ports.out)
    recorder = Recorder(target_file.with_suffix(SUFFIX), config.sync.tempo_bpm, config.sync.beats_per_bar)
    player = Player(engine, worker_setup(config), source, target, recorder, say)

    def end(number: int, _: FrameType | None) -> None:
        player.stop("Ctrl-C" if number == signal.SIGINT else "asked to end")

    # A terminal that is closed hangs up (SIGHUP; SIGBREAK on Windows): its notes must be released too.
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")]
    handlers = {number: signal.signal(number, end) for number in numbers if number is not None}
    try:
        recorder.open()
        try:
            ready = player.prepare()
        except BaseException:
            recorder.discard()
            raise
        if ready.notice:
            say(ready.notice)
        follows = (
            "MIDI clock" if config.sync.source == "clock" else f"{config.sync.tempo_bpm:g} bpm from your first note"
        )
        say(f"{source.name} listens, {target.name} answers ({source.backend_in_use}); {config.mode.name}, {follows}; ")
        say(f"model {ready.model} on {ready.provider}; recording to {target_file}; Ctrl-C ends")
        session = player.run(config.run.seconds, config.run.bars)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if engine.counts.player_notes or engine.counts.notes:
        recorder.finish(target_file)
        say(f"{session.ended}; {target_file} is written")
    else:
        recorder.discard()
        say(f"{session.ended}; nothing was played, nothing is recorded")
    print(summary(report(engine, session)), flush=True)


def rescue(folder: Path, say: Callable[[str], None]) -> None:
    """Make .mid files of the journals that a killed session left in `folder`."""
    for journal in find_unfinished(folder):
        saved = next(
            path
            for number in count()
            if not (path := journal.with_name(f"{journal.stem}-rescued{f'-{number}' if number else ''}.mid")).exists()
        )
        with suppress(UserError):
            salvage(journal, saved)
            say(f"an earlier session was cut off: what it recorded is in {saved}")
