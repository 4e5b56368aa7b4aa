"""The command line: what a user gets wrong ends in one line and status 2, with nothing left behind; what is right works.

Most of it runs in this process: `main` is what the `antiphon` command calls.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from toycorpus import Metre, midi_bytes, tune

from realtime import cli
from realtime.composing.contract import METADATA_KEY
from realtime.io.files import midifile
from realtime.io.midi.rtmidi_ports import backends

ROOT = Path(__file__).resolve().parents[1]

Run = Callable[..., int]
"""Runs `antiphon ...` in an empty folder and returns its exit status."""


@pytest.fixture
def antiphon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the worker process, where Antiphon is not installed

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["antiphon", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.fixture
def refused(antiphon: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `antiphon ...` and returns its one line on standard error, once all that a refusal promises has been checked."""

    def run(*arguments: str | Path) -> str:
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        folders = {path for path in tmp_path.rglob("*") if path.is_dir()}
        capfd.readouterr()
        status = antiphon(*arguments)
        out, error = capfd.readouterr()
        assert status == 2, error
        assert error.count("\n") == 1 and error.startswith("antiphon: "), error
        assert "Traceback" not in out + error
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before, "files were left"
        assert {path for path in tmp_path.rglob("*") if path.is_dir()} == folders, "folders were left"
        return error

    return run


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["compose"], "Missing argument 'IN.mid'"),
        (["nothing"], "No such command 'nothing'"),
        (["duet", "a.mid", "b.mid", "--bars"], "Option '--bars' requires an argument"),
        (["compose", "a.mid", "b.mid", "--bars", "0"], "--bars 0: it should be greater than or equal to 1"),
        (["compose", "a.mid", "b.mid", "--bars", "9999"], "--bars 9999: it should be less than or equal to 1024"),
        (["edit", "a.mid", "b.mid", "--density", "nan"], "--density nan: it should be less than or equal to 3"),
    ],
)
def test_what_the_parser_refuses_is_one_sentence(given: list[str], says: str, refused: Callable[..., str]) -> None:
    assert refused(*given) == f"antiphon: {says}; see antiphon --help\n"


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    path.write_bytes(midi_bytes(tune(1, 4), tempos=((0, 96.0),)))
    return path


# --- configuration ---


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("sync: {tempo_bmp: 90}", "unknown key 'sync.tempo_bmp'; did you mean 'sync.tempo_bpm'?"),
        ("tempo_bpm: 90", "did you mean 'sync.tempo_bpm'?"),
        ("synk: {tempo_bpm: 90}", "did you mean 'sync"),
        ("sync: {tempo_bpm: 1000}", "sync.tempo_bpm: 1000 given; allowed 20 to 400"),
        ("sync: {tempo_bpm: fast}", "sync.tempo_bpm: 'fast' given; allowed 20 to 400"),
        ("mode: {name: duel}", "mode.name: 'duel' given; allowed continue, trade, accompany, harmonise"),
        ("play: {key: H major}", "play.key: 'H major' given"),
        ("play: {channel: 0}", "play.channel: 0 given; allowed whole numbers 1 to 16"),
        ("mode: {trigger_cc: 22}", "controller 22 given to mode.trigger_cc and to controls.cc (brightness)"),
        ("sync: {tap_cc: 3, one_cc: 3}", "controller 3 given to sync.tap_cc and to sync.one_cc"),
        ("controls: {cc: 60}", "controller 64 given to controls.cc (polyphony) and to the sustain pedal"),
        ("mode: {trigger_key: 36}\nsync: {tap_key: C2}", "key 36 given to mode.trigger_key and to sync.tap_key"),
        ("- a\n- b", "a list at the top level"),
        ("a: &x [1]\nb: *x", "anchors and aliases are not allowed"),
        ("sync: [", "not YAML"),
        ("\x00\x01", "not YAML"),
    ],
)
def test_a_wrong_configuration(yaml: str, words: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml)
    error = refused("jam", "--config", "my.yaml")
    assert words in error and "my.yaml" in error


def test_a_configuration_that_is_not_there(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "nowhere.yaml: cannot be read" in refused("jam", "--config", "nowhere.yaml")
    assert "cannot be read" in refused("jam", "--config", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jam", "--mode", "duel"], "--mode duel: allowed continue, trade, accompany, harmonise"),
        (["jam", "--tempo", "1000"], "--tempo 1000: allowed 20 to 400"),
        (["jam", "--tempo", "nan"], "--tempo nan: allowed 20 to 400"),
        (["jam", "--tempo", "fast"], "--tempo"),
        (["jam", "--range", "C6-C3"], "the lower first"),
        (["jam", "--key", "C doric"], "did you mean 'dorian'?"),
        (["jam", "--backend", "midi"], "--backend midi: allowed auto, alsa, jack, coremidi, winmm"),
        (["jam", "--in", "Keys", "--out", "Keys"], "Antiphon would answer itself"),
        (["demo", "--provider", "tpu"], "--provider tpu: allowed auto, cpu, cuda"),
        (["compose", "song.mid", "out.mid", "--bars", "0"], "--bars"),
        (["compose", "song.mid"], "OUT.mid"),
        (["duet", "nowhere.mid", "out.mid"], "nowhere.mid: cannot be read"),
        (["duet", "song.mid", "out.mid", "--grid", "bars"], "--grid bars: allowed player or file"),
        (["duet", "song.mid", "out.mid", "--sync", "clock", "--tempo", "90"], "--tempo 90: tempo and position are"),
        (["jam", "--sync", "clock", "--count-in", "2"], "--count-in 2: tempo and position are those of the MIDI clock"),
        (["jam", "--record", "take.wav"], "take.wav: a recording is a .mid file"),
        (["duet", "song.mid", "out.txt"], "out.txt: the result is a MIDI file"),
        (["jam", "--tempi", "90"], "No such option: --tempi"),
        (["jamm"], "No such command 'jamm'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command(arguments: list[str], words: str, refused: Callable[..., str]) -> None:
    assert words in refused(*arguments)


# --- files ---


def _header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:10])


def _mutated(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8:14] = b"\x00\x07\x00\x01\x00\x00"
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("la la la\n")


def _silent(path: Path) -> None:
    path.write_bytes(midi_bytes({"MELODY": []}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_header, "damaged"),
        (_mutated, "damaged"),
        (_empty, "not a MIDI file"),
        (_text, "not a MIDI file"),
        (_silent, "no notes in it"),
        (Path.unlink, "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_midi_file(
    spoil: Callable[[Path], None], words: str, refused: Callable[..., str], song: Path, tiny_model: Path
) -> None:
    spoil(song)
    error = refused("compose", "song.mid", "out.mid", "--model", tiny_model)
    assert "song.mid" in error and words in error


def test_mutated_midi_files_are_read_or_refused(
    antiphon: Run, song: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Twenty files with four bytes changed each: a whole answer, or one line and none."""
    rng = random.Random(3)
    whole = song.read_bytes()
    for _ in range(20):
        data = bytearray(whole)
        for _ in range(4):
            data[rng.randrange(len(data))] = rng.randrange(256)
        song.write_bytes(data)
        status = antiphon("compose", "song.mid", "out.mid", "--bars", "1", "--model", tiny_model)
        error = capfd.readouterr().err
        assert (status, (tmp_path / "out.mid").exists()) in ((0, True), (2, False)), error
        assert status == 0 or error.count("\n") == 1
        (tmp_path / "out.mid").unlink(missing_ok=True)


def _half(model: Path, to: Path) -> None:
    to.write_bytes(model.read_bytes()[: model.stat().st_size // 2])


def _no_onnx(model: Path, to: Path) -> None:
    to.write_text("not a model\n")


def _foreign(model: Path, to: Path) -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), to)


def _with_contract(model: Path, to: Path, **clauses: object) -> None:
    loaded = onnx.load(model)
    contract = json.loads(next(prop.value for prop in loaded.metadata_props if prop.key == METADATA_KEY))
    helper.set_model_props(loaded, {METADATA_KEY: json.dumps({**contract, **clauses})})
    onnx.save(loaded, to)


def _later_contract(model: Path, to: Path) -> None:
    _with_contract(model, to, contract_version=99)


def _later_vocabulary(model: Path, to: Path) -> None:
    _with_contract(model, to, vocabulary_version=99)


def _untrue_contract(model: Path, to: Path) -> None:
    _with_contract(model, to, layers=7)


def _no_file(model: Path, to: Path) -> None:
    pass


WRONG_MODELS = {
    _half: "cannot open it",
    _no_onnx: "cannot open it",
    _foreign: "it holds no contract of Antiphon's",
    _later_contract: "its contract_version is 99",
    _later_vocabulary: "its vocabulary_version is 99",
    _untrue_contract: "are not those of its contract",
    _no_file: "no model there",
}


@pytest.mark.parametrize(("spoil", "words"), WRONG_MODELS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_wrong_model(
    spoil: Callable[[Path, Path], None], words: str, refused: Callable[..., str], song: Path, tiny_model: Path
) -> None:
    model = song.parent / "model.onnx"
    spoil(tiny_model, model)
    error = refused("compose", "song.mid", "out.mid", "--model", "model.onnx")
    assert "model.onnx: " in error and words in error


def test_a_wrong_model_in_the_demo(refused: Callable[..., str]) -> None:
    assert "no model there" in refused("demo", "--fast", "--model", "nowhere.onnx")


def test_a_wrong_model_in_a_session(refused: Callable[..., str], tmp_path: Path) -> None:
    """Here the worker process finds out, and the user reads it all the same."""
    (tmp_path / "model.onnx").write_text("not a model\n")
    assert "model.onnx" in refused("jam", "--model", "model.onnx")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compose", "song.mid", "nowhere/out.mid"],
        ["compose", "song.mid", "song.mid/out.mid"],
        ["compose", "song.mid", "."],
        ["duet", "song.mid", "nowhere/out.mid"],
        ["duet", "song.mid", "song.mid"],
        ["demo", "--fast", "--out-dir", "song.mid"],
        ["demo", "--fast", "--out-dir", "song.mid/demo"],
        ["jam", "--record", "nowhere/take.mid"],
        ["jam", "--record", "."],
    ],
    ids=" ".join,
)
def test_a_place_that_cannot_be_written(
    arguments: list[str], refused: Callable[..., str], song: Path, tiny_model: Path
) -> None:
    assert arguments[-1] in refused(*arguments, "--model", tiny_model)


def test_a_port_that_is_not_there(refused: Callable[..., str], tiny_model: Path) -> None:
    """With a MIDI system the ports there are are listed; without one it is said which were tried."""
    error = refused("jam", "--in", "No Such Port", "--no-wait", "--model", tiny_model)
    assert "'No Such Port': no such port; there are: " in error or "no MIDI system: tried " in error


def test_a_back_end_that_this_system_does_not_have(refused: Callable[..., str], tiny_model: Path) -> None:
    missing = next(name for name in ("winmm", "coremidi") if name not in backends())
    assert f"'{missing}' given" in refused("jam", "--backend", missing, "--model", tiny_model)


# --- the process itself ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compose", "nowhere.mid", "out.mid"], "antiphon: nowhere.mid: cannot be read"),
        (["jam", "--mode", "duel"], "antiphon: --mode duel: allowed"),
        (["jamm"], "antiphon: No such command 'jamm'"),
    ],
)
def test_the_process_ends_with_status_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "realtime.cli", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(words) and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


# --- what is right ---


def test_compose_goes_on_from_a_file(
    antiphon: Run, song: Path, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert antiphon("compose", "song.mid", "out.mid", "--bars", "2", "--model", tiny_model) == 0
    assert "out.mid: 2 bars and " in capfd.readouterr().out
    before, after = midifile.read(song), midifile.read(tmp_path / "out.mid")
    old = {(n.onset_pulse, n.pitch, n.duration_pulse, n.velocity, n.channel) for n in before.notes}
    made = [n for n in after.notes if (n.onset_pulse, n.pitch, n.duration_pulse, n.velocity, n.channel) not in old]
    assert len(after.notes) - len(made) == len(old), "what was there is kept"
    bar = 4 * 480
    assert made and all(4 * bar <= n.onset_pulse and n.onset_pulse + n.duration_pulse <= 6 * bar for n in made)
    assert after.tempos[0][1] == pytest.approx(96.0, rel=1e-4)
    assert all(after.track_names[n.track].startswith("antiphon ") for n in made)


def test_compose_starts_in_the_next_bar_of_any_metre(antiphon: Run, tiny_model: Path, tmp_path: Path) -> None:
    line = [(beat, 0.9, 60 + beat, 80) for beat in range(7)]  # a bar line at 6: the third bar is begun
    (tmp_path / "waltz.mid").write_bytes(midi_bytes({"MELODY": line}, [Metre(0, 3, 4)]))
    assert antiphon("compose", "waltz.mid", "out.mid", "--bars", "1", "--part", "bass", "--model", tiny_model) == 0
    piece = midifile.read(tmp_path / "out.mid")
    made = [n for n in piece.notes if piece.track_names[n.track] == "antiphon bass"]
    assert made and all(9 * 480 <= n.onset_pulse < 12 * 480 for n in made)
    assert piece.time_signatures == [(0, 3, 4)]


@pytest.mark.parametrize("mode", ["continue", "trade", "accompany", "harmonise"])
def test_the_fast_demo_is_the_same_every_time(mode: str, antiphon: Run, tiny_model: Path, tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = ("--mode", mode, "--seed", seed, "--out-dir", folder, "--model", tiny_model)
        assert antiphon("demo", "--fast", *map(str, options)) == 0
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == [
            "duet.mid",
            "duet.png",
            "duet.wav",
            "report.json",
        ]
    first, second, other = ((tmp_path / folder / "duet.mid").read_bytes() for folder in "abc")
    assert first == second != other
    piece = midifile.read(tmp_path / "a" / "duet.mid")
    assert [name for name in piece.track_names if name in ("player", "antiphon")] == ["player", "antiphon"]
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    answers = [n for n in piece.notes if piece.track_names[n.track] == "antiphon"]
    assert report["mode"] == mode and report["notes"] == len(answers) > 0
    assert (report["notes_left_hanging"], report["missed_deadlines"], report["late_notes_dropped"]) == (0, 0, 0)


def test_constraints_from_the_command_line_hold(antiphon: Run, tiny_model: Path, tmp_path: Path) -> None:
    """Key, range and polyphony in what comes out, by a model that knows nothing of them."""
    options = ("--key", "D minor", "--range", "50-70", "--max-notes", "1", "--model", str(tiny_model))
    assert antiphon("demo", "--fast", "--out-dir", "d", *options) == 0
    piece = midifile.read(tmp_path / "d" / "duet.mid")
    answers = sorted(n for n in piece.notes if piece.track_names[n.track] == "antiphon")
    assert answers and all(50 <= n.pitch <= 70 for n in answers)
    assert all((n.pitch - 2) % 12 in (0, 2, 3, 5, 7, 8, 10) for n in answers)
    assert all(a.onset_pulse + a.duration_pulse <= b.onset_pulse for a, b in pairwise(answers))
