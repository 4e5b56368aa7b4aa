"""`antiphon jam`: ports, worker, recorder and signals around the live loop, and the summary at its end."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from realtime.config import Config
from realtime.core.engine import Engine
from realtime.core.tempo import TempoMap
from realtime.errors import UserError, counted
from realtime.io.files.whole import at_home, check_writable
from realtime.io.live.chart_watch import ChartWatch
from realtime.io.live.desk import HELP, Desk
from realtime.io.live.guardian import Guarded
from realtime.io.live.journal import SUFFIX, find_unfinished
from realtime.io.live.player import Player
from realtime.io.live.recorder import REFUGE_PREFIX, Recorder, free_name, refuges, salvage
from realtime.io.live.screen import Screen
from realtime.io.live.session import Session
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.speaker import Speaker
from realtime.io.live.take import report, summary
from realtime.io.live.tracks import LeftOn
from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput

LAST_S = 2.0
"""How long the last lines may take: those that are still to be drawn, and the summary after them."""
END_S = 2.5
"""How long closing may take once the recording is written, and ending once it was asked for twice."""


def jam(config: Config, write_line: Callable[[str], None]) -> None:
    """Play until Ctrl-C, SIGTERM or a limit of the configuration; then release, record, and print one summary.

    Raises `UserError` before anything sounds, and then leaves nothing behind.
    """
    target_file = recording_file(config.run.record)
    if config.ports.in_ is not None and config.ports.in_ == config.ports.out:
        raise UserError(
            f"--in and --out are both {config.ports.out!r}: Antiphon would answer itself; give two different ports"
        )
    keys = Keys()
    screen = Screen(keys) if sys.stderr.isatty() and not config.run.quiet else None
    say = Speaker(write_line if screen is None else screen.line)
    show = Speaker(screen.state, most=1) if screen is not None else None

    def print_last(text: str) -> None:
        say.close()
        if screen is not None:
            screen.close()
        print(text, flush=True)

    print_out = Speaker(print_last)
    try:
        closed = _play(config, target_file, say, print_out, show, screen, keys)
    finally:
        said = [print_out.close(LAST_S), say.close()]
        if show is not None and screen is not None:
            show.close()
            screen.close()
        faulthandler.cancel_dump_traceback_later()
    if not all([*said, closed]):
        os._exit(0)  # a screen or a driver stands still: the interpreter would wait for it on its way out


class Keys:
    """Where keys of the keyboard go: to the player, once there is one."""

    def __init__(self) -> None:
        self.player: Player | None = None

    def __call__(self, key: str, ns: int) -> None:
        if self.player is not None:
            self.player.press(key, ns)


def _play(
    config: Config,
    target_file: Path,
    say: Speaker,
    print_out: Speaker,
    show: Speaker | None,
    screen: Screen | None,
    keys: Keys,
) -> bool:
    """Returns whether every MIDI driver let go at the end."""
    engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
    source = RtMidiInput(config.ports.backend, config.ports.in_, config.ports.name)
    target = RtMidiOutput(config.ports.backend, config.ports.out, config.ports.name)
    sync = config.sync
    recorder = Recorder(target_file.with_suffix(SUFFIX), sync.tempo_bpm, sync.beats_per_bar, sync.compound)
    guarded = Guarded(target, config.ports.out is not None)
    desk = Desk(engine, recorder, show, screen.pause) if show is not None and screen is not None else None
    player = Player(engine, worker_setup(config), source, guarded, desk or recorder, say, desk)
    keys.player = player
    with _signals(player, lambda: player.swap(worker_setup(config))):
        left_on = rescue(target_file.parent, say)
        recorder.open(numbered=config.run.record is None)
        target_file = recorder.journal_path.with_suffix(target_file.suffix)
        try:
            ready = player.prepare(config.ports.wait)
        except BaseException:
            recorder.discard()
            raise
        recorder.output(target.name)
        player.left_on(left_on)
        if ready.notice:
            say(ready.notice)
        say(f"{source.name} listens, {target.name} answers ({target.backend}); {config.mode.name}, {_tempo(config)}")
        say(f"model {ready.model} on {ready.provider}; recording to {target_file}; Ctrl-C ends")
        if desk is not None:
            say(f"keys: {HELP}")

        def keep(session: Session) -> None:
            try:
                if session.recorded:
                    saved = recorder.finish(target_file)
                    say(f"{session.ended}; {saved.path} is written")
                    if saved.why_there:
                        say(saved.why_there)
                else:
                    recorder.discard()
                    say(f"{session.ended}; nothing was played, nothing is recorded")
            finally:
                print_out(summary(report(engine, session)))
                _end_within(END_S)

        chart = ChartWatch(config.chords.chart or "", config.chords.german, player.give, say)
        chart.start()
        session = player.run(config.run.seconds, config.run.bars, keep)
        chart.close()
    return session.closed


def _tempo(config: Config) -> str:
    """Whose tempo it is, and from when on, for the user."""
    internal = f"{config.sync.tempo_bpm:g} bpm"
    if not (config.sync.count_in or config.play.intro):
        internal += " from your first note"
    return {"clock": "MIDI clock", "listen": "the tempo that you play", "internal": internal}[config.sync.source]


def recording_file(given: Path | None) -> Path:
    """Where the recording goes. Raises `UserError` where it could not be written later."""
    target_file = at_home(given) if given is not None else Path(time.strftime("antiphon-%Y%m%d-%H%M%S.mid"))
    if target_file.suffix.lower() != ".mid":
        raise UserError(f"{target_file}: a recording is a .mid file; give --record a name such as take.mid")
    check_writable(target_file)
    if given is not None and os.path.lexists(target_file):  # a link that leads nowhere is something, too
        raise UserError(f"{target_file}: is there already, and a recording is never overwritten; give another --record")
    return target_file


@contextmanager
def _signals(player: Player, swap: Callable[[], None]) -> Iterator[None]:
    """What ends the session, what lets it pause, and what has the model file read again (SIGUSR1). A terminal that is closed
    hangs up (SIGHUP; SIGBREAK on Windows). Whoever asks twice means it, whatever a driver or a disk does meanwhile."""
    asked = 0

    def end(number: int, _: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        player.stop("Ctrl-C" if number == signal.SIGINT else "asked to end")
        if asked > 1:
            _end_within(END_S)
            signal.signal(number, signal.SIG_DFL)

    meant: dict[str, Callable[[int, FrameType | None], None]] = dict.fromkeys(
        ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK"), end
    )
    meant["SIGTSTP"] = lambda *_: player.pause()
    meant["SIGUSR1"] = lambda *_: swap()
    numbers = {getattr(signal, name): handler for name, handler in meant.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_within(seconds: float) -> None:
    """All that was to be kept is kept: end the process by then, whatever a driver does. One that never returns from closing may
    hold the interpreter's lock, so that no thread of Python's could do it."""
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115  # it has to stay open
    faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)


def rescue(folder: Path, say: Callable[[str], None]) -> list[LeftOn]:
    """Make .mid files of the journals that killed sessions left in `folder`, or in a refuge. Whatever such a file is, it keeps
    nobody from playing. Returns what those sessions left sounding."""
    left_on = []
    journals = find_unfinished(folder)
    for place in {path.parent for path in refuges(folder / f"any{SUFFIX}")} - {folder.absolute()}:
        journals += find_unfinished(place, f"{REFUGE_PREFIX}*")
    for journal in journals:
        stem = f"{journal.stem}-rescued"
        try:
            try:
                saved = salvage(journal, free_name(folder / f"{stem}.mid"))
            except UserError:  # the folder may be full, and the journal's own not
                saved = salvage(journal, free_name(journal.with_name(f"{stem}.mid")))
        except Exception as error:  # a file is no reason not to play
            say(f"{journal}: an earlier session's recording cannot be rescued ({error}); it is left as it is")
            continue
        damage = f" (damaged: {counted(saved.lost, 'byte')} lost)" if saved.lost else ""
        say(f"an earlier session was cut off: what it recorded is in {saved.path}{damage}")
        if saved.left_on is not None:
            left_on.append(saved.left_on)
    return left_on
