"""One step of the model: feed an event with its features, draw what follows it under the biases of the moment.

It reads no clock but the one handed to it for measuring. Its randomness comes from the seed, the tick and the number of the event
within the tick alone; that of the form of a long turn from the seed, the turn's start and the phrase before it (`returns`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from realtime.composing.band import Choices
from realtime.composing.constraints import SLICES, Sampling
from realtime.composing.contract import DRAWN, LOGITS, MASKED, Stepper
from realtime.composing.history import Snapshot
from realtime.composing.latents import Latents
from realtime.composing.masks import Masks, Moment
from realtime.composing.memory import FORGOTTEN, Recall
from realtime.composing.quoting import faded, favour, follows_player, of_the_player, take_up, waiting
from realtime.composing.returns import Returns
from realtime.core.dialogue import Plan, Turn
from realtime.music.metre import Beat
from realtime.music.vocabulary import BEAT, BEAT_EVENT, HEADS, MODEL_PART, Event, Role, fields

PHRASE_BARS = 4
"""In a turn that is longer, or has no end, the temperature's schedule begins anew after so many bars."""

UNLIKELY_NATS = -6.0
"""A part of a band that is this far below the likeliest one at a time is not taken there."""
_CHOICES = [(SLICES[name].start, size) for name, size in HEADS.items()]
"""Where the choices of each field begin in the biases, and how many there are."""
_NO_BUFFER = np.zeros(4, np.uint64)


class Sampler:
    """See the module's docstring. `tempo` (a `vocabulary.tempo_bin`) and `seed` may be set at any time."""

    def __init__(
        self,
        stepper: Stepper,
        masks: Masks,
        sampling: Sampling,
        tempo: int,
        seed: int,
        clock_ns: Callable[[], int],
        latents: Latents | None,
        returns: Returns | None = None,
    ) -> None:
        self.tempo = tempo
        self._stepper = stepper
        self._masks = masks
        self._sampling = sampling
        self.seed = seed
        self._clock_ns = clock_ns
        self._latents = latents
        self._returns = returns
        self._step_ns: list[int] = []
        self._rejected = 0
        self._random = np.random.Generator(np.random.Philox(key=0))

    def step(self, snapshot: Snapshot, plan: Plan, keys_down: np.ndarray) -> tuple[Event, int]:
        """Feed the event of a snapshot; draw the next one for the plan's turn, and the chord of the beat, which counts if the
        next event is a CHORD.

        What is fed is what was true at the event; what may be drawn also depends on the keys that the player holds by now,
        `keys_down` (128,) bool. A draw that is no legal note is counted and becomes a BEAT. Without a turn, only the chord has
        a meaning.
        """
        _, tick, beat, event, nth, keys, _, made, line, chord, due, recall, harmony, *_ = snapshot
        # What is leaving ends with the note that is drawn here, so it is not held, as at a change of chord in training. Told that
        # it sounds, the model plays less of the new chord: in 72 tunes it missed .29 of the chords then, and .28 so.
        releases = snapshot.free
        release = releases.max(0)
        turn, memory = plan.turn, self._masks.controls.memory
        # An answer of trade begins with its turn: the call was whole.
        may_wait = plan.role == Role.CONTINUE
        waits = may_wait and recall is not None and turn is not None and waiting(recall, memory, beat, turn)
        follows = may_wait and recall is not None and follows_player(recall)
        now = Moment(tick, beat, plan.boundary, made, line, release, keys_down, waits, harmony, due, follows)
        sampling = self._sampling.rows(_progress(turn, tick, beat) if turn is not None else 0.0, plan.role)
        random = self._random_at(nth, tick)
        noise = random.random(len(DRAWN), np.float32)
        if recall is not None and turn is not None and plan.role == Role.TRADE:
            recall = of_the_player(recall)
        if recall is not None and memory < 0:
            recall = faded(recall, memory, random.random())
        inputs = fields(event, beat, self.tempo, plan.role, chord)
        held = np.concatenate([keys, release > tick]).astype(np.float32)
        context = self._latents.at(tick) if self._latents is not None else None
        closes = turn is not None and not follows and self._masks.closing(plan.role, turn, beat) is not None
        # The candidates come from the middle of a tune, so they are left out while the answer ends.
        heard = FORGOTTEN if recall is not None and closes and memory <= 0 else recall
        recalled = (None, None) if heard is None else (heard.ids, heard.features)
        before = self._stepper.position

        def draw(bias: np.ndarray, release: np.ndarray) -> np.ndarray:
            """Take the step under a bias. release: (128,), when each pitch is free."""
            if self._stepper.position != before:
                self._stepper.rewind(before)
            free_from = np.maximum(release - beat.start, -1).astype(np.float32)
            started = self._clock_ns()
            choice = self._stepper.step(inputs, held, free_from, bias, sampling, noise, context, *recalled)
            self._step_ns.append(self._clock_ns() - started)
            return choice

        remembered = self._remembered(snapshot, recall, plan, closes)
        if self._masks.band is not None and turn is not None and not turn.voices and not due:
            choices = self._masks.choices(plan.role, turn, now, releases)
            drawn, chord = self._of_band(draw, choices, beat.start, releases, remembered)
            return self._masks.accented(drawn, now, plan.role), chord
        bias = self._masks.bias(plan.role, turn, now) + remembered
        drawn, chord = self._read(draw(bias, release), bias, release - beat.start)
        return self._masks.swung(self._masks.accented(drawn, now, plan.role), beat, bias), chord

    def _remembered(self, snapshot: Snapshot, recall: Recall | None, plan: Plan, closes: bool) -> np.ndarray:
        """(LOGITS,) nats for what was played before: by the knob for memory, of the call, and of bars that come back."""
        _, tick, beat, event, _, _, _, made, line, *_ = snapshot
        turn, memory = plan.turn, self._masks.controls.memory
        nats = np.zeros(LOGITS, np.float32)
        if recall is not None and memory > 0:
            favour(nats, recall, memory)
        if recall is not None and turn is not None and plan.role == Role.TRADE:
            take_up(nats, recall, memory, beat, turn, line[0] if made else None, self._masks.home)
        if self._returns is not None and turn is not None and not turn.voices and not closes:
            parts = self._masks.free_parts(tick, plan.role)
            back = self._returns.bias(tick, plan.boundary, beat, event, turn, parts, self.seed)
            if back is not None:
                nats += (1 + min(memory, 0.0)) * back
        return nats

    def _random_at(self, nth: int, tick: int) -> np.random.Generator:
        """Random numbers that depend on the seed, the tick and the number of the event within it: those of a new
        `Philox(key=seed, counter=[nth, tick, 0, 0])`, which would take ten times as long to make."""
        self._random.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array([nth, tick % (1 << 63), 0, 0], np.uint64),
                "key": np.array([self.seed, 0], np.uint64),
            },
            "buffer": _NO_BUFFER,
            "buffer_pos": len(_NO_BUFFER),
            "has_uint32": 0,
            "uinteger": 0,
        }
        return self._random

    def _of_band(
        self,
        draw: Callable[[np.ndarray, np.ndarray], np.ndarray],
        choices: Choices,
        start: int,
        releases: np.ndarray,
        remembered: np.ndarray,
    ) -> tuple[Event, int]:
        """The same step twice: first for the time and the part, then with both fixed under the masks of that part alone. Where
        the part that was drawn does not play at that time, it is drawn once more in between. remembered: (337,) nats."""
        choices.recall(remembered)
        free = np.full(128, start)
        choice = draw(choices.first, free)
        event, chord = self._read(choice, choices.first, free - start)
        if event.time == BEAT:
            return event, chord
        parts = choices.parts_at(event.time)
        fits = parts > UNLIKELY_NATS
        part = event.part if fits[event.part] else int(np.argmax(parts))
        if not fits[event.part] and fits.sum() > 1:
            part = int(draw(choices.fixed(event.time, parts), free)[1])
        bias, release = choices.last(event.time, part - MODEL_PART), releases[part - MODEL_PART]
        if part - MODEL_PART in choices.takes_up:
            bias[SLICES["part"].stop :] += remembered[SLICES["part"].stop :]
        return self._read(draw(bias, release), bias, release - start)

    def _read(self, choice: np.ndarray, bias: np.ndarray, release: np.ndarray) -> tuple[Event, int]:
        """The event and the chord that were drawn. release: (128,), when each pitch is free, from the start of the beat."""
        drawn, chord = choice[: len(HEADS)], int(choice[-1])
        if not is_legal(drawn, bias, release):
            self._rejected += 1
            return BEAT_EVENT, chord
        return Event(*drawn.tolist()), chord

    def take_counts(self) -> tuple[tuple[int, ...], int]:
        """Since this was last asked: how long each step took (ns), and how many draws were no legal note."""
        counts = tuple(self._step_ns), self._rejected
        self._step_ns.clear()
        self._rejected = 0
        return counts


def _progress(turn: Turn, tick: int, beat: Beat) -> float:
    """How far through the turn, 0..1, or, where that is longer or has no end, through the phrase of `PHRASE_BARS` bars; the last
    one ends with the turn. 0 before its start."""
    phrase = PHRASE_BARS * beat.bar_ticks
    if turn.end is None or turn.end - turn.start > phrase:
        return (max(tick, turn.start) - (turn.start if turn.end is None else turn.end)) % phrase / phrase
    return max(tick - turn.start, 0) / (turn.end - turn.start)


def is_legal(choice: np.ndarray, bias: np.ndarray, release: np.ndarray) -> bool:
    """Whether a draw (5,) is a BEAT, or a note of which no field is masked and whose pitch is free by then.

    `release` (128,) in ticks from the start of the beat, as the drawn time is.
    """
    chosen = choice.tolist()
    if chosen[0] == BEAT:
        return True
    for drawn, (start, size) in zip(chosen, _CHOICES, strict=True):
        if not 0 <= drawn < size or bias[start + int(drawn)] <= MASKED / 2:  # NaN is in no range
            return False
    return bool(release[int(chosen[2])] <= chosen[0])
