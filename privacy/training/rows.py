"""Rows to numbers: a feature spec applied to Arrow columns. Child only, and wherever a trainer scores own rows.

Rules
-----
1. Row by row: the numbers of a row depend on that row, the spec and the schema, on nothing else.
2. A value outside its bounds moves to the nearer one. A missing, unlisted or non-finite value makes the row dead: all
   zeros, target zero, `alive` false. Nothing is ever raised because of a value.
3. Arithmetic is float64; the result is float32. An extractor reads that, batch by batch, so that the encoded table
   never stands in memory as a whole.

Form: docs/formats/features.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.jobs.features import Feature, FeatureSpec, Transform, tokens
from privacy.jobs.labels import Encoding, Label
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.training.extract import Extraction, shortened

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Encoded rows.

    Attributes:
        features: float32, shape [n, width].
        targets: float32, shape [n].
        alive: Whether the row counts, shape [n].
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    alive: NDArray[np.bool_]


class RowEncoder:
    """Applies one feature spec of one schema.

    Args:
        spec: Checked against `schema` here; raises `InvalidError` if it does not fit.
        schema: The declared schema.
    """

    def __init__(self, spec: FeatureSpec, schema: TableSchema) -> None:
        spec.check(schema)
        self._columns = [(feature, schema.column(feature.column)) for feature in spec.columns]
        self._label = (spec.label, schema.column(spec.label.column))
        self._norm = None if spec.row_norm is None else float(spec.row_norm.number)
        self._extraction = None if spec.extractor is None else Extraction(spec.extractor)
        self.width = spec.width(schema)

    @property
    def needs(self) -> list[str]:
        """The columns that it reads, the label last."""
        return [column.name for _, column in self._columns] + [self._label[1].name]

    def encode(self, table: pa.RecordBatch | pa.Table) -> Rows:
        """Encode a batch; its columns may stand in any order."""
        with np.errstate(all="ignore"):
            blocks = [_feature(feature, column, table.column(column.name)) for feature, column in self._columns]
            features = np.concatenate(blocks, axis=1)
            targets = _target(*self._label, table.column(self._label[1].name))
            if self._norm is not None and self._extraction is None:
                features = shortened(features, self._norm)
            alive = np.isfinite(features).all(axis=1) & np.isfinite(targets)
            numbers = np.where(alive[:, None], features, 0).astype(np.float32)
        if self._extraction is not None:
            numbers, alive = self._extraction.apply(numbers, alive)
            if self._norm is not None:
                with np.errstate(all="ignore"):
                    numbers = shortened(numbers, self._norm).astype(np.float32)
        return Rows(features=numbers, targets=np.where(alive, targets, 0).astype(np.float32), alive=alive)


def _feature(feature: Feature, column: Column, values: Any) -> Floats:
    match feature.transform:
        case Transform.SCALE if column.kind is ColumnKind.TENSOR:
            return _scaled(_tensor(values, column.elements), *_bounds(feature, column))
        case Transform.SCALE:
            return _scaled(_numbers(values), *_bounds(feature, column))[:, None]
        case Transform.LOG:
            return _logged(_numbers(values), *_bounds(feature, column))[:, None]
        case Transform.BINS:
            return _binned(_numbers(values), [float(edge.number) for edge in feature.edges])
        case Transform.ONE_HOT:
            return _one_hot(_positions(values, column.categories), len(column.categories))
        case Transform.ORDINAL:
            last = len(column.categories) - 1
            places = _positions(values, column.categories)
            return (2 * places / last - 1 if last else places)[:, None]
        case Transform.BOOLEAN:
            return (2 * _truths(values) - 1)[:, None]
        case Transform.TOKENS:
            return np.rint(_clamped(_tensor(values, column.elements), 0.0, float(tokens(column) - 1)))


def _target(label: Label, column: Column, values: Any) -> Floats:
    match label.encoding:
        case Encoding.SCALED:
            return _scaled(_numbers(values), *_bounds(label, column))
        case Encoding.THRESHOLD:
            numbers = _numbers(values)
            above = float(label.above.number) if label.above is not None else math.nan
            return np.where(np.isfinite(numbers), (numbers > above).astype(np.float64), math.nan)
        case Encoding.CLASSES:
            return _positions(values, column.categories)
        case Encoding.POSITIVE if column.kind is ColumnKind.BOOLEAN:
            truths = _truths(values)
            return truths if label.category == "true" else 1 - truths
        case Encoding.POSITIVE:
            places = _positions(values, column.categories)
            wanted = column.categories.index(label.category or "")
            return np.where(np.isfinite(places), (places == wanted).astype(np.float64), math.nan)


def _bounds(chosen: Feature | Label, column: Column) -> tuple[float, float]:
    low, high = chosen.low or column.low, chosen.high or column.high
    if low is None or high is None:
        raise InvalidError(f"column `{column.name}` has no bounds", field=column.name)
    return _float(low), _float(high)


def _float(value: Parameter) -> float:
    return float(value.number)


def _scaled(values: Floats, low: float, high: float) -> Floats:
    return 2 * (_clamped(values, low, high) - low) / (high - low) - 1


def _logged(values: Floats, low: float, high: float) -> Floats:
    return 2 * np.log1p(_clamped(values, low, high) - low) / math.log1p(high - low) - 1


def _clamped(values: Floats, low: float, high: float) -> Floats:
    # A non-finite value stays what it is, so that its row is dead rather than moved to a bound.
    return np.where(np.isfinite(values), np.clip(values, low, high), math.nan)


def _binned(values: Floats, edges: list[float]) -> Floats:
    places = np.searchsorted(np.asarray(edges), values, side="right").astype(np.float64)
    return _one_hot(np.where(np.isfinite(values), places, math.nan), len(edges) + 1)


def _one_hot(places: Floats, width: int) -> Floats:
    hot = (places[:, None] == np.arange(width)).astype(np.float64)
    return np.where(np.isfinite(places)[:, None], hot, math.nan)


def _numbers(values: Any) -> Floats:
    return _filled(values, lambda array: pc.cast(array, pa.float64(), safe=False))


def _truths(values: Any) -> Floats:
    return _filled(values, lambda array: pc.cast(pc.cast(array, pa.uint8()), pa.float64()))


def _positions(values: Any, categories: tuple[str, ...]) -> Floats:
    """Where each text stands in the list; NaN for texts that are missing or not listed."""
    listed = pa.array(categories, type=pa.string())

    def look_up(array: Any) -> Any:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return pc.cast(pc.index_in(pc.cast(array, pa.string()), value_set=listed), pa.float64())

    return _filled(values, look_up)


def _tensor(values: Any, elements: int) -> Floats:
    """Shape [n, elements]; a missing cell, or one of another length, is NaN."""
    array = _joined(values)
    lengths = _filled(array, lambda cells: pc.cast(pc.list_value_length(cells), pa.float64()))
    right = np.isfinite(lengths) & (lengths == elements)
    flat = _numbers(pc.list_flatten(array.filter(pa.array(right))))
    result = np.full((len(array), elements), math.nan)
    result[right] = flat.reshape(-1, elements)
    return result


def _filled(values: Any, convert: Callable[[Any], Any]) -> Floats:
    """Convert to float64 with NaN where a value is missing."""
    numbers = pc.fill_null(convert(_joined(values)), math.nan)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def places_of(column: Column, values: Any) -> Floats:
    """Where each value stands among the categories of its column, false before true; NaN where it has none."""
    return _truths(values) if column.kind is ColumnKind.BOOLEAN else _positions(values, column.categories)


def _joined(values: Any) -> Any:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def encode_columns(encoder: RowEncoder, columns: Mapping[str, Any]) -> Rows:
    """Encode columns given by name as Arrow arrays or lists."""
    arrays = {name: value if isinstance(value, pa.Array) else pa.array(value) for name, value in columns.items()}
    return encoder.encode(pa.table(arrays))
