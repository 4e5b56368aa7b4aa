"""models.bands: the figures of a band."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="models needs torch (pip install '.[train]')")

from models.evaluation.bands import on_beats
from models.evaluation.charts import BARS, Charted
from models.evaluation.prompts import Prompt
from realtime.music.chords import chord
from realtime.music.notes import NOTE, note_array
from realtime.music.vocabulary import BASS, DRUMS, MELODY

BAR = 96


def charted(tune: np.ndarray) -> Charted:
    chords, bass = np.full((2, 4 * BARS), [[chord(0, "maj")], [0]], np.uint8)
    return Charted(Prompt("x", tune, BAR, 120.0, True), chords, bass)


def test_kicks_and_snares_count_where_the_tune_plays() -> None:
    tune = note_array([(24 * beat, 20, 72, 80, MELODY) for beat in range(4 * BARS // 2)])  # and then it rests
    half = range(1, BARS // 2)
    band = note_array(
        sorted(
            [(bar * BAR + 2, 6, 36, 80, DRUMS) for bar in half if bar % 2]
            + [(bar * BAR, 20, 40, 80, BASS) for bar in half if not bar % 2]
            + [(bar * BAR + 24, 6, 38, 80, DRUMS) for bar in half]
        )
    )
    low, back = on_beats(charted(tune), band)
    # The bar after the tune's last note, and its second beat, still count: nobody plays there.
    assert low == pytest.approx(7 / 8)
    assert back == pytest.approx(7 / 15)
    assert on_beats(charted(tune), np.zeros(0, NOTE)) == (0.0, 0.0)
