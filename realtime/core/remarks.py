"""What the user should know of a band and what is asked of it: a line for each thing that has no effect. Pure."""

from __future__ import annotations

from realtime.core.modes import Mode
from realtime.music.controls import Controls
from realtime.music.vocabulary import MELODY, OTHER, PART_NAMES, pitched_first


class Remarks:
    """Each line is returned once, when what it says begins to hold."""

    def __init__(self, is_band: bool) -> None:
        self._is_band = is_band
        self._said: list[str] = []

    def of(self, mode: Mode, parts: tuple[int, ...], controls: Controls) -> list[str]:
        """The new lines. parts: those that play."""
        if not self._is_band:
            return []
        holds = []
        if mode.voices and len(parts) > 1:
            answers = pitched_first(parts)[0]
            holds.append(f"harmonise: your notes are answered by the {PART_NAMES[answers]} alone, the other parts rest")
        if controls.memory > 0 and not {MELODY, OTHER} & set(parts):
            holds.append(
                "memory: a melody or other takes up what was played; accompaniment, bass and drums keep to chords and feel"
            )
        new = [line for line in holds if line not in self._said]
        self._said = holds
        return new
