"""Two who play together: stretches of pieces dealt to a player and the model, the model's part played by a decoder itself, and
one performance as it is heard live, and with the player's notes early."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.corpus.pack import Pack
from models.corpus.perturb import Augment
from models.corpus.windows import EXACT, NEVER, Windows, fit, stream, stretch
from models.nets.decoder import Decoder, State
from realtime.composing.constraints import Constraints
from realtime.errors import UserError
from realtime.music import measures
from realtime.music.metre import TICKS
from realtime.music.notes import NOTE, between
from realtime.music.vocabulary import (
    BEAT,
    DRUMS,
    DURATION_TICKS,
    HEADS,
    MODEL_PART,
    OPEN,
    Role,
    duration_indices,
    velocity_of,
)

ROLES, SHARES = (Role.ACCOMPANY, Role.HARMONISE), (0.7, 0.3)
PREFIX_BARS = 2
"""Up to so many bars of the model's part are given."""
NO_EDGES = np.zeros(0, np.int64)
UNUSED = np.random.default_rng(0)
TRIES = 1000


class Duet(NamedTuple):
    """Notes and beats as `windows.stream` takes them, times in ticks from the stretch's start. From `prefix` on the model's part
    is the model's to play; before it is given."""

    notes: np.ndarray
    player: np.ndarray
    beats: np.ndarray
    role: Role
    lag: int
    prefix: int

    def live_stream(self, rng: np.random.Generator = UNUSED, corrupt: float = 0.0) -> dict[str, np.ndarray]:
        """The stream as in live play: the player late by the lag."""
        return stream(self.notes, self.player, self.beats, NO_EDGES, self.role, self.lag, rng, corrupt)

    def early_stream(self, lead: int, rng: np.random.Generator = UNUSED, corrupt: float = 0.0) -> dict[str, np.ndarray]:
        """The stream with the player's notes early by `lead` ticks, and as if they were the model's own: before the others of
        their tick, and with their durations. A model heeds its own notes most."""
        arrays = stream(self.notes, self.player, self.beats, NO_EDGES, Role.HARMONISE, -lead, rng, corrupt)
        events, held = arrays["events"].copy(), arrays["held"]
        theirs = events[:, 1] < MODEL_PART
        classes = self.of_events(events, -lead, duration_indices(self.notes["duration"]))
        events[theirs, 3] = classes[theirs]
        events[theirs, 1] += MODEL_PART
        events[:, -1] = self.role
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
        notes, player, beats, bars, _, role, lag = stretch(rng, piece, notes, start, wanted, windows.augment)
        prefix = int(bars[min(int(rng.integers(PREFIX_BARS + 1)), len(bars) - 1)])
        return Duet(notes, player, beats, role, lag, prefix)


class Given(NamedTuple):
    """What comes of itself while a duet is played, in stream order: beats, the player's notes, those of the prefix. A row each:
    the event's fields, its tick, and when it is released (beats: never held)."""

    events: np.ndarray
    tick: np.ndarray
    release: np.ndarray


def given(duet: Duet) -> Given:
    """All but what the model is to play."""
    given = duet.player | (duet.notes["onset"] < duet.prefix)
    duet = duet._replace(notes=duet.notes[given], player=duet.player[given])
    events, notes = duet.live_stream()["events"], duet.notes
    lasts = np.where(duet.player, notes["duration"], DURATION_TICKS[duration_indices(notes["duration"])])
    until = notes["onset"] + duet.lag * duet.player + lasts
    return Given(events, duet.ticks(events), duet.of_events(events, duet.lag, until))


@torch.no_grad()
def play(decoder: Decoder, duets: list[Duet], steps: int, temperature: float, noise: torch.Generator) -> list[Duet]:
    """Let a decoder play its parts, all duets at once, for so many events: the performances, up to the last beat reached.

    Time runs forward, and whenever the player comes first the draw is made again. Of the same moment notes come in the order of
    the streams (part, pitch); a pitch that sounds, or that the player holds, is not struck; only parts are played that the model
    has in the real music.
    """
    queues = [given(duet) for duet in duets]
    rows, longest = torch.arange(len(duets)), max(len(queue.tick) for queue in queues) + 1

    def padded(name: str, fill: int) -> Tensor:
        table = np.full((len(duets), longest, *getattr(queues[0], name).shape[1:]), fill, np.int64)
        for row, queue in zip(table, queues, strict=True):
            row[: len(queue.tick)] = getattr(queue, name)
        return torch.from_numpy(table)

    events, ticks, releases = padded("events", 0), padded("tick", NEVER), padded("release", 0)
    size = torch.tensor([len(queue.tick) for queue in queues])
    prefix = torch.tensor([duet.prefix for duet in duets])
    after = torch.tensor([duet.role != Role.HARMONISE for duet in duets])  # the player's come after the model's
    has = torch.zeros(len(duets), HEADS["part"], dtype=torch.bool)
    for row, duet in zip(has, duets, strict=True):
        row[MODEL_PART + np.unique(duet.notes["part"][~duet.player])] = True
    pitches, parts, times = torch.arange(HEADS["pitch"]), torch.arange(HEADS["part"]), torch.arange(HEADS["time"])
    in_range = (pitches >= Constraints().lowest) & (pitches <= Constraints().highest)
    closed, any_velocity = torch.arange(HEADS["duration"]) < OPEN, torch.ones(HEADS["velocity"], dtype=torch.bool)
    lengths = torch.from_numpy(DURATION_TICKS)

    event, tick = events[:, 0].clone(), ticks[:, 0].clone()
    beat, at = tick.clone(), torch.ones(len(duets), dtype=torch.long)
    release = torch.zeros(len(duets), 257, dtype=torch.long)  # the last is nobody's
    last = torch.full((3, len(duets)), -1)  # tick, part and pitch of the model's last note
    state: State | None = None
    made = []
    for _ in range(steps):
        sounds = release[:, :256] > tick[:, None]
        h, state = decoder.mix(decoder.read(event[:, None], sounds[:, None]), state, 1)
        entered = decoder.heads.enter_all(h[:, 0])
        drawn: list[Tensor] = []

        def draw(allowed: Tensor, entered: Tensor = entered, drawn: list[Tensor] = drawn) -> None:
            logits = decoder.heads.logits(len(drawn), entered, drawn).float() / temperature
            gumbel = -torch.rand(logits.shape, generator=noise).clamp(min=1e-9).log_().neg_().log_()
            drawn.append((logits + gumbel).masked_fill(~allowed, -torch.inf).argmax(-1))

        by_player = (event[:, 1] < MODEL_PART) & after
        draw(times >= (tick - beat + by_player)[:, None])
        onset = beat + drawn[0]
        again = (onset == last[0])[:, None]
        draw(has & ~(again & (parts < last[1][:, None])))
        part = drawn[1][:, None]
        free = (release[:, 128:256] <= onset[:, None]) & ~sounds[:, :128]
        free &= in_range | (part == MODEL_PART + DRUMS)
        free &= ~(again & (part == last[1][:, None]) & (pitches <= last[2][:, None]))
        draw(free)
        draw(closed)
        draw(any_velocity)

        due, row = ticks[rows, at], events[rows, at]
        meets = (due == onset) & (row[:, 0] != BEAT) & after
        plays = (drawn[0] < BEAT) & free.any(-1) & (onset >= prefix) & ((onset < due) | meets) & (at < size)
        note = torch.stack(drawn, 1)
        made.append(torch.cat([plays[:, None], onset[:, None], note], 1))
        row = torch.where(plays[:, None], torch.cat([note, event[:, 5:]], 1), row)
        until = torch.where(plays, onset + lengths[note[:, 3].clamp(max=OPEN - 1)], releases[rows, at])
        event = torch.where((at < size)[:, None], row, event)
        tick = torch.where(at < size, torch.where(plays, onset, due), tick)
        at = torch.minimum(at + ~plays, size)
        is_beat = event[:, 0] == BEAT
        beat = torch.where(is_beat, tick, beat)
        key = torch.where(is_beat, 256, event[:, 2] + 128 * (event[:, 1] >= MODEL_PART))
        release[rows, key] = until
        last = torch.where(plays, torch.stack([onset, note[:, 1], note[:, 2]]), last)
    return [performed(*each) for each in zip(duets, torch.stack(made, 1).numpy(), beat.tolist(), strict=True)]


def performed(duet: Duet, made: np.ndarray, end: int) -> Duet:
    """The duet with the model's notes as played up to `end`, made (steps, 7): whether one was played, its tick and its fields."""
    made = made[(made[:, 0] > 0) & (made[:, 1] < end)]
    notes = np.zeros(len(made), duet.notes.dtype)
    notes["onset"], notes["part"], notes["pitch"] = made[:, 1], made[:, 3] - MODEL_PART, made[:, 4]
    notes["duration"] = DURATION_TICKS[made[:, 5]]
    notes["velocity"] = [velocity_of(int(v)) for v in made[:, 6]]
    given = duet.player | (duet.notes["onset"] < duet.prefix)
    beats = duet.beats[duet.beats["start"] < max(end, 1)]
    player = np.concatenate([duet.player[given], np.zeros(len(notes), bool)])
    return duet._replace(notes=np.concatenate([duet.notes[given], notes]), player=player, beats=beats)


def asked(arrays: dict[str, np.ndarray], role: Role) -> tuple[np.ndarray, np.ndarray]:
    """Which steps of a stream asked for the model's own events (its notes and the BEATs), number 0, 1, ...: the step right before
    each (J,); and the step that decides each time of the beat (J, 25), -1 where it is over.

    The player may come in between: then the times up to there are decided before, the others again.
    """
    exact, events = arrays["kind"] == EXACT, arrays["events"]
    number = np.cumsum(exact) - exact
    by_player = (events[:, 1] < MODEL_PART) & (role != Role.HARMONISE)
    floor = np.where(events[:, 0] == BEAT, 0, events[:, 0] + by_player)
    choices = np.arange(BEAT + 1)
    own = np.arange(int(exact.sum()))[:, None]
    at = np.searchsorted(number * TICKS * 2 + floor, own * TICKS * 2 + choices, side="right") - 1
    return np.flatnonzero(exact), np.where(number[at] == own, at, -1)


def pair(duets: list[Duet], lead: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Performances as two batches of streams: as heard live, and with the player's notes so many ticks early.

    Each has `events` (B, T, 9) and `held` (B, T, 256); and of the model's own events, the same in both, `targets` (B, J, 5) their
    fields, `own` (B, J) 1.0 where there is one, `note` (B, J) 1.0 where it is a note; and `step` (B, J), `at` (B, J, 25) as in
    `asked`.
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
