"""Sound of a MIDI file: as long as the music, each note at its pitch and time, the parts apart, and never clipped."""

from __future__ import annotations

import io
import shutil
import wave
from pathlib import Path

import mido
import numpy as np
import pytest
from test_cli import Run, antiphon
from toycorpus import Messages, midi_bytes, save

from realtime.io.files.smf import load
from realtime.io.files.synth import RATE, rendered

__all__ = ["antiphon"]


def sound(path: Path) -> np.ndarray:
    """(n, 2) samples in -1..1."""
    with wave.open(io.BytesIO(rendered(load(path)))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32_768


def level(samples: np.ndarray, start_s: float, end_s: float) -> float:
    return float(np.sqrt((samples[round(start_s * RATE) : round(end_s * RATE)] ** 2).mean()))


@pytest.mark.parametrize("program", [0, 24, 40, 73])
@pytest.mark.parametrize("pitch", [36, 57, 81])
def test_a_note_has_its_pitch_time_and_length(pitch: int, program: int, tmp_path: Path) -> None:
    on, off = mido.Message("note_on", note=pitch, velocity=90), mido.Message("note_off", note=pitch)
    save(tmp_path / "a.mid", [(0, mido.Message("program_change", program=program)), (960, on), (1920, off)])
    samples = np.concatenate([sound(tmp_path / "a.mid"), np.zeros((2 * RATE, 2))])
    assert level(samples, 0, 0.99) == 0 and level(samples, 1.05, 1.9) > 0.01
    assert level(samples, 2.9, 3.0) < level(samples, 1.1, 1.9) / 100
    heard = np.abs(np.fft.rfft(samples[RATE : 2 * RATE, 0] * np.hanning(RATE)))
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    assert abs(int(heard.argmax()) - hertz) <= 1.5


def test_two_parts_are_apart_in_place_and_timbre(tmp_path: Path) -> None:
    path = tmp_path / "duet.mid"
    path.write_bytes(midi_bytes({"player": [(0.0, 1.0, 60, 80)], "antiphon": [(4.0, 1.0, 60, 80)]}))
    samples = sound(path)
    first, second = samples[: RATE // 2], samples[2 * RATE : 2 * RATE + RATE // 2]
    assert np.abs(first[:, 0]).max() > 1.5 * np.abs(first[:, 1]).max()
    assert np.abs(second[:, 1]).max() > 1.5 * np.abs(second[:, 0]).max()
    one, other = (np.abs(np.fft.rfft(part.sum(1))) for part in (first, second))
    assert np.corrcoef(one, other)[0, 1] < 0.95


def test_nothing_is_clipped_and_the_tempo_counts(tmp_path: Path) -> None:
    path = tmp_path / "loud.mid"
    chord = [(float(beat), 1.0, 36 + 3 * at, 127) for beat in range(4) for at in range(20)]
    path.write_bytes(midi_bytes({"MELODY": chord, "DRUMS": [(0.0, 1.0, 36, 127)]}, tempos=[(0, 60.0), (2, 120.0)]))
    samples = sound(path)
    assert 0.3 < np.abs(samples).max() < 1.0
    assert 3.0 < len(samples) / RATE < 5.5  # two beats of a second, two of half a second, and what rings on
    assert np.isfinite(samples).all() and rendered(load(path)) == rendered(load(path))


@pytest.mark.parametrize(("down", "rings"), [(127, True), (0, False)])
def test_the_sustain_pedal_holds_a_note(down: int, rings: bool, tmp_path: Path) -> None:
    messages: Messages = [
        (0, mido.Message("control_change", control=64, value=down)),
        (0, mido.Message("note_on", note=72, velocity=90)),
        (240, mido.Message("note_off", note=72)),
        (1920, mido.Message("control_change", control=64, value=0)),
    ]
    save(tmp_path / "pedal.mid", messages)
    samples = np.concatenate([sound(tmp_path / "pedal.mid"), np.zeros((3 * RATE, 2))])
    assert (level(samples, 1.2, 1.6) > 0.003) == rings


def test_render_writes_a_file_and_refuses_what_is_none(
    antiphon: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.mid").write_bytes(midi_bytes({"MELODY": [(0.0, 1.0, 60, 80)]}))
    (tmp_path / "no.sf2").write_text("no")
    assert antiphon("render", "in.mid", "out.wav") == 0
    assert (tmp_path / "out.wav").stat().st_size > 50_000
    capfd.readouterr()
    for words, given in (
        ("out.mp3: the result is a sound file", ("in.mid", "out.mp3")),
        ("nowhere.mid: cannot be read", ("nowhere.mid", "new.wav")),
        ("--soundfont", ("in.mid", "new.wav", "--soundfont", "no.sf2")),
    ):
        assert antiphon("render", *given) == 2
        assert words in capfd.readouterr().err
    assert not (tmp_path / "new.wav").exists()


def test_a_sound_font_is_played_by_fluidsynth(antiphon: Run, tmp_path: Path) -> None:
    font = next(iter(sorted(Path("/usr/share/sounds/sf2").glob("*.sf2"))), None)
    if shutil.which("fluidsynth") is None or font is None:
        pytest.skip("fluidsynth and a sound font are not installed (apt-get install fluidsynth timgm6mb-soundfont)")
    (tmp_path / "in.mid").write_bytes(midi_bytes({"MELODY": [(0.0, 1.0, 60, 80)]}))
    assert antiphon("render", "in.mid", "out.wav", "--soundfont", font) == 0
    with wave.open(str(tmp_path / "out.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert np.abs(samples.astype(int)).max() > 20_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mid", "out.wav"]
