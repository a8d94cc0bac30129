"""Who is protected, and what "neighbouring" means.

Rules
-----
1. The unit is declared before any row is seen: a column that names a person, or the record itself.
2. There is one adjacency, add or remove one unit. A replace-one statement may be derived in words, never stored.
3. A unit contributes at most `rows_per_unit` rows; which rows are kept depends on that unit's rows alone.

Format: docs/formats/schema.md, "Privacy unit".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel.checks import text, whole
from kernel.errors import InvalidError

LARGEST_ROWS_PER_UNIT = 10_000


class Adjacency(StrEnum):
    """What makes two populations neighbours. Closed on purpose: one value."""

    ADD_OR_REMOVE_ONE_UNIT = "add-or-remove-one-unit"


class UnitKind(StrEnum):
    """What one unit is."""

    RECORD = "record"
    COLUMN = "column"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyUnit:
    """The participant whose presence the guarantee hides.

    Attributes:
        kind: A record, or everything that shares one value of `column`.
        noun: What to call one unit in words, for example `patient`.
        column: The identifier column that names the unit; absent for records.
        rows_per_unit: The most rows of one unit that any computation may see.
    """

    kind: UnitKind
    noun: str
    column: str | None = None
    rows_per_unit: int = 1

    def __post_init__(self) -> None:
        text(40, noun=self.noun)
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        if (self.kind is UnitKind.COLUMN) != (self.column is not None):
            raise InvalidError("name the unit's `column` exactly when the unit is a column", field="column")
        if self.kind is UnitKind.RECORD and self.rows_per_unit != 1:
            raise InvalidError("a record is one row: set `rows_per_unit` to 1", field="rows_per_unit")

    def to_json(self) -> dict[str, Any]:
        """Encode for storage and digests."""
        body: dict[str, Any] = {"kind": self.kind.value, "noun": self.noun, "rows_per_unit": self.rows_per_unit}
        return body if self.column is None else {**body, "column": self.column}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PrivacyUnit:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        try:
            return cls(
                kind=UnitKind(body["kind"]),
                noun=body["noun"],
                column=body.get("column"),
                rows_per_unit=body.get("rows_per_unit", 1),
            )
        except (KeyError, ValueError, TypeError):
            raise InvalidError("`unit` needs `kind` (record or column) and `noun`", field="unit") from None
