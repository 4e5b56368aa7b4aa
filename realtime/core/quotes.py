"""Which of Antiphon's notes were quotes, and of what: for the report of a session. Times in ticks."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from realtime.core.dialogue import Quote
from realtime.music.metre import TICKS, BeatGrid

MOST_PASSAGES = 10_000
"""The oldest are forgotten first; the sums stay."""
APART_TICKS = 2 * TICKS
"""A passage goes on where the next quoted note comes within so many ticks, from the same distance."""


class Passage(NamedTuple):
    """Quoted notes in a row: when the first was played, the onset of its source, whether the player's, and how many notes."""

    tick: int
    source: int
    player: bool
    notes: int
    last: int
    """When the last one was played."""


class Quotes:
    """See the module's docstring. Notes count when they are sent."""

    def __init__(self) -> None:
        self.of_player = 0
        self.of_own = 0
        self._passages: deque[Passage] = deque(maxlen=MOST_PASSAGES)

    def add(self, tick: int, quote: Quote) -> None:
        """A note that is a quote was sent."""
        if quote.player:
            self.of_player += 1
        else:
            self.of_own += 1
        last = self._passages[-1] if self._passages else None
        if (
            last is not None
            and last.player == quote.player
            and 0 <= tick - last.last <= APART_TICKS
            and abs((tick - quote.tick) - (last.tick - last.source)) <= TICKS // 2
        ):
            self._passages[-1] = last._replace(notes=last.notes + 1, last=tick)
        else:
            self._passages.append(Passage(tick, quote.tick, quote.player, 1, tick))

    def report(self, grid: BeatGrid) -> dict[str, object]:
        """How many notes were quoted from whom, and the passages: bars counted from 1."""
        return {
            "of_player": self.of_player,
            "of_own": self.of_own,
            "passages": [
                {
                    "bar": grid.bar_number(passage.tick) + 1,
                    "from_bar": grid.bar_number(passage.source) + 1,
                    "of": "player" if passage.player else "own",
                    "notes": passage.notes,
                }
                for passage in self._passages
            ],
        }
