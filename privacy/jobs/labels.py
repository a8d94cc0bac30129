"""Labels: how one declared column becomes a target, and how many numbers a model then gives.

Rules
-----
1. The kind of target and the number of outputs follow from the label and the schema alone.
2. A label names a declared column; it is never a feature as well.

Form: docs/formats/features.md, "Label".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kernel.checks import text
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.jobs.strict import members_of, number_of, one_of, text_of
from privacy.schema import LONGEST_NAME, Column, ColumnKind

MOST_CLASSES = 1024


class Encoding(StrEnum):
    """How the label's column becomes a target."""

    POSITIVE = "positive"
    THRESHOLD = "threshold"
    SCALED = "scaled"
    CLASSES = "classes"


class Target(StrEnum):
    """What kind of number the target is."""

    BINARY = "binary"
    REAL = "real"
    CLASSES = "classes"


_LABEL_KINDS: Final[Mapping[Encoding, frozenset[ColumnKind]]] = {
    Encoding.POSITIVE: frozenset({ColumnKind.CATEGORICAL, ColumnKind.ORDINAL, ColumnKind.BOOLEAN}),
    Encoding.THRESHOLD: frozenset({ColumnKind.NUMERIC}),
    Encoding.SCALED: frozenset({ColumnKind.NUMERIC}),
    Encoding.CLASSES: frozenset({ColumnKind.CATEGORICAL, ColumnKind.ORDINAL}),
}
_TARGETS: Final = {Encoding.SCALED: Target.REAL, Encoding.CLASSES: Target.CLASSES}
_TRUTHS: Final = ("false", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The target: which column, and how it becomes a number.

    Attributes:
        column: Its name in the schema.
        encoding: Which way.
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
            raise column_error(self.column, "give the `category` that counts as 1 exactly for the encoding positive")
        if (self.encoding is Encoding.THRESHOLD) != (self.above is not None):
            raise column_error(self.column, "give `above` exactly for the encoding threshold")
        check_bounds(self.column, self.low, self.high, self.encoding is Encoding.SCALED)

    @property
    def target(self) -> Target:
        """Whether the target is binary, one of several classes, or a real number in [-1, 1]."""
        return _TARGETS.get(self.encoding, Target.BINARY)

    def outputs(self, column: Column) -> int:
        """How many numbers a model gives for this target: one per class, or one."""
        return len(column.categories) if self.encoding is Encoding.CLASSES else 1

    def check(self, column: Column) -> None:
        """Raise `InvalidError` unless the label fits its column."""
        if column.kind not in _LABEL_KINDS[self.encoding]:
            raise column_error(column.name, f"`{self.encoding}` is for " + joined(_LABEL_KINDS[self.encoding]))
        allowed = _TRUTHS if column.kind is ColumnKind.BOOLEAN else column.categories
        if self.category is not None and self.category not in allowed:
            raise column_error(column.name, "`category` must be one of the declared categories")
        if self.encoding is Encoding.CLASSES and not 2 <= len(column.categories) <= MOST_CLASSES:
            raise column_error(column.name, f"`classes` is for 2 to {MOST_CLASSES} categories")
        check_effective(column, self.low, self.high, self.encoding is Encoding.SCALED)

    def to_json(self) -> dict[str, Any]:
        """Encode; members that say nothing are left out."""
        body: dict[str, Any] = {"column": self.column, "encoding": self.encoding.value}
        optional = {"category": self.category, "above": None if self.above is None else str(self.above)}
        return body | {k: v for k, v in optional.items() if v is not None} | written_bounds(self.low, self.high)

    @classmethod
    def from_json(cls, body: Any) -> Label:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "label", ("column", "encoding"), ("category", "above", "low", "high"))
        category = members.get("category")
        return cls(
            column=members["column"],
            encoding=one_of(Encoding, members["encoding"], "encoding"),
            category=None if category is None else text_of(category, "category"),
            above=number_of(members.get("above"), "above"),
            low=number_of(members.get("low"), "low"),
            high=number_of(members.get("high"), "high"),
        )


def default_label(column: Column) -> Label:
    """The label of a trainer who names only the column; raise `InvalidError` where nothing follows from its kind."""
    if column.kind is ColumnKind.BOOLEAN:
        return Label(column=column.name, encoding=Encoding.POSITIVE, category="true")
    if column.kind in (ColumnKind.CATEGORICAL, ColumnKind.ORDINAL) and len(column.categories) == 2:
        return Label(column=column.name, encoding=Encoding.POSITIVE, category=column.categories[1])
    if column.kind is ColumnKind.NUMERIC:
        return Label(column=column.name, encoding=Encoding.SCALED)
    if column.kind in (ColumnKind.CATEGORICAL, ColumnKind.ORDINAL) and 2 < len(column.categories) <= MOST_CLASSES:
        return Label(column=column.name, encoding=Encoding.CLASSES)
    raise column_error(column.name, "say in `label` how it becomes a target: positive, threshold, scaled or classes")


def column_error(column: str, sentence: str) -> InvalidError:
    """What is wrong with a column; only its name is repeated."""
    return InvalidError(f"column `{column}`: {sentence}", field=column)


def joined(kinds: frozenset[ColumnKind]) -> str:
    """The kinds in words."""
    return " and ".join(sorted(kinds)) + " columns"


def check_bounds(column: str, low: Parameter | None, high: Parameter | None, allowed: bool) -> None:
    """Hold written bounds to their order, and to where they are allowed."""
    if (low is not None or high is not None) and not allowed:
        raise column_error(column, "`low` and `high` are for scale, log and scaled")
    if low is not None and high is not None and not low.number < high.number:
        raise column_error(column, "`low` must lie below `high`")


def check_effective(column: Column, low: Parameter | None, high: Parameter | None, bounded: bool) -> None:
    """Hold the bounds that apply, written or declared, to their order."""
    if not bounded:
        return
    low, high = low or column.low, high or column.high
    if low is None or high is None or not low.number < high.number:
        raise column_error(column.name, "`low` must lie below `high`")


def written_bounds(low: Parameter | None, high: Parameter | None) -> dict[str, Any]:
    """The bounds that were written."""
    return {name: str(value) for name, value in (("low", low), ("high", high)) if value is not None}
