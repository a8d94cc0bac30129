"""Graphs as a trainer writes them: plain JSON, without any library."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from privacy.graph.weights import NamedArrays
from privacy.schema import TableSchema

PICTURE = [6, 6]
PICTURES = TableSchema.from_json(
    {
        "columns": [
            {"name": "picture", "kind": "tensor", "low": "0", "high": "255", "shape": PICTURE},
            {"name": "kind", "kind": "categorical", "categories": ["top", "middle", "bottom"]},
        ]
    }
)
SENTENCES = TableSchema.from_json(
    {
        "columns": [
            {"name": "words", "kind": "tensor", "low": "0", "high": "49", "shape": [8]},
            {"name": "tone", "kind": "categorical", "categories": ["calm", "glad", "cross"]},
        ]
    }
)
"""Tokens 0 .. 49, eight in a row."""


def weight(name: str, *shape: int, **init: str) -> dict[str, Any]:
    """A weight; uniform in a small range unless told otherwise."""
    chosen = init or {"rule": "uniform", "bound": "0.2"}
    return {"name": name, "shape": list(shape), "dtype": "float32", "init": chosen}


def node(name: str, op: str, inputs: Sequence[str], weights: Sequence[str] = (), **attributes: Any) -> dict[str, Any]:
    """A node."""
    return {
        "name": name, "op": op, "inputs": list(inputs), "weights": list(weights), "attributes": attributes,
    }  # fmt: skip


def graph(shape: Sequence[int], weights: Sequence[Any], nodes: Sequence[Any], output: str) -> dict[str, Any]:
    """A graph of one input `x`."""
    return {
        "v": 1,
        "inputs": [{"name": "x", "shape": list(shape), "dtype": "float32"}],
        "weights": list(weights),
        "nodes": list(nodes),
        "outputs": [output],
    }


def small_network(outputs: int = 3, **bias: str) -> dict[str, Any]:
    """Convolution, layer norm and a linear layer on 6 x 6 pictures; `bias` says how the last bias starts."""
    square = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    return graph(
        [1, *PICTURE],
        [
            weight("seen.w", 4, 1, 3, 3),
            weight("seen.b", 4, rule="zeros"),
            weight("even.w", 64, rule="constant", value="1"),
            weight("even.b", 64, rule="zeros"),
            weight("said.w", outputs, 64),
            weight("said.b", outputs, **(bias or {"rule": "zeros"})),
        ],
        [
            node("seen", "conv2d", ["x"], ["seen.w", "seen.b"], **square),
            node("bent", "relu", ["seen"]),
            node("flat", "flatten", ["bent"]),
            node("even", "layer_norm", ["flat"], ["even.w", "even.b"], sides=1, eps="0.00001"),
            node("said", "linear", ["even"], ["said.w", "said.b"]),
        ],
        "said",
    )


def rolled(outputs: int = 3) -> dict[str, Any]:
    """A linear layer on a rolled row: an operation that is only known for one row at a time."""
    return graph(
        [36],
        [weight("said.w", outputs, 36), weight("said.b", outputs, rule="zeros")],
        [node("turned", "roll", ["x"], axis=0, shift=6), node("said", "linear", ["turned"], ["said.w", "said.b"])],
        "said",
    )


def initial(values: Mapping[str, Any]) -> str:
    """Given values as a request holds them."""
    arrays = {name: np.asarray(value, dtype=np.float32) for name, value in values.items()}
    return base64.b64encode(NamedArrays(arrays=arrays).to_bytes()).decode("ascii")


def pictures(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Noisy pictures with two bright lines at the top, in the middle or at the bottom; the kind says where."""
    draw = np.random.default_rng(seed)
    rows = []
    for place in draw.integers(0, 3, count):
        picture = draw.integers(0, 90, size=PICTURE)
        picture[2 * place : 2 * place + 2] += 150
        rows.append({"picture": picture.ravel().tolist(), "kind": PICTURES.columns[1].categories[place]})
    return rows


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
