"""Bars as rolls: what the bar autoencoder reads and writes. Pure numpy; times in ticks (24 a quarter).

The unit is the *cell*: a bar, or, where a bar is longer than four quarters, an even part of it, cut at beats (5/4: 3 + 2
quarters; 12/8: 3 + 3). So every metre has the same grid of steps, and no bar is squeezed. A cell's roll is

    (4, 48, 88) float32: player's onsets, player's holds, model's onsets, model's holds
                         x 48 steps of 2 ticks (sixteenths and triplets both fall on one) x the keys A0 to C8

An onset is 1 at the step nearest to a note's start, a hold is 1 wherever a note sounds, its first step included; a note
that was begun in an earlier cell has holds only. Drums are not in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from realtime.music.metre import TICKS, BeatGrid
from realtime.music.notes import NOTE
from realtime.music.vocabulary import DRUMS

STEPS = 48
STEP_TICKS = 2
CELL_TICKS = STEPS * STEP_TICKS
BEATS = CELL_TICKS // TICKS
LOWEST, KEYS = 21, 88
ROLL = (4, STEPS, KEYS)
PLAYER, MODEL = 0, 2
"""The first of the two planes (onsets, holds) of the player and of the model."""
LATENT = 128
"""Length of a cell's latent vector."""


def cell_lengths(bar_ticks: int) -> list[int]:
    """A bar's cells, in ticks: as even as whole beats allow, none longer than four quarters."""
    parts = -(-bar_ticks // CELL_TICKS)
    beats = -(-bar_ticks // TICKS)
    step = -(-beats // parts) * TICKS
    return [min(step, bar_ticks - start) for start in range(0, bar_ticks, step)]


def cell_edges(bars: np.ndarray, end: int) -> np.ndarray:
    """Ticks (C + 1,) between which the C cells of consecutive bars lie. bars: start ticks, rising; the last bar ends at `end`."""
    edges = [int(bars[0])]
    for start, stop in zip(bars, [*bars[1:], end], strict=True):
        for length in cell_lengths(int(stop) - int(start)):
            edges.append(edges[-1] + length)
    return np.array(edges, np.int64)


def cell_at(grid: BeatGrid, tick: int) -> tuple[int, int]:
    """Start and length in ticks of the cell around `tick`."""
    start, bar_ticks = grid.bar_at(tick)
    for length in cell_lengths(bar_ticks):
        if tick < start + length:
            break
        start += length
    return start, length


class Split(NamedTuple):
    """Notes cut at the edges of cells, a row a note and cell: index of the note, of the cell, steps [first, last) within it.
    `first` is -1 where the note began in an earlier cell."""

    note: np.ndarray
    cell: np.ndarray
    first: np.ndarray
    last: np.ndarray


def split(notes: np.ndarray, edges: np.ndarray) -> Split:
    """Cut pitched `notes` ((N,) with onset, duration, pitch, part) at the `edges` of cells. Drums, keys beyond the piano and
    what begins before the first edge are left out; every other note has at least one step, in the cell of its onset."""
    onset, stop = notes["onset"].astype(np.int64), notes["onset"].astype(np.int64) + notes["duration"]
    cells = len(edges) - 1
    begun = np.searchsorted(edges, onset, side="right") - 1
    on_keys = (notes["pitch"] >= LOWEST) & (notes["pitch"] < LOWEST + KEYS) & (notes["part"] != DRUMS)
    note = np.flatnonzero(on_keys & (begun >= 0) & (begun < cells))
    cell = begun[note]
    rows = []
    for later in range(cells):
        if not len(note):
            break
        start, steps = edges[cell], -(-(edges[cell + 1] - edges[cell]) // STEP_TICKS)
        first = np.minimum((onset[note] - start + 1) // STEP_TICKS, steps - 1) if later == 0 else np.full(len(note), -1)
        last = np.clip((stop[note] - start + 1) // STEP_TICKS, first + 1, steps)
        inside = last > 0
        rows.append(np.stack([note[inside], cell[inside], first[inside], last[inside]]))
        goes_on = (cell + 1 < cells) & (stop[note] > edges[cell + 1])
        note, cell = note[goes_on], cell[goes_on] + 1
    return Split(*(np.concatenate(rows, 1) if rows else np.zeros((4, 0), np.int64)))


def rolls(notes: np.ndarray, is_player: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The cells between `edges`, (C, 4, 48, 88) float32. notes as `split` takes them; is_player: (N,) bool."""
    rows = split(notes, edges)
    return paint(
        rows,
        np.where(is_player[rows.note], PLAYER, MODEL),
        notes["pitch"][rows.note].astype(int) - LOWEST,
        len(edges) - 1,
    )


def paint(rows: Split, plane: np.ndarray, key: np.ndarray, cells: int) -> np.ndarray:
    """Rolls (cells, 4, 48, 88) of split notes. Of each row: its plane of onsets (PLAYER or MODEL) and its key 0..87."""
    out = np.zeros((cells, ROLL[0], STEPS + 1, KEYS), np.float32)
    np.add.at(out, (rows.cell, plane + 1, np.maximum(rows.first, 0), key), 1)
    np.add.at(out, (rows.cell, plane + 1, rows.last, key), -1)
    out[:, 1::2] = np.cumsum(out[:, 1::2], 2) > 0
    new = rows.first >= 0
    out[rows.cell[new], plane[new], rows.first[new], key[new]] = 1
    return np.ascontiguousarray(out[:, :, :STEPS])


def notes_in(rolls: np.ndarray, edges: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """The notes, as `NOTE`, in rolls (C, 4, 48, 88) of probabilities, player and model together. A note begins where its onset is
    above `threshold`, and lasts while its hold is, within its cell."""
    here = rolls > threshold
    onsets, holds = here[:, PLAYER] | here[:, MODEL], here[:, PLAYER + 1] | here[:, MODEL + 1]
    sounds = holds.copy()
    sounds[:, 1:] &= ~onsets[:, 1:]  # a key that is struck again ends the note before
    cell, step, key = np.nonzero(onsets)
    last = step + 1
    for _ in range(STEPS):
        goes_on = (last < STEPS) & sounds[cell, np.minimum(last, STEPS - 1), key]
        if not goes_on.any():
            break
        last += goes_on
    found = np.zeros(len(cell), NOTE)
    found["onset"] = edges[cell] + step * STEP_TICKS
    found["duration"] = (last - step) * STEP_TICKS
    found["pitch"] = key + LOWEST
    return found
