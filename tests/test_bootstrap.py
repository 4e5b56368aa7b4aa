"""Means with their intervals by song."""

import numpy as np
import pytest

from models.bootstrap import mean


def test_a_mean_leaves_out_what_is_no_number_and_its_interval_narrows() -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.normal(3.0, 1.0, count) for count in (20, 2000))
    found = mean([*few, np.nan])
    assert found.value == pytest.approx(few.mean(), abs=1e-4)
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(4 * few.std() / len(few) ** 0.5, rel=0.2)
    wide, narrow = (mean(values) for values in (few, many))
    assert narrow.high - narrow.low < (wide.high - wide.low) / 5


def test_a_ratio_of_sums_weighs_the_songs_by_their_size() -> None:
    found = mean([1.0, 30.0], [10.0, 100.0])
    assert found.value == pytest.approx(31 / 110, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((0.1, 0.3))


def test_nothing_has_no_mean() -> None:
    assert np.isnan(mean([np.nan])).all() and np.isnan(mean([])).all()
