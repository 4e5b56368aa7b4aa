"""The knob for memory, and which notes are quotes.

At 0 the model follows the candidates of its memory (`realtime.composing.memory`) as it has learned to. Below, more and more steps
are taken without candidates; at -1, all of them, and nothing is quoted but by chance. Above, the fields of one candidate, that of
the longest and surest match, are favoured; at 1, so strongly that little else is drawn.

An answer of trade takes up its call, and not Antiphon's own earlier answers: what the call has at the same place is favoured, its
accents and its swing with it.
"""

from __future__ import annotations

import numpy as np

from realtime.composing.closing import CLOSING_TICKS
from realtime.composing.constraints import SLICES
from realtime.composing.memory import BARS, EXPERTS, FIRST_BARS, FORGOTTEN, NEAR_TICKS, NOTHING, Recall
from realtime.core.dialogue import Quote, Turn
from realtime.music.keys import Key
from realtime.music.metre import Beat
from realtime.music.vocabulary import BEAT, MODEL_PART, NONE_DURATION, NONE_VELOCITY, Event

QUOTE_NATS = 12.0
"""At the knob's end: for each field of the candidate that is favoured."""
CALL_NATS = {"time": 4.5, "pitch": 5.0, "interval": 9.0, "duration": 1.0, "velocity": 5.0}
"""For the note of the call at this place, in an answer, with the knob at 0. Of the triples of intervals in answers to eleven
public-domain tunes .34 and .44 are the call's, with two seeds, to 36 prompts .46 and .31 (`models.listen`). With earlier weights
they were .37 and .38 in the mean, and with 4 for the pitch .34 and .33. An interval
that may leave the key takes .03 of the notes out of it. The velocities of an accented call are spread by .71 of its own, with 3
for the velocity by .48."""
LATER = 0.2
"""What is left of that for the pitch in the second half of the turn: an answer takes up the call's beginning, and goes its own
way to the end."""
VELOCITY_CLASSES = 3
"""How near a velocity class has to be to that of the call to be favoured at all."""
LONG_ENOUGH = 4
"""A note counts as quoted if at least so many notes before it were those before its source."""
FOLLOWED = 8
"""With a match of so many notes of the player's, what is played counts as the player's own tune."""
_SOURCES = np.arange(EXPERTS) < FIRST_BARS
"""The experts that know how long their match is."""


def _lengths(recall: Recall) -> np.ndarray:
    """(EXPERTS,) how many notes match, 0 for an expert without a candidate or a length."""
    return np.where(_SOURCES & (recall.features[:, 0] > 0), recall.length, 0)


def follows_player(recall: Recall) -> bool:
    """Whether what is played is a tune of the player's, so that it has an end of its own."""
    return bool((_lengths(recall) * (recall.features[:, 3] > 0)).max() >= FOLLOWED)


def faded(recall: Recall, memory: float, random: float) -> Recall:
    """What is left of the candidates with the knob at `memory`: below 0, none in so large a share of the steps. random: in
    [0, 1)."""
    return recall if random >= -memory else FORGOTTEN


def of_the_player(recall: Recall) -> Recall:
    """The candidates that point to notes of the player's. With its own too, a model that is played the same call again gives the
    same answer again."""
    theirs = recall.features[:, 3] > 0
    ids = np.where(theirs[:, None], recall.ids, NOTHING)
    return recall._replace(ids=ids, features=recall.features * theirs[:, None])


def favour(bias: np.ndarray, recall: Recall, memory: float) -> None:
    """Add to the biases (337,), in place, what the knob at `memory` > 0 gives to the fields of the best candidate."""
    lengths = _lengths(recall)
    if lengths.max() < LONG_ENOUGH:
        return
    best = int(np.argmax(lengths + recall.success[:, 1]))
    time, part, pitch, duration, velocity = recall.ids[best].tolist()
    nats = memory * QUOTE_NATS
    bias[SLICES["time"]][time] += nats
    if time < BEAT:
        bias[SLICES["part"]][MODEL_PART + part] += nats / 2  # a player's keyboard is one part, whatever is played on it
        bias[SLICES["pitch"]][pitch] += nats
        if duration != NONE_DURATION:
            bias[SLICES["duration"]][duration] += nats / 2
        bias[SLICES["velocity"]][velocity] += nats / 4


def take_up(
    bias: np.ndarray, recall: Recall, memory: float, beat: Beat, turn: Turn, last: int | None, key: Key | None
) -> None:
    """Add to the biases, in place, what an answer takes up of its call: the fields of the note that lies at the same place of it,
    where the turn is as long as the call and the memory looks so many bars back (`memory.BARS`).

    Its interval is taken up too, if it leads to a note of the key: from `last`, the pitch of the answer's last note, None before
    its first. So the call's beginning comes again at another height, once the answer has left it.
    """
    if turn.end is None or turn.voices:
        return
    found = np.flatnonzero(BARS * beat.bar_ticks == turn.end - turn.start)
    if not len(found):
        return
    expert = FIRST_BARS + int(found[0])
    if recall.features[expert, 0] == 0 or recall.features[expert, 3] == 0:
        return
    time, _, pitch, duration, velocity = recall.ids[expert].tolist()
    nats = {name: (1 + memory) * most for name, most in CALL_NATS.items()}
    if turn.end - beat.start <= CLOSING_TICKS:
        nats = dict.fromkeys(nats, 0.0) | {"velocity": nats["velocity"]}  # it ends in its own way
    elif 2 * (beat.start - turn.start) >= turn.end - turn.start:
        nats["pitch"] *= LATER
    bias[SLICES["time"]][time] += nats["time"]
    if time < BEAT:
        bias[SLICES["pitch"]][pitch] += nats["pitch"]
        moved = -1 if last is None else last + int(recall.leap[expert])
        if 0 <= moved < 128 and (key is None or moved % 12 in key.pitch_classes):
            bias[SLICES["pitch"]][moved] += nats["interval"]
        near = np.abs(np.arange(NONE_VELOCITY) - velocity)
        bias[SLICES["velocity"]] += nats["velocity"] * np.maximum(1 - near / VELOCITY_CLASSES, 0)
        if duration != NONE_DURATION:
            bias[SLICES["duration"]][duration] += nats["duration"]


def waiting(recall: Recall, memory: float, beat: Beat, turn: Turn) -> bool:
    """Whether what the longest match points to begins after this beat, within a bar of the turn's start: the place of a tune that
    the player broke off comes again at the same place of a bar. An answer to a single note never waits."""
    if memory < 0 or turn.voices:
        return False
    lengths = _lengths(recall)
    best = int(np.argmax(lengths))
    later = beat.start + beat.length <= recall.onset[best] <= turn.start + beat.bar_ticks
    return bool(later and lengths[best] >= LONG_ENOUGH)


def quoted(recall: Recall, event: Event) -> Quote | None:
    """The source of a note that was drawn after `recall`, or None: what the longest of the matches foretold, in time and
    pitch."""
    lengths = _lengths(recall)
    right = (
        (lengths >= LONG_ENOUGH)
        & (recall.ids[:, 2] == event.pitch)
        & (np.abs(recall.ids[:, 0] - event.time) <= NEAR_TICKS)
        & (recall.ids[:, 0] < BEAT)
    )
    if not right.any():
        return None
    best = int(np.argmax(lengths * right))
    return Quote(int(recall.source[best]), bool(recall.features[best, 3]))
