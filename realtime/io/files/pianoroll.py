"""Music as a picture on one page: who played what, when, and under it what its bars are like.

matplotlib is imported only when something is drawn, and always draws with Agg and its own defaults: the same notes give
the same file, whatever the user's settings are.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from realtime.core.tempo import PPQN
from realtime.errors import counted
from realtime.io.files.midifile import FileNote
from realtime.io.files.whole import write_bytes
from realtime.music.attributes import ATTRIBUTES, SCALE
from realtime.music.keys import pitch_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#1b6ca8", "#e8590c", "#8a8a8a"  # blue and orange: told apart by every kind of colour vision
COLOURS = {
    "player": BLUE, "antiphon": ORANGE, "kept": BLUE, "new": ORANGE, "removed": GREY,
    "before": "#b0529a", "after": "#000000", "planned": "#009e73",
}  # fmt: skip
"""In a picture each colour means one thing: notes are blue, orange and grey, attributes purple, black and green."""
HEIGHTS = {"player": 0.92, "kept": 0.92, "antiphon": 0.68, "new": 0.68}  # in a unison both are to be seen
HOLLOW = "removed"
"""A voice that is no longer there: outlines only."""
INK, BAR, BEAT, ROW = "#333333", "#8a8a8a", "#dddddd", "#f2f2f4"
WHITE_KEYS = frozenset((0, 2, 4, 5, 7, 9, 11))

DPI = 100
WIDTH_IN, HEIGHT_IN, HEADER_IN, FOOTER_IN, GAP_IN = 16.0, 7.0, 0.85, 0.45, 0.5
SYSTEM_IN, PITCH_IN = 2.8, 0.095  # a line's height: at least so much, and so much for each pitch
BARS_A_SYSTEM, MAX_SYSTEMS = 8, 16
CURVE_IN = 0.36  # a line of attributes
MIN_PITCHES = 14
MARGIN_PITCHES = 1
LABEL_IN = 0.2
LETTER = 0.006
"""Of a line's width, what a letter of a label takes."""


class Curves(NamedTuple):
    """Attributes of cells (`realtime.music.attributes`): `edges` in pulses (C + 1,), and (C, 5) under each name, such
    as "before",
    "after" and "planned"; nan where there are none."""

    edges: Sequence[int]
    lines: Mapping[str, np.ndarray]


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
    """matplotlib, imported in this context, leaves no list of this computer's fonts in the user's home."""
    if "MPLCONFIGDIR" in os.environ:  # the user says where
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            del os.environ["MPLCONFIGDIR"]


def draw(
    path: Path,
    voices: Mapping[str, Sequence[FileNote]],
    starts: Sequence[int],
    title: str,
    facts: str,
    first_number: int = 1,
    curves: Curves | None = None,
    labels: Sequence[tuple[int, str]] = (),
) -> None:
    """Write a PNG of any bars, eight to a line; darker is louder. voices: by name, see `COLOURS`; starts: of the bars and the
    end of the last, in pulses; `first_number`: of the first bar; `curves`: drawn under each line; `labels`: (pulse, text) above
    each line, chords for example. Raises UserError."""
    with _nothing_kept():
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    bars = len(starts) - 1
    per_system = max(min(bars, BARS_A_SYSTEM), math.ceil(bars / MAX_SYSTEMS))
    systems = math.ceil(bars / per_system)
    longest = max(starts[min(first + per_system, bars)] - starts[first] for first in range(0, bars, per_system))
    low, high = _pitch_range([note.pitch for notes in voices.values() for note in notes])

    roll_height = max(SYSTEM_IN, PITCH_IN * (high - low + 1))
    lines = len(ATTRIBUTES) if curves else 0
    system_height = roll_height + lines * CURVE_IN
    header = HEADER_IN + (LABEL_IN if labels else 0)
    height = max(HEIGHT_IN, header + FOOTER_IN + systems * (system_height + GAP_IN) - GAP_IN)
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(
            systems,
            1,
            left=0.06 if curves else 0.045,
            right=0.985,
            top=1 - header / height,
            bottom=FOOTER_IN / height,
            hspace=GAP_IN / system_height,
        )
        for index in range(systems):
            rows = grid[index].subgridspec(1 + lines, 1, height_ratios=[roll_height, *[CURVE_IN] * lines], hspace=0.12)
            axes = figure.add_subplot(rows[0])
            first = index * per_system
            shown = starts[first : first + per_system + 1]
            _paper(axes, shown, first_number + first, longest, low, high)
            for who, notes in voices.items():
                _notes(axes, notes, who)
            _labels(axes, [label for label in labels if shown[0] <= label[0] < shown[-1]], high)
            if curves:
                axes.tick_params(labelbottom=False)
                under = [figure.add_subplot(rows[1 + line], sharex=axes) for line in range(lines)]
                _curves(under, curves, shown, first_number + first)
        _header(figure, height, title, facts, voices, curves)
        # Without the version of matplotlib in it, the file depends on the notes alone.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def _labels(axes: Axes, labels: Sequence[tuple[int, str]], high: int) -> None:
    """Texts above the rows, each from its pulse on; one that would lie on the one before it is left out."""
    left, right = axes.get_xlim()
    free = left
    for pulse, text in labels:
        if pulse >= free:
            axes.text(pulse, high + 0.7, text, fontsize=10, color=INK, va="bottom", ha="left")
            free = pulse + (right - left) * LETTER * (len(text) + 1)


def _pitch_range(pitches: list[int]) -> tuple[int, int]:
    """The pitches shown, both ends included: those used and a margin, never less than about an octave."""
    low, high = (min(pitches), max(pitches)) if pitches else (60, 72)
    low, high = low - MARGIN_PITCHES, high + MARGIN_PITCHES
    missing = max(0, MIN_PITCHES - (high - low + 1))
    return max(0, low - missing // 2), min(127, high + (missing + 1) // 2)


def _paper(axes: Axes, starts: Sequence[int], number: int, longest: int, low: int, high: int) -> None:
    """Rows for the pitches, lines for bars and beats, and their names. starts: of a line's bars and the end of the last;
    `longest`: pulses a line has room for."""
    share = (starts[-1] - starts[0]) / longest
    for pitch in range(low, high + 1):
        if pitch % 12 not in WHITE_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, xmax=share, color=ROW, linewidth=0, zorder=0)
    beats = [beat for start, end in pairwise(starts) for beat in range(start + PPQN, end, PPQN)]
    axes.vlines(beats, low - 0.5, high + 0.5, color=BEAT, linewidth=0.7, zorder=2)
    axes.vlines(starts, low - 0.5, high + 0.5, color=BAR, linewidth=1.1, zorder=2)
    axes.set_xlim(starts[0], starts[0] + longest)
    axes.set_ylim(low - 0.5, high + 0.5)
    _number(axes, starts, number)
    named = WHITE_KEYS if high - low < 26 else frozenset((0, 7)) if high - low < 50 else frozenset((0,))
    ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 in named]
    axes.set_yticks(ticks, [pitch_name(pitch) for pitch in ticks])
    for label, pitch in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set(fontsize=9, color=INK, fontweight="bold" if pitch % 12 == 0 else "normal")
    axes.tick_params(length=0, pad=4)
    for side in axes.spines.values():
        side.set_visible(False)


def _number(axes: Axes, starts: Sequence[int], number: int) -> None:
    """The bars' numbers under them."""
    axes.set_xticks(starts[:-1], [str(number + index) for index in range(len(starts) - 1)])
    for label in axes.get_xticklabels():
        label.set(ha="left", fontsize=10, color=INK)


def _curves(under: Sequence[Axes], curves: Curves, starts: Sequence[int], number: int) -> None:
    """A row an attribute, a step a cell; no less than two units of `SCALE` high, so that a small change looks small."""
    for index, (axes, name) in enumerate(zip(under, ATTRIBUTES, strict=True)):
        for who, values in curves.lines.items():
            # Each value lasts to the next edge, the last one too.
            steps = np.append(values[:, index], values[-1:, index])
            axes.step(
                curves.edges, steps, where="post", color=COLOURS[who], linewidth=1.6,
                linestyle=(0, (2, 1)) if who == "planned" else "-",
            )  # fmt: skip
        every = np.concatenate([values[:, index] for values in curves.lines.values()])
        every = every[np.isfinite(every)]
        middle = (every.min() + every.max()) / 2 if len(every) else 0.0
        half = 1.15 * max(np.ptp(every) / 2 if len(every) else 0.0, float(SCALE[index]))
        axes.set_ylim(middle - half, middle + half)
        axes.vlines(starts, middle - half, middle + half, color=BEAT, linewidth=0.7, zorder=0)
        axes.set_yticks([middle], [name])
        axes.get_yticklabels()[0].set(fontsize=9, color=INK)
        _number(axes, starts, number)
        axes.tick_params(length=0, pad=4, labelbottom=axes is under[-1])
        for side in axes.spines.values():
            side.set_visible(False)


def _notes(axes: Axes, notes: Sequence[FileNote], who: str) -> None:
    """One rectangle a note: its colour on white, the louder the more opaque. Lines and other notes do not shine through."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    left, right = axes.get_xlim()
    half = HEIGHTS.get(who, 0.92) / 2
    corners, faces = [], []
    for note in notes:
        start, end = note.onset_pulse, note.onset_pulse + note.duration_pulse
        if end <= left or start >= right:
            continue
        shown_end = max(start + (right - left) / 500, end - (right - left) / 1500)  # short: visible; repeated: apart
        corners.append(
            [(x, note.pitch + y) for x, y in ((start, -half), (shown_end, -half), (shown_end, half), (start, half))]
        )
        opacity = 0.25 + 0.75 * note.velocity / 127
        faces.append([1 - opacity * (1 - channel) * (who != HOLLOW) for channel in to_rgb(COLOURS[who])])
    if corners:
        axes.add_collection(
            PolyCollection(corners, facecolors=faces, edgecolors=COLOURS[who], linewidths=0.8, zorder=3)
        )


def _header(
    figure: Any, height: float, title: str, facts: str, voices: Mapping[str, Sequence[FileNote]], curves: Curves | None
) -> None:
    """Title, tempo and metre on the left, who is who on the right."""
    from matplotlib.patches import Patch

    figure.text(0.045, 1 - 0.36 / height, title, fontsize=16, fontweight="bold", color=INK, va="center")
    figure.text(0.045, 1 - 0.66 / height, f"{facts}; darker is louder", fontsize=10, color=INK, va="center")
    patches = [
        Patch(color=COLOURS[who], label=f"{who}: {counted(len(notes), 'note')}") for who, notes in voices.items()
    ]
    patches += [Patch(color=COLOURS[who], label=who) for who in (curves.lines if curves else ()) if who not in voices]
    figure.legend(
        handles=patches,
        loc="upper right",
        bbox_to_anchor=(0.985, 1 - 0.2 / height),
        ncols=len(patches),
        frameon=False,
        fontsize=12,
    )
