"""Whose turn it is, and what the composer is asked for it: decisions at musical moments.

Decisions about turns fall half a tick after their tick, so that they never coincide with what is played on the grid. Each is
taken for its own moment, with the boundary that it has there, however late it is carried out.

Units: `_pulse` 1/480 quarter note, `_ns` host nanoseconds; ticks (1/24) otherwise.
"""

from __future__ import annotations

from realtime.core.again import Again
from realtime.core.answers import Answers
from realtime.core.bounds import bounded, with_ring
from realtime.core.chord_keys import SETTLE_NS
from realtime.core.clashes import end_clashes
from realtime.core.counts import Counts
from realtime.core.dialogue import (
    Advance,
    Avoid,
    Extend,
    Feel,
    KeyUp,
    Plan,
    PlayerNote,
    Relocate,
    Request,
    Retempo,
    Turn,
)
from realtime.core.heard import Heard
from realtime.core.knobs import Feels
from realtime.core.leading import Leading
from realtime.core.lookahead import Lookahead
from realtime.core.modes import Mode
from realtime.core.output import SHORTEST_TICKS, Output
from realtime.core.passing import PassingTime
from realtime.core.plans import LONG_AGO, Plans
from realtime.core.player_state import Key, PlayerState
from realtime.core.settings import EngineSettings
from realtime.core.strikes import Strikes
from realtime.core.tempo import PULSES_PER_TICK
from realtime.core.transport import Transport
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import DRUMS, Role

REST_BARS = 8
"""With a chart, both have to rest for so many bars before it begins anew."""
_HALF_TICK = PULSES_PER_TICK // 2


class Turns:
    """The mode, the turn in progress and its plan. `requests`: what the composer is to be asked, in order.

    `decided_pulse`: the moment up to which every decision has been taken. `stuck`: keys whose note-offs seem to be lost.
    """

    def __init__(
        self, settings: EngineSettings, transport: Transport, output: Output, counts: Counts, heard: Heard
    ) -> None:
        self.grid = BeatGrid(settings.bars)
        self.again = Again(self.grid)
        self.player = PlayerState(settings.rest_ticks)
        self.mode_name = settings.mode
        self.turn: Turn | None = None
        self.plans = Plans()
        self.answers = Answers()
        self.requests: list[Request] = []
        self.stuck: list[Key] = []
        self.decided_pulse = LONG_AGO
        self._settings = settings
        self._transport = transport
        self._tempo = transport.tempo
        self._output = output
        self._counts = counts
        self._heard = heard
        self._passing = PassingTime(self.grid)
        self.leading = Leading(settings, self.grid, lambda lead: self.requests.append(lead))
        self.feels = Feels(settings.feel)
        self._strikes = Strikes(self.grid)
        self._ahead = Lookahead(settings.lookahead_ticks, self._tempo, self.hold_pulse, max(len(settings.parts), 1))
        self._turn_over = LONG_AGO

    @property
    def mode(self) -> Mode:
        """The mode being played."""
        return self._settings.modes[self.mode_name]

    @property
    def listens(self) -> bool:
        """Whether notes at the onset of a note of the player's are chosen after it."""
        return self.mode.listens and self._settings.hold_ns > 0

    # --- what the player does ---

    def key_down(self, key: Key, note: PlayerNote, pulse: int, stamp_ns: int) -> None:
        """The player struck `key`: it is answered, ends Antiphon's turn, or changes the plan."""
        if key in self.player.down:  # struck again while a pedal held it, or its note-off was lost
            self.key_up(key, pulse, note.tick)
        if self.mode.lapsed(note.tick, self.player, self.grid):
            self.player.first_tick = None
        self.player.note_on(note.tick, key)
        self.again.drop()
        if note.part != DRUMS:
            self.leading.key_down(note.pitch, note.tick)
        self._strikes.add(note.tick)
        if self.mode.voices:
            self._plan(note.tick + 1, note, Turn(note.tick, note.tick + 1, self.mode.voices), note.tick + 1)
            self.answers.ask(self.plans.generation, key, pulse)
            self._counts.turns += 1
        elif self.turn is not None and self.mode.yields:
            self._yield_turn(pulse, note.tick, note)
        else:
            self._renew_turn(self.turn_at(note.tick))
            if self.mode.role == Role.ACCOMPANY and note.part != DRUMS:
                # The composer knows by the same rule.
                end_clashes(self._output, self._settings.channels, note, pulse, self.grid, self.leading.given)
            boundary = self._output.unsent_from(note.tick) if self.listens else self._boundary(stamp_ns, note.tick)
            self._replan(boundary, note, note.tick)

    def key_up(self, key: Key, pulse: int, tick: int) -> None:
        """`key` sounds no longer: its answers end. Ignored where it did not sound."""
        if key not in self.player.down:
            return
        self.player.note_off(tick, key)
        self.leading.key_up(key[1], tick)
        if all(pitch != key[1] for _, pitch in self.player.down):
            boundary = self._boundary(self._tempo.ns_at(pulse), tick)
            self._renew_turn(self.turn_at(tick))
            self._complete(boundary)  # as what is drawn by now: while the key was down
            self.requests.append(KeyUp(tick, key[1]))
            if self.turn is not None:  # the model has to hear that it is not
                self._replan(boundary, None, tick, after_key_up=True)
        for channel, pitch in self.answers.key_up(key, pulse):
            self._output.end_key((channel, pitch), pulse)

    def chord_key(self, key: Key, down: bool, tick: int) -> None:
        """A key of the channel for chords: the player plays, and what is not answered as a note."""
        (self.player.note_on if down else self.player.note_off)(tick, key)
        self._renew_turn(self.turn_at(tick))

    def free_from(self, pulse: int) -> int:
        """The first tick that is not final at `pulse`."""
        return self._boundary(self._tempo.ns_at(pulse))

    def harmony_changes(self, tick: int, pulse: int) -> None:
        """From `tick` on other chords are given: what sounds ends there, or at the end of what is final, and what is planned
        beyond is planned anew."""
        boundary = max(self.free_from(pulse), tick)
        if self.turn is not None:
            self._output.end_by(boundary * PULSES_PER_TICK)
            self._replan(boundary, ends=True)

    def parts_change(self, pulse: int, silent: int | None) -> None:
        """Other parts of the band play from now on: what is planned is planned anew. What sounds of the part that is `silent` now
        ends by the next bar line."""
        boundary = self.free_from(pulse)
        if silent is not None:
            self._output.end_by(self.grid.next_bar(boundary) * PULSES_PER_TICK, self._settings.channels[silent])
        if self.turn is not None:
            self._replan(boundary)

    def ask_again(self, pulse: int) -> Turn | None:
        """The last answer is taken back, and the same phrase is answered once more, unless the player plays before. Returns the
        turn that is taken back; None where there is none."""
        self.decide_until(pulse)
        tick = pulse // PULSES_PER_TICK
        taken_back = self.again.ask(tick, max(self.free_from(pulse), tick + self._settings.prepare_ticks))
        if taken_back is not None:
            self._yield_turn(pulse, tick)
            self.player.first_tick = self.player.trigger_tick = None  # the next note begins anew
            self.decide(pulse)
        return taken_back

    def next_feel(self, pulse: int | None) -> Feel:
        """Call the next feel. It holds from the first bar line on that is not final; with `pulse` None, as song time stands,
        from the beginning."""
        line = self.grid.next_bar(self.free_from(pulse)) if pulse is not None else self.grid.bar_line(0)
        feel = self.feels.next(line)
        self.requests.append(feel)
        if self.turn is not None:
            self._replan(line)
        return feel

    def change_mode(self, name: str, now_ns: int) -> None:
        """From now on play the mode `name`: the turn in progress ends, what already sounds ends by the next bar line."""
        pulse = self._tempo.pulse_at(now_ns)
        self.decide_until(pulse)
        self._cancel_turn(self._boundary(now_ns))
        self.again.clear()
        self.mode_name = name
        self.decide(pulse)

    def is_downbeat(self, tick: int) -> bool:
        """Whether a note of the player's at `tick` is a downbeat again: both have rested for long, or the player has only touched
        a key so far."""
        rests, restart_ticks = self.player.rests_from(), self._settings.restart_ticks
        if self.player.first_tick is None:
            rests = 0  # counted in
        if self.leading.has_chart and restart_ticks:  # who rests in a tune comes in again where it has got to
            restart_ticks = max(restart_ticks, REST_BARS * self.grid.bar_length_at(tick))
            rests = rests if self.player.first_tick is not None else None
        if rests is None or not restart_ticks:
            return False
        if self.player.has_only_touched() and tick - rests >= self.player.rest_ticks:
            return True
        last_pulse = self._output.last_pulse
        ended = max(rests, self._turn_over, rests if last_pulse is None else last_pulse // PULSES_PER_TICK)
        return self.turn is None and not len(self._output.ledger) and tick - ended >= restart_ticks

    def counted_in(self) -> None:
        """Where bar 1 is, is known before the player's first note. With a chart, an accompaniment begins there without waiting
        for the player, who comes in after the intro."""
        if self.leading.has_chart:
            self.player.opens_tick = self.grid.bar_line(0)
            self.player.joins_tick = self.grid.bar_line(self._settings.intro_bars)

    def jump(self) -> None:
        """Song time stopped or goes on elsewhere: there is no turn, and nothing that was played or asked before counts."""
        self.turn = None
        self.answers.clear()
        self.again.clear()
        self.plans.jump()
        self.player = PlayerState(self._settings.rest_ticks)
        self._strikes = Strikes(self.grid)
        self._ahead.jump()
        self.decided_pulse = self._turn_over = LONG_AGO
        self.feels.jumped()
        if self._transport.rolling:
            tick = self._transport.next_tick()
            self._passing.relocate(tick)
            self.requests.append(Relocate(tick))
            self.leading.jumped(tick, self._transport.follower is None)

    # --- decisions ---

    def next_decision(self) -> int | None:
        """The pulse of the next decision if nothing comes in before it; None: there is none."""
        tick = self.decided_pulse // PULSES_PER_TICK
        moments: list[int | None] = [self._passing.next_cell]
        if self.turn is None or self.leading.is_on:
            moments += [self._passing.next_beat]
        due = None
        if self.turn is not None:
            moments += [self.turn.end]
            due = self._ahead.next_pulse(self.turn)
        elif (turn := self.turn_at(tick)) is not None:
            moments += [turn.start - self._settings.prepare_ticks, turn.start]
        pulses = [moment * PULSES_PER_TICK + _HALF_TICK for moment in moments if moment is not None]
        pulses = [pulse for pulse in pulses if pulse > self.decided_pulse]
        return min(pulses if due is None else [*pulses, max(due, self.decided_pulse + 1)], default=None)

    def decide_until(self, pulse: int) -> None:
        """Take every decision that was due by `pulse`, each at its own moment."""
        while (due := self.next_decision()) is not None and due <= pulse:
            self.decided_pulse = due
            self.decide(due)

    def decide(self, pulse: int) -> None:
        """Compare whose turn it is with what is being done, and act on the difference."""
        self.decided_pulse = max(self.decided_pulse, pulse)
        tick = (pulse - _HALF_TICK) // PULSES_PER_TICK
        boundary = self._boundary(self._tempo.ns_at(pulse))
        # A chord may be held for as long as it is the harmony.
        self.stuck += [key for key in self.player.find_stuck(tick) if key[0] != self._settings.chord_channel]
        turn = self.turn_at(tick)
        if (cell := self._passing.cell(tick, self._settings.lookahead_ticks)) is not None:
            self.requests.append(cell)
        if self._renew_turn(turn):
            self._replan(boundary)
        elif self.turn is not None and turn != self.turn:
            if self.turn.end is not None and tick >= self.turn.end:
                self._output.end_by(PULSES_PER_TICK * (self.turn.silent_from or self.turn.end))
                self._turn_over = self.turn.end
                self.turn = None
            else:
                self._cancel_turn(boundary)
        if self.turn is None and turn is not None and tick >= turn.start - self._settings.prepare_ticks:
            self._begin_turn(turn, self._first_boundary(turn, tick, pulse), pulse)
        if self._passing.beat(tick):
            if self.turn is None:
                self.requests.append(Advance(tick))
            if (changed := self.leading.beat(tick, boundary)) is not None:
                self.harmony_changes(changed, pulse)
        if self.turn is not None and (until := self._ahead.extended(pulse, self.turn)) is not None:
            self.requests.append(Extend(self.plans.generation, until))

    def _first_boundary(self, turn: Turn, tick: int, pulse: int) -> int:
        """From where on a turn that begins is planned, at `tick`. Who goes along with the player comes in with the first
        note; where that is a chord by hand, once all of it is heard."""
        now_ns = self._tempo.ns_at(pulse)
        if not self.listens or tick > turn.start:
            return self._boundary(now_ns)
        if all(channel == self._settings.chord_channel for channel, _ in self.player.down):
            return self._boundary(now_ns + SETTLE_NS)
        return self._output.unsent_from(turn.start)

    def _begin_turn(self, turn: Turn, boundary: int, pulse: int) -> None:
        self.turn = turn
        self.again.began(turn, self.mode.role)
        if self.again.turn is not None:
            boundary = max(boundary, self._hear_again())
        self._counts.turns += 1
        self.requests.append(Retempo(self._transport.bpm_at(pulse)))
        self._plan(boundary, None, turn, self._ahead.begin(max(turn.start, boundary), turn))

    def _hear_again(self) -> int:
        """The composer hears the phrase that is answered once more. Returns the first tick after it."""
        call = self.again.call(self._heard.notes())
        self.requests += [Relocate(call.start), Avoid(call.avoid)]
        end = call.start
        for event in call.events:
            end = event.tick + 1
            if isinstance(event, PlayerNote):
                self._plan(end, event)
            else:
                self.requests.append(event)
        return end

    def turn_at(self, tick: int) -> Turn | None:
        """What the mode says of `tick`, within the form of the music, and with the ring after the turn's end."""
        turn = self.again.turn_at(tick) or bounded(
            self.mode.turn(tick, self.player, self.grid), tick, self.turn, self.mode, self.player, self.leading
        )
        return with_ring(turn, self.grid) if self._settings.ring_to_bar else turn

    def _renew_turn(self, turn: Turn | None) -> bool:
        """Take over the turn in progress with another end, if `turn` is the same one with another end. Returns whether it is."""
        if turn is None or self.turn is None or turn == self.turn or turn.start != self.turn.start:
            return False
        self.turn = turn
        self._ahead.bound(turn)
        return True

    def _yield_turn(self, pulse: int, tick: int, note: PlayerNote | None = None) -> None:
        """The player comes in at `tick`, or takes the turn back: it is over, and so is every note of it that sounds."""
        self.turn = None
        self._output.end_all(pulse)
        self._plan(tick, note, silence=True)

    def _cancel_turn(self, boundary: int) -> None:
        """The turn is over: what is not final is taken back, what sounds ends by the next bar line."""
        if self.turn is not None:
            self._complete(boundary)
            self.turn = None
            self._plan(boundary, None)
            self._output.end_by(self.grid.next_bar(boundary + SHORTEST_TICKS) * PULSES_PER_TICK)

    # --- plans ---

    def _boundary(self, ns: int, after: int = LONG_AGO) -> int:
        """The first tick beyond the commit window at host time `ns`, and beyond `after`. What is final stays final."""
        commit_pulses = self._tempo.pulse_at(ns + self._settings.commit_ns) - self._tempo.pulse_at(ns)
        final = -(-(self._transport.pulse_at(ns) + commit_pulses) // PULSES_PER_TICK)
        return max(self.plans.boundary, after + 1, final)

    def hold_pulse(self, tick: int) -> int:
        """How long a note at `tick` is held back, because the player is likely to strike there and has not yet."""
        struck = self.player.last_on_tick
        if not self.listens or struck is None or struck >= tick or not self._strikes.likely(tick):
            return 0
        onset_pulse = tick * PULSES_PER_TICK
        return self._tempo.pulse_at(self._tempo.ns_at(onset_pulse) + self._settings.hold_ns) - onset_pulse

    def _plan(
        self,
        boundary: int,
        note: PlayerNote | None,
        turn: Turn | None = None,
        until: int = 0,
        silence: bool = False,
        ends: bool = False,
        after_key_up: bool = False,
    ) -> None:
        """Ask for a new plan from `boundary` on. What the old one had there is taken back; with `silence`, all that it had.
        `ends`: what sounds at the boundary ends there. `after_key_up`: see `Plan`."""
        taken_back_from = LONG_AGO if silence else boundary
        generation = self.plans.new(boundary, taken_back_from)
        if not (turn is not None and turn.voices):
            self._counts.retracted += len(self._output.scheduler.cancel(taken_back_from * PULSES_PER_TICK))
        self.requests.append(
            Plan(generation, boundary, note, self.mode.role, turn, until, silence or ends, after_key_up)
        )

    def _replan(self, boundary: int, note: PlayerNote | None = None, struck: int | None = None, **why: bool) -> None:
        """Ask for a new plan of the turn in progress, if there is one; see `Lookahead.renewed`, and `_plan` for `why`."""
        self._complete(boundary)
        self._plan(boundary, note, self.turn, self._ahead.renewed(boundary, self.turn, struck), **why)

    def _complete(self, boundary: int) -> None:
        """What the plan of the turn in progress has not drawn before `boundary` yet, it is to draw."""
        if self.turn is not None and (missing := self._ahead.missing(boundary, self.turn)) is not None:
            self.requests.append(Extend(self.plans.generation, missing))

    def reached(self, generation: int, until: int) -> None:
        """The composer has answered all that was asked up to the plan `generation`, which is complete up to `until`."""
        self.plans.complete(generation)
        self.answers.complete(generation)
        if generation == self.plans.generation:
            self._ahead.reached(until)
