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
    """See the module's docstring. A note that is planned counts when it is sent."""

    def __init__(self) -> None:
        self.of_player = 0
        self.of_own = 0
        self._planned: dict[tuple[int, int], Quote] = {}
        self._passages: deque[Passage] = deque(maxlen=MOST_PASSAGES)

    def planned(self, tick: int, pitch: int, quote: Quote | None) -> None:
        """A note is planned; another plan may have had it before."""
        if quote is None:
            self._planned.pop((tick, pitch), None)
        else:
            self._planned[tick, pitch] = quote

    def sent(self, tick: int, pitch: int) -> None:
        """A note was sent."""
        quote = self._planned.pop((tick, pitch), None)
        if len(self._planned) > MOST_PASSAGES:  # what was planned and taken back
            self._planned = {key: planned for key, planned in self._planned.items() if key[0] >= tick}
        if quote is None:
            return
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
