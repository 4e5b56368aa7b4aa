"""8-bit weights: matrices as int8 in blocks, each block with a scale; embeddings as float16.

Blocks of the ONNX standard's `DequantizeLinear` before each product: any runtime can play them, and onnxruntime joins
the two into its int8 kernel (`MatMulNBits`, which quantises the activations as it goes). Scales and embeddings lie in the file
as float16 and are widened when it is loaded, so that reading a row stays one operator. Norms and biases stay float32, and so do
the products with the few columns of the decays: what they lose would add up over the steps. A matrix whose rows make no whole
blocks stays as it is too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.nets.rounding import to_rows

BLOCK = 32
"""Rows of a matrix that share a scale."""
LEAST_COLUMNS = 16


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float32 graph with 8-bit weights."""
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    nodes = []
    for node in graph.node:
        matrix = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        table = weights.get(node.input[0]) if node.op_type == "Gather" else None
        if matrix is not None and matrix.dims[1] >= LEAST_COLUMNS and matrix.dims[0] % BLOCK == 0:
            integers, scales = to_blocks(numpy_helper.to_array(matrix))
            integers_name, scales_name = f"{matrix.name}_int8", f"{matrix.name}_scale"
            graph.initializer.remove(matrix)
            graph.initializer.append(numpy_helper.from_array(integers, integers_name))
            nodes += [
                _widened(graph, scales, scales_name),
                helper.make_node(
                    "DequantizeLinear", [integers_name, scales_name], [matrix.name], axis=0, block_size=BLOCK
                ),
                node,
            ]
        elif table is not None and len(table.dims) == 2:
            graph.initializer.remove(table)
            nodes += [_widened(graph, numpy_helper.to_array(table).astype(np.float16), table.name), node]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return quantised


def _widened(graph: onnx.GraphProto, values: np.ndarray, name: str) -> onnx.NodeProto:
    """Put float16 values into the file. Returns what makes float32 of them, under the name."""
    graph.initializer.append(numpy_helper.from_array(values, f"{name}_float16"))
    return helper.make_node("Cast", [f"{name}_float16"], [name], to=TensorProto.FLOAT)


def to_blocks(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(in, out) -> int8 (in, out) and float16 scales (in / BLOCK, out), so that weight = integers * scales, about."""
    rows, columns = weight.shape
    if rows % BLOCK:
        raise ValueError(f"a matrix has {rows} rows; a multiple of {BLOCK} is needed")
    integers, scales = to_rows(weight.reshape(-1, BLOCK, columns))
    return integers.reshape(rows, columns), scales[:, 0]
