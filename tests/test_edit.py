"""Edits: the asked attribute changes, nothing else does, and what cannot be done is said in one line."""

import re
from collections import Counter
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toycorpus import SONG, SONG_METRES, SONG_TEMPOS, Metre, midi_bytes, tune

from realtime.config import load
from realtime.editing import edit, lexicon
from realtime.editing.edit import shift_to_c
from realtime.editing.lexicon import understood
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote
from realtime.io.offline.edit import Tools, edit_file, wishes_of
from realtime.io.offline.source import bars_of
from realtime.music.attributes import ATTRIBUTES, STYLES
from realtime.music.cells import KEYS, LATENT, MODEL
from realtime.music.controls import Amount
from realtime.music.keys import key_of
from realtime.music.notes import note_array

PRESETS = load().presets.named()


class Echo:
    """Decodes what it encoded; the first 88 numbers of a latent are log odds added to all onsets of a key."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        self.asked.append(len(rolls))
        self.rolls = rolls
        return np.zeros((len(rolls), LATENT), np.float32)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        odds = np.tile(self.rolls * 6 - 3, (len(latents) // len(self.rolls), 1, 1, 1))
        odds[:, MODEL] += latents[:, None, :KEYS]
        return 1 / (1 + np.exp(-odds))


RNG = np.random.default_rng(5)
TOOLS = Tools(Echo(), {name: RNG.normal(size=LATENT).astype(np.float32) for name in (*ATTRIBUTES, *STYLES)})


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "in.mid"
    path.write_bytes(midi_bytes(tune(3, 12)))
    return path


def run(
    source: Path, bars: str | None = None, parts: tuple[str, ...] = (), png: Path | None = None, **asked: float
) -> str:
    wishes = {name: Amount(level) for name, level in asked.items()}
    return edit_file(source, source.with_name("out.mid"), wishes, parts, bars, png, TOOLS)


def reached(line: str, name: str) -> float:
    return float(line.split(f"{name} ")[1].split(" of ")[0])


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("amount", [-0.8, 0.8])
def test_what_is_asked_is_done(song: Path, name: str, amount: float) -> None:
    got = reached(run(song, "3-10", **{name: amount}), name)
    assert np.sign(got) == np.sign(amount) and 0.3 < abs(got) < 1.3


@pytest.mark.parametrize("metre", [Metre(0, 3, 4), Metre(0, 6, 8), Metre(0, 5, 4), Metre(0, 12, 8)])
def test_every_metre(tmp_path: Path, metre: Metre) -> None:
    source = tmp_path / "in.mid"
    source.write_bytes(midi_bytes(tune(4, 12), [metre], [(0, 90.0), (9, 140.0)]))
    assert reached(run(source, "2-5", density=-0.6), "density") < -0.3
    assert midifile.read(source.with_name("out.mid")).tempos == midifile.read(source).tempos


def other_events(path: Path) -> list[list[tuple[int, str]]]:
    """All but notes, with their times; but for the end of a track, which is not before that of its last note."""
    tracks = []
    for track in mido.MidiFile(path).tracks:
        at, events = 0, []
        for message in track:
            at += message.time
            if message.type not in ("note_on", "note_off", "end_of_track"):
                events.append((at, str(message.copy(time=0))))
        tracks.append(events)
    return tracks


WISHES = st.dictionaries(
    st.sampled_from([*ATTRIBUTES, "folk"]), st.floats(-1.5, 1.5).filter(lambda x: abs(x) > 0.1), min_size=1, max_size=3
)


@given(seed=st.integers(0, 999), first=st.integers(1, 8), length=st.integers(0, 4), wishes=WISHES,
       part=st.sampled_from([(), ("melody",), ("bass", "accompaniment")]), window=st.sampled_from([1, 2, 64]))  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_outside_is_touched(
    tmp_path_factory: pytest.TempPathFactory, seed: int, first: int, length: int, wishes: dict[str, float],
    part: tuple[str, ...], window: int,
) -> None:  # fmt: skip
    source = tmp_path_factory.mktemp("edit") / "in.mid"
    # Notes off the grid, on either side of bar lines.
    lines = {
        name: [(max(0.0, at + 0.004 * ((i * 7 + seed) % 9 - 4)), d, p, v) for i, (at, d, p, v) in enumerate(line)]
        for name, line in tune(seed, 12).items()
    }
    source.write_bytes(midi_bytes(lines, division=960))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(edit, "WINDOW", window)
            run(source, f"{first}-{first + length}", part, **wishes)
    except UserError as error:
        assert "no notes of these parts" in str(error)
        return
    before, after = midifile.read(source), midifile.read(source.with_name("out.mid"))
    start, end = (first - 1) * 1920, (first + length) * 1920
    names = {"melody": "MELODY", "accompaniment": "PIANO", "bass": "Bass"}
    chosen = {names[name] for name in part} or set(names.values())

    def stays(note: FileNote, piece: midifile.MidiPiece) -> bool:
        return not start <= note.onset_pulse < end or piece.track_names[note.track] not in chosen

    assert [n for n in before.notes if stays(n, before)] == [n for n in after.notes if stays(n, after)]
    assert other_events(source) == other_events(source.with_name("out.mid"))
    new = Counter(after.notes) - Counter(before.notes)
    assert all(21 <= note.pitch <= 108 and note.velocity > 0 for note in new)
    for note in new:
        again = [
            o for o in after.notes if o is not note and (o.channel, o.pitch) == (note.channel, note.pitch) and o != note
        ]
        assert not [
            o for o in again if o.onset_pulse < note.onset_pulse < o.onset_pulse + o.duration_pulse and o in new
        ]


def test_a_long_piece_is_edited_throughout_a_window_at_a_time(tmp_path: Path) -> None:
    codec = Echo()
    source = tmp_path / "in.mid"
    source.write_bytes(midi_bytes(tune(3, 200)))
    tools = Tools(codec, TOOLS.directions)
    line = edit_file(source, tmp_path / "out.mid", {"brightness": Amount(-1)}, (), None, None, tools)
    assert sum(codec.asked) >= 200 and max(codec.asked) <= edit.WINDOW + edit.RINGING
    before, after = (midifile.read(tmp_path / name).notes for name in ("in.mid", "out.mid"))
    changed = {note.onset_pulse // 1920 for note in Counter(before) - Counter(after)}
    assert all(changed & {*range(first, first + 20)} for first in range(0, 200, 20))
    assert reached(line, "brightness") < -0.3


def test_bars_of_silence_cost_nothing(tmp_path: Path) -> None:
    """Two notes, 24,750 bars apart."""
    codec = Echo()
    source = tmp_path / "in.mid"
    source.write_bytes(midi_bytes({"melody": [(0.0, 4.0, 60, 80), (99_000.0, 4.0, 60, 80)]}))
    line = edit_file(
        source, tmp_path / "out.mid", {"density": Amount(1)}, (), None, None, Tools(codec, TOOLS.directions)
    )
    assert "notes added" in line and sum(codec.asked) <= 2 * (edit.WINDOW + edit.RINGING)


def test_new_notes_are_in_the_key_and_end_in_the_range(song: Path) -> None:
    run(song, "5-8", density=1.0)
    before, after = midifile.read(song), midifile.read(song.with_name("out.mid"))
    new = Counter(after.notes) - Counter(before.notes)
    assert new and all(note.onset_pulse + note.duration_pulse <= 8 * 1920 for note in new)
    key = key_of(note_array([(n.onset_pulse, n.duration_pulse, n.pitch) for n in before.notes if not n.is_drum]))
    there = {note.pitch for note in before.notes}  # a longer note that was split may be outside
    assert all(note.pitch % 12 in key.pitch_classes or note.pitch in there for note in new)


def test_figures_move_by_octaves(song: Path) -> None:
    run(song, "1-12", ("bass",), register=1.0)
    before, after = (sorted(midifile.read(p).notes) for p in (song, song.with_name("out.mid")))
    moved = [b.pitch - a.pitch for a, b in zip(before, after, strict=True)]
    assert {*moved} == {0, 12}


def test_a_rise_grows(tmp_path: Path, song: Path) -> None:
    out = tmp_path / "out.mid"
    edit_file(song, out, {"density": Amount(rise=-2.0)}, (), None, None, TOOLS)
    gone = Counter(midifile.read(song).notes) - Counter(midifile.read(out).notes)
    bars = np.bincount([note.onset_pulse // 1920 for note in gone.elements()], minlength=12)
    assert bars[:4].sum() < bars[8:].sum()


def test_a_picture(song: Path) -> None:
    png = song.with_suffix(".png")
    run(song, "3-6", png=png, brightness=-1)
    assert png.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("bars", "parts", "problem"),
    [
        ("20-21", (), "has bars 1 to 12"),
        ("0-3", (), "has bars 1 to 12"),
        ("5-4", (), "the range is reversed; give the first bar first, as in 4-5"),
        ("x", (), "not bars"),
        ("", (), "not bars"),
        ("2-3", ("other",), "allowed melody, accompaniment, bass"),
        ("2-3", ("drums",), "allowed melody, accompaniment, bass"),
    ],
)
def test_what_is_refused(song: Path, bars: str, parts: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        run(song, bars, parts, density=1.0)
    assert "\n" not in str(caught.value) and not song.with_name("out.mid").exists()


def test_an_edit_goes_through_changes_of_metre(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mid", tmp_path / "out.mid"
    metres = [Metre(0, 4, 4), Metre(16, 3, 4), Metre(28, 6, 8)]
    source.write_bytes(midi_bytes({"MELODY": [(beat / 2, 0.4, 60 + beat % 7, 80) for beat in range(80)]}, metres))
    edit_file(source, out, {"density": Amount(-1.5)}, (), None, None, TOOLS)
    gone = Counter(midifile.read(source).notes) - Counter(midifile.read(out).notes)
    quarters = {note.onset_pulse // 480 for note in gone}
    assert min(quarters) < 16 and quarters & {*range(16, 28)} and max(quarters) >= 28
    assert midifile.read(source).time_signatures == midifile.read(out).time_signatures


def test_drums_by_name_are_not_edited(tmp_path: Path) -> None:
    source, out = tmp_path / "in.mid", tmp_path / "out.mid"
    hits = [FileNote(at * 240, (36, 42)[at % 2], 80, 100, 5) for at in range(64)]
    notes = [FileNote(at * 480, 60 + at % 5, 80, 400) for at in range(32)]
    midifile.write(source, {"Piano": notes, "Drum Kit": hits})
    edit_file(source, out, {"density": Amount(-1.5)}, (), None, None, TOOLS)
    before, after = midifile.read(source).notes, midifile.read(out).notes
    assert [n for n in before if n.channel == 5] == [n for n in after if n.channel == 5] and before != after


def test_files_that_are_refused(tmp_path: Path, song: Path) -> None:
    source = tmp_path / "other.mid"
    for data, problem in (
        (midi_bytes({"MELODY": []}), "no notes"),
        (midi_bytes({"DRUMS": tune(1, 4)["DRUMS"]}), "only drums"),
        (midi_bytes({"MELODY": [(0, 1.0, 12, 80)]}), "on a piano's keys"),
    ):
        source.write_bytes(data)
        with pytest.raises(UserError, match=problem):
            run(source, density=1.0)
    with pytest.raises(UserError, match="folk: directions"):
        edit_file(song, source, {"folk": Amount(1.0)}, (), None, None, Tools(Echo(), {"density": np.zeros(LATENT)}))
    with pytest.raises(UserError, match="another name"):
        edit_file(song, song, {"density": Amount(1.0)}, (), None, None, TOOLS)
    with pytest.raises(UserError, match="a picture is written"):
        run(song, png=tmp_path / "x.jpg", density=1.0)


def test_a_pick_up_counts_as_a_bar(tmp_path: Path) -> None:
    source = tmp_path / "in.mid"
    source.write_bytes(midi_bytes(SONG, SONG_METRES, SONG_TEMPOS))
    assert bars_of(midifile.read(source), "1-4", source).starts.tolist() == [0, 24, 120, 216, 312]
    assert bars_of(midifile.read(source), "5", source).starts.tolist() == [312, 384]


@pytest.mark.parametrize(("top", "bottom"), [(1, 4), (1, 8), (3, 4)])
def test_nothing_comes_before_a_pick_up(tmp_path: Path, top: int, bottom: int) -> None:
    up = 4 * top / bottom
    source = tmp_path / "in.mid"
    lines = {"MELODY": [(0.0, up, 67, 80), *((up + i, 1.0, 60 + i % 5, 80) for i in range(16))]}
    source.write_bytes(midi_bytes(lines, [Metre(0, top, bottom), Metre(up, 4, 4)]))
    assert reached(run(source, "1-4", density=1.0), "density") > 0.2
    before, after = midifile.read(source), midifile.read(source.with_name("out.mid"))
    end = (up + 12) * 480
    assert [n for n in before.notes if n.onset_pulse >= end] == [n for n in after.notes if n.onset_pulse >= end]
    with pytest.raises(UserError, match="has bars 1 to 5"):
        run(source, "1-6", density=1.0)


@pytest.mark.parametrize("tonic", range(12))
def test_the_nearest_c(tonic: int) -> None:
    assert (tonic + shift_to_c(tonic)) % 12 == 0 and -6 <= shift_to_c(tonic) <= 5


# --- words and presets ---


def ask(**given: object) -> dict[str, Amount]:
    rest = {"levels": {}, "styles": [], "mixes": {}, "presets": [], "words": None, "known": PRESETS}
    return dict(wishes_of(**(rest | given)))  # type: ignore[arg-type]


def test_everything_that_is_asked_adds_up() -> None:
    asked = ask(levels={"density": -0.3, "tension": 0.0}, mixes={"cheerful": 0.5}, styles=["folk=0.5", "folk"])
    assert asked["density"].level == pytest.approx(-0.15) and asked["folk"] == Amount(1.5)
    assert asked["brightness"] == Amount(0.5)
    assert ask(presets=["build-up=0.5"])["density"] == Amount(rise=0.5)


@pytest.mark.parametrize(
    "given",
    [{}, {"levels": {"density": 0.0}}, {"mixes": {"calm": 0.0}}, {"styles": ["rock"]}, {"styles": ["folk=x"]},
     {"presets": ["jazier"]}, {"levels": {"density": 2.9}, "mixes": {"cheerful": 3.0}}, {"words": "very into the chorus"}],
)  # fmt: skip
def test_what_asks_for_nothing_or_for_what_is_not_there(given: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        ask(**given)
    assert "\n" not in str(caught.value)


def test_words() -> None:
    asked = understood("Crescendo into the chorus, jazz chords", PRESETS)
    assert asked["density"] == Amount(rise=1.0) and asked["standard"] == Amount(0.7)
    assert asked["polyphony"] == Amount(0.7, rise=0.7)
    assert understood("slightly less dense", PRESETS)["density"].level == pytest.approx(-0.35)
    assert understood("gradually darker and higher; bright", PRESETS)["brightness"] == Amount(1.0, rise=-1.0)
    assert understood("cheerful", PRESETS) == PRESETS["cheerful"]


def test_every_word_is_documented() -> None:
    page = Path(__file__).parents[1].joinpath("docs", "edit.md").read_text()
    written = {*re.findall(r"[a-z-]+", page.split("## Words")[1].lower())}
    assert {*lexicon.WORDS, *lexicon.RISING, *lexicon.FACTORS, *lexicon.GROWING, *lexicon.FILLERS} <= written


def test_unknown_words_are_named_all_of_them() -> None:
    with pytest.raises(UserError, match=r"not known: brigther \(brighter\?\), qqqq;"):
        understood("brigther qqqq chords, qqqq", PRESETS)


def test_presets_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("presets:\n  calm: {density: -1}\n  storm: {tension: 1, density: 1, rise: true}\n")
    named = load(path).presets.named()
    assert named["calm"] == {"density": Amount(-1)} and named["storm"]["tension"] == Amount(rise=1)
    assert named["cheerful"] == PRESETS["cheerful"]


@pytest.mark.parametrize(
    "preset", ["{densty: 1}", "{density: 9}", "{density: loud}", "{}", "5", "{density: 1, rise: 3}"]
)
def test_presets_that_are_none(tmp_path: Path, preset: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"presets:\n  mine: {preset}\n")
    with pytest.raises(UserError, match="mine"):
        load(path)


def test_a_picture_does_not_overwrite_the_result(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to(tmp_path / "x.mid")
    with pytest.raises(UserError, match="is the name of the result"):
        edit_file(tmp_path / "in.mid", tmp_path / "x.mid", {}, [], None, tmp_path / "x.png", None)  # type: ignore[arg-type]
