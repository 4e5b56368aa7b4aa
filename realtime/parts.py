"""Which part a track of a MIDI file plays: melody, accompaniment, bass, drums, other. One rule for training and for playing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from realtime.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, OTHER

BASS_NAMES = re.compile(r"\bBASS|CELLO|BASSO|\bBAS\b|CONTRABASS", re.IGNORECASE)
BASS_PROGRAMS = frozenset({*range(32, 40), 43, 58})
"""General MIDI: the basses, contrabass, tuba."""


class TrackInfo(NamedTuple):
    """What is known of a track. `height` is its mean pitch, 0 where it has no notes."""

    name: str
    program: int
    is_drum: bool
    height: float


def parts_of(tracks: Sequence[TrackInfo], melody: str = "", accompaniment: Collection[str] = ()) -> list[int]:
    """The part of each track. `melody` and `accompaniment` name tracks where somebody has annotated them.

    Drums as flagged; then the annotation; bass by name or program; the rest is "other", unless there is nothing else:
    then a lone instrument carries the tune, and of several the highest does and the others accompany it.
    """
    parts = []
    for t in tracks:
        if t.is_drum:
            parts.append(DRUMS)
        elif BASS_NAMES.search(t.name) and t.name != melody:
            parts.append(BASS)
        elif melody and t.name == melody:
            parts.append(MELODY)
        elif t.name in accompaniment:
            parts.append(ACCOMPANIMENT)
        elif t.program in BASS_PROGRAMS:
            parts.append(BASS)
        else:
            parts.append(OTHER)
    unnamed = [i for i, part in enumerate(parts) if part == OTHER and tracks[i].height]
    if len(unnamed) == 1 and MELODY not in parts:
        parts[unnamed[0]] = MELODY
    elif unnamed and not set(parts) - {OTHER}:
        top = max(tracks[i].height for i in unnamed)
        for i in unnamed:
            parts[i] = MELODY if tracks[i].height == top else ACCOMPANIMENT
    return parts
