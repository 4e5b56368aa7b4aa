"""`antiphon duet`: a file takes the player's place. What comes in and when, on which grid, until when, and what is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import mido
import pytest

pytest.importorskip("torch", reason="the tiny model is made with torch (pip install '.[train]')")

from toycorpus import Metre, midi_bytes

from realtime.config import Config, load
from realtime.core.dialogue import Plan
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.playing import Timeline, read_playing
from realtime.io.live.duet import duet, script_of, timing_of
from realtime.io.live.model import Model
from realtime.io.live.settings import SHIPPED_MODEL, engine_settings, worker_setup
from realtime.io.live.simulated import Timing
from realtime.io.live.simulated import play as play_session
from realtime.music import tunes
from realtime.music.controls import Controls
from realtime.music.vocabulary import DRUMS

# Ode to Joy, a quarter each: (pitch, onset in quarters).
THEME = (64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62, 62)
LINE = [(float(beat), 0.9, pitch, 80) for beat, pitch in enumerate(THEME)]
Message = tuple[int, mido.Message]


def write(
    path: Path, messages: Sequence[Message], division: int = 480, tempos: Sequence[tuple[int, int]] = ((0, 500_000),)
) -> Path:
    """A file of one track "Lead" beside a tempo track; times in ticks, tempos in microseconds."""
    file = mido.MidiFile(type=1, ticks_per_beat=division)
    for name, events in (
        ("", [(at, mido.MetaMessage("set_tempo", tempo=us)) for at, us in tempos]),
        ("Lead", [(at, message) for at, message in messages]),
    ):
        track, before = mido.MidiTrack([mido.MetaMessage("track_name", name=name)]), 0
        for at, message in events:
            track.append(message.copy(time=at - before))
            before = at
        file.tracks.append(track)
    file.save(path)
    return path


def on(at: int, pitch: int, channel: int = 0) -> Message:
    return at, mido.Message("note_on", channel=channel, note=pitch, velocity=80)


def off(at: int, pitch: int, channel: int = 0) -> Message:
    return at, mido.Message("note_off", channel=channel, note=pitch)


def cc(at: int, number: int, value: int, channel: int = 0) -> Message:
    return at, mido.Message("control_change", channel=channel, control=number, value=value)


def track(path: Path, name: str) -> list[tuple[int, mido.Message]]:
    """(tick, message) of the channel messages of the track of that name."""
    found = next(track for track in mido.MidiFile(path).tracks if track.name == name)
    at, events = 0, []
    for message in found:
        at += message.time
        if not message.is_meta:
            events.append((at, message.copy(time=0)))
    return events


def onsets(path: Path, name: str) -> list[tuple[int, int]]:
    return [(at, message.note) for at, message in track(path, name) if message.type == "note_on"]


@pytest.fixture
def play(tiny_model: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Plays IN.mid into OUT.mid and returns what was said."""

    def run(
        source: Path, target: str = "out.mid", *, tracks: Sequence[str] = (), grid: str = "player", **given: object
    ) -> list[str]:
        said: list[str] = []
        config = config_of(tiny_model, **given)
        duet(config, source, tmp_path / target, tracks, grid, tmp_path / "out.json", None, said.append)
        return said

    return run


def config_of(model: Path, **given: object) -> Config:
    return load(
        None, {"model.file": model, "model.provider": "cpu"} | {k.replace("__", "."): v for k, v in given.items()}
    )


@pytest.fixture
def theme(tmp_path: Path) -> Path:
    path = tmp_path / "theme.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE}, tempos=[(0, 90.0)]))
    return path


# --- what is written ---


def test_both_parts_are_written_and_the_same_seed_gives_the_same_bytes(
    theme: Path, play: Callable[..., list[str]], tmp_path: Path
) -> None:
    assert play(theme, "a.mid", engine__seed=3) == []
    play(theme, "b.mid", engine__seed=3)
    play(theme, "c.mid", engine__seed=4)
    first, second, other = ((tmp_path / f"{name}.mid").read_bytes() for name in "abc")
    assert first == second != other
    piece = midifile.read(tmp_path / "a.mid")
    assert mido.MidiFile(tmp_path / "a.mid").type == 1
    assert piece.track_names == ["tempo", "player", "antiphon"]
    assert piece.tempos == [(0, pytest.approx(90.0, abs=1e-3))] and piece.time_signatures == [(0, 4, 4)]
    assert onsets(tmp_path / "a.mid", "player") == [(beat * 480, pitch) for beat, pitch in enumerate(THEME)]
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["mode"], report["bars"], report["seed"]) == ("trade", 4, 4)
    assert report["player_notes"] == 16 and report["notes"] == len(onsets(tmp_path / "c.mid", "antiphon")) > 0


def test_everything_of_the_file_is_there_at_its_pulse(play: Callable[..., list[str]], tmp_path: Path) -> None:
    events = [
        cc(0, 7, 90), (0, mido.Message("program_change", program=40)), on(0, 60), cc(100, 64, 127), off(200, 60),
        (250, mido.Message("pitchwheel", pitch=1000)), on(480, 62), off(960, 62), on(960, 62), cc(1000, 64, 0),
        on(1200, 64, 3), off(1440, 62), off(1440, 64, 3),
    ]  # fmt: skip
    source = write(tmp_path / "in.mid", events)
    play(source)
    expected = [(at, m if m.type != "note_off" else m.copy(velocity=0)) for at, m in events]
    assert sorted(track(tmp_path / "out.mid", "player"), key=str) == sorted(expected, key=str)


def test_what_comes_before_the_first_note_is_there_before_it(play: Callable[..., list[str]], tmp_path: Path) -> None:
    source = write(tmp_path / "in.mid", [cc(0, 7, 90), cc(700, 7, 80), on(1927, 60), off(2407, 60)])
    play(source)
    assert [(at, m.type) for at, m in track(tmp_path / "out.mid", "player")] == [
        (0, "control_change"), (0, "control_change"), (0, "note_on"), (480, "note_off"),
    ]  # fmt: skip


def test_notes_and_pedals_that_a_limit_cuts_off_are_released(play: Callable[..., list[str]], tmp_path: Path) -> None:
    source = write(tmp_path / "in.mid", [on(0, 60), cc(10, 64, 127), on(480, 64), cc(9000, 64, 0), off(9000, 60)])
    play(source, run__bars=1)
    events = track(tmp_path / "out.mid", "player")
    assert [(at, m.type) for at, m in events[-3:]] == [(1920, "note_off"), (1920, "note_off"), (1920, "control_change")]
    assert events[-1][1].value == 0


def test_equal_pitches_that_overlap_keep_all_their_notes_and_ends(
    play: Callable[..., list[str]], tmp_path: Path
) -> None:
    source = write(tmp_path / "in.mid", [on(0, 60), on(240, 60), off(480, 60), off(720, 60), on(960, 60), off(960, 60)])
    play(source)
    assert [(at, m.type) for at, m in track(tmp_path / "out.mid", "player")] == [
        (0, "note_on"), (240, "note_on"), (480, "note_off"), (720, "note_off"), (960, "note_on"), (961, "note_off"),
    ]  # fmt: skip


# --- the grid and the time ---


def test_the_first_note_is_the_downbeat_or_the_files_bars_are_the_grid(
    play: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Two bars of rest and a half, then two bars of notes: Antiphon's turn is two bars after the first note's bar."""
    path = tmp_path / "late.mid"
    path.write_bytes(midi_bytes({"MELODY": [(at + 10.0, length, p, v) for at, length, p, v in LINE[:6]]}))
    play(path, "player.mid")
    play(path, "file.mid", grid="file")
    assert onsets(tmp_path / "player.mid", "player")[0][0] == 0
    assert onsets(tmp_path / "file.mid", "player")[0][0] == 10 * 480
    assert onsets(tmp_path / "player.mid", "antiphon")[0][0] >= 8 * 480
    first = onsets(tmp_path / "file.mid", "antiphon")[0][0]
    assert 16 * 480 <= first < 24 * 480  # the bars of the first note are 3 and 4 of the file


def test_metre_changes_and_a_pick_up_of_the_file(tiny_model: Path, tmp_path: Path) -> None:
    metres = [Metre(0, 1, 4), Metre(1, 3, 4), Metre(13, 4, 4)]
    path = tmp_path / "waltz.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE[:13]}, metres))
    _, timing = timing_of(config_of(tiny_model), path, read_playing(path), "file")
    assert timing.settings.bars == ((24, 72, False), (13 * 24, 96, False))
    assert timing.counted_in and timing.engine().rolling
    duet(config_of(tiny_model, run__bars=6), path, tmp_path / "out.mid", [], "file", None, None, lambda _: None)
    assert midifile.read(tmp_path / "out.mid").time_signatures == [(0, 1, 4), (480, 3, 4), (13 * 480, 4, 4)]


def test_times_are_exact(tiny_model: Path, tmp_path: Path) -> None:
    """Seven ticks of 1/960 at 333,333 us a quarter, then at 250,001: whole ns, rounded up, of the exact fractions."""
    source = write(
        tmp_path / "in.mid", [on(0, 60), off(7, 60), on(967, 62), off(1000, 62)], 960, [(0, 333_333), (960, 250_001)]
    )
    playing = read_playing(source)
    _, timing = timing_of(config_of(tiny_model), source, playing, "file")
    exact = [Fraction(0), Fraction(7 * 333_333_000, 960), 333_333_000 + Fraction(7 * 250_001_000, 960)]
    assert [ns for ns, _ in script_of(playing, timing, "player")][:3] == [-(-x // 1) for x in exact]
    assert timing.bpm == Fraction(60_000_000, 333_333)


@pytest.mark.parametrize("us", [333_333, 451_237, 499_999, 666_667])
@pytest.mark.parametrize("source", ["internal", "clock"])
def test_any_tempo_leaves_the_notes_where_the_file_has_them(
    us: int, source: str, play: Callable[..., list[str]], tmp_path: Path
) -> None:
    events = [event for i in range(12) for event in (on(240 * i + 13, 60 + i), off(240 * i + 200, 60 + i))]
    play(write(tmp_path / "in.mid", events, 480, [(0, us)]), grid="file", sync__source=source)
    assert [at for at, _ in onsets(tmp_path / "out.mid", "player")] == [240 * i + 13 for i in range(12)]


def test_what_was_mended_in_the_file_is_said(play: Callable[..., list[str]], theme: Path) -> None:
    theme.write_bytes(theme.read_bytes()[:-12])
    assert f"{theme}: track 2 is cut short, what is whole was read" in play(theme)


def test_internal_sync_keeps_one_tempo_and_says_so(play: Callable[..., list[str]], tmp_path: Path) -> None:
    """At half the tempo a quarter of the file lasts two of Antiphon's: the notes keep their times, as a live player's do."""
    path = tmp_path / "slower.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE[:8]}, tempos=[(0, 120.0), (4, 60.0)]))
    said = play(path)
    assert len(said) == 1 and "--sync clock" in said[0]
    assert [at for at, _ in onsets(tmp_path / "out.mid", "player")] == [0, 480, 960, 1440, 1920, 2880, 3840, 4800]
    assert midifile.read(tmp_path / "out.mid").tempos == [(0, 120.0)]
    said = play(path, sync__tempo_bpm=60.0)
    assert [at for at, _ in onsets(tmp_path / "out.mid", "player")][:3] == [0, 240, 480]
    assert midifile.read(tmp_path / "out.mid").tempos == [(0, 60.0)]


def test_clock_sync_follows_the_files_tempo(play: Callable[..., list[str]], tmp_path: Path) -> None:
    path = tmp_path / "slower.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE}, tempos=[(0, 120.0), (6, 80.0), (10, 100.0)]))
    assert play(path, sync__source="clock") == []
    piece = midifile.read(tmp_path / "out.mid")
    assert [(at, round(bpm, 2)) for at, bpm in piece.tempos] == [(0, 120.0), (6 * 480, 80.0), (10 * 480, 100.0)]
    assert onsets(tmp_path / "out.mid", "player") == [(beat * 480, pitch) for beat, pitch in enumerate(THEME)]
    answer = [at for at, _ in onsets(tmp_path / "out.mid", "antiphon")]
    assert answer and all(8 * 480 <= at < 16 * 480 or 24 * 480 <= at < 32 * 480 for at in answer)


def test_an_exact_timeline_goes_both_ways() -> None:
    line = Timeline(384, {0: 333_333, 100: 451_237, 5000: 1})  # 1 us a quarter is a trick: at most 1000 bpm
    assert line.bpm_at(6000) == 1000
    for pulse in (0, 1, 124, 125, 126, 6250, 6251, 100_000):
        assert line.pulse_at(line.ns_at_pulse(pulse)) == pulse
        assert line.ns_at(line.tick_at(10**9 + pulse)) == 10**9 + pulse


# --- how long ---


@pytest.mark.parametrize(
    ("beats", "given", "bars"),
    [
        (8, {}, 4),  # two bars of the player's, two of Antiphon's
        (9, {}, 4),  # into Antiphon's turn, and nothing in the player's next one: there is none after it
        (16, {}, 4),  # to the end of Antiphon's turn, and nothing in the player's next one
        (17, {}, 8),  # into the player's turn: it is answered
        (3, {"mode__bars_per_turn": 1}, 2),
        (4, {"mode__name": "continue", "mode__max_bars": 2}, 4),  # two beats of rest, then two bars to a bar line
        (4, {"mode__name": "harmonise"}, 2),
        (4, {"mode__name": "accompany"}, 2),
        (4, {"mode__name": "accompany", "mode__rest_beats": 12.0}, 4),  # it plays on for three bars
        (16, {"run__bars": 3}, 3),
        (16, {"run__seconds": 4.1}, 3),  # 120 bpm: two seconds a bar, and a part of the third
        (16, {"run__seconds": 100.0, "run__bars": 5}, 5),
    ],
)
def test_the_session_ends_a_turn_after_the_file_or_at_the_limit(
    beats: int, given: dict[str, object], bars: int, play: Callable[..., list[str]], tmp_path: Path
) -> None:
    path = tmp_path / "in.mid"
    path.write_bytes(midi_bytes({"MELODY": [(float(beat), 0.9, 60 + beat % 8, 80) for beat in range(beats)]}))
    play(path, **given)
    assert json.loads((tmp_path / "out.json").read_text())["bars"] == bars
    assert midifile.read(tmp_path / "out.mid").length_pulse <= bars * 1920


# --- who plays ---


def test_tracks_by_name_and_number(play: Callable[..., list[str]], tmp_path: Path) -> None:
    path = tmp_path / "band.mid"
    path.write_bytes(midi_bytes({"MELODY": [(0, 1, 60, 80)], "Bass": [(0, 1, 40, 80)], "DRUMS": [(0, 1, 36, 80)]}))
    for wanted, pitches in (
        ([], {60, 40, 36}), (["Bass"], {40}), (["bass"], {40}), (["2"], {60}), (["MELODY", "4"], {60, 36}),
    ):  # fmt: skip
        play(path, tracks=wanted)
        assert {pitch for _, pitch in onsets(tmp_path / "out.mid", "player")} == pitches


def test_channel_ten_is_heard_as_drums(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "drums.mid"
    path.write_bytes(midi_bytes({"DRUMS": [(beat / 2, 0.2, 36, 90) for beat in range(16)]}))
    playing = read_playing(path)
    _, timing = timing_of(config_of(tiny_model), path, playing, "player")
    engine = timing.engine()
    for ns, message in script_of(playing, timing, "player"):
        engine.handle(message, ns)
    heard = [request.played for request in engine.take_requests() if isinstance(request, Plan) and request.played]
    assert heard and {note.part for note in heard} == {DRUMS}


def test_program_changes_switch_the_mode_on_the_channel_of_choice(
    play: Callable[..., list[str]], tmp_path: Path
) -> None:
    events = [on(0, 60), off(480, 60), (480, mido.Message("program_change", program=3)), on(480, 64), off(960, 64)]
    source = write(tmp_path / "in.mid", events)
    play(source, mode__program_channel=1)
    assert onsets(tmp_path / "out.mid", "antiphon")[0][0] == 480  # with the note, not two bars later
    assert json.loads((tmp_path / "out.json").read_text())["bars"] == 2  # that mode's end, not a turn's
    play(source)
    assert onsets(tmp_path / "out.mid", "antiphon")[0][0] >= 2 * 1920


@pytest.mark.parametrize(("grid", "second"), [("player", 4 * 1920), ("file", 3 * 1920 + 480)])
def test_after_a_long_rest_the_first_note_is_a_downbeat_but_not_on_the_files_grid(
    grid: str, second: int, play: Callable[..., list[str]], tmp_path: Path
) -> None:
    source = write(tmp_path / "in.mid", [on(0, 60), off(480, 60), on(13 * 480, 60), off(14 * 480, 60)])
    play(source, grid=grid, mode__name="harmonise", run__bars=6)
    assert [at for at, _ in onsets(tmp_path / "out.mid", "player")] == [0, second]
    assert json.loads((tmp_path / "out.json").read_text())["bars"] == 6


def test_a_note_that_never_ends_ends_with_its_track(tmp_path: Path) -> None:
    playing = read_playing(write(tmp_path / "in.mid", [on(0, 60), on(480, 64), off(960, 64)]))
    assert playing.messages[-1] == (960, bytes((0x80, 60, 64))) and playing.last_tick == 960


# --- what is refused ---


@pytest.mark.parametrize(
    ("tracks", "words"),
    [
        (["MELODIE"], 'did you mean \'MELODY\'?; allowed 1 (no name), 2 "MELODY", 3 "Bass"'),
        (["4"], "no such track"),
        (["1"], "no notes there; the notes of"),
    ],
)
def test_a_track_that_is_not_there(tracks: list[str], words: str, tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE, "Bass": LINE}))
    with pytest.raises(UserError) as error:
        duet(config_of(tiny_model), path, tmp_path / "out.mid", tracks, "player", None, None, print)
    assert words in str(error.value) and f"--track {tracks[0]}" in str(error.value)
    assert not (tmp_path / "out.mid").exists()


def test_a_tempo_that_antiphon_cannot_keep(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.mid"
    path.write_bytes(midi_bytes({"MELODY": LINE[:4]}, tempos=[(0, 15.0)]))
    with pytest.raises(UserError, match="its tempo is 15 bpm; allowed 20 to 400; give one with --tempo"):
        duet(config_of(tiny_model), path, tmp_path / "out.mid", [], "player", None, None, print)
    duet(
        config_of(tiny_model, sync__tempo_bpm=60.0),
        path,
        tmp_path / "out.mid",
        [],
        "player",
        None,
        None,
        lambda _: None,
    )
    assert (tmp_path / "out.mid").exists()


# --- one way to compose ---


@pytest.mark.skipif(not SHIPPED_MODEL.exists(), reason="the model that ships is not in this checkout")
def test_every_session_composes_with_plans_and_knobs() -> None:
    """What the file commands, the benchmarks and the listening tests play is what `jam` plays: nothing of the model is left
    out. One open model serves them one after another."""
    config = load(None, {"mode.name": "accompany", "model.provider": "cpu"})
    setup, timing = worker_setup(config), Timing(engine_settings(config), 120.0)
    model = Model.load(setup)
    script, _ = tunes.script(tunes.ODE_TO_JOY, 120.0, 0, 0)

    def play_with(controls: Controls) -> tuple[list[tuple[int, bytes]], int]:
        engine, take, _ = play_session(model, replace(setup, controls=controls), timing, script, timing.ns_at(5 * 1920))
        return take.events["antiphon"], len(engine.counts.plan_ns)

    notes, plans = play_with(Controls())
    denser, _ = play_with(Controls(density=1.0))
    again, _ = play_with(Controls())
    assert plans == 4  # one for each bar line that is passed
    assert notes == again != denser
