"""`antiphon jam` at a real JACK server, as a DAW has it: each in a process of its own, timed in the server's frames."""

from __future__ import annotations

import bisect
import importlib.util
import json
import shutil
import signal
import statistics
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import mido
import pytest

if importlib.util.find_spec("jack") is None or shutil.which("jackd") is None:
    pytest.skip("needs a JACK server (jackd2) and JACK-Client", allow_module_level=True)
pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from jack_room import PATIENCE_S, RATE, Room, open_room
from performing import assert_nothing_hangs

from realtime import midi
from realtime.core.tempo import PPQN, PULSES_PER_TICK
from realtime.io.files import midifile

# rtmidi's JACK back end stamps what comes in with "now" and sends at the start of the next period: one period each way.
MEDIAN_MS = 15.0
Frames = list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with open_room() as one:
        yield one


class Duet:
    """`antiphon jam` and a musician who plays a script to it; SIGTERM when the script is over."""

    def __init__(self, room: Room, model: Path, folder: Path, script: Frames, *options: str) -> None:
        self.record = folder / "jam.mid"
        jam = room.start(
            *("-m", "realtime.cli", "jam", "--backend", "jack", "--record", str(self.record)),
            *("--model", str(model), "--provider", "cpu", "--mode", "trade", "--bars-per-turn", "1", *options),
        )
        musician = room.start("tests/jack_player.py", "Antiphon In", "Antiphon Out")
        try:
            assert musician.stdin is not None and musician.stdout is not None
            musician.stdin.write(json.dumps([[frame, list(message)] for frame, message in script]) + "\n")
            musician.stdin.flush()
            for word in ("playing", "played"):
                line = musician.stdout.readline().strip()
                assert line == word, musician.communicate()[1] + (
                    (jam.poll() is not None and jam.communicate()[1]) or ""
                )
            jam.send_signal(signal.SIGTERM)
            self.summary, self.said = jam.communicate(timeout=PATIENCE_S)
            assert jam.returncode == 0, self.said
            heard, _ = musician.communicate(timeout=PATIENCE_S)
        finally:
            for process in (jam, musician):
                process.kill()
                process.wait()
        came, self.late = json.loads(heard)
        self.came: Frames = [(frame, bytes(message)) for frame, message in came]

    def assert_all_is_well(self) -> None:
        """Nothing sounds at the end, and the recording has both sides."""
        assert_nothing_hangs([(frame, 0, message) for frame, message in self.came])
        assert "0 notes left hanging" in self.summary
        assert "asked to end" in self.said
        piece = midifile.read(self.record)
        assert set(piece.track_names) >= {"player", "antiphon"}
        assert not list(self.record.parent.glob("*.journal"))

    def recorded(self, track: str) -> list[tuple[int, int, int]]:
        """(pulse, pitch, velocity) of the notes on a track of the recording."""
        piece = midifile.read(self.record)
        which = piece.track_names.index(track)
        return sorted((n.onset_pulse, n.pitch, n.velocity) for n in piece.notes if n.track == which)

    def turned(self) -> list[int]:
        """The pulses at which the player's wheel was turned, as recorded."""
        track = next(track for track in mido.MidiFile(self.record).tracks if track.name == "player")
        pulses = list(accumulate(message.time for message in track))
        return [pulse for pulse, message in zip(pulses, track, strict=True) if message.is_cc(1)]

    def errors_ms(self, frame_of: Callable[[int], float]) -> list[float]:
        """How far from its pulse's frame each of Antiphon's notes came back."""
        heard = sorted((frame, m[1], m[2]) for frame, m in self.came if midi.is_note_on(m))
        meant = self.recorded("antiphon")
        assert sorted(note[1:] for note in heard) == sorted(note[1:] for note in meant)
        assert meant, self.said
        errors = []
        for (frame, _, _), (pulse, _, _) in zip(heard, meant, strict=True):
            assert pulse % PULSES_PER_TICK == 0, "on the grid"
            assert pulse // (4 * PPQN) % 2 == 1, "in Antiphon's own bars"
            errors.append((frame - frame_of(pulse)) * 1000 / RATE)
        return errors


def bars_of_quarters(beat: float, bars: int) -> Frames:
    """The player's bars 1, 3, 5 ... in quarters, and a wheel that is turned all the time until Antiphon is in its last bar."""
    script = [(frame, midi.control(0, 1, i % 128)) for i, frame in enumerate(wheel(beat, bars))]
    for i in range(4 * bars):
        if i // 4 % 2 == 0:
            script.append((round(i * beat), midi.note_on(0, 60 + i % 4 * 2, 80)))
            script.append((round((i + 0.8) * beat), midi.note_off(0, 60 + i % 4 * 2)))
    return script


def wheel(beat: float, bars: int) -> list[int]:
    """When it is turned: eight times a beat, between the notes."""
    return [round((i + 0.5) * beat / 8) for i in range(8 * 4 * bars - 12)]


def test_notes_come_back_on_the_grid_and_sigterm_leaves_nothing_sounding(
    room: Room, tiny_model: Path, tmp_path: Path
) -> None:
    beat = RATE * 60 / 180
    duet = Duet(room, tiny_model, tmp_path, bars_of_quarters(beat, 4), "--tempo", "180", "--seed", "2")
    duet.assert_all_is_well()
    player = duet.recorded("player")
    assert [pitch for _, pitch, _ in player] == [60, 62, 64, 66] * 2
    assert player[0][0] == 0

    # Where the server is late its frames are no steady clock. When the wheel was turned, by them and by Antiphon, tells.
    turned, frames = duet.turned(), wheel(beat, 4)
    assert len(turned) == len(frames)

    def frame_of(pulse: int) -> float:
        last = max(bisect.bisect_right(turned, pulse) - 1, 0)
        return frames[last] + (pulse - turned[last]) * beat / PPQN

    errors = duet.errors_ms(frame_of)
    assert abs(statistics.median(errors)) < MEDIAN_MS, (errors, duet.late)


def test_it_follows_midi_clock(room: Room, tiny_model: Path, tmp_path: Path) -> None:
    beat = RATE * 60 / 150
    downbeat = RATE // 5
    clocks = [round(downbeat + i * beat / 24) for i in range(round(14.5 * 24))]
    script = [(0, bytes([midi.START])), *((frame, bytes([midi.CLOCK])) for frame in clocks)]
    script += [(downbeat + frame + 2, message) for frame, message in bars_of_quarters(beat, 4)]
    duet = Duet(room, tiny_model, tmp_path, script, "--sync", "clock", "--seed", "2")
    duet.assert_all_is_well()
    errors = duet.errors_ms(lambda pulse: downbeat + pulse * beat / PPQN)
    assert abs(statistics.median(errors)) < MEDIAN_MS, (errors, duet.late)
