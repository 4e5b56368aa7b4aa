"""The plan's ablation: nobody is told what is not known yet, and the figures say what they are said to."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toycorpus import midi_bytes, tune, write_corpus

from models.ablation import plan, plan_trials
from models.ablation.plan import main, parameters, sizes
from models.ablation.plan_form import BARS, GIVEN, Listening, edges_of, forms, stretches
from models.ablation.plan_report import ROWS, figures, form_table, verdicts
from models.ablation.plan_scores import (
    HISTORY,
    ROLES,
    Excerpt,
    Trust,
    after_history,
    draw_plans,
    excerpt,
    excerpts,
    filtered,
    mixture,
    planned,
    planned_contexts,
    streams,
    unconditioned,
    unplanned_contexts,
)
from models.ablation.plan_scores import (
    ROWS as PLANNED,
)
from models.command import exit_status
from models.corpus.contexts import LAG, Draw, contexts
from models.corpus.pack import Pack, load_pack
from models.corpus.perturb import NONE
from models.corpus.windows import collate, window
from models.nets.autoencoder import BarAutoencoder
from models.nets.checkpoint import save_tensors
from models.nets.decoder import SIZES, Decoder
from models.nets.layers import autocast
from models.nets.planner import Planner
from models.training.duets import Duet
from models.training.losses import window_losses
from models.training.playing import given, play
from realtime.music.cells import rolls
from realtime.music.vocabulary import Role


@pytest.fixture(scope="module")
def bars() -> BarAutoencoder:
    torch.manual_seed(0)
    return BarAutoencoder().eval()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tunes of 40 bars in two thin parts, three a split."""

    def thin(seed: int) -> bytes:
        lines = tune(seed, 40)
        return midi_bytes({"MELODY": lines["MELODY"][::2], "Bass": lines["Bass"]}, division=96)

    splits = [split for split in ("train", "valid", "test") for _ in range(3)]
    files = {f"tune_{i}": (split, thin(i)) for i, split in enumerate(splits)}
    return write_corpus(tmp_path_factory.mktemp("long"), files)


@pytest.fixture(scope="module")
def pack(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load_pack(corpus, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def found(pack: Pack, bars: BarAutoencoder) -> list[Excerpt]:
    return excerpts(pack, "test", 3, bars)


@pytest.fixture(scope="module")
def planner() -> Planner:
    torch.manual_seed(1)
    planner = Planner().eval()
    for layer in (planner.leave, planner.modulate, *(block.modulate for block in planner.blocks)):
        torch.nn.init.normal_(layer.weight, std=0.05)
    return planner


@pytest.fixture(scope="module")
def decoder(bars: BarAutoencoder) -> Decoder:
    torch.manual_seed(2)
    decoder = Decoder(replace(SIZES["tiny"], context=True)).eval()
    assert decoder.context is not None
    decoder.context.read_with(bars)
    torch.nn.init.normal_(decoder.context.leave.weight, std=0.2)
    return decoder


def test_excerpts_are_of_different_songs_in_each_role(found: list[Excerpt]) -> None:
    assert [of.role for of in found] == list(ROLES) * 3
    assert [of.song for of in found] == [song for song in dict.fromkeys(of.song for of in found) for _ in ROLES]
    assert all(of.notes > 0 and of.scored[0] == HISTORY for of in found)


def test_a_cell_is_given_the_latents_that_training_gives_it(pack: Pack, bars: BarAutoencoder, decoder: Decoder) -> None:
    """Context by context as `models.corpus.contexts` makes them, of what lies in the stream."""
    piece = pack[pack.rows("test")[0]]
    of = excerpt(piece, 2, Role.COMPOSE, "", bars, np.random.default_rng(0))
    assert of is not None and decoder.context is not None
    batch = collate([window(piece, 1024, np.random.default_rng(0), NONE, Role.COMPOSE, bar=2, cells=True)])
    out = contexts(batch, bars, Draw(past=1, own=1, plan=0, controls=0, style=0), torch.Generator().manual_seed(0))
    with autocast(torch.device("cpu")):
        by_event = decoder.context.of_events(out)[0, : len(of.cell)].float()
    ours = unplanned_contexts(decoder.context, of.latent, torch.arange(int(of.cell[-1]) + 1))[:, 0]
    torch.testing.assert_close(by_event, ours[of.cell, of.beat], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("known", [False, True])
def test_a_plan_is_made_before_the_last_cell_is_over(found: list[Excerpt], planner: Planner, known: bool) -> None:
    latent, cell = found[0].latent.clone(), HISTORY + 1
    before = draw_plans(planner, latent, torch.tensor([cell]), 2, 0)
    latent[cell - LAG if known else cell - LAG + 1 :] += 1
    if known:
        latent[cell - LAG + 1 :] = found[0].latent[cell - LAG + 1 :]
    after = draw_plans(planner, latent, torch.tensor([cell]), 2, 0)
    assert before.shape == (1, 2, PLANNED, 128)
    assert torch.equal(before, after) != known


def test_streams_are_the_whole_sequence(found: list[Excerpt], decoder: Decoder) -> None:
    """Cell by cell, from the state after the history: the nats of one pass with the same contexts."""
    of, net = found[1], decoder.context
    assert net is not None
    cells = torch.arange(int(of.cell[-1]) + 1)
    by_cell = unplanned_contexts(net, of.latent, cells)[:, 0]
    with torch.no_grad():
        h, _ = decoder.trunk(of.events["events"], of.events["held"], context=by_cell[of.cell, of.beat][None])
        logits = decoder.heads(h, of.events["targets"])
    mask = (of.cell >= HISTORY)[None]
    weights = {name: of.events[name] * mask for name in ("turn", "note")}
    expected = float(window_losses(logits, of.events | weights).sum())
    state = after_history(decoder, of, by_cell[:HISTORY])
    nats = streams(decoder, of, state, by_cell[HISTORY:, None].expand(-1, 3, -1, -1))
    torch.testing.assert_close(nats.sum(0), torch.full((3,), expected), rtol=0.01, atol=0.1)  # bfloat16


def test_a_mixture_by_hand() -> None:
    nats = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    assert mixture(nats) == pytest.approx(-math.log((math.exp(-4) + math.exp(-3)) / 2))
    of_cells = [-math.log((math.exp(-a) + math.exp(-b)) / 2) for a, b in ((1, 2), (3, 1))]
    assert filtered(nats) == pytest.approx(sum(of_cells))
    assert mixture(torch.full((4, 7), 2.0)) == pytest.approx(8.0)


def test_scores_of_plans(found: list[Excerpt], decoder: Decoder, planner: Planner) -> None:
    of = found[0]
    plans = draw_plans(planner, of.latent, of.scored, 3, 0)
    scores = planned(decoder, of, {"planner": (plans, Trust(0.7)), "void": (plans, Trust(0.0))}, 0, ("planner",))
    one, mixed = scores["planner"]
    assert mixed < one and one != scores["no plan"][0]
    assert scores["void"][0] == pytest.approx(scores["no plan"][0], rel=1e-3)  # a plan at time 0 says nothing
    assert scores["planner, drawn anew"][1] < scores["planner, drawn anew"][0]
    assert scores["no plan"][0] != pytest.approx(unconditioned(decoder, of), rel=1e-4)


def test_fewer_rows_and_less_guidance_say_less(found: list[Excerpt], decoder: Decoder, planner: Planner) -> None:
    of, net = found[0], decoder.context
    assert net is not None
    plans = draw_plans(planner, of.latent, of.scored, 1, 0)
    other = plans.clone()
    other[:, :, 1:] += 1

    def context(plan: torch.Tensor, trust: Trust) -> torch.Tensor:
        return planned_contexts(net, of.latent, of.scored, plan, trust, 0).detach()

    assert torch.equal(context(plans, Trust(0.7, rows=1)), context(other, Trust(0.7, rows=1)))
    assert not torch.allclose(context(plans, Trust(0.7)), context(other, Trust(0.7)))
    without, full = unplanned_contexts(net, of.latent, of.scored).detach(), context(plans, Trust(0.7))
    clean, other = context(plans, Trust(0.7, noisy=False)), context(0 * plans, Trust(0.7, noisy=False))
    assert not torch.allclose(clean, full) and not torch.allclose(clean, other)
    half = context(plans, Trust(0.7, guidance=0.5))
    torch.testing.assert_close(half, (without + full) / 2, rtol=1e-3, atol=1e-3)


def test_what_is_played_is_heard_as_it_is(pack: Pack, bars: BarAutoencoder, decoder: Decoder) -> None:
    """A duet that is given to its end: the latents that come of its events are those of its notes."""
    duet = stretches(pack, "test", 2)[0]
    notes = duet.notes.copy()
    notes["duration"] = np.where(notes["duration"] == 11, 12, notes["duration"])  # to what an event can say
    whole = duet._replace(notes=notes, prefix=duet.end)
    listening = Listening(decoder, bars, [whole], [lambda *_: None], Trust(0.7))
    play(listening, [whole], len(given(whole).tick) + 3, 1.0, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    expected = bars.latent(torch.from_numpy(rolls(notes, whole.player, edges_of(whole))))
    assert len(listening.latent[0]) == BARS - 1
    torch.testing.assert_close(listening.latent[0], expected[:-1], rtol=1e-3, atol=1e-3)


def test_pieces_are_gone_on_from(pack: Pack, bars: BarAutoencoder, decoder: Decoder, planner: Planner) -> None:
    duets: list[Duet] = stretches(pack, "test", 2)
    assert all(duet.prefix == GIVEN * 96 and duet.end == BARS * 96 for duet in duets)
    found = forms(decoder, planner, bars, pack, 2, Trust(0.7))
    assert set(found) == {"real", "no plan", "planner", "another piece's", "true"}
    assert all(len(curves) == 2 for curves in found.values())
    assert found["planner"] != found["no plan"] != found["true"]


def test_figures_of_a_difference_that_is_known() -> None:
    base = np.random.default_rng(0).uniform(50, 90, (3, 12))
    notes, songs = np.full(12, 10.0), np.repeat(np.arange(4), 3)
    row = figures(base - 5, base, notes, songs)
    assert row["difference"] == -0.5 and row["interval"] == (-0.5, -0.5) and row["seeds"] == [-0.5] * 3
    assert "seeds" not in figures(base[:1], base, notes, songs)


def test_verdicts_keep_to_the_rule() -> None:
    Span = tuple[float, float]
    below, around, above = (-0.02, -0.01), (-0.02, 0.01), (0.01, 0.02)

    def helps(mixture: Span, mean: Span, nearer: float, low: float, rival: Span = below) -> bool:
        less = {"rival": {"difference": sum(rival) / 2, "interval": rival}}
        rows = {"planner, mixture": mixture, "planner's mean": mean}
        found = {t: {"difference": sum(span) / 2, "interval": span, "less": less} for t, span in rows.items()}
        form = {"planner": {"nearer": nearer, "interval": (low, 0.9)}}
        return "does not help" not in verdicts("told", found, form)[-1]

    assert helps(below, above, -0.5, -0.9) and helps(above, below, -0.5, -0.9)
    assert not helps(below, below, -0.5, -0.9, rival=above) and not helps(below, below, -0.5, -0.9, rival=around)
    assert helps(around, around, 0.2, 0.05)
    assert not helps(around, around, 0.2, -0.05)
    assert not helps(around, around, 0.05, 0.01)
    assert not helps(above, around, 0.2, 0.05)


def test_a_form_that_is_nearer() -> None:
    flat = lambda x: [[x] * 4] * 5  # noqa: E731
    table = form_table([{"real": flat(0.5), "no plan": flat(0.3), "planner": flat(0.4), "true": flat(0.1)}])
    assert table["no plan"]["distance"] == 0.2 and table["planner"]["nearer"] == 0.5 and table["true"]["nearer"] == -1
    assert table["planner"]["interval"] == (0.5, 0.5)


def run(corpus: Path, cache: Path, folder: Path, *more: str) -> int:
    few = ["--size", "tiny", "--seeds", "1", "--steps", "2", "--batch", "2", "--length", "96", "--songs", "2"]
    few += ["--draws", "2", "--pieces", "2", "--splits", "test"]
    runs = ["--bars", str(folder / "bars"), "--planner", str(folder / "planner"), "--out", str(folder / "out")]
    with pytest.MonkeyPatch.context() as patch:
        command = ["plan_ablation", "--corpus", str(corpus), "--cache", str(cache), *runs, *few, *more]
        patch.setattr("sys.argv", command)
        for name in ("DRAWN", "MEAN"):  # two ways of each are enough to choose from
            for module in (plan, plan_trials):
                patch.setattr(module, name, getattr(plan_trials, name)[:2])
        return exit_status(main)


def test_a_run_is_made_once(
    corpus: Path,
    pack: Pack,
    bars: BarAutoencoder,
    planner: Planner,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, module in (("bars", bars), ("planner", planner)):
        (tmp_path / name).mkdir()
        save_tensors(tmp_path / name / "model.safetensors", module.state_dict())
    cache = tmp_path / "cache"
    assert run(corpus, cache, tmp_path) == 0
    out = tmp_path / "out"
    report = json.loads((out / "plans.json").read_text())
    rows = report["decoders"]["told"]["nats"]["test"]["all"]
    assert {*ROWS, "rival", "reference"} == set(rows)
    assert "does not help" in (out / "plans.md").read_text() or "helps" in (out / "plans.md").read_text()
    assert (out / "plans.png").stat().st_size > 10_000
    made = {file.name: file.stat().st_mtime_ns for file in out.iterdir() if not file.name.startswith("plans.")}
    assert run(corpus, cache, tmp_path) == 0
    assert made == {file.name: file.stat().st_mtime_ns for file in out.iterdir() if not file.name.startswith("plans.")}
    capsys.readouterr()
    assert run(corpus, cache, tmp_path, "--steps", "3") == 2
    assert "give another --out" in (line := capsys.readouterr().err) and line.count("\n") == 1


def test_parameters_are_equal(bars: BarAutoencoder) -> None:
    counts = {kind: parameters(Decoder(size)) for kind, size in sizes("small", bars).items()}
    whole = counts["told"] + parameters(Planner()) + parameters(bars.encoder)
    assert abs(counts["rival"] / whole - 1) < 0.01
    assert counts["told"] > counts["reference"]
