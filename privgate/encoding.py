"""Raw rows to the numbers of a feature spec, with the standard library alone.

Rules
-----
1. The same function as the gateway's encoder (`privacy.training.rows`), on rows as people have them: a mapping from
   column to text, number, boolean or, for a tensor, a list. Texts are read as an upload's fields are.
2. A missing value becomes the schema's `fill`, or makes the row dead; so does a value that is not listed, not a number
   or not finite. Nothing is raised because of a value.
3. A test holds it to the gateway's encoder, value by value.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from kernel.errors import InvalidError
from privacy.ingest.formats import Rule
from privacy.jobs.features import Feature, FeatureSpec, Transform, tokens
from privacy.jobs.labels import Encoding, Label
from privacy.schema import Column, ColumnKind, TableSchema
from privgate.cells import read_cell

Row: TypeAlias = Mapping[str, Any]
Encoded: TypeAlias = "list[float] | None"


def rows_of(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a list or a data frame, one after another.

    Raises:
        InvalidError: Something else than rows was given.
    """
    rows = _records(rows)
    if isinstance(rows, Mapping | str) or not isinstance(rows, Iterable):
        raise InvalidError(
            "give a list of rows, each a mapping from column to value, or a data frame: for one row `[row]`",
            field="rows",
        )
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidError(
                f"row {number} is no mapping from column to value: give mappings, or a data frame",
                field="rows",
            )
        yield row


def _records(rows: Any) -> Any:
    """The rows of a data frame, whoever made it; anything else as it is. No library of frames is imported here."""
    if hasattr(rows, "to_pylist"):  # arrow
        return rows.to_pylist()
    if hasattr(rows, "notna") and hasattr(rows, "to_dict"):  # pandas: what it means by missing becomes None
        return rows.astype(object).where(rows.notna(), None).to_dict("records")
    return rows


class RowEncoder:
    """Applies one feature spec of one schema to raw rows.

    Args:
        spec: Checked against `schema` here; raises `InvalidError` if it does not fit.
        schema: The declared schema.
    """

    def __init__(self, spec: FeatureSpec, schema: TableSchema) -> None:
        spec.check(schema)
        self._features = [(f.column, _feature(f, schema.column(f.column))) for f in spec.columns]
        self._label = (spec.label.column, _label(spec.label, schema.column(spec.label.column)))
        # With an extractor the bound is on what it gives (`privgate.scoring`).
        bounded = spec.row_norm is not None and spec.extractor is None
        self._norm = float(spec.row_norm.number) if bounded and spec.row_norm is not None else None

    def encode(self, row: Row) -> Encoded:
        """The row's numbers; nothing if it cannot be scored."""
        numbers: list[float] = []
        for name, encode in self._features:
            part = encode(row.get(name))
            if part is None:
                return None
            numbers += part
        return numbers if self._norm is None else _shortened(numbers, self._norm)

    def target(self, row: Row) -> float | None:
        """The row's target; nothing if it is missing, unlisted or not finite."""
        name, encode = self._label
        part = encode(row.get(name))
        return None if part is None else part[0]


Encode: TypeAlias = Callable[[Any], Encoded]


def _feature(feature: Feature, column: Column) -> Encode:
    match feature.transform:
        case Transform.SCALE if column.kind is ColumnKind.TENSOR:
            return _tensor(column, *bounds_of(feature, column))
        case Transform.SCALE:
            return _scale(column, *bounds_of(feature, column))
        case Transform.LOG:
            return _log(column, *bounds_of(feature, column))
        case Transform.BINS:
            return _bins(column, [float(edge.number) for edge in feature.edges])
        case Transform.ONE_HOT:
            return _one_hot(column)
        case Transform.ORDINAL:
            return _ordinal(column)
        case Transform.BOOLEAN:
            return _one_of(column, {"true": [1.0], "false": [-1.0]})
        case Transform.TOKENS:
            return _tokens(column)


def _label(label: Label, column: Column) -> Encode:
    if label.encoding is Encoding.SCALED:
        return _scale(column, *bounds_of(label, column))
    if label.encoding is Encoding.THRESHOLD:
        above = float(label.above.number) if label.above is not None else math.nan
        return lambda value: None if (number := _number(column, value)) is None else [float(number > above)]
    if label.encoding is Encoding.CLASSES:
        return _one_of(column, {name: [float(place)] for place, name in enumerate(column.categories)})
    names = ("true", "false") if column.kind is ColumnKind.BOOLEAN else column.categories
    return _one_of(column, {name: [float(name == label.category)] for name in names})


def _scale(column: Column, low: float, high: float) -> Encode:
    def encode(value: Any) -> Encoded:
        number = _number(column, value)
        return None if number is None else [_scaled(number, low, high)]

    return encode


def _log(column: Column, low: float, high: float) -> Encode:
    def encode(value: Any) -> Encoded:
        number = _number(column, value)
        if number is None:
            return None
        return [2 * math.log1p(min(max(number, low), high) - low) / math.log1p(high - low) - 1]

    return encode


def _bins(column: Column, edges: Sequence[float]) -> Encode:
    def encode(value: Any) -> Encoded:
        number = _number(column, value)
        return None if number is None else _hot(bisect_right(edges, number), len(edges) + 1)

    return encode


def _one_hot(column: Column) -> Encode:
    width = len(column.categories)
    return _one_of(column, {name: _hot(place, width) for place, name in enumerate(column.categories)})


def _ordinal(column: Column) -> Encode:
    last = len(column.categories) - 1
    places = enumerate(column.categories)
    return _one_of(column, {name: [2 * place / last - 1 if last else 0.0] for place, name in places})


def _one_of(column: Column, encoded: Mapping[str, list[float]]) -> Encode:
    def encode(value: Any) -> Encoded:
        cell = read_cell(column, value)
        # A broken rule is a text, too, and could be a category's name.
        return None if isinstance(cell, Rule) else encoded.get(_name(cell))

    return encode


def _name(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def _tensor(column: Column, low: float, high: float) -> Encode:
    def encode(value: Any) -> Encoded:
        cell = read_cell(column, value)
        return [_scaled(number, low, high) for number in cell] if isinstance(cell, list) else None

    return encode


def _tokens(column: Column) -> Encode:
    last = float(tokens(column) - 1)

    def encode(value: Any) -> Encoded:
        cell = read_cell(column, value)
        # Halves go to the even neighbour, as numpy rounds.
        return [float(round(min(max(number, 0.0), last))) for number in cell] if isinstance(cell, list) else None

    return encode


def bounds_of(chosen: Feature | Label | Column, column: Column) -> tuple[float, float]:
    """The bounds that apply: those that were chosen, else the declared ones."""
    low, high = chosen.low or column.low, chosen.high or column.high
    if low is None or high is None:
        raise InvalidError(f"column `{column.name}` has no bounds", field=column.name)
    return float(low.number), float(high.number)


def _scaled(number: float, low: float, high: float) -> float:
    return 2 * (min(max(number, low), high) - low) / (high - low) - 1


def _hot(place: int, width: int) -> list[float]:
    numbers = [0.0] * width
    numbers[place] = 1.0
    return numbers


def _shortened(numbers: list[float], bound: float) -> list[float]:
    norm = math.sqrt(sum(number * number for number in numbers))
    return numbers if norm <= bound else [number * (bound / norm) for number in numbers]


def _number(column: Column, value: Any) -> float | None:
    cell = read_cell(column, value)
    return cell if isinstance(cell, float) else None
