"""A session in 6/8, from its configuration to the ports and the files."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from performing import BEAT_NS, StepByStep
from toycorpus import Metre, midi_bytes

from models.corpus.pack import BEAT
from models.corpus.perturb import OFF_BEAT, ON_BEAT, STRONG, accents, swing
from models.corpus.windows import counts_of
from realtime import midi
from realtime.composing.loudness import METRE, Loudness
from realtime.config import Config, load
from realtime.core.dialogue import PlayerNote
from realtime.io.bench import music as bench_music
from realtime.io.files import midifile
from realtime.io.live.demo import play_fast, write_results
from realtime.io.live.duet import duet
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.offline.source import Source
from realtime.music.metre import BeatGrid, Segment
from realtime.music.notes import note_array
from realtime.music.tunes import TUNES
from realtime.music.vocabulary import MELODY

SIX_EIGHT = Segment(0, 72, compound=True)
LINE = [(eighth / 2, 0.45, 60 + eighth % 7, 80) for eighth in range(48)]


def config_of(model: Path, **given: object) -> Config:
    own = {"model.file": model, "model.provider": "cpu", "sync.beats_per_bar": 3, "sync.compound": True}
    return load(None, own | {key.replace("__", "."): value for key, value in given.items()})


def test_engine_and_worker_are_told(tiny_model: Path) -> None:
    config = config_of(tiny_model)
    assert engine_settings(config).bars == worker_setup(config).bars == (SIX_EIGHT,)


def test_the_demo_is_written_in_six_eight(tiny_model: Path, tmp_path: Path) -> None:
    config = config_of(tiny_model)
    write_results(config, tmp_path / "demo", *play_fast(config, lambda _: None))
    assert midifile.read(tmp_path / "demo" / "duet.mid").time_signatures == [(0, 6, 8)]


def test_a_file_in_six_eight_is_told_from_three_four(tiny_model: Path, tmp_path: Path) -> None:
    jig, said = tmp_path / "jig.mid", list[str]()
    jig.write_bytes(midi_bytes({"MELODY": LINE}, [Metre(0, 6, 8)]))
    for name, given, grid in (
        ("three", {"sync__compound": False}, "player"),
        ("six", {}, "player"),
        ("file", {}, "file"),
    ):
        config = config_of(tiny_model, **given)
        duet(config, jig, tmp_path / f"{name}.mid", [], grid, None, None, said.append)
    assert len(said) == 1 and "bars of 6/8 and Antiphon counts 3/4" in said[0] and "sync.compound: true" in said[0]
    signatures = [midifile.read(tmp_path / f"{name}.mid").time_signatures for name in ("three", "six", "file")]
    assert signatures == [[(0, 3, 4)], [(0, 6, 8)], [(0, 6, 8)]]
    written = next(
        message for message in mido.MidiFile(tmp_path / "six.mid").tracks[0] if message.type == "time_signature"
    )
    assert written.clocks_per_click == 36


def test_a_piece_goes_on_in_six_eight_where_it_was_in_three_four(tmp_path: Path) -> None:
    path = tmp_path / "waltz.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE}, [Metre(0, 3, 4)]))
    source = Source(path, tmp_path / "out.mid", None)
    source.go_on_in((6, 8), 144)
    assert source.bars == (Segment(0, 72), Segment(144, 72, compound=True))
    source.go_on_in((6, 8), 288)
    assert source.bars == (Segment(0, 72), Segment(144, 72, compound=True))


def test_the_benchs_jig_is_played_in_six_eight(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[Segment, ...]] = []
    monkeypatch.setattr(
        bench_music, "play", lambda model, setup, *_: heard.append(setup.bars) or (_ for _ in ()).throw(KeyError)
    )
    for tune in TUNES:
        if tune.metre in ((6, 8), (3, 4)):
            with pytest.raises(KeyError):
                bench_music.duet(load(None, {"model.file": tiny_model}), None, tune, "trade")  # type: ignore[arg-type]
    assert {bars[0] for bars in heard} == {SIX_EIGHT, Segment(0, 72)}


@pytest.mark.parametrize("rolling", [False, True])
def test_tapping_on_the_clicks_leaves_the_tempo(rolling: bool) -> None:
    """At 120 quarters a minute a click comes every three quarters of a second."""
    session = StepByStep("trade", bars=(SIX_EIGHT,), tap_cc=80)
    if rolling:
        session.play(midi.note_on(0, 60, 80), 0)
    for tap in range(8):
        for value in (127, 0):
            session.play(bytes((0xB0, 80, value)), tap * 3 * BEAT_NS // 2 + (value == 0) * BEAT_NS // 8)
    assert session.engine.tempo.bpm_at(session.engine.tempo.pulse_at(12 * BEAT_NS)) == pytest.approx(120, abs=0.01)
    if rolling:
        assert session.engine.tempo.pulse_at(12 * BEAT_NS) == pytest.approx(12 * 480, abs=2)


def test_accents_lie_on_dotted_quarters_and_straight_eighths_stay() -> None:
    rows = [(24 * i, 24, i % 3, 72, 5, 1) for i in range(6)]
    counts = counts_of(np.array(rows, BEAT))
    assert counts.tolist() == [0, 36, 72, 108]
    notes = note_array([(12 * i, 12, 60, 80, 0) for i in range(12)])
    swung = notes.copy()
    swing(swung, counts, 16)
    assert swung.tolist() == notes.tolist()
    sums = np.zeros(12)
    for seed in range(200):
        made = notes.copy()
        accents(np.random.default_rng(seed), made, counts, np.array([0, 72, 144]))
        sums += made["velocity"]
    mean = sums / 200 - sums[[1, 2, 4, 5]].mean() / 200
    strong, weak = 0.9 * (STRONG - OFF_BEAT), 0.9 * (ON_BEAT - OFF_BEAT)
    assert mean[[0, 6]] == pytest.approx([strong, strong], abs=3) and mean[[3, 9]] == pytest.approx([weak, weak], abs=3)
    assert np.abs(mean[[1, 2, 4, 5]]).max() < 3


def test_an_even_phrase_is_answered_with_accents_on_dotted_quarters() -> None:
    loudness = Loudness()
    for tick in range(0, 144, 12):
        loudness.add(PlayerNote(tick, 60, 80, MELODY))
    grid = BeatGrid([SIX_EIGHT])
    wanted = [loudness._wanted(grid.beat_at(tick), tick % 24 == 0)[0] for tick in range(0, 72, 12)]
    strong, weak, off, later_off = METRE[0, 1], METRE[1, 1], METRE[0, 0], METRE[1, 0]
    expected = np.array([strong, off, off, weak, later_off, later_off])
    assert np.array(wanted) - wanted[1] == pytest.approx(expected - off)
