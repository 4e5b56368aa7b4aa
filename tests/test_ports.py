"""Ports: the one in memory, the finding of a port by name, and what is said where there is no MIDI system."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import UserError
from realtime.io.midi.names import find_port
from realtime.io.midi.ports import InputPort, MemoryPort, OutputPort, PortLost
from realtime.io.midi.rtmidi_ports import NoMidiSystem, RtMidiInput, RtMidiOutput, backends, list_ports

NOTE = b"\x90\x3c\x40"


def test_memory_port_is_both_ends() -> None:
    clock = iter(range(100, 200, 10))
    port = MemoryPort("both", lambda: next(clock))
    source: InputPort = port
    target: OutputPort = port
    got: list[tuple[bytes, int]] = []
    port.inject(NOTE, 1)  # nobody listens yet
    source.open(lambda message, stamp_ns: got.append((message, stamp_ns)))
    port.inject(NOTE, 2)
    target.send(b"\x80\x3c\x00")
    target.send(NOTE)
    assert got == [(NOTE, 2)]
    assert port.sent == [(100, b"\x80\x3c\x00"), (110, NOTE)]


def test_memory_port_closed_or_gone() -> None:
    port = MemoryPort("p", lambda: 0)
    with pytest.raises(PortLost):
        port.send(NOTE)
    got: list[bytes] = []
    port.open(lambda message, _: got.append(message))
    assert port.is_alive()
    port.vanish()
    assert not port.is_alive()
    port.inject(NOTE, 0)
    with pytest.raises(PortLost):
        port.send(NOTE)
    port.close()
    port.close()
    assert got == [] and port.sent == []


def test_memory_port_may_be_sent_to_from_its_own_callback() -> None:
    port = MemoryPort("echo", lambda: 7)
    port.open(lambda message, _: port.send(message))
    port.inject(NOTE, 0)
    assert port.sent == [(7, NOTE)]


@pytest.mark.parametrize(
    ("wanted", "there", "backend", "index"),
    [
        ("Port 1", ["Port 10", "Port 1"], "coremidi", 1),  # exact beats substring
        ("Keys:Keys MIDI 1", ["Keys:Keys MIDI 1 20:0", "Keys:Keys MIDI 10 21:0"], "alsa", 0),
        ("Keys MIDI 1", ["Keys:Keys MIDI 10 21:0", "Keys:Keys MIDI 1 20:0"], "alsa", 1),
        ("Keys:Keys MIDI 1 128:0", ["Keys:Keys MIDI 1 20:0", "Keys:Keys MIDI 1 128:0"], "alsa", 1),
        ("loopMIDI Port", ["loopMIDI Port 0", "loopMIDI Port 1 1"], "winmm", 0),
        ("ardour:track/midi_out 1", ["ardour:track/midi_out 1", "ardour:track/midi_out 10"], "jack", 0),
        ("piano", ["Grand Piano 20:0", "Drums 21:0"], "alsa", 0),  # a unique part, whatever its case
    ],
)
def test_finding_a_port(wanted: str, there: list[str], backend: str, index: int) -> None:
    assert find_port(wanted, there, backend) == index


@pytest.mark.parametrize("wanted", ["Port", "nope", "", "Twin"])
def test_no_such_port_lists_those_there_are(wanted: str) -> None:
    with pytest.raises(UserError, match="'Port 1', 'Port 10', 'Twin', 'Twin'") as error:
        find_port(wanted, ["Port 1", "Port 10", "Twin", "Twin"], "coremidi")
    assert "\n" not in str(error.value)


def test_no_port_at_all() -> None:
    with pytest.raises(UserError, match="there are: none"):
        find_port("x", [], "jack")


@given(st.lists(st.text(max_size=6), max_size=5), st.sampled_from(["alsa", "jack", "winmm"]), st.data())
def test_a_full_name_that_is_there_once_is_found(there: list[str], backend: str, data: st.DataObject) -> None:
    once = [name for name in there if there.count(name) == 1]
    if once:
        wanted = data.draw(st.sampled_from(once))
        assert there[find_port(wanted, there, backend)] == wanted


def test_constructors_open_nothing() -> None:
    for port in (RtMidiInput("auto", None), RtMidiOutput("auto", "anything")):
        assert not port.is_alive()
        port.close()
    with pytest.raises(PortLost):
        RtMidiOutput("auto", None).send(NOTE)
    assert RtMidiInput("auto", None).name == "Antiphon In"
    assert RtMidiOutput("auto", None).name == "Antiphon Out"


@pytest.mark.skipif("jack" not in backends(), reason="rtmidi was built without JACK")
def test_no_midi_system_says_what_was_tried(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "antiphon-no-such-server")
    for attempt in (lambda: RtMidiInput("jack", None).open(lambda *_: None), lambda: list_ports("jack")):
        with pytest.raises(NoMidiSystem, match=r"tried jack \(.*JACK server.*antiphon demo.*antiphon doctor") as error:
            attempt()
        assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""  # what libjack writes there is kept off the screen


def test_a_back_end_of_another_system() -> None:
    missing = next(name for name in ("winmm", "coremidi") if name not in backends())
    with pytest.raises(UserError, match=f"'{missing}' given"):
        RtMidiOutput(missing, None).open()
