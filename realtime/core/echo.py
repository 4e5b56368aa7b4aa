"""The echo guard: Antiphon must not answer its own notes when they come back in, nor mistake the player's notes for them.

A wire from the output to the input returns every note, after nearly the same time. A player returns some of them, and a person
who imitates needs far longer than a wire. So it is not the likeness of one note that tells, but whether all of Antiphon's
notes come back. Until that is known, what looks like an echo is held back; if the next note of Antiphon's does not come back,
it was the player's, and is handed over with its own time.

Times are host nanoseconds; messages are canonical or whatever a driver hands over (both sides are normalised). One thread
at a time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from realtime.midi import channel, is_note_off, is_note_on, normalise

WIRE_NS = 60_000_000
"""A wire returns a note within this time. Nobody hears a note and plays it so soon."""
LONGEST_NS = 250_000_000
"""A wire through other programs may take so long; then every note has to come back as it was sent."""
SPREAD_NS = 5_000_000
"""The delays of a wire differ by less."""
RUN = 8
"""So many notes in a row that come back are a wire, whatever was before."""
LOUDNESSES = 3
"""So many velocities have to be among them where the wire is slow: a player cannot know them, except a pad that has only one."""
LOST = 3
"""So many notes in a row that do not come back: there is no wire any more."""


@dataclass(slots=True)
class _Send:
    """A note-on that was sent. `delay_ns`: after what time it came back; None: it did not yet. `same`: as it was sent."""

    ns: int
    message: bytes
    delay_ns: int | None = None
    same: bool = False


@dataclass(frozen=True, slots=True)
class _Wire:
    """Notes come back after a time between these two. `same`: as they were sent, not on another channel or louder or softer."""

    earliest_ns: int
    latest_ns: int
    same: bool


class EchoGuard:
    """Receives what is sent and what comes in. `is_echo` says what to ignore, `released` what was held back without cause."""

    def __init__(self) -> None:
        self._sends: deque[_Send] = deque(maxlen=256)
        self._offs: deque[tuple[int, int]] = deque(maxlen=256)  # (ns, pitch) of note-offs that were sent
        self._others: deque[tuple[int, bytes]] = deque(maxlen=256)
        self._echoing: set[tuple[int, int]] = set()  # (channel, pitch) whose echoed note-off is still to come
        self._held: list[tuple[bytes, int]] = []
        self._wire: _Wire | None = None
        self._known = False  # whether it is known that there was no wire, or is one

    @property
    def is_wired(self) -> bool:
        """Whether the output is wired to the input."""
        return self._wire is not None

    def sent(self, message: bytes, now_ns: int) -> None:
        """Remember a send. `now_ns` has to be read before sending, so that no echo can be older."""
        if (canonical := normalise(message)) is None:
            return
        if is_note_on(canonical):
            self._sends.append(_Send(now_ns, canonical))
        elif is_note_off(canonical):
            self._offs.append((now_ns, canonical[1]))
        else:
            self._others.append((now_ns, canonical))

    def is_echo(self, message: bytes, stamp_ns: int) -> bool:
        """Whether to ignore this incoming message, as one of our own that came back, or may have."""
        canonical = normalise(message)
        if canonical is None:
            return False
        if is_note_on(canonical):
            return self._is_echo(canonical, stamp_ns)
        if is_note_off(canonical):
            return self._is_echoed_end(canonical, stamp_ns)
        for i, (ns, other) in enumerate(self._others):
            if other == canonical and 0 <= stamp_ns - ns <= WIRE_NS:
                del self._others[i]
                return True
        return False

    def released(self, now_ns: int) -> list[tuple[bytes, int]]:
        """The messages, with their stamps, that were held back and are the player's after all. Each is returned once."""
        if self._wire is not None:
            over = [send for send in self._sends if now_ns - send.ns > LONGEST_NS][-LOST:]
            if len(over) == LOST and all(send.delay_ns is None for send in over):
                self._wire = None
        elif not self._known:
            self._known = self._has_lost(now_ns)
        if not self._known or self._wire is not None:
            return []
        held, self._held = self._held, []
        self._echoing -= {_key(message) for message, _ in held}
        return held

    def _has_lost(self, now_ns: int) -> bool:
        """Whether something of ours should have come back by now and did not: a note, or the end of one that did."""
        lost = any(send.delay_ns is None and now_ns - send.ns > WIRE_NS for send in self._sends)
        pitches = {message[1] for message, _ in self._held if is_note_on(message) and _key(message) in self._echoing}
        return lost or any(
            pitch in pitches and ns >= self._held[0][1] and now_ns - ns > WIRE_NS for ns, pitch in self._offs
        )

    def _is_echo(self, note: bytes, stamp_ns: int) -> bool:
        send = self._match(note, stamp_ns)
        if send is None:
            return False
        send.delay_ns, send.same = stamp_ns - send.ns, send.message == note
        if self._wire is None:
            self._find_wire(stamp_ns)
        if self._wire is not None:
            self._held.clear()
        elif self._known or send.delay_ns > WIRE_NS:
            return False
        else:
            self._held.append((note, stamp_ns))
        self._echoing.add(_key(note))
        return True

    def _match(self, note: bytes, stamp_ns: int) -> _Send | None:
        """The send that this note-on may be the echo of."""
        wire = self._wire
        earliest_ns, latest_ns = (wire.earliest_ns, wire.latest_ns) if wire is not None else (0, LONGEST_NS)
        for send in self._sends:
            fits = (
                send.delay_ns is None and send.message[1] == note[1] and earliest_ns <= stamp_ns - send.ns <= latest_ns
            )
            if fits and (wire is None or not wire.same or send.message == note):
                return send
        return None

    def _find_wire(self, stamp_ns: int) -> None:
        """A wire is known by a run of notes that all came back after nearly the same time; the last of them has just come."""
        run: list[_Send] = []
        for send in reversed(self._sends):
            if send.delay_ns is not None:
                run.append(send)
            elif run:
                break  # later ones came back, this one did not
            if len(run) == RUN:
                break
        delays = [send.delay_ns for send in run if send.delay_ns is not None]
        if len(run) < RUN or max(delays) - min(delays) > SPREAD_NS:
            return
        same = all(send.same for send in run)
        if max(delays) <= WIRE_NS or (same and len({send.message[2] for send in run}) >= LOUDNESSES):
            self._known = True
            self._wire = _Wire(max(min(delays) - SPREAD_NS, 0), max(delays) + SPREAD_NS, same)

    def _is_echoed_end(self, note: bytes, stamp_ns: int) -> bool:
        key = _key(note)
        if key not in self._echoing:
            return False
        wire = self._wire
        earliest_ns, latest_ns = (wire.earliest_ns, wire.latest_ns) if wire is not None else (0, WIRE_NS)
        for i, (ns, pitch) in enumerate(self._offs):
            if pitch == note[1] and earliest_ns <= stamp_ns - ns <= latest_ns:
                del self._offs[i]
                self._echoing.discard(key)
                if wire is None:
                    self._held.append((note, stamp_ns))
                return True
        if wire is None:
            self._known = True  # the end of a note that nobody has sent: the note was the player's
        return False


def _key(note: bytes) -> tuple[int, int]:
    return channel(note), note[1]
