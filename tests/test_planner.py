"""The planner: what it may see, its flow, its windows, and a training that learns."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.command import exit_status
from models.corpus.cells import CONTINUE, GAP, REST, WHOLE, EncodedCells, given_controls
from models.corpus.contexts import style_of
from models.corpus.pack import Pack
from models.nets.autoencoder import BarAutoencoder
from models.nets.checkpoint import save_tensors
from models.nets.planner import FUTURE, PLACES, PREFIX, Planner, cell_times, sample
from models.training.loop import lr_scale
from models.training.planner import errors, figures_of
from models.training.planner import main as train_main
from realtime.composing.latents import LEAD, _cell_times
from realtime.music.attributes import CONTROLS, STYLES, attributes
from realtime.music.cells import KEYS, LATENT, LOWEST, rolls
from realtime.music.notes import note_array
from realtime.music.vocabulary import DRUMS


@pytest.fixture(scope="module")
def bars() -> BarAutoencoder:
    torch.manual_seed(0)
    return BarAutoencoder().eval()


@pytest.fixture(scope="module")
def cells(toy_pack: Pack, bars: BarAutoencoder) -> EncodedCells:
    return EncodedCells(toy_pack, "train", bars, 3, 1)


def random_planner(seed: int = 0) -> Planner:
    """One in which every weight counts: as it is made, its blocks do nothing."""
    torch.manual_seed(seed)
    planner = Planner()
    for p in planner.parameters():
        torch.nn.init.normal_(p, std=0.05)
    return planner.eval()


def window(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(length)
    return (
        torch.randn(batch, length, LATENT, generator=rng),
        torch.rand(batch, length, generator=rng),
        torch.ones(batch, length),
        torch.randn(batch, length, CONTROLS, generator=rng),
    )


def test_at_first_it_guesses_what_gaussians_would() -> None:
    """Of (1 - t) noise + t z, both standard normal, the least squares guess of z - noise."""
    torch.manual_seed(0)
    z, noise = torch.randn(2, 1, 1, 200_000)
    latent, time, known, controls = window(1, 1)
    for t in (0.0, 0.3, 0.5, 0.9):
        x = (1 - t) * noise + t * z
        slope = ((z - noise) * x).mean() / x.square().mean()
        guess = Planner()(latent, torch.full_like(time, t), known, controls)
        torch.testing.assert_close(guess, slope * latent, atol=0.05, rtol=0)


def test_unknown_cells_are_as_if_they_were_not_there() -> None:
    planner = random_planner()
    latent, time, known, controls = window(2, PLACES)
    known[:, :4] = 0
    whole = planner(latent, time, known, controls)[:, 4:]
    torch.testing.assert_close(planner(latent[:, 4:], time[:, 4:], known[:, 4:], controls[:, 4:]), whole)
    latent[:, 5] += 1  # while any other is seen by all
    assert ((planner(latent, time, known, controls)[:, 4:] - whole).abs().amax((0, 2)) > 1e-4).all()


@pytest.mark.parametrize("changed", ["latent", "time", "controls"])
def test_every_input_counts(changed: str) -> None:
    planner = random_planner()
    inputs = dict(zip(("latent", "time", "known", "controls"), window(1, 8), strict=True))
    before = planner(**inputs)
    inputs[changed] = inputs[changed].flip(1)
    assert (planner(**inputs) - before).abs().max() > 1e-3


def test_nothing_known_is_no_nan() -> None:
    latent, time, known, controls = window(1, PLACES)
    assert random_planner()(latent, time, 0 * known, controls).isfinite().all()


def test_near_cells_are_further_along() -> None:
    times = cell_times(torch.linspace(0, 1, 9), torch.full((9,), 0.5))
    assert (times[0] == 0).all() and (times[-1] == 1).all()
    assert (times.diff(dim=0) >= 0).all() and (times.diff(dim=1) <= 0).all() and (times[4].diff() < 0).all()
    assert (cell_times(torch.tensor(0.3), torch.tensor(0.0)) == 0.3).all()


class Towards(torch.nn.Module):
    """Straight to a point that the controls name, or to 0 without: velocity (point - x) / (1 - t)."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, known: torch.Tensor, controls: torch.Tensor) -> torch.Tensor:
        assert (time[:, :PREFIX] == 1).all() and (controls[:, :PREFIX] == 0).all() and known.shape[1] == PLACES
        return (controls[..., :1] - x) / (1 - time[..., None]).clamp(min=1e-6)


@pytest.mark.parametrize(("guidance", "reached"), [(0.0, 0.0), (1.0, 3.0), (2.0, 6.0)])
@pytest.mark.parametrize("lead", [0.0, 0.5])
def test_sampling_follows_the_flow_to_its_end(guidance: float, reached: float, lead: float) -> None:
    past, known = torch.zeros(2, PREFIX, LATENT), torch.ones(2, PREFIX)
    controls = torch.full((2, FUTURE, CONTROLS), 3.0)
    z = sample(Towards(), past, known, controls, 6, guidance, torch.Generator(), lead)  # type: ignore[arg-type]
    torch.testing.assert_close(z, torch.full_like(z, reached), atol=1e-4, rtol=0)


def test_samples_are_those_of_their_seed() -> None:
    planner = random_planner()
    past, controls = torch.randn(1, PREFIX, LATENT), torch.zeros(1, FUTURE, CONTROLS)
    one, same, other = (
        sample(planner, past, torch.ones(1, PREFIX), controls, 3, 1, torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    )
    assert one.equal(same) and not one.equal(other)


def test_styles_of_sources() -> None:
    assert STYLES[style_of("pop909") or 0] == "pop" and style_of("mutopia_ccbysa") == style_of("mutopia_pd_ccby")
    assert style_of("groove") is None and style_of("no such source") is None


class CountKeys:
    """In place of an autoencoder: onsets of each key, whoever plays them, and how many are the player's."""

    def latent(self, roll: torch.Tensor) -> torch.Tensor:
        keys = roll[:, ::2].sum((1, 2))
        return torch.cat([keys, roll[:, 0].sum((1, 2))[:, None], torch.zeros(len(roll), LATENT - KEYS - 1)], 1)


def test_variants_are_transposed_and_dealt_anew(toy_pack: Pack) -> None:
    cells = EncodedCells(toy_pack, "train", CountKeys(), 12, 1)  # type: ignore[arg-type]
    wanted = []
    for i in toy_pack.rows("train"):
        notes = toy_pack[i].notes
        wanted.append(np.bincount(notes["pitch"][notes["part"] != DRUMS], minlength=128)[LOWEST : LOWEST + KEYS])
    song = toy_pack.rows("train").index(next(i for i in toy_pack.rows("train") if toy_pack[i].id == "song"))
    shares = set()
    for piece, (first, last) in enumerate(zip(cells.first, cells.last, strict=True)):
        keys = cells.latents[:, first:last, :KEYS].astype(int).sum(1)
        assert piece == song or (keys[0] == wanted[piece]).all()  # the song's pick-up is in no bar
        shifts = [next(s for s in range(-6, 6) if (np.roll(keys[0], s) == variant).all()) for variant in keys]
        assert shifts[0] == 0 and sorted(shifts) == list(range(-6, 6))
        shares |= set(cells.latents[:, first:last, KEYS].sum(1) / keys.sum(1))
    assert {0, 1} < shares
    assert all(
        np.nanmax(np.abs(np.nanmean(cells.values[first:last], 0))) < 1e-3
        for first, last in zip(cells.first, cells.last, strict=True)
    )


@pytest.mark.parametrize("pattern", [CONTINUE, WHOLE, REST, GAP])
def test_patterns(cells: EncodedCells, pattern: int) -> None:
    for seed in range(40):
        latent, time, known, controls = cells.window(np.random.default_rng(seed), pattern)
        noisy = time < 1
        places = np.flatnonzero(noisy)
        assert (known[noisy] == 1).all() and (latent[known == 0] == 0).all() and (controls[known == 0] == 0).all()
        here = np.flatnonzero(known)
        assert (np.diff(here) == 1).all()
        if pattern == CONTINUE:
            assert places[-1] == PLACES - 1 and places[0] >= PREFIX and (np.diff(time[PREFIX:]) <= 0).all()
        else:
            assert len(set(time[noisy])) == 1 and (np.diff(places) == 1).all()
        if pattern == WHOLE:
            assert (noisy == (known == 1)).all()
        if pattern == REST:
            assert places[-1] == here[-1] and places[0] > here[0]
        if pattern == GAP:
            assert here[0] < places[0] and places[-1] < here[-1] and len(places) <= 8


def test_controls_are_against_what_is_clean() -> None:
    values = np.full((6, 5), 1.0, np.float32)
    values[4:] = 3.0
    values[5, 1] = np.nan
    planned = np.arange(6) >= 4
    given = [given_controls(np.random.default_rng(seed), values, planned, 2) for seed in range(30)]
    assert all((g[~planned] == 0).all() for g in given)
    flags = np.stack([g[planned][0, 5:10] for g in given])
    assert flags.min() == 0 and flags.max() == 1 and (flags.sum(1) == 0).any()
    for g in given:
        assert (g[4, :5] == 2 * g[4, 5:10]).all() and g[4, 10:].sum() in (0, 1) and g[4, 10 + 2] == g[4, 10:].sum()
    assert {float(g[5, 6]) for g in given if g[4, 6]} == {0.0, 1.0}  # the mean of those there are, or nothing


def test_figures_of_rolls_are_those_of_the_notes() -> None:
    notes = note_array(
        [(0, 48, 60, 80, 0), (24, 24, 64, 80, 1), (48, 48, 66, 80, 1), (96, 12, 70, 80, 0), (120, 72, 61, 80, 0)]
    )
    edges = np.array([0, 96, 192])
    roll = rolls(notes, notes["part"] == 0, edges) > 0
    np.testing.assert_allclose(figures_of(roll, np.array([5, 5])), attributes(notes, edges, 5), atol=1e-6)


def test_a_run_learns_and_goes_on(
    toy_corpus: Path, toy_cache: Path, bars: BarAutoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bars").mkdir()
    save_tensors(tmp_path / "bars" / "model.safetensors", bars.state_dict())

    def train(out: str, *options: str) -> int:
        where = ["--corpus", toy_corpus, "--cache", toy_cache, "--bars", tmp_path / "bars", "--out", tmp_path / out]
        small = ["--variants", "1", "--batch", "4", "--save-every", "2", "--judged", "8"]
        monkeypatch.setattr(sys, "argv", ["train_planner", *map(str, where), *small, *options])
        return exit_status(train_main)

    assert train("whole", "--steps", "4") == 0
    report = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert report["step"] == 4 and report["valid"]["velocity"]["continue"] > 0
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(
            "models.training.planner.lr_scale", lambda step, steps: lr_scale(step, steps) if step < 3 else die()
        )
        train("killed", "--steps", "4")
    assert train("killed", "--steps", "4") == 0
    weights = load_file(tmp_path / "whole" / "model.safetensors")
    for name, tensor in load_file(tmp_path / "killed" / "model.safetensors").items():
        torch.testing.assert_close(tensor, weights[name], msg=name)
    assert train("none", "--steps", "1", "--bars", str(tmp_path)) == 2


def die() -> float:
    raise KeyboardInterrupt


def test_it_learns_what_follows_what(cells: EncodedCells) -> None:
    """On a corpus in which every cell is the one before it, the guess from pure noise comes to be that cell."""
    rng = np.random.default_rng(0)
    tune = EncodedCells.__new__(EncodedCells)
    tune.__dict__ |= cells.__dict__
    steps = cells.last - cells.first
    tune.latents = rng.standard_normal((3, len(steps), LATENT)).astype(np.float16).repeat(steps, 1)
    torch.manual_seed(0)
    planner = Planner()
    optimiser = torch.optim.AdamW(planner.parameters(), 2e-3)
    found = []
    for _ in range(30):
        batch = tune.batch(rng, 16, CONTINUE)
        error, counts = errors(planner, batch, torch.randn_like(batch.latent))
        loss = error[counts].mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(float(loss.detach()))
    assert np.mean(found[-10:]) < 0.7 * np.mean(found[:3])


def test_bars_are_settled_live_as_they_are_sampled_in_torch() -> None:
    """The same schedule in numpy and torch."""
    progress = torch.linspace(0, 1, 7)
    trained = cell_times(progress, torch.full((7,), LEAD))
    np.testing.assert_allclose(_cell_times(progress.numpy()), trained.numpy(), atol=1e-6)
