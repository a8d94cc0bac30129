"""Random nodes and graphs over the whole table of operations, for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import Initial, InitialRule, Input, ModelGraph, Node, Shape, Weight

ZEROS = Initial(rule=InitialRule.ZEROS)
Draw = st.DrawFn

RANKS: dict[str, tuple[int, int]] = {
    "attention": (2, 2), "matmul": (2, 3), "conv1d": (2, 2), "conv2d": (3, 3), "max_pool2d": (3, 3),
    "avg_pool2d": (3, 3), "group_norm": (1, 3),
}  # fmt: skip
"""How many sides a row must have; 1 to 4 elsewhere."""


def _divisor(draw: Draw, number: int) -> int:
    return draw(st.sampled_from([n for n in range(1, number + 1) if number % n == 0]))


def _wholes(draw: Draw, count: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(low, high)) for _ in range(count))


def _windows(draw: Draw, op: str, shape: Shape) -> tuple[dict[str, Any], list[Shape]]:
    sides = len(shape) - 1
    kernel = tuple(draw(st.integers(1, min(3, side))) for side in shape[1:])
    if op.endswith("pool2d"):
        padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        return {"kernel": kernel, "stride": _wholes(draw, sides, 1, 3), "padding": padding}, []
    dilation = tuple(
        1 if 1 + 2 * (k - 1) > s else draw(st.integers(1, 2)) for k, s in zip(kernel, shape[1:], strict=True)
    )
    padding = tuple(draw(st.integers(0, d * (k - 1))) for k, d in zip(kernel, dilation, strict=True))
    groups = _divisor(draw, shape[0])
    outputs = groups * draw(st.integers(1, 3))
    attributes = {"stride": _wholes(draw, sides, 1, 3), "padding": padding, "dilation": dilation, "groups": groups}
    return attributes, [(outputs, shape[0] // groups, *kernel), (outputs,)][: draw(st.integers(1, 2))]


def _choices(draw: Draw, op: str, shape: Shape) -> tuple[dict[str, Any], list[Shape]]:
    """Attributes and shapes of weights with which `op` fits inputs of this shape."""
    return _moves(draw, op, shape) or _products(draw, op, shape)


def _moves(draw: Draw, op: str, shape: Shape) -> tuple[dict[str, Any], list[Shape]] | None:
    """The same for operations that move numbers or work along sides."""
    axis = draw(st.integers(0, len(shape) - 1))
    match op:
        case "reshape":
            total = int(np.prod(shape))
            first = _divisor(draw, total)
            return {"shape": (first, total // first)}, []
        case "permute":
            return {"order": tuple(draw(st.permutations(range(len(shape)))))}, []
        case "concat" | "flip" | "cumsum":
            return {"axis": axis}, []
        case "roll":
            return {"axis": axis, "shift": draw(st.integers(1 - shape[axis], shape[axis] - 1))}, []
        case "slice":
            start = draw(st.integers(0, shape[axis] - 1))
            return {"axis": axis, "start": start, "stop": draw(st.integers(start + 1, shape[axis]))}, []
        case "mean" | "sum" | "maximum":
            return {"axes": tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))}, []
        case _:
            return None


def _products(draw: Draw, op: str, shape: Shape) -> tuple[dict[str, Any], list[Shape]]:
    """The same for operations that multiply, normalise or shift."""
    match op:
        case "linear":
            outputs = draw(st.integers(1, 5))
            return {}, [(outputs, shape[-1]), (outputs,)][: draw(st.integers(1, 2))]
        case "embedding":
            return {}, [(draw(st.integers(1, 9)), draw(st.integers(1, 4)))]
        case "attention":
            return {"heads": _divisor(draw, shape[1]), "causal": draw(st.booleans())}, []
        case "conv1d" | "conv2d" | "max_pool2d" | "avg_pool2d":
            return _windows(draw, op, shape)
        case "layer_norm":
            sides = draw(st.integers(1, len(shape)))
            return {"sides": sides, "eps": Parameter("0.001")}, [shape[-sides:]] * draw(st.sampled_from([0, 2]))
        case "group_norm":
            weights = [shape[:1]] * draw(st.sampled_from([0, 2]))
            return {"groups": _divisor(draw, shape[0]), "eps": Parameter("0.001")}, weights
        case "shift":
            return {}, [shape]
        case "leaky_relu":
            return {"slope": Parameter("0.1")}, []
        case "clamp":
            return {"low": Parameter("-0.5"), "high": Parameter("0.75")}, []
        case "scale":
            return {"factor": Parameter("-1.5")}, []
        case "offset":
            return {"value": Parameter("0.25")}, []
        case _:
            return {}, []


@st.composite
def nodes(draw: Draw, op: str) -> tuple[Node, list[Shape], list[Shape]]:
    """A node of one operation, with shapes of its inputs and weights; it may still break a rule of the operation."""
    low, high = RANKS.get(op, (1, 4))
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=low, max_size=high)))
    attributes, weights = _choices(draw, op, shape)
    least, most = OPERATIONS[op].inputs
    inputs = [shape] * draw(st.integers(least, min(most, 3)))
    if op == "matmul":
        inputs[1] = (*shape[:-2], shape[-1], draw(st.integers(1, 4)))
    if op == "attention" and not attributes["causal"]:
        inputs[1:] = [(draw(st.integers(1, 5)), shape[1])] * 2
    return _node("y", op, [f"x{i}" for i in range(len(inputs))], len(weights), attributes), inputs, weights


def _node(name: str, op: str, inputs: list[str], weights: int, attributes: dict[str, Any]) -> Node:
    names = tuple(f"{name}.w{i}" for i in range(weights))
    return Node(name=name, op=op, inputs=tuple(inputs), weights=names, attributes=tuple(sorted(attributes.items())))


@st.composite
def graphs(draw: Draw) -> ModelGraph:
    """A chain of operations on one input; most pass `check`, and some do not."""
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    start, made, weights = shape, [], []
    for number in range(draw(st.integers(1, 6))):
        fitting = [op for op in sorted(OPERATIONS) if _fits(op, shape)]
        op = draw(st.sampled_from(fitting))
        attributes, sizes = _choices(draw, op, shape)
        count = max(2 if op == "concat" else 0, OPERATIONS[op].inputs[0])
        node = _node(f"n{number}", op, [made[-1].name if made else "x"] * count, len(sizes), attributes)
        try:
            shape = OPERATIONS[op].result(node, [shape] * count, sizes)
        except InvalidError:  # this choice does not fit; whether it should is not asked here
            continue
        made.append(node)
        weights += [Weight(name=n, shape=s, init=ZEROS) for n, s in zip(node.weights, sizes, strict=True)]
        if not 1 <= len(shape) <= 4 or max(shape) > 100:
            break
    made.append(_node("last", "linear" if shape else "scale", [made[-1].name if made else "x"], 1 if shape else 0,
                      {} if shape else {"factor": Parameter(2)}))  # fmt: skip
    weights += [Weight(name="last.w0", shape=(2, shape[-1]), init=ZEROS)] if shape else []
    if not weights:
        made.insert(0, _node("first", "shift", ["x"], 1, {}))
        weights.append(Weight(name="first.w0", shape=start, init=ZEROS))
        made[1] = Node(name=made[1].name, op=made[1].op, inputs=("first",) * len(made[1].inputs),
                       weights=made[1].weights, attributes=made[1].attributes)  # fmt: skip
    return ModelGraph(
        inputs=(Input(name="x", shape=start),), weights=tuple(weights), nodes=tuple(made), outputs=("last",)
    )


def _fits(op: str, shape: Shape) -> bool:
    low, high = RANKS.get(op, (1, 4))
    return low <= len(shape) <= high


def values(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Any:
    """Random float32 numbers."""
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)
