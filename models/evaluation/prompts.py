"""Held-out prompts, and what a model plays to them in simulated time, as the live program would."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from models.corpus.pack import Pack, Piece
from realtime import midi
from realtime.config import load
from realtime.core.dialogue import Turn
from realtime.core.engine import EngineSettings
from realtime.core.modes import Accompany, Fixed, Mode, Trade
from realtime.core.tempo import PULSES_PER_TICK
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote
from realtime.io.live.model import Model, RuleModel
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.simulated import Timing, play
from realtime.io.offline.compose import compose
from realtime.music.chart import Chart
from realtime.music.metre import TICKS, Segment, count_ticks, time_signature
from realtime.music.notes import NOTE, between, note_array
from realtime.music.vocabulary import DRUMS, MELODY, PART_NAMES

PROMPT_BARS, BARS, TURN_BARS, SHORT_BARS = 4, 12, 2, 8
SHORTEST_BAR = 72
"""Ticks. Of shorter bars two count as one, so that phrases have a usual length."""
TRIES = 4000
SHIFT, SHIFT_BEAT, SHIFT_BEATS = 6, 16, 32
"""Semitones, the beat (counted from 0) from which on, and the beats in all."""
OURS = 8
"""Antiphon's part p is on channel OURS + p, the player's on p."""


class Prompt(NamedTuple):
    """A stretch of a held-out piece: its notes from tick 0 on, the bar's length in ticks, and whether it has a melody and
    something that goes with it."""

    name: str
    notes: np.ndarray
    bar: int
    bpm: float
    both: bool
    compound: bool = False
    """Whether the metre is compound, as 6/8 is."""

    def bars(self, count: int) -> np.ndarray:
        """Starts of the first `count` bars, and the end of the last."""
        return np.arange(count + 1) * self.bar

    def counts(self, bars: int) -> np.ndarray:
        """The ticks that musicians count in the first `bars` bars."""
        return np.arange(0, bars * self.bar, count_ticks(self.compound))


@dataclass(frozen=True)
class Played:
    """One performance: the player's notes, Antiphon's, and the real music of the same stretches as Antiphon's."""

    player: np.ndarray
    antiphon: np.ndarray
    real: np.ndarray
    whole: np.ndarray
    """All of the real music up to the end."""
    bars: np.ndarray
    spans: list[tuple[int, int]]
    """(start, end) in ticks of what was Antiphon's to play."""


def prompt_of(piece: Piece, rng: np.random.Generator) -> Prompt | None:
    """A random stretch of `BARS` whole bars of one length with enough notes in it, if the draw hits one."""
    last = piece.beats[-1]
    starts = np.append(piece.bar_starts.astype(np.int64), int(last["start"]) + int(last["length"]))
    at = int(rng.integers(0, max(len(starts) - BARS, 1)))
    bar = int(piece.beats["bar_ticks"][piece.beats["start"] == starts[at]][0])
    per = 1 if bar >= SHORTEST_BAR else 2
    count = BARS * per
    if at + count >= len(starts) or np.any(np.diff(starts[at : at + count + 1]) != bar) or bar % TICKS:
        return None
    start = int(starts[at])
    notes = between(piece.notes, start, start + count * bar).astype(NOTE)
    notes["onset"] -= start
    bar *= per
    pitched = notes[notes["part"] != DRUMS]
    by_bar = np.bincount(pitched["onset"] // bar, minlength=BARS)
    if (by_bar == 0).sum() > 1 or by_bar[0] == 0 or by_bar.sum() < 3 * BARS:
        return None
    tune = pitched[pitched["part"] == MELODY]
    tune_bars = len(np.unique(tune["onset"][tune["onset"] < SHORT_BARS * bar] // bar))
    both = tune_bars >= SHORT_BARS - 1 and len(pitched) - len(tune) >= 2 * BARS
    first = piece.beats[piece.beats["start"] == start][0]
    bpm = 30 * 2 ** ((int(first["tempo"]) + 0.5) / 4)
    return Prompt(f"{piece.source} {piece.id}", notes, bar, bpm, both, bool(first["compound"]))


def drawn(
    pack: Pack, split: str, count: int, seed: int, made: Callable[[Prompt], Prompt | None] = lambda prompt: prompt
) -> list[Prompt]:
    """Up to `count` stretches, the sources in turn, no piece twice. `made`: makes each into the prompt that is played, or
    refuses it."""
    rng = np.random.default_rng(seed)
    by_source: dict[str, list[int]] = {}
    for i in rng.permutation(np.array(pack.rows(split), np.int64)).tolist():
        by_source.setdefault(pack.table[i]["source"], []).append(i)
    found: list[Prompt] = []
    sources = sorted(by_source)
    for turn in range(TRIES):
        if len(found) == count or not any(by_source.values()):
            break
        waiting = by_source[sources[turn % len(sources)]]
        while waiting:  # drums alone, a piece that is too short: on to the next
            prompt = prompt_of(pack[waiting.pop()], rng)
            if prompt is not None and (prompt := made(prompt)) is not None:
                found.append(prompt)
                break
    return found


def prompts_of(pack: Pack, split: str, count: int, seed: int) -> list[Prompt]:
    """`count` stretches (`drawn`). Raises `UserError` where there are none."""
    found = drawn(pack, split, count, seed)
    if not found:
        raise UserError(
            f"no piece of the split {split} has {BARS} whole bars of one metre; give another --data or --split"
        )
    return found


def write_midi(path: Path, prompt: Prompt, tracks: dict[str, np.ndarray]) -> None:
    """A .mid of these notes, a track and part each. Raises `UserError`."""
    made = {}
    for name, notes in tracks.items():
        made[name] = [
            FileNote(
                int(note["onset"]) * PULSES_PER_TICK,
                int(note["pitch"]),
                int(note["velocity"]),
                int(note["duration"]) * PULSES_PER_TICK,
                9 if note["part"] == DRUMS else int(note["part"]) + 10 * (name == "antiphon") % 16,
            )
            for note in notes
        ]
    midifile.write(path, made, [(0, prompt.bpm)], [(0, *time_signature(prompt.bar // TICKS, prompt.compound))])


class Listener:
    """Plays prompts to a model, or to the rules, with the defaults of the live program."""

    def __init__(self, model: Path, seed: int) -> None:
        """Raises `UserError` for a model that cannot be played."""
        self.config = load(None, {"model.file": model, "model.provider": "cpu", "engine.seed": seed})
        self.setup = worker_setup(self.config)
        self.model: Model | RuleModel = Model.load(self.setup)

    def by_rules(self) -> Listener:
        """The same with the rules in the model's place."""
        other = copy(self)
        other.model = RuleModel()
        return other

    def play(
        self,
        prompt: Prompt,
        mode: Mode,
        player: np.ndarray,
        parts: tuple[int, ...],
        ticks: int,
        chart: Chart | None = None,
    ) -> np.ndarray:
        """What Antiphon plays with `parts` while the player plays these notes: `NOTE` up to `ticks`. chart: the chords that are
        given."""
        settings: EngineSettings = replace(
            engine_settings(self.config),
            modes={"listen": mode},
            mode="listen",
            bpm=prompt.bpm,
            bars=(Segment(0, prompt.bar, prompt.compound),),
            restart_ticks=0,  # a tune that begins between bar lines, or after a rest, stays where its bars are
            chart=chart,
            player_parts=tuple(min(channel, len(PART_NAMES) - 1) for channel in range(16)),
            channels=tuple(OURS + part for part in range(len(PART_NAMES))),
        )
        timing = Timing(settings, prompt.bpm, counted_in=True)
        script = []
        for note in player:
            for tick, message in (
                (note["onset"] + note["duration"], midi.note_off(int(note["part"]), int(note["pitch"]))),
                (note["onset"], midi.note_on(int(note["part"]), int(note["pitch"]), int(note["velocity"]))),
            ):
                script.append((timing.ns_at(int(tick) * PULSES_PER_TICK), message))
        script.sort(key=lambda item: (item[0], midi.is_note_on(item[1])))
        setup = replace(self.setup, constraints=replace(self.setup.constraints, parts=parts))
        _, take, _ = play(self.model, setup, timing, script, timing.ns_at(ticks * PULSES_PER_TICK))
        return note_array(
            (
                round(note.onset_pulse / PULSES_PER_TICK),
                max(round(note.duration_pulse / PULSES_PER_TICK), 1),
                note.pitch,
                note.velocity,
                note.channel - OURS,
            )
            for note in take.notes("antiphon")
        )

    def continuation(self, prompt: Prompt) -> Played:
        """8 bars after the first 4, by the parts that there are."""
        edge, end = PROMPT_BARS * prompt.bar, BARS * prompt.bar
        player = between(prompt.notes, 0, edge)
        parts = tuple(np.unique(player["part"]).tolist())
        made = self.play(prompt, Fixed(Turn(edge, end)), player, parts, end)
        real = between(prompt.notes, edge, end)
        return Played(player, made, real, prompt.notes, prompt.bars(BARS), [(edge, end)])

    def composition(self, prompt: Prompt) -> Played:
        """8 bars after the first 4, as `antiphon compose` writes them: the parts there are, one after the other."""
        edge, end = PROMPT_BARS * prompt.bar, BARS * prompt.bar
        player = between(prompt.notes, 0, edge)
        whole = player.copy()  # what rings on beyond the bar line would put the new bars off
        whole["duration"] = np.minimum(whole["duration"], edge - whole["onset"])
        parts = {PART_NAMES[part]: whole[whole["part"] == part] for part in np.unique(whole["part"]).tolist()}
        with TemporaryDirectory() as folder:
            source, target = Path(folder) / "in.mid", Path(folder) / "out.mid"
            write_midi(source, prompt, parts)
            compose(self.config, source, target, BARS - PROMPT_BARS, False, None, lambda line: None)
            piece = midifile.read(target)
        made = note_array(
            (
                round(note.onset_pulse / PULSES_PER_TICK),
                max(round(note.duration_pulse / PULSES_PER_TICK), 1),
                note.pitch,
                note.velocity,
                PART_NAMES.index(piece.track_names[note.track].removeprefix("antiphon ")),
            )
            for note in piece.notes
            if piece.track_names[note.track].startswith("antiphon ")
        )
        last = int((whole["onset"] + whole["duration"]).max())
        made["onset"] += edge - -(-last // prompt.bar) * prompt.bar  # where the last bars are silent, it begins sooner
        real = between(prompt.notes, edge, end)
        return Played(player, made, real, prompt.notes, prompt.bars(BARS), [(edge, end)])

    def answers(self, prompt: Prompt) -> Played:
        """2 bars in answer to each 2, by the parts that there are."""
        half, end = TURN_BARS * prompt.bar, SHORT_BARS * prompt.bar
        whole = between(prompt.notes, 0, end)
        player = whole[whole["onset"] // half % 2 == 0]
        parts = tuple(np.unique(player["part"]).tolist())
        made = self.play(prompt, Trade(TURN_BARS), player, parts, end)
        spans = [(start, start + half) for start in range(half, end, 2 * half)]
        real = whole[whole["onset"] // half % 2 == 1]
        return Played(player, made, real, whole, prompt.bars(SHORT_BARS), spans)

    def accompaniment(self, prompt: Prompt, shifted: bool = False) -> Played:
        """The other parts, without drums, to 8 bars of the melody; `shifted`: to 32 beats of it, higher from beat 17 on."""
        end = SHIFT_BEATS * TICKS if shifted else SHORT_BARS * prompt.bar
        whole = between(prompt.notes, 0, end)
        whole = whole[whole["part"] != DRUMS]
        player, real = whole[whole["part"] == MELODY].copy(), whole[whole["part"] != MELODY]
        if shifted:
            player["pitch"] += SHIFT * (player["onset"] >= SHIFT_BEAT * TICKS)
        made = self.play(prompt, Accompany(), player, tuple(np.unique(real["part"]).tolist()), end)
        return Played(player, made, real, whole, prompt.bars(SHORT_BARS), [(0, end)])
