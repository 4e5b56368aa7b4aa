"""A small synthesiser: a MIDI file as stereo sound. numpy only.

Every track has a place from left to right and a timbre that follows its program: struck, plucked, bowed or blown, or a drum kit.
Tracks with programs of the same kind alternate between two timbres, so that the two parts of a duet can be told apart. Tones are
sums of partials; a loud note has more of them. Velocity, channel volume, expression and the sustain pedal count; pitch bend does
not.
"""

from __future__ import annotations

import io
import wave
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from realtime.core.tempo import PPQN
from realtime.io.files.midifile import FileNote, MidiPiece, piece_of
from realtime.io.files.smf import Smf
from realtime.io.files.timebase import timebase_of
from realtime.midi import SUSTAIN

RATE = 44_100
LOOP_S = 8
"""Length of a tone in memory. A decaying one has died away by then, a held one begins again: its partials fit into it."""
BLOCK = 10 * RATE
TAIL_S = 1.5
VOLUME, EXPRESSION, USUAL_VOLUME = 7, 11, 100
LOUDEST = 0.8
"""What the loudest moment is brought to, before the curve that keeps every sample below 1."""
HIGHEST_HZ = 16_000.0
FULL = 32_000
WIDTH = 0.6
"""How far from the middle the outermost track is; 1 is one side alone."""


class Timbre(NamedTuple):
    """slope: partial n has the amplitude n to the power of minus this; odd: what even partials are times; decay_s: in which the
    first partial of middle C falls to a third, 0: it is held; attack_s, release_s."""

    slope: float
    odd: float
    decay_s: float
    attack_s: float
    release_s: float


STRUCK, PLUCKED = Timbre(2.0, 1.0, 1.6, 0.003, 0.12), Timbre(0.6, 1.0, 0.8, 0.001, 0.08)
BOWED, BLOWN = Timbre(1.5, 1.0, 0.0, 0.06, 0.15), Timbre(1.6, 0.2, 0.0, 0.03, 0.08)
KINDS = {"decaying": (STRUCK, PLUCKED), "held": (BOWED, BLOWN)}
HELD_PROGRAMS = (range(16, 24), range(40, 46), range(48, 80), range(88, 96))
"""General MIDI: organs; bowed strings; ensembles, brass, reeds and pipes; pads."""


class Sounding(NamedTuple):
    """A note: its first sample, the samples for which it is held, its pitch, velocity 0..1, gains (left, right), and its timbre;
    None: a drum."""

    start: int
    held: int
    pitch: int
    force: float
    gains: tuple[float, float]
    timbre: Timbre | None

    @property
    def end(self) -> int:
        """The sample after its last."""
        tail = TAIL_S / 2 if self.timbre is None else 5 * self.timbre.release_s
        return self.start + self.held + round(RATE * tail)


def rendered(smf: Smf) -> bytes:
    """A file's music as the bytes of a .wav file: 44.1 kHz, stereo, 16 bits. The same file gives the same bytes."""
    piece = piece_of(smf)
    notes = sorted(_sounding(piece, smf), key=lambda note: note.start)
    length = max([note.end for note in notes], default=0) + RATE // 4
    gain = LOUDEST / max(_loudest(notes), 1e-9)
    return encoded((np.tanh(block * gain).T * FULL).astype("<i2").tobytes() for block in _blocks(notes, length))


def encoded(blocks: Iterable[bytes]) -> bytes:
    """A .wav file of stereo samples, 16 bits each."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for block in blocks:
            file.writeframes(block)
    return buffer.getvalue()


def as_loud(data: bytes) -> bytes:
    """A .wav file of stereo samples, 16 bits each, with its loudest sample brought to `LOUDEST`."""
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    gain = LOUDEST * FULL / max(int(np.abs(samples.astype(int)).max(initial=0)), 1)
    return encoded([(samples * gain).astype("<i2").tobytes()])


def _loudest(notes: list[Sounding]) -> float:
    """An estimate of the highest level: of notes that sound together the squares add up."""
    level, most = 0.0, 0.0
    edges = [(note.start, note.force**2) for note in notes] + [
        (note.start + note.held, -(note.force**2)) for note in notes
    ]
    for _, change in sorted(edges):
        level += change
        most = max(most, level)
    return 2.2 * float(np.sqrt(most))


def _blocks(notes: list[Sounding], length: int) -> Iterator[np.ndarray]:
    """(2, n) samples, block by block."""
    sounding: list[Sounding] = []
    coming = 0
    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, length)
        while coming < len(notes) and notes[coming].start < last:
            sounding.append(notes[coming])
            coming += 1
        block = np.zeros((2, last - first), np.float32)
        for note in sounding:
            begin, end = max(note.start, first), min(note.end, last)
            if begin < end:
                block[:, begin - first : end - first] += _samples(note, begin - note.start, end - note.start)
        sounding = [note for note in sounding if note.end > last]
        yield block


def _samples(note: Sounding, first: int, last: int) -> np.ndarray:
    """(2, n): samples [first, last) of a note."""
    gains = np.array(note.gains, np.float32)[:, None]
    at = np.arange(first, last)
    if note.timbre is None:
        drum = _drum(note.pitch)
        sound = np.where(at < len(drum), drum[np.minimum(at, len(drum) - 1)], 0) * note.force
        made: np.ndarray = gains * sound.astype(np.float32)
        return made
    soft, bright = _tone(note.timbre, note.pitch)
    place = at % len(soft)
    shade = note.force**2
    sound = ((1 - shade) * soft[place] + shade * bright[place]) * note.force**1.5
    seconds = at / RATE
    envelope = np.minimum(seconds / note.timbre.attack_s, 1.0)
    if note.timbre.decay_s:
        envelope *= np.minimum(np.maximum(LOOP_S - seconds, 0), 1)
    envelope *= np.exp(-np.maximum(at - note.held, 0) / (RATE * note.timbre.release_s))
    shaped: np.ndarray = gains * (sound * envelope).astype(np.float32)
    return shaped


@lru_cache(maxsize=256)
def _tone(timbre: Timbre, pitch: int) -> tuple[np.ndarray, np.ndarray]:
    """A soft and a bright tone, each (LOOP_S * RATE,), with the same energy. Their periods fit into LOOP_S."""
    time = np.arange(LOOP_S * RATE) / RATE
    base = max(round(440 * 2 ** ((pitch - 69) / 12) * LOOP_S), 1) / LOOP_S
    soft, bright = np.zeros(len(time)), np.zeros(len(time))
    count = int(np.clip(HIGHEST_HZ // base, 1, 24))
    total = [0.0, 0.0]
    for n in range(1, count + 1):
        partial = np.sin(2 * np.pi * base * n * time + n * n)
        if timbre.decay_s:
            partial *= np.exp(-time / (timbre.decay_s * 2 ** ((60 - pitch) / 24) / n**0.6))
        for at, (sound, slope) in enumerate(((soft, timbre.slope + 0.4), (bright, timbre.slope))):
            amplitude = (timbre.odd if n % 2 == 0 else 1.0) / n**slope
            sound += amplitude * partial
            total[at] += amplitude**2
    low = 2 ** ((60 - pitch) / 48)  # a low note needs more for the same loudness
    soft, bright = (
        (low * sound / np.sqrt(of)).astype(np.float32) for sound, of in zip((soft, bright), total, strict=True)
    )
    return soft, bright


@lru_cache(maxsize=128)
def _drum(key: int) -> np.ndarray:
    """A drum of the General MIDI kit: a falling tone, noise, or both."""
    noise = np.random.default_rng(key).standard_normal(RATE)
    time = np.arange(RATE) / RATE
    hiss = np.diff(noise, prepend=0.0) * 0.5
    if key in (35, 36):  # bass drums
        sound = np.sin(2 * np.pi * (50 * time + 6 * (1 - np.exp(-time * 30)))) * np.exp(-time * 12)
    elif key in (37, 38, 39, 40):  # side stick, snares, clap
        sound = (0.5 * np.sin(2 * np.pi * 185 * time) + 0.5 * noise) * np.exp(-time * (40 if key == 37 else 18))
    elif key in (41, 43, 45, 47, 48, 50):  # toms
        hertz = 70 * 2 ** ((key - 41) / 12)
        sound = np.sin(2 * np.pi * (hertz * time + 2 * (1 - np.exp(-time * 25)))) * np.exp(-time * 8)
    elif key in (46, 49, 51, 52, 53, 55, 57, 59):  # open hi-hat, cymbals
        sound = hiss * np.exp(-time * (6 if key == 46 else 3.5)) * 0.6
    elif key in (42, 44, 54, 69, 70, 82):  # closed hi-hats, tambourine, shakers
        sound = hiss * np.exp(-time * 45) * 0.8
    else:
        sound = np.sin(2 * np.pi * 300 * 2 ** ((key - 60) / 12) * time) * np.exp(-time * 20) * 0.7
    faded: np.ndarray = (sound * np.minimum((1 - time) * 20, 1)).astype(np.float32)
    return faded


def _sounding(piece: MidiPiece, smf: Smf) -> Iterator[Sounding]:
    """The notes of a piece in samples, with their gains and timbres."""
    tracks = sorted({note.track for note in piece.notes})
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    channels, clock = _Channels(smf), _Clock(piece.tempos)
    for note in piece.notes:
        here = kinds[_kind(note)]
        if note.track not in here:
            here.append(note.track)
        variants = KINDS[_kind(note)]
        timbre = None if note.is_drum else variants[here.index(note.track) % len(variants)]
        at = tracks.index(note.track) / max(len(tracks) - 1, 1)
        side = 0.0 if len(tracks) == 1 or note.is_drum else WIDTH * (2 * at - 1)
        angle = (1 + side) * np.pi / 4
        gain = channels.gain(note)
        end = channels.end(note, note.onset_pulse + note.duration_pulse)
        start, stop = clock.sample(note.onset_pulse), clock.sample(end)
        force = note.velocity / 127
        yield Sounding(
            start, max(stop - start, 1), note.pitch, force, (gain * np.cos(angle), gain * np.sin(angle)), timbre
        )


def _kind(note: FileNote) -> str:
    return "held" if any(note.program in programs for programs in HELD_PROGRAMS) else "decaying"


class _Clock:
    """When a pulse is, by the tempos of a piece."""

    def __init__(self, tempos: list[tuple[int, float]]) -> None:
        self._pulses = [pulse for pulse, _ in tempos]
        self._paces = [60 / (PPQN * bpm) for _, bpm in tempos]
        spans = ((after - at) * pace for (at, after), pace in zip(pairwise(self._pulses), self._paces, strict=False))
        self._seconds = [0.0, *accumulate(spans)]

    def sample(self, pulse: int) -> int:
        """The nearest sample."""
        at = max(bisect_right(self._pulses, pulse) - 1, 0)
        return round(RATE * (self._seconds[at] + (pulse - self._pulses[at]) * self._paces[at]))


class _Channels:
    """What controllers say of the notes of a track on a channel: how loud they are, and how long the pedal holds them."""

    def __init__(self, smf: Smf) -> None:
        timebase = timebase_of(smf)
        self._moves: defaultdict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
        for event in smf.events:
            if event.status & 0xF0 == 0xB0 and event.kind in (SUSTAIN, VOLUME, EXPRESSION):
                place = event.track, event.status & 0x0F, event.kind
                self._moves[place].append((timebase.pulse(event.tick), event.data[0]))

    def gain(self, note: FileNote) -> float:
        """1 at the usual volume."""
        volume = self._value(note, VOLUME, USUAL_VOLUME) / USUAL_VOLUME
        return (volume * self._value(note, EXPRESSION, 127) / 127) ** 2

    def _value(self, note: FileNote, number: int, usual: int) -> int:
        moves = self._moves.get((note.track, note.channel, number), [])
        at = bisect_right(moves, (note.onset_pulse, 128))
        return moves[at - 1][1] if at else usual

    def end(self, note: FileNote, pulse: int) -> int:
        """When a note that ends at `pulse` stops to sound: where the pedal is down, when it goes up."""
        moves = self._moves.get((note.track, note.channel, SUSTAIN), [])
        at = bisect_right(moves, (pulse, 128))
        if not at or moves[at - 1][1] < 64:
            return pulse
        return next((up for up, value in moves[at:] if value < 64), pulse)
