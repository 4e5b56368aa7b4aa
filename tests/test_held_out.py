"""What the shipped model plays to melodies that it has not heard, in simulated time: told tempo and metre, nothing else."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from models.corpus.pack import load_pack
from models.evaluation.prompts import Listener, Played, Prompt, prompts_of
from realtime.config import load
from realtime.io.bench.music import FIGURES, measure
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music import measures
from realtime.music.keys import best_key
from realtime.music.metre import TICKS
from realtime.music.notes import between
from realtime.music.tunes import TUNES
from realtime.music.vocabulary import MELODY

CORPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
TUNEFUL = ("cre_irish", "openhymnal", "openewld")
PIECES = 12


def test_tunes_that_no_training_piece_holds() -> None:
    """`pytest -s` shows the figures; the floors are far below what is usual."""
    report = measure(load(None, {}), [tune for tune in TUNES if tune.unheard])
    means = {mode: by_tune["unheard"] for mode, by_tune in report.items()}
    for name in FIGURES:
        print(f"{name:12}", *(f"{mode} {figures[name]:7.2f}  " for mode, figures in means.items()))
    for mode in ("trade", "continue"):
        assert means[mode]["answered"] == 1.0
        assert means[mode]["entry"] < 1.0, "it may wait for the place of what it takes up"
        assert means[mode]["key"] > 0.85
        assert means[mode]["on grid"] > 0.8
        assert means[mode]["register"] > 0.4
        assert 0.4 < means[mode]["density"] < 2.5
        assert means[mode]["ends stable"] > 0.4
    assert means["harmonise"]["consonance"] > 0.85
    assert means["harmonise"]["unison"] < 0.2
    assert means["accompany"]["consonance"] > 0.6
    assert means["accompany"]["unison"] < 0.2
    assert means["accompany"]["density"] < 6


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> list[Prompt]:
    """Melodies of the validation split: of a manifest cut down to a few pieces, so that not all of the corpus is read."""
    if not (CORPUS / "manifest.csv").exists():
        pytest.skip(f"the corpus is not there: {CORPUS}")
    folder = tmp_path_factory.mktemp("held-out")
    with (CORPUS / "manifest.csv").open(newline="", encoding="utf8") as f:
        rows = list(csv.DictReader(f))
    chosen = [
        row
        for source in TUNEFUL
        for row in [r for r in rows if r["source"] == source and r["split"] == "valid" and r["tier"] == "main"][:PIECES]
    ]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf8") as f:
        writer = csv.DictWriter(f, rows[0])
        writer.writeheader()
        writer.writerows(chosen)
    (folder / "main").symlink_to(CORPUS / "main")
    pack = load_pack(folder, tmp_path_factory.mktemp("cache"))
    return [tune_of(prompt) for prompt in prompts_of(pack, "valid", 8, 1)]


def tune_of(prompt: Prompt) -> Prompt:
    """Its melody alone."""
    return prompt._replace(notes=prompt.notes[prompt.notes["part"] == MELODY])


def test_held_out_melodies_are_answered_in_their_key_register_and_rhythm(prompts: list[Prompt]) -> None:
    listener = Listener(SHIPPED_MODEL, 1)
    rows = [answer_figures(prompt, listener.answers(prompt)) for prompt in prompts]
    means = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    print(*(f"{name} {value:.2f}" for name, value in means.items()), sep=", ")
    assert means["key"] > 0.85
    assert means["on grid"] > 0.85
    assert means["entry"] < 0.8
    assert means["shared register"] > 0.35
    assert means["rests"] < 0.5
    assert 0.4 < means["density"] < 2.5
    assert means["ends stable"] > 0.3


def answer_figures(prompt: Prompt, played: Played) -> dict[str, float]:
    """Of the turns of one performance."""
    key = best_key(np.bincount(prompt.notes["pitch"] % 12, minlength=12).astype(float))
    turns = [(start, end, between(played.antiphon, start, end)) for start, end in played.spans]
    ours, his = sum(end - start for start, end in played.spans), int(played.bars[-1])
    return {
        "key": measures.key_agreement(played.antiphon, key),
        "on grid": measures.on_grid(played.antiphon),
        "entry": float(
            np.mean([(turn["onset"].min() - start) / TICKS if len(turn) else np.nan for start, _, turn in turns])
        ),
        "shared register": measures.shared_register(played.antiphon, played.player),
        "rests": float(np.mean([measures.rests(turn, start, end) for start, end, turn in turns])),
        "density": measures.density(played.antiphon, ours) / measures.density(played.player, his - ours),
        "ends stable": float(np.mean([measures.ending(turn, end, key).stable for _, end, turn in turns])),
    }
