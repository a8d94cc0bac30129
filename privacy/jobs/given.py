"""Weights that a trainer gives, checked without a numerics library: names, shapes, float32, finite, nothing else.

Rules
-----
1. The bytes are safetensors as docs/formats/model-graph.md, "Weights", says: every given weight is there once with its
   graph's shape, in float32, without gaps, overlaps or bytes that nothing names.
2. Every number is finite. What is wrong is named by its weight; a value is never repeated.
3. It runs where the job is requested, so that a mistake costs nobody a task; the child reads the bytes again.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping
from typing import Any

from kernel import canonical
from kernel.errors import InvalidError, PrivgateError
from privacy.graph.spec import Shape, elements

HEADER_LIMIT = 2**20
_LENGTH = 8
_BYTES = 4
_EXPONENT = 0x7F800000


def check_given(shapes: Mapping[str, Shape], data: bytes, texts: Mapping[str, str] | None = None) -> None:
    """Hold safetensors bytes to the weights that they must give.

    Args:
        shapes: The given weights by name, with their shapes in the graph.
        data: The bytes.
        texts: The only texts that may stand beside them; any may, if this is absent.

    Raises:
        InvalidError: Anything that the rules above do not allow.
    """
    header, start = _header(data)
    _check_texts(header.pop("__metadata__", {}), texts)
    if set(header) != set(shapes):
        raise InvalidError("the given weights must be exactly those that the graph starts as `given`", field="weights")
    for name, shape in shapes.items():
        _check_entry(name, header[name], shape)
    offset = 0
    for name in sorted(header, key=lambda name: header[name]["data_offsets"][0]):
        begin, end = header[name]["data_offsets"]
        if begin != offset or end != begin + _BYTES * elements(shapes[name]):
            raise _error(name, "its bytes do not follow the weight before, or are not of its shape")
        offset = end
    if start + offset != len(data):
        raise InvalidError("the weights end early, or hold bytes that nothing names", field="weights")
    for name in shapes:
        begin, end = header[name]["data_offsets"]
        _check_finite(name, data[start + begin : start + end])


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or not 2 <= length <= min(HEADER_LIMIT, len(data) - _LENGTH):
        raise InvalidError("the weights are not in the safetensors format", field="weights")
    try:
        header = canonical.decode(data[_LENGTH : _LENGTH + length], limit=HEADER_LIMIT)
    except PrivgateError:
        raise InvalidError("the weights' header is not strict JSON", field="weights") from None
    if not isinstance(header, dict):
        raise InvalidError("the weights' header must be an object", field="weights")
    return header, _LENGTH + length


def _check_texts(written: Any, texts: Mapping[str, str] | None) -> None:
    if not isinstance(written, dict) or not all(isinstance(text, str) for text in written.values()):
        raise InvalidError("the weights' `__metadata__` must hold texts", field="weights")
    if texts is not None and any(texts.get(name) != text for name, text in written.items()):
        raise InvalidError("these values belong to another graph or format: leave out their texts", field="weights")


def _check_entry(name: str, entry: Any, shape: Shape) -> None:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _error(name, "it needs dtype, shape and data_offsets")
    if entry["dtype"] != "F32":
        raise _error(name, "it must be float32 (`F32`)")
    if not isinstance(entry["shape"], list) or tuple(entry["shape"]) != shape:
        raise _error(name, "its shape differs from the graph's")
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise _error(name, "`data_offsets` has two whole numbers")


def _check_finite(name: str, data: bytes) -> None:
    words = array("I", data)
    if sys.byteorder == "big":
        words.byteswap()
    if any(word & _EXPONENT == _EXPONENT for word in words):
        raise _error(name, "it holds a number that is not finite")


def _error(name: str, sentence: str) -> InvalidError:
    return InvalidError(f"given weight `{name}`: {sentence}", field="weights")
