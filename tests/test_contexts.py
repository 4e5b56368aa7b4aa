"""What the decoder is told beside the notes: of the past what is known by then, of the future only the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.corpus.contexts import LAG, LATENTS_ONLY, NEVER, REACH, TRAINING, Draw, cell_of, contexts
from models.corpus.pack import Pack
from models.corpus.perturb import NONE, Augment
from models.corpus.windows import Windows, collate
from models.nets.autoencoder import BarAutoencoder
from models.nets.context import AHEAD, PAST, Conditioning, ContextNet
from models.nets.decoder import SIZES, Decoder
from realtime.music.vocabulary import Role

PLANNED = Draw(past=1, own=0, plan=1, times=(0.0, 0.5), wrong=0, controls=0, style=0)


@pytest.fixture(scope="module")
def bars() -> BarAutoencoder:
    torch.manual_seed(0)
    return BarAutoencoder().eval()


def batch_of(pack: Pack, role: Role | None = None, count: int = 4, augment: Augment = NONE) -> dict[str, torch.Tensor]:
    windows = Windows(pack, "train", 160, 3, augment, count, role, cells=True)
    return collate([windows[i] for i in range(count)])


def conditioning_of(batch: dict[str, torch.Tensor], bars: BarAutoencoder, draw: Draw, seed: int = 0) -> Conditioning:
    return contexts(batch, bars, draw, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("cell", [0, 2, 5])
def test_a_cell_conditions_from_two_cells_later_on_and_its_plan_from_three_before(
    toy_pack: Pack, bars: BarAutoencoder, cell: int
) -> None:
    batch = batch_of(toy_pack, Role.COMPOSE, 1)
    other = batch | {"rolls": batch["rolls"].clone()}
    other["rolls"][cell] ^= 255
    before, after = conditioning_of(batch, bars, PLANNED), conditioning_of(other, bars, PLANNED)
    rows = np.arange(len(before.known) - 1)
    heard = (before.latent != after.latent).flatten(1).any(1)[:-1].numpy()
    planned = (before.plan != after.plan).flatten(1).any(1)[:-1].numpy()
    assert heard.tolist() == ((rows >= cell + LAG) & (rows <= cell + REACH)).tolist()
    assert planned.tolist() == ((rows <= cell) & (rows > cell - AHEAD)).tolist()


def test_windows_do_not_hear_of_each_other(toy_pack: Pack, bars: BarAutoencoder) -> None:
    batch = batch_of(toy_pack, count=3, augment=Augment())
    out = conditioning_of(batch, bars, LATENTS_ONLY)
    first = 0
    for count in batch["cells"].flatten().tolist():
        assert out.known[first : first + count].sum(1).tolist() == [
            min(max(c - LAG + 1, 0), PAST) for c in range(count)
        ]
        first += count
    assert not any(row[-1].any() for row in out[:5])


def test_every_event_has_the_cell_it_lies_in(toy_pack: Pack) -> None:
    batch = batch_of(toy_pack, Role.TRADE)
    cell, beat = cell_of(batch)
    start = batch["edges"][cell.clamp(max=len(batch["edges"]) - 1)]
    padded = batch["events"][..., 0] == 24
    assert bool((start <= batch["tick"]).all())
    assert bool(((batch["tick"] - start < 96) | padded).all())
    assert bool((((batch["tick"] - start) // 24 == beat) | padded).all())


def test_what_is_fed_ahead_of_a_gap_has_no_context(toy_pack: Pack) -> None:
    batch = batch_of(toy_pack, Role.INFILL)
    ahead = batch["events"][..., 8] == Role.INFILL
    assert bool((batch["tick"][ahead & (batch["turn"] == 0)] == NEVER).any())
    assert bool((cell_of(batch)[0][batch["tick"] == NEVER] == len(batch["edges"])).all())


def test_shares_are_what_they_say(toy_pack: Pack, bars: BarAutoencoder) -> None:
    batch = batch_of(toy_pack, Role.COMPOSE)
    nothing = conditioning_of(batch, bars, Draw(0, 0, 0, (0, 0), 0, 0, 0))
    assert not any(row.any() for row in (nothing.latent, nothing.known, nothing.plan_time, nothing.controls))
    everything = conditioning_of(batch, bars, replace(TRAINING, past=1, own=0, plan=1, controls=1, style=1))
    assert bool(everything.known.any() and everything.plan_time.any() and everything.controls.any())
    assert float(everything.plan_time.max()) <= TRAINING.times[1]
    own = conditioning_of(batch, bars, replace(LATENTS_ONLY, own=1))
    assert float(own.known.sum()) < float(conditioning_of(batch, bars, LATENTS_ONLY).known.sum())


def test_a_new_context_net_only_has_a_bias_to_its_plan_and_a_noisy_plan_at_time_0_says_nothing(
    toy_pack: Pack, bars: BarAutoencoder
) -> None:
    batch = batch_of(toy_pack)
    torch.manual_seed(0)
    decoder = Decoder(replace(SIZES["tiny"], context=True)).eval()
    inputs = batch["events"], batch["held"], batch["targets"]
    out = conditioning_of(batch, bars, TRAINING)
    none = conditioning_of(batch, bars, replace(TRAINING, plan=0))
    for a, b in zip(decoder(*inputs)[0], decoder(*inputs, conditioning=none)[0], strict=True):
        assert torch.equal(a, b)
    changed = [
        not torch.equal(a, b) for a, b in zip(decoder(*inputs)[0], decoder(*inputs, conditioning=out)[0], strict=True)
    ]
    assert changed == [True, False, True, False, False, False], "of time and pitch"
    net = ContextNet(32)
    torch.nn.init.normal_(net.leave.weight)
    none = out._replace(plan_time=torch.zeros_like(out.plan_time))
    assert torch.allclose(net.of_events(none), net.of_events(none._replace(plan=torch.randn_like(out.plan))))
    assert not torch.allclose(
        net.of_events(none), net.of_events(none._replace(plan_time=torch.full_like(out.plan_time, 0.5)))
    )
