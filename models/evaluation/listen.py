"""What a model plays to held-out music: as files to hear, as piano rolls, and in figures, each beside the real music.

    python -m models.listen --data ../shared/data --out listen [--model FILE] [--prompts 32]

Each prompt is played to the live program in simulated time: a continuation of 4 bars by 8, the same as `antiphon compose`
writes it, answers of 2 bars to 2 bars, an accompaniment of 8 bars to the melody, and the accompaniment again to a melody that is
six semitones higher from its 17th beat on (ReaLchords, Wu et al. 2024). Where the prompt is equally loud throughout, the calls
get accents by metre. As many prompts in straight eighths are played swung, and answered. The tunes of `antiphon bench --music`
are answered too, two bars by two.

Writes .mid files, `sheet.png` with a piano roll of each beside the real music, `tunes.png` with those of the bench's tunes in all
modes, and `figures.json`: for each figure of `realtime.music.measures` and `models.evaluation.trade` its mean of what was
generated, with the 95 % interval by piece, of what the rules of `realtime.composing.rules` play to the same prompts, and of the
real music; generated over real; the mean of |generated - real| over the pieces; and for comparison that of |another real piece -
real|.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.bootstrap import mean
from models.command import Parser
from models.corpus.pack import load_pack
from models.evaluation.copies import line, lines_of, longest_copies
from models.evaluation.prompts import SHIFT_BEAT, SHIFT_BEATS, Listener, Played, Prompt, prompts_of, write_midi
from models.evaluation.sheet import Roll, draw, duet_roll, rolls
from models.evaluation.trade import accented, of_duet, swing_figures, swung_prompts_of
from models.evaluation.trade import figures as trade_figures
from models.nets.checkpoint import save_json
from realtime.errors import UserError
from realtime.io.bench.music import MODES, duet
from realtime.io.live.model import Model
from realtime.io.live.settings import SHIPPED_MODEL
from realtime.music import measures
from realtime.music.metre import TICKS
from realtime.music.notes import sounding
from realtime.music.tunes import TUNES
from realtime.music.vocabulary import DRUMS

LAGS = (1, 2, 4, 8)
RECOVERED = 0.9
KINDS = ("continuation", "composition", "answers", "accompaniment", "accompaniment +6")
SWUNG, TO_TUNES = "swung answers", "answers to tunes"
TABLE_WIDTH = 130
"""Characters: the names of the figures are not to be broken, whatever the terminal is taken to be."""
Rows = list[dict[str, tuple[float, float]]]
"""{figure: (generated, real)} of each performance."""
Report = dict[str, dict[str, float | None]]
"""{figure: {column: mean}}."""


def figures(played: Played) -> dict[str, tuple[float, float]]:
    """{figure: (generated, real)} of one performance."""
    mine, real = (notes[notes["part"] != DRUMS] for notes in (played.antiphon, played.real))
    ticks = sum(end - start for start, end in played.spans)
    first = np.searchsorted(played.bars, played.spans[0][0])

    def rests(notes: np.ndarray) -> float:
        return float(np.mean([measures.rests(notes, start, end) for start, end in played.spans]))

    def voices(notes: np.ndarray) -> float:
        count = np.concatenate([sounding(notes, start, end).sum(1) for start, end in played.spans])
        return float(count[count > 0].mean()) if count.any() else math.nan

    simple: dict[str, Callable[[np.ndarray], float]] = {
        "pitch-class entropy, bits": measures.pitch_class_entropy,
        "scale consistency": measures.scale_consistency,
        "groove consistency": lambda notes: measures.groove_consistency(notes, played.bars[first:]),
        "notes a quarter": lambda notes: measures.density(notes, ticks),
        "notes at once": voices,
        "median length, quarters": lambda notes: (
            float(np.median(notes["duration"])) / TICKS if len(notes) else math.nan
        ),
        "share of rests": rests,
        "on the grid": measures.on_grid,
    }
    found = {name: (figure(mine), figure(real)) for name, figure in simple.items()}
    curves = [
        measures.similarity_curve(notes[notes["part"] != DRUMS], played.bars, max(LAGS))
        for notes in (np.concatenate([played.player, played.antiphon]), played.whole)
    ]
    for lag in LAGS:
        if lag < len(played.bars) - 1:
            found[f"bars {lag} apart alike"] = (float(curves[0][lag - 1]), float(curves[1][lag - 1]))
    if played.spans[0][0] == 0:  # together with the player
        end = int(played.bars[-1])
        harmony = [measures.note_in_chord(played.player, notes, 0, end) for notes in (mine, real)]
        known = [float(np.nanmean(h)) if np.isfinite(h).any() else math.nan for h in harmony]
        found["note in chord"] = (known[0], known[1])
        found["consonant when struck"] = (
            measures.consonance(mine, played.player),
            measures.consonance(real, played.player),
        )
        found["player's consonant when struck"] = (
            measures.consonance(played.player, mine),
            measures.consonance(played.player, real),
        )
        found["on the player's pitch class"] = (
            measures.doubling(mine, played.player),
            measures.doubling(real, played.player),
        )
    return found


def _means(*columns: np.ndarray) -> dict[str, float | None]:
    """generated, real, difference, another -> their means over the pieces that have the figure, and the ends of the 95 % interval
    of the first."""
    found = [mean(column) for column in columns]
    shown = dict(zip(("generated", "real", "difference", "another"), (each.value for each in found), strict=True))
    shown |= {"low": found[0].low, "high": found[0].high}
    return {name: value if np.isfinite(value) else None for name, value in shown.items()}


def summary(rows: Rows) -> Report:
    """The means of each figure."""
    report: Report = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        mine, real = np.array([row[name] for row in rows if name in row]).T
        report[name] = _means(mine, real, np.abs(mine - real), np.abs(np.roll(real, 1) - real))
    return report


def overlaps(those: list[Played]) -> Report:
    """The overlap of the histograms with the real music's: of what was generated, 1, what is missing of it, and of the real music
    of another piece."""
    report: Report = {}
    mine, real = (
        [measures.histograms(n[n["part"] != DRUMS]) for n in notes]
        for notes in zip(*((p.antiphon, p.real) for p in those), strict=True)
    )
    for name in real[0]:
        overlap, others = (
            np.array([measures.overlapping_area(a[name], b[name]) for a, b in zip(left, real, strict=True)])
            for left in (mine, real[-1:] + real[:-1])
        )
        report[f"overlap of {name.replace('_', '-')}"] = _means(overlap, np.ones(1), 1 - overlap, others)
    return report


def report_of(kind: str, those: list[Played], corpus: np.ndarray) -> Report:
    """The figures of all performances of one kind. `corpus`: the lines of the training split."""
    if kind == SWUNG:
        return summary([swing_figures(one) for one in those])
    answers = [trade_figures(one, other) for one, other in zip(those, those[-1:] + those[:-1], strict=True)]
    if kind == TO_TUNES:
        return summary(answers)
    rows = [figures(one) for one in those]
    if kind == "answers":
        rows = [row | more for row, more in zip(rows, answers, strict=True)]
    mine, real = (
        longest_copies([_top_line(notes) for notes in each], corpus)
        for each in ([one.antiphon for one in those], [one.real for one in those])
    )
    for row, copied, usual in zip(rows, mine, real, strict=True):
        row["longest copy from training, notes"] = (copied, usual)
    return summary(rows) | overlaps(those)


def beside_rules(made: Report, rules: Report) -> Report:
    """The figures of the model's performances and of the rules' -> all columns of the table."""
    return {
        name: {
            "generated": row["generated"],
            "low": row["low"],
            "high": row["high"],
            "rules": rules[name]["generated"] if name in rules else None,
            "real": row["real"],
            "ratio": None if row["generated"] is None or not row["real"] else round(row["generated"] / row["real"], 4),
            "difference": row["difference"],
            "another": row["another"],
        }
        for name, row in made.items()
    }


def recovery(clean: list[Played], shifted: list[Played]) -> dict[str, Any]:
    """Note-in-chord beat by beat, as it was and with the melody six semitones higher from beat 17 on: the mean of beats 5 to 16,
    of 17 to 20, 21 to 24 and 25 to 32, and the beats it takes until four of them come to `RECOVERED` of what was before
    (None: never)."""

    def curve(performances: list[Played]) -> np.ndarray:
        ticks = [measures.note_in_chord(p.player, p.antiphon, 0, SHIFT_BEATS * TICKS) for p in performances]
        beats = np.array(ticks).reshape(-1, TICKS)  # (pieces * beats, ticks)
        sums, counts = np.nansum(beats, 1), np.isfinite(beats).sum(1)
        sums, counts = (x.reshape(-1, SHIFT_BEATS).sum(0) for x in (sums, counts))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    if not shifted:
        return {}
    was, now = curve(clean), curve(shifted)
    spans = {"5 to 16": slice(4, 16), "17 to 20": slice(16, 20), "21 to 24": slice(20, 24), "25 to 32": slice(24, 32)}
    means = {
        name: {key: round(float(np.nanmean(c[span])), 4) for key, c in (("unshifted", was), ("shifted", now))}
        for name, span in spans.items()
    }
    goal = RECOVERED * means["5 to 16"]["shifted"]
    beats = [
        k for k in range(SHIFT_BEATS - SHIFT_BEAT - 3) if np.nanmean(now[SHIFT_BEAT + k : SHIFT_BEAT + k + 4]) >= goal
    ]
    return {"beats": means, "recovered_after_beats": beats[0] if beats else None}


def table(report: dict[str, Any]) -> Table:
    """The figures, a line each."""
    made = Table(box=None, pad_edge=False)
    made.add_column("", no_wrap=True)
    for name in ("generated", "95 % by piece", "rules", "real", "ratio", "|difference|", "|another - real|"):
        made.add_column(name, justify="right", no_wrap=True)
    for kind, rows in report["figures"].items():
        made.add_row(f"[bold]{kind}")
        for name, row in rows.items():
            shown = {key: "-" if value is None else f"{value:.3f}" for key, value in row.items()}
            span = f"{shown.pop('low')} to {shown.pop('high')}"
            generated, *others = shown.values()
            made.add_row(f"  {name}", generated, span, *others)
    return made


def perform(listener: Listener, prompt: Prompt, seed: int) -> dict[str, Played]:
    """A prompt in all `KINDS` that it, and the player, are fit for. `seed`: of the accents."""
    played = {"continuation": listener.continuation(prompt), "answers": listener.answers(accented(prompt, seed))}
    if isinstance(listener.model, Model):  # the rules only play along
        played["composition"] = listener.composition(prompt)
    if prompt.both:
        played["accompaniment"] = listener.accompaniment(prompt)
        played["accompaniment +6"] = listener.accompaniment(prompt, shifted=True)
    return played


def listen(
    listener: Listener, prompts: list[Prompt], swung: list[Prompt], out: Path, corpus: np.ndarray
) -> dict[str, Any]:
    """Play, and write everything but the figures, which are returned. `swung`: prompts for `SWUNG`. Raises `UserError`."""
    rules = listener.by_rules()
    performances: list[dict[str, Played]] = []
    baseline: list[dict[str, Played]] = []
    for number, prompt in enumerate(track(prompts, "playing"), 1):
        played = perform(listener, prompt, number)
        performances.append(played)
        baseline.append(perform(rules, prompt, number))
        stem = f"{number:02d}-{prompt.name.replace(' ', '-')}"
        write_midi(out / f"{stem}-real.mid", prompt, {"real": prompt.notes})
        for kind, one in played.items():
            name = f"{stem}-{kind.replace(' ', '')}.mid"
            write_midi(out / name, prompt, {"player": one.player, "antiphon": one.antiphon})
    draw(out / "sheet.png", [rolls(*pair, KINDS) for pair in zip(prompts, performances, strict=True)])
    for number, prompt in enumerate(swung, 1):
        one = listener.answers(prompt)
        performances.append({SWUNG: one})
        baseline.append({SWUNG: rules.answers(prompt)})
        name = f"swung-{number:02d}-{prompt.name.replace(' ', '-')}.mid"
        write_midi(out / name, prompt, {"player": one.player, "antiphon": one.antiphon})
    pictures: list[list[Roll | None]] = []
    for tune in TUNES:
        played_in = {mode: duet(listener.config, listener.model, tune, mode) for mode in MODES}
        bar = round(tune.bar_quarters * TICKS)
        pictures.append(
            [
                duet_roll(one.player, one.antiphon, one.ours[-1][1] + bar, bar, f"{tune.name}: {mode}")
                for mode, one in played_in.items()
            ]
        )
        performances.append({TO_TUNES: of_duet(played_in["trade"])})
        baseline.append({TO_TUNES: of_duet(duet(rules.config, rules.model, tune, "trade"))})
    draw(out / "tunes.png", pictures)
    report: dict[str, Any] = {"prompts": [prompt.name for prompt in prompts], "figures": {}}
    for kind in ("continuation", "composition", "answers", SWUNG, TO_TUNES, "accompaniment"):
        those, ruled = ([played[kind] for played in each if kind in played] for each in (performances, baseline))
        if those:
            rows = report_of(kind, ruled, corpus) if ruled else {}
            report["figures"][kind] = beside_rules(report_of(kind, those, corpus), rows)
    report["recovery"] = recovery(
        *([p[kind] for p in performances if kind in p] for kind in ("accompaniment", "accompaniment +6"))
    )
    return report


def _top_line(notes: np.ndarray) -> np.ndarray:
    """The line of the notes of the lowest part number there is: the tune where there is one."""
    pitched = notes[notes["part"] != DRUMS]
    return line(pitched[pitched["part"] == pitched["part"].min()] if len(pitched) else pitched)


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(
        prog="python -m models.listen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_corpus("--data", required=True)
    p.add_argument("--out", type=Path, required=True, help="folder for the .mid files, the pictures and figures.json")
    p.add_argument("--model", type=Path, default=SHIPPED_MODEL, help="an exported model")
    p.add_argument("--split", default="valid", choices=("valid", "test"), help="where the prompts are from")
    p.add_argument("--prompts", type=int, default=32, help="how many")
    p.add_argument("--seed", type=int, default=1, help="of the prompts and of what is played")
    args = p.parse_args()
    pack = load_pack(args.data, args.cache)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{args.out}: cannot be made ({error.strerror}); give a folder that can be written") from None
    prompts = prompts_of(pack, args.split, args.prompts, args.seed)
    swung = swung_prompts_of(pack, args.split, args.prompts, args.seed)
    report = listen(Listener(args.model, args.seed), prompts, swung, args.out, lines_of(pack, "train"))
    save_json(args.out / "figures.json", report)
    Console(width=TABLE_WIDTH).print(table(report))
    if report["recovery"]:
        print(f"note in chord, +6 semitones at beat {SHIFT_BEAT + 1}: {report['recovery']}")
    print(f"{args.out}: sheet.png, tunes.png, figures.json and the .mid files are written")
