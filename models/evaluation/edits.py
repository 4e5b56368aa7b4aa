"""How well edits do what they are asked (`realtime.editing.edit`), on pieces the directions were not fitted on.

    python -m models.edits --corpus CORPUS --bars RUN --directions models/pretrained/directions.json --json edits.json

Eight bars of each piece are edited with every control, by amounts from -1 to 1 (units of `attributes.SCALE`). Of each:

    spearman   rank correlation of the amount asked with the attribute that the bars then have, by piece: median, 10th and 90th
               percentile, and the mean with its 95 % bootstrap interval; `alone` is that of the latents decoded at z + amount w
    leakage    slopes of all attributes, in units a unit of the control: the mean over pieces
    kept       share of notes that stay exactly as they were, by how much was asked
    style      the probability that softmax regression gives the style, before and after; it is fitted on latents of training
               pieces and reads those of the edited bars
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from models.command import Parser, positive
from models.corpus.pack import Pack, load_pack
from models.nets.checkpoint import save_json
from models.training.directions import Bars, Samples, in_c, samples
from realtime.editing.changes import Scene
from realtime.editing.edit import Codec, Result, edit
from realtime.errors import UserError
from realtime.music.attributes import ATTRIBUTES, SCALE, STYLES, attributes
from realtime.music.cells import notes_in, rolls
from realtime.music.keys import key_of
from realtime.music.notes import NOTE

AMOUNTS = np.linspace(-1, 1, 9)
STYLE_AMOUNTS = (0.5, 1.0)
CELLS = 8
RESAMPLES = 1000


class Remembering:
    """A codec that decodes what it has decoded before only once: edits of one piece ask the same again and again."""

    def __init__(self, codec: Codec) -> None:
        self._codec, self._known = codec, dict[str, np.ndarray]()

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        """See `Codec`."""
        return self._once(rolls, self._codec.encode)

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """See `Codec`."""
        return self._once(latents, self._codec.decode)

    def _once(self, given: np.ndarray, work: Any) -> np.ndarray:
        key = hashlib.sha1(np.ascontiguousarray(given).tobytes()).hexdigest()
        if key not in self._known:
            self._known[key] = work(given)
        return self._known[key]


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation where both are numbers; ties have their mean rank. 0 where one does not change."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(np.round(values, 6), return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[inverse]

    both = np.isfinite(a) & np.isfinite(b)
    x, y = ranks(a[both]), ranks(b[both])
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 1 and x.std() and y.std() else 0.0


def levels(notes: np.ndarray, scene: Scene) -> np.ndarray:
    """The attributes (5,) of a scene's cells with these notes, on average, in control units; nan where nothing sounds."""
    figures = attributes(notes, scene.edges, scene.key.tonic) / SCALE
    there = np.isfinite(figures).sum(0)
    return np.where(there, np.nansum(figures, 0) / np.maximum(there, 1), np.nan)


def scenes(pack: Pack, splits: tuple[str, ...], pieces: int, seed: int = 1) -> list[Scene]:
    """`CELLS` cells, with notes in all of them, of each of so many pieces, moved to a tonic of C."""
    rng = np.random.default_rng(seed)
    found: list[Scene] = []
    for i in rng.permutation([row for split in splits for row in pack.rows(split)]):
        moved = in_c(pack[i])
        if moved is None:
            continue
        packed, edges = moved
        notes = np.zeros(len(packed), NOTE)
        for name in NOTE.names or ():
            notes[name] = packed[name]
        at = np.searchsorted(edges, notes["onset"], side="right") - 1
        begun = np.bincount(at[(at >= 0) & (at < len(edges) - 1)], minlength=len(edges) - 1)
        full = np.flatnonzero(np.convolve(begun > 0, np.ones(CELLS), "valid") == CELLS) if len(begun) >= CELLS else []
        if not len(full):
            continue
        first = int(rng.choice(full))
        here = edges[first : first + CELLS + 1]
        inside = (notes["onset"] < here[-1]) & (notes["onset"] + notes["duration"] > here[0])
        key = key_of(notes)
        notes = notes[inside]
        free = notes["onset"] >= here[0]
        found.append(Scene(notes, notes["part"].astype(int), np.ones(len(notes), bool), free, here, key))
        if len(found) == pieces:
            break
    return found


def edited(scene: Scene, result: Result) -> np.ndarray:
    """The notes after an edit."""
    notes = scene.notes.copy()
    for i, pitch in result.moved.items():
        notes["pitch"][i] = pitch
    new = np.zeros(len(result.added), NOTE)
    for row, note in zip(new, result.added, strict=True):
        row["onset"], row["duration"], row["pitch"], row["part"] = (*note[:3], notes["part"][note.like])
    return np.concatenate([np.delete(notes, result.removed), new])


def controls(all_scenes: list[Scene], directions: dict[str, np.ndarray], codec: Codec) -> dict[str, Any]:
    """The figures of the five attributes, see the module's docstring."""
    units = np.zeros((len(all_scenes), len(ATTRIBUTES), len(AMOUNTS), len(ATTRIBUTES)))
    alone, kept = units.copy(), np.zeros(units.shape[:3])
    for s, scene in enumerate(all_scenes):
        once = Remembering(codec)
        z = once.encode(rolls(scene.notes, np.zeros(len(scene.notes), bool), scene.edges))
        for k, name in enumerate(ATTRIBUTES):
            for a, amount in enumerate(AMOUNTS):
                result = edit(scene, {name: np.full(CELLS, amount)}, directions, once)
                after = edited(scene, result)
                units[s, k, a] = levels(after, scene)
                kept[s, k, a] = 1 - (len(result.removed) + len(result.moved)) / max(int(scene.free.sum()), 1)
                decoded = notes_in(once.decode((z + amount * directions[name]).astype(np.float32)), scene.edges)
                alone[s, k, a] = levels(decoded, scene)
    report: dict[str, Any] = {}
    rng = np.random.default_rng(1)
    centred = AMOUNTS / (AMOUNTS**2).sum()
    for k, name in enumerate(ATTRIBUTES):
        rho = np.array([spearman(AMOUNTS, values[:, k]) for values in units[:, k]])
        means = rho[rng.integers(len(rho), size=(RESAMPLES, len(rho)))].mean(1)
        slopes = np.nanmean(np.einsum("a,sac->sc", centred, units[:, k]), 0)
        report[name] = {
            "spearman": {
                "median": _round(np.median(rho)),
                "p10_p90": _round(np.percentile(rho, (10, 90))),
                "mean": _round(rho.mean()),
                "interval": _round(np.percentile(means, (2.5, 97.5))),
                "alone_median": _round(np.median([spearman(AMOUNTS, values[:, k]) for values in alone[:, k]])),
            },
            "leakage": dict(zip(ATTRIBUTES, _round(slopes), strict=True)),
            "kept": {
                f"{amount:g}": _round(kept[:, k, np.isclose(np.abs(AMOUNTS), amount)].mean()) for amount in AMOUNTS[4:]
            },
        }
    return report


def styles(all_scenes: list[Scene], directions: dict[str, np.ndarray], codec: Codec, known: Samples) -> dict[str, Any]:
    """Probabilities of each style before and after edits towards it, by amount, and the share of notes kept."""
    torch.manual_seed(1)
    reader = torch.nn.Linear(known.latents.shape[1], len(STYLES))
    has_style = known.styles >= 0
    x = torch.from_numpy(known.latents[has_style].astype(np.float32))
    y = torch.from_numpy(known.styles[has_style].astype(np.int64))
    # Each style counts the same, however many cells it has.
    weight = 1 / torch.bincount(y, minlength=len(STYLES)).clamp(min=1).float()
    optimiser = torch.optim.AdamW(reader.parameters(), lr=0.02, weight_decay=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        F.cross_entropy(reader(x), y, weight).backward()
        optimiser.step()

    def probability(notes: np.ndarray, scene: Scene) -> np.ndarray:
        z = codec.encode(rolls(notes, np.zeros(len(notes), bool), scene.edges))
        with torch.no_grad():
            return np.asarray(reader(torch.from_numpy(z)).softmax(-1).mean(0))

    report: dict[str, Any] = {}
    before = np.array([probability(scene.notes, scene) for scene in all_scenes])
    for index, style in enumerate(STYLES):
        if style not in directions:
            continue
        row: dict[str, Any] = {"before": _round(before[:, index].mean())}
        for amount in STYLE_AMOUNTS:
            results = [edit(scene, {style: np.full(CELLS, amount)}, directions, codec) for scene in all_scenes]
            pairs = list(zip(all_scenes, results, strict=True))
            after = [probability(edited(scene, result), scene)[index] for scene, result in pairs]
            stays = [1 - (len(r.removed) + len(r.moved)) / max(int(scene.free.sum()), 1) for scene, r in pairs]
            row[f"{amount:g}"] = {"after": _round(np.mean(after)), "kept": _round(np.mean(stays))}
        report[style] = row
    return report


def _round(value: Any) -> Any:
    return np.round(np.asarray(value, float), 3).tolist()


def main() -> None:
    """Measure, print and write."""
    parser = Parser(prog="python -m models.edits", description=main.__doc__)
    parser.add_corpus(required=True)
    parser.add_argument("--bars", type=Path, required=True, metavar="RUN", help="a run of models.training.autoencoder")
    parser.add_argument(
        "--directions", type=Path, required=True, metavar="FILE", help="what models.training.directions wrote"
    )
    parser.add_argument(
        "--pieces", type=positive, default=60, help="how many to edit, of the validation and test splits"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    args = parser.parse_args()
    try:
        directions = {name: np.array(way, np.float32) for name, way in json.loads(args.directions.read_text()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{args.directions}: cannot be read ({error}); give what models.training.directions wrote"
        ) from None
    codec, pack = Bars(args.bars), load_pack(args.corpus, args.cache)
    chosen = scenes(pack, ("valid", "test"), args.pieces)
    report = {
        "pieces": len(chosen),
        "controls": controls(chosen, directions, codec),
        "styles": styles(
            chosen[: args.pieces // 2], directions, codec, samples(codec, pack, "train", args.pieces * 5, seed=2)
        ),
    }
    print(json.dumps(report, indent=1))
    if args.json is not None:
        save_json(args.json, report)
