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
from models.corpus.memory import candidates
from models.corpus.pack import SOURCE_WEIGHTS, Pack, Piece
from models.corpus.perturb import OWN_SLIP_SEMITONES, Augment, perturb, tempo_shift
from realtime.composing.memory import EXPERTS, NOTHING, Moment, Notes, slot
from realtime.errors import UserError
from realtime.music import vocabulary as voc
from realtime.music.chords import UNKNOWN
from realtime.music.notes import NOTE
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    CHORD,
    DRUMS,
    DURATION_TICKS,
    MELODY,
    MODEL_PART,
    NONE_DURATION,
    NONE_PITCH,
    OPEN,
    Role,
)

ROLE_SHARES = {
    Role.COMPOSE: 0.20,
    Role.CONTINUE: 0.15,
    Role.TRADE: 0.20,
    Role.ACCOMPANY: 0.25,
    Role.HARMONISE: 0.10,
    Role.INFILL: 0.10,
}

EXACT, CENSORED = 0, 1
BEATS, PLAYERS, CHORDS, OWN, LATE_PLAYERS = range(5)
"""The order of events with equal ticks. The player's come late where Antiphon does not wait for them."""
LISTENS = 0.5
"""The share of ACCOMPANY windows in which Antiphon hears the player's notes before it plays at the same tick."""
LEAD_BEATS = 16
"""How many beats after a gap are fed before it in INFILL."""
REMEMBERED = 1536
"""The most notes before a window that its memory knows; how many it is in one window is drawn."""


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
    chords: np.ndarray | None = None
    """The chord of each beat."""


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
    here = (piece.beats["start"] >= start) & (piece.beats["start"] <= last)
    beats = piece.beats[here].copy()
    chords = None if piece.chords is None else piece.chords[here].astype(np.int64)
    notes, player = perturb(rng, notes, player, bars - origin, augment, beats["start"] - origin, chords)
    notes["onset"] -= start - origin
    bars, edges = bars - start, edges - start
    beats["start"] -= start
    beats["tempo"] = np.clip(beats["tempo"].astype(np.int64) + tempo_shift(rng, augment), 0, voc.FIELDS["tempo"] - 1)
    return Stretch(notes, player, beats, bars, edges, role, lag, chords)


def window(
    piece: Piece,
    length: int,
    rng: np.random.Generator,
    augment: Augment,
    role: Role | None = None,
    bar: int | None = None,
    cells: bool = False,
    memory: bool = False,
) -> dict[str, np.ndarray]:
    """One window of `length` events, padded at the end with weight 0.

    Returns `events` (T, 9) int64, `held` (T, 256) uint8, `targets` (T, 5) int64 (the model's next event; NONE fields are
    clipped to 0 where they do not count), `kind` (T,) EXACT or CENSORED, `turn` (T,) 1.0 where the time head counts,
    `note` (T,) 1.0 where the other heads count (the next event is a note of the model's), `tick` (T,) when it is, from the
    window's start (NEVER in what is fed ahead of a gap).
    A CENSORED step was cut short by the player: all that is known is that the model's next event is not before
    `targets[:, 0]`; its loss is -log sum over these times of p.

    Where the piece has chords, each beat's comes as a CHORD event, and `chord` (T,) is the class of a CHORD that is next;
    `due` (T,)
    is 1.0 there. With `cells` there is also what `models.corpus.contexts.of_window` gives, for the contexts of its events; with
    `memory`, the candidates of `models.corpus.memory` after each event: `candidates` (T, EXPERTS, 5), `features`
    (T, EXPERTS, FEATURES).
    """
    starts = piece.bar_starts
    if piece.beats["index"][0]:  # a pick-up
        starts = np.append(piece.beats["start"][0], starts)
    if bar is None:
        reach = np.searchsorted(starts, piece.notes["onset"][max(len(piece.notes) - length // 4, 0)], side="right")
        bar = 0 if rng.random() < 0.1 else int(rng.integers(0, max(reach, 1)))
    start = int(starts[bar])
    first = np.searchsorted(piece.notes["onset"], start)
    before = np.searchsorted(piece.notes["onset"], starts[max(bar - contexts.REACH, 0)]) if cells else first
    if memory:
        before = min(before, max(int(first) - int(rng.integers(0, REMEMBERED + 1)), 0))
    notes = piece.notes[before : first + length].astype(NOTE)
    if not len(notes) or notes["onset"][-1] < start:
        notes = piece.notes[-1:].astype(NOTE)
        start = int(piece.beats["start"][-1])
    if role is None:
        role = Role(rng.choice(list(ROLE_SHARES), p=list(ROLE_SHARES.values())))
    notes, player, beats, _, edges, role, lag, chords = stretch(rng, piece, notes, start, role, augment)
    around = contexts.of_window(piece, start, notes, player) if cells else {}
    past = remembered(notes[notes["onset"] < 0], player[notes["onset"] < 0], piece.beats, start) if memory else None
    notes, player = notes[notes["onset"] >= 0], player[notes["onset"] >= 0]
    corrupt = augment.corrupt
    if role in (Role.ACCOMPANY, Role.HARMONISE) and augment.stray:
        corrupt = float(rng.uniform(0, augment.stray))
    if role != Role.INFILL:
        listens = role != Role.ACCOMPANY or rng.random() < LISTENS
        arrays = fit(stream(notes, player, beats, edges, role, lag, rng, corrupt, chords, past, listens), length, role)
        return doubted(rng, arrays, augment) | around
    gap, after = edges
    ours, later = beats["start"] < after, notes["onset"] >= after
    ahead_beats = beats["start"] >= gap
    ahead_beats[np.flatnonzero(ahead_beats)[int((ours & ahead_beats).sum()) + LEAD_BEATS :]] = False
    ahead = stream(
        notes[later],
        np.ones(int(later.sum()), bool),
        beats[ahead_beats],
        np.array([NEVER]),
        role,
        lag,
        rng,
        0.0,
        None if chords is None else np.where(beats["start"] < after, UNKNOWN, chords)[ahead_beats],
        past,
    )
    if past is not None:
        past = Remembered(*(np.concatenate(pair) for pair in zip(past, ahead.pop("row").T, strict=True)))
    before = stream(
        notes[~later], player[~later], beats[ours], edges[:1], Role.CONTINUE, lag, rng, corrupt,
        None if chords is None else chords[ours], past,
    )  # fmt: skip
    ahead = {name: values[: length // 3] for name, values in ahead.items()}
    ahead["tick"][:] = NEVER  # what is fed ahead has no context: the latents there know what is in the gap
    room = length - len(ahead["kind"])
    beat = np.flatnonzero(before["events"][:, 0] == BEAT)
    whole = beat[np.searchsorted(beat, max(len(before["kind"]) - room, 0))]  # the gap must fit: the oldest beats go
    both = {name: np.concatenate([values, before[name][whole:]]) for name, values in ahead.items()}
    return doubted(rng, fit(both, length, role), augment) | around


def doubted(rng: np.random.Generator, arrays: dict[str, np.ndarray], augment: Augment) -> dict[str, np.ndarray]:
    """A window with some of its candidates gone or wrong, as `augment` has it."""
    if "candidates" not in arrays or not (augment.forget or augment.mistake):
        return arrays
    ids, features = arrays["candidates"], arrays["features"]
    forgotten = (rng.random(EXPERTS) < augment.forget) | (rng.random() < augment.forget)
    mistaken = (rng.random(ids.shape[:2]) < augment.mistake) & (ids[..., 2] < NONE_PITCH)
    wrong = np.clip(ids[..., 2] + rng.choice(OWN_SLIP_SEMITONES, mistaken.shape), 0, 127)
    ids[..., 2] = np.where(mistaken, wrong, ids[..., 2])
    gone = np.broadcast_to(forgotten, ids.shape[:2])[..., None]
    return arrays | {"candidates": np.where(gone, NOTHING, ids), "features": np.where(gone, np.float32(0), features)}


def stream(
    notes: np.ndarray,
    player: np.ndarray,
    beats: np.ndarray,
    edges: np.ndarray,
    role: Role,
    lag: int,
    rng: np.random.Generator,
    corrupt: float,
    chords: np.ndarray | None = None,
    past: Remembered | None = None,
    listens: bool = True,
) -> dict[str, np.ndarray]:
    """Dealt notes and beats -> the arrays of `window`, as long as they come. `lag` in ticks; negative: the player is early.

    listens: whether the player's notes come before Antiphon's, and before the chord, at equal ticks; chords: the class of each
    beat; past: with it there are candidates too, and it is what the memory knows beforehand. `row` then
    has the window's notes as the memory knows them.
    """
    b, c = len(beats), 0 if chords is None else len(beats)
    duration_class = voc.duration_indices(notes["duration"])
    onset = np.maximum(notes["onset"].astype(np.int64) + lag * player, int(beats["start"][0]))
    release = onset + np.where(player, notes["duration"], DURATION_TICKS[duration_class])

    # One row an event, notes first, then beats and chords, put in stream order.
    start = beats["start"].astype(np.int64)
    tick = np.concatenate([onset, start, start[:c]])
    late = (not listens) & (onset > start[0])  # before the first notes of the player Antiphon does not play
    source = np.concatenate(
        [np.where(player, np.where(late, LATE_PLAYERS, PLAYERS), OWN), np.full(b, BEATS), np.full(c, CHORDS)]
    )

    def column(of_notes: np.ndarray, otherwise: int) -> np.ndarray:
        return np.concatenate([of_notes, np.full(b + c, otherwise)]).astype(np.int64)

    part = column(notes["part"] + MODEL_PART * ~player, BEAT_EVENT.part)
    pitch = column(notes["pitch"], BEAT_EVENT.pitch)
    duration = column(np.where(player, OPEN, duration_class), BEAT_EVENT.duration)
    velocity = column(notes["velocity"] >> 2, BEAT_EVENT.velocity)
    end, length = column(release, -1), column(duration_class, NONE_DURATION)
    order = np.lexsort((pitch, part, source, tick))
    order = order[tick[order] < beats["start"][-1] + beats["length"][-1]]  # a lag may lead past the last beat
    tick, source, part, pitch, duration, velocity, end, length = (
        x[order] for x in (tick, source, part, pitch, duration, velocity, end, length)
    )
    is_player = (source == PLAYERS) | (source == LATE_PLAYERS)
    is_note = is_player | (source == OWN)
    at = np.searchsorted(beats["start"], tick, side="right") - 1
    time = np.where(is_note, tick - beats["start"][at], np.where(source == BEATS, BEAT, CHORD))

    fed_pitch = pitch.copy()
    slip = (source == OWN) & (part != DRUMS + MODEL_PART) & (rng.random(len(tick)) < corrupt)
    fed_pitch[slip] = np.clip(pitch[slip] + rng.choice(OWN_SLIP_SEMITONES, slip.sum()), 0, 127)

    held = _held(tick, end, is_player, fed_pitch, is_note)
    chord = np.full(len(tick), UNKNOWN)
    if chords is not None:
        told = np.searchsorted(np.flatnonzero(source == CHORDS), np.arange(len(tick)), side="right") - 1 == at
        chord[told] = chords[at[told]]
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
            chord,
        ],
        1,
    )
    # Step i is asked for event i + 1.
    nxt = slice(1, None)
    kind = np.where(is_player[nxt], CENSORED, EXACT)
    own, due = source[nxt] == OWN, source[nxt] == CHORDS
    # What arrives says "not earlier than this", or, where Antiphon did not wait for it, "later than this".
    earliest = np.minimum(time[nxt] + (source[nxt] == LATE_PLAYERS), BEAT)
    targets = np.stack([earliest, part[nxt], pitch[nxt], duration[nxt], velocity[nxt]], 1)
    targets[:, 1:] *= own[:, None]
    turn = np.ones(len(kind)) if not len(edges) else np.searchsorted(edges, tick[:-1], side="right") % 2
    turn = (turn * ~due).astype(
        np.float32
    )  # a CHORD comes after every BEAT: there is nothing to foretell but its class
    arrays = {
        "events": events[:-1],
        "held": held[:-1],
        "targets": targets,
        "kind": kind,
        "turn": turn,
        "note": (own * turn).astype(np.float32),
        "tick": tick[:-1],
        "due": due.astype(np.float32),
        "chord": np.where(due & (chord[nxt] != UNKNOWN), chord[nxt], 0),
    }
    if chords is not None:
        arrays["due"] *= chord[nxt] != UNKNOWN
    if past is None:
        return arrays
    row = Remembered(
        tick[is_note], part[is_note] % MODEL_PART, is_player[is_note].astype(np.int64), fed_pitch[is_note],
        length[is_note], velocity[is_note], np.where(is_player, end, tick)[is_note], slot(time[is_note]),
    )  # fmt: skip
    known = Remembered(*(np.concatenate(pair) for pair in zip(past, row, strict=True)))
    begin = int(
        np.flatnonzero(np.diff(known.tick, prepend=known.tick[:1]) < 0).max(initial=0)
    )  # after a stretch told ahead
    ids, features = candidates(
        Notes(*known[:-1]), known.slots, begin, len(past.tick) + np.cumsum(is_note)[:-1] - 1,
        Moment(tick[:-1], start[at][:-1], *(beats[name][at][:-1].astype(np.int64) for name in ("length", "bar_ticks"))),
    )  # fmt: skip
    return arrays | {"candidates": ids, "features": features, "row": np.stack(row, 1)}


class Remembered(NamedTuple):
    """Notes as the memory knows them: the columns of `realtime.composing.memory.Notes`, and their slots in the beat."""

    tick: np.ndarray
    part: np.ndarray
    player: np.ndarray
    pitch: np.ndarray
    duration: np.ndarray
    velocity: np.ndarray
    known: np.ndarray
    slots: np.ndarray


def remembered(notes: np.ndarray, player: np.ndarray, beats: np.ndarray, start: int) -> Remembered:
    """Notes (`NOTE`) before a window that starts at tick `start` of its piece; their ticks count from there."""
    order = np.lexsort((notes["pitch"], notes["part"], ~player, notes["onset"]))
    notes, player = notes[order], player[order]
    tick = notes["onset"].astype(np.int64)
    at = np.maximum(np.searchsorted(beats["start"] - start, tick, side="right") - 1, 0)
    return Remembered(
        tick,
        notes["part"].astype(np.int64),
        player.astype(np.int64),
        notes["pitch"].astype(np.int64),
        voc.duration_indices(notes["duration"]),
        (notes["velocity"] >> 2).astype(np.int64),
        np.where(player, tick + notes["duration"], tick),
        slot(tick - (beats["start"][at].astype(np.int64) - start)),
    )


def fit(arrays: dict[str, np.ndarray], length: int, role: Role) -> dict[str, np.ndarray]:
    """The first `length` steps, padded with BEATs of weight 0 where there are fewer."""
    out = {name: values[:length] for name, values in arrays.items() if name != "row"}
    if (missing := length - len(out["kind"])) > 0:
        quiet = np.array([[*BEAT_EVENT, 0, 0, 0, role, UNKNOWN]])
        out["events"] = np.concatenate([out["events"], np.repeat(quiet, missing, 0)])
        if "candidates" in out:
            out["candidates"] = np.concatenate([out["candidates"], np.tile(NOTHING, (missing, EXPERTS, 1))])
        for name in set(out) - {"events", "candidates"}:
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
        memory: bool = False,
    ):
        self.pack, self.length, self.seed, self.augment = pack, length, seed, augment
        self.count, self.role, self.cells, self.memory = count, role, cells, memory
        self.rows = pack.rows(split)
        if not self.rows:
            raise UserError(f"no piece of the split {split!r} could be used; see models/README.md")
        weight = np.array([pack.table[i]["bars"] * SOURCE_WEIGHTS.get(pack.table[i]["source"], 1.0) for i in self.rows])
        self.cumulative = np.cumsum(weight / weight.sum())

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.seed, i))
        return window(self.piece(rng), self.length, rng, self.augment, self.role, cells=self.cells, memory=self.memory)

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
