"""Writes a model graph with its weights as ONNX nodes. Needs onnx (extra `onnx`) and numpy.

Rules
-----
1. Only a `CheckedGraph` is written, and each operation computes what docs/formats/model-graph.md says.
2. Dimension 0 stays the batch and is never mixed, quantised layers included: a row is scaled by its own largest number,
   or by one that was fixed before.
3. Weights keep names and shapes, so that a reader can hold them to their digest (docs/formats/onnx.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.check import CheckedGraph
from privacy.graph.onnx_writer import OnnxWriter
from privacy.graph.onnx_written import WRITTEN, Emitted
from privacy.graph.quantised import Int8Weight, quantise
from privacy.graph.spec import Node

Stored: TypeAlias = "NDArray[Any] | Int8Weight"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeights:
    """A graph's weights as a file holds them.

    Attributes:
        values: By name: float32 arrays, or whole numbers of 8 bits with their scales.
        steps: By linear node: the fixed step of its input; a quantised layer without one measures each row.
    """

    values: Mapping[str, Stored]
    steps: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def quantised(
        cls, model: CheckedGraph, weights: Mapping[str, NDArray[Any]], steps: Mapping[str, float] | None = None
    ) -> StoredWeights:
        """Weights of layers as whole numbers of 8 bits; biases, scales and positions stay as they are."""
        chosen = {node.weights[0] for node in model.graph.nodes if node.op in _QUANTISED}
        return cls(
            values={name: quantise(array) if name in chosen else array for name, array in weights.items()},
            steps=steps or {},
        )

    def described(self) -> Iterator[tuple[str, str, Sequence[int], bytes]]:
        """Every array as it is stored: name, kind, shape, little-endian bytes."""
        for name, value in self.values.items():
            if isinstance(value, Int8Weight):
                yield f"{name}:int8", "int8", value.numbers.shape, value.numbers.tobytes()
                yield f"{name}:scale", *_float32(value.scale)
            else:
                yield name, *_float32(value)
        for name, step in self.steps.items():
            yield f"{name}:step", *_float32(np.float32(step))

    def floats(self) -> dict[str, NDArray[np.float32]]:
        """The weights as the file computes with them."""
        return {
            name: value.floats() if isinstance(value, Int8Weight) else np.asarray(value, dtype=np.float32)
            for name, value in self.values.items()
        }


def _float32(array: Any) -> tuple[str, Sequence[int], bytes]:
    return "float32", np.shape(array), np.asarray(array, dtype="<f4").tobytes()


_QUANTISED = frozenset({"linear", "conv1d", "conv2d", "embedding"})


def write_graph(model: CheckedGraph, weights: StoredWeights, writer: OnnxWriter, rows: str, place: str) -> str:
    """Write the nodes of a graph.

    Args:
        model: What to write.
        weights: Its values.
        writer: Where to.
        rows: Name of a float32 value of shape [n, width].
        place: What the names of its weights begin with: `weights` or `extractor`.

    Returns:
        The name of the result, of shape [n, outputs].
    """
    graph = model.graph
    shape = graph.inputs[0].shape
    shapes = {graph.inputs[0].name: shape, **model.shapes}
    first = rows if len(shape) == 1 else writer.add("Reshape", rows, writer.wholes(-1, *shape))
    values = {graph.inputs[0].name: first}
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs]
        emitted = Emitted(
            writer=writer,
            node=node,
            inputs=inputs,
            shapes=tuple(shapes[name] for name in node.inputs),
            result=shapes[node.name],
            weights=_weights(node, weights, writer, place),
            step=_step(node, weights, writer, place),
        )
        values[node.name] = WRITTEN[node.op](emitted)
    found = values[graph.outputs[0]]
    flat = shapes[graph.outputs[0]]
    return found if len(flat) == 1 else writer.add("Reshape", found, writer.wholes(-1, model.outputs))


def _weights(node: Node, weights: StoredWeights, writer: OnnxWriter, place: str) -> list[Any]:
    """Names of a node's weights; of a quantised one the names of numbers and scales, and its shape."""
    names: list[Any] = []
    for name in node.weights:
        value, stored = weights.values[name], f"{place}.{name}"
        if isinstance(value, Int8Weight):
            names.append(value.written(writer, stored))
        else:
            names.append(writer.named(stored, np.asarray(value, dtype=np.float32)))
    return names


def _step(node: Node, weights: StoredWeights, writer: OnnxWriter, place: str) -> str | None:
    if node.name not in weights.steps:
        return None
    return writer.named(f"{place}.{node.name}:step", np.float32(weights.steps[node.name]))
