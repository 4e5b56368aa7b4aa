"""The numbers in a model file: every weight has to be a number, and to lie in the file itself.

A weight that is none need not show in what a graph computes: where activations are quantised to integers it counts as 0. And the
seal covers one file, so weights in another one would be covered by nothing. What is read here are protocol buffers, with the
field numbers of onnx.proto; bytes that are none are left to onnxruntime, which says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from realtime.errors import UserError

_INSIDE = {
    ("model", 7): "graph",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("graph", 15): "sparse tensor",
    ("sparse tensor", 1): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 6): "graph",
    ("attribute", 10): "tensor",
    ("attribute", 11): "graph",
}
"""What a field holds that has bytes of its own."""
_TYPE, _FLOATS, _NAME, _RAW, _LOCATION = 2, 4, 8, 9, 14
_KINDS = {1: "<f4", 10: "<f2", 11: "<f8"}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST_VARINT = 10


def check_weights(path: Path, data: bytes) -> None:
    """Raises `UserError` where a tensor holds what is no number, or has its numbers in another file. A single number may be minus
    infinity, which masks a choice."""
    inside = [("model", 0, len(data))]
    while inside:
        kind, start, end = inside.pop()
        fields = _fields(data, start, end)
        if kind == "tensor":
            _check_tensor(path, data, {number: where for number, *where in fields})
            continue
        for number, first, last in fields:
            if (kind, number) in _INSIDE:
                inside.append((_INSIDE[kind, number], first, last))


def _check_tensor(path: Path, data: bytes, fields: dict[int, list[int]]) -> None:
    def number(field: int) -> int:
        return _varint(data, *fields[field])[0] if field in fields else 0

    if number(_LOCATION):
        raise UserError(f"{path}: its weights lie in another file; export it again, as one file")
    kind = _KINDS.get(number(_TYPE))
    for field in (_RAW, _FLOATS):
        if kind is None or field not in fields:
            continue
        start, end = fields[field]
        dtype = np.dtype(kind if field == _RAW else "<f4")
        values = np.frombuffer(data, dtype, (end - start) // dtype.itemsize, start)
        if not (np.isfinite(values).all() or (values.size == 1 and values[0] == -np.inf)):
            name = data[slice(*fields.get(_NAME, (0, 0)))].decode("ascii", "replace")[:60]
            raise UserError(
                f"{path}: damaged, as its weight {name!r} is no number; install Antiphon again, or export it again"
            )


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, first byte, end) of each field; it stops at what is none."""
    at = start
    while at < end:
        key, at = _varint(data, at, end)
        kind, first = key & 7, at
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind == _BYTES:
            size, first = _varint(data, at, end)
            at = first + size
        elif kind in (_EIGHT, _FOUR):
            at += 8 if kind == _EIGHT else 4
        else:
            return
        if at > end:
            return
        yield key >> 3, first, at


def _varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """(value, where the next byte is); past the end where the bytes are none."""
    value = 0
    for at in range(start, min(start + _LONGEST_VARINT, end)):
        value |= (data[at] & 0x7F) << 7 * (at - start)
        if data[at] < 0x80:
            return value, at + 1
    return 0, end + 1
