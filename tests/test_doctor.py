"""The doctor on odd machines, and silence through a real JACK server."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from realtime import midi
from realtime.errors import UserError
from realtime.io import doctor
from realtime.io.midi.rtmidi_ports import backends

PERIOD = 1024
needs_jack = pytest.mark.skipif(
    importlib.util.find_spec("jack") is None or shutil.which("jackd") is None,
    reason="needs a JACK server (jackd2) and JACK-Client",
)


@pytest.fixture
def no_jack(monkeypatch: pytest.MonkeyPatch) -> None:
    """No JACK server of this name runs."""
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"none{os.getpid()}")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")


def lines(text: str, word: str) -> list[str]:
    return [line for line in text.splitlines() if word in line]


def test_it_says_what_jam_does_on_this_machine(tiny_model: Path, tmp_path: Path, no_jack: None) -> None:
    """And names every item, whatever it comes to."""
    text, healthy = doctor.report(tiny_model, tmp_path)
    command = [
        sys.executable,
        "-m",
        "realtime.cli",
        "jam",
        "--seconds",
        "0.1",
        "--provider",
        "cpu",
        "--model",
        str(tiny_model),
    ]
    jam = subprocess.run([*command, "--record", str(tmp_path / "take.mid")], capture_output=True, text=True)
    assert (jam.returncode == 0, jam.returncode == 2) == (healthy, not healthy), (text, jam.stderr)
    for item in ("Python", "onnxruntime", "MIDI", "providers", "model step", "clock", "timer", "priority", "folder"):
        assert lines(text, item), f"nothing on {item}"


def test_every_item_is_one_line_with_a_mark(tiny_model: Path, tmp_path: Path, no_jack: None) -> None:
    *items, _ = doctor.report(tiny_model, tmp_path)[0].splitlines()
    assert {item.split()[0] for item in items} <= {"ok", "note", "missing"}
    assert all("to fix it: " in item for item in items if item.startswith("missing"))


def test_no_model(tmp_path: Path, no_jack: None) -> None:
    text, healthy = doctor.report(tmp_path / "none.onnx", tmp_path)
    assert not healthy and "to fix it: pip install" in lines(text, "none.onnx")[0]


@pytest.mark.parametrize("size", [0, 1000])
def test_a_truncated_model(size: int, tiny_model: Path, tmp_path: Path, no_jack: None) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(tiny_model.read_bytes()[:size])
    text, healthy = doctor.report(broken, tmp_path)
    assert not healthy and any(line.startswith("missing model") for line in text.splitlines()), text


def test_a_folder_that_cannot_be_written(tiny_model: Path, tmp_path: Path, no_jack: None) -> None:
    text, healthy = doctor.report(tiny_model, tmp_path / "nowhere")
    assert not healthy and "cannot be written" in lines(text, "folder")[0]


def test_no_midi_is_no_reason_not_to_play_the_demo(tiny_model: Path, tmp_path: Path, no_jack: None) -> None:
    if Path("/dev/snd/seq").exists():
        pytest.skip("there is ALSA")
    text, healthy = doctor.report(tiny_model, tmp_path)
    assert not healthy and text.endswith("antiphon demo and the commands for files need no MIDI")
    assert all("to fix it" in line for line in lines(text, "MIDI by") if not line.startswith("ok"))


def test_without_rtmidi_it_says_how_to_get_it(tiny_model: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['rtmidi'] = None; from realtime.cli import main; sys.argv[1:] = ['doctor']; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == ""
    (line,) = lines(done.stdout, "python-rtmidi")
    assert line.startswith("missing MIDI: python-rtmidi is not installed; to fix it: pip install python-rtmidi")


@needs_jack
def test_a_machine_that_can_play(tiny_model: Path, tmp_path: Path, server: str) -> None:
    text, healthy = doctor.report(tiny_model, tmp_path)
    assert healthy and text.endswith("Antiphon can play here"), text


def test_nothing_but_the_report_is_said(no_jack: None) -> None:
    done = subprocess.run([sys.executable, "-m", "realtime.cli", "doctor"], capture_output=True, text=True)
    assert done.returncode in (0, 1) and done.stderr == "", done.stderr


def test_asking_for_priority_changes_nothing_here() -> None:
    if not hasattr(os, "sched_getscheduler"):
        pytest.skip("no scheduling policies here")
    before = os.sched_getscheduler(0)
    doctor.real_time_allowed()
    assert os.sched_getscheduler(0) == before


def test_ports_of_a_machine_without_jack(no_jack: None) -> None:
    if "jack" not in backends():
        pytest.skip("this rtmidi has no JACK")
    with pytest.raises(UserError, match="no MIDI system: tried jack"):
        doctor.ports_report("jack")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"doctor{os.getpid()}"
    for variable in ("JACK_NO_AUDIO_RESERVATION", "JACK_NO_START_SERVER"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    command = ["jackd", "-r", "-n", name, "-S", "-d", "dummy", "-r", "48000", "-p", str(PERIOD)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if subprocess.run(["jack_wait", "-w", "-t", "10", "-s", name], capture_output=True).returncode:
            pytest.skip("jackd does not start here")
        yield name
    finally:
        process.terminate()
        process.wait()


SYNTH = """
import sys, jack
client = jack.Client("Synth", no_start_server=True)
port = client.midi_inports.register("keys")
came = []
client.set_process_callback(lambda _: came.extend(bytes(data).hex() for _, data in port.incoming_midi_events()))
with client:
    print("ready", flush=True)
    sys.stdin.read()
print(" ".join(came))
"""


@needs_jack
def test_silence_arrives_whole_and_in_order(server: str) -> None:
    synth = subprocess.Popen([sys.executable, "-c", SYNTH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert synth.stdout is not None and synth.stdout.readline() == "ready\n"
    try:
        assert '--out "Synth:keys"' in doctor.ports_report("jack")
        started = time.monotonic()
        assert "Synth:keys" in doctor.silence("synth", "jack")
        assert time.monotonic() - started >= 2.0  # no faster than a MIDI cable
        with pytest.raises(UserError, match="no such port"):
            doctor.silence("organ", "jack")
    finally:
        came, _ = synth.communicate()
    assert [bytes.fromhex(message) for message in came.split()] == midi.panic(range(16))
