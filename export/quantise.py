"""8-bit weights: every matrix as int8 in blocks, each block with a scale.

Blocks of the ONNX standard's `DequantizeLinear` before each product: any runtime can play them, and onnxruntime joins
the two into its int8 kernel (`MatMulNBits`, which quantises the activations as it goes). Embeddings, norms and biases
stay float32, and so do the products with the few columns of the decays: what they lose would add up over the steps.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

BLOCK = 32
"""Rows that share a scale."""
LEAST_COLUMNS = 16


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float32 step graph with 8-bit weights. Raises `ValueError` where a matrix does not divide into blocks."""
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    graph = quantised.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is not None and weight.dims[1] >= LEAST_COLUMNS:
            integers, scales = to_blocks(numpy_helper.to_array(weight))
            names = [f"{weight.name}_int8", f"{weight.name}_scale"]
            graph.initializer.remove(weight)
            graph.initializer.extend(
                numpy_helper.from_array(*pair) for pair in zip((integers, scales), names, strict=True)
            )
            nodes.append(helper.make_node("DequantizeLinear", names, [weight.name], axis=0, block_size=BLOCK))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return quantised


def to_blocks(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(in, out) -> int8 (in, out) and float32 scales (in / BLOCK, out), so that weight = integers * scales, about."""
    rows, columns = weight.shape
    if rows % BLOCK:
        raise ValueError(f"a matrix has {rows} rows; a multiple of {BLOCK} is needed")
    blocks = weight.reshape(-1, BLOCK, columns)
    scales = np.maximum(np.abs(blocks).max(1, keepdims=True), 1e-12) / 127
    integers = np.rint(blocks / scales).astype(np.int8).reshape(rows, columns)
    return integers, scales[:, 0].astype(np.float32)
