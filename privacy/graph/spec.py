"""The model graph: a model as data, with one canonical form and one digest.

Rules
-----
1. A value never holds code, weights' values or free text. Form: docs/formats/model-graph.md.
2. Nodes run in their order; a node reads inputs or earlier results only.
3. Every weight has exactly one user; every result is used or is an output. Nothing is tied or dead.
4. Shapes leave out the batch, which is dimension 0 of every value and is never mixed.
5. What is not known is refused. Whether operations fit their shapes is `check`'s question, not this module's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.checks import matching, whole
from kernel.errors import InvalidError
from kernel.events import Parameter

VERSION = 1
LIMIT = 256 * 1024
MOST_NODES = 256
MOST_WEIGHTS = 512
MOST_SIDES = 6
LARGEST_SIDE = 2**20
_NAME = re.compile(r"[a-z0-9_.]{1,64}")

Shape: TypeAlias = tuple[int, ...]
Attribute: TypeAlias = "bool | int | Parameter | tuple[int, ...]"


class ValueType(StrEnum):
    """The kind of number an input holds."""

    FLOAT32 = "float32"


class InitialRule(StrEnum):
    """Where the first value of a weight comes from."""

    ZEROS = "zeros"
    UNIFORM = "uniform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """How a weight starts: at zero, or uniform in [-bound, bound) from the gateway's own source."""

    rule: InitialRule
    bound: Parameter | None = None

    def __post_init__(self) -> None:
        if (self.rule is InitialRule.UNIFORM) != (self.bound is not None):
            raise InvalidError("give a `bound` exactly when a weight starts `uniform`", field="init")
        if self.bound is not None and not 0 < self.bound.number <= 1000:
            raise InvalidError("`bound` must be above 0 and at most 1000", field="bound")

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        return {"rule": self.rule.value} if self.bound is None else {"rule": self.rule.value, "bound": str(self.bound)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What the model reads: one value per row."""

    name: str
    shape: Shape
    dtype: ValueType = ValueType.FLOAT32

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_shape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A named array that training changes."""

    name: str
    shape: Shape
    init: Initial
    dtype: ValueType = ValueType.FLOAT32

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_shape(self.shape)

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return elements(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operation; its name is the name of its result."""

    name: str
    op: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...] = ()
    attributes: tuple[tuple[str, Attribute], ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, self.op, *self.inputs, *self.weights, *(name for name, _ in self.attributes)):
            _check_name(name)
        whole(1, 8, inputs=len(self.inputs))
        whole(0, 8, weights=len(self.weights))
        if list(dict(self.attributes)) != [name for name, _ in self.attributes]:
            raise InvalidError("an attribute is given twice", field="attributes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraph:
    """Inputs, weights, operations in order, outputs."""

    inputs: tuple[Input, ...]
    weights: tuple[Weight, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        whole(1, 1, inputs=len(self.inputs))
        whole(1, MOST_NODES, nodes=len(self.nodes))
        whole(1, MOST_WEIGHTS, weights=len(self.weights))
        whole(1, 1, outputs=len(self.outputs))
        self._check_order()
        self._check_use()

    @property
    def digest(self) -> Digest:
        """What plans and certificates cite."""
        return digest_of("model-graph/v1", self.to_json())

    @property
    def weight_elements(self) -> int:
        """How many numbers are learned in all."""
        return sum(weight.elements for weight in self.weights)

    def weight(self, name: str) -> Weight:
        """Return a weight that a node names; the constructor made sure that it exists."""
        return next(weight for weight in self.weights if weight.name == name)

    def _check_order(self) -> None:
        known = {value.name for value in self.inputs}
        for node in self.nodes:
            if not known.issuperset(node.inputs):
                raise InvalidError("a node reads a value that does not exist yet: order the nodes", field="nodes")
            if node.name in known:
                raise InvalidError("two values of the graph have the same name", field="nodes")
            known.add(node.name)
        if not {node.name for node in self.nodes}.issuperset(self.outputs):
            raise InvalidError("an output names no node", field="outputs")

    def _check_use(self) -> None:
        named = [name for node in self.nodes for name in node.weights]
        if sorted(named) != sorted(weight.name for weight in self.weights) or len(set(named)) != len(named):
            raise InvalidError("every weight belongs to exactly one node", field="weights")
        values = {value.name for value in self.inputs} | {node.name for node in self.nodes}
        if values != {name for node in self.nodes for name in node.inputs} | set(self.outputs):
            raise InvalidError("every value must be used, or be an output", field="nodes")

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/model-graph.md says."""
        return {
            "v": VERSION,
            "inputs": [{"name": i.name, "shape": list(i.shape), "dtype": i.dtype.value} for i in self.inputs],
            "weights": [
                {"name": w.name, "shape": list(w.shape), "dtype": w.dtype.value, "init": w.init.to_json()}
                for w in self.weights
            ],
            "nodes": [
                {
                    "name": n.name,
                    "op": n.op,
                    "inputs": list(n.inputs),
                    "weights": list(n.weights),
                    "attributes": {name: _written(value) for name, value in n.attributes},
                }
                for n in self.nodes
            ],
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_json(cls, body: Any) -> ModelGraph:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = _members(body, "graph", "v", "inputs", "weights", "nodes", "outputs")
        if members["v"] != VERSION or isinstance(members["v"], bool):
            raise InvalidError("this version reads model graphs with `v` 1", field="v")
        return cls(
            inputs=tuple(_input(item) for item in _list(members["inputs"], "inputs")),
            weights=tuple(_weight(item) for item in _list(members["weights"], "weights")),
            nodes=tuple(_node(item) for item in _list(members["nodes"], "nodes")),
            outputs=_names(members["outputs"], "outputs"),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> ModelGraph:
        """Read JSON; raise `InvalidError` or `TooLargeError`."""
        return cls.from_json(canonical.decode(data, limit=LIMIT))


def elements(shape: Shape) -> int:
    """The product of the sides: 1 for a scalar."""
    product = 1
    for side in shape:
        product *= side
    return product


def _check_name(name: str) -> None:
    matching(_NAME, "must have 1 to 64 of `a-z 0-9 _ .`", name=name)


def _check_shape(shape: Shape) -> None:
    whole(0, MOST_SIDES, shape=len(shape))
    for side in shape:
        whole(1, LARGEST_SIDE, shape=side)


def _written(value: Attribute) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, str) else value


def _members(body: Any, field: str, *names: str) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or set(body) != set(names):
        raise InvalidError(f"`{field}` has exactly the members {', '.join(names)}", field=field)
    return body


def _list(value: Any, field: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)):
        raise InvalidError(f"`{field}` must be a list", field=field)
    # A longer list is refused before its items are looked at.
    whole(0, MOST_WEIGHTS, **{field: len(value)})
    return value


def _names(value: Any, field: str) -> tuple[str, ...]:
    names = tuple(_list(value, field))
    for name in names:
        _check_name(name)
    return names


def _shape(value: Any) -> Shape:
    return tuple(whole(1, LARGEST_SIDE, shape=side) for side in _list(value, "shape"))


def _dtype(value: Any) -> ValueType:
    if value != ValueType.FLOAT32.value:
        raise InvalidError("`dtype` must be float32", field="dtype")
    return ValueType.FLOAT32


def _input(body: Any) -> Input:
    members = _members(body, "inputs", "name", "shape", "dtype")
    return Input(name=members["name"], shape=_shape(members["shape"]), dtype=_dtype(members["dtype"]))


def _weight(body: Any) -> Weight:
    members = _members(body, "weights", "name", "shape", "dtype", "init")
    return Weight(
        name=members["name"],
        shape=_shape(members["shape"]),
        dtype=_dtype(members["dtype"]),
        init=_initial(members["init"]),
    )


def _initial(body: Any) -> Initial:
    rules = {rule.value: rule for rule in InitialRule}
    rule = body.get("rule") if isinstance(body, Mapping) else None
    if not isinstance(rule, str) or rule not in rules or not set(body) <= {"rule", "bound"}:
        raise InvalidError("`init` needs a `rule`: zeros, or uniform with a `bound`", field="init")
    bound = body.get("bound")
    if bound is not None and not isinstance(bound, str):
        raise InvalidError("`bound` must be decimal text", field="bound")
    return Initial(rule=rules[rule], bound=None if bound is None else Parameter(bound))


def _node(body: Any) -> Node:
    members = _members(body, "nodes", "name", "op", "inputs", "weights", "attributes")
    attributes = members["attributes"]
    if not isinstance(attributes, Mapping):
        raise InvalidError("`attributes` must be an object", field="attributes")
    return Node(
        name=members["name"],
        op=members["op"],
        inputs=_names(members["inputs"], "inputs"),
        weights=_names(members["weights"], "weights"),
        attributes=tuple((name, _attribute(attributes[name])) for name in sorted(attributes)),
    )


def _attribute(value: Any) -> Attribute:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return whole(-canonical.LARGEST_INTEGER, canonical.LARGEST_INTEGER, attributes=value)
    if isinstance(value, str):
        return Parameter(value)
    if isinstance(value, (list, tuple)) and len(value) <= MOST_SIDES:
        return tuple(whole(-LARGEST_SIDE, LARGEST_SIDE, attributes=item) for item in value)
    raise InvalidError("an attribute is a flag, a whole number, decimal text or a short list", field="attributes")
