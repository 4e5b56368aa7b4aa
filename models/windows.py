"""Pieces -> training windows: who plays what, when it is known, and what the model should have played next.

A window is a stretch of T events of one piece from a bar line on, with the notes dealt out to the player and the model
by a role (`deal`). Player and model interleave by availability: the player's events come `lag` ticks late, and at equal
ticks the model's come first, so that nothing simultaneous leaks (in HARMONISE the player's come first). All randomness
comes from the generator passed in: the same seed gives the same window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from models.data import NOTE, Pack, Piece
from realtime import vocabulary as voc
from realtime.vocabulary import BEAT, BEAT_EVENT, DRUMS, DURATION_TICKS, MELODY, MODEL_PART, OPEN, Role

ROLE_SHARES = {Role.COMPOSE: 0.25, Role.CONTINUE: 0.25, Role.TRADE: 0.25, Role.ACCOMPANY: 0.20, Role.HARMONISE: 0.05}
LAGS_TICKS = (0, 1, 2, 3, 6)
SOURCE_WEIGHTS = {
    "groove": 0.5,
    "openscore_quartets": 0.7,
    "freedoom": 0.6,
    "pop909": 1.3,
    "openewld": 2.0,
    "openhymnal": 1.5,
}
"""How often a bar of a source is drawn, relative to the other sources' bars. Small tuneful sets count for more; the long
quartets and the one-bar patterns of drums and game loops for less. A source that is not named counts 1."""

EXACT, CENSORED = 0, 1
_WIDE = np.dtype([(name, "i8") for name in NOTE.names or ()])  # room to shift and to jitter


@dataclass(frozen=True)
class Augment:
    """What is changed in a window before the model sees it; the defaults are for training, `NONE` for scoring."""

    transpose: bool = True
    corrupt: float = 0.05
    """Share of the model's own past pitches that are altered as input (the targets stay): it must recover from slips."""
    drop: float = 0.03
    """Share of the player's notes that are left out."""
    jitter_ticks: float = 0.8
    """Standard deviation of a live player's timing, in half of the windows."""
    one_part: float = 0.4
    """Share of windows in which all of the player's notes come as one part, as from one keyboard."""
    lag: bool = True


NONE = Augment(False, 0.0, 0.0, 0.0, 0.0, False)


def deal(
    rng: np.random.Generator, role: Role, notes: np.ndarray, bars: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Role]:
    """Deal notes to player and model: (is_player (N,), turn edges in ticks, the role that was possible).

    The turn edges e0 < e1 < ... say whose turn it is where turns alternate: the player's before e0, the model's up to e1,
    and so on; none where both play all the time. ACCOMPANY and HARMONISE need two parts; without, it becomes TRADE.
    """
    onset, part = notes["onset"], notes["part"]
    everyone = np.zeros(len(notes), bool)
    none = np.zeros(0, np.int64)
    if role in (Role.ACCOMPANY, Role.HARMONISE):
        present = np.unique(part)
        if len(present) < 2:
            role = Role.TRADE
        else:
            if MELODY in present and rng.random() < 0.7:
                mine = np.array([MELODY])
            else:
                mine = rng.permutation(present)[: rng.integers(1, len(present))]
            player = np.isin(part, mine)
            if role == Role.ACCOMPANY and rng.random() < 0.25:
                player = ~player
            return player, none, role
    if len(bars) < 3:
        return everyone, none, Role.COMPOSE
    if role == Role.CONTINUE:
        edge = bars[rng.integers(1, max(2, int(len(bars) * 0.6)))]
        return onset < edge, np.array([edge]), role
    if role == Role.TRADE:
        length = int(rng.choice((1, 2, 4)))
        edges = bars[rng.integers(1, min(length, len(bars) - 1) + 1) :: length]  # the model's turn always comes
        return np.searchsorted(edges, onset, side="right") % 2 == 0, edges, role
    return everyone, none, Role.COMPOSE


def _perturb(
    rng: np.random.Generator, notes: np.ndarray, player: np.ndarray, augment: Augment
) -> tuple[np.ndarray, np.ndarray]:
    """What a live player does to the score: notes missing, early and late; all parts from one keyboard; another key."""
    if augment.transpose:
        lowest, highest = notes["pitch"].min(), notes["pitch"].max()
        shift = int(np.clip(rng.integers(-6, 6), -int(lowest), 127 - int(highest)))
        notes["pitch"] = np.where(notes["part"] == DRUMS, notes["pitch"], notes["pitch"] + shift)
    if augment.jitter_ticks and rng.random() < 0.5:
        wander = np.rint(rng.normal(0, augment.jitter_ticks, len(notes))).astype(np.int64)
        notes["onset"] = np.where(player, np.maximum(notes["onset"] + wander, 0), notes["onset"])
        softer = rng.uniform(0.75, 1.2)
        velocity = np.clip(notes["velocity"] * softer, 1, 127)
        notes["velocity"] = np.where(player, velocity, notes["velocity"])
    if rng.random() < augment.one_part:
        keyboard = player & (notes["part"] != DRUMS)
        notes["part"] = np.where(keyboard, MELODY, notes["part"])
    keep = ~(player & (rng.random(len(notes)) < augment.drop))
    return notes[keep], player[keep]


def window(
    piece: Piece,
    length: int,
    rng: np.random.Generator,
    augment: Augment,
    role: Role | None = None,
    bar: int | None = None,
) -> dict[str, np.ndarray]:
    """One window of `length` events, padded at the end with weight 0.

    Returns `events` (T, 9) int64, `held` (T, 256) uint8, `targets` (T, 5) int64 (the model's next event; NONE fields are
    clipped to 0 where they do not count), `kind` (T,) EXACT or CENSORED, `turn` (T,) 1.0 where the time head counts,
    `note` (T,) 1.0 where the other heads count (the next event is a note of the model's).
    A CENSORED step was cut short by the player: all that is known is that the model's next event is not before
    `targets[:, 0]`; its loss is -log sum over these times of p.
    """
    bars = piece.bar_starts
    if bar is None:
        reach = np.searchsorted(bars, piece.notes["onset"][max(len(piece.notes) - length // 4, 0)], side="right")
        bar = 0 if rng.random() < 0.1 else int(rng.integers(0, max(reach, 1)))
    start = int(bars[bar]) if len(bars) else int(piece.beats["start"][0])
    first = np.searchsorted(piece.notes["onset"], start)
    notes = piece.notes[first : first + length].astype(_WIDE)
    if not len(notes):
        notes = piece.notes[-1:].astype(_WIDE)
        start = int(piece.beats["start"][-1])
    if role is None:
        role = Role(rng.choice(list(ROLE_SHARES), p=list(ROLE_SHARES.values())))
    last = int(notes["onset"][-1])
    player, edges, role = deal(rng, role, notes, bars[(bars >= start) & (bars <= last)])
    lag = int(rng.choice(LAGS_TICKS)) if augment.lag and role != Role.HARMONISE else 0
    notes["onset"] -= start  # from here on ticks count from the window's start
    edges = edges - start
    notes, player = _perturb(rng, notes, player, augment)
    beats = piece.beats[(piece.beats["start"] >= start) & (piece.beats["start"] <= last)].copy()
    beats["start"] -= start
    return _assemble(notes, player, beats, edges, role, lag, length, rng, augment.corrupt)


def _assemble(
    notes: np.ndarray,
    player: np.ndarray,
    beats: np.ndarray,
    edges: np.ndarray,
    role: Role,
    lag: int,
    length: int,
    rng: np.random.Generator,
    corrupt: float,
) -> dict[str, np.ndarray]:
    """Dealt notes and beats -> the window's arrays (see `window`)."""
    b = len(beats)
    duration_class = voc.duration_indices(notes["duration"])
    onset = notes["onset"].astype(np.int64) + lag * player
    release = onset + np.where(player, notes["duration"], DURATION_TICKS[duration_class])

    # One row an event, notes first and then beats, put in stream order.
    tick = np.concatenate([onset, beats["start"].astype(np.int64)])
    source = np.concatenate(
        [np.where(player, 1, 2) if role == Role.HARMONISE else np.where(player, 2, 1), np.zeros(b, int)]
    )
    part = np.concatenate([notes["part"] + MODEL_PART * ~player, np.full(b, BEAT_EVENT.part)]).astype(np.int64)
    pitch = np.concatenate([notes["pitch"], np.full(b, BEAT_EVENT.pitch)]).astype(np.int64)
    duration = np.concatenate([np.where(player, OPEN, duration_class), np.full(b, BEAT_EVENT.duration)])
    velocity = np.concatenate([notes["velocity"] >> 2, np.full(b, BEAT_EVENT.velocity)])
    end = np.concatenate([release, np.full(b, -1)])
    order = np.lexsort((pitch, part, source, tick))
    order = order[tick[order] < beats["start"][-1] + beats["length"][-1]][
        : length + 1
    ]  # a lag may lead past the last beat
    tick, source, part, pitch, duration, velocity, end = (
        x[order] for x in (tick, source, part, pitch, duration, velocity, end)
    )
    is_beat = source == 0
    is_player = ~is_beat & (part < MODEL_PART)
    at = np.searchsorted(beats["start"], tick, side="right") - 1
    time = np.where(is_beat, BEAT, tick - beats["start"][at])

    fed_pitch = pitch.copy()
    slip = ~is_beat & ~is_player & (part != DRUMS + MODEL_PART) & (rng.random(len(tick)) < corrupt)
    fed_pitch[slip] = np.clip(pitch[slip] + rng.choice((-12, -2, -1, 1, 2, 12), slip.sum()), 0, 127)

    held = _held(tick, end, is_player, fed_pitch, ~is_beat)
    events = np.stack(
        [
            time,
            part,
            fed_pitch,
            duration,
            velocity,
            np.minimum(beats["index"][at], 15),
            np.minimum(beats["bar_ticks"][at] // 12, 31),
            beats["tempo"][at],
            np.full(len(tick), role),
        ],
        1,
    )
    # Step i is asked for event i + 1.
    nxt = slice(1, None)
    kind = np.where(is_player[nxt], CENSORED, EXACT)
    own = ~is_beat[nxt] & ~is_player[nxt]
    after = (
        0 if role == Role.HARMONISE else 1
    )  # at equal ticks the model's come first: what arrives says "later than this"
    target_time = np.where(is_player[nxt], np.minimum(time[nxt] + after, BEAT), time[nxt])
    targets = np.stack([target_time, part[nxt], pitch[nxt], duration[nxt], velocity[nxt]], 1)
    targets[:, 1:] *= own[:, None]
    turn = np.ones(len(kind)) if not len(edges) else np.searchsorted(edges, tick[:-1], side="right") % 2
    turn = turn.astype(np.float32)

    out = {
        "events": events[:-1],
        "held": held[:-1],
        "targets": targets,
        "kind": kind,
        "turn": turn,
        "note": (own * turn).astype(np.float32),
    }
    if (missing := length - len(kind)) > 0:
        quiet = np.array([[*BEAT_EVENT, 0, 0, 0, role]])
        out["events"] = np.concatenate([out["events"], np.repeat(quiet, missing, 0)])
        for name in ("held", "targets", "kind", "turn", "note"):
            pad = [(0, missing)] + [(0, 0)] * (out[name].ndim - 1)
            out[name] = np.pad(out[name], pad)
    return out


def _held(
    tick: np.ndarray, end: np.ndarray, is_player: np.ndarray, pitch: np.ndarray, is_note: np.ndarray
) -> np.ndarray:
    """Held-now flags (T, 256) uint8 after each event: player 128, model 128. A new note on a held key ends the old one."""
    who = np.flatnonzero(is_note)
    key = np.where(is_player[who], 0, 128) + pitch[who]
    stop = np.searchsorted(tick, end[who], side="left")  # the first event at or after the release
    by_key = np.argsort(key, kind="stable")
    same = key[by_key][1:] == key[by_key][:-1]
    again = np.full(len(who), len(tick))
    again[by_key[:-1][same]] = who[by_key[1:][same]]
    stop = np.maximum(np.minimum(stop, again), who + 1)
    change = np.zeros((len(tick) + 1, voc.HELD), np.int8)
    np.add.at(change, (who, key), 1)
    np.add.at(change, (np.minimum(stop, len(tick)), key), -1)
    return (np.cumsum(change, 0)[:-1] > 0).astype(np.uint8)


class Windows(Dataset[dict[str, np.ndarray]]):
    """Window number `i` of an endless, seeded stream: the same (seed, i) gives the same window, in any process.

    Pieces are drawn by their number of bars and their source's weight.
    """

    def __init__(
        self, pack: Pack, split: str, length: int, seed: int, augment: Augment, count: int, role: Role | None = None
    ):
        self.pack, self.length, self.seed, self.augment, self.count, self.role = (
            pack,
            length,
            seed,
            augment,
            count,
            role,
        )
        self.rows = pack.rows(split)
        weight = np.array([pack.table[i]["bars"] * SOURCE_WEIGHTS.get(pack.table[i]["source"], 1.0) for i in self.rows])
        self.cumulative = np.cumsum(weight / weight.sum())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.seed, i))
        row = min(int(np.searchsorted(self.cumulative, rng.random(), side="right")), len(self.rows) - 1)
        return window(self.pack[self.rows[row]], self.length, rng, self.augment, self.role)


def collate(windows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Windows -> a batch of tensors (B, T, ...)."""
    return {name: torch.from_numpy(np.stack([w[name] for w in windows])) for name in windows[0]}
