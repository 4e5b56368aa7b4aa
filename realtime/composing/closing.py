"""How an answer is brought to its end: biases on the fields of its last notes. Pure; times in ticks."""

from __future__ import annotations

import numpy as np

from realtime.music.given import Chord
from realtime.music.keys import Key
from realtime.music.metre import TICKS
from realtime.music.scales import pitches_of
from realtime.music.vocabulary import BEAT, DURATION_TICKS, OPEN

CLOSING_TICKS = 2 * TICKS
"""An answer is brought to its end in this many last ticks of its turn."""
LAST_BEAT_NATS = -5.0
"""For onsets within the last beat: a last note should come on that beat, or before."""
LASTING, LASTING_NATS = 0.75, 5.0
"""For a closing note that fills at least this share of what is left of the turn."""
TRIAD_NATS, TONIC_NATS = 5.0, 1.5
"""For a closing note of the tonic triad, and in addition for the tonic itself. `Sampler` leaves the candidates of the memory
out while an answer ends, as they come from the middle of a tune; a tune of the player's that is taken up ends by itself. Of the
answers to eleven tunes .57 (trade) and .54 (continue) then close, of those to 18 held-out phrases .22, as of the music. With
candidates, 3 nats for a long note, 1.5 and .5 here, they were .28, .26 and .17."""


def close(
    left: int, time: np.ndarray, pitch: np.ndarray, duration: np.ndarray, chord: Chord | None, key: Key | None
) -> None:
    """Bring the phrase to an end, `left` ticks before the turn ends: a long note of the tonic triad, or of the chord that is
    given, and nothing after it. Adds to the biases of the times (25,), pitches (128,) and durations (33,), in place."""
    if left <= TICKS:
        time[1:BEAT] += LAST_BEAT_NATS
    duration[:OPEN][LASTING * left <= DURATION_TICKS] += LASTING_NATS
    if chord is not None:
        pitch[pitches_of(chord.symbol.tones)] += TRIAD_NATS
    elif key is not None:
        pitch[pitches_of(frozenset(key.triad))] += TRIAD_NATS
        pitch[pitches_of(frozenset({key.tonic}))] += TONIC_NATS
