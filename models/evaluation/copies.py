"""How much of what a model plays is copied from what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.corpus.pack import Pack
from realtime.music.vocabulary import DRUMS, PART_NAMES

MAX_NOTES = 64
"""Longer copies are not told apart."""
_START = -1
_LONGEST_GAP = 4095


def line(notes: np.ndarray) -> np.ndarray:
    """(N,) int64, one number a note of a line, whatever its key: the interval and the time from the note before; -1 first.

    `notes`: see `realtime.music.measures`."""
    ordered = np.sort(notes, order=("onset", "pitch"))
    interval = np.diff(ordered["pitch"].astype(np.int64)) + 128
    gap = np.minimum(np.diff(ordered["onset"].astype(np.int64)), _LONGEST_GAP)
    return np.concatenate([np.full(min(len(ordered), 1), _START, np.int64), interval * (_LONGEST_GAP + 1) + gap])


def lines_of(pack: Pack, split: str) -> np.ndarray:
    """Every part of every piece of a split as a line, one after the other; without the drums."""
    lines = [np.zeros(0, np.int64)]
    for i in pack.rows(split):
        notes = pack[i].notes
        lines += [line(notes[notes["part"] == part]) for part in range(len(PART_NAMES)) if part != DRUMS]
    return np.concatenate(lines)


def longest_copies(lines: Sequence[np.ndarray], corpus: np.ndarray) -> list[int]:
    """For each line the length in notes of its longest stretch that `corpus` (see `lines_of`) has too, up to `MAX_NOTES`.

    Transposed counts as copied; no stretch goes across the start of a line. Stretches are compared by 64-bit hashes: of a
    million by ten million pairs, one in two million times a pair is taken for equal by mistake.
    """
    tokens = {"mine": np.concatenate([*lines, np.zeros(0, np.int64)]), "corpus": corpus}
    owner = np.repeat(np.arange(len(lines)), [len(each) for each in lines])
    symbols = {name: _mixed(values) for name, values in tokens.items()}
    starts = {name: np.flatnonzero(values != _START) for name, values in tokens.items()}
    hashes = {name: symbols[name][start] for name, start in starts.items()}
    longest = np.zeros(len(lines), np.int64)
    for steps in range(1, MAX_NOTES):
        known = {"corpus": np.isin(hashes["corpus"], hashes["mine"])}
        known["mine"] = np.isin(hashes["mine"], hashes["corpus"][known["corpus"]])
        if not known["mine"].any():
            break
        longest[owner[starts["mine"][known["mine"]]]] = steps + 1  # so many steps join one note more
        for name, values in tokens.items():  # only what is known so far can be known with one step more
            start, grown = starts[name][known[name]], hashes[name][known[name]]
            goes_on = start + steps < len(values)
            goes_on[goes_on] = values[start[goes_on] + steps] != _START
            starts[name] = start[goes_on]
            hashes[name] = _mixed(_mixed(grown[goes_on]) ^ symbols[name][start[goes_on] + steps])
    return [int(n) for n in longest]


def _mixed(values: np.ndarray) -> np.ndarray:
    """64-bit hashes (the finaliser of SplitMix64: Steele, Lea and Flood, OOPSLA 2014)."""
    x = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
