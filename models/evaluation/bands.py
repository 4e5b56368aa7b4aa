"""How a band keeps to a chart and to its beat: several parts accompany the tunes of annotated pieces.

    python -m models.bands CORPUS --feel rock                       # 4 tunes of each source of the validation split
    python -m models.bands CORPUS --feel swing --part bass+drums

The tunes, the charts and the first figures are those of `models.evaluation.charts`. The others are counted where the tune plays,
or at most `REST` ticks after a note of it, from the second bar on: the share of the bars that begin with a kick or a bass note;
and, in bars of four beats, of the second and fourth beats with a snare (acoustic, electric, or a side stick).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.command import Parser
from models.corpus.chords import read_annotations
from models.corpus.pack import load_pack
from models.evaluation.charts import BARS, REST, Charted, figures, pieces_of
from models.evaluation.prompts import Listener, write_midi
from realtime.composing.arrangement import FEELS
from realtime.config import load
from realtime.core.modes import Accompany
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.io.live.settings import constraints as constraints_of
from realtime.music.metre import TICKS
from realtime.music.vocabulary import BASS, DRUMS

ON_TIME = 3
"""Ticks: a hit so near to a beat is on it."""
KICKS, SNARES = (35, 36), (37, 38, 40)
OF_CHARTS = ("missed", "lowest note is bass", "in the chord", "step, semitones", "notes a quarter")
FIGURES = (*OF_CHARTS, "kick or bass on 1", "snare on 2 and 4")


def on_beats(charted: Charted, notes: np.ndarray) -> tuple[float, float]:
    """The last two of `FIGURES`, of what a band plays, `NOTE`; nan where there is nothing to say."""
    bar = charted.prompt.bar
    tune = charted.tune
    began, ended = tune["onset"].astype(int), tune["onset"].astype(int) + tune["duration"]
    ticks = range(bar, BARS * bar, TICKS)
    beats = [tick for tick in ticks if ((began <= tick) & (ended > tick - REST)).any()]
    drums = notes["part"] == DRUMS

    def share(which: np.ndarray, ticks: list[int]) -> float:
        onsets = notes["onset"][which].astype(int)
        return float(np.mean([(abs(onsets - tick) <= ON_TIME).any() for tick in ticks])) if ticks else np.nan

    low = (drums & np.isin(notes["pitch"], KICKS)) | (notes["part"] == BASS)
    back = [tick for tick in beats if tick % bar // TICKS in (1, 3)] if bar == 4 * TICKS else []
    return (
        share(low, [tick for tick in beats if tick % bar == 0]),
        share(drums & np.isin(notes["pitch"], SNARES), back),
    )


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(prog="python -m models.bands", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_corpus("data")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--split", default="valid", choices=("valid", "test"), help="where the tunes are from")
    p.add_argument("--tunes", type=int, default=4, help="how many of each source")
    p.add_argument("--part", default="accompaniment+bass+drums", help="as --part of jam: several")
    p.add_argument("--feel", choices=tuple(FEELS), help="as --feel of jam")
    p.add_argument("--seed", type=int, default=1, help="of the choice of tunes and of what is played")
    p.add_argument("--out", type=Path, help="folder for a .mid of each tune")
    args = p.parse_args()
    config = load(None, {"play.part": args.part, "play.feel": args.feel})
    constraints = constraints_of(config)
    pack, annotations = load_pack(args.data, args.cache), read_annotations(args.data)
    listener = Listener(args.model, args.seed)
    listener.setup = replace(listener.setup, constraints=constraints)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    print(" " * 26 + "".join(f"  {name}" for name in FIGURES))
    for source, pieces in pieces_of(pack, annotations, args.split, args.tunes, args.seed).items():
        rows: dict[str, list[list[float]]] = {"chart": [], "no chart": []}
        for charted in pieces:
            prompt = charted.prompt
            for name, chart in (("chart", charted.chart), ("no chart", None)):
                notes = listener.play(
                    prompt, Accompany(by_bars=True), charted.tune, constraints.parts, BARS * prompt.bar, chart
                )
                found = figures(charted, notes)
                rows[name].append([*(found[figure] for figure in OF_CHARTS), *on_beats(charted, notes)])
                if args.out is not None:
                    path = args.out / f"{prompt.name} {name}.mid".replace(" ", "-")
                    write_midi(path, prompt, {"player": charted.tune, "antiphon": notes})
        for name, each in rows.items():
            table = np.array(each)
            known = [column[np.isfinite(column)] for column in table.T]
            means = [column.mean() if len(column) else np.nan for column in known]
            line = "".join(f"  {mean:{len(figure)}.3f}" for mean, figure in zip(means, FIGURES, strict=True))
            print(f"{source:14s}{name:12s}{line}", flush=True)
