"""Distil lookahead: an accompanist learns, on what it plays itself, from a teacher that has the player's notes early.

    python -m models.distil --corpus CORPUS --init runs/s --out runs/d --teacher-steps 150 --steps 80

First the teacher, in OUT/teacher: the weights of `--init`, trained on with the player's notes `--lead-ticks` before the model's
of the same moment and with their durations (`duets.Duet.early_stream`). Then the student, in OUT. In each step it plays along
with the player of some pieces, and both models say how likely they found each choice at each of its events: the student as it
heard the player, the teacher with the early notes. The loss is the divergence of the two in the fields `--heads` (on-policy
distillation: arXiv 2306.13649; for accompaniment: ReaLchords, 2024), a share `--reverse` of it KL(student || teacher), which
avoids what the teacher would not play, the rest KL(teacher || student), which keeps all that it would; and beside it the loss
of ordinary windows of all roles, so that nothing else is forgotten.

Both run folders hold what `models.training.decoder` writes. A killed run goes on from its last save.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.command import Parser, make_folder, positive, share
from models.corpus.pack import Pack, load_pack
from models.corpus.perturb import NONE, Augment
from models.corpus.windows import Windows, collate
from models.nets.checkpoint import load_info, load_weights, save_decoder
from models.nets.decoder import SIZES, Decoder
from models.nets.layers import autocast
from models.training.duets import Duet, Duets, figures, pair
from models.training.loop import Progress, holding, lr_scale, make_optimisers, write_log
from models.training.losses import head_losses, validate
from models.training.playing import play
from realtime.music.vocabulary import HEADS, Role

WARMUP = 10
TEMPERATURE = 0.95
TEACHER_CORRUPT = 0.5
"""Of its own past pitches up to this share are wrong, a window: so the teacher learns to follow the player's notes rather than
the student's mistakes."""
CPU = torch.device("cpu")


def next_time(logits: Tensor, at: Tensor) -> Tensor:
    """The distribution of each own event's time, pieced together from all steps at which it was asked for.

    Whenever the player comes in between, the draw is made again: each time of the beat is decided at one of the steps, by the
    chance of it and not a later one. logits: (B, T, 25); at: (B, J, 25), the step that decides each time, -1 where it is over.
    Returns log-probabilities (B, J, 25), -inf where it is over.
    """
    log_p = logits.float().log_softmax(-1)
    from_on = log_p.flip(-1).logcumsumexp(-1).flip(-1)  # log p(this time or later)
    choices = log_p.shape[-1]
    where = (at.clamp(min=0) * choices + torch.arange(choices, device=at.device)).flatten(1)
    exactly, reached = (x.flatten(1).gather(1, where).view(at.shape) for x in (log_p, from_on))
    later = from_on.flatten(1).gather(1, where.view(at.shape)[..., :-1].flatten(1) + 1).view_as(at[..., 1:])
    passed = (later - reached[..., :-1]).masked_fill(at[..., :-1] < 0, 0.0).cumsum(-1)
    survived = nn.functional.pad(passed, (1, 0))
    return (exactly - reached + survived).masked_fill(at < 0, -torch.inf)


def own_choices(decoder: Decoder, batch: dict[str, Tensor]) -> list[Tensor]:
    """Log-probabilities [(B, J, choices) x 5] of each own event's fields, each given the fields before it as they were drawn."""
    with autocast(CPU):
        h, _ = decoder.trunk(batch["events"], batch["held"])
        entered = decoder.heads.enter_all(h)
        times = decoder.heads.logits(0, entered, [])
        before = entered.gather(1, batch["step"][..., None].expand(-1, -1, entered.shape[-1]))  # (B, J, 5 * hidden)
        drawn = list(batch["targets"].unbind(-1))
        rest = [decoder.heads.logits(i, before, drawn[:i]) for i in range(1, len(HEADS))]
    return [next_time(times, batch["at"]), *(x.float().log_softmax(-1) for x in rest)]


def divergence(student: list[Tensor], teacher: list[Tensor], batch: dict[str, Tensor], reverse: float) -> Tensor:
    """Per head, summed over the batch: (5,). Of the time it counts at every own event, of the other fields at notes."""
    sums = []
    for i, (ours, theirs) in enumerate(zip(student, teacher, strict=True)):
        apart = (ours - theirs).masked_fill(ours == -torch.inf, 0.0)
        each = ((reverse * ours.exp() - (1 - reverse) * theirs.exp()) * apart).sum(-1)  # (B, J)
        sums.append((each * batch["note" if i else "own"]).sum())
    return torch.stack(sums)


def tune(
    out: Path,
    decoder: Decoder,
    steps: int,
    lr: float,
    args: argparse.Namespace,
    info: dict[str, Any],
    loss: Callable[[int], tuple[Tensor, dict[str, float]]],
    report: Callable[[], dict[str, Any]],
) -> None:
    """Train from where `out` stands up to step `steps`; leaves the average of the weights in the decoder. `loss` of a step
    number, and what to log of it; `report` of the decoder as it is. Raises `UserError`."""
    make_folder(out)
    progress = Progress(out / "train.safetensors", decoder, make_optimisers(decoder, lr, "muon"))
    if progress.step:
        print(f"{out}: going on from step {progress.step}")
    started = time.monotonic() - progress.seconds

    def log(entry: dict[str, Any]) -> None:
        seconds = time.monotonic() - started
        write_log(out / "log.jsonl", progress.step, seconds, entry)
        print(f"{out.name} {progress.step} {seconds:.0f} s {entry}", flush=True)

    def averaged() -> dict[str, Any]:
        with holding(decoder, progress.average):
            found = report()
        log({"valid": found})
        return found

    if progress.step == 0:
        averaged()
    while (step := progress.step) < steps:
        torch.manual_seed(args.seed * 1_000_003 + step)  # dropout, the same after a resume
        value, entry = loss(step)
        value.backward()
        progress.descend(lr * lr_scale(step, steps, WARMUP))
        step += 1
        log({name: round(x, 4) for name, x in entry.items()})
        if step % args.save_every == 0 or step == steps:
            found = averaged()
            progress.seconds = time.monotonic() - started
            save_decoder(
                out, progress.average, {**info, "step": step, "seconds": round(progress.seconds), "valid": found}
            )
            progress.save()
    decoder.load_state_dict(progress.average)


def numbers(count: int, step: int) -> range:
    """Which windows a step takes of a stream of them."""
    return range(step * count, (step + 1) * count)


def learned(decoder: Decoder, windows: list[dict[str, Any]]) -> Tensor:
    """The ordinary loss of some windows, in nats per note."""
    batch = collate(windows)
    with autocast(CPU):
        logits, _ = decoder(batch["events"], batch["held"], batch["targets"])
    return head_losses(logits, batch).sum() / batch["note"].sum().clamp(min=1)


def train_teacher(pack: Pack, args: argparse.Namespace, info: dict[str, Any]) -> Decoder:
    """The teacher, in evaluation mode. Its report: nats per note with the player's notes early ("told"),
    and as the student hears them ("heard")."""
    decoder = Decoder(SIZES[info["size"]], args.dropout)
    load_weights(args.init, decoder)
    early = Duets(pack, "train", args.events, args.seed, Augment(), lead=args.lead_ticks, corrupt=TEACHER_CORRUPT)
    sets: dict[str, Any] = {
        name: Duets(pack, "valid", args.events, 1, NONE, 2 * args.valid_windows, lead)
        for name, lead in (("told", args.lead_ticks), ("heard", None))
    }

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        value = learned(decoder, [early[i] for i in numbers(args.duets, step)])
        return value, {"train": float(value.detach())}

    tune(
        args.out / "teacher",
        decoder,
        args.teacher_steps,
        args.teacher_lr,
        args,
        {**info, "steps": args.teacher_steps, "lr": args.teacher_lr},
        loss,
        lambda: validate(decoder, sets, args.batch, CPU),
    )
    return decoder.eval()


class Student:
    """The second stage: the student plays along with the players of duets, and learns from what the teacher would have played."""

    def __init__(self, pack: Pack, args: argparse.Namespace, info: dict[str, Any], teacher: Decoder) -> None:
        self.args, self.teacher = args, teacher
        self.decoder = Decoder(SIZES[info["size"]], args.dropout)
        load_weights(args.init, self.decoder)
        self.ordinary = Windows(pack, "train", args.length, args.seed, Augment(), args.steps * args.batch)
        self.partners = Duets(pack, "train", args.events, args.seed + 1, Augment())
        self.taught = [list(HEADS).index(name) for name in args.heads]
        valid = Duets(pack, "valid", args.events, 1, Augment(transpose=False))
        self.known = [valid.duet(i) for i in range(args.duets)]
        self.sets = {
            role.name.lower(): Windows(pack, "valid", args.length, 1, NONE, args.valid_windows, role) for role in Role
        }

    def play(self, duets: list[Duet], seed: int) -> list[Duet]:
        """What the student plays in these duets."""
        self.decoder.eval()
        made = play(self.decoder, duets, self.args.events, TEMPERATURE, torch.Generator().manual_seed(seed))
        self.decoder.train()
        return made

    def apart(self, duets: list[Duet]) -> Tensor:
        """The divergence from the teacher in each head, nats a note: (5,)."""
        late, early = pair(duets, self.args.lead_ticks)
        with torch.no_grad():
            theirs = own_choices(self.teacher, early)
        ours = own_choices(self.decoder, late)
        return divergence(ours, theirs, late, self.args.reverse) / late["note"].sum().clamp(min=1)

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """What is minimised in a step, and what to log of it."""
        args = self.args
        duets = [self.partners.duet(i) for i in numbers(args.duets, step)]
        per_head = self.apart(self.play(duets, args.seed * 1_000_003 + step))
        nats = learned(self.decoder, [self.ordinary[i] for i in numbers(args.batch, step)])
        heads = dict(zip(HEADS, per_head.tolist(), strict=True))
        return per_head[self.taught].sum() + nats, {"divergence": sum(heads.values()), **heads, "train": nats.item()}

    def report(self) -> dict[str, Any]:
        """Nats a note by role as in `models.training.decoder`; and of the same duets each time the divergence, and the
        `figures` of what the student played beside those of the real music."""
        made = self.play(self.known, 0)
        self.decoder.eval()
        with torch.no_grad():
            per_head = self.apart(made).tolist()
        ends = [duet.end for duet in made]
        nats = validate(self.decoder, self.sets, self.args.batch, CPU)
        return {
            "nats": {role: values["nats_per_note"] for role, values in nats.items()},
            "divergence": {
                "sum": round(sum(per_head), 4),
                **{n: round(x, 4) for n, x in zip(HEADS, per_head, strict=True)},
            },
            "generated": figures(made, ends),
            "real": figures(self.known, ends),
        }


def distil(args: argparse.Namespace) -> None:
    """Both stages. Raises `UserError`."""
    pack = load_pack(args.corpus, args.cache)
    init = load_info(args.init)
    settings = ("steps", "batch", "length", "lr", "dropout", "seed", "lead_ticks", "reverse", "heads")
    info = {
        "size": init["size"],
        "optimiser": "muon",
        "init": init,
        **{name: getattr(args, name) for name in settings},
        "data_hash": pack.hash,
        "split_hashes": {split: pack.split_hash(split) for split in ("train", "valid", "test")},
    }
    student = Student(pack, args, info, train_teacher(pack, args, info))
    tune(args.out, student.decoder, args.steps, args.lr, args, info, student.loss, student.report)


def ticks(text: str) -> int:
    """A whole number of at least 0, for the command line."""
    if (number := int(text)) < 0:
        raise ValueError
    return number


def main() -> None:
    """Command line; see the module's docstring."""
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")  # autocast's norms: known and harmless
    p = Parser(
        prog="python -m models.distil", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus(required=True)
    p.add_argument("--init", type=Path, required=True, help="the run whose weights both start from")
    p.add_argument("--out", type=Path, required=True, help="folder of the student's run")
    p.add_argument("--teacher-steps", type=positive, default=150)
    p.add_argument("--steps", type=positive, default=80, help="of the student")
    p.add_argument("--teacher-lr", type=float, default=6e-4)
    p.add_argument("--lr", type=float, default=3e-4)
    p.add_argument(
        "--lead-ticks", type=ticks, default=0, help="how many ticks early the teacher has the player's notes"
    )
    p.add_argument("--reverse", type=share, default=0.5, help="share of KL(student || teacher) in the divergence")
    p.add_argument(
        "--heads", choices=HEADS, nargs="+", default=["pitch", "duration"], help="what is learned of the teacher"
    )
    p.add_argument("--duets", type=positive, default=32, help="performances a step of the student")
    p.add_argument("--events", type=positive, default=224, help="how long a performance is")
    p.add_argument("--batch", type=positive, default=16, help="ordinary windows a step")
    p.add_argument("--length", type=positive, default=512, help="events in those")
    p.add_argument("--dropout", type=share, default=0.1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--valid-windows", type=positive, default=8)
    p.add_argument("--save-every", type=positive, default=20)
    distil(p.parse_args())
