"""An input whose callback is cancelled while a JACK server delivers a flood, as it is whenever another port is opened or closed:
nothing is lost, and nothing that is freed is used.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import pytest

if importlib.util.find_spec("jack") is None or shutil.which("jackd") is None:
    pytest.skip("needs a JACK server (jackd2) and JACK-Client", allow_module_level=True)

from jack_room import PATIENCE_S, Keys, Room, open_room

from realtime import midi


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with open_room() as one:
        yield one


def test_thousands_of_messages_wait(room: Room) -> None:
    port = room.start("-c", WAITS)
    try:
        keys = Keys(room)
        assert port.stdin is not None and port.stdout is not None
        print(file=port.stdin, flush=True)
        assert port.stdout.readline() == "held\n"
        keys.play(*(midi.control(0, number // 128, number % 128) for number in range(3000)))
        keys.heard()  # all is on its way
        print(file=port.stdin, flush=True)
        assert port.stdout.readline() == "3000\n"
        keys.unplug()
        port.communicate(timeout=PATIENCE_S)  # it is off the server before the next test begins
    finally:
        port.kill()
        port.wait()


WAITS = """
import sys
from realtime.io.midi.rtmidi_ports import RtMidiInput, RtMidiOutput

sys.stdin.readline()
came = []
port, other = RtMidiInput("jack", "Keys:out"), RtMidiOutput("jack", "Keys:in")
other.open()
port.open(lambda message, _: came.append(message))
port.hold()
print("held", flush=True)
sys.stdin.readline()
port.hold()  # once more, as what is on its way takes a moment
port.go_on()
print(len(came), flush=True)
port.close()
other.close()
"""


def test_a_driver_that_is_about_to_call_back_may_be_cancelled(room: Room) -> None:
    port = room.start("-X", "faulthandler", "-c", RESTS)
    assert port.stdin is not None and port.stdout is not None
    assert port.stdout.readline() == "open\n"
    flood = room.start("-c", FLOOD)
    try:
        assert flood.stdout is not None and flood.stdout.readline() == "on\n"
        out, error = port.communicate("\n", timeout=PATIENCE_S)
        assert port.returncode == 0, error
        assert int(out) > 1000  # how many came
    finally:
        port.kill()
        flood.communicate("\n", timeout=PATIENCE_S)


RESTS = """
import sys, time
from realtime.io.midi import rtmidi_ports

rtmidi_ports.DRAIN_S = 0.005  # about one period of the server's
came = 0

def count(message, stamp_ns):
    global came
    came += 1

port = rtmidi_ports.RtMidiInput("jack", None)
port.open(count)
print("open", flush=True)
sys.stdin.readline()
for _ in range(200):
    port.hold()
    port.go_on()
    port.is_alive()
    time.sleep(0.002)
port.close()
print(came)
"""

FLOOD = """
import jack, sys

client = jack.Client("Flood", no_start_server=True)
out = client.midi_outports.register("out")

@client.set_process_callback
def process(frames):
    out.clear_buffer()
    for frame in range(20):  # 3,750 messages a second
        out.write_midi_event(frame, bytes((0xB0, 1, frame)))

with client:
    client.connect(out, "Antiphon In:Antiphon In")
    print("on", flush=True)
    sys.stdin.readline()
"""
