"""The demo: the engine of `jam` with a scripted player, through in-memory ports. Needs no MIDI system, GPU or DAW.

In real time it runs the live loop with its worker process; with `fast` the same engine and composer in simulated time. Both
give the same notes as long as no deadline is missed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realtime import midi
from realtime.clock import now_ns
from realtime.config import Config
from realtime.engine import Engine
from realtime.io import midifile, pianoroll
from realtime.io.player import Player, Session
from realtime.io.ports import MemoryPort
from realtime.io.settings import engine_settings, worker_setup
from realtime.io.take import Take, report
from realtime.simulate import perform
from realtime.tempo import PPQN, TempoMap

START_S = 0.2
SHARE_HELD = 0.9

# "Freude, schöner Götterfunken" (L. van Beethoven, 1824), bars 1 to 8 of the theme: (pitch, quarters).
E, F, G, D, C = 64, 65, 67, 62, 60
ODE_TO_JOY: tuple[tuple[int, float], ...] = (
    (E, 1), (E, 1), (F, 1), (G, 1),    (G, 1), (F, 1), (E, 1), (D, 1),
    (C, 1), (C, 1), (D, 1), (E, 1),    (E, 1.5), (D, 0.5), (D, 2),
    (E, 1), (E, 1), (F, 1), (G, 1),    (G, 1), (F, 1), (E, 1), (D, 1),
    (C, 1), (C, 1), (D, 1), (E, 1),    (D, 1.5), (C, 0.5), (C, 2),
)  # fmt: skip


def scripted_player(config: Config) -> tuple[list[tuple[int, bytes]], int]:
    """The tune as (ns from the start, message) in the configured tempo, and the number of bars the duet takes.

    In trade the player leaves Antiphon its bars; in continue a rest after each phrase of two bars long enough to hand over
    and be answered; in the other modes the tune is played straight through.
    """
    bar_beats = 4
    turn_beats = {"trade": config.mode.bars_per_turn * bar_beats, "continue": 2 * bar_beats}.get(config.mode.name, 0)
    rest_beats = {"trade": turn_beats, "continue": 2 * bar_beats}.get(config.mode.name, 0)
    beat_ns = 60e9 / config.sync.tempo_bpm
    script, at, tune_beats = [], 0.0, 0.0
    for i, (pitch, beats) in enumerate(ODE_TO_JOY):
        if turn_beats and tune_beats and tune_beats % turn_beats == 0:
            at += rest_beats
        velocity = 92 if tune_beats % bar_beats == 0 else 78 + i % 3 * 4
        script.append((round(at * beat_ns), midi.note_on(0, pitch, velocity)))
        script.append((round((at + beats * SHARE_HELD) * beat_ns), midi.note_off(0, pitch)))
        at += beats
        tune_beats += beats
    bars = -(-round(at + (rest_beats or bar_beats)) // config.sync.beats_per_bar)
    return script, bars


def play_fast(config: Config) -> tuple[Engine, Take, Session]:
    """In simulated time."""
    script, bars = scripted_player(config)
    settings = engine_settings(config)
    engine = Engine(settings, TempoMap(config.sync.tempo_bpm))
    composer, _ = worker_setup(config).composer()
    end_ns = TempoMap(config.sync.tempo_bpm).ns_at(bars * config.sync.beats_per_bar * PPQN)
    performance = perform(engine, composer, script, end_ns)
    take = Take()
    take.events = {
        "player": [(pulse, message) for _, pulse, message in performance.played],
        "antiphon": [(pulse, message) for _, pulse, message in performance.sent],
    }
    return engine, take, Session()


def play_live(
    config: Config, say: Callable[[str], None], progress: Callable[[int, int], None]
) -> tuple[Engine, Take, Session]:
    """In real time, with the worker process. `progress` is told of each beat: (beats played, beats in all)."""
    script, bars = scripted_player(config)
    engine = Engine(engine_settings(config), TempoMap(config.sync.tempo_bpm))
    source, target, take = MemoryPort("demo in", now_ns), MemoryPort("demo out", now_ns), Take()
    player = Player(engine, worker_setup(config), source, target, take, say)
    ready = player.prepare()
    if ready.notice:
        say(ready.notice)
    start_ns = now_ns() + int(START_S * 1e9)
    beat_ns = 60e9 / config.sync.tempo_bpm
    beats = bars * config.sync.beats_per_bar

    def perform_script() -> None:
        agenda: list[tuple[int, bytes | int]] = [*script, *((round(i * beat_ns), i) for i in range(1, beats + 1))]
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
    """duet.mid, duet.png and report.json; returns the report."""
    _, bars = scripted_player(config)
    tracks = {name: take.notes(name) for name in ("player", "antiphon")}
    metre = [(0, config.sync.beats_per_bar, 4)]
    midifile.write(folder / "duet.mid", tracks, [(0, config.sync.tempo_bpm)], metre)
    pianoroll.draw(
        folder / "duet.png",
        tracks["player"],
        tracks["antiphon"],
        bars,
        config.sync.beats_per_bar,
        config.sync.tempo_bpm,
        f"Antiphon, {config.mode.name}: Ode to Joy",
    )
    figures = {**report(engine, session), "mode": config.mode.name, "bars": bars, "seed": config.engine.seed}
    (folder / "report.json").write_text(json.dumps(figures, indent=2) + "\n")
    return figures
