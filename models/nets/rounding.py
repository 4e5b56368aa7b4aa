"""Weights in 8 bits: int8, and float16 scales by row. What is shipped of a run, and what is exported, are rounded alike."""

from __future__ import annotations

import numpy as np

LEAST_SCALE = np.float16(2**-24)


def to_rows(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 integers and float16 scales along the second axis, so that values = integers * scales, about: (rows, n, ...) ->
    (rows, n, ...) and (rows, 1, ...). The integers are those of the scale as it is stored."""
    scales = np.maximum((np.abs(values).max(1, keepdims=True) / 127).astype(np.float16), LEAST_SCALE)
    return np.clip(np.rint(values / scales.astype(np.float32)), -127, 127).astype(np.int8), scales
