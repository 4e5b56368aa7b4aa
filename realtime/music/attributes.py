"""The attributes that can be steered, measured on the notes in a cell (`realtime.music.cells`). Pure functions; times in ticks
(24 a quarter).

    density     log2(1 + onsets a quarter)
    register    mean pitch of the onsets, MIDI
    brightness  mean place of the pitch classes on the line of fifths, the tonic being 0: a lydian fourth is +6, a phrygian
                second -5; weighted by how long they sound. The modes from locrian to lydian in order of brightness
                (Temperley, The Cognition of Basic Musical Structures, 2001, ch. 5)
    tension     how far the pitch classes are spread on the circle of fifths, 0 to 1: 1 - |mean of their unit vectors|, weighted
                likewise. After the cloud diameter of Herremans and Chew, Tension ribbons, 2016: a triad is close together,
                a cluster or a chromatic run is not
    polyphony   notes that sound at once, on average over the time in which any does

A control is the difference of an attribute from its mean over the piece, in units of `SCALE`: 0 is "as it is", +1 clearly more.
A style is one of `STYLES`, the kinds of music in the corpus.
"""

from __future__ import annotations

import numpy as np

from realtime.music.cells import STEPS, split
from realtime.music.metre import TICKS

ATTRIBUTES = ("density", "register", "brightness", "tension", "polyphony")
SCALE = np.array([0.5, 6.0, 1.0, 0.15, 0.7], np.float32)
"""One unit of each control, in the unit of its attribute: about the spread over the bars of one piece."""
MOST = 3.0
"""Controls beyond this are cut to it."""
STYLES = ("pop", "song", "quartet", "standard", "hymn", "folk", "game", "classical")
CONTROLS = 2 * len(ATTRIBUTES) + len(STYLES)
"""Length of a control vector: a value an attribute, 1 where it is given, 1 for the style."""
FIFTHS = np.array([0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5], np.float64)
"""Semitones above the tonic -> steps on the line of fifths, Db to F sharp in C."""
CIRCLE = np.exp(2j * np.pi * 7 * np.arange(12) / 12)


def attributes(notes: np.ndarray, edges: np.ndarray, tonic: int) -> np.ndarray:
    """Attributes of the cells between `edges`, (C, 5) float32 in the order of `ATTRIBUTES`; nan where nothing sounds (a density
    of silence is 0). notes: (N,) with onset, duration, pitch, part, drums being left out; tonic: pitch class 0..11."""
    rows = split(notes, edges)
    cells = len(edges) - 1
    pitch = notes["pitch"][rows.note].astype(np.int64)
    begins = rows.first >= 0
    steps = (rows.last - np.maximum(rows.first, 0)).astype(np.float64)

    def total(weights: np.ndarray, where: np.ndarray = rows.cell) -> np.ndarray:
        return np.bincount(where, weights, cells)

    sounds = np.zeros((cells, STEPS + 1))
    np.add.at(sounds, (rows.cell, np.maximum(rows.first, 0)), 1)
    np.add.at(sounds, (rows.cell, rows.last), -1)
    filled = (np.cumsum(sounds, 1) > 0).sum(1)
    place = CIRCLE[pitch % 12]
    sums = (
        total(begins.astype(float)), total(pitch * begins), total(FIFTHS[(pitch - tonic) % 12] * steps),
        total(place.real * steps), total(place.imag * steps), total(steps), filled,
    )  # fmt: skip
    return figures(np.stack(sums, 1), np.diff(edges) / TICKS)


def figures(sums: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """The five attributes (..., 5) float32 of cells, from sums (..., 7) over their notes and lengths (...) in quarters.

    The sums: onsets; their pitches; of all steps in which a note sounds, the places on the line of fifths, the two coordinates
    on the circle of fifths, and their number; steps in which anything sounds.
    """
    onsets, pitches, fifths, x, y, steps, filled = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (
            np.log2(1 + onsets / quarters), pitches / onsets, fifths / steps, 1 - np.hypot(x, y) / steps, steps / filled
        )  # fmt: skip
    return np.stack(values, -1).astype(np.float32)


def controls(values: np.ndarray, style: int | None = None) -> np.ndarray:
    """Control vectors (..., CONTROLS) float32. values: (..., 5) in control units, nan where not given; style: an index of
    `STYLES`."""
    given = ~np.isnan(values)
    kind = np.zeros((*values.shape[:-1], len(STYLES)), np.float32)
    if style is not None:
        kind[..., style] = 1
    return np.concatenate([np.clip(np.where(given, values, 0), -MOST, MOST), given, kind], -1).astype(np.float32)
