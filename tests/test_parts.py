"""Which part a track plays: annotation before name before program before register."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.music.parts import TrackInfo, parts_of
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, OTHER


def track(name: str = "", program: int = 0, is_drum: bool = False, height: float = 60.0) -> TrackInfo:
    return TrackInfo(name, program, is_drum, height)


@pytest.mark.parametrize(
    ("tracks", "melody", "accompaniment", "expected"),
    [
        # As annotated.
        ([track("MELODY"), track("PIANO"), track("BRIDGE")], "MELODY", {"PIANO", "BRIDGE"}, [0, 1, 1]),
        # Drums as flagged, whatever they are called; the annotation beats the bass's name.
        ([track("Bass", is_drum=True), track("Cello")], "Cello", (), [DRUMS, MELODY]),
        # Bass by name, in several languages, or by General MIDI program.
        ([track("Bass Guitar"), track("Violoncello"), track("Contrabass")], "", (), [BASS, BASS, BASS]),
        ([track("x", 33), track("y", 43), track("z", 58), track("MELODY")], "MELODY", (), [BASS, BASS, BASS, MELODY]),
        # A lone instrument carries the tune; a bassoon is no bass.
        ([track("Bassoon", 70)], "", (), [MELODY]),
        ([track("Violin", 40)], "", (), [MELODY]),
        ([track("Flute", 73), track("Drums", is_drum=True), track("Bass")], "", (), [MELODY, DRUMS, BASS]),
        # Where nobody named the tune the highest sings and the others accompany, whether or not a bass is beside them.
        ([track("a", height=50), track("b", height=72), track("c", height=60)], "", (), [1, 0, 1]),
        ([track("a", height=50), track("b", height=72), track("Drums", is_drum=True)], "", (), [1, 0, DRUMS]),
        ([track("a", height=50), track("b", height=72), track("Bass", height=80)], "", (), [1, 0, BASS]),
        ([track("a"), track("b")], "", (), [MELODY, ACCOMPANIMENT]),
        ([track("PIANO", height=80), track("a", height=50)], "", {"PIANO"}, [ACCOMPANIMENT, MELODY]),
        # Where a melody is named the rest stays "other"; a named one without notes is none.
        ([track("MELODY"), track("Harp", 46)], "MELODY", (), [MELODY, OTHER]),
        ([track("MELODY", height=0), track("Harp", 46)], "MELODY", (), [MELODY, MELODY]),
        # An empty track neither sings nor accompanies.
        ([track("a", height=0), track("b", height=60)], "", (), [OTHER, MELODY]),
        ([], "", (), []),
    ],
)
def test_parts(tracks: list[TrackInfo], melody: str, accompaniment: object, expected: list[int]) -> None:
    assert parts_of(tracks, melody, accompaniment) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "is_bass"),
    [
        ("BASS", True), ("Double Bass", True), ("Contrabass", True), ("KONTRABASS", True), ("Contrebasse", True),
        ("Basso continuo", True), ("BASSUS", True), ("bassline", True), ("UltraBass", True), ("bas", True),
        ("Bass Clarinet", True), ("Fretless Bass 2", True), ("Violoncello", True),
        ("Bassoon", False), ("BASSOON I/II", False), ("Contrabassoon", False), ("Basset Horn", False),
        ("CORNIDIBASSETTO", False), ("Bass Drum", False), ("bass-drum", False), ("Horn (bass clef)", False),
        ("Basic", False), ("Contralto", False),
    ],
)  # fmt: skip
def test_bass_by_name(name: str, is_bass: bool) -> None:
    assert parts_of([track(name), track("Flute", height=80)])[0] == (BASS if is_bass else ACCOMPANIMENT)


@pytest.mark.parametrize(
    ("name", "program", "is_drums"),
    [
        ("Drums", 0, True), ("DRUM KIT", 0, True), ("drumkit 2", 0, True), ("Drum", 0, True), ("Percussion", 0, True),
        ("Schlagzeug", 0, True), ("Batterie", 0, True), ("Bateria", 0, True), ("Drum Set", 118, False),
        ("Steel Drums", 114, False), ("Steel Drums", 0, False), ("Timpani", 47, False), ("Humdrum", 0, False),
    ],
)  # fmt: skip
def test_drums_by_name(name: str, program: int, is_drums: bool) -> None:
    assert (parts_of([track(name, program), track("Flute", height=80)])[0] == DRUMS) == is_drums


infos = st.builds(
    TrackInfo,
    st.sampled_from(("", "MELODY", "PIANO", "Bass", "Violin")),
    st.integers(0, 127),
    st.booleans(),
    st.floats(0, 127),
)


@given(st.lists(infos, max_size=8), st.sampled_from(("", "MELODY")))
def test_every_track_has_one_part(tracks: list[TrackInfo], melody: str) -> None:
    parts = parts_of(tracks, melody, ("PIANO",))
    assert len(parts) == len(tracks)
    assert all(part in (MELODY, ACCOMPANIMENT, BASS, DRUMS, OTHER) for part in parts)
    assert all((part == DRUMS) == info.is_drum for part, info in zip(parts, tracks, strict=True))
    if any(part == OTHER and info.height for part, info in zip(parts, tracks, strict=True)):
        assert MELODY in parts
