"""The command line. What a user got wrong ends with one line and status 2.

Every option of `jam` sets a key of config.yaml; `options.TWINS` says which. A command imports the modules that it needs when
it runs, so that every command starts quickly.
"""

from __future__ import annotations

import errno
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from realtime import __version__, process
from realtime.errors import UserError, one_line
from realtime.file_commands import chords, compose, edit, infill, render
from realtime.options import (
    Backend,
    BarsPerTurn,
    Channel,
    Chords,
    Command,
    ConfigFile,
    Feel,
    Grid,
    Intro,
    Key,
    MaxNotes,
    ModelFile,
    ModeOption,
    OutPort,
    OwnTempo,
    Part,
    Preset,
    Provider,
    Range,
    Seed,
    Temperature,
    Tempo,
    TopK,
    TopP,
    Tracks,
    configuration,
    say,
)

app = typer.Typer(
    help="A real-time MIDI co-composer: you play into a virtual port, Antiphon answers in tempo on another.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
command = partial(app.command, cls=Command)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="print the version")] = False
) -> None:
    if version:
        print(f"antiphon {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@command()
def jam(
    config: ConfigFile = None,
    in_: Annotated[str | None, typer.Option("--in", metavar="PORT", help="input port; else a virtual one")] = None,
    out: OutPort = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="the virtual ports are NAME In and NAME Out; for a second session"),
    ] = None,
    wait: Annotated[
        bool | None, typer.Option("--wait/--no-wait", help="whether to wait for a named port that is not there yet")
    ] = None,
    backend: Backend = None,
    tempo: Tempo = None,
    sync: Annotated[
        str | None, typer.Option(help="internal, clock (MIDI clock on the input port) or listen (the tempo you play)")
    ] = None,
    count_in: Annotated[int | None, typer.Option(metavar="BARS", help="bars of clicks before bar 1")] = None,
    tap: Annotated[str | None, typer.Option(metavar="KEY", help="a key that taps the tempo, such as C1")] = None,
    mode: ModeOption = None,
    bars_per_turn: BarsPerTurn = None,
    part: Part = None,
    feel: Feel = None,
    intro: Intro = None,
    channel: Channel = None,
    key: Key = None,
    chords: Chords = None,
    range_: Range = None,
    max_notes: MaxNotes = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    preset: Preset = None,
    seed: Seed = None,
    record: Annotated[
        Path | None, typer.Option(metavar="FILE.mid", help="the recording; else named by the time")
    ] = None,
    bars: Annotated[int | None, typer.Option(help="stop after so many bars")] = None,
    seconds: Annotated[float | None, typer.Option(help="stop after so many seconds")] = None,
    quiet: Annotated[
        bool | None, typer.Option("--quiet", help="no live line on the terminal, and no keys of the keyboard")
    ] = None,
    provider: Provider = None,
    model: ModelFile = None,
) -> None:
    """Play together until Ctrl-C: "Antiphon In" listens, "Antiphon Out" answers, everything is recorded.

    On a terminal a line shows what goes on, and keys work: space taps the tempo, m goes to the next mode, f to the next feel of
    a band, p is panic, r takes Antiphon's last answer back (a marker in the recording says where) and has the same phrase
    answered anew, q ends.
    """
    given = dict(locals())
    from realtime.io.live.jam import jam as play

    play(configuration(given.pop("config"), given), say)


@command()
def demo(
    config: ConfigFile = None,
    out_dir: Annotated[Path, typer.Option(help="where duet.wav, duet.mid, duet.png and report.json go")] = Path(
        "antiphon-demo"
    ),
    fast: Annotated[bool, typer.Option("--fast", help="in simulated time: the same seed gives the same bytes")] = False,
    mode: ModeOption = None,
    bars_per_turn: BarsPerTurn = None,
    tempo: Tempo = None,
    part: Part = None,
    feel: Feel = None,
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
    """Play a duet without any MIDI system: a scripted player, ports in memory, and files to open in a DAW."""
    given = dict(locals())
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from realtime.io.files.whole import check_folder
    from realtime.io.live import demo as duet
    from realtime.io.live.take import summary

    settings = configuration(config, given)
    check_folder(out_dir)
    if fast:
        engine, take, session = duet.play_fast(settings, say)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("beats"))
        with Progress(*columns) as bar:
            task = bar.add_task("playing", total=None)

            def show(beat: int, beats: int) -> None:
                bar.update(task, completed=beat, total=beats)

            engine, take, session = duet.play_live(settings, say, show)
    figures = duet.write_results(settings, out_dir, engine, take, session)
    print(summary(figures))
    print(f"{out_dir}/duet.wav, duet.mid, duet.png and report.json are written")


@command()
def duet(
    source: Annotated[Path, typer.Argument(metavar="IN.mid")],
    target: Annotated[Path, typer.Argument(metavar="OUT.mid")],
    track: Tracks = None,
    grid: Grid = "player",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="counts and times, as of demo")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE.png", help="a piano roll of both")] = None,
    config: ConfigFile = None,
    tempo: OwnTempo = None,
    sync: Annotated[str | None, typer.Option(help="internal, or clock: the file's tempo map as MIDI clock")] = None,
    mode: ModeOption = None,
    bars_per_turn: BarsPerTurn = None,
    part: Part = None,
    feel: Feel = None,
    intro: Intro = None,
    channel: Channel = None,
    key: Key = None,
    chords: Chords = None,
    range_: Range = None,
    max_notes: MaxNotes = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    preset: Preset = None,
    seed: Seed = None,
    bars: Annotated[int | None, typer.Option(help="stop after so many bars; else a turn after the file's end")] = None,
    seconds: Annotated[float | None, typer.Option(help="stop so many seconds after the first bar has begun")] = None,
    provider: Provider = None,
    model: ModelFile = None,
) -> None:
    """Hear what Antiphon would do with a tune: a MIDI file takes your place in a jam that runs in simulated time.

    The file is played in its own tempo. With --sync internal Antiphon keeps one tempo; --sync clock follows the file.
    As in jam, channel 10 is heard as drums, and CC 20 to 26 turn the knobs.
    """
    given = dict(locals())
    from realtime.io.live.duet import duet as play
    from realtime.io.live.take import summary

    settings = configuration(config, given)
    print(summary(play(settings, source, target, track or [], grid, json_file, png, say)))
    print(f"{target} is written")


for file_command in (compose, infill, edit, chords, render):
    command()(file_command)


@command("config")
def config_() -> None:
    """Print every setting with its default and its range: a file for --config. antiphon config > my.yaml"""
    print(Path(__file__).with_name("config.yaml").read_text(encoding="utf-8"), end="")


@command()
def ports(backend: Backend = None) -> None:
    """List the MIDI ports there are."""
    from realtime.io.doctor import ports_report

    print(ports_report(configuration(None, {"backend": backend}).ports.backend))


@command()
def doctor() -> None:
    """Check what Antiphon needs, and give the commands that fix what is missing."""
    from realtime.io.doctor import report

    text, healthy = report()
    print(text)
    if not healthy:
        raise typer.Exit(1)


@command()
def panic(
    out: Annotated[str, typer.Option("--out", metavar="PORT", help="the port to silence")],
    backend: Backend = None,
) -> None:
    """Silence a port: sustain off, then note-offs, then all-notes-off, on all 16 channels."""
    from realtime.io.doctor import silence

    print(silence(out, configuration(None, {"backend": backend}).ports.backend))


@command()
def bench(
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="also write the figures to this file")
    ] = None,
    music: Annotated[
        bool, typer.Option("--music", help="measure what Antiphon plays: key, grid, register, rests, endings")
    ] = False,
    knobs: Annotated[
        bool, typer.Option("--knobs", help="measure what the knobs change: density, register, polyphony, in every mode")
    ] = False,
    provider: Provider = None,
    model: ModelFile = None,
) -> None:
    """Measure this machine: model step, rollback, time from note in to note out, schedule error, memory; or what is played."""
    settings = configuration(None, {"provider": provider, "model": model, "json_file": json_file})
    if music:
        from realtime.io.bench import music as bench_music

        bench_music.run(settings, json_file)
    elif knobs:
        from realtime.io.bench import knobs as bench_knobs

        bench_knobs.run(settings, json_file)
    else:
        from realtime.io.bench import table

        table.run(settings, json_file)


def _refused(error: Any) -> str:
    """What the parser refuses: the option, what was given, what is allowed."""
    if not hasattr(error.__cause__, "errors"):  # not a value that pydantic checked for typer
        return str(error.format_message()).rstrip(".")
    detail = error.__cause__.errors()[0]
    return f"{error.param.opts[0]} {detail['input']!s:.60}: {detail['msg'].replace('Input', 'it')}"


def main() -> None:
    """The `antiphon` command."""
    try:
        status = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _interrupted()
    except UserError as error:
        say(f"antiphon: {one_line(error)}")
        sys.exit(2)
    except Exception as error:
        # What the parser refuses has `format_message`, whichever library typer's version takes the class from.
        if type(error).__name__ == "Abort":  # the parser's word for Ctrl-C
            _interrupted()
        if isinstance(error, OSError) and _is_full():
            _unprinted(error)
        if not hasattr(error, "format_message"):
            raise
        say(f"antiphon: {one_line(_refused(error))}; see antiphon --help")
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


def _interrupted() -> NoReturn:
    say("antiphon: interrupted; a file that was not finished is not written")
    sys.exit(process.INTERRUPTED)


def _is_full() -> bool:
    """Whether standard output takes no more, not even the end of a line."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        return True
    except (AttributeError, ValueError):  # there is none
        pass
    return False


def _unprinted(error: OSError) -> NoReturn:
    """Standard output takes no more. What it has not taken is dropped: Python would try once more as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:  # its reader has read enough, as `head` does
        sys.exit(1)
    say(f"antiphon: standard output cannot be written ({error.strerror}); send it elsewhere")
    sys.exit(2)


if __name__ == "__main__":
    main()
