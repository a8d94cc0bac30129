"""Model graphs: one form, one digest, the same numbers wherever they run, and parsers that nothing breaks."""

from __future__ import annotations

import copy
import decimal
import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.canonical import digest_of
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from privacy.graph.check import check
from privacy.graph.forward import forward, sigmoid
from privacy.graph.ops import BATCH_RULE, OPERATIONS
from privacy.graph.spec import ModelGraph
from privacy.graph.templates import ModelChoice
from privacy.graph.torch_module import GraphModule
from privacy.graph.weights import NamedArrays, pack_weights, unpack_weights

CHOICES: dict[str, dict[str, Any]] = {
    "linear": {"template": "linear"},
    "logistic": {"template": "logistic"},
    "tanh": {"template": "mlp", "hidden": [7, 3], "activation": "tanh"},
    "relu": {"template": "mlp", "hidden": [33], "activation": "relu"},
    "gelu": {"template": "mlp", "hidden": [16, 16, 2], "activation": "gelu"},
}
VECTORS = json.loads((Path(__file__).parents[2] / "vectors/model-graph/digests.json").read_text())
DOCUMENT = Path(__file__).parents[3] / "docs/formats/model-graph.md"


def _graph(name: str, width: int = 5) -> ModelGraph:
    return ModelChoice.from_json(CHOICES[name]).graph(width)


def _weights(graph: ModelGraph, seed: int = 0, scale: float = 1.0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {w.name: (scale * draw.normal(size=w.shape)).astype(np.float32) for w in graph.weights}


SIGMOID = {
    "v": 1,
    "inputs": [{"name": "x", "shape": [2, 3], "dtype": "float32"}],
    "weights": [{"name": "w", "shape": [4, 3], "dtype": "float32", "init": {"rule": "zeros"}}],
    "nodes": [
        {"name": "a", "op": "linear", "inputs": ["x"], "weights": ["w"], "attributes": {}},
        {"name": "b", "op": "sigmoid", "inputs": ["a"], "weights": [], "attributes": {}},
    ],
    "outputs": ["b"],
}


# --- form and digest -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_digests_never_change(vector: dict[str, Any]) -> None:
    """What certificates cite: the digest of each template is that of the stored vector, for good."""
    graph = ModelChoice.from_json(vector["model"]).graph(vector["width"], vector.get("outputs", 1))
    assert str(graph.digest) == vector["digest"]
    assert ModelGraph.from_json(graph.to_json()).digest == graph.digest
    assert ModelGraph.from_bytes(canonical.encode(graph.to_json())) == graph


def test_the_documents_example_is_a_graph() -> None:
    """The example reads, is what the template makes, and hashes to the vector by plain JSON and SHA-256."""
    text = DOCUMENT.read_text(encoding="utf-8")
    example_graph = json.loads(text.partition("```json\n")[2].partition("\n```")[0])
    assert ModelGraph.from_json(example_graph) == _graph("logistic", 30)
    written = json.dumps(example_graph, sort_keys=True, separators=(",", ":")).encode()
    plain = hashlib.sha256(b"privgate/model-graph/v1\x00" + written).hexdigest()
    assert VECTORS[0]["digest"] == f"sha256:{plain}"


def test_the_digest_does_not_depend_on_the_callers_decimal_context() -> None:
    """Bounds are computed in a context of their own."""
    before = _graph("gelu").digest
    with decimal.localcontext() as context:
        context.prec, context.rounding = 3, decimal.ROUND_UP
        assert _graph("gelu").digest == before


def test_every_choice_changes_the_digest() -> None:
    """Template, width, hidden layers and activation."""
    digests = {str(_graph(name, width).digest) for name in CHOICES if name != "linear" for width in (4, 5)}
    assert len(digests) == 8
    assert _graph("linear").digest == _graph("logistic").digest  # the loss is no part of a graph
    assert digest_of("model-graph/v1", _graph("tanh").to_json()) == _graph("tanh").digest


# --- the same numbers everywhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_numpy_and_torch_agree(name: str, scale: float) -> None:
    """Within 1e-6 of each other, and so within what float32 weights can say."""
    model = check(_graph(name))
    weights = _weights(model.graph, scale=scale)
    rows = np.random.default_rng(1).normal(size=(50, 5)).astype(np.float32) * 10
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        module = GraphModule(model, weights, dtype)
        with torch.no_grad():
            found = module(torch.from_numpy(rows).to(dtype)).numpy()
        expected = forward(model, weights, rows)
        assert np.abs(found - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


def test_an_input_of_two_sides_and_a_weight_without_bias() -> None:
    """The last side is multiplied; the result is flattened by row."""
    model = check(ModelGraph.from_json(SIGMOID))
    weights = _weights(model.graph)
    rows = np.random.default_rng(1).normal(size=(6, 2, 3))
    expected = 1 / (1 + np.exp(-(rows @ weights["w"].astype(float).T)))
    assert np.allclose(forward(model, weights, rows).reshape(6, 2, 4), expected, rtol=1e-12)
    module = GraphModule(model, weights, torch.float64)
    with torch.no_grad():
        assert np.allclose(module(torch.from_numpy(rows)).numpy(), expected, rtol=1e-12)
    assert (model.outputs, model.width, model.cost_per_row) == (8, 6, 2 * 3 * 4 + 8)


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("width", [1, 30, 119])
def test_a_row_is_scored_alone_bit_for_bit(name: str, width: int) -> None:
    """Neither how many rows there are nor where one stands changes its score: rounding is no channel."""
    model = check(_graph(name, width))
    weights = _weights(model.graph)
    rows = np.random.default_rng(1).normal(size=(300, width)).astype(np.float32)
    scores = sigmoid(forward(model, weights, rows))
    for count in (1, 2, 3, 7, 64, 299):
        for start in (0, 1, 300 - count):
            part = slice(start, start + count)
            assert (sigmoid(forward(model, weights, rows[part])) == scores[part]).all()
    shuffled = np.random.default_rng(2).permutation(300)
    assert (sigmoid(forward(model, weights, rows[shuffled])) == scores[shuffled]).all()


@pytest.mark.parametrize("name", CHOICES)
def test_a_hostile_row_disturbs_no_other(name: str) -> None:
    """Infinite or not a number, at any place: the other rows' results are bit for bit the same, in numpy and torch."""
    model = check(_graph(name))
    weights = _weights(model.graph)
    rows = np.random.default_rng(1).normal(size=(20, 5))
    module = GraphModule(model, weights, torch.float64)
    others = np.arange(20) != 7
    with torch.no_grad():
        before = forward(model, weights, rows), module(torch.from_numpy(rows.copy())).numpy()
        for value in (np.inf, -np.inf, np.nan, 1e308):
            rows[7] = value
            after = forward(model, weights, rows), module(torch.from_numpy(rows.copy())).numpy()
            assert all((a[others] == b[others]).all() for a, b in zip(before, after, strict=True))


def test_a_module_has_no_state_but_its_weights() -> None:
    """No buffer that could carry something out, no dropout, and training mode changes nothing (BatchNorm cannot be)."""
    model = check(_graph("gelu"))
    module = GraphModule(model, _weights(model.graph), torch.float64)
    assert not list(module.buffers())
    unproven = {"roll", "flip", "cumsum", "matmul", "maximum", "sine", "cosine"}
    assert {name for name, operation in OPERATIONS.items() if operation.batch != BATCH_RULE} == unproven
    assert all(OPERATIONS[name].batch is None for name in unproven)
    rows = torch.ones(3, 5, dtype=torch.float64)
    with torch.no_grad():
        assert (module.train()(rows) == module.eval()(rows)).all()


# --- what is refused -------------------------------------------------------------------------------------------------


def _changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    body: Any = copy.deepcopy(SIGMOID)
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("v",), 2),
        (("v",), True),
        (("inputs",), []),
        (("outputs",), ["a"]),
        (("outputs",), ["x"]),
        (("outputs",), ["b", "a"]),
        (("inputs", 0, "name"), "a"),
        (("inputs", 0, "name"), "X"),
        (("inputs", 0, "dtype"), "float16"),
        (("inputs", 0, "shape"), [2, 4]),
        (("inputs", 0, "shape"), [0]),
        (("inputs", 0, "shape"), [2**21]),
        (("inputs", 0, "shape"), [1] * 7),
        (("weights", 0, "shape"), [4]),
        (("weights", 0, "name"), "../w"),
        (("weights", 0, "init"), {"rule": "normal"}),
        (("weights", 0, "init"), {"rule": "uniform"}),
        (("weights", 0, "init"), {"rule": "uniform", "bound": "0"}),
        (("weights", 0, "init"), {"rule": "uniform", "bound": "NaN"}),
        (("weights", 0, "init"), {"rule": "zeros", "bound": "1"}),
        (("nodes", 0, "op"), "batch_norm"),
        (("nodes", 0, "op"), "dropout"),
        (("nodes", 0, "op"), "mean"),
        (("nodes", 0, "inputs"), ["b"]),
        (("nodes", 0, "inputs"), ["x", "x"]),
        (("nodes", 0, "weights"), []),
        (("nodes", 0, "weights"), ["w", "w"]),
        (("nodes", 1, "weights"), ["w"]),
        (("nodes", 1, "inputs"), ["x"]),
        (("nodes", 1, "name"), "a"),
        (("nodes", 1, "attributes"), {"dim": 0}),
    ],
)
def test_what_is_not_in_the_format_is_refused(path: tuple[Any, ...], value: Any) -> None:
    """Unknown operations (batch normalisation among them), tied or dead weights, wrong order, wrong shapes."""
    with pytest.raises(InvalidError):
        check(ModelGraph.from_json(_changed(path, value)))


def test_models_that_are_too_large_are_refused() -> None:
    """By weights, by work per row, by activations."""
    for hidden in ([4096, 4096], [4096] * 8):
        with pytest.raises(TooLargeError):
            check(ModelChoice.from_json({"template": "mlp", "hidden": hidden}).graph(100))
    wide = _changed(("inputs", 0, "shape"), [2**19, 3])
    with pytest.raises(TooLargeError):
        check(ModelGraph.from_json(wide))


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.just([[]]), st.just({"rule": []}),
)  # fmt: skip


def _places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [path] * bool(path) + [place for key, value in inner for place in _places(value, (*path, key))]


@given(st.sampled_from(_places(SIGMOID)), JUNK)
@settings(max_examples=1000, deadline=None)
def test_no_junk_breaks_the_reader_of_graphs(path: tuple[Any, ...], value: Any) -> None:
    """Anything at any place: an error of ours, or a graph that is checked and reads back."""
    try:
        graph = check(ModelGraph.from_json(_changed(path, value))).graph
    except PrivgateError:
        return
    assert ModelGraph.from_json(graph.to_json()) == graph


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_no_bytes_break_the_reader_of_graphs(data: bytes) -> None:
    """Bytes that are no JSON, or JSON that is no graph."""
    with pytest.raises(PrivgateError):
        ModelGraph.from_bytes(data)


# --- weights ---------------------------------------------------------------------------------------------------------


def _file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(written) if length is None else length) + written + data


def _entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HOSTILE_FILES: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": b"\x02" + bytes(6),
    "no header": struct.pack("<Q", 0),
    "header beyond the end": _file({}, length=10**6),
    "header of 2^63": _file({}, length=2**63),
    "header above its limit": _file(b"{" + b" " * 2**20 + b"}"),
    "not an object": _file([1]),
    "leading space": _file(b" {}"),
    "not json": _file(b"{{"),
    "twice the same name": _file(b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{}}', bytes(4)),
    "gap": _file({"a": _entry(4, 8, [1])}, bytes(8)),
    "overlap": _file({"a": _entry(0, 8, [2]), "b": _entry(4, 12, [2])}, bytes(12)),
    "the same bytes twice": _file({"a": _entry(0, 4, [1]), "b": _entry(0, 4, [1])}, bytes(4)),
    "bytes without a name": _file({"a": _entry(0, 4, [1])}, bytes(8)),
    "too few bytes": _file({"a": _entry(0, 8, [2])}, bytes(4)),
    "backwards": _file({"a": _entry(4, 0, [1])}, bytes(4)),
    "negative": _file({"a": _entry(-4, 0, [1])}, bytes(4)),
    "huge shape": _file({"a": _entry(0, 4, [2**62])}, bytes(4)),
    "huge product": _file({"a": _entry(0, 0, [2**20] * 8)}),
    "product of zero": _file({"a": _entry(0, 4, [0, 2**62])}, bytes(4)),
    "nine sides": _file({"a": _entry(0, 4, [1] * 9)}, bytes(4)),
    "bool side": _file({"a": _entry(0, 4, [True])}, bytes(4)),
    "float offset": _file(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.0]}}', bytes(4)),
    "pickle": _file({"a": _entry(0, 4, [1], "O")}, bytes(4)),
    "half": _file({"a": _entry(0, 2, [1], "F16")}, bytes(2)),
    "dtype list": _file({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "more members": _file({"a": _entry(0, 4, [1]) | {"path": "/etc/passwd"}}, bytes(4)),
    "entry is a list": _file({"a": [0, 4]}, bytes(4)),
    "metadata of numbers": _file({"__metadata__": {"a": 1}}),
    "metadata is text": _file({"__metadata__": "x"}),
    "deep": _file(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "many arrays": _file({f"a{i}": _entry(0, 0, [0]) for i in range(5000)}),
}


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_hostile_weights_are_refused(name: str) -> None:
    """Each breach of the format is `CorruptError`, before anything of its size is allocated."""
    with pytest.raises(CorruptError):
        NamedArrays.from_bytes(HOSTILE_FILES[name])


@given(st.binary(max_size=80), st.integers(0, 100))
@settings(max_examples=500, deadline=None)
@example(b"\xff" * 40, 0)
def test_no_bytes_break_the_reader_of_weights(data: bytes, length: int) -> None:
    """Random bytes, and random bytes behind a plausible length."""
    for whole in (data, struct.pack("<Q", min(length, len(data))) + data):
        with pytest.raises(PrivgateError):
            NamedArrays.from_bytes(whole)


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=500, deadline=None)
def test_a_flipped_byte_never_crashes_the_reader_of_weights(place: int, flip: int) -> None:
    """It is refused, or it changed a number: then names, shapes and texts are still those of the graph."""
    graph = _graph("tanh")
    data = bytearray(pack_weights(graph, _weights(graph)))
    data[place % len(data)] ^= flip
    try:
        found = unpack_weights(graph, bytes(data))
    except PrivgateError:
        return
    assert {name: value.shape for name, value in found.items()} == {w.name: w.shape for w in graph.weights}


def test_weights_come_back_and_belong_to_one_graph() -> None:
    """The same bytes each time; another graph, a missing weight or a number that is not finite is refused."""
    graph = _graph("gelu")
    weights = _weights(graph)
    data = pack_weights(graph, weights)
    assert pack_weights(graph, dict(reversed(weights.items()))) == data
    assert all((unpack_weights(graph, data)[name] == value).all() for name, value in weights.items())
    with pytest.raises(InvalidError):
        unpack_weights(_graph("tanh"), data)
    for bad in (
        {name: value for name, value in weights.items() if name != "score.bias"},
        weights | {"more": np.zeros(1, np.float32)},
        weights | {"score.bias": np.array([np.nan], np.float32)},
        weights | {"score.bias": np.zeros(2, np.float32)},
        weights | {"score.bias": np.array([1e300])},
    ):
        with pytest.raises(InvalidError):
            pack_weights(graph, bad)


def test_other_readers_read_what_we_write(tmp_path: Path) -> None:
    """The safetensors library gets the same arrays and texts."""
    safetensors = pytest.importorskip("safetensors")
    graph = _graph("relu")
    weights = _weights(graph)
    path = tmp_path / "model.safetensors"
    path.write_bytes(pack_weights(graph, weights))
    with safetensors.safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(weights)
        assert all((file.get_tensor(name) == value).all() for name, value in weights.items())
        assert file.metadata() == {"format": "privgate/weights/v1", "graph": str(graph.digest)}
    assert os.path.getsize(path) < 10_000  # noqa: PTH202 - a size, no path logic
