"""`antiphon bench --music`: what Antiphon answers to melodies it is played, in figures.

Every mode, in simulated time, with each tune of `realtime.music.tunes` as a player whose timing is human. Antiphon knows the
tempo and the metre, nothing else: key, register, density and phrase have to come from the music. It composes as in `jam`, with
plans and knobs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from realtime.config import Config
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.files.midifile import FileNote
from realtime.io.files.whole import check_writable, write_bytes
from realtime.io.live.model import Model, RuleModel
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.simulated import Timing, play
from realtime.io.progress import Progress
from realtime.music import measures
from realtime.music.metre import TICKS, BeatGrid, is_compound
from realtime.music.notes import between, note_array, sounding
from realtime.music.tunes import TUNES, Tune, script

MODES = ("trade", "continue", "accompany", "harmonise")
PHRASE_BARS, REST_BARS, ANSWER_BARS, TAIL_BARS = 2, 4, 2, 2
LOOSE_MS = 10.0
"""Standard deviation of a practised player's timing; it also makes one tune with another seed another performance."""
FIGURES = {
    "answered": "share of the turns in which anything is played",
    "entry": "quarters from the turn's beginning to its first note",
    "key": "share of notes in the tune's key",
    "on grid": "share of onsets on a sixteenth or a triplet",
    "register": "how far the pitches overlap with the player's",
    "above": "semitones from the player's mean pitch to Antiphon's",
    "apart": "the same without its sign, turn by turn",
    "density": "notes a quarter, over the player's",
    "density off": "how far that is from 1, turn by turn, in doublings",
    "louder": "velocity, less the player's",
    "shades": "standard deviation of the velocities",
    "voices": "notes that sound together while any does",
    "held": "median length of a note in quarters",
    "rests": "share of the time that is silent",
    "lengthening": "last note to the end, over the usual time between notes",
    "ends on beat": "last note on a beat",
    "ends stable": "last note in the tonic triad",
    "ends on tonic": "an accompaniment's last sound is of the tonic triad, with the tonic",
    "closed": "turns that end with all three, in time",
    "gap": "quarters of silence before the turn's end",
    "rings on": "quarters that it sounds on after the player's last note",
    "consonance": "share of notes consonant with what the player holds",
    "met": "share of the player's notes consonant with what Antiphon holds",
    "doubling": "share of notes on the player's own pitch class",
    "unison": "share of notes on the player's own pitch",
    "parallels": "steps in parallel octaves or fifths with the player",
}


class Duet(NamedTuple):
    """Who played what (`NOTE`), and (start, end) in ticks of what was each one's to play."""

    player: np.ndarray
    antiphon: np.ndarray
    his: list[tuple[int, int]]
    ours: list[tuple[int, int]]


def notes_of(notes: Sequence[FileNote]) -> np.ndarray:
    """Notes in pulses -> `NOTE` in ticks; the channel becomes the part."""
    return note_array(
        (
            round(note.onset_pulse / PULSES_PER_TICK),
            max(round(note.duration_pulse / PULSES_PER_TICK), 1),
            note.pitch,
            note.velocity,
            note.channel,
        )
        for note in notes
    )


def duet(config: Config, model: Model | RuleModel, tune: Tune, mode: str) -> Duet:
    """Play one tune in one mode. The configuration's tempo, metre and mode are the tune's and this bench's."""
    quarters, compound = round(tune.bar_quarters), is_compound(*tune.metre)
    own = {"source": "internal", "tempo_bpm": tune.bpm, "beats_per_bar": quarters, "compound": compound}
    config = config.model_copy(
        update={
            "sync": config.sync.model_copy(update=own),
            "mode": config.mode.model_copy(
                update={"name": mode, "bars_per_turn": PHRASE_BARS, "max_bars": ANSWER_BARS}
            ),
        }
    )
    phrase, rest = {"trade": (PHRASE_BARS, PHRASE_BARS), "continue": (PHRASE_BARS, REST_BARS)}.get(mode, (0, 0))
    messages, stretches = script(tune, tune.bpm, phrase, rest, LOOSE_MS, config.engine.seed)
    his = [(round(start * TICKS), round(end * TICKS)) for start, end in stretches]
    bar = quarters * TICKS
    if mode == "trade":
        ours = [(end, end + PHRASE_BARS * bar) for _, end in his]
    elif mode == "continue":
        grid = BeatGrid(((0, bar),))
        begins = [grid.next_beat(end - TICKS // 2 + round(config.mode.rest_beats * TICKS)) for _, end in his]
        ours = [(begin, grid.bar_start(begin + bar // 2, ANSWER_BARS)) for begin in begins]  # as `modes.Continue` ends
    else:
        ours = his
    end = max(his[-1][1], ours[-1][1]) + (TAIL_BARS * bar if ours == his else 0)
    # Tick 0 is a downbeat; a tune with a pick-up begins later in its bar.
    timing = Timing(replace(engine_settings(config), restart_ticks=0), tune.bpm, counted_in=True)
    _, take, _ = play(model, worker_setup(config), timing, messages, timing.ns_at(end * PULSES_PER_TICK))
    return Duet(notes_of(take.notes("player")), notes_of(take.notes("antiphon")), his, ours)


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def figures(duet: Duet, tune: Tune) -> dict[str, float]:
    """`FIGURES` of a duet; nan where there is nothing to say."""
    player, end = duet.player, duet.ours[-1][1]
    mine = between(duet.antiphon, 0, end)
    turns = [(start, end, between(mine, start, end)) for start, end in duet.ours]
    phrases = [between(player, start, end) for start, end in duet.his]
    pairs = [(notes, heard) for (_, _, notes), heard in zip(turns, phrases, strict=True) if len(notes) and len(heard)]
    ends = [measures.ending(notes, end, tune.key) for _, end, notes in turns]
    ours, his = (sum(end - start for start, end in stretches) for stretches in (duet.ours, duet.his))
    counts = np.concatenate([sounding(mine, start, end).sum(1) for start, end in duet.ours])
    together = duet.ours == duet.his
    rates = [
        measures.density(notes, ours[1] - ours[0]) / measures.density(heard, his[1] - his[0])
        for (_, _, notes), heard, ours, his in zip(turns, phrases, duet.ours, duet.his, strict=True)
        if len(notes) and len(heard)
    ]
    over = max((int(note["onset"] + note["duration"]) for note in duet.antiphon), default=0)
    released = int((player["onset"] + player["duration"]).max())
    found = {
        "answered": _mean([float(len(notes) > 0) for _, _, notes in turns]),
        "entry": _mean([(notes["onset"].min() - start) / TICKS for start, _, notes in turns if len(notes)]),
        "key": measures.key_agreement(mine, tune.key),
        "on grid": measures.on_grid(mine),
        "register": measures.shared_register(mine, player),
        "above": float(mine["pitch"].mean() - player["pitch"].mean()) if len(mine) else math.nan,
        "apart": _mean([abs(float(notes["pitch"].mean() - heard["pitch"].mean())) for notes, heard in pairs]),
        "density": measures.density(mine, ours) / measures.density(player, his),
        "density off": _mean([abs(math.log2(rate)) for rate in rates]),
        "louder": float(mine["velocity"].mean() - player["velocity"].mean()) if len(mine) else math.nan,
        "shades": float(mine["velocity"].std()) if len(mine) else math.nan,
        "voices": float(counts[counts > 0].mean()) if counts.any() else math.nan,
        "held": float(np.median(mine["duration"])) / TICKS if len(mine) else math.nan,
        "rests": _mean([measures.rests(mine, start, end) for start, end in duet.ours]),
        "lengthening": _mean([end.lengthening for end in ends]),
        "ends on beat": _mean([end.on_beat for end in ends]),
        "ends stable": _mean([end.stable for end in ends]),
        "ends on tonic": measures.ends_on_tonic(duet.antiphon, tune.key) if together else math.nan,
        "closed": _mean([end.closed for end in ends]),
        "gap": _mean([end.gap for end in ends]),
        "rings on": max(over - released, 0) / TICKS if together else math.nan,
        "consonance": measures.consonance(mine, player) if together else math.nan,
        "met": measures.consonance(player, mine) if together else math.nan,
        "doubling": measures.doubling(mine, player) if together else math.nan,
        "unison": measures.unison(mine, player) if together else math.nan,
        "parallels": measures.parallels(mine, player) if together else math.nan,
    }
    return {name: round(found[name], 3) for name in FIGURES}


def measure(
    config: Config, tunes: Sequence[Tune] = TUNES, show: Callable[[float], None] = lambda share: None
) -> dict[str, dict[str, dict[str, float]]]:
    """{mode: {tune's name, "all" or "unheard": figures}}, and under "player" what the players themselves come to.

    "all" and "unheard" are means over the tunes, and over those that the shipped model was not trained on. `show` is called with
    the share that is done."""
    model = Model.load(worker_setup(config))
    report: dict[str, dict[str, dict[str, float]]] = {mode: {} for mode in ("player", *MODES)}
    for at, tune in enumerate(tunes):
        for number, mode in enumerate(MODES):
            show((at + number / len(MODES)) / len(tunes))
            played = duet(config, model, tune, mode)
            report[mode][tune.name] = figures(played, tune)
            if mode == "trade":
                report["player"][tune.name] = figures(played._replace(antiphon=played.player, ours=played.his), tune)
    for by_tune in report.values():
        groups = {"all": list(by_tune.values()), "unheard": [by_tune[tune.name] for tune in tunes if tune.unheard]}
        for group, rows in groups.items():
            by_tune[group] = {name: round(_mean([row[name] for row in rows]), 3) for name in FIGURES}
    return report


def table(report: dict[str, dict[str, dict[str, float]]]) -> Table:
    """The means over the tunes, a column a mode."""
    made = Table(box=None, pad_edge=False)
    made.add_column("")
    for mode in report:
        made.add_column(mode, justify="right")
    made.add_column("", style="dim")
    for name, meaning in FIGURES.items():
        values = [by_tune["all"][name] for by_tune in report.values()]
        made.add_row(name, *("-" if math.isnan(value) else f"{value:.2f}" for value in values), meaning)
    return made


def run(config: Config, json_file: Path | None) -> None:
    """Measure, print the table, and write the figures to `json_file` (what is nan there as null). Raises `UserError`."""
    if json_file is not None:
        check_writable(json_file)
    with Progress(f"playing {len(TUNES)} tunes") as show:
        report = measure(config, show=show)
    Console().print(table(report))
    if json_file is not None:
        plain = {
            mode: {
                name: {key: None if math.isnan(value) else value for key, value in row.items()}
                for name, row in tunes.items()
            }
            for mode, tunes in report.items()
        }
        write_bytes(json_file, (json.dumps(plain, indent=2) + "\n").encode())
        print(f"{json_file} is written")
