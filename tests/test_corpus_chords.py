"""Chords of a corpus: what an annotation says of each beat, what is estimated, where it is stored, and fitting the estimator."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from toycorpus import corpus_files, write_corpus

from models.corpus.chords import (
    ANNOTATED,
    ESTIMATED,
    GUESSED,
    NO_BASS,
    annotated,
    load_charted,
    load_chords,
    read_annotations,
)
from models.corpus.pack import BEAT, Pack, load_pack
from models.evaluation import chords as evaluation
from models.training import chord_fitting, fit_chords
from models.training import harmony as training
from models.training import tune_harmony as tune_training
from realtime.errors import UserError
from realtime.music.chord_features import features
from realtime.music.chords import NO_CHORD, UNKNOWN, chord
from realtime.music.harmony import Harmony
from realtime.music.tune_harmony import SEEN, TOLD, TuneHarmony
from realtime.music.vocabulary import MELODY

C, F, G7, AM = chord(0, "maj"), chord(5, "maj"), chord(7, "dom7"), chord(9, "min")
NAMES = {48: "C:maj", 53: "F:maj", 55: "G:maj", 57: "A:maj"}
"""The chord of a bar of `toycorpus.tune`, by its root's pitch."""


def quarters(count: int) -> np.ndarray:
    return np.array([(24 * beat, 24, beat % 4, 96, 0, 0) for beat in range(count)], BEAT)


def annotations(pack: Pack) -> list[dict[str, object]]:
    """What is played in each tune, from its lowest notes; one bar is left out, and one is a guess."""
    rows: list[dict[str, object]] = []
    for i in range(len(pack)):
        piece = pack[i]
        bass = piece.notes[piece.notes["part"] == 2]
        if not piece.id.startswith("tune"):
            continue
        chords = [[n["onset"] / 24, n["onset"] / 24 + 4, NAMES[int(n["pitch"]) + 12]] for n in bass]
        chords[2][2] = "D:sus4?"
        del chords[5]
        rows.append({"id": piece.id, "chords": chords, "keys": []})
    return rows


def add_annotations(corpus: Path, rows: list[dict[str, object]]) -> None:
    with zipfile.ZipFile(corpus / "main" / "toy.zip", "a") as z:
        z.writestr("annotations.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


@pytest.fixture
def labelled(corpus: Path, toy_pack: Pack) -> Path:
    add_annotations(corpus, annotations(toy_pack))
    return corpus


def test_a_beat_has_the_chord_that_sounds_for_most_of_it() -> None:
    spans = [
        (0, 1.4, "C:maj"),
        (1.4, 2.5, "F:maj/A"),
        (2.5, 3, "G:7"),
        (3, 4, "A:min?"),
        (4, 4.4, "C:maj"),
        (5, 6, "C:5"),
        (6, 8, "N"),
    ]
    chords, guessed, bass = annotated(spans, quarters(9))
    assert chords.tolist() == [C, F, F, AM, UNKNOWN, UNKNOWN, NO_CHORD, NO_CHORD, UNKNOWN]  # of two halves the earlier
    assert guessed.tolist() == [False] * 3 + [True] + [False] * 5
    assert bass.tolist() == [0, 9, 9, 9, *[NO_BASS] * 5], "as it is named, else the root"
    with pytest.raises(ValueError, match="Q:maj"):
        annotated([(0, 1, "Q:maj")], quarters(1))
    assert annotated((), quarters(2))[0].tolist() == [UNKNOWN, UNKNOWN]


def test_short_beats_and_a_start_before_zero() -> None:
    beats = np.array([(-12, 12, 3, 84, 0, 0), (0, 24, 0, 84, 0, 0), (24, 12, 1, 84, 0, 0)], BEAT)
    assert annotated([(0, 1, "C:maj"), (1, 1.5, "G:7")], beats)[0].tolist() == [UNKNOWN, C, G7]


def test_annotations_are_read_from_the_archives(labelled: Path, toy_pack: Pack) -> None:
    found = read_annotations(labelled)
    assert set(found) == {row["id"] for row in annotations(toy_pack)}
    assert found["tune_0"][2][2] == "D:sus4?" and len(found["tune_0"]) == 11


def test_pieces_that_are_not_aligned_are_left_out_and_broken_lines_named(corpus: Path) -> None:
    add_annotations(
        corpus, [{"id": "a", "chords": [[0, 1, "C:maj"]], "beat_aligned": False}, {"id": "b", "chords": None}]
    )
    assert read_annotations(corpus) == {}
    with pytest.warns(UserWarning, match="Duplicate"):
        add_annotations(corpus, [{"id": "a", "chords": [[0, "C:maj"]]}])
    with pytest.raises(UserError, match=r"toy\.zip: its annotations\.jsonl cannot be read"):
        read_annotations(corpus)


def test_every_beat_has_a_chord_and_where_it_is_from(labelled: Path, tmp_path: Path) -> None:
    pack = load_pack(labelled, tmp_path / "cache")
    chords = load_chords(labelled, tmp_path / "cache", pack)
    assert len(chords) == len(pack.beats)
    row = next(row for row in pack.table if row["id"] == "tune_0")
    own, bass = chords[slice(*row["beats"])], pack[pack.table.index(row)].notes
    roots = (bass["pitch"][bass["part"] == 2] % 12).tolist()
    assert own["origin"][:4].tolist() == [ANNOTATED] * 4 and own["chord"][:4].tolist() == [chord(roots[0], "maj")] * 4
    assert own["origin"][8:12].tolist() == [GUESSED] * 4 and own["chord"][8:12].tolist() == [chord(2, "sus")] * 4
    assert own["origin"][20:24].tolist() == [ESTIMATED] * 4 and (own["chord"][20:24] - 1).tolist() == [roots[5]] * 4
    assert (own["sure"][own["origin"] != ESTIMATED] == 255).all() and (own["sure"][20:24] > 100).all()
    solo = next(row for row in pack.table if row["id"] == "solo")
    assert (chords[slice(*solo["beats"])]["origin"] == ESTIMATED).all()


def test_the_chords_are_made_once_and_anew_when_an_annotation_changes(labelled: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    pack = load_pack(labelled, cache)

    def files() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (cache / pack.hash).glob("chords.*")}

    load_chords(labelled, cache, pack)
    first = files()
    load_chords(labelled, cache, pack)
    assert files() == first and len(first) == 1
    rows = annotations(pack)
    rows[0]["chords"] = [[0, 48, "F:maj"]]
    with pytest.warns(UserWarning, match="Duplicate"):
        add_annotations(labelled, rows)
    changed = load_chords(labelled, cache, pack)
    assert len(files()) == 2
    row = next(row for row in pack.table if row["id"] == rows[0]["id"])
    assert (changed[slice(*row["beats"])]["chord"] == F).all()


def test_the_command_prints_where_chords_are_from_and_the_table(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chords", str(labelled), "--cache", str(tmp_path / "cache")])
    evaluation.main()
    lines = capsys.readouterr().out.splitlines()
    assert any("% annotated" in line and "% guessed" in line and "% estimated" in line for line in lines)
    ways = [
        line.split("  ")[0].split()[0] + line[18:43].rstrip()
        for line in lines
        if line.startswith("toy") and "[" in line
    ]
    assert ways == ["toy as written", "toy without rendered chords", "toy heard so far"]
    assert any(
        "as written" in line and "  80 " in line for line in lines
    )  # 2 tunes x 12 bars x 4 - left out and guessed


def test_what_counts_as_right() -> None:
    score = evaluation.Score()
    truth = np.array([C, C, AM, chord(2, "sus"), UNKNOWN, C])
    found = np.array([chord(0, "maj7"), chord(0, "min"), AM, chord(2, "maj"), C, F])
    counted = np.array([True] * 4 + [False, True])
    score.add("song", found, np.full(6, 0.5), truth, counted)
    assert score.counts == [[4, 2, 5, 4, 1, 2.5]]


def test_the_field_scores_as_the_estimator_does(toy_pack: Pack) -> None:
    torch.manual_seed(1)
    field = training.Field(hidden=5)
    for value in field.parameters():
        torch.nn.init.normal_(value, std=0.5)
    field = field.half().float()
    piece = toy_pack[toy_pack.rows("train")[1]]
    seen = features(piece.notes, piece.beats)
    with torch.no_grad():
        emission = field.emission(torch.from_numpy(seen.windows), torch.from_numpy(seen.facts))
        harmony = Harmony(field.weights())
        assert np.allclose(harmony.emission(seen, True), emission.numpy(), atol=1e-3)
        truth = torch.from_numpy(harmony.estimate(piece.notes, piece.beats).chord.astype(np.int64) - 1)[None]
        three = training.Batch(
            *(torch.from_numpy(part)[None, :3] for part in (seen.windows, seen.facts, seen.place)),
            truth[:, :3],
            torch.ones(1, 3, dtype=torch.bool),
        )
        change, stay = field.transitions()
        rows = emission[0][:, None, None] + emission[1][None, :, None] + emission[2][None, None]
        for beat, axes in ((1, (slice(None), slice(None), None)), (2, (None, slice(None), slice(None)))):
            step = torch.where(torch.isinf(change), torch.diag(stay[int(seen.place[beat])]), change)
            rows = rows + step[axes]
        own = rows[tuple(truth[0, :3].tolist())]
        assert torch.isclose(field.nats(three), (rows.flatten().logsumexp(0) - own) / 3, atol=1e-4)
        padded = training.Batch(
            *(torch.cat([part, torch.zeros_like(part[:, :1])], 1) for part in three)
        )  # a beat that is not there changes nothing
        assert torch.isclose(field.nats(padded), field.nats(three), atol=1e-4)


def test_fitting_learns_the_chords_of_the_corpus(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fitted" / "harmony.npz"
    arguments = ["fit", str(labelled), "--cache", str(tmp_path / "cache"), "-o", str(out), "--epochs", "60"]
    monkeypatch.setattr(sys, "argv", arguments)
    fit_chords.main()
    nats = [float(line.split()[2]) for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert nats[0] > 2 and nats[-1] < 0.4 * nats[0]
    with np.load(out) as weights:
        harmony = Harmony(dict(weights))
    pack = load_pack(labelled, tmp_path / "cache")
    piece = pack[pack.rows("valid")[0]]
    truth, guessed, _ = annotated(read_annotations(labelled)[piece.id], piece.beats)
    known = (truth != UNKNOWN) & ~guessed
    assert (harmony.estimate(piece.notes, piece.beats).chord == truth)[known].mean() > 0.6


def test_tunes_are_fitted_to_where_there_are_tunes(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "harmony.tune.npz"
    arguments = [
        "fit",
        str(labelled),
        "--cache",
        str(tmp_path / "cache"),
        "-o",
        str(out),
        "--hears",
        "tune",
        "--epochs",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    fit_chords.main()
    with np.load(out) as weights:
        TuneHarmony(dict(weights))
    with pytest.raises(UserError, match="no annotated piece has a tune"):
        tune_training.fit([], 1, 0)


def test_tunes_whose_chords_are_estimated_are_fitted_to_too(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of songs that nobody has annotated; the common roots are those of annotated pieces alone."""
    monkeypatch.setattr(chord_fitting, "SONGS", ("toy",))
    pack = load_charted(labelled, tmp_path)
    known = {pack.table[i]["id"] for i in pack.rows("train")} & set(read_annotations(labelled))
    found = chord_fitting.estimated_examples(labelled, pack)
    both = [
        i
        for i in pack.rows("train")
        if pack.table[i]["id"] not in known and 0 < (pack[i].notes["part"] == MELODY).mean() < 1
    ]
    assert len(found) == len(both) > 0 and not any(example.annotated for example in found)
    for example, i in zip(found, both, strict=True):
        assert set(example.windows) == {"tune"} and len(example.chords) == len(pack[i].beats)
        assert np.array_equal(example.chords, np.where(pack[i].chords == NO_CHORD, UNKNOWN, pack[i].chords))
    monkeypatch.setattr(chord_fitting, "SONGS", ())
    assert not chord_fitting.estimated_examples(labelled, pack)
    annotated_alone = chord_fitting.examples(labelled, pack)
    net = tune_training.fit([*annotated_alone, *found], 1, 0)
    expected = tune_training.ROOTS_WEIGHT * tune_training.common_roots(annotated_alone)
    torch.testing.assert_close(net.roots, expected)


def test_common_roots_count_until_the_key_is_known() -> None:
    torch.manual_seed(1)
    net = tune_training.Recurrent(8).eval()
    windows, facts = torch.zeros(1, 2, len(SEEN), 12), torch.zeros(1, 2, TOLD)
    windows[0, 0, tune_training.HEARD[0], :4] = 1  # four pitch classes, then a fifth long ago
    windows[0, 1] = windows[0, 0]
    windows[0, 1, tune_training.HEARD[1], 7] = 1
    chords = torch.tensor([[3, 3]])
    rows = net(windows, facts)[0].log_softmax(-1)[:, 3]

    def nats(beat: int) -> torch.Tensor:
        there = torch.arange(2)[None] == beat
        return net.nats(tune_training.Batch(windows, facts, chords, there))

    torch.testing.assert_close(nats(0), -rows[0])
    net.roots[3] = 5.0
    assert nats(0) < -rows[0] - 0.5
    torch.testing.assert_close(nats(1), -rows[1])


def test_a_corpus_without_annotations_cannot_be_fitted_to(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["fit", str(corpus), "--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "x.npz")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(UserError, match="no piece of its training split has annotated chords"):
        fit_chords.main()
    assert not (tmp_path / "x.npz").exists() and corpus_files()
