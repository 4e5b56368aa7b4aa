"""The demo: the engine of `jam` with a scripted player, through in-memory ports. Needs no MIDI system, GPU or DAW.

In real time it runs the live loop with its worker process; with `fast` it runs the same engine and composer in simulated time.
Both give the same notes as long as no deadline is missed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realtime.config import Config
from realtime.core.engine import Engine
from realtime.core.tempo import PPQN, TempoMap
from realtime.errors import UserError
from realtime.io.clock import now_ns
from realtime.io.files.smf import load
from realtime.io.files.synth import rendered
from realtime.io.files.whole import write_bytes
from realtime.io.live.chords import chords_of
from realtime.io.live.model import Model
from realtime.io.live.player import NOTHING_LEGAL, Player
from realtime.io.live.session import Session
from realtime.io.live.settings import engine_settings, worker_setup
from realtime.io.live.simulated import Timing, draw, play, save
from realtime.io.live.speaker import Speaker
from realtime.io.live.take import Take, report
from realtime.io.midi.ports import MemoryPort
from realtime.music.metre import BeatGrid
from realtime.music.tunes import ODE_TO_JOY, script

START_S = 0.2


def scripted_player(config: Config) -> tuple[list[tuple[int, bytes]], int]:
    """The tune as (ns from the start, message) in the configured tempo, and the number of bars the duet takes.

    In trade the player leaves Antiphon its bars; in continue a rest after each phrase of two bars long enough to hand over
    and be answered; in the other modes the tune is played straight through, and Antiphon has time to end. Raises `UserError`
    where an intro is asked for.
    """
    if config.play.intro:
        raise UserError(
            f"play.intro {config.play.intro}: the demo's player begins; leave it out, or take antiphon duet"
        )
    phrase_bars, rest_bars = {"trade": (config.mode.bars_per_turn,) * 2, "continue": (2, 2)}.get(
        config.mode.name, (0, 0)
    )
    messages, stretches = script(ODE_TO_JOY, config.sync.tempo_bpm, phrase_bars, rest_bars)
    quarters = stretches[-1][1] + max((rest_bars or 1) * ODE_TO_JOY.bar_quarters, config.mode.rest_beats + 1)
    return messages, -(-round(quarters) // config.sync.beats_per_bar)


def play_fast(config: Config, say: Callable[[str], None]) -> tuple[Engine, Take, Session]:
    """In simulated time."""
    messages, bars = scripted_player(config)
    timing = Timing(engine_settings(config), config.sync.tempo_bpm)
    setup = worker_setup(config)
    model = Model.load(setup)
    if model.stepper.notice:
        say(model.stepper.notice)
    end_ns = timing.ns_at(bars * config.sync.beats_per_bar * PPQN)
    engine, take, session = play(model, setup, timing, messages, end_ns)
    if engine.counts.rejected and not engine.counts.notes:
        say(NOTHING_LEGAL)
    return engine, take, session


def play_live(
    config: Config, say: Callable[[str], None], progress: Callable[[int, int], None]
) -> tuple[Engine, Take, Session]:
    """In real time, with the worker process. `progress` is called at each beat with (beats played, beats in all)."""
    messages, bars = scripted_player(config)
    engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
    source, target, take = MemoryPort("demo in", now_ns), MemoryPort("demo out", now_ns), Take()
    player = Player(engine, worker_setup(config), source, target, take, Speaker(say))
    ready = player.prepare()
    if ready.notice:
        say(ready.notice)
    start_ns = now_ns() + int(START_S * 1e9)
    beat_ns = 60e9 / config.sync.tempo_bpm
    beats = bars * config.sync.beats_per_bar

    def perform_script() -> None:
        agenda: list[tuple[int, bytes | int]] = [*messages, *((round(i * beat_ns), i) for i in range(1, beats + 1))]
        for offset_ns, item in sorted(agenda, key=lambda entry: entry[0]):
            time.sleep(max(0.0, (start_ns + offset_ns - now_ns()) / 1e9))
            if isinstance(item, bytes):
                source.inject(item, start_ns + offset_ns)  # stamped with its own time, as a driver stamps
            else:
                progress(item, beats)

    threading.Thread(target=perform_script, name="scripted-player", daemon=True).start()
    session = player.run(bars=bars)
    return engine, take, session


def write_results(config: Config, folder: Path, engine: Engine, take: Take, session: Session) -> dict[str, Any]:
    """duet.mid, duet.wav, duet.png and report.json; returns the report."""
    _, bars = scripted_player(config)
    folder.mkdir(parents=True, exist_ok=True)
    beats = config.sync.beats_per_bar
    take.end_pulse = bars * beats * PPQN
    over, under = config.sync.signature
    save(folder / "duet.mid", take, [(0, config.sync.tempo_bpm)], [(0, over, under)])
    title, facts = f"Antiphon, {config.mode.name}: Ode to Joy", f"{config.sync.tempo_bpm:.4g} BPM, {over}/{under}"
    grid = BeatGrid(config.sync.bars)
    chords = chords_of(engine, take, grid)
    draw(folder / "duet.png", take, grid, title, facts, chords.labels)
    write_bytes(folder / "duet.wav", rendered(load(folder / "duet.mid")))
    figures = {**report(engine, session), "mode": config.mode.name, "bars": bars, "seed": config.engine.seed}
    figures["chords"] = chords._asdict()
    write_bytes(folder / "report.json", (json.dumps(figures, indent=2) + "\n").encode())
    return figures
