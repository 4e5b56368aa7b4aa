"""Plans of many cells: fused windows follow the flow, the given stays, and a loop closes. The velocities are known formulas."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.composing.long_plan import BATCH, HOP, WINDOW, across, plan, windows
from realtime.music.cells import LATENT


def towards(latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """The flow that ends in the controls, which here are latents: straight lines, so that Euler steps are exact."""
    return (controls - latent) / (1 - np.minimum(time, 0.999))[..., None]


def alike(latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Every cell goes to the mean of those it sees."""
    mean = (latent * known[..., None]).sum(1, keepdims=True) / known.sum(1)[:, None, None]
    return np.broadcast_to(mean, latent.shape) - latent


def line(cells: int, given: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Latents (cells, 128), and which are clean: the first ones."""
    latents = np.random.default_rng(seed).normal(size=(cells, LATENT)).astype(np.float32)
    return latents, np.arange(cells) < given


@pytest.mark.parametrize("cells", [1, 3, 15, 16, 17, 24, 25, 40, 300])
def test_every_cell_is_in_the_middle_of_some_window(cells: int) -> None:
    rows = windows(cells)
    assert rows.shape[1] == WINDOW and rows.max() == cells - 1 and set(rows[rows >= 0]) == set(range(cells))
    assert all((np.diff(row[row >= 0]) == 1).all() for row in rows)
    for cell in range(HOP, cells - HOP):
        assert any(row[HOP // 2] <= cell <= row[WINDOW - HOP // 2] for row in rows if row[0] >= 0)
    assert len(rows) <= cells / HOP + 1, "the work per cell is the same for any length"


@pytest.mark.parametrize("cells", [1, 2, 7, 16, 17, 100])
def test_the_window_across_the_seam_has_each_cell_once(cells: int) -> None:
    row = across(cells)
    held = row[row >= 0]
    assert len(row) == WINDOW and len(set(held)) == len(held) == min(cells, WINDOW)
    assert ((np.diff(held) % cells) == 1 % cells).all(), "in order, round the circle"
    if cells > 1:
        seam = np.flatnonzero(held == 0)[0]
        assert held[seam - 1] == cells - 1


@pytest.mark.parametrize(("cells", "given"), [(3, 0), (10, 4), (17, 16), (64, 16), (200, 16)])
@pytest.mark.parametrize("loop", [False, True])
def test_a_flow_with_a_known_end_gets_there(cells: int, given: int, loop: bool) -> None:
    """Windows that agree give what one planner for all cells at once would."""
    target, _ = line(cells, given, 1)
    latents, clean = line(cells, given)
    made = plan(towards, latents, clean, target, seed=3, loop=loop)
    assert np.array_equal(made[clean], latents[clean])
    np.testing.assert_allclose(made[~clean], target[~clean], atol=1e-4)


def test_a_gap_may_lie_between_given_cells() -> None:
    latents, _ = line(60, 0)
    clean = np.ones(60, bool)
    clean[30:34] = False
    made = plan(towards, latents, clean, np.ones((60, LATENT), np.float32), seed=3)
    assert np.array_equal(made[clean], latents[clean])
    np.testing.assert_allclose(made[~clean], 1, atol=1e-4)


def test_windows_that_differ_are_weighed_by_their_sines() -> None:
    """One step, two windows that each want all of their cells at another place: by the share of each window's weight."""
    calls = []

    def apart(latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
        calls.append(len(latent))
        return np.arange(1, len(latent) + 1)[:, None, None] - latent

    latents, clean = line(WINDOW + HOP, 0)
    made = plan(apart, latents, clean, latents, seed=3, steps=1)
    sine = np.sin(np.pi * (np.arange(WINDOW) + 0.5) / WINDOW) ** 2
    shared = (sine[HOP:] + 2 * sine[:HOP]) / (sine[HOP:] + sine[:HOP])
    expected = np.concatenate([np.full(HOP, 1.0), shared, np.full(HOP, 2.0)])
    np.testing.assert_allclose(made, np.repeat(expected[:, None], LATENT, 1), rtol=1e-5)
    assert calls == [2]


@pytest.mark.parametrize("loop", [False, True])
def test_only_in_a_loop_the_end_knows_the_beginning(loop: bool) -> None:
    """A change in the first planned cell reaches the last one, 100 cells later, within two steps."""

    def velocity(latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
        return alike(latent + controls, time, known, controls)

    latents, clean = line(116, 16)
    controls = np.zeros((116, LATENT), np.float32)
    plain = plan(velocity, latents, clean, controls, seed=3, steps=2, loop=loop)
    controls[16] = 100.0
    other = plan(velocity, latents, clean, controls, seed=3, steps=2, loop=loop)
    assert (abs(other[-1] - plain[-1]).max() > 1) == loop
    assert abs(other[17] - plain[17]).min() > 1


def test_it_is_repeatable_and_asks_for_a_few_windows_at_a_time() -> None:
    sizes = []

    def counted(latent: np.ndarray, time: np.ndarray, known: np.ndarray, controls: np.ndarray) -> np.ndarray:
        sizes.append(len(latent))
        return alike(latent, time, known, controls)

    latents, clean = line(16 + 1024, 16)
    first = plan(counted, latents, clean, latents, seed=3)
    assert max(sizes) == BATCH
    assert np.array_equal(first, plan(counted, latents, clean, latents, seed=3))
    assert not np.array_equal(first, plan(counted, latents, clean, latents, seed=4))
