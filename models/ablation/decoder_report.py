"""What `models.ablation.decoder` found, as figures, tables and a plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from models.nets.checkpoint import save_json
from realtime.music.vocabulary import HEADS

RESAMPLES = 1000
CONDITIONS = {"clean": ("compose", "continue", "trade", "accompany"), "live": ("continue", "trade", "accompany")}
"""What is scored: the roles, by what was done to the player. In COMPOSE there is none."""


def load(folder: Path, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """{variant: its results, a seed each}, in the order of `names`, those that are there."""
    found = {name: sorted(folder.glob(f"{name}-[0-9]*.json")) for name in names}
    return {name: [json.loads(file.read_text()) for file in files] for name, files in found.items() if files}


def rows(results: list[dict[str, Any]], condition: str, roles: tuple[str, ...]) -> np.ndarray:
    """(seeds, windows, 6): nats of each head, and notes, summed over the roles: window i is the same music in all of them."""
    return np.stack([sum(np.array(r["scores"][f"{condition}/{role}"]) for role in roles) for r in results])


def compare(variant: np.ndarray, base: np.ndarray) -> dict[str, Any]:
    """`rows` of two -> nats a note and those of each head; the difference from the base over the seeds that both have, and its
    95 % interval by resampling windows."""
    heads = variant[..., :5].sum((0, 1)) / variant[..., 5].sum()
    seeds = min(len(variant), len(base))
    more = (variant[:seeds, :, :5] - base[:seeds, :, :5]).sum(-1).mean(0)  # (windows,)
    notes = base[0, :, 5]
    draws = np.random.default_rng(0).integers(0, len(notes), (RESAMPLES, len(notes)))
    low, high = np.percentile(more[draws].sum(1) / notes[draws].sum(1), (2.5, 97.5))
    figures = {"nats_per_note": heads.sum(), "difference": more.sum() / notes.sum(), "low": low, "high": high}
    return {
        **{name: round(float(x), 4) for name, x in figures.items()},
        "heads": {name: round(float(x), 4) for name, x in zip(HEADS, heads, strict=True)},
    }


def summarise(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """{variant: its figures}; the first of `found` is the base."""
    base = next(iter(found.values()))
    table = {}
    for name, results in found.items():
        scores = {}
        for condition, roles in CONDITIONS.items():
            groups = {"all": roles, **{role: (role,) for role in roles}}
            scores[condition] = {
                group: compare(rows(results, condition, chosen), rows(base, condition, chosen))
                for group, chosen in groups.items()
            }
        table[name] = {
            **{key: results[0][key] for key in ("group", "what", "parameters", "curve")},
            **{key: round(float(np.median([r[key] for r in results]))) for key in ("events_per_second", "step_us")},
            "seeds": len(results),
            "scores": scores,
        }
    return table


def cells(name: str, row: dict[str, Any], is_base: bool) -> list[str]:
    """One line of the table."""
    out = [name, row["what"], f"{row['parameters'] / 1e3:.0f} k"]
    for condition in CONDITIONS:
        s = row["scores"][condition]["all"]
        out.append(f"{s['nats_per_note']:.3f}")
        out.append("" if is_base else f"{s['difference']:+.3f} ({s['low']:+.3f} to {s['high']:+.3f})")
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
    found = [row["scores"][condition][role] for condition, roles in CONDITIONS.items() for role in roles]
    return [name, *(f"{s['nats_per_note']:.3f}" if is_base else f"{s['difference']:+.3f}" for s in found)]


ROLE_HEADINGS = ["variant", *(f"{role}, {condition}" for condition, roles in CONDITIONS.items() for role in roles)]


def markdown(headings: list[str], lines: list[list[str]]) -> str:
    """A table in markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, ["---"] * len(headings), *lines])


def report(folder: Path, names: list[str], setting: dict[str, Any]) -> Table:
    """Write results.json, results.md and results.png of all results in `folder`; returns the table for the terminal."""
    found = load(folder, names)
    table = summarise(found)
    base = next(iter(table))
    save_json(folder / "results.json", {"setting": setting, "base": base, "variants": table})
    lines = [cells(name, row, name == base) for name, row in table.items()]
    by_role = [role_cells(name, row, name == base) for name, row in table.items()]
    text = "Nats per note, and their difference from the base (less is better).\n\n"
    text += markdown(HEADINGS, lines) + "\n\nBy role; below the base, differences from it.\n\n"
    (folder / "results.md").write_text(text + markdown(ROLE_HEADINGS, by_role) + "\n")
    plot(table, base, folder / "results.png")
    shown = Table(*[heading for heading in HEADINGS if heading != "what"], title="Nats per note")
    for name, _, *line in lines:
        shown.add_row(name, *line)
    return shown


def plot(table: dict[str, dict[str, Any]], base: str, path: Path) -> None:
    """Differences from the base with their intervals, by group, and learning curves."""
    from matplotlib.figure import Figure

    figure = Figure((12, max(4.0, 1 + 0.3 * len(table))), layout="constrained")
    differences, curves = figure.subplots(1, 2, width_ratios=(3, 2))
    groups = list(dict.fromkeys(row["group"] for row in table.values()))
    shown = [name for group in groups for name, row in table.items() if row["group"] == group and name != base]
    for condition, colour, offset in (("clean", "tab:blue", -0.15), ("live", "tab:orange", 0.15)):
        s = [table[name]["scores"][condition]["all"] for name in shown]
        at = np.arange(len(shown)) + offset
        x = np.array([[v["difference"], v["low"], v["high"]] for v in s]).reshape(-1, 3)
        differences.hlines(at, x[:, 1], x[:, 2], color=colour)
        differences.plot(x[:, 0], at, "o", color=colour, label="live player" if condition == "live" else condition)
    differences.axvline(0, color="black", linewidth=0.8)
    differences.set_yticks(range(len(shown)), [f"{table[name]['group']}: {name}" for name in shown])
    differences.set_xscale("symlog", linthresh=0.1)
    differences.xaxis.set_major_formatter("{x:g}")
    differences.invert_yaxis()
    differences.set_xlabel(f"nats per note more than the base, {base} (right is worse)")
    differences.grid(axis="x", alpha=0.3)
    differences.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    for name, row in table.items():
        if row["group"] != "trick":
            curves.plot(*zip(*row["curve"], strict=True), label=name, linewidth=2 if name == base else 1)
    curves.set_xlabel("steps")
    curves.set_ylabel("nats per note, training windows")
    lowest = min(nats for row in table.values() for _, nats in row["curve"])
    curves.set_ylim(0.95 * lowest, 2 * lowest)  # the first steps say little
    curves.legend()
    figure.savefig(path, dpi=110)
