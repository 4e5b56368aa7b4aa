"""What a model has to beat: unigrams, an interpolated order-5 Markov model, and copying the piece's own past.

All of them predict the same factors of the same events as the decoder does: the time of the next event and, of a note, its
part, pitch, duration and velocity, each given the fields before it. Scores are negative log-likelihoods in nats, (N, 5) for
N events, 0 where a field does not count (a BEAT has only a time).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.music.vocabulary import BEAT, HEADS

ORDER = 5
COPY_ORDER = 16
_PRIME = np.uint64(0x9E3779B97F4A7C15)
NAMES = tuple(HEADS)


@dataclass(frozen=True)
class Stream:
    """One piece as the decoder sees it: `known` (N, 2) beat in the bar and metre, `target` (N, 5) the event that follows."""

    known: np.ndarray
    target: np.ndarray

    @property
    def is_note(self) -> np.ndarray:
        """(N,) whether the target is a note rather than a BEAT."""
        return self.target[:, 0] != BEAT


def _mix(*columns: np.ndarray) -> np.ndarray:
    """Columns of small integers -> one 64-bit key a row."""
    key = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        key = (key ^ (np.asarray(column).astype(np.int64).view(np.uint64) + np.uint64(1))) * _PRIME
        key ^= key >> np.uint64(29)
    return key


def _before(values: np.ndarray, k: int) -> np.ndarray:
    """`values` k places earlier, -1 before the beginning."""
    out = np.full(len(values), -1, np.int64)
    out[k:] = values[: len(values) - k] if k < len(values) else []
    return out


def contexts(stream: Stream, field: int, order: int) -> list[np.ndarray]:
    """Keys of what a field is predicted from, from nothing at all up to `order` earlier values; (M,) each, over the rows that
    count. The fields of the same event that are already drawn belong to every context but the first; earlier values are
    those of the whole stream for the time, and of the same part for the rest: a voice goes on from itself.
    """
    target = stream.target
    if field == 0:
        drawn: list[np.ndarray] = [stream.known[:, 0], stream.known[:, 1]]
        history = [_before(target[:, 0], k) for k in range(1, order + 1)]
    else:
        rows = np.flatnonzero(stream.is_note)
        notes = target[rows]
        same_tick = np.zeros(len(rows), np.int64)
        same_tick[1:] = (rows[1:] == rows[:-1] + 1) & (notes[1:, 0] == notes[:-1, 0])
        drawn = [notes[:, 1] if field > 1 else notes[:, 0], same_tick]
        if field == 3:
            drawn.append(notes[:, 0])
        voice = notes[:, 1] if field > 1 else np.zeros(len(notes), np.int64)
        history = [np.full(len(notes), -1, np.int64) for _ in range(order)]
        for part in np.unique(voice):
            mine = np.flatnonzero(voice == part)
            for k in range(1, order + 1):
                history[k - 1][mine] = _before(notes[mine, field], k)
    nothing = np.zeros(len(drawn[0]), np.int64)
    return [_mix(nothing), *(_mix(np.full_like(nothing, k), *drawn, *history[:k]) for k in range(order + 1))]


class Markov:
    """Interpolated n-grams: each order falls back on the one below by Witten and Bell's rule (IEEE Trans. IT 37, 1991),

        P_k(y | c) = (n(c, y) + t(c) P_{k-1}(y)) / (n(c) + t(c)),   t(c): how many different y followed c.

    `order` -1 is the unigram of each field.
    """

    def __init__(self, streams: list[Stream], order: int = ORDER) -> None:
        self.order = order
        self._tables: list[list[tuple[np.ndarray, ...]]] = []
        for field in range(len(NAMES)):
            symbols = np.concatenate([self._symbols(s, field) for s in streams])
            levels = zip(*(self._levels(s, field) for s in streams), strict=True)
            self._tables.append([self._count(np.concatenate(level), symbols) for level in levels])

    @staticmethod
    def _symbols(stream: Stream, field: int) -> np.ndarray:
        return stream.target[:, 0] if field == 0 else stream.target[stream.is_note, field]

    def _levels(self, stream: Stream, field: int) -> list[np.ndarray]:
        return contexts(stream, field, self.order) if self.order >= 0 else contexts(stream, field, 0)[:1]

    @staticmethod
    def _count(context: np.ndarray, symbol: np.ndarray) -> tuple[np.ndarray, ...]:
        """(contexts, n(c), t(c), pairs, n(c, y)), the keys sorted."""
        pair = _mix(context.view(np.int64), symbol)
        pairs, first, times = np.unique(pair, return_index=True, return_counts=True)
        keys, inverse = np.unique(context[first], return_inverse=True)
        total = np.bincount(inverse, weights=times)
        return keys, total, np.bincount(inverse).astype(float), pairs, times

    def score(self, stream: Stream) -> np.ndarray:
        """(N, 5) nats."""
        nats = np.zeros((len(stream.target), len(NAMES)))
        for field, size in enumerate(HEADS.values()):
            symbols = self._symbols(stream, field)
            p = np.full(len(symbols), 1.0 / size)
            for context, table in zip(self._levels(stream, field), self._tables[field], strict=True):
                keys, total, kinds, pairs, times = table
                n, t = _lookup(keys, total, context), _lookup(keys, kinds, context)
                c = _lookup(pairs, times, _mix(context.view(np.int64), symbols))
                p = np.where(n > 0, (c + t * p) / np.maximum(n + t, 1), p)
            rows = slice(None) if field == 0 else stream.is_note
            nats[rows, field] = -np.log(p)
        return nats


def _lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """values[keys == wanted], 0 where a key is missing. `keys` are sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0.0)


class CopyThePast:
    """Say again what followed the last time: the longest context (up to `COPY_ORDER` values) met before in this piece gives
    one guess, believed as much as guesses of that length were right in training; the rest is the unigram."""

    def __init__(self, streams: list[Stream], unigram: Markov) -> None:
        self._unigram = unigram
        right = np.ones((len(NAMES), COPY_ORDER + 2))
        tried = np.full((len(NAMES), COPY_ORDER + 2), 2.0)
        for stream in streams:
            for field in range(len(NAMES)):
                guess, length = self._guesses(stream, field)
                np.add.at(tried[field], length, 1)
                np.add.at(right[field], length, guess == Markov._symbols(stream, field))
        self._trust = right / tried

    @staticmethod
    def _guesses(stream: Stream, field: int) -> tuple[np.ndarray, np.ndarray]:
        """For each row that counts: what followed its longest known context last time (-1: none known), and its length."""
        symbols = Markov._symbols(stream, field).tolist()
        levels = [level.tolist() for level in contexts(stream, field, COPY_ORDER)[1:]]
        seen: list[dict[int, int]] = [{} for _ in levels]
        guess, length = np.full(len(symbols), -1), np.zeros(len(symbols), np.int64)
        for i, symbol in enumerate(symbols):
            for k in range(len(levels) - 1, -1, -1):
                if (last := seen[k].get(levels[k][i])) is not None:
                    guess[i], length[i] = last, k + 1
                    break
            for k, level in enumerate(levels):
                seen[k][level[i]] = symbol
        return guess, length

    def score(self, stream: Stream) -> np.ndarray:
        """(N, 5) nats."""
        nats = self._unigram.score(stream)
        for field in range(len(NAMES)):
            guess, length = self._guesses(stream, field)
            trust = np.where(guess >= 0, self._trust[field][length], 0.0)
            rows = slice(None) if field == 0 else stream.is_note
            p = trust * (guess == Markov._symbols(stream, field)) + (1 - trust) * np.exp(-nats[rows, field])
            nats[rows, field] = -np.log(p)
        return nats
