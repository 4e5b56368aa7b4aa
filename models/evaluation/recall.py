"""Whether what was played is remembered, in figures.

    python -m models.recall --data ../shared/data [--model FILE] [--memory 1] [--tunes 24]

*Repeats*: four bars, 4, 16 or 64 bars of other music, and the four bars again, as a piece that the model scores: nats a note of
the repeat over those of the first time.

*Continue*: in simulated time a player plays eight bars of a tune, 9 or 36 bars of other tunes in its key, and the tune's first
four bars again, and rests. F1 of what Antiphon plays then with the tune's fifth to eighth bars, moved by whole bars: a note is
right where its pitch is and its onset is within a sixteenth. *By chance* is the same with another tune's bars.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.bootstrap import Mean, mean
from models.command import Parser, positive
from models.corpus.chords import load_charted
from models.corpus.pack import Pack, Piece
from models.evaluation.prompts import Listener, Prompt
from models.evaluation.scoring import forced_nats, whole
from models.nets.checkpoint import save_json
from realtime.core.modes import Continue
from realtime.errors import UserError
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music.chords import transpose
from realtime.music.keys import key_of
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE, between
from realtime.music.vocabulary import HEADS, MELODY

BAR = 4 * TICKS
PHRASE_BARS, TUNE_BARS = 4, 8
APART = (4, 16, 64)
BETWEEN = (9, 36)
NEAR_TICKS = TICKS // 4
MOST_MOVED_BARS = 3
"""Antiphon may begin up to so many bars after the player has stopped."""
REST_BARS = 2
BPM = 120.0
SOURCES = ("ewld", "cre_irish", "pop909")
"""Where a tune is a part of its own."""


class Stretch(NamedTuple):
    """Bars of 4/4 of one piece: notes with ticks from 0 on, the piece's beats there, and their chords."""

    notes: np.ndarray
    beats: np.ndarray
    chords: np.ndarray

    @property
    def ticks(self) -> int:
        """Its length."""
        return len(self.beats) * TICKS


def stretch(piece: Piece, bars: int, only_tune: bool) -> Stretch | None:
    """The first so many whole bars of 4/4 with notes in all of them, if there are any."""
    lines = piece.bar_starts.astype(np.int64)
    for start in lines[: max(len(lines) - bars, 0)].tolist():
        here = (piece.beats["start"] >= start) & (piece.beats["start"] < start + bars * BAR)
        beats = piece.beats[here].copy()
        if len(beats) != 4 * bars or (beats["bar_ticks"] != BAR).any():
            continue
        notes = between(piece.notes, start, start + bars * BAR).astype(NOTE)
        if only_tune:
            notes = notes[notes["part"] == MELODY]
        notes["onset"] -= start
        if len(np.unique(notes["onset"] // BAR)) == bars:
            beats["start"] -= start
            chords = np.zeros(len(beats)) if piece.chords is None else piece.chords[here]
            return Stretch(notes, beats, chords.astype(np.int64))
    return None


def in_key(part: Stretch, tonic: int) -> Stretch:
    """Moved to another tonic by at most six semitones."""
    semitones = (tonic - key_of(part.notes).tonic + 6) % 12 - 6
    notes = part.notes.copy()
    notes["pitch"] = np.clip(notes["pitch"] + semitones, 0, 127)
    return part._replace(notes=notes, chords=transpose(part.chords, semitones))


def joined(parts: Sequence[Stretch]) -> Stretch:
    """One after the other."""
    notes, beats, at = [], [], 0
    for part in parts:
        moved, later = part.notes.copy(), part.beats.copy()
        moved["onset"] += at
        later["start"] += at
        later["tempo"] = parts[0].beats["tempo"][0]
        notes.append(moved)
        beats.append(later)
        at += part.ticks
    return Stretch(np.concatenate(notes), np.concatenate(beats), np.concatenate([part.chords for part in parts]))


def stretches(pack: Pack, split: str, bars: int, count: int, only_tune: bool, seed: int) -> list[Stretch]:
    """From `count` pieces. Raises `UserError` where there are fewer than three."""
    rng = np.random.default_rng(seed)
    found: list[Stretch] = []
    rows = [i for i in pack.rows(split) if not only_tune or pack.table[i]["source"] in SOURCES]
    for i in rng.permutation(np.array(rows, np.int64)).tolist():
        if len(found) == count:
            break
        if (part := stretch(pack[i], bars, only_tune)) is not None:
            found.append(part)
    if len(found) < 3:
        raise UserError(f"too few pieces of the split {split} have {bars} bars of 4/4; give another --data or --split")
    return found


def fillers(parts: list[Stretch], but: int, bars: int, tonic: int) -> list[Stretch]:
    """Other stretches in this key, so many bars in all."""
    found: list[Stretch] = []
    missing, at = bars, but
    while missing:
        at = (at + 1) % len(parts)
        if at == but:
            continue
        part = in_key(parts[at], tonic)
        use = min(missing, part.ticks // BAR)
        found.append(Stretch(between(part.notes, 0, use * BAR), part.beats[: 4 * use], part.chords[: 4 * use]))
        missing -= use
    return found


def repeats(listener: Listener, parts: list[Stretch]) -> dict[int, Mean]:
    """By the number of bars in between: nats a note of the repeat over those of the first time."""
    model, ratios = listener.model, {}
    for apart in APART:
        first, again = np.zeros(len(parts)), np.zeros(len(parts))
        for i in track(range(len(parts)), f"repeats after {apart} bars"):
            phrase = Stretch(between(parts[i].notes, 0, PHRASE_BARS * BAR), parts[i].beats[:16], parts[i].chords[:16])
            music = joined([phrase, *fillers(parts, i, apart, key_of(phrase.notes).tonic), phrase])
            piece = Piece("", "", "valid", music.notes, music.beats, music.chords)
            nats = forced_nats(model.stepper, model.graphs, piece)[:, : len(HEADS)].sum(1)
            ticks = whole(piece)["tick"]
            first[i] = nats[ticks < PHRASE_BARS * BAR].sum()
            again[i] = nats[ticks >= (PHRASE_BARS + apart) * BAR].sum()
        ratios[apart] = mean(again, first)
    return ratios


def matched(made: np.ndarray, asked: np.ndarray, end: int) -> float:
    """F1 of what was made from `end` on with the notes asked for, whose ticks count from 0; moved by whole bars, as fits best."""
    best = 0.0
    for bars in range(MOST_MOVED_BARS + 1):
        at = end + bars * BAR
        here = made[(made["onset"] >= at - NEAR_TICKS) & (made["onset"] < at + PHRASE_BARS * BAR - NEAR_TICKS)]
        free = np.ones(len(here), bool)
        right = 0
        for note in asked:
            fits = free & (here["pitch"] == note["pitch"])
            fits &= np.abs(here["onset"] - at - note["onset"]) <= NEAR_TICKS
            if fits.any():
                free[np.argmax(fits)] = False
                right += 1
        best = max(best, 2 * right / max(len(here) + len(asked), 1))
    return best


def continued(listener: Listener, parts: list[Stretch], between_bars: int) -> Iterator[tuple[float, float]]:
    """For each tune: F1 with its own next bars, and with those of another tune."""
    mode = Continue(PHRASE_BARS)
    for i, tune in enumerate(track(parts, f"continue after {between_bars} bars")):
        tonic = key_of(tune.notes).tonic
        begin = Stretch(between(tune.notes, 0, PHRASE_BARS * BAR), tune.beats[:16], tune.chords[:16])
        music = joined([tune, *fillers(parts, i, between_bars, tonic), begin])
        end = music.ticks
        prompt = Prompt("", music.notes, BAR, BPM, False)
        until = end + (REST_BARS + MOST_MOVED_BARS + PHRASE_BARS) * BAR
        made = listener.play(prompt, mode, music.notes, (MELODY,), until)
        made = made[made["onset"] >= end]
        other = in_key(parts[(i + 1) % len(parts)], tonic)
        asked = [between(part.notes, PHRASE_BARS * BAR, TUNE_BARS * BAR).copy() for part in (tune, other)]
        for notes in asked:
            notes["onset"] -= PHRASE_BARS * BAR
        yield matched(made, asked[0], end), matched(made, asked[1], end)


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.recall", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus("--data", required=True)
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--memory", type=float, default=0.0, help="the knob for memory, -1 to 1")
    p.add_argument("--split", default="valid", choices=("valid", "test"))
    p.add_argument("--tunes", type=positive, default=24, help="how many")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=Path, help="write the figures there too")
    args = p.parse_args()
    pack = load_charted(args.data, args.cache)
    listener = Listener(args.model, args.seed)
    listener.setup = replace(listener.setup, controls=replace(listener.setup.controls, memory=args.memory))
    table = Table("", "figure (95 % by piece)")
    figures: dict[str, Mean] = {}
    music = stretches(pack, args.split, TUNE_BARS, args.tunes, False, args.seed)
    for apart, ratio in repeats(listener, music).items():
        figures[f"nats of a repeat after {apart} bars, over the first time"] = ratio
    tunes = stretches(pack, args.split, TUNE_BARS, args.tunes, True, args.seed)
    for bars in BETWEEN:
        right, chance = np.array(list(continued(listener, tunes, bars))).T
        figures[f"F1 of the tune taken up after {bars} bars"] = mean(right)
        figures[f"the same by chance, {bars} bars"] = mean(chance)
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console().print(table)
    if args.json:
        save_json(args.json, {name: value._asdict() for name, value in figures.items()})
