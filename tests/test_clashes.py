"""A sounding note of an accompaniment ends where the tune's next note clashes with it."""

from __future__ import annotations

import pytest
from performing import BEAT_NS, MS, NoiseStepper, assert_nothing_hangs, duet

from realtime import midi
from realtime.core.clashes import clashing
from realtime.core.tempo import PULSES_PER_TICK
from realtime.io.files.charts import read_chart
from realtime.music.given import Given, Lead
from realtime.music.metre import TICKS, BeatGrid

GRID = BeatGrid()
FREE = Given(GRID)


@pytest.mark.parametrize("struck", [71, 73, 60 - 1, 61, 85, 47])
def test_a_semitone_in_any_octave_clashes(struck: int) -> None:
    sounding = [36, 48, 60, 72]
    found = clashing(sounding, struck, 0, GRID, FREE)
    assert found == [each for each in sounding if abs(struck - each) in (1, 13, 25, 37, 49)] and found


def test_other_intervals_stay() -> None:
    for interval in (0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 23, 24):
        assert clashing([60], 60 + interval, 0, GRID, FREE) == []


@pytest.mark.parametrize(("tick", "ends"), [(24, True), (21, True), (27, True), (20, False), (28, False), (36, False)])
def test_only_on_a_beat(tick: int, ends: bool) -> None:
    assert clashing([60], 61, tick, GRID, FREE) == [60] * ends


def test_a_tone_of_the_given_chord_stays() -> None:
    given = Given(GRID)
    given.lead(Lead(0, read_chart("C | Am")))
    assert clashing([48, 52, 55], 53, 0, GRID, given) == []
    assert clashing([50, 52], 51, 0, GRID, given) == [50]


@pytest.mark.parametrize("seed", range(6))
def test_in_a_session_nothing_that_clashes_sounds_on(seed: int) -> None:
    """The player's scale in quarters: whatever Antiphon had struck before a note of it, and is a semitone away, has ended."""
    script = []
    pitches = [60, 61, 62, 63, 64, 65, 66, 67] * 3
    for beat, pitch in enumerate(pitches):
        script.append((beat * BEAT_NS, midi.note_on(0, pitch, 80)))
        script.append((beat * BEAT_NS + BEAT_NS - 20 * MS, midi.note_off(0, pitch)))
    played, _ = duet(script, 26 * BEAT_NS, "accompany", seed=seed, stepper=NoiseStepper())
    assert_nothing_hangs(played.sent)
    begun: dict[tuple[int, int], int] = {}
    spans = []
    for _, pulse, message in played.sent:
        key = midi.channel(message), message[1]
        if midi.is_note_on(message):
            begun[key] = pulse
        elif key in begun:
            spans.append((key[1], begun.pop(key), pulse))
    ended = 0
    for beat, pitch in enumerate(pitches):
        at = beat * TICKS * PULSES_PER_TICK
        for own, first, last in spans:
            if first < at - 3 * PULSES_PER_TICK and abs(pitch - own) % 12 == 1:
                assert last <= at + PULSES_PER_TICK, (beat, pitch, own)
                ended += last == at
    assert ended
