"""Bars put between the phrases of a window, as live playing has them: rests, and answers of the model's own.

In a file the next phrase follows the last one. Live, in CONTINUE, Antiphon waits until the player has rested, and between the
player's phrases lie its own answers: the player goes on where they were, or begins again, and what Antiphon played in between is
none of the piece.
"""

from __future__ import annotations

import numpy as np

from models.corpus.perturb import move_pitches
from models.corpus.stream import Stretch
from realtime.music.chords import transpose
from realtime.music.vocabulary import DRUMS

ANSWER_BARS = (1, 2, 4)
ANSWER_SEMITONES = (0, 0, 0, 0, -7, -5, -2, 2, 5, 7)
"""By how much an answer lies above what it takes up."""
LEFT_OUT = 0.2
"""The share of the notes of what it takes up that an answer leaves out."""


def rest(rng: np.random.Generator, found: Stretch) -> Stretch:
    """One or two bars without notes between the player's end and the model's first note, where all bars are equally long. Live a
    turn begins when the player has rested for some beats, in the middle of a bar as often as not, and what is taken up waits for
    its place in the bar: so the turn begins in any beat of the last bar of rest, or after it."""
    edge, times = int(found.edges[0]), int(rng.integers(1, 3))
    longer = _with_bars(found, edge, times)
    if longer is found:
        return found
    start = longer.beats["start"]
    size = int(found.beats["bar_ticks"][0])
    after = edge + times * size
    begins = np.append(start[(start >= after - size) & (start < after)], after).astype(np.int64)
    return longer._replace(edges=rng.choice(begins, 1))


def interject(rng: np.random.Generator, found: Stretch) -> Stretch:
    """Bars of the model's own between two phrases of the player's, before the model's turn, where all bars are equally long. They
    take up what the player has just played, or foretell what the player plays next, some notes left out, at that height or at
    another. They do not count in the loss: they lie in none of the model's turns."""
    notes, edge = found.notes, int(found.edges[0])
    count = int(rng.choice(ANSWER_BARS))
    lines = np.append(found.bars[found.bars < edge], edge)
    earlier = lines[count:-1]  # answers what came before
    later = lines[1 : max(len(lines) - count, 1)]  # foretells what comes after
    if not len(earlier) or not len(later):
        return found
    foretells = rng.random() < 0.5
    at = int(rng.choice(later if foretells else earlier))
    longer = _with_bars(found, at, count)
    if longer is found:
        return found
    size = count * int(found.beats["bar_ticks"][0])
    source = at if foretells else at - size
    taken = (
        found.player
        & (notes["onset"] >= source)
        & (notes["onset"] < source + size)
        & (rng.random(len(notes)) >= LEFT_OUT)
    )
    answer = notes[taken].copy()
    answer["onset"] += at - source
    semitones = move_pitches(answer, answer["part"] != DRUMS, int(rng.choice(ANSWER_SEMITONES)))
    chords = longer.chords
    if found.chords is not None and chords is not None:
        start, new = found.beats["start"], longer.beats["start"]
        told = found.chords[(start >= source) & (start < source + size)]
        chords[(new >= at) & (new < at + size)] = transpose(told, semitones)
    every = np.concatenate([longer.notes, answer])
    player = np.concatenate([longer.player, np.zeros(len(answer), bool)])
    order = np.argsort(every["onset"], kind="stable")
    return longer._replace(notes=every[order], player=player[order], chords=chords)


def _with_bars(found: Stretch, at: int, times: int) -> Stretch:
    """`times` bars without notes put in at the bar line `at`, with the metre and the last chord of the bar before; all that comes
    later is moved. The stretch itself where its bars are not equally long, or no whole bar lies before."""
    beats, bars, chords = found.beats, found.bars, found.chords
    first = int(np.searchsorted(beats["start"], at))
    size = int(beats["bar_ticks"][0]) if len(beats) else 0
    count = first - int(np.searchsorted(beats["start"], at - size))
    if len(np.unique(beats["bar_ticks"])) != 1 or count < 1 or first < count or (np.diff(bars) != size).any():
        return found
    new = np.concatenate([beats[first - count : first]] * times)
    new["start"] += np.repeat(np.arange(1, times + 1) * size, count)
    later = beats[first:].copy()
    later["start"] += times * size
    if chords is not None:
        chords = np.concatenate([chords[:first], np.repeat(chords[first - 1], times * count), chords[first:]])
    notes = found.notes.copy()
    notes["onset"] += np.where(notes["onset"] >= at, times * size, 0)
    return found._replace(
        notes=notes,
        beats=np.concatenate([beats[:first], new, later]),
        bars=np.concatenate([bars[bars < at], at + np.arange(times) * size, bars[bars >= at] + times * size]),
        edges=found.edges + np.where(found.edges >= at, times * size, 0),
        chords=chords,
    )
