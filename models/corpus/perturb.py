"""What is changed in a window before the model sees it: both streams, the model's own past, and what a live player does.

Nearly all keyboard data of the corpus is quantised, in even loudness, and right. A player is none of these, so the player's
share of a training window is played anew: early and late, rolled, with slips, another touch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from realtime.music.chords import transpose
from realtime.music.metre import TICKS
from realtime.music.vocabulary import DRUMS, MELODY

SHIFT_SEMITONES = (-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)
SLIP_SEMITONES = (-2, -1, 1, 2)
OWN_SLIP_SEMITONES = (-12, -2, -1, 1, 2, 12)
JITTER_TICKS, DRAG_TICKS = 0.8, 1.0
"""Standard deviations of a live player's timing: note by note, and the whole window early or late. 17 and 21 ms at 120 BPM."""
GAMMA = 1.6
"""The bend of a velocity curve lies between 1 / GAMMA and GAMMA."""
TEMPO_OCTAVES = 0.2
"""log2 of a tempo 15 % up or down."""
GRACE_TICKS = 4


@dataclass(frozen=True)
class Augment:
    """The shares of windows, or of notes, in which something is changed. The defaults are for training."""

    transpose: bool = True
    """All windows by -6 to +5 semitones, drums aside."""
    shift: float = 0.1
    """Windows in which everything moves to another key at some bar line."""
    loudness: float = 0.3
    """Windows in which both streams are louder or softer alike: Antiphon is to play as loud as it is played to. Where all
    notes are the model's, never: nobody is there to follow."""
    tempo: float = 0.5
    """Windows that are up to 15 % faster or slower."""
    corrupt: float = 0.07
    """The model's own past pitches that are altered as input (the targets stay): it must recover from slips."""
    stray: float = 0.4
    """The same where the model goes along with the player: up to this share, another in each window. An accompanist who may
    rely on its own past alone does not listen."""
    astray: float = 0.5
    """Windows in which the model goes along with the player and half of its own past bars, with their chords, are fed in another
    key. Live its past is what it played itself, so the player's notes have to decide."""
    unquoted: float = 0.3
    """Windows in which the model goes along with the player and its memory does not point to its own notes."""
    pause: float = 0.4
    """CONTINUE windows in which a bar or two of rest lie between the player's end and the model's first note; its turn begins
    some beats before that."""
    interject: float = 0.3
    """CONTINUE windows in which bars of the model's own lie between two phrases of the player's, before its turn."""
    again: float = 0.3
    """Windows with turns, or with the model alone, whose music the memory knows already: it was played, and comes again."""
    swing: float = 0.25
    """Windows in simple metres whose eighths are played otherwise: straight ones swung or dotted, swung or dotted ones straight.
    """
    accent: float = 0.3
    """Windows of a piece with one loudness for all notes that are given accents and swells, as a performer would: a file of even
    loudness is not to teach flat answers to a player who accents."""
    drop: float = 0.03
    """The player's notes that are missing."""
    wrong: float = 0.02
    """The player's notes that hit a neighbouring key."""
    insert: float = 0.02
    """The player's notes that touch a neighbouring key too."""
    unsteady: float = 0.5
    """Windows in which the player is early and late, each note and on the whole."""
    roll: float = 0.15
    """Windows in which the player's chords are rolled."""
    touch: float = 0.5
    """Windows in which the player has a velocity curve and an articulation of their own."""
    one_part: float = 0.4
    """Windows in which all of the player's notes come as one part, as from one keyboard."""
    forget: float = 0.1
    """Windows whose memory has no candidates, and in the others as many of the experts; so that the decoder also stands alone."""
    mistake: float = 0.04
    """Candidates whose pitch is another, so that the decoder does not follow them blindly."""
    lags_ticks: tuple[int, ...] = (0, 1, 2, 3, 6)
    """How late the player's events reach the model; one is drawn a window."""


NONE = Augment(**{field.name: type(field.default)() for field in fields(Augment)})
"""The music as it is, for scoring."""
LIVE = Augment(
    transpose=False,
    shift=0,
    loudness=0,
    tempo=0,
    corrupt=0,
    stray=0,
    astray=0,
    unquoted=0,
    pause=0,
    interject=0,
    again=0,
    swing=0,
    accent=0,
    unsteady=1,
    roll=0.5,
    touch=1,
    one_part=1,
)
"""The music as it is, with a live player, for scoring."""


def perturb(
    rng: np.random.Generator,
    notes: np.ndarray,
    player: np.ndarray,
    bars: np.ndarray,
    augment: Augment,
    beats: np.ndarray | None = None,
    chords: np.ndarray | None = None,
    counts: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Notes (int64 fields) and whose they are -> the same, changed. `bars`: bar lines within the window, in ticks. The chords of
    beats that start at `beats` are transposed with the notes, in place. `counts`: the beats as musicians count them, which have
    accents and swing; where they are the same, None."""
    pitched = notes["part"] != DRUMS
    counts = beats if counts is None else counts
    if rng.random() < augment.accent and counts is not None:
        accents(rng, notes, counts, bars)
    if rng.random() < augment.swing and counts is not None:
        swing(notes, counts, int(rng.choice(EIGHTHS_TICKS)))
    if augment.transpose:
        semitones = move_pitches(notes, pitched, int(rng.integers(-6, 6)))
        if chords is not None:
            chords[:] = transpose(chords, semitones)
    if rng.random() < augment.shift and len(bars) > 2:
        line = bars[rng.integers(1, len(bars) - 1)]
        semitones = move_pitches(notes, pitched & (notes["onset"] >= line), int(rng.choice(SHIFT_SEMITONES)))
        if chords is not None and beats is not None:
            chords[beats >= line] = transpose(chords[beats >= line], semitones)
    if rng.random() < augment.loudness and player.any():
        notes["velocity"] = _curve(rng, notes["velocity"])
    if not player.any():
        return notes, player
    notes, player = _slips(rng, notes, player, augment)
    if rng.random() < augment.roll:
        _roll(notes, player & (notes["part"] != DRUMS))
    if rng.random() < augment.unsteady:
        wander = rng.normal(rng.normal(0, DRAG_TICKS), JITTER_TICKS, len(notes))
        onset = np.maximum(notes["onset"] + np.rint(wander).astype(np.int64), 0)
        notes["onset"] = np.where(player, onset, notes["onset"])
    if rng.random() < augment.touch:
        velocity = _curve(rng, notes["velocity"] + rng.normal(0, 5, len(notes)))
        notes["velocity"] = np.where(player, velocity, notes["velocity"])
        duration = np.maximum(np.rint(notes["duration"] * rng.uniform(0.5, 1.2)).astype(np.int64), 1)
        notes["duration"] = np.where(player, duration, notes["duration"])
    if rng.random() < augment.one_part:
        keyboard = player & (notes["part"] != DRUMS)
        notes["part"] = np.where(keyboard, MELODY, notes["part"])
        order = np.lexsort((notes["pitch"], notes["onset"], ~keyboard))
        again = np.zeros(len(notes), bool)  # a key can be struck only once at a time
        first, then = notes[order[:-1]], notes[order[1:]]
        again[order[1:]] = keyboard[order[1:]] & (first["onset"] == then["onset"]) & (first["pitch"] == then["pitch"])
        notes, player = notes[~again], player[~again]
    return notes, player


EVEN_LOUDNESS = 3
"""A piece with no more velocities than these was not performed."""
STRONG, ON_BEAT, OFF_BEAT = 12, 5, -5
"""Accents of a bar's first beat, of the others, and between beats, in velocity."""
EIGHTHS_TICKS = (12, 14, 15, 16, 17, 18)
"""Where the second eighth of a beat lies: straight, swung (four of them), dotted."""


def accents(rng: np.random.Generator, notes: np.ndarray, beats: np.ndarray, bars: np.ndarray) -> None:
    """Gives notes of even loudness accents by their place in the bar, a swell over each four bars, and a touch of chance; in
    place."""
    if len(np.unique(notes["velocity"])) > EVEN_LOUDNESS or not len(beats):
        return
    onset = notes["onset"]
    accent = np.where(np.isin(onset, beats), ON_BEAT, OFF_BEAT) + (STRONG - ON_BEAT) * np.isin(onset, bars)
    at = np.searchsorted(bars, onset, side="right")
    swell = np.sin(np.pi * (at % 4 + 0.5) / 4)
    change = (
        rng.uniform(0.3, 1.5) * accent + rng.uniform(-12, 24) * swell + rng.normal(0, rng.uniform(1, 5), len(notes))
    )
    level = rng.integers(45, 105)
    notes["velocity"] = np.clip(np.rint(level + change), 1, 127).astype(np.int64)


def swing(notes: np.ndarray, beats: np.ndarray, middle: int) -> None:
    """Moves the second eighth of each beat to `middle`, one of `EIGHTHS_TICKS`, from where it lies, which is another of them; in
    place. Only in beats of a quarter, and where nothing else begins within any of them: finer notes are left."""
    start = np.append(beats, beats[-1] + TICKS) if len(beats) else beats
    if len(start) < 3 or (np.diff(start) != TICKS).any():
        return
    within = (notes["onset"] - start[0]) % TICKS
    places = np.unique(within[(notes["onset"] >= start[0]) & (within > 0)])
    if len(places) != 1 or places[0] not in EIGHTHS_TICKS:
        return
    end = notes["onset"] + notes["duration"]

    def moved(tick: np.ndarray) -> np.ndarray:
        beat, place = np.divmod(tick - start[0], TICKS)
        knots = np.interp(place, (0, places[0], TICKS), (0, middle, TICKS))
        return beat * TICKS + np.rint(knots).astype(np.int64) + start[0]

    notes["onset"] = moved(notes["onset"])
    notes["duration"] = np.maximum(moved(end) - notes["onset"], 1)


def tempo_shift(rng: np.random.Generator, augment: Augment) -> int:
    """By how many tempo classes (of a quarter octave) a window is faster: -1, 0 or 1."""
    if rng.random() >= augment.tempo:
        return 0
    return int(np.floor(rng.random() + 4 * rng.uniform(-TEMPO_OCTAVES, TEMPO_OCTAVES)))


def move_pitches(notes: np.ndarray, which: np.ndarray, semitones: int) -> int:
    """In place, and no farther than all of them stay MIDI pitches. Returns by how many semitones."""
    if not which.any():
        return semitones
    pitch = notes["pitch"][which]
    semitones = int(np.clip(semitones, -pitch.min(), 127 - pitch.max()))
    notes["pitch"][which] = pitch + semitones
    return semitones


def _curve(rng: np.random.Generator, velocity: np.ndarray) -> np.ndarray:
    """Velocities through a random curve, as a keyboard or a mood has it."""
    share = np.clip(velocity / 127, 1e-3, 1)
    bent = 127 * share ** np.exp(rng.uniform(-np.log(GAMMA), np.log(GAMMA)))
    return np.clip(np.rint(bent), 1, 127).astype(np.int64)


def _slips(
    rng: np.random.Generator, notes: np.ndarray, player: np.ndarray, augment: Augment
) -> tuple[np.ndarray, np.ndarray]:
    """The player's missing notes, wrong keys, and keys touched in passing."""
    mine = player & (notes["part"] != DRUMS)
    near = np.clip(notes["pitch"] + rng.choice(SLIP_SEMITONES, len(notes)), 0, 127)
    chance = rng.random(len(notes))
    notes["pitch"] = np.where(mine & (chance < augment.wrong), near, notes["pitch"])
    extra = notes[mine & (chance > 1 - augment.insert)].copy()
    extra["pitch"] = np.clip(extra["pitch"] + rng.choice(SLIP_SEMITONES, len(extra)), 0, 127)
    extra["onset"] = np.maximum(extra["onset"] + rng.integers(-1, 2, len(extra)), 0)
    extra["duration"] = rng.integers(1, GRACE_TICKS + 1, len(extra))
    extra["velocity"] = np.maximum(extra["velocity"] * 2 // 3, 1)
    keep = ~(player & (rng.random(len(notes)) < augment.drop))
    return np.concatenate([notes[keep], extra]), np.concatenate([player[keep], np.ones(len(extra), bool)])


def _roll(notes: np.ndarray, which: np.ndarray) -> None:
    """Chords from the bottom up, a tick apart, in place."""
    rows = np.flatnonzero(which)
    rows = rows[np.lexsort((notes["pitch"][rows], notes["onset"][rows]))]
    onset = notes["onset"][rows]
    first = np.searchsorted(onset, onset, side="left")
    notes["onset"][rows] = onset + np.minimum(np.arange(len(rows)) - first, 6)
