"""The answers of a mode that answers each note (harmonise): they begin with the player's key and end when it goes up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from realtime.core.output import SHORTEST_PULSES
from realtime.core.scheduler import PlannedNote

Key = tuple[int, int]


@dataclass(slots=True)
class Answer:
    """The answer to one key, (channel, pitch), of the player's: when that key was struck, when it was released (None: it is
    still down), and the keys that have been sent in answer."""

    key: Key
    onset_pulse: int
    sounding: list[Key] = field(default_factory=list)
    release_pulse: int | None = None

    def add(self, key: Key, duration_pulse: int) -> int:
        """Add a note to the answer. Returns its duration: `duration_pulse` while the player's key is down, which ends the note
        when it goes up; as long as the key was held, but no click, if it is up already."""
        self.sounding.append(key)
        if self.release_pulse is None:
            return duration_pulse
        return max(self.release_pulse - self.onset_pulse, SHORTEST_PULSES)


class Answers:
    """The answers, each under the generation of the plan that was asked for it."""

    def __init__(self) -> None:
        self._by_generation: dict[int, Answer] = {}

    def __len__(self) -> int:
        return len(self._by_generation)

    def ask(self, generation: int, key: Key, onset_pulse: int) -> None:
        """The player struck `key`, and the plan `generation` was asked for the answer."""
        self._by_generation[generation] = Answer(key, onset_pulse)

    def fitted(self, generation: int, note: PlannedNote) -> PlannedNote | None:
        """`note` of the plan `generation` with the onset and the duration of the answer; None if that plan is no answer."""
        answer = self._by_generation.get(generation)
        if answer is None:
            return None
        duration_pulse = answer.add((note.channel, note.pitch), note.duration_pulse)
        return replace(note, onset_pulse=answer.onset_pulse, duration_pulse=duration_pulse, reacts=True)

    def key_up(self, key: Key, pulse: int) -> list[Key]:
        """The player released `key`. Returns the keys that answer it and have to end now."""
        ended = []
        for answer in self._by_generation.values():
            if answer.key == key and answer.release_pulse is None:
                answer.release_pulse = pulse
                ended += answer.sounding
        return ended

    def complete(self, generation: int) -> None:
        """No more notes will come of plans up to `generation`: forget those of their answers that have ended."""
        self._by_generation = {
            g: answer for g, answer in self._by_generation.items() if g > generation or answer.release_pulse is None
        }

    def clear(self) -> None:
        """Forget all answers: all that sounded was ended."""
        self._by_generation.clear()
