"""`Decoder` -> the ONNX model of `realtime.composing.contract`: `StepGraph` through torch's exporter, the contract in
its metadata."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from export.graph import StepGraph
from models.nets.decoder import Decoder
from models.nets.layers import HEAD_SIZE
from realtime.composing.contract import METADATA_KEY, Contract
from realtime.io.graphs.stepper import INPUTS, OUTPUTS, inputs_of

OPSET = 23
"""The first opset with RMS normalisation."""


def contract_of(decoder: Decoder, name: str, operators: str, weights: str, data_hash: str) -> Contract:
    """What a file made of `decoder` says of itself."""
    size = decoder.size
    context = decoder.context.width if decoder.context is not None else 0
    return Contract(
        name,
        size.d_model,
        size.layers,
        size.d_model // HEAD_SIZE,
        operators,
        weights,
        data_hash,
        context,
        decoder.memory is not None,
    )


def to_onnx(decoder: Decoder, contract: Contract) -> onnx.ModelProto:
    """The step graph in float32, in one piece."""
    graph = StepGraph(decoder, contract.operators).eval()
    states = graph.state_shapes()
    inputs = {name: torch.from_numpy(np.zeros(shape, dtype)) for name, (shape, dtype) in inputs_of(contract).items()}
    names = [*INPUTS, "candidates", "features", "context"]
    return convert(
        graph,
        (*(inputs.get(name) for name in names), [torch.zeros(shape) for shape in states.values()]),
        [*inputs, *(f"{name}_in" for name in states)],
        [*OUTPUTS, *(f"{name}_out" for name in states)],
        (*(None for _ in names), [None] * len(states)),
        contract.to_json(),
    )


def convert(
    graph: nn.Module, example: tuple[Any, ...], inputs: list[str], outputs: list[str], free: tuple[Any, ...], says: str
) -> onnx.ModelProto:
    """A module as an ONNX model in float32, in one piece.

    `example`: what to call it with; `free`: for each of these None or {axis: `torch.export.Dim`}; `says`: its metadata.
    """
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecations within the exporter
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=free,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_lengths(model.graph, [axes for given, axes in zip(example, free, strict=True) if given is not None])
    _tidy(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: says})
    return model


def _name_lengths(graph: onnx.GraphProto, free: list[Any]) -> None:
    """Call the free lengths by their own names: the exporter numbers them. `free`: of each input, as in `convert`."""
    names = {}
    for value, axes in zip(graph.input, free, strict=False):
        for axis, length in axes.items() if isinstance(axes, dict) else ():
            names[value.type.tensor_type.shape.dim[axis].dim_param] = length.__name__
    for value in (*graph.input, *graph.output):
        for length in value.type.tensor_type.shape.dim:
            if length.dim_param in names:
                length.dim_param = names[length.dim_param]


def _tidy(model: onnx.ModelProto) -> None:
    """Drop the exporter's debugging notes (source lines and their paths), and name what it leaves nameless."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        if node.domain:  # onnxruntime's own operators may leave an output out; one of the standard's crashes
            node.output[:] = [name if name in used else "" for name in node.output]
