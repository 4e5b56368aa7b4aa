"""How far an edit went towards a style, as the autoencoder sees it. Pure numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from realtime.editing.changes import Scene
from realtime.editing.edit import STYLE_STEP, Codec, Result, shift_to_c
from realtime.music.cells import rolls


def reached(
    scene: Scene, result: Result, names: list[str], directions: Mapping[str, np.ndarray], codec: Codec
) -> dict[str, float]:
    """Of each style the mean way of the cells along its direction, in the units in which it is asked for."""
    notes, chosen = scene.notes.copy(), scene.chosen
    before = _latents(scene, notes, chosen, codec)
    for index, pitch in result.moved.items():
        notes["pitch"][index] = pitch
    added = scene.notes[[new.like for new in result.added]].copy()
    for row, new in zip(added, result.added, strict=True):
        row["onset"], row["duration"], row["pitch"] = new.onset, new.duration, new.pitch
    stays = ~np.isin(np.arange(len(notes)), result.removed)
    kind = np.concatenate([chosen[stays], chosen[[new.like for new in result.added]]])
    way = _latents(scene, np.concatenate([notes[stays], added]), kind, codec) - before
    return {
        name: float((way @ directions[name]).mean() / (directions[name] @ directions[name]) / STYLE_STEP)
        for name in names
    }


def _latents(scene: Scene, notes: np.ndarray, chosen: np.ndarray, codec: Codec) -> np.ndarray:
    notes = notes.copy()
    notes["pitch"] += shift_to_c(scene.key.tonic)
    return codec.encode(rolls(notes, ~chosen, scene.edges))
