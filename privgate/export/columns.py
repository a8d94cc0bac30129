"""The encoder as ONNX nodes: raw columns to the numbers that a model reads. Needs onnx and numpy.

Rules
-----
1. The same function as `privgate.encoding`, cell by cell, in float64 up to the end; a test holds the two together.
2. A column that cannot be read makes its row dead: the row's numbers become harmless ones, and every output of the row
   says that there is none.
3. Each input is one raw column, under the column's own name. A number that is missing is NaN, a text that is missing is
   empty or one of the declared ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from kernel.errors import InvalidError
from privacy.graph.onnx_writer import MARK, ML, OnnxWriter
from privacy.jobs.features import Feature, FeatureSpec, Transform, tokens
from privacy.schema import Column, ColumnKind, TableSchema
from privgate.cells import TRUTHS
from privgate.encoding import bounds_of

ROWS = "rows"
_TEXTS = (ColumnKind.CATEGORICAL, ColumnKind.ORDINAL, ColumnKind.BOOLEAN)


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the encoder gives.

    Attributes:
        numbers: Name of the encoded rows, float32, [rows, width].
        alive: Name of the flags of the rows that could be read, [rows].
    """

    numbers: str
    alive: str


def input_of(column: Column) -> ValueInfoProto:
    """How a raw column is given: a number as float64, a text as text, a tensor as float32 in its shape."""
    if column.kind in _TEXTS:
        return helper.make_tensor_value_info(column.name, TensorProto.STRING, [ROWS])
    if column.kind is ColumnKind.TENSOR:
        return helper.make_tensor_value_info(column.name, TensorProto.FLOAT, [ROWS, *column.shape])
    return helper.make_tensor_value_info(column.name, TensorProto.DOUBLE, [ROWS])


def inputs_of(features: FeatureSpec, schema: TableSchema) -> list[Column]:
    """The columns that a model reads, each once, in the order of the features."""
    names = dict.fromkeys(feature.column for feature in features.columns)
    columns = [schema.column(name) for name in names]
    for column in columns:
        if column.name.startswith(MARK):
            raise InvalidError(f"a column whose name begins with `{MARK}` cannot be an input of a file", field="schema")
    return columns


def write_columns(features: FeatureSpec, schema: TableSchema, writer: OnnxWriter) -> Encoded:
    """Write the encoder of a feature spec; `row_norm` and extractor come later."""
    columns = inputs_of(features, schema)
    read = {column.name: _read(column, writer) for column in columns}
    parts = [_feature(f, schema.column(f.column), read[f.column], writer) for f in features.columns]
    numbers = parts[0] if len(parts) == 1 else writer.add("Concat", *parts, axis=1)
    alive = read[columns[0].name].fit
    for column in columns[1:]:
        alive = writer.add("And", alive, read[column.name].fit)
    return Encoded(numbers, alive)


@dataclass(frozen=True, slots=True)
class _Read:
    """A column that was read: numbers of float64 [rows, elements], or places in the list of texts [rows]."""

    value: str
    fit: str


def _read(column: Column, writer: OnnxWriter) -> _Read:
    return _places(column, writer) if column.kind in _TEXTS else _numbers(column, writer)


def _places(column: Column, writer: OnnxWriter) -> _Read:
    """Texts to their places: -1 for what is not listed."""
    listed = _listed(column)
    found = writer.add(
        "LabelEncoder", column.name, domain=ML, keys_strings=list(listed), values_int64s=list(listed.values()),
        default_int64=-1,
    )  # fmt: skip
    fit = writer.add("GreaterOrEqual", found, writer.constant(np.int64(0)))
    return _Read(writer.add("Max", found, writer.constant(np.int64(0))), fit)


def _listed(column: Column) -> dict[str, int]:
    """Every text that is read, with the place of its category (of a boolean: 0 for false, 1 for true)."""
    texts: Mapping[str, int]
    if column.kind is ColumnKind.BOOLEAN:
        texts = {text: int(truth) for text, truth in TRUTHS.items()}
    else:
        # White space around a text is not part of it, so a category with some is never met.
        texts = {name: place for place, name in enumerate(column.categories) if name == name.strip()}
    filled = -1
    if column.fill is not None:
        listed = ("false", "true") if column.kind is ColumnKind.BOOLEAN else column.categories
        filled = listed.index(column.fill)
    # A text that is declared missing is missing, even where it is a category's name.
    return {**texts, **dict.fromkeys(("", *column.missing), filled)}


def _numbers(column: Column, writer: OnnxWriter) -> _Read:
    raw = column.name
    if column.kind is ColumnKind.TENSOR:
        raw = writer.cast(raw, TensorProto.DOUBLE)
    value = writer.add("Reshape", raw, writer.wholes(-1, column.elements))
    if column.fill is not None:
        value = writer.add("Where", writer.add("IsNaN", value), writer.doubles(float(column.fill)), value)
    unfit = writer.add("Or", writer.add("IsNaN", value), writer.add("IsInf", value))
    low, high = bounds_of(column, column)
    harmless = writer.add("Where", unfit, writer.doubles(low), value)
    if column.clamp:
        harmless = writer.add("Clip", harmless, writer.doubles(low), writer.doubles(high))
    broken = writer.add("ReduceMax", writer.cast(unfit, TensorProto.INT32), writer.wholes(1), keepdims=0)
    return _Read(harmless, writer.add("Equal", broken, writer.constant(np.int32(0))))


def _feature(feature: Feature, column: Column, read: _Read, writer: OnnxWriter) -> str:
    """One feature as float32 [rows, numbers]."""
    match feature.transform:
        case Transform.SCALE:
            found = _scaled(read.value, *bounds_of(feature, column), writer)
        case Transform.LOG:
            found = _logarithm(read.value, *bounds_of(feature, column), writer)
        case Transform.TOKENS:
            held = writer.add("Clip", read.value, writer.doubles(0), writer.doubles(tokens(column) - 1))
            found = writer.add("Round", held)
        case Transform.BINS:
            return _bins(read.value, [float(edge.number) for edge in feature.edges], writer)
        case Transform.ONE_HOT:
            return _hot(read.value, len(column.categories), writer)
        case Transform.ORDINAL:
            return _looked_up(read.value, _ordinals(len(column.categories)), writer)
        case Transform.BOOLEAN:
            return _looked_up(read.value, [-1.0, 1.0], writer)
    return writer.cast(found, TensorProto.FLOAT)


def _scaled(value: str, low: float, high: float, writer: OnnxWriter) -> str:
    """2 (x - low) / (high - low) - 1, in the order in which `privgate.encoding` computes it."""
    held = writer.add("Clip", value, writer.doubles(low), writer.doubles(high))
    doubled = writer.add("Mul", writer.add("Sub", held, writer.doubles(low)), writer.doubles(2))
    return writer.add("Sub", writer.add("Div", doubled, writer.doubles(high - low)), writer.doubles(1))


def _logarithm(value: str, low: float, high: float, writer: OnnxWriter) -> str:
    held = writer.add("Clip", value, writer.doubles(low), writer.doubles(high))
    above = writer.add("Add", writer.add("Sub", held, writer.doubles(low)), writer.doubles(1))
    share = writer.add("Div", writer.add("Log", above), writer.doubles(float(np.log1p(high - low))))
    return writer.add("Sub", writer.add("Mul", share, writer.doubles(2)), writer.doubles(1))


def _bins(value: str, edges: list[float], writer: OnnxWriter) -> str:
    """One-hot of how many edges lie at or below the value, which is [rows, 1]."""
    reached = writer.add("GreaterOrEqual", value, writer.constant(np.array([edges], dtype=np.float64)))
    count = writer.add("ReduceSum", writer.cast(reached, TensorProto.INT64), writer.wholes(1), keepdims=0)
    return _hot(count, len(edges) + 1, writer)


def _hot(places: str, width: int, writer: OnnxWriter) -> str:
    ends = writer.constant(np.array([0, 1], dtype=np.float32))
    return writer.add("OneHot", places, writer.constant(np.int64(width)), ends, axis=-1)


def _ordinals(count: int) -> list[float]:
    return [2 * place / (count - 1) - 1 if count > 1 else 0.0 for place in range(count)]


def _looked_up(places: str, numbers: list[float], writer: OnnxWriter) -> str:
    table = writer.constant(np.array(numbers, dtype=np.float32).reshape(-1, 1))
    return writer.add("Gather", table, places, axis=0)
