"""The chord that a hand plays: keys that are down together -> a symbol. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from realtime.music.chords import CHORDS, MEMBERS, QUALITIES, ROLE, ROLES, root_of, symbol
from realtime.music.keys import Key
from realtime.music.symbols import Symbol

FEWEST = 2
"""Pitch classes of a chord."""
MISSING = {"root": 1.6, "third": 1.5, "fifth": 0.4, "seventh": 0.9}
"""What a tone costs that a chord has and the hand does not play. A fifth is often left out."""
EXTRA, ON_ROOT, IN_KEY = 0.8, 0.5, 0.05
"""What a tone costs that the chord does not have; what it is worth that the lowest note is the root, and that a tone is in the
key."""
OPEN_SUS = 1.2
"""What a fifth costs that a suspended chord does not have: C and G are C."""

_COSTS = np.array([[0.0, *(MISSING[role] for role in ROLES[1:])][role] for role in range(len(ROLES))])[ROLE[1:CHORDS]]
"""(108, 12) of each chord, for each tone that is missing."""
_COSTS[12 * QUALITIES.index("sus") :][ROLE[1 + 12 * QUALITIES.index("sus") : CHORDS] == ROLES.index("fifth")] = OPEN_SUS


def chord_of(pitches: Collection[int], key: Key | None = None, inversions: bool = True) -> Symbol | None:
    """The chord of some keys (MIDI pitches), in any inversion, with or without its fifth; None for fewer than two pitch classes.
    Its tones are those that are played and those that its class adds; it is spelled in `key`, which decides
    where two fit as well. Its bass is the lowest of them, or, without `inversions`, its root."""
    played = np.zeros(12, bool)
    played[[pitch % 12 for pitch in pitches]] = True
    if played.sum() < FEWEST:
        return None
    lowest = min(pitches) % 12
    members = MEMBERS[1:CHORDS]
    score = -np.where(members & ~played, _COSTS, 0.0).sum(1) - EXTRA * (played & ~members).sum(1)
    if key is not None:
        score += IN_KEY * members[:, list(key.pitch_classes)].sum(1)
    score += ON_ROOT * (np.arange(CHORDS - 1) % 12 == lowest)
    found = 1 + int(score.argmax())
    root = root_of(found) or 0
    bass = lowest if inversions else root
    spelled = key if key is not None and root in key.pitch_classes else None
    name = symbol(found, spelled)
    if bass != root:
        name += f"/{symbol(1 + bass, spelled)}"
    return Symbol(found, bass, frozenset(np.flatnonzero(played | MEMBERS[found]).tolist()), name)
