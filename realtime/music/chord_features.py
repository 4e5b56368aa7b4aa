"""What the chord estimators (`realtime.music.harmony`, `tune_harmony`) see of each beat. Pure numpy; ticks, 24 a quarter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import DRUMS

BEAT = np.dtype([("start", "i8"), ("length", "i8"), ("index", "i8"), ("bar_ticks", "i8")])
"""A beat: start and length in ticks, which of its bar, the metre's bar length in ticks."""
WINDOWS = (
    "first half", "second half", "struck", "lowest of the first half", "lowest of the second half", "lowest before",
    "lowest at the bar line", "1 beat before", "2 to 4 before", "5 to 16 before", "bar so far", "64 beats before",
    "lowest after", "1 beat after", "2 to 4 after", "5 to 16 after", "rest of the bar", "64 beats after",
)  # fmt: skip
"""Of which notes the estimator sees the pitch classes."""
AHEAD = WINDOWS.index("lowest after")
"""From here on the windows lie after the beat."""
FAR = 64
"""Beats of the widest windows: they show the key."""
PLACES = 3
"""Places in the bar: its first beat, its middle, any other."""
FACTS = PLACES + 4
"""What else the estimator sees: the place; whether the bar has 2, 3 or 4 quarters; whether it looks ahead."""
STRUCK = (-3, 9)
"""Ticks around a beat's start: what begins in them is struck on the beat."""
BRIEF = 0.2
"""A note that sounds for a smaller share of half a beat than this (the end of one that is held over) is not its bass."""
SILENT_BEATS = 4
"""Where nothing but drums has sounded for more beats than this, there is no chord."""


class Features(NamedTuple):
    """Of each beat: `windows` (B, 18, 12) float32, a row a window of `WINDOWS`; `facts` (B, 7) float32; `place` (B,) 0 to 2;
    `silent` (B,) bool, where there is no chord."""

    windows: np.ndarray
    facts: np.ndarray
    place: np.ndarray
    silent: np.ndarray


def beats_of(grid: BeatGrid, start: int, end: int) -> np.ndarray:
    """The beats of a grid from the one around tick `start` to the last that begins before `end`: (B,) `BEAT`."""
    rows: list[tuple[int, int, int, int]] = []
    first = tick = grid.beat_at(start).start
    while tick < end:
        (bar, length), metre = grid.bar_at(tick), grid.bar_length_at(tick)
        tick = bar + length
        rows += [
            (beat, min(TICKS, tick - beat), index, metre)
            for index, beat in enumerate(range(bar, tick, TICKS))
            if first <= beat < end
        ]
    return np.array(rows, np.int64).reshape(-1, 4).view(BEAT)[:, 0]


def features(notes: np.ndarray, beats: np.ndarray, last: int | None = None) -> Features:
    """The features of `beats` ((B,), with the fields of `BEAT`, B > 0), from the notes of all voices ((N,) with onset, duration,
    pitch, part). Drums are left out, and what sounds before the first beat or after the last. `last`: only the rows of so many
    last beats are made."""
    notes = notes[notes["part"] != DRUMS]
    sound, low = _halves(notes, beats)
    whole = sound[::2] + sound[1::2]
    count = len(beats)
    first = 0 if last is None else max(count - last, 0)
    at = np.arange(first, count)
    total = np.zeros((count + 1, 12))
    np.cumsum(whole, 0, out=total[1:])
    opens = np.flatnonzero(beats["index"] == 0)
    bar = np.searchsorted(opens, at, side="right")
    bar_from, bar_to = np.concatenate([[0], opens])[bar], np.concatenate([opens, [count]])[bar]
    bass = np.where(low[2 * bar_from].any(1, keepdims=True), low[2 * bar_from], low[2 * bar_from + 1])

    begin = (at - 1, at - 4, at - 16, bar_from, at - FAR, at + 1, at + 2, at + 5, at + 1, at + 1)
    end = (at, at - 1, at - 4, at, at, at + 2, at + 5, at + 17, bar_to, at + 1 + FAR)
    inside = np.minimum(np.maximum(np.array([begin, end]), 0), count)
    sums = total[inside[1]] - total[inside[0]]  # (10, B, 12)
    shares = sums / (1 + sums.sum(2, keepdims=True))
    around = np.zeros((2 * count + 2, 12))  # nothing before, and nothing after
    around[1:-1] = low
    windows = np.empty((len(at), len(WINDOWS), 12), np.float32)
    windows[:, 0], windows[:, 1] = np.log1p(sound[2 * first :: 2]), np.log1p(sound[2 * first + 1 :: 2])
    windows[:, 2] = np.log1p(_struck(notes, beats[first:]))
    windows[:, 3], windows[:, 4] = low[2 * first :: 2], low[2 * first + 1 :: 2]
    windows[:, 5], windows[:, 6], windows[:, 7:AHEAD] = around[2 * at], bass, shares[:5].swapaxes(0, 1)
    windows[:, AHEAD], windows[:, AHEAD + 1 :] = around[2 * at + 3], shares[5:].swapaxes(0, 1)
    place, facts = _facts(beats[first:])
    loud = np.concatenate([[0], np.cumsum(whole.sum(1) > 0)])
    silent = loud[at + 1] == loud[np.maximum(at - SILENT_BEATS, 0)]
    return Features(windows, facts, place, silent)


def recent_features(notes: np.ndarray, beats: np.ndarray, count: int) -> Features:
    """The features of the last `count` beats. Notes and beats further back than `FAR` beats before these make no difference, and
    are left out: so the cost is bounded."""
    beats = beats[-FAR - count :]
    end = notes["onset"].astype(np.int64) + notes["duration"]
    return features(notes[end > int(beats["start"][0])], beats, count)


def _facts(beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) places, (B, FACTS) facts, of one that looks ahead."""
    index, quarters = beats["index"].astype(int), beats["bar_ticks"].astype(int) // TICKS
    place = np.where(index == 0, 0, np.where(2 * index == quarters, 1, 2))
    facts = np.zeros((len(beats), FACTS), np.float32)
    facts[np.arange(len(beats)), place] = 1
    for quarters_more in range(3):
        facts[:, PLACES + quarters_more] = quarters == 2 + quarters_more
    facts[:, -1] = 1
    return place, facts


def _halves(notes: np.ndarray, beats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the two halves of each beat (2 B, 12): for how much of it each pitch class sounds, all notes together; and which
    pitch class is the lowest (one 1, or none)."""
    count = 2 * len(beats)
    start, length = beats["start"].astype(np.int64), beats["length"].astype(np.int64)
    edges = np.empty(count + 1, np.int64)
    edges[:-1:2], edges[1::2], edges[-1] = start, start + (length + 1) // 2, start[-1] + length[-1]
    onset, pitch = notes["onset"].astype(np.int64), notes["pitch"].astype(np.int64)
    stop = onset + np.maximum(notes["duration"].astype(np.int64), 1)
    first = np.maximum(np.searchsorted(edges, onset, side="right") - 1, 0)
    spans = np.maximum(np.minimum(np.searchsorted(edges, stop, side="left"), count) - first, 0)
    note = np.repeat(np.arange(len(notes)), spans)
    half = np.arange(len(note)) - np.repeat(np.cumsum(spans) - spans, spans) + first[note]
    overlap = np.minimum(stop[note], edges[half + 1]) - np.maximum(onset[note], edges[half])
    share = np.clip(overlap / np.maximum(edges[half + 1] - edges[half], 1), 0, 1)
    sound = np.bincount(half * 12 + pitch[note] % 12, share, count * 12).reshape(-1, 12)
    lowest = np.full(count, 128, np.int64)
    np.minimum.at(lowest, half[share > BRIEF], pitch[note][share > BRIEF])
    low = np.zeros((count, 13))
    low[np.arange(count), np.where(lowest < 128, lowest % 12, 12)] = 1
    return sound, low[:, :12]


def _struck(notes: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """(B, 12) how many notes of each pitch class begin on the beat."""
    struck = np.zeros((len(beats), 12))
    onset, start = notes["onset"].astype(np.int64), beats["start"].astype(np.int64)
    beat = np.searchsorted(start, onset - STRUCK[0], side="right") - 1
    on = (beat >= 0) & (onset - start[np.maximum(beat, 0)] < STRUCK[1])
    np.add.at(struck, (beat[on], notes["pitch"][on].astype(np.int64) % 12), 1)
    return struck
