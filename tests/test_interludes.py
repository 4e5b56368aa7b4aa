"""Windows in which the model has answered between the player's phrases, as it does in CONTINUE while it is played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from dealing import piece_of

from models.corpus import interludes
from models.corpus.interludes import ANSWER_SEMITONES, interject, rest
from models.corpus.pack import Piece
from models.corpus.perturb import NONE
from models.corpus.stream import Stretch
from models.corpus.windows import stretch, window
from realtime.music.chords import transpose
from realtime.music.notes import NOTE
from realtime.music.vocabulary import BEAT, DRUMS, MODEL_PART, Role

BAR, LENGTH = 96, 400


def melody(bars: int = 16, metres: tuple[tuple[int, int], ...] = ((0, BAR),)) -> Piece:
    """Eighths, each bar unlike the others, drums under them, a chord a bar."""
    notes = [(i * 12, 12, 40 + i // 8 * 2 + i % 8, 0) for i in range(8 * bars)]
    piece = piece_of([*notes, *((bar * BAR, 6, 36, DRUMS) for bar in range(bars))], metres)
    return replace(piece, chords=1 + np.arange(len(piece.beats)) // 4 % 12)


class Found(NamedTuple):
    """A stretch before and after an answer was put in, where it begins and how many bars it has."""

    plain: Stretch
    out: Stretch
    at: int
    bars: int

    @property
    def answer(self) -> np.ndarray:
        own = self.out.notes[~self.out.player]
        return own[own["onset"] < self.out.edges[0]]


def answers(piece: Piece, seeds: int = 60) -> Iterator[Found]:
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        plain = stretch(rng, piece, piece.notes.astype(NOTE), 0, Role.CONTINUE, NONE)
        out = interject(rng, plain)
        if out is plain:
            continue
        new = np.flatnonzero(plain.beats["start"] != out.beats["start"][: len(plain.beats)])
        gone = out.beats["start"][len(plain.beats) :]
        bars = len(gone) // 4
        own = out.notes["onset"][~out.player]
        yield Found(plain, out, int(own.min()) // BAR * BAR if len(own) else int(new[0]), bars)


def test_the_piece_goes_on_as_it_would_have_behind_the_answer() -> None:
    lengths = set()
    for found in answers(melody()):
        plain, out, at, bars = found
        lengths.add(bars)
        size = bars * BAR
        later = np.where(plain.notes["onset"] >= at, size, 0)
        notes = out.notes[out.player | (out.notes["onset"] >= out.edges[0])]
        moved = plain.notes.copy()
        moved["onset"] += later
        assert np.array_equal(np.sort(notes), np.sort(moved))
        assert out.edges.tolist() == (plain.edges + size).tolist()
        assert 0 < at < plain.edges[0], "the player has played before, and goes on"
        assert np.array_equal(np.unique(np.diff(out.bars)), [BAR]) and len(out.bars) == len(plain.bars) + bars
        assert np.array_equal(out.beats["start"], np.arange(len(out.beats)) * 24)
        assert np.array_equal(out.beats["index"], np.arange(len(out.beats)) % 4)
        assert np.all(np.diff(out.notes["onset"]) >= 0)
    assert lengths == {1, 2, 4}


def test_an_answer_takes_up_the_phrase_before_or_foretells_the_next() -> None:
    kinds, intervals, shares = set(), set(), []
    for found in answers(melody(), 200):
        plain, out, at, bars = found
        size, answer = bars * BAR, found.answer
        assert ((answer["onset"] >= at) & (answer["onset"] < at + size)).all()
        tune, place = answer[answer["part"] != DRUMS], {}
        played = {(int(n["onset"]), int(n["pitch"])) for n in plain.notes}
        for source in (at - size, at):
            for up in set(ANSWER_SEMITONES):
                if all((int(n["onset"]) - at + source, int(n["pitch"]) - up) in played for n in tune):
                    place[source] = up
        assert place, "it is what was played, or is going to be, at some height"
        source, up = next(iter(place.items()))
        if len(place) == 1:
            kinds.add(source == at)
        intervals.add(up)
        shares.append(len(answer) / (9 * bars))
        assert (answer["pitch"][answer["part"] == DRUMS] == 36).all()
        told = out.chords[(out.beats["start"] >= at) & (out.beats["start"] < at + size)]
        assert any(
            np.array_equal(told, transpose(plain.chords[s // 24 : (s + size) // 24], by)) for s, by in place.items()
        )
    assert kinds == {False, True} and intervals == set(ANSWER_SEMITONES)
    assert 0.7 < np.mean(shares) < 0.9


def test_nobody_asks_for_the_notes_of_an_answer() -> None:
    """They are fed as the model's own; only its turn counts."""
    asked = put_in = 0
    for seed in range(40):
        out = window(melody(), LENGTH, np.random.default_rng(seed), replace(NONE, interject=1.0), Role.CONTINUE, bar=0)
        events, turn = out["events"], out["turn"] > 0
        own = (events[:, 0] < BEAT) & (events[:, 1] >= MODEL_PART)
        begins = int(np.flatnonzero(turn)[0])
        assert not out["note"][:begins].any()
        put_in += int(own[:begins].sum())
        asked += int(out["note"].sum())
        last = np.flatnonzero((events[:, 0] < BEAT) & (events[:, 1] < MODEL_PART))[-1]
        assert last <= begins, "the player plays between the answer and the turn"
    assert put_in > 100 and asked > 1000


def test_no_answer_where_bars_differ_or_no_phrase_lies_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    mixed = melody(metres=((0, 72), (144, 96)))
    found = stretch(rng, mixed, mixed.notes.astype(NOTE), 0, Role.CONTINUE, NONE)
    assert all(
        change(np.random.default_rng(seed), found) is found for seed in range(20) for change in (interject, rest)
    )
    short = stretch(rng, melody(3), melody(3).notes.astype(NOTE), 0, Role.CONTINUE, NONE)
    assert short.edges[0] == BAR
    assert all(interject(np.random.default_rng(seed), short) is short for seed in range(20))


def test_a_high_or_low_phrase_is_answered_at_its_height() -> None:
    piece = piece_of([(i * 12, 12, 127 if i % 2 else 0, 0) for i in range(64)])
    for seed in range(20):
        rng = np.random.default_rng(seed)
        out = interject(rng, stretch(rng, piece, piece.notes.astype(NOTE), 0, Role.CONTINUE, NONE))
        assert set(out.notes["pitch"].tolist()) <= {0, 127}


def test_the_stretch_that_is_given_stays_as_it_is() -> None:
    found = stretch(np.random.default_rng(3), melody(), melody().notes.astype(NOTE), 0, Role.CONTINUE, NONE)
    before = [None if field is None else np.array(field) for field in found]
    for seed in range(10):
        for change in (interludes.interject, interludes.rest):
            change(np.random.default_rng(seed), found)
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, found, strict=True))
