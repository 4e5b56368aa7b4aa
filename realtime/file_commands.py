"""The commands that work on files. `realtime.cli` makes them commands of `antiphon`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realtime.options import (
    Chords,
    ConfigFile,
    Key,
    Level,
    MaxNotes,
    Mix,
    ModelFile,
    Part,
    Picture,
    Preset,
    Provider,
    Range,
    Seed,
    Styles,
    Temperature,
    TopK,
    TopP,
    configuration,
    say,
)


def compose(
    source: Annotated[Path, typer.Argument(metavar="IN.mid")],
    target: Annotated[Path, typer.Argument(metavar="OUT.mid")],
    bars: Annotated[int, typer.Option(help="how many bars to add", min=1, max=1024)] = 8,
    loop: Annotated[bool, typer.Option("--loop", help="the new bars lead back to the first of them")] = False,
    png: Picture = None,
    config: ConfigFile = None,
    part: Part = None,
    key: Key = None,
    chords: Chords = None,
    range_: Range = None,
    max_notes: MaxNotes = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    preset: Preset = None,
    seed: Seed = None,
    provider: Provider = None,
    model: ModelFile = None,
) -> None:
    """Continue a MIDI file by up to 1024 bars, planned as a whole."""
    given = {name: value for name, value in locals().items() if name != "bars"}
    from realtime.io.offline.compose import compose as continue_file

    print(continue_file(configuration(config, given), source, target, bars, loop, png, say))


def infill(
    source: Annotated[Path, typer.Argument(metavar="IN.mid")],
    target: Annotated[Path, typer.Argument(metavar="OUT.mid")],
    bars: Annotated[str, typer.Option(metavar="FIRST-LAST", help='the bars to compose anew, such as "9-12" or "9"')],
    part: Annotated[
        list[str] | None,
        typer.Option(help="only this part's notes; may be given again; else every part that plays there, or near by"),
    ] = None,
    png: Picture = None,
    config: ConfigFile = None,
    key: Key = None,
    chords: Chords = None,
    range_: Range = None,
    max_notes: MaxNotes = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    preset: Preset = None,
    seed: Seed = None,
    provider: Provider = None,
    model: ModelFile = None,
) -> None:
    """Compose some bars of a MIDI file anew, so that they fit what comes before and after; all else stays as it is."""
    given = {name: value for name, value in locals().items() if name not in ("bars", "part")}
    from realtime.io.offline.infill import infill as fill_file

    print(fill_file(configuration(config, given), source, target, bars, part or [], png, say))


def chords(
    source: Annotated[Path, typer.Argument(metavar="IN.mid")],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="the chords as a list, too")] = None,
) -> None:
    """Print a lead sheet of a MIDI file: the chords bar by bar, and how sure each bar is."""
    from realtime.io.offline.chords import lead_sheet

    print(lead_sheet(source, json_file))


def edit(
    source: Annotated[Path, typer.Argument(metavar="IN.mid")],
    target: Annotated[Path, typer.Argument(metavar="OUT.mid")],
    density: Level = 0.0,
    register: Level = 0.0,
    brightness: Level = 0.0,
    tension: Level = 0.0,
    polyphony: Level = 0.0,
    style: Styles = None,
    cheerful: Mix = 0.0,
    calm: Mix = 0.0,
    build_up: Mix = 0.0,
    jazzier: Mix = 0.0,
    preset: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=AMOUNT]", help="a preset of the configuration, yours too")
    ] = None,
    words: Annotated[
        str | None, typer.Option(help='such as "gradually brighter, jazz chords"; see docs/edit.md')
    ] = None,
    part: Annotated[list[str] | None, typer.Option(help="only this part; may be given again; else all")] = None,
    bars: Annotated[str | None, typer.Option(metavar="FIRST-LAST", help='such as "9-16"; else all')] = None,
    png: Picture = None,
    config: ConfigFile = None,
    model: ModelFile = None,
) -> None:
    """Make bars of a MIDI file denser, higher, brighter ...; what you do not ask for stays as it is.

    Amounts add up. An amount of 1 is a clear change: docs/edit.md says what it means for each option.
    """
    from realtime.io.live.settings import model_path
    from realtime.io.offline import edit as editing

    settings = configuration(config, {"model": model, "target": target, "png": png})
    names = ("density", "register", "brightness", "tension", "polyphony")
    levels = dict(zip(names, (density, register, brightness, tension, polyphony), strict=True))
    mixes = {"cheerful": cheerful, "calm": calm, "build-up": build_up, "jazzier": jazzier}
    wishes = editing.wishes_of(levels, style or [], mixes, preset or [], words, settings.presets.named())
    tools = editing.tools(model_path(settings))
    print(editing.edit_file(source, target, wishes, part or [], bars, png, tools))


def render(
    source: Annotated[Path, typer.Argument(metavar="IN.mid")],
    target: Annotated[Path, typer.Argument(metavar="OUT.wav")],
    soundfont: Annotated[
        Path | None,
        typer.Option(metavar="FILE.sf2", help="play with fluidsynth and this sound font; else a plain sound"),
    ] = None,
) -> None:
    """Turn a MIDI file into sound: a .wav file, in stereo, each track in its place."""
    from realtime.io.offline.render import render as make_sound

    print(make_sound(source, target, soundfont))
