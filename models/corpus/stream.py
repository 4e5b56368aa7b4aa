"""Dealt notes and beats -> the stream of events that the decoder is fed, and what it is asked for after each.

At equal ticks come the beat, the player's notes, the chord of the beat, and Antiphon's notes; where Antiphon does not wait for
the player, the player's notes come last. That is the order of live play, so nothing is known in training that is not known there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.corpus.memory import candidates
from models.corpus.perturb import OWN_SLIP_SEMITONES, SHIFT_SEMITONES
from realtime.composing.memory import EXPERTS, NOTHING, Moment, Notes
from realtime.composing.memory_keys import slot
from realtime.music import vocabulary as voc
from realtime.music.chords import UNKNOWN, transpose
from realtime.music.metre import COMPOUND_CLASS
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    CHORD,
    DRUMS,
    DURATION_TICKS,
    MODEL_PART,
    NONE_DURATION,
    OPEN,
    Role,
)

EXACT, CENSORED = 0, 1
BEATS, PLAYERS, CHORDS, OWN, LATE_PLAYERS = range(5)
"""The order of events with equal ticks. The player's come late where Antiphon does not wait for them."""


class Rows(NamedTuple):
    """Events as columns in stream order, int64 (N,): tick, source (`BEATS`, ..., `LATE_PLAYERS`), part, pitch, duration class and
    velocity class as they are fed, the tick at which a note ends (else -1), its duration class, and its beat's row."""

    tick: np.ndarray
    source: np.ndarray
    part: np.ndarray
    pitch: np.ndarray
    duration: np.ndarray
    velocity: np.ndarray
    end: np.ndarray
    length: np.ndarray
    beat: np.ndarray

    @property
    def is_player(self) -> np.ndarray:
        """Which are notes of the player's."""
        return (self.source == PLAYERS) | (self.source == LATE_PLAYERS)

    @property
    def is_note(self) -> np.ndarray:
        """Which are notes."""
        return self.is_player | (self.source == OWN)


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
    astray: bool = False,
) -> dict[str, np.ndarray]:
    """Dealt notes and beats -> the arrays of `models.corpus.windows.window`, as long as they come.

    lag: in ticks; negative: the player is early. corrupt: the share of the model's own pitches that are fed altered. chords: the
    class of each beat. past: what the memory knows beforehand; with it there are candidates too, and `row` has the stream's notes
    as the memory knows them. listens: whether the player's notes come before Antiphon's, and before the chord, at equal ticks.
    astray: half of the model's own bars are fed in another key, notes and chords alike; what is to be played in these does not
    count, but the chord does, so that it is learned from the player's notes and not from the chord before.
    """
    rows = _rows(notes, player, beats, lag, listens, chords is not None)
    at, is_note = rows.beat, rows.is_note
    start = beats["start"].astype(np.int64)[at]
    time = np.where(is_note, rows.tick - start, np.where(rows.source == BEATS, BEAT, CHORD))
    shift = _astray(rng, beats)[at] if astray else np.zeros(len(time), np.int64)
    fed = rows._replace(pitch=_fed_pitches(rng, rows, corrupt, shift))
    chord = np.full(len(time), UNKNOWN)
    if chords is not None:
        told = np.searchsorted(np.flatnonzero(rows.source == CHORDS), np.arange(len(time)), side="right") - 1 == at
        chord[told] = chords[at[told]]
    fed_chord = transpose(chord, shift)
    columns = [
        time,
        fed.part,
        fed.pitch,
        fed.duration,
        fed.velocity,
        np.minimum(beats["index"][at], voc.FIELDS["beat"] - 1),
        np.minimum(beats["bar_ticks"][at] // 12 + COMPOUND_CLASS * beats["compound"][at], voc.FIELDS["metre"] - 1),
        beats["tempo"][at],
        np.full(len(time), role),
        fed_chord,
    ]
    arrays = {
        "events": np.stack(columns, 1)[:-1],
        "held": _held(fed)[:-1],
        "tick": rows.tick[:-1],
        **_asked(rows, time, chord, edges),
    }
    arrays["note"] *= shift[1:] == 0
    return arrays if past is None else arrays | _recalled(fed, time, fed_chord, beats, past)


def _rows(notes: np.ndarray, player: np.ndarray, beats: np.ndarray, lag: int, listens: bool, with_chords: bool) -> Rows:
    """Notes, beats and, with chords, one for each beat; the others as in `stream`."""
    b, c = len(beats), len(beats) if with_chords else 0
    duration_class = voc.duration_indices(notes["duration"])
    start = beats["start"].astype(np.int64)
    onset = np.maximum(notes["onset"].astype(np.int64) + lag * player, int(start[0]))
    release = onset + np.where(player, notes["duration"], DURATION_TICKS[duration_class])
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
    beat = np.searchsorted(beats["start"], tick, side="right") - 1
    return Rows(*(x[order] for x in (tick, source, part, pitch, duration, velocity, end, length, beat)))


def _astray(rng: np.random.Generator, beats: np.ndarray) -> np.ndarray:
    """By how many semitones each beat's bar is in another key, (B,): 0 in about half of them. Bars in a row often share it."""
    bar = np.cumsum(beats["index"] == 0)
    count = int(bar.max(initial=0)) + 1
    drawn = rng.choice(SHIFT_SEMITONES, count) * (rng.random(count) < 0.5)
    latest = np.maximum.accumulate(np.where(rng.random(count) < 0.5, np.arange(count), 0))
    shift: np.ndarray = drawn[latest][bar]
    return shift


def _fed_pitches(rng: np.random.Generator, rows: Rows, corrupt: float, shift: np.ndarray) -> np.ndarray:
    """The pitches of `rows`, some of the model's own altered, and moved by `shift` semitones: (N,)."""
    own = (rows.source == OWN) & (rows.part != DRUMS + MODEL_PART)
    pitch = rows.pitch.copy()
    slip = own & (rng.random(len(pitch)) < corrupt)
    pitch[slip] = np.clip(pitch[slip] + rng.choice(OWN_SLIP_SEMITONES, slip.sum()), 0, 127)
    pitch[own] = np.clip(pitch + shift, 0, 127)[own]
    return pitch


def _asked(rows: Rows, time: np.ndarray, chord: np.ndarray, edges: np.ndarray) -> dict[str, np.ndarray]:
    """What each step is asked for, and whether it counts: the arrays `targets`, `kind`, `turn`, `note`, `due` and `chord` of a
    window. Step i is asked for event i + 1."""
    nxt = slice(1, None)
    source = rows.source[nxt]
    own, due = source == OWN, source == CHORDS
    # What arrives says "not earlier than this", or, where Antiphon did not wait for it, "later than this".
    earliest = np.minimum(time[nxt] + (source == LATE_PLAYERS), BEAT)
    targets = np.stack([earliest, rows.part[nxt], rows.pitch[nxt], rows.duration[nxt], rows.velocity[nxt]], 1)
    targets[:, 1:] *= own[:, None]
    turn = np.ones(len(own)) if not len(edges) else np.searchsorted(edges, rows.tick[:-1], side="right") % 2
    turn = (turn * ~due).astype(
        np.float32
    )  # a CHORD comes after every BEAT: there is nothing to foretell but its class
    due_known = due & (chord[nxt] != UNKNOWN)
    return {
        "targets": targets,
        "kind": np.where(rows.is_player[nxt], CENSORED, EXACT),
        "turn": turn,
        "note": (own * turn).astype(np.float32),
        "due": due_known.astype(np.float32),
        "chord": np.where(due_known, chord[nxt], 0),
    }


def _recalled(
    fed: Rows, time: np.ndarray, chord: np.ndarray, beats: np.ndarray, past: Remembered
) -> dict[str, np.ndarray]:
    """The candidates of the memory after each event, and the notes of `fed` as the memory knows them."""
    note, at = fed.is_note, fed.beat[:-1]
    player = fed.is_player[note]
    own = Remembered(
        fed.tick[note],
        fed.part[note] % MODEL_PART,
        player.astype(np.int64),
        fed.pitch[note],
        fed.length[note],
        fed.velocity[note],
        np.where(player, fed.end[note], fed.tick[note]),
        slot(time[note]),
    )
    notes = Remembered(*(np.concatenate(pair) for pair in zip(past, own, strict=True)))
    falls = np.flatnonzero(np.diff(notes.tick, prepend=notes.tick[:1]) < 0)
    begin = int(falls.max(initial=0))  # after a stretch told ahead
    latest = len(past.tick) + np.cumsum(note)[:-1] - 1
    start, length, bar = (beats[name][at].astype(np.int64) for name in ("start", "length", "bar_ticks"))
    now = Moment(fed.tick[:-1], start, length, bar, chord[:-1])
    ids, features = candidates(Notes(*notes[:-1]), notes.slots, begin, latest, now)
    return {"candidates": ids, "features": features, "row": np.stack(own, 1)}


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


def _held(rows: Rows) -> np.ndarray:
    """Held-now flags (T, 256) uint8 after each event: player 128, model 128. A new note on a held key ends the old one."""
    tick, who = rows.tick, np.flatnonzero(rows.is_note)
    key = np.where(rows.is_player[who], 0, 128) + rows.pitch[who]
    stop = np.searchsorted(tick, rows.end[who], side="left")  # the first event at or after the release
    by_key = np.argsort(key, kind="stable")
    same = key[by_key][1:] == key[by_key][:-1]
    again = np.full(len(who), len(tick))
    again[by_key[:-1][same]] = who[by_key[1:][same]]
    stop = np.maximum(np.minimum(stop, again), who + 1)
    change = np.zeros((len(tick) + 1, voc.HELD), np.int8)
    np.add.at(change, (who, key), 1)
    np.add.at(change, (np.minimum(stop, len(tick)), key), -1)
    return (np.cumsum(change, 0)[:-1] > 0).astype(np.uint8)
