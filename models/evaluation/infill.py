"""What a gap gains by knowing what comes after it: how likely the true bars become, and how near the made ones come to them.

    python -m models.infill --data ../shared/data [--model FILE] [--pieces 32]

From each held-out piece a gap of 1, 2 or 4 bars with music on both sides. First table: nats per note of the true bars, their
chords given, as `antiphon infill` would hear the piece, with and without what comes after fed first; all of the gap's parts,
and one of them beside the others (as an answer and as an accompaniment). The interval is the 95 % bootstrap by song of what
telling saves.
Second table: bars made with the after side and without, by their mean distance from the true ones, and how the top line joins.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.bootstrap import interval, resampled
from models.command import Parser
from models.corpus.chords import load_charted
from models.corpus.contexts import NEVER, of_window
from models.corpus.pack import Pack, Piece, song_of
from models.corpus.stream import CENSORED, Remembered, remembered, stream
from models.corpus.windows import LEAD_BEATS
from models.evaluation.scoring import forced_logits, latent_contexts
from realtime.composing.constraints import SLICES
from realtime.config import load
from realtime.io.graphs.latent_graphs import LatentGraphs
from realtime.io.graphs.stepper import Stepper
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.io.offline.studio import Studio
from realtime.music import measures
from realtime.music.chords import UNKNOWN
from realtime.music.metre import Segment
from realtime.music.notes import NOTE, between
from realtime.music.vocabulary import DRUMS, HEADS, Role

BEFORE, AFTER, LENGTHS = 8, 4, (1, 2, 4)
"""Bars on either side, and of the gap."""
MOST_AHEAD = 170
"""Events after the gap that are fed first, at most, as in training."""
FEWEST = 4
"""Notes in a gap."""


class Gap(NamedTuple):
    """A stretch of a piece: its notes, beats and their chords from its start on, the gap's edges, and one of the parts that play
    in it."""

    piece: Piece
    song: str
    start: int
    notes: np.ndarray
    beats: np.ndarray
    chords: np.ndarray
    edges: tuple[int, int]
    one: int
    parts: tuple[int, ...]


def gaps(pack: Pack, split: str, count: int, seed: int) -> Iterator[Gap]:
    """`count` gaps, the sources in turn, no piece twice; fewer where the pack has no more."""
    rng = np.random.default_rng(seed)
    by_source: dict[str, list[int]] = {}
    for i in rng.permutation(np.array(pack.rows(split), np.int64)).tolist():
        by_source.setdefault(pack.table[i]["source"], []).append(i)
    while count and any(by_source.values()):
        for source in sorted(by_source):
            found = None
            while found is None and count and by_source[source]:
                row = by_source[source].pop()
                found = gap_of(pack[row], song_of(pack.table[row]), rng)
            if found is not None:
                count -= 1
                yield found


def gap_of(piece: Piece, song: str, rng: np.random.Generator) -> Gap | None:
    """One gap somewhere in the piece, which has chords, if the draw hits one that has notes in it and on both sides."""
    bars, length = piece.bar_starts, int(rng.choice(LENGTHS))
    if len(bars) < BEFORE + length + AFTER + 1:
        return None
    first = int(rng.integers(BEFORE, len(bars) - length - AFTER))
    start, gap, after, end = (int(bars[first + i]) for i in (-BEFORE, 0, length, length + AFTER))
    notes = between(piece.notes, start, end).astype(NOTE)
    inside = between(notes, gap, after)
    if len(inside) < FEWEST or (inside["part"] == DRUMS).all() or not len(between(notes, after, end)):
        return None
    here = (piece.beats["start"] >= start) & (piece.beats["start"] < end)
    assert piece.chords is not None
    beats, chords = piece.beats[here].copy(), piece.chords[here].astype(np.int64)
    beats["start"] -= start
    notes["onset"] -= start
    parts = np.unique(inside["part"])
    return Gap(
        piece,
        song,
        start,
        notes,
        beats,
        chords,
        (gap - start, after - start),
        int(rng.choice(parts)),
        tuple(parts.tolist()),
    )


def streams(gap: Gap, mine: tuple[int, ...], role: Role, knows_after: bool) -> dict[str, np.ndarray]:
    """The gap as a window (`models.corpus.windows.window`) with candidates, as long as it comes. The true notes of `mine` in the
    gap are the model's to play, in `role`, the others the player's. `knows_after`: what comes after the gap is fed first."""
    begins, ends = gap.edges
    notes, here, beats, chords = gap.notes, gap.notes["onset"] < ends, gap.beats, gap.chords
    player = whose(gap, mine)
    rng = np.random.default_rng(0)  # nothing is drawn where nothing is corrupted
    past = remembered(notes[:0], player[:0], beats, 0)
    ahead = None
    if knows_after:
        told = beats[beats["start"] >= begins]
        inside = int((told["start"] < ends).sum())
        told = told[: inside + LEAD_BEATS]
        known = np.where(np.arange(len(told)) < inside, UNKNOWN, chords[beats["start"] >= begins][: len(told)])
        later = notes[~here]
        edges = np.array([NEVER])
        ahead = stream(later, np.ones(len(later), bool), told, edges, Role.INFILL, 0, rng, 0.0, known, past)
        past = Remembered(*ahead.pop("row").T)
        ahead["tick"] = np.full_like(ahead["tick"], -NEVER)  # no latents yet
    ours, edges, listens = beats[beats["start"] < ends], np.array([begins]), role != Role.ACCOMPANY
    own = chords[beats["start"] < ends]
    arrays = stream(notes[here], player[here], ours, edges, role, 0, rng, 0.0, own, past, listens)
    del arrays["row"]
    if ahead is None:
        return arrays
    return {name: np.concatenate([ahead[name][:MOST_AHEAD], values]) for name, values in arrays.items()}


def whose(gap: Gap, mine: tuple[int, ...]) -> np.ndarray:
    """Which notes are the player's, (N,) bool: all but those of `mine` in the gap."""
    onset = gap.notes["onset"]
    own: np.ndarray = np.isin(gap.notes["part"], mine) & (onset >= gap.edges[0]) & (onset < gap.edges[1])
    return ~own


def nats(
    stepper: Stepper, graphs: LatentGraphs | None, gap: Gap, mine: tuple[int, ...], role: Role, knows_after: bool
) -> np.ndarray:
    """(2,) nats of the true notes of `mine` in the gap, and how many they are; the rest as in `streams`."""
    arrays = streams(gap, mine, role, knows_after)
    contexts = None
    if graphs is not None:
        lines = gap.piece.bar_starts - gap.start
        cells = of_window(gap.piece, gap.start, gap.notes, whose(gap, mine), lines[lines >= 0])
        ticks = np.maximum(arrays["tick"].astype(np.int64), cells["edges"][0])
        contexts = latent_contexts(graphs, arrays | cells | {"tick": ticks})
    logits = forced_logits(stepper, arrays, contexts).astype(np.float64)
    total = 0.0
    for head, name in enumerate(HEADS):
        rows, target = logits[:, SLICES[name]], arrays["targets"][:, head]
        log_p = rows - np.logaddexp.reduce(rows, 1, keepdims=True)
        exact = np.take_along_axis(log_p, target[:, None], 1)[:, 0]
        counts = arrays["turn"] > 0 if name == "time" else arrays["note"] > 0
        if name == "time":  # cut short by the player: no more is known than that it would have been later
            later_than = np.where(np.arange(HEADS["time"]) >= target[:, None], log_p, -np.inf)
            exact = np.where(arrays["kind"] == CENSORED, np.logaddexp.reduce(later_than, 1), exact)
        total -= float(exact[counts].sum())
    return np.array([total, float((arrays["note"] > 0).sum())])


CASES: dict[str, tuple[bool, Role]] = {
    "all parts": (False, Role.CONTINUE),
    "one part, as an answer": (True, Role.CONTINUE),
    "one part, accompanying": (True, Role.ACCOMPANY),
}
"""Whether one part alone is missing, and the role in which the gap is written."""


def distances(real: np.ndarray, made: np.ndarray, later: np.ndarray, ticks: int) -> dict[str, float]:
    """How far pitched notes `made` for a gap are from the `real` ones, and how they join those after it."""
    if not len(made):
        return {"empty gaps": 1.0}
    step = abs(int(top(made)[-1]) - int(top(later)[0]))
    return {
        "empty gaps": 0.0,
        "mean pitch, semitones": abs(float(made["pitch"].mean() - real["pitch"].mean())),
        "density, doublings": abs(float(np.log2(measures.density(made, ticks) / measures.density(real, ticks)))),
        "pitch classes in common": measures.overlapping_area(
            *(np.bincount(n["pitch"] % 12, minlength=12) for n in (made, real))
        ),
        "step of the top line at the end, semitones": float(step),
        "the real one": float(abs(int(top(real)[-1]) - int(top(later)[0]))),
    }


def top(notes: np.ndarray) -> np.ndarray:
    """The highest pitch of each onset."""
    order = notes[np.lexsort((notes["pitch"], notes["onset"]))]
    return order["pitch"][np.append(order["onset"][1:] != order["onset"][:-1], True)]


def made_of(model: Path, gap: Gap, seed: int) -> dict[str, np.ndarray]:
    """The gap's bars by the engine of `antiphon infill`: with what comes after, and without."""
    begins, ends = gap.edges
    bars = [
        Segment(int(beat["start"]), int(beat["bar_ticks"]), bool(beat["compound"]))
        for beat in gap.beats
        if beat["index"] == 0
    ]
    tempo = int(gap.beats["tempo"][gap.beats["start"] == begins][0])
    studio = Studio(
        load(None, {"model.file": model, "engine.seed": seed}), bars, 30 * 2 ** ((tempo + 0.5) / 4), lambda _: None
    )
    studio.turn_to(replace(studio.general, parts=gap.parts))
    outside = gap.notes[(gap.notes["onset"] < begins) | (gap.notes["onset"] >= ends)]
    before = outside[outside["onset"] < begins]
    both = studio.plan(outside, begins, ends, after=int(gap.beats["start"][-1] + gap.beats["length"][-1]))
    return {
        "both sides": studio.filled(outside, begins, ends, both),
        "no after side": studio.continued(before, begins, ends, studio.plan(before, begins, ends), closes=False),
    }


def first_table(model: Path, found: list[Gap]) -> Table:
    """Nats per note."""
    stepper = Stepper.load(model, "cpu", slots=2)
    graphs = LatentGraphs.load(model, contract=stepper.contract)
    table = Table(*("the true bars, nats per note", "not told", "told", "less, 95 %", "notes"), box=None)
    for name, (alone, role) in CASES.items():
        those = [gap for gap in found if not alone or len(gap.parts) > 1]
        scores = np.array(
            [
                [nats(stepper, graphs, gap, (gap.one,) if alone else gap.parts, role, after) for after in (False, True)]
                for gap in track(those, name)
            ]
        )
        songs, notes = np.array([gap.song for gap in those]), scores[:, 0, 1]
        low, high = interval(resampled(scores[:, 0, 0] - scores[:, 1, 0], notes, songs))
        without, given = scores[:, :, 0].sum(0) / notes.sum()
        table.add_row(name, f"{without:.3f}", f"{given:.3f}", f"{low:.3f} to {high:.3f}", f"{notes.sum():.0f}")
    return table


def second_table(model: Path, found: list[Gap], seed: int) -> Table:
    """Distances of what is made."""
    rows: dict[str, list[dict[str, float]]] = {}
    pitched: Callable[[np.ndarray], np.ndarray] = lambda notes: notes[notes["part"] != DRUMS]  # noqa: E731
    for gap in track(found, "made"):
        real, later = (pitched(between(gap.notes, *edges)) for edges in (gap.edges, (gap.edges[1], NEVER)))
        for name, made in made_of(model, gap, seed).items():
            rows.setdefault(name, []).append(distances(real, pitched(made), later, gap.edges[1] - gap.edges[0]))
    table = Table("the made bars", *rows, box=None)
    for figure in dict.fromkeys(figure for those in rows.values() for row in those for figure in row):
        means = (np.mean([row[figure] for row in those if figure in row]) for those in rows.values())
        table.add_row(figure, *(f"{mean:.2f}" for mean in means))
    return table


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.infill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus("--data", required=True)
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--split", default="valid", choices=("valid", "test"), help="where the gaps are from")
    p.add_argument("--pieces", type=int, default=32, help="how many gaps")
    p.add_argument("--seed", type=int, default=1, help="of the gaps and of what is made")
    args = p.parse_args()
    pack = load_charted(args.data, args.cache)
    found = list(gaps(pack, args.split, args.pieces, args.seed))
    Console().print(first_table(args.model, found))
    Console().print(second_table(args.model, found, args.seed))
