"""Ablations: what each part of the decoder, of the events' form and of the windows is worth, in one run.

    python -m models.ablate --corpus CORPUS --out runs/ablate

Every variant has the parameters of the base (to within 2 %, by the width of its feed-forward layers; the larger size aside)
and is trained from the same seed on the same windows in the same order. All are scored on the same windows of the validation
split, as the music stands (clean) and with a live player (`perturb.LIVE`). The default size is a seventh of S, so that all of it
is a matter of hours on one core: read the differences for their sign and rank. Intervals are 95 % bootstraps over windows, paired
with the base. They do not cover the variation between trainings: "reseeded", the base from another seed, shows how large that is.

`--out` gets one file a variant and seed, and from all that are there results.json, results.md and results.png. A variant with a
file is not run again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from models.ablation.decoder_report import report
from models.command import Parser, make_folder, positive
from models.corpus.pack import Pack, load_pack
from models.corpus.perturb import LIVE, NONE, Augment
from models.corpus.windows import Windows, collate
from models.nets.checkpoint import save_json
from models.nets.decoder import SIZES, ChainedHeads, Decoder, Size
from models.nets.flat import FlatDecoder
from models.nets.layers import HEAD_SIZE, autocast
from models.training.loop import descend, lr_scale, make_optimisers
from models.training.losses import VALIDATION_ROLES, window_losses
from realtime.errors import UserError
from realtime.music.metre import TICKS
from realtime.music.vocabulary import BEAT, HEADS, MODEL_PART, Role, duration_index

ABLATION_SIZES = {"small": Size(128, 3, 96), "tiny": SIZES["tiny"], "S": SIZES["S"]}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SCORING_SEED = 1
TIMED_STEPS = 200
BASE = "decay"
TRICKS = Augment()


class ParallelHeads(ChainedHeads):
    """Five small heads that see the trunk's output alone."""

    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__(d_model, hidden)
        self.known = nn.ModuleDict()

    def hidden_of(self, i: int, entered: Tensor, drawn: list[Tensor]) -> Tensor:
        """As in `ChainedHeads`; what is drawn already makes no difference."""
        return super().hidden_of(i, entered, [])


def parallel(size: Size) -> Decoder:
    """The decoder with parallel heads."""
    decoder = Decoder(size)
    decoder.heads = ParallelHeads(size.d_model, size.head_hidden)
    return decoder


@dataclass(frozen=True)
class Variant:
    """One thing that differs from the base."""

    name: str
    group: str
    what: str
    size: Size
    make: Callable[[Size], Decoder] = Decoder
    augment: Augment = TRICKS
    role: Role | None = None
    """The only role in training; None: as `windows.ROLE_SHARES` has it."""
    durations: bool = False
    """Whether the player's durations are known at the onset."""
    seed: int = 0
    """Added to the run's seed."""


def variants(size: Size) -> list[Variant]:
    """The base, first, and all that is compared with it, the most important first."""
    larger = Size(-(-size.d_model * 3 // 2 // HEAD_SIZE) * HEAD_SIZE, size.layers * 4 // 3, size.head_hidden * 4 // 3)
    hybrid = ("decay", "window", "decay") if size.layers > 2 else ("decay", "window")
    found = [
        Variant(BASE, "mixer", "the base: linear attention with a scalar decay", size),
        Variant("reseeded", "mixer", "the base from another seed", size, seed=1000),
        Variant("elu", "mixer", "elu + 1, normalised, nothing forgotten", replace(size, mixers=("elu",))),
        Variant("gated_delta", "mixer", "Gated DeltaNet", replace(size, mixers=("gated_delta",))),
        Variant("hybrid", "mixer", "one layer in three: softmax over a window", replace(size, mixers=hybrid)),
        Variant("parallel", "heads", "each head sees the trunk alone", size, parallel),
        Variant("flat", "events", "a token a field, one softmax", size, FlatDecoder),
        Variant("durations", "durations", "the player's durations known at onset (an oracle)", size, durations=True),
        Variant("no_tricks", "trick", "windows as the music stands", size, augment=NONE),
        Variant("no_roles", "trick", "all notes the model's own", size, role=Role.COMPOSE),
    ]
    for field in fields(Augment):
        off = type(field.default)()  # type: ignore[misc]
        augment = replace(TRICKS, **{field.name: off})
        found.append(Variant(f"no_{field.name}", "trick", f"without {field.name}", size, augment=augment))
    return [*found, Variant("larger", "size", "as M is to S; more parameters", larger)]


def parameters(make: Callable[[Size], Decoder], size: Size) -> int:
    """How many a decoder has."""
    return sum(p.numel() for p in make(size).parameters())


def equalise(variant: Variant, target: int) -> Variant:
    """The variant with feed-forward layers as wide as brings it nearest to `target` parameters."""
    size = replace(variant.size, mlp_hidden=1)
    a_unit = 3 * size.d_model * size.layers
    hidden = 1 + round((target - parameters(variant.make, size)) / a_unit)
    return replace(variant, size=replace(size, mlp_hidden=hidden))


def reveal_durations(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A window with the player's durations known at onset: how long the key's held flag stays up, as the stream shows it.

    No live player can be known so: an oracle."""
    events, held = arrays["events"].copy(), arrays["held"]
    is_beat = events[:, 0] == BEAT
    tick = TICKS * np.cumsum(is_beat) + np.where(is_beat, 0, events[:, 0])
    player = ~is_beat & (events[:, 1] < MODEL_PART)
    for i in np.flatnonzero(player):
        key = events[i, 2]
        ends = (held[i + 1 :, key] == 0) | (player[i + 1 :] & (events[i + 1 :, 2] == key))
        end = i + 1 + int(ends.argmax()) if ends.any() else len(tick) - 1
        events[i, 3] = duration_index(int(tick[end] - tick[i]))
    return {**arrays, "events": events}


class RevealedDurations(Dataset[dict[str, np.ndarray]]):
    """Windows with the player's durations known at the onset; see `reveal_durations`."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        return reveal_durations(self.windows[i])


def batches(windows: Windows, variant: Variant, batch: int) -> Iterator[dict[str, Tensor]]:
    """The windows as the variant gets them."""
    for found in DataLoader(RevealedDurations(windows) if variant.durations else windows, batch, collate_fn=collate):
        yield {name: x.to(DEVICE) for name, x in found.items()}


def now() -> float:
    """Seconds that count: the processor's own on a CPU, since it may be shared; on a GPU all that pass."""
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def train(
    variant: Variant, pack: Pack, args: argparse.Namespace, seed: int
) -> tuple[Decoder, list[list[float]], float]:
    """Train one. Returns it, its curve [[step, nats a note]], and its seconds (see `now`); making windows is not counted."""
    torch.manual_seed(seed)
    decoder = variant.make(variant.size).to(DEVICE)
    optimisers = make_optimisers(decoder, args.lr, "muon")
    stream = Windows(pack, "train", args.length, seed, variant.augment, args.steps * args.batch, variant.role)
    curve: list[list[float]] = []
    seconds, lost, notes = 0.0, 0.0, 0.0
    for step, batch in enumerate(batches(stream, variant, args.batch), 1):
        started = now()
        with autocast(DEVICE):
            logits, _ = decoder(batch["events"], batch["held"], batch["targets"])
        loss, count = window_losses(logits, batch).sum(), batch["note"].sum()
        (loss / count.clamp(min=1)).backward()
        descend(decoder, optimisers, args.lr * lr_scale(step - 1, args.steps, max(args.steps // 10, 1)))
        seconds += now() - started
        lost, notes = lost + float(loss.detach()), notes + float(count)
        if step % max(args.steps // 30, 1) == 0 or step == args.steps:
            curve.append([step, round(lost / max(notes, 1), 4)])
            lost = notes = 0.0
    return decoder.eval(), curve, seconds


@torch.no_grad()
def score(decoder: Decoder, variant: Variant, pack: Pack, args: argparse.Namespace) -> dict[str, list[list[float]]]:
    """{"clean/compose": a row a window: nats of each head, then notes}. Without a player nothing of a player's is perturbed."""
    found = {}
    for condition, augment in (("clean", NONE), ("live", LIVE)):
        for role in VALIDATION_ROLES:
            if condition == "live" and role == Role.COMPOSE:
                continue
            windows = Windows(pack, "valid", args.length, SCORING_SEED, augment, args.valid_windows, role)
            rows = []
            for batch in batches(windows, variant, args.batch):
                logits, _ = decoder(batch["events"], batch["held"], batch["targets"])
                losses = window_losses(logits, batch)[:, : len(HEADS)]
                rows += torch.cat([losses, batch["note"].sum(1, keepdim=True)], 1).tolist()
            found[f"{condition}/{role.name.lower()}"] = [[round(x, 3) for x in row] for row in rows]
    return found


@torch.no_grad()
def step_us(decoder: Decoder) -> float:
    """Microseconds (see `now`) for a step of the trunk, streamed alone, and the heads; in flat tokens, for one token."""
    x = torch.randn(1, TIMED_STEPS, decoder.size.d_model, device=DEVICE)
    drawn = torch.zeros(1, 1, 5, dtype=torch.int64, device=DEVICE)
    heads = (lambda h: decoder.heads(h)) if isinstance(decoder, FlatDecoder) else (lambda h: decoder.heads(h, drawn))
    state, started = None, now()
    for t in range(TIMED_STEPS):
        h, state = decoder.mix(x[:, t : t + 1], state, chunk=1)
        heads(h)
    return (now() - started) / TIMED_STEPS * 1e6


def tokens_per_event(variant: Variant, pack: Pack, args: argparse.Namespace) -> float:
    """Steps of the trunk an event takes: 1, but for flat tokens."""
    if variant.make is not FlatDecoder:
        return 1.0
    windows = Windows(pack, "valid", args.length, SCORING_SEED, NONE, args.valid_windows, Role.COMPOSE)
    times = np.concatenate([w["events"][w["turn"] > 0, 0] for w in map(windows.__getitem__, range(len(windows)))])
    return float(np.where(times == BEAT, 1, 5).mean())


def ablate(args: argparse.Namespace) -> None:
    """Train and score what is not there yet, and report on all that is. Raises `UserError`."""
    base, *others = variants(ABLATION_SIZES[args.size])
    names = [base.name, *(v.name for v in others)]
    if unknown := set(args.only) - set(names):
        raise UserError(f"--only {' '.join(sorted(unknown))}: there is no such variant; there are {', '.join(names)}")
    pack = load_pack(args.corpus, args.cache)
    make_folder(args.out)
    target = parameters(base.make, base.size)
    setting = {
        **{name: getattr(args, name) for name in ("size", "steps", "batch", "length", "lr", "valid_windows")},
        "data_hash": pack.hash,
        "tricks": json.loads(json.dumps(asdict(TRICKS))),  # as it comes back from a file
    }
    console = Console()
    console.print(f"size {args.size}: {target} parameters; {args.steps * args.batch * args.length} events a variant")
    chosen = [base, *(v for v in others if not args.only or v.name in args.only)]
    for seed in range(1, args.seeds + 1):
        for variant in chosen:
            file = args.out / f"{variant.name}-{seed}.json"
            if file.exists():
                if (was := json.loads(file.read_text())["setting"]) != setting:
                    raise UserError(f"{file}: made with {was}, not with {setting}; give another --out")
                continue
            if variant.group != "size":
                variant = equalise(variant, target)
            decoder, curve, seconds = train(variant, pack, args, seed + variant.seed)
            result: dict[str, Any] = {
                **{name: getattr(variant, name) for name in ("name", "group", "what")},
                "seed": seed,
                "setting": setting,
                "shape": asdict(variant.size),
                "parameters": sum(p.numel() for p in decoder.parameters()),
                "curve": curve,
                "events_per_second": round(args.steps * args.batch * args.length / seconds),
                "step_us": round(step_us(decoder) * tokens_per_event(variant, pack, args)),
                "scores": score(decoder, variant, pack, args),
            }
            save_json(file, result)
            console.print(
                f"{variant.name} ({seed}): {result['parameters']} parameters, train {curve[-1][1]}, {seconds:.0f} s"
            )
            report(args.out, names, setting)
    console.print(report(args.out, names, setting))


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(
        prog="python -m models.ablate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus(required=True)
    p.add_argument("--out", type=Path, required=True, help="folder of the results")
    p.add_argument("--size", choices=ABLATION_SIZES, default="small", help="of the base; small: 128 x 3")
    p.add_argument("--steps", type=positive, default=300)
    p.add_argument("--batch", type=positive, default=8, help="windows a step")
    p.add_argument("--length", type=positive, default=256, help="events a window")
    p.add_argument("--lr", type=float, default=5e-3)
    p.add_argument("--valid-windows", type=positive, default=64, help="for each role")
    p.add_argument("--seeds", type=positive, default=1, help="trainings a variant, which are averaged")
    p.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these variants and the base")
    ablate(p.parse_args())
