"""The corpus: what a MIDI file becomes, what is skipped, and when a pack is built again."""

from __future__ import annotations

import csv
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from toycorpus import COLUMNS, SONG, Metre, corpus_files, midi_bytes, tune, write_corpus

from models.command import exit_status
from models.corpus.listing import main as data_main
from models.corpus.pack import NOTE, READ_COLUMNS, Pack, load_pack, parse
from realtime.errors import UserError
from realtime.music.metre import TICKS
from realtime.music.vocabulary import ACCOMPANIMENT, BASS, DRUMS, MELODY, tempo_bin

ROW = {"melody_track": "MELODY", "accomp_tracks": "PIANO (rendered)|STRINGS"}
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
PART_OF = {"MELODY": MELODY, "PIANO": ACCOMPANIMENT, "Bass": BASS, "DRUMS": DRUMS}


def notes_of(result: object) -> np.ndarray:
    assert isinstance(result, tuple), result
    notes: np.ndarray = result[0]
    return notes


def beats_of(result: object) -> list[tuple[int, ...]]:
    assert isinstance(result, tuple), result
    return [tuple(int(x) for x in row) for row in result[1]]


def test_the_song_by_hand(toy_pack: Pack) -> None:
    """Parts as annotated, named and flagged; times in ticks; lengths bounded; sorted."""
    song = next(piece for piece in map(toy_pack.__getitem__, range(len(toy_pack))) if piece.id == "song")
    expected = sorted(
        (round(at * TICKS), PART_OF[name], pitch, max(min(round(duration * TICKS), 384), 1), velocity)
        for name, line in SONG.items()
        for at, duration, pitch, velocity in line
    )
    assert [
        tuple(int(n[c]) for c in ("onset", "part", "pitch", "duration", "velocity")) for n in song.notes
    ] == expected
    assert (song.source, song.split) == ("toy", "train")

    slow, fast = tempo_bin(90), tempo_bin(180)
    whole = [(TICKS * (1 + i), TICKS, i % 4, 96, fast if i >= 2 else slow, 0) for i in range(12)]
    waltz = [(TICKS * (13 + i), TICKS, i % 3, 72, fast, 0) for i in range(6)]
    # The pick-up is the end of a bar: beat 3 of 0..3. The last note starts in the sixth beat of the waltz.
    assert beats_of((song.notes, song.beats)) == [(0, TICKS, 3, 96, slow, 0), *whole, *waltz]
    assert song.bar_starts.tolist() == [TICKS * at for at in (1, 5, 9, 13, 16)]


@pytest.mark.parametrize("division", [24, 96, 480, 960, 100])
def test_any_division_gives_the_same_ticks(division: int) -> None:
    tracks = {"MELODY": tune(3, 4)["MELODY"]}
    ours, reference = (notes_of(parse((ROW, midi_bytes(tracks, division=d)))) for d in (division, 480))
    assert np.array_equal(ours["pitch"], reference["pitch"])
    assert np.abs(ours["onset"] - reference["onset"]).max() <= (0 if division % 24 == 0 else 1)


def test_an_irregular_metre_cuts_its_last_beat() -> None:
    line = [(i / 2, 0.5, 60 + i, 80) for i in range(20)]
    beats = beats_of(parse((ROW, midi_bytes({"MELODY": line}, [Metre(0, 5, 8)]))))
    assert [beat[:3] for beat in beats[:6]] == [
        (0, 24, 0),
        (24, 24, 1),
        (48, 12, 2),
        (60, 24, 0),
        (84, 24, 1),
        (108, 12, 2),
    ]
    assert {beat[3] for beat in beats} == {60}


def test_six_eight_and_three_four_are_told_apart() -> None:
    line = [(i / 2, 0.5, 60 + i, 80) for i in range(20)]
    for metre, compound in ((Metre(0, 3, 4), 0), (Metre(0, 6, 8), 1)):
        beats = beats_of(parse((ROW, midi_bytes({"MELODY": line}, [metre]))))
        assert {beat[3] for beat in beats} == {72} and {beat[5] for beat in beats} == {compound}


def test_equal_notes_of_one_part_are_one() -> None:
    line = tune(1, 4)["MELODY"]
    alone, doubled = ({"PIANO": line}, {"PIANO": line, "STRINGS": line})
    assert np.array_equal(*(notes_of(parse((ROW, midi_bytes(tracks)))) for tracks in (alone, doubled)))


def test_what_cannot_be_used_is_named_and_counted(toy_pack: Pack) -> None:
    assert set(toy_pack.skipped) == {"broken", "short"}
    assert toy_pack.skipped["short"] == "only 5 notes"
    assert "cannot be parsed" in toy_pack.skipped["broken"]
    assert {row["id"] for row in toy_pack.table} == set(corpus_files()) - {"broken", "short"}


def test_pieces_do_not_overlap_in_the_pack(toy_pack: Pack) -> None:
    for name, array in (("notes", toy_pack.notes), ("beats", toy_pack.beats)):
        ends = [tuple(row[name]) for row in toy_pack.table]
        assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
        assert ends[-1][1] == len(array)
    for i in range(len(toy_pack)):
        piece = toy_pack[i]
        assert len(piece.bar_starts) == toy_pack.table[i]["bars"]
        assert np.all(np.diff(piece.notes["onset"]) >= 0)
        starts, lengths = piece.beats["start"].astype(int), piece.beats["length"].astype(int)
        assert np.array_equal(starts[1:], (starts + lengths)[:-1]), "beats follow each other without a gap"
        assert starts[0] <= piece.notes["onset"][0] <= piece.notes["onset"][-1] < starts[-1] + lengths[-1]


def test_splits(toy_pack: Pack) -> None:
    rows = {split: toy_pack.rows(split) for split in ("train", "valid", "test")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 5, "valid": 2, "test": 1}
    assert len({toy_pack.split_hash(split) for split in rows}) == 3


def test_a_second_load_uses_the_cache(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    first = load_pack(corpus, tmp_path / "cache")
    (corpus / "main" / "toy.zip").unlink()
    second = load_pack(corpus, tmp_path / "cache")
    assert first.hash == second.hash
    assert first.table == second.table and first.skipped == second.skipped
    assert np.array_equal(first.notes, second.notes) and np.array_equal(first.beats, second.beats)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [first.hash], "nothing half-written is left"


def test_other_content_makes_another_pack(tmp_path: Path) -> None:
    files = corpus_files()
    packs = [load_pack(write_corpus(tmp_path / "a", files), tmp_path / "cache")]
    files["tune_0"] = ("train", midi_bytes(tune(77, 12)))
    packs.append(load_pack(write_corpus(tmp_path / "b", files), tmp_path / "cache"))
    files["tune_0"] = ("valid", files["tune_0"][1])
    packs.append(load_pack(write_corpus(tmp_path / "c", files), tmp_path / "cache"))
    assert len({pack.hash for pack in packs}) == 3
    assert not np.array_equal(packs[0].notes, packs[1].notes)
    assert packs[1].split_hash("train") != packs[2].split_hash("train")


@pytest.mark.parametrize("column", READ_COLUMNS)
def test_whatever_the_reading_sees_is_in_the_hash(column: str, tmp_path: Path) -> None:
    """Otherwise a cache would go on giving the pack of yesterday's annotation."""
    corpus = write_corpus(tmp_path / "corpus")
    before = load_pack(corpus, tmp_path / "cache", ("main", "x"))
    with (corpus / "manifest.csv").open(newline="", encoding="utf8") as f:
        rows = list(csv.DictReader(f))
    rows[1][column] = "x"
    with (corpus / "manifest.csv").open("w", newline="", encoding="utf8") as f:
        table = csv.DictWriter(f, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    assert load_pack(corpus, tmp_path / "cache", ("main", "x")).hash != before.hash


def test_a_file_that_is_not_the_manifests_is_skipped(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    with zipfile.ZipFile(corpus / "main" / "toy.zip", "w") as z:
        for name, (_, data) in corpus_files().items():
            z.writestr(f"midi/{name}.mid", midi_bytes(tune(50, 4)) if name == "tune_2" else data)
    pack = load_pack(corpus, tmp_path / "cache")
    assert "SHA-1" in pack.skipped.pop("tune_2")
    assert set(pack.skipped) == {"broken", "short"}


def test_two_processes_that_build_at_once_agree(tmp_path: Path) -> None:
    """As under torchrun: both find no pack, both build one, and the later of them throws its own away."""
    corpus = write_corpus(tmp_path / "corpus")
    command = [sys.executable, "-m", "models.data", str(corpus), "--cache", str(tmp_path / "cache")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_member_that_is_missing_is_skipped(tmp_path: Path) -> None:
    pack = load_pack(write_corpus(tmp_path, missing=["tune_1"]), tmp_path / "cache")
    assert set(pack.skipped) == {"broken", "short", "tune_1"}


def test_mutated_files_never_stop_the_reading() -> None:
    """Any bytes give notes or a reason. 400 mutations, seeded."""
    rng = random.Random(4)
    whole = midi_bytes({"MELODY": tune(2, 4)["MELODY"]})
    for i in range(400):
        data = bytearray(whole[: rng.randrange(len(whole))] if i % 2 else whole)
        for _ in range(rng.randint(0, 3)):
            if data:
                data[rng.randrange(14, max(len(data), 15)) % len(data)] = rng.randrange(256)
        result = parse((ROW, bytes(data)))
        assert isinstance(result, str) or result[0].dtype == NOTE


def nothing_in_it(folder: Path) -> None:
    (folder / "manifest.csv").unlink()
    (folder / "main" / "toy.zip").unlink()


def test_an_impossible_metre_is_passed_over() -> None:
    whole = midi_bytes({"MELODY": tune(2, 4)["MELODY"]}, [Metre(0, 3, 4)])
    at = whole.index(b"\xff\x58\x04") + 4
    broken = whole[:at] + b"\x08" + whole[at + 1 :]  # the denominator: two to the eighth
    assert {beat[3] for beat in beats_of(parse((ROW, whole)))} == {72}
    assert {beat[3] for beat in beats_of(parse((ROW, broken)))} == {96}


def test_a_note_years_away_is_a_broken_file() -> None:
    """A grid of beats up to there would fill the memory."""
    line = [*tune(1, 4)["MELODY"], (5e6, 1, 60, 80)]
    result = parse((ROW, midi_bytes({"MELODY": line}, division=24)))
    assert result == "its last note is at quarter 5000000"


def no_columns(folder: Path) -> None:
    (folder / "manifest.csv").write_text("id,split\n1,train\n")


def no_text(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"\xff\xfe\x00" * 100)


def no_rows(folder: Path) -> None:
    (folder / "manifest.csv").write_text(",".join(COLUMNS) + "\n")


def no_zip(folder: Path) -> None:
    (folder / "main" / "toy.zip").unlink()


def no_real_zip(folder: Path) -> None:
    (folder / "main" / "toy.zip").write_bytes(b"not a zip")


def nothing_readable(folder: Path) -> None:
    with zipfile.ZipFile(folder / "main" / "toy.zip", "w"):
        pass


@pytest.mark.parametrize(
    "spoil",
    [nothing_in_it, no_columns, no_text, no_rows, no_zip, no_real_zip, nothing_readable],
    ids=lambda f: f.__name__,
)
def test_no_corpus_ends_in_one_line(spoil: object, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    corpus = write_corpus(tmp_path / "corpus")
    spoil(corpus)  # type: ignore[operator]
    with pytest.raises(UserError) as caught:
        load_pack(corpus, tmp_path / "cache")
    assert str(corpus) in str(caught.value) and "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").glob("*")), "nothing half-written is left"
    monkeypatch.setattr(sys, "argv", ["data", str(corpus), "--cache", str(tmp_path / "cache")])
    assert exit_status(data_main) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_cache_that_cannot_be_written_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="--cache"):
        load_pack(write_corpus(tmp_path / "corpus"), tmp_path / "cache")


def test_a_damaged_pack_ends_in_one_line(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    pack = load_pack(corpus, tmp_path / "cache")
    (tmp_path / "cache" / pack.hash / "notes.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="remove it"):
        load_pack(corpus, tmp_path / "cache")


def test_the_command_prints_what_is_in_it(
    toy_corpus: Path, toy_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["data", str(toy_corpus), "--cache", str(toy_cache)])
    assert exit_status(data_main) == 0
    out = capsys.readouterr().out
    assert "skipped short: only 5 notes" in out
    assert "8 pieces" in out and "2 skipped" in out


# --- the real corpus, where it lies beside the project ---

needs_the_corpus = pytest.mark.skipif(not (REAL / "manifest.csv").exists(), reason=f"no corpus in {REAL}")


@needs_the_corpus
def test_no_composition_straddles_the_real_splits() -> None:
    """All sources but Groove, whose published split is kept: there one drummer's takes of a pattern may lie on both sides."""
    with (REAL / "manifest.csv").open(newline="", encoding="utf8") as f:
        rows = [row for row in csv.DictReader(f) if row["tier"] == "main"]
    assert {row["split"] for row in rows} == {"train", "valid", "test"}, "nothing held out is loaded"
    assert all(row["cluster"] for row in rows)
    splits_of: dict[str, set[str]] = {}
    for row in rows:
        if not row["published_split"]:
            splits_of.setdefault(row["cluster"], set()).add(row["split"])
    assert [cluster for cluster, splits in splits_of.items() if len(splits) > 1] == []
    assert {row["source"] for row in rows if row["published_split"]} == {"groove"}


@needs_the_corpus
def test_real_pieces_parse_to_what_the_manifest_says() -> None:
    """Five pieces of each source: all notes but doubled ones are there, as long as it says, and every part is sensible."""
    with (REAL / "manifest.csv").open(newline="", encoding="utf8") as f:
        rows = [row for row in csv.DictReader(f) if row["tier"] == "main"]
    for source in sorted({row["source"] for row in rows}):
        for row in [row for row in rows if row["source"] == source][:5]:
            with zipfile.ZipFile(REAL / row["archive"]) as z:
                result = parse((row, z.read(row["path"])))
            notes = notes_of(result)
            assert 0.7 * int(row["n_notes"]) <= len(notes) <= int(row["n_notes"]), row["id"]
            last = beats_of(result)[-1]
            assert last[0] <= float(row["beats"]) * TICKS, row["id"]
            if row["melody_track"] and int(row["drum_notes"]) == 0:
                assert MELODY in notes["part"], row["id"]


def test_a_row_of_a_manifest_that_is_cut_off_is_skipped(toy_corpus: Path, tmp_path: Path) -> None:
    root = shutil.copytree(toy_corpus, tmp_path / "cut")
    with (root / "manifest.csv").open("a") as f:
        f.write("last,toy,main\n")
    assert "cannot be read" in load_pack(root, tmp_path / "cache").skipped["last"]
