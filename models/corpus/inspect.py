"""Looking at a pack: its pieces as a list, its sources in figures, one piece as a piano roll."""

from __future__ import annotations

import difflib
import io
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from realtime.errors import UserError
from realtime.io.files.pianoroll import BAR, BEAT, INK, ROW, WHITE_KEYS
from realtime.io.files.whole import write_bytes
from realtime.music.keys import pitch_name
from realtime.music.metre import TICKS
from realtime.music.vocabulary import DRUMS, PART_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from models.corpus.pack import Pack, Piece

COLOURS = ("#d1495b", "#30638e", "#2e933c", "#4a4a4a", "#b58900")
"""Of the parts, in the order of `PART_NAMES`: told apart by hue and by lightness."""
HALF_HEIGHTS = (0.2, 0.3, 0.48, 0.48, 0.4)  # in a unison every part is to be seen
BARS_A_SYSTEM, MAX_SYSTEMS = 8, 12
WIDTH_IN, HEADER_IN, FOOTER_IN, GAP_IN, PITCH_IN, MIN_SYSTEM_IN = 16.0, 0.9, 0.35, 0.4, 0.065, 1.2
DPI = 100


def piece_of(pack: Pack, name: str) -> Piece:
    """The piece of this id. Raises `UserError` with the nearest ids where there is none."""
    ids = [row["id"] for row in pack.table]
    if name in ids:
        return pack[ids.index(name)]
    near = [i for i in ids if name in i][:3] or difflib.get_close_matches(name, ids, 3, 0.5)
    hint = f"the nearest are {', '.join(near)}" if near else "--list names them all"
    other = pack.duplicates.get(name) or pack.skipped.get(name)
    raise UserError(f"{name}: no such piece" + (f" ({other})" if other else "") + f"; {hint}")


def parts_of(notes: np.ndarray) -> list[float]:
    """The share of the notes that each part has."""
    return [float(x) for x in np.bincount(notes["part"], minlength=len(PART_NAMES)) / max(len(notes), 1)]


def listing(pack: Pack) -> Table:
    """A line a piece: id, source, split, notes, bars, and each part's share of the notes."""
    table = Table("id", "source", "split", box=None)
    table.columns[0].overflow = "fold"
    for name in ("notes", "bars", *PART_NAMES):
        table.add_column(name, justify="right")
    for i, row in enumerate(pack.table):
        notes = pack[i].notes
        shares = [f"{share:.0%}" if share else "" for share in parts_of(notes)]
        table.add_row(row["id"], row["source"], row["split"], str(len(notes)), str(row["bars"]), *shares)
    return table


def bpm_of(tempo: np.ndarray) -> np.ndarray:
    """The middle of each tempo class in beats per minute (see `vocabulary.tempo_bin`)."""
    return 30.0 * 2.0 ** ((tempo + 0.5) / 4)


def tempo_name(lowest: float, highest: float) -> str:
    """From where the one class begins to where the other ends: a pack keeps no more of a tempo than its class."""
    return f"{30 * 2 ** (lowest / 4):.0f} to {30 * 2 ** ((highest + 1) / 4):.0f}"


def metre_name(bar_ticks: int, compound: bool) -> str:
    """Of a bar's length in ticks, and whether its metre is compound."""
    quarters = bar_ticks / TICKS
    return f"{quarters:.0f}/4" if quarters.is_integer() and not compound else f"{bar_ticks / (TICKS / 2):.3g}/8"


def figures(pack: Pack) -> RenderableType:
    """Each source and split: pieces, notes, bars, hours (by the tempo classes), parts, notes a beat, tempo, metres."""
    groups: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(pack.table):
        groups.setdefault((row["source"], row["split"]), []).append(i)
    size, music = Table("source", "split", box=None), Table("source", "split", box=None)
    for name in ("pieces", "notes", "bars", "hours", *PART_NAMES):
        size.add_column(name, justify="right")
    for name in ("notes a beat", "tempo class (BPM)"):
        music.add_column(name, justify="right")
    music.add_column("metres (share of bars)")
    for group in sorted(groups):
        pieces = [pack[i] for i in groups[group]]
        notes, beats = np.concatenate([p.notes for p in pieces]), np.concatenate([p.beats for p in pieces])
        bars = sum(pack.table[i]["bars"] for i in groups[group])
        bpm = bpm_of(beats["tempo"])
        hours = float((beats["length"] / TICKS / bpm).sum() / 60)
        shares = [f"{share:.0%}" if share else "" for share in parts_of(notes)]
        size.add_row(*group, str(len(pieces)), str(len(notes)), str(bars), f"{hours:.1f}", *shares)
        tempo = tempo_name(*np.percentile(beats["tempo"], (5, 95), method="nearest"))
        metres = Counter(beats[["bar_ticks", "compound"]][beats["index"] == 0].tolist())
        common = ", ".join(f"{metre_name(*metre)} {n / bars:.0%}" for metre, n in metres.most_common(3))
        music.add_row(*group, f"{len(notes) / len(beats):.1f}", tempo, common)
    return Group(size, "", music, "", summary(pack))


def summary(pack: Pack) -> str:
    """One line: how much is in it, what was left out."""
    torn = f", {len(pack.torn)} compositions in several published splits" if pack.torn else ""
    return (
        f"{len(pack)} pieces, {len(pack.notes)} notes, {len(pack.duplicates)} duplicates, {len(pack.skipped)} skipped"
        f"{torn}; pack {pack.hash}"
    )


def draw(path: Path, piece: Piece) -> None:
    """Write a PNG: its parts in colours, a line of the page for some bars, drums below. Raises `UserError`."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    notes, beats = piece.notes, piece.beats
    end = int(beats["start"][-1]) + int(beats["length"][-1])
    bars = sorted({int(beats["start"][0]), *map(int, piece.bar_starts)})  # a pick-up is a bar of its own
    per_system = max(BARS_A_SYSTEM, math.ceil(len(bars) / MAX_SYSTEMS))
    firsts = range(0, len(bars), per_system)
    spans = [(bars[i], bars[i + per_system] if i + per_system < len(bars) else end) for i in firsts]
    heights = height_of(notes)
    low, high = int(heights.min()) - 1, int(heights.max()) + 1
    system = max(MIN_SYSTEM_IN, PITCH_IN * (high - low + 1))
    height = HEADER_IN + FOOTER_IN + len(spans) * (system + GAP_IN) - GAP_IN
    buffer = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=(WIDTH_IN, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        figure.subplots_adjust(
            left=0.04, right=0.99, top=1 - HEADER_IN / height, bottom=FOOTER_IN / height, hspace=GAP_IN / system
        )
        widest = max(b - a for a, b in spans)
        upbeat = int(beats["index"][0] != 0)
        for i, (start, stop) in enumerate(spans):
            axes = figure.add_subplot(len(spans), 1, i + 1)
            axes.set_xlim(start, start + widest)
            axes.set_ylim(low - 0.5, high + 0.5)
            _paper(axes, beats, notes, bars, upbeat, (start, stop), (low, high))
            _notes(axes, notes, heights, (start, stop))
        figure.text(0.04, 1 - 0.35 / height, piece.id, fontsize=15, fontweight="bold", color=INK, va="center")
        tempo = f"{tempo_name(beats['tempo'].min(), beats['tempo'].max())} BPM"
        facts = f"{piece.source}, {piece.split}; {len(piece.bar_starts)} bars, {tempo}; darker is louder"
        figure.text(0.04, 1 - 0.62 / height, facts, fontsize=10, color=INK, va="center")
        count = np.bincount(notes["part"], minlength=len(PART_NAMES))
        figure.legend(
            handles=[Patch(color=COLOURS[p], label=f"{PART_NAMES[p]}: {count[p]}") for p in np.flatnonzero(count)],
            loc="upper right", bbox_to_anchor=(0.99, 1 - 0.15 / height), ncols=5, frameon=False, fontsize=11,
        )  # fmt: skip
        figure.savefig(buffer, format="png", metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def height_of(notes: np.ndarray) -> np.ndarray:
    """Where each note is drawn: at its pitch, and the drum sounds one below the other under the lowest."""
    drums = notes["part"] == DRUMS
    heights = notes["pitch"].astype(int)
    sounds = np.unique(heights[drums])
    floor = int(heights[~drums].min()) - 2 if not drums.all() else 60
    heights[drums] = floor - len(sounds) + np.searchsorted(sounds, heights[drums])
    return heights


def _paper(
    axes: Axes, beats: np.ndarray, notes: np.ndarray, bars: list[int], upbeat: int, span: tuple[int, int],
    range_: tuple[int, int],
) -> None:  # fmt: skip
    """Black keys' rows, bar and beat lines, their names, on a line of the page over ticks `span`."""
    (start, stop), (low, high) = span, range_
    pitched = notes["pitch"][notes["part"] != DRUMS]
    lowest = int(pitched.min()) - 1 if len(pitched) else high + 1
    share = (stop - start) / (axes.get_xlim()[1] - start)
    for pitch in range(lowest, high + 1):
        if pitch % 12 not in WHITE_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, xmax=share, color=ROW, linewidth=0, zorder=0)
    inside = [int(b) for b in beats["start"] if start <= b < stop]
    axes.vlines(inside, low - 0.5, high + 0.5, color=BEAT, linewidth=0.5, zorder=1)
    lines = [bar for bar in bars if start <= bar < stop]
    axes.vlines([*lines, stop], low - 0.5, high + 0.5, color=BAR, linewidth=1.0, zorder=2)
    numbers = [bars.index(bar) + 1 - upbeat for bar in lines]
    axes.set_xticks(lines, [str(n) if n else "" for n in numbers], fontsize=8, color=INK, ha="left")
    octaves = [pitch for pitch in range(lowest, high + 1) if pitch % 12 == 0]
    ticks = [(pitch, pitch_name(pitch)) for pitch in octaves]
    if (notes["part"] == DRUMS).any():
        ticks.insert(0, ((low + min(lowest, high)) // 2, "drums"))
    axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks], fontsize=8, color=INK)
    axes.tick_params(length=0, pad=3)
    for side in axes.spines.values():
        side.set_visible(False)


def _notes(axes: Axes, notes: np.ndarray, heights: np.ndarray, span: tuple[int, int]) -> None:
    """A rectangle a note, in its part's colour on white, the louder the darker; the melody lies on top."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb

    (start, stop), hair = span, (axes.get_xlim()[1] - span[0]) / 600
    for part in reversed(range(len(PART_NAMES))):
        chosen, half = notes["part"] == part, HALF_HEIGHTS[part]
        corners: list[Any] = []
        faces = []
        for note, y in zip(notes[chosen], heights[chosen], strict=True):
            x0, x1 = int(note["onset"]), int(note["onset"]) + (6 if part == DRUMS else int(note["duration"]))
            x1 = min(max(x1 - hair / 2, x0 + hair), stop)
            if x1 > start and x0 < stop:
                x0 = max(x0, start)
                corners.append([(x0, y - half), (x1, y - half), (x1, y + half), (x0, y + half)])
                strength = 0.4 + 0.6 * int(note["velocity"]) / 127
                faces.append([1 - strength * (1 - channel) for channel in to_rgb(COLOURS[part])])
        if corners:
            axes.add_collection(
                PolyCollection(corners, facecolors=faces, linewidths=0, zorder=3 + len(PART_NAMES) - part)
            )
