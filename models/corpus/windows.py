"""Pieces -> training windows: who plays what, when it is known, and what the model should have played next.

A window is a stretch of T events of one piece from a bar line on, with the notes dealt out to the player and the model
by a role (`deal`), and changed as `models.corpus.perturb` has it. Player and model interleave by availability: the
player's events
come `lag` ticks late, and at equal ticks the model's come first, so that nothing simultaneous leaks (in HARMONISE the
player's come first). All randomness comes from the generator passed in: the same seed gives the same window.

INFILL is a stream in two pieces. First, all as the player's and in that role, the bars from the gap's start on, the gap left
empty: that is how a causal model learns what the gap leads to, and how long it is. Then the bars before the gap and the gap,
as in CONTINUE.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from models.corpus import contexts
from models.corpus.contexts import NEVER
from models.corpus.pack import SOURCE_WEIGHTS, Pack, Piece
from models.corpus.perturb import OWN_SLIP_SEMITONES, Augment, perturb, tempo_shift
from realtime.errors import UserError
from realtime.music import vocabulary as voc
from realtime.music.notes import NOTE
from realtime.music.vocabulary import BEAT, BEAT_EVENT, DRUMS, DURATION_TICKS, MELODY, MODEL_PART, OPEN, Role

ROLE_SHARES = {
    Role.COMPOSE: 0.20,
    Role.CONTINUE: 0.15,
    Role.TRADE: 0.20,
    Role.ACCOMPANY: 0.25,
    Role.HARMONISE: 0.10,
    Role.INFILL: 0.10,
}

EXACT, CENSORED = 0, 1
LEAD_BEATS = 16
"""How many beats after a gap are fed before it in INFILL."""


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
            if role == Role.ACCOMPANY and rng.random() < 0.35:
                player = ~player
            return player, none, role
    if len(bars) < 3:
        return everyone, none, Role.COMPOSE
    if role == Role.INFILL:
        first = int(rng.integers(1, len(bars) - 1))
        last = min(first + int(rng.choice((1, 2, 4))), len(bars) - 1)
        edges = bars[[first, last]]
        return np.searchsorted(edges, onset, side="right") != 1, edges, role
    if role == Role.CONTINUE:
        edge = bars[rng.integers(1, max(2, int(len(bars) * 0.6)))]
        return onset < edge, np.array([edge]), role
    if role == Role.TRADE:
        length = int(rng.choice((1, 2, 4)))
        edges = bars[rng.integers(1, min(length, len(bars) - 1) + 1) :: length]  # the model's turn always comes
        return np.searchsorted(edges, onset, side="right") % 2 == 0, edges, role
    return everyone, none, Role.COMPOSE


class Stretch(NamedTuple):
    """A stretch of a piece, dealt and changed, as `stream` takes it. Ticks count from its start; notes that are there only to
    be known from before have negative ones. `bars`: its bar lines."""

    notes: np.ndarray
    player: np.ndarray
    beats: np.ndarray
    bars: np.ndarray
    edges: np.ndarray
    role: Role
    lag: int


def stretch(
    rng: np.random.Generator, piece: Piece, notes: np.ndarray, start: int, role: Role, augment: Augment
) -> Stretch:
    """`notes` (`NOTE`) of a piece from tick `start` on, in `role`, or in another that `deal` finds. Earlier notes among
    them are dealt like those before the first turn."""
    last, origin = int(notes["onset"][-1]), min(start, int(notes["onset"][0]))
    bars = piece.bar_starts
    bars = bars[(bars >= start) & (bars <= last)]
    player, edges, role = deal(rng, role, notes, bars)
    lag = int(rng.choice(augment.lags_ticks)) if augment.lags_ticks and role != Role.HARMONISE else 0
    notes["onset"] -= origin  # `perturb` lets nothing begin before 0
    notes, player = perturb(rng, notes, player, bars - origin, augment)
    notes["onset"] -= start - origin
    bars, edges = bars - start, edges - start
    beats = piece.beats[(piece.beats["start"] >= start) & (piece.beats["start"] <= last)].copy()
    beats["start"] -= start
    beats["tempo"] = np.clip(beats["tempo"].astype(np.int64) + tempo_shift(rng, augment), 0, voc.FIELDS["tempo"] - 1)
    return Stretch(notes, player, beats, bars, edges, role, lag)


def window(
    piece: Piece,
    length: int,
    rng: np.random.Generator,
    augment: Augment,
    role: Role | None = None,
    bar: int | None = None,
    cells: bool = False,
) -> dict[str, np.ndarray]:
    """One window of `length` events, padded at the end with weight 0.

    Returns `events` (T, 9) int64, `held` (T, 256) uint8, `targets` (T, 5) int64 (the model's next event; NONE fields are
    clipped to 0 where they do not count), `kind` (T,) EXACT or CENSORED, `turn` (T,) 1.0 where the time head counts,
    `note` (T,) 1.0 where the other heads count (the next event is a note of the model's), `tick` (T,) when it is, from the
    window's start (NEVER in what is fed ahead of a gap).
    A CENSORED step was cut short by the player: all that is known is that the model's next event is not before
    `targets[:, 0]`; its loss is -log sum over these times of p.

    With `cells` there is also what `models.corpus.contexts.of_window` gives, for the contexts of its events.
    """
    notes, start = _excerpt(piece, length, rng, bar, cells)
    if role is None:
        role = Role(rng.choice(list(ROLE_SHARES), p=list(ROLE_SHARES.values())))
    found = stretch(rng, piece, notes, start, role, augment)
    around = contexts.of_window(piece, start, found.notes, found.player) if cells else {}
    within = found.notes["onset"] >= 0
    found = found._replace(notes=found.notes[within], player=found.player[within])
    corrupt = augment.corrupt
    if found.role in (Role.ACCOMPANY, Role.HARMONISE) and augment.stray:
        corrupt = float(rng.uniform(0, augment.stray))
    if found.role == Role.INFILL:
        arrays = _around_gap(found, length, rng, corrupt)
    else:
        notes, player, beats, _, edges, role, lag = found
        arrays = stream(notes, player, beats, edges, role, lag, rng, corrupt)
    return fit(arrays, length, found.role) | around


def _excerpt(
    piece: Piece, length: int, rng: np.random.Generator, bar: int | None, cells: bool
) -> tuple[np.ndarray, int]:
    """Enough notes (`NOTE`) for a window from a bar on, a random one where none is given, and the bar's first tick. With `cells`,
    also the notes of the bars before that its contexts know of."""
    starts = piece.bar_starts
    if piece.beats["index"][0]:  # a pick-up
        starts = np.append(piece.beats["start"][0], starts)
    if bar is None:
        reach = np.searchsorted(starts, piece.notes["onset"][max(len(piece.notes) - length // 4, 0)], side="right")
        bar = 0 if rng.random() < 0.1 else int(rng.integers(0, max(reach, 1)))
    start = int(starts[bar])
    first = np.searchsorted(piece.notes["onset"], start)
    before = np.searchsorted(piece.notes["onset"], starts[max(bar - contexts.REACH, 0)]) if cells else first
    notes = piece.notes[before : first + length].astype(NOTE)
    if not len(notes) or notes["onset"][-1] < start:
        notes = piece.notes[-1:].astype(NOTE)
        start = int(piece.beats["start"][-1])
    return notes, start


def _around_gap(found: Stretch, length: int, rng: np.random.Generator, corrupt: float) -> dict[str, np.ndarray]:
    """The stream of INFILL: first the bars from the gap's start on, the gap left empty, then the bars before it and the gap."""
    notes, player, beats, _, (gap, after), role, lag = found
    ours, later = beats["start"] < after, notes["onset"] >= after
    ahead = stream(
        notes[later],
        np.ones(int(later.sum()), bool),
        beats[beats["start"] >= gap][: int((ours & (beats["start"] >= gap)).sum()) + LEAD_BEATS],
        np.array([NEVER]),
        role,
        lag,
        rng,
        0.0,
    )
    before = stream(notes[~later], player[~later], beats[ours], np.array([gap]), Role.CONTINUE, lag, rng, corrupt)
    ahead = {name: values[: length // 3] for name, values in ahead.items()}
    ahead["tick"][:] = NEVER  # what is fed ahead has no context: the latents there know what is in the gap
    room = length - len(ahead["kind"])
    beat = np.flatnonzero(before["events"][:, 0] == BEAT)
    whole = beat[np.searchsorted(beat, max(len(before["kind"]) - room, 0))]  # the gap must fit: the oldest beats go
    return {name: np.concatenate([values, before[name][whole:]]) for name, values in ahead.items()}


def stream(
    notes: np.ndarray,
    player: np.ndarray,
    beats: np.ndarray,
    edges: np.ndarray,
    role: Role,
    lag: int,
    rng: np.random.Generator,
    corrupt: float,
) -> dict[str, np.ndarray]:
    """Dealt notes and beats -> the arrays of `window`, as long as they come. `lag` in ticks; negative: the player is early."""
    tick, source, part, pitch, duration, velocity, end = _rows(notes, player, beats, role, lag)
    is_beat = source == 0
    is_player = ~is_beat & (part < MODEL_PART)
    at = np.searchsorted(beats["start"], tick, side="right") - 1
    time = np.where(is_beat, BEAT, tick - beats["start"][at])

    fed_pitch = pitch.copy()
    slip = ~is_beat & ~is_player & (part != DRUMS + MODEL_PART) & (rng.random(len(tick)) < corrupt)
    fed_pitch[slip] = np.clip(pitch[slip] + rng.choice(OWN_SLIP_SEMITONES, slip.sum()), 0, 127)

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
    # At equal ticks the model's come first: what arrives says "later than this".
    after = 0 if role == Role.HARMONISE else 1
    target_time = np.where(is_player[nxt], np.minimum(time[nxt] + after, BEAT), time[nxt])
    targets = np.stack([target_time, part[nxt], pitch[nxt], duration[nxt], velocity[nxt]], 1)
    targets[:, 1:] *= own[:, None]
    turn = np.ones(len(kind)) if not len(edges) else np.searchsorted(edges, tick[:-1], side="right") % 2
    turn = turn.astype(np.float32)
    return {
        "events": events[:-1],
        "held": held[:-1],
        "targets": targets,
        "kind": kind,
        "turn": turn,
        "note": (own * turn).astype(np.float32),
        "tick": tick[:-1],
    }


def _rows(notes: np.ndarray, player: np.ndarray, beats: np.ndarray, role: Role, lag: int) -> tuple[np.ndarray, ...]:
    """Notes and beats as columns, a row an event, in stream order: tick, source (0: a beat, then who comes first), part, pitch,
    duration class, velocity class, and the tick at which the note ends (a beat's is -1)."""
    b = len(beats)
    duration_class = voc.duration_indices(notes["duration"])
    onset = np.maximum(notes["onset"].astype(np.int64) + lag * player, int(beats["start"][0]))
    release = onset + np.where(player, notes["duration"], DURATION_TICKS[duration_class])
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
    order = order[tick[order] < beats["start"][-1] + beats["length"][-1]]  # a lag may lead past the last beat
    return tuple(x[order] for x in (tick, source, part, pitch, duration, velocity, end))


def fit(arrays: dict[str, np.ndarray], length: int, role: Role) -> dict[str, np.ndarray]:
    """The first `length` steps, padded with BEATs of weight 0 where there are fewer."""
    out = {name: values[:length] for name, values in arrays.items()}
    if (missing := length - len(out["kind"])) > 0:
        quiet = np.array([[*BEAT_EVENT, 0, 0, 0, role]])
        out["events"] = np.concatenate([out["events"], np.repeat(quiet, missing, 0)])
        for name in ("held", "targets", "kind", "turn", "note", "tick"):
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

    Pieces are drawn by their number of bars and their source's weight. Raises `UserError` where the split has none.
    """

    def __init__(
        self,
        pack: Pack,
        split: str,
        length: int,
        seed: int,
        augment: Augment,
        count: int,
        role: Role | None = None,
        cells: bool = False,
    ):
        self.pack, self.length, self.seed, self.augment = pack, length, seed, augment
        self.count, self.role, self.cells = count, role, cells
        self.rows = pack.rows(split)
        if not self.rows:
            raise UserError(f"no piece of the split {split!r} could be used; see models/README.md")
        weight = np.array([pack.table[i]["bars"] * SOURCE_WEIGHTS.get(pack.table[i]["source"], 1.0) for i in self.rows])
        self.cumulative = np.cumsum(weight / weight.sum())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.seed, i))
        return window(self.piece(rng), self.length, rng, self.augment, self.role, cells=self.cells)

    def piece(self, rng: np.random.Generator) -> Piece:
        """Draw one."""
        row = min(int(np.searchsorted(self.cumulative, rng.random(), side="right")), len(self.rows) - 1)
        return self.pack[self.rows[row]]


def collate(windows: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Windows -> a batch of tensors (B, T, ...); the cells of all windows one after the other (`contexts.RAGGED`)."""
    return {
        name: torch.from_numpy((np.concatenate if name in contexts.RAGGED else np.stack)([w[name] for w in windows]))
        for name in windows[0]
    }
