"""Feature specs: how a declared row becomes numbers, and one column the target.

Rules
-----
1. A spec is deterministic and names declared columns only; bounds, edges and categories are public, so it costs
   nothing.
2. Identifiers never become features, and neither does the label.
3. The width follows from spec and schema alone.
4. It is applied row by row (`privacy.training.rows`): a row with a missing, unlisted or non-finite value is dead.

Form: docs/formats/features.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from kernel.canonical import Digest, digest_of
from kernel.checks import text, whole
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.schema import LONGEST_NAME, MOST_COLUMNS, Column, ColumnKind, TableSchema

VERSION = 1
MOST_EDGES = 256
LARGEST_WIDTH = 65_536
LOG_FROM = Decimal(1000)
"""A numeric column that spans at least this much from zero up gets `log` by default."""


class Transform(StrEnum):
    """How one column becomes numbers."""

    SCALE = "scale"
    LOG = "log"
    BINS = "bins"
    ONE_HOT = "one-hot"
    ORDINAL = "ordinal"
    BOOLEAN = "boolean"


class Encoding(StrEnum):
    """How the label's column becomes a target."""

    POSITIVE = "positive"
    THRESHOLD = "threshold"
    SCALED = "scaled"


class Target(StrEnum):
    """What kind of number the target is."""

    BINARY = "binary"
    REAL = "real"


_KINDS: Final[Mapping[Transform, frozenset[ColumnKind]]] = {
    Transform.SCALE: frozenset({ColumnKind.NUMERIC, ColumnKind.TENSOR}),
    Transform.LOG: frozenset({ColumnKind.NUMERIC}),
    Transform.BINS: frozenset({ColumnKind.NUMERIC}),
    Transform.ONE_HOT: frozenset({ColumnKind.CATEGORICAL, ColumnKind.ORDINAL}),
    Transform.ORDINAL: frozenset({ColumnKind.ORDINAL}),
    Transform.BOOLEAN: frozenset({ColumnKind.BOOLEAN}),
}
_LABEL_KINDS: Final[Mapping[Encoding, frozenset[ColumnKind]]] = {
    Encoding.POSITIVE: frozenset({ColumnKind.CATEGORICAL, ColumnKind.ORDINAL, ColumnKind.BOOLEAN}),
    Encoding.THRESHOLD: frozenset({ColumnKind.NUMERIC}),
    Encoding.SCALED: frozenset({ColumnKind.NUMERIC}),
}
_BOUNDED: Final = frozenset({Transform.SCALE, Transform.LOG})
_TRUTHS: Final = ("false", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column's transform.

    Attributes:
        column: Its name in the schema.
        transform: How it becomes numbers.
        low, high: Bounds in place of the schema's, from public knowledge; values outside move to the nearer one.
        edges: Rising edges of `bins`.
    """

    column: str
    transform: Transform
    low: Parameter | None = None
    high: Parameter | None = None
    edges: tuple[Parameter, ...] = ()

    def __post_init__(self) -> None:
        text(LONGEST_NAME, column=self.column)
        _check_bounds(self.column, self.low, self.high, self.transform in _BOUNDED)
        if (self.transform is Transform.BINS) != bool(self.edges):
            raise _error(self.column, "give `edges` exactly when the transform is bins")
        whole(0, MOST_EDGES, edges=len(self.edges))
        if any(not a.number < b.number for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise _error(self.column, "`edges` must rise")

    def width(self, column: Column) -> int:
        """How many numbers the column becomes."""
        match self.transform:
            case Transform.SCALE:
                return column.elements
            case Transform.BINS:
                return len(self.edges) + 1
            case Transform.ONE_HOT:
                return len(column.categories)
            case Transform.LOG | Transform.ORDINAL | Transform.BOOLEAN:
                return 1

    def to_json(self) -> dict[str, Any]:
        """Encode; members that say nothing are left out."""
        body = {"column": self.column, "transform": self.transform.value, **_written_bounds(self.low, self.high)}
        return body | {"edges": [str(edge) for edge in self.edges]} if self.edges else body

    @classmethod
    def from_json(cls, body: Any) -> Feature:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = _members(body, "columns", ("column", "transform"), ("low", "high", "edges"))
        edges = members.get("edges", ())
        if not isinstance(edges, Sequence) or isinstance(edges, str) or len(edges) > MOST_EDGES:
            raise InvalidError(f"`edges` must list at most {MOST_EDGES} numbers", field="edges")
        return cls(
            column=members["column"],
            transform=_one_of(Transform, members["transform"], "transform"),
            low=_number(members.get("low"), "low"),
            high=_number(members.get("high"), "high"),
            edges=tuple(Parameter(_text(edge, "edges")) for edge in edges),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The target: which column, and how it becomes a number.

    Attributes:
        column: Its name in the schema.
        encoding: Which of the three ways.
        category: The category that counts as 1 (`positive`).
        above: The number above which the target is 1 (`threshold`).
        low, high: Bounds of a `scaled` target in place of the schema's.
    """

    column: str
    encoding: Encoding
    category: str | None = None
    above: Parameter | None = None
    low: Parameter | None = None
    high: Parameter | None = None

    def __post_init__(self) -> None:
        text(LONGEST_NAME, column=self.column)
        if (self.encoding is Encoding.POSITIVE) != (self.category is not None):
            raise _error(self.column, "give the `category` that counts as 1 exactly for the encoding positive")
        if (self.encoding is Encoding.THRESHOLD) != (self.above is not None):
            raise _error(self.column, "give `above` exactly for the encoding threshold")
        _check_bounds(self.column, self.low, self.high, self.encoding is Encoding.SCALED)

    @property
    def target(self) -> Target:
        """Whether the target is binary or a real number in [-1, 1]."""
        return Target.REAL if self.encoding is Encoding.SCALED else Target.BINARY

    def to_json(self) -> dict[str, Any]:
        """Encode; members that say nothing are left out."""
        body: dict[str, Any] = {"column": self.column, "encoding": self.encoding.value}
        optional = {"category": self.category, "above": None if self.above is None else str(self.above)}
        return body | {k: v for k, v in optional.items() if v is not None} | _written_bounds(self.low, self.high)

    @classmethod
    def from_json(cls, body: Any) -> Label:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = _members(body, "label", ("column", "encoding"), ("category", "above", "low", "high"))
        category = members.get("category")
        return cls(
            column=members["column"],
            encoding=_one_of(Encoding, members["encoding"], "encoding"),
            category=None if category is None else _text(category, "category"),
            above=_number(members.get("above"), "above"),
            low=_number(members.get("low"), "low"),
            high=_number(members.get("high"), "high"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The transforms in order, the label, and an optional limit on a row's norm."""

    columns: tuple[Feature, ...]
    label: Label
    row_norm: Parameter | None = None

    def __post_init__(self) -> None:
        whole(1, MOST_COLUMNS, columns=len(self.columns))
        pairs = [(feature.column, feature.transform) for feature in self.columns]
        if len(set(pairs)) != len(pairs):
            raise InvalidError("a column has the same transform twice: name it once", field="columns")
        if self.label.column in {feature.column for feature in self.columns}:
            raise _error(self.label.column, "the label cannot also be a feature")
        if self.row_norm is not None and not 0 < self.row_norm.number <= 10**6:
            raise InvalidError("`row_norm` must be above 0 and at most 1000000", field="row_norm")

    @property
    def digest(self) -> Digest:
        """What plans and certificates cite."""
        return digest_of("features/v1", self.to_json())

    def check(self, schema: TableSchema) -> None:
        """Hold the spec to a schema.

        Raises:
            InvalidError: A column is not declared, or its kind does not fit; the message names the column.
            TooLargeError: A row would become too many numbers.
        """
        for feature in self.columns:
            column = schema.column(feature.column)
            if column.kind not in _KINDS[feature.transform]:
                raise _error(column.name, f"`{feature.transform}` is for " + _joined(_KINDS[feature.transform]))
            _check_effective(column, feature.low, feature.high, feature.transform in _BOUNDED)
        self._check_label(schema.column(self.label.column, "label"))
        if self.width(schema) > LARGEST_WIDTH:
            raise TooLargeError(f"a row may become at most {LARGEST_WIDTH} numbers", field="columns")

    def width(self, schema: TableSchema) -> int:
        """How many numbers a row becomes."""
        return sum(feature.width(schema.column(feature.column)) for feature in self.columns)

    def _check_label(self, column: Column) -> None:
        label = self.label
        if column.kind not in _LABEL_KINDS[label.encoding]:
            raise _error(column.name, f"`{label.encoding}` is for " + _joined(_LABEL_KINDS[label.encoding]))
        allowed = _TRUTHS if column.kind is ColumnKind.BOOLEAN else column.categories
        if label.category is not None and label.category not in allowed:
            raise _error(column.name, "`category` must be one of the declared categories")
        _check_effective(column, label.low, label.high, label.encoding is Encoding.SCALED)

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/features.md says."""
        body: dict[str, Any] = {
            "v": VERSION,
            "columns": [feature.to_json() for feature in self.columns],
            "label": self.label.to_json(),
        }
        return body if self.row_norm is None else body | {"row_norm": str(self.row_norm)}

    @classmethod
    def from_json(cls, body: Any) -> FeatureSpec:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = _members(body, "features", ("v", "columns", "label"), ("row_norm",))
        if members["v"] != VERSION or isinstance(members["v"], bool):
            raise InvalidError("this version reads features with `v` 1", field="v")
        columns = members["columns"]
        if not isinstance(columns, Sequence) or isinstance(columns, str) or len(columns) > MOST_COLUMNS:
            raise InvalidError(f"`columns` must list at most {MOST_COLUMNS} transforms", field="columns")
        return cls(
            columns=tuple(Feature.from_json(column) for column in columns),
            label=Label.from_json(members["label"]),
            row_norm=_number(members.get("row_norm"), "row_norm"),
        )


def default_features(schema: TableSchema, label: str) -> FeatureSpec:
    """Features for a trainer who names only the label: every declared column that is no identifier.

    Raises:
        InvalidError: The label's encoding does not follow from its kind, or no other column is left.
    """
    usable = [c for c in schema.columns if c.kind is not ColumnKind.IDENTIFIER and c.name != label]
    spec = FeatureSpec(
        columns=tuple(Feature(column=column.name, transform=_default_transform(column)) for column in usable),
        label=_default_label(schema.column(label, "label")),
    )
    spec.check(schema)
    return spec


def _default_transform(column: Column) -> Transform:
    match column.kind:
        case ColumnKind.NUMERIC:
            return Transform.LOG if _spans_magnitudes(column) else Transform.SCALE
        case ColumnKind.CATEGORICAL:
            return Transform.ONE_HOT
        case ColumnKind.ORDINAL:
            return Transform.ORDINAL
        case ColumnKind.BOOLEAN:
            return Transform.BOOLEAN
        case _:
            return Transform.SCALE


def _spans_magnitudes(column: Column) -> bool:
    if column.low is None or column.high is None:
        return False
    return column.low.number >= 0 and column.high.number - column.low.number >= LOG_FROM


def _default_label(column: Column) -> Label:
    if column.kind is ColumnKind.BOOLEAN:
        return Label(column=column.name, encoding=Encoding.POSITIVE, category="true")
    if column.kind in (ColumnKind.CATEGORICAL, ColumnKind.ORDINAL) and len(column.categories) == 2:
        return Label(column=column.name, encoding=Encoding.POSITIVE, category=column.categories[1])
    if column.kind is ColumnKind.NUMERIC:
        return Label(column=column.name, encoding=Encoding.SCALED)
    raise _error(column.name, "say in `label` how it becomes a target: positive, threshold or scaled")


def _error(column: str, sentence: str) -> InvalidError:
    return InvalidError(f"column `{column}`: {sentence}", field=column)


def _joined(kinds: frozenset[ColumnKind]) -> str:
    return " and ".join(sorted(kinds)) + " columns"


def _check_bounds(column: str, low: Parameter | None, high: Parameter | None, allowed: bool) -> None:
    if (low is not None or high is not None) and not allowed:
        raise _error(column, "`low` and `high` are for scale, log and scaled")
    if low is not None and high is not None and not low.number < high.number:
        raise _error(column, "`low` must lie below `high`")


def _check_effective(column: Column, low: Parameter | None, high: Parameter | None, bounded: bool) -> None:
    if not bounded:
        return
    low, high = low or column.low, high or column.high
    if low is None or high is None or not low.number < high.number:
        raise _error(column.name, "`low` must lie below `high`")


def _written_bounds(low: Parameter | None, high: Parameter | None) -> dict[str, Any]:
    return {name: str(value) for name, value in (("low", low), ("high", high)) if value is not None}


def _members(body: Any, field: str, needed: tuple[str, ...], optional: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or not set(needed) <= set(body) <= {*needed, *optional}:
        also = f" and may have {', '.join(optional)}" if optional else ""
        raise InvalidError(f"`{field}` needs {', '.join(needed)}{also}, nothing else", field=field)
    return body


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidError(f"`{field}` must be text", field=field)
    return value


def _number(value: Any, field: str) -> Parameter | None:
    return None if value is None else Parameter(_text(value, field))


def _one_of(kind: type[Any], value: Any, field: str) -> Any:
    known = {member.value: member for member in kind}
    if not isinstance(value, str) or value not in known:
        raise InvalidError(f"`{field}` must be one of " + ", ".join(known), field=field)
    return known[value]
