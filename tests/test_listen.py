"""Listening: prompts, performances, figures, copies, and the bench of the music, with a model that plays no music."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models.corpus.pack import Pack
from models.evaluation import listen
from models.evaluation.copies import line, longest_copies
from models.evaluation.prompts import BARS, PROMPT_BARS, Listener, prompts_of
from realtime.config import load
from realtime.errors import UserError
from realtime.io.bench import music as bench_music
from realtime.io.files import midifile
from realtime.io.live.model import Model
from realtime.io.live.settings import worker_setup
from realtime.music.notes import note_array
from realtime.music.tunes import TUNES


def copied_by_hand(mine: np.ndarray, corpus: np.ndarray) -> int:
    """The longest stretch in notes, by trying all."""
    longest = 0
    for i in range(len(mine)):
        for j in range(len(corpus)):
            n = 0
            while i + n < len(mine) and j + n < len(corpus) and mine[i + n] == corpus[j + n] != -1:
                n += 1
            longest = max(longest, n + 1 if n else 0)
    return longest


def test_copies_are_found_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    corpus = np.concatenate([np.append(-1, rng.integers(0, 3, 40)) for _ in range(6)])
    lines = [np.append(-1, rng.integers(0, 3, 25)) for _ in range(8)]
    assert longest_copies(lines, corpus) == [copied_by_hand(each, corpus) for each in lines]


def test_a_transposed_quotation_is_a_copy_and_nothing_is_none() -> None:
    tune = note_array((24 * i, 24, pitch) for i, pitch in enumerate((60, 62, 64, 67, 65, 64, 60)))
    higher = tune.copy()
    higher["pitch"] += 5
    higher["onset"] += 96
    slower = tune.copy()
    slower["onset"] *= 2
    assert longest_copies([line(higher), line(slower), line(tune[:0])], line(tune)) == [7, 0, 0]
    assert longest_copies([], line(tune)) == []


def test_prompts_are_whole_bars_of_the_split(toy_pack: Pack) -> None:
    prompts = prompts_of(toy_pack, "valid", 2, seed=1)
    assert {prompt.name for prompt in prompts} == {"toy tune_3", "toy tune_4"}
    for prompt in prompts:
        assert prompt.bar == 96
        assert prompt.both
        assert 0 <= prompt.notes["onset"].min() < 96
        assert prompt.notes["onset"].max() < BARS * 96
    assert [p.notes.tolist() for p in prompts_of(toy_pack, "valid", 2, 1)] == [p.notes.tolist() for p in prompts]


def test_each_plays_in_its_own_time(toy_pack: Pack, tiny_model: Path) -> None:
    listener = Listener(tiny_model, seed=1)
    prompt = prompts_of(toy_pack, "valid", 1, seed=1)[0]
    edge = PROMPT_BARS * prompt.bar
    continued = listener.continuation(prompt)
    assert continued.player["onset"].max() < edge <= continued.antiphon["onset"].min()
    assert set(continued.antiphon["part"]) <= set(continued.player["part"])
    written = listener.composition(prompt)
    assert edge <= written.antiphon["onset"].min() and written.antiphon["onset"].max() < BARS * prompt.bar
    assert written.player.tolist() == continued.player.tolist()
    assert set(written.antiphon["part"]) <= set(written.player["part"])
    answered = listener.answers(prompt)
    turn = answered.antiphon["onset"] // (2 * prompt.bar)
    assert set((turn % 2).tolist()) == {1}
    along = listener.accompaniment(prompt)
    assert set(along.player["part"]) == {0}
    assert 0 not in along.antiphon["part"]
    again = listener.accompaniment(prompt)
    assert again.antiphon.tolist() == along.antiphon.tolist()
    higher = listener.accompaniment(prompt, shifted=True)
    same = higher.player["onset"] < 16 * 24
    assert (higher.player["pitch"] - along.player["pitch"][: len(higher.player)])[~same].tolist() == [6] * (~same).sum()


def test_real_music_differs_by_nothing_from_itself(toy_pack: Pack, tiny_model: Path) -> None:
    listener = Listener(tiny_model, seed=1)
    played = listener.accompaniment(prompts_of(toy_pack, "valid", 1, seed=1)[0])
    itself = listen.Played(played.player, played.real, played.real, played.whole, played.bars, played.spans)
    rows = listen.summary([listen.figures(itself)]) | listen.overlaps([itself])
    assert all(row["difference"] == pytest.approx(0.0) for row in rows.values())
    assert rows["overlap of pitch"]["generated"] == 1.0


def test_the_command_writes_everything(
    toy_corpus: Path, toy_cache: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ["listen", "--data", toy_corpus, "--cache", toy_cache, "--out", out, "--model", tiny_model, "--prompts", 2]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    listen.run()
    report = json.loads((out / "figures.json").read_text())
    assert set(report["figures"]) == {
        "continuation",
        "composition",
        "answers",
        "swung answers",
        "answers to tunes",
        "accompaniment",
    }
    for kind in ("continuation", "answers", "accompaniment"):
        rows = report["figures"][kind]
        assert rows["scale consistency"]["real"] > 0.5
        assert rows["longest copy from training, notes"]["generated"] >= 0
    answers = report["figures"]["answers"]
    assert answers["interval triples of the call"]["rules"] > 0.5  # they play the call again
    assert answers["velocity spread over the call's"]["real"] > 0.5
    assert report["figures"]["swung answers"]["swung as the call"]["rules"] == 1.0
    assert report["figures"]["answers to tunes"]["interval triples of the call"]["rules"] > 0.5
    alike = report["figures"]["continuation"]["bars 4 apart alike"]
    assert alike["ratio"] == pytest.approx(alike["generated"] / alike["real"], abs=1e-3)
    assert set(report["recovery"]["beats"]) == {"5 to 16", "17 to 20", "21 to 24", "25 to 32"}
    for picture in ("sheet.png", "tunes.png"):
        assert (out / picture).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    files = sorted(out.glob("*.mid"))
    assert len(files) == 2 * 6 + 2
    assert midifile.read(out / files[0].name).notes


def test_the_rules_play_in_the_models_place(toy_pack: Pack, tiny_model: Path) -> None:
    listener = Listener(tiny_model, seed=1)
    rules = listener.by_rules()
    prompt = prompts_of(toy_pack, "valid", 1, seed=1)[0]
    before = listener.accompaniment(prompt).antiphon.tolist()
    played = rules.accompaniment(prompt)
    assert len(played.antiphon) and played.antiphon.tolist() != before
    struck = played.antiphon[played.antiphon["onset"] % prompt.bar == 0]
    assert len(struck) > len(np.unique(struck["onset"]))  # roots and triads
    assert rules.accompaniment(prompt).antiphon.tolist() == played.antiphon.tolist()
    assert listener.accompaniment(prompt).antiphon.tolist() == before


def test_no_prompts_is_said_in_one_line(toy_pack: Pack) -> None:
    short = Pack("", [{**row, "split": "none"} for row in toy_pack.table], toy_pack.notes, toy_pack.beats, {})
    with pytest.raises(UserError, match="no piece of the split valid"):
        prompts_of(short, "valid", 4, seed=1)


def test_the_bench_has_every_figure_for_every_mode(tiny_model: Path, tmp_path: Path) -> None:
    config = load(None, {"model.file": tiny_model})
    tunes = [TUNES[0], next(tune for tune in TUNES if tune.metre == (6, 8))]
    report = bench_music.measure(config, tunes)
    assert list(report) == ["player", *bench_music.MODES]
    assert all(set(row) == set(bench_music.FIGURES) for by_tune in report.values() for row in by_tune.values())
    player = report["player"]["all"]
    assert player["key"] > 0.9
    assert player["register"] == pytest.approx(1.0)
    assert player["density"] == pytest.approx(1.0)
    assert math.isnan(report["trade"]["all"]["consonance"])
    assert report["harmonise"]["all"]["consonance"] > 0
    assert 0 <= report["accompany"]["all"]["ends on tonic"] <= 1
    assert math.isnan(report["trade"]["all"]["ends on tonic"])
    assert str(bench_music.measure(config, tunes)) == str(report)  # as text: nan is not equal to itself


@pytest.mark.parametrize("mode", ["trade", "continue"])
def test_answers_stay_within_their_turns(tiny_model: Path, mode: str) -> None:
    config = load(None, {"model.file": tiny_model})
    model = Model.load(worker_setup(config))
    for tune in (TUNES[0], TUNES[2], TUNES[-1]):
        played = bench_music.duet(config, model, tune, mode)
        inside = [any(start <= onset < end for start, end in played.ours) for onset in played.antiphon["onset"]]
        assert all(inside)
        assert len(played.antiphon)
