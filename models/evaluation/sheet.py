"""What was played, to look at: many piano rolls on one page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.evaluation.prompts import BARS, SHORT_BARS, Played, Prompt
from realtime.io.files.pianoroll import BAR, COLOURS, INK
from realtime.io.files.whole import write_bytes
from realtime.music.keys import pitch_name
from realtime.music.vocabulary import DRUMS, MELODY

COLUMN_IN, ROW_IN, LEFT_IN, TOP_IN = 5.2, 1.35, 0.5, 0.5
DPI = 80
REAL = ("#1a1a1a", "#999999")  # the tune, and what goes with it
MIN_PITCHES = 24


class Roll(NamedTuple):
    """One picture: notes as (notes, colour) layers (`music.NOTE`), its length and its bars' in ticks, and what it is called."""

    layers: list[tuple[np.ndarray, str]]
    ticks: int
    bar_ticks: int
    title: str


PLAYER, ANTIPHON = COLOURS["player"], COLOURS["antiphon"]


def draw(path: Path, rows: Sequence[Sequence[Roll | None]]) -> None:
    """Write a PNG: a row a piece, all rolls of a row with one pitch scale. Raises `UserError` where it cannot be written."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    width, height = LEFT_IN + columns * COLUMN_IN, TOP_IN + len(rows) * ROW_IN
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        for r, row in enumerate(rows):
            pitches = np.concatenate([notes["pitch"] for roll in row if roll for notes, _ in roll.layers])
            low, high = (int(pitches.min()), int(pitches.max())) if len(pitches) else (60, 60)
            room = max(MIN_PITCHES - (high - low), 0) / 2
            for c, roll in enumerate(row):
                if roll is None:
                    continue
                left, bottom = LEFT_IN + c * COLUMN_IN, height - TOP_IN - (r + 1) * ROW_IN
                axes = figure.add_axes(
                    (left / width, bottom / height, (COLUMN_IN - 0.15) / width, (ROW_IN - 0.28) / height)
                )
                axes.set_xlim(0, roll.ticks)
                axes.set_ylim(low - 1.5 - room, high + 1.5 + room)
                axes.vlines(np.arange(0, roll.ticks, roll.bar_ticks), *axes.get_ylim(), color=BAR, linewidth=0.5)
                for notes, colour in roll.layers:
                    for note in notes:
                        shown = max(int(note["duration"]) - 1, 1)
                        box = [(int(note["onset"]), shown)]
                        axes.broken_barh(box, (note["pitch"] - 0.4, 0.8), color=colour, linewidth=0)
                octaves = range(-(-low // 12) * 12, high + 1, 12)
                axes.set_yticks(list(octaves), [pitch_name(pitch) for pitch in octaves] if c == 0 else [], fontsize=7)
                axes.set_xticks([])
                axes.tick_params(length=0, pad=2)
                axes.set_title(roll.title, fontsize=8, loc="left", pad=2, color=INK)
                for side in axes.spines.values():
                    side.set_visible(False)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def rolls(prompt: Prompt, played: dict[str, Played], kinds: Sequence[str]) -> list[Roll | None]:
    """A row of the sheet: the real music, and what there is of the performances of these kinds."""
    pitched = prompt.notes[prompt.notes["part"] != DRUMS]
    tune = pitched["part"] == MELODY
    row: list[Roll | None] = [
        Roll(
            [(pitched[~tune], REAL[1]), (pitched[tune], REAL[0])], BARS * prompt.bar, prompt.bar, f"{prompt.name}: real"
        )
    ]
    for kind in kinds:
        if kind not in played:
            row.append(None)
            continue
        bars = BARS if kind in ("continuation", "composition") else SHORT_BARS
        row.append(duet_roll(played[kind].player, played[kind].antiphon, bars * prompt.bar, prompt.bar, kind))
    return row


def duet_roll(player: np.ndarray, antiphon: np.ndarray, ticks: int, bar_ticks: int, kind: str) -> Roll:
    """What both played, without drums; an accompaniment lies below the tune."""
    layers = [(notes[notes["part"] != DRUMS], colour) for notes, colour in ((player, PLAYER), (antiphon, ANTIPHON))]
    return Roll(layers[::-1] if "accomp" in kind else layers, ticks, bar_ticks, kind)
