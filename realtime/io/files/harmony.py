"""The fitted chord estimators that come with Antiphon, read from their files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from realtime.errors import UserError
from realtime.music.harmony import Harmony

PRETRAINED = Path(__file__).resolve().parents[3] / "models" / "pretrained"
SHIPPED_HARMONY, TUNE_HARMONY = PRETRAINED / "harmony.npz", PRETRAINED / "harmony.tune.npz"
"""For all voices of a piece, and for a tune as it is being played."""


@cache
def load_harmony(path: Path = SHIPPED_HARMONY) -> Harmony:
    """The estimator in a file of `models.training.harmony`. Raises `UserError` where it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as weights:
            return Harmony(dict(weights))
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: no chord estimator can be read from it ({error}); install Antiphon again") from None
