"""How well a model knows music it has not heard: nats per note, against baselines.

    python -m models.evaluate --data ../shared/data --split test --json test.json

Every piece is predicted whole and in order, all of its notes as the model's own: the time of each next event and, of a note,
part, pitch, duration and velocity. Nats per note are the sum over all factors (the BEATs' times too), divided by the notes.
A model is told the chord of each beat (`models.chords` has made it from all of the piece), as it is told a chart while playing.
What it costs to foretell the chords is a column of its own. A baseline is told no chord, and is compared with the sum of both.
The interval is the 95 % bootstrap by song: the pieces of one composition (`cluster` in the manifest) are drawn together.
`--data` takes any corpus (see `models.corpus.corpora`), and all its splits but "train" are scored. The baselines are fitted on
the training split. Where a folder has none and `--fit` names no other corpus, they are fitted on the folder itself, in two halves
by song, each to score the other. With `--lstm FILE` an exported LSTM is scored too, which was trained with `--size LSTM`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.bootstrap import interval, resampled
from models.command import Parser
from models.corpus.chords import load_charted
from models.corpus.pack import Pack, Piece, load_pack, song_of
from models.evaluation.baselines import CopyThePast, Markov, Stream
from models.evaluation.scoring import forced_nats, stream_of, summary
from models.nets.checkpoint import save_json
from realtime.errors import UserError
from realtime.io.graphs.latent_graphs import LatentGraphs
from realtime.io.graphs.stepper import Stepper
from realtime.io.live.settings import SHIPPED_MODEL

COPY_TRUST_PIECES = 400
Item = TypeVar("Item")


_players: list[tuple[Stepper, LatentGraphs | None]] = []
"""Of a worker process: one for each exported model."""


def _open(models: Sequence[Path]) -> None:
    steppers = [Stepper.load(model, "cpu", slots=2) for model in models]
    graphs = [LatentGraphs.load(model, contract=s.contract) for model, s in zip(models, steppers, strict=True)]
    _players[:] = zip(steppers, graphs, strict=True)


def _played(piece: Piece) -> list[np.ndarray]:
    """(6,) nats of the whole piece, for each exported model: of the heads, and of the chords."""
    return [forced_nats(stepper, graphs, piece).sum(0) for stepper, graphs in _players]


def fit(pieces: Iterable[Piece]) -> dict[str, Callable[[Stream], np.ndarray]]:
    """The baselines that need no gradient, by name: each scores a stream, (N, 5) nats."""
    training = [stream_of(piece) for piece in pieces]
    unigram, markov = Markov(training, order=-1), Markov(training)
    copy = CopyThePast(training[:: max(len(training) // COPY_TRUST_PIECES, 1)], unigram)
    return {"markov5": markov.score, "copy": copy.score, "unigram": unigram.score}


def fitted(pack: Pack, fit_on: Pack | None) -> Callable[[int], dict[str, Callable[[Stream], np.ndarray]]]:
    """The baselines to score piece number i of the pack with: fitted on the training split of `fit_on` (default: of the pack),
    or where it has none on the pack's songs of the other half. Raises `UserError` where there is but one song.
    """
    training = fit_on or pack
    if rows := training.rows("train"):
        baselines = fit(training[i] for i in watched(rows, "fitting the baselines"))
        return lambda i: baselines
    songs = {song: n % 2 for n, song in enumerate(sorted({song_of(row) for row in pack.table}))}
    if fit_on or len(songs) < 2:
        raise UserError(
            "no piece of the split 'train' to fit the baselines on; give the corpus that the model was trained on with --fit"
        )
    half = [songs[song_of(row)] for row in pack.table]
    halves = [
        fit(pack[i] for i in watched([i for i, h in enumerate(half) if h != of], "fitting the baselines"))
        for of in (0, 1)
    ]
    return lambda i: halves[half[i]]


def evaluate(
    pack: Pack, splits: Sequence[str], model: Path, lstm: Path | None, fit_on: Pack | None
) -> tuple[dict[str, Any], list[str]]:
    """({split: {"all" or source: {model: summary}}}, lines that say by how much each baseline is behind).

    Raises `UserError` where a model file cannot be played.
    """
    models = {"antiphon": model} | ({"lstm": lstm} if lstm else {})
    _open(list(models.values()))  # here only to say what is wrong with them
    baselines = fitted(pack, fit_on)
    report: dict[str, Any] = {}
    lines: list[str] = []
    fresh = multiprocessing.get_context("spawn")  # onnxruntime does not outlive a fork
    with ProcessPoolExecutor(os.cpu_count(), fresh, _open, (list(models.values()),)) as pool:
        for split in splits:
            rows = pack.rows(split)
            played = pool.map(_played, (pack[i] for i in rows))
            by_model = np.array([each for _, each in zip(watched(rows, f"{split}: playing"), played, strict=True)])
            streams = [stream_of(pack[i]) for i in watched(rows, f"{split}: reading")]
            nats = {name: by_model[:, i] for i, name in enumerate(models)}
            for name in baselines(rows[0]):
                pairs_of = watched(list(zip(rows, streams, strict=True)), f"{split}: {name}")
                nats[name] = np.array([baselines(i)[name](stream).sum(0) for i, stream in pairs_of])
            notes = np.array([stream.is_note.sum() for stream in streams])
            songs = np.array([song_of(pack.table[i]) for i in rows])
            sources = np.array([pack.table[i]["source"] for i in rows])
            report[split] = {}
            for group in ("all", *sorted(set(sources))):
                of = slice(None) if group == "all" else sources == group
                report[split][group] = {name: summary(nats[name][of], notes[of], songs[of]) for name in nats}
            lines += verdicts(split, nats, notes, songs)
    return report, lines


def verdicts(split: str, nats: dict[str, np.ndarray], notes: np.ndarray, songs: np.ndarray) -> list[str]:
    """A line for each baseline: how far it is behind on the same resampled songs, and whether the two intervals lie apart. What a
    model needs for the chords counts too."""
    lines = []
    draws = {name: resampled(values.sum(1), notes, songs) for name, values in nats.items()}
    for name in list(nats)[1:]:
        ahead = (nats[name].sum() - nats["antiphon"].sum()) / notes.sum()
        low, high = interval(draws[name] - draws["antiphon"])
        apart = interval(draws["antiphon"])[1] < interval(draws[name])[0]
        lines.append(
            f"{split}: {name} needs {ahead:+.3f} nats per note beside antiphon ({low:+.3f} to {high:+.3f} on the same songs); "
            f"antiphon's interval wholly below its: {'yes' if apart else 'no'}"
        )
    return lines


def watched(items: Sequence[Item], what: str) -> Iterable[Item]:
    """A progress bar on standard error."""
    return track(items, what, console=Console(stderr=True))


def table_of(report: dict[str, Any]) -> Table:
    """The report for people."""
    table = Table(
        title="nats per note, lower is better (95 % interval by song); chords: to foretell them too, nats per note"
    )
    for column in ("split", "source", "model"):
        table.add_column(column)
    for column in ("nats", "interval", "chords"):
        table.add_column(column, justify="right")
    for split, groups in report.items():
        for group, models in groups.items():
            for name, figures in models.items():
                span = f"{figures['low']:.3f} to {figures['high']:.3f}"
                chords = f"{figures['chords']:.3f}" if "chords" in figures else ""
                table.add_row(split, group, name, f"{figures['nats_per_note']:.3f}", span, chords)
            table.add_section()
    return table


def chosen_splits(pack: Pack, wanted: str | None) -> list[str]:
    """The splits to score: the wanted one, or all but "train". Raises `UserError` where there are none."""
    present = sorted({row["split"] for row in pack.table})
    chosen = [wanted] if wanted else [split for split in present if split != "train"]
    if not chosen or not set(chosen) <= set(present):
        raise UserError(f"--split {wanted or ''}: no piece of it here; give one of: {', '.join(present)}")
    return chosen


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus("--data", required=True)
    p.add_argument("--split", help="one of the corpus's; all but train where it is not given")
    p.add_argument(
        "--tiers", nargs="+", default=["main"], metavar="TIER", help="which tiers of a manifest (default: main)"
    )
    p.add_argument("--fit", type=Path, metavar="DIR", help="corpus to fit the baselines on (default: --data)")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--lstm", type=Path, metavar="FILE", help="an exported LSTM to score too (default: none)")
    p.add_argument("--json", type=Path, help="write the figures here too")
    args = p.parse_args()
    tiers = tuple(args.tiers)
    pack = load_charted(args.data, args.cache, tiers)
    splits = chosen_splits(pack, args.split)
    fit_on = load_pack(args.fit, args.cache) if args.fit else None
    report, lines = evaluate(pack, splits, args.model, args.lstm, fit_on)
    Console().print(table_of(report))
    training = len((fit_on or pack).rows("train"))
    on = f"{training} pieces of the training split" if training else "the other half of the songs"
    print(f"markov5, copy and unigram are fitted on {on} of {args.fit or args.data}")
    print(*lines, sep="\n")
    if args.json:
        save_json(args.json, report)
