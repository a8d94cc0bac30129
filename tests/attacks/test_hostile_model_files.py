"""Model files of somebody who wants code to run, memory to fill, or rows to meet: refused, and nothing runs."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from kernel.errors import PrivgateError
from privacy.graph.from_onnx import read_onnx
from privacy.graph.pt2 import read_pt2

MODEL = "archive/models/model.json"
WEIGHTS = "archive/data/weights/model_weights_config.json"
MUTANTS = 2_000


@pytest.fixture(scope="module")
def entries() -> dict[str, bytes]:
    """What a small network's honest file holds."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    program = torch.export.export(
        network, (torch.zeros(2, 1, 4, 4),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    stream = io.BytesIO()
    torch.export.save(program, stream)
    with zipfile.ZipFile(stream) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def packed(entries: dict[str, bytes], *more: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these entries, and of more under names that may occur already."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, content in (*entries.items(), *more):
            made.writestr(name, content)
    return stream.getvalue()


def changed(entries: dict[str, bytes], name: str, change: Callable[[Any], None]) -> bytes:
    """The file with one description changed."""
    body = json.loads(entries[name])
    change(body)
    return packed(entries | {name: json.dumps(body).encode()})


class Marker:
    """Unpickled, it makes a directory: proof that code ran."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_the_honest_file_is_read(entries: dict[str, bytes]) -> None:
    """Otherwise the refusals below would say nothing."""
    assert [node.op for node in read_pt2(packed(entries)).graph.nodes] == [
        "conv2d",
        "group_norm",
        "relu",
        "reshape",
        "linear",
    ]


@pytest.mark.filterwarnings("ignore")
def test_pickles_are_never_opened(entries: dict[str, bytes], tmp_path: Path) -> None:
    """As sample input it lies there unread, as a weight it ends the reading; the marker shows that it works."""
    stream = io.BytesIO()
    torch.save(Marker(tmp_path / "ran"), stream)
    evil = stream.getvalue()
    assert read_pt2(packed(entries | {"archive/data/sample_inputs/model.pt": evil})).graph.nodes
    body = json.loads(entries[WEIGHTS])
    for entry in body["config"].values():
        entry["use_pickle"] = True
    with pytest.raises(PrivgateError, match="pickles are never opened"):
        read_pt2(packed(entries | {WEIGHTS: json.dumps(body).encode(), "archive/data/weights/weight_0": evil}))
    assert not (tmp_path / "ran").exists()
    torch.load(io.BytesIO(evil), weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["/archive/models/x.json", "archive/../../x", "archive/models/../x.json", "archive\\models\\x.json", "other/x/y",
     "archive/data/aotinductor/model/model.so", "archive/extra/code.py", "archive//models/x.json", "archive/a\0b/c"],
)  # fmt: skip
def test_strange_entries_are_refused(entries: dict[str, bytes], name: str) -> None:
    """Absolute paths, ways up, compiled code, extra files."""
    with pytest.raises(PrivgateError):
        read_pt2(packed(entries, (name, b"x")))


def test_an_entry_twice_is_refused(entries: dict[str, bytes]) -> None:
    """Two readers could otherwise see two models."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = packed(entries, (MODEL, entries[MODEL]))
    with pytest.raises(PrivgateError, match="twice"):
        read_pt2(data)


def test_bombs_are_refused(entries: dict[str, bytes]) -> None:
    """Compressed ones by their method, lies about sizes by arithmetic, huge shapes before anything is made."""
    with pytest.raises(PrivgateError, match="than it has"):
        read_pt2(packed(entries | {"archive/data/weights/weight_9": bytes(1)}, method=zipfile.ZIP_DEFLATED))
    data = bytearray(packed(entries))
    place = data.rfind(b"PK\x01\x02")
    data[place + 20 : place + 28] = b"\xff\xff\xff\x7f" * 2
    with pytest.raises(PrivgateError):
        read_pt2(bytes(data))

    def grow(body: Any) -> None:
        for entry in body["config"].values():
            entry["tensor_meta"]["sizes"] = [{"as_int": 2**20}] * 3
            entry["tensor_meta"]["strides"] = [{"as_int": 2**40}, {"as_int": 2**20}, {"as_int": 1}]

    with pytest.raises(PrivgateError, match="at most 1000000 weights"):
        read_pt2(changed(entries, WEIGHTS, grow))
    deep = b"[" * 100_000
    with pytest.raises(PrivgateError):
        read_pt2(packed(entries | {MODEL: deep}))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(entries: dict[str, bytes], share: float) -> None:
    """At any place."""
    data = packed(entries)
    with pytest.raises(PrivgateError):
        read_pt2(data[: int(share * len(data))])


INTERESTING = (
    None, True, -1, 0, 1, 2**31, 2**63, 2**200, 1e308, float("nan"), "", "x", "torch.ops.aten.sum.default", "../../etc",
    [], {}, [[[]]], {"as_int": 0}, {"as_tensor": {"name": "input"}}, {"as_name": "input"},
)  # fmt: skip


def mutate(body: Any, source: random.Random) -> None:
    """Change one member somewhere deep."""
    at = body
    while at:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = source.choice(keys)
        below = at[key]
        if isinstance(below, dict | list) and below and source.random() < 0.9:
            at = below
            continue
        choice = source.random()
        if choice < 0.2:
            del at[key]
        elif choice < 0.4 and isinstance(at, list):
            at.append(copy.deepcopy(below))
        else:
            at[key] = copy.deepcopy(source.choice(INTERESTING))
        return


def test_mutants_of_the_description_are_read_or_refused(entries: dict[str, bytes]) -> None:
    """Never another error; what is still read is a graph that was checked."""
    source, messages = random.Random(7), []
    for number in range(MUTANTS):
        name = MODEL if number % 3 else WEIGHTS
        body = json.loads(entries[name])
        for _ in range(source.randint(1, 3)):
            mutate(body, source)
        try:
            read_pt2(packed(entries | {name: json.dumps(body).encode()}))
        except PrivgateError as error:
            messages.append(error.message)
    assert len(messages) > MUTANTS // 3
    assert max(map(len, messages)) < 500


def test_mutants_of_the_bytes_are_read_or_refused(entries: dict[str, bytes]) -> None:
    """Flipped, cut and repeated bytes anywhere in the zip."""
    source, data = random.Random(8), packed(entries)
    for _ in range(MUTANTS):
        mutant = bytearray(data)
        for _ in range(source.randint(1, 8)):
            mutant[source.randrange(len(mutant))] = source.randrange(256)
        try:
            read_pt2(bytes(mutant))
        except PrivgateError:
            continue


# --- ONNX ------------------------------------------------------------------------------------------------------------


def onnx_model() -> onnx.ModelProto:
    """A small honest one."""
    weights = [
        numpy_helper.from_array(np.ones((5, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones(3, np.float32), "b"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("Add", ["h", "b"], ["a"], name="bias"),
        helper.make_node("Relu", ["a"], ["y"], name="last"),
    ]
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 5])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "model", [given], [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def outside(model: onnx.ModelProto) -> None:
    """The values of a weight in a file of the reader's machine."""
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def looping(model: onnx.ModelProto) -> None:
    """A node with a graph inside."""
    body = helper.make_graph([], "body", [], [])
    model.graph.node[2].CopyFrom(helper.make_node("Loop", ["a"], ["y"], name="last", body=body))


def foreign(model: onnx.ModelProto) -> None:
    """A node of somebody else's operations."""
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[2].domain = "com.example"


def foreign_without_saying(model: onnx.ModelProto) -> None:
    """The same, not declared."""
    model.graph.node[2].domain = "com.example"


def function(model: onnx.ModelProto) -> None:
    """An operation redefined by the file."""
    one = helper.make_node("Neg", ["x"], ["y"])
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], [one], [helper.make_opsetid("", 21)]))


def huge(model: onnx.ModelProto) -> None:
    """A shape of more than there is memory."""
    model.graph.initializer[0].dims[:] = [2**20] * 4


def sparse(model: onnx.ModelProto) -> None:
    """Values that are not all there."""
    model.graph.sparse_initializer.add()


def conditional(model: onnx.ModelProto) -> None:
    """A choice by values."""
    body = helper.make_graph([], "body", [], [])
    model.graph.node[2].CopyFrom(helper.make_node("If", ["a"], ["y"], name="last", then_branch=body, else_branch=body))


@pytest.mark.parametrize(
    "change",
    [outside, looping, foreign, foreign_without_saying, function, huge, sparse, conditional],
    ids=lambda f: f.__name__,
)
def test_hostile_onnx_files_are_refused(change: Callable[[onnx.ModelProto], None]) -> None:
    """And the file without the change is read."""
    model = onnx_model()
    assert [node.op for node in read_onnx(model.SerializeToString()).graph.nodes] == ["linear", "relu"]
    change(model)
    with pytest.raises(PrivgateError):
        read_onnx(model.SerializeToString())


def test_mutants_of_onnx_bytes_are_read_or_refused() -> None:
    """Never another error."""
    source, data, refused = random.Random(9), onnx_model().SerializeToString(), 0
    for _ in range(MUTANTS):
        mutant = bytearray(data)
        for _ in range(source.randint(1, 6)):
            place = source.randrange(len(mutant))
            if source.random() < 0.3:
                del mutant[place : place + source.randint(1, 4)]
            else:
                mutant[place] = source.randrange(256)
        try:
            read_onnx(bytes(mutant))
        except PrivgateError:
            refused += 1
    assert refused > MUTANTS // 3
