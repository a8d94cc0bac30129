"""Values of weights as safetensors bytes: a strict reader and one way to write. Needs numpy, not torch.

Rules
-----
1. The same arrays and texts give the same bytes: names sorted, data without gaps, header padded to 8 bytes.
2. The reader refuses what it does not expect: unknown dtypes and members, gaps, overlaps, bytes that nothing names, a
   header above its limit. A size is compared with the bytes that are there before anything is allocated.
3. Reading never runs code and never yields a view of the caller's buffer.

Form: docs/formats/model-graph.md, "Weights". Reference: the safetensors format, version 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel import canonical
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from privacy.graph.spec import InitialRule, ModelGraph, Shape

FORMAT: Final = "privgate/weights/v1"
INITIAL_FORMAT: Final = "privgate/initial/v1"
LIMIT = 64 * 2**20
HEADER_LIMIT = 2**20
MOST_ARRAYS = 4096
_LENGTH = 8
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}
_WRITTEN: Final = {dtype: name for name, dtype in _DTYPES.items()}

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedArrays:
    """Arrays by name, with the texts that stand beside them."""

    arrays: Mapping[str, Array]
    texts: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write safetensors; raise `InvalidError` for a dtype that is not written."""
        header: dict[str, Any] = {"__metadata__": dict(self.texts)} if self.texts else {}
        parts: list[bytes] = []
        offset = 0
        for name in sorted(self.arrays):
            dtype, data = _encoded(self.arrays[name])
            span = [offset, offset + len(data)]
            header[name] = {"dtype": dtype, "shape": list(self.arrays[name].shape), "data_offsets": span}
            offset = span[1]
            parts.append(data)
        written = canonical.encode(header)
        written += b" " * (-len(written) % _LENGTH)
        return b"".join([len(written).to_bytes(_LENGTH, "little"), written, *parts])

    @classmethod
    def from_bytes(cls, data: bytes, *, limit: int = LIMIT) -> NamedArrays:
        """Read safetensors strictly.

        Raises:
            TooLargeError: More than `limit` bytes.
            CorruptError: Anything that this format does not allow.
        """
        if len(data) > limit:
            raise TooLargeError(f"weights of more than {limit} bytes")
        try:
            header, start = _header(data)
            texts = header.pop("__metadata__", {})
            return cls(arrays=_arrays(header, memoryview(data)[start:]), texts=_texts(texts))
        except CorruptError:
            raise
        except PrivgateError:
            raise CorruptError("not weights in the safetensors format") from None


def pack_weights(graph: ModelGraph, values: Mapping[str, Array]) -> bytes:
    """Write a model's weights as float32 with the digest of their graph.

    Raises:
        InvalidError: Names or shapes differ from the graph's, or a value is not finite.
    """
    arrays = _float32(values)
    _check_fit(_shapes(graph), arrays)
    return NamedArrays(arrays=arrays, texts={"format": FORMAT, "graph": graph.digest}).to_bytes()


def unpack_weights(graph: ModelGraph, data: bytes) -> dict[str, Array]:
    """Read what `pack_weights` wrote for this very graph.

    Raises:
        CorruptError: Not such bytes.
        InvalidError: They belong to another graph, or a value is not finite.
    """
    named = NamedArrays.from_bytes(data)
    if named.texts.get("format") != FORMAT or named.texts.get("graph") != graph.digest:
        raise InvalidError("these weights belong to another model graph", field="weights")
    _check_fit(_shapes(graph), named.arrays)
    return dict(named.arrays)


def pack_initial(graph: ModelGraph, values: Mapping[str, Array]) -> bytes:
    """Write the values from which the `given` weights of a graph start.

    Raises:
        InvalidError: They are not exactly the given weights, or a value is not finite in float32.
    """
    arrays = _float32(values)
    _check_fit(_given(graph), arrays)
    return NamedArrays(arrays=arrays, texts={"format": INITIAL_FORMAT, "graph": graph.digest}).to_bytes()


def unpack_initial(graph: ModelGraph, data: bytes) -> dict[str, Array]:
    """Read the values from which the `given` weights of a graph start: all of them, and nothing else.

    Texts beside them bind nothing and may be missing: the request that has graph and values binds both.

    Raises:
        CorruptError: Not safetensors as this format allows them.
        InvalidError: Other names or shapes, another dtype, or a value that is not finite.
    """
    named = NamedArrays.from_bytes(data)
    _check_fit(_given(graph), named.arrays)
    return dict(named.arrays)


def _shapes(graph: ModelGraph) -> dict[str, Shape]:
    return {weight.name: weight.shape for weight in graph.weights}


def _given(graph: ModelGraph) -> dict[str, Shape]:
    return {weight.name: weight.shape for weight in graph.weights if weight.init.rule is InitialRule.GIVEN}


def _float32(values: Mapping[str, Array]) -> dict[str, Array]:
    with np.errstate(over="ignore"):  # what becomes infinite is refused by name
        return {name: np.asarray(value, dtype=np.float32, order="C") for name, value in values.items()}


def _check_fit(expected: Mapping[str, Shape], arrays: Mapping[str, Array]) -> None:
    if {name: array.shape for name, array in arrays.items()} != expected:
        raise InvalidError("names or shapes of the weights differ from the graph's", field="weights")
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise InvalidError("weights are finite numbers in float32", field="weights")


def _encoded(array: Array) -> tuple[str, bytes]:
    name = _WRITTEN.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise InvalidError("weights are written as " + ", ".join(_DTYPES), field="dtype")
    return name, np.ascontiguousarray(array, dtype=_DTYPES[name]).tobytes()


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:_LENGTH], "little")
    if len(data) < _LENGTH or not 2 <= length <= min(HEADER_LIMIT, len(data) - _LENGTH):
        raise CorruptError("the weights' header is truncated or too long")
    header = canonical.decode(data[_LENGTH : _LENGTH + length], limit=HEADER_LIMIT)
    if not isinstance(header, dict) or not data[_LENGTH : _LENGTH + 1] == b"{" or len(header) > MOST_ARRAYS:
        raise CorruptError("the weights' header must be an object")
    return header, _LENGTH + length


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CorruptError("`__metadata__` holds texts")
    return value


def _arrays(header: Mapping[str, Any], data: memoryview) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    offset = 0
    for name, entry in sorted(header.items(), key=lambda item: _span(item[1])):
        begin, end = _span(entry)
        if begin != offset or end > len(data):
            raise CorruptError("the weights' data has gaps or overlaps")
        arrays[name] = _array(entry, data[begin:end])
        offset = end
    if offset != len(data):
        raise CorruptError("the weights hold bytes that nothing names")
    return arrays


def _span(entry: Any) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CorruptError("an array has dtype, shape and data_offsets")
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise CorruptError("`data_offsets` has two numbers")
    begin, end = (whole(0, LIMIT, data_offsets=offset) for offset in offsets)
    if begin > end:
        raise CorruptError("`data_offsets` must rise")
    return begin, end


def _array(entry: Mapping[str, Any], data: memoryview) -> Array:
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None or not isinstance(entry["shape"], list) or len(entry["shape"]) > 8:
        raise CorruptError("an array has a known dtype and a short shape")
    shape = tuple(whole(0, LIMIT, shape=side) for side in entry["shape"])
    if math.prod(shape) * dtype.itemsize != len(data):
        raise CorruptError("an array's shape and its bytes differ")
    flat: Array = np.frombuffer(data, dtype=dtype)
    return flat.reshape(shape).copy()
