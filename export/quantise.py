"""8-bit weights: matrices as int8 in blocks, each block with a scale; every embedding as int8, each row with a scale.

Blocks of the ONNX standard's `DequantizeLinear` before each product: any runtime can play them, and onnxruntime joins
the two into its int8 kernel (`MatMulNBits`, which quantises the activations as it goes). Scales lie in the file as float16
and are widened when it is loaded. Norms and biases stay float32, and so do the products with the few columns of the decays:
what they lose would add up over the steps. A matrix whose rows make no whole blocks stays as it is too.
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
            integers, scales, widen = _store(graph, matrix, *to_blocks(numpy_helper.to_array(matrix)))
            whole = helper.make_node("DequantizeLinear", [integers, scales], [matrix.name], axis=0, block_size=BLOCK)
            nodes += [widen, whole, node]
        elif table is not None and len(table.dims) == 2:
            integers, scales, widen = _store(graph, table, *to_rows(numpy_helper.to_array(table)))
            row, ids = node.output[0], node.input[1]
            nodes += [
                widen,
                helper.make_node("Gather", [integers, ids], [f"{row}_int8"]),
                helper.make_node("Gather", [scales, ids], [f"{row}_scale"]),
                helper.make_node("Cast", [f"{row}_int8"], [f"{row}_whole"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{row}_whole", f"{row}_scale"], [row]),
            ]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return quantised


def _store(
    graph: onnx.GraphProto, weight: onnx.TensorProto, integers: np.ndarray, scales: np.ndarray
) -> tuple[str, str, onnx.NodeProto]:
    """Put a weight's 8-bit form in its place. Returns the names of integers and float32 scales, and what makes the latter."""
    names = [f"{weight.name}_{kind}" for kind in ("int8", "float16", "scale")]
    graph.initializer.remove(weight)
    graph.initializer.extend([numpy_helper.from_array(integers, names[0]), numpy_helper.from_array(scales, names[1])])
    return names[0], names[2], helper.make_node("Cast", [names[1]], [names[2]], to=TensorProto.FLOAT)


def to_blocks(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(in, out) -> int8 (in, out) and float16 scales (in / BLOCK, out), so that weight = integers * scales, about."""
    rows, columns = weight.shape
    if rows % BLOCK:
        raise ValueError(f"a matrix has {rows} rows; a multiple of {BLOCK} is needed")
    integers, scales = to_rows(weight.reshape(-1, BLOCK, columns))
    return integers.reshape(rows, columns), scales[:, 0]
