"""The engine: the player's MIDI in, Antiphon's MIDI out, both stamped with host time. Pure: no I/O, no clock, no threads.

    handle(message, stamp_ns)    what came in           -> the player's state, requests to the composer
    receive(reply, now_ns)       what the composer says -> the scheduler
    poll(now_ns)                 what is due            -> messages to send
    wake_ns()                    when to poll next

Every decision is taken for a musical moment, never for the moment at which some thread got round to it: a decision that
was due before an event is taken before that event, with the boundary that it would have had in time. So a real-time run
and a simulated one play the same notes as long as no deadline is missed.

Its parts: `transport` (where song time is), `song_time` (what moves it),
`turns` (whose turn it is, what the composer is asked), `knobs`, `output` (what
is planned, what sounds, what is to be sent).
"""

from __future__ import annotations

from realtime import midi
from realtime.core.calls import FEEL, NEXT, TRIGGER, Calls
from realtime.core.chord_keys import SETTLE_NS
from realtime.core.counts import Counts
from realtime.core.dialogue import (
    Muster,
    Planned,
    PlayerNote,
    Proposed,
    Reached,
    Relocate,
    Remember,
    Reply,
    Request,
    Steer,
    Turn,
)
from realtime.core.echo import EchoGuard
from realtime.core.heard import Heard
from realtime.core.knobs import Knobs, Parts
from realtime.core.modes import Mode
from realtime.core.mpe import Mpe
from realtime.core.output import Output
from realtime.core.pedals import Pedals
from realtime.core.planned_chords import PlannedChords
from realtime.core.player_state import EARLY_TICKS, Key, PlayerState
from realtime.core.quotes import Quotes
from realtime.core.remarks import Remarks
from realtime.core.scheduler import PlannedNote, Sent
from realtime.core.settings import EngineSettings
from realtime.core.song_time import SongTime, click_of
from realtime.core.tempo import PULSES_PER_TICK, TempoMap
from realtime.core.transport import Transport
from realtime.core.turns import Turns
from realtime.music.chart import Chart


class Engine:
    """See the module's docstring. One thread calls it."""

    def __init__(self, settings: EngineSettings, tempo: TempoMap) -> None:
        self.settings = settings
        self.tempo = tempo
        self.counts = Counts()
        self.transport = Transport(tempo, settings.follow_clock, settings.bars[0][1])
        self.output = Output(tempo, settings.late_ns, click_of(settings))
        self.ledger, self.scheduler = self.output.ledger, self.output.scheduler
        self.quotes, self.heard = Quotes(), Heard()
        self.turns = Turns(settings, self.transport, self.output, self.counts, self.heard)
        self.grid = self.turns.grid
        self.leading = self.turns.leading
        self.knobs = Knobs(settings.controls, settings.controls_cc)
        self.muster = Parts(settings.parts, settings.parts_cc)
        self.pedals = Pedals()
        self.mpe = Mpe(settings.player_parts, self.pedals)
        self.song_time = SongTime(settings, self.transport, self.turns, self.output, self.pedals, self.counts)
        self.calls = Calls(settings)
        self._called: list[str] = []
        self._remarks = Remarks(bool(settings.parts))
        self._together: list[PlannedNote] = []
        """Notes of one onset which came after it: they are sent together, as soon as all of them are known."""
        self._echo = EchoGuard()
        self.chords = PlannedChords()

    @property
    def rolling(self) -> bool:
        """Whether song time moves."""
        return self.transport.rolling

    @property
    def player(self) -> PlayerState:
        """What the player is doing."""
        return self.turns.player

    @property
    def mode_name(self) -> str:
        """The name, among `settings.modes`, of the mode being played."""
        return self.turns.mode_name

    @property
    def mode(self) -> Mode:
        """The mode being played."""
        return self.turns.mode

    @property
    def turn(self) -> Turn | None:
        """The turn that is being planned or played."""
        return self.turns.turn

    @property
    def feeds_back(self) -> bool:
        """Whether the output is wired to the input: every note that is sent comes in again."""
        return self._echo.is_wired

    def take_requests(self) -> list[Request]:
        """Take the requests that wait for the composer, in order."""
        requests, self.turns.requests = self.turns.requests, []
        return requests

    # --- what comes in ---

    def handle(self, message: bytes, stamp_ns: int) -> None:
        """One canonical message (`midi.normalise`) that arrived at `stamp_ns`."""
        if midi.kind(message) >= midi.SYSEX:
            self.song_time.system(message, stamp_ns)
            return
        self._settle_chord(stamp_ns)
        is_echo = self._echo.is_echo(message, stamp_ns)
        self._release(stamp_ns)
        if is_echo:
            self.counts.echoes += 1
        else:
            self._channel_message(message, stamp_ns)

    def _release(self, now_ns: int) -> None:
        """Handle what was held back as an echo and is none."""
        for message, stamp_ns in self._echo.released(now_ns):
            self.counts.echoes -= 1
            self._channel_message(message, stamp_ns)

    def _channel_message(self, message: bytes, stamp_ns: int) -> None:
        """A channel message of the player's."""
        kind = midi.kind(message)
        self.mpe.heard(message, stamp_ns)
        if kind == midi.PROGRAM:
            names = list(self.settings.modes)
            if midi.channel(message) == self.settings.program_channel and message[1] < len(names):
                self.set_mode(names[message[1]], stamp_ns)
        elif kind in (midi.NOTE_ON, midi.NOTE_OFF, midi.CONTROL) and not self.song_time.tapped(kind, message, stamp_ns):
            self.song_time.before(kind, message, stamp_ns)
            if self.rolling:
                self._played(kind, message, stamp_ns)
                for again, again_ns in self.song_time.after(message, stamp_ns):
                    self.counts.player_notes -= midi.is_note_on(again)
                    self._played(midi.kind(again), again, again_ns)
            elif kind == midi.CONTROL:
                self._control(message, stamp_ns)
            elif kind == midi.NOTE_ON:  # before the sender of the clock has started
                self.counts.player_notes += 1

    def tap(self, now_ns: int) -> None:
        """A beat was tapped: from the second tap on it sets the tempo, unless that is a MIDI clock's."""
        self.song_time.tap(now_ns)

    def count_in(self, now_ns: int) -> None:
        """Begin to count in now, if bars to count are set and no MIDI clock is followed."""
        self.song_time.count_in(now_ns)

    def begin(self) -> None:
        """Song time runs from host time 0 on, which is bar 1, as after a count-in."""
        self.transport.rolling = True
        self.turns.counted_in()

    def take_notices(self) -> list[str]:
        """What the user should know, a line each; every line is returned once."""
        notices: list[str] = []
        if self.turns.stuck:
            keys = ", ".join(str(pitch) for _, pitch in self.turns.stuck)
            notices.append(
                f"key {keys} has been down for 16 beats while others came and went: it no longer counts as playing"
            )
            self.turns.stuck.clear()
        notices += self._called + self.leading.notices
        self._called.clear()
        self.leading.notices.clear()
        notices += self._remarks.of(self.mode, self.muster.playing, self.knobs.controls)
        return notices + self.song_time.take_notices()

    def set_mode(self, name: str, now_ns: int) -> None:
        """Change the mode while playing: the turn in progress ends here, what already sounds ends as planned."""
        if name == self.mode_name:
            return
        if self.rolling:
            self.turns.change_mode(name, now_ns)
        else:
            self.turns.mode_name = name

    def again(self, now_ns: int) -> Turn | None:
        """Take the last answer back, and answer the same phrase once more: see `Turns.ask_again`."""
        return self.turns.ask_again(self.transport.pulse_at(now_ns)) if self.rolling else None

    def _played(self, kind: int, message: bytes, stamp_ns: int) -> None:
        """A note-on, note-off or controller of the player's while song time moves."""
        pulse = self.transport.pulse_at(stamp_ns)
        # After a decision that should have known of this event, it is too late.
        self.counts.missed_deadlines += pulse < self.turns.decided_pulse
        self.turns.decide_until(pulse)
        tick = round(pulse / PULSES_PER_TICK)
        is_control = kind == midi.CONTROL
        ended = self._control(message, stamp_ns, tick) if is_control else self._key(kind, message, pulse, stamp_ns)
        for key in ended:
            self.turns.key_up(key, pulse, tick)
            self.heard.key_up(tick, key[1])
        self.turns.decide(pulse)

    def _key(self, kind: int, message: bytes, pulse: int, stamp_ns: int) -> list[Key]:
        """A key went down or up. Returns the keys that stop to sound."""
        tick = round(pulse / PULSES_PER_TICK)
        channel, pitch, velocity = midi.channel(message), message[1], message[2]
        if (call := self.calls.of_key(pitch)) is not None:
            if kind == midi.NOTE_ON:
                self._call(call, stamp_ns, tick)
            return []
        if channel == self.settings.chord_channel:
            self._chord_key(kind, (channel, pitch), tick, stamp_ns)
            return []
        if kind == midi.NOTE_OFF:
            return self.pedals.key_up((channel, pitch))
        self.counts.player_notes += 1
        self.pedals.key_down((channel, pitch))
        note = PlayerNote(tick, pitch, velocity, self.mpe.part(channel, stamp_ns))
        self.turns.key_down((channel, pitch), note, pulse, stamp_ns)
        self.heard.key_down(note)
        return []

    def _control(self, message: bytes, stamp_ns: int, tick: int | None = None) -> list[Key]:
        """A controller moved, at `tick` of song time if that moves. Returns the keys that stop to sound."""
        channel, number, value = midi.channel(message), message[1], message[2]
        if (call := self.calls.of_controller(number)) is not None:
            if self.calls.moved(call, value):
                self._call(call, stamp_ns, tick)
            return []
        if channel == self.settings.chord_channel:
            self.leading.keys.control(number, value)
            return []
        if self.knobs.turn(number, value):
            self.turns.requests.append(Steer(self.knobs.controls))
        if (part := self.muster.moved(number, value)) is not None:
            self._muster(part, tick)
        return self.pedals.control(channel, number, value)

    def _call(self, call: str, stamp_ns: int, tick: int | None) -> None:
        """The player called something, at `tick` of song time if that moves."""
        if call == FEEL:
            self.next_feel(stamp_ns)
        elif tick is not None and call == TRIGGER:
            self.player.trigger_tick = tick
        elif tick is not None and call == NEXT and (line := self.leading.next_section(tick)) is not None:
            self.turns.harmony_changes(line, tick * PULSES_PER_TICK)

    def _muster(self, part: int, tick: int | None) -> None:
        """A part of the band comes in, or falls silent: its plans are taken back; what sounds of it ends by the next bar line."""
        self.turns.requests.append(Muster(self.muster.playing))
        if tick is not None:
            self.turns.parts_change(tick * PULSES_PER_TICK, None if part in self.muster.playing else part)

    def next_feel(self, now_ns: int) -> None:
        """The band goes on with the next feel from the next bar line on."""
        if not self.settings.parts:
            return
        tick, feel = self.turns.next_feel(self.transport.pulse_at(now_ns) if self.rolling else None)
        self._called.append(f"bar {self.grid.bar_number(tick) + 1}: {feel or 'no feel'}")

    # --- who leads the harmony ---

    def give(self, chart: Chart, now_ns: int) -> None:
        """Another chart, from the next bar on."""
        pulse = self.transport.pulse_at(now_ns) if self.rolling else 0
        self.turns.harmony_changes(self.leading.give(chart, pulse // PULSES_PER_TICK), pulse)

    def _chord_key(self, kind: int, key: Key, tick: int, stamp_ns: int) -> None:
        """A key of the channel for chords."""
        if kind == midi.NOTE_ON:
            self.counts.player_notes += 1
            self.leading.keys.key_down(key[1], stamp_ns)
        else:
            self.leading.keys.key_up(key[1])
        self.turns.chord_key(key, kind == midi.NOTE_ON, tick)

    def _settle_chord(self, now_ns: int) -> None:
        """The hand on the channel for chords has come to rest: what it plays is the harmony from the next beat on."""
        settled_ns = self.leading.keys.settle_ns
        if settled_ns is None or now_ns < settled_ns or not self.rolling:
            return
        pulse = self.transport.pulse_at(settled_ns)
        struck = round(self.transport.pulse_at(settled_ns - SETTLE_NS) / PULSES_PER_TICK)
        self.turns.decide_until(pulse)
        keys, free = self.leading.keys.take(now_ns), self.turns.free_from(pulse)
        if keys is not None and (tick := self.leading.chord_struck(keys, struck - EARLY_TICKS, free)) is not None:
            self.turns.harmony_changes(tick, pulse)
            self.turns.decide(pulse)

    # --- what the composer says ---

    def receive(self, reply: Reply, now_ns: int) -> None:
        """A reply of the composer's, at `now_ns`. Notes that a later plan has replaced are refused."""
        match reply:
            case Proposed():
                if self.turns.plans.wanted(reply.generation, reply.note.tick):
                    self._schedule(reply, now_ns)
            case Reached():
                self._send_together(now_ns)
                self.counts.rejected += reply.rejected
                self.counts.step_ns.extend(reply.step_ns)
                self.chords.update(reply.chords)
                self.turns.reached(reply.generation, reply.until)
            case Planned():
                self.counts.late_plans += reply.late
                if reply.call_ns:
                    self.counts.plan_ns.append(sum(reply.call_ns))

    def _schedule(self, proposed: Proposed, now_ns: int) -> None:
        generation, (tick, pitch, velocity, duration, part), quote, parting = proposed
        ends = tuple((self.settings.channels[each], key) for each, key in parting)
        self.heard.planned(proposed.note, quote)
        onset_pulse, duration_pulse = tick * PULSES_PER_TICK, duration * PULSES_PER_TICK
        hold_pulse = min(self.turns.hold_pulse(tick), duration_pulse // 2)
        began = self.turns.listens and self.tempo.ns_at(onset_pulse) <= now_ns
        reacts, channel = began and self.turns.player.last_on_tick == tick, self.settings.channels[part]
        note = PlannedNote(onset_pulse, channel, pitch, velocity, duration_pulse, generation, hold_pulse, reacts, ends)
        if self._together and self._together[0].onset_pulse != onset_pulse:
            self._send_together(now_ns)
        if (answer := self.turns.answers.fitted(generation, note)) is not None:
            self.scheduler.plan(answer)
            self.output.collect_due(now_ns)  # it is due already, and its key may go up before the next poll
        elif began:
            self._together.append(note)
        else:
            self.counts.missed_deadlines += self.tempo.ns_at(onset_pulse) < now_ns
            self.scheduler.plan(note)

    def _send_together(self, now_ns: int) -> None:
        for note in self._together:
            if self.turns.plans.wanted(note.tag, note.onset_pulse // PULSES_PER_TICK):
                self.counts.missed_deadlines += note.hold_pulse > 0 and self.tempo.ns_at(note.send_pulse) < now_ns
                self.scheduler.plan(note)
        self._together.clear()

    def composer_is_new(self, now_ns: int) -> None:
        """The composer was replaced and has heard nothing: tell it the present state. What is planned is still played."""
        pulse = self.tempo.pulse_at(now_ns)
        jump = [Relocate(pulse // PULSES_PER_TICK)] if self.rolling else []  # first: rules forget at it
        self.turns.requests[:] = [Steer(self.knobs.controls), *jump, Remember(self.heard.notes())]
        if self.muster.playing != self.settings.parts:
            self.turns.requests.append(Muster(self.muster.playing))
        if self.turns.feels.passed:
            self.turns.requests += self.turns.feels.changes
        self.leading.tell_again()
        self.turns.plans.complete(self.turns.plans.generation)
        self.turns.answers.complete(self.turns.plans.generation)
        self.turns.turn = None
        if self.rolling:
            self.turns.decide(pulse)

    # --- what goes out ---

    def poll(self, now_ns: int) -> list[Sent]:
        """Take the decisions that are due, and return what is to be sent now, in order."""
        self._release(now_ns)
        self._settle_chord(now_ns)
        if self.rolling:
            self.turns.decide_until(self.transport.pulse_at(now_ns))
            self.output.collect_due(now_ns)
        sends = self.output.take()
        for sent in sends:
            self._echo.sent(sent.message, now_ns)
            if midi.is_note_on(sent.message):
                self.counts.notes += 1
                tick = sent.pulse // PULSES_PER_TICK
                if (quote := self.heard.sent(tick, sent.message[1])) is not None:
                    self.quotes.add(tick, quote)
        return sends

    def wake_ns(self) -> int | None:
        """The host time at which to poll next if nothing comes in; None: there is nothing to wait for."""
        if self.output.waiting:
            return 0
        if not self.rolling:
            return None
        decision = None if self.transport.waiting else self.turns.next_decision()
        pulses = [pulse for pulse in (self.output.next_pulse(), decision) if pulse is not None]
        moments = [self.tempo.ns_at(min(pulses))] if pulses else []
        if (settles_ns := self.leading.keys.settle_ns) is not None:
            moments.append(settles_ns)
        return min(moments, default=None)

    def stop(self) -> list[bytes]:
        """End everything. Returns what is still to be sent, with the note-offs of all that sounds."""
        self.scheduler.clear()
        self.turns.turn = None
        self.transport.rolling = False
        return [*(sent.message for sent in self.output.take()), *self.ledger.release_all()]
