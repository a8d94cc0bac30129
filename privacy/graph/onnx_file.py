"""The parts of an ONNX file as plain values. Needs onnx, whose protobuf classes read the bytes; nothing is run.

Rules
-----
1. Everything lies in the file. External data, sparse tensors, functions, other domains and subgraphs are refused.
2. Sizes are compared with limits before any array is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from kernel.errors import CorruptError, InvalidError, TooLargeError
from privacy.graph.check import MOST_WEIGHT_ELEMENTS
from privacy.graph.foreign import MOST_DIMS, Array, Dim, Parameter, Sizes
from privacy.graph.foreign_graph import MOST_FOREIGN_NODES, shown
from privacy.graph.onnx_calls import Value
from privacy.graph.spec import LARGEST_SIDE, MOST_WEIGHTS

LIMIT = 32 * 2**20
OPSETS: Final = range(13, 25)
OWN_DOMAINS: Final = ("", "ai.onnx")
_DTYPES: Final[dict[int, np.dtype[Any]]] = {TensorProto.FLOAT: np.dtype("<f4"), TensorProto.INT64: np.dtype("<i8")}


def parsed(data: bytes) -> tuple[GraphProto, int]:
    """The graph, and the version of its operations; raise `InvalidError`, `CorruptError` or `TooLargeError`."""
    if len(data) > LIMIT:
        raise TooLargeError(f"a model file has at most {LIMIT} bytes", field="model")
    try:
        model = ModelProto.FromString(data)
    except (DecodeError, ValueError, RecursionError):
        raise CorruptError("not an ONNX file", field="model") from None
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    if set(opsets) - set(OWN_DOMAINS) or len(opsets) != 1 or next(iter(opsets.values())) not in OPSETS:
        raise InvalidError(
            f"the model must use ONNX's own operations alone, opset {OPSETS[0]} to {OPSETS[-1]}", field="model"
        )
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise InvalidError("functions, training information and sparse tensors are not read", field="model")
    if len(model.graph.node) > MOST_FOREIGN_NODES or len(model.graph.initializer) > MOST_WEIGHTS:
        raise TooLargeError("the model has too many nodes or initialisers: make it smaller", field="model")
    # The parser hands out text that is not UTF-8 as bytes.
    if not all(isinstance(name, str) for name in _names(model.graph)):
        raise CorruptError("a name in the file is not text", field="model")
    return model.graph, next(iter(opsets.values()))


def _names(graph: GraphProto) -> Iterator[object]:
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.t.name)
    for named in (*graph.initializer, *graph.input, *graph.output):
        yield named.name


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Attributes as plain values; tensors as `Value`."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in found or attribute.ref_attr_name:
            raise InvalidError("an attribute is given twice, or refers to a function's")
        found[attribute.name] = _attribute(attribute)
    return found


def _attribute(attribute: AttributeProto) -> Any:
    kind = attribute.type
    if kind == AttributeProto.INT:
        return int(attribute.i)
    if kind == AttributeProto.FLOAT:
        # Numbers are stored as float32: the shortest text that says the same one.
        return float(str(np.float32(attribute.f)))
    if kind == AttributeProto.STRING:
        return attribute.s.decode("ascii", "replace")
    if kind == AttributeProto.INTS:
        if len(attribute.ints) > 2 * MOST_DIMS:
            raise InvalidError("one of its attributes is too long")
        return tuple(int(item) for item in attribute.ints)
    if kind == AttributeProto.TENSOR:
        return constant_of("constant", tensor_of(attribute.t))
    raise InvalidError(f"its attribute `{shown(attribute.name)}` is of a kind that is not read (graphs never are)")


def initializers_of(graph: GraphProto) -> dict[str, Value]:
    """Initialisers by name: parameters, constant numbers, and constant whole numbers."""
    total, found = 0, dict[str, Value]()
    for tensor in graph.initializer:
        total += _elements(tensor)
        if total > MOST_WEIGHT_ELEMENTS:
            raise TooLargeError(f"a model has at most {MOST_WEIGHT_ELEMENTS} weights: make it smaller", field="model")
    for tensor in graph.initializer:
        if not tensor.name or tensor.name in found:
            raise InvalidError("two initialisers have the same name, or one has none", field="model")
        try:
            found[tensor.name] = constant_of(tensor.name, tensor_of(tensor))
        except InvalidError as error:
            raise InvalidError(f"initialiser `{shown(tensor.name)}`: {error.message}", field="model") from None
    return found


def constant_of(name: str, array: Array) -> Value:
    """What an array in the file stands for."""
    if array.dtype == np.int64:
        if array.ndim > 1 or array.size > 2 * MOST_DIMS:
            raise InvalidError("whole numbers are read where they say a shape, axes or places")
        return Sizes(tuple(int(item) for item in array.reshape(-1)), scalar=array.ndim == 0)
    if array.ndim == 0:
        return float(str(np.float32(array)))
    return Parameter(name=name, array=array)


def tensor_of(tensor: TensorProto) -> Array:
    """The array of a tensor that lies whole in the file."""
    if tensor.data_location != TensorProto.DEFAULT or tensor.external_data or tensor.HasField("segment"):
        raise InvalidError("its data lies in another file: save the model with all data inside")
    dtype, count = _DTYPES.get(tensor.data_type), _elements(tensor)
    if dtype is None or count > MOST_WEIGHT_ELEMENTS:
        raise InvalidError("arrays are float32 or int64, and not larger than a model may be")
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * dtype.itemsize:
            raise InvalidError("its data has another length than its shape says")
        flat: Array = np.frombuffer(tensor.raw_data, dtype=dtype)
    else:
        flat = np.array(tensor.float_data if dtype.kind == "f" else tensor.int64_data, dtype=dtype)
    if len(flat) != count or not np.isfinite(flat).all():
        raise InvalidError("its data has another length than its shape says, or is not finite")
    return flat.astype(dtype.newbyteorder("=")).reshape(tuple(tensor.dims))


def _elements(tensor: TensorProto) -> int:
    if len(tensor.dims) > MOST_DIMS or any(not 1 <= side <= LARGEST_SIDE for side in tensor.dims):
        raise TooLargeError(f"a side of an array has 1 to {LARGEST_SIDE} elements", field="model")
    return math.prod(tensor.dims)


def input_of(value: ValueInfoProto) -> tuple[int | None, tuple[Dim, ...], bool]:
    """Batch size (None where open), the row's own dimensions, and whether it holds whole numbers."""
    kind = value.type.tensor_type
    if (
        not value.type.HasField("tensor_type")
        or not kind.HasField("shape")
        or not 1 <= len(kind.shape.dim) <= MOST_DIMS
    ):
        raise InvalidError("the input must be a tensor with a known shape, the batch first", field="model")
    if kind.elem_type not in (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64):
        raise InvalidError("the input must be float32, or whole numbers that are looked up", field="model")
    first, *rest = kind.shape.dim
    if any(not dim.HasField("dim_value") for dim in rest):
        raise InvalidError("only the batch, dimension 0 of the input, may have an open size", field="model")
    sizes = [int(dim.dim_value) for dim in rest]
    batch = int(first.dim_value) if first.HasField("dim_value") else None
    if any(not 1 <= size <= LARGEST_SIDE for size in (*sizes, 1 if batch is None else batch)):
        raise TooLargeError(f"a side of the input has 1 to {LARGEST_SIDE} elements", field="model")
    return batch, tuple(Dim(size) for size in sizes), kind.elem_type != TensorProto.FLOAT
