"""How well chords are estimated: against the annotated pieces of a split, beat by beat.

    python -m models.chords CORPUS                     # chords for every beat of the corpus; the table of the validation split
    python -m models.chords CORPUS --split test

What counts: beats with an annotated chord that is no guess and that the vocabulary has a class for. `triad`: root and major or
minor are right, by the third of the chord; suspended chords have none, and their beats are left out (as in mir_eval's majmin,
Raffel et al., ISMIR 2014). `root` and `chord` (root and all of the nine qualities): over all beats.

Tracks that were rendered from chord symbols ("(rendered)" in a manifest's `accomp_tracks`) are the annotation itself: "as
written" has them, every other row of such a source does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from models.bootstrap import interval, resampled
from models.command import Parser
from models.corpus.chords import ORIGINS, Spans, annotated, load_chords, read_annotations
from models.corpus.corpora import find
from models.corpus.pack import Pack, Piece, load_pack, song_of
from realtime.io.files.harmony import load_harmony
from realtime.music.chords import MAJOR_MINOR, NO_CHORD, UNKNOWN, quality_of, root_of
from realtime.music.harmony import Harmony, likeliest
from realtime.music.vocabulary import ACCOMPANIMENT, MELODY

TIERS = ("main", "sharealike")
ROOT = np.array([-1 if (root := root_of(chord)) is None else root for chord in range(UNKNOWN + 1)])
SUSPENDED = np.array([quality_of(chord) == "sus" for chord in range(UNKNOWN + 1)])


class Way(NamedTuple):
    """One way to listen: a name, which notes of the piece (bool mask), whether the estimate looks ahead."""

    name: str
    notes: np.ndarray
    ahead: bool


@dataclass
class Score:
    """Counts, an entry a piece: beats with a triad, of them right; all beats, of them right by root and by chord; sum of how
    sure."""

    songs: list[str] = field(default_factory=list)
    counts: list[list[float]] = field(default_factory=list)

    def add(self, song: str, found: np.ndarray, sure: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> None:
        """Classes (B,), their probabilities, the annotated classes, and which beats count."""
        triads = counted & ~SUSPENDED[truth]
        right = MAJOR_MINOR[found] == MAJOR_MINOR[truth]
        whole = found == truth
        self.songs.append(song)
        self.counts.append(
            [
                float(values.sum())
                for values in (
                    triads, right & triads, counted, (ROOT[found] == ROOT[truth]) & counted, whole & counted, sure * counted
                )
            ]
        )  # fmt: skip

    def line(self) -> str:
        """Beats, pieces, share of triads right with its interval by song, roots right, chords right, mean probability."""
        counts = np.array(self.counts)
        triads, right, beats, root, whole, sure = counts.sum(0)
        low, high = interval(resampled(counts[:, 1], counts[:, 0], np.array(self.songs)))
        shares = " ".join(f"{value / beats:6.3f}" for value in (root, whole, sure))
        return f"{beats:7.0f} {len(counts):5d}  {right / max(triads, 1):.3f} [{low:.3f} {high:.3f}] {shares}"


def ways(piece: Piece, rendered: bool) -> Iterator[Way]:
    """How a piece is listened to."""
    notes = piece.notes
    everything = np.ones(len(notes), bool)
    played = notes["part"] != ACCOMPANIMENT if rendered else everything
    yield Way("as written" if rendered else "all voices", everything, True)
    if rendered and played.any():
        yield Way("without rendered chords", played, True)
    if played.any():
        yield Way("heard so far", played, False)
    tune = notes["part"] == MELODY
    if tune.any() and not rendered:
        yield Way("tune alone", tune, True)


def measure(
    pack: Pack, annotations: dict[str, Spans], rendered: set[str], harmony: Harmony, split: str
) -> dict[tuple[str, str], Score]:
    """By source and way. rendered: ids of pieces whose accompaniment is made from the annotation."""
    scores: dict[tuple[str, str], Score] = {}
    for i in pack.rows(split):
        piece = pack[i]
        if piece.id not in annotations:
            continue
        truth, guessed, _ = annotated(annotations[piece.id], piece.beats)
        counted = (truth != UNKNOWN) & (truth != NO_CHORD) & ~guessed
        for way in ways(piece, piece.id in rendered):
            found = likeliest(harmony.posterior(piece.notes[way.notes], piece.beats, way.ahead))
            score = scores.setdefault((piece.source, way.name), Score())
            score.add(song_of(pack.table[i]), found.chord, found.sure, truth, counted)
    return scores


def table(scores: dict[tuple[str, str], Score]) -> str:
    """`measure` as text."""
    head = f"{'source':18s} {'heard':24s} {'beats':>7s} {'pieces':>5s} triad [interval]       root  chord   sure"
    return "\n".join([head, *(f"{source:18s} {way:24s} {score.line()}" for (source, way), score in scores.items())])


def main() -> None:
    """Make (or find) the chord of every beat of a corpus, and measure the estimate against its annotations."""
    parser = Parser(prog="python -m models.chords", description=main.__doc__)
    parser.add_corpus("corpus", metavar="CORPUS")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="valid", help="of the table")
    args = parser.parse_args()
    pack = load_pack(args.corpus, args.cache)
    chords = load_chords(args.corpus, args.cache, pack)
    for source in sorted({row["source"] for row in pack.table}):
        beats = np.concatenate([chords[slice(*row["beats"])] for row in pack.table if row["source"] == source])
        counts = np.bincount(beats["origin"], minlength=len(ORIGINS))
        shares = ", ".join(f"{count / len(beats):.1%} {name}" for name, count in zip(ORIGINS, counts, strict=True))
        print(
            f"{source:18s} {len(beats):8d} beats: {shares}; {(beats['chord'] == NO_CHORD).mean():.1%} without a chord"
        )
    annotations = read_annotations(args.corpus, TIERS)
    rendered = {row["id"] for row in find(args.corpus, TIERS).rows if "(rendered)" in row.get("accomp_tracks", "")}
    whole = load_pack(args.corpus, args.cache, TIERS)
    print(table(measure(whole, annotations, rendered, load_harmony(), args.split)))
