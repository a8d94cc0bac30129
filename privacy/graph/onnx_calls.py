"""One node of an ONNX graph while it is read: inputs by position, attributes by name and kind.

Rules
-----
1. An attribute or input that a rule did not ask for is refused: it would change what the operation does.
2. An initialiser is a learned parameter where rows meet an array, and a constant where a shape, an axis or a single
   number is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from kernel.errors import InvalidError
from privacy.graph.foreign import Batched, Parameter, Sizes
from privacy.graph.foreign_graph import RowGraph, shown

Value: TypeAlias = Batched | Parameter | Sizes | float


@dataclass(slots=True, kw_only=True)
class Reading:
    """A node with what is known before it.

    Attributes:
        inputs: Names, empty where an optional one is left out.
        attributes: As plain values: whole numbers, numbers, texts, lists.
        outputs: Names of what it gives.
        values: Everything that earlier nodes gave.
        graph: The graph that is being built.
        batch: The batch's size, or its stand-in.
        opset: Version of the operations.
        uses: How often each value is read.
    """

    inputs: Sequence[str]
    attributes: Mapping[str, Any]
    outputs: Sequence[str]
    values: Mapping[str, Value]
    graph: RowGraph
    batch: int
    opset: int
    uses: Mapping[str, int]
    _asked: set[str] = field(default_factory=set)
    _read: set[int] = field(default_factory=set)

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        for name in sorted(set(self.attributes) - self._asked):
            raise InvalidError(f"its attribute `{shown(name)}` is not read: leave it out")
        if any(name and place not in self._read for place, name in enumerate(self.inputs)):
            raise InvalidError("one of its inputs is not read: leave it out")

    def has(self, place: int) -> bool:
        """Whether an optional input is there."""
        return place < len(self.inputs) and self.inputs[place] != ""

    def any(self, place: int) -> Value:
        """A value."""
        self._read.add(place)
        if not self.has(place) or self.inputs[place] not in self.values:
            raise InvalidError("it reads a value that does not exist yet")
        return self.values[self.inputs[place]]

    def rows(self, place: int) -> Batched:
        """A value with a batch."""
        found = self.any(place)
        if not isinstance(found, Batched):
            raise InvalidError(f"its input {place} must be computed from the rows")
        return found

    def parameter(self, place: int) -> Parameter:
        """A learned array."""
        found = self.any(place)
        if not isinstance(found, Parameter) or found.array.dtype != np.float32:
            raise InvalidError(f"its input {place} must be an initialiser of float32: a parameter of the model")
        return found

    def parameters(self, *places: int) -> list[Parameter]:
        """The learned arrays among these inputs that are given."""
        return [self.parameter(place) for place in places if self.has(place)]

    def sizes(self, place: int) -> tuple[int, ...]:
        """Whole numbers that are known while reading."""
        found = self.any(place)
        if not isinstance(found, Sizes):
            raise InvalidError(f"its input {place} must be constant whole numbers: shapes must not depend on rows")
        return found.values

    def whole(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        return int(self._attribute(name, default, int))

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number."""
        return float(self._attribute(name, default, float))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return str(self._attribute(name, default, str))

    def wholes(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """An attribute that is a list of whole numbers."""
        found = self._attribute(name, tuple(default), tuple)
        if not all(isinstance(item, int) for item in found):
            raise InvalidError(f"its attribute `{name}` must be a list of whole numbers")
        return tuple(found)

    def must_be(self, name: str, usual: Any) -> None:
        """Refuse an attribute with another value than the usual one."""
        if self._attribute(name, usual, type(usual)) != usual:
            raise InvalidError(f"its attribute `{name}` is not at its usual value: leave it as it is")

    def alone(self) -> bool:
        """Whether the one result is read once."""
        return len(self.outputs) == 1 and self.uses.get(self.outputs[0], 0) == 1

    def _attribute(self, name: str, default: Any, kind: type) -> Any:
        self._asked.add(name)
        found = self.attributes.get(name, default)
        if not isinstance(found, kind) or (isinstance(found, float) and not math.isfinite(found)):
            raise InvalidError(f"its attribute `{name}` is of another kind than usual")
        return found


Rule: TypeAlias = Callable[[Reading], Sequence[Value]]
