"""Nodes and arrays of an ONNX graph in the making. Needs onnx (extra `onnx`) and numpy.

Rules
-----
1. The same calls give the same bytes: names are counted, and what is equal is stored once.
2. Every name begins with the writer's own mark, so that no column of somebody's table can meet one.
3. A number of the model keeps its own name, so that a reader finds it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from kernel.canonical import Digest

Array: TypeAlias = "NDArray[Any] | np.generic"

OPSET: Final = 20
ML_OPSET: Final = 3
ML: Final = "ai.onnx.ml"
MARK: Final = "privgate/"


class OnnxWriter:
    """Collects nodes in the order in which they run."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self._arrays: dict[str, TensorProto] = {}

    @property
    def arrays(self) -> list[TensorProto]:
        """The initialisers, in the order in which they were first needed."""
        return list(self._arrays.values())

    def add(self, op: str, *inputs: str, domain: str = "", name: str | None = None, **attributes: Any) -> str:
        """Add a node of one result; return the result's name."""
        result = name or f"{MARK}{len(self.nodes)}.{op}"
        self.nodes.append(helper.make_node(op, inputs, [result], name=result, domain=domain, **attributes))
        return result

    def named(self, name: str, array: Array) -> str:
        """Store an array under a name of its own."""
        stored = MARK + name
        assert stored not in self._arrays  # each number of a model has one place
        self._arrays[stored] = numpy_helper.from_array(_plain(array), stored)
        return stored

    def constant(self, array: Array) -> str:
        """An array that is no number of the model; equal ones are stored once."""
        plain = _plain(array)
        said = f"{plain.dtype.str}{plain.shape}".encode() + plain.tobytes()
        return self._kept(Digest.of(said), lambda name: numpy_helper.from_array(plain, name))

    def texts(self, values: Sequence[str]) -> str:
        """A constant list of texts."""
        written = [value.encode("utf-8") for value in values]
        said = b"texts" + b"".join(len(value).to_bytes(4, "big") + value for value in written)
        return self._kept(
            Digest.of(said),
            lambda name: helper.make_tensor(name, TensorProto.STRING, [len(written)], np.array(written, dtype=object)),
        )

    def wholes(self, *values: int) -> str:
        """A constant list of whole numbers: a shape, axes, places."""
        return self.constant(np.array(values, dtype=np.int64))

    def floats(self, value: float) -> str:
        """A constant float32."""
        return self.constant(np.float32(value))

    def doubles(self, value: float) -> str:
        """A constant float64."""
        return self.constant(np.float64(value))

    def cast(self, value: str, kind: int) -> str:
        """The value as another kind of number."""
        return self.add("Cast", value, to=kind)

    def _kept(self, digest: Digest, make: Any) -> str:
        name = f"{MARK}constant.{digest.hex[:24]}"
        if name not in self._arrays:
            self._arrays[name] = make(name)
        return name


def _plain(array: Array) -> NDArray[Any]:
    """Contiguous, with the shape that it has: numpy would give a single number a side."""
    return np.ascontiguousarray(array).reshape(np.shape(array))
