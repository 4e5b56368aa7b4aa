"""The candidates of `realtime.composing.memory` for every event of a window at once."""

from __future__ import annotations

import numpy as np

from realtime.composing.memory import (
    BARS,
    BASE,
    EXACT,
    EXPERTS,
    FEATURES,
    FIRST_BARS,
    LINES,
    NEAR_TICKS,
    NOTHING,
    ORDERS,
    RATES,
    ROUND_TICKS,
    Moment,
    Notes,
    describe,
)
from realtime.composing.memory_keys import exact_key, line_key, moved_key, place
from realtime.music.vocabulary import DRUMS

PLACES = LINES * 128


def longest_matches(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each element the latest earlier one that the most equal elements lead up to: its index or -1, and how many they are, of
    `ORDERS`. keys: (N,) int64."""
    count = len(keys)
    match, length = np.full(count, -1), np.zeros(count, np.int64)
    values = keys.astype(np.uint64)
    run = values.copy()
    order = 1
    with np.errstate(over="ignore"):
        for wanted in ORDERS.tolist():
            while order < wanted:
                run = np.concatenate([[np.uint64(0)], run[:-1]]) * BASE + values
                order += 1
            if wanted > count:
                break
            whole = run[wanted - 1 :]
            by_hash = np.argsort(whole, kind="stable")
            same = whole[by_hash][1:] == whole[by_hash][:-1]
            later, earlier = by_hash[1:][same] + wanted - 1, by_hash[:-1][same] + wanted - 1
            match[later], length[later] = earlier, wanted
    return match, length


def _pointers(notes: Notes, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Where the experts of lines, "exact" and "moved" point after each note: the note matched, the note that came after it,
    and the
    length, each (LINES + 2, N), -1 where there is none; and the latest note of each line, or of all, up to each note."""
    count = len(notes.tick)
    matched, after = np.full((LINES + 2, count), -1), np.full((LINES + 2, count), -1)
    length, last = np.zeros((LINES + 2, count), np.int64), np.full((LINES + 2, count), -1)
    for expert in range(LINES + 2):
        rows = np.flatnonzero(notes.part == expert) if expert < LINES else np.arange(count)
        if not len(rows):
            continue
        interval = np.diff(notes.pitch[rows], prepend=notes.pitch[rows[0]])
        if expert < LINES:
            keys = line_key(slots[rows], interval)
        elif expert == EXACT:
            keys = exact_key(slots, notes.part == DRUMS, notes.pitch)
        else:
            keys = moved_key(slots, notes.part == DRUMS, interval)
        found, long = longest_matches(keys)
        there = found >= 0
        matched[expert, rows[there]] = rows[found[there]]
        after[expert, rows[there]] = rows[found[there] + 1]
        length[expert, rows] = long
        last[expert, rows] = rows
    return matched, after, length, np.maximum.accumulate(last, axis=1)


def candidates(
    notes: Notes,
    slots: np.ndarray,
    begin: int,
    latest: np.ndarray,
    now: Moment,
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates after each of T events: ids (T, EXPERTS, 5) and features (T, EXPERTS, FEATURES) of `memory.describe`.

    notes: all there are, in stream order, N rows, and `slots` (N,) their slots in the beat. The experts of bars see those from
    row
    `begin` on, whose onsets never fall. latest: (T,) the last note up to each event, -1 before the first; now: (T,) each.
    """
    steps = len(latest)
    if not len(notes.tick):
        return np.tile(NOTHING, (steps, EXPERTS, 1)), np.zeros((steps, EXPERTS, FEATURES), np.float32)
    matched, after, lengths, last = _pointers(notes, slots)
    index = np.full((steps, EXPERTS), -1)
    delta, shift, length = (np.zeros((steps, EXPERTS), np.int64) for _ in range(3))
    heard = np.flatnonzero(latest >= 0)
    for expert in range(LINES + 2):
        own = last[expert, latest[heard]]
        rows, own = heard[own >= 0], own[own >= 0]
        there = matched[expert, own] >= 0
        rows, own = rows[there], own[there]
        source = matched[expert, own]
        index[rows, expert] = after[expert, own]
        delta[rows, expert] = ROUND_TICKS * np.rint((notes.tick[own] - notes.tick[source]) / ROUND_TICKS)
        shift[rows, expert] = 0 if expert == EXACT else notes.pitch[own] - notes.pitch[source]
        length[rows, expert] = lengths[expert, own]
    span = notes.tick[begin:] * PLACES + place(notes.part[begin:], notes.pitch[begin:])
    order = np.argsort(span, kind="stable")
    span = span[order]
    tick = np.broadcast_to(now.tick, steps)
    place_now = np.full(steps, -1)
    same = heard[notes.tick[latest[heard]] == tick[heard]]
    place_now[same] = place(notes.part[latest[same]], notes.pitch[latest[same]])
    for i, bars in enumerate(BARS.tolist()):
        back = bars * np.broadcast_to(now.bar, steps)
        at = np.searchsorted(span, (tick - back) * PLACES + place_now, side="right")
        there = (at < len(span)) & (tick - back >= (notes.tick[begin] if begin < len(notes.tick) else 0))
        found = begin + order[at[there]]
        known = found <= latest[there]
        rows = np.flatnonzero(there)[known]
        index[rows, FIRST_BARS + i] = found[known]
        delta[rows, FIRST_BARS + i] = back[rows]
    wide = Moment(*(np.broadcast_to(x, steps)[:, None] for x in now))
    found = Notes(*(column[np.maximum(index, 0)] for column in notes))
    ids, features, onset = describe(found, wide, index >= 0, delta, shift, length, np.zeros((steps, EXPERTS, 2)))
    features[..., 7:9] = _success(notes, ids, onset, features[..., 0] > 0, latest) * features[..., :1]
    return ids, features


def _success(notes: Notes, ids: np.ndarray, onset: np.ndarray, there: np.ndarray, latest: np.ndarray) -> np.ndarray:
    """The fast and the slow mean of how often each expert was right, after each event: (T, EXPERTS, 2).

    An expert is judged at each note it could have foretold: one of its part, or any note where it follows them all."""
    steps = len(latest)
    out = np.zeros((steps, EXPERTS, 2))
    mean = np.zeros((EXPERTS, 2))
    struck = np.flatnonzero(np.diff(latest, prepend=-1) > 0)
    struck = struck[struck > 0]
    note = latest[struck]
    right = (
        there[struck - 1]
        & (ids[struck - 1, :, 2] == notes.pitch[note][:, None])
        & (np.abs(onset[struck - 1] - notes.tick[note][:, None]) <= NEAR_TICKS)
    ).astype(np.float64)
    judged = np.ones((len(struck), EXPERTS), bool)
    judged[:, :LINES] = np.arange(LINES) == notes.part[note][:, None]
    rates = judged[..., None] * RATES  # (notes, EXPERTS, 2)
    before = 0
    for row, at in enumerate(struck.tolist()):
        out[before:at] = mean
        mean = mean + rates[row] * (right[row][:, None] - mean)
        before = at
    out[before:] = mean
    return out
