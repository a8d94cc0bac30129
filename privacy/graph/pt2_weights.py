"""The values of a `torch.export` program's parameters: raw numbers in the zip, described in JSON.

Rules
-----
1. A weight is raw float32, dense, little-endian, and lies in the file. `use_pickle` ends the reading.
2. Sizes are added up before any array is made; two parameters never share values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kernel.errors import CorruptError, InvalidError, TooLargeError
from privacy.graph.check import MOST_WEIGHT_ELEMENTS
from privacy.graph.foreign import MOST_DIMS, Array
from privacy.graph.foreign_graph import shown
from privacy.graph.pt2_archive import Archive
from privacy.graph.pt2_schema import FLOAT32, decoded, short_list, short_text, well_formed, whole_number
from privacy.graph.spec import LARGEST_SIDE, MOST_WEIGHTS

STRIDED = 7


def read_weights(archive: Archive, wanted: set[str]) -> dict[str, Array]:
    """The values of the parameters; raise `InvalidError`, `CorruptError` or `TooLargeError`."""
    with well_formed():
        return _weights(archive, wanted)


def _weights(archive: Archive, wanted: set[str]) -> dict[str, Array]:
    config = decoded(archive.only("data/weights/", "_weights_config.json"))["config"]
    constants = decoded(archive.only("data/constants/", "_constants_config.json"))["config"]
    if constants:
        raise InvalidError(
            "the file holds constants: make them parameters, or plain numbers in `forward`", field="model"
        )
    if not isinstance(config, dict) or len(config) > MOST_WEIGHTS:
        raise TooLargeError(f"a model has at most {MOST_WEIGHTS} parameters", field="model")
    if set(config) != wanted:
        raise InvalidError("the weights in the file are not the parameters of its model", field="model")
    # Sizes are added up before any array is made.
    shapes = {name: _weight_shape(name, entry) for name, entry in config.items()}
    if sum(math.prod(shape) for shape in shapes.values()) > MOST_WEIGHT_ELEMENTS:
        raise TooLargeError(f"a model has at most {MOST_WEIGHT_ELEMENTS} weights: make it smaller", field="model")
    _check_paths(config)
    return {name: _weight(archive, name, entry["path_name"], shapes[name]) for name, entry in config.items()}


def _check_paths(config: Mapping[str, Any]) -> None:
    owners: dict[str, str] = {}
    for name, entry in config.items():
        path = short_text(entry["path_name"])
        if path in owners:
            raise InvalidError(
                f"the parameters `{shown(owners[path])}` and `{shown(name)}` are tied: give each its own values",
                field="model",
            )
        owners[path] = name


def _weight_shape(name: str, entry: Mapping[str, Any]) -> tuple[int, ...]:
    if entry["use_pickle"] is not False or entry["is_param"] is not True:
        raise InvalidError(f"`{shown(name)}` is not a plain parameter (pickles are never opened)", field="model")
    meta = entry["tensor_meta"]
    shape = tuple(whole_number(item["as_int"]) for item in short_list(meta["sizes"], MOST_DIMS))
    if any(not 1 <= side <= LARGEST_SIDE for side in shape):
        raise TooLargeError(f"a side of `{shown(name)}` has 1 to {LARGEST_SIDE} elements", field="model")
    dense = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    strides = [whole_number(item["as_int"]) for item in short_list(meta["strides"], MOST_DIMS)]
    plain = all(side == 1 or s == d for side, s, d in zip(shape, strides, dense, strict=False))
    if len(strides) != len(shape) or not plain or meta["storage_offset"] != {"as_int": 0}:
        raise InvalidError(f"`{shown(name)}` is a view: store it with `.contiguous()`", field="model")
    if meta["dtype"] != FLOAT32 or meta["layout"] != STRIDED:
        raise InvalidError(
            f"`{shown(name)}` must be float32 and dense: call `.float()` before exporting", field="model"
        )
    return shape


def _weight(archive: Archive, name: str, path: str, shape: tuple[int, ...]) -> Array:
    data = archive.entries.get(f"data/weights/{path}")
    if data is None or len(data) != 4 * math.prod(shape) or path.endswith(".json"):
        raise CorruptError(f"the values of `{shown(name)}` are missing, or of another length than its shape says")
    array: Array = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise InvalidError(f"`{shown(name)}` holds values that are not finite", field="model")
    return array
