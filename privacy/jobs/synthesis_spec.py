"""Requests for a synthetic table, in their final form, and how the short form becomes it.

Rules
-----
1. Which columns, cut into which cells, and around which of them: all of it is the request's, nothing is derived from
   rows. Which pairs of columns hang together is what the job chooses, privately.
2. Sizes are bounded for the largest tree that could be chosen.

Form: docs/formats/job-spec.md, "Synthetic table".
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, TypeAlias

from kernel.errors import InvalidError, TooLargeError
from privacy.jobs.asking import table_axes
from privacy.jobs.head import HeadedSpec, JobKind, head_of, members_of_short
from privacy.jobs.measurements import Measurement
from privacy.jobs.queries import MOST_CELLS, Axis, Per, Side, list_of
from privacy.jobs.strict import one_of, text_of
from privacy.schema import TableSchema

LEAST_COLUMNS, MOST_COLUMNS = 2, 64
MOST_CELLS_COUNTED = 4_000_000
"""Of all pairs together: what a child counts."""
MOST_CELLS_RELEASED = 200_000
"""Of the columns and the largest tree together: what gets noise and leaves."""

Pair: TypeAlias = tuple[int, int]


class Method(StrEnum):
    """How it is chosen what hangs together."""

    MST = "mst"


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisSpec(HeadedSpec):
    """A request for noisy counts from which a synthetic table is drawn.

    Attributes:
        block: Whose rows: those that train, or those held out.
        method: How it is chosen which pairs of columns are counted.
        per: Which rows count: all of a unit's, or its first alone.
        axes: The columns of the table, each cut into its cells.
        around: The column that every other one and every pair is counted with: the one to predict, say.
    """

    kind: ClassVar[JobKind] = JobKind.SYNTHESIS
    NEEDED: ClassVar[tuple[str, ...]] = ("block", "method", "per", "axes")
    OPTIONAL: ClassVar[tuple[str, ...]] = ("around",)

    block: Side
    method: Method
    per: Per
    axes: tuple[Axis, ...]
    around: str | None = None

    def _check(self) -> None:
        names = [axis.column for axis in self.axes]
        if len(set(names)) != len(names):
            raise InvalidError("`axes` names a column twice", field="axes")
        if self.around is not None and self.around not in names:
            raise InvalidError("`around` must be one of the columns", field="around")
        if not LEAST_COLUMNS <= len(self.columns) <= MOST_COLUMNS:
            raise InvalidError(
                f"a table has {LEAST_COLUMNS} to {MOST_COLUMNS} columns beside `around`", field="columns"
            )
        cells = [axis.cells for axis in self.columns]
        sizes = sorted((self.slices * a * b for a, b in itertools.combinations(cells, 2)), reverse=True)
        released = sum(cells) * self.slices + sum(sizes[: len(cells) - 1])
        if sizes[0] > MOST_CELLS or sum(sizes) > MOST_CELLS_COUNTED or released > MOST_CELLS_RELEASED:
            raise TooLargeError("so many cells cannot be counted in pairs: use fewer bins or columns", field="bins")

    @property
    def centre(self) -> Axis | None:
        """The column around which the table is drawn, if there is one."""
        return next((axis for axis in self.axes if axis.column == self.around), None)

    @property
    def columns(self) -> tuple[Axis, ...]:
        """The columns that the tree spans: all but the one around which it is drawn."""
        return tuple(axis for axis in self.axes if axis.column != self.around)

    @property
    def slices(self) -> int:
        """How many cells the column has around which the table is drawn; one slice of all rows without it."""
        return 1 if self.centre is None else self.centre.cells

    @property
    def singles(self) -> tuple[Measurement, ...]:
        """A histogram of each column, in each slice."""
        return tuple(self._counted(axis) for axis in self.columns)

    @property
    def pairs(self) -> dict[Pair, Measurement]:
        """A histogram of each pair of columns, in each slice; a pair is named by the columns' numbers."""
        numbered = itertools.combinations(enumerate(self.columns), 2)
        return {(i, j): self._counted(first, second) for (i, first), (j, second) in numbered}

    def check(self, schema: TableSchema) -> None:
        """Raise `InvalidError` unless every column is the schema's."""
        for axis in self.axes:
            axis.check(schema)

    def _counted(self, *axes: Axis) -> Measurement:
        return Measurement(per=self.per, axes=axes if self.centre is None else (self.centre, *axes))

    def _own_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"block": self.block.value, "method": self.method.value, "per": self.per.value}
        body["axes"] = [axis.to_json() for axis in self.axes]
        return body if self.around is None else body | {"around": self.around}

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **_chosen(members),
            "axes": tuple(Axis.from_json(axis) for axis in list_of(members["axes"], "axes")),
        }


def complete_synthesis(body: Any, schema: TableSchema) -> SynthesisSpec:
    """Fill in what a trainer left out of a request for a synthetic table.

    Args:
        body: The members of the final form, or `columns`, `bins` and `edges` in the place of `axes`; whatever is not
            said has a default.
        schema: The dataset's declared schema.

    Returns:
        The final form, which fits the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range.
        TooLargeError: Too many cells.
    """
    optional = ("block", "method", "per", "around")
    if isinstance(body, Mapping) and "axes" in body:
        members = members_of_short(body, JobKind.SYNTHESIS, ("axes",), optional)
        axes = tuple(Axis.from_json(axis) for axis in list_of(members["axes"], "axes"))
    else:
        members = members_of_short(body, JobKind.SYNTHESIS, (), (*optional, "columns", "bins", "edges"))
        axes = table_axes(members, schema)
    spec = SynthesisSpec(**head_of(members), **_chosen(members), axes=axes)
    spec.check(schema)
    return spec


def _chosen(members: Mapping[str, Any]) -> dict[str, Any]:
    around = members.get("around")
    return {
        "block": one_of(Side, members.get("block", Side.TRAIN.value), "block"),
        "method": one_of(Method, members.get("method", Method.MST.value), "method"),
        "per": one_of(Per, members.get("per", Per.ROW.value), "per"),
        "around": None if around is None else text_of(around, "around"),
    }
