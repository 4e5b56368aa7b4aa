"""How well Antiphon keeps to a chart: it accompanies the tunes of annotated pieces and is given their chords.

    python -m models.charts CORPUS                       # 16 tunes of each source of the validation split
    python -m models.charts CORPUS --out charts          # also a .mid of each
    python -m models.charts CORPUS --strength bias

`BARS` bars of each piece, played to the live program in simulated time. What counts: the chords that begin while the tune
plays, or at most `REST` ticks after a note of it: an accompaniment rests with the tune. A chord is missed where less than two
of its pitch classes sound in it. The lowest note of a chord is the lowest that sounds in it for an eighth of a quarter or more:
its root, or the bass that is annotated, as in "C/E", which the chart has too. Where the bass changes, a chord counts anew for it.
In the chord: the share of the time that Antiphon's notes sound. Harsh: the share of that time, while the tune sounds, in which a
note outside of the chord lies a minor second, major seventh or minor ninth from a note of the tune. Entry: quarters from the
tune's first note to the accompaniment's. A step is the distance of a voice of the upper ones, from chord to chord, to the
nearest voice of the next chord. Beside it stand the same figures without a chart, those of what the rules of
`realtime.composing.rules` play, with a chart and without, those of the piece's own accompaniment, and those of block chords for
the whole tune, read before it is played (`foreseen`): what one estimator finds of the harmony in the tune alone.

The tunes of `antiphon bench --music`, whose keys are known and which are played to their ends, show whether an accompaniment ends
on the tonic chord (`measures.ends_on_tonic`), and when it begins.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from models.bootstrap import mean
from models.command import Parser
from models.corpus.chords import Spans, annotated, read_annotations
from models.corpus.pack import Pack, Piece, load_pack
from models.evaluation.prompts import Listener, Prompt, write_midi
from models.nets.checkpoint import save_json
from realtime.core.modes import Accompany
from realtime.errors import UserError
from realtime.io.bench import music as bench_music
from realtime.io.files.harmony import load_harmony
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music import measures
from realtime.music.chart import Chart, Section
from realtime.music.chord_features import beats_of
from realtime.music.chords import MEMBERS, NO_CHORD, UNKNOWN, note_name, root_of, symbol
from realtime.music.harmony import Harmony
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import NOTE, between, note_array
from realtime.music.symbols import read
from realtime.music.tunes import TUNES, Tune
from realtime.music.vocabulary import ACCOMPANIMENT, DRUMS, MELODY

BARS = 16
FEWEST_NOTES = 2
"""Notes of the tune a bar, and of the accompaniment."""
REST = 2 * TICKS
SHORT = 3
"""Ticks: what sounds for less is not the lowest note of a chord."""
LOWEST, VELOCITY = 36, 64
"""Of the block chords: the lowest root, a C, and how loud they are."""
FIGURES = (
    "missed",
    "lowest note is root",
    "lowest note is bass",
    "in the chord",
    "harsh",
    "entry",
    "step, semitones",
    "notes a quarter",
)
WIDTHS = [max(len(name), len("0.00-0.00")) for name in FIGURES]
"""Of their columns, in letters."""
TUNE_FIGURES = ("ends on tonic", "entry")


class Charted(NamedTuple):
    """A stretch of a piece, the chord of each of its beats, and the lowest pitch class that is annotated."""

    prompt: Prompt
    chords: np.ndarray
    bass: np.ndarray

    @property
    def chart(self) -> Chart:
        """A bar a bar, a name a beat."""
        names = [
            read(symbol(chord) if bass == root_of(chord) else f"{symbol(chord)}/{note_name(bass)}")
            for chord, bass in zip(self.chords.tolist(), self.bass.tolist(), strict=True)
        ]
        per = self.prompt.bar // TICKS
        bars = [tuple(names[first : first + per]) for first in range(0, len(names), per)]
        return Chart((Section("", tuple(bar[:1] if len(set(bar)) == 1 else bar for bar in bars)),))

    @property
    def tune(self) -> np.ndarray:
        """The notes that the player plays, `NOTE`."""
        return self.prompt.notes[self.prompt.notes["part"] == MELODY]


def spans_of(values: np.ndarray) -> list[tuple[int, int, int]]:
    """(start, end, value) in ticks of what the beats have, such as chords, equal beats in a row joined."""
    edges = [0, *(np.flatnonzero(np.diff(values.astype(int))) + 1).tolist(), len(values)]
    return [(a * TICKS, b * TICKS, int(values[a])) for a, b in pairwise(edges)]


def charted_of(piece: Piece, spans: Spans) -> Charted | None:
    """The first stretch of a piece that has a tune, an accompaniment and annotated chords; None where there is none."""
    beats = piece.beats
    known, guessed, bass = annotated(spans, beats)
    known = np.where(guessed, UNKNOWN, known)
    opens = np.flatnonzero(beats["index"] == 0)
    for first, last in zip(opens, opens[BARS:], strict=False):
        bar, inside = int(beats["bar_ticks"][first]), slice(first, last)
        start = int(beats["start"][first])
        if int(beats["start"][last]) - start != BARS * bar or bar % TICKS or last - first != BARS * bar // TICKS:
            continue
        own = known[inside]
        fits = (own != NO_CHORD) & (own != UNKNOWN)
        notes = between(piece.notes, start, start + BARS * bar).astype(NOTE)
        notes["onset"] -= start
        tune = notes["part"] == MELODY
        if not fits.all() or min(tune.sum(), (~tune & (notes["part"] != DRUMS)).sum()) < FEWEST_NOTES * BARS:
            continue
        bpm = 30 * 2 ** ((int(beats["tempo"][first]) + 0.5) / 4)
        compound = bool(beats["compound"][first])
        return Charted(Prompt(f"{piece.source} {piece.id}", notes, bar, bpm, True, compound), own, bass[inside])
    return None


def figures(charted: Charted, notes: np.ndarray) -> dict[str, float]:
    """`FIGURES` of an accompaniment, `NOTE`; nan where there is nothing to say."""
    notes = notes[notes["part"] != DRUMS]
    onset, end = notes["onset"].astype(int), notes["onset"].astype(int) + notes["duration"]
    tune = charted.tune
    began, ended = tune["onset"].astype(int), tune["onset"].astype(int) + tune["duration"]

    def counted(values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Of the spans that count: the value, and how long each note sounds in it."""
        for start, stop, value in spans_of(values):
            if ((began <= start) & (ended > start - REST)).any():
                yield value, np.clip(np.minimum(end, stop) - np.maximum(onset, start), 0, None)

    missed, root, inside, total = [], [], 0, 0
    uppers: list[list[int]] = []
    for chord, overlap in counted(charted.chords):
        here = overlap >= SHORT
        members = MEMBERS[chord][notes["pitch"] % 12]
        missed.append(len(set((notes["pitch"][here & members] % 12).tolist())) < 2)
        if here.any():
            root.append(int(notes["pitch"][here].min()) % 12 == root_of(chord))
            uppers.append(sorted(set(notes["pitch"][here].tolist()))[1:])
        inside += int(overlap[members].sum())
        total += int(overlap.sum())
    named = 12 * charted.chords.astype(int) + charted.bass
    low = [
        int(notes["pitch"][overlap >= SHORT].min()) % 12 == name % 12
        for name, overlap in counted(named)
        if (overlap >= SHORT).any()
    ]
    steps = [
        min(abs(pitch - other) for other in after) for before, after in pairwise(uppers) if after for pitch in before
    ]
    means = (
        np.mean(missed),
        np.mean(root) if root else np.nan,
        np.mean(low) if low else np.nan,
        inside / max(total, 1),
        measures.harsh(notes, tune, np.repeat(MEMBERS[charted.chords], TICKS, axis=0)),
        max(onset.min() - began.min(), 0) / TICKS if len(onset) else np.nan,
        np.mean(steps) if steps else np.nan,
        len(notes) / len(charted.chords),
    )
    return dict(zip(FIGURES, map(float, means), strict=True))


def pieces_of(pack: Pack, annotations: dict[str, Spans], split: str, count: int, seed: int) -> dict[str, list[Charted]]:
    """`count` stretches of each source that has annotated ones. Raises `UserError` where there are none."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[Charted]] = {}
    for row in rng.permutation(np.array(pack.rows(split), np.int64)).tolist():
        table = pack.table[row]
        have = found.get(table["source"], [])
        if len(have) < count and table["id"] in annotations:
            charted = charted_of(pack[row], annotations[table["id"]])
            if charted is not None:
                found[table["source"]] = [*have, charted]
    if not found:
        raise UserError(
            f"no annotated piece of the split {split} has {BARS} bars of one metre with a tune; give another split"
        )
    return found


def play(listener: Listener, charted: Charted, chart: Chart | None) -> np.ndarray:
    """Antiphon's accompaniment of the tune."""
    return listener.play(charted.prompt, Accompany(), charted.tune, (ACCOMPANIMENT,), BARS * charted.prompt.bar, chart)


def foreseen(estimator: Harmony, charted: Charted) -> np.ndarray:
    """Block chords, `NOTE`, the root lowest: in each beat the chord that is likeliest after the whole tune, its end included."""
    beats = beats_of(BeatGrid(((0, charted.prompt.bar),)), 0, BARS * charted.prompt.bar)
    rows = []
    for start, end, chord in spans_of(estimator.estimate(charted.tune, beats).chord):
        root = root_of(chord)
        if root is not None:
            tones = np.flatnonzero(MEMBERS[chord])
            pitches = [LOWEST + root, *(LOWEST + 12 + tones).tolist()]
            rows += [(start, end - start, pitch, VELOCITY, ACCOMPANIMENT) for pitch in pitches]
    return note_array(rows)


def tune_figures(listener: Listener, tunes: Sequence[Tune] = TUNES) -> dict[str, float]:
    """`TUNE_FIGURES`, means over the tunes of the bench, each accompanied to its end."""
    rows = []
    for tune in tunes:
        played = bench_music.duet(listener.config, listener.model, tune, "accompany")
        rows.append(bench_music.figures(played, tune))
    return {name: round(float(np.nanmean([row[name] for row in rows])), 4) for name in TUNE_FIGURES}


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.charts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus("data")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--split", default="valid", choices=("valid", "test"), help="where the tunes are from")
    p.add_argument("--tunes", type=int, default=16, help="how many of each source")
    p.add_argument("--strength", default="strict", choices=("strict", "bias"), help="as chords.strength")
    p.add_argument("--seed", type=int, default=1, help="of the choice of tunes and of what is played")
    p.add_argument("--out", type=Path, help="folder for a .mid of each tune, and figures.json")
    args = p.parse_args()
    pack = load_pack(args.data, args.cache)
    annotations = read_annotations(args.data)
    listener = Listener(args.model, args.seed)
    strict = args.strength == "strict"
    constraints = replace(listener.setup.constraints, chords_strict=strict)
    listener.setup = replace(listener.setup, constraints=constraints)
    rules = listener.by_rules()
    report: dict[str, Any] = {}
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
    print(" " * 32 + "".join(f"  {name:>{width}s}" for name, width in zip(FIGURES, WIDTHS, strict=True)))
    for source, pieces in pieces_of(pack, annotations, args.split, args.tunes, args.seed).items():
        rows: dict[str, list[dict[str, float]]] = {}
        for charted in pieces:
            prompt = charted.prompt
            given = play(listener, charted, charted.chart)
            performances = {
                "chart": given,
                "no chart": play(listener, charted, None),
                "rules, chart": play(rules, charted, charted.chart),
                "rules": play(rules, charted, None),
                "tune, read": foreseen(load_harmony(), charted),
                "real": prompt.notes[prompt.notes["part"] != MELODY],
            }
            for name, notes in performances.items():
                rows.setdefault(name, []).append(figures(charted, notes))
            if args.out is not None:
                tracks = {"player": charted.tune, "antiphon": given}
                write_midi(args.out / f"{prompt.name.replace(' ', '-')}.mid", prompt, tracks)
        means = {
            name: {figure: mean([row[figure] for row in each]) for figure in FIGURES} for name, each in rows.items()
        }
        report[source] = {
            name: {figure: found._asdict() for figure, found in each.items()} for name, each in means.items()
        }
        for name, each in means.items():
            line = "".join(f"  {found.value:{width}.3f}" for width, found in zip(WIDTHS, each.values(), strict=True))
            print(f"{source:18s}{name:14s}{line}", flush=True)
            ends = (f"{found.low:.2f}-{found.high:.2f}" for found in each.values())
            spans = "".join(f"  {span:>{width}s}" for width, span in zip(WIDTHS, ends, strict=True))
            print(f"{'':18s}{'95 % by piece':14s}{spans}", flush=True)
    report["tunes of the bench"] = {"model": tune_figures(listener), "rules": tune_figures(rules)}
    for name, each in report["tunes of the bench"].items():
        print(f"tunes of the bench, {name}: " + ", ".join(f"{figure} {value:.3f}" for figure, value in each.items()))
    if args.out is not None:
        save_json(args.out / "figures.json", report)
