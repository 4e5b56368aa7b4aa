"""Bars that come back in a long turn. The network is noise: what comes back comes from the plan of the form alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from performing import NoiseStepper, composer_of, proposals

from realtime.composing.closing import CLOSING_TICKS
from realtime.composing.constraints import SLICES, Constraints
from realtime.composing.contract import MASKED
from realtime.composing.memory import Known, Memory
from realtime.composing.returns import BEGINS, GOES_ON, RETURN_NATS, VOICE_SEEDS, WITHIN, Returns
from realtime.core.dialogue import Plan, PlayerNote, Relocate, Turn
from realtime.music.chart import parse_chart
from realtime.music.controls import Controls
from realtime.music.given import Lead
from realtime.music.metre import TICKS, BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, BEAT, BEAT_EVENT, HEADS, MELODY, MODEL_PART, Event, Role

BAR = 4 * TICKS
TURN = Turn(4 * BAR)
ALONE = Constraints(follow=False)


def lags(seed: int, bars: int = 16, turn: Turn = TURN, phrase: Sequence[Known] = ()) -> list[int]:
    return [Returns._lag(turn.start + bar * BAR, BAR, turn, seed, phrase) for bar in range(bars)]


def returning(
    monkeypatch: pytest.MonkeyPatch, lag: int, grid: BeatGrid | None = None, part: int = MELODY
) -> tuple[Returns, Memory]:
    """A plan in which every bar comes back, and a memory of eight bars: a chord on 1, a note on 2 and one on 3 and a half."""
    grid, memory = grid or BeatGrid(), Memory()
    monkeypatch.setattr(Returns, "_lag", staticmethod(lambda *_: lag))
    for bar in range(8):
        for tick, pitch in ((0, 48), (0, 60), (24, 62 + bar), (60, 64)):
            memory.add(bar * BAR + tick, grid.beat_at(bar * BAR + tick), part, True, pitch, 20, 15)
    return Returns(memory, grid), memory


def favoured(
    plan: Returns,
    tick: int,
    last: int | None = None,
    turn: Turn = TURN,
    parts: tuple[int, ...] = (MELODY,),
    strength: float = 1.0,
) -> dict[str, int]:
    """The choice of each field that is favoured; times count from the beat around the tick."""
    bias = np.zeros(sum(HEADS.values()) + 109, np.float32)
    event = BEAT_EVENT if last is None else Event(0, MODEL_PART + parts[0], last, 20, 15)
    plan.favour(bias, tick, BeatGrid().beat_at(tick), event, turn, parts, 1, strength)
    found = {}
    for name in HEADS:
        where = np.flatnonzero(bias[SLICES[name]])
        assert len(where) <= 1
        if len(where):
            found[name] = int(where[0])
            assert bias[SLICES[name]][where[0]] == pytest.approx(strength * RETURN_NATS[name])
    return found


def test_a_chain_draws_when_earlier_bars_come_back() -> None:
    chains = np.array([lags(seed) for seed in range(4000)])
    assert not chains[:, :4].any(), "the first phrase is new"
    assert np.array_equal(chains[:, ::2], chains[:, 1::2]), "for two bars at least"
    assert set(np.unique(chains)) == {0, *BEGINS}
    for lag, begins in BEGINS.items():
        assert (chains[:, 4] == lag).mean() == pytest.approx(begins, abs=0.02)
        new, on = chains[:, 4] == 0, chains[:, 4] == lag
        assert (chains[new, 6] == lag).mean() == pytest.approx(WITHIN * begins, abs=0.02)
        assert (chains[on, 6] == lag).mean() == pytest.approx(GOES_ON + (1 - GOES_ON) * WITHIN * begins, abs=0.07)
    forms = [lags(7, 64), lags(7, 64, Turn(0)), lags(8, 64), lags(7, 64, phrase=[Known(0, MELODY, 60, 20, 15)])]
    assert lags(7, 64) == forms[0] and all(a != b for i, a in enumerate(forms) for b in forms[:i])
    assert lags(7 + VOICE_SEEDS, 64) == forms[0], "all voices of a piece have one form"
    assert lags(7, 1000)[999] == Returns._lag(TURN.start + 999 * BAR, BAR, TURN, 7, ())


def test_the_note_that_comes_next_at_the_same_place_is_favoured(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, _ = returning(monkeypatch, 4)
    at = 8 * BAR  # comes back from bar 4
    assert favoured(plan, at) == {"time": 0, "part": MODEL_PART, "pitch": 48, "duration": 20, "velocity": 15}
    assert favoured(plan, at, last=48)["pitch"] == 60
    assert favoured(plan, at, last=60) == {"time": BEAT}, "the next one lies in the next beat"
    assert favoured(plan, at + TICKS) == {"time": 0, "part": MODEL_PART, "pitch": 66, "duration": 20, "velocity": 15}
    assert favoured(plan, at + 2 * TICKS, strength=0.25)["time"] == 12
    assert favoured(plan, at + 3 * TICKS) == {"time": BEAT}, "and the rest comes back too"
    assert favoured(returning(monkeypatch, 8)[0], at + TICKS)["pitch"] == 62


def test_all_parts_that_play_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, memory = returning(monkeypatch, 4)
    for bar in range(8, 10):
        for part, pitch in ((MELODY, 70), (ACCOMPANIMENT, 50)):
            memory.add(bar * BAR, BeatGrid().beat_at(bar * BAR), part, True, pitch, 20, 15)
    both = (MELODY, ACCOMPANIMENT)
    assert favoured(plan, 12 * BAR, parts=both)["pitch"] == 70
    found = favoured(plan, 12 * BAR, 70, parts=both)
    assert (found["part"], found["pitch"]) == (MODEL_PART + ACCOMPANIMENT, 50)
    assert favoured(plan, 12 * BAR, parts=(ACCOMPANIMENT,))["pitch"] == 50


def test_nothing_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, memory = returning(monkeypatch, 4)
    at = 8 * BAR
    assert not favoured(plan, at, parts=())
    assert not favoured(plan, at, parts=(ACCOMPANIMENT,)), "it has not played"
    assert not favoured(plan, at, turn=Turn(at, at + BAR, voices=2))
    end = at + BAR
    assert favoured(plan, end - CLOSING_TICKS - TICKS, turn=Turn(4 * BAR, end))
    assert not favoured(plan, end - CLOSING_TICKS, turn=Turn(4 * BAR, end)), "it comes to its own end"
    assert not favoured(plan, at, strength=0.0)
    assert not favoured(plan, 12 * BAR), "a bar of silence does not come back"
    memory.relocate()
    plan.relocate()
    assert not favoured(plan, at), "what was played before a jump"
    plan, _ = returning(monkeypatch, 4, BeatGrid(((0, 72), (5 * BAR - 12, BAR))))
    assert not favoured(plan, at), "there bars began elsewhere"
    plan, _ = returning(monkeypatch, 0)
    assert not favoured(plan, at)


class Leaning(NoiseStepper):
    """A stepper whose draws are noise, but for the biases."""

    def draw(self, release: np.ndarray, bias: np.ndarray, noise: np.ndarray) -> list[int]:
        choice: list[int] = []
        for i, name in enumerate(HEADS):
            nats = bias[SLICES[name]].astype(float)
            if name == "pitch" and choice[0] != BEAT:
                nats = np.where(release <= choice[0], nats, MASKED)
            p = np.exp(nats - nats.max()).cumsum()
            choice.append(int(np.searchsorted(p, noise[i] * p[-1], side="right")))
        return choice


def played(
    role: Role = Role.CONTINUE, chart: str | None = None, memory: float = 0.0, constraints: Constraints = ALONE
) -> tuple[float, list[tuple[int, int]]]:
    """How alike bars 4 apart are that Antiphon plays in twelve bars, and its notes (tick, pitch)."""
    composer = composer_of(Leaning(), constraints, memory=True)
    composer._masks.controls = Controls(memory=memory)
    if chart is not None:
        list(composer.handle(Lead(0, parse_chart(chart))))
    turn = Turn(BAR, 13 * BAR)
    proposals(composer, Plan(1, 1, PlayerNote(0, 60, 80, MELODY), role))
    notes = [(note.tick, note.pitch) for note in proposals(composer, Plan(2, BAR, None, role, turn, turn.end))]
    bars = [{(tick % BAR, pitch) for tick, pitch in notes if tick // BAR == bar} for bar in range(1, 12)]
    return float(np.mean([len(a & b) / max(len(a | b), 1) for a, b in zip(bars, bars[4:], strict=False)])), notes


def test_what_comes_back_is_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Returns, "_lag", staticmethod(lambda *_: 0))
    plain, notes = played()
    monkeypatch.setattr(Returns, "_lag", staticmethod(lambda bar, *_: 4 * (bar >= 5 * BAR)))
    alike, again = played()
    assert plain < 0.1 and alike > 0.6
    first = [note for note in notes if note[0] < 5 * BAR]
    assert again[: len(first)] == first
    assert played(memory=-1.0)[0] < 0.1, "the knob for memory turns it off"
    assert played(role=Role.TRADE)[0] < 0.1
    assert played(role=Role.ACCOMPANY)[0] < 0.1, "the player's tune has the form"
    voice = Constraints(follow=False, parts=(ACCOMPANIMENT,), rate=2.0)
    along, _ = played(role=Role.ACCOMPANY, constraints=voice)
    monkeypatch.setattr(Returns, "_lag", staticmethod(lambda *_: 0))
    assert along > 0.2 > 0.05 > played(role=Role.ACCOMPANY, constraints=voice)[0], (
        "a further voice of a file goes along"
    )


def test_a_chart_has_a_form_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Returns, "_lag", staticmethod(lambda bar, *_: 4 * (bar >= 5 * BAR)))
    assert played(chart="| C | F | G | C |")[0] < 0.1


def test_a_jump_forgets_the_bar_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Returns, "_lag", staticmethod(lambda bar, *_: 4 * (bar >= 5 * BAR)))
    composer = composer_of(Leaning(), ALONE, memory=True)
    turn = Turn(BAR, 13 * BAR)
    proposals(composer, Plan(1, BAR, None, Role.CONTINUE, turn, turn.end))
    assert composer._returns is not None and composer._returns._source
    list(composer.handle(Relocate(0)))
    assert not composer._returns._source
