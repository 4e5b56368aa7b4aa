"""Whether every voice of a band plays on where `antiphon compose` and `antiphon infill` write, about as densely as before.

    python -m models.voices --corpus ../shared/data [--model FILE] [--split valid] [--pieces 8] [--bars 4]

From each source some pieces of several voices are continued by `--bars` bars, and as many bars in their middle are made anew,
with the settings of the commands. A voice is what one instrument plays in one track. Before: for `compose` its notes a quarter
in the last bars (`realtime.io.offline.continuation.Player`), for `infill` those that were taken out. Of the drums a beat counts
as kept where something is struck in it: the share of such beats, of that before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.command import Parser, positive
from models.corpus.corpora import Row, find, read
from models.nets.checkpoint import save_json
from realtime.config import Config, load
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.files import midifile, smf
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.io.offline.compose import compose
from realtime.io.offline.continuation import Continuation
from realtime.io.offline.infill import infill
from realtime.io.offline.source import OWN_BARS, Source, bars_of
from realtime.io.offline.studio import bars_back
from realtime.music.metre import TICKS
from realtime.music.vocabulary import DRUMS, PART_NAMES

SOURCES = ("freedoom", "pop909", "openscore_lieder", "mutopia_pd_ccby")
"""Where there are pieces of several voices."""
LEAST, MOST = 0.5, 2.0
"""A density between these, as a share of that before, is about as before."""
BEAT_KEPT = 0.5
"""Drums keep the beat if so large a share of the beats in which they played before has a stroke."""


class Voice(NamedTuple):
    """What became of a voice: its command, piece and part; notes a quarter before and after; beats with notes, before and
    after, as shares of all."""

    command: str
    piece: str
    part: str
    before: float
    after: float
    beats_before: float
    beats_after: float


def beats(onsets: np.ndarray, start: int, end: int) -> float:
    """The share of the quarters of [start, end), ticks, in which something begins."""
    return len(np.unique((onsets - start) // TICKS)) * TICKS / (end - start)


def onsets_of(source: Source, which: np.ndarray, start: int, end: int) -> np.ndarray:
    """The onsets, in ticks, of some of the notes, within [start, end)."""
    onset = source.notes["onset"][which]
    return onset[(onset >= start) & (onset < end)]


def continued(config: Config, file: Path, out: Path, name: str, bars: int) -> Iterator[Voice]:
    """The voices of a piece that goes on."""
    source = Source(file, out, None)
    ending = Continuation(source)
    players, tracks = list(ending.players(())), len(source.piece.track_names)
    start, end = ending.start, source.grid.bar_start(ending.start, bars)
    near = bars_back(source.grid, start, OWN_BARS)
    compose(config, file, out, bars, False, None, lambda _: None)
    after = midifile.piece_of(smf.load(out))
    made = np.array([(note.track, note.onset_pulse // PULSES_PER_TICK) for note in after.notes])
    for number, player in enumerate(players):
        new = made[made[:, 0] == tracks + number, 1]
        old = player.own["onset"]
        quarters = (end - start) / TICKS
        yield Voice(
            "compose", name, PART_NAMES[player.part], player.rate or 0.0, len(new) / quarters,
            beats(old, near, start), beats(new, start, end),
        )  # fmt: skip


def filled(config: Config, file: Path, out: Path, name: str, bars: int) -> Iterator[Voice]:
    """The voices of a piece whose middle is made anew."""
    source = Source(file, out, None)
    middle = max((len(bars_of(source.piece, None, file).starts) - bars) // 2, 1)
    asked = f"{middle}-{middle + bars - 1}"
    start, end = (int(bars_of(source.piece, asked, file).starts[i]) for i in (0, -1))
    inside = source.playing(start, end)
    infill(config, file, out, asked, [], None, lambda _: None)
    after = Source(out, out.with_suffix(".again.mid"), None)
    quarters = (end - start) / TICKS
    for voice in sorted({*np.array(source.voice)[inside].tolist()}):
        old = onsets_of(source, source.of(voice) & inside, start, end)
        like = source.piece.notes[int(np.flatnonzero(source.of(voice))[0])]
        own = [(note.track, note.channel) == (like.track, like.channel) for note in after.piece.notes]
        new = onsets_of(after, np.array(own) & after.playing(start, end), start, end)
        yield Voice(
            "infill", name, PART_NAMES[source.part_of[voice]], len(old) / quarters, len(new) / quarters,
            beats(old, start, end), beats(new, start, end),
        )  # fmt: skip


def bands(root: Path, split: str, pieces: int, seed: int) -> list[Row]:
    """Some pieces of each source, of those with several tracks, drawn with a seed."""
    rng = np.random.default_rng(seed)
    rows = find(root).rows
    chosen: list[Row] = []
    for source in SOURCES:
        there = [r for r in rows if (r["source"], r["split"]) == (source, split) and int(r.get("n_tracks") or 2) > 1]
        chosen += [there[i] for i in rng.permutation(len(there))[:pieces]]
    return chosen


def summary(voices: list[Voice]) -> dict[str, dict[str, float]]:
    """The figures of each command."""
    report: dict[str, dict[str, float]] = {}
    for command in ("compose", "infill"):
        those = [voice for voice in voices if voice.command == command and voice.before > 0]
        ratios = np.array([voice.after / voice.before for voice in those])
        drums = [voice for voice in those if voice.part == PART_NAMES[DRUMS]]
        report[command] = {
            "voices": len(those),
            "play on": float((ratios > 0).mean()),
            "density 0.5 to 2": float(((ratios >= LEAST) & (ratios <= MOST)).mean()),
            "median density": float(np.median(ratios)),
            "drums": len(drums),
            "drums keep the beat": float(np.mean([v.beats_after >= BEAT_KEPT * v.beats_before for v in drums] or [0])),
        }
    return report


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.voices", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--corpus", type=Path, required=True, help="folder with manifest.csv; see models/README.md")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--split", default="valid", choices=("valid", "test"), help="where the pieces are from")
    p.add_argument("--pieces", type=positive, default=8, help="how many of each source")
    p.add_argument("--bars", type=positive, default=4, help="how many bars are written")
    p.add_argument("--seed", type=int, default=1, help="of the choice and of what is made")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures and all voices here too")
    args = p.parse_args()
    config = load(None, {"model.file": args.model, "engine.seed": args.seed})
    voices: list[Voice] = []
    started = time.process_time()
    chosen = bands(args.corpus, args.split, args.pieces, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "in.mid", Path(folder) / "out.mid"
        for row, data in track(read(args.corpus, chosen), "bands", len(chosen)):
            file.write_bytes(data)
            for command in (continued, filled):
                voices += command(config, file, out, row["id"], args.bars)
    report = summary(voices)
    table = Table("", *report, box=None)
    for figure in report["compose"]:
        table.add_row(figure, *(f"{row[figure]:.3g}" for row in report.values()))
    Console().print(table)
    print(f"{time.process_time() - started:.0f} s of processor time")
    if args.json is not None:
        save_json(args.json, {"figures": report, "voices": [voice._asdict() for voice in voices]})
