"""Rows as the SDK takes them, as the arrays that a file reads. Needs numpy.

Rules
-----
1. Missing and unreadable are told apart, as everywhere: a missing number is NaN, an unreadable one infinite, so that
   only the first is filled in.
2. Nothing is raised because of a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.jobs.features import FeatureSpec
from privacy.schema import Column, ColumnKind, TableSchema
from privgate.cells import is_missing, number_in
from privgate.encoding import Row, rows_of
from privgate.export.columns import inputs_of

_LARGEST = float(np.finfo(np.float32).max)


def onnx_inputs(features: FeatureSpec, schema: TableSchema, rows: Iterable[Row]) -> dict[str, NDArray[Any]]:
    """Make the inputs of a file.

    Args:
        features: What the model reads.
        schema: The declared schema.
        rows: As `predict` takes them.

    Returns:
        An array for each input, by its name.
    """
    listed = list(rows_of(rows))
    return {
        column.name: _array(column, [row.get(column.name) for row in listed]) for column in inputs_of(features, schema)
    }


def _array(column: Column, values: Sequence[Any]) -> NDArray[Any]:
    match column.kind:
        case ColumnKind.NUMERIC:
            return np.array([_number(column, value) for value in values], dtype=np.float64)
        case ColumnKind.TENSOR:
            flat = [_elements(column, value) for value in values]
            return np.array(flat, dtype=np.float32).reshape(len(values), *column.shape)
        case _:
            return np.array([_text(column, value) for value in values], dtype=np.str_).astype(object)


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _number(column: Column, value: Any) -> float:
    value = _stripped(value)
    if is_missing(column, value):
        return math.nan
    number = number_in(value)
    return math.inf if number is None else number


def _text(column: Column, value: Any) -> str:
    value = _stripped(value)
    return "" if is_missing(column, value) else str(value)


def _elements(column: Column, value: Any) -> list[float]:
    value = _stripped(value)
    if is_missing(column, value):
        return [math.nan] * column.elements
    if hasattr(value, "ravel"):  # an array
        value = value.ravel().tolist()
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, Sequence) or len(items) != column.elements:
        return [math.inf] * column.elements
    # What float32 cannot hold lies outside every bound: the largest number of float32 moves to the same one.
    numbers = [_number(column, item) for item in items]
    return [n if not math.isfinite(n) else min(max(n, -_LARGEST), _LARGEST) for n in numbers]
