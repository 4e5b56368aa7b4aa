"""What every training loop shares: optimisers, averages of weights, progress on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.nets.checkpoint import save_tensors
from models.nets.decoder import Decoder
from realtime.errors import UserError

CPU = torch.device("cpu")
EMA_DECAY = 0.997
NEWER_FASTER = 3.0
"""How much faster than the rest the context net, the memory and the chord head are trained: mostly they come to a decoder that
has learned already."""
NEWER = ("context", "memory", "chord_head", "chord_members")


def lr_scale(step: int, steps: int, warmup: int = 100) -> float:
    """Warm-up, flat, linear decay to a hundredth over the last fifth."""
    decay = max((steps - step) / (0.2 * steps), 0.01)
    return min((step + 1) / warmup, 1.0, decay)


def make_optimisers(decoder: Decoder, lr: float, name: str) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon (orthogonalised momentum) for the matrices of the blocks and AdamW for the rest."""
    matrices = [p for n, p in decoder.blocks.named_parameters() if p.ndim == 2 and "conv" not in n and "decay" not in n]
    newer = [p for n, p in decoder.named_parameters() if n.split(".")[0] in NEWER and p.requires_grad]
    chosen = {id(p) for p in [*matrices, *newer]}
    rest: list[Any] = [{"params": [p for p in decoder.parameters() if p.requires_grad and id(p) not in chosen]}]
    rest += [{"params": newer, "faster": NEWER_FASTER}] if newer else []
    if name == "adamw":
        groups = [{"params": matrices, "weight_decay": 0.05}, *({**group, "weight_decay": 0.0} for group in rest)]
        return [torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)]
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def descend(model: nn.Module, optimisers: list[torch.optim.Optimizer], lr: float) -> None:
    """One step at this learning rate along the gradients, clipped, which are then cleared."""
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = lr * group.get("faster", 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


@torch.no_grad()
def move_average(average: dict[str, Tensor], model: nn.Module, step: int, most: float = EMA_DECAY) -> None:
    """Move the average of the weights, in place, towards those after step number `step`; its decay grows up to `most`."""
    decay = min(most, (step + 1) / (step + 10))
    for name, p in model.state_dict().items():
        average[name].lerp_(p, 1 - decay)


@contextmanager
def holding(model: nn.Module, weights: dict[str, Tensor]) -> Iterator[None]:
    """Within, the model has these weights; after it its own again."""
    own = weights_of(model)
    model.load_state_dict(weights)
    yield
    model.load_state_dict(own)


def optimiser_tensors(optimisers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor of the optimisers' states, by a flat name."""
    return {
        f"optimiser.{i}.{index}.{key}": value
        for i, optimiser in enumerate(optimisers)
        for index, state in optimiser.state_dict()["state"].items()
        for key, value in state.items()
    }


def restore_optimisers(optimisers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Undo `optimiser_tensors`."""
    for i, optimiser in enumerate(optimisers):
        whole = optimiser.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            kind, *where = name.split(".", 3)
            if kind == "optimiser" and int(where[0]) == i:
                state.setdefault(int(where[1]), {})[where[2]] = value
        whole["state"] = state
        optimiser.load_state_dict(whole)


class Progress:
    """A training as it stands: a model, the moving average of its weights, its optimisers, the number of steps done and the
    seconds they took. It lies in a file, if it was saved before, and goes on from there. Raises `UserError`."""

    def __init__(
        self,
        file: Path,
        model: nn.Module,
        optimisers: list[torch.optim.Optimizer],
        device: torch.device = CPU,
    ) -> None:
        self.file, self.model, self.optimisers = file, model, optimisers
        self.average = weights_of(model)
        self.step, self.seconds = 0, 0.0
        if file.exists():
            self._load(device)

    def descend(self, lr: float) -> None:
        """One step along the gradients, then the average follows the weights; see `descend` and `move_average`."""
        descend(self.model, self.optimisers, lr)
        move_average(self.average, self.model, self.step)
        self.step += 1

    def save(self) -> None:
        """Write everything that is needed to go on."""
        save_tensors(
            self.file,
            {f"model.{n}": t for n, t in self.model.state_dict().items()}
            | {f"average.{n}": t for n, t in self.average.items()}
            | optimiser_tensors(self.optimisers)
            | {"step": torch.tensor(self.step), "seconds": torch.tensor(self.seconds)},
        )

    def _load(self, device: torch.device) -> None:
        """Undo `save`."""
        try:
            tensors = load_file(self.file, device=str(device))
            weights = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
            self.model.load_state_dict(weights)
            restore_optimisers(self.optimisers, tensors)
            self.step, self.seconds = int(tensors["step"]), float(tensors["seconds"])
        except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self.file}: cannot be continued ({reason}); give the run's own --size and --optimiser, or another --out"
            ) from None
        self.average = {n.removeprefix("average."): t for n, t in tensors.items() if n.startswith("average.")}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all parameters and buffers, by name."""
    return {name: p.detach().clone() for name, p in model.state_dict().items()}


def write_log(file: Path, step: int, seconds: float, entry: dict[str, Any]) -> None:
    """Append a line of JSON to a run's log."""
    with file.open("a") as f:
        f.write(json.dumps({"step": step, "seconds": round(seconds), **entry}) + "\n")
