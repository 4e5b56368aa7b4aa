"""In a mode that answers each note: which key is answered by what, so that its answers end when it goes up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from realtime.core.scheduler import PlannedNote
from realtime.core.tempo import PULSES_PER_TICK

Key = tuple[int, int]


@dataclass(slots=True)
class Answer:
    """The key (channel, pitch) that is answered, when it was struck and, if it has been, released; what answers it."""

    key: Key
    onset_pulse: int
    sounding: list[Key] = field(default_factory=list)
    release_pulse: int | None = None

    def add(self, key: Key, duration_pulse: int) -> int:
        """`key` is one more note of this answer. Returns how long it sounds: as long as it may, or as the answered key did."""
        self.sounding.append(key)
        if self.release_pulse is None:
            return duration_pulse
        return max(self.release_pulse - self.onset_pulse, PULSES_PER_TICK)


class Answers:
    """The answers by the generation of their plan."""

    def __init__(self) -> None:
        self._by_generation: dict[int, Answer] = {}

    def __len__(self) -> int:
        return len(self._by_generation)

    def ask(self, generation: int, key: Key, onset_pulse: int) -> None:
        """`key` went down and the plan `generation` is to answer it."""
        self._by_generation[generation] = Answer(key, onset_pulse)

    def fitted(self, generation: int, note: PlannedNote) -> PlannedNote | None:
        """`note` of the plan `generation`, on the onset of the key that it answers and as long; None: it answers no key."""
        answer = self._by_generation.get(generation)
        if answer is None:
            return None
        duration_pulse = answer.add((note.channel, note.pitch), note.duration_pulse)
        return replace(note, onset_pulse=answer.onset_pulse, duration_pulse=duration_pulse)

    def key_up(self, key: Key, pulse: int) -> list[Key]:
        """`key` went up: what answers it is to end now."""
        ended = []
        for answer in self._by_generation.values():
            if answer.key == key and answer.release_pulse is None:
                answer.release_pulse = pulse
                ended += answer.sounding
        return ended

    def complete(self, generation: int) -> None:
        """Plans up to `generation` have said all they had to: what has ended is forgotten."""
        self._by_generation = {
            g: answer for g, answer in self._by_generation.items() if g > generation or answer.release_pulse is None
        }

    def clear(self) -> None:
        """Everything was ended."""
        self._by_generation.clear()
