"""What `models.ablation.decoder` found, as tables and a plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from models.ablation.decoder_figures import CONDITIONS, REPEATED, conditions_of, load, scores_of, summarise
from models.nets.checkpoint import save_json

BY_ROLE = ("clean", "live")
PLOTTED = {
    "clean": ("clean", "tab:blue", -0.2),
    "live": ("live player", "tab:orange", 0.0),
    "again": ("repeats", "tab:green", 0.2),
}
"""Conditions of the plot: label, colour, and how far from the middle of the line."""


def told(score: dict[str, float], is_base: bool = False) -> list[str]:
    """Two cells: nats a note, and the difference from the base."""
    difference = "" if is_base else f"{score['difference']:+.3f} ({score['low']:+.3f} to {score['high']:+.3f})"
    return [f"{score['nats_per_note']:.3f}", difference]


def cells(name: str, row: dict[str, Any], is_base: bool) -> list[str]:
    """One line of the table."""
    out = [name, row["what"], f"{row['parameters'] / 1e3:.0f} k"]
    for condition in BY_ROLE:
        out += told(row["scores"][condition]["all"], is_base)
    return [*out, str(row["events_per_second"]), str(row["step_us"])]


HEADINGS = [
    "variant",
    "what",
    "parameters",
    "clean",
    "against the base",
    "live player",
    "against the base",
    "events/s",
    "us/event",
]


def role_cells(name: str, row: dict[str, Any], is_base: bool) -> list[str]:
    """One line of the table by role."""
    found = [row["scores"][condition][role] for condition in BY_ROLE for role in CONDITIONS[condition]]
    return [name, *(f"{s['nats_per_note']:.3f}" if is_base else f"{s['difference']:+.3f}" for s in found)]


ROLE_HEADINGS = ["variant", *(f"{role}, {condition}" for condition in BY_ROLE for role in CONDITIONS[condition])]


def recall_cells(name: str, row: dict[str, Any], is_base: bool) -> list[str]:
    """One line of the table of openings and repeats."""
    scores = row["scores"]
    out = [name, *told(scores["opening"]["all"], is_base)]
    if "again" in scores:
        ratios = [scores["again"][kind]["over_first"] for kind in REPEATED]
        out += [f"{r['ratio']:.2f} ({r['low']:.2f} to {r['high']:.2f})" for r in ratios]
        out += told(scores["again"]["all"], is_base)
    return out


RECALL_HEADINGS = [
    "variant",
    "from the start",
    "against the base",
    *(f"{kind.split('_')[0]}, after {kind.split('_')[1]} bars" for kind in REPEATED),
    "repeats",
    "against the base",
]


def chord_cells(name: str, row: dict[str, Any], is_base: bool) -> list[str]:
    """One line of the table of chords: notes, chords, both."""
    clean = row["scores"]["clean"]["all"]
    both = clean["with_chords"]
    of_chords = both["nats_per_note"] - clean["nats_per_note"]
    return [name, f"{clean['nats_per_note']:.3f}", f"{of_chords:.3f}", *told(both, is_base)]


CHORD_HEADINGS = ["variant", "notes", "chords", "both", "against the base"]


def pair_scores(
    found: dict[str, list[dict[str, Any]]], pairs: tuple[tuple[str, str], ...]
) -> dict[str, dict[str, Any]]:
    """How much more the first of a pair needs than the second, in each condition, where both are there."""
    conditions = conditions_of(found)
    return {
        f"{one} less {other}": scores_of(found[one], found[other], conditions)
        for one, other in pairs
        if one in found and other in found
    }


def markdown(headings: list[str], lines: list[list[str]]) -> str:
    """A table in markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, ["---"] * len(headings), *lines])


def report(folder: Path, names: list[str], setting: dict[str, Any], pairs: tuple[tuple[str, str], ...] = ()) -> Table:
    """Write results.json, results.md and results.png of all results in `folder`; returns the table for the terminal. `pairs`: of
    variants whose difference is told too."""
    found = load(folder, names)
    table = summarise(found)
    base = next(iter(table))
    compared = pair_scores(found, pairs)
    save_json(folder / "results.json", {"setting": setting, "base": base, "variants": table, "pairs": compared})
    (folder / "results.md").write_text(text_of(table, base, compared))
    plot(table, base, folder / "results.png")
    shown = Table(*[heading for heading in HEADINGS if heading != "what"], title="Nats per note")
    for name, row in table.items():
        first, _, *line = cells(name, row, name == base)
        shown.add_row(first, *line)
    return shown


def text_of(table: dict[str, dict[str, Any]], base: str, compared: dict[str, dict[str, Any]]) -> str:
    """All tables in markdown; `compared`: of pairs."""

    def lines(cells_of: Callable[[str, dict[str, Any], bool], list[str]]) -> list[list[str]]:
        return [cells_of(name, row, name == base) for name, row in table.items()]

    recalled = lines(recall_cells)
    parts = [
        "Nats per note, and their difference from the base (less is better).",
        markdown(HEADINGS, lines(cells)),
        "By role; below the base, differences from it.",
        markdown(ROLE_HEADINGS, lines(role_cells)),
        "Pieces from their start, nats a note; four bars that come again: nats of the repeat over those of the first time, "
        "and the repeat's nats a note.",
        markdown(RECALL_HEADINGS[: len(recalled[0])], recalled),
    ]
    if any(line[2] != "0.000" for line in lines(chord_cells)):
        parts += [
            "Clean windows: notes with their chords given, the chords, and both, in nats a note.",
            markdown(CHORD_HEADINGS, lines(chord_cells)),
        ]
    if compared:
        conditions = list(table[base]["scores"])
        differences = [[name, *(told(s[c]["all"])[1] for c in conditions)] for name, s in compared.items()]
        parts += ["Pairs, nats a note.", markdown(["pair", *conditions], differences)]
    return "\n\n".join(parts) + "\n"


def plot(table: dict[str, dict[str, Any]], base: str, path: Path) -> None:
    """Differences from the base with their intervals, by group, and learning curves."""
    from matplotlib.figure import Figure

    figure = Figure((12, max(4.0, 1 + 0.3 * len(table))), layout="constrained")
    differences, curves = figure.subplots(1, 2, width_ratios=(3, 2))
    groups = list(dict.fromkeys(row["group"] for row in table.values()))
    shown = [name for group in groups for name, row in table.items() if row["group"] == group and name != base]
    for condition, (label, colour, offset) in PLOTTED.items():
        if condition not in table[base]["scores"]:
            continue
        s = [table[name]["scores"][condition]["all"] for name in shown]
        at = np.arange(len(shown)) + offset
        x = np.array([[v["difference"], v["low"], v["high"]] for v in s]).reshape(-1, 3)
        differences.hlines(at, x[:, 1], x[:, 2], color=colour)
        differences.plot(x[:, 0], at, "o", color=colour, label=label)
    differences.axvline(0, color="black", linewidth=0.8)
    differences.set_yticks(range(len(shown)), [f"{table[name]['group']}: {name}" for name in shown])
    differences.set_xscale("symlog", linthresh=0.1)
    differences.xaxis.set_major_formatter("{x:g}")
    differences.invert_yaxis()
    differences.set_xlabel(f"nats per note more than the base, {base} (right is worse)")
    differences.grid(axis="x", alpha=0.3)
    differences.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(PLOTTED), frameon=False)
    for name, row in table.items():
        if row["group"] != "trick":
            curves.plot(*zip(*row["curve"], strict=True), label=name, linewidth=2 if name == base else 1)
    curves.set_xlabel("steps")
    curves.set_ylabel("nats per note, training windows")
    lowest = min(nats for row in table.values() for _, nats in row["curve"])
    curves.set_ylim(0.95 * lowest, 2 * lowest)  # the first steps say little
    curves.legend(fontsize="x-small")
    figure.savefig(path, dpi=110)
