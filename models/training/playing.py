"""A decoder plays its part of duets itself."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.corpus.contexts import NEVER
from models.nets.decoder import Decoder, State
from models.training.duets import Duet
from realtime.composing.constraints import Constraints
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

PITCHES, PARTS, TIMES = (torch.arange(HEADS[name]) for name in ("pitch", "part", "time"))
IN_RANGE = (Constraints().lowest <= PITCHES) & (Constraints().highest >= PITCHES)
CLOSED = torch.arange(HEADS["duration"]) < OPEN
ANY_VELOCITY = torch.ones(HEADS["velocity"], dtype=torch.bool)
LENGTHS = torch.from_numpy(DURATION_TICKS)


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


class Draw:
    """Draws the fields of the next event of each duet, in the order of the heads, from their logits at `entered`."""

    def __init__(self, decoder: Decoder, entered: Tensor, temperature: float, noise: torch.Generator) -> None:
        self.decoder, self.entered, self.temperature, self.noise = decoder, entered, temperature, noise
        self.drawn: list[Tensor] = []

    def __call__(self, allowed: Tensor) -> Tensor:
        """The next field, of those allowed: (B,)."""
        logits = self.decoder.heads.logits(len(self.drawn), self.entered, self.drawn).float() / self.temperature
        gumbel = -torch.rand(logits.shape, generator=self.noise).clamp(min=1e-9).log_().neg_().log_()
        self.drawn.append((logits + gumbel).masked_fill(~allowed, -torch.inf).argmax(-1))
        return self.drawn[-1]


class Stage:
    """Duets while they are played, all at once (B of them): what is given, and how far each has come.

    `event` (B, 10) and its `tick` (B,) are the last of each stream, `beat` (B,) the start of the current beat, `at` (B,) the
    next event that is given, `release` (B, 257) the tick at which each key is released, `last` (3, B) tick, part and pitch of
    the model's last note.
    """

    def __init__(self, duets: list[Duet]) -> None:
        queues = [given(duet) for duet in duets]
        self.rows = torch.arange(len(duets))
        self.events, self.ticks, self.releases = (
            _padded([getattr(queue, name) for queue in queues], fill)
            for name, fill in (("events", 0), ("tick", NEVER), ("release", 0))
        )
        self.size = torch.tensor([len(queue.tick) for queue in queues])
        self.prefix = torch.tensor([duet.prefix for duet in duets])
        # Whether the player's events come after the model's of the same tick; those of the first tick never do.
        self.after = torch.tensor([duet.role == Role.ACCOMPANY for duet in duets])
        self.has = torch.zeros(len(duets), HEADS["part"], dtype=torch.bool)
        for row, duet in zip(self.has, duets, strict=True):
            row[MODEL_PART + np.unique(duet.notes["part"][~duet.player])] = True
        self.event, self.tick = self.events[:, 0].clone(), self.ticks[:, 0].clone()
        self.start, self.beat, self.at = self.tick.clone(), self.tick.clone(), torch.ones(len(duets), dtype=torch.long)
        self.release = torch.zeros(len(duets), 257, dtype=torch.long)  # the last is for BEATs, which have no key
        self.last = torch.full((3, len(duets)), -1)

    def sounding(self) -> Tensor:
        """Held-now flags (B, 256)."""
        return self.release[:, :256] > self.tick[:, None]

    def draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """The model's next event: its tick (B,), its fields (B, 5), and whether any pitch was free for it (B,)."""
        sounds = self.sounding()
        by_player = (self.event[:, 1] < MODEL_PART) & self.after & (self.tick > self.start)
        onset = self.beat + draw((self.tick - self.beat + by_player)[:, None] <= TIMES)
        again = (onset == self.last[0])[:, None]
        part = draw(self.has & ~(again & (self.last[1][:, None] > PARTS)))[:, None]
        free = (self.release[:, 128:256] <= onset[:, None]) & ~sounds[:, :128]
        free &= IN_RANGE | (part == MODEL_PART + DRUMS)
        free &= ~(again & (part == self.last[1][:, None]) & (self.last[2][:, None] >= PITCHES))
        draw(free)
        draw(CLOSED)
        draw(ANY_VELOCITY)
        return onset, torch.stack(draw.drawn, 1), free.any(-1)

    def advance(self, onset: Tensor, note: Tensor, possible: Tensor) -> Tensor:
        """Go on to the model's note where it comes first, else to what is given. Returns whether it was the note (B,)."""
        rows, at = self.rows, self.at
        due, row, left = self.ticks[rows, at], self.events[rows, at], at < self.size
        meets = (due == onset) & (row[:, 0] != BEAT) & self.after & (due > self.start)
        plays = (note[:, 0] < BEAT) & possible & (onset >= self.prefix) & ((onset < due) | meets) & left
        row = torch.where(plays[:, None], torch.cat([note, self.event[:, 5:]], 1), row)
        until = torch.where(plays, onset + LENGTHS[note[:, 3].clamp(max=OPEN - 1)], self.releases[rows, at])
        self.event = torch.where(left[:, None], row, self.event)
        self.tick = torch.where(left, torch.where(plays, onset, due), self.tick)
        self.at = torch.minimum(at + ~plays, self.size)
        is_beat = self.event[:, 0] == BEAT
        self.beat = torch.where(is_beat, self.tick, self.beat)
        key = torch.where(is_beat, 256, self.event[:, 2] + 128 * (self.event[:, 1] >= MODEL_PART))
        self.release[rows, key] = until
        self.last = torch.where(plays, torch.stack([onset, note[:, 1], note[:, 2]]), self.last)
        return plays


def _padded(tables: list[np.ndarray], fill: int) -> Tensor:
    """Tables of some rows each, as one (B, the most rows + 1, ...)."""
    padded = np.full((len(tables), max(map(len, tables)) + 1, *tables[0].shape[1:]), fill, np.int64)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    return torch.from_numpy(padded)


@torch.no_grad()
def play(decoder: Decoder, duets: list[Duet], steps: int, temperature: float, noise: torch.Generator) -> list[Duet]:
    """Let a decoder play its parts, all duets at once, for so many events: the performances, up to the last beat reached.

    Time runs forward, and whenever the player comes first the draw is made again. Of the same moment notes come in the order of
    the streams (part, pitch); a pitch that sounds, or that the player holds, is not struck; only parts are played that the model
    has in the real music.
    """
    stage = Stage(duets)
    state: State | None = None
    made = []
    for _ in range(steps):
        h, state = decoder.mix(decoder.read(stage.event[:, None], stage.sounding()[:, None]), state, 1)
        draw = Draw(decoder, decoder.heads.enter_all(h[:, 0]), temperature, noise)
        onset, note, possible = stage.draw(draw)
        plays = stage.advance(onset, note, possible)
        made.append(torch.cat([plays[:, None], onset[:, None], note], 1))
    return [performed(*each) for each in zip(duets, torch.stack(made, 1).numpy(), stage.beat.tolist(), strict=True)]


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
