"""The settings of the engine."""

from __future__ import annotations

from dataclasses import dataclass

from realtime import midi
from realtime.core.modes import Mode
from realtime.music.chart import Chart
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.metre import TICKS, Segment
from realtime.music.vocabulary import DRUMS, MELODY, PART_NAMES


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Channels are 0..15.

    `modes`: by name. `mode`: the first one. `program_channel`: program change n on this channel chooses the n-th mode, counted
    from 0. None: on no channel. `bpm`: the tempo at first. `bars`: the metre, as `metre.BeatGrid` takes it.
    `channels`: the channel on which each of Antiphon's parts is sent. `player_parts`: the part that the player plays on each
    channel.
    `follow_clock`: tempo and position follow MIDI clock; else the player's first note is the downbeat of bar 1, and their first
    note after both have rested for `restart_ticks` (0: never) is a downbeat again. `one_cc`, `one_key`: the controller, and the
    key, that say so at any time. `listen`: tempo and beat are heard in the player's notes, `bpm` is only what is expected.
    `count_in_bars`: with an internal tempo, so many bars are counted in. `click`: channel and key of the clicks that count, None:
    it is silent; `clicks`: they go on after that. `tap_cc`, `tap_key`: the controller, and the key, that tap the tempo.
    `lookahead_ticks`: how far ahead notes are planned. `prepare_ticks`: how long before its turn Antiphon begins to plan it.
    `commit_ns`: the commit window: a note whose onset is no further ahead is final. `late_ns`: a note-on later than this is
    not sent. `hold_ns`: in a mode that listens, a note is held back so long where the player is likely to strike.
    `rest_ticks`: a rest this long ends the player's phrase.
    `ring_to_bar`: where a turn does not end with a bar, its last notes may sound on to the next bar line.
    `trigger_cc`, `trigger_key`: the controller, and the key, with which the player calls Antiphon.
    `controls`: the knobs at first. `controls_cc`: the controller that turns the first of `controls.KNOBS`, on any channel;
    the controllers after it turn the others, in order. None: the knobs stay as they are.
    `parts`: those of a band, each on its own channel; none: one part plays. `parts_cc`: the controller that has the first part,
    0, play or be silent; the controllers after it have the others.
    `feel`: of a band, at first. `feel_cc`, `feel_key`: the controller, and the key, that call the next one.
    `intro_bars`: so many bars of Antiphon's come before the chart begins.
    `chart`: the chords that are given. `follow_player`: where the player leaves it, follow. `chord_channel`: on this channel
    chords are played by hand. `next_cc`, `next_key`: the controller, and the key, that call the chart's next section.
    """

    modes: dict[str, Mode]
    mode: str
    bpm: float = 120.0
    bars: tuple[Segment, ...] = (Segment(0, 4 * TICKS),)
    channels: tuple[int, ...] = (0,) * len(PART_NAMES)
    player_parts: tuple[int, ...] = tuple(DRUMS if channel == midi.DRUM_CHANNEL else MELODY for channel in range(16))
    follow_clock: bool = False
    listen: bool = False
    restart_ticks: int = 192
    count_in_bars: int = 0
    clicks: bool = False
    click: tuple[int, int] | None = (midi.DRUM_CHANNEL, 37)
    tap_cc: int | None = None
    tap_key: int | None = None
    one_cc: int | None = None
    one_key: int | None = None
    lookahead_ticks: int = 48
    prepare_ticks: int = 24
    commit_ns: int = 40_000_000
    late_ns: int = 60_000_000
    hold_ns: int = 0
    rest_ticks: int = 48
    ring_to_bar: bool = True
    trigger_cc: int | None = None
    trigger_key: int | None = None
    controls: Controls = AS_IT_IS
    controls_cc: int | None = None
    parts: tuple[int, ...] = ()
    parts_cc: int | None = None
    feel: str | None = None
    feel_cc: int | None = None
    feel_key: int | None = None
    intro_bars: int = 0
    program_channel: int | None = None
    chart: Chart | None = None
    follow_player: bool = False
    chord_channel: int | None = None
    next_cc: int | None = None
    next_key: int | None = None
