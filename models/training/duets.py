"""Duets: stretches of pieces dealt to a player and the model, as streams of events: as heard live, and with the player's notes
early."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.corpus.pack import Pack
from models.corpus.perturb import Augment
from models.corpus.stream import EXACT, fit, stream
from models.corpus.windows import Windows, stretch
from realtime.errors import UserError
from realtime.music import measures
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE, between
from realtime.music.vocabulary import (
    BEAT,
    DRUMS,
    FIELDS,
    MODEL_PART,
    Role,
    duration_indices,
)

ROLES, SHARES = (Role.ACCOMPANY, Role.HARMONISE), (0.7, 0.3)
PREFIX_BARS = 2
"""Up to so many bars of the model's part are given."""
NO_EDGES = np.zeros(0, np.int64)
UNUSED = np.random.default_rng(0)
TRIES = 1000


class Duet(NamedTuple):
    """Notes and beats as `stream.stream` takes them, times in ticks from the stretch's start. From `prefix` on the model's part
    is the model's to play; before it is given."""

    notes: np.ndarray
    player: np.ndarray
    beats: np.ndarray
    role: Role
    lag: int
    prefix: int

    def live_stream(self, rng: np.random.Generator = UNUSED, corrupt: float = 0.0) -> dict[str, np.ndarray]:
        """The stream as in live play: the player late by the lag, and not waited for in ACCOMPANY."""
        listens = self.role != Role.ACCOMPANY
        return stream(self.notes, self.player, self.beats, NO_EDGES, self.role, self.lag, rng, corrupt, listens=listens)

    def early_stream(self, lead: int, rng: np.random.Generator = UNUSED, corrupt: float = 0.0) -> dict[str, np.ndarray]:
        """The stream with the player's notes early by `lead` ticks, and as if they were the model's own: before the others of
        their tick, and with their durations. A model depends most on its own notes."""
        arrays = stream(self.notes, self.player, self.beats, NO_EDGES, Role.HARMONISE, -lead, rng, corrupt)
        events, held = arrays["events"].copy(), arrays["held"]
        theirs = events[:, 1] < MODEL_PART
        classes = self.of_events(events, -lead, duration_indices(self.notes["duration"]))
        events[theirs, 3] = classes[theirs]
        events[theirs, 1] += MODEL_PART
        events[:, list(FIELDS).index("role")] = self.role
        return {
            **arrays,
            "events": events,
            "held": np.concatenate([0 * held[:, :128], held[:, :128] | held[:, 128:]], 1),
        }

    def ticks(self, events: np.ndarray) -> np.ndarray:
        """The tick of each event of a stream of this duet, from its beginning."""
        is_beat = events[:, 0] == BEAT
        return self.beats["start"][np.cumsum(is_beat) - 1] + np.where(is_beat, 0, events[:, 0])

    def of_events(self, events: np.ndarray, lag: int, values: np.ndarray) -> np.ndarray:
        """`values` of the notes (N,), in the order of a stream's events; 0 for beats."""
        onset = np.maximum(self.notes["onset"] + lag * self.player, int(self.beats["start"][0]))
        keys = np.stack([onset, self.notes["part"] + MODEL_PART * ~self.player, self.notes["pitch"]], 1)
        found = dict(zip(map(tuple, keys.tolist()), values.tolist(), strict=True))
        rows = np.column_stack([self.ticks(events), events[:, 1:3]])
        return np.array([found.get(tuple(row), 0) for row in rows.tolist()])

    def own(self, end: int) -> np.ndarray:
        """The model's notes from the prefix up to `end`."""
        return between(self.notes[~self.player], self.prefix, end)

    @property
    def end(self) -> int:
        """The tick at which the last beat ends."""
        return int(self.beats["start"][-1]) + int(self.beats["length"][-1])


class Duets(Dataset[dict[str, np.ndarray]]):
    """Duet number `i` of a seeded stream, from pieces with two parts. As items, their windows: as heard live, or with the
    player's notes `lead` ticks early; a share of the model's own past pitches is altered, drawn a window from 0 to `corrupt`."""

    def __init__(
        self,
        pack: Pack,
        split: str,
        length: int,
        seed: int,
        augment: Augment,
        count: int = 0,
        lead: int | None = None,
        corrupt: float = 0.0,
    ):
        self.windows = Windows(pack, split, length, seed, augment, count)
        self.lead, self.corrupt = lead, corrupt

    def __len__(self) -> int:
        return self.windows.count

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        duet, rng = self.duet(i), np.random.default_rng((self.windows.seed, i, 1))
        corrupt = rng.uniform(0, self.corrupt)
        arrays = duet.live_stream(rng, corrupt) if self.lead is None else duet.early_stream(self.lead, rng, corrupt)
        return fit(arrays, self.windows.length, duet.role)

    def duet(self, i: int) -> Duet:
        """One in which both have a part. Raises `UserError` where there are none."""
        windows = self.windows
        rng = np.random.default_rng((windows.seed, i))
        for _ in range(TRIES):
            piece = windows.piece(rng)
            wanted = Role(rng.choice(ROLES, p=SHARES))
            reach = piece.notes["onset"][max(len(piece.notes) - windows.length // 2, 0)]
            start = int(rng.choice(piece.bar_starts[piece.bar_starts <= max(reach, piece.bar_starts[0])]))
            first = int(np.searchsorted(piece.notes["onset"], start))
            notes = piece.notes[first : first + windows.length].astype(NOTE)
            if len(np.unique(notes["part"])) > 1:
                break
        else:
            raise UserError("no piece with two parts was found to play along with; give another --corpus")
        notes, player, beats, bars, _, role, lag, _ = stretch(rng, piece, notes, start, wanted, windows.augment)
        prefix = int(bars[min(int(rng.integers(PREFIX_BARS + 1)), len(bars) - 1)])
        return Duet(notes, player, beats, role, lag, prefix)


def asked(arrays: dict[str, np.ndarray], role: Role) -> tuple[np.ndarray, np.ndarray]:
    """Which steps of a stream asked for the model's own events (its notes and the BEATs), number 0, 1, ...: the step right before
    each (J,); and the step that decides each time of the beat (J, 25), -1 where it is over.

    The player may come in between: then the times up to there are decided before, the others again.
    """
    exact, events = arrays["kind"] == EXACT, arrays["events"]
    number = np.cumsum(exact) - exact
    late = (role == Role.ACCOMPANY) & (arrays["tick"] > arrays["tick"][0])
    by_player = (events[:, 1] < MODEL_PART) & late
    floor = np.where(events[:, 0] == BEAT, 0, events[:, 0] + by_player)
    choices = np.arange(BEAT + 1)
    own = np.arange(int(exact.sum()))[:, None]
    at = np.searchsorted(number * TICKS * 2 + floor, own * TICKS * 2 + choices, side="right") - 1
    return np.flatnonzero(exact), np.where(number[at] == own, at, -1)


def pair(duets: list[Duet], lead: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Performances as two batches of streams: as heard live, and with the player's notes so many ticks early.

    Each has `events` (B, T, 10) and `held` (B, T, 256); and of the model's own events, the same in both, `targets` (B, J, 5)
    their fields, `own` (B, J) 1.0 where there is one, `note` (B, J) 1.0 where it is a note; and `step` (B, J), `at` (B, J, 25) as
    in `asked`.
    """
    batches = []
    for streams in ([duet.live_stream() for duet in duets], [duet.early_stream(lead) for duet in duets]):
        steps = [asked(arrays, duet.role) for arrays, duet in zip(streams, duets, strict=True)]
        length, count = max(len(s["kind"]) for s in streams), max(len(step) for step, _ in steps)
        rows = []
        for arrays, (step, at), duet in zip(streams, steps, duets, strict=True):
            whole = fit(arrays, length, duet.role)
            missing = count - len(step)
            own = {
                "targets": arrays["targets"][step],
                "own": np.ones(len(step), np.float32),
                "note": arrays["note"][step],
                "step": step,
            }
            own = {name: np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for name, x in own.items()}
            own["at"] = np.pad(at, ((0, missing), (0, 0)))
            rows.append({"events": whole["events"], "held": whole["held"], **own})
        batches.append({name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]})
    return batches[0], batches[1]


def figures(duets: list[Duet], ends: list[int]) -> dict[str, float]:
    """What the model's part is like, drums aside: how varied (the pitch classes' entropy in bits, notes a beat, the share of
    different ones among all runs of four pitches), and how it goes with the player's (`measures.note_in_chord`,
    `measures.consonance`).
    Means over the duets that have it."""
    rows, runs, count = [], set(), 0
    for duet, end in zip(duets, ends, strict=True):
        own, player = (n[n["part"] != DRUMS] for n in (duet.own(end), duet.notes[duet.player]))
        pitches = own["pitch"][np.lexsort((own["pitch"], own["onset"]))].tolist()
        fours = list(zip(*(pitches[k:] for k in range(4)), strict=False))
        runs |= set(fours)
        count += len(fours)
        inside = measures.note_in_chord(player, own, duet.prefix, end)
        rows.append(
            (
                measures.pitch_class_entropy(own),
                measures.density(own, end - duet.prefix),
                float(np.nanmean(inside)) if np.isfinite(inside).any() else np.nan,
                measures.consonance(own, player),
            )
        )
    names = ("pitch_class_entropy", "notes_a_beat", "note_in_chord", "consonance")
    means = {name: round(float(np.nanmean(x)), 4) for name, x in zip(names, zip(*rows, strict=True), strict=True)}
    return {**means, "different_fours": round(len(runs) / max(count, 1), 4)}
