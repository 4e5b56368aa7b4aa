"""What the tests of training windows share: small pieces, and a window read back the slow way.

Read back means: tick by tick from its BEAT events, without a look at how the window was put together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from models.corpus.pack import BEAT as BEAT_ROW
from models.corpus.pack import NOTE, Pack, Piece
from models.corpus.perturb import NONE, Augment
from models.corpus.windows import ROLE_SHARES, Windows
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import BEAT, MODEL_PART, Role

LENGTH = 96
LAGS_TICKS = Augment().lags_ticks
ROLES = [role for role in ROLE_SHARES if role != Role.INFILL]
"""Those whose windows are one stream."""
ONLY_LAG, ONLY_TRANSPOSE = replace(NONE, lags_ticks=LAGS_TICKS), replace(NONE, transpose=True)


class Read(NamedTuple):
    """An event read back: its absolute tick, who (None: a beat), and its fields."""

    tick: int
    is_player: bool | None
    part: int
    pitch: int
    duration: int


def read_back(piece: Piece, out: dict[str, np.ndarray], start: int) -> list[Read]:
    """The events of a window without its padding, by walking from beat to beat."""
    beats = {int(b["start"]): int(b["length"]) for b in piece.beats}
    events, at = [], None
    for row in out["events"]:
        time, part, pitch, duration = (int(x) for x in row[:4])
        if time == BEAT:
            at = start if at is None else at + beats[at]
            if at not in beats:
                break  # padding goes on beyond the piece
            events.append(Read(at, None, part, pitch, duration))
        else:
            assert at is not None, "a window begins with its beat"
            events.append(Read(at + time, part < MODEL_PART, part, pitch, duration))
    used = int(np.flatnonzero(out["kind"] + out["turn"] + out["note"] + out["targets"].sum(1))[-1]) + 1
    return events[:used]


def piece_of(notes: list[tuple[int, int, int, int]], bars: tuple[tuple[int, int], ...] = ((0, 96),)) -> Piece:
    """Notes (onset, duration, pitch, part) -> a piece, its beats laid out by the grid."""
    array = np.array([(onset, duration, pitch, 80, part) for onset, duration, pitch, part in notes], NOTE)
    array = array[np.lexsort((array["pitch"], array["part"], array["onset"]))]
    grid, tick, beats = BeatGrid(bars), 0, []
    while tick <= array["onset"][-1]:
        beat = grid.beat_at(tick)
        beats.append((beat.start, beat.length, beat.in_bar, beat.bar_ticks, 8, beat.compound))
        tick = beat.start + beat.length
    return Piece("made", "toy", "train", array, np.array(beats, BEAT_ROW))


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Anything from eight notes on, in metres with and without short beats; no doubled notes."""
    notes = draw(
        st.lists(
            st.tuples(st.integers(0, 500), st.integers(1, 384), st.integers(55, 66), st.integers(0, 4)),
            min_size=8,
            max_size=50,
            unique_by=lambda note: (note[0], note[2], note[3]),
        )
    )
    return piece_of(notes, draw(st.sampled_from((((0, 96),), ((0, 60),), ((0, 72), (144, 96)), ((24, 96),)))))


def some(pack: Pack, role: Role | None, augment: Augment, count: int = 20) -> list[dict[str, np.ndarray]]:
    windows = Windows(pack, "train", LENGTH, 5, augment, count, role)
    return [windows[i] for i in range(count)]
