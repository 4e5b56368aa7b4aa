"""Training windows against what they promise: who plays, what is known when, and what counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dealing import LAGS_TICKS, LENGTH, ONLY_LAG, ONLY_TRANSPOSE, ROLES, Read, piece_of, pieces, read_back, some
from hypothesis import given, settings
from hypothesis import strategies as st

from models.corpus.pack import Pack, Piece
from models.corpus.perturb import LIVE, NONE, Augment
from models.corpus.stream import CENSORED, EXACT
from models.corpus.windows import Windows, collate, deal, window
from realtime.music.vocabulary import (
    BEAT,
    BEAT_EVENT,
    DRUMS,
    DURATION_TICKS,
    FIELDS,
    HEADS,
    MELODY,
    MODEL_PART,
    OPEN,
    Role,
    duration_index,
)


@pytest.fixture(params=ROLES, ids=lambda role: role.name.lower())
def role(request: pytest.FixtureRequest) -> Role:
    return Role(request.param)


# --- shapes and ranges ---


def test_shapes_and_ranges(toy_pack: Pack, role: Role) -> None:
    for out in some(toy_pack, role, Augment()):
        assert {name: (x.shape, x.dtype.kind) for name, x in out.items()} == {
            "events": ((LENGTH, len(FIELDS)), "i"),
            "held": ((LENGTH, 256), "u"),
            "targets": ((LENGTH, len(HEADS)), "i"),
            "kind": ((LENGTH,), "i"),
            "turn": ((LENGTH,), "f"),
            "note": ((LENGTH,), "f"),
            "tick": ((LENGTH,), "i"),
            "due": ((LENGTH,), "f"),
            "chord": ((LENGTH,), "i"),
        }
        for array, sizes in ((out["events"], FIELDS), (out["targets"], HEADS)):
            assert array.min() >= 0
            assert np.all(array.max(0) < list(sizes.values()))
        assert set(np.unique(out["held"])) <= {0, 1}
        assert set(np.unique(out["kind"])) <= {EXACT, CENSORED}
        assert set(np.unique(out["turn"])) | set(np.unique(out["note"])) <= {0.0, 1.0}
        assert np.all(out["note"] <= out["turn"])


def test_a_batch_stacks_windows(toy_pack: Pack) -> None:
    windows = some(toy_pack, None, Augment(), 3)
    batch = collate(windows)
    assert batch["events"].shape == (3, LENGTH, len(FIELDS))
    assert np.array_equal(batch["held"][1].numpy(), windows[1]["held"])


def test_the_same_seed_and_number_give_the_same_window(toy_pack: Pack) -> None:
    first, second = (Windows(toy_pack, "train", LENGTH, 3, Augment(), 50) for _ in range(2))
    order = np.random.default_rng(0).permutation(50)
    late = {int(i): second[int(i)] for i in order}  # in any order, as worker processes ask
    for i in range(50):
        assert all(np.array_equal(x, late[i][name]) for name, x in first[i].items())
    other = Windows(toy_pack, "train", LENGTH, 4, Augment(), 50)
    assert not all(np.array_equal(first[i]["events"], other[i]["events"]) for i in range(50))
    assert not np.array_equal(first[0]["events"], first[1]["events"])


def test_pieces_are_drawn_by_bars_and_weight(toy_pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows(toy_pack, "train", LENGTH, 1, NONE, 1)
    bars = np.array([toy_pack.table[i]["bars"] for i in windows.rows], float)
    assert np.allclose(np.diff(windows.cumulative, prepend=0), bars / bars.sum())


# --- who plays what ---


@settings(max_examples=60, deadline=None)
@given(pieces(), st.sampled_from(ROLES), st.integers(0, 9999))
def test_dealing(piece: Piece, role: Role, seed: int) -> None:
    bars = piece.bar_starts
    player, edges, got = deal(np.random.default_rng(seed), role, piece.notes, bars)
    parts = set(piece.notes["part"].tolist())
    if role in (Role.ACCOMPANY, Role.HARMONISE) and len(parts) > 1:
        assert got == role and not len(edges)
        mine = {int(part) for part in piece.notes["part"][player]}
        theirs = {int(part) for part in piece.notes["part"][~player]}
        assert mine and theirs and not mine & theirs, "whole parts go to one side"
    elif role == Role.COMPOSE or len(bars) < 3:
        assert got == Role.COMPOSE and not player.any() and not len(edges)
    else:
        assert got == (Role.CONTINUE if role == Role.CONTINUE else Role.TRADE)
        assert set(edges.tolist()) <= set(bars.tolist())
        for onset, is_player in zip(piece.notes["onset"], player, strict=True):
            passed = sum(int(edge) <= int(onset) for edge in edges)
            assert is_player == (passed % 2 == 0)


def test_nothing_counts_in_the_players_turns(toy_pack: Pack) -> None:
    for role in (Role.TRADE, Role.CONTINUE):
        for out in some(toy_pack, role, NONE):
            plays, answers = who_is_next(out)
            if not answers.any():
                continue  # see test_a_turn_that_never_comes_does_not_count
            assert not out["turn"][plays].any(), "where the player plays the model has nothing to say"
            assert out["turn"][answers].all() and out["note"][answers].all()
    for out in some(toy_pack, Role.COMPOSE, NONE):
        notes = out["events"][out["events"][:, 0] != BEAT]
        assert np.all(notes[:, 1] >= MODEL_PART)


def who_is_next(out: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """At which steps the next event is a note of the player's, and at which one of the model's; (T,) each."""
    nxt = np.append(out["events"][1:, 1], BEAT_EVENT.part)  # of the last step's next event nothing is known here
    return nxt < MODEL_PART, (nxt >= MODEL_PART) & (nxt < BEAT_EVENT.part)


def test_a_turn_that_never_comes_does_not_count() -> None:
    piece = piece_of([(i * 24, 24, 60 + i % 5, MELODY) for i in range(12)])
    for seed in range(40):
        out = window(piece, LENGTH, np.random.default_rng(seed), NONE, Role.TRADE, bar=0)
        assert not out["turn"][who_is_next(out)[0]].any(), f"seed {seed}"


def test_that_nothing_more_comes_in_a_turn_is_learned_too() -> None:
    """The step that ends the last beat of the model's turn counts: else no draw there ever learns to stop."""
    piece = piece_of([(i * 24, 24, 60 + i % 5, MELODY) for i in range(16 * 4)])
    counted = []
    for seed in range(20):
        out = window(piece, 200, np.random.default_rng(seed), NONE, Role.TRADE, bar=0)
        who = [event.is_player for event in read_back(piece, out, 0)]
        # A note of the model's, the beat after it, and then one of the player's: here a turn ended.
        counted += [out["turn"][i] for i in range(len(who) - 2) if who[i : i + 3] == [False, None, True]]
    assert counted and all(counted)


def test_the_players_notes_are_open_and_the_models_are_not(toy_pack: Pack, role: Role) -> None:
    for out in some(toy_pack, role, Augment()):
        part, duration = out["events"][:, 1], out["events"][:, 3]
        assert np.all(duration[part < MODEL_PART] == OPEN)
        assert np.all(duration[(part >= MODEL_PART) & (part < BEAT_EVENT.part)] < OPEN)
        assert np.all(duration[part == BEAT_EVENT.part] == BEAT_EVENT.duration)
        counts = out["note"] == 1
        assert np.all(out["targets"][counts, 1] >= MODEL_PART) and np.all(out["targets"][counts, 3] < OPEN)


# --- what is known when ---


@settings(max_examples=150, deadline=None)
@given(pieces(), st.sampled_from(ROLES), st.integers(0, 9999), st.sampled_from((NONE, ONLY_LAG)))
def test_order_targets_and_kinds(piece: Piece, role: Role, seed: int, augment: Augment) -> None:
    out = window(piece, LENGTH, np.random.default_rng(seed), augment, role, bar=0)
    events = read_back(piece, out, int(piece.bar_starts[0]) if len(piece.bar_starts) else int(piece.beats["start"][0]))
    for i, nxt in enumerate(events[1:]):
        time, *rest = out["targets"][i].tolist()
        if nxt.is_player is None:
            assert (out["kind"][i], time, rest) == (EXACT, BEAT, [0, 0, 0, 0])
        elif nxt.is_player:
            assert (out["kind"][i], rest) == (CENSORED, [0, 0, 0, 0])
        else:
            assert out["kind"][i] == EXACT and out["note"][i] == 1
            assert (time, *rest[:3]) == (nxt.tick - beat_of(events, i + 1), nxt.part, nxt.pitch, nxt.duration)
        assert out["note"][i] == (nxt.is_player is False)
    accompanies = Role(out["events"][0, 8]) == Role.ACCOMPANY
    assert heard_first(events, out) or (accompanies and heard_last(events, out))


def beat_of(events: list[Read], i: int) -> int:
    """The tick of the beat of event number i."""
    return max(event.tick for event in events[: i + 1] if event.is_player is None)


def heard_first(events: list[Read], out: dict[str, np.ndarray], late: int = 0, start: int = -1) -> bool:
    """Whether events come by time, and at equal ticks the beat, the player and the model; so that all that is known where the
    player comes next is that the model's next event is not before. With `late` the player comes after the model from the tick
    after `start` on, and the model's next event is later."""
    keys = [(e.tick, 0 if e.is_player is None else 1 + (e.is_player == bool(late and e.tick > start))) for e in events]
    censored = [i for i, event in enumerate(events) if i and event.is_player]
    earliest = [min(events[i].tick - beat_of(events, i) + late * (events[i].tick > start), BEAT) for i in censored]
    return keys == sorted(keys) and out["targets"][[i - 1 for i in censored], 0].tolist() == earliest


def heard_last(events: list[Read], out: dict[str, np.ndarray]) -> bool:
    """The same where the model does not wait for the player; before the player's first notes it plays nothing."""
    return heard_first(events, out, 1, events[0].tick)


def test_an_accompanist_hears_the_player_first_in_most_windows() -> None:
    piece = piece_of([(i * 12, 12, 60 + i % 8 + 12 * part, part) for i in range(40) for part in (0, 1)])
    first = 0
    for seed in range(60):
        out = window(piece, LENGTH, np.random.default_rng(seed), NONE, Role.ACCOMPANY, bar=0)
        events = read_back(piece, out, 0)
        assert heard_first(events, out) != heard_last(events, out)
        first += heard_first(events, out)
    assert 37 <= first <= 53


@settings(max_examples=150, deadline=None)
@given(pieces(), st.sampled_from(ROLES), st.integers(0, 9999))
def test_held_flags_against_a_naive_count(piece: Piece, role: Role, seed: int) -> None:
    """A key is held at an event from its note on until the note's end or the next note on the same key of the same player."""
    out = window(piece, LENGTH, np.random.default_rng(seed), NONE, role, bar=0)
    start = int(piece.beats["start"][0])
    events = read_back(piece, out, start)
    length = {(int(n["onset"]), int(n["part"]), int(n["pitch"])): int(n["duration"]) for n in piece.notes}
    for i, now in enumerate(events):
        latest: dict[tuple[bool, int], tuple[int, int]] = {}  # who and pitch -> (which event, its end)
        for j, event in enumerate(events[: i + 1]):
            if event.is_player is None:
                continue
            models = int(DURATION_TICKS[event.duration]) if not event.is_player else 0
            end = event.tick + (length[event.tick, event.part, event.pitch] if event.is_player else models)
            latest[event.is_player, event.pitch] = (j, end)
        sounding = {key for key, (j, end) in latest.items() if j == i or end > now.tick}
        expected = np.zeros(256, np.uint8)
        for is_player, pitch in sounding:
            expected[pitch if is_player else 128 + pitch] = 1
        assert np.array_equal(out["held"][i], expected), f"at event {i}, {now}"


def test_the_player_is_heard_late(toy_pack: Pack) -> None:
    """With `lag` all of the player's notes of a window come the same number of ticks late, and the model's on time."""
    piece = toy_pack[toy_pack.rows("train")[1]]
    onsets = {(int(n["onset"]), int(n["part"]), int(n["pitch"])) for n in piece.notes}
    seen = set()
    for seed in range(40):
        out = window(piece, LENGTH, np.random.default_rng(seed), ONLY_LAG, Role.ACCOMPANY, bar=0)
        events = read_back(piece, out, 0)
        lags = [{lag for lag in LAGS_TICKS if (e.tick - lag, e.part, e.pitch) in onsets} for e in events if e.is_player]
        common = set.intersection(*lags)
        assert common
        seen |= common if len(common) == 1 else set()
        assert all((e.tick, e.part - MODEL_PART, e.pitch) in onsets for e in events if e.is_player is False)
    assert len(seen) > 1


# --- augmentation ---


def test_without_augmentation_the_music_is_left_alone(toy_pack: Pack, role: Role) -> None:
    """Every note from the window's start on, in order, with its own pitch, part, velocity and (the model's) duration."""
    for row in toy_pack.rows("train"):
        piece = toy_pack[row]
        for seed in range(3):
            second = 1 + bool(piece.beats["index"][0])  # a pick-up comes before the first
            out = window(piece, LENGTH, np.random.default_rng(seed), NONE, role, bar=second)
            events = read_back(piece, out, int(piece.bar_starts[1]))
            notes = sorted((e.tick, e.part % MODEL_PART, e.pitch) for e in events if e.is_player is not None)
            first = np.searchsorted(piece.notes["onset"], piece.bar_starts[1])
            score = sorted((int(n["onset"]), int(n["part"]), int(n["pitch"])) for n in piece.notes[first:])
            cut = events[-1].tick  # the last events of a full window may be cut within a chord
            assert [n for n in notes if n[0] < cut] == [n for n in score if n[0] < cut]
            lengths = {(int(n["onset"]), int(n["part"]), int(n["pitch"])): int(n["duration"]) for n in piece.notes}
            for e in events:
                if e.is_player is False:
                    assert e.duration == duration_index(lengths[e.tick, e.part - MODEL_PART, e.pitch])


def test_transposition_moves_all_but_the_drums(toy_pack: Pack) -> None:
    piece = toy_pack[toy_pack.rows("train")[1]]
    shifts = set()
    for seed in range(60):
        plain, moved = (
            window(piece, LENGTH, np.random.default_rng(seed), augment, Role.COMPOSE, bar=0)["events"]
            for augment in (NONE, ONLY_TRANSPOSE)
        )

        def notes(events: np.ndarray, drums: bool) -> list[list[int]]:
            mine = (events[:, 0] != BEAT) & ((events[:, 1] % MODEL_PART == DRUMS) == drums)
            return events[mine][:, 2].tolist()

        assert notes(plain, drums=True) == notes(moved, drums=True)
        differences = set(np.subtract(sorted(notes(moved, False)), sorted(notes(plain, False))).tolist())
        assert len(differences) == 1
        shifts |= differences
    assert shifts == set(range(-6, 6)), (
        "all twelve keys; by chance one is missing in 6 % of such tests, and in this one, its seeds being fixed, never"
    )


def test_transposition_stays_on_the_keyboard() -> None:
    piece = piece_of([(i * 12, 12, 0 if i % 2 else 127, MELODY) for i in range(20)])
    for seed in range(30):
        out = window(piece, LENGTH, np.random.default_rng(seed), ONLY_TRANSPOSE, Role.COMPOSE, bar=0)
        pitches = out["events"][out["events"][:, 0] != BEAT][:, 2]
        assert set(pitches.tolist()) == {0, 127}


def test_a_slip_is_in_the_input_and_not_in_the_target(toy_pack: Pack) -> None:
    piece = toy_pack[toy_pack.rows("train")[1]]
    slips = replace(NONE, corrupt=0.5)
    out = window(piece, LENGTH, np.random.default_rng(1), slips, Role.COMPOSE, bar=0)
    fed, meant = out["events"][1:], out["targets"][:-1]
    own = out["note"][:-1] == 1
    slipped = own & (fed[:, 2] != meant[:, 2])
    assert 0.2 < slipped[own].mean() < 0.6
    assert set((fed[slipped, 2] - meant[slipped, 2]).tolist()) <= {-12, -2, -1, 1, 2, 12}
    assert not slipped[fed[:, 1] == MODEL_PART + DRUMS].any()
    assert np.array_equal(fed[own][:, [0, 1, 3, 4]], meant[own][:, [0, 1, 3, 4]])


def test_a_slip_is_what_sounds(toy_pack: Pack) -> None:
    piece = toy_pack[toy_pack.rows("train")[1]]
    out = window(piece, LENGTH, np.random.default_rng(1), replace(NONE, corrupt=0.5), Role.COMPOSE, bar=0)
    notes = np.flatnonzero(out["events"][:, 0] != BEAT)
    assert np.all(out["held"][notes, 128 + out["events"][notes, 2]] == 1)


def test_only_the_player_misses_notes_and_wavers(toy_pack: Pack) -> None:
    piece = toy_pack[toy_pack.rows("train")[1]]
    human = replace(LIVE, drop=0.3, lags_ticks=())
    for seed in range(20):
        plain, played = (
            window(piece, 400, np.random.default_rng(seed), augment, Role.TRADE, bar=0)["events"]
            for augment in (NONE, human)
        )
        model = [e[(e[:, 1] >= MODEL_PART) & (e[:, 1] < BEAT_EVENT.part)][:, :5].tolist() for e in (plain, played)]
        assert model[0] == model[1]
        mine = [e[e[:, 1] < MODEL_PART] for e in (plain, played)]
        assert 0 < len(mine[1]) < len(mine[0])
        assert set(mine[1][:, 1].tolist()) <= {MELODY, DRUMS}, "all but drums from one keyboard"


# --- the ends of a piece ---


def test_padding_weighs_nothing(role: Role) -> None:
    piece = piece_of([(i * 24, 24, 60 + i % 5, i % 3) for i in range(24)])
    out = window(piece, 256, np.random.default_rng(2), NONE, role, bar=0)
    real = 24 + len(piece.beats)
    assert np.all(out["events"][real - 1 :, 0] == BEAT) or real > 256
    for name in ("turn", "note", "kind", "held", "targets"):
        assert not out[name][real - 1 :].any(), name
    assert out["turn"][: real - 1].any()


def test_a_piece_shorter_than_three_bars_is_composed() -> None:
    piece = piece_of([(i * 6, 6, 60 + i, MELODY) for i in range(10)])
    for role in (Role.CONTINUE, Role.TRADE, Role.ACCOMPANY):
        out = window(piece, LENGTH, np.random.default_rng(0), NONE, role, bar=0)
        assert out["events"][0, 8] == Role.COMPOSE
        assert out["note"].sum() == 10


def test_beats_carry_the_metre(toy_pack: Pack) -> None:
    """Beat in bar, metre (in eighths, as it is not compound) and tempo class of every event are those of the beat around it."""
    piece = next(toy_pack[i] for i in toy_pack.rows("train") if toy_pack[i].id == "song")
    out = window(piece, LENGTH, np.random.default_rng(0), NONE, Role.COMPOSE, bar=0)
    for row, event in zip(out["events"], read_back(piece, out, int(piece.beats["start"][0])), strict=False):
        beat = next(b for b in piece.beats[::-1] if b["start"] <= event.tick)
        assert row[5:8].tolist() == [beat["index"], beat["bar_ticks"] // 12, beat["tempo"]]
