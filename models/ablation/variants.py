"""The variants that `models.ablation.decoder` compares, in two sets.

*form*: mixers, heads, the form of events, durations, perturbations, roles and size, without memory and chords. *memory*: what
memory, each kind of its pointers and chords are worth, beside softmax attention over a long window and an LSTM.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.ablation.readings import Reading, as_it_is, reveal_durations, without_chords, without_pointers
from models.corpus.perturb import NONE, Augment
from models.nets.decoder import SIZES, ChainedHeads, Decoder, Size
from models.nets.flat import FlatDecoder
from models.nets.layers import HEAD_SIZE, LinearAttention
from realtime.composing.memory import EXACT, FIRST_BARS, KINDS, MOVED
from realtime.music.vocabulary import Role

ABLATION_SIZES = {"small": Size(128, 3, 96), "tiny": SIZES["tiny"], "S": SIZES["S"]}
TRICKS = Augment()
OF_MEMORY = ("unquoted", "again", "forget", "mistake")
"""The perturbations that concern the memory."""
WIDEST = 1024
"""The largest d_model that is tried for an LSTM."""


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


def slow_decay(size: Size) -> Decoder:
    """The decoder with half-lives eight times as long before training."""
    decoder = Decoder(size)
    for module in decoder.modules():
        if isinstance(module, LinearAttention):
            with torch.no_grad():
                rate = torch.nn.functional.softplus(module.decay.bias) / 8
                module.decay.bias.copy_(torch.log(torch.expm1(rate)))
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
    read: Reading = as_it_is
    """What it makes of a window."""
    seed: int = 0
    """Added to the run's seed."""
    grown: float = 0.0
    """The share of the training that is over when it is given its memory."""


class Variants(NamedTuple):
    """The base, first, and all that is compared with it, the most important first; and `pairs` of names whose difference is told
    too."""

    all: list[Variant]
    pairs: tuple[tuple[str, str], ...] = ()

    @property
    def memory(self) -> bool:
        """Whether any of them has a memory, so that windows need candidates."""
        return any(variant.size.memory for variant in self.all)

    @property
    def chords(self) -> bool:
        """Whether any of them draws chords, so that windows need them."""
        return any(variant.size.chords for variant in self.all)


def without_trick(name: str, size: Size) -> Variant:
    """Trained on windows without this perturbation."""
    off = type(getattr(TRICKS, name))()
    return Variant(f"no_{name}", "trick", f"without {name}", size, augment=replace(TRICKS, **{name: off}))


def of_form(size: Size) -> Variants:
    """The set "form"; see the module's docstring."""
    size = replace(size, memory=False, chords=False)
    larger = replace(
        size,
        d_model=-(-size.d_model * 3 // 2 // HEAD_SIZE) * HEAD_SIZE,
        layers=size.layers * 4 // 3,
        head_hidden=size.head_hidden * 4 // 3,
    )
    hybrid = ("decay", "window", "decay") if size.layers > 2 else ("decay", "window")
    found = [
        Variant("decay", "mixer", "the base: linear attention with a scalar decay", size),
        Variant("reseeded", "mixer", "the base from another seed", size, seed=1000),
        Variant("elu", "mixer", "elu + 1, normalised, nothing forgotten", replace(size, mixers=("elu",))),
        Variant("gated_delta", "mixer", "Gated DeltaNet", replace(size, mixers=("gated_delta",))),
        Variant("hybrid", "mixer", "one layer in three: softmax over a window", replace(size, mixers=hybrid)),
        Variant("parallel", "heads", "each head sees the trunk alone", size, parallel),
        Variant("flat", "events", "a token a field, one softmax", size, FlatDecoder),
        Variant("durations", "durations", "the player's durations known at onset (an oracle)", size, read=reveal_durations),
        Variant("no_tricks", "trick", "windows as the music stands", size, augment=NONE),
        Variant("no_roles", "trick", "all notes the model's own", size, role=Role.COMPOSE),
    ]  # fmt: skip
    found += [without_trick(field.name, size) for field in fields(Augment) if field.name not in OF_MEMORY]
    return Variants([*found, Variant("larger", "size", "as M is to S; more parameters", larger)])


def of_memory(size: Size) -> Variants:
    """The set "memory"; see the module's docstring."""
    size = replace(size, memory=True, chords=True)
    bare = replace(size, memory=False)
    attention = (*("decay",) * (size.layers - 2), "window512", "window512")
    lstm = replace(size, layers=2, mixers=("lstm",))
    line, exact, moved, bars = (KINDS[expert] for expert in (0, EXACT, MOVED, FIRST_BARS))

    def pointers(name: str, what: str, *kinds: int) -> Variant:
        return Variant(name, "pointers", what, size, read=without_pointers(kinds))

    found = [
        Variant("memory", "memory", "the base: scalar decay, memory, chords", size),
        Variant("no_memory", "memory", "without memory", bare),
        Variant("window512", "mixer", "no memory; two layers of softmax over 512 events", replace(bare, mixers=attention)),
        Variant("window512_memory", "mixer", "these two layers, and memory", replace(size, mixers=attention)),
        Variant("lstm", "mixer", "an LSTM, no memory", replace(lstm, memory=False)),
        Variant("lstm_memory", "mixer", "an LSTM, and memory", lstm),
        Variant("slow_decay", "mixer", "half-lives eight times as long at the start", size, slow_decay),
        Variant("no_chords", "chords", "without CHORD events", replace(size, chords=False), read=without_chords),
        pointers("no_exact", "without the pointer of the whole stream as it was", exact),
        pointers("no_moved", "without that of the whole stream, moved", moved),
        pointers("no_line", "without those of each line", line),
        pointers("no_bars", "without those of the same place, bars ago", bars),
        pointers("only_line", "those of each line alone", exact, moved, bars),
        Variant("reseeded", "memory", "the base from another seed", size, seed=1000),
        Variant("grown", "memory", "memory from the middle of the training on", size, grown=0.5),
        *(without_trick(name, size) for name in OF_MEMORY),
    ]  # fmt: skip
    pairs = (
        ("window512", "no_memory"), ("lstm", "no_memory"), ("window512_memory", "window512"), ("lstm_memory", "lstm"),
    )  # fmt: skip
    return Variants(found, pairs)


SETS: dict[str, Callable[[Size], Variants]] = {"form": of_form, "memory": of_memory}


def parameters(make: Callable[[Size], Decoder], size: Size) -> int:
    """How many a decoder has."""
    return sum(p.numel() for p in make(size).parameters())


def equalise(variant: Variant, target: int) -> Variant:
    """The variant with as many parameters as come nearest to `target`, by the width of its feed-forward layers. An LSTM has none:
    by the width of its trunk."""
    size = variant.size
    if size.mixers == ("lstm",):
        sizes = [replace(size, d_model=width) for width in range(1, WIDEST)]
        above = bisect_left(sizes, target, key=lambda s: parameters(variant.make, s))
        size = min(sizes[above - 1 : above + 1], key=lambda s: abs(parameters(variant.make, s) - target))
        return replace(variant, size=size)
    size = replace(size, mlp_hidden=1)
    a_unit = 3 * size.d_model * size.layers
    hidden = 1 + round((target - parameters(variant.make, size)) / a_unit)
    return replace(variant, size=replace(size, mlp_hidden=hidden))
