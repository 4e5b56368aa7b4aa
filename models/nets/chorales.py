"""A model of four-part chorales in frames: the decoder's trunk, a step an eighth, and a chain of four voices a frame.

A frame is what the four voices sound in a sixteenth: (4,) classes, 0 for silence, else the MIDI pitch less `LOWEST` plus 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.nets.layers import Block

VOICES = ("soprano", "alto", "tenor", "bass")
ORDER = (0, 3, 1, 2)
"""The chain inside of a frame, as indices of `VOICES`: the outer voices first."""
SILENCE, LOWEST, HIGHEST = 0, 36, 81
CLASSES = HIGHEST - LOWEST + 2
START = CLASSES
"""Stands for a pitch where there is none yet; never predicted."""
INTERVALS = 2 * CLASSES - 1
LENGTHS = 10
BAR, TRIPLE_BAR = 16, 12
STRIDE = 2
"""Frames a step of the trunk: an eighth. Little moves on the other sixteenths."""


def log_bin(n: np.ndarray) -> np.ndarray:
    """0 for 0, then one bin an octave: 1, 2 to 3, 4 to 7 ... up to `LENGTHS` - 1."""
    return np.where(n > 0, np.minimum(np.log2(np.maximum(n, 1)).astype(np.int64) + 1, LENGTHS - 1), 0)


def longest_match(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each frame, which earlier frame followed the longest stretch that also ends just before it, and how long it is.

    frames: (T, V). Returns (T,) indices, -1 for none, and (T,) lengths in frames; of equal ones the latest. Only frames
    before t are read for t.
    """
    T = len(frames)
    where, length = np.full(T, -1), np.zeros(T, np.int64)
    run = np.zeros(T, np.int64)  # run[j]: how many frames up to j equal those up to t - 1
    for t in range(1, T):
        run = np.where((frames == frames[t - 1]).all(1), np.concatenate([[0], run[:-1]]) + 1, 0)
        earlier = run[: t - 1]
        if len(earlier) and earlier.max() > 0:
            j = len(earlier) - 1 - int(earlier[::-1].argmax())
            where[t], length[t] = j + 1, earlier[j]
    return where, length


def features(frames: np.ndarray) -> dict[str, np.ndarray]:
    """What is known before each frame of a piece, from the frames before it. frames: (T, 4) classes.

    previous: (T, 4) classes of the frame before; before: (T, 4) each voice's last other pitch; copied: (T, 4) classes of the
    frame that followed the longest match; age: (T, 4) bins of how long each voice has held; match: (T,) bin of the match's
    length; beat: (T, 2) sixteenths since the start modulo `BAR` and modulo `TRIPLE_BAR`. `START` where there is none.
    """
    T = len(frames)
    previous, before, copied = (np.full((T, 4), START) for _ in range(3))
    age = np.zeros((T, 4), np.int64)
    previous[1:] = frames[:-1]
    for t in range(1, T):
        same = previous[t] == previous[t - 1]
        age[t] = np.where(same, age[t - 1], 0) + 1
        before[t] = np.where(same, before[t - 1], previous[t - 1])
    where, length = longest_match(frames)
    copied[where >= 0] = frames[where[where >= 0]]
    time = np.arange(T)
    return {
        "frames": frames,
        "previous": previous,
        "before": before,
        "copied": copied,
        "age": log_bin(age),
        "match": log_bin(length),
        "beat": np.stack([time % BAR, time % TRIPLE_BAR], -1),
    }


def intervals(scores: Tensor, reference: Tensor) -> Tensor:
    """Scores by interval -> scores by class: (..., INTERVALS), (...) -> (..., CLASSES); 0 for and against silence."""
    classes = torch.arange(CLASSES, device=scores.device)
    found = scores.gather(-1, classes - reference.clamp(max=CLASSES - 1).unsqueeze(-1) + CLASSES - 1)
    sounding = (reference != SILENCE) & (reference != START)
    return found * (sounding.unsqueeze(-1) & (classes != SILENCE))


class Tables(nn.Module):
    """The sum of one embedding from each of several tables."""

    def __init__(self, sizes: list[int], d_model: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(sum(sizes), d_model, mode="sum")
        nn.init.normal_(self.table.weight, std=0.1)
        self.first: Tensor
        self.register_buffer("first", torch.tensor([0, *sizes[:-1]]).cumsum(0), persistent=False)

    def forward(self, ids: list[Tensor]) -> Tensor:
        """ids: (N,) tensors, one for each table. Returns (N, d_model)."""
        return self.table(torch.stack(ids, -1) + self.first)


def interval(upper: Tensor, lower: Tensor) -> Tensor:
    """The interval between two classes as an index below `INTERVALS`, whatever it is where one of them is no pitch."""
    return upper.clamp(max=CLASSES - 1) - lower.clamp(max=CLASSES - 1) + CLASSES - 1


class VoiceHead(nn.Module):
    """One voice of a frame, given the frames before and the voices `earlier` of this one."""

    def __init__(self, d_model: int, voice: int, earlier: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.voice, self.earlier = voice, earlier
        known = [CLASSES, INTERVALS, INTERVALS] * len(earlier)
        self.known = Tables([4 * LENGTHS, CLASSES + 1, CLASSES + 1, LENGTHS, *known], d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(2 * d_model, d_model)
        self.norms = nn.ModuleList(nn.RMSNorm(d_model, eps=1e-6) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.sizes = [1, 1, CLASSES, *([INTERVALS] * (1 + len(earlier)))]
        self.out = nn.Linear(d_model, sum(self.sizes))
        for layer in (self.up, self.down, self.out):
            nn.init.normal_(layer.weight, std=0.02)

    def forward(self, h: Tensor, at: dict[str, Tensor]) -> Tensor:
        """h: (N, d_model); at: the frames' features; of `at["frames"]` only the voices `earlier` are read.

        Returns log p: (N, CLASSES). The pitch stays with one probability; else another one is drawn. The same as one
        distribution over all pitches.
        """
        frames, copied, previous, own = at["frames"], at["copied"], at["previous"], at["previous"][:, self.voice]
        drawn = [frames[:, v] for v in self.earlier]
        kept = torch.ones_like(own)  # whether the copy was right in this frame so far
        for v in self.earlier:
            kept = kept * (frames[:, v] == copied[:, v])
        ids = [at["match"] * 4 + kept * 2 + (copied[:, self.voice] == own), own, copied[:, self.voice]]
        ids.append(at["age"][:, self.voice])
        for v, pitch in zip(self.earlier, drawn, strict=True):
            ids += [pitch, interval(pitch, previous[:, v]), interval(pitch, own)]
        z = h + self.known(ids)
        gate, value = self.up(self.dropout(self.norms[0](z))).chunk(2, -1)
        z = z + self.down(self.dropout(F.silu(gate) * value))
        stay, copy, scores, *relative = self.out(self.dropout(self.norms[1](z))).float().split(self.sizes, -1)
        for by_interval, reference in zip(relative, (own, *drawn), strict=True):
            scores = scores + intervals(by_interval, reference)
        classes = torch.arange(CLASSES, device=h.device)
        scores = scores + copy * (classes == copied[:, self.voice, None])
        held = classes == own.unsqueeze(-1)  # (N, CLASSES); nowhere at the start
        change = scores.masked_fill(held, -torch.inf).log_softmax(-1)
        change = change + torch.where((own == START).unsqueeze(-1), 0.0, F.logsigmoid(-stay))
        return torch.where(held, F.logsigmoid(stay), change)


class Chorale(nn.Module):
    """log p of each voice's class in each frame, given all frames before and the voices before it in `ORDER`.

    The trunk takes a step every `STRIDE` frames; the heads know the frame before in any case.
    """

    def __init__(self, d_model: int, layers: int, dropout: float) -> None:
        super().__init__()
        sizes = [LENGTHS, BAR, TRIPLE_BAR, *([CLASSES + 1] * 12), *([LENGTHS] * 4), *([INTERVALS] * 3)]
        self.known = Tables(sizes, d_model)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(d_model, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.heads = nn.ModuleList(VoiceHead(d_model, v, ORDER[:i], dropout) for i, v in enumerate(ORDER))
        for block in self.blocks:
            block.start_small(0.02 / math.sqrt(2 * layers))

    def forward(self, batch: dict[str, Tensor], chosen: Tensor) -> Tensor:
        """batch: `features` of B pieces, padded; chosen: (B, T) bool, the N frames to predict.

        Returns (N, 4, CLASSES), frames in the order of `chosen`, voices in the order of `VOICES`.
        """
        B, T = chosen.shape
        flat = {name: values.flatten(0, 1) for name, values in batch.items()}
        ids = [flat["match"], *flat["beat"].unbind(-1)]
        for name in ("previous", "before", "copied", "age"):
            ids += flat[name].unbind(-1)
        *upper, bass = flat["previous"].unbind(-1)
        ids += [interval(voice, bass) for voice in upper]
        x = self.dropout(self.known(ids)).view(B, T, -1)
        h = x[:, ::STRIDE]
        for block in self.blocks:
            h, _ = block(h)
        h = (self.norm(h).repeat_interleave(STRIDE, 1)[:, :T] + x)[chosen]  # (N, d_model)
        at = {name: values[chosen.flatten()] for name, values in flat.items()}
        log_p = {head.voice: head(h, at) for head in self.heads}
        return torch.stack([log_p[v] for v in range(len(VOICES))], -2)
