"""The player's notes, and the key and the chords that they are in, found by rule: what `realtime.composing.rules` goes by. Pure;
times in ticks.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from realtime.composing.constraints import Constraints
from realtime.core.dialogue import PlayerNote
from realtime.music.chords import MEMBERS, NO_CHORD, chord, pitch_classes, root_of
from realtime.music.given import Given
from realtime.music.keys import KEY_SCALES, Key, best_key
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import DRUMS

MOST_HEARD = 512
OPEN_TICKS = TICKS
"""What a key that is still down counts as."""
OUTSIDE, ROOT, IN_KEY, SAME = -0.6, 0.3, 0.15, 0.1
"""How a chord is found: each unit of sound in it counts 1, outside of it `OUTSIDE`, on its root `ROOT` more; a chord of the key
and the chord of before get a share of all sound."""
TRIADS = [chord(root, quality) for root in range(12) for quality in ("maj", "min")]


class PlayerHarmony:
    """See the module's docstring. `notes`: the player's last notes, oldest first. `down`: those whose keys are down, by pitch."""

    def __init__(self, constraints: Constraints, grid: BeatGrid, given: Given) -> None:
        """`constraints`: a key that is set counts, whatever is heard. `given`: so does a chord that is given."""
        self.notes: deque[PlayerNote] = deque(maxlen=MOST_HEARD)
        self.down: dict[int, PlayerNote] = {}
        self._constraints, self._grid, self._given = constraints, grid, given
        self._ends: dict[PlayerNote, int] = {}
        self._classes = np.zeros(12)
        self._chord = NO_CHORD

    def key_down(self, note: PlayerNote) -> None:
        """The player struck a key."""
        if len(self.notes) == MOST_HEARD:
            self._ends.pop(self.notes[0], None)
        self.notes.append(note)
        if note.part != DRUMS:
            self.down[note.pitch] = note
            self._classes = self._classes * 0.99
            self._classes[note.pitch % 12] += 1.0

    def key_up(self, tick: int, pitch: int) -> None:
        """The player's key went up; one that is not down is ignored."""
        if (note := self.down.pop(pitch, None)) is not None:
            self._ends[note] = tick

    def forget(self) -> None:
        """Forget the player's notes, and keep the key that they were in."""
        self.notes.clear()
        self._ends.clear()
        self.down.clear()

    def loudness(self, share: float) -> int:
        """A velocity: a share of the player's."""
        recent = [note.velocity for note in list(self.notes)[-8:]] or [80]
        return int(min(max(share * sum(recent) / len(recent), 1), 127))

    def key(self) -> Key:
        """The key that is set, or else heard."""
        constraints = self._constraints
        if constraints.tonic is not None:
            return Key(constraints.tonic, "major" if 4 in constraints.scale else "minor")
        return best_key(self._classes)

    def scale(self) -> frozenset[int]:
        """The pitch classes of the key that is set, or else heard."""
        constraints = self._constraints
        if constraints.tonic is not None:
            return frozenset((constraints.tonic + degree) % 12 for degree in constraints.scale)
        key = self.key()
        return frozenset((key.tonic + degree) % 12 for degree in KEY_SCALES[key.scale])

    def tones_at(self, tick: int) -> tuple[frozenset[int], int]:
        """The pitch classes of the chord that is given, or else heard, and its bass."""
        if (given := self._given.at(tick)) is not None and given.symbol.bass is not None:
            return given.symbol.tones, given.symbol.bass
        self._chord = self._chord_at(tick)
        return pitch_classes(self._chord), root_of(self._chord) or 0

    def _chord_at(self, tick: int) -> int:
        """The major or minor triad that fits best what was played in this bar and in the one before, the nearer the more."""
        start, bar = self._grid.bar_at(tick)
        weights = np.zeros(12)
        for note in self.notes:
            if note.part == DRUMS or note.tick < start - bar:
                continue
            still_down = max(tick, note.tick + OPEN_TICKS) if note.pitch in self.down else note.tick + OPEN_TICKS
            end = self._ends.get(note, still_down)
            weights[note.pitch % 12] += max(end - note.tick, 1) * 0.5 ** (max(tick - end, 0) / TICKS)
        key = self.key()
        if not weights.any():
            tonic = chord(key.tonic, "maj" if key.scale == "major" else "min")
            return self._chord if self._chord != NO_CHORD else tonic
        total, scale = weights.sum(), self.scale()

        def fit(candidate: int) -> float:
            members = MEMBERS[candidate]
            value = weights[members].sum() + OUTSIDE * weights[~members].sum() + ROOT * weights[root_of(candidate) or 0]
            in_key = all(int(pitch_class) in scale for pitch_class in np.flatnonzero(members))
            return float(value + total * (IN_KEY * in_key + SAME * (candidate == self._chord)))

        return max(TRIADS, key=fit)
