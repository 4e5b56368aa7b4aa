"""What an answer takes up of its call: intervals, accents, swing. Pure functions of notes (`NOTE`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from models.corpus.pack import Pack
from models.corpus.perturb import accents, swing
from models.evaluation.prompts import BARS, SHORT_BARS, TURN_BARS, Played, Prompt, drawn
from realtime.io.bench.music import Duet
from realtime.music import measures
from realtime.music.keys import key_of
from realtime.music.metre import TICKS
from realtime.music.notes import between
from realtime.music.vocabulary import DRUMS

SWUNG = TICKS * 2 // 3
"""Where in the beat a player who swings strikes the second eighth, in ticks."""
FOUR_FOUR = 4 * TICKS
SECOND_EIGHTHS = (TICKS * 5 // 12, TICKS * 17 // 24)
"""First and last place in the beat, in ticks, of what counts as a second eighth: straight it is at 12, swung at 14 to 17."""
RUNS = {"interval pairs": 2, "interval triples": 3}
"""How many successive intervals of an answer are looked for in its call: three and four notes."""
FEWEST_SWUNG = 2
"""Second eighths in each call of a prompt that is swung."""
ACCENTED = 3.0
"""Velocities with a smaller standard deviation have no accents to take up."""


# --- of an answer and its call ---


def top_line(notes: np.ndarray) -> np.ndarray:
    """The notes that no higher note covers, by onset. Left out is a note if a higher one is struck together with it, or was
    struck before and sounds in its middle."""
    ordered = np.sort(notes, order=("onset", "pitch"))
    start, length, pitch = (ordered[name].astype(np.int64) for name in ("onset", "duration", "pitch"))
    keep = [
        not ((pitch > p) & ((start == at) | (start < at) & (start + length > at + ticks / 2))).any()
        for at, ticks, p in zip(start, length, pitch, strict=True)
    ]
    return ordered[np.array(keep, bool)]


def runs(notes: np.ndarray, length: int) -> list[tuple[int, ...]]:
    """All runs of so many successive intervals, in semitones, of the top line."""
    steps = np.diff(top_line(notes)["pitch"].astype(np.int64)).tolist()
    return list(zip(*(steps[first:] for first in range(length)), strict=False))


def taken_up(answer: np.ndarray, call: np.ndarray, length: int) -> float:
    """Share of the answer's `runs` of intervals that the call has too, in any key and rhythm; nan where one has none."""
    known, own = set(runs(call, length)), runs(answer, length)
    return float(np.mean([run in known for run in own])) if known and own else math.nan


def second_eighth(notes: np.ndarray) -> float:
    """Mean place in the beat, in ticks, of the second eighths (`SECOND_EIGHTHS`); nan without any. Beats are quarters from tick 0
    on."""
    place = notes["onset"].astype(np.int64) % TICKS
    place = place[(place >= SECOND_EIGHTHS[0]) & (place <= SECOND_EIGHTHS[1])]
    return float(place.mean()) if len(place) else math.nan


def swung_alike(answer: np.ndarray, call: np.ndarray) -> float:
    """1 if the answer's second eighths lie nearer to the call's than to the middle of the beat, else 0; nan where one has
    none."""
    mine, given = second_eighth(answer), second_eighth(call)
    return math.nan if math.isnan(mine + given) else float(abs(mine - given) < abs(mine - TICKS / 2))


def spread(answer: np.ndarray, call: np.ndarray) -> float:
    """Standard deviation of the answer's velocities over that of the call's; nan where the call has no accents."""
    given = float(call["velocity"].std()) if len(call) else 0.0
    return float(answer["velocity"].std()) / given if len(answer) and given >= ACCENTED else math.nan


# --- of a performance ---


def turns(played: Played) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Turn by turn the call, Antiphon's answer and the real next phrase, without drums."""
    player, mine, real = (n[n["part"] != DRUMS] for n in (played.player, played.antiphon, played.real))
    return [
        (between(player, 2 * start - end, start), between(mine, start, end), between(real, start, end))
        for start, end in played.spans
    ]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def figures(played: Played, other: Played) -> dict[str, tuple[float, float]]:
    """{figure: (generated, real)} of answers, means over the turns. `other`: answers to another piece, whose calls say what
    chance is."""
    calls = [call for call, _, _ in turns(other)]
    key = key_of(played.whole[played.whole["part"] != DRUMS])

    def of_turns(figure: Callable[[np.ndarray, np.ndarray], float]) -> tuple[float, float]:
        pairs = [(figure(mine, call), figure(real, call)) for call, mine, real in turns(played)]
        return _mean([mine for mine, _ in pairs]), _mean([real for _, real in pairs])

    found = {}
    for name, length in RUNS.items():
        share = partial(taken_up, length=length)
        found[f"{name} of the call"] = of_turns(share)
        found[f"{name} of another call"] = of_turns(
            lambda notes, _, share=share: _mean([share(notes, call) for call in calls])
        )
    closed = [
        [measures.ending(top_line(notes), end, key).closed for notes in (mine, real)]
        for (_, mine, real), (_, end) in zip(turns(played), played.spans, strict=True)
    ]
    found["velocity spread over the call's"] = of_turns(spread)
    found["turns that end as a phrase"] = (_mean([mine for mine, _ in closed]), _mean([real for _, real in closed]))
    return found


def swing_figures(played: Played) -> dict[str, tuple[float, float]]:
    """The same of answers to swung calls."""
    alike = [(swung_alike(mine, call), swung_alike(real, call)) for call, mine, real in turns(played)]
    return {
        "swung as the call": (_mean([mine for mine, _ in alike]), _mean([real for _, real in alike])),
        "turns with second eighths": (
            float(np.mean([not math.isnan(mine) for mine, _ in alike])),
            float(np.mean([not math.isnan(real) for _, real in alike])),
        ),
    }


def of_duet(duet: Duet) -> Played:
    """Answers to a tune, as `antiphon bench --music` has them played. The real next phrase is the player's next
    one, moved to where the answer is; the last answer has none."""
    real = [duet.player[:0]]
    for (start, end), (begin, _) in zip(duet.his[1:], duet.ours, strict=False):
        phrase = between(duet.player, start, end).copy()
        phrase["onset"] += begin - start
        real.append(phrase)
    answers = np.concatenate([between(duet.antiphon, start, end) for start, end in duet.ours])
    bars = np.array([duet.his[0][0], duet.ours[-1][1]])
    return Played(duet.player, answers, np.concatenate(real), duet.player, bars, duet.ours)


# --- prompts ---


def accented(prompt: Prompt, seed: int) -> Prompt:
    """With accents by metre where all notes are equally loud, as in training; else as it is."""
    notes = prompt.notes.copy()
    accents(np.random.default_rng(seed), notes, prompt.counts(BARS), prompt.bars(BARS))
    return prompt._replace(notes=notes)


def swung(prompt: Prompt) -> Prompt | None:
    """The bars of `answers`, swung, without drums; None where the metre is not 4/4 or 2/4, where there are finer notes than
    eighths, or hardly any second eighths in a call."""
    notes = between(prompt.notes, 0, SHORT_BARS * prompt.bar)
    notes = notes[notes["part"] != DRUMS].copy()
    straight = notes["onset"].copy()
    swing(notes, prompt.counts(SHORT_BARS), SWUNG)
    turn = straight[notes["onset"] != straight] // (TURN_BARS * prompt.bar)
    seconds = np.bincount(turn, minlength=SHORT_BARS // TURN_BARS)[::2]
    fits = prompt.bar == FOUR_FOUR and seconds.min() >= FEWEST_SWUNG
    return prompt._replace(notes=notes, both=False) if fits else None


def swung_prompts_of(pack: Pack, split: str, count: int, seed: int) -> list[Prompt]:
    """As `prompts_of`, swung; there may be fewer, or none."""
    return drawn(pack, split, count, seed, swung)
