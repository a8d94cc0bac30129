"""Dummy rows: made up from a declaration alone, to try a request with before anything is asked for.

Rules
-----
1. Everything follows from schema, unit and the caller's seed. Nobody's row is behind them: they are public, the same
   for everybody who asks, and their figures mean nothing.
2. They are what an upload may hold: every value within its bounds or list, none missing but where the schema fills it
   in, units of one row up to `rows_per_unit`.
3. The first rows show what is there: both bounds, every category, a unit with as many rows as one may have.
4. Row i does not depend on how many are asked for: more rows of one seed begin with the fewer.

Form: docs/formats/rehearsal.md, "Dummy rows".
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import chain, count, islice, repeat
from typing import Any, Final, TypeAlias

from kernel.canonical import LARGEST_INTEGER, digest_of
from kernel.checks import whole
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.units import PrivacyUnit

MOST_ROWS = 10**7
MISSING_OF = 16
"""One value in so many is missing where it may be."""
_WORDS: Final = 1024
_TABLED: Final = 4096
_EXACT: Final = Context(prec=60)

Draws: TypeAlias = "Iterator[int]"
Number: TypeAlias = "int | float"


def dummy_rows(schema: TableSchema, unit: PrivacyUnit, rows: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield rows as people have them: numbers, texts, booleans, flat lists for tensors, None for what is missing.

    Args:
        schema: What was declared.
        unit: Who is protected.
        rows: How many.
        seed: The caller's own: another seed, other rows.

    Raises:
        InvalidError: A number of rows or a seed out of range.
    """
    whole(1, MOST_ROWS, rows=rows)
    whole(0, LARGEST_INTEGER, seed=seed)
    key = digest_of("dummy-rows/v1", {"schema": schema.to_json(), "unit": unit.to_json(), "seed": seed}).raw
    names = [column.name for column in schema.columns]
    columns = [_values(column, unit, _draws(key, place)) for place, column in enumerate(schema.columns)]
    return (dict(zip(names, values, strict=True)) for values in islice(zip(*columns, strict=True), rows))


def _draws(key: bytes, place: int) -> Draws:
    """Words of 32 bits, without end."""
    for block in count():
        stream = hashlib.shake_256(key + place.to_bytes(4, "big") + block.to_bytes(8, "big"))
        yield from struct.unpack(f"<{_WORDS}I", stream.digest(4 * _WORDS))


def _below(most: int, draws: Draws) -> int:
    return next(draws) * most >> 32


def _values(column: Column, unit: PrivacyUnit, draws: Draws) -> Iterator[Any]:
    """The cells of a column, without end."""
    match column.kind:
        case ColumnKind.IDENTIFIER if column.name == unit.column:
            return _units(unit.rows_per_unit, draws)
        case ColumnKind.IDENTIFIER:
            return (f"id-{number:07d}" for number in count(1))
        case ColumnKind.CATEGORICAL | ColumnKind.ORDINAL:
            return _listed(column.categories, _may_miss(column), draws)
        case ColumnKind.BOOLEAN:
            return _listed((True, False), _may_miss(column), draws)
        case ColumnKind.TENSOR:
            return _tensors(column, draws)
        case ColumnKind.NUMERIC:
            grid = _Grid.of(column)
            edges = (grid.at(0), grid.at(grid.last))
            return chain(edges, _drawn(grid.last + 1, grid.at, _may_miss(column), draws))


def _units(most: int, draws: Draws) -> Iterator[str]:
    """Names of units, each as often as it has rows: the first as often as may be, the second once."""
    sizes = chain((most, 1), (1 + _below(most, draws) for _ in count()))
    return chain.from_iterable(repeat(f"unit-{number:07d}", size) for number, size in enumerate(sizes, 1))


def _listed(values: tuple[Any, ...], may_miss: bool, draws: Draws) -> Iterator[Any]:
    return chain(values, _drawn(len(values), values.__getitem__, may_miss, draws))


def _drawn(most: int, at: Any, may_miss: bool, draws: Draws) -> Iterator[Any]:
    while True:
        yield None if may_miss and not _below(MISSING_OF, draws) else at(_below(most, draws))


def _tensors(column: Column, draws: Draws) -> Iterator[list[Number] | None]:
    grid, may_miss = _Grid.of(column), _may_miss(column)
    yield from ([grid.at(place)] * column.elements for place in (0, grid.last))
    while True:
        missing = may_miss and not _below(MISSING_OF, draws)
        yield None if missing else [grid.at(_below(grid.last + 1, draws)) for _ in range(column.elements)]


def _may_miss(column: Column) -> bool:
    return column.fill is not None


@dataclass(frozen=True, slots=True)
class _Grid:
    """Round numbers between two bounds, both of them included.

    Attributes:
        low, high, step: The numbers are low, low + step, ... and high.
        last: Which of them is the last.
        tabled: All of them, if they are few.
    """

    low: Decimal
    high: Decimal
    step: Decimal
    last: int
    tabled: tuple[Number, ...]

    @classmethod
    def of(cls, column: Column) -> _Grid:
        """About a hundred to a thousand numbers; every whole one between whole bounds of a tensor, which has tokens."""
        assert column.low is not None
        assert column.high is not None
        low, high = column.low.number, column.high.number
        span = _EXACT.subtract(high, low)
        step = Decimal(1).scaleb(span.adjusted() - 2)
        if low % 1 == 0 and high % 1 == 0:
            step = Decimal(1) if column.kind is ColumnKind.TENSOR and span >= 2 else min(step, Decimal(1))
        steps, rest = _EXACT.divmod(span, step)
        bare = cls(low, high, step, int(steps) + bool(rest), ())
        few = bare.last < _TABLED
        return cls(low, high, step, bare.last, tuple(map(bare.at, range(bare.last + 1)))) if few else bare

    def at(self, place: int) -> Number:
        """The number at a place: a whole one where all of them are."""
        if self.tabled:
            return self.tabled[place]
        number = self.high if place == self.last else _EXACT.fma(self.step, Decimal(place), self.low)
        return int(number) if self.step >= 1 and self.low % 1 == 0 and self.high % 1 == 0 else float(number)
