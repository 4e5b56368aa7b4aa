"""The scores of a gap: what is asked, what is known, and that they are what the model says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dealing import piece_of

from export.__main__ import random_decoder
from export.convert import contract_of, to_onnx
from models.evaluation.infill import Gap, gap_of, nats, streams
from models.nets.decoder import Decoder
from models.training.losses import candidates_of, window_losses
from realtime.io.graphs.stepper import Stepper
from realtime.music.vocabulary import CHORD, HEADS, MODEL_PART, Role


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return random_decoder("tiny", 3)


@pytest.fixture(scope="module")
def stepper(decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Stepper:
    path = tmp_path_factory.mktemp("infill") / "tiny.onnx"
    model = to_onnx(decoder, contract_of(decoder, "tiny", "native", "fp32", "none"))
    path.write_bytes(model.SerializeToString())
    return Stepper.load(path, "cpu", slots=2)


@pytest.fixture(scope="module")
def gap() -> Gap:
    """Two parts in eighths that repeat every other bar, over another chord in each bar."""
    notes = [(i * 12, 12, 60 + i % 16 + 12 * part, part) for i in range(8 * 20) for part in (0, 1)]
    piece = piece_of(notes)
    chords = (1 + np.arange(len(piece.beats)) // 4 * 5 % 12).astype(np.uint8)
    found = gap_of(replace(piece, chords=chords), "a song", np.random.default_rng(1))
    assert found is not None
    return found


@pytest.mark.parametrize("role", [Role.CONTINUE, Role.ACCOMPANY], ids=lambda role: role.name.lower())
@pytest.mark.parametrize("knows_after", [False, True], ids=["not told", "told"])
@pytest.mark.parametrize("mine", [(0, 1), (1,)], ids=["all parts", "one part"])
def test_nats_of_a_gap_are_those_of_torch(
    gap: Gap, decoder: Decoder, stepper: Stepper, role: Role, knows_after: bool, mine: tuple[int, ...]
) -> None:
    """With the candidates that the music before, and after where it is told, gives rise to."""
    arrays = streams(gap, mine, role, knows_after)
    batch = {name: torch.from_numpy(np.ascontiguousarray(x))[None] for name, x in arrays.items()}
    with torch.no_grad():
        logits, _ = decoder(batch["events"], batch["held"], batch["targets"], candidates=candidates_of(batch))
    assert (batch["events"][0, :, 0] == CHORD).any()
    expected = float(window_losses(logits[: len(HEADS)], batch).sum())
    total, notes = nats(stepper, None, gap, mine, role, knows_after)
    ticks = gap.edges[1] - gap.edges[0]
    assert notes == len(mine) * ticks // 12
    assert total == pytest.approx(expected, rel=1e-4)
    assert (arrays["features"][..., 0] > 0).any()


def test_what_comes_after_is_told_before_and_is_the_players(gap: Gap) -> None:
    told, alone = (streams(gap, (0, 1), Role.CONTINUE, knows_after) for knows_after in (True, False))
    count = len(told["kind"]) - len(alone["kind"])
    assert count > 0
    assert set(told["events"][:count, 8].tolist()) == {Role.INFILL}
    assert not told["turn"][:count].any() and not told["note"][:count].any()
    parts = told["events"][:count, 1]
    assert (parts < MODEL_PART).any() and not ((parts >= MODEL_PART) & (parts < 2 * MODEL_PART)).any()
    for name in ("events", "held", "targets", "kind", "turn", "note"):
        assert np.array_equal(told[name][count:], alone[name])
