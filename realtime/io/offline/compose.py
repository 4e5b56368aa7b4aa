"""`antiphon compose`: a MIDI file goes on."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import numpy as np

from realtime.config import Config
from realtime.errors import counted
from realtime.io.files.midifile import FileNote
from realtime.io.files.rewrite import NewTrack, rewrite
from realtime.io.offline.continuation import Continuation, Player
from realtime.io.offline.source import NEAR_BARS, OWN_BARS, Source, as_played, bars_before, draw_result
from realtime.io.offline.studio import Studio
from realtime.io.offline.voices import NOTHING, constraints_of
from realtime.io.progress import Progress
from realtime.music.vocabulary import PART_NAMES


def compose(
    config: Config, source: Path, target: Path, bars: int, loop: bool, png: Path | None, say: Callable[[str], None]
) -> str:
    """Continue `source` by `bars` bars into `target`: the file's own tracks, and one of Antiphon's for each voice.

    Without `play.part` every voice goes on that plays near the end. `loop`: the new bars lead back to the first of them. Returns
    a line for the user; raises `UserError`, and then nothing is written.
    """
    music_of = Source(source, target, png)
    ending = Continuation(music_of)
    notes, grid, start = music_of.notes, music_of.grid, ending.start
    end = grid.bar_start(start, bars)
    studio = Studio(config, music_of.bars, ending.bpm, say)
    studio.give_chords(start)
    general = studio.general
    plan = studio.plan(notes, start, end, loop)
    made = [NOTHING]
    new: list[FileNote] = []
    tracks: list[NewTrack] = []
    names = {*music_of.piece.track_names}
    players = list(ending.players(general.parts))
    with Progress("composing") as show:
        studio.show(show, len(players), start, end)
        for player in players:
            studio.turn_to(constraints_of(general, player.part, player.own, player.rate))
            made.append((studio.looped if loop else studio.continued)(np.concatenate([notes, *made]), start, end, plan))
            new += as_played(made[-1], replace(player.like, track=len(music_of.piece.track_names) + len(tracks)))
            tracks.append(ending.track(_unused(f"antiphon {PART_NAMES[player.part]}", names), player))
            names.add(tracks[-1].name)
    if tracks:  # in a damaged file there may be no voice that goes on
        tracks[0] = tracks[0]._replace(events=[*ending.times(), *tracks[0].events])
    added = rewrite(music_of.smf, target, (), new, tracks)
    first = bars_before(grid, start)
    if png is not None:
        voices = {"player": music_of.piece.notes, "antiphon": added}
        shown = (studio.back(start, NEAR_BARS), start, end)
        draw_result(
            png,
            f"{source.name} and {counted(bars, 'bar')} more",
            studio,
            voices,
            notes,
            np.concatenate(made),
            plan,
            shown,
        )
    return music_of.line(
        f"{target}: {counted(bars, 'bar')} and {counted(len(added), 'note')} after bar {first}"
        + (f"; bars {first + 1} to {first + bars} are a loop" if loop else "")
        + _who(music_of, players, bool(general.parts))
    )


def _who(source: Source, players: Sequence[Player], asked: bool) -> str:
    """Which parts go on and why, and which of the file's do not."""
    parts = [PART_NAMES[part] for part in sorted({player.part for player in players})]
    others = [PART_NAMES[part] for part in sorted({*source.part}) if PART_NAMES[part] not in parts]
    if not parts:
        return ""
    if asked:
        return f"; only {', '.join(parts)}, as --part asks"
    on = f"; on go the parts that play in the last {OWN_BARS} bars: {', '.join(parts)}"
    return on + (f"; silent there: {', '.join(others)} (--part {others[0]} brings it back)" if others else "")


def _unused(name: str, taken: Container[str]) -> str:
    """`name`, numbered where it is taken: a track of that name, Antiphon's of an earlier run say, stays beside the new one."""
    return next(each for each in chain((name,), (f"{name} {n}" for n in count(2))) if each not in taken)
