"""Requests for statistics of a table, in their final form, and how the short form becomes it.

Form: docs/formats/job-spec.md, "Statistics".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.errors import InvalidError, TooLargeError
from privacy.jobs.asking import complete_query
from privacy.jobs.head import HeadedSpec, JobKind, head_of, members_of_short
from privacy.jobs.queries import Query, Side, list_of
from privacy.jobs.strict import one_of
from privacy.schema import TableSchema

MOST_QUERIES = 512
MOST_CELLS_IN_ALL = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsSpec(HeadedSpec):
    """A request for noisy statistics of one block of a table.

    Attributes:
        block: Whose rows: those that train, or those held out.
        queries: What is asked; one noisy answer to each.
    """

    kind: ClassVar[JobKind] = JobKind.STATISTICS
    NEEDED: ClassVar[tuple[str, ...]] = ("block", "queries")

    block: Side
    queries: tuple[Query, ...]

    def _check(self) -> None:
        if not 1 <= len(self.queries) <= MOST_QUERIES:
            raise InvalidError(f"`queries` has 1 to {MOST_QUERIES} queries; a profile is one a column", field="queries")
        if sum(query.cells for query in self.queries) > MOST_CELLS_IN_ALL:
            raise TooLargeError(f"all queries together may have at most {MOST_CELLS_IN_ALL} cells", field="queries")

    def check(self, schema: TableSchema) -> None:
        """Raise `InvalidError` unless every query fits the schema."""
        for query in self.queries:
            query.check(schema)

    def _own_json(self) -> dict[str, Any]:
        return {"block": self.block.value, "queries": [query.to_json() for query in self.queries]}

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "block": one_of(Side, members["block"], "block"),
            "queries": tuple(Query.from_json(query) for query in list_of(members["queries"], "queries")),
        }


def complete_statistics(body: Any, schema: TableSchema) -> StatisticsSpec:
    """Fill in what a trainer left out of a request for statistics.

    Args:
        body: The members of the final form; `v` and `block` may be missing, queries may be short.
        schema: The dataset's declared schema.

    Returns:
        The final form, which fits the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range.
        TooLargeError: Too many cells.
    """
    members = members_of_short(body, JobKind.STATISTICS, ("queries",), ("block",))
    written = list_of(members["queries"], "queries")
    if len(written) > MOST_QUERIES:
        raise InvalidError(f"`queries` has 1 to {MOST_QUERIES} queries", field="queries")
    return StatisticsSpec(
        **head_of(members),
        block=one_of(Side, members.get("block", Side.TRAIN.value), "block"),
        queries=tuple(query for short in written for query in complete_query(short, schema)),
    )
