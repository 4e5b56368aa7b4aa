"""The user's configuration -> what the engine, the composer and the worker are built from."""

from __future__ import annotations

from pathlib import Path

from realtime.composing.constraints import Constraints, Sampling
from realtime.composing.contract import MASKED
from realtime.config import Config
from realtime.core.modes import Accompany, Continue, Harmonise, Mode, Trade
from realtime.core.settings import EngineSettings
from realtime.io.files.charts import read_chart
from realtime.io.files.whole import at_home
from realtime.io.live.model import Setup
from realtime.midi import DRUM_CHANNEL
from realtime.music.attributes import STYLES
from realtime.music.chart import Chart
from realtime.music.controls import Controls
from realtime.music.keys import SCALES
from realtime.music.metre import TICKS
from realtime.music.vocabulary import DRUMS, PART_NAMES

SHIPPED_MODEL = Path(__file__).resolve().parents[3] / "models" / "pretrained" / "antiphon-s.onnx"
BESIDE_THE_MODEL = ("bars.encode.onnx", "bars.decode.onnx", "planner.onnx", "directions.json")
"""Files that belong to every model in a folder."""
OUT_OF_KEY_NATS = -4.0
"""Bias on the logit of a pitch outside the scale, with `key_strength: bias`: it becomes some fifty times less likely."""
HARMONY_VOICES = 2


def model_path(config: Config) -> Path:
    """The model file to play: the one asked for, or the one that comes with Antiphon."""
    return at_home(config.model.file) if config.model.file is not None else SHIPPED_MODEL


def files_of(config: Config) -> dict[str, Path]:
    """The files that a configuration names, and those that belong to its model, by what they are."""
    model = model_path(config)
    beside = []
    if model.name:  # "." and "/" have none
        beside = [model.with_suffix(".context.onnx"), *(model.with_name(name) for name in BESIDE_THE_MODEL)]
    files = {"the model": model} | {f"the model's {path.name}": path for path in beside}
    if config.chords.chart is not None:
        files["the chart of --chords"] = at_home(Path(config.chords.chart))
    return files


def engine_settings(config: Config) -> EngineSettings:
    """Configuration units (channels 1..16, beats, ms) -> the engine's (0..15, ticks, ns)."""
    modes: dict[str, Mode] = {
        "continue": Continue(config.mode.max_bars),
        "trade": Trade(config.mode.bars_per_turn),
        "accompany": Accompany(by_bars=config.play.is_band),
        "harmonise": Harmonise(min(HARMONY_VOICES, config.play.max_notes or HARMONY_VOICES)),
    }
    part = PART_NAMES.index(config.play.player_part)
    return EngineSettings(
        modes=modes,
        mode=config.mode.name,
        bpm=config.sync.tempo_bpm,
        bars=config.sync.bars,
        channels=_channels(config),
        parts=parts(config) if config.play.is_band else (),
        parts_cc=config.play.parts_cc or None,
        feel=config.play.feel,
        feel_cc=config.play.feel_cc,
        feel_key=config.play.feel_key,
        intro_bars=config.play.intro,
        player_parts=tuple(DRUMS if channel == DRUM_CHANNEL else part for channel in range(16)),
        follow_clock=config.sync.source == "clock",
        listen=config.sync.source == "listen",
        restart_ticks=round(config.sync.restart_beats * TICKS),
        count_in_bars=config.sync.count_in,
        clicks=config.sync.click == "always",
        click=(config.sync.click_channel - 1, config.sync.click_key) if config.sync.click != "none" else None,
        tap_cc=config.sync.tap_cc,
        tap_key=config.sync.tap_key,
        one_cc=config.sync.one_cc,
        one_key=config.sync.one_key,
        lookahead_ticks=round(config.engine.lookahead_beats * TICKS),
        commit_ns=round(config.engine.commit_ms * 1e6),
        late_ns=round(config.engine.late_ms * 1e6),
        hold_ns=round(config.engine.listen_ms * 1e6),
        rest_ticks=round(config.mode.rest_beats * TICKS),
        ring_to_bar=config.mode.ring_to_bar,
        trigger_cc=config.mode.trigger_cc,
        trigger_key=config.mode.trigger_key,
        chart=chart(config),
        follow_player=config.chords.follow,
        chord_channel=config.chords.chord_channel - 1 if config.chords.chord_channel is not None else None,
        next_cc=config.chords.next_cc,
        next_key=config.chords.next_key,
        program_channel=config.mode.program_channel - 1 if config.mode.program_channel is not None else None,
        controls=controls(config),
        controls_cc=config.controls.cc or None,
    )


def parts(config: Config) -> tuple[int, ...]:
    """The parts that Antiphon plays; none: those that suit the mode."""
    return tuple(PART_NAMES.index(name) for name in config.play.part or ())


def _channels(config: Config) -> tuple[int, ...]:
    """The channel, 0..15, of each part."""
    play = config.play
    if play.is_band:
        of_part = play.part_channels()
        return tuple(of_part[name] - 1 for name in PART_NAMES)
    channels = [(play.channel or 1) - 1] * len(PART_NAMES)
    if play.part is None or play.channel is None:
        channels[DRUMS] = DRUM_CHANNEL  # drums are answered with drums
    return tuple(channels)


def controls(config: Config) -> Controls:
    """Where the knobs are at first."""
    given = config.controls.model_dump(by_alias=True, exclude={"cc", "style"})
    style = config.controls.style
    return Controls(**given, style=STYLES.index(style) if style is not None else None)


def chart(config: Config) -> Chart | None:
    """The chords that are given. Raises `UserError` where they cannot be read."""
    given = config.chords.chart
    return read_chart(given, config.chords.german) if given is not None else None


def constraints(config: Config) -> Constraints:
    """What the user allows to be played."""
    play = config.play
    return Constraints(
        parts=parts(config),
        tonic=play.key.tonic if play.key is not None else None,
        scale=SCALES[play.key.scale] if play.key is not None else SCALES["chromatic"],
        out_of_key=MASKED if play.key_strength == "strict" else OUT_OF_KEY_NATS,
        lowest=play.range[0],
        highest=play.range[1],
        max_notes=play.max_notes,
        min_duration=play.min_duration_ticks,
        max_duration=play.max_duration_ticks,
        follow=play.follow,
        chords_strict=config.chords.strength == "strict",
        band=play.is_band,
        feel=play.feel,
    )


def worker_setup(config: Config) -> Setup:
    """What the worker needs to compose."""
    sampling = config.sampling
    return Setup(
        model=str(model_path(config)),
        provider=config.model.provider,
        threads=config.engine.threads,
        constraints=constraints(config),
        sampling=Sampling(sampling.preset, sampling.temperature, sampling.top_k, sampling.top_p, sampling.cool),
        bars=config.sync.bars,
        bpm=config.sync.tempo_bpm,
        seed=config.engine.seed,
        controls=controls(config),
    )
