"""What is refused says where: the node, and what to write instead; limits hold before anything is made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.errors import InvalidError, PrivgateError, TooLargeError
from kernel.events import Parameter
from privacy.graph.check import CheckedGraph, check
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import ModelGraph
from privacy.graph.weights import NamedArrays, pack_initial, unpack_initial
from tests.support.drawn_graphs import graphs

DOCUMENT = Path(__file__).parents[3] / "docs/formats/model-graph.md"


def _body(shape: list[int], *nodes: dict[str, Any], init: Any = None, **weights: list[int]) -> dict[str, Any]:
    return {
        "v": 1,
        "inputs": [{"name": "x", "shape": shape, "dtype": "float32"}],
        "weights": [
            {"name": name, "shape": sides, "dtype": "float32", "init": init or {"rule": "zeros"}}
            for name, sides in weights.items()
        ],
        "nodes": list(nodes),
        "outputs": [nodes[-1]["name"]],
    }


def _node(name: str, op: str, /, *inputs: str, weights: tuple[str, ...] = (), **attributes: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "inputs": list(inputs), "weights": list(weights), "attributes": attributes}


def _one(shape: list[int], op: str, weight: list[int], /, **attributes: Any) -> dict[str, Any]:
    return _body(shape, _node("odd", op, "x", weights=("w",), **attributes), w=weight)


def _after_shift(shape: list[int], op: str, /, *more: str, **attributes: Any) -> dict[str, Any]:
    return _body(
        shape, _node("base", "shift", "x", weights=("w",)), _node("odd", op, "base", *more, **attributes), w=shape
    )


CONV = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
POOL = {"kernel": [2, 2], "stride": [1, 1], "padding": [0, 0]}
REFUSED: dict[str, dict[str, Any]] = {
    "unknown": _after_shift([4], "batch_norm"),
    "dropout": _after_shift([4], "dropout"),
    "an attribute too many": _after_shift([4], "tanh", dim=0),
    "an attribute missing": _one([1, 8, 8], "conv2d", [2, 1, 3, 3], stride=[1, 1]),
    "a flag for a number": _after_shift([4], "mean", axes=True),
    "a number for a flag": _body(
        [2, 4], _node("base", "shift", "x", weights=("w",)),
        _node("odd", "attention", "base", "base", "base", heads=2, causal=1), w=[2, 4],
    ),
    "a negative axis would be the batch": _after_shift([4, 2], "mean", axes=[-2]),
    "an axis beyond the row": _after_shift([4, 2], "cumsum", axis=2),
    "a permutation with the batch": _after_shift([4, 2], "permute", order=[0, 1, 2]),
    "a reshape across rows": _after_shift([4, 2], "reshape", shape=[2, 2]),
    "a reshape with a free side": _after_shift([4, 2], "reshape", shape=[-1]),
    "a slice of rows": _after_shift([4, 2], "slice", axis=0, start=3, stop=5),
    "bounds in the wrong order": _after_shift([4], "clamp", low="1", high="1"),
    "a bound too far": _after_shift([4], "clamp", low="0", high="1000001"),
    "an empty slice": _after_shift([4, 2], "slice", axis=0, start=3, stop=3),
    "heads that do not divide": _after_shift([4, 6], "attention", "base", "base", heads=4, causal=False),
    "two inputs where one is": _after_shift([4], "tanh", "base"),
    "channels": _one([3, 8, 8], "conv2d", [2, 1, 3, 3], **CONV),
    "groups": _one([3, 8, 8], "conv2d", [2, 1, 3, 3], **CONV | {"groups": 2}),
    "no stride": _one([1, 8, 8], "conv2d", [2, 1, 3, 3], **CONV | {"stride": [0, 1]}),
    "three strides": _one([1, 8, 8], "conv2d", [2, 1, 3, 3], **CONV | {"stride": [1, 1, 1]}),
    "padding beyond the window": _one([1, 8, 8], "conv2d", [2, 1, 3, 3], **CONV | {"padding": [3, 0]}),
    "a window larger than the image": _one([1, 2, 8], "conv2d", [2, 1, 3, 3], **CONV),
    "pooling of padding alone": _after_shift([1, 8, 8], "max_pool2d", **POOL | {"padding": [2, 0]}),
    "one number alone normalised": _after_shift([3, 1], "layer_norm", sides=1, eps="0.1"),
    "groups of one": _after_shift([3], "group_norm", groups=3, eps="0.1"),
    "no eps": _after_shift([3], "layer_norm", sides=1, eps="0"),
    "a scale alone": _one([4], "layer_norm", [4], sides=1, eps="0.1"),
    "a shift of another shape": _one([4], "shift", [3]),
    "more sides than there are": _one([2, 2, 2, 2, 2, 2], "embedding", [4, 3]),
    "an infinite factor": _after_shift([3], "scale", factor="10000000"),
}  # fmt: skip
REFUSED["shapes that differ"] = _body(
    [4], _node("base", "slice", "x", axis=0, start=0, stop=3), _node("odd", "add", "base", "x"),
    _node("end", "shift", "odd", weights=("w",)), w=[4],
)  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_node(name: str) -> None:
    """Whatever does not fit, the message begins with the node that it is about."""
    with pytest.raises(InvalidError, match=r"^node `odd`"):
        check(ModelGraph.from_json(REFUSED[name]))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (_body([4], _node("a", "shift", "x", weights=("w",)), _node("b", "shift", "a", weights=("w",)), w=[4]), "`b`"),
        (_body([4], _node("a", "shift", "x", weights=("w",)), _node("b", "tanh", "x"), w=[4]), "`a`"),
        (_body([4], _node("a", "tanh", "b"), _node("b", "shift", "x", weights=("w",)), w=[4]), "`a`"),
        (_body([4], _node("a", "shift", "x", weights=("w",)), w=[4], v=[4]), "`v`"),
    ],
)
def test_tied_dead_and_disordered_values_are_named(body: dict[str, Any], named: str) -> None:
    """A weight used twice, a result nothing reads, a value that does not exist yet, a weight nothing uses."""
    with pytest.raises(InvalidError, match=named):
        ModelGraph.from_json(body)


LARGE: dict[str, dict[str, Any]] = {
    "an input of 2^120": _one([2**20] * 6, "tanh", []),
    "weights": _one([2**20], "linear", [2**20, 2**20]),
    "a concatenation that doubles": _body(
        [1024], _node("a", "shift", "x", weights=("w",)),
        *(_node(f"c{i}", "concat", *[f"c{i - 1}" if i else "a"] * 8, axis=0) for i in range(40)), w=[1024],
    ),
    "attention over many places": _after_shift([4096, 4], "attention", "base", "base", heads=4, causal=False),
    "unfolded windows": _one([64, 100, 100], "conv2d", [1, 64, 9, 9], **CONV),
    "work": _one([100_000, 4], "linear", [1000, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_huge_shapes_are_refused_before_anything_is_made(name: str) -> None:
    """By whole numbers alone."""
    with pytest.raises((TooLargeError, InvalidError)):
        check(ModelGraph.from_json(LARGE[name]))


def test_what_a_row_keeps_and_costs_is_said() -> None:
    """Of a convolution: its work, its unfolded windows; of attention: its scores, twice."""
    model = check(ModelGraph.from_json(_one([2, 6, 6], "conv2d", [4, 2, 3, 3], **CONV)))
    assert (model.cost_per_row, model.scratch_per_row) == (4 * 16 * 18, 16 * 18)
    assert (model.activations_per_row, model.output_shape, model.proven) == (72 + 64, (4, 4, 4), True)
    model = check(ModelGraph.from_json(_after_shift([5, 4], "attention", "base", "base", heads=2, causal=True)))
    assert model.activations_per_row == 3 * 20 + 2 * 2 * 25
    assert not check(ModelGraph.from_json(_after_shift([5, 4], "flip", axis=0))).proven


@given(graphs(), st.data())
@settings(max_examples=300, deadline=None)
def test_no_changed_graph_breaks_the_check(graph: ModelGraph, data: st.DataObject) -> None:
    """A number anywhere in a good graph replaced by an odd one: refused by an error of ours, or checked."""
    body = graph.to_json()
    node = data.draw(st.sampled_from(body["nodes"]))
    odd = st.sampled_from([-1, 0, 1, 2, 2**20, 2**53, True, "1e30", "0.5", [], [0], [-1, 3], [2**20] * 6, None, {}])
    if node["attributes"] and data.draw(st.booleans()):
        node["attributes"][data.draw(st.sampled_from(sorted(node["attributes"])))] = data.draw(odd)
    elif data.draw(st.booleans()):
        node["op"] = data.draw(st.sampled_from(sorted(OPERATIONS)))
    else:
        shape = data.draw(st.sampled_from([body["inputs"][0], *body["weights"]]))["shape"]
        shape[data.draw(st.integers(0, len(shape) - 1))] = data.draw(odd)
    try:
        written = canonical.encode(body)
        assert isinstance(check(ModelGraph.from_bytes(written)), CheckedGraph)
    except PrivgateError:
        pass


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_documents_table_is_the_programs() -> None:
    """The same operations, the same attributes, and the same answer to: on a batch, or row by row?"""
    text = DOCUMENT.read_text(encoding="utf-8").partition("### Operations")[2].partition("## Limits")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ][1:]
    written = {row[0].strip("`"): (set(re.findall(r"`([a-z]+)`", row[3])), row[-1]) for row in rows}
    assert {name: (set(found) & _all_attributes(), runs) for name, (found, runs) in written.items()} == {
        name: (set(operation.attributes), "batch" if operation.batch else "row")
        for name, operation in OPERATIONS.items()
    }
    assert len(rows) == len(OPERATIONS)


def _all_attributes() -> set[str]:
    return {name for operation in OPERATIONS.values() for name in operation.attributes}


# --- initial values ---------------------------------------------------------------------------------------------------


def test_given_values_are_exactly_the_given_weights() -> None:
    """Float32, finite, of the graph's shapes; a weight that starts otherwise is none of them."""
    body = _body([3], _node("a", "linear", "x", weights=("w", "b")), init={"rule": "given"}, w=[2, 3], b=[2])
    body["weights"][1]["init"] = {"rule": "constant", "value": "1"}
    graph = ModelGraph.from_json(body)
    good = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    assert (unpack_initial(graph, pack_initial(graph, good))["w"] == good["w"]).all()
    assert (unpack_initial(graph, NamedArrays(arrays=good).to_bytes())["w"] == good["w"]).all()
    for bad in (
        {}, {"w": np.zeros((3, 2))}, good | {"b": np.ones(2)}, {"w": np.full((2, 3), np.nan)},
        {"w": np.full((2, 3), 1e300)}, {"v": good["w"]},
    ):  # fmt: skip
        with pytest.raises(InvalidError):
            pack_initial(graph, bad)
        with pytest.raises(InvalidError):
            unpack_initial(graph, NamedArrays(arrays={n: v.astype(np.float64) for n, v in bad.items()}).to_bytes())


@pytest.mark.parametrize(
    "init",
    [
        {"rule": "constant"},
        {"rule": "constant", "value": "1001"},
        {"rule": "constant", "value": 1},
        {"rule": "constant", "value": "1", "bound": "1"},
        {"rule": "given", "value": "1"},
        {"rule": "zeros", "value": "0"},
        {"rule": "uniform", "bound": "1", "value": "1"},
    ],
)
def test_a_start_has_its_own_members_only(init: dict[str, Any]) -> None:
    """A bound for uniform, a value for constant, nothing for the others."""
    with pytest.raises(InvalidError):
        ModelGraph.from_json(_body([3], _node("a", "shift", "x", weights=("w",)), init=init, w=[3]))
    assert Parameter("1").number == 1
