"""The engine: the player's MIDI in, Antiphon's MIDI out, both stamped with host time. Pure: no I/O, no clock, no threads.

    handle(message, stamp_ns)    what came in           -> the player's state, requests to the composer
    receive(reply, now_ns)       what the composer says -> the scheduler
    poll(now_ns)                 what is due            -> messages to send
    wake_ns()                    when to poll next

Everything is decided at musical moments, never at the moment some thread got round to it: a decision that was due before
an event is taken before that event, with the boundary it would have had in time. So a real-time run and a simulated
one play the same notes as long as no deadline is missed. Decisions fall half a tick after their tick, so that they never
coincide with what is played on the grid.
"""

from __future__ import annotations

from realtime import midi
from realtime.core.answers import Answers
from realtime.core.clocksync import ClockFollower, Transport
from realtime.core.counts import Counts
from realtime.core.dialogue import (
    Advance,
    Bar,
    Extend,
    KeyUp,
    Plan,
    Planned,
    PlayerNote,
    Proposed,
    Relocate,
    Reply,
    Request,
    Retempo,
    Steer,
    Turn,
)
from realtime.core.echo import EchoGuard
from realtime.core.ledger import Ledger
from realtime.core.modes import Mode, PlayerState
from realtime.core.scheduler import PlannedNote, Scheduler, Sent
from realtime.core.settings import EngineSettings
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.music.cells import cell_at
from realtime.music.controls import KNOBS
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import tempo_bin

_HALF_TICK = PULSES_PER_TICK // 2
_LONG_AGO = -(1 << 40)


class Engine:
    """See the module's docstring. One thread calls it."""

    def __init__(self, settings: EngineSettings, tempo: TempoMap) -> None:
        self.settings = settings
        self.tempo = tempo
        self.grid = BeatGrid(settings.bars)
        self.ledger = Ledger()
        self.scheduler = Scheduler(self.ledger)
        self.player = PlayerState(settings.rest_ticks)
        self.mode_name = settings.mode
        self.counts = Counts()
        self.controls = settings.controls
        self.follower = ClockFollower(tempo) if settings.follow_clock else None
        self.rolling = False
        self._echo = EchoGuard()
        self._requests: list[Request] = []
        self._sends: list[Sent] = []
        self._turn: Turn | None = None
        self._planned_until = 0
        self._generation = 0
        self._final = _LONG_AGO  # the last plan's boundary
        self._boundaries: list[tuple[int, int]] = []  # (generation, boundary) of plans that are not complete yet
        self._answers = Answers()
        self._decided_pulse = _LONG_AGO
        self._next_beat = self.grid.next_beat(1)  # the composer is told that it comes, unless a turn is on
        self._next_cell = sum(cell_at(self.grid, 0))  # and told when it comes, turn or no turn
        self._told_tempo = tempo_bin(settings.bpm)

    @property
    def mode(self) -> Mode:
        """The mode being played."""
        return self.settings.modes[self.mode_name]

    @property
    def turn(self) -> Turn | None:
        """The turn that is being planned or played."""
        return self._turn

    def feeds_back(self, now_ns: int) -> bool:
        """Whether so many of our own notes came back in that the output must be wired to the input."""
        return self._echo.tripped(now_ns)

    def take_requests(self) -> list[Request]:
        """What to ask the composer, in order. Empties the list."""
        requests, self._requests = self._requests, []
        return requests

    # --- what comes in ---

    def handle(self, message: bytes, stamp_ns: int) -> None:
        """One canonical message (`midi.normalise`) that arrived at `stamp_ns`."""
        kind = midi.kind(message)
        if kind >= midi.SYSEX:
            self._system(message, stamp_ns)
        elif self._echo.is_echo(message, stamp_ns):
            self.counts.echoes += 1
        elif kind == midi.PROGRAM:
            names = list(self.settings.modes)
            if self.settings.program_changes_mode and message[1] < len(names):
                self.set_mode(names[message[1]], stamp_ns)
        elif kind in (midi.NOTE_ON, midi.NOTE_OFF, midi.CONTROL):
            if not self.rolling:
                if kind == midi.CONTROL:
                    self._steer(message)
                if kind != midi.NOTE_ON or self.follower is not None:
                    return
                self.rolling = True
                self.tempo.locate(stamp_ns, 0)  # the first note is the downbeat
            pulse = self.tempo.pulse_at(stamp_ns)
            self.counts.missed_deadlines += pulse < self._decided_pulse  # it came too late for what was decided since
            self._decide_until(pulse)
            tick = round(pulse / PULSES_PER_TICK)
            if kind == midi.CONTROL:
                self._control(message, pulse, tick)
            elif message[1] == self.settings.trigger_key:
                if kind == midi.NOTE_ON:
                    self.player.trigger_tick = tick
            elif kind == midi.NOTE_ON:
                self._note_on(message, pulse, tick, stamp_ns)
            else:
                self._note_off((midi.channel(message), message[1]), pulse, tick)
            self._decide(pulse)

    def set_mode(self, name: str, now_ns: int) -> None:
        """Change the mode while playing: the turn in progress ends here, what already sounds ends as planned."""
        if name == self.mode_name:
            return
        if not self.rolling:
            self.mode_name = name
            return
        pulse = self.tempo.pulse_at(now_ns)
        self._decide_until(pulse)
        self._drop_turn(self._boundary(now_ns))
        self.mode_name = name
        self._decide(pulse)

    def composer_is_new(self, now_ns: int) -> None:
        """The composer was replaced and knows nothing: go on with an empty context. What is planned is still played."""
        self._requests[:] = [Steer(self.controls)]
        self._turn = None
        self._generation += 1
        self._told_tempo = tempo_bin(self.settings.bpm)
        if self.rolling:
            pulse = self.tempo.pulse_at(now_ns)
            self._requests.append(Relocate(pulse // PULSES_PER_TICK))
            self._decide(pulse)

    def _note_on(self, message: bytes, pulse: int, tick: int, stamp_ns: int) -> None:
        key = (midi.channel(message), message[1])
        note = PlayerNote(tick, message[1], message[2], self.settings.player_parts[key[0]])
        self.counts.player_notes += 1
        self.player.note_on(tick, key)
        if self.mode.voices:
            self._plan(tick + 1, note, Turn(tick, tick + 1, self.mode.voices), tick + 1)
            self._answers.ask(self._generation, key, pulse)
            self.counts.turns += 1
        elif self._turn is not None and self.mode.yields:
            self._hush(pulse, tick, note)
        else:
            self._plan(max(self._boundary(stamp_ns), tick + 1), note, self._turn, self._planned_until)

    def _note_off(self, key: tuple[int, int], pulse: int, tick: int) -> None:
        if key not in self.player.down:
            return
        self.player.note_off(tick, key)
        if all(pitch != key[1] for _, pitch in self.player.down):
            self._requests.append(KeyUp(tick, key[1]))
            if self._turn is not None:  # planned while the key was down: the model has to hear that it is not
                boundary = max(self._boundary(self.tempo.ns_at(pulse)), tick + 1)
                self._plan(boundary, None, self._turn, self._planned_until)
        for channel, pitch in self._answers.key_up(key, pulse):
            self.ledger.hold_until(channel, pitch, pulse)

    def _control(self, message: bytes, pulse: int, tick: int) -> None:
        number, value = message[1], message[2]
        if number in (midi.ALL_SOUND_OFF, midi.ALL_NOTES_OFF):
            # Some DAWs send this on play: the keys are up, and nothing is meant by it musically.
            for key in [key for key in self.player.down if key[0] == midi.channel(message)]:
                self._note_off(key, pulse, tick)
        elif number == self.settings.trigger_cc:
            if value >= 64:
                self.player.trigger_tick = tick
        else:
            self._steer(message)

    def _steer(self, message: bytes) -> None:
        """A controller of the knobs' turns its knob; of others nothing is known."""
        first = self.settings.controls_cc
        if first is not None and 0 <= message[1] - first < len(KNOBS):
            self.controls = self.controls.turned(message[1] - first, message[2])
            self._requests.append(Steer(self.controls))

    def _system(self, message: bytes, stamp_ns: int) -> None:
        if self.follower is None:
            return
        if message[0] == midi.CLOCK and self.rolling:
            self._decide_until(self.tempo.pulse_at(stamp_ns))
        pulse, was_running = self.tempo.pulse_at(stamp_ns), self.follower.running
        change = self.follower.handle(message, stamp_ns)
        if self.follower.running and not was_running:
            self._decided_pulse = _LONG_AGO  # time begins with this clock, whatever was thought of it before
        if change is None:
            return
        self._sends += [Sent(pulse, off, 0) for off in self.ledger.release_all()]
        self.scheduler.clear()
        self._turn = None
        self._answers.clear()
        self.counts.jumps += 1
        self.player = PlayerState(self.settings.rest_ticks)
        self.rolling = change in (Transport.START, Transport.CONTINUE) or (change is Transport.LOCATE and self.rolling)
        self._generation += 1
        self._boundaries.append((self._generation, _LONG_AGO))
        self._decided_pulse = self._final = _LONG_AGO
        if self.rolling:
            tick = self.follower.position_pulse // PULSES_PER_TICK
            self._next_beat = self.grid.next_beat(tick + 1)
            self._next_cell = sum(cell_at(self.grid, tick))
            self._requests.append(Relocate(tick))

    # --- what the composer says ---

    def receive(self, reply: Reply, now_ns: int) -> None:
        """A note of a plan, or word of how far the plan has come. Notes of a plan that was replaced are refused."""
        if isinstance(reply, Planned):
            self.counts.late_plans += reply.late
            if reply.call_ns:
                self.counts.plan_ns.append(sum(reply.call_ns))
            return
        if not isinstance(reply, Proposed):
            self.counts.rejected += reply.rejected
            self.counts.step_ns.extend(reply.step_ns)
            # Replies come in order: of what was asked before, nothing more will be said.
            self._boundaries = [made for made in self._boundaries if made[0] > reply.generation]
            self._answers.complete(reply.generation)
            return
        note = reply.note
        if any(made > reply.generation and note.tick >= boundary for made, boundary in self._boundaries):
            return
        channel = self.settings.channels[note.part]
        onset_pulse, duration_pulse = note.tick * PULSES_PER_TICK, note.duration * PULSES_PER_TICK
        answer = self._answers.of(reply.generation)
        if answer is not None:
            onset_pulse = answer.onset_pulse
            duration_pulse = answer.add((channel, note.pitch), duration_pulse)
        elif self.tempo.ns_at(onset_pulse) < now_ns:
            self.counts.missed_deadlines += 1
        self.scheduler.plan(
            PlannedNote(onset_pulse, channel, note.pitch, note.velocity, duration_pulse, reply.generation)
        )
        if answer is not None:  # it is due already: from now on it is the ledger that knows when it ends
            self._collect_due(now_ns)

    # --- what goes out ---

    def poll(self, now_ns: int) -> list[Sent]:
        """Take the decisions that are due, and return what is to be sent now, in order."""
        if self.rolling:
            self._decide_until(self.tempo.pulse_at(now_ns))
            self._collect_due(now_ns)
        sends, self._sends = self._sends, []
        for sent in sends:
            self._echo.sent(sent.message, now_ns)
            self.counts.notes += midi.is_note_on(sent.message)
        return sends

    def wake_ns(self) -> int | None:
        """When there is something to do next although nothing comes in; None: nothing."""
        if self._sends:
            return 0
        if not self.rolling:
            return None
        pulses = [pulse for pulse in (self.scheduler.next_pulse(), self._next_decision()) if pulse is not None]
        return self.tempo.ns_at(min(pulses)) if pulses else None

    def stop(self) -> list[bytes]:
        """End everything: what is still to be sent, and the note-offs of all that sounds. Nothing is planned any more."""
        self.scheduler.clear()
        self._turn = None
        self.rolling = False
        sends, self._sends = self._sends, []
        return [*(sent.message for sent in sends), *self.ledger.release_all()]

    def _collect_due(self, now_ns: int) -> None:
        pulse = self.tempo.pulse_at(now_ns)
        self._sends += self.scheduler.due(pulse, pulse - self.tempo.pulse_at(now_ns - self.settings.late_ns))

    # --- whose turn it is ---

    def _boundary(self, ns: int) -> int:
        """The first tick that is not final yet at host time `ns`. It never goes back: what was fed by then stays."""
        return max(self._final, -(-self.tempo.pulse_at(ns + self.settings.commit_ns) // PULSES_PER_TICK))

    def _plan(
        self, boundary: int, note: PlayerNote | None, turn: Turn | None = None, until: int = 0, silence: bool = False
    ) -> None:
        """A new plan from `boundary` on: what the old one had there is taken back. With `silence`, all that it had is."""
        self._generation += 1
        self._final = boundary
        taken_back = _LONG_AGO if silence else boundary
        self._boundaries.append((self._generation, taken_back))
        if not (turn is not None and turn.voices):
            self.counts.retracted += len(self.scheduler.cancel(taken_back * PULSES_PER_TICK))
        self._requests.append(Plan(self._generation, boundary, note, self.mode.role, turn, until, silence))

    def _hush(self, pulse: int, tick: int, note: PlayerNote | None) -> None:
        """The turn is over and all that sounds of it, now."""
        self._turn = None
        self._sends += [Sent(pulse, off, 0) for off in self.ledger.release_all()]
        self._plan(tick, note, silence=True)

    def _drop_turn(self, boundary: int) -> None:
        if self._turn is not None:
            self._turn = None
            self._plan(boundary, None)

    def _decide_until(self, pulse: int) -> None:
        """Take every decision that was due by `pulse`, each at its own moment."""
        while (due := self._next_decision()) is not None and due <= pulse:
            self._decided_pulse = due
            self._decide(due)

    def _next_decision(self) -> int | None:
        tick = self._decided_pulse // PULSES_PER_TICK
        moments = [self.mode.deadline(self.player, self.grid), self._next_cell]
        if self._turn is None:
            moments += [self._next_beat]
            turn = self.mode.turn(tick, self.player, self.grid)
            moments += [turn.start - self.settings.prepare_ticks, turn.start] if turn is not None else []
        else:
            moments += [self._turn.end]
            if self._turn.end is None or self._planned_until < self._turn.end:
                moments += [self._planned_until - self.settings.lookahead_ticks]
        pulses = [moment * PULSES_PER_TICK + _HALF_TICK for moment in moments if moment is not None]
        return min((pulse for pulse in pulses if pulse > self._decided_pulse), default=None)

    def _decide(self, pulse: int) -> None:
        """Compare whose turn it is with what is being done, and act on the difference."""
        self._decided_pulse = max(self._decided_pulse, pulse)
        tick = (pulse - _HALF_TICK) // PULSES_PER_TICK
        boundary = self._boundary(self.tempo.ns_at(pulse))
        turn = self.mode.turn(tick, self.player, self.grid)
        if tick >= self._next_cell:
            self._close_cell(tick)
        if self._turn is not None and turn != self._turn:
            if self._turn.end is not None and tick >= self._turn.end:
                self._turn = None
            elif turn is None and self._turn.end is None:
                self._hush(pulse, tick + 1, None)  # the player has stopped: nothing rings on
            else:
                self._drop_turn(boundary)
        if self._turn is None and turn is not None and tick >= turn.start - self.settings.prepare_ticks:
            self._turn = turn
            self._planned_until = self._horizon(max(turn.start, boundary) + self.settings.lookahead_ticks)
            self.counts.turns += 1
            self._tell_tempo(pulse)
            self._plan(boundary, None, turn, self._planned_until)
        if self._turn is None and tick >= self._next_beat:
            self._requests.append(Advance(tick))
        if tick >= self._next_beat:
            self._next_beat = self.grid.next_beat(tick + 1)
        while self._turn is not None and tick >= self._planned_until - self.settings.lookahead_ticks:
            if self._horizon(self._planned_until + TICKS) == self._planned_until:
                break
            self._planned_until = self._horizon(self._planned_until + TICKS)
            self._requests.append(Extend(self._generation, self._planned_until))

    def _close_cell(self, tick: int) -> None:
        """A cell is over. By now nothing is asked for that lies more than a beat beyond the look-ahead: what comes of the cell
        is for the first one that begins no sooner."""
        start, length = cell_at(self.grid, tick)
        self._next_cell = target = start + length
        while target < tick + self.settings.lookahead_ticks + TICKS:
            target = sum(cell_at(self.grid, target))
        self._requests.append(Bar(start, target))

    def _horizon(self, tick: int) -> int:
        return tick if self._turn is None or self._turn.end is None else min(tick, self._turn.end)

    def _tell_tempo(self, pulse: int) -> None:
        """The model hears of the tempo when it begins a turn, if it has become another."""
        bpm = self.follower.bpm if self.follower is not None else self.tempo.bpm_at(pulse)
        if tempo_bin(bpm) != self._told_tempo:
            self._told_tempo = tempo_bin(bpm)
            self._requests.append(Retempo(bpm))
