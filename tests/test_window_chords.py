"""Training windows with chords and a memory: when a chord is told, rests, and pasts and memories that are in doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dealing import LENGTH, ROLES, piece_of

from models.corpus.pack import Piece
from models.corpus.perturb import NONE, Augment
from models.corpus.windows import window
from realtime.composing.memory import EXPERTS, FEATURES, NOTHING
from realtime.music.chords import CHORDS, UNKNOWN, transpose
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    CHORD,
    CHORD_EVENT,
    DRUMS,
    MODEL_PART,
    NONE_PITCH,
    Role,
)

BAR = 96


def song(bars: int = 16, chords: bool = True) -> Piece:
    """Two parts in eighths and drums, the same every four bars; a chord a beat, each a class higher."""
    notes = [(i * 12, 12, 60 + i % 32 % 11 + 24 * part, part) for i in range(8 * bars) for part in (0, 1)] + [
        (beat * 24, 6, 36, DRUMS) for beat in range(4 * bars)
    ]
    piece = piece_of(notes)
    return replace(piece, chords=np.arange(len(piece.beats)) % CHORDS) if chords else piece


def windows(augment: Augment, role: Role, piece: Piece | None = None, count: int = 30, **how: object):  # type: ignore[no-untyped-def]
    """Windows from the first bar on, of the same piece and other seeds."""
    for seed in range(count):
        yield window(piece or song(), 400, np.random.default_rng(seed), augment, role, bar=0, **how)  # type: ignore[arg-type]


def sources(events: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which events are notes of the player's, notes of the model's, and chords."""
    note = events[:, 0] < BEAT
    return note & (events[:, 1] < MODEL_PART), note & (events[:, 1] >= MODEL_PART), events[:, 0] == CHORD


# --- chords ---


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name.lower())
def test_each_beat_has_its_chord(role: Role) -> None:
    """It comes after the BEAT and before the model's notes; from then on to the next BEAT it is known, and not before."""
    piece = song()
    for out in windows(NONE, role, piece, 10):
        events = out["events"]
        player, own, chord = sources(events)
        beat = np.cumsum(events[:, 0] == BEAT) - 1
        told = np.array([chord[(beat == b) & (np.arange(len(beat)) <= i)].any() for i, b in enumerate(beat)])
        assert np.array_equal(events[:, 9], np.where(told, piece.chords[beat], UNKNOWN))
        assert told[own].all()
        assert np.all(np.bincount(beat[chord]) == 1)
        assert np.all(events[chord, :5] == CHORD_EVENT)
        on_beat = player & (events[:, 0] == 0) & ~told
        late = player & (events[:, 0] == 0) & told
        assert role == Role.ACCOMPANY or not late.any(), "the player's notes on the beat come before its chord"
        assert role == Role.COMPOSE or on_beat.any()


@pytest.mark.parametrize("role", [Role.COMPOSE, Role.TRADE, Role.ACCOMPANY], ids=lambda role: role.name.lower())
def test_the_step_before_a_chord_is_asked_for_it_alone(role: Role) -> None:
    piece = song()
    for out in windows(NONE, role, piece, 10):
        events = out["events"]
        before = np.append(events[1:, 0] == CHORD, False)[: len(events)]
        real = slice(0, len(events) - 1)
        assert np.array_equal(out["due"][real] == 1, before[real])
        assert not out["turn"][out["due"] == 1].any() and not out["note"][out["due"] == 1].any()
        following = np.flatnonzero(before) + 1
        assert np.array_equal(out["chord"][following - 1], events[following, 9])
        assert not out["chord"][out["due"] == 0].any()


def test_a_chord_that_is_not_known_is_not_asked_for() -> None:
    piece = song()
    piece.chords[::2] = UNKNOWN
    for out in windows(NONE, Role.COMPOSE, piece, 3):
        following = np.flatnonzero(out["events"][1:, 0] == CHORD)
        known = out["events"][following + 1, 9] != UNKNOWN
        assert np.array_equal(out["due"][following] == 1, known) and known.any() and not known.all()
        assert not out["turn"][following].any()


def test_a_piece_without_chords_has_none() -> None:
    for out in windows(NONE, Role.ACCOMPANY, song(chords=False), 3):
        assert not (out["events"][:, 0] == CHORD).any() and not out["due"].any()
        assert set(out["events"][:, 9].tolist()) == {UNKNOWN}


def test_what_comes_after_a_gap_tells_the_chords_of_the_gap_only_later() -> None:
    """The stretch that is fed ahead begins with the gap's beats. Their chords are unknown there: the model is to draw them."""
    piece = song()
    for out in windows(NONE, Role.INFILL, piece, 10):
        events = out["events"]
        ahead = events[:, 8] == Role.INFILL
        _, own, chord = sources(events)
        asked = int(events[own, 5].size)
        told = events[ahead & chord, 9]
        quiet = int((told == UNKNOWN).sum())
        assert quiet in (4, 8, 16) and asked
        assert np.all(np.diff(np.flatnonzero(told == UNKNOWN)) == 1) and told[0] == UNKNOWN
        assert not (events[~ahead & chord, 9] == UNKNOWN).any()
        assert not out["turn"][ahead].any()


def test_chords_move_with_the_notes() -> None:
    """Where all is transposed, and where all goes on in another key from a bar line on."""
    piece = song()
    for augment in (replace(NONE, transpose=True), replace(NONE, shift=1.0)):
        moved = set()
        for seed in range(20):
            plain, out = (
                window(piece, 400, np.random.default_rng(seed), how, Role.COMPOSE, bar=0)["events"]
                for how in (NONE, augment)
            )
            pitched = (plain[:, 0] < BEAT) & (plain[:, 1] != MODEL_PART + DRUMS)
            # Notes of one moment are in another order only if they cross, and these parts do not.
            apart = out[:, 2] - plain[:, 2]
            assert not apart[~pitched].any()
            for i in np.flatnonzero(plain[:, 0] == CHORD):
                semitones = apart[i + 1 :][pitched[i + 1 :]]
                if len(semitones):
                    assert out[i, 9] == transpose(plain[i, 9], int(semitones[0]))
                    moved.add(int(semitones[0]))
        assert len(moved) > 5


# --- rests ---


def test_a_rest_before_the_models_turn() -> None:
    """One bar or two without a note, whose chord is the last one; then all goes on as it would have. The turn begins in some beat
    of the last bar of rest, or after it."""
    piece, rests, begun = song(), set(), set()
    for seed in range(40):
        plain, out = (
            window(piece, 400, np.random.default_rng(seed), replace(NONE, pause=pause), Role.CONTINUE, bar=0)
            for pause in (0.0, 1.0)
        )
        ticks, events = out["tick"], out["events"]
        player, own, chord = sources(events)
        edge = int(ticks[player].max()) // BAR * BAR + BAR
        rest = int(ticks[own].min()) - edge
        rests.add(rest)
        assert rest in (BAR, 2 * BAR)
        within = (ticks >= edge) & (ticks < edge + rest)
        assert not (player | own)[within].any() and (events[within, 0] == BEAT).sum() == rest // 24
        assert events[within & (events[:, 0] == BEAT), 5].tolist() == list(range(4)) * (rest // BAR)
        turn = out["turn"][within & chord] > 0
        begun.add(int(turn.sum()))
        assert (np.diff(turn.astype(int)) >= 0).all(), "a turn that has begun goes on"
        assert set(events[within & chord, 9].tolist()) == {int(piece.chords[edge // 24 - 1])}
        count = int((~within).sum())
        for name in ("events", "held", "targets", "kind", "turn", "note", "due", "chord"):
            same = plain[name][:count] == out[name][~within]
            if name == "turn":  # the event before the turn is its first where it begins at once
                same[ticks[~within] < edge] = True
            assert same.all(), "all is as it was, only later"
        assert np.array_equal(plain["tick"][:count], (ticks - np.where(ticks >= edge, rest, 0))[~within])
    assert rests == {BAR, 2 * BAR}
    assert begun == {0, 1, 2, 3, 4}


def test_no_rest_where_bars_differ_and_in_other_roles() -> None:
    notes = [(i * 12, 12, 60 + i % 8, i % 2) for i in range(80)]
    mixed = piece_of(notes, ((0, 72), (144, 96)))
    for piece, role in ((mixed, Role.CONTINUE), (song(), Role.TRADE), (song(), Role.COMPOSE), (song(), Role.INFILL)):
        for seed in range(10):
            plain, out = (
                window(piece, LENGTH, np.random.default_rng(seed), replace(NONE, pause=pause), role, bar=0)
                for pause in (0.0, 1.0)
            )
            assert all(np.array_equal(plain[name], out[name]) for name in plain)


# --- a past in doubt ---


def test_half_of_an_accompanists_own_bars_are_in_another_key() -> None:
    """As they are fed, not as they are meant. What sounds is what is fed. Drums, the player's notes and BEATs stay the same."""
    astray, shares = replace(NONE, astray=1.0), []
    for out in windows(astray, Role.ACCOMPANY):
        events = out["events"]
        player, own, chord = sources(events)
        own[0] = False  # of the first event nobody was asked
        fed, meant = events[own, 2], out["targets"][np.flatnonzero(own) - 1, 2]
        bar = (np.cumsum((events[:, 0] == BEAT) & (events[:, 5] == 0)) - 1)[own]
        drums = events[own, 1] == MODEL_PART + DRUMS
        assert np.array_equal(fed[drums], meant[drums])
        bars = np.unique(bar[~drums])
        shifts = [set((fed - meant)[(bar == b) & ~drums].tolist()) for b in bars]
        assert all(len(shift) == 1 for shift in shifts), "a bar moves as a whole"
        counts = out["note"][np.flatnonzero(own) - 1]
        chords = (np.cumsum((events[:, 0] == BEAT) & (events[:, 5] == 0)) - 1)[chord]
        asked = np.flatnonzero(chord) - 1
        for b, (by,) in zip(bars, shifts, strict=True):
            assert not counts[bar == b].any() if by else counts[bar == b].all(), "what is played in it does not count"
            here = asked[(chords == b) & (out["due"][asked] > 0)]
            assert np.array_equal(events[here + 1, 9], transpose(out["chord"][here], by)), "its chords are fed moved"
        if shifts:  # else it plays the drums alone
            shares.append(np.mean([shift != {0} for shift in shifts]))
        assert np.all(events[(events[:, 0] == BEAT) | chord, 2] == NONE_PITCH)
        assert set(events[player, 2].tolist()) <= {36, *range(60, 71), *range(84, 95)}
        assert np.all(out["held"][np.flatnonzero(own), 128 + fed] == 1)
        assert np.all(events[events[:, 0] == BEAT, :5] == BEAT_EVENT)
    assert 0.3 < np.mean(shares) < 0.7 and min(shares) < 0.3 < 0.7 < max(shares)


def test_who_answers_does_not_go_astray() -> None:
    for role in (Role.TRADE, Role.CONTINUE, Role.COMPOSE):
        for seed in range(5):
            plain, out = (
                window(song(), LENGTH, np.random.default_rng(seed), how, role, bar=0)
                for how in (NONE, replace(NONE, astray=1.0, unquoted=1.0))
            )
            assert all(np.array_equal(plain[name], out[name]) for name in plain)


# --- a memory in doubt ---


def there(out: dict[str, np.ndarray]) -> np.ndarray:
    """Which experts have a candidate: (T, EXPERTS)."""
    found: np.ndarray = out["features"][..., 0] > 0
    assert np.all((out["candidates"] == NOTHING).all(-1) == ~found), "no features without a candidate"
    assert not out["features"][~found].any()
    return found


def test_candidates_of_a_window() -> None:
    for out in windows(NONE, Role.ACCOMPANY, count=3, memory=True):
        assert out["candidates"].shape == (400, EXPERTS, 5) and out["features"].shape == (400, EXPERTS, FEATURES)
        assert there(out).mean() > 0.5, "a piece that repeats itself"
        assert {0.0, 1.0} <= set(out["features"][there(out)][:, 3].tolist()), "of the player's notes and of the model's"


def test_an_unquoted_accompanist_is_pointed_to_the_players_notes_alone() -> None:
    quoted, unquoted = (
        list(windows(replace(NONE, unquoted=share), Role.ACCOMPANY, count=4, memory=True)) for share in (0.0, 1.0)
    )
    for whole, part in zip(quoted, unquoted, strict=True):
        players = there(whole) & (whole["features"][..., 3] == 1)
        assert players.any() and np.array_equal(there(part), players)
        assert np.array_equal(part["candidates"][players], whole["candidates"][players])
        assert np.array_equal(part["features"][players], whole["features"][players])
        assert all(np.array_equal(whole[name], part[name]) for name in ("events", "targets", "held"))


def test_a_memory_forgets_experts_or_all() -> None:
    gone = []
    for out in windows(replace(NONE, forget=0.5), Role.COMPOSE, memory=True):
        gone.append(~there(out).any(0))
    every = np.all(gone, 1).mean()
    assert 0.2 < every < 0.8
    assert 0.2 < np.mean([g.mean() for g in gone if not g.all()]) < 0.8


def test_some_candidates_are_wrong() -> None:
    for seed in range(4):
        plain, out = (
            window(song(), 400, np.random.default_rng(seed), how, Role.COMPOSE, bar=0, memory=True)
            for how in (NONE, replace(NONE, mistake=0.2))
        )
        assert np.array_equal(there(plain), there(out))
        wrong = (plain["candidates"] != out["candidates"])[there(plain)]
        assert 0.1 < wrong[:, 2].mean() < 0.3
        assert not wrong[:, [0, 1, 3, 4]].any()
