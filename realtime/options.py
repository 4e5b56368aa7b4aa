"""The options that commands share, and the keys of config.yaml that they stand for (`TWINS`)."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from realtime.errors import UserError, one_line

TWINS = {
    "in_": "ports.in",
    "out": "ports.out",
    "name": "ports.name",
    "wait": "ports.wait",
    "backend": "ports.backend",
    "tempo": "sync.tempo_bpm",
    "sync": "sync.source",
    "count_in": "sync.count_in",
    "tap": "sync.tap_key",
    "mode": "mode.name",
    "bars_per_turn": "mode.bars_per_turn",
    "part": "play.part",
    "feel": "play.feel",
    "intro": "play.intro",
    "channel": "play.channel",
    "key": "play.key",
    "chords": "chords.chart",
    "range_": "play.range",
    "max_notes": "play.max_notes",
    "temperature": "sampling.temperature",
    "top_k": "sampling.top_k",
    "top_p": "sampling.top_p",
    "preset": "sampling.preset",
    "seed": "engine.seed",
    "record": "run.record",
    "bars": "run.bars",
    "seconds": "run.seconds",
    "quiet": "run.quiet",
    "provider": "model.provider",
    "model": "model.file",
}

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="settings, in the form that antiphon config prints")
]
ModeOption = Annotated[str | None, typer.Option(help="continue, trade, accompany or harmonise")]
BarsPerTurn = Annotated[int | None, typer.Option(help="trade: bars of a turn")]
Tempo = Annotated[float | None, typer.Option(help="beats per minute, with --sync internal")]
Part = Annotated[
    str | None,
    typer.Option(
        help="what Antiphon plays: melody, accompaniment, bass, drums, other, or several, as in accompaniment+bass+drums; else "
        "what suits the mode"
    ),
]
Feel = Annotated[
    str | None,
    typer.Option(help="of several parts, what they strike where: ballad, swing, bossa, rock, waltz or march"),
]
Intro = Annotated[
    int | None,
    typer.Option(
        metavar="BARS", help="accompany with --chords: the chart's last bars come first, and you come in after them"
    ),
]
Channel = Annotated[int | None, typer.Option(help="MIDI channel of the answer, 1 to 16; else 1, and 10 for drums")]
Chords = Annotated[
    str | None,
    typer.Option(
        "--chords", metavar="CHART|FILE", help='such as "Am7 | D7 | Gmaj7 | %", or a file: .txt, .mid, .musicxml, .mxl'
    ),
]
Key = Annotated[str | None, typer.Option(help='such as "C", "A minor", "F# dorian"')]
Range = Annotated[str | None, typer.Option("--range", help='such as "C3-C6" or "48-84"')]
MaxNotes = Annotated[int | None, typer.Option(help="notes sounding together, 1 to 16")]
Temperature = Annotated[float | None, typer.Option(help="0.05 (sure) to 3 (wild); else the preset's")]
TopK = Annotated[int | None, typer.Option(help="draw from the k likeliest choices, 0: from all; else the preset's")]
TopP = Annotated[
    float | None,
    typer.Option(help="draw from the likeliest choices that together have this probability; else the preset's"),
]
Preset = Annotated[
    str | None, typer.Option(help="how choices are drawn: usual, strict (careful) or free (adventurous)")
]
Seed = Annotated[int | None, typer.Option(help="the same seed and input give the same notes")]
Provider = Annotated[str | None, typer.Option(help="auto, cpu or cuda")]
ModelFile = Annotated[
    Path | None, typer.Option("--model", metavar="FILE", help="an ONNX model that models.train and export made")
]
Picture = Annotated[
    Path | None,
    typer.Option("--png", metavar="FILE.png", help="also draw the notes, and under them what the bars are like"),
]
OutPort = Annotated[str | None, typer.Option("--out", metavar="PORT", help="output port; else a virtual one")]
Backend = Annotated[str | None, typer.Option(help="auto, alsa, jack, coremidi or winmm")]
Tracks = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|N", help="a track that plays, by its name or its number from 1; may be given again; else all"
    ),
]
Grid = Annotated[
    str,
    typer.Option(
        help="player: the first note is the downbeat, as in jam (with --sync clock, the file's start); file: the file's bars, as "
        "after a count-in"
    ),
]
OwnTempo = Annotated[
    float | None,
    typer.Option(
        show_default=False, help="Antiphon's beats per minute with --sync internal; else the file's first tempo"
    ),
]
Styles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TAG[=AMOUNT]",
        help="a kind of music: pop, song, quartet, standard, hymn, folk, game or classical; the amount is 1 if not given",
    ),
]
Level = Annotated[float, typer.Option(min=-3, max=3, help="amount, -3 to 3; 0: as it is")]
Mix = Annotated[float, typer.Option(min=-3, max=3, help="how much of the preset of that name")]


OUTPUTS = ("target", "png", "json_file")
"""The parameters of commands that are files to be written."""
DEMO_FILES = ("duet.mid", "duet.wav", "duet.png", "report.json")
"""What `antiphon demo` writes into its folder."""
NOT_WITH_CLOCK = ("tempo", "count_in", "tap")
"""MIDI clock gives tempo and position."""


class Command(TyperCommand):
    """A command whose help shows the default of each option that stands for a setting."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from realtime.config import default_of

        for option in self.params:
            if isinstance(option, TyperOption) and option.name in TWINS and option.show_default is not False:
                is_setting = option.default is None and not (option.multiple or option.required)
                if is_setting and (default := default_of(TWINS[option.name])) is not None:
                    option.help = f"{option.help}; default: {default}"
        super().format_help(ctx, formatter)


def option_of(name: str) -> str:
    """What a user types for a parameter of a command: "--bars-per-turn"."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def configuration(path: Path | None, given: dict[str, Any]) -> Any:
    """The configuration from a file and the options of a command (those of `TWINS`). Raises `UserError`, also for an option that
    would do nothing, and where the command would write over a file that it is configured by."""
    from realtime.config import load, shown

    options = {key: option_of(name) for name, key in TWINS.items()}
    config = load(path, {TWINS[name]: value for name, value in given.items() if name in TWINS}, options)
    for name in NOT_WITH_CLOCK:
        if config.sync.source == "clock" and given.get(name) is not None:
            raise UserError(
                f"{option_of(name)} {shown(given[name])}: tempo and position are those of the MIDI clock; leave it out, or give "
                "--sync internal"
            )
    if outputs := _written(given):
        _check_kept(outputs, path, config)
    return config


def _check_kept(outputs: list[Path], path: Path | None, config: Any) -> None:
    """Raise `UserError` where a command would write over a file that it is configured by."""
    from realtime.io.files.whole import check_kept
    from realtime.io.live.settings import files_of

    check_kept(outputs, files_of(config) | ({"the file of --config": path} if path is not None else {}))


def _written(given: dict[str, Any]) -> list[Path]:
    """What a command writes. jam's recording is not among it: it never replaces a file."""
    folder = given.get("out_dir")
    inside = [folder / name for name in DEMO_FILES] if folder is not None else []
    return [*inside, *(given[name] for name in OUTPUTS if given.get(name) is not None)]


def say(line: str) -> None:
    """Print a line for the user on standard error, while the command runs."""
    with suppress(OSError, ValueError):  # nobody reads it
        print("\n".join(map(one_line, line.splitlines())), file=sys.stderr, flush=True)
