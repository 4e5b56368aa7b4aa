"""What the engine is told of how to play."""

from __future__ import annotations

from dataclasses import dataclass

from realtime import midi
from realtime.core.modes import Mode
from realtime.music.controls import AS_IT_IS, Controls
from realtime.music.metre import TICKS
from realtime.music.vocabulary import DRUMS, MELODY, PART_NAMES


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine plays. Channels are 0..15. A program change n chooses the n-th of `modes`.

    `bars`: the metre, as `vocabulary.BeatGrid` takes it. `player_parts`: what the player plays on each channel;
    `channels`: where each of Antiphon's parts is sent.
    `prepare_ticks`: how long before its turn Antiphon begins to plan it. `commit_ns`: what lies so little ahead is final.
    `late_ns`: a note-on this late is not sent. `controls`: where the knobs are at first; `controls_cc`: the controller that
    turns the first of them, on any channel, the others following in order (`controls.KNOBS`); None: they stay where they are.
    """

    modes: dict[str, Mode]
    mode: str
    bpm: float = 120.0
    bars: tuple[tuple[int, int], ...] = ((0, 4 * TICKS),)
    channels: tuple[int, ...] = (0,) * len(PART_NAMES)
    player_parts: tuple[int, ...] = tuple(DRUMS if channel == midi.DRUM_CHANNEL else MELODY for channel in range(16))
    follow_clock: bool = False
    lookahead_ticks: int = 48
    prepare_ticks: int = 24
    commit_ns: int = 40_000_000
    late_ns: int = 60_000_000
    rest_ticks: int = 48
    trigger_cc: int | None = None
    trigger_key: int | None = None
    controls: Controls = AS_IT_IS
    controls_cc: int | None = None
    program_changes_mode: bool = True
