"""The fitted chord estimators that come with Antiphon, read from their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np

from realtime.errors import UserError
from realtime.music.harmony import Harmony
from realtime.music.tune_harmony import TuneHarmony

Kind = TypeVar("Kind", Harmony, TuneHarmony)
PRETRAINED = Path(__file__).resolve().parents[3] / "models" / "pretrained"
SHIPPED_HARMONY, TUNE_HARMONY = PRETRAINED / "harmony.npz", PRETRAINED / "harmony.tune.npz"
"""For all voices of a piece, and for a tune as it is being played."""


@cache
def load_harmony() -> Harmony:
    """The estimator of the chords of all voices. Raises `UserError` where it cannot be read."""
    return _load(Harmony, SHIPPED_HARMONY)


@cache
def load_tune_harmony() -> TuneHarmony:
    """The estimator of a tune's chords. Raises `UserError` where it cannot be read."""
    return _load(TuneHarmony, TUNE_HARMONY)


def _load(kind: Callable[[Mapping[str, np.ndarray]], Kind], path: Path) -> Kind:
    try:
        with np.load(path, allow_pickle=False) as weights:
            return kind(dict(weights))
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: no chord estimator can be read from it ({error}); install Antiphon again") from None
