"""models.charts: which stretches are played, the chart that is given, and the figures of an accompaniment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="models needs torch (pip install '.[train]')")

from models.corpus.pack import BEAT, Piece
from models.evaluation.charts import BARS, Charted, charted_of, figures, foreseen, spans_of, tune_figures
from models.evaluation.prompts import Listener, Prompt
from realtime.io.files.harmony import load_harmony
from realtime.music.chords import chord, root_of
from realtime.music.notes import NOTE, note_array
from realtime.music.tunes import TUNES
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY

BAR = 96
C, F, G7 = chord(0, "maj"), chord(5, "maj"), chord(7, "dom7")
TUNE = note_array([(24 * beat, 20, 72, 80, MELODY) for beat in range(4 * BARS)])


def charted(chords: list[int], tune: np.ndarray = TUNE, bass: list[int] | None = None) -> Charted:
    """`bass`: of each chord; None: its root."""
    lowest = [root_of(chord) for chord in chords] if bass is None else bass
    per_beat = (np.repeat(values, 4 * BARS // len(chords)).astype(np.uint8) for values in (chords, lowest))
    return Charted(Prompt("x", tune, BAR, 120.0, True), *per_beat)


def notes(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """(onset, duration, pitch, part)."""
    return note_array([(onset, duration, pitch, 80, part) for onset, duration, pitch, part in rows])


def test_the_chart_has_a_name_a_beat_where_the_bar_has_several_chords() -> None:
    made = charted([C, F, F, G7] * 8)  # two beats each
    assert [[symbol.name for symbol in bar] for bar in made.chart.bars[:2]] == [
        ["C", "C", "F", "F"],
        ["F", "F", "G7", "G7"],
    ]
    assert spans_of(made.chords)[:3] == [(0, 48, C), (48, 144, F), (144, 192, G7)]


def test_what_is_missed_what_is_lowest_and_what_is_in_the_chord() -> None:
    half = BARS * BAR // 2
    made = notes(
        (0, 48, 36, ACCOMPANIMENT), (12, 24, 64, ACCOMPANIMENT),  # C and E: there, on its root
        (half, 48, 41, ACCOMPANIMENT), (half + 48, 48, 77, ACCOMPANIMENT),  # nothing but F: missed
        (half, 500, 35, DRUMS),
    )  # fmt: skip
    found = figures(charted([C, F]), made)
    assert (found["missed"], found["lowest note is root"], found["in the chord"]) == (0.5, 1.0, 1.0)
    found = figures(charted([C, F]), notes((0, 30, 40, BASS), (0, 10, 61, ACCOMPANIMENT)))
    assert (found["missed"], found["lowest note is root"], found["in the chord"]) == (1.0, 0.0, 0.75)
    assert figures(charted([C, F]), np.zeros(0, NOTE))["missed"] == 1.0


def test_an_annotated_bass_is_on_the_chart_and_is_to_be_the_lowest_note() -> None:
    made = charted([C, C, F, F], bass=[0, 4, 5, 5])
    assert [[symbol.name for symbol in bar] for bar in made.chart.bars[::4]] == [["C"], ["C/E"], ["F"], ["F"]]
    quarter = BARS * BAR // 4
    under = notes(*((i * quarter, quarter, pitch, ACCOMPANIMENT) for i, pitch in enumerate((36, 40, 41, 45))))
    found = figures(made, under)
    assert found["lowest note is bass"] == 1.0, "C, E, and F is the lowest as long as this chord lasts"
    assert found["lowest note is root"] == 1.0, "of C that the chord began with, and of F"
    found = figures(
        charted([C, F], bass=[4, 9]), notes((0, 48, 36, ACCOMPANIMENT), (2 * quarter, 48, 45, ACCOMPANIMENT))
    )
    assert (found["lowest note is bass"], found["lowest note is root"]) == (0.5, 0.5)


def test_block_chords_for_a_tune_that_is_read_first() -> None:
    """Arpeggios leave no doubt: C for four bars, then F."""
    half = BARS * BAR // 2
    tune = note_array(
        [
            (24 * beat, 24, 60 + (0 if 24 * beat < half else 5) + (0, 4, 7, 12)[beat % 4], 80, MELODY)
            for beat in range(4 * BARS)
        ]
    )
    made = foreseen(load_harmony(), charted([C, F], tune))
    found = figures(charted([C, F], tune), made)
    assert (found["missed"], found["lowest note is root"], found["entry"]) == (0.0, 1.0, 0.0)
    assert found["in the chord"] > 0.9


def test_harsh_and_entry_are_of_the_tune() -> None:
    late = TUNE[TUNE["onset"] >= BAR].copy()  # C all the time
    under = notes((BAR + 36, 24, 48, ACCOMPANIMENT), (BAR + 60, 24, 59, ACCOMPANIMENT))  # C, then B
    found = figures(charted([C, F], late), under)
    assert found["entry"] == 1.5
    assert found["harsh"] == pytest.approx(20 / 40)  # the tune rests for four ticks in each beat
    assert figures(charted([C, F], late), notes((0, 48, 48, BASS)))["entry"] == 0.0  # it may begin before
    assert np.isnan(figures(charted([C, F]), np.zeros(0, NOTE))["entry"])


def test_tunes_with_a_known_key_are_accompanied_to_their_ends(tiny_model: Path) -> None:
    tune = next(each for each in TUNES if each.name == "Ode to Joy")
    found = tune_figures(Listener(tiny_model, seed=1).by_rules(), [tune])
    assert found == {"ends on tonic": 1.0, "entry": 0.0}


def test_chords_in_a_rest_of_the_tune_do_not_count() -> None:
    late = TUNE[TUNE["onset"] >= BARS * BAR // 2]
    made = notes((BARS * BAR // 2, 48, 41, ACCOMPANIMENT), (BARS * BAR // 2, 48, 57, ACCOMPANIMENT))
    assert figures(charted([C, F], late), made)["missed"] == 0.0


def test_the_stretch_is_the_first_whose_bars_and_chords_are_known() -> None:
    beats = np.array([(24 * i, 24, i % 4, BAR, 60, 0) for i in range(4 * (BARS + 3))], BEAT)
    tune = note_array([(24 * i, 20, 72, 80, MELODY) for i in range(len(beats))])
    under = note_array([(24 * i, 20, 48, 80, ACCOMPANIMENT) for i in range(len(beats))])
    piece = Piece("a", "pop909", "valid", np.sort(np.concatenate([tune, under]), order="onset"), beats)
    end = float(len(beats))
    found = charted_of(piece, [(4.0, 8.0, "C:maj"), (8.0, end, "G:7/B")])
    assert found is not None and found.chords.tolist() == [C] * 4 + [G7] * (4 * BARS - 4)
    assert found.bass.tolist() == [0] * 4 + [11] * (4 * BARS - 4)
    assert found.prompt.notes["onset"].max() < BARS * BAR
    assert charted_of(piece, [(40.0, end, "G:7")]) is None
    assert charted_of(piece, [(0.0, end, "C:5")]) is None
