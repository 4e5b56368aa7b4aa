"""Statistics of what was played. Pure functions of notes; times in ticks (24 a quarter), pitches MIDI, shares 0..1.

`notes` is everywhere a structured array with the fields of `NOTE` (those of a packed corpus will do), in any order.
A statistic of no notes is nan, never an error. The docstring of a published statistic gives its source.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from realtime.music.keys import SCALES, Key
from realtime.music.metre import TICKS
from realtime.music.notes import between, sounding
from realtime.music.vocabulary import DURATION_TICKS, duration_indices

CONSONANT = (True, False, False, True, True, True, False)
"""By interval class 0..6: unison, thirds, fourths and fifths with their inversions. These are the classes to which Huron
(Interval-Class Content in Equally Tempered Pitch-Class Sets, Music Perception 11, 1994) gives a positive index."""
PERFECT = (0, 7)
"""Semitones, octaves aside: octaves and fifths."""
GRID_TICKS = tuple(sorted({*range(0, TICKS, TICKS // 4), *range(0, TICKS, TICKS // 3)}))
"""Sixteenths and triplet eighths: a quarter of all ticks, which is what chance would hit."""
SLOT_TICKS = 2


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


# --- pitch ---


def pitch_class_entropy(notes: np.ndarray) -> float:
    """Entropy in bits of the histogram of pitch classes, 0..3.58 (Wu and Yang, The Jazz Transformer on the Front Line,
    ISMIR 2020: H)."""
    share = np.bincount(notes["pitch"] % 12, minlength=12) / max(len(notes), 1)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum()) if len(notes) else float("nan")


def scale_consistency(notes: np.ndarray) -> float:
    """Share of notes in the best fitting major or natural minor scale (Mogren, C-RNN-GAN, 2016)."""
    count = np.bincount(notes["pitch"] % 12, minlength=12)
    inside = [
        np.roll(np.isin(np.arange(12), SCALES["major"]), tonic) for tonic in range(12)
    ]  # minor: the same twelve sets
    return float(max(count[scale].sum() for scale in inside) / len(notes)) if len(notes) else float("nan")


def key_agreement(notes: np.ndarray, key: Key) -> float:
    """Share of notes in the key (`KEY_SCALES`); by chance 0.58 in major and 0.67 in minor."""
    return _mean(np.isin(notes["pitch"] % 12, list(key.pitch_classes)))


def shared_register(notes: np.ndarray, other: np.ndarray) -> float:
    """Overlapping area (see there) of the two pitch histograms in thirds of an octave."""
    return overlapping_area(
        np.bincount(notes["pitch"] // 4, minlength=32), np.bincount(other["pitch"] // 4, minlength=32)
    )


# --- time ---


def on_grid(notes: np.ndarray) -> float:
    """Share of onsets on a sixteenth or a triplet eighth (`GRID_TICKS`)."""
    return _mean(np.isin(notes["onset"] % TICKS, GRID_TICKS))


def density(notes: np.ndarray, ticks: int) -> float:
    """Notes a quarter over so many ticks."""
    return len(notes) * TICKS / ticks if ticks > 0 else float("nan")


def rests(notes: np.ndarray, start: int, end: int) -> float:
    """Share of [start, end) in which nothing sounds."""
    return 1 - _mean(np.any(sounding(notes, start, end), axis=1, keepdims=True))


def groove_consistency(notes: np.ndarray, bars: np.ndarray) -> float:
    """1 - mean Hamming distance of the onset patterns of neighbouring bars, in slots of 1/12 quarter (Wu and Yang 2020:
    grooving similarity; over neighbours as in Dong et al., MusPy, ISMIR 2020). `bars`: start ticks, the last bar's end too.
    Neighbours of unequal length are left out."""
    patterns = []
    for start, end in pairwise(bars.tolist()):
        pattern = np.zeros(-(-(end - start) // SLOT_TICKS), bool)
        pattern[(between(notes, start, end)["onset"].astype(np.int64) - start) // SLOT_TICKS] = True
        patterns.append(pattern)
    pairs = [(a, b) for a, b in pairwise(patterns) if len(a) == len(b)]
    return 1 - _mean(np.array([np.mean(a != b) for a, b in pairs]))


LENGTHENED = 1.5
"""From this much lengthening on, a last note counts as a closing note."""


class Ending(NamedTuple):
    """How a phrase ends. `lengthening`: the time from the last onset to the end over the median time between onsets before (at
    phrase ends it is long: Krumhansl and Jusczyk, Psychological Science 1, 1990); `on_beat`: the last note came on a beat;
    `stable`: it belongs to the tonic triad; `closed`: all three, and it is over by the end; `gap`: quarters of silence from there
    to the end."""

    lengthening: float
    on_beat: float
    stable: float
    closed: float
    gap: float


def ending(notes: np.ndarray, end: int, key: Key) -> Ending:
    """How the notes end before `end`, in a grid of quarters from tick 0. All 0, and a gap of nan, with fewer than two onsets."""
    onsets = np.unique(notes["onset"].astype(np.int64))
    if len(onsets) < 2:
        return Ending(0.0, 0.0, 0.0, 0.0, float("nan"))
    last = notes[notes["onset"] == onsets[-1]]
    stable = _mean(np.isin(last["pitch"] % 12, list(key.triad)))
    over = int((notes["onset"].astype(np.int64) + notes["duration"]).max())
    lengthening = float(end - onsets[-1]) / float(np.median(np.diff(onsets)))
    on_beat = float(onsets[-1] % TICKS == 0)
    closed = on_beat and stable == 1 and lengthening >= LENGTHENED and over <= end
    return Ending(lengthening, on_beat, stable, float(closed), max(end - over, 0) / TICKS)


# --- two players together ---


def _against(notes: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    """For each note, the pitches of `other` that sound when it is struck."""
    start, end = other["onset"].astype(np.int64), other["onset"].astype(np.int64) + other["duration"]
    return [other["pitch"][(start <= t) & (t < end)].astype(np.int64) for t in notes["onset"].astype(np.int64)]


def consonance(notes: np.ndarray, other: np.ndarray) -> float:
    """Share of notes that are consonant (`CONSONANT`) with all that the other sounds when they are struck, of the notes that
    meet something. By chance 6 or 7 of 12."""
    met = [abs(p - pitch) % 12 for p, pitch in zip(_against(notes, other), notes["pitch"], strict=True) if len(p)]
    classes = [np.minimum(interval, 12 - interval) for interval in met]
    return _mean(np.array([all(CONSONANT[c] for c in each) for each in classes]))


def doubling(notes: np.ndarray, other: np.ndarray) -> float:
    """Share of notes that are struck on a pitch class the other is sounding, of those that meet something."""
    met = [(p - pitch) % 12 for p, pitch in zip(_against(notes, other), notes["pitch"], strict=True) if len(p)]
    return _mean(np.array([bool((interval == 0).any()) for interval in met]))


def unison(notes: np.ndarray, other: np.ndarray) -> float:
    """Share of notes that are struck on a pitch the other is sounding, of those that meet something."""
    met = zip(_against(notes, other), notes["pitch"], strict=True)
    return _mean(np.array([bool((p == pitch).any()) for p, pitch in met if len(p)]))


def parallels(notes: np.ndarray, other: np.ndarray) -> float:
    """Share of the steps from one note to the next, both meeting one pitch of the other's and both voices moving, that go from
    an octave (or unison) to an octave or from a fifth to a fifth."""
    pairs = [
        (int(pitch), int(p[0])) for p, pitch in zip(_against(notes, other), notes["pitch"], strict=True) if len(p) == 1
    ]
    moves = [(a, b) for a, b in pairwise(pairs) if a[0] != b[0] and a[1] != b[1]]
    apart = [(abs(a[0] - a[1]) % 12, abs(b[0] - b[1]) % 12) for a, b in moves]
    return _mean(np.array([before == after and before in PERFECT for before, after in apart]))


def _pitch_classes(roll: np.ndarray) -> np.ndarray:
    """(ticks, 128) -> (ticks, 12) bool."""
    octaves = np.pad(roll, ((0, 0), (0, 4))).reshape(-1, 11, 12)  # (ticks, octave, class)
    folded: np.ndarray = np.logical_or.reduce(octaves, axis=1)
    return folded


def note_in_chord(melody: np.ndarray, chords: np.ndarray, start: int, end: int) -> np.ndarray:
    """(end - start,) float64: at each tick the share of the melody's pitch classes that the accompaniment sounds too; nan
    where either is silent. Its mean is ReaLchords' note-in-chord ratio (Wu et al., Adaptive Accompaniment with
    ReaLchords, 2024), the chord being what sounds."""
    tune, chord = (_pitch_classes(sounding(n, start, end)) for n in (melody, chords))
    both = tune.any(axis=1) & chord.any(axis=1)
    return np.where(both, (tune & chord).sum(axis=1) / np.maximum(tune.sum(axis=1), 1), np.nan)


def harsh(notes: np.ndarray, melody: np.ndarray, chords: np.ndarray) -> float:
    """Share of the notes' sounding time, while the melody sounds, in which a note lies a minor second, a major seventh or a
    minor ninth from a note of the melody (octaves aside) and is not in the chord. `chords`: (ticks, 12) bool, the pitch classes
    of the chord at each tick from 0 on. Each note that sounds counts by itself."""
    roll, tune = (sounding(n, 0, len(chords)) for n in (notes, melody))
    classes = _pitch_classes(tune)
    clash = (np.roll(classes, 1, axis=1) | np.roll(classes, -1, axis=1)) & ~chords
    met = roll[classes.any(axis=1)]
    return _mean(clash[:, np.arange(128) % 12][classes.any(axis=1)][met])


LAST_TICKS = TICKS // 2
"""What sounds in the last eighth counts as the last sound."""


def ends_on_tonic(notes: np.ndarray, key: Key) -> float:
    """1 if all notes that sound in the last eighth before they fall silent are of the tonic triad and one is the tonic, else
    0."""
    if not len(notes):
        return float("nan")
    over = notes["onset"].astype(np.int64) + notes["duration"]
    last = set((notes["pitch"][over > over.max() - LAST_TICKS] % 12).tolist())
    return float(key.tonic in last and last <= key.triad)


# --- distributions and form ---


def overlapping_area(a: np.ndarray, b: np.ndarray) -> float:
    """Area under the lower of two normalised histograms: 1 where they are equal (Yang and Lerch, On the
    Evaluation of Generative Models in Music, 2020; on the histograms themselves, without their kernel)."""
    if not a.sum() or not b.sum():
        return float("nan")
    return float(np.minimum(a / a.sum(), b / b.sum()).sum())


def histograms(notes: np.ndarray) -> dict[str, np.ndarray]:
    """Counts of pitches (128,), inter-onset times (33,) and durations (32,), times in the vocabulary's duration classes; class
    32 of the inter-onset times is everything longer."""
    gaps = np.diff(np.unique(notes["onset"].astype(np.int64)))
    classes = np.where(gaps > DURATION_TICKS[-1], len(DURATION_TICKS), duration_indices(gaps))
    return {
        "pitch": np.bincount(notes["pitch"], minlength=128),
        "inter_onset": np.bincount(classes, minlength=len(DURATION_TICKS) + 1),
        "duration": np.bincount(duration_indices(notes["duration"]), minlength=len(DURATION_TICKS)),
    }


def similarity_curve(notes: np.ndarray, bars: np.ndarray, lags: int) -> np.ndarray:
    """(lags,) the mean similarity of bars that are 1, 2, ... bars apart: notes in both over notes in either, where a note is its
    pitch, place in the bar and duration class (Yu et al., Museformer, NeurIPS 2022: similarity of bars at an interval). `bars`
    as above; pairs of empty bars are left out; nan where no pair is so far apart."""
    sets = []
    for start, end in pairwise(bars.tolist()):
        inside = between(notes, start, end)
        place = inside["onset"].astype(np.int64) - start
        sets.append(set(zip(place, inside["pitch"], duration_indices(inside["duration"]), strict=True)))
    curve = np.full(lags, np.nan)
    for lag in range(1, lags + 1):
        pairs = [(a, b) for a, b in zip(sets, sets[lag:], strict=False) if a or b]
        if pairs:
            curve[lag - 1] = np.mean([len(a & b) / len(a | b) for a, b in pairs])
    return curve
