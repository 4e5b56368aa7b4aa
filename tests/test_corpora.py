"""What users have: each archive's own layout, in tiny; doubles are one piece, compositions lie in one split."""

from __future__ import annotations

import hashlib
import io
import json
import random
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from toycorpus import midi_bytes, tune

from models.command import exit_status
from models.corpus import pack
from models.corpus.corpora import Corpus, Row, find, fingerprint, read, settle
from models.corpus.listing import main
from models.corpus.pack import load_pack, parse
from realtime.errors import UserError

Files = dict[str, bytes]


def song(seed: int, up: int = 0, bars: int = 4, **how: object) -> bytes:
    """A MIDI file; `up` semitones higher, drums as they are."""
    tracks = {n: [(at, d, p + up * (n != "DRUMS"), v) for at, d, p, v in line] for n, line in tune(seed, bars).items()}
    return midi_bytes(tracks, **how)  # type: ignore[arg-type]


def csv_of(header: str, *rows: str) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


MAESTRO_HEADER = "canonical_composer,canonical_title,split,year,midi_filename,audio_filename,duration"
MAESTRO: Files = {
    "maestro-v3.0.0/maestro-v3.0.0.csv": csv_of(
        MAESTRO_HEADER,
        "Alban Berg,Sonata Op. 1,train,2018,2018/a.midi,2018/a.wav,698.6",
        "Alban Berg,Sonata  op. 1,train,2008,2008/b.midi,2008/b.wav,759.5",
        '"Franz Liszt","Etudes, No. 3",validation,2008,2008/c.midi,2008/c.wav,1.5',
        "Franz Liszt,Ballade,test,2018,2018/d.midi,2018/d.wav,1.5",
        "Franz Liszt,Lost,test,2018,2018/lost.midi,2018/lost.wav,1.5",
    ),
    "maestro-v3.0.0/maestro-v3.0.0.json": b'{"canonical_composer": {"0": "Alban Berg"}}',
    "maestro-v3.0.0/LICENSE": b"",
    "maestro-v3.0.0/2018/a.midi": song(1),
    "maestro-v3.0.0/2008/b.midi": song(2),
    "maestro-v3.0.0/2008/c.midi": song(3),
    "maestro-v3.0.0/2018/d.midi": song(4),
}
GROOVE_HEADER = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split"
GROOVE: Files = {
    "groove/info.csv": csv_of(
        GROOVE_HEADER,
        "drummer1,drummer1/eval_session,drummer1/eval_session/1,funk/groove1,138,beat,4-4,"
        "drummer1/eval_session/1_funk-groove1_138_beat_4-4.mid,drummer1/eval_session/1.wav,27.8,test",
        "drummer2,drummer2/session1,drummer2/session1/2,rock,90,fill,4-4,drummer2/session1/2_rock_90_fill_4-4.mid,,2,train",
        "drummer2,drummer2/session1,drummer2/session1/3,rock,90,beat,4-4,"
        "drummer2/session1/3_rock_90_beat_4-4.mid,,2,validation",
    ),
    "groove/README": b"",
    "groove/drummer1/eval_session/1_funk-groove1_138_beat_4-4.mid": midi_bytes({"DRUMS": tune(1, 4)["DRUMS"]}),
    "groove/drummer2/session1/2_rock_90_fill_4-4.mid": midi_bytes({"DRUMS": tune(2, 5)["DRUMS"]}),
    "groove/drummer2/session1/3_rock_90_beat_4-4.mid": midi_bytes({"DRUMS": tune(3, 6)["DRUMS"]}),
}
TRACKS = ("TRAAAGR128F425B14B", "TRBBBQU128F427F2D1")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


LAKH_SONGS = [song(20 + i) for i in range(6)]
MD5 = [md5(data) for data in LAKH_SONGS]
LAKH: Files = {
    f"lmd_matched/A/A/A/{TRACKS[0]}/{MD5[0]}.mid": LAKH_SONGS[0],
    f"lmd_matched/A/A/A/{TRACKS[0]}/{MD5[1]}.mid": LAKH_SONGS[1],
    f"lmd_aligned/B/B/B/{TRACKS[1]}/{MD5[2]}.mid": song(22, division=96, bars=5),  # warped: not the file of the name
    **{f"lmd_full/{MD5[i][0]}/{MD5[i]}.mid": LAKH_SONGS[i] for i in (2, 3, 4, 5)},
    "match_scores.json": json.dumps({TRACKS[0]: {MD5[3]: 0.6, MD5[0]: 0.9}, TRACKS[1]: {MD5[3]: 0.8}}).encode(),
    "md5_to_paths.json": json.dumps(
        {MD5[4]: ["x/Let It Be 2.mid"], MD5[5]: ["LET_IT_BE.MID", "01.mid"], MD5[3]: ["a/Let it be.mid"]}
    ).encode(),
    "clean_midi/ABBA/Fernando.mid": song(30),
    "clean_midi/ABBA/Fernando.1.mid": song(31),
    "clean_midi/ABBA/Waterloo.mid": song(32),
    "clean_midi/Cher/Fernando.mid": song(33),
}


def as_folder(root: Path, files: Files) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def as_zip(root: Path, files: Files) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(root / "it.zip", "w") as z:
        for path, content in files.items():
            z.writestr(path, content)
    return root


def as_tar(root: Path, files: Files) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(root / "it.tar.gz", "w:gz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(f"./{path}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return root


def as_a_zip_alone(root: Path, files: Files) -> Path:
    return as_zip(root, files) / "it.zip"


@pytest.fixture(params=[as_folder, as_zip, as_tar, as_a_zip_alone], ids=lambda f: f.__name__)
def pack_up(request: pytest.FixtureRequest) -> object:
    return request.param


def by_name(corpus: Corpus) -> dict[str, Row]:
    return {row["path"].rsplit("/", 1)[-1].split(".mid")[0]: row for row in corpus.rows}


def names(row: Row) -> set[str]:
    return set(filter(None, row["cluster"].split("|")))


def test_maestro(pack_up: object, tmp_path: Path) -> None:
    root = pack_up(tmp_path / "x", MAESTRO)  # type: ignore[operator]
    corpus = find(root)
    rows = by_name(corpus)
    assert {name: row["split"] for name, row in rows.items()} == {"a": "train", "b": "train", "c": "valid", "d": "test"}
    assert {row["source"] for row in corpus.rows} == {"maestro"}
    assert names(rows["a"]) == names(rows["b"]) and len({rows[n]["cluster"] for n in "abcd"}) == 3
    assert [name for name in corpus.skipped if "lost" in name], "what the table names and is not here is said"
    assert {row["id"]: content for row, content in read(root, corpus.rows)} == {
        row["id"]: MAESTRO[row["path"][row["path"].find("maestro-v") :]] for row in corpus.rows
    }


def test_maestro_given_by_its_own_folder(tmp_path: Path) -> None:
    root = as_folder(tmp_path, MAESTRO) / "maestro-v3.0.0"
    assert {name: row["split"] for name, row in by_name(find(root)).items()}["c"] == "valid"


def test_groove(pack_up: object, tmp_path: Path) -> None:
    corpus = find(pack_up(tmp_path / "x", GROOVE))  # type: ignore[operator]
    assert {name[0]: row["split"] for name, row in by_name(corpus).items()} == {"1": "test", "2": "train", "3": "valid"}
    assert {row["source"] for row in corpus.rows} == {"groove"} and not corpus.skipped


def test_lakh(pack_up: object, tmp_path: Path) -> None:
    corpus = find(pack_up(tmp_path / "x", LAKH))  # type: ignore[operator]
    assert Counter(row["source"] for row in corpus.rows) == {
        "lmd_full": 4, "lmd_matched": 2, "lmd_aligned": 1, "clean_midi": 4,
    }  # fmt: skip
    assert not any(row["split"] for row in corpus.rows)
    of = {(row["source"], row["path"].rsplit("/", 1)[1].split(".mid")[0]): names(row) for row in corpus.rows}
    matched = [of["lmd_matched", MD5[i]] for i in (0, 1)]
    assert matched[0] & matched[1] == {f"lakh/{TRACKS[0].lower()}"}, "two files of one track"
    assert of["lmd_aligned", MD5[2]] & of["lmd_full", MD5[2]], "the same file in two of the sets"
    assert f"lakh/{TRACKS[1].lower()}" in of["lmd_full", MD5[3]], "the better of two matches"
    assert not of["lmd_full", MD5[3]] & matched[0] and not of["lmd_full", MD5[3]] & of["lmd_full", MD5[4]]
    assert of["lmd_full", MD5[4]] & of["lmd_full", MD5[5]] == {"lakh/title/letitbe"}
    clean = {
        row["path"].split("clean_midi/")[1]: row["cluster"] for row in corpus.rows if row["source"] == "clean_midi"
    }
    assert clean["ABBA/Fernando.mid"] == clean["ABBA/Fernando.1.mid"] and len(set(clean.values())) == 3


def test_plain_files(pack_up: object, tmp_path: Path) -> None:
    files = {
        "a/one.mid": song(1), "a/b/two.MIDI": song(2), "one.mid": song(3), "._one.mid": b"x", "notes.txt": b"x",
        "info.csv": b"name,what\none,two\n",
    }  # fmt: skip
    corpus = find(pack_up(tmp_path / "mine", files))  # type: ignore[operator]
    assert {row["id"] for row in corpus.rows} == {"a_one", "a_b_two", "one"}
    assert {(row["split"], row["cluster"]) for row in corpus.rows} == {("", "")} and not corpus.skipped


def test_ids_are_unique(tmp_path: Path) -> None:
    files = {"a/b.mid": song(1), "a_b.mid": song(2), "a b.midi": song(3)}
    as_zip(as_folder(tmp_path, files), files)
    ids = [row["id"] for row in find(tmp_path).rows]
    assert len(ids) == 6 == len(set(ids)) and not any(set(i) & set('/\\ :*?"<>|') for i in ids)


def notes(data: bytes) -> np.ndarray:
    result = parse(({"melody_track": "MELODY"}, data))
    assert isinstance(result, tuple)
    return result[0]


def test_the_same_notes_have_one_fingerprint() -> None:
    line = tune(5, 4)
    same = [
        song(5),
        song(5, up=3),
        song(5, up=-7, division=96),
        midi_bytes({n: [(at + 8, d, p, v) for at, d, p, v in part] for n, part in line.items()}),
        midi_bytes({n: [(at, d / 2, p, 99) for at, d, p, v in part] for n, part in line.items()}, tempos=[(0, 66)]),
        midi_bytes({"Organ" if n == "PIANO" else n: part for n, part in line.items()}),
    ]
    assert len({fingerprint(notes(data)) for data in same}) == 1


def test_other_notes_have_another() -> None:
    line = tune(5, 4)
    at, d, p, v = line["MELODY"][3]
    other = [
        line,
        tune(6, 4),
        {**line, "MELODY": [*line["MELODY"][:3], (at, d, p + 1, v), *line["MELODY"][4:]]},
        {**line, "MELODY": [*line["MELODY"][:3], (at + 1 / 24, d, p, v), *line["MELODY"][4:]]},
        {**line, "DRUMS": [(at, d, p + 1, v) for at, d, p, v in line["DRUMS"]]},
        {n: part for n, part in line.items() if n != "DRUMS"},
        {n: part for n, part in line.items() if n == "DRUMS"},
    ]
    assert len({fingerprint(notes(midi_bytes(tracks))) for tracks in other}) == len(other)


def row(split: str = "", cluster: str = "") -> Row:
    return {"split": split, "cluster": cluster}


def test_no_composition_straddles_and_published_splits_stay() -> None:
    rng = random.Random(1)
    pieces = [
        (row(rng.choice(("", "", "train", "test")), "|".join(rng.sample([f"c{i}" for i in range(60)], rng.randint(0, 2)))),
         f"n{rng.randrange(150)}")
        for _ in range(80)
    ]  # fmt: skip
    settled, torn = settle(pieces)
    splits: dict[str, set[str]] = {}
    for (piece, _), (split, composition) in zip(pieces, settled, strict=True):
        assert not piece["split"] or split == piece["split"]
        splits.setdefault(composition, set()).add(split)
    assert {name for name, found in splits.items() if len(found) > 1} == set(torn) and torn
    for name in {f"c{i}" for i in range(60)}:  # what shares a name, or notes, is one composition
        assert len({c for (p, _), (_, c) in zip(pieces, settled, strict=True) if name in p["cluster"].split("|")}) <= 1
    for print_ in {n for _, n in pieces}:
        assert len({c for (_, n), (_, c) in zip(pieces, settled, strict=True) if n == print_}) == 1


def test_an_unpublished_piece_follows_its_composition() -> None:
    """Ten pieces drawn on their own would all go to test with p = 1e-10."""
    pieces = [(row("test", f"c{i}"), f"a{i}") for i in range(10)] + [(row("", f"c{i}"), f"b{i}") for i in range(10)]
    assert [split for split, _ in settle(pieces)[0]] == ["test"] * 20


def test_the_shares_and_that_they_last() -> None:
    """Of 3000 drawn at 10 %, less than 240 or more than 360 have p < 3e-4; here nothing is random."""
    pieces = [(row(), f"notes {i}") for i in range(3000)]
    settled, torn = settle(pieces)
    count = Counter(split for split, _ in settled)
    assert not torn and 240 < count["valid"] < 360 and 240 < count["test"] < 360
    assert settle([*pieces[1000:], (row(), "more")])[0][:2000] == settled[1000:], (
        "more files leave the others' split alone"
    )


def test_from_a_folder_to_a_pack(tmp_path: Path) -> None:
    """Doubles are named and left out, what is broken too, and a double never lies in two splits."""
    files: Files = {f"{i:02d}.mid": song(100 + i) for i in range(20)}
    files |= {f"z{i:02d}.mid": song(100 + i, up=2) for i in range(10)}
    files |= {"broken.mid": song(1)[:60], "short.mid": midi_bytes({"MELODY": tune(1, 4)["MELODY"][:3]})}
    files["timeless.mid"] = song(1)[:12] + b"\0\0" + song(1)[14:]  # 0 ticks per quarter
    root = as_tar(as_folder(tmp_path / "mine", files), {"more/00.mid": song(100), "more/new.mid": song(150)})
    pack = load_pack(root, tmp_path / "cache")
    assert set(pack.skipped) == {"broken", "short", "timeless"}
    assert pack.duplicates == {f"z{i:02d}": f"{i:02d}" for i in range(10)} | {"more_00": "00"}
    assert {r["id"] for r in pack.table} == {f"{i:02d}" for i in range(20)} | {"more_new"}
    assert len(pack.notes) == pack.table[-1]["notes"][1] and {r["source"] for r in pack.table} == {"mine"}
    again = load_pack(root, tmp_path / "cache")
    assert (again.hash, again.table, again.duplicates) == (pack.hash, pack.table, pack.duplicates)
    (root / "00.mid").write_bytes(song(160))
    assert load_pack(root, tmp_path / "cache").hash != pack.hash


def test_a_torn_composition_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                    monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    files = dict(MAESTRO)
    files["maestro-v3.0.0/maestro-v3.0.0.csv"] = files["maestro-v3.0.0/maestro-v3.0.0.csv"].replace(
        b"1,train,2008", b"1,test,2008"
    )
    monkeypatch.setattr(sys, "argv", ["data", str(as_zip(tmp_path, files)), "--cache", str(tmp_path / "cache")])
    assert exit_status(main) == 0
    out = capsys.readouterr().out
    assert "maestro/alban berg/sonata op. 1: in the published splits test, train" in out
    assert "1 compositions in several published splits" in out


def test_a_cut_off_archive_gives_what_it_has(tmp_path: Path) -> None:
    whole = as_tar(tmp_path / "x", {f"{i}.mid": random.Random(i).randbytes(50_000) for i in range(8)}) / "it.tar.gz"
    whole.write_bytes(whole.read_bytes()[:250_000])
    corpus = find(tmp_path / "x")
    assert 2 <= len(corpus.rows) < 8 and set(corpus.skipped) == {"it.tar.gz"}
    assert all(content for _, content in read(tmp_path / "x", corpus.rows))


def test_little_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "CHUNK", 2)
    monkeypatch.setattr(pack, "AHEAD", 3)
    given = []

    def jobs():  # type: ignore[no-untyped-def]
        for i in range(40):
            given.append(i)
            yield {"id": str(i)}, b""

    results = pack._parsed(jobs())
    assert next(results)[0]["id"] == "0" and len(given) == 6
    assert [r[0]["id"] for r in results] == [str(i) for i in range(1, 40)]


@pytest.mark.parametrize("name", ["nowhere", "empty", "text", "text/a.txt", "bad.zip"])
def test_what_is_no_corpus_ends_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    as_folder(tmp_path, {"text/a.txt": b"hello", "bad.zip": b"PK nothing"})
    with pytest.raises(UserError, match="no corpus here") as caught:
        find(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_table_ends_in_one_line(tmp_path: Path) -> None:
    for broken in (b"{", b"[1]", b'{"TR": 3}'):
        with pytest.raises(UserError, match=r"match_scores\.json.* cannot be read") as caught:
            find(as_folder(tmp_path, {**LAKH, "match_scores.json": broken}))
        assert "\n" not in str(caught.value)


# --- looking at it ---


@pytest.fixture
def ask(
    toy_corpus: Path, toy_cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> object:
    def run(*options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["data", str(toy_corpus), "--cache", str(toy_cache), *options])
        status = exit_status(main)
        captured = capsys.readouterr()
        return status, captured.out if status == 0 else captured.err

    return run


def test_list(ask) -> None:  # type: ignore[no-untyped-def]
    status, out = ask("--list")
    song_line = next(line.split() for line in out.splitlines() if line.split()[:1] == ["song"])
    assert status == 0 and len(out.splitlines()) == 1 + 8
    assert song_line == ["song", "toy", "train", "14", "5", "43%", "21%", "14%", "21%"]


def test_stats(ask) -> None:  # type: ignore[no-untyped-def]
    status, out = ask("--stats")
    assert status == 0 and "8 pieces" in out and "2 skipped" in out
    valid = [line.split() for line in out.splitlines() if line.split()[:2] == ["toy", "valid"]]
    # Two pieces of 12 bars at 120 BPM, which is in the class from 120 to 143: 48 s or so.
    assert valid[0][2] == "2" and valid[0][4:6] == ["24", "0.0"] and valid[1][3:] == ["120", "to", "143", "4/4", "100%"]


@pytest.mark.parametrize("name", ["song", "solo"])
def test_piece(name: str, ask, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    png = tmp_path / "x.png"
    assert ask("--piece", name, "--png", str(png))[0] == 0
    pixels = Counter(
        map(tuple, (matplotlib.image.imread(png)[..., :3].reshape(-1, 3) * 255).round().astype(int).tolist())
    )
    melody, drums = pixels[209, 73, 91], pixels[74, 74, 74]  # as in the legend
    assert melody > 100 and (drums > 100) == (name == "song")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--piece", "tune", "--png", "x.png"], "tune: no such piece; the nearest are tune_0, tune_1, tune_2"),
        (["--piece", "sonk", "--png", "x.png"], "the nearest are song"),
        (["--piece", "short", "--png", "x.png"], "only 5 notes"),
        (["--piece", "song"], "give both"),
        (["--piece", "song", "--png", "x.txt"], "a picture is written as .png"),
        (["--list", "--png", "x.png"], "give both"),
        (["--list", "--stats"], "not allowed"),
        (["--piece", "song", "--png", "nowhere/x.png"], "nowhere/x.png"),
    ],
)
def test_wrong_questions_end_in_one_line(options: list[str], said: str, ask) -> None:  # type: ignore[no-untyped-def]
    status, error = ask(*options)
    assert status == 2 and said in error and error.count("\n") == 1
