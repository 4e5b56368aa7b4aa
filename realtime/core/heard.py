"""The notes of a session, for a composer that takes over and has heard nothing. Times in ticks."""

from __future__ import annotations

from collections import deque

from realtime.core.dialogue import HeardNote, ModelNote, PlayerNote, Quote

MOST_NOTES = 4096
"""An hour of a tune; the oldest are forgotten first. A composer takes a sixth of a second to take them in. The thread that plays
packs them up, which takes it 6 ms; the 65,536 that a composer's memory keeps would take it 175 ms."""
LOOKED_BACK = 256
"""A key that went down more notes ago than this stays without a duration."""


class Heard:
    """See the module's docstring. Antiphon's notes count when they are sent."""

    def __init__(self) -> None:
        self._notes: deque[HeardNote] = deque(maxlen=MOST_NOTES)
        self._planned: dict[tuple[int, int], tuple[ModelNote, Quote | None]] = {}

    def key_down(self, note: PlayerNote) -> None:
        """The player struck a key."""
        self._notes.append(HeardNote(note.tick, note.part, True, note.pitch, 0, note.velocity))

    def key_up(self, tick: int, pitch: int) -> None:
        """The player's key stopped to sound."""
        for back in range(1, min(len(self._notes), LOOKED_BACK) + 1):
            note = self._notes[-back]
            if note.player and note.pitch == pitch:
                if not note.duration:
                    self._notes[-back] = note._replace(duration=max(tick - note.tick, 1))
                return

    def planned(self, note: ModelNote, quote: Quote | None = None) -> None:
        """A note of Antiphon's is planned; another plan may have had it before. `quote`: what it quotes."""
        self._planned[note.tick, note.pitch] = note, quote
        if len(self._planned) > MOST_NOTES:  # what was planned and taken back
            self._planned = {key: planned for key, planned in self._planned.items() if key[0] >= note.tick}

    def sent(self, tick: int, pitch: int) -> Quote | None:
        """A note of Antiphon's was sent. Returns what it quotes."""
        note, quote = self._planned.pop((tick, pitch), (None, None))
        if note is not None:
            self._notes.append(HeardNote(note.tick, note.part, False, note.pitch, note.duration, note.velocity))
        return quote

    def notes(self) -> tuple[HeardNote, ...]:
        """All of them, in the order in which they were played."""
        return tuple(self._notes)
