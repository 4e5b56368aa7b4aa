"""How a piece goes on: in its own metre and tempo, every voice on its channel with its sound, audible, and about as dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import mido
import pytest
from toycorpus import save

from realtime.config import load as configuration
from realtime.errors import UserError
from realtime.io.files import midifile
from realtime.io.files.midifile import FileNote, MidiPiece
from realtime.io.files.smf import Smf, load
from realtime.io.offline.compose import compose
from realtime.io.offline.infill import infill
from realtime.io.offline.source import Source

BAR = 1920
SHIPPED = Path(__file__).parents[1] / "models" / "pretrained" / "antiphon-s.onnx"
GoOn = Callable[..., tuple[Smf, MidiPiece]]


def line(
    bars: int, channel: int = 0, pitches: Sequence[int] = (60, 64, 67, 65), length: int = 480
) -> list[tuple[int, mido.Message]]:
    """Notes one after the other, a little apart."""
    messages = []
    for at in range(bars * BAR // length):
        key = pitches[at % len(pitches)]
        messages.append((at * length, mido.Message("note_on", channel=channel, note=key, velocity=80)))
        messages.append((at * length + length * 9 // 10, mido.Message("note_off", channel=channel, note=key)))
    return messages


def meta(tick: int, kind: str, **what: object) -> tuple[int, mido.MetaMessage]:
    return tick, mido.MetaMessage(kind, **what)


def metre(tick: int, top: int, bottom: int) -> tuple[int, mido.MetaMessage]:
    return meta(tick, "time_signature", numerator=top, denominator=bottom)


def tempo(tick: int, bpm: float) -> tuple[int, mido.MetaMessage]:
    return meta(tick, "set_tempo", tempo=mido.bpm2tempo(bpm))


@pytest.fixture
def go_on(tmp_path: Path, tiny_model: Path) -> GoOn:
    """Compose two bars; what the file is then."""

    def run(bars: int = 2, **given: object) -> tuple[Smf, MidiPiece]:
        settings = {"model.file": tiny_model, "engine.seed": 1} | {
            name.replace("__", "."): of for name, of in given.items()
        }
        compose(configuration(None, settings), tmp_path / "in.mid", tmp_path / "out.mid", bars, False, None, print)
        smf = load(tmp_path / "out.mid")
        before = load(tmp_path / "in.mid")
        old = [[event for event in each.events if event.track < len(before.lengths)] for each in (before, smf)]
        assert old[0] == old[1], "what was there is there"
        return smf, midifile.piece_of(smf)

    return run


def new_notes(smf: Smf, piece: MidiPiece) -> list[FileNote]:
    return [note for note in piece.notes if piece.track_names[note.track].startswith("antiphon")]


@pytest.mark.parametrize(
    ("metres", "bars", "expected"),
    [
        pytest.param([(0, 4, 4), (4 * BAR, 2, 4)], 4.5, (4, 4), id="a last bar of 2/4"),
        pytest.param([(0, 3, 4), (4 * 1440, 4, 4)], 4 * 0.75 + 1, (3, 4), id="a last bar that is longer"),
        pytest.param([(0, 4, 4), (8 * BAR, 3, 4)], 8 + 9 * 0.75, (3, 4), id="nine bars of another"),
        pytest.param([(0, 4, 4), (4 * BAR, 6, 8)], 4, (4, 4), id="a metre that nothing is played in"),
        pytest.param([(0, 4, 4), (BAR * 9 // 2, 5, 4)], 4, (4, 4), id="a metre that comes later"),
    ],
)
def test_the_metre_is_that_of_the_piece(
    metres: list[tuple[int, int, int]], bars: float, expected: tuple[int, int], go_on: GoOn, tmp_path: Path
) -> None:
    notes = [row for row in line(20) if row[0] < bars * BAR]
    save(tmp_path / "in.mid", [metre(*each) for each in metres], notes)
    _, piece = go_on()
    start = round(bars * BAR)
    for at in (start, start + 2 * BAR - 1):
        assert [(top, bottom) for tick, top, bottom in piece.time_signatures if tick <= at][-1] == expected
    assert min(note.onset_pulse for note in new_notes(*go_on())) >= start


def test_bars_are_counted_on_after_a_last_bar_of_another_metre(tmp_path: Path) -> None:
    save(tmp_path / "in.mid", [metre(0, 4, 4), metre(4 * BAR, 2, 4)], [row for row in line(20) if row[0] < 4.5 * BAR])
    source = Source(tmp_path / "in.mid", tmp_path / "out.mid", None)
    bar, end = BAR // 20, 4 * BAR // 20 + BAR // 40
    source.go_on_in((4, 4), end)
    starts = [source.grid.bar_line(number) for number in range(7)]
    assert starts == [0, bar, 2 * bar, 3 * bar, 4 * bar, end, end + bar]
    assert [source.grid.bar_number(tick) for tick in starts] == list(range(7))


@pytest.mark.parametrize(
    ("tempos", "expected"),
    [
        pytest.param([(0, 120), (3 * BAR, 80), (3 * BAR + 960, 45), (3 * BAR + 1440, 30)], 120, id="a ritardando"),
        pytest.param([(0, 120), (3 * BAR, 180)], 120, id="faster in the last bar"),
        pytest.param([(0, 60), (BAR, 120)], 120, id="a slow beginning"),
        pytest.param([(0, 100), (4 * BAR + 480, 20)], 100, id="a tempo that comes later"),
        pytest.param([(480 * beat, 90 + beat % 3) for beat in range(16)], 91, id="rubato"),
    ],
)
def test_the_tempo_is_that_of_the_piece(
    tempos: list[tuple[int, float]], expected: float, go_on: GoOn, tmp_path: Path
) -> None:
    save(tmp_path / "in.mid", [tempo(*each) for each in tempos], line(4))
    _, piece = go_on()
    for at in (4 * BAR, 6 * BAR - 1):
        assert [bpm for tick, bpm in piece.tempos if tick <= at][-1] == pytest.approx(expected, rel=1e-4)


def test_nothing_is_said_of_metre_and_tempo_that_hold(go_on: GoOn, tmp_path: Path) -> None:
    save(tmp_path / "in.mid", [metre(0, 3, 4), tempo(0, 97)], line(3))
    _, piece = go_on()
    assert len(piece.time_signatures) == len(piece.tempos) == 1


def test_a_voice_goes_on_as_its_channel_sounded(go_on: GoOn, tmp_path: Path) -> None:
    told = [
        (0, mido.Message("program_change", channel=3, program=4)),
        (2 * BAR, mido.Message("program_change", channel=3, program=40)),
        (3 * BAR, mido.Message("control_change", channel=3, control=7, value=0)),
        (3 * BAR, mido.Message("pitchwheel", channel=3, pitch=2000)),
        (3 * BAR, mido.Message("control_change", channel=3, control=64, value=127)),
    ]
    save(tmp_path / "in.mid", [meta(0, "midi_port", port=2), *told, *line(4, 3)])
    smf, piece = go_on()
    made = new_notes(smf, piece)
    assert {(note.channel, note.program) for note in made} == {(3, 40)}
    own = [event for event in smf.events if event.track == made[0].track]
    first = next(at for at, event in enumerate(own) if event.status == 0x93)
    before = {(event.status, event.kind, event.data) for event in own[:first]}
    assert before >= {(0xFF, 0x21, b"\2"), (0xC3, 40, b""), (0xB3, 7, b"\x64"), (0xE3, 0, b"\x40"), (0xB3, 64, b"\0")}


@pytest.mark.parametrize(("part", "programs"), [("bass", range(32, 40)), ("drums", range(1)), ("other", range(40, 56))])
def test_a_part_that_the_file_has_not_has_a_channel_and_a_sound_of_its_own(
    part: str, programs: range, go_on: GoOn, tmp_path: Path
) -> None:
    save(
        tmp_path / "in.mid", line(4), line(4, 2, (48, 52)), [(0, mido.Message("program_change", channel=1, program=7))]
    )
    made = new_notes(*go_on(play__part=part))
    assert made and {note.channel for note in made} == {9 if part == "drums" else 3}
    assert {note.program for note in made} <= {*programs}


def test_keys_that_ring_over_the_bar_line_are_not_struck(go_on: GoOn, tmp_path: Path) -> None:
    ringing = [
        (at, mido.Message("note_on" if at < 4 * BAR else "note_off", note=key, velocity=64))
        for key in range(48, 84) for at in (3 * BAR, 4 * BAR + 100)
    ]  # fmt: skip
    save(tmp_path / "in.mid", [*line(3), *ringing])
    assert all(note.onset_pulse >= 4 * BAR + 100 for note in new_notes(*go_on()))


def test_a_note_that_never_ends_does_not_push_the_continuation_away(go_on: GoOn, tmp_path: Path) -> None:
    unclosed = [(0, mido.Message("note_on", note=48, velocity=60)), meta(40 * BAR, "text", text="far away")]
    save(
        tmp_path / "in.mid",
        [*line(4), *unclosed],
        [(480 * at, mido.Message("note_on", channel=9, note=36)) for at in range(16)],
    )
    smf, piece = go_on()
    made = new_notes(smf, piece)
    assert 4 * BAR <= min(note.onset_pulse for note in made) < 5 * BAR
    assert not any(note.pitch == 48 and note.channel == 0 for note in made)


def test_a_note_that_never_ends_does_not_sound_on_through_what_is_new(go_on: GoOn, tmp_path: Path) -> None:
    drone = [(0, mido.Message("note_on", channel=5, note=30, velocity=80))]
    save(tmp_path / "in.mid", line(4), drone)
    smf, piece = go_on()
    begins = min(note.onset_pulse for note in new_notes(smf, piece))
    ends = [event.tick for event in smf.events if (event.status, event.kind) == (0x85, 30)]
    assert ends == [4 * BAR] and begins >= 4 * BAR


def test_an_mpe_recording_is_one_instrument_in_tune(go_on: GoOn, tmp_path: Path) -> None:
    messages: list[tuple[int, mido.Message]] = [
        (0, mido.Message("control_change", control=number, value=value))
        for number, value in ((101, 0), (100, 6), (6, 15))
    ]
    for at in range(16):
        channel = 1 + at % 15
        messages += [
            (480 * at, mido.Message("pitchwheel", channel=channel)),
            (480 * at, mido.Message("note_on", channel=channel, note=60 + at % 5)),
            (480 * at + 100, mido.Message("pitchwheel", channel=channel, pitch=900)),
            (480 * at + 400, mido.Message("note_off", channel=channel, note=60 + at % 5)),
        ]
    save(tmp_path / "in.mid", [(7000, mido.Message("pitchwheel", pitch=500)), *messages])
    smf, piece = go_on()
    made = new_notes(smf, piece)
    assert {piece.track_names[note.track] for note in made} == {"antiphon melody"}
    bends = dict.fromkeys(range(16), 0)
    for event in smf.events:
        if event.status & 0xF0 == 0xE0 and event.tick <= made[0].onset_pulse:
            bends[event.status & 0x0F] = (event.kind | event.data[0] << 7) - 8192
    assert all(bends[note.channel] == bends[0] == 0 for note in made)


def test_what_was_mended_is_said(tmp_path: Path, tiny_model: Path) -> None:
    save(tmp_path / "whole.mid", line(4))
    (tmp_path / "in.mid").write_bytes((tmp_path / "whole.mid").read_bytes()[:-1])
    settings = configuration(None, {"model.file": tiny_model})
    said = [
        compose(settings, tmp_path / "in.mid", tmp_path / "out.mid", 1, False, None, print),
        infill(settings, tmp_path / "in.mid", tmp_path / "out.mid", "2", [], None, print),
    ]
    assert all("in.mid: track 1 is cut short" in each and "\n" not in each for each in said)


def test_a_file_of_thousands_of_voices_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    """Each would be composed after the others, which takes hours."""
    save(tmp_path / "in.mid", *[line(4)] * 65)
    settings = configuration(None, {"model.file": tiny_model})
    with pytest.raises(UserError, match=r"65 voices play there; allowed are up to 64"):
        compose(settings, tmp_path / "in.mid", tmp_path / "out.mid", 1, False, None, print)
    with pytest.raises(UserError, match=r"65 voices play there; allowed are up to 64"):
        infill(settings, tmp_path / "in.mid", tmp_path / "out.mid", "2", [], None, print)
    assert not (tmp_path / "out.mid").exists()


def band(path: Path, bars: int = 10) -> dict[str, int]:
    """Lead, bass, chords and drums; notes of each in a bar."""
    hits = [
        (at * 240, key)
        for at in range(8 * bars)
        for key in ((42, 36) if at % 4 == 0 else (42, 38) if at % 4 == 2 else (42,))
    ]
    chords = [
        (at * 480, key)
        for at in range(4 * bars)
        for key in ((48, 52, 55), (45, 48, 52), (41, 45, 48), (43, 47, 50))[at // 4 % 4]
    ]
    tracks = {
        "Lead": [FileNote(at * 480, (67, 64, 72, 69)[at * 5 % 4], 90, 450, 0, program=80) for at in range(4 * bars)],
        "Bass": [FileNote(at * 240, (36, 33, 29, 31)[at // 8 % 4], 85, 220, 1, program=33) for at in range(8 * bars)],
        "Chords": [FileNote(at, key, 70, 460, 2) for at, key in chords],
        "Drums": [FileNote(at, key, 95, 60, 9) for at, key in hits],
    }
    midifile.write(path, tracks)
    return {name: len(notes) // bars for name, notes in tracks.items()}


REGISTERS = {"Lead": range(60, 78), "Bass": range(26, 40), "Chords": range(38, 60), "Drums": (36, 38, 42)}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_voice_of_a_band_plays_on(seed: int, tmp_path: Path) -> None:
    usual = band(tmp_path / "in.mid")
    settings = configuration(None, {"model.file": SHIPPED, "engine.seed": seed})
    infill(settings, tmp_path / "in.mid", tmp_path / "filled.mid", "5-6", [], None, print)
    compose(settings, tmp_path / "in.mid", tmp_path / "more.mid", 2, False, None, print)
    filled, more = midifile.read(tmp_path / "filled.mid"), midifile.read(tmp_path / "more.mid")
    channels = {0: "Lead", 1: "Bass", 2: "Chords", 9: "Drums"}
    for piece, start in ((filled, 4 * BAR), (more, 10 * BAR)):
        for channel, name in channels.items():
            made = [n for n in piece.notes if n.channel == channel and start <= n.onset_pulse < start + 2 * BAR]
            assert usual[name] <= len(made) <= 4 * usual[name], (name, len(made), usual[name])
            assert {note.pitch for note in made} <= {*REGISTERS[name]}, name
    assert {piece.track_names[n.track] for piece in (filled,) for n in piece.notes} == {*usual}


def test_key_and_range_hold_for_every_pitched_voice_whatever_else_plays(tmp_path: Path) -> None:
    band(tmp_path / "in.mid")
    settings = configuration(
        None,
        {"model.file": SHIPPED, "engine.seed": 3, "play.key": "C major", "play.range": "C4-C5", "play.max_notes": 2},
    )
    for command in ("compose", "infill"):
        if command == "compose":
            compose(settings, tmp_path / "in.mid", tmp_path / "out.mid", 2, False, None, print)
        else:
            infill(settings, tmp_path / "in.mid", tmp_path / "out.mid", "5-6", [], None, print)
        old = {*midifile.read(tmp_path / "in.mid").notes}
        made = [note for note in midifile.read(tmp_path / "out.mid").notes if note not in old]
        pitched = [note for note in made if not note.is_drum]
        assert len(pitched) > 8 and len(made) > len(pitched)
        assert all(60 <= note.pitch <= 72 and note.pitch % 12 in (0, 2, 4, 5, 7, 9, 11) for note in pitched)
        for channel in (0, 1, 2):
            own = [note for note in pitched if note.channel == channel]
            assert all(
                sum(n.onset_pulse <= m.onset_pulse < n.onset_pulse + n.duration_pulse for n in own) <= 2 for m in own
            )


LULLABY = (  # Brahms, op. 49 no. 4: (key, eighths), from the third beat of a bar of 3/4
    (64, 1), (64, 1), (67, 3), (64, 1), (64, 1), (67, 2), (64, 1), (67, 1), (72, 2), (71, 2), (69, 2), (69, 2), (67, 2),
    (62, 1), (64, 1), (65, 2), (62, 2), (62, 1), (64, 1), (65, 4), (62, 1), (65, 1), (71, 1), (69, 1), (67, 2), (71, 2), (72, 4),
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_a_plain_tune_does_not_end_in_one_repeated_chord(seed: int, tmp_path: Path) -> None:
    if not SHIPPED.exists():
        pytest.skip(f"the model that ships is not in this checkout: {SHIPPED.name}")
    messages, at = [metre(0, 3, 4)], 960
    for key, eighths in LULLABY:
        messages.append((at, mido.Message("note_on", note=key, velocity=80)))
        messages.append((at + 220 * eighths, mido.Message("note_off", note=key)))
        at += 240 * eighths
    save(tmp_path / "in.mid", messages)
    compose(
        configuration(None, {"engine.seed": seed}), tmp_path / "in.mid", tmp_path / "out.mid", 8, False, None, print
    )
    smf = load(tmp_path / "out.mid")
    onsets: dict[int, set[int]] = {}
    for note in new_notes(smf, midifile.piece_of(smf)):
        onsets.setdefault(note.onset_pulse, set()).add(note.pitch)
    chords = [onsets[at] for at in sorted(onsets)]
    repeated = sum(one == other for one, other in pairwise(chords)) / (len(chords) - 1)
    assert repeated < 0.5 and len({*map(frozenset, chords[-6:])}) > 1
