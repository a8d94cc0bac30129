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
from privacy.jobs.extractors import Extractor, check_inputs, extractor_from_json
from privacy.jobs.labels import (
    Label,
    check_bounds,
    check_effective,
    column_error,
    default_label,
    joined,
    written_bounds,
)
from privacy.jobs.strict import members_of, number_of, one_of, text_of
from privacy.schema import LONGEST_NAME, MOST_COLUMNS, Column, ColumnKind, TableSchema

VERSION = 1
MOST_EDGES = 256
LARGEST_TOKEN = 2**20
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
    TOKENS = "tokens"


_KINDS: Final[Mapping[Transform, frozenset[ColumnKind]]] = {
    Transform.SCALE: frozenset({ColumnKind.NUMERIC, ColumnKind.TENSOR}),
    Transform.LOG: frozenset({ColumnKind.NUMERIC}),
    Transform.BINS: frozenset({ColumnKind.NUMERIC}),
    Transform.ONE_HOT: frozenset({ColumnKind.CATEGORICAL, ColumnKind.ORDINAL}),
    Transform.ORDINAL: frozenset({ColumnKind.ORDINAL}),
    Transform.BOOLEAN: frozenset({ColumnKind.BOOLEAN}),
    Transform.TOKENS: frozenset({ColumnKind.TENSOR}),
}
_BOUNDED: Final = frozenset({Transform.SCALE, Transform.LOG})


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
        check_bounds(self.column, self.low, self.high, self.transform in _BOUNDED)
        if (self.transform is Transform.BINS) != bool(self.edges):
            raise column_error(self.column, "give `edges` exactly when the transform is bins")
        whole(0, MOST_EDGES, edges=len(self.edges))
        if any(not a.number < b.number for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise column_error(self.column, "`edges` must rise")

    def width(self, column: Column) -> int:
        """How many numbers the column becomes."""
        match self.transform:
            case Transform.SCALE | Transform.TOKENS:
                return column.elements
            case Transform.BINS:
                return len(self.edges) + 1
            case Transform.ONE_HOT:
                return len(column.categories)
            case Transform.LOG | Transform.ORDINAL | Transform.BOOLEAN:
                return 1

    def to_json(self) -> dict[str, Any]:
        """Encode; members that say nothing are left out."""
        body = {"column": self.column, "transform": self.transform.value, **written_bounds(self.low, self.high)}
        return body | {"edges": [str(edge) for edge in self.edges]} if self.edges else body

    @classmethod
    def from_json(cls, body: Any) -> Feature:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "columns", ("column", "transform"), ("low", "high", "edges"))
        edges = members.get("edges", ())
        if not isinstance(edges, Sequence) or isinstance(edges, str) or len(edges) > MOST_EDGES:
            raise InvalidError(f"`edges` must list at most {MOST_EDGES} numbers", field="edges")
        return cls(
            column=members["column"],
            transform=one_of(Transform, members["transform"], "transform"),
            low=number_of(members.get("low"), "low"),
            high=number_of(members.get("high"), "high"),
            edges=tuple(Parameter.of(text_of(edge, "edges"), "edges") for edge in edges),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """The transforms in order, the label, an optional limit on a row's norm, and an optional extractor behind them."""

    columns: tuple[Feature, ...]
    label: Label
    row_norm: Parameter | None = None
    extractor: Extractor | None = None

    def __post_init__(self) -> None:
        whole(1, MOST_COLUMNS, columns=len(self.columns))
        pairs = [(feature.column, feature.transform) for feature in self.columns]
        if len(set(pairs)) != len(pairs):
            raise InvalidError("a column has the same transform twice: name it once", field="columns")
        if self.label.column in {feature.column for feature in self.columns}:
            raise column_error(self.label.column, "the label cannot also be a feature")
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
                raise column_error(column.name, f"`{feature.transform}` is for " + joined(_KINDS[feature.transform]))
            check_effective(column, feature.low, feature.high, feature.transform in _BOUNDED)
            _check_tokens(feature, column)
        self.label.check(schema.column(self.label.column, "label"))
        if self.encoded_width(schema) > LARGEST_WIDTH:
            raise TooLargeError(f"a row may become at most {LARGEST_WIDTH} numbers", field="columns")
        if self.extractor is not None:
            check_inputs(self.extractor, self.encoded_width(schema))

    def encoded_width(self, schema: TableSchema) -> int:
        """How many numbers the columns become, before any extractor."""
        return sum(feature.width(schema.column(feature.column)) for feature in self.columns)

    def width(self, schema: TableSchema) -> int:
        """How many numbers a row becomes: what a model reads."""
        return self.encoded_width(schema) if self.extractor is None else self.extractor.width

    def outputs(self, schema: TableSchema) -> int:
        """How many numbers a model gives for a row."""
        return self.label.outputs(schema.column(self.label.column, "label"))

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/features.md says."""
        body: dict[str, Any] = {
            "v": VERSION,
            "columns": [feature.to_json() for feature in self.columns],
            "label": self.label.to_json(),
        }
        if self.row_norm is not None:
            body["row_norm"] = str(self.row_norm)
        return body if self.extractor is None else body | {"extractor": self.extractor.to_json()}

    @classmethod
    def from_json(cls, body: Any) -> FeatureSpec:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "features", ("v", "columns", "label"), ("row_norm", "extractor"))
        if members["v"] != VERSION or isinstance(members["v"], bool):
            raise InvalidError("this version reads features with `v` 1", field="v")
        columns = members["columns"]
        if not isinstance(columns, Sequence) or isinstance(columns, str) or len(columns) > MOST_COLUMNS:
            raise InvalidError(f"`columns` must list at most {MOST_COLUMNS} transforms", field="columns")
        return cls(
            columns=tuple(Feature.from_json(column) for column in columns),
            label=Label.from_json(members["label"]),
            row_norm=number_of(members.get("row_norm"), "row_norm"),
            extractor=extractor_from_json(members["extractor"]) if "extractor" in members else None,
        )


def default_features(schema: TableSchema, label: str) -> FeatureSpec:
    """Features for a trainer who names only the label: every declared column that is no identifier.

    Raises:
        InvalidError: The label's encoding does not follow from its kind, or no other column is left.
    """
    usable = [c for c in schema.columns if c.kind is not ColumnKind.IDENTIFIER and c.name != label]
    spec = FeatureSpec(
        columns=tuple(Feature(column=column.name, transform=_default_transform(column)) for column in usable),
        label=default_label(schema.column(label, "label")),
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


def _check_tokens(feature: Feature, column: Column) -> None:
    """Hold a token column to whole numbers from 0: its declared bounds say how many tokens there are."""
    if feature.transform is Transform.TOKENS:
        tokens(column)


def tokens(column: Column) -> int:
    """How many tokens a column declares: its values are 0 .. high, rounded.

    Raises:
        InvalidError: Its bounds are not 0 and a whole number.
    """
    low, high = column.low, column.high
    if low is None or high is None or low.number != 0 or high.number % 1 or not 1 <= high.number < LARGEST_TOKEN:
        raise column_error(column.name, f"`tokens` needs `low` 0 and a whole `high` below {LARGEST_TOKEN}")
    return int(high.number) + 1
