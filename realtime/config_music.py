"""The sections of the configuration that say what is played: `play` and `chords`. See `realtime.config`."""

from collections import Counter
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from realtime.errors import nearest
from realtime.music.keys import Key, parse_key, parse_pitch, parse_range

Part = Literal["melody", "accompaniment", "bass", "drums", "other"]
Feel = Literal["ballad", "swing", "bossa", "rock", "waltz", "march"]


def parse_parts(given: object) -> object:
    """ "bass+drums" as the names of parts; anything but a text stays what it is. Raises ValueError."""
    if not isinstance(given, str):
        return tuple(given) if isinstance(given, list) else given
    names = [name.strip() for name in given.split("+")]
    for name in names:
        if name not in get_args(Part):
            raise ValueError(
                f"allowed {', '.join(get_args(Part))}, or several joined by +{nearest(name, get_args(Part))}"
            )
    if len({*names}) < len(names):
        raise ValueError("allowed each part once")
    return tuple(names)


class Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True, populate_by_name=False
    )


class Play(Section):
    part: Annotated[tuple[Part, ...] | None, BeforeValidator(parse_parts)] = Field(
        default=None, description="null: the tune, or the accompaniment in accompany and harmonise; several: a band"
    )
    feel: Feel | None = Field(default=None, description="what a band of several parts strikes where; null: no pattern")
    feel_cc: int | None = Field(default=None, ge=0, le=119, description="this controller calls the next feel")
    feel_key: Annotated[int | None, BeforeValidator(parse_pitch)] = Field(
        default=None, description="this key calls the next feel"
    )
    intro: int = Field(
        default=0, ge=0, le=32, description="accompany: bars that Antiphon plays first, the last ones of the chart"
    )
    player_part: Part = Field(default="melody", description="what the player plays")
    channel: int | None = Field(
        default=None, ge=1, le=16, description="MIDI channel of the answer; null: 1, and 10 for drums"
    )
    channels: dict[Part, Annotated[int, Field(ge=1, le=16)]] = Field(
        default={}, description="MIDI channel of each part of a band; else from channel on, and 10 for drums"
    )
    parts_cc: int = Field(
        default=102,
        ge=0,
        le=115,
        description="five controllers from this number on: which parts of a band play; 0: none",
    )
    key: Annotated[Key | None, BeforeValidator(parse_key)] = None
    key_strength: Literal["strict", "bias"] = "strict"
    range: Annotated[tuple[int, int], BeforeValidator(parse_range)] = (21, 108)
    max_notes: int | None = Field(
        default=None, ge=1, le=16, description="notes together; null: as many as you play, or 4"
    )
    follow: bool = Field(default=True, description="go with the player, and end a phrase with the turn")
    min_duration_ticks: int = Field(default=1, ge=1, le=384, description="24 ticks are a quarter note")
    max_duration_ticks: int = Field(default=384, ge=1, le=384, description="24 ticks are a quarter note")

    @model_validator(mode="after")
    def _durations_in_order(self) -> Self:
        if self.min_duration_ticks > self.max_duration_ticks:
            raise ValueError(f"min_duration_ticks allowed 1 to max_duration_ticks ({self.max_duration_ticks})")
        return self

    @property
    def is_band(self) -> bool:
        """Whether several parts play."""
        return len(self.part or ()) > 1

    def part_channels(self) -> dict[str, int]:
        """The MIDI channel, 1..16, of each part of a band: as set, 10 for drums, and the others from `channel` on, in the order
        in which they are named."""
        found: dict[str, int] = {"drums": 10} | {str(name): channel for name, channel in self.channels.items()}
        names = [*(self.part or ()), *get_args(Part)]
        for name in dict.fromkeys(names):
            places = (((self.channel or 1) - 1 + step) % 16 + 1 for step in range(16))
            found.setdefault(name, next(place for place in places if place not in found.values() and place != 10))
        return found

    @model_validator(mode="after")
    def _a_band_has_channels_and_feel(self) -> Self:
        wanted = {
            "feel": self.feel is not None,
            "feel_cc": self.feel_cc is not None,
            "feel_key": self.feel_key is not None,
            "channels": bool(self.channels),
        }
        given = next((name for name, is_given in wanted.items() if is_given), None)
        if not self.is_band and given is not None:
            raise ValueError(f"{given} is for several parts: give part: accompaniment+bass+drums, or leave {given} out")
        for channel, times in Counter(self.part_channels().values()).items():
            if times > 1:
                raise ValueError(f"channels: {channel} given to several parts; allowed one part for each channel")
        return self


class Chords(Section):
    chart: str | None = Field(default=None, description="the chords, or a file with them; null: none are given")
    strength: Literal["strict", "bias"] = "strict"
    follow: bool = Field(default=False, description="where you leave the chart, Antiphon goes with you")
    german: bool = Field(default=False, description="H is B, and B is B flat")
    chord_channel: int | None = Field(default=None, ge=1, le=16, description="chords played there are the harmony")
    next_cc: int | None = Field(default=None, ge=0, le=119, description="this controller calls the next section")
    next_key: Annotated[int | None, BeforeValidator(parse_pitch)] = Field(
        default=None, description="this key calls the next section"
    )
