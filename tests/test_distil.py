"""Distillation: what is played obeys the rules and is heard as it was played, the two streams tell of the same events, the
divergence is that of the composed distributions, and the run resumes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toycorpus import corpus_files, write_corpus

from models.command import exit_status
from models.corpus.pack import Pack
from models.corpus.perturb import Augment
from models.corpus.stream import EXACT
from models.nets.checkpoint import load_decoder, save_decoder
from models.nets.decoder import SIZES, Decoder
from models.training.distil import divergence, next_time, own_choices
from models.training.distil import main as distil_main
from models.training.duets import Duet, Duets, asked, figures, pair
from models.training.playing import play
from realtime.music.notes import note_array
from realtime.music.vocabulary import (
    BEAT,
    DRUMS,
    DURATION_TICKS,
    HEADS,
    MODEL_PART,
    Role,
    duration_index,
    duration_indices,
)

EVENTS, LEAD, COUNT = 72, 24, 12


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder(SIZES["tiny"]).eval()


@pytest.fixture(scope="module")
def duets(toy_pack: Pack) -> list[Duet]:
    made = Duets(toy_pack, "train", EVENTS, 3, Augment())
    return [made.duet(i) for i in range(COUNT)]


@pytest.fixture(scope="module")
def played(decoder: Decoder, duets: list[Duet]) -> list[Duet]:
    return play(decoder, duets, EVENTS, 1.0, torch.Generator().manual_seed(1))


# --- dealing ---


def test_a_duet_is_the_same_by_seed_and_number_and_both_have_a_part(toy_pack: Pack, duets: list[Duet]) -> None:
    again = Duets(toy_pack, "train", EVENTS, 3, Augment())
    for i in reversed(range(COUNT)):
        ours, theirs = duets[i], again.duet(i)
        assert np.array_equal(ours.notes, theirs.notes) and ours[3:] == theirs[3:]
        assert ours.role in (Role.ACCOMPANY, Role.HARMONISE)
        assert (~ours.player).any()
        assert ours.lag == 0 or ours.role == Role.ACCOMPANY
    assert {duet.role for duet in duets} == {Role.ACCOMPANY, Role.HARMONISE}
    assert len({duet.prefix for duet in duets}) > 1


def test_the_teacher_gets_every_note_early_and_with_its_duration(toy_pack: Pack) -> None:
    made = Duets(toy_pack, "train", EVENTS, 3, Augment(), COUNT, LEAD)
    for i in range(COUNT):
        duet = made.duet(i)
        arrays = duet.early_stream(LEAD)
        expected = []
        for note, player in zip(duet.notes, duet.player, strict=True):
            onset = max(int(note["onset"]) - LEAD * player, 0)
            row = (onset, int(note["part"]) + MODEL_PART, int(note["pitch"]), duration_index(int(note["duration"])))
            expected += [row] if onset < duet.end else []
        events = arrays["events"]
        is_note = events[:, 0] != BEAT
        got = np.column_stack([duet.ticks(events), events[:, 1:4]])[is_note].tolist()
        assert len(expected) - 1 <= len(got) <= len(expected), "the last event is only asked for"
        assert set(map(tuple, got)) <= set(expected)
        assert not arrays["held"][:, :128].any() and arrays["held"][:, 128:].any()
        assert set(events[:, 8].tolist()) == {duet.role}
        assert np.all(arrays["note"] <= (arrays["kind"] == EXACT))
        assert made[i]["events"].shape == (EVENTS, 10)


# --- playing ---


def test_what_is_played_obeys_the_rules(duets: list[Duet], played: list[Duet]) -> None:
    count = 0
    for was, duet in zip(duets, played, strict=True):
        own = duet.own(duet.end)
        count += len(own)
        real = was.notes[~was.player]
        assert set(own["part"].tolist()) <= set(real["part"].tolist())
        before = [n[~d.player & (n["onset"] < d.prefix)] for d, n in ((was, was.notes), (duet, duet.notes))]
        assert np.array_equal(*before), "the prefix is the real music's"
        assert np.all(own["onset"] >= duet.prefix) and np.all(np.diff(own["onset"]) >= 0)
        assert set(own["duration"].tolist()) <= set(DURATION_TICKS.tolist())
        pitched = own[own["part"] != DRUMS]
        assert np.all((pitched["pitch"] >= 21) & (pitched["pitch"] <= 108))
        everything = duet.notes[~duet.player]
        lasts = DURATION_TICKS[duration_indices(everything["duration"])]
        for note in own:
            same = (everything["pitch"] == note["pitch"]) & (everything["onset"] <= note["onset"])
            sounds = same & (everything["onset"] + lasts > note["onset"])
            assert sounds.sum() == 1, "itself alone"
    assert count > 10 * COUNT


def test_it_is_heard_as_it_was_played(decoder: Decoder, duets: list[Duet], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the decoder was fed step by step is the stream of the performance, held keys and all."""
    fed: list[tuple[Tensor, Tensor]] = []
    read = decoder.read

    def watched(events: Tensor, held: Tensor, *others: Any) -> Tensor:
        fed.append((events.clone(), held.clone()))
        return read(events, held, *others)

    with monkeypatch.context() as patch:
        patch.setattr(decoder, "read", watched)
        made = play(decoder, duets, EVENTS, 1.0, torch.Generator().manual_seed(1))
    events, held = (torch.cat(x, 1).numpy() for x in zip(*fed, strict=True))
    for i, duet in enumerate(made):
        stream = duet.live_stream()
        length = len(stream["kind"])
        assert EVENTS // 3 < length <= EVENTS
        assert np.array_equal(events[i, :length], stream["events"])
        assert np.array_equal(held[i, :length], stream["held"])


def test_the_same_noise_plays_the_same(decoder: Decoder, duets: list[Duet], played: list[Duet]) -> None:
    again, other = (play(decoder, duets, EVENTS, 1.0, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert all(np.array_equal(a.notes, b.notes) for a, b in zip(played, again, strict=True))
    assert not all(np.array_equal(a.notes, b.notes) for a, b in zip(played, other, strict=True))


def test_stretches_play_alone_as_together(decoder: Decoder, duets: list[Duet]) -> None:
    """No window of a batch disturbs another: with next to no temperature there is no chance in it."""
    together = play(decoder, duets, EVENTS, 1e-6, torch.Generator().manual_seed(1))
    for duet, one in zip(duets[:4], together, strict=False):
        alone = play(decoder, [duet], EVENTS, 1e-6, torch.Generator().manual_seed(2))[0]
        assert np.array_equal(alone.notes, one.notes)


# --- two streams of one performance ---


def test_the_two_streams_have_the_same_own_events(played: list[Duet]) -> None:
    late, early = pair(played, LEAD)
    for name in ("targets", "own", "note"):
        assert torch.equal(late[name], early[name])
    assert not torch.equal(late["events"], early["events"])
    for batch in (late, early):
        for i in range(COUNT):
            count = int(batch["own"][i].sum())
            following = batch["events"][i, batch["step"][i, : count - 1] + 1, :5]
            beats = following[:, 0] == BEAT
            assert torch.equal(following[~beats], batch["targets"][i, : count - 1][~beats])
            assert torch.equal(following[:, 0], batch["targets"][i, : count - 1, 0]), "right before each own event"


@pytest.mark.parametrize("early", [False, True])
def test_each_time_is_decided_at_the_last_step_that_could(played: list[Duet], early: bool) -> None:
    for duet in played:
        arrays = duet.early_stream(LEAD) if early else duet.live_stream()
        steps, at = asked(arrays, duet.role)
        start, own = 0, 0
        for i, kind in enumerate(arrays["kind"]):
            if kind != EXACT:
                continue
            assert steps[own] == i
            for t in range(BEAT + 1):
                could = []
                for step in range(start, i + 1):
                    time, part = arrays["events"][step, :2].tolist()
                    late = duet.role == Role.ACCOMPANY and arrays["tick"][step] > arrays["tick"][0]
                    strictly = part < MODEL_PART and not early and late
                    if time == BEAT or (t > time if strictly else t >= time):
                        could.append(step)
                assert at[own, t] == (could[-1] if could else -1)
            start, own = i + 1, own + 1


def test_the_time_is_composed_of_all_steps_that_asked_for_it() -> None:
    """Asked at 0, again from 5 on, and from 9 on: survive the first up to 4, the second up to 8, and draw from the third."""
    logits = torch.randn(1, 3, BEAT + 1, generator=torch.Generator().manual_seed(0))
    at = torch.tensor([[[0] * 5 + [1] * 4 + [2] * 16, [-1] * 9 + [2] * 16]])
    p = logits[0].double().softmax(-1).numpy()
    expected, left = np.zeros(BEAT + 1), 1.0
    for step, first, end in ((0, 0, 5), (1, 5, 9), (2, 9, 25)):
        rest = p[step, first:].sum()
        expected[first:end] = left * p[step, first:end] / rest
        left *= p[step, end:].sum() / rest
    got = next_time(logits, at)[0].exp().numpy()
    assert got[0] == pytest.approx(expected, rel=1e-4) and got[0].sum() == pytest.approx(1)
    assert got[1] == pytest.approx(np.where(np.arange(25) < 9, 0, p[2] / p[2, 9:].sum()), rel=1e-4)


def test_the_divergence_against_a_naive_count(decoder: Decoder, played: list[Duet]) -> None:
    late, early = pair(played, LEAD)
    torch.manual_seed(5)
    teacher = Decoder(SIZES["tiny"]).eval()
    with torch.no_grad():
        ours, theirs = own_choices(decoder, late), own_choices(teacher, early)
        assert divergence(ours, own_choices(decoder, late), late, 0.3).tolist() == [0.0] * 5, "of a model from itself"
        got = divergence(ours, theirs, late, 0.3)
    for head in range(len(HEADS)):
        counts = (late["note"] if head else late["own"]).numpy()
        p, q = (x[head].double().exp().numpy() for x in (ours, theirs))
        assert p.sum(-1)[counts > 0] == pytest.approx(1, abs=1e-4)
        expected = 0.0
        for i, j in zip(*np.nonzero(counts), strict=True):
            a, b = p[i, j][p[i, j] > 0], q[i, j][p[i, j] > 0]
            expected += 0.3 * (a * np.log(a / b)).sum() + 0.7 * (b * np.log(b / a)).sum()
        assert float(got[head]) == pytest.approx(expected, rel=1e-3) and expected > 0


# --- figures ---


def test_figures_of_a_known_duet() -> None:
    """The player holds a C; the model answers C, E, G, C# over four beats, then all four again."""
    own = [(24 * i, 12, pitch, 80, 1) for i, pitch in enumerate((60, 64, 67, 61) * 2)]
    notes = np.concatenate([note_array([(0, 192, 48, 80, 0)]), note_array(own)])
    beats = np.zeros(8, np.dtype([("start", "i8"), ("length", "i8")]))
    beats["start"], beats["length"] = 24 * np.arange(8), 24
    duet = Duet(notes, np.arange(9) == 0, beats, Role.ACCOMPANY, 0, 0)
    got = figures([duet], [duet.end])
    assert got["pitch_class_entropy"] == 2.0 and got["notes_a_beat"] == 1.0
    assert got["note_in_chord"] == 0.25 and got["consonance"] == 0.75
    assert got["different_fours"] == pytest.approx(4 / 5)


# --- the run ---


@pytest.fixture
def init(decoder: Decoder, tmp_path: Path) -> Path:
    save_decoder(tmp_path / "init", decoder.state_dict(), {"size": "tiny"})
    return tmp_path / "init"


class Distiller:
    """Runs `python -m models.distil` in this process on the toy corpus."""

    def __init__(self, corpus: Path, cache: Path, init: Path) -> None:
        self.options = ["--corpus", str(corpus), "--cache", str(cache), "--init", str(init), "--duets", "4"]
        self.options += [
            "--events",
            "48",
            "--batch",
            "4",
            "--length",
            "48",
            "--valid-windows",
            "4",
            "--save-every",
            "2",
        ]

    def __call__(self, out: Path, *options: str) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["distil", *self.options, "--out", str(out), *options])
            return exit_status(distil_main)


@pytest.fixture
def distiller(toy_corpus: Path, toy_cache: Path, init: Path) -> Distiller:
    return Distiller(toy_corpus, toy_cache, init)


def log_of(out: Path) -> list[dict[str, Any]]:
    """The log without the times; of a step that was run twice the second."""
    entries = {}
    for line in (out / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        del entry["seconds"]
        entries[entry["step"], "valid" in entry] = entry
    return [entries[key] for key in sorted(entries)]


def test_a_run_learns_resumes_and_can_be_opened(
    distiller: Distiller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of the student's steps and started again: weights and log of a run that was not stopped."""
    options = ("--teacher-steps", "4", "--steps", "6", "--lr", "3e-3")
    assert distiller(tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patch:
        calls = iter(range(100))

        def stopped(*args: Any) -> Any:
            if next(calls) == 5:  # one report, two steps, a report, and in the third step after the save
                raise KeyboardInterrupt
            return play(*args)

        patch.setattr("models.training.distil.play", stopped)
        with pytest.raises(KeyboardInterrupt):
            distiller(tmp_path / "killed", *options)
    assert int(load_file(tmp_path / "killed" / "train.safetensors")["step"]) == 2
    assert distiller(tmp_path / "killed", *options) == 0
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "whole")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole")]
    assert all(torch.equal(ours, weights[1][name]) for name, ours in weights[0].items())

    student, info = load_decoder(tmp_path / "whole")
    teacher, _ = load_decoder(tmp_path / "whole" / "teacher")
    assert info["step"] == 6 and info["size"] == "tiny" and not student.training
    assert not torch.equal(student.norm.weight, teacher.norm.weight)
    valid = info["valid"]
    assert set(valid["nats"]) == {role.name.lower() for role in Role}
    assert set(valid["generated"]) == set(valid["real"])
    assert valid["divergence"]["sum"] == pytest.approx(sum(valid["divergence"][name] for name in HEADS), abs=1e-3)


def test_a_student_comes_nearer_to_its_teacher(distiller: Distiller, tmp_path: Path) -> None:
    options = (
        "--teacher-steps",
        "20",
        "--teacher-lr",
        "2e-2",
        "--steps",
        "15",
        "--lr",
        "1e-2",
        "--dropout",
        "0",
        "--heads",
        *HEADS,
    )
    assert distiller(tmp_path / "run", *options, "--save-every", "20") == 0
    log = log_of(tmp_path / "run")
    before, after = (entry["valid"]["divergence"]["sum"] for entry in log if "valid" in entry)
    assert after < 0.6 * before
    assert [entry["step"] for entry in log if "train" in entry] == list(range(1, 16))


def test_a_corpus_without_a_validation_split_ends_in_one_line(
    distiller: Distiller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: (split, data) for name, (split, data) in corpus_files().items() if split == "train"}
    folder = write_corpus(tmp_path / "corpus", files)
    options = ("--corpus", str(folder), "--cache", str(tmp_path / "cache"))
    assert distiller(tmp_path / "run", *options) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("no piece of the split 'valid'")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--corpus", "nowhere"], "nowhere: no corpus here"),
        (["--init", "nowhere"], "nowhere: not a training run"),
        (["--reverse", "1.5"], "argument --reverse: invalid share value: '1.5'"),
        (["--lead-ticks", "-1"], "argument --lead-ticks: invalid ticks value: '-1'"),
        (["--heads", "chords"], "argument --heads: invalid choice: 'chords'"),
        (["--out", "/dev/null/run"], "/dev/null/run/teacher: cannot be made"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, list) else "",
)
def test_a_wrong_command_ends_in_one_line(
    options: list[str], words: str, distiller: Distiller, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distiller(tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
