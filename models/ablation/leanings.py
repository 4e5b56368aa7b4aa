"""What each leaning of the live sampler is worth: what is played with it and without it, all else the same.

    python -m models.leanings CORPUS [--only key swing]

A leaning is a bias of some nats that makes up for what the model does not do by itself (`realtime.composing`). One after the
other is turned off; what is played is measured as `models.charts` and `models.listen` have it:

- accompaniments of held-out tunes whose chords are annotated, without a chart: chords missed, lowest note is root, in the chord,
  harsh, notes a quarter;
- answers in trade to held-out phrases, accented by metre where they are of even loudness: interval triples of the call, velocity
  spread over the call's, turns that end as a phrase; to swung ones, early and late as a player is: swung as the call; to those of
  two hands on one keyboard: shared register;
- `LOOP_BARS` bars that continue such a phrase, in which a model may get stuck: how alike successive bars are;
- answers of trade and continue to the tunes of `antiphon bench --music`: notes in the key, shared register, how far the density
  is from the player's, turns that close.

The table has the means, and for each leaning by how much they are higher without it. A star marks a difference whose 95 %
interval by piece, paired, does not hold 0.
"""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from rich.console import Console
from rich.table import Table

from models.bootstrap import mean
from models.command import Parser, positive
from models.corpus.chords import read_annotations
from models.corpus.pack import Pack, load_pack
from models.evaluation import charts, trade
from models.evaluation.prompts import PROMPT_BARS, Listener, Prompt, drawn, prompts_of
from realtime.composing import masks, overuse, player_profile, sampler
from realtime.composing.chord_hearing import ChordHearing
from realtime.composing.loudness import Loudness
from realtime.composing.masks import Masks
from realtime.composing.register import wide
from realtime.composing.returns import Returns
from realtime.composing.swing import Swing
from realtime.core.dialogue import Turn
from realtime.core.modes import Fixed
from realtime.errors import UserError
from realtime.io.bench import music as bench_music
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music import measures
from realtime.music.notes import between
from realtime.music.tunes import TUNES
from realtime.music.vocabulary import DRUMS, MELODY

Off = tuple[tuple[Any, str, Any], ...]
"""What is put in the place of what: (module or class, name, value)."""


def _nothing(*_: object) -> float:
    return 0.0


LEANINGS: dict[str, Off] = {
    "chords heard in the tune": ((ChordHearing, "bias", _nothing),),
    "frequent pitch classes": ((player_profile, "FREQUENT_NATS", 0.0),),
    "consonance with held keys": ((player_profile, "DISSONANT_NATS", 0.0),),
    "key": ((player_profile, "OUT_OF_KEY_NATS", 0.0),),
    "range": ((player_profile, "_beyond", _nothing),),
    "spread over the register": ((masks, "spread_bias", _nothing),),
    "full chords": ((masks, "THIN_NATS", 0.0),),
    "not over the bar line": ((masks, "OVER_THE_BAR_NATS", 0.0),),
    "on sixteenths and triplets": ((masks, "OFF_GRID_NATS", 0.0),),
    "density": ((masks, "surplus", _nothing),),
    "loudness": ((Loudness, "bias", _nothing), (Masks, "accented", lambda self, event, now, role: event)),
    "swing": ((Swing, "swung", lambda self, event, beat, bias: event),),
    "taking up the call": ((sampler, "take_up", _nothing),),
    "cadences": ((Masks, "closing", lambda self, role, turn, beat: None),),
    "returning bars": ((Returns, "bias", lambda self, *of: None),),
    "repeated pitches": ((masks, "REPEATED_NATS", 0.0),),
    "overused patterns": ((overuse, "OVERUSE_NATS", 0.0),),
}
ACCOMPANIMENT = ("missed", "lowest note is root", "in the chord", "harsh", "notes a quarter")
ANSWERS = ("interval triples of the call", "velocity spread over the call's", "turns that end as a phrase")
SWUNG = "swung as the call"
UNSTEADY_TICKS = 1.0
"""Standard deviation of a swinging player's onsets."""
HANDS = "register of two hands"
OF_TUNES = ("key", "register", "density off", "closed")
LOOP_BARS = 24
ALIKE = "successive bars alike"
Figures = dict[str, list[float]]
"""By name, a value a piece."""


def unsteady(prompt: Prompt, seed: int) -> Prompt:
    """Played early and late, as a player does."""
    notes = prompt.notes.copy()
    wander = np.random.default_rng(seed).normal(0, UNSTEADY_TICKS, len(notes))
    notes["onset"] = np.maximum(notes["onset"] + np.rint(wander).astype(np.int64), 0)
    return prompt._replace(notes=notes)


def two_hands(prompt: Prompt) -> Prompt | None:
    """All but the drums from one keyboard; None where the hands are not far apart."""
    notes = np.sort(prompt.notes[prompt.notes["part"] != DRUMS], order=("onset", "pitch"))
    again = (np.diff(notes["onset"], prepend=-1) == 0) & (np.diff(notes["pitch"], prepend=-1) == 0)
    notes = notes[~again]
    notes["part"] = MELODY
    return prompt._replace(notes=notes, both=False) if wide(notes["pitch"].tolist()) > 0.5 else None


class Material:
    """What is played to Antiphon: annotated stretches, phrases, swung phrases, phrases of two hands."""

    def __init__(self, pack: Pack, root: Path, tunes: int, prompts: int, seed: int) -> None:
        found = charts.pieces_of(pack, read_annotations(root), "valid", tunes, seed)
        self.charted = [charted for of in found.values() for charted in of]
        self.prompts: list[Prompt] = prompts_of(pack, "valid", prompts, seed)
        swung = trade.swung_prompts_of(pack, "valid", prompts // 2, seed)
        self.swung = [unsteady(prompt, i) for i, prompt in enumerate(swung)]
        self.hands = drawn(pack, "valid", prompts // 2, seed, two_hands)


def listen(listener: Listener, material: Material) -> Figures:
    """All figures of what is played now."""
    found: Figures = {}

    def add(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for charted in material.charted:
        row = charts.figures(charted, charts.play(listener, charted, None))
        for name in ACCOMPANIMENT:
            add(name, row[name])
    answered = [listener.answers(trade.accented(prompt, i)) for i, prompt in enumerate(material.prompts, 1)]
    for i, played in enumerate(answered):
        of_prompt = trade.figures(played, answered[i - 1])
        for name in ANSWERS:
            add(name, of_prompt[name][0])
    for prompt in material.swung:
        add(SWUNG, trade.swing_figures(listener.answers(prompt))[SWUNG][0])
    for prompt in material.hands:
        shared = [
            measures.shared_register(mine, call) for call, mine, _ in trade.turns(listener.answers(prompt)) if len(mine)
        ]
        add(HANDS, float(np.mean(shared)) if shared else math.nan)
    for prompt in material.prompts[::2]:
        edge, end = PROMPT_BARS * prompt.bar, (PROMPT_BARS + LOOP_BARS) * prompt.bar
        player = between(prompt.notes, 0, edge)
        made = listener.play(prompt, Fixed(Turn(edge, end)), player, tuple(np.unique(player["part"]).tolist()), end)
        add(ALIKE, float(measures.similarity_curve(made, edge + prompt.bars(LOOP_BARS), 1)[0]))
    for mode in ("trade", "continue"):
        for tune in TUNES:
            of_tune = bench_music.figures(bench_music.duet(listener.config, listener.model, tune, mode), tune)
            for name in OF_TUNES:
                add(f"{name}, {mode}", of_tune[name])
    return found


def difference(plain: list[float], without: list[float]) -> str:
    """By how much a figure is higher without the leaning, starred where the interval does not hold 0."""
    apart = mean(np.subtract(without, plain))
    return f"{apart.value:+.3f}{'' if math.isnan(apart.value) or apart.low <= 0 <= apart.high else '*'}"


def main() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.leanings", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus("data")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--tunes", type=positive, default=8, help="annotated tunes of each source")
    p.add_argument("--prompts", type=positive, default=18, help="phrases that are answered; half as many swung ones")
    p.add_argument("--only", nargs="+", default=list(LEANINGS), metavar="NAME", help="these leanings")
    p.add_argument("--seed", type=int, default=1, help="of the choice of pieces and of what is played")
    args = p.parse_args()
    if unknown := set(args.only) - set(LEANINGS):
        raise UserError(
            f"--only {', '.join(sorted(unknown))}: there is no such leaning; there are {', '.join(LEANINGS)}"
        )
    material = Material(load_pack(args.data, args.cache), args.data, args.tunes, args.prompts, args.seed)
    plain = listen(Listener(args.model, args.seed), material)
    table = Table("without", *plain)
    table.add_row("nothing", *(f"{mean(values).value:.3f}" for values in plain.values()))
    for name in args.only:
        with ExitStack() as stack:
            for where, what, value in LEANINGS[name]:
                stack.enter_context(patch.object(where, what, value))
            without = listen(Listener(args.model, args.seed), material)
        row = [difference(values, without[figure]) for figure, values in plain.items()]
        table.add_row(name, *row)
        print(f"without {name}: " + "; ".join(map(" ".join, zip(plain, row, strict=True))), flush=True)
    Console(width=20 * len(plain)).print(table)
