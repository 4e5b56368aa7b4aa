"""What the guardian of a session is told, and that it knows what sounds at any moment at which the session may be killed."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from realtime import midi
from realtime.io.live import guardian
from realtime.io.live.guardian import Guarded, Mirror
from realtime.io.midi.ports import MemoryPort, PortLost


def test_it_knows_what_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hears of a note-on before the port does, and of a note-off after it."""
    mirror, rng = Mirror(), random.Random(1)
    target = MemoryPort("synth", lambda: 0)
    port = Guarded(target, named=False)
    monkeypatch.setattr(Guarded, "_start", lambda self: None)
    monkeypatch.setattr(Guarded, "_tell", lambda self, line: mirror.told(line.encode()))
    port.open()
    sounding: set[tuple[int, int]] = set()
    for _ in range(2000):
        key = (rng.randrange(16), rng.randrange(128))
        message = midi.note_on(*key, rng.randrange(1, 128)) if rng.random() < 0.5 else midi.note_off(*key)
        port.send(message)
        (sounding.add if midi.is_note_on(message) else sounding.discard)(key)
        port.send(midi.control(0, 20, 64))
        assert set(mirror.sounding) == sounding
    target.listeners = frozenset({"b:in", "a:in"})
    assert port.connections() == target.listeners
    assert mirror.listeners == ["a:in", "b:in"]
    target.vanish()
    with pytest.raises(PortLost):
        port.send(midi.note_on(0, 1, 1))
    assert (0, 1) in mirror.sounding, "it may have arrived"


def test_its_process_ends_with_its_input_and_needs_no_midi_where_nothing_sounds() -> None:
    told = b'903c40\n["synth:in"]\n803c00\n'
    command = [sys.executable, "-c", guardian._PROGRAM, str(guardian._ROOT), "jack"]
    done = subprocess.run(command, input=told, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
