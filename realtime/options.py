"""The options that commands share, and the keys of config.yaml that they stand for (`TWINS`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
    "provider": "model.provider",
    "model": "model.file",
}

ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="a file like config.yaml; else the defaults")
]
ModeOption = Annotated[str | None, typer.Option(help="continue, trade, accompany or harmonise")]
BarsPerTurn = Annotated[int | None, typer.Option(help="trade: bars of a turn")]
Tempo = Annotated[float | None, typer.Option(help="beats per minute, with --sync internal")]
Part = Annotated[str | None, typer.Option(help="what Antiphon plays: melody, accompaniment, bass, drums, other")]
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
Temperature = Annotated[float | None, typer.Option(help="0.05 (sure) to 3 (wild)")]
TopK = Annotated[int | None, typer.Option(help="draw from the k likeliest choices; 0: off")]
TopP = Annotated[float | None, typer.Option(help="draw from the likeliest choices that together have this probability")]
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
    float | None, typer.Option(help="Antiphon's beats per minute with --sync internal; else the file's first tempo")
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


def configuration(path: Path | None, given: dict[str, Any]) -> Any:
    """The configuration from a file and the options of a command (those of `TWINS`)."""
    from realtime.config import load

    options = {key: f"--{name.rstrip('_').replace('_', '-')}" for name, key in TWINS.items()}
    return load(path, {TWINS[name]: value for name, value in given.items() if name in TWINS}, options)
