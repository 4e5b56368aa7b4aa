"""Chords that are given: by a chart, section by section, by hand; what is played to them; a player who leaves the chart.

The stepper draws at random what the biases allow, so what holds here holds with any model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from performing import BAR_NS, BEAT_NS, MS, Script, Span, assert_nothing_hangs, duet, spans, tune

from realtime import midi
from realtime.composing.constraints import Constraints
from realtime.core.leading import Leading
from realtime.music.chart import parse_chart
from realtime.music.fingers import chord_of
from realtime.music.given import Given, Lead
from realtime.music.keys import Key
from realtime.music.metre import BeatGrid
from realtime.music.vocabulary import ACCOMPANIMENT, MELODY

CHART = "C | G7 C | Am F | Fm C"
CHORDS = parse_chart(CHART)
STEPS: list[int | None] = [64, 62, 60, 62, 64, 65, 67, 65] * 8
KEYS: Sequence[int] = (60, 62, 64, 65, 67, 69, 71, 72)


def given() -> Given:
    made = Given(BeatGrid())
    made.lead(Lead(0, CHORDS, 0))
    return made


def chords_under(sent: list[Span], lead: Given, until: int) -> list[tuple[int, int, list[Span]]]:
    """(start, end, notes that begin in it) of each chord that is given up to a tick."""
    found, tick = [], 0
    while tick < until:
        chord = lead.at(tick)
        assert chord is not None
        found.append((chord.start, chord.end, [note for note in sent if chord.start <= note.tick < chord.end]))
        tick = chord.end
    return found


# --- what is given ---


def test_every_tick_has_its_chord_and_the_chart_begins_again() -> None:
    lead = given()
    names = [lead.at(24 * beat).symbol.name for beat in range(20)]  # type: ignore[union-attr]
    assert names == [*"CCCC", "G7", "G7", "C", "C", "Am", "Am", "F", "F", "Fm", "Fm", *"CC", *"CCCC"]
    assert lead.at(-1) is None and lead.chord(-1) == 109 and lead.chord(96) == lead.at(100).symbol.chord  # type: ignore[union-attr]
    assert lead.at(96).key == Key(0, "major") and lead.at(12 * 24).scale >= {8, 0, 5}  # type: ignore[union-attr]


def test_a_later_lead_takes_over_from_its_tick_on() -> None:
    lead = given()
    lead.lead(Lead(120, parse_chart("D | E"), 1))
    assert lead.at(119).symbol.name == "G7" and lead.at(119).end == 120  # type: ignore[union-attr]
    assert [lead.at(96 * bar + 48).symbol.name for bar in (1, 2, 3)] == ["D", "E", "D"]  # type: ignore[union-attr]
    lead.lead(Lead(96, None))
    assert lead.at(200) is None and lead.at(95) is not None


def test_a_note_ends_where_another_chord_begins() -> None:
    lead = given()
    assert lead.ends(0, 384) == 96 and lead.ends(100, 120) == 120 and lead.ends(384, 500) == 480
    assert lead.ends(0, 500, pitch=69) == 288  # of a tune: where A flat comes, in F minor
    assert lead.ends(0, 500, pitch=60) == 500


# --- what is played ---


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_strict_strikes_every_chord_with_its_bass_first_and_lowest(seed: int) -> None:
    performance, _ = duet(tune(STEPS), 16 * BAR_NS, "accompany", seed=seed, chart=CHORDS)
    sent = [note for note in spans(performance.sent) if note.tick < 15 * 96]
    assert_nothing_hangs(performance.sent)
    lead = given()
    for start, end, notes in chords_under(sent, lead, 14 * 96)[1:]:
        chord = lead.at(start)
        assert chord is not None
        if lead.held_from(chord) < start:
            continue
        assert notes and notes[0].tick == start
        assert min(notes[0:1], key=lambda note: note.pitch).pitch % 12 == chord.symbol.bass
        assert min(note.pitch for note in notes) % 12 == chord.symbol.bass
        for note in notes:
            assert note.pitch % 12 in chord.scale
            assert round(note.off_ns * 48 / 1e9) <= end or lead.at(end).symbol == chord.symbol  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["trade", "continue", "harmonise", "accompany"])
def test_strict_holds_every_mode_to_the_scale_whatever_key_is_set(mode: str) -> None:
    rules = Constraints(tonic=6, scale=(0, 2, 4, 5, 7, 9, 11))
    script = tune(STEPS[:16]) if mode == "continue" else tune(STEPS)
    performance, _ = duet(script, 12 * BAR_NS, mode, rules, chart=CHORDS)
    sent, lead = spans(performance.sent), given()
    assert sent
    for note in sent:
        assert note.pitch % 12 in lead.at(note.tick).scale  # type: ignore[union-attr]


def test_no_chord_is_a_rest_of_the_accompaniment_and_slash_basses_count() -> None:
    chart = parse_chart("C/E | N.C. | Dm7/G | N.C.")
    performance, _ = duet(tune(STEPS), 16 * BAR_NS, "accompany", chart=chart)
    sent = spans(performance.sent)
    assert not [note for note in sent if note.tick // 96 % 2 == 1]
    for bar, bass in ((4, 4), (6, 7), (8, 4)):
        assert min(note.pitch for note in sent if note.tick // 96 == bar) % 12 == bass


def test_bias_leans_and_nothing_given_is_as_before() -> None:
    script = tune(STEPS)
    rules = Constraints(parts=(MELODY,), chords_strict=False)
    without, _ = duet(script, 8 * BAR_NS, "trade", Constraints(parts=(MELODY,)))
    leaning, _ = duet(script, 8 * BAR_NS, "trade", rules, chart=CHORDS)
    none, _ = duet(script, 8 * BAR_NS, "trade", rules)
    assert none.sent == without.sent and spans(leaning.sent)


def test_sections_come_at_the_next_bar_line_by_controller_or_key() -> None:
    chart = parse_chart("[A] C | C ; [B] G | G ; [C] F")
    press = [
        (5 * BEAT_NS, midi.control(0, 30, 127)),
        (9 * BEAT_NS, midi.note_on(0, 24, 90)),
        (10 * BEAT_NS, midi.note_on(0, 24, 90)),
    ]
    _, engine = duet([*tune(STEPS), *press], 6 * BAR_NS, "accompany", chart=chart, next_cc=30, next_key=24)
    assert engine.leading.passed == [(0, "C"), (192, "G"), (288, "C"), (480, "G")]
    assert [notice.split(": ")[1] for notice in engine.take_notices()] == ["B", "C", "A"]
    assert engine.leading.now(500) == "G (B)"


def test_another_chart_keeps_its_place_where_it_has_the_same_form() -> None:
    leads = [leading_of("[A] C | D | E | F"), leading_of("[A] C | D | E | F")]
    assert leads[0].give(parse_chart("[A] C | D | Em | F"), 100) == 192
    leads[1].give(parse_chart("G | A"), 100)
    assert [lead.given.at(200).symbol.name for lead in leads] == ["Em", "G"]  # type: ignore[union-attr]


def leading_of(text: str) -> Leading:
    return duet([], 1, "accompany", chart=parse_chart(text))[1].leading


# --- by hand ---


def chord(pitches: Sequence[int], ns: int, length_ns: int, spread_ns: int = 0, channel: int = 3) -> Script:
    """A chord that is struck, or strummed over `spread_ns`, and lifted finger by finger over as long."""
    step = spread_ns // max(len(pitches) - 1, 1)
    return [
        event
        for i, pitch in enumerate(pitches)
        for event in (
            (ns + i * step, midi.note_on(channel, pitch, 80)),
            (ns + length_ns + i * step, midi.note_off(channel, pitch)),
        )
    ]


HANDS = ([48, 64, 67, 72], [47, 62, 65, 67], [52, 67, 72], [45, 60, 64], [53, 57, 60], [43, 59, 65])
NAMES = ("C", "G7/B", "C/E", "Am", "F", "G7")


@pytest.mark.parametrize("spread_ms", [0, 45, 150])
def test_chords_by_hand_hold_from_the_next_beat_on_without_flicker(spread_ms: int) -> None:
    script: Script = []
    for bar, hand in enumerate(HANDS):
        script += chord(hand, bar * BAR_NS + 2 * MS, BAR_NS - spread_ms * MS, spread_ms * MS)
    performance, engine = duet(script, 6 * BAR_NS, "accompany", chord_channel=3)
    late = 24 * (spread_ms > 60)  # fingers so far apart are a chord when the last has come
    assert [name for _, name in engine.leading.passed if name] == list(NAMES)
    changes = [tick for tick, name in engine.leading.passed if name]
    assert all(0 <= tick - 96 * bar - late < 10 for bar, tick in enumerate(changes))
    sent = spans(performance.sent)
    for bar, (tick, hand) in enumerate(zip(changes, HANDS, strict=True)):  # heard within a beat
        now = [note for note in sent if tick <= note.tick < 96 * (bar + 1)]
        assert now[0].tick < 96 * bar + late + 24
        assert min(note.pitch for note in now) % 12 == min(hand) % 12
        assert not [note for note in sent if note.tick < tick and note.off_ns > tick * BEAT_NS // 24 + 10 * MS]


def test_nothing_is_struck_before_the_first_chord_by_hand_is_heard() -> None:
    script = chord(HANDS[0], 0, 2 * BAR_NS)
    for seed in range(20):
        performance, engine = duet(script, 2 * BAR_NS, "accompany", chord_channel=3, hold_ns=20 * MS, seed=seed)
        heard = next(tick for tick, name in engine.leading.passed if name)
        assert min(span.tick for span in spans(performance.sent)) >= heard > 0


def test_a_foot_holds_a_broken_chord_and_a_single_key_is_none() -> None:
    script = [(0, midi.control(3, 64, 127))]
    for i, pitch in enumerate((48, 64, 67, 70)):
        script += chord([pitch], BEAT_NS * i // 2 + 5 * MS, 100 * MS)
    _, engine = duet(script, 2 * BAR_NS, "accompany", chord_channel=3)
    assert [name for _, name in engine.leading.passed if name] == ["C", "C7"]
    _, engine = duet(script[1:], 2 * BAR_NS, "accompany", chord_channel=3)
    assert not [name for _, name in engine.leading.passed if name]


def test_a_chord_that_is_held_for_long_is_no_lost_note_off() -> None:
    script = [*chord(HANDS[0], 0, 12 * BAR_NS), *tune(STEPS[:40])]
    performance, engine = duet(script, 10 * BAR_NS, "accompany", chord_channel=3)
    assert engine.take_notices() == [] and engine.leading.passed == [(engine.leading.passed[0][0], "C")]
    assert spans(performance.sent)


@pytest.mark.parametrize(
    ("pitches", "name"),
    [([60, 64], "C"), ([60, 63], "Cm"), ([60, 67], "C"), ([48, 58, 64], "C7"), ([64, 67, 72], "C/E"), ([57, 60, 64, 67], "Am7"),
     ([60, 63, 66, 70], "Cm7b5"), ([43, 65, 71], "G7"), ([60, 65, 67], "Csus4"), ([53, 60, 64, 69], "Fmaj7")],
)  # fmt: skip
def test_inversions_and_missing_fifths_are_understood(pitches: list[int], name: str) -> None:
    found = chord_of(pitches)
    assert found is not None and found.name == name
    moved = chord_of([pitch + 5 for pitch in pitches])
    assert moved is not None and moved.bass == (found.bass + 5) % 12  # type: ignore[operator]
    assert chord_of([60]) is None and chord_of([60, 72]) is None


# --- a player who leaves the chart ---

LOOP = "C | F | G7 | Am | Dm | Bb | Em | A7"
HANDS_OF = {
    "C": (60, 64, 67), "F": (60, 65, 69), "G7": (59, 62, 65, 67), "Am": (60, 64, 69), "Dm": (62, 65, 69),
    "Bb": (62, 65, 70), "Em": (59, 64, 67), "A7": (61, 64, 67, 69), "F#m": (61, 66, 69),
}  # fmt: skip


def comping(names: Sequence[str]) -> Script:
    """A bar of beats for each name, on the player's own channel, a little uneven."""
    rng = random.Random(5)
    script: Script = []
    for beat in range(4 * len(names)):
        ns = beat * BEAT_NS + (rng.randrange(8 * MS) if beat else 0)
        script += chord(HANDS_OF[names[beat // 4]], ns, BEAT_NS * 4 // 5, 10 * MS, 0)
    return script


@pytest.mark.parametrize("follow", [True, False])
def test_a_bar_late_is_said_and_followed_where_asked(follow: bool) -> None:
    loop = LOOP.split(" | ")
    names = [*loop[:3], loop[2], *loop[3:], *loop[:4]]  # the third bar twice: a bar late from there on
    _, engine = duet(comping(names), 13 * BAR_NS, "accompany", chart=parse_chart(LOOP), follow_player=follow)
    said = engine.take_notices()
    assert said and "a bar behind the chart" in said[0] and ("goes with you" in said[0]) == follow
    passed = dict(engine.leading.passed)
    assert not follow or (passed.get(12 * 96) == names[12] and len(said) == 1)


def test_another_chord_is_said_and_followed_until_the_chart_changes() -> None:
    names = LOOP.split(" | ")
    names[3] = "F#m"
    _, engine = duet(comping(names), 8 * BAR_NS, "accompany", chart=parse_chart(LOOP), follow_player=True)
    assert engine.take_notices() == ["bar 4: you play F#m, the chart has Am, and Antiphon goes with you"]
    assert [name for _, name in engine.leading.passed] == ["C", "F", "G7", "Am", "F#m", "Dm", "Bb", "Em", "A7"]


def test_anticipations_and_suspensions_of_the_tune_change_nothing() -> None:
    """Each chord's third comes half a beat early, and the fourth before it is held over the bar line."""
    pitches: list[int | None] = []
    for name in LOOP.split(" | "):
        root = HANDS_OF[name][0]
        pitches += [root + 5, root + 5, root + 4, root + 7, root + 4, root + 2, root, HANDS_OF[name][1] + 12]
    _, engine = duet(
        tune(pitches, BEAT_NS // 2, -BEAT_NS // 2 + BEAT_NS // 2),
        8 * BAR_NS,
        "accompany",
        chart=parse_chart(LOOP),
        follow_player=True,
    )
    assert engine.take_notices() == []
    assert [name for _, name in engine.leading.passed] == LOOP.split(" | ")


def test_with_a_chart_a_rest_of_a_few_bars_does_not_begin_anew() -> None:
    script = [*tune(STEPS[:4]), *tune(STEPS[:8], start_ns=5 * BAR_NS)]
    _, engine = duet(script, 8 * BAR_NS, "accompany", chart=CHORDS)
    assert engine.leading.now(6 * 96) == "Am"
    again = [*tune(STEPS[:4]), *tune(STEPS[:8], start_ns=12 * BAR_NS + BEAT_NS)]
    _, engine = duet(again, 14 * BAR_NS, "accompany", chart=CHORDS)
    assert engine.leading.passed[-1][1] in ("C", "G7") and engine.leading.given.leads[0].anchor > 0


def test_parts_of_constraints_are_heard() -> None:
    rules = Constraints(parts=(ACCOMPANIMENT,))
    performance, _ = duet(tune(STEPS), 8 * BAR_NS, "accompany", rules, chart=CHORDS)
    assert spans(performance.sent)


def test_two_chords_a_beat_are_both_struck() -> None:
    chart = parse_chart("C G C G C G C G | F C F C F C F G")
    performance, _ = duet(tune(STEPS), 8 * BAR_NS, "accompany", Constraints(parts=(ACCOMPANIMENT,)), chart=chart)
    sent, lead = spans(performance.sent), Given(BeatGrid())
    lead.lead(Lead(0, chart, 0))
    for start, _, notes in chords_under(sent, lead, 7 * 96)[2:]:
        chord = lead.at(start)
        assert chord is not None and notes and notes[0].tick == start
        assert min(note.pitch for note in notes) % 12 == chord.symbol.bass


def test_a_tune_alone_that_fits_a_neighbouring_bar_by_chance_is_no_bar_off() -> None:
    """Ode to Joy, with other chords the second time."""
    again = "C | G7 | Am D7 | F G7 | C | E7 Am | F Fm | G7 C"
    chart = parse_chart(f"C | G7 | Am F | C G7 | C | G7 | Am F | G7 C | {again}")
    theme: list[int | None] = [64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62, None] * 4
    _, engine = duet(tune(theme), 16 * BAR_NS, "accompany", chart=chart)
    assert engine.take_notices() == []
