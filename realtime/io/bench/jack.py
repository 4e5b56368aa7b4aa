"""In to out through a JACK server, as a DAW hears it: counted in JACK's own frames, so that a busy machine does not matter.

Threads: JACK's calls `_Daw._process`; everything else is the caller's.
"""

from __future__ import annotations

import threading
from typing import Any

from realtime import midi
from realtime.errors import UserError
from realtime.io.bench.live import JACK_CLIENT, JACK_ECHO, NOTE_S, NOTES, VELOCITY, answer, child, paired, waits
from realtime.io.midi.rtmidi_ports import list_ports

TIMEOUT_S = 10.0


def measure(overrides: dict[str, Any], pairs: int) -> dict[str, list[int]] | None:
    """Nanoseconds from a note in to a note out, {"echo": [...], "antiphon": [...]}, paired; None: no JACK to do it with."""
    try:
        import jack

        list_ports("jack")  # asks, and keeps libjack's own words off the screen
    except (ImportError, OSError, UserError):
        return None
    for silence in (jack.set_error_function, jack.set_info_function):
        silence(lambda _: None)
    process = child("in_out_jack", overrides)
    try:
        answer(process)  # it is ready
        client = jack.Client("bench DAW", no_start_server=True)
        try:
            return _Daw(client, pairs).play()
        finally:
            client.deactivate()
            client.close()
    finally:
        process.communicate()


class _Daw:
    """Plays each note to the echo and, half a note later, to Antiphon; the next time the other way about."""

    def __init__(self, client: Any, pairs: int) -> None:
        self._client = client
        self._done = threading.Event()
        self._ports = {
            name: (client.midi_outports.register(f"to {i}"), client.midi_inports.register(f"from {i}"))
            for i, name in enumerate((JACK_ECHO, JACK_CLIENT))
        }
        self._came: dict[str, list[int]] = {name: [] for name in self._ports}
        self._went: dict[str, list[int]] = {name: [] for name in self._ports}
        self._script: list[tuple[int, str, bytes]] = []
        # Whole periods apart: where in its period a note comes in decides how long it waits, so both of a pair must come at
        # the same place, or their difference would measure this spacing.
        half_note = max(round(NOTE_S / 2 * client.samplerate / client.blocksize), 2) * client.blocksize
        note = 2 * half_note
        for i in range(pairs + 1):
            phase = i * 37 % client.blocksize  # everywhere within the period
            for half, name in enumerate(self._ports if i % 2 else reversed(self._ports)):
                at = i * note + half * half_note + phase
                self._went[name].append(at)
                self._script.append((at, name, midi.note_on(0, NOTES[i % len(NOTES)], VELOCITY)))
                self._script.append((at + note // 4, name, midi.note_off(0, NOTES[i % len(NOTES)])))
        self._script.sort()
        self._next = 0
        self._start: int | None = None
        self._end = (pairs + 2) * note
        client.set_process_callback(self._process)

    def play(self) -> dict[str, list[int]]:
        client = self._client
        client.activate()
        for name, (to, back) in self._ports.items():
            client.connect(to, _port(client, f"{name} In", is_input=True))
            client.connect(_port(client, f"{name} Out", is_output=True), back)
        # On a period's edge, so that a phase is a place within the period.
        periods = client.samplerate // 4 // client.blocksize + 1
        self._start = client.last_frame_time + periods * client.blocksize
        if not self._done.wait(self._end / client.samplerate + TIMEOUT_S):
            return {"echo": [], "antiphon": []}
        echo, antiphon = (
            [None if wait is None else wait * 10**9 // client.samplerate for wait in waits(came, self._went[name])]
            for name, came in self._came.items()
        )
        return paired(echo[1:], antiphon[1:])

    def _process(self, frames: int) -> None:
        for to, _ in self._ports.values():
            to.clear_buffer()
        if self._start is None:
            return
        now = self._client.last_frame_time - self._start
        while self._next < len(self._script) and self._script[self._next][0] < now + frames:
            at, name, message = self._script[self._next]
            self._next += 1
            self._ports[name][0].write_midi_event(max(at - now, 0), message)
        for name, (_, back) in self._ports.items():
            for offset, data in back.incoming_midi_events():
                if midi.is_note_on(bytes(data)):
                    self._came[name].append(now + offset)
        if now > self._end:
            self._done.set()


def _port(client: Any, owner: str, **direction: bool) -> Any:
    """The one port of that client. rtmidi's clients call the port like themselves."""
    return client.get_ports(f"^{owner}:", is_midi=True, **direction)[0]
