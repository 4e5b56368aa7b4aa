"""How plans are given to a decoder: the ways that are tried on validation, and the scores in the best of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.ablation.plan_scores import ROLES, Excerpt, Scores, Trust, mean_plans, planned, true_plans, unconditioned
from models.corpus.contexts import TRAINING
from models.nets.decoder import Decoder

DRAWN = [
    *(Trust(time) for time in (0.3, 0.5, 0.7, 0.9, 1.0)),
    *(Trust(0.5, rows=rows) for rows in (1, 2)),
    *(Trust(0.5, guidance=guidance) for guidance in (0.25, 0.5, 2.0)),
]
MEAN = [
    *(Trust(time, noisy=False) for time in (0.2, 0.4, 0.6, 0.9)),
    *(Trust(0.4, rows=rows, noisy=False) for rows in (1, 2)),
    *(Trust(0.4, guidance=guidance, noisy=False) for guidance in (0.1, 0.25, 0.5, 2.0)),
]
"""Ways to condition on one drawn plan, and on the mean of all drawn for a cell. Of each the best on validation is used."""
TRIAL_DRAWS = 4


def trials(decoder: Decoder, found: list[Excerpt], plans: list[Tensor]) -> list[float]:
    """Nats a note more than with no plan on validation, in each way of `DRAWN` and `MEAN`."""
    total, ways = np.zeros(len(DRAWN) + len(MEAN)), [*DRAWN, *MEAN]
    for i, (of, plan) in enumerate(zip(found, plans, strict=True)):
        kinds = [plan[:, :TRIAL_DRAWS]] * len(DRAWN) + [plan.mean(1, keepdim=True)] * len(MEAN)
        nats = planned(decoder, of, {str(n): way for n, way in enumerate(zip(kinds, ways, strict=True))}, i)
        total += [nats[str(n)][1] - nats["no plan"][1] for n in range(len(ways))]
    return (total / sum(of.notes for of in found)).round(5).tolist()


def scores(decoder: Decoder, found: list[Excerpt], plans: list[Tensor], drawn: Trust, mean: Trust) -> list[Scores]:
    """Of each excerpt with each kind of plan."""
    rows = []
    for i, (of, plan) in enumerate(zip(found, plans, strict=True)):
        other = plans[(i + len(ROLES)) % len(plans)]  # the next song's, in the same role
        other = other[torch.arange(len(plan)) % len(other)]
        true = true_plans(of.latent, of.scored)
        kinds = {
            "planner": (plan, drawn),
            "another song's": (other, drawn),
            "true": (true.expand(-1, TRIAL_DRAWS, -1, -1), drawn),
            "planner's mean": (plan.mean(1, keepdim=True), mean),
            "another song's mean": (other.mean(1, keepdim=True), mean),
            "mean of the past": (mean_plans(of.latent, of.scored), mean),
            "true, told as a mean": (true, mean),
            "true, nearly clean": (true, Trust(TRAINING.times[1])),
        }
        nats = planned(decoder, of, kinds, i, ("planner", "another song's"))
        rows.append({**nats, "nothing told": [unconditioned(decoder, of)] * 2})
    return rows
