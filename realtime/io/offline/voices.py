"""The voices of a file: who plays what, and what one voice may be given to play.

A voice is what one instrument plays in one track: the notes of a track on a channel, or, in MPE, on the channels of a zone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from realtime.composing.constraints import Constraints
from realtime.io.files.channels import ports_of, zones_of
from realtime.io.files.midifile import MidiPiece
from realtime.io.files.smf import Smf
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE
from realtime.music.parts import TrackInfo, parts_of
from realtime.music.vocabulary import DRUMS, DURATION_TICKS, MELODY

MARGIN, LEAST_RANGE = 2, 12
"""Semitones a voice may go beyond what it played, and what it has at least."""
OVERLAP = 3
"""Ticks by which a note may overlap the next of its line: legato is no chord."""
DRUMS_AT_ONCE = 4
LONGEST = 0.95
"""No new note is longer than this share of a voice's notes; a tune may have a last note as long as its longest."""
ROOM = 2.0
"""Nor than so many times what there is room for at the voice's density."""


def voices_of(piece: MidiPiece, smf: Smf) -> tuple[list[int], list[int]]:
    """Of each note its voice, 0 and up, and its part 0..4."""
    ports, zones = ports_of(smf), zones_of(smf)
    in_zone: defaultdict[int, set[int]] = defaultdict(set)
    for note in piece.notes:
        if (ports[note.track], note.channel) in zones:
            in_zone[note.track].add(note.channel)

    def key(track: int, channel: int) -> tuple[int, int, int]:
        zone = zones.get((ports[track], channel))
        if zone is None:
            return track, channel, 0
        # A zone may be recorded in one track, or with a track for each of its channels.
        return (track, -1 - zone, 0) if len(in_zone[track]) > 1 else (-1 - zone, 0, ports[track])

    keys = [key(note.track, note.channel) for note in piece.notes]
    names = sorted(set(keys))
    number = {name: index for index, name in enumerate(names)}
    voice = [number[name] for name in keys]
    own: list[list[int]] = [[] for _ in names]
    for index, of in enumerate(voice):
        own[of].append(index)
    infos = []
    for indices in own:
        first = piece.notes[indices[0]]
        height = sum(piece.notes[i].pitch for i in indices) / len(indices)
        infos.append(TrackInfo(piece.track_names[first.track], first.program, first.is_drum, height))
    part_of = parts_of(infos)
    return voice, [part_of[of] for of in voice]


def in_order(voices: Iterable[int], part_of: Mapping[int, int]) -> list[int]:
    """The order in which voices are written, each with the others in its ears: the tune first, and the drums, who give the beat;
    then the bass, who stands between both, and then the others."""
    rank = {MELODY: 0, DRUMS: 1}
    return sorted(voices, key=lambda voice: (rank.get(part_of[voice], 2), -part_of[voice], voice))


def constraints_of(general: Constraints, part: int, own: np.ndarray, rate: float | None) -> Constraints:
    """What a voice may play: what the user allows, within what it is used to. own: its notes (`NOTE`), maybe none; rate: notes a
    quarter."""
    constraints = replace(general, parts=(part,), rate=rate, band=False)
    if not len(own):
        return constraints
    most = general.max_notes or (DRUMS_AT_ONCE if part == DRUMS else at_once(own))
    # Else long notes would take the room of those that are still to come.
    longest = float(np.quantile(own["duration"], 1.0 if part == MELODY else LONGEST))
    longest = min(longest, ROOM * TICKS * most / rate) if rate else longest
    at_least = np.searchsorted(DURATION_TICKS[:-1], max(longest, general.min_duration))
    longest = min(int(DURATION_TICKS[at_least]), general.max_duration)
    constraints = replace(constraints, max_notes=most, max_duration=longest)
    if part == DRUMS:
        return replace(constraints, kit=tuple(np.unique(own["pitch"]).tolist()))
    low, high = int(own["pitch"].min()) - MARGIN, int(own["pitch"].max()) + MARGIN
    wider = max(LEAST_RANGE - (high - low), 0)
    low, high = max(low - wider // 2, general.lowest), min(high + (wider + 1) // 2, general.highest)
    if high - low < min(LEAST_RANGE, general.highest - general.lowest):  # the user asks for another register
        low, high = general.lowest, general.highest
    return replace(constraints, lowest=low, highest=high)


def at_once(own: np.ndarray) -> int:
    """How many notes of a voice sound together, at nearly all of its onsets."""
    onset, end = own["onset"], own["onset"] + np.maximum(own["duration"] - OVERLAP, 1)
    begun = np.searchsorted(np.sort(onset), onset, side="right")
    ended = np.searchsorted(np.sort(end), onset, side="right")
    return max(int(np.quantile(begun - ended, 0.9)), 1)


NOTHING = np.zeros(0, NOTE)
