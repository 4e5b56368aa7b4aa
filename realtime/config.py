"""Every setting there is, with its default and its range: the one truth for config.yaml and for the command line.

`load(path, overrides)` gives a frozen `Config`. What the user got wrong raises UserError: one line with the dotted key,
what was given and what is allowed. A null (or a None in `overrides`) means: not given.
Channels are 1..16 here, at the edge; the engine counts from 0.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from realtime.config_file import read_sections
from realtime.config_music import Chords, Part, Play, Section
from realtime.errors import UserError, nearest
from realtime.midi import SOSTENUTO, SUSTAIN
from realtime.music.controls import KNOBS, Preset, parse_preset
from realtime.music.keys import parse_pitch, pitch_name
from realtime.music.metre import TICKS, Segment, is_compound, time_signature

MOST_PROBLEMS = 10
"""How many mistakes are named at once."""
SLOWEST_BPM, FASTEST_BPM = 20, 400

Backend = Literal["auto", "alsa", "jack", "coremidi", "winmm"]
ModeName = Literal["continue", "trade", "accompany", "harmonise"]
Style = Literal["pop", "song", "quartet", "standard", "hymn", "folk", "game", "classical"]


def check_name(name: str) -> str:
    """A name that every MIDI system takes for a port. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,22}[A-Za-z0-9_.-]|[A-Za-z0-9]", name):
        raise ValueError("allowed a letter or digit, then up to 23 letters, digits, spaces, and _ . -")
    return name


class Ports(Section):
    in_: str | None = Field(default=None, alias="in", description="input port; null: a virtual port named Antiphon In")
    out: str | None = Field(default=None, description="output port; null: a virtual port named Antiphon Out")
    name: Annotated[str, AfterValidator(check_name)] = Field(
        default="Antiphon", description="the virtual ports are NAME In and NAME Out"
    )
    wait: bool = Field(default=True, description="wait for a named port that is not there; false: refuse to start")
    backend: Backend = "auto"


class Sync(Section):
    source: Literal["internal", "clock", "listen"] = Field(
        default="internal", description="own tempo, MIDI clock on the input port, or the tempo of your playing"
    )
    tempo_bpm: float = Field(default=120.0, ge=SLOWEST_BPM, le=FASTEST_BPM, description="quarter notes a minute")
    beats_per_bar: int = Field(default=4, ge=2, le=12, description="in quarter notes")
    compound: bool = Field(default=False, description="count dotted quarters: 6/8 has 3 beats_per_bar, 12/8 has 6")
    restart_beats: float = Field(
        default=8.0, ge=0, le=256, description="after both rest so long, the next note is a downbeat; 0: never"
    )
    count_in: int = Field(default=0, ge=0, le=8, description="bars of clicks before bar 1, with the internal tempo")
    click: Literal["none", "count-in", "always"] = Field(default="count-in", description="when a click is sent")
    click_channel: int = Field(default=10, ge=1, le=16, description="MIDI channel of the click")
    click_key: Annotated[int, BeforeValidator(parse_pitch)] = Field(
        default=37, description="key of the click, as a number or a note"
    )
    tap_cc: int | None = Field(default=None, ge=0, le=119, description="this controller taps the tempo")
    tap_key: Annotated[int | None, BeforeValidator(parse_pitch)] = Field(
        default=None, description="this key taps the tempo"
    )
    one_cc: int | None = Field(default=None, ge=0, le=119, description="this controller says: now is a downbeat")
    one_key: Annotated[int | None, BeforeValidator(parse_pitch)] = Field(
        default=None, description="this key says: now is a downbeat"
    )

    @property
    def signature(self) -> tuple[int, int]:
        """The time signature (numerator, denominator)."""
        return time_signature(self.beats_per_bar, self.compound)

    @classmethod
    def metre(cls, top: int, bottom: int) -> dict[str, int | bool] | None:
        """The settings for bars of a time signature; None where there are none."""
        asked = {"beats_per_bar": 4 * top // bottom, "compound": is_compound(top, bottom)}
        try:
            made = cls.model_validate(asked)
        except ValidationError:
            return None
        return asked if made.signature == (top, bottom) else None

    @property
    def bars(self) -> tuple[Segment]:
        """The bars of a session, as `BeatGrid` takes them."""
        return (Segment(0, self.beats_per_bar * TICKS, self.compound),)

    @model_validator(mode="after")
    def _a_compound_bar_can_be_counted(self) -> Self:
        if not self.compound:
            return self
        if self.beats_per_bar not in (3, 6):
            raise ValueError(
                f"compound: true with beats_per_bar {self.beats_per_bar}; set beats_per_bar to 3 (6/8) or 6 (12/8), "
                "or compound to false"
            )
        if self.source == "listen":
            raise ValueError(
                "compound: true with source listen, which hears quarters; set source to internal or clock, or compound to false"
            )
        return self


class Mode(Section):
    name: ModeName = "trade"
    bars_per_turn: int = Field(default=2, ge=1, le=16, description="trade: bars before the other plays")
    rest_beats: float = Field(default=2.0, ge=0.25, le=32, description="continue: a rest of this length hands over")
    trigger_cc: int | None = Field(
        default=None, ge=0, le=119, description="continue: this controller hands over (64: pedal)"
    )
    trigger_key: Annotated[int | None, BeforeValidator(parse_pitch)] = Field(
        default=None, description="continue: this key hands over"
    )
    program_channel: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="program changes 0 to 3 on this MIDI channel switch the mode; null: none do",
    )
    max_bars: int = Field(default=8, ge=1, le=64, description="continue: the longest answer")
    ring_to_bar: bool = Field(default=True, description="the last notes of an accompaniment may sound to the bar line")


class Controls(Section):
    density: float = Field(default=0.0, ge=-1, le=1, description="fewer or more notes; 0: as it is")
    register_: float = Field(default=0.0, ge=-1, le=1, alias="register", description="lower or higher; 0: as it is")
    brightness: float = Field(default=0.0, ge=-1, le=1, description="darker or brighter modes; 0: as it is")
    tension: float = Field(default=0.0, ge=-1, le=1, description="plainer or richer harmony; 0: as it is")
    polyphony: float = Field(default=0.0, ge=-1, le=1, description="fewer or more notes at once; 0: as it is")
    style: Style | None = Field(default=None, description="the kind of music; null: any")
    guidance: float = Field(
        default=1.0, ge=0, le=2, description="how much these controls, and the plan made for them, count"
    )
    memory: float = Field(default=0.0, ge=-1, le=1, description="less or more of what was played; 0: as learned")
    cc: int = Field(default=20, ge=0, le=112, description="the controllers of the eight, from this number on; 0: none")


class Sampling(Section):
    preset: Literal["usual", "strict", "free"] = Field(default="usual", description="how to draw, for each mode")
    temperature: float | None = Field(default=None, ge=0.05, le=3, description="null: the preset's")
    top_k: int | None = Field(default=None, ge=0, le=128, description="0: off; null: the preset's")
    top_p: float | None = Field(default=None, ge=0.05, le=1, description="null: the preset's")
    cool: float = Field(default=0.85, ge=0.1, le=1, description="factor on the temperature reached at a phrase's end")


class Engine(Section):
    lookahead_beats: float = Field(default=2.0, ge=0.5, le=8)
    commit_ms: float = Field(default=40.0, ge=5, le=500)
    late_ms: float = Field(default=60.0, ge=5, le=1000, description="later than this, a note is dropped and counted")
    listen_ms: float = Field(default=20.0, ge=0, le=30, description="how long accompany waits for your note")
    seed: int = Field(default=1, ge=0, le=2**31 - 1)
    threads: int = Field(default=1, ge=1, le=64)


class Model(Section):
    file: Annotated[Path | None, Field(strict=False)] = Field(
        default=None, description="null: the one that comes with Antiphon"
    )
    provider: Literal["auto", "cpu", "cuda"] = "auto"


class Run(Section):
    bars: int | None = Field(default=None, ge=1, le=100_000, description="null: until stopped")
    seconds: float | None = Field(default=None, gt=0, le=1_000_000, description="null: until stopped")
    record: Annotated[Path | None, Field(strict=False)] = Field(default=None, description="null: named by the time")
    quiet: bool = Field(default=False, description="no live line, and no keys of the keyboard")


Mixed = Annotated[Preset, BeforeValidator(parse_preset)]


class Presets(Section):
    """Those that come with Antiphon, and any others."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Mixed]

    cheerful: Mixed = parse_preset({"brightness": 1, "density": 0.3, "register": 0.3, "tension": -0.2})
    calm: Mixed = parse_preset({"density": -0.8, "tension": -0.4, "register": -0.2})
    build_up: Mixed = Field(
        default=parse_preset({"density": 1, "polyphony": 0.7, "register": 0.7, "rise": True}), alias="build-up"
    )
    jazzier: Mixed = parse_preset({"tension": 0.7, "polyphony": 0.5, "standard": 0.7})

    def named(self) -> dict[str, Preset]:
        """All of them by the names users give."""
        return {"cheerful": self.cheerful, "calm": self.calm, "build-up": self.build_up, "jazzier": self.jazzier} | (
            self.__pydantic_extra__ or {}
        )


class Config(Section):
    """All sections; every one may be left out."""

    ports: Ports = Ports()
    sync: Sync = Sync()
    mode: Mode = Mode()
    play: Play = Play()
    chords: Chords = Chords()
    controls: Controls = Controls()
    presets: Presets = Field(default_factory=lambda: Presets.model_validate({}))
    sampling: Sampling = Sampling()
    engine: Engine = Engine()
    model: Model = Model()
    run: Run = Run()

    @model_validator(mode="after")
    def _an_intro_has_chords(self) -> Self:
        if self.play.intro:
            given = f"play.intro {self.play.intro}"
            if self.chords.chart is None:
                raise ValueError(f"{given}: it is made of the last bars of a chart; give --chords, or leave it out")
            if self.mode.name != "accompany":
                raise ValueError(f"{given}: only who accompanies can begin; give --mode accompany, or leave it out")
            if self.sync.source == "clock":
                raise ValueError(f"{given}: with MIDI clock you begin; give --sync internal, or leave it out")
        return self

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        places = (
            (self.mode, "mode.trigger"),
            (self.sync, "sync.tap"),
            (self.sync, "sync.one"),
            (self.chords, "chords.next"),
            (self.play, "play.feel"),
        )
        first = self.play.parts_cc if self.play.is_band and self.play.parts_cc else 2000
        parts = [(f"play.parts_cc ({part})", number) for number, part in enumerate(get_args(Part), first)]
        callers, keys = (
            [(f"{name}_{kind}", getattr(section, f"{name.partition('.')[2]}_{kind}")) for section, name in places]
            for kind in ("cc", "key")
        )
        knobs = [(f"controls.cc ({knob})", number) for number, knob in enumerate(KNOBS, self.controls.cc or 1000)]
        pedals = [("the sustain pedal", SUSTAIN), ("the sostenuto pedal", SOSTENUTO)]
        pairs = [*combinations(callers, 2), *product(callers, knobs + parts), *combinations(keys, 2)]
        pairs += [*product(knobs, parts), *product(knobs + parts, pedals)]
        for (name, number), (other, same) in pairs:
            if number is not None and number == same:
                what = "key" if "key" in name else "controller"
                raise ValueError(f"{what} {number} given to {name} and to {other}; allowed one meaning for each {what}")
        return self


def keys() -> list[str]:
    """Every dotted key as a user writes it: "ports.in", ..., in the order of config.yaml."""
    return [f"{section}.{key}" for section, model in _sections() for key in _names(model)]


def load(
    path: Path | None = None, overrides: Mapping[str, Any] | None = None, options: Mapping[str, str] | None = None
) -> Config:
    """The configuration from the file (None: built-in defaults) with `overrides` ({"sync.tempo_bpm": 96}) on top.

    `options`: the option of the command line that a user gives for a key ({"sync.tempo_bpm": "--tempo"}); an error names it.
    Raises UserError.
    """
    tree = read_sections(path, Config.model_fields, keys()) if path is not None else {}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for dotted, value in given.items():
        section, _, key = dotted.partition(".")
        tree.setdefault(section, {})[key] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        names = {key: (options or {}).get(key, key) for key in given}
        problems = error.errors()
        lines = dict.fromkeys(_explain(detail, path, names) for detail in problems[:MOST_PROBLEMS])
        more = [f"and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise UserError("; ".join([*lines, *more])) from None


def default_of(dotted: str) -> str | None:
    """The default of a key as a user writes it; None where there is none."""
    section, _, key = dotted.partition(".")
    value = getattr(Config(), section).model_dump(by_alias=True)[key]
    if isinstance(value, tuple):
        return "-".join(map(pitch_name, value))
    return None if value is None else shown(value)


def shown(value: object) -> str:
    """A value as a user would type it, at most 60 letters of it."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)[:60]


def _sections() -> Iterator[tuple[str, type[Section]]]:
    for name, field in Config.model_fields.items():
        assert isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        yield name, field.annotation


def _names(model: type[Section]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _explain(detail: ErrorDetails, path: Path | None, overridden: Mapping[str, str]) -> str:
    """One clause: where, what was given, what is allowed. overridden: what a user calls the keys that no file gave."""
    parts = [str(part) for part in detail["loc"]]
    dotted = ".".join(parts[:2])
    if (option := overridden.get(dotted, "")).startswith("--"):
        return f"{option} {shown(detail['input'])}: {_allowed(parts[0], parts[1], detail)}"
    source = "command line" if dotted in overridden or path is None else str(path)
    if detail["type"] == "extra_forbidden":
        near = _nearest_key(parts)
        advice = f"did you mean {near!r}?" if near else "antiphon config prints all keys"
        return f"{source}: unknown key {dotted!r}; {advice}"
    if not parts:  # a rule that joins several sections
        return f"{path or 'command line'}: {detail['msg'].removeprefix('Value error, ')}"
    if len(parts) == 1:  # a rule that joins several keys of one section
        return f"{source}: {dotted}: {detail['msg'].removeprefix('Value error, ')}"
    if len(parts) == 3 and parts[2].isalpha():  # a value of a table
        dotted = ".".join(parts)
    return f"{source}: {dotted}: {_quoted(detail['input'])} given; {_allowed(parts[0], parts[1], detail)}"


def _nearest_key(parts: list[str]) -> str | None:
    """The key most like the unknown one; a right name in the wrong section, or in none, counts most."""
    by_last = {key.split(".")[1]: key for key in reversed(keys())}
    if parts[-1] in by_last:
        return by_last[parts[-1]]
    whole = keys() if len(parts) > 1 else [*Config.model_fields, *keys()]
    for word, table in ((".".join(parts), {key: key for key in whole}), (parts[-1], by_last)):
        if close := difflib.get_close_matches(word, list(table), n=1, cutoff=0.6):
            return table[close[0]]
    return None


def _quoted(value: object) -> str:
    return shown(value) if isinstance(value, float | int) and not isinstance(value, bool) else repr(value)[:60]


def _allowed(section: str, key: str, detail: ErrorDetails) -> str:
    """The range of a key, read from its own field."""
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    model = dict(_sections())[section]
    field = next(field for name, field in model.model_fields.items() if (field.alias or name) == key)
    if get_origin(field.annotation) is dict and len(detail["loc"]) == 3:  # a value of the table
        field = FieldInfo.from_annotation(get_args(field.annotation)[1])
    literals = [value for part in (field.annotation, *get_args(field.annotation)) for value in get_args(part)]
    words = [value for value in literals if isinstance(value, str)]
    if words:
        near = nearest(str(detail["input"]), words)
        return f"allowed {', '.join(words)}{near}"
    rules = [(name, getattr(rule, name, None)) for rule in field.metadata for name in ("ge", "gt", "le")]
    bounds = {name: bound for name, bound in rules if bound is not None}
    if "le" in bounds:
        low = bounds.get("ge", bounds.get("gt"))
        kind = "whole numbers " if int in (field.annotation, *get_args(field.annotation)) else ""
        return f"allowed {kind}{'above ' if 'gt' in bounds else ''}{low:g} to {bounds['le']:.12g}"
    return "allowed true or false" if field.annotation is bool else "allowed a text"
