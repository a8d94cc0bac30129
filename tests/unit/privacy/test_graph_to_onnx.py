"""Graphs written as ONNX: an independent runtime computes what numpy computes, for every operation of the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from kernel.errors import CorruptError, InvalidError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.forward import forward
from privacy.graph.from_onnx import read_onnx
from privacy.graph.onnx_writer import OPSET, OnnxWriter
from privacy.graph.onnx_written import WRITTEN
from privacy.graph.ops import OPERATIONS
from privacy.graph.quantised import Int8Weight, quantise
from privacy.graph.spec import Initial, InitialRule, Input, ModelGraph, Weight
from privacy.graph.templates import ModelChoice
from privacy.graph.to_onnx import StoredWeights, write_graph
from tests.support.drawn_graphs import graphs, nodes, values

ROWS = 4
ZEROS = Initial(rule=InitialRule.ZEROS)


def file_of(model: CheckedGraph, weights: StoredWeights) -> bytes:
    """A graph alone, as a file that reads `rows`."""
    writer = OnnxWriter()
    result = write_graph(model, weights, writer, "rows", "weights")
    writer.add("Identity", result, name="scores")
    graph = helper.make_graph(
        writer.nodes,
        "graph",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", model.width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", model.outputs])],
        writer.arrays,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    return bytes(made.SerializeToString(deterministic=True))


def run(content: bytes, rows: Any) -> Any:
    """What the runtime computes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(content, options).run(["scores"], {"rows": rows})[0]


def weights_of(graph: ModelGraph, seed: int) -> dict[str, Any]:
    """Random weights."""
    return {w.name: values(w.shape, seed + place, 0.5) for place, w in enumerate(graph.weights)}


def held_together(graph: ModelGraph, seed: int, scale: float = 1.0) -> None:
    """The file gives what `forward` gives, to float32's precision."""
    model, weights = check(graph), weights_of(graph, seed)
    rows = values((ROWS, model.width), seed + 99, scale)
    expected = forward(model, weights, rows)
    found = run(file_of(model, StoredWeights(values=weights)), rows)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2e-4 * max(1.0, np.abs(expected).max())


def test_every_operation_is_written() -> None:
    """An operation without a rule could be trained and not exported."""
    assert set(WRITTEN) == set(OPERATIONS)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@given(st.data())
@settings(max_examples=12, deadline=None)
def test_an_operation_computes_the_same_in_the_runtime(name: str, data: st.DataObject) -> None:
    """One node on what `slice` cuts out of one input, so that several inputs differ."""
    node, inputs, weights = data.draw(nodes(name))
    try:
        graph = alone(node, inputs, weights)
        check(graph)
    except InvalidError:
        assume(False)
        raise
    held_together(graph, data.draw(st.integers(0, 2**16)), data.draw(st.sampled_from([0.3, 3.0])))


def alone(node: Any, inputs: list[Any], weights: list[Any]) -> ModelGraph:
    """A graph of one input that is cut into the node's."""
    from privacy.graph.spec import Node, elements

    cuts, start = [Node(name="moved", op="shift", inputs=("all",), weights=("moved.w",))], 0
    for place, shape in enumerate(inputs):
        stop = start + elements(shape)
        attributes = (("axis", 0), ("start", start), ("stop", stop))
        cuts.append(Node(name=f"cut{place}", op="slice", inputs=("moved",), attributes=attributes))
        cuts.append(Node(name=f"x{place}", op="reshape", inputs=(f"cut{place}",), attributes=(("shape", shape),)))
        start = stop
    sized = [Weight(name=name, shape=shape, init=ZEROS) for name, shape in zip(node.weights, weights, strict=True)]
    sized.append(Weight(name="moved.w", shape=(start,), init=ZEROS))
    return ModelGraph(
        inputs=(Input(name="all", shape=(start,)),), weights=tuple(sized), nodes=(*cuts, node), outputs=(node.name,)
    )


@given(graphs(), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_a_chain_of_operations_computes_the_same(graph: ModelGraph, seed: int) -> None:
    """Whatever stands behind whatever."""
    try:
        check(graph)
    except InvalidError:
        assume(False)
    held_together(graph, seed)


TEMPLATES: list[tuple[dict[str, Any], int, int]] = [
    ({"template": "logistic"}, 20, 1),
    ({"template": "mlp", "hidden": [8, 4], "activation": "tanh"}, 20, 3),
    ({"template": "cnn", "image": [1, 14, 14], "channels": [3, 4], "hidden": [8], "activation": "relu"}, 196, 4),
    (
        {"template": "transformer", "vocabulary": 20, "length": 6, "dim": 8, "heads": 2, "layers": 1,
         "activation": "gelu"}, 6, 3,
    ),
]  # fmt: skip


def template(body: dict[str, Any], width: int, outputs: int) -> ModelGraph:
    """A template's graph."""
    return ModelChoice.from_json(body).graph(width, outputs)


@pytest.mark.parametrize(("body", "width", "outputs"), TEMPLATES, ids=lambda value: str(value)[:24])
def test_a_template_that_was_written_is_read_back(body: dict[str, Any], width: int, outputs: int) -> None:
    """By our own reader of ONNX, with the same numbers: the file is a model like any other."""
    graph = template(body, width, outputs)
    model, weights = check(graph), weights_of(graph, 3)
    rows = np.abs(values((ROWS, width), 5, 6.0)) if body["template"] == "transformer" else values((ROWS, width), 5)
    content = file_of(model, StoredWeights(values=weights))
    expected = forward(model, weights, rows)
    np.testing.assert_allclose(run(content, rows), expected, rtol=1e-3, atol=1e-4)
    if body["template"] != "transformer":  # tokens are rounded before they are looked up, which no reader takes
        read = read_onnx(content)
        again = forward(check(read.graph), read.initial, rows)
        np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("body", "width", "outputs"), TEMPLATES, ids=lambda value: str(value)[:24])
def test_eight_bits_change_little_and_mix_no_rows(body: dict[str, Any], width: int, outputs: int) -> None:
    """A row is measured by its own largest number: alone or beside a row fifty times larger."""
    graph = template(body, width, outputs)
    model, weights = check(graph), weights_of(graph, 3)
    rows = np.abs(values((16, width), 5, 6.0)) if body["template"] == "transformer" else values((16, width), 5)
    rows[3] *= 50
    content = file_of(model, StoredWeights.quantised(model, weights))
    together = run(content, rows)
    expected = forward(model, weights, rows)
    assert np.abs(together - expected).mean() <= 0.06 * np.abs(expected).mean() + 0.02
    for place in (0, 3, 7):
        np.testing.assert_allclose(run(content, rows[place : place + 1])[0], together[place], rtol=1e-5, atol=1e-6)


def test_eight_bits_take_about_a_quarter_of_the_room() -> None:
    """What is rounded is stored rounded."""
    graph = template({"template": "mlp", "hidden": [200], "activation": "relu"}, 300, 1)
    model, weights = check(graph), weights_of(graph, 3)
    whole = len(file_of(model, StoredWeights(values=weights)))
    assert len(file_of(model, StoredWeights.quantised(model, weights))) < 0.3 * whole


def test_a_rounded_weight_is_within_half_a_step() -> None:
    """Each output by its own step; a zero stays zero, and a row of zeros does not divide by zero."""
    array = values((5, 7), 1)
    array[2], array[0, 3] = 0, 0
    rounded = quantise(array)
    assert (np.abs(rounded.floats() - array) <= rounded.scale[:, None] / 2 * 1.0001).all()
    assert rounded.numbers[0, 3] == 0
    assert not rounded.floats()[2].any()


def test_numbers_without_a_scale_for_each_output_are_refused() -> None:
    """Scales come from files too."""
    numbers = np.zeros((3, 2), dtype=np.int8)
    for scale in (np.ones(2), np.array([1, 0, 1]), np.array([1, np.nan, 1])):
        with pytest.raises(CorruptError):
            Int8Weight(numbers, scale.astype(np.float32))


def test_the_same_graph_gives_the_same_bytes() -> None:
    """A reader writes it again and compares."""
    graph = template(*TEMPLATES[1])
    model, weights = check(graph), StoredWeights(values=weights_of(graph, 3))
    assert file_of(model, weights) == file_of(model, weights)
