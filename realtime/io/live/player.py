"""The live loop: it connects ports, clock and worker with the engine. Musical decisions are the engine's.

Threads: MIDI callbacks and the worker's reader put what they have into one inbox and return. Everything else happens on the
thread that calls `run`, which waits for the inbox or for the engine's next absolute deadline.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

from realtime import midi
from realtime.core.dialogue import Proposed, Reached, Reply
from realtime.core.engine import Engine
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.clock import now_ns
from realtime.io.live.composers import Came, Composers, Died, Said
from realtime.io.live.desk import Desk, Pressed
from realtime.io.live.flood import MODE_NS, MOST_PLANS, Flood, may_wait
from realtime.io.live.held import Held
from realtime.io.live.keeper import InputLost, Keeper, Looked, OutputLost
from realtime.io.live.model import Setup
from realtime.io.live.owed import Owed
from realtime.io.live.punctual import punctual, within
from realtime.io.live.session import Session, Sink
from realtime.io.live.speaker import Speaker
from realtime.io.live.tracks import LeftOn
from realtime.io.live.worker import Ready, Worker
from realtime.io.midi.ports import InputPort, OutputPort, PortLost
from realtime.music.chart import Chart

WATCH_NS = 500_000_000
COUNT_IN_NS = 500_000_000
"""From the start of a session to the first click that counts in."""
MOST_AT_ONCE = 64
"""Messages taken in before what is due is sent and the clock is looked at again."""
RELEASE_S, CLOSE_S = 1.0, 1.0
"""How long a driver may take to send the last note-offs, and to close."""
DELIVER_S = 0.1
"""A few of the longest periods a driver may have: whatever was sent is out by then."""
MOST_REJECTED = 16
NOTHING_LEGAL = "the model draws no legal notes, so nothing is played: its file may be damaged; see antiphon doctor"
_WAKE = object()


class Player:
    """One live session. `run` plays until `stop` is called (on any thread, or in a signal handler) or a limit is reached.

    `say` gets a line for the user whenever something happens that they should know.
    """

    def __init__(
        self,
        engine: Engine,
        setup: Setup,
        source: InputPort,
        target: OutputPort,
        sink: Sink,
        say: Speaker,
        desk: Desk | None = None,
    ) -> None:
        self.engine = engine
        self.session = Session()
        self._source, self._target, self._sink, self._say = source, target, sink, say
        self._desk = desk
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._keeper = Keeper(source, target, self._on_message, self._inbox.put)
        self._held = Held()
        self._composers = Composers(setup, engine, self._inbox.put, say)
        self._flood = Flood()
        self._program: tuple[bytes, int] | None = None
        self._mode_ns = 0
        self._rejected = 0  # draws since the last note
        self._last_bpm = 0.0
        self._owed = Owed()
        self._said: set[str] = set()
        self._before: deque[bytes] = deque(maxlen=1000)  # pedals and the like from before the first note
        self._stop_why: str | None = None
        self._pausing = False

    @property
    def worker(self) -> Worker | None:
        """The worker process in charge, if one is up."""
        return self._composers.worker

    def prepare(self, wait: bool = False) -> Ready:
        """Start the worker and open the ports; with `wait`, one that is not there is opened when it comes. Raises `UserError`,
        and KeyboardInterrupt where `stop` is called meanwhile; nothing is left open then."""
        try:
            ready = self._composers.start(lambda: self._stop_why is not None)
            for line in self._keeper.open(wait):
                self._say(line)
        except Exception:
            self._composers.close()
            if self._stop_why is not None:  # the signal may be why: it interrupts what waits in a driver
                raise KeyboardInterrupt from None
            raise
        return ready

    def swap(self, setup: Setup) -> None:
        """Play another model from some bar line on. On the loop's thread, or before `run`."""
        self._composers.swap(setup)

    def give(self, chart: Chart) -> None:
        """Another chart, from the next bar on. On any thread."""
        self._inbox.put(chart)

    def left_on(self, left: Iterable[LeftOn]) -> None:
        """What killed sessions left sounding: it is released as soon as somebody listens at this port. After `prepare`."""
        self._owed.left_on(one for one in left if one.port == self._target.name)

    def stop(self, why: str = "stopped") -> None:
        """End the session soon. Safe in a signal handler: it sets a variable and wakes the loop."""
        self._stop_why = self._stop_why or why
        self._inbox.put(_WAKE)

    def press(self, key: str, ns: int) -> None:
        """A key of the keyboard was pressed at `ns`. On any thread."""
        self._inbox.put(Pressed(key, ns))

    def pause(self) -> None:
        """Release what sounds and stop the process until it is told to go on (Ctrl-Z and `fg`). Safe in a signal handler."""
        self._pausing = True
        self._inbox.put(_WAKE)

    def run(
        self, seconds: float | None = None, bars: int | None = None, keep: Callable[[Session], None] | None = None
    ) -> Session:
        """Play. Whatever happens, every note that was sent is released, `keep` is called to write down what was played, and only
        then ports and worker are closed: a driver may never come back from that."""
        end_ns = now_ns() + int(seconds * 1e9) if seconds is not None else None
        if self.engine.transport.follower is not None:
            # Notes played before the first Start need a time in the recording too.
            self.engine.tempo.locate(now_ns(), 0)
        try:
            self._keeper.start()
            with punctual():
                try:
                    self._play(end_ns, bars)
                finally:
                    within(RELEASE_S, self._release)
            if keep is not None:
                keep(self.session)
        finally:
            self._close()
        return self.session

    def _play(self, end_ns: int | None, bars: int | None) -> None:
        watch_ns = now_ns() + WATCH_NS
        end_pulse: int | None = None
        self.engine.count_in(now_ns() + COUNT_IN_NS)
        while self._stop_why is None:
            if self._pausing:
                self._pause()
            now = now_ns()
            self._composers.act(now)
            self._change_mode(now)
            deadlines = [self.engine.wake_ns(), self._composers.wake_ns(), end_ns, watch_ns]
            if self._program is not None:
                deadlines.append(self._mode_ns)
            if self._desk is not None:
                deadlines.append(self._desk.look(now, self.session))
            if bars is not None and end_pulse is None and self.engine.rolling:
                here = max(
                    round(self.engine.tempo.pulse_at(now) / PULSES_PER_TICK), 0
                )  # what is counted in, is not played
                end_pulse = self.engine.grid.bar_start(here, bars) * PULSES_PER_TICK
            if end_pulse is not None and self.engine.rolling:
                deadlines.append(self.engine.tempo.ns_at(end_pulse))
            if now >= watch_ns:
                watch_ns = now + WATCH_NS
                self._watch(now)
            wait_s = (min(ns for ns in deadlines if ns is not None) - now_ns()) / 1e9
            with contextlib.suppress(queue.Empty):
                self._take(self._inbox.get(timeout=wait_s) if wait_s > 0 else self._inbox.get_nowait())
                for _ in range(MOST_AT_ONCE):
                    self._take(self._inbox.get_nowait())
            now = now_ns()
            if end_ns is not None and now >= end_ns:
                self.stop("the time is up")
            elif end_pulse is not None and self.engine.rolling and self.engine.tempo.pulse_at(now) >= end_pulse:
                self.stop("the bars asked for are played")
            else:
                self._send_due()
        for _ in range(self._inbox.qsize()):  # what came in before the end is recorded
            self._take(self._inbox.get_nowait())
        self.session.ended = self._stop_why

    # --- on the driver's thread ---

    def _on_message(self, message: bytes, stamp_ns: int) -> None:
        if may_wait(message, self._inbox.qsize()):
            self._inbox.put((message, stamp_ns))
        else:
            self.session.shed += 1

    # --- on the loop's thread ---

    def _take(self, item: object) -> None:
        match item:
            case (bytes() as data, int() as stamp_ns):
                if (message := midi.normalise(data)) is not None:
                    self._came_in(message, stamp_ns)
            case Said() | Died() | Came():
                now = now_ns()
                if (reply := self._composers.take(item, now)) is not None:
                    self._count_rejected(reply)
                    self.engine.receive(reply, now)
            case Chart():
                self.engine.give(item, now_ns())
            case InputLost(line):
                if line:
                    self._say(line)
                for message in self._held.releases():
                    self._came_in(message, now_ns())
            case OutputLost(line):
                self._say(line)
                self._owed.lost(self.engine.ledger.sounding())
            case Looked():
                self._looked(item)
            case Pressed():
                self._pressed(item)
            case _:  # _WAKE: to look again
                pass

    def _looked(self, ports: Looked) -> None:
        for line in ports.lines:
            self._say(line)
        if ports.output:
            for message in self._owed.due(ports.listeners, self.engine.ledger.sounding().__contains__):
                self._send(message)

    def _pressed(self, pressed: Pressed) -> None:
        if pressed.key == "q":
            self.stop("q")
        elif pressed.key == "p":
            self._silence()
            for message in midi.panic(sorted({*self.engine.settings.channels})):
                self._send(message)
            self._anew()
            self._say("panic: every note is released")
        elif self._desk is not None and (line := self._desk.pressed(pressed)):
            self._say(line)

    def _count_rejected(self, reply: Reply) -> None:
        """A model may draw what is no legal note now and then. One that draws nothing else is damaged."""
        if isinstance(reply, Proposed):
            self._rejected = 0
        elif isinstance(reply, Reached):
            self._rejected += reply.rejected
            if self._rejected >= MOST_REJECTED:
                self._say_once(NOTHING_LEGAL)

    def _came_in(self, message: bytes, stamp_ns: int) -> None:
        """A message of the player's, or of whoever sends the clock."""
        engine = self.engine
        jumps = engine.counts.jumps
        self._held.heard(message)
        if midi.kind(message) == midi.PROGRAM:
            self._program = message, stamp_ns
            self._change_mode(now_ns())
        elif midi.is_note_on(message) and not (
            self._flood.is_meant(message, stamp_ns) and len(engine.turns.plans) < MOST_PLANS
        ):
            self.session.shed += 1
            engine.counts.player_notes += engine.rolling
        else:
            engine.handle(message, stamp_ns)
        follower = engine.transport.follower
        if engine.counts.jumps != jumps and engine.rolling and follower is not None:
            self._sink.jump(follower.position_pulse)
        if message[0] < midi.SYSEX:
            self._before.append(message)
            if engine.rolling or follower is not None:
                pulse = engine.tempo.pulse_at(stamp_ns)
                while self._before:
                    self._write("player", pulse, self._before.popleft())
        self._send_due()

    def _change_mode(self, now: int) -> None:
        """A program change that waits, where the last one was long enough ago."""
        if self._program is not None and now >= self._mode_ns:
            mode = self.engine.mode_name
            self.engine.handle(*self._program)
            self._program, self._mode_ns = None, now + MODE_NS
            if self.engine.mode_name != mode:
                self._say(f"mode: {self.engine.mode_name} (program change)")

    def _send_due(self) -> None:
        now = now_ns()
        for sent in self.engine.poll(now):
            self._send(sent.message)
            if sent.due_pulse is not None:
                self.session.schedule_error_ns.append(now_ns() - self.engine.tempo.ns_at(sent.due_pulse))
            self._write("antiphon", sent.pulse, sent.message)
        for request in self.engine.take_requests():
            for reply in self._composers.ask(request, now):
                self.engine.receive(reply, now)

    def _write(self, direction: str, pulse: int, message: bytes) -> None:
        self._sink.write(direction, pulse, message)
        self.session.recorded += 1

    def _send(self, message: bytes) -> None:
        """What a port that is gone does not take is as if nobody listened."""
        try:
            self._target.send(message)
        except PortLost:
            here = {(midi.channel(message), message[1])} if midi.is_note_off(message) else set()
            self._owed.lost(self.engine.ledger.sounding() | here)
        if midi.is_note_off(message):
            self._owed.released(message)

    def _watch(self, now: int) -> None:
        """Twice a second: what is the user to know?"""
        if self._source.fault is not None:
            self._say_once(f"a message that came in could not be handled: {self._source.fault!r}")
        if self.engine.feeds_back:
            self._say_once(
                "what Antiphon sends comes back in: its output is connected to its input (the notes are ignored)"
            )
        for notice in self.engine.take_notices():
            self._say_once(notice)
        if self._sink.trouble:
            self._say_once(self._sink.trouble)
        if self.session.shed:
            self._say_once("more comes in than anyone can play: some of it is not answered")
        if self.engine.rolling:
            bpm = self.engine.tempo.bpm_at(self.engine.tempo.pulse_at(now))
            if self.engine.transport.follower is not None:
                bpm = self.engine.transport.follower.bpm
            if abs(bpm - self._last_bpm) > 0.5:
                self._last_bpm = bpm
                self._sink.tempo(self.engine.tempo.pulse_at(now), bpm)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _pause(self) -> None:
        """Ctrl-Z: nothing sounds while the process stands still, and the terminal is the shell's."""
        self._silence()
        self._lend_terminal(True)
        time.sleep(DELIVER_S)
        os.kill(os.getpid(), signal.SIGSTOP)
        self._lend_terminal(False)
        self._pausing = False
        self._composers.wait_no_longer()
        self._anew()

    def _lend_terminal(self, lent: bool) -> None:
        desk = self._desk
        if desk is not None:
            within(DELIVER_S, lambda: desk.pause(lent))

    def _silence(self) -> None:
        """End every note that sounds."""
        pulse = self.engine.tempo.pulse_at(now_ns())
        for message in self.engine.ledger.release_all():
            self._send(message)
            self._write("antiphon", pulse, message)

    def _anew(self) -> None:
        """On from here, with an empty context."""
        self.engine.scheduler.clear()
        self.engine.composer_is_new(now_ns())

    def _release(self) -> None:
        """Release what sounds. A port that is gone takes its notes with it."""
        pulse = self.engine.tempo.pulse_at(now_ns())
        messages = self.engine.stop()
        while self._before:  # song time never moved
            self._write("player", 0, self._before.popleft())
        for message in messages:  # first, as nobody knows whether the driver comes back
            self._write("antiphon", pulse, message)
        self.session.left_hanging = self._owed.left() or sum(map(midi.is_note_off, messages))
        if not self._keeper.output_is_there():
            return
        self.session.left_hanging = sum(map(midi.is_note_off, messages))
        for message in messages:
            with contextlib.suppress(PortLost):
                self._target.send(message)
                self.session.left_hanging -= midi.is_note_off(message)

    def _close(self) -> None:
        # A driver that fails to close, or never comes back, keeps nobody from ending.
        self.session.closed = within(CLOSE_S, self._keeper.stop, self._source.close, self._target.close)
        self._composers.close()
        with contextlib.suppress(queue.Empty):
            while True:
                item = self._inbox.get_nowait()
                if isinstance(item, Came):
                    item.worker.close()
        self.session.restarts = self._composers.restarts
