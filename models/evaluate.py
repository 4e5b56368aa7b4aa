"""How well a model knows music it has not heard: nats per note, against baselines.

    python -m models.evaluate --data ../shared/data --split test --json test.json

Every piece is predicted whole and in order, all of its notes as the model's own: the time of each next event and, of a note,
part, pitch, duration and velocity. Nats per note are the sum over all factors (the BEATs' times too), divided by the notes.
The interval is the 95 % bootstrap by piece. `--data` takes any folder with a manifest and zips; the baselines are fitted on
its training split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from models.baselines import CopyThePast, Markov, Stream
from models.checkpoint import save_json
from models.data import Pack, Parser, Piece, exit_status, load_pack
from models.windows import NONE, window
from realtime.constraints import SLICES
from realtime.contract import LOGITS, MASKED
from realtime.io.settings import SHIPPED_MODEL
from realtime.io.stepper import Stepper
from realtime.vocabulary import BEAT, HEADS, Role

RESAMPLES = 1000
COPY_TRUST_PIECES = 400


def whole(piece: Piece) -> dict[str, np.ndarray]:
    """A piece from its first bar line to its end, as one window (see `windows.window`) without padding."""
    arrays = window(piece, len(piece.notes) + len(piece.beats), np.random.default_rng(0), NONE, Role.COMPOSE, bar=0)
    counts = arrays["turn"] > 0
    return {name: values[counts] for name, values in arrays.items()}


def stream_of(piece: Piece) -> Stream:
    """A piece for the baselines."""
    arrays = whole(piece)
    return Stream(arrays["events"][:, 5:7], arrays["targets"])


def forced_logits(stepper: Stepper, events: np.ndarray, held: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The exported graph's logits (T, 228) over a stream from an empty context, each event followed by its target.

    events: (T, 9); held: (T, 256); targets: (T, 5). The graph feeds its heads with its own draws, so each draw is forced to
    the target by masking all else; the logits are those before the masks.
    """
    starts = np.array([where.start for where in SLICES.values()])
    free, noise = np.zeros(HEADS["pitch"], np.float32), np.zeros(len(HEADS), np.float32)
    sampling = np.tile(np.array([1.0, 0.0, 1.0], np.float32), (len(HEADS), 1))
    logits = np.empty((len(events), LOGITS), np.float32)
    stepper.reset()
    for t, (event, flags, target) in enumerate(zip(events, held.astype(np.float32), targets, strict=True)):
        bias = np.full(LOGITS, MASKED, np.float32)
        bias[starts + target] = 0.0
        stepper.step(event, flags, free, bias, sampling, noise)
        logits[t] = stepper.last_logits
    return logits


def onnx_scorer(path: Path) -> Callable[[Piece], np.ndarray]:
    """Scores by the exported model itself, step by step as it is played. (N, 5) nats a piece, 0 where a BEAT has no more."""
    stepper = Stepper.load(path, "cpu", slots=2)

    def score(piece: Piece) -> np.ndarray:
        arrays = whole(piece)
        targets = arrays["targets"]
        logits = forced_logits(stepper, arrays["events"], arrays["held"], targets).astype(np.float64)
        nats = np.empty(targets.shape)
        for head, where in enumerate(SLICES.values()):
            rows = logits[:, where]
            top = rows.max(1)
            chosen = np.take_along_axis(rows, targets[:, head : head + 1], 1)[:, 0]
            nats[:, head] = np.log(np.exp(rows - top[:, None]).sum(1)) + top - chosen
        nats[targets[:, 0] == BEAT, 1:] = 0.0
        return nats

    return score


def summary(scores: list[np.ndarray], notes: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Pieces' (N, 5) nats and numbers of notes -> {nats_per_note, low, high, heads}."""
    sums = np.stack([s.sum(0) for s in scores])  # (pieces, 5)
    draws = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    resampled = sums.sum(1)[draws].sum(1) / notes[draws].sum(1)
    low, high = np.percentile(resampled, (2.5, 97.5))
    heads = sums.sum(0) / notes.sum()
    return {
        "nats_per_note": round(float(heads.sum()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "heads": {name: round(float(x), 4) for name, x in zip(HEADS, heads, strict=True)},
    }


def evaluate(pack: Pack, splits: list[str], model: Path) -> dict[str, Any]:
    """{split: {"all" or source: {model: summary}}} for the exported model and the baselines."""
    training = [stream_of(pack[i]) for i in track(pack.rows("train"), "reading the training split")]
    unigram, markov = Markov(training, order=-1), Markov(training)
    copy = CopyThePast(training[:: max(len(training) // COPY_TRUST_PIECES, 1)], unigram)
    del training
    scorers: dict[str, Callable[[Piece], np.ndarray]] = {
        "antiphon": onnx_scorer(model),
        "markov5": lambda piece: markov.score(stream_of(piece)),
        "copy": lambda piece: copy.score(stream_of(piece)),
        "unigram": lambda piece: unigram.score(stream_of(piece)),
    }
    report: dict[str, Any] = {}
    for split in splits:
        rows = pack.rows(split)
        scores = {name: [score(pack[i]) for i in track(rows, f"{split}: {name}")] for name, score in scorers.items()}
        notes = np.array([(stream_of(pack[i]).is_note).sum() for i in rows])
        sources = np.array([pack.table[i]["source"] for i in rows])
        report[split] = {}
        for group in ("all", *sorted(set(sources))):
            chosen = np.arange(len(rows)) if group == "all" else np.flatnonzero(sources == group)
            report[split][group] = {
                name: summary([by_piece[i] for i in chosen], notes[chosen], np.random.default_rng(0))
                for name, by_piece in scores.items()
            }
    return report


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--data", type=Path, required=True, help="folder with manifest.csv and its zips")
    p.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where the packed corpus lies")
    p.add_argument("--split", choices=("valid", "test"), help="both where it is not given")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--json", type=Path, help="write the figures here too")
    args = p.parse_args()
    report = evaluate(load_pack(args.data, args.cache), [args.split] if args.split else ["valid", "test"], args.model)
    if args.json:
        save_json(args.json, report)
    for split, groups in report.items():
        for group, models in groups.items():
            for name, figures in models.items():
                heads = ", ".join(f"{head} {nats:.3f}" for head, nats in figures["heads"].items())
                interval = f"{figures['low']:.3f} to {figures['high']:.3f}"
                print(f"{split:5s} {group:20s} {name:9s} {figures['nats_per_note']:.3f} ({interval}): {heads}")


if __name__ == "__main__":
    sys.exit(exit_status(run))
