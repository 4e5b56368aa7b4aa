"""Melodies to play to Antiphon: all in the public domain, written out by hand from general knowledge of them.

A tune is text: notes by name (C4 is middle C) with their length in quarters after a colon (none: a quarter), bar lines, and
`-` for a note held over into the next bar. A first bar that is shorter is the pick-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from realtime import midi
from realtime.music.keys import Key

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARE_HELD = 0.9


@dataclass(frozen=True, slots=True)
class Tune:
    """A melody, who made it and when. `metre` is (top, bottom); `bpm` counts quarters. `unheard`: of what the shipped model
    was trained on, no piece has more than eight notes of it in a row, in any key."""

    name: str
    origin: str
    year: int
    key: Key
    metre: tuple[int, int]
    bpm: float
    text: str
    unheard: bool = False

    @property
    def bar_quarters(self) -> float:
        """A bar's length in quarters."""
        return 4 * self.metre[0] / self.metre[1]

    @property
    def bars(self) -> list[list[tuple[int, float]]]:
        """Bar by bar (pitch, quarters); a pitch of -1 holds the note before."""
        return [[_note(word) for word in bar.split()] for bar in self.text.split("|")]

    @property
    def pickup_quarters(self) -> float:
        """The length of the pick-up in quarters, 0 without one."""
        first = sum(quarters for _, quarters in self.bars[0])
        return first if first < self.bar_quarters else 0.0

    @property
    def notes(self) -> tuple[tuple[int, float], ...]:
        """(pitch, quarters), the pick-up included; held notes are one."""
        return joined(note for bar in self.bars for note in bar)

    @property
    def from_downbeat(self) -> tuple[tuple[int, float], ...]:
        """The notes from the first downbeat on."""
        return joined(note for bar in self.bars[1 if self.pickup_quarters else 0 :] for note in bar)


def joined(notes: Iterable[tuple[int, float]]) -> tuple[tuple[int, float], ...]:
    """The notes, with each held note joined to the one that it holds."""
    out: list[tuple[int, float]] = []
    for pitch, quarters in notes:
        if pitch < 0:
            pitch, before = out.pop()
            quarters += before
        out.append((pitch, quarters))
    return tuple(out)


def _note(word: str) -> tuple[int, float]:
    name, _, quarters = word.partition(":")
    if name == "-":
        return -1, float(quarters or 1)
    accidental = name.count("#") - name.count("b")
    return 12 * (int(name[-1]) + 1) + LETTERS[name[0]] + accidental, float(quarters or 1)


def script(
    tune: Tune, bpm: float, phrase_bars: int = 0, rest_bars: int = 0, loose_ms: float = 0.0, seed: int = 0
) -> tuple[list[tuple[int, bytes]], list[tuple[float, float]]]:
    """The tune from its first downbeat as a player's messages, and when the player played.

    Returns (ns from the downbeat, message) by time, and (start, end) in quarters of each stretch of playing. With
    `phrase_bars` the player rests for `rest_bars` after so many bars; else it is one stretch. `loose_ms`: standard deviation of
    the player's timing (the first note is exact: it sets the beat).
    """
    beat_ns = 60e9 / bpm
    phrase = phrase_bars * tune.bar_quarters
    rng = np.random.default_rng(seed)
    messages: list[tuple[int, bytes]] = []
    stretches: list[tuple[float, float]] = []
    at = begin = played = before = 0.0
    for i, (pitch, quarters) in enumerate(tune.from_downbeat):
        if phrase and played and played % phrase == 0:
            stretches.append((begin, at))
            at += rest_bars * tune.bar_quarters
            begin = at
        velocity = 92 if played % tune.bar_quarters == 0 else 78 + i % 3 * 4
        shorter = min(quarters, before) if i else 0.0
        most_ns = 0.9 * (1 - SHARE_HELD) * shorter * beat_ns  # a note begins after the one before has ended
        late_ns = float(np.clip(rng.normal(0.0, 1.0) * loose_ms * 1e6, -most_ns, most_ns))
        messages.append((round(at * beat_ns + late_ns), midi.note_on(0, pitch, velocity)))
        messages.append((round((at + quarters * SHARE_HELD) * beat_ns), midi.note_off(0, pitch)))
        before = quarters
        at += quarters
        played += quarters
    stretches.append((begin, at))
    return sorted(messages, key=lambda message: message[0]), stretches


ODE_TO_JOY = Tune("Ode to Joy", "L. van Beethoven, Symphony No. 9", 1824, Key(0, "major"), (4, 4), 120,
    "E4 E4 F4 G4 | G4 F4 E4 D4 | C4 C4 D4 E4 | E4:1.5 D4:.5 D4:2 |"
    "E4 E4 F4 G4 | G4 F4 E4 D4 | C4 C4 D4 E4 | D4:1.5 C4:.5 C4:2",
)  # fmt: skip

TUNES: tuple[Tune, ...] = (
    ODE_TO_JOY,
    Tune("Ah! vous dirai-je, maman", "French song", 1761, Key(2, "major"), (4, 4), 112,
        "D4 D4 A4 A4 | B4 B4 A4:2 | G4 G4 F#4 F#4 | E4 E4 D4:2 | A4 A4 G4 G4 | F#4 F#4 E4:2 |"
        "A4 A4 G4 G4 | F#4 F#4 E4:2 | D4 D4 A4 A4 | B4 B4 A4:2 | G4 G4 F#4 F#4 | E4 E4 D4:2", unheard=True,
    ),
    Tune("Auld Lang Syne", "Scottish song", 1799, Key(5, "major"), (4, 4), 96,
        "C4 | F4:1.5 F4:.5 F4 A4 | G4:1.5 F4:.5 G4 A4 | F4:1.5 F4:.5 A4 C5 | D5:3 D5 |"
        "C5:1.5 A4:.5 A4 F4 | G4:1.5 F4:.5 G4 A4:.5 G4:.5 | F4:1.5 D4:.5 D4 C4 | F4:3 D5 |"
        "C5:1.5 A4:.5 A4 F4 | G4:1.5 F4:.5 G4 D5 | C5:1.5 A4:.5 A4 C5 | D5:3 D5 |"
        "C5:1.5 A4:.5 A4 F4 | G4:1.5 F4:.5 G4 A4:.5 G4:.5 | F4:1.5 D4:.5 D4 C4 | F4:3",
    ),
    Tune("Korobeiniki", "Russian song", 1861, Key(9, "minor"), (4, 4), 132,
        "E5 B4:.5 C5:.5 D5 C5:.5 B4:.5 | A4 A4:.5 C5:.5 E5 D5:.5 C5:.5 | B4:1.5 C5:.5 D5 E5 | C5 A4 A4:2 |"
        "D5:1.5 F5:.5 A5 G5:.5 F5:.5 | E5:1.5 C5:.5 E5 D5:.5 C5:.5 | B4:1.5 C5:.5 D5 E5 | C5 A4 A4:2", unheard=True,
    ),
    Tune("God Rest You Merry, Gentlemen", "English carol", 1833, Key(4, "minor"), (4, 4), 120,
        "E4 | E4 B4 B4 A4 | G4 F#4 E4 D4 | E4 F#4 G4 A4 | B4:3 E4 |"
        "E4 B4 B4 A4 | G4 F#4 E4 D4 | E4 F#4 G4 A4 | B4:3 B4 |"
        "C5 A4 B4 C5 | D5 E5 B4 A4 | G4 E4 F#4 G4 | A4:2 G4 A4 |"
        "B4:2 C5 B4 | B4 A4 G4 F#4 | E4:2 G4:.5 F#4:.5 E4 | A4:2 G4 A4 | B4 C5 D5 E5 | B4 A4 G4 F#4 | E4:3",
    ),
    Tune("Sakura", "Japanese song", 1888, Key(9, "minor"), (4, 4), 84,
        "A4 A4 B4:2 | A4 A4 B4:2 | A4 B4 C5 B4 | A4 B4:.5 A4:.5 F4:2 | E4 C4 E4 F4 | E4 E4:.5 C4:.5 B3:2 |"
        "A4 B4 C5 B4 | A4 B4:.5 A4:.5 F4:2 | E4 C4 E4 F4 | E4 E4:.5 C4:.5 B3:2 |"
        "A4 A4 B4:2 | A4 A4 B4:2 | E4 F4 B4:.5 A4:.5 F4 | E4:4", unheard=True,
    ),
    Tune("Minuet in G", "C. Petzold", 1725, Key(7, "major"), (3, 4), 120,
        "D5 G4:.5 A4:.5 B4:.5 C5:.5 | D5 G4 G4 | E5 C5:.5 D5:.5 E5:.5 F#5:.5 | G5 G4 G4 |"
        "C5 D5:.5 C5:.5 B4:.5 A4:.5 | B4 C5:.5 B4:.5 A4:.5 G4:.5 | F#4 G4:.5 A4:.5 B4:.5 G4:.5 | A4:3 |"
        "D5 G4:.5 A4:.5 B4:.5 C5:.5 | D5 G4 G4 | E5 C5:.5 D5:.5 E5:.5 F#5:.5 | G5 G4 G4 |"
        "C5 D5:.5 C5:.5 B4:.5 A4:.5 | B4 C5:.5 B4:.5 A4:.5 G4:.5 | A4 B4:.5 A4:.5 G4:.5 F#4:.5 | G4:3",
    ),
    Tune("New Britain (Amazing Grace)", "American hymn tune", 1829, Key(7, "major"), (3, 4), 90,
        "D4 | G4:2 B4:.5 G4:.5 | B4:2 A4 | G4:2 E4 | D4:2 D4 | G4:2 B4:.5 G4:.5 | B4:2 A4 | D5:3 | -:2 B4 |"
        "D5:2 B4:.5 G4:.5 | B4:2 A4 | G4:2 E4 | D4:2 D4 | G4:2 B4:.5 G4:.5 | B4:2 A4 | G4:3 | -:2",
    ),
    Tune("Greensleeves", "English song", 1580, Key(9, "minor"), (6, 8), 90,
        "A4:.5 | C5 D5:.5 E5:.75 F#5:.25 E5:.5 | D5 B4:.5 G4:.75 A4:.25 B4:.5 |"
        "C5 A4:.5 A4:.75 G#4:.25 A4:.5 | B4 G#4:.5 E4 A4:.5 |"
        "C5 D5:.5 E5:.75 F#5:.25 E5:.5 | D5 B4:.5 G4:.75 A4:.25 B4:.5 |"
        "C5:.75 B4:.25 A4:.5 G#4:.75 F#4:.25 G#4:.5 | A4:1.5 A4:1.5 |"
        "G5:1.5 G5:.75 F#5:.25 E5:.5 | D5 B4:.5 G4:.75 A4:.25 B4:.5 |"
        "C5 A4:.5 A4:.75 G#4:.25 A4:.5 | B4 G#4:.5 E4:1.5 |"
        "G5:1.5 G5:.75 F#5:.25 E5:.5 | D5 B4:.5 G4:.75 A4:.25 B4:.5 |"
        "C5:.75 B4:.25 A4:.5 G#4:.75 F#4:.25 G#4:.5 | A4:2.5",
    ),
    Tune("Silent Night", "F. X. Gruber", 1818, Key(10, "major"), (6, 8), 72,
        "F4:.75 G4:.25 F4:.5 D4:1.5 | F4:.75 G4:.25 F4:.5 D4:1.5 | C5 C5:.5 A4:1.5 | Bb4 Bb4:.5 F4:1.5 |"
        "G4 G4:.5 Bb4:.75 A4:.25 G4:.5 | F4:.75 G4:.25 F4:.5 D4:1.5 |"
        "G4 G4:.5 Bb4:.75 A4:.25 G4:.5 | F4:.75 G4:.25 F4:.5 D4:1.5 |"
        "C5 C5:.5 Eb5:.75 C5:.25 A4:.5 | Bb4:1.5 D5:1.5 | Bb4 F4:.25 D4:.25 F4:.75 Eb4:.25 C4:.5 | Bb3:3",
    ),
    Tune("The Irish Washerwoman", "Irish jig", 1792, Key(7, "major"), (6, 8), 150,
        "D5:.25 C5:.25 | B4:.5 G4:.5 G4:.5 D4:.5 G4:.5 G4:.5 | B4:.5 G4:.5 B4:.5 D5:.5 C5:.5 B4:.5 |"
        "C5:.5 A4:.5 A4:.5 E4:.5 A4:.5 A4:.5 | C5:.5 A4:.5 C5:.5 E5:.5 D5:.5 C5:.5 |"
        "B4:.5 G4:.5 G4:.5 D4:.5 G4:.5 G4:.5 | B4:.5 G4:.5 B4:.5 D5:.5 C5:.5 B4:.5 |"
        "C5:.5 B4:.5 C5:.5 A4:.5 D5:.5 C5:.5 | B4:.5 G4:.5 G4:.5 G4",
    ),
)  # fmt: skip
