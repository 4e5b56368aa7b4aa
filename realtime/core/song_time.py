"""What moves song time: MIDI clock and transport, and at an internal tempo the player: by a first note, a rest, a key that says
"one is here", taps, and the beat that is heard in their notes.
"""

from __future__ import annotations

from realtime import midi
from realtime.core.calls import ONE, Calls
from realtime.core.clocksync import SLOWEST_BPM, TransportChange
from realtime.core.counts import Counts
from realtime.core.following import Played, TempoFollower, steer
from realtime.core.listening import Beat
from realtime.core.metronome import Click, Taps
from realtime.core.output import Output
from realtime.core.pedals import Pedals, Switch
from realtime.core.settings import EngineSettings
from realtime.core.tempo import PULSES_PER_TICK
from realtime.core.transport import Transport
from realtime.core.turns import Turns
from realtime.music.metre import BeatGrid


class SongTime:
    """Told of what comes in: of messages of the player's before they are handled, and after."""

    def __init__(
        self,
        settings: EngineSettings,
        transport: Transport,
        turns: Turns,
        output: Output,
        pedals: Pedals,
        counts: Counts,
    ) -> None:
        self._settings = settings
        self._transport, self._tempo = transport, transport.tempo
        self._turns, self._output, self._pedals, self._counts = turns, output, pedals, counts
        self._grid = turns.grid
        self._following = TempoFollower(transport.tempo) if settings.listen else None
        self._calls, self._tapping = Calls(settings), Switch()
        self._taps = Taps()

    def tapped(self, kind: int, message: bytes, stamp_ns: int) -> bool:
        """Whether a note-on, note-off or controller belongs to what taps the tempo. It is no music then."""
        number = self._settings.tap_cc if kind == midi.CONTROL else self._settings.tap_key
        if message[1] != number:
            return False
        if kind == midi.NOTE_ON or (kind == midi.CONTROL and self._tapping.moved(message[2])):
            self.tap(stamp_ns)
        return True

    def tap(self, now_ns: int) -> None:
        """A beat was tapped, in a compound metre a dotted quarter: from the second tap on it sets the tempo, unless that is a
        MIDI clock's."""
        period_ns = self._taps.tap(now_ns)
        if period_ns is None or self._transport.follower is not None:
            return
        pulses = self._grid.next_count(1) * PULSES_PER_TICK  # of a beat, as the first bar is counted
        if self._transport.rolling:
            self._turns.decide_until(self._transport.pulse_at(now_ns))
            steer(self._tempo, Beat(now_ns, period_ns), now_ns, pulses)
        else:
            self._tempo.steer(now_ns, period_ns / pulses)
        if self._following is not None:
            self._following.expect(period_ns)

    def count_in(self, now_ns: int) -> None:
        """Begin to count in now: song time starts so many bars before bar 1, or, for an intro that nobody counts in, just long
        enough before to plan it. Not without either, nor with MIDI clock."""
        bars = self._settings.count_in_bars
        if (bars or self._settings.intro_bars) and self._transport.follower is None and not self._transport.rolling:
            start, length = self._grid.bar_at(0)
            self._restart(now_ns, start - (bars * length or self._settings.prepare_ticks))
            self._turns.jump()
            self._turns.counted_in()

    def system(self, message: bytes, stamp_ns: int) -> None:
        """MIDI clock and transport."""
        pulse = self._transport.pulse_at(stamp_ns)
        if message[0] == midi.CLOCK and self._transport.rolling:
            self._turns.decide_until(pulse)  # before the clock changes the tempo map
        if (change := self._transport.handle(message, stamp_ns)) is not None:
            self._counts.jumps += 1
            if change is TransportChange.STOP:
                self._pedals.lift()
            if self._output.click is not None:
                self._output.click.stop() if change is TransportChange.STOP else self._output.click.begin(
                    self._transport.next_tick()
                )
            self._elsewhere(pulse)

    def take_notices(self) -> list[str]:
        """What the user should know of the MIDI clock, a line each."""
        notices: list[str] = []
        follower = self._transport.follower
        if follower is not None and (follower.unplaced or follower.placed_by_others):
            notices.append(
                "the MIDI clock came without a Start: it is followed, from your first note on, which is a downbeat, "
                "or from its next song position"
            )
        if follower is not None and follower.too_slow:
            notices.append(
                f"the MIDI clock is slower than {SLOWEST_BPM} BPM, which cannot be followed: set a higher tempo there"
            )
        return notices

    def _is_downbeat(self, kind: int, message: bytes, stamp_ns: int) -> bool:
        """Whether song time starts anew with this note-on, note-off or controller: with a MIDI clock, only one that nobody has
        started."""
        if self._transport.follower is not None and not self._transport.follower.unplaced:
            return False
        if kind == midi.CONTROL:
            return self._calls.of_controller(message[1]) == ONE and self._calls.moved(ONE, message[2])
        if kind == midi.NOTE_OFF or self._calls.of_key(message[1]) not in (None, ONE):
            return False
        return (
            not self._transport.rolling
            or message[1] == self._settings.one_key
            or self._turns.is_downbeat(round(self._tempo.pulse_at(stamp_ns) / PULSES_PER_TICK))
        )

    def before(self, kind: int, message: bytes, stamp_ns: int) -> None:
        """The player's message is about to be handled. At a downbeat song time starts, or goes on from the next bar line."""
        if not self._is_downbeat(kind, message, stamp_ns):
            return
        if not self._transport.rolling:
            self._restart(stamp_ns, 0)
            self._begin(0)
            if self._transport.follower is not None:
                self._counts.jumps += 1
            return
        pulse = self._tempo.pulse_at(stamp_ns)
        self._turns.decide_until(pulse)
        tick = -(-pulse // PULSES_PER_TICK)
        start, length = self._grid.bar_at(tick)
        line = start if start == tick else start + length
        self._restart(stamp_ns, line)
        self._begin(line)
        self._elsewhere(pulse)

    def _restart(self, stamp_ns: int, tick: int) -> None:
        """At host time `stamp_ns` song time is at `tick`."""
        self._transport.downbeat(stamp_ns, tick)
        if self._output.click is not None:
            self._output.click.begin(tick)

    def _begin(self, line: int) -> None:
        """The player begins at the bar line `line`."""
        if self._following is not None:
            self._following.begin(line * PULSES_PER_TICK)

    def after(self, message: bytes, stamp_ns: int) -> list[Played]:
        """The player's message was handled. Where the beat that is heard moves song time, all since the first note is to be
        handled again: this is returned."""
        if self._following is None:
            return []
        pulse = self._tempo.pulse_at(stamp_ns)
        bar_pulses = self._grid.bar_at(pulse // PULSES_PER_TICK)[1] * PULSES_PER_TICK
        again = self._following.heard(message, stamp_ns, bar_pulses)
        if again:
            self._transport.relocated(self._tempo.pulse_at(again[0][1]) // PULSES_PER_TICK)
            if self._output.click is not None:
                self._output.click.begin(-(-self._tempo.pulse_at(stamp_ns) // PULSES_PER_TICK))
            self._elsewhere(pulse)
        return again

    def _elsewhere(self, pulse: int) -> None:
        """Song time left `pulse`, and stands or goes on elsewhere."""
        self._output.release_all(pulse)
        self._output.scheduler.clear()
        self._pedals.silence()
        self._turns.jump()


def click_of(settings: EngineSettings) -> Click | None:
    """The click, if one is to be heard: while it counts in, or always."""
    if settings.click is None or not (settings.clicks or settings.count_in_bars):
        return None
    return Click(BeatGrid(settings.bars), *settings.click, until=None if settings.clicks else 0)
