"""A run on disk: `model.safetensors` (the weights to ship), `run.json` (how they came about), and, while training,
`train.safetensors` (everything needed to go on). No pickle: these files are safe to open.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.nets.decoder import SIZES, Decoder, Size
from models.nets.rounding import to_rows
from realtime.errors import UserError
from realtime.io.files.whole import write_bytes
from realtime.music import vocabulary
from realtime.music.vocabulary import BEAT

LEAST_ROWS = 16
"""Matrices with fewer are shipped as they are: those of the decays and of the short convolutions, whose errors add up."""
SCALE = ".scale"
"""Ends the name of the scales of an 8-bit matrix."""


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all."""
    part = path.with_suffix(".part")
    save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, part, metadata)
    os.replace(part, path)


def save_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all. Raises `UserError`."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def save_decoder(run: Path, weights: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write the weights to ship and what is known of them. `info` needs "size", a key of `SIZES`."""
    run.mkdir(parents=True, exist_ok=True)
    save_tensors(run / "model.safetensors", weights)
    save_json(run / "run.json", {**info, "vocabulary_version": vocabulary.VERSION})


def load_info(run: Path, versions: Sequence[int] = (vocabulary.VERSION,)) -> dict[str, Any]:
    """`run.json` of a run folder. Raises `UserError` where there is none, or its vocabulary is not of these versions."""
    try:
        info = json.loads((run / "run.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{run}: not a training run ({error}); give the folder that models.train wrote") from None
    if not isinstance(info, dict) or info.get("size") not in SIZES:
        raise UserError(f"{run}/run.json: names no size of {', '.join(SIZES)}; give the folder that models.train wrote")
    if info.get("vocabulary_version") not in versions:
        raise UserError(
            f"{run}: made for vocabulary {info.get('vocabulary_version')}, this is {vocabulary.VERSION}; train again"
        )
    return dict(info)


def size_of(info: dict[str, Any]) -> Size:
    """The size that a `run.json` names; `bars` in it names the autoencoder whose latents its decoder is conditioned on."""
    return replace(SIZES[info["size"]], context="bars" in info)


def load_weights(run: Path, decoder: Decoder) -> None:
    """Give a decoder the weights of a run, in float32. Raises `UserError` where they are not of its size.

    A decoder with a context net may take those of a run without: the net keeps its own, which change nothing yet. Weights of
    vocabulary 1 are grown (`grown`)."""
    info = load_info(run, (vocabulary.VERSION, 1))
    if size_of(info) not in (decoder.size, replace(decoder.size, context=False)):
        raise UserError(
            f"{run}: a run of size {info['size']}, which is not the one asked for; give --size {info['size']}, or another run"
        )
    try:
        weights = widened(load_file(run / "model.safetensors"))
        if decoder.context is not None and not size_of(info).context:
            weights |= {name: x for name, x in decoder.state_dict().items() if name.startswith("context.")}
        decoder.load_state_dict(
            weights if info["vocabulary_version"] == vocabulary.VERSION else grown(weights, decoder)
        )
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(f"{run}/model.safetensors: cannot be read ({str(error).splitlines()[0]})") from None


def grown(weights: dict[str, Tensor], decoder: Decoder) -> dict[str, Tensor]:
    """Weights of vocabulary 1, which had no chords and no memory, for a decoder that has: it plays as before. A CHORD is
    embedded as
    a BEAT, and a chord as nothing; the rest is as the decoder has it."""
    own = dict(decoder.state_dict())
    for name in ("embed.chord.weight", "chord_members.weight"):
        own[name] = torch.zeros_like(own[name])
    time = weights["embed.time.weight"]
    return own | weights | {"embed.time.weight": torch.cat([time, time[BEAT : BEAT + 1]])}


def load_decoder(run: Path) -> tuple[Decoder, dict[str, Any]]:
    """The decoder of a run, in evaluation mode, and its `run.json`. Raises `UserError`."""
    info = load_info(run)  # of this vocabulary only
    decoder = Decoder(size_of(info))
    load_weights(run, decoder)
    return decoder.eval(), info


def narrowed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Float32 weights, their matrices as int8 with a float16 scale for each row (`models.nets.rounding`), named NAME.scale."""
    narrow = dict(weights)
    for name, tensor in weights.items():
        if tensor.ndim == 2 and len(tensor) >= LEAST_ROWS:
            narrow[name], narrow[name + SCALE] = map(torch.from_numpy, to_rows(tensor.cpu().numpy()))
    return narrow


def widened(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `narrowed` gave, in float32 again; others as they are."""
    return {
        name: tensor.float() * weights[name + SCALE].float() if name + SCALE in weights else tensor
        for name, tensor in weights.items()
        if not name.endswith(SCALE)
    }
