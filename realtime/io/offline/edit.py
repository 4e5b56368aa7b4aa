"""`antiphon edit`: bars of a MIDI file made denser, brighter, ...; every other note stays as it is (see
`realtime.editing.edit`)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtime.core.tempo import PULSES_PER_TICK
from realtime.editing import edit
from realtime.editing.changes import Scene
from realtime.editing.edit import Codec, Result
from realtime.editing.lexicon import understood
from realtime.editing.reached import reached
from realtime.errors import UserError, counted
from realtime.io.files import midifile, pianoroll
from realtime.io.files.midifile import FileNote, MidiPiece
from realtime.io.files.rewrite import check_outputs, rewrite
from realtime.io.files.smf import load
from realtime.io.offline.source import Bars, bars_of
from realtime.io.offline.voices import voices_of
from realtime.io.progress import Progress
from realtime.music.attributes import ATTRIBUTES, MOST, SCALE, STYLES
from realtime.music.cells import KEYS, LATENT, LOWEST, cell_edges
from realtime.music.controls import Amount, Wishes
from realtime.music.keys import key_of
from realtime.music.notes import NOTE
from realtime.music.vocabulary import DRUMS, PART_NAMES
from realtime.reading import read_whole

DIRECTIONS = "directions.json"
"""Lies beside the model."""
MOST_BYTES = 1 << 20
"""Of that file."""


WORTH = 0.05
"""An edit towards styles alone that goes a smaller share of the way to each of them is not made: it would only cost notes."""
LOUDNESS, LOUDER = "loudness", 24
"""A control of velocities alone; how much an amount of 1 adds to them."""


class Tools(NamedTuple):
    """The autoencoder of bars, and the directions (128,) by control."""

    codec: Codec
    directions: Mapping[str, np.ndarray]


def tools(model: Path) -> Tools:
    """Those that lie beside a model. Raises `UserError` where it has none."""
    from realtime.io.graphs.latent_graphs import LatentGraphs

    graphs = LatentGraphs.load(model)
    file = model.with_name(DIRECTIONS)
    if graphs is None or not file.exists():
        raise UserError(
            f"{model}: has no graphs and directions of bars beside it; use the model that comes with Antiphon"
        )
    data = read_whole(file, MOST_BYTES, "the one that models.training.directions made")
    try:
        given = {str(name): np.array(way, np.float32) for name, way in json.loads(data).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{file}: not a file of directions ({error}); make it with models.training.directions"
        ) from None
    if {*ATTRIBUTES} - given.keys() or any(way.shape != (LATENT,) for way in given.values()):
        raise UserError(
            f"{file}: not {LATENT} numbers for each of {', '.join(ATTRIBUTES)}; make it with models.training.directions"
        )
    return Tools(graphs, given)


def _chosen(part: Sequence[int], names: Sequence[str], source: Path) -> np.ndarray:
    """(N,) which notes are of the parts asked for; no names: all that have pitches. Raises `UserError`."""
    there = [PART_NAMES[number] for number in sorted({*part} - {DRUMS})]
    if not there:
        raise UserError(f"{source}: only drums in it; give a file with pitched notes")
    for name in names:
        if name not in there:
            raise UserError(f"--part {name}: not to be edited in {source}; allowed {', '.join(there)}")
    asked = names or there
    return np.array([PART_NAMES[number] in asked for number in part])


def wishes_of(
    levels: Mapping[str, float],
    styles: Sequence[str],
    mixes: Mapping[str, float],
    presets: Sequence[str],
    words: str | None,
    known: Mapping[str, Wishes],
) -> Wishes:
    """What the options of a command ask for in all. `styles`, `presets`: "NAME" or "NAME=AMOUNT". Raises `UserError`."""
    asked: list[Wishes] = [{name: Amount(level) for name, level in levels.items()}]
    asked += [{name: Amount(share)} for name, share in _named("--style", styles, STYLES)]
    for name, times in [*mixes.items(), *_named("--preset", presets, tuple(known))]:
        asked.append({control: amount.times(times) for control, amount in known[name].items()})
    if words is not None:
        asked.append(understood(words, known))
    total: dict[str, Amount] = {}
    for wishes in asked:
        for name, amount in wishes.items():
            total[name] = total.get(name, Amount()).plus(amount)
    return checked(total)


def _named(option: str, given: Sequence[str], known: Sequence[str]) -> Iterator[tuple[str, float]]:
    for text in given:
        name, equals, amount = text.partition("=")
        try:
            value = float(amount if equals else 1)
        except ValueError:
            value = np.nan
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UserError(
                f"{option} {text}: allowed {', '.join(known)}" + (f"; did you mean {near[0]}?" if near else "")
            )
        if not -MOST <= value <= MOST:
            raise UserError(f"{option} {text}: allowed amounts {-MOST:g} to {MOST:g}, as in {name}=0.5")
        yield name, value


def checked(wishes: Wishes) -> Wishes:
    """What is asked, without what is 0. Raises `UserError` where that is nothing, or too much."""
    asked = {name: amount for name, amount in wishes.items() if amount.level or amount.rise}
    if not asked:
        raise UserError(
            "nothing to change is asked; give --density, --cheerful or another control, not 0 (--help has them all)"
        )
    for name, amount in asked.items():
        most = max(abs(amount.level), abs(amount.level + amount.rise))
        if most > MOST:
            raise UserError(f"{name}: {most:.12g} asked in all; allowed {-MOST:g} to {MOST:g}")
    return asked


def edit_file(
    source: Path, target: Path, wishes: Wishes, parts: Sequence[str], bars: str | None, png: Path | None, with_: Tools
) -> str:
    """Write `source` with the bars changed into `target`, and a picture of both. Returns a line for the user; raises
    `UserError`, and then nothing is written."""
    check_outputs(source, target, png, "edited")
    if missing := sorted(wishes.keys() - with_.directions.keys() - {LOUDNESS}):
        raise UserError(
            f"{', '.join(missing)}: {DIRECTIONS} beside the model has no such direction; ask for another control"
        )
    smf = load(source)
    piece = midifile.piece_of(smf)
    if not piece.notes:
        raise UserError(f"{source}: no notes in it; give a file with something to change")
    chosen_bars = bars_of(piece, bars, source)
    voice, part = voices_of(piece, smf)
    chosen = _chosen(part, parts, source)
    changed = change(piece, voice, part, chosen, chosen_bars, wishes, with_)
    result, removed = changed.result, changed.removed
    added = rewrite(smf, target, removed, changed.added, changed=changed.turned)
    if png is not None:
        gone = [*removed, *(before for before, _ in changed.turned)]
        _draw(png, source.name, piece, chosen_bars, gone, added, result, changed.edges)
    units = (np.nanmean(result.after, 0) - np.nanmean(result.before, 0)) / SCALE
    said = [
        f"{name} {units[ATTRIBUTES.index(name)]:+.2f} of {amount.level + amount.rise / 2:+.2f}"
        for name, amount in wishes.items()
        if name in ATTRIBUTES
    ]
    said += [
        f"{name} {changed.styles[name]:+.2f} of {amount.level + amount.rise / 2:+.2f}"
        for name, amount in wishes.items()
        if name in changed.styles
    ]
    said += [f"loudness of {counted(changed.louder, 'note')} changed"] if LOUDNESS in wishes else []
    if not added and not removed and changed.styles:
        said[-1] += " (no change of notes brings these bars nearer to it: they stay)"
    more = counted(len(added) - len(changed.turned), "note")
    counts = f"{more} added, {len(removed)} removed, {len(result.moved)} moved"
    mended = "".join(f"; {source.name}: {what}" for what in smf.mended)
    span = f"bars {chosen_bars.first}-{chosen_bars.last}"
    return f"{target}: {span}, {counts}; " + ", ".join(said) + mended


class Changed(NamedTuple):
    """What to take out of a piece and what to put in; notes and what becomes of them; the change of the attributes; the cells'
    edges in ticks; how far it went towards each style; of how many notes only the loudness changes."""

    removed: list[FileNote]
    added: list[FileNote]
    turned: list[tuple[FileNote, FileNote]]
    result: Result
    edges: np.ndarray
    styles: dict[str, float]
    louder: int


def change(
    piece: MidiPiece,
    voice: Sequence[int],
    part: Sequence[int],
    chosen: np.ndarray,
    bars: Bars,
    wishes: Wishes,
    with_: Tools,
) -> Changed:
    """The notes to change in a piece. `voice`, `part`, `chosen`: of each note, see `voices_of`."""
    edges = cell_edges(bars.starts[:-1], int(bars.starts[-1]))
    start, end = int(edges[0]) * PULSES_PER_TICK, int(edges[-1]) * PULSES_PER_TICK
    pitched = [i for i, number in enumerate(part) if number != DRUMS]
    whole = np.array(
        [(*_ticks(piece.notes[i]), piece.notes[i].pitch, piece.notes[i].velocity, part[i]) for i in pitched], NOTE
    )
    here = np.flatnonzero((whole["onset"] < edges[-1]) & (whole["onset"] + whole["duration"] > edges[0]))
    notes = [piece.notes[pitched[i]] for i in here]
    of_choice = chosen[np.array(pitched)[here]]
    free = of_choice & np.array([start <= note.onset_pulse < end for note in notes], bool)
    if not any(note.pitch in range(LOWEST, LOWEST + KEYS) for note, may in zip(notes, free, strict=True) if may):
        raise UserError(
            f"bars {bars.first}-{bars.last}: no notes of these parts on a piano's keys in them; give other bars or parts"
        )
    scene = Scene(whole[here], np.array(voice)[np.array(pitched)[here]], of_choice, free, edges, key_of(whole))
    amounts = {name: amount.over(len(edges) - 1) for name, amount in wishes.items() if name != LOUDNESS}
    with Progress("editing") as show:
        result = edit.edit(scene, amounts, with_.directions, with_.codec, show)
    styles = [name for name in wishes if name in STYLES]
    far = reached(scene, result, styles, with_.directions, with_.codec) if styles else {}
    asked = {name: float(amounts[name].mean()) for name in styles}
    if styles and len(styles) == len(amounts) and all(far[name] * way < WORTH * way**2 for name, way in asked.items()):
        result, far = edit.Result([], {}, [], result.before, result.before), dict.fromkeys(styles, 0.0)
    added = []
    for new in result.added:
        onset, duration = new.onset * PULSES_PER_TICK, new.duration * PULSES_PER_TICK
        added.append(replace(notes[new.like], onset_pulse=onset, duration_pulse=duration, pitch=new.pitch))
    wish = wishes.get(LOUDNESS, Amount())

    def louder(note: FileNote) -> FileNote:
        share = (note.onset_pulse - start) / (end - start)
        velocity = note.velocity + round(LOUDER * (wish.level + wish.rise * share))
        return replace(note, velocity=min(max(velocity, 1), 127))

    becomes = {i: replace(notes[i], pitch=pitch) for i, pitch in result.moved.items()}
    if LOUDNESS in wishes:
        stays = {*np.flatnonzero(free).tolist()} - {*result.removed}
        becomes = {i: louder(becomes.get(i, notes[i])) for i in sorted(stays)}
    turned = [(notes[i], note) for i, note in becomes.items() if note != notes[i]]
    removed = [notes[i] for i in result.removed]
    same = sum(before.pitch == after.pitch for before, after in turned)
    return Changed(removed, [louder(note) for note in added], turned, result, edges, far, same)


def _ticks(note: FileNote) -> tuple[int, int]:
    """Onset and duration, to the nearest tick."""
    half = PULSES_PER_TICK // 2
    onset = (note.onset_pulse + half) // PULSES_PER_TICK
    return onset, max((note.onset_pulse + note.duration_pulse + half) // PULSES_PER_TICK - onset, 1)


def _draw(
    path: Path, name: str, piece: MidiPiece, bars: Bars, removed: Sequence[FileNote], added: Sequence[FileNote],
    result: Result, edges: np.ndarray,
) -> None:  # fmt: skip
    starts = [int(tick) * PULSES_PER_TICK for tick in bars.starts]
    gone = set(removed)

    def here(notes: Sequence[FileNote]) -> list[FileNote]:
        ends = [(note, note.onset_pulse + note.duration_pulse) for note in notes if not note.is_drum]
        return [note for note, end in ends if note.onset_pulse < starts[-1] and end > starts[0]]

    voices = {"kept": here([note for note in piece.notes if note not in gone]), "removed": removed, "new": here(added)}
    curves = pianoroll.Curves(
        [int(tick) * PULSES_PER_TICK for tick in edges], {"before": result.before, "after": result.after}
    )
    pianoroll.draw(
        path, voices, starts, f"{name}, bars {bars.first}-{bars.last}", "attributes of the parts that were edited",
        bars.first, curves=curves,
    )  # fmt: skip
