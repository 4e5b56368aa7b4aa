"""A duet as a picture: who played what, when, on one page.

matplotlib is imported only when something is drawn, and always draws with Agg and its own defaults: the same notes give
the same file, whatever the user's settings are.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.io.midifile import FileNote, write_bytes
from realtime.tempo import PPQN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Turn = tuple[int, int, str]  # (first pulse, pulse after the last, "player" or "antiphon")

COLOURS = {"player": "#1b6ca8", "antiphon": "#e8590c"}  # blue and orange: told apart by every kind of colour vision
HEIGHTS = {"player": 0.92, "antiphon": 0.68}  # in a unison both are to be seen
INK, BAR, BEAT, ROW = "#333333", "#8a8a8a", "#dddddd", "#f2f2f4"
NOTE_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
WHITE_KEYS = frozenset((0, 2, 4, 5, 7, 9, 11))

DPI = 100
WIDTH_IN, HEIGHT_IN, HEADER_IN, FOOTER_IN, GAP_IN = 16.0, 7.0, 0.85, 0.45, 0.5
SYSTEM_IN, PITCH_IN = 2.8, 0.095  # a line's height: at least so much, and so much for each pitch
BARS_A_SYSTEM, MAX_SYSTEMS = 8, 16
MIN_PITCHES = 14
MARGIN_PITCHES = 1


def draw(
    path: Path,
    player_notes: Sequence[FileNote],
    antiphon_notes: Sequence[FileNote],
    bars: int,
    beats_per_bar: int,
    tempo_bpm: float,
    title: str,
    turns: Sequence[Turn] | None = None,
) -> None:
    """Write a PNG of `bars` bars (more where notes go on), eight to a line; darker is louder. Raises UserError."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    voices = {"player": player_notes, "antiphon": antiphon_notes}
    bar = beats_per_bar * PPQN
    last = max((note.onset_pulse for notes in voices.values() for note in notes), default=0)
    bars = max(1, bars, last // bar + 1)
    per_system = max(min(bars, BARS_A_SYSTEM), math.ceil(bars / MAX_SYSTEMS))
    systems = math.ceil(bars / per_system)
    low, high = _pitch_range([note.pitch for notes in voices.values() for note in notes])

    system_height = max(SYSTEM_IN, PITCH_IN * (high - low + 1))
    height = max(HEIGHT_IN, HEADER_IN + FOOTER_IN + systems * (system_height + GAP_IN) - GAP_IN)
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        figure.subplots_adjust(
            left=0.045,
            right=0.985,
            top=1 - HEADER_IN / height,
            bottom=FOOTER_IN / height,
            hspace=GAP_IN / system_height,
        )
        for index in range(systems):
            axes = figure.add_subplot(systems, 1, index + 1)
            first_bar = index * per_system
            _paper(axes, first_bar, min(first_bar + per_system, bars), first_bar + per_system, beats_per_bar, low, high)
            for start, end, who in turns or ():
                axes.axvspan(start, min(end, bars * bar), color=COLOURS[who], alpha=0.08, linewidth=0, zorder=1)
            for who, notes in voices.items():
                _notes(axes, notes, who)
        _header(figure, height, title, voices, tempo_bpm, beats_per_bar)
        # Without the version of matplotlib in it, the file depends on the notes alone.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def note_name(pitch: int) -> str:
    """60 -> "C4"."""
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"


def _pitch_range(pitches: list[int]) -> tuple[int, int]:
    """The pitches shown, both ends included: those used and a margin, never less than about an octave."""
    low, high = (min(pitches), max(pitches)) if pitches else (60, 72)
    low, high = low - MARGIN_PITCHES, high + MARGIN_PITCHES
    missing = max(0, MIN_PITCHES - (high - low + 1))
    return max(0, low - missing // 2), min(127, high + (missing + 1) // 2)


def _paper(axes: Axes, first: int, end: int, full_end: int, beats_per_bar: int, low: int, high: int) -> None:
    """Rows for the pitches, lines for bars and beats, and their names, bars first..end-1 of a line with room to full_end."""
    bar = beats_per_bar * PPQN
    for pitch in range(low, high + 1):
        if pitch % 12 not in WHITE_KEYS:
            axes.axhspan(
                pitch - 0.5, pitch + 0.5, xmax=(end - first) / (full_end - first), color=ROW, linewidth=0, zorder=0
            )
    for beat in range(first * beats_per_bar, end * beats_per_bar + 1):
        on_bar = beat % beats_per_bar == 0
        axes.vlines(
            beat * PPQN, low - 0.5, high + 0.5,
            color=BAR if on_bar else BEAT, linewidth=1.1 if on_bar else 0.7, zorder=2,
        )  # fmt: skip
    axes.set_xlim(first * bar, full_end * bar)
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.set_xticks([number * bar for number in range(first, end)], [str(number + 1) for number in range(first, end)])
    for label in axes.get_xticklabels():
        label.set(ha="left", fontsize=10, color=INK)
    named = WHITE_KEYS if high - low < 26 else frozenset((0, 7)) if high - low < 50 else frozenset((0,))
    ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 in named]
    axes.set_yticks(ticks, [note_name(pitch) for pitch in ticks])
    for label, pitch in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set(fontsize=9, color=INK, fontweight="bold" if pitch % 12 == 0 else "normal")
    axes.tick_params(length=0, pad=4)
    for side in axes.spines.values():
        side.set_visible(False)


def _notes(axes: Axes, notes: Sequence[FileNote], who: str) -> None:
    """One rectangle a note: its colour on white, the louder the more opaque. Lines and other notes do not shine through."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    left, right = axes.get_xlim()
    half = HEIGHTS[who] / 2
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
        faces.append([1 - opacity * (1 - channel) for channel in to_rgb(COLOURS[who])])
    if corners:
        axes.add_collection(
            PolyCollection(corners, facecolors=faces, edgecolors=COLOURS[who], linewidths=0.8, zorder=3)
        )


def _header(
    figure: Any, height: float, title: str, voices: dict[str, Sequence[FileNote]], tempo_bpm: float, beats_per_bar: int
) -> None:
    """Title, tempo and metre on the left, who is who on the right."""
    from matplotlib.patches import Patch

    figure.text(0.045, 1 - 0.36 / height, title, fontsize=16, fontweight="bold", color=INK, va="center")
    facts = f"{tempo_bpm:.4g} BPM, {beats_per_bar}/4; darker is louder"
    figure.text(0.045, 1 - 0.66 / height, facts, fontsize=10, color=INK, va="center")
    patches = [Patch(color=COLOURS[who], label=f"{who}: {len(notes)} notes") for who, notes in voices.items()]
    figure.legend(
        handles=patches,
        loc="upper right",
        bbox_to_anchor=(0.985, 1 - 0.2 / height),
        ncols=2,
        frameon=False,
        fontsize=12,
    )
