"""Ports that come and go at a real JACK server, and a server that is restarted, while `antiphon jam` plays."""

from __future__ import annotations

import contextlib
import importlib.util
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if importlib.util.find_spec("jack") is None or shutil.which("jackd") is None:
    pytest.skip("needs a JACK server (jackd2) and JACK-Client", allow_module_level=True)
pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from jack_room import PATIENCE_S, Keys, Room, Said, open_room

from realtime import midi
from realtime.io.files import midifile


@pytest.fixture(scope="module")
def shared() -> Iterator[Room]:
    with open_room() as one:
        yield one


@pytest.fixture
def room(shared: Room) -> Iterator[Room]:
    """The server for all, and nothing beside it that another test has left."""
    yield shared
    shared.clear()


def test_a_keyboard_and_a_server_may_come_and_go(room: Room, tiny_model: Path, tmp_path: Path) -> None:
    record, patient = tmp_path / "take.mid", tmp_path / "patient.yaml"
    patient.write_text("engine: {late_ms: 1000}\n")  # a busy machine answers late
    model = (
        "--config",
        str(patient),
        "--model",
        str(tiny_model),
        "--provider",
        "cpu",
        "--mode",
        "harmonise",
        "--temperature",
        "0.05",
    )
    ports = ("--backend", "jack", "--in", "Keys", "--out", "Keys:in")
    jam = room.start("-m", "realtime.cli", "jam", *ports, "--record", str(record), *model)
    said, strikes = Said(jam), 0
    try:
        said.wait_for(lambda: said.times("Ctrl-C ends") == 1, "its start")
        assert said.times("waiting for it") == 2
        for times in range(1, 4):
            keys = Keys(room)
            said.wait_for(lambda times=times: said.times("is there") == 2 * times, "the return of the ports")
            strikes += _strike(keys, lambda keys=keys: any(map(midi.is_note_on, keys.heard())))
            assert said.times("is gone") == 2 * (times - 1)
            if times == 2:
                room.kill_server()
            keys.unplug()  # with its key down
            said.wait_for(lambda times=times: said.times("is gone") == 2 * times, "word of it")
            if times == 2:
                room.start_server()
        jam.send_signal(signal.SIGTERM)
        assert jam.wait(PATIENCE_S) == 0
    finally:
        jam.kill()
        jam.wait()
    piece = midifile.read(record)
    played = [note for note in piece.notes if piece.track_names[note.track] == "player"]
    assert {note.pitch for note in played} == {60}
    assert 3 <= len(played) <= strikes, "nothing comes twice"
    ends = [note.onset_pulse + note.duration_pulse for note in played]
    assert all(end < note.onset_pulse for end, note in zip(ends, played[1:], strict=False)), "released when it was gone"


def test_a_keyboard_that_is_back_before_anybody_looks_is_connected_again(room: Room) -> None:
    """Looks are made by hand, in a process beside the server."""
    ports = room.start("-c", LOOKS)
    try:
        for _ in range(2):
            keys = Keys(room)
            assert _looks(ports, 2) == ["Looked", "Looked"]
            _strike(keys, lambda: _came(ports))
            keys.unplug()
            keys = Keys(room)
            assert _looks(ports, 2) == ["OutputLost", "InputLost", "Looked", "Looked"]
            _strike(keys, lambda: _came(ports))
            keys.unplug()
            assert _looks(ports, 1) == ["OutputLost", "InputLost", "Looked"]
    finally:
        ports.kill()
        ports.wait()


STRUCK = midi.note_on(0, 60, 80).hex()
LOOKS = """
import sys, time, traceback
from realtime.errors import UserError
from realtime.io.live.keeper import Keeper
from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput

news = []
ports = RtMidiInput("jack", "Keys:out"), RtMidiOutput("jack", "Keys:in")
keeper = Keeper(*ports, lambda message, _: print(message.hex(), flush=True) if message[0] == 0x90 else None, news.append)
for _ in range(30):
    try:
        keeper.open(wait=True)
        break
    except UserError as error:  # a server that has just lost a client to a kill is deaf for a while
        print(error, file=sys.stderr)
        time.sleep(1)
else:
    sys.exit("no port could be opened")
for line in sys.stdin:
    try:
        keeper.look()
    except Exception:
        traceback.print_exc()
    print(*(type(one).__name__ for one in news), flush=True)
    news.clear()
"""
"""Looks when it is told to. A look that fails is no reason not to look again, as in `Keeper`."""


def test_what_a_server_drops_one_client_of_is_opened_again_as_a_whole(room: Room) -> None:
    """A server drops a client that stood still for too long; libjack frees every other client when the next one is opened."""
    ports = room.start("-c", DROPS)
    try:
        for client in ("In", "Out", "Cables", "Watch"):
            keys = Keys(room)
            assert _looks(ports, 2) == ["Looked", "Looked"]
            assert ports.stdin is not None
            ports.stdin.write(f"Antiphon {client}\n")
            ports.stdin.flush()
            assert _line(ports) == "dropped\n"
            assert _looks(ports, 2) == ["OutputLost", "InputLost", "Looked", "Looked"]
            _strike(keys, lambda: _came(ports))
            keys.unplug()
            assert _looks(ports, 1) == ["OutputLost", "InputLost", "Looked"]
        ports.stdin.close()
        assert ports.wait(PATIENCE_S) == 0
    finally:
        ports.kill()
        ports.wait()


DROPS = (
    """
import os, socket, time
from pathlib import Path

def drop(client):
    rows = [line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text().splitlines()]
    [inode, *_] = [row[6] for row in rows if f"/jack_{client}" in row[-1] and ours(row[6])]
    with socket.socket(fileno=os.dup(ours(inode)[0])) as one:
        one.shutdown(socket.SHUT_RDWR)
    while ours(inode):
        time.sleep(0.01)
    print("dropped", flush=True)

def ours(inode):
    files = Path("/proc/self/fd")
    return [int(fd) for fd in os.listdir(files) if os.path.exists(files / fd) and os.readlink(files / fd) == f"socket:[{inode}]"]
"""
    + LOOKS.replace(
        "    try:\n        keeper.look",
        "    if line.strip():\n        drop(line.strip())\n        continue\n    try:\n        keeper.look",
    )
    + "keeper.close_ports()"
)


DIES = """
import time
from contextlib import suppress
from realtime.io.midi import rtmidi_ports
from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput

source, target = RtMidiInput("jack", None), RtMidiOutput("jack", None)
source.open(lambda message, stamp_ns: None)
target.open()
print(source.is_alive() and target.is_alive(), flush=True)
input()
while rtmidi_ports._have_server():
    time.sleep(0.01)
with suppress(Exception):
    {opened}
print(source.is_alive() or target.is_alive(), flush=True)
source.close()
target.close()
"""


@pytest.mark.parametrize(
    "opened",
    [
        "source._waker = None; source._wake()",
        "RtMidiOutput('jack', None, 'Another')._start(rtmidi_ports.rtmidi.MidiOut)",
    ],
)
def test_ports_that_libjack_has_freed_are_not_closed(opened: str, room: Room) -> None:
    """A server dies just before one more client is opened: libjack frees all others then, and closing them ended the process."""
    ports = room.start("-c", DIES.format(opened=opened))
    try:
        assert _line(ports) == "True\n"
        room.kill_server()
        assert ports.stdin is not None
        ports.stdin.write("\n")
        ports.stdin.flush()
        assert _line(ports) == "False\n"
        assert ports.wait(PATIENCE_S) == 0
    finally:
        ports.kill()
        ports.wait()
        room.start_server()


def _looks(ports: subprocess.Popen[str], times: int) -> list[str]:
    """Have it look, until so many looks have ended well. Returns the kinds of what it found."""
    assert ports.stdin is not None
    found: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while found.count("Looked") < times:
        assert time.monotonic() < deadline
        with contextlib.suppress(BrokenPipeError):
            ports.stdin.write("\n")
            ports.stdin.flush()
        found += _line(ports).split()
    return found


def _line(ports: subprocess.Popen[str]) -> str:
    """The next line that is no note: one that came late may be struck twice."""
    assert ports.stdout is not None and ports.stderr is not None
    while (line := ports.stdout.readline()).strip() == STRUCK:
        pass
    assert line, f"it has ended with {ports.wait(PATIENCE_S)}: {ports.stderr.read()}"
    return line


def _came(ports: subprocess.Popen[str]) -> bool:
    """Whether what is struck comes in within some seconds. Nothing else is said meanwhile."""
    assert ports.stdout is not None
    there, _, _ = select.select([ports.stdout], [], [], 5)
    return bool(there) and ports.stdout.readline().strip() == STRUCK


def _strike(keys: Keys, arrived: Callable[[], bool]) -> int:
    """Strike a key until it is heard: a server without real-time priority loses what a busy machine brings too late. Returns how
    often it was struck."""
    for strikes in range(1, 7):
        keys.play(midi.note_on(0, 60, 80))
        deadline = time.monotonic() + PATIENCE_S / 6
        while time.monotonic() < deadline:
            if arrived():
                return strikes
            time.sleep(0.02)
        keys.play(midi.note_off(0, 60))
        time.sleep(0.1)
    raise AssertionError(f"nothing of {strikes} strikes was heard")


def test_without_waiting_a_port_that_is_not_there_is_refused(room: Room, tiny_model: Path, tmp_path: Path) -> None:
    command = ("-m", "realtime.cli", "jam", "--backend", "jack", "--in", "Nobody", "--no-wait")
    jam = room.start(*command, "--model", str(tiny_model), "--provider", "cpu", "--record", str(tmp_path / "take.mid"))
    _, error = jam.communicate(timeout=PATIENCE_S)
    assert jam.returncode == 2
    assert error.splitlines()[-1].startswith("antiphon: MIDI port 'Nobody': no such port; there are: ")
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_name_never_finds_one_s_own_port(room: Room, tiny_model: Path, tmp_path: Path) -> None:
    command = ("-m", "realtime.cli", "jam", "--backend", "jack", "--in", "Antiphon", "--no-wait")
    jam = room.start(*command, "--model", str(tiny_model), "--provider", "cpu", "--record", str(tmp_path / "take.mid"))
    _, error = jam.communicate(timeout=PATIENCE_S)
    assert jam.returncode == 2 and "no such port; there are: none" in error
