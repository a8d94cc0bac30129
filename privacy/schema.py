"""The declared shape of a table: the only thing that preprocessing, quotes and models may know about it.

Rules
-----
1. Bounds, categories and shapes are declared by the owner from public knowledge, never computed from rows.
2. Every column says what happens to a missing value: the row's file is refused, or a declared constant stands in.
3. A schema is a value with one canonical form and one digest; a changed schema is another schema.
4. Column names are public. They are the only part of a table that errors and cards may repeat.

Format: docs/formats/schema.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel.canonical import Digest, digest_of
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.events import Parameter

MOST_COLUMNS = 4096
MOST_CATEGORIES = 10_000
LARGEST_TENSOR = 2**20
LONGEST_NAME = 120


class ColumnKind(StrEnum):
    """How a column's values are read and checked."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    ORDINAL = "ordinal"
    BOOLEAN = "boolean"
    TENSOR = "tensor"
    IDENTIFIER = "identifier"


_BOUNDED = (ColumnKind.NUMERIC, ColumnKind.TENSOR)
_LISTED = (ColumnKind.CATEGORICAL, ColumnKind.ORDINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One declared column.

    Attributes:
        name: As in the file's header.
        kind: How to read it. Identifiers are used for the privacy unit only and never reach a model.
        low, high: Public bounds of a numeric value or of every element of a tensor; values outside are refused or,
            with `clamp`, moved to the bound.
        categories: The allowed texts, in order for an ordinal column.
        shape: Fixed shape of a tensor, flattened in row-major order in the file.
        missing: Texts that mean "no value" (besides an empty field).
        fill: What stands in for a missing value: a number, a category, `true`/`false`; absent means refuse.
        clamp: Move values outside the bounds to the nearer bound instead of refusing the file.
    """

    name: str
    kind: ColumnKind
    low: Parameter | None = None
    high: Parameter | None = None
    categories: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    fill: str | None = None
    clamp: bool = False

    def __post_init__(self) -> None:
        text(LONGEST_NAME, name=self.name)
        self._check_bounds()
        self._check_categories()
        self._check_shape()
        self._check_fill()
        if self.clamp and self.kind not in _BOUNDED:
            raise self._error("`clamp` is for numeric and tensor columns")
        if len(self.missing) > 32 or any(len(m) > LONGEST_NAME for m in self.missing):
            raise self._error("`missing` lists at most 32 short texts")

    @property
    def elements(self) -> int:
        """How many values one cell holds: 1, or the product of a tensor's shape."""
        product = 1
        for side in self.shape:
            product *= side
        return product

    def _error(self, sentence: str) -> InvalidError:
        return InvalidError(f"column `{self.name}`: {sentence}", field=self.name)

    def _check_bounds(self) -> None:
        if self.kind in _BOUNDED:
            if self.low is None or self.high is None or not self.low.number < self.high.number:
                raise self._error("declare `low` below `high`, from public knowledge")
        elif self.low is not None or self.high is not None:
            raise self._error("bounds are for numeric and tensor columns")

    def _check_categories(self) -> None:
        if self.kind in _LISTED:
            whole(1, MOST_CATEGORIES, categories=len(self.categories))
            if len(set(self.categories)) != len(self.categories):
                raise self._error("`categories` must not repeat")
            if any(not isinstance(c, str) or len(c) > LONGEST_NAME for c in self.categories):
                raise self._error(f"a category is text of at most {LONGEST_NAME} characters")
        elif self.categories:
            raise self._error("`categories` are for categorical and ordinal columns")

    def _check_shape(self) -> None:
        if self.kind is ColumnKind.TENSOR:
            if not 1 <= len(self.shape) <= 4 or any(not isinstance(s, int) or s < 1 for s in self.shape):
                raise self._error("`shape` has 1 to 4 positive sides")
            if self.elements > LARGEST_TENSOR:
                raise self._error(f"a tensor has at most {LARGEST_TENSOR} elements")
        elif self.shape:
            raise self._error("`shape` is for tensor columns")

    def _check_fill(self) -> None:
        if self.fill is None:
            return
        if self.kind is ColumnKind.IDENTIFIER:
            raise self._error("an identifier cannot be filled in")
        if self.kind is ColumnKind.BOOLEAN and self.fill not in ("true", "false"):
            raise self._error("`fill` must be true or false")
        if self.kind in _LISTED and self.fill not in self.categories:
            raise self._error("`fill` must be one of the categories")
        if self.kind in _BOUNDED and not self._within(self.fill):
            raise self._error("`fill` must be a number within the bounds")

    def _within(self, value: str) -> bool:
        if self.low is None or self.high is None:
            return False
        try:
            return self.low.number <= Parameter(value).number <= self.high.number
        except InvalidError:
            return False

    def to_json(self) -> dict[str, Any]:
        """Encode; members that say nothing are left out."""
        body: dict[str, Any] = {"name": self.name, "kind": self.kind.value}
        optional: dict[str, Any] = {
            "low": self.low,
            "high": self.high,
            "categories": list(self.categories),
            "shape": list(self.shape),
            "missing": list(self.missing),
            "fill": self.fill,
            "clamp": self.clamp,
        }
        return body | {name: value for name, value in optional.items() if value not in (None, [], False)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any], number: int = 1) -> Column:
        """Read what `to_json` writes; raise `InvalidError` naming the column or its `number` otherwise."""
        place = f"columns.{number}"
        if not isinstance(body, Mapping) or not {"name", "kind"} <= set(body) <= _COLUMN_MEMBERS:
            others = ", ".join(sorted(_COLUMN_MEMBERS - {"name", "kind"}))
            raise InvalidError(
                f"column {number}: it needs `name` and `kind` and may have {others}, nothing else", field=place
            )
        if body["kind"] not in list(ColumnKind):
            raise InvalidError(f"column {number}: `kind` must be one of {', '.join(ColumnKind)}", field=place)
        return cls(
            name=body["name"],
            kind=ColumnKind(body["kind"]),
            low=_parameter(body, "low"),
            high=_parameter(body, "high"),
            categories=_texts(body, "categories"),
            shape=tuple(_list(body, "shape")),
            missing=_texts(body, "missing"),
            fill=None if body.get("fill") is None else str(body["fill"]),
            clamp=body.get("clamp", False) is True,
        )


_COLUMN_MEMBERS = {"name", "kind", "low", "high", "categories", "shape", "missing", "fill", "clamp"}


@dataclass(frozen=True, slots=True)
class TableSchema:
    """An ordered list of columns with distinct names."""

    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        whole(1, MOST_COLUMNS, columns=len(self.columns))
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise InvalidError("two columns have the same name", field="columns")

    def column(self, name: str, field: str = "column") -> Column:
        """Return the column of that name; raise `InvalidError` that blames `field` if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise InvalidError(f"`{field}` names no column of the schema: see the dataset's card", field=field)

    @property
    def digest(self) -> Digest:
        """What events and certificates cite."""
        return digest_of("schema/v1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Encode for storage and digests."""
        return {"columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> TableSchema:
        """Read what `to_json` writes; raise `InvalidError` naming the column otherwise."""
        columns = body.get("columns") if isinstance(body, Mapping) else None
        if not isinstance(columns, Sequence) or isinstance(columns, str):
            raise InvalidError("a schema needs a list of `columns`", field="columns")
        return cls(tuple(Column.from_json(column, number) for number, column in enumerate(columns, 1)))


def _parameter(body: Mapping[str, Any], name: str) -> Parameter | None:
    value = body.get(name)
    return None if value is None else Parameter.of(value, name)


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name, [])
    if not isinstance(value, (list, tuple)):
        raise InvalidError(f"`{name}` must be a list", field=name)
    return list(value)


def _texts(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _list(body, name)
    if not all(isinstance(value, str) for value in values):
        raise InvalidError(f"`{name}` must list texts", field=name)
    return tuple(values)
