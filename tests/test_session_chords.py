"""The chords of a session: in its report, and above its piano roll."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from performing import BAR_NS, duet, tune

from realtime.io.files import pianoroll
from realtime.io.files.midifile import FileNote
from realtime.io.live.chords import Chords, chords_of
from realtime.io.live.take import Take
from realtime.music.chart import parse_chart
from realtime.music.metre import BeatGrid

TRIADS = {"C": (60, 64, 67), "F": (60, 65, 69), "G": (59, 62, 67), "Am": (60, 64, 69)}


def session(chart: str | None, bars: int) -> Chords:
    """Of a player who plays the chords' tones one by one."""
    names = ["C", "F", "G", "C", "Am", "F", "G", "C"][:bars]
    line: list[int | None] = [TRIADS[name][beat % 3] for name in names for beat in range(4)]
    parsed = parse_chart(chart) if chart is not None else None
    performance, engine = duet(tune(line), bars * BAR_NS, "accompany", chart=parsed)
    take = Take()
    take.end_pulse = bars * 1920
    take.events["antiphon"] = [(pulse, message) for _, pulse, message in performance.sent if chart is not None]
    take.events["player"] = [(pulse, message) for _, pulse, message in performance.played]
    return chords_of(engine, take, BeatGrid())


def test_what_was_given_is_reported_and_stands_above_the_roll() -> None:
    chords = session("C | F | G / C | N.C.", 4)
    assert chords.given == [
        {"start": 0.0, "end": 4.0, "symbol": "C"},
        {"start": 4.0, "end": 8.0, "symbol": "F"},
        {"start": 8.0, "end": 11.0, "symbol": "G"},
        {"start": 11.0, "end": 12.0, "symbol": "C"},
        {"start": 12.0, "end": 16.0, "symbol": "N.C."},
    ]
    assert chords.labels == [(0, "C"), (1920, "F"), (3840, "G"), (5280, "C"), (5760, "N.C.")]
    assert chords.planned == chords.given[:4], "what is given is what is planned"


def test_without_a_chart_what_is_heard_stands_there() -> None:
    chords = session(None, 8)
    assert chords.given == [] and [span["symbol"] for span in chords.heard] == ["C", "F", "G", "C", "Am", "F", "G", "C"]
    assert chords.labels == [(round(480 * span["start"]), span["symbol"]) for span in chords.heard]
    assert chords.planned and all(span["end"] > span["start"] for span in chords.planned)
    pairs = pairwise(chords.planned)
    ends = [(one["end"], two["start"], one["symbol"], two["symbol"]) for one, two in pairs]
    assert all(end < start or (end == start and one != two) for end, start, one, two in ends)
    assert chords_of(duet([], 1)[1], Take(), BeatGrid()) == Chords([], [], [])


def test_labels_are_drawn_and_crowded_ones_are_left_out(tmp_path: Path) -> None:
    voices = {"player": [FileNote(0, 60, 80, 480)], "antiphon": []}
    sizes = []
    for name, labels in (("a", []), ("b", [(0, "C"), (960, "G7")]), ("c", [(0, "C"), (1, "F"), (960, "G7")])):
        pianoroll.draw(tmp_path / f"{name}.png", voices, [0, 1920, 3840], "title", "facts", labels=labels)
        sizes.append((tmp_path / f"{name}.png").read_bytes())
    assert sizes[0] != sizes[1] == sizes[2]
