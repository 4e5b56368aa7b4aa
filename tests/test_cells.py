"""Cells and rolls: every metre on one grid, no note lost, and what is drawn is what was played."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.music.attributes import CONTROLS, SCALE, attributes, controls
from realtime.music.cells import (
    CELL_TICKS,
    LOWEST,
    MODEL,
    PLAYER,
    STEP_TICKS,
    cell_at,
    cell_edges,
    cell_lengths,
    rolls,
    split,
)
from realtime.music.metre import BeatGrid
from realtime.music.notes import note_array
from realtime.music.vocabulary import DRUMS

NOTES = st.lists(
    st.tuples(st.integers(0, 600), st.integers(1, 300), st.integers(21, 108), st.just(64), st.integers(0, 4)),
    min_size=1,
    max_size=30,
).map(note_array)


@pytest.mark.parametrize(
    ("bar_ticks", "cells"),
    [
        (96, [96]),
        (72, [72]),
        (48, [48]),
        (120, [72, 48]),
        (144, [72, 72]),
        (108, [72, 36]),
        (168, [96, 72]),
        (36, [36]),
    ],
)
def test_a_bar_is_cut_at_beats_and_no_cell_is_longer_than_four_quarters(bar_ticks: int, cells: list[int]) -> None:
    assert cell_lengths(bar_ticks) == cells


@given(st.integers(6, 400))
def test_the_cells_of_a_bar_fill_it(bar_ticks: int) -> None:
    lengths = cell_lengths(bar_ticks)
    assert sum(lengths) == bar_ticks
    assert min(lengths) > 0
    assert max(lengths) <= CELL_TICKS


@given(st.lists(st.sampled_from([36, 72, 96, 108, 120, 144, 168]), min_size=1, max_size=6), st.integers(0, 400))
def test_the_grid_of_the_live_program_and_the_corpus_have_the_same_cells(bars: list[int], tick: int) -> None:
    starts = np.cumsum([0, *bars[:-1]])
    edges = cell_edges(starts, sum(bars))
    grid = BeatGrid([(int(start), length) for start, length in zip(starts, bars, strict=True)])
    at = min(tick, sum(bars) - 1)
    i = int(np.searchsorted(edges, at, side="right")) - 1
    assert cell_at(grid, at) == (edges[i], edges[i + 1] - edges[i])


@given(NOTES)
def test_each_pitched_note_begins_once_and_has_a_step(notes: np.ndarray) -> None:
    edges = cell_edges(np.arange(0, 960, 96), 960)
    rows = split(notes, edges)
    pitched = np.flatnonzero(notes["part"] != DRUMS)
    assert sorted(rows.note[rows.first >= 0]) == list(pitched)
    assert np.all(rows.last > np.maximum(rows.first, 0))
    assert np.all(
        np.abs(edges[rows.cell] + rows.first * STEP_TICKS - notes["onset"][rows.note])[rows.first >= 0] <= 1 + 1
    )


def test_a_roll_by_hand() -> None:
    notes = note_array([(0, 24, 60), (90, 12, 64), (48, 3, 40), (48, 24, 38, 90, DRUMS)])
    planes = rolls(notes, notes["pitch"] == 40, cell_edges(np.array([0, 96]), 192))
    assert planes.shape == (2, 4, 48, 88)
    assert np.flatnonzero(planes[0, MODEL, :, 60 - LOWEST]).tolist() == [0]
    assert np.flatnonzero(planes[0, MODEL + 1, :, 60 - LOWEST]).tolist() == list(range(12))
    assert np.flatnonzero(planes[0, PLAYER, :, 40 - LOWEST]).tolist() == [24]
    assert not planes[1, MODEL].any()
    assert np.flatnonzero(planes[1, MODEL + 1, :, 64 - LOWEST]).tolist() == [0, 1, 2]
    assert planes[:, :, :, 38 - LOWEST].sum() == 0


def test_attributes_by_hand() -> None:
    triad = note_array([(0, 96, 60), (0, 96, 64), (0, 96, 67)])
    edges = cell_edges(np.array([0, 96, 192]), 288)
    density, register, brightness, tension, polyphony = attributes(triad, edges, tonic=0)[0]
    assert density == pytest.approx(np.log2(1 + 3 / 4))
    assert register == pytest.approx((60 + 64 + 67) / 3)
    assert brightness == pytest.approx((0 + 4 + 1) / 3)
    assert polyphony == 3
    minor = attributes(note_array([(0, 96, 60), (0, 96, 63), (0, 96, 67)]), edges, tonic=0)[0]
    cluster = attributes(note_array([(0, 96, 60), (0, 96, 61), (0, 96, 66)]), edges, tonic=0)[0]
    assert minor[2] < brightness
    assert cluster[3] > tension
    silent = attributes(triad, edges, tonic=0)[2]
    assert silent[0] == 0
    assert np.isnan(silent[1:]).all()


@given(NOTES, st.integers(-6, 5))
def test_only_the_register_moves_with_a_transposition(notes: np.ndarray, semitones: int) -> None:
    notes = notes[(notes["pitch"] >= 27) & (notes["pitch"] <= 102)]
    moved = notes.copy()
    moved["pitch"] += semitones
    edges = cell_edges(np.arange(0, 960, 96), 960)
    apart = attributes(moved, edges, semitones % 12) - attributes(notes, edges, 0)
    assert np.allclose(np.nan_to_num(apart[:, [0, 2, 3, 4]]), 0, atol=1e-4)
    assert np.allclose(np.nan_to_num(apart[:, 1], nan=semitones), semitones, atol=1e-4)


def test_controls_say_what_is_given() -> None:
    vector = controls(np.array([1.0, np.nan, -9.0, 0.0, np.nan]), style=2)
    assert vector.shape == (CONTROLS,)
    assert vector[:5].tolist() == [1.0, 0.0, -3.0, 0.0, 0.0]
    assert vector[5:10].tolist() == [1, 0, 1, 1, 0]
    assert np.flatnonzero(vector[10:]).tolist() == [2]
    assert len(SCALE) == 5
