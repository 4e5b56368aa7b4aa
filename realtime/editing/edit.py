"""Edits in the space of latents: bars become denser, higher, brighter ..., and as little else as possible changes. Pure numpy.

A cell (`realtime.music.cells`) is transposed to a tonic of C, encoded as z, and decoded twice: at z and at z + d, where d is the
asked mix of directions (`models.training.directions`). The difference is evidence for and against every onset, and so for every
possible change (`realtime.editing.changes`). Changes are made one after the other, the one that lowers the total cost most first,
until none lowers it. The cost has three parts: how far the asked attributes are from their targets, how far other attributes have
moved, and a price for each change, lower where the decoder favours it. Where a style is asked, the decoder's evidence
counts most. All other notes stay as they are. Times in ticks; one unit of an amount is one unit of `attributes.SCALE`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from realtime.editing.changes import Change, Evidence, New, Proposals, Scene, Scope
from realtime.music.attributes import ATTRIBUTES, CIRCLE, FIFTHS, SCALE, figures
from realtime.music.cells import KEYS, LOWEST, MODEL, STEP_TICKS, STEPS, Split, rolls, split
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE

PROBE = 2.0
"""How far along a direction the second decoding is, in units; which notes come or go first hardly depends on it."""
STYLE_STEP = 4.0
"""The same towards a style, for an amount of 1."""
CERTAIN = 4.0
"""Log odds that count as certainty."""
ERROR, LEAK = 20.0, 0.2
"""The cost of a cell that misses its target by one unit; the share of it that counts for attributes that are to stay."""
TOUCH, TRUST, LEAST = 1.5, 1.5, 0.05
"""The price of a change; how much less it is, at most, where the decoder favours the change; the least price."""
STYLE_LEAK, STYLE_TRUST = 0.02, 3.5
"""LEAK and TRUST towards a style: attributes may move, as a style has its own density, register ..., and the decoder decides."""
NOVEL = 2.0
"""How much more the first change of a kind costs. Later ones of the kind (of a pitch class anywhere, of octaves in a neighbouring
cell) do not cost it, so that bars are changed alike."""
KEPT = 2 / 3
"""The share of its notes that a cell keeps at least where a style is asked for, and no density or polyphony."""
EVEN = np.array([1.0, 0.1, 1.0, 1.0, 1.0])
"""How much each cell's own error counts, by attribute, beside the error of the mean of all cells. Of register it counts little:
voices move by whole octaves, so a small change of register can only be reached as a mean."""
WINDOW = 64
"""Cells that are edited together at most."""
RINGING = 4
"""Cells before a window that are looked at for what sounds on into it."""
SUMS = 6
"""Sums from which a cell's attributes are computed, before the 48 flags of steps in which something sounds."""


class Codec(Protocol):
    """Rolls <-> standardised latents."""

    def encode(self, rolls: np.ndarray) -> np.ndarray:
        """(N, 4, 48, 88) -> (N, 128)."""

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """(N, 128) -> probabilities (N, 4, 48, 88)."""


@dataclass(frozen=True)
class Result:
    """The edit: indices of notes to remove, new pitches by index, notes to add; the cells' attributes (C, 5) `before` and
    `after`."""

    removed: list[int]
    moved: dict[int, int]
    added: list[New]
    before: np.ndarray
    after: np.ndarray


def shift_to_c(tonic: int) -> int:
    """Semitones, -6..5, from a tonic (0..11) to the nearest C."""
    return (6 - tonic) % 12 - 6


def edit(
    scene: Scene,
    amounts: Mapping[str, np.ndarray],
    directions: Mapping[str, np.ndarray],
    codec: Codec,
    show: Callable[[float], None] = lambda share: None,
) -> Result:
    """The changes that bring the cells nearest to the asked `amounts`: for an attribute (C,) units of change, for a style (C,)
    multiples of its direction. directions: (128,) by name. Amounts of 0 change nothing.

    `show` is called with the share that is done. Many cells are edited in windows of `WINDOW` at most, so that memory does not
    grow with them, and time no faster than they do.
    """
    cells = len(scene.edges) - 1
    cuts = np.linspace(0, cells, -(-cells // WINDOW) + 1).astype(int).tolist()
    piece, made, kinds = _Piece(scene), list[Result](), set[tuple[object, ...]]()
    for first, last in pairwise(cuts):
        ahead = max(first - RINGING, 0)
        window, index = piece.window(ahead, first, last)
        here = {name: amount[ahead:last] for name, amount in amounts.items()}
        result = _Edit(window, here, directions, codec, kinds).run()
        made.append(piece.applied(result, index, first - ahead))
        show(last / cells)
    return Result(
        [note for result in made for note in result.removed],
        {note: pitch for result in made for note, pitch in result.moved.items()},
        [new for result in made for new in result.added],
        np.concatenate([result.before for result in made]),
        np.concatenate([result.after for result in made]),
    )


class _Piece:
    """The notes of a scene as they are by now, from which windows of cells are cut."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._notes, self._voice, self._chosen = scene.notes.copy(), scene.voice, scene.chosen
        self._index = np.arange(len(scene.notes))
        """Of each note its index in the scene; -1 for a new one."""

    def window(self, ahead: int, first: int, last: int) -> tuple[Scene, np.ndarray]:
        """The cells from `ahead` to `last` as a scene in which only what begins from the cell `first` on may be changed; and of
        its notes their indices in the whole scene."""
        edges = self._scene.edges[ahead : last + 1]
        begins, ends = self._notes["onset"].astype(np.int64), self._notes["onset"] + self._notes["duration"]
        here = np.flatnonzero((begins < edges[-1]) & (ends > edges[0]))
        index = self._index[here]
        free = (index >= 0) & self._scene.free[index] & (begins[here] >= self._scene.edges[first])
        return Scene(self._notes[here], self._voice[here], self._chosen[here], free, edges, self._scene.key), index

    def applied(self, result: Result, index: np.ndarray, skipped: int) -> Result:
        """Make the changes of a window; the same with the indices of the whole scene, without the `skipped` first cells."""
        removed = index[result.removed].tolist()
        moved = {int(index[note]): pitch for note, pitch in result.moved.items()}
        added = [new._replace(like=int(index[new.like])) for new in result.added]
        for note, pitch in moved.items():
            self._notes["pitch"][self._index == note] = pitch
        like = [note.like for note in added]
        parts = self._scene.notes["part"][like].tolist()
        rows = [(note.onset, note.duration, note.pitch, 0, part) for note, part in zip(added, parts, strict=True)]
        new = np.array(rows, NOTE)
        stays = ~np.isin(self._index, removed)
        self._notes = np.concatenate([self._notes[stays], new])
        self._voice = np.concatenate([self._voice[stays], self._scene.voice[like]])
        self._chosen = np.concatenate([self._chosen[stays], self._scene.chosen[like]])
        self._index = np.concatenate([self._index[stays], np.full(len(added), -1)])
        return Result(removed, moved, added, result.before[skipped:], result.after[skipped:])


class _Edit:
    def __init__(
        self, scene: Scene, amounts: Mapping[str, np.ndarray], directions: Mapping[str, np.ndarray], codec: Codec,
        kinds: set[tuple[object, ...]],
    ) -> None:  # fmt: skip
        """`kinds`: of pitch classes moved in earlier windows; this one's are added."""
        self.scene, self.cells, self.kinds = scene, len(scene.edges) - 1, kinds
        self.amounts = {name: amount for name, amount in amounts.items() if np.any(amount)}
        self.styled = not self.amounts.keys() <= set(ATTRIBUTES)
        self.rows = split(scene.notes, scene.edges)
        self.quarters = np.diff(scene.edges) / TICKS
        notes = scene.notes
        self.pitch = notes["pitch"].astype(int)
        self.onset, self.stop = notes["onset"].astype(int), notes["onset"].astype(int) + notes["duration"]
        self.current = np.stack([self.onset, self.stop, self.pitch, scene.voice], 1)
        self.alive = np.ones(len(notes), bool)
        self.rows_of: dict[int, list[int]] = {}
        for row, note in enumerate(self.rows.note.tolist()):
            self.rows_of.setdefault(note, []).append(row)
        self.cell_of = self.rows.cell.tolist()
        self.shares = self.features(self.rows, self.pitch[self.rows.note])
        own = scene.chosen[self.rows.note]
        self.state = np.zeros((self.cells, SUMS + STEPS))
        np.add.at(self.state, self.rows.cell[own], self.shares[own])
        begun = np.bincount(
            self.rows.cell[own & (self.rows.first >= 0) & scene.free[self.rows.note]], minlength=self.cells
        )
        self.active = begun > 0
        self.count = begun.astype(int)
        thins = bool(self.amounts.keys() & {"density", "polyphony"})
        self.least = np.where(self.styled and not thins, np.ceil(KEPT * begun), 0).astype(int)
        self.touched: set[int] = set()
        self.changes = self.propose(self.decode(directions, codec)) if self.amounts and self.active.any() else []

    def features(self, rows: Split, pitch: np.ndarray) -> np.ndarray:
        """What each row of `rows` adds to its cell's sums: (R, 6 + 48); the last 48 are the steps in which it sounds."""
        first, last = np.maximum(rows.first, 0), rows.last
        steps, begins = last - first, rows.first >= 0
        place = CIRCLE[pitch % 12]
        sums = (begins, begins * pitch, FIFTHS[(pitch - self.scene.key.tonic) % 12] * steps, place.real * steps,
                place.imag * steps, steps)  # fmt: skip
        at = np.arange(STEPS)
        out: np.ndarray = np.concatenate([np.stack(sums, 1), (at >= first[:, None]) & (at < last[:, None])], 1)
        return out

    def decode(self, directions: Mapping[str, np.ndarray], codec: Codec) -> Evidence:
        """The decoder's evidence for the asked mix of directions."""
        way = np.zeros((self.cells, len(next(iter(directions.values())))), np.float32)
        asked = [np.abs(a).max() for name, a in self.amounts.items() if name in ATTRIBUTES]
        for name, amount in self.amounts.items():
            reach = PROBE / max(asked) if name in ATTRIBUTES else STYLE_STEP
            way += np.outer(amount * reach, directions[name]).astype(np.float32)
        notes = self.scene.notes.copy()
        shift = shift_to_c(self.scene.key.tonic)
        notes["pitch"] += shift
        z = codec.encode(rolls(notes, ~self.scene.chosen, self.scene.edges))
        planes = codec.decode(np.concatenate([z, z + way])).reshape(2, self.cells, 4, STEPS, KEYS)
        odds = planes[:, :, MODEL].astype(float).clip(1e-6, 1 - 1e-6)
        odds = np.log(odds / (1 - odds))
        return Evidence(odds[1], odds[1] - odds[0], planes[1, :, MODEL + 1], shift)

    def propose(self, evidence: Evidence) -> list[Change]:
        """Every change that is allowed, in all cells."""
        asked = self.amounts.keys()
        octaves = int(np.ceil(np.abs(self.amounts["register"]).max() / 2)) if "register" in asked else 0
        scope = Scope(
            rhythm=self.styled or bool(asked & {"density", "polyphony"}),
            colour=self.styled or bool(asked & {"brightness", "tension"}),
            chords=self.styled or "polyphony" in asked,
            octaves=octaves,
        )
        return [
            change
            for cell in np.flatnonzero(self.active).tolist()
            for change in Proposals(self.scene, self.rows, evidence, cell, scope).all()
        ]

    def delta(self, change: Change) -> np.ndarray:
        """What a change adds to its cell's sums, (6 + 48,)."""
        rows = [row for note in change.touched for row in self.rows_of[note] if self.cell_of[row] == change.cell]
        total: np.ndarray = -self.shares[rows].sum(0)
        if change.moved:
            out = Split(*(column[rows] for column in self.rows))
            total += self.features(out, np.array([pitch for _, pitch in change.moved])).sum(0)
        for new in change.added:
            start = int(self.scene.edges[change.cell])
            first = (new.onset - start) // STEP_TICKS
            row = Split(*np.array([[0], [0], [first], [first + max(new.duration // STEP_TICKS, 1)]]))
            total += self.features(row, np.array([new.pitch]))[0]
        return total

    def run(self) -> Result:
        """See `edit`."""
        before = self.figures(self.state, self.quarters)
        changes = self.changes
        removed: list[int] = []
        moved: dict[int, int] = {}
        added: list[New] = []
        if not changes:
            return Result(removed, moved, added, before, before)
        trust = np.clip([change.trust / CERTAIN for change in changes], -1, 1)
        cost = TOUCH - STYLE_TRUST * trust if self.styled else np.maximum(TOUCH - TRUST * trust, LEAST)
        cost += [NOVEL * (bool(change.kind) and change.kind not in self.kinds) for change in changes]
        alike: dict[tuple[object, ...], list[int]] = {}
        for i, change in enumerate(changes):
            if change.kind and change.kind not in self.kinds:
                alike.setdefault(change.kind, []).append(i)
        costs = _Costs(self, cost)
        while (best := self.best(costs.total(), cost)) is not None:
            change = changes[best]
            self.count[change.cell] += len(change.added) - len(change.removed)
            self.touched |= set(change.touched)
            removed += change.removed
            moved |= dict(change.moved)
            added += change.added
            self.apply(change, costs.delta[best])
            costs.renew(self.cells_of(change))
            every = change.kind[:1] == ("class",)
            if every:
                self.kinds.add(change.kind)
            same = alike.pop(change.kind, [])
            near = [i for i in same if every or abs(changes[i].cell - change.cell) == 1]
            cost[near] -= NOVEL
            alike[change.kind] = [] if every else [i for i in same if abs(changes[i].cell - change.cell) != 1]
        return Result(removed, moved, added, before, self.figures(self.state, self.quarters))

    def best(self, total: np.ndarray, cost: np.ndarray) -> int | None:
        """The change that lowers the total cost most, of those that may be made now; None where none lowers it. What is chosen or
        passed over here has a `cost` without end from then on."""
        while total[best := int(np.argmin(total))] < 0:
            total[best] = cost[best] = np.inf
            change = self.changes[best]
            more = len(change.added) - len(change.removed)
            enough = more >= 0 or self.count[change.cell] + more >= self.least[change.cell]
            if enough and not self.touched.intersection(change.touched) and self.possible(change):
                return best
        return None

    @staticmethod
    def figures(state: np.ndarray, quarters: np.ndarray) -> np.ndarray:
        """Sums (..., 6 + 48) of cells of so many quarters (...) -> attributes (..., 5)."""
        filled = (state[..., SUMS:] > 0.5).sum(-1)
        return figures(np.concatenate([state[..., :SUMS], filled[..., None]], -1), quarters)

    def arrivals(self, change: Change) -> list[tuple[int, int, int, int]]:
        """(onset, stop, pitch, voice) of each note that a change moves or adds."""
        voice = self.scene.voice
        moved = [(int(self.onset[i]), int(self.stop[i]), pitch, int(voice[i])) for i, pitch in change.moved]
        return moved + [(n.onset, n.onset + n.duration, n.pitch, int(voice[n.like])) for n in change.added]

    def possible(self, change: Change) -> bool:
        """Whether a change may be made now. Its notes must be on the piano and must not overlap a note of the same pitch and
        voice; unless tension or a style is asked for, it must not bring more semitone clashes than it takes away."""
        stays = self.alive.copy()
        stays[change.touched] = False
        coarse = self.styled or np.any(self.amounts.get("tension", np.zeros(1)) > 0)
        clashes = 0
        for onset, stop, pitch, voice in self.arrivals(change):
            with_it = self.current[stays & (self.current[:, 0] < stop) & (self.current[:, 1] > onset)]
            same = with_it[:, 2] == pitch
            if not LOWEST <= pitch < LOWEST + KEYS or (same & ((with_it[:, 3] == voice) | bool(change.added))).any():
                return False
            clashes += _clashes(pitch, with_it)
        if coarse:
            return True
        for i in change.touched:
            onset, stop, pitch, _ = self.current[i].tolist()
            clashes -= _clashes(pitch, self.current[stays & (self.current[:, 0] < stop) & (self.current[:, 1] > onset)])
        return clashes <= 0

    def apply(self, change: Change, delta: np.ndarray) -> None:
        """Make a change: to the notes, and to the sums of every cell in which they sound."""
        self.state[change.cell] += delta
        for i, pitch in [*((i, None) for i in change.removed), *change.moved]:
            rows = [row for row in self.rows_of[i] if self.cell_of[row] != change.cell]
            later = Split(*(column[rows] for column in self.rows))
            np.add.at(self.state, later.cell, -self.shares[rows])
            if pitch is None:
                self.alive[i] = False
            else:
                self.current[i, 2] = pitch
                np.add.at(self.state, later.cell, self.features(later, np.full(len(rows), pitch)))
        if change.added:
            self.current = np.concatenate([self.current, np.array(self.arrivals(change))])
            self.alive = np.append(self.alive, [True] * len(change.added))

    def cells_of(self, change: Change) -> list[int]:
        """The cells in which anything changes."""
        return [change.cell, *(self.cell_of[row] for note in change.touched for row in self.rows_of[note])]


def _clashes(pitch: int, others: np.ndarray) -> int:
    """How many of `others` (rows of onset, stop, pitch, voice) are a semitone or a minor ninth from a pitch."""
    return int(np.isin(np.abs(others[:, 2] - pitch), (1, 13)).sum())


class _Costs:
    """What each change of an edit would cost now: the errors of its cell and of the mean of all cells, less what they are, and
    its price. When a change is made, only those of its own cells are computed anew; for the others the mean has moved."""

    def __init__(self, of: _Edit, price: np.ndarray) -> None:
        self._of, self._price = of, price
        units = np.stack([of.amounts.get(name, np.zeros(of.cells)) for name in ATTRIBUTES], 1)
        self._target = of.figures(of.state, of.quarters) + units * SCALE
        self._weight = np.where(units.any(0), 1.0, STYLE_LEAK if of.styled else LEAK)
        self._cell = np.array([change.cell for change in of.changes])
        self.delta = np.stack([of.delta(change) for change in of.changes])
        """What each change adds to the sums of its cell."""
        self._way = np.zeros((len(ATTRIBUTES), len(self._cell)))
        """How each moves the attributes of its cell, in units."""
        self._own = np.zeros(len(self._cell))
        """What each costs, but for the mean."""
        self._count = int(of.active.sum())
        self.renew(range(of.cells))

    def renew(self, cells: Collection[int]) -> None:
        """The sums of some cells have changed."""
        far = (self._of.figures(self._of.state, self._of.quarters) - self._target) / SCALE
        far = np.where(self._of.active[:, None], far, 0)
        self._slope = 2 * ERROR * self._weight * far.sum(0) / self._count
        which = np.flatnonzero(np.isin(self._cell, np.array(cells)))
        cell = self._cell[which]
        new = self._of.figures(self._of.state[cell] + self.delta[which], self._of.quarters[cell])
        new = (new - self._target[cell]) / SCALE
        way = new - far[cell]
        own = ERROR * ((EVEN * (new**2 - far[cell] ** 2) + way**2 / self._count) * self._weight).sum(1)
        can = np.isfinite(own)  # a cell without notes has no attributes
        self._own[which] = np.where(can, own, np.inf)
        self._way[:, which] = np.where(can, way.T, 0)

    def total(self) -> np.ndarray:
        """(N,)."""
        result: np.ndarray = self._own + self._price + (self._slope[:, None] * self._way).sum(0)
        return result
