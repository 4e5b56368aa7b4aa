"""Modes: whose turn it is, as a function of ticks and of what the player did."""

from __future__ import annotations

import pytest

from realtime.core.dialogue import Turn
from realtime.core.modes import Accompany, Continue, Fixed, Harmonise, PlayerState, Trade
from realtime.music.metre import BeatGrid

GRID = BeatGrid()
KEY = (0, 60)


def played(*notes: tuple[int, int], rest_ticks: int = 48) -> PlayerState:
    """A player who has played notes of (on, off) ticks, one after another."""
    player = PlayerState(rest_ticks)
    for on, off in notes:
        player.note_on(on, KEY)
        player.note_off(off, KEY)
    return player


def test_a_rest_begins_when_the_last_key_goes_up() -> None:
    player = PlayerState(48)
    assert player.rests_from() is None
    player.note_on(0, (0, 60))
    player.note_on(2, (0, 64))
    player.note_off(20, (0, 60))
    player.note_off(21, (3, 64))  # on another channel: not this key
    assert player.rests_from() is None
    player.note_off(30, (0, 64))
    assert player.rests_from() == 30
    assert player.idle_from(77) is None
    assert player.idle_from(78) == 78
    assert player.idle_from(500) == 78


def test_a_phrase_begins_after_a_rest() -> None:
    player = played((0, 20), (24, 44))
    assert player.phrase_tick == 0
    player.note_on(92, KEY)
    assert player.phrase_tick == 92
    assert player.first_tick == 0


@pytest.mark.parametrize(("off", "start"), [(91, 144), (96, 144), (97, 168)])
def test_continue_comes_in_on_the_beat_after_the_rest(off: int, start: int) -> None:
    assert Continue(4).turn(off, played((72, off)), GRID) == Turn(start, 576)


@pytest.mark.parametrize(("bar", "start", "end"), [(96, 96, 288), (96, 120, 288), (96, 144, 384), (72, 96, 216)])
def test_continue_lasts_its_bars_wherever_in_a_bar_it_begins(bar: int, start: int, end: int) -> None:
    """Up to the bar line that is nearest to so many bars: never short by half a bar."""
    assert Continue(2).turn(start, played((0, start - 48)), BeatGrid(((0, bar),))) == Turn(start, end)


def test_continue_ends_after_its_bars_and_until_the_player_rests_again() -> None:
    player = played((72, 91))
    mode = Continue(1)
    assert mode.turn(287, player, GRID) == Turn(144, 288)
    assert mode.turn(288, player, GRID) is None
    player.note_on(296, KEY)
    assert mode.turn(296, player, GRID) is None
    player.note_off(306, KEY)
    assert mode.turn(306, player, GRID) == Turn(360, 480)


def test_continue_comes_when_it_is_called_until_the_player_is_back() -> None:
    player = PlayerState(48)
    player.note_on(0, KEY)
    player.trigger_tick = 50
    assert Continue(2).turn(50, player, GRID) == Turn(72, 288)
    player.trigger_tick = 72  # on a beat: the next one
    assert Continue(2).turn(72, player, GRID) == Turn(96, 288)
    player.note_on(72, (0, 64))
    assert Continue(2).turn(72, player, GRID) is None


def test_trade_alternates_from_the_bar_of_the_first_note() -> None:
    player = played((110, 120))
    mode = Trade(2)
    assert [mode.turn(tick, player, GRID) for tick in (110, 287, 288, 479)] == [Turn(288, 480)] * 4
    player.note_on(500, KEY)
    assert mode.turn(500, player, GRID) == mode.turn(863, player, GRID) == Turn(672, 864)
    assert mode.turn(100, PlayerState(48), GRID) is None


@pytest.mark.parametrize(("first", "start"), [(94, 192), (72, 192), (69, 192), (68, 96), (0, 96), (-1, 96), (-24, 96)])
def test_a_first_note_on_the_last_beat_is_a_pick_up_to_the_next_bar(first: int, start: int) -> None:
    assert Trade(1).turn(first, played((first, first + 10)), GRID) == Turn(start, start + 96)


@pytest.mark.parametrize("bar", [24, 48, 60])
def test_in_a_bar_of_two_beats_half_of_it_is_no_pick_up(bar: int) -> None:
    grid = BeatGrid(((0, bar),))
    for first in range(bar - 3):
        expected = Turn(bar, 2 * bar) if bar < 60 or first < 45 else Turn(2 * bar, 3 * bar)
        assert Trade(1).turn(first, played((first, first + 5)), grid) == expected, first


def test_trade_in_three_four() -> None:
    grid = BeatGrid(((0, 72),))
    assert Trade(2).turn(0, played((0, 10)), grid) == Turn(144, 288)
    assert Trade(2).turn(288, played((0, 10), (300, 310)), grid) == Turn(432, 576)


@pytest.mark.parametrize("last", [381, 384, 479])
def test_trade_goes_on_as_long_as_the_player_plays_in_their_turns(last: int) -> None:
    player = played((0, 20), (last, last + 10))
    assert Trade(2).turn(480, player, GRID) == Turn(576, 768)
    assert not Trade(2).lapsed(767, player, GRID)
    assert Trade(2).turn(768, player, GRID) is None
    assert Trade(2).lapsed(960, player, GRID)


@pytest.mark.parametrize("last", [(200, 210), (360, 384), (378, 390)])
def test_trade_stops_when_the_players_turn_stays_empty(last: tuple[int, int]) -> None:
    """What is played before the player's turn, up to its bar line, is not played in it."""
    player, mode = played((0, 20), last), Trade(2)
    assert [mode.lapsed(tick, player, GRID) for tick in (0, 575, 576, 5000)] == [False, False, True, True]
    assert all(mode.turn(tick, player, GRID) is None for tick in range(384, 3000, 24))


def test_a_note_held_over_the_bar_line_is_played_in_the_turn() -> None:
    player = played((0, 20), (360, 400))
    assert Trade(2).turn(400, player, GRID) == Turn(576, 768)


def test_turns_are_counted_in_bars_where_the_metre_changes() -> None:
    """Two bars of 4/4, two of 2/4, two of 3/4, then 4/4."""
    grid = BeatGrid(((0, 96), (192, 48), (288, 72), (432, 96)))
    player, mode = played((0, 20)), Trade(2)
    assert mode.turn(0, player, grid) == Turn(192, 288)
    player.note_on(290, KEY)
    player.note_off(300, KEY)
    assert mode.turn(300, player, grid) == Turn(432, 624)
    assert not mode.lapsed(431, player, grid) and mode.lapsed(624 + 192, player, grid)
    assert [grid.bar_number(tick) for tick in (-1, 0, 95, 192, 287, 288, 432, 1000)] == [-1, 0, 0, 2, 3, 4, 6, 11]
    assert [grid.bar_line(number) for number in (-1, 0, 2, 3, 4, 6, 7)] == [-96, 0, 192, 240, 288, 432, 528]


def test_a_key_that_is_held_keeps_trade_going_for_sixteen_beats() -> None:
    player, mode = PlayerState(48), Trade(1)
    player.note_on(0, KEY)
    assert mode.turn(384, player, GRID) == Turn(480, 576)
    assert mode.turn(576, player, GRID) is None


# --- a key whose note-off was lost ---


def test_a_key_down_for_long_while_others_come_and_go_no_longer_holds_up_the_turn() -> None:
    player = PlayerState(48)
    player.note_on(0, (0, 40))
    for tick in range(24, 384, 24):
        player.note_on(tick, KEY)
        assert player.find_stuck(tick) == []
        player.note_off(tick + 20, KEY)
    assert player.rests_from() is None
    assert player.find_stuck(384) == []
    assert player.find_stuck(385) == [(0, 40)]
    assert player.find_stuck(408) == [], "said once"
    assert player.rests_from() == 385
    assert player.down == {(0, 40)}, "it may well sound"
    player.note_off(500, (0, 40))
    assert player.rests_from() == 385
    assert not player.down


def test_a_long_chord_alone_is_no_lost_note_off() -> None:
    player = played((0, 20))
    for pitch in (60, 64, 67):
        player.note_on(48, (0, pitch))
    assert player.find_stuck(4000) == []
    assert player.rests_from() is None


def test_accompany_lasts_as_long_as_the_player_does() -> None:
    player = played((30, 40))
    mode = Accompany()
    assert mode.turn(40, PlayerState(48), GRID) is None
    assert mode.turn(40, player, GRID) == mode.turn(95, player, GRID) == Turn(30, 96), (
        "the beat after two beats of rest"
    )
    assert mode.turn(96, player, GRID) is None
    player.note_on(100, KEY)
    assert mode.turn(500, player, GRID) == Turn(100)


def test_harmonise_has_no_turns_and_a_fixed_one_ends() -> None:
    assert Harmonise(2).turn(0, played((0, 10)), GRID) is None
    only = Turn(96, 192)
    assert Fixed(only).turn(0, PlayerState(48), GRID) == only
    assert Fixed(only).turn(192, PlayerState(48), GRID) is None
