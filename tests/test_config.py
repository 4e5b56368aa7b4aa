"""The configuration: one truth of defaults and ranges; what is wrong is named in one line."""

from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime import config as module
from realtime.composing.constraints import PRESETS, Sampling
from realtime.config import Config, keys, load
from realtime.errors import UserError
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.music.keys import SCALES, Key, parse_key, parse_pitch, parse_range
from realtime.music.vocabulary import PART_NAMES, Role

ROOT = Path(__file__).resolve().parent.parent


def loaded(tmp_path: Path, text: str, **overrides: object) -> Config:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    return load(path, {key.replace("__", "."): value for key, value in overrides.items()})


def test_config_yaml_says_the_defaults_and_all_of_them() -> None:
    assert load(ROOT / "realtime" / "config.yaml") == Config() == load()
    tree = yaml.safe_load((ROOT / "realtime" / "config.yaml").read_text())
    assert [f"{section}.{key}" for section, values in tree.items() for key in values] == keys()


def test_parts_are_those_of_the_vocabulary() -> None:
    assert get_args(module.Part) == PART_NAMES


def test_overrides_beat_the_file_and_none_is_not_given(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "sync: {tempo_bpm: 90, beats_per_bar: 3}\nports: {in: Keys}", sync__tempo_bpm=70, ports__in=None
    )
    assert (config.sync.tempo_bpm, config.sync.beats_per_bar, config.ports.in_) == (70, 3, "Keys")
    assert load(None, {"model.file": "x.onnx", "run.record": Path("y.mid")}).model.file == Path("x.onnx")


def test_presets_are_those_there_are() -> None:
    assert get_args(module.Sampling.model_fields["preset"].annotation) == tuple(PRESETS)


@pytest.mark.parametrize("role", [Role.CONTINUE, Role.TRADE, Role.ACCOMPANY, Role.HARMONISE, Role.COMPOSE])
def test_a_preset_is_careful_or_adventurous_in_every_mode(role: Role) -> None:
    temperatures, shares = (
        [float(Sampling(preset).rows(0.0, role)[0, column]) for preset in ("strict", "usual", "free")]
        for column in (0, 2)
    )
    assert temperatures == sorted(set(temperatures))
    assert shares == sorted(shares)


def test_a_preset_fills_in_what_is_not_given(tmp_path: Path) -> None:
    free = PRESETS["free"][Role.TRADE]
    given = loaded(tmp_path, "sampling: {temperature: 1.2, top_p: null, top_k: 5}", sampling__preset="free")
    row = worker_setup(given).sampling.rows(0.0, Role.TRADE)[0]
    assert row == pytest.approx([1.2, 5, free.top_p])
    assert worker_setup(load(None, {"sampling.preset": "free"})).sampling.rows(0.0, Role.TRADE)[0] == pytest.approx(
        [free.temperature, free.top_k, free.top_p]
    )


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("C", Key(0, "major")), ("A minor", Key(9, "minor")), ("F# dorian", Key(6, "dorian")), ("Am", Key(9, "minor")),
        ("bb minor pentatonic", Key(10, "minor pentatonic")), ("b", Key(11, "major")), ("E♭  Blues", Key(3, "blues")),
        ("Cb", Key(11, "major")), (None, None),
    ],
)  # fmt: skip
def test_keys(given: object, key: Key | None) -> None:
    assert parse_key(given) == key


@pytest.mark.parametrize("scale", list(SCALES))
def test_every_scale_has_a_key(scale: str) -> None:
    assert load(None, {"play.key": f"D {scale}"}).play.key == Key(2, scale)


@pytest.mark.parametrize(
    ("given", "ends"),
    [("A0-C8", (21, 108)), ("36-84", (36, 84)), ("C-1-G9", (0, 127)), ("c3 - 72", (48, 72)), ([40, "E4"], (40, 64))],
)
def test_ranges(given: object, ends: tuple[int, int]) -> None:
    assert parse_range(given) == ends


def test_pitches() -> None:
    assert [parse_pitch(given) for given in (60, "60", "C4", "Bb3", "F#4", None)] == [60, 60, 60, 58, 66, None]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sync: {tempo_bpm: 900}", "my.yaml: sync.tempo_bpm: 900 given; allowed 20 to 400"),
        ("sync: {tempo_bpm: .nan}", "allowed 20 to 400"),
        ("sync: {beats_per_bar: 4.5}", "4.5 given; allowed whole numbers 2 to 12"),
        ("sync: {beats_per_bar: true}", "True given; allowed whole numbers 2 to 12"),
        (
            "sync: {compound: true}",
            "compound: true with beats_per_bar 4; set beats_per_bar to 3 (6/8) or 6 (12/8), or compound to false",
        ),
        ("sync: {compound: true, beats_per_bar: 3, source: listen}", "compound: true with source listen"),
        ("sync: {tempo: 90}", "unknown key 'sync.tempo'; did you mean 'sync.tempo_bpm'?"),
        ("tempo_bpm: 90", "unknown key 'tempo_bpm'; did you mean 'sync.tempo_bpm'?"),
        ("engine: {tempo_bpm: 90}", "unknown key 'engine.tempo_bpm'; did you mean 'sync.tempo_bpm'?"),
        ("synk: {tempo_bpm: 90}", "unknown key 'synk'; did you mean 'sync'?"),
        ("zzz: 1", "unknown key 'zzz'; antiphon config prints all keys"),
        ("mode: {name: trad}", "allowed continue, trade, accompany, harmonise; did you mean 'trade'?"),
        ("play: {follow: 3}", "3 given; allowed true or false"),
        ("mode: {trigger_key: H2}", "allowed 0 to 127"),
        ("play: {key: F# doriann}", "no scale 'doriann'; did you mean 'dorian'?"),
        ("play: {key: H}", "'H' given; allowed a note and a scale"),
        ("play: {range: C8-A0}", "allowed two pitches, the lower first"),
        ("play: {min_duration_ticks: 90, max_duration_ticks: 3}", "play: min_duration_ticks allowed 1 to"),
        ("run: {seconds: 0}", "allowed above 0"),
        ("ports: {in: 3}", "ports.in: 3 given; allowed a text"),
        ("sync: 5", "sync: 5 given; allowed a section with sync.source"),
        ("[1]", "a list at the top level"),
        ("a: &x [1]\nb: *x", "anchors and aliases are not allowed"),
        ("a: !!python/object:os.system x", "tags are not allowed"),
        ("sync: {tempo_bpm: 90, tempo_bpm: 91}", "given twice"),
        ("run: 2001-99-99", "not YAML"),
        ("[" * 50_000, "not YAML"),
        ('"', "not YAML"),
        ("".join(f"key{i}: 1\n" for i in range(50_000)), "larger than 64 KB"),
        ("mode:\n" + "".join(f"  key{i}: 1\n" for i in range(3000)), "and 2990 more"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        loaded(tmp_path, text)
    assert line in str(error.value) and "my.yaml: " in str(error.value) and "\n" not in str(error.value)


def test_two_mistakes_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tempo_bpm: 900 given.*bars_per_turn: 99 given"):
        loaded(tmp_path, "sync: {tempo_bpm: 900}\nmode: {bars_per_turn: 99}")


def test_mistakes_on_the_command_line_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"command line: sync\.tempo_bpm: 1 given; allowed 20 to 400"):
        loaded(tmp_path, "sync: {tempo_bpm: 90}", sync__tempo_bpm=1)
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load(path)


@given(
    st.one_of(st.binary(max_size=60), st.text(alphabet="sync:{}[],-&*!|>?'\"#\n\t 0123456789.tempo_bpm", max_size=60))
)
@settings(max_examples=300, deadline=None)
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        load(path)
    except UserError as error:
        assert "\n" not in str(error)


def test_nothing_can_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().sync.tempo_bpm = 90  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "tune", "drums"),
    [
        ({}, 0, 9),
        ({"play.part": "drums"}, 0, 9),
        ({"play.channel": 3}, 2, 9),
        ({"play.part": "drums", "play.channel": 3}, 2, 2),
    ],
)
def test_drums_go_to_channel_10_unless_told(given: dict[str, object], tune: int, drums: int) -> None:
    channels = engine_settings(load(None, given)).channels
    assert (channels[PART_NAMES.index("melody")], channels[PART_NAMES.index("drums")]) == (tune, drums)


def test_each_part_of_a_band_has_a_channel_of_its_own() -> None:
    band = load(None, {"play.part": "accompaniment + bass+drums"})
    assert band.play.part == ("accompaniment", "bass", "drums")
    assert engine_settings(band).channels == (2, 0, 1, 9, 3)
    assert engine_settings(band).parts == (1, 2, 3) and worker_setup(band).constraints.band
    own = load(None, {"play.part": "bass+drums", "play.channel": 5, "play.channels": {"drums": 2}})
    assert engine_settings(own).channels == (5, 6, 4, 1, 7)
    assert engine_settings(load(None, {"play.part": "bass"})).parts == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"play.part": "bas+drums"},
            "allowed melody, accompaniment, bass, drums, other, or several joined by +; did you mean",
        ),
        ({"play.part": "bass+bass"}, "allowed each part once"),
        ({"play.part": "bass", "play.feel": "rock"}, "feel is for several parts"),
        ({"play.feel": "rock"}, "feel is for several parts"),
        (
            {"play.part": "bass+drums", "play.feel": "rok"},
            "allowed ballad, swing, bossa, rock, waltz, march; did you mean",
        ),
        ({"play.part": "bass+drums", "play.channels": {"bass": 10}}, "channels: 10 given to several parts"),
        ({"play.channels": 5}, "play.channels: 5 given; allowed melody, accompaniment, bass, drums, other"),
        ({"play.channels": {"bass": 99}}, "play.channels.bass: 99 given; allowed whole numbers 1 to 16"),
        (
            {"play.channels": {"bas": 9}},
            "play.channels: 'bas' given; allowed melody, accompaniment, bass, drums, other",
        ),
        ({"play.part": "bass+drums", "play.parts_cc": 20}, "allowed one meaning for each controller"),
    ],
)
def test_what_is_wrong_with_a_band_is_said(given: dict[str, object], words: str) -> None:
    with pytest.raises(UserError) as caught:
        load(None, given)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", " Bass", "Bass ", "Bass:In", "x" * 25, "é"])
def test_a_name_that_no_port_can_have(name: str) -> None:
    with pytest.raises(UserError, match=r"ports\.name: .* given; allowed a letter or digit, then"):
        load(None, {"ports.name": name})
