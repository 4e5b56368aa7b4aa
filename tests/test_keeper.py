"""Ports that come and go, and what is heard of it: looks are made by hand, so that no time passes."""

from __future__ import annotations

import random

import pytest

from realtime import midi
from realtime.errors import UserError
from realtime.io.live.held import Held
from realtime.io.live.keeper import InputLost, Keeper, Looked, News, OutputLost
from realtime.io.midi.cables import Remembered
from realtime.io.midi.names import find_again, of_others
from realtime.io.midi.ports import MemoryPort, NoSuchPort

NOTE = midi.note_on(0, 60, 80)


class Stage:
    """A keeper with two ports in memory; what it tells and what comes in."""

    def __init__(self) -> None:
        self.source, self.target = MemoryPort("keys", lambda: 0), MemoryPort("synth", lambda: 0)
        self.news: list[News] = []
        self.heard: list[bytes] = []
        self.keeper = Keeper(self.source, self.target, lambda message, _: self.heard.append(message), self.news.append)

    def look(self) -> list[News]:
        self.news.clear()
        self.keeper.look()
        return list(self.news)


def test_a_port_may_come_and_go_a_thousand_times() -> None:
    stage, rng = Stage(), random.Random(1)
    assert stage.keeper.open(wait=False) == []
    there = True
    for _ in range(1000):
        if rng.random() < 0.5:
            (stage.source.vanish if there else stage.source.come_back)()
            was, there = there, not there
            told = stage.look()
            assert [type(one) for one in told] == ([InputLost, Looked] if was else [Looked])
            if not was:
                assert told[-1] == Looked(None, True, ("the port keys is there",))
        else:
            assert stage.look() == [Looked(None, True, ())]
        stage.heard.clear()
        stage.source.inject(NOTE, 0)
        assert stage.heard == ([NOTE] if there else []), "once, or not at all"


def test_a_port_that_was_gone_for_a_moment_is_opened_again_and_still_what_it_held_is_released() -> None:
    stage = Stage()
    stage.keeper.open(wait=False)
    for port in (stage.source, stage.target):
        port.vanish()
        port.come_back()
    assert [type(one) for one in stage.look()] == [OutputLost, InputLost, Looked]
    assert stage.look() == [Looked(None, True, ())]
    stage.source.inject(NOTE, 0)
    stage.target.send(NOTE)
    assert stage.heard == [message for _, message in stage.target.sent] == [NOTE]


def test_what_vanishes_from_our_own_port_is_released_too() -> None:
    stage = Stage()
    stage.keeper.open(wait=False)
    stage.source.listeners = frozenset({"piano", "pads"})
    assert stage.look() == [Looked(None, True, ())]
    stage.source.listeners = frozenset({"pads"})
    assert stage.look() == [InputLost(""), Looked(None, True, ())]
    stage.source.listeners = frozenset({"pads", "piano"})
    assert stage.look() == stage.look() == [Looked(None, True, ())]


def test_who_listens_is_not_asked_of_an_output_that_is_gone() -> None:
    stage = Stage()
    stage.keeper.open(wait=False)
    stage.target.listeners = frozenset({"synth"})
    assert stage.look() == [Looked(frozenset({"synth"}), True, ())]
    stage.target.vanish()
    assert stage.look()[-1] == Looked(None, False, ())


def test_a_port_that_is_not_there_yet_is_waited_for() -> None:
    stage = Stage()
    stage.source.vanish()
    (line,) = stage.keeper.open(wait=True)
    assert line == "keys: the port is gone; waiting for it"
    assert stage.look() == [Looked(None, True, ())]
    stage.source.come_back()
    assert stage.look() == [Looked(None, True, ("the port keys is there",))]


def test_without_waiting_nothing_is_left_open() -> None:
    stage = Stage()
    stage.source.vanish()
    with pytest.raises(NoSuchPort):
        stage.keeper.open(wait=False)
    assert not stage.target.is_alive()


def test_held_keys_and_pedals_are_released_in_the_order_in_which_they_were_struck() -> None:
    held = Held()
    for message in (
        midi.note_on(0, 64, 80),
        midi.note_on(1, 60, 80),
        midi.note_on(0, 62, 80),
        midi.note_off(0, 62),
        midi.control(0, 64, 20),  # half-pedals hold in some instruments
        midi.control(0, 66, 127),
        midi.control(0, 66, 0),
        midi.control(0, 1, 127),
        midi.note_on(0, 64, 90),
    ):
        held.heard(message)
    releases = held.releases()
    assert releases == [midi.note_off(1, 60), midi.note_off(0, 64), midi.control(0, 64, 0)]
    for message in releases:
        held.heard(message)
    assert held.releases() == []


@pytest.mark.parametrize(
    ("found", "wanted", "there", "index"),
    [
        ("Keys:Keys MIDI 1 20:0", "Keys", ["Drums:Drums 21:0", "Keys:Keys MIDI 1 24:0"], 1),  # other numbers
        ("Keys:Keys MIDI 1 20:0", "Keys:Keys MIDI 1 20:0", ["Keys:Keys MIDI 1 24:0"], 0),
        ("Keys:Keys MIDI 1 20:0", "Keys", ["Keys:Keys MIDI 1 24:0", "Keys:Keys MIDI 1 20:0"], 1),  # twins
        ("Keys:Keys MIDI 1 20:0", "Keys", ["Keys 2:Keys MIDI 9 21:0"], 0),  # any that has what was asked for
    ],
)
def test_a_port_is_found_again_by_its_name(found: str, wanted: str, there: list[str], index: int) -> None:
    assert find_again(found, wanted, there, "alsa") == index


def test_a_port_that_was_asked_for_by_its_whole_name_is_not_mistaken_for_another() -> None:
    with pytest.raises(NoSuchPort):
        find_again("Keys:Port 1 20:0", "Port 1", ["Keys:Port 10 21:0"], "alsa")
    with pytest.raises(UserError, match="2 ports match"):
        find_again("Keys:Port 1 20:0", "Keys", ["Keys:Port 2 21:0", "Keys:Port 3 21:1"], "alsa")


@pytest.mark.parametrize(
    ("backend", "own", "others"),
    [
        (
            "jack",
            ["Antiphon Out:Antiphon Out", "Antiphon In-01:Antiphon In", "Antiphon Watch:Watch"],
            ["Bass Out:Bass Out", "Antiphon Outlet:out"],
        ),
        ("alsa", ["Antiphon:Antiphon Out 128:0"], ["Bass:Bass Out 129:0"]),
        ("coremidi", ["Antiphon Out"], ["Antiphon Outlet", "Bass Out"]),
    ],
)
def test_a_session_never_takes_its_own_ports(backend: str, own: list[str], others: list[str]) -> None:
    assert of_others([*own, *others], "Antiphon", backend) == others


def test_connections_are_made_again_but_not_against_somebody_s_will() -> None:
    remembered = Remembered()
    both = frozenset({"piano", "pads"})
    assert remembered.to_connect(both, both) == frozenset()
    assert remembered.to_connect(frozenset({"pads"}), frozenset({"pads"})) == frozenset(), "the piano is gone"
    assert remembered.to_connect(frozenset({"pads"}), both) == {"piano"}, "it is back"
    assert remembered.to_connect(both, both) == frozenset()
    assert remembered.to_connect(frozenset({"piano"}), both) == frozenset(), "somebody has disconnected the pads"
    remembered.lost()
    assert remembered.to_connect(frozenset(), frozenset()) == frozenset()
    assert remembered.to_connect(frozenset(), both) == {"piano"}
