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
LARGEST_START = 1000
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
    CONSTANT = "constant"
    GIVEN = "given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Initial:
    """How a weight starts.

    Attributes:
        rule: At zero; uniform in [-bound, bound) from the gateway's own source; at one value everywhere; or as the
            values beside the graph say (`privacy.graph.weights.unpack_initial`).
        bound: Of a uniform start.
        value: Of a constant start.
    """

    rule: InitialRule
    bound: Parameter | None = None
    value: Parameter | None = None

    def __post_init__(self) -> None:
        if (self.rule is InitialRule.UNIFORM) != (self.bound is not None):
            raise InvalidError("give a `bound` exactly when a weight starts `uniform`", field="init")
        if (self.rule is InitialRule.CONSTANT) != (self.value is not None):
            raise InvalidError("give a `value` exactly when a weight starts `constant`", field="init")
        if self.bound is not None and not 0 < self.bound.number <= LARGEST_START:
            raise InvalidError(f"`bound` must be above 0 and at most {LARGEST_START}", field="bound")
        if self.value is not None and not -LARGEST_START <= self.value.number <= LARGEST_START:
            raise InvalidError(f"`value` must lie between -{LARGEST_START} and {LARGEST_START}", field="value")

    def to_json(self) -> dict[str, Any]:
        """Encode; what a rule does not have is left out."""
        numbers = {"bound": self.bound, "value": self.value}
        return {"rule": self.rule.value} | {name: str(number) for name, number in numbers.items() if number is not None}


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
    """One operation; its name is the name of its result. Attributes stand in the order of their names."""

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
        names = [name for name, _ in self.attributes]
        if names != sorted(set(names)):
            raise InvalidError(f"node `{self.name}`: sort attributes by name and give each once", field="attributes")

    def whole(self, name: str) -> int:
        """An attribute that is a whole number."""
        value = self._attribute(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refusal(name, "a whole number")
        return value

    def number(self, name: str) -> float:
        """An attribute that is decimal text, as the nearest float."""
        value = self._attribute(name)
        if not isinstance(value, Parameter):
            raise self._refusal(name, "decimal text")
        return float(value.number)

    def wholes(self, name: str) -> tuple[int, ...]:
        """An attribute that is a list of whole numbers."""
        value = self._attribute(name)
        if not isinstance(value, tuple):
            raise self._refusal(name, "a list of whole numbers")
        return value

    def flag(self, name: str) -> bool:
        """An attribute that is true or false."""
        value = self._attribute(name)
        if not isinstance(value, bool):
            raise self._refusal(name, "true or false")
        return value

    def _attribute(self, name: str) -> Attribute | None:
        return dict(self.attributes).get(name)

    def _refusal(self, name: str, kind: str) -> InvalidError:
        return InvalidError(f"node `{self.name}`: `{name}` must be {kind}", field="attributes")


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
                raise InvalidError(
                    f"node `{node.name}` reads a value that does not exist yet: order the nodes as they run",
                    field="nodes",
                )
            if node.name in known:
                raise InvalidError(f"node `{node.name}`: another value has this name, choose a new one", field="nodes")
            known.add(node.name)
        if not {node.name for node in self.nodes}.issuperset(self.outputs):
            raise InvalidError("an output names no node", field="outputs")

    def _check_use(self) -> None:
        free = {weight.name for weight in self.weights}
        if len(free) != len(self.weights):
            raise InvalidError("two weights have the same name: choose a new one", field="weights")
        for node in self.nodes:
            for name in node.weights:
                if name not in free:
                    raise InvalidError(
                        f"node `{node.name}`: a weight belongs to exactly one node and is used once: "
                        "list it in `weights`, or give this node a weight of its own",
                        field="weights",
                    )
                free.remove(name)
        if free:
            raise InvalidError(f"weight `{min(free)}` is used by no node: remove it", field="weights")
        used = {name for node in self.nodes for name in node.inputs} | set(self.outputs)
        for name in (*(value.name for value in self.inputs), *(node.name for node in self.nodes)):
            if name not in used:
                raise InvalidError(f"nothing reads `{name}`: use it, or remove it", field="nodes")

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
    if not isinstance(rule, str) or rule not in rules or not set(body) <= {"rule", "bound", "value"}:
        raise InvalidError(
            "`init` needs a `rule`: zeros, uniform with a `bound`, constant with a `value`, or given", field="init"
        )
    return Initial(rule=rules[rule], bound=_decimal(body, "bound"), value=_decimal(body, "value"))


def _decimal(body: Mapping[str, Any], name: str) -> Parameter | None:
    if name not in body:
        return None
    if not isinstance(body[name], str):
        raise InvalidError(f"`{name}` must be decimal text", field=name)
    return Parameter.of(body[name], name)


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
        return Parameter.of(value, "attributes")
    if isinstance(value, (list, tuple)) and len(value) <= MOST_SIDES:
        return tuple(whole(-LARGEST_SIDE, LARGEST_SIDE, attributes=item) for item in value)
    raise InvalidError("an attribute is a flag, a whole number, decimal text or a short list", field="attributes")
