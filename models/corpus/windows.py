"""Pieces -> training windows: who plays what, when it is known, and what the model should have played next.

A window is a stretch of T events of one piece from a bar line on, with the notes dealt out to the player and the model by a role
(`deal`), and changed as `models.corpus.perturb` has it. The player's events come `lag` ticks late; `models.corpus.stream` says in
what order events with equal ticks come. All randomness comes from the generator passed in: the same seed gives the same window.

INFILL is a stream in two pieces. First, all as the player's and in that role, the bars from the gap's start on, the gap left
empty: that is how a causal model learns what the gap leads to, and how long it is. Then the bars before the gap and the gap,
as in CONTINUE.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from models.corpus import contexts
from models.corpus.contexts import NEVER
from models.corpus.interludes import interject, rest
from models.corpus.pack import SOURCE_WEIGHTS, Pack, Piece
from models.corpus.perturb import OWN_SLIP_SEMITONES, Augment, perturb, tempo_shift
from models.corpus.stream import Remembered, Stretch, fit, remembered, stream
from realtime.composing.memory import EXPERTS, NOTHING
from realtime.errors import UserError
from realtime.music import vocabulary as voc
from realtime.music.chords import UNKNOWN
from realtime.music.metre import COMPOUND_TICKS, TICKS
from realtime.music.notes import NOTE
from realtime.music.vocabulary import ALONG, BEAT, DRUMS, MELODY, NONE_PITCH, Role

ROLE_SHARES = {
    Role.COMPOSE: 0.20,
    Role.CONTINUE: 0.15,
    Role.TRADE: 0.20,
    Role.ACCOMPANY: 0.25,
    Role.HARMONISE: 0.10,
    Role.INFILL: 0.10,
}

LISTENS = 0.75
"""The share of ACCOMPANY windows in which Antiphon hears the player's notes before it plays at the same tick."""
LEAD_BEATS = 16
"""How many beats after a gap are fed before it in INFILL."""
PLAYED_AGAIN = (Role.COMPOSE, Role.CONTINUE, Role.TRADE)
"""The roles in which a window's music may have been played before."""
RIGHT_AGAIN = 0.75
"""The share of these windows in which none of the model's own past pitches is altered."""
MOST_BETWEEN_BARS = 24
"""How many bars of rest lie at most between the first time and all that is remembered after it."""
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


def counts_of(beats: np.ndarray) -> np.ndarray:
    """The ticks that musicians count in some beats (`pack.BEAT`): their starts, but dotted quarters in a compound metre."""
    within = TICKS * beats["index"].astype(np.int64)
    first = np.where(beats["compound"] > 0, -(-within // COMPOUND_TICKS) * COMPOUND_TICKS, within)
    counted: np.ndarray = (beats["start"] + first - within)[first < within + beats["length"]]
    return counted


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
    here = (piece.beats["start"] >= start) & (piece.beats["start"] <= last)
    beats = piece.beats[here].copy()
    chords = None if piece.chords is None else piece.chords[here].astype(np.int64)
    notes["onset"] -= start
    beats["start"] -= start
    found = Stretch(notes, player, beats, bars - start, edges - start, role, lag, chords)
    if role == Role.CONTINUE and rng.random() < augment.interject:
        found = interject(rng, found)
    ahead = start - origin  # `perturb` lets nothing begin before 0
    notes, starts = found.notes, found.beats["start"] + ahead
    notes["onset"] += ahead
    counts = counts_of(found.beats) + ahead
    notes, player = perturb(rng, notes, found.player, found.bars + ahead, augment, starts, found.chords, counts)
    notes["onset"] -= ahead
    tempo = found.beats["tempo"].astype(np.int64) + tempo_shift(rng, augment)
    found.beats["tempo"] = np.clip(tempo, 0, voc.FIELDS["tempo"] - 1)
    found = found._replace(notes=notes, player=player)
    return rest(rng, found) if role == Role.CONTINUE and rng.random() < augment.pause else found


def _earlier(rng: np.random.Generator, found: Stretch) -> np.ndarray:
    """The notes of a window as they were played once before, ahead of all that it remembers: by the player, where there is one,
    and on one keyboard perhaps. Answers of the model's own before its turn are none of that music."""
    answers = (found.role == Role.CONTINUE) & ~found.player & (found.notes["onset"] < found.edges.min(initial=NEVER))
    notes = found.notes[(found.notes["onset"] >= 0) & ~answers].copy()
    if not len(notes):
        return notes
    back = int(notes["onset"].max()) - min(int(found.notes["onset"].min()), 0)
    step = 2 * int(found.beats["bar_ticks"][0])  # an even number of bars, so that slots in the beat stay as they are
    bars = rng.integers(0, MOST_BETWEEN_BARS // 2 + 1)
    notes["onset"] -= step * (-(-(back + 1) // step) + int(bars))
    keyboard = notes["part"] != DRUMS
    if found.player.any() and rng.random() < 0.5:
        notes["part"][keyboard] = MELODY
    return notes


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

    Returns `events` (T, 10) int64, `held` (T, 256) uint8, `targets` (T, 5) int64 (the model's next event; NONE fields are
    clipped to 0 where they do not count), `kind` (T,) EXACT or CENSORED, `turn` (T,) 1.0 where the time head counts,
    `note` (T,) 1.0 where the other heads count (the next event is a note of the model's), `tick` (T,) when it is, from the
    window's start (NEVER in what is fed ahead of a gap).
    A CENSORED step was cut short by the player: all that is known is that the model's next event is not before
    `targets[:, 0]`; its loss is -log sum over these times of p.

    Where the piece has chords, each beat's comes as a CHORD event. `due` (T,) is 1.0 where the next event is a CHORD whose class
    is known, and `chord` (T,) is its class there, else 0. With `cells` there is also what `models.corpus.contexts.of_window`
    gives, for the contexts of its events; with `memory`, the candidates of `models.corpus.memory` after each event: `candidates`
    (T, EXPERTS, 5), `features` (T, EXPERTS, FEATURES).
    """
    notes, start = _excerpt(piece, length, rng, bar, cells, memory)
    if role is None:
        role = Role(rng.choice(list(ROLE_SHARES), p=list(ROLE_SHARES.values())))
    found = stretch(rng, piece, notes, start, role, augment)
    around = contexts.of_window(piece, start, found.notes, found.player, found.bars) if cells else {}
    within = found.notes["onset"] >= 0
    before, whose = found.notes[~within], found.player[~within]
    again = memory and found.role in PLAYED_AGAIN and rng.random() < augment.again
    if again:
        earlier = _earlier(rng, found)
        before = np.concatenate([earlier, before])
        whose = np.concatenate([np.full(len(earlier), found.role != Role.COMPOSE), whose])
    past = remembered(before, whose, piece.beats, start) if memory else None
    found = found._replace(notes=found.notes[within], player=found.player[within])
    along = found.role in ALONG
    corrupt = float(rng.uniform(0, augment.stray)) if along and augment.stray else augment.corrupt
    if again and rng.random() < RIGHT_AGAIN:
        corrupt = 0.0
    astray = along and rng.random() < augment.astray
    if found.role == Role.INFILL:
        arrays = _around_gap(found, length, rng, corrupt, past)
    else:
        listens = found.role != Role.ACCOMPANY or rng.random() < LISTENS
        notes, player, beats, _, edges, role, lag, chords = found
        arrays = stream(notes, player, beats, edges, role, lag, rng, corrupt, chords, past, listens, astray)
    unquoted = along and rng.random() < augment.unquoted
    return doubted(rng, fit(arrays, length, found.role), augment, unquoted) | around


def _excerpt(
    piece: Piece, length: int, rng: np.random.Generator, bar: int | None, cells: bool, memory: bool
) -> tuple[np.ndarray, int]:
    """Enough notes (`NOTE`) for a window from a bar on, a random one where none is given, and the bar's first tick. With `cells`,
    also the notes of the bars before that its contexts know of; with `memory`, some of those that it remembers."""
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
    return notes, start


def _around_gap(
    found: Stretch, length: int, rng: np.random.Generator, corrupt: float, past: Remembered | None
) -> dict[str, np.ndarray]:
    """The stream of INFILL: first the bars from the gap's start on, the gap left empty, then the bars before it and the gap."""
    notes, player, beats, _, edges, role, lag, chords = found
    gap, after = edges
    ours, later = beats["start"] < after, notes["onset"] >= after
    ahead_beats = beats["start"] >= gap
    ahead_beats[np.flatnonzero(ahead_beats)[int((ours & ahead_beats).sum()) + LEAD_BEATS :]] = False
    everyone, no_edges = np.ones(int(later.sum()), bool), np.array([NEVER])
    told = None if chords is None else np.where(ours, UNKNOWN, chords)[ahead_beats]
    ahead = stream(notes[later], everyone, beats[ahead_beats], no_edges, role, lag, rng, 0.0, told, past)
    if past is not None:
        past = Remembered(*(np.concatenate(pair) for pair in zip(past, ahead.pop("row").T, strict=True)))
    told = None if chords is None else chords[ours]
    before = stream(notes[~later], player[~later], beats[ours], edges[:1], Role.CONTINUE, lag, rng, corrupt, told, past)
    ahead = {name: values[: length // 3] for name, values in ahead.items()}
    ahead["tick"][:] = NEVER  # what is fed ahead has no context: the latents there know what is in the gap
    room = length - len(ahead["kind"])
    beat = np.flatnonzero(before["events"][:, 0] == BEAT)
    whole = beat[np.searchsorted(beat, max(len(before["kind"]) - room, 0))]  # the gap must fit: the oldest beats go
    return {name: np.concatenate([values, before[name][whole:]]) for name, values in ahead.items()}


def doubted(
    rng: np.random.Generator, arrays: dict[str, np.ndarray], augment: Augment, unquoted: bool = False
) -> dict[str, np.ndarray]:
    """A window with some of its candidates gone or wrong, as `augment` has it. unquoted: those from the model's own notes are
    gone."""
    if "candidates" not in arrays or not (augment.forget or augment.mistake or unquoted):
        return arrays
    ids, features = arrays["candidates"], arrays["features"]
    forgotten = (rng.random(EXPERTS) < augment.forget) | (rng.random() < augment.forget)
    mistaken = (rng.random(ids.shape[:2]) < augment.mistake) & (ids[..., 2] < NONE_PITCH)
    wrong = np.clip(ids[..., 2] + rng.choice(OWN_SLIP_SEMITONES, mistaken.shape), 0, 127)
    ids[..., 2] = np.where(mistaken, wrong, ids[..., 2])
    gone = (np.broadcast_to(forgotten, ids.shape[:2]) | (unquoted & (features[..., 3] == 0)))[..., None]
    return arrays | {"candidates": np.where(gone, NOTHING, ids), "features": np.where(gone, np.float32(0), features)}


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
