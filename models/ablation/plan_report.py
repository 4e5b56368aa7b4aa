"""What `models.ablation.plan` found, as figures, tables and a plot, and what may be claimed of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from models.ablation.decoder_report import markdown
from models.bootstrap import RESAMPLES, interval, resampled
from models.nets.checkpoint import save_json

ONE, MIXTURE = 0, 1
ROWS = {
    "nothing told": ("nothing told", ONE),
    "no plan": ("no plan", ONE),
    "planner, one draw": ("planner", ONE),
    "planner, mixture": ("planner", MIXTURE),
    "planner, mixture of each cell": ("planner, drawn anew", MIXTURE),
    "planner's mean": ("planner's mean", ONE),
    "another song's, one draw": ("another song's", ONE),
    "another song's, mixture": ("another song's", MIXTURE),
    "another song's, mixture of each cell": ("another song's, drawn anew", MIXTURE),
    "another song's mean": ("another song's mean", ONE),
    "mean of the past": ("mean of the past", ONE),
    "true, told as a draw": ("true", ONE),
    "true, told as a mean": ("true, told as a mean", ONE),
    "true, nearly clean": ("true, nearly clean", ONE),
}
"""Rows of the table: what was conditioned on, and whether one stream's nats are meant or the mixture's."""
BASE = "no plan"
CLAIMED = {"planner, mixture": "another song's, mixture", "planner's mean": "another song's mean"}
"""What the rule is about, and what each is held against to see whether it is the plan's content that counts."""
NEARER = 0.1
"""By how much of its distance a form has to be nearer to the real one to count."""
Figures = dict[str, Any]


def figures(nats: np.ndarray, base: np.ndarray, notes: np.ndarray, songs: np.ndarray) -> Figures:
    """Of nats (seeds, excerpts): a note, and how many more than the base (any seeds, excerpts): with the 95 % interval by song of
    the seeds' mean, and for each seed where there are as many."""
    more = nats.mean(0) - base.mean(0)
    found: Figures = {
        "nats_per_note": round(float(nats.mean(0).sum() / notes.sum()), 4),
        "difference": round(float(more.sum() / notes.sum()), 4),
        "interval": interval(resampled(nats.mean(0), notes, songs) - resampled(base.mean(0), notes, songs)),
    }
    if len(nats) == len(base):
        found["seeds"] = [round(float(x), 4) for x in (nats - base).sum(1) / notes.sum()]
    return found


def nats_table(results: Figures, group: str, split: str, role: str | None) -> dict[str, Figures]:
    """{row: `figures`} of a group of decoders, and where it is the experiment's of those without a context net."""
    about = results["excerpts"][split]
    of = np.array([role is None or each["role"] == role for each in about])
    notes, songs = (np.array([each[name] for each in about])[of] for name in ("notes", "song"))
    runs = results["told"][group]["scores"][split]

    def nats(name: str, column: int) -> np.ndarray:
        return np.array([[row[name][column] for row in run] for run in runs])[:, of]

    rows = {title: nats(*where) for title, where in ROWS.items()}
    if group == "told":
        rows |= {kind: np.array(found[split])[:, of] for kind, found in results["untold"].items()}
    found = {title: figures(row, rows[BASE], notes, songs) for title, row in rows.items()}
    for title, strange in CLAIMED.items():
        others = {"another song's plan": strange} | {kind: kind for kind in ("rival", "reference") if kind in rows}
        found[title]["less"] = {name: figures(rows[title], rows[other], notes, songs) for name, other in others.items()}
    return found


def form_table(forms: list[dict[str, list[list[float]]]]) -> Figures:
    """{how it was planned: its mean curve, how far that lies from the real one, and how much nearer than without a plan, as a
    share, with its interval by piece}. forms: one a decoder."""
    curves = {name: np.nanmean([form[name] for form in forms], 0) for name in forms[0]}  # (pieces, lags)
    pieces = len(curves["real"])
    draws = np.random.default_rng(0).integers(0, pieces, (RESAMPLES, pieces))

    def distance(name: str, rows: np.ndarray) -> np.ndarray:
        means = [np.nanmean(curves[kind][rows], -2) for kind in (name, "real")]
        return np.abs(means[0] - means[1]).mean(-1)

    found: Figures = {}
    for name, rows in curves.items():
        at, drawn = distance(name, np.arange(pieces)), distance(name, draws)
        found[name] = {"curve": np.nanmean(rows, 0).round(4).tolist(), "distance": round(float(at), 4)}
        if name not in ("real", BASE):
            base, of_base = distance(BASE, np.arange(pieces)), distance(BASE, draws)
            found[name] |= {"nearer": round(float(1 - at / base), 3), "interval": interval(1 - drawn / of_base)}
    return found


def verdicts(group: str, found: dict[str, Figures], forms: Figures) -> list[str]:
    """What may be said by the rule, in sentences. The equal-parameter baseline ("rival"), where there is one, is "no plan"."""
    said, form, lower = [], forms["planner"], False
    for title in CLAIMED:
        others = {BASE: found[title], **found[title]["less"]}
        lower |= all(others[name]["interval"][1] < 0 for name in (BASE, "rival") if name in others)
        for name, row in others.items():
            low, high = row["interval"]
            does = "fewer nats than" if high < 0 else "more nats than" if low > 0 else "as many nats as"
            said.append(f"{group}: {title}: {does} {name} ({row['difference']:+.4f}, {low:+.4f} to {high:+.4f})")
    low, high = form["interval"]
    brought = f"{form['nearer']:+.0%} nearer ({low:+.0%} to {high:+.0%})"
    said.append(f"{group}: drawn plans bring the form {brought} to the real one")
    nearer = form["nearer"] >= NEARER and low > 0 and found["planner, mixture"]["interval"][0] <= 0
    said.append(f"{group}: by the rule the plan {'helps' if lower or nearer else 'does not help'}")
    return said


def report(folder: Path, results: Figures) -> Table:
    """Write plans.json, plans.md and plans.png; returns a table for the terminal."""
    *_, last = results["excerpts"]
    roles = sorted({each["role"] for each in results["excerpts"][last]})
    groups, said = {}, []
    for group, found in results["told"].items():
        nats = {
            split: {role or "all": nats_table(results, group, split, role) for role in (None, *roles)}
            for split in results["excerpts"]
        }
        forms = form_table(found["forms"])
        groups[group] = {name: found[name] for name in ("used", "trials")} | {"nats": nats, "form": forms}
        said += verdicts(group, nats[last]["all"], forms)
    summary = {
        "setting": results["setting"],
        "parameters": results["parameters"],
        "excerpts": {
            split: {"songs": len({each["song"] for each in about}), "notes": sum(each["notes"] for each in about)}
            for split, about in results["excerpts"].items()
        },
        "decoders": groups,
        "verdicts": said,
    }
    save_json(folder / "plans.json", summary)
    (folder / "plans.md").write_text(text(summary, roles))
    plot(groups, last, folder / "plans.png")
    shown = Table("decoder", "told", f"nats a note, {last}", "against no plan", title="Nats per note")
    for group, found in groups.items():
        for title, row in found["nats"][last]["all"].items():
            shown.add_row(group, title, f"{row['nats_per_note']:.4f}", span(row) if title != BASE else "")
        shown.add_section()
    return shown


def span(row: Figures) -> str:
    """A difference with its interval."""
    low, high = row["interval"]
    return f"{row['difference']:+.4f} ({low:+.4f} to {high:+.4f})"


def text(summary: Figures, roles: list[str]) -> str:
    """All tables in markdown, and the verdicts."""
    parts = ["\n".join(f"- {line}" for line in summary["verdicts"])]
    for group, found in summary["decoders"].items():
        nats = found["nats"]
        lines = []
        for title in next(iter(nats.values()))["all"]:
            line = [title]
            for by_role in nats.values():
                row = by_role["all"][title]
                line += [f"{row['nats_per_note']:.4f}", span(row) if title != BASE else ""]
                line += [f"{by_role[role][title]['difference']:+.4f}" if title != BASE else "" for role in roles]
            lines.append([*line, " ".join(f"{x:+.4f}" for x in row.get("seeds", []))])
        headings = ["told"]
        for split in nats:
            headings += [split, "less no plan", *roles]
        headings.append("seeds")
        parts.append(f"## {group}: nats per note\n\n" + markdown(headings, lines))
        lines = [
            [
                "drawn" if t["noisy"] else "mean",
                *(f"{t[name]:g}" for name in ("time", "rows", "guidance")),
                f"{t['difference']:+.4f}",
            ]
            for t in found["trials"]
        ]
        parts.append(
            f"## {group}: ways to tell a plan, on validation\n\n"
            + markdown(["plan", "time", "rows", "guidance", "less no plan"], lines)
        )
        lines = [
            [
                name,
                f"{row['distance']:.4f}",
                *([f"{row['nearer']:+.0%}", str(row["interval"])] if "nearer" in row else ["", ""]),
            ]
            for name, row in found["form"].items()
        ]
        parts.append(
            f"## {group}: self-similarity by lag\n\n"
            + markdown(["plan", "from the real curve", "nearer", "interval"], lines)
        )
    return "\n\n".join(parts) + "\n"


def plot(groups: Figures, split: str, path: Path) -> None:
    """A row a group: on this split differences from no plan with their intervals, and the curves of self-similarity."""
    from matplotlib.figure import Figure

    figure = Figure((12, 4.5 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 2, squeeze=False)
    for (differences, curves), (group, found) in zip(axes, groups.items(), strict=True):
        rows = {title: row for title, row in found["nats"][split]["all"].items() if title != BASE}
        at = np.arange(len(rows))
        x = np.array([[row["difference"], *row["interval"]] for row in rows.values()])
        differences.hlines(at, x[:, 1], x[:, 2], color="tab:blue")
        differences.plot(x[:, 0], at, "o", color="tab:blue")
        differences.axvline(0, color="black", linewidth=0.8)
        differences.set_yticks(at, list(rows))
        differences.invert_yaxis()
        differences.grid(axis="x", alpha=0.3)
        differences.set_xlabel(f"{group}: nats a note more than without a plan, {split} (right is worse)")
        for name, row in found["form"].items():
            style = {"color": "black", "linewidth": 2} if name == "real" else {}
            curves.plot(range(1, len(row["curve"]) + 1), row["curve"], label=name, **style)
        curves.set_xlabel("bars apart")
        curves.set_ylabel("notes in common")
        curves.legend()
    figure.savefig(path, dpi=110)
