"""How often `--sync listen` has found tempo and beat after two bars of what somebody plays.

    python -m models.tempo --corpus ../shared/data [--split test] [--count 100] [--json FILE]

Two kinds of held-out performances: drummers of Groove, with their own timing, and tunes of scores, played as
`models.corpus.perturb` plays them live. The engine hears each of them from its first note on, with the tempo set to 120, and then
with one that is up to a fifth off the real one. At the downbeat of the third bar its song time is compared with the
performance's: the tempo is right within 4 %, the beat within 40 ms. What is twice or half as fast, with its beats on the
performance's, or every second of them, is counted apart: no rhythm says which is meant.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models.command import Parser, positive
from models.corpus.corpora import find, read
from models.corpus.pack import load_pack
from models.corpus.perturb import LIVE, perturb
from models.evaluation.prompts import drawn
from models.nets.checkpoint import save_json
from realtime import midi
from realtime.config import load
from realtime.core.engine import Engine
from realtime.core.tempo import PPQN, TempoMap
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.live.settings import engine_settings
from realtime.music.metre import TICKS
from realtime.music.vocabulary import MELODY

BARS = 2
TEMPO_OFF, BEAT_OFF_MS = 0.04, 40.0
USUAL_BPM, SET_OFF = 120.0, 0.2
"""The tempo that is set unless a musician sets one; and how far off one that they set may be."""
FEWEST = 8
"""Onsets in the two bars, or more: with fewer there is nothing to hear."""
NEAR = 0.1
"""Of a beat: what is struck so near to one is struck on it."""


class Performance(NamedTuple):
    """What somebody plays: (n, 2) float64, onset in quarters from the first downbeat on, and duration; pitches and velocities
    (n,); quarters a bar, tempo, MIDI channel."""

    name: str
    times: np.ndarray
    pitches: np.ndarray
    velocities: np.ndarray
    bar: float
    bpm: float
    channel: int


def grooves(corpus: Path, split: str, count: int, rng: np.random.Generator) -> Iterator[Performance]:
    """Beats, not fills, of drummers."""
    rows = [row for row in find(corpus).rows if row["source"] == "groove" and row["split"] == split]
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "groove.mid"
        for row, data in read(corpus, [rows[i] for i in rng.permutation(len(rows))]):
            file.write_bytes(data)
            made = _groove(row["id"], midifile.read(file))
            if made is not None and is_heard(made):
                found += 1
                yield made
            if found == count:
                return


def _groove(name: str, piece: midifile.MidiPiece) -> Performance | None:
    """None where it is too short."""
    _, top, bottom = piece.time_signatures[0]
    bar, (_, bpm) = 4 * top / bottom, piece.tempos[0]
    times = np.array([(note.onset_pulse, note.duration_pulse) for note in piece.notes]).reshape(-1, 2) / PPQN
    if not len(times) or times[-1, 0] < (BARS + 1) * bar:
        return None
    pitches, velocities = (np.array([getattr(note, of) for note in piece.notes]) for of in ("pitch", "velocity"))
    return Performance(name, _from_downbeat(times, bar), pitches, velocities, bar, bpm, midi.DRUM_CHANNEL)


def _from_downbeat(times: np.ndarray, bar: float) -> np.ndarray:
    """Quarters, counted from the downbeat of the bar in which the first note lies, as the performer feels it: who is early or
    late against the click all the time has a beat of their own. It is the median of what is played near the click's beats."""
    off = times[:, 0] - np.round(times[:, 0])
    near = off[np.abs(off) < NEAR]
    times = times - [np.median(near) if len(near) else 0.0, 0.0]
    return times - [(times[0, 0] + NEAR) // bar * bar, 0.0]


def tunes(corpus: Path, cache: Path, split: str, count: int, seed: int) -> Iterator[Performance]:
    """Melodies of scores, with human timing."""
    rng = np.random.default_rng(seed)
    for prompt in drawn(load_pack(corpus, cache), split, count, seed):
        tune = prompt.notes[prompt.notes["part"] == MELODY] if prompt.both else prompt.notes
        bars = prompt.bars(BARS + 1)
        tune = tune[tune["onset"] < bars[-1]]
        notes, _ = perturb(rng, tune, np.ones(len(tune), bool), bars, LIVE)
        notes = np.sort(notes, order="onset")
        bar, times = prompt.bar / TICKS, np.stack([notes["onset"], notes["duration"]], 1) / TICKS
        if len(times):
            times = _from_downbeat(times, bar)
            made = Performance(prompt.name, times, notes["pitch"], notes["velocity"], bar, prompt.bpm, 0)
            if is_heard(made):
                yield made


def is_heard(performance: Performance) -> bool:
    """Whether there is enough in the two bars."""
    onsets = performance.times[:, 0]
    return len(np.unique(np.round(onsets[onsets < BARS * performance.bar], 1))) >= FEWEST


def heard(performance: Performance, set_bpm: float) -> tuple[float, float]:
    """(tempo over the performance's, ms from its beat) of the engine's song time at the third downbeat."""
    config = load(
        None, {"sync.source": "listen", "sync.tempo_bpm": set_bpm, "sync.beats_per_bar": round(performance.bar)}
    )
    engine = Engine(engine_settings(config), TempoMap(set_bpm))
    quarter_ns = 60e9 / performance.bpm
    downbeat = BARS * performance.bar
    messages = []
    for (onset, duration), pitch, velocity in zip(
        performance.times, performance.pitches, performance.velocities, strict=True
    ):
        if onset < downbeat + NEAR:
            messages.append((onset, midi.note_on(performance.channel, int(pitch), int(velocity))))
            messages.append((min(onset + duration, downbeat + NEAR), midi.note_off(performance.channel, int(pitch))))
    begin = min(onset for onset, _ in messages)
    for at, message in sorted(messages):
        ns = round((at - begin) * quarter_ns)
        engine.handle(message, ns)
        engine.poll(ns)
        engine.take_requests()
    ns = round((downbeat + NEAR - begin) * quarter_ns)
    bpm = engine.tempo.bpm_at(engine.tempo.pulse_at(ns + round(quarter_ns)))  # where it is steered to
    pulse = engine.tempo.pulse_at(round((downbeat - begin) * quarter_ns))
    off = (pulse + PPQN / 2) % PPQN - PPQN / 2
    return bpm / performance.bpm, off * 60e3 / bpm / PPQN


def verdict(ratio: float, off_ms: float) -> str:
    """right, octave, or what is wrong: tempo or beat."""
    for octave in (1.0, 2.0, 0.5):
        if abs(ratio / octave - 1) <= TEMPO_OFF:
            if abs(off_ms) <= BEAT_OFF_MS:
                return "right" if octave == 1 else "octave"
            return "beat"
    return "tempo"


def run() -> None:
    """Command line; see the module's docstring."""
    p = Parser(prog="python -m models.tempo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_corpus(required=True)
    p.add_argument("--split", default="test", choices=("valid", "test"), help="where the performances are from")
    p.add_argument("--count", type=positive, default=100, help="how many of each kind")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures and each performance's here too")
    args = p.parse_args()
    rng = np.random.default_rng(args.seed)
    kinds = {
        "Groove": list(grooves(args.corpus, args.split, args.count, rng)),
        "scores": list(tunes(args.corpus, args.cache, args.split, args.count, args.seed)),
    }
    table = Table("", "", "performances", "right", "octave", "beat wrong", "tempo wrong", box=None)
    rows = []
    for kind, performances in kinds.items():
        if not performances:
            raise UserError(f"{args.corpus}: no {kind} in the {args.split} split; see models/README.md")
        for how in ("120", "within a fifth"):
            said = []
            for performance in track(performances, kind, len(performances)):
                bpm = USUAL_BPM if how == "120" else performance.bpm * (1 + rng.uniform(-SET_OFF, SET_OFF))
                ratio, off_ms = heard(performance, min(max(bpm, 40.0), 240.0))
                said.append(verdict(ratio, off_ms))
                rows.append(
                    {
                        "kind": kind,
                        "set": how,
                        "name": performance.name,
                        "bpm": performance.bpm,
                        "ratio": ratio,
                        "off_ms": off_ms,
                        "verdict": said[-1],
                    }
                )
            shares = [f"{100 * said.count(v) / len(said):.0f} %" for v in ("right", "octave", "beat", "tempo")]
            table.add_row(kind, f"tempo set: {how}", str(len(said)), *shares)
    Console().print(table)
    if args.json is not None:
        save_json(args.json, {"performances": rows})
