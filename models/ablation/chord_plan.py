"""Whether a plan of chords and of returning bars would tell the decoder anything that it does not know.

    python -m models.chord_plan RUN --corpus CORPUS

A planner of bars: a gated recurrent unit reads the chords and the pitch classes of each bar of the past, points to the earlier
bar that the next one, the one after it and so on repeat (or to none), and takes their chords from there, or from a softmax of
its own, as the pointer says (pointer-generator networks, See et al., ACL 2017). It is trained by maximum likelihood on the
training split, in all keys.

On pieces of the validation split, of which it knows the true past, the table shows nats a beat of the chords: of the decoder,
which has heard all that comes before the chord; of the plan, made when the bar begins (0) or a bar before (1, as live: the bar
before is still being played); and of both, softmax(a log p + b log q), a and b fitted to the other half of the pieces. They are
compared with the decoder alone, softmax(a log p), a fitted in the same way. Then of the notes that the decoder is asked for:
how many one of its memory's candidates has, onset and pitch; how many are in the bar that the plan points to, at the same place,
where no candidate has them; and the same for the bar of the past that fits best, which nobody can know.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from models.bootstrap import mean
from models.command import Parser, positive
from models.corpus.chords import load_charted
from models.corpus.pack import Pack, Piece
from models.corpus.perturb import NONE
from models.corpus.windows import Windows, collate, window
from models.nets.checkpoint import load_decoder
from models.nets.decoder import Decoder
from models.training.losses import candidates_of
from realtime.music.chords import CHORDS, UNKNOWN, transpose
from realtime.music.metre import TICKS
from realtime.music.vocabulary import DRUMS, FIELDS, HEADS, MELODY, Role

SLOTS = 4
"""Beats of a bar that are planned; later ones of a longer bar are left out."""
AHEAD = 4
"""Bars that are planned."""
PAST = 64
"""Bars that may come back."""
LONGEST, BATCH, RATE = 96, 16, 2e-3
WIDTH = 256
LENGTH = 1024
"""Events of a piece that are scored."""
ROLES = (Role.COMPOSE, Role.ACCOMPANY)


class Bars(NamedTuple):
    """Bars of a piece: `chords` (N, SLOTS), -1 where there is no such beat, `content` (N, SLOTS, 24): how long each pitch class
    sounds in the beat, in beats, then of the tune alone."""

    chords: np.ndarray
    content: np.ndarray


def bars_of(piece: Piece) -> Bars:
    """All bars, the pick-up too."""
    beats, notes = piece.beats, piece.notes[piece.notes["part"] != DRUMS]
    bar = np.cumsum(beats["index"] == 0) - (beats["index"][0] == 0)
    at = np.minimum(beats["index"].astype(int), SLOTS)
    chords = np.full((bar[-1] + 1, SLOTS + 1), -1)
    chords[bar, at] = np.where(piece.chords == UNKNOWN, -1, piece.chords)
    content = np.zeros((bar[-1] + 1, SLOTS + 1, 24), np.float32)
    onset = notes["onset"].astype(np.int64)
    first = np.searchsorted(beats["start"], onset, side="right") - 1
    for part, here in ((0, np.ones(len(notes), bool)), (12, notes["part"] == MELODY)):
        rows = first[here]
        ticks = np.minimum(notes["duration"][here], TICKS) / TICKS
        np.add.at(content, (bar[rows], at[rows], part + notes["pitch"][here] % 12), ticks)
    return Bars(chords[:, :SLOTS], np.minimum(content[:, :SLOTS], 2))


def moved(bars: Bars, semitones: int) -> Bars:
    """In another key."""
    chords = np.where(bars.chords < 0, -1, transpose(np.maximum(bars.chords, 0), semitones))
    content = np.roll(bars.content.reshape(*bars.content.shape[:2], 2, 12), semitones, -1).reshape(bars.content.shape)
    return Bars(chords, content)


class Planned(NamedTuple):
    """`chords` (B, N, AHEAD, SLOTS, CHORDS): probabilities of the chords of bar n + k when bar n begins; `pointer` (B, N, AHEAD,
    N + 1): of the bar that it repeats, the last: none."""

    chords: Tensor
    pointer: Tensor


class ChordPlanner(nn.Module):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(SLOTS * (CHORDS + 24), WIDTH)
        self.recur = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.ask = nn.Linear(WIDTH, AHEAD * WIDTH)
        self.offer = nn.Linear(2 * WIDTH, WIDTH)
        self.nothing = nn.Parameter(torch.zeros(WIDTH))
        self.age = nn.Parameter(torch.zeros(AHEAD, PAST + 1))
        self.write = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, AHEAD * SLOTS * CHORDS))
        self.drop = nn.Dropout(0.1)

    def forward(self, chords: Tensor, content: Tensor) -> Planned:
        """chords: (B, N, SLOTS), content: (B, N, SLOTS, 24)."""
        count = chords.shape[1]
        known = F.one_hot(chords.clamp(min=0), CHORDS) * (chords >= 0)[..., None]
        x = torch.relu(self.enter(torch.cat([known, content], -1).flatten(2)))
        after = self.recur(self.drop(x))[0]
        before = F.pad(after, (0, 0, 1, 0))[:, :-1]  # what is known when each bar begins
        query = self.ask(self.drop(before)).unflatten(-1, (AHEAD, WIDTH))
        key = self.offer(torch.cat([before, after], -1))
        score = torch.einsum("bnkw,bmw->bnkm", query, key) / WIDTH**0.5
        age = torch.arange(count)[:, None] - torch.arange(count)
        score = score + self.age[:, age.clamp(0, PAST)].permute(1, 0, 2)
        score = score.masked_fill(((age < 1) | (age > PAST))[:, None], -1e9)
        none = (query @ self.nothing)[..., None] / WIDTH**0.5
        pointer = torch.cat([score, none], -1).softmax(-1)
        copied = torch.einsum("bnkm,bmsc->bnksc", pointer[..., :-1], known.float())
        written = self.write(self.drop(before)).unflatten(-1, (AHEAD, SLOTS, CHORDS)).softmax(-1)
        rest = 1 - copied.sum(-1, keepdim=True)  # where no bar comes back, or what does has no such beat
        return Planned(copied + rest.clamp(min=1e-4) * written, pointer)

    def nats(self, chords: Tensor, content: Tensor) -> Tensor:
        """Minus log likelihood of a planned beat."""
        planned = self(chords, content).chords
        ahead = (
            F.pad(chords, (0, 0, 0, AHEAD - 1), value=-1).unfold(1, AHEAD, 1).transpose(2, 3)
        )  # (B, N, AHEAD, SLOTS)
        p = planned.gather(-1, ahead.clamp(min=0)[..., None])[..., 0]
        there = ahead >= 0
        there[:, 0] = False
        return -p[there].log().mean()


def train(pack: Pack, steps: int, seed: int) -> ChordPlanner:
    """A planner, trained on the training split."""
    torch.manual_seed(seed)
    planner, rng = ChordPlanner(), np.random.default_rng(seed)
    pieces = Windows(pack, "train", 1, seed, NONE, 1)
    optimiser = torch.optim.AdamW(planner.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    total = 0.0
    for step in range(1, steps + 1):
        stretches = []
        for _ in range(BATCH):
            bars = moved(bars_of(pieces.piece(rng)), int(rng.integers(12)))
            first = int(rng.integers(max(len(bars.chords) - LONGEST, 0) + 1))
            stretches.append(Bars(*(field[first : first + LONGEST] for field in bars)))
        chords = pad_sequence([torch.from_numpy(bars.chords) for bars in stretches], True, -1)
        content = pad_sequence([torch.from_numpy(bars.content) for bars in stretches], True)
        loss = planner.nats(chords, content)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(planner.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0 or step == steps:
            print(f"step {step}: {total / ((step - 1) % 100 + 1):.3f} nats a planned beat", flush=True)
            total = 0.0
    return planner.eval()


class Scored(NamedTuple):
    """Of a piece: log probabilities (C, CHORDS) of its chords by the decoder, and by the plan made 0 and 1 bars before; the true
    ones (C,); and of each note whether a candidate has it, the bar that the plan points to, and the best bar (N, 3)."""

    decoder: np.ndarray
    plans: tuple[np.ndarray, np.ndarray]
    true: np.ndarray
    notes: np.ndarray


def places(piece: Piece, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bar (as in `bars_of`) and row of the beat at ticks of a piece."""
    beats = piece.beats
    bar = np.cumsum(beats["index"] == 0) - (beats["index"][0] == 0)
    row = np.searchsorted(beats["start"], ticks, side="right") - 1
    return bar[row], row


@torch.no_grad()
def score(decoder: Decoder, planner: ChordPlanner, piece: Piece, role: Role, seed: int) -> Scored | None:
    """None where nothing of the piece can be scored in this role."""
    arrays = window(piece, LENGTH, np.random.default_rng(seed), NONE, role, bar=0, memory=True)
    if int(arrays["events"][0, list(FIELDS).index("role")]) != role:
        return None
    batch = collate([arrays])
    logits, _ = decoder(batch["events"], batch["held"], batch["targets"], candidates=candidates_of(batch))
    due, asked = arrays["due"] > 0, arrays["note"] > 0
    origin = int(piece.beats["start"][0])
    bar, row = places(piece, arrays["tick"] + origin)
    slots = piece.beats["index"][row].astype(int)
    due &= (slots < SLOTS) & (bar > 1)
    if not due.any() or not asked.any():
        return None
    bars = bars_of(piece)
    planned = planner(*(torch.from_numpy(field)[None] for field in bars))
    log_p = planned.chords[0].log().numpy()
    plans = tuple(log_p[bar[due] - before, before, slots[due]] for before in (0, 1))
    decoded = logits[len(HEADS)][0][torch.from_numpy(due)].float().log_softmax(-1).numpy()[:, :CHORDS]
    notes = recalled(piece, arrays, asked, planned.pointer[0, :, 0, :-1].numpy(), origin)
    return Scored(decoded, plans, arrays["chord"][due], notes)


def recalled(
    piece: Piece, arrays: dict[str, np.ndarray], asked: np.ndarray, pointer: np.ndarray, origin: int
) -> np.ndarray:
    """The last of `Scored`; pointer: (N, N) from each bar to those before."""
    starts = np.unique(np.append(piece.bar_starts, origin))
    all_bars, _ = places(piece, piece.notes["onset"].astype(np.int64))
    inside = [set[tuple[int, int]]() for _ in range(len(pointer))]
    for note, of in zip(piece.notes, all_bars.tolist(), strict=True):
        inside[of].add((int(note["onset"]) - int(starts[of]), int(note["pitch"])))
    steps = np.flatnonzero(asked)
    target, ids = arrays["targets"][steps], arrays["candidates"][steps]
    found = np.zeros((len(steps), 3), bool)
    found[:, 0] = ((ids[..., 0] == target[:, None, 0]) & (ids[..., 2] == target[:, None, 2])).any(1)
    bar, row = places(piece, arrays["tick"][steps] + origin)
    tick = piece.beats["start"][row] + target[:, 0] - starts[bar]
    for of in np.unique(bar[bar > 0]).tolist():
        here = np.flatnonzero(bar == of)
        hits = [[(int(tick[i]), int(target[i, 2])) in inside[m] for i in here] for m in range(max(of - PAST, 0), of)]
        found[here, 1] = hits[int(pointer[of, max(of - PAST, 0) : of].argmax())]
        found[here, 2] = max(hits, key=sum)
    return found


def mixed(parts: list[np.ndarray], weights: Tensor) -> Tensor:
    """log softmax of the weighted sum of log probabilities, (C, CHORDS)."""
    return sum(w * torch.from_numpy(part) for w, part in zip(weights, parts, strict=True)).log_softmax(-1)  # type: ignore[union-attr]


def fitted(parts: list[np.ndarray], true: np.ndarray) -> Tensor:
    """The weights under which the true chords are likeliest."""
    weights = torch.eye(len(parts))[0].requires_grad_()
    optimiser = torch.optim.LBFGS([weights], max_iter=50)

    def closure() -> float:
        optimiser.zero_grad()
        loss = F.nll_loss(mixed(parts, weights), torch.from_numpy(true))
        loss.backward()
        return loss.item()

    optimiser.step(closure)
    return weights.detach()


def nats_of(scored: list[Scored], before: int | None, plan_alone: bool = False) -> list[float]:
    """Nats a beat of each piece, of the decoder and the plan made so many bars before, or of the decoder alone; each half of the
    pieces under the weights fitted to the other. `plan_alone`: as the plan has it."""

    def parts(of: Scored) -> list[np.ndarray]:
        return [of.decoder] if before is None else [of.plans[before]] if plan_alone else [of.decoder, of.plans[before]]

    found = [0.0] * len(scored)
    for half in (0, 1):
        others = scored[1 - half :: 2]
        all_parts = [np.concatenate(rows) for rows in zip(*map(parts, others), strict=True)]
        weights = torch.ones(1) if plan_alone else fitted(all_parts, np.concatenate([of.true for of in others]))
        for i in range(half, len(scored), 2):
            found[i] = F.nll_loss(mixed(parts(scored[i]), weights), torch.from_numpy(scored[i].true)).item()
    return found


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.chord_plan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("decoder", type=Path, help="a run of models.train")
    p.add_corpus(required=True)
    p.add_argument("--steps", type=positive, default=1500, help="of the planner's training")
    p.add_argument("--pieces", type=positive, default=96, help="of the validation split")
    p.add_argument("--seed", type=int, default=1)
    args = p.parse_args()
    decoder, _ = load_decoder(args.decoder)
    pack = load_charted(args.corpus, args.cache)
    planner = train(pack, args.steps, args.seed)
    rows = np.random.default_rng(args.seed).permutation(pack.rows("valid"))[: args.pieces]
    console = Console()
    for role in ROLES:
        scored = [
            found for row in rows.tolist() if (found := score(decoder, planner, pack[row], role, args.seed)) is not None
        ]
        name = role.name.lower()
        table = Table("", "nats a beat", "less than the decoder", title=f"chords, {name}, {len(scored)} pieces")
        alone = nats_of(scored, None)
        table.add_row("decoder", str(mean(alone)))
        for before in (0, 1):
            table.add_row(f"plan, {before} bars before", str(mean(nats_of(scored, before, plan_alone=True))))
            both = nats_of(scored, before)
            less = mean([a - b for a, b in zip(alone, both, strict=True)])
            table.add_row(f"both, {before} bars before", str(mean(both)), str(less))
        console.print(table)
        table = Table("", "share of the notes", title=f"notes, {name}")
        table.add_row("a candidate of the memory has it", str(mean([of.notes[:, 0].mean() for of in scored])))
        for kind, column in (("the bar that is planned, and no candidate", 1), ("the best bar, and no candidate", 2)):
            more = [float((of.notes[:, column] & ~of.notes[:, 0]).mean()) for of in scored]
            table.add_row(kind, str(mean(more)))
        console.print(table)
