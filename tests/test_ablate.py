"""Ablations: equal parameters, what each variant changes, flat tokens by hand, figures, and a run that goes on."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.ablation import speed
from models.ablation.decoder import main as ablate_main
from models.ablation.decoder import train
from models.ablation.decoder_figures import compare, over_first
from models.ablation.material import Material
from models.ablation.readings import reveal_durations, without_chords, without_pointers
from models.ablation.variants import ABLATION_SIZES, SETS, ParallelHeads, equalise, parameters
from models.command import exit_status
from models.corpus.chords import with_chords
from models.corpus.pack import Pack
from models.corpus.perturb import LIVE, NONE, Augment
from models.corpus.windows import Windows, collate
from models.nets.decoder import SIZES, ChainedHeads
from models.nets.flat import FlatDecoder
from models.training.losses import window_losses
from realtime.composing.memory import KINDS, NOTHING
from realtime.music.vocabulary import BEAT, BEAT_EVENT, CHORD, HEADS, OPEN, Role

SMALL = ["--size", "tiny", "--steps", "3", "--batch", "2", "--length", "48", "--valid-windows", "3"]


def run(corpus: Path, cache: Path, out: Path, *options: str) -> int:
    """Run `python -m models.ablate` here; returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "ROUNDS", 1)
        patch.setattr(speed, "TIMED_STEPS", 8)
        patch.setattr(
            sys, "argv", ["ablate", "--corpus", str(corpus), "--cache", str(cache), "--out", str(out), *SMALL, *options]
        )
        return exit_status(ablate_main)


@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("name", SETS)
def test_parameters_are_equal_to_two_percent(name: str, size: str) -> None:
    base, *others = SETS[name](ABLATION_SIZES[size]).all
    target = parameters(base.make, base.size)
    assert parameters(base.make, equalise(base, target).size) == target
    for variant in others:
        if variant.group != "size":
            assert abs(parameters(variant.make, equalise(variant, target).size) / target - 1) < 0.02, variant.name


def test_every_trick_is_turned_off_once() -> None:
    """In the set where it does something."""
    off = [
        v.augment
        for of in SETS.values()
        for v in of(SIZES["tiny"]).all
        if v.group == "trick" and v.augment not in (NONE, Augment())
    ]
    changed = [[name for name, value in vars(a).items() if value != getattr(Augment(), name)] for a in off]
    assert sorted(changed) == sorted([name] for name in vars(Augment()))
    assert all(not getattr(a, name) for a, [name] in zip(off, changed, strict=True))


@pytest.mark.parametrize("grown", [0.0, 0.5, 1.0])
def test_a_memory_that_is_grown_on_is_not_asked_before(
    toy_corpus: Path, toy_pack: Pack, toy_cache: Path, grown: float
) -> None:
    """Its amounts are zero at first, and stay so as long as it is not asked."""
    pack = with_chords(toy_pack, toy_corpus, toy_cache)
    args = Namespace(steps=4, batch=2, lr=5e-3)
    variant = replace(SETS["memory"](SIZES["tiny"]).all[0], grown=grown)
    decoder, _, _ = train(variant, Material(pack, 64, 2, True), args, 1)
    assert decoder.memory is not None
    assert bool(decoder.memory.read.weight.any()) == (grown < 1)


def test_parallel_heads_do_not_see_what_is_drawn() -> None:
    torch.manual_seed(1)
    h = torch.randn(3, 7, 64)
    some, other = torch.zeros(2, 3, 7, 5, dtype=torch.int64)
    other[..., 0] = 5  # another time
    for heads, seen in ((ParallelHeads(64, 32), False), (ChainedHeads(64, 32), True)):
        before, after = heads(h, some), heads(h, other)
        assert [x.shape[-1] for x in before] == list(HEADS.values())
        assert torch.equal(before[0], after[0])
        assert [torch.equal(x, y) for x, y in zip(before[1:], after[1:], strict=True)] == [not seen] * 4


@torch.no_grad()
def test_flat_nll_is_the_sum_over_its_tokens(toy_pack: Pack) -> None:
    """Against tokens fed one at a time, each predicted by one softmax over the joint vocabulary with the other fields masked."""
    torch.manual_seed(2)
    decoder = FlatDecoder(SIZES["tiny"]).eval()
    for p in decoder.parameters():
        p.add_(0.1 * torch.randn_like(p))
    windows = Windows(
        toy_pack, "train", 40, 3, Augment(corrupt=0.0, stray=0.0, astray=0.0, drop=0.0), 3, Role.ACCOMPANY
    )
    batch = collate([windows[i] for i in range(3)])
    assert 0 < batch["note"].sum() < batch["kind"].numel() and batch["kind"].any()  # own notes, the player's, and BEATs
    logits, _ = decoder(batch["events"], batch["held"], batch["targets"])
    found = window_losses(logits, batch)

    starts = np.cumsum([0, *HEADS.values()])
    for row in range(3):
        one = {name: x[row] for name, x in batch.items()}
        expected, state, h = torch.zeros(5), None, None

        def log_p(h: torch.Tensor, field: int) -> torch.Tensor:
            joint = decoder.heads(h)[0, 0]
            where = slice(starts[field], starts[field + 1])
            masked = torch.full_like(joint, -torch.inf)
            masked[where] = joint[where]
            return masked.log_softmax(0)[where]

        for t in range(len(one["events"])):
            event = one["events"][t]
            own = t > 0 and one["note"][t - 1] > 0
            for field in range(1 if event[0] == BEAT else 5):
                last = field == (0 if event[0] == BEAT else 4)
                if own and field:
                    expected[field] -= log_p(h, field)[event[field]]
                at = t if last else max(t - 1, 0)
                x = decoder.held(one["held"][at].float())
                for i, name in enumerate(("beat", "metre", "tempo", "role", "chord"), 5):
                    x = x + decoder.embed_field(name, one["events"][at, i])
                name = list(HEADS)[field]
                x = x + decoder.embed_field(name, event[field])
                h, state = decoder.mix(x[None, None], state, chunk=1)
            time = log_p(h, 0)
            target = int(one["targets"][t, 0])
            nll = -(time[target:].logsumexp(0) if one["kind"][t] else time[target])
            expected[0] += nll * one["turn"][t]
        final = one["targets"][-1]
        if one["note"][-1]:  # the event after the last is spelt from its targets
            for field in range(1, 5):
                at = len(one["events"]) - 1
                x = decoder.held(one["held"][at].float())
                for i, name in enumerate(("beat", "metre", "tempo", "role", "chord"), 5):
                    x = x + decoder.embed_field(name, one["events"][at, i])
                x = x + decoder.embed_field(list(HEADS)[field - 1], final[field - 1])
                h, state = decoder.mix(x[None, None], state, chunk=1)
                expected[field] -= log_p(h, field)[final[field]]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-3)


def test_revealed_durations_are_as_long_as_the_key_is_held() -> None:
    """A note from tick 30 to the BEAT at 48; one of the model's, which is left alone; one that is struck again after 36 ticks."""
    beat = [*BEAT_EVENT, 0, 8, 5, 3]
    player = lambda time, pitch: [time, 0, pitch, OPEN, 20, 0, 8, 5, 3]  # noqa: E731
    events = [beat, player(6, 60), [8, 5, 40, 7, 20, 0, 8, 5, 3], beat, player(0, 72), beat, player(12, 72), beat]
    held = np.zeros((len(events), 256), np.uint8)
    held[1:3, 60] = 1
    held[2:6, 128 + 40] = 1
    held[4:, 72] = 1
    revealed = reveal_durations({"events": np.array(events), "held": held, "kind": np.zeros(len(events))})["events"]
    assert revealed[:, 3].tolist() == [33, 12, 7, 33, 17, 33, 9, 33]  # of 18, 36 and 12 ticks
    assert np.array_equal(np.delete(revealed, 3, 1), np.delete(np.array(events), 3, 1))


def test_windows_with_revealed_durations_have_no_open_note(toy_pack: Pack) -> None:
    windows = Windows(toy_pack, "train", 48, 1, LIVE, 4, Role.TRADE)
    assert any((windows[i]["events"][:, 3] == OPEN).any() for i in range(4))
    assert not any((reveal_durations(windows[i])["events"][:, 3] == OPEN).any() for i in range(4))


def test_without_chords_a_window_is_as_if_there_had_been_none(
    toy_pack: Pack, toy_corpus: Path, toy_cache: Path
) -> None:
    """The same events, questions and candidates as in the window of a pack without chords, as far as it reaches."""
    chorded = with_chords(toy_pack, toy_corpus, toy_cache)
    for role in (Role.COMPOSE, Role.TRADE, Role.ACCOMPANY):
        told, plain = (Windows(pack, "train", 96, 3, NONE, 4, role, memory=True) for pack in (chorded, toy_pack))
        for i in range(4):
            found, expected = without_chords(told[i]), plain[i]
            assert told[i]["due"].any() and {k: v.shape for k, v in found.items()} == {
                k: v.shape for k, v in expected.items()
            }
            end = min(np.flatnonzero(w["note"])[-1] for w in (found, expected)) + 1
            assert end > 20 and not found["due"].any()
            for name in expected:
                np.testing.assert_array_equal(found[name][:end], expected[name][:end], name)
            whole = int((told[i]["events"][:, 0] != CHORD).sum())
            assert whole < 96 and not found["note"][whole:].any() and not found["turn"][whole:].any()


def test_pointers_that_are_left_out_are_nothing(toy_pack: Pack) -> None:
    arrays = Windows(toy_pack, "train", 96, 3, NONE, 1, Role.COMPOSE, memory=True)[0]
    gone = np.isin(KINDS, [1, 3])
    read = without_pointers((1, 3))(arrays)
    assert (arrays["features"][:, gone, 0] > 0).any() and not read["features"][:, gone].any()
    assert (read["candidates"][:, gone] == NOTHING).all()
    for name in ("candidates", "features"):
        np.testing.assert_array_equal(read[name][:, ~gone], arrays[name][:, ~gone])


def test_repeats_are_the_same_four_bars_with_other_music_between(toy_pack: Pack) -> None:
    """What counts the first time and again is the same notes, four, sixteen and four bars apart; and from the start nothing is
    remembered."""
    material = Material(toy_pack, 400, 3, memory=True)
    for kind, bars in (("tune_4", 4), ("tune_16", 16), ("voices_4", 4)):
        firsts, agains = material.scored[f"first/{kind}"], material.scored[f"again/{kind}"]
        assert len(firsts) == len(agains) == 2  # the two tunes of the split
        for i in range(2):
            first, again = firsts[i], agains[i]
            notes = [w["targets"][w["note"] > 0] for w in (first, again)]
            assert len(notes[0]) > 10 and np.array_equal(*notes)
            ticks = [w["tick"][w["note"] > 0] for w in (first, again)]
            assert ticks[1].min() - ticks[0].min() == (4 + bars) * 96
            assert (again["candidates"][again["note"] > 0][..., 2] == notes[1][:, None, 2]).any(1).mean() > 0.8
    for arrays in material.scored["opening/compose"]:
        assert not arrays["features"][0].any()


def test_what_a_repeat_needs_is_told_as_a_share_of_the_first_time() -> None:
    first = np.random.default_rng(4).uniform(1, 9, (1, 20, 7))
    again = first * 0.25
    assert over_first(again, first) == {"ratio": 0.25, "low": 0.25, "high": 0.25}
    again[..., 5] = 99  # the chords' nats are not the notes'
    assert over_first(again, first)["ratio"] == 0.25


def test_figures_of_a_difference_that_is_known() -> None:
    """0.3 nats a note more in the third head, everywhere; then in one of two seeds alone."""
    base = np.random.default_rng(3).uniform(1, 9, (2, 20, 7))
    base[1, :, 6] = base[0, :, 6]
    worse = base.copy()
    worse[..., 2] += 0.3 * base[..., 6]
    worse[..., 5] += 0.2 * base[..., 6]  # of the chords
    figures = compare(worse, base)
    assert figures["difference"] == figures["low"] == figures["high"] == 0.3
    assert figures["nats_per_note"] == pytest.approx(base[..., :5].sum() / base[..., 6].sum() + 0.3, abs=1e-4)
    assert figures["heads"]["pitch"] == pytest.approx(base[..., 2].sum() / base[..., 6].sum() + 0.3, abs=1e-4)
    assert figures["with_chords"]["difference"] == 0.5
    worse[1] = base[1]
    assert compare(worse, base)["difference"] == 0.15
    assert compare(base, base)["difference"] == 0


def test_a_run_goes_on_and_a_finished_variant_is_not_run_again(
    toy_corpus: Path, toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(toy_corpus, toy_cache, out, "--only", "elu", "flat") == 0
    files = {name: (out / f"{name}-1.json").read_bytes() for name in ("decay", "elu", "flat")}
    assert sorted(x.name for x in out.glob("*-*.json")) == [f"{name}-1.json" for name in files]

    assert run(toy_corpus, toy_cache, out, "--only", "larger", "durations") == 0
    assert {name: (out / f"{name}-1.json").read_bytes() for name in files} == files
    report = load(out / "results.json")
    assert set(load(out / "decay-1.json")["scores"]) == {
        *(f"clean/{role}" for role in ("compose", "continue", "trade", "accompany")),
        *(f"live/{role}" for role in ("continue", "trade", "accompany")),
        "opening/compose",
    }  # no repeat fits into so short a window
    assert set(report["variants"]) == {*files, "larger", "durations"}
    for name, row in report["variants"].items():
        score = row["scores"]["live"]["all"]
        assert (score["low"] < score["high"]) == (name != "decay") and 0 < score["nats_per_note"] < 40
        assert name in (out / "results.md").read_text()
    assert (out / "results.png").stat().st_size > 10_000

    again = tmp_path / "again"  # the same seed, the same curve
    assert run(toy_corpus, toy_cache, again, "--only", "reseeded") == 0
    was, now, other = (load(x) for x in (out / "decay-1.json", again / "decay-1.json", again / "reseeded-1.json"))
    assert was["curve"] == now["curve"] != other["curve"] and was["scores"] == now["scores"]

    capsys.readouterr()
    assert run(toy_corpus, toy_cache, out, "--only", "elu", "--steps", "4") == 2
    assert "give another --out" in capsys.readouterr().err


def test_the_set_of_memory_runs(toy_corpus: Path, toy_cache: Path, tmp_path: Path) -> None:
    """Every variant once, on the same notes: with chords and without, whatever a variant reads of its memory."""
    assert run(toy_corpus, toy_cache, tmp_path, "--set", "memory", "--length", "400", "--valid-windows", "2") == 0
    names = [variant.name for variant in SETS["memory"](SIZES["tiny"]).all]
    rows = load(tmp_path / "results.json")["variants"]
    assert set(rows) == set(names)
    notes = {}
    for name in names:
        scores = load(tmp_path / f"{name}-1.json")["scores"]
        notes[name] = {key: [row[-1] for row in found] for key, found in scores.items()}
        assert any(row[5] for row in scores["clean/compose"]) == (name != "no_chords")
        assert (rows[name]["search_us"] > 0) == (name not in ("no_memory", "window512", "lstm"))
        assert rows[name]["search_us"] < rows[name]["step_us"]
    assert all(counts == notes["memory"] for counts in notes.values())
    assert notes["memory"]["again/tune_16"] == notes["memory"]["first/tune_16"]
    text = (tmp_path / "results.md").read_text()
    assert all(f"| {name} |" in text for name in names) and "| lstm_memory less lstm |" in text


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def test_an_unknown_variant_is_named(
    toy_corpus: Path, toy_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(toy_corpus, toy_cache, tmp_path, "--only", "lute") == 2
    assert "lute" in (line := capsys.readouterr().err) and "gated_delta" in line and line.count("\n") == 1
