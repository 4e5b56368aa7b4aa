"""`Decoder` -> the ONNX model of `realtime.contract`: `StepGraph` through torch's exporter, the contract in its metadata."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnx
import torch

from export.graph import StepGraph
from models.decoder import Decoder
from models.layers import HEAD_SIZE
from realtime.contract import METADATA_KEY, Contract
from realtime.io.stepper import INPUTS, OUTPUTS
from realtime.vocabulary import FIELDS, HELD

OPSET = 23
"""The first opset with RMS normalisation."""


def contract_of(decoder: Decoder, name: str, operators: str, weights: str, data_hash: str) -> Contract:
    """What a file made of `decoder` says of itself."""
    size = decoder.size
    return Contract(name, size.d_model, size.layers, size.d_model // HEAD_SIZE, operators, weights, data_hash)


def to_onnx(decoder: Decoder, contract: Contract) -> onnx.ModelProto:
    """The step graph in float32, in one piece: for any number of events T >= 1, or for T = 1 where a layer needs that."""
    graph = StepGraph(decoder, contract.operators).eval()
    states = state_shapes(decoder)
    inputs = {name: torch.from_numpy(np.zeros(shape, dtype)) for name, (shape, dtype) in INPUTS.items()}
    free = None
    if not graph.stepwise:
        for name in ("event", "held"):
            inputs[name] = inputs[name].repeat(1, 2, 1)  # an example of T = 1 would fix T
        free = {1: torch.export.Dim("T", min=1, max=1 << 20)}
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecations within the exporter
        program = torch.onnx.export(
            graph,
            (*inputs.values(), [torch.zeros(shape) for shape in states.values()]),
            dynamo=True,
            opset_version=OPSET,
            input_names=[*INPUTS, *(f"{name}_in" for name in states)],
            output_names=[*OUTPUTS, *(f"{name}_out" for name in states)],
            dynamic_shapes=(free, free, None, None, None, None, [None] * len(states)),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _tidy(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
    return model


def state_shapes(decoder: Decoder) -> dict[str, torch.Size]:
    """Shape of every state of the step graph by its bare name, in its order: those of the blocks after one event."""
    with torch.no_grad():
        _, states = decoder.trunk(torch.zeros(1, 1, len(FIELDS), dtype=torch.int64), torch.zeros(1, 1, HELD), chunk=1)
    return {f"{name}{i}": x.shape for i, pair in enumerate(states) for name, x in zip("sc", pair, strict=True)}


def _tidy(model: onnx.ModelProto) -> None:
    """Drop the exporter's debugging notes (source lines and their paths), and name what it leaves nameless."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    for value in graph.input[:2]:
        if not value.type.tensor_type.shape.dim[1].dim_value:
            value.type.tensor_type.shape.dim[1].dim_param = "T"
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        node.output[:] = [name if name in used else "" for name in node.output]
