"""Which part a track of a MIDI file plays: melody, accompaniment, bass, drums, other. One rule for training and for playing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, OTHER

BASS_NAMES = re.compile(r"BASS(?!OON|ET|[ _-]*(DRUM|KICK|CLEF))|CELLO|\bBAS\b", re.IGNORECASE)
"""Whoever plays the bass line, alone or in a compound: "Contrabass", "bassline", "Basso continuo", "Bass Clarinet".

Not the bassoon and the basset horn, which are tenors, and not a bass drum or a staff in the bass clef.
"""
DRUM_NAMES = re.compile(
    r"(?<!STEEL )\bDRUMS\b|\bDRUM[ _-]?(KIT|SET|LOOP|MACHINE|TRACK)S?\b|^\W*DRUM\b|PERCUSSION|\bPERC\b"
    r"|SCHLAGZEUG|BATTERI[AE]|BATERIA",
    re.IGNORECASE,
)
"""Whoever plays a drum kit on another channel than 10."""
PITCHED_DRUMS = frozenset({47, *range(112, 120)})
"""General MIDI: timpani, and from tinkle bell to reverse cymbal. What such a program plays has pitches."""
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

    Drums as flagged, or by name; then the annotation; bass by name or program; the rest is "other". Where that leaves no
    melody, the highest of the others carries the tune and the rest of them accompany it.
    """
    parts = []
    for t in tracks:
        if t.is_drum or (DRUM_NAMES.search(t.name) and t.program not in PITCHED_DRUMS):
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
    if not any(part == MELODY and t.height for t, part in zip(tracks, parts, strict=True)):
        unnamed = [i for i, part in enumerate(parts) if part == OTHER and tracks[i].height]
        for i in unnamed:
            parts[i] = ACCOMPANIMENT
        if unnamed:
            parts[max(unnamed, key=lambda i: tracks[i].height)] = MELODY
    return parts
