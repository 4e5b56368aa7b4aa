"""Scores of exported models and baselines: they are what the models say, add up to one, and come from any corpus."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toycorpus import corpus_files, write_corpus

from export.__main__ import export, random_decoder
from export.convert import contract_of
from models.bootstrap import RESAMPLES, interval, resampled
from models.command import exit_status
from models.corpus.chords import with_chords
from models.corpus.pack import Pack, load_pack, song_of
from models.evaluation.baselines import CopyThePast, Markov, Stream
from models.evaluation.evaluate import fit, fitted, run
from models.evaluation.scoring import forced_nats, stream_of, whole
from models.nets.decoder import Decoder, Size
from models.training.losses import candidates_of
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import BEAT, HEADS

NAMES = {"antiphon", "lstm", "markov5", "copy", "unigram"}


@pytest.fixture(scope="module")
def decoders() -> dict[str, Decoder]:
    torch.manual_seed(1)
    return {"antiphon": random_decoder("tiny", 0), "lstm": Decoder(Size(64, 1, 32, mixers=("lstm",))).eval()}


@pytest.fixture(scope="module")
def models(decoders: dict[str, Decoder], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    for name, decoder in decoders.items():
        export(decoder, contract_of(decoder, name, "native", "fp32", ""), folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in decoders}


def evaluate(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, arguments)])
    return exit_status(run)


def test_report(
    toy_corpus: Path,
    toy_cache: Path,
    toy_pack: Pack,
    decoders: dict[str, Decoder],
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every split but the training's, every source, every model; and the models' figures are torch's."""
    common = ("--data", toy_corpus, "--cache", toy_cache, "--model", models["antiphon"], "--lstm", models["lstm"])
    assert evaluate(monkeypatch, *common, "--json", tmp_path / "out.json") == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert set(report) == {"valid", "test"}
    charted = with_chords(toy_pack, toy_corpus, toy_cache)
    for split, groups in report.items():
        assert set(groups) == {"all", "toy"} and groups["all"] == groups["toy"]
        assert set(groups["all"]) == NAMES
        for name, figures in groups["all"].items():
            told = {"chords"} if name in decoders else set()
            assert set(figures) == {"nats_per_note", "low", "high", "heads"} | told and set(figures["heads"]) == set(
                HEADS
            )
            assert figures["nats_per_note"] == pytest.approx(sum(figures["heads"].values()), abs=1e-3)
            assert figures["low"] <= figures["nats_per_note"] <= figures["high"]
        for name, decoder in decoders.items():
            expected = torch_nats(decoder, [charted[i] for i in charted.rows(split)])
            found = [*(groups["all"][name]["heads"][head] for head in HEADS), groups["all"][name]["chords"]]
            assert found == pytest.approx(expected, abs=2e-4)
    out = capsys.readouterr().out
    assert "fitted on" in out and out.count("wholly below its: no") == 2 * (len(NAMES) - 1)  # untrained models


def torch_nats(decoder: Decoder, pieces: list) -> list[float]:
    """Nats per note of each head and of the chords, by the decoder's own forward pass."""
    sums, notes = torch.zeros(len(HEADS) + 1), 0
    for piece in pieces:
        window = whole(piece, memory=decoder.memory is not None)
        arrays = {name: torch.from_numpy(x)[None] for name, x in window.items()}
        with torch.no_grad():
            logits, _ = decoder(arrays["events"], arrays["held"], arrays["targets"], candidates=candidates_of(arrays))
        due = arrays["due"][0] > 0
        assert int(due.sum()) == len(piece.beats)
        is_note = (arrays["targets"][0, :, 0] != BEAT) & ~due
        notes += len(piece.notes)
        assert int(is_note.sum()) == len(piece.notes)
        asked = torch.cat([arrays["targets"], arrays["chord"][..., None]], -1)[0]
        counts = [~due, *[is_note] * (len(HEADS) - 1), due]
        for i, (head, rows) in enumerate(zip(logits, counts, strict=True)):
            sums[i] += F.cross_entropy(head[0][rows], asked[rows, i], reduction="sum")
    return (sums / notes).tolist()


def test_a_model_is_not_scored_without_chords(toy_pack: Pack, models: dict[str, Path]) -> None:
    """It never saw such a stream in training, and would look worse than it is."""
    with pytest.raises(ValueError, match="without CHORD"):
        forced_nats(Stepper.load(models["antiphon"], "cpu", slots=2), None, toy_pack[0])


def test_a_folder_of_held_out_pieces(
    toy_corpus: Path,
    toy_cache: Path,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No training split, a split of another name: the baselines are fitted on the other songs there, or where `--fit` says. No
    LSTM is scored where none is given."""
    files = {f"new_{name}": ("heldout", data) for name, (split, data) in corpus_files().items() if split != "train"}
    folder = write_corpus(tmp_path / "new", files)
    common = ("--data", folder, "--cache", toy_cache, "--model", models["antiphon"])
    out = tmp_path / "out.json"
    assert evaluate(monkeypatch, *common, "--json", out) == 0
    assert "other half of the songs" in capsys.readouterr().out
    alone = json.loads(out.read_text())
    assert evaluate(monkeypatch, *common, "--json", out, "--fit", toy_corpus) == 0
    with_training = json.loads(out.read_text())
    for report in (alone, with_training):
        assert set(report) == {"heldout"} and set(report["heldout"]["all"]) == NAMES - {"lstm"}
    assert alone["heldout"]["all"]["antiphon"] == with_training["heldout"]["all"]["antiphon"]
    assert alone["heldout"]["all"]["markov5"] != with_training["heldout"]["all"]["markov5"]
    assert (
        with_training["heldout"]["all"]["markov5"]["nats_per_note"]
        < with_training["heldout"]["all"]["unigram"]["nats_per_note"]
    )


def test_a_piece_is_not_scored_by_what_was_fitted_on_it(toy_corpus: Path, toy_cache: Path) -> None:
    """Without a training split each half of the songs is scored by the baselines of the other half."""
    pack = load_pack(toy_corpus, toy_cache)
    rows = [i for i in range(len(pack)) if pack.table[i]["split"] != "train"]
    held_out = replace(pack, table=[pack.table[i] for i in rows])
    baselines = fitted(held_out, None)
    by_song = {song_of(row): baselines(i) for i, row in enumerate(held_out.table)}
    assert len({id(b) for b in by_song.values()}) == 2
    everything = fit(held_out[i] for i in range(len(held_out)))
    for i in range(len(held_out)):
        stream = stream_of(held_out[i])
        assert baselines(i)["markov5"](stream).sum() > everything["markov5"](stream).sum()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--split", "nonsense"), "test, train, valid"),
        (("--lstm", "gone.onnx"), "gone.onnx: no model there"),
        (("--tiers", "other"), "other"),
        (("--fit", "nowhere"), "nowhere: no corpus here"),
    ],
)
def test_error_is_one_line(
    arguments: tuple[str, str],
    expected: str,
    toy_corpus: Path,
    toy_cache: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = ("--data", toy_corpus, "--cache", toy_cache, "--model", models["antiphon"])
    assert evaluate(monkeypatch, *common, *arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err and captured.err.strip().count("\n") == 0 and not captured.out


def test_songs_are_drawn_whole_and_the_same_for_every_model() -> None:
    rng = np.random.default_rng(2)
    notes, nats = rng.integers(10, 100, 40), rng.random(40) * 100
    songs = np.array([f"song {i // 2}" for i in range(40)])
    draws = resampled(nats, notes, songs)
    assert draws.shape == (RESAMPLES,)
    np.testing.assert_allclose(resampled(nats + 3 * notes, notes, songs) - draws, 3)
    np.testing.assert_allclose(resampled(nats, notes, np.full(40, "one song")), nats.sum() / notes.sum())
    twice = resampled(np.tile(nats, 2), np.tile(notes, 2), np.tile(songs, 2))
    np.testing.assert_allclose(twice, draws)  # versions of a song are no further songs
    low, high = interval(draws)
    assert low < nats.sum() / notes.sum() < high


@pytest.fixture(scope="module")
def streams(toy_pack: Pack) -> list[Stream]:
    return [stream_of(toy_pack[i]) for i in range(len(toy_pack))]


@pytest.mark.parametrize("name", ["unigram", "markov5", "copy"])
def test_baselines_are_distributions(streams: list[Stream], name: str) -> None:
    """Whatever a field may be, the probabilities add up to one: in known contexts and in new ones."""
    training = streams[:4]
    unigram = Markov(training, order=-1)
    baseline = {"unigram": unigram, "markov5": Markov(training), "copy": CopyThePast(training, unigram)}[name]
    for stream in (streams[3], streams[-2]):
        for end in np.flatnonzero(stream.is_note)[[2, 20, 40]] + 1:
            for field, size in enumerate(HEADS.values()):
                target = stream.target[:end].copy()
                total = 0.0
                for value in range(size):
                    target[-1, field] = value
                    total += np.exp(-baseline.score(Stream(stream.known[:end], target))[-1, field])
                assert total == pytest.approx(1, abs=1e-9), (field, end)


def test_baselines_learn(streams: list[Stream]) -> None:
    """Each is better on what it was fitted on than on less, and a piece that repeats itself can be copied."""
    unigram, markov = Markov(streams, order=-1), Markov(streams)
    copy = CopyThePast(streams, unigram)
    seen = streams[-1]
    assert markov.score(seen).sum() < 0.5 * unigram.score(seen).sum()
    twice = Stream(np.tile(seen.known, (2, 1)), np.tile(seen.target, (2, 1)))
    first, second = np.split(copy.score(twice).sum(1), 2)
    assert second.sum() < 0.7 * first.sum() and second.sum() < 0.7 * unigram.score(seen).sum()
