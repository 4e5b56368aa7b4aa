"""The player's swing: where in the beat the second eighth falls, and the same for Antiphon's notes. Pure; times in ticks.

Hardly any of the music that the model was trained on swings, so it answers a swung phrase in straight eighths now and then. A
second eighth that was drawn straight is therefore moved to where the player strikes it (a *groove template*, as sequencers have).
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np

from realtime.composing.constraints import SLICES
from realtime.composing.contract import MASKED
from realtime.core.dialogue import PlayerNote
from realtime.music.metre import TICKS, Beat
from realtime.music.vocabulary import DURATION_TICKS, OPEN, Event, duration_index

SECOND_EIGHTH = range(TICKS * 5 // 12, TICKS * 3 // 4)
"""Where in the beat a second eighth may lie: straight it lies at 12; light swing is 14, a triplet 16."""
STRAIGHT = range(TICKS // 2 - 1, TICKS // 2 + 2)
"""Where Antiphon's counts as straight, and the player's does not count as swung."""
NOTES, FEWEST, SHARE = 8, 2, 0.7
"""Of the player's last second eighths so many count; there have to be so many, and so large a share of them swung."""


class Swing:
    """The places of the player's last second eighths; `hear` takes every note of the player's."""

    def __init__(self) -> None:
        self._places: deque[int] = deque(maxlen=NOTES)

    def hear(self, note: PlayerNote, beat: Beat) -> None:
        """A key of the player's went down in this beat."""
        place = note.tick - beat.start
        if beat.length == TICKS and place in SECOND_EIGHTH:
            self._places.append(place)

    @property
    def place(self) -> int | None:
        """Where the player strikes the second eighth, in ticks from the beat; None where the player does not swing."""
        swung = [place for place in self._places if place >= STRAIGHT.stop]
        enough = len(swung) >= max(FEWEST, SHARE * len(self._places))
        return round(median(swung)) if enough else None

    def swung(self, event: Event, beat: Beat, bias: np.ndarray) -> Event:
        """The event as the player would place it, if it is a straight second eighth and `bias` (337,) allows the later time.
        A note that ended by the end of the beat still does, if `bias` allows the shorter duration."""
        place = self.place
        if (
            place is None
            or event.time not in STRAIGHT
            or beat.length != TICKS
            or bias[SLICES["time"]][place] <= MASKED / 2
        ):
            return event
        duration = event.duration
        if duration != OPEN and event.time + DURATION_TICKS[duration] <= TICKS:
            shorter = min(duration, duration_index(TICKS - place))
            duration = shorter if bias[SLICES["duration"]][shorter] > MASKED / 2 else duration
        return event._replace(time=place, duration=duration)
