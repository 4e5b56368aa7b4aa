"""What `models.ablation.decoder` measured, as figures: nats a note, differences and their intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from realtime.music.vocabulary import HEADS

RESAMPLES = 1000
REPEATED = ("tune_4", "tune_16", "voices_4")
CONDITIONS = {
    "clean": ("compose", "continue", "trade", "accompany"),
    "live": ("continue", "trade", "accompany"),
    "opening": ("compose",),
    "first": REPEATED,
    "again": REPEATED,
}
"""What is scored: the roles, by what was done to the player (in COMPOSE there is none); pieces from their start; repeats, the
first time and again, which a corpus may lack."""


def load(folder: Path, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """{variant: its results, a seed each}, in the order of `names`, those that are there."""
    found = {name: sorted(folder.glob(f"{name}-[0-9]*.json")) for name in names}
    return {name: [json.loads(file.read_text()) for file in files] for name, files in found.items() if files}


def rows(results: list[dict[str, Any]], condition: str, roles: tuple[str, ...]) -> np.ndarray:
    """(seeds, windows, 7): nats of each head and of chords, and notes, summed over the roles: window i is the same music in
    all of them."""
    return np.stack([sum(np.array(r["scores"][f"{condition}/{role}"]) for role in roles) for r in results])


def compare(variant: np.ndarray, base: np.ndarray) -> dict[str, Any]:
    """`rows` of two -> nats a note and those of each head; the difference from the base over the seeds that both have, and its
    95 % interval by resampling windows. The same under "with_chords", where a note bears its share of the chords' nats."""
    heads = variant[..., : len(HEADS)].sum((0, 1)) / variant[..., -1].sum()
    return {
        **_difference(variant, base, len(HEADS)),
        "heads": {name: round(float(x), 4) for name, x in zip(HEADS, heads, strict=True)},
        "with_chords": _difference(variant, base, len(HEADS) + 1),
    }


def _difference(variant: np.ndarray, base: np.ndarray, heads: int) -> dict[str, float]:
    """Of the sum of so many heads."""
    seeds = min(len(variant), len(base))
    nats = variant[..., :heads].sum() / variant[..., -1].sum()
    more = (variant[:seeds, :, :heads] - base[:seeds, :, :heads]).sum(-1).mean(0)  # (windows,)
    notes = base[0, :, -1]
    low, high = _interval(more, notes)
    figures = {"nats_per_note": nats, "difference": more.sum() / notes.sum(), "low": low, "high": high}
    return {name: round(float(x), 4) for name, x in figures.items()}


def over_first(again: np.ndarray, first: np.ndarray) -> dict[str, float]:
    """`rows` of repeats -> the nats of the repeat over those of the first time, and the 95 % interval by resampling windows."""
    above, below = (x[..., : len(HEADS)].sum(-1).mean(0) for x in (again, first))
    low, high = _interval(above, below)
    return {
        name: round(float(x), 4) for name, x in (("ratio", above.sum() / below.sum()), ("low", low), ("high", high))
    }


def _interval(above: np.ndarray, below: np.ndarray) -> tuple[float, float]:
    """95 % of the ratio of two sums over windows (N,), resampled."""
    draws = np.random.default_rng(0).integers(0, len(below), (RESAMPLES, len(below)))
    low, high = np.percentile(above[draws].sum(1) / below[draws].sum(1), (2.5, 97.5))
    return float(low), float(high)


def conditions_of(found: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[str, ...]]:
    """Those of `CONDITIONS` that were scored."""
    scored = next(iter(found.values()))[0]["scores"]
    return {name: kinds for name, kinds in CONDITIONS.items() if f"{name}/{kinds[0]}" in scored}


def scores_of(
    results: list[dict[str, Any]], base: list[dict[str, Any]], conditions: dict[str, tuple[str, ...]]
) -> dict[str, Any]:
    """{condition: {role: figures}}, with all roles as "all"."""
    scores: dict[str, Any] = {}
    for condition, kinds in conditions.items():
        groups = {"all": kinds, **{kind: (kind,) for kind in kinds}}
        scores[condition] = {
            group: compare(rows(results, condition, chosen), rows(base, condition, chosen))
            for group, chosen in groups.items()
        }
        if condition == "again":
            for group, chosen in groups.items():
                first = rows(results, "first", chosen)
                scores[condition][group]["over_first"] = over_first(rows(results, condition, chosen), first)
    return scores


def summarise(found: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """{variant: its figures}; the first of `found` is the base."""
    base, conditions = next(iter(found.values())), conditions_of(found)
    return {
        name: {
            **{key: results[0][key] for key in ("group", "what", "parameters", "curve")},
            **{
                key: round(float(np.median([r[key] for r in results])))
                for key in ("events_per_second", "step_us", "search_us")
            },
            "seeds": len(results),
            "scores": scores_of(results, base, conditions),
        }
        for name, results in found.items()
    }
