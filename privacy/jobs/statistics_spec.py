"""Requests for statistics of a table, in their final form, and how the short form becomes it.

Form: docs/formats/job-spec.md, "Statistics".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from kernel.amounts import Epsilon
from kernel.canonical import Digest, digest_of
from kernel.errors import InvalidError, TooLargeError
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.jobs.asking import complete_query
from privacy.jobs.head import (
    COMMON,
    VERSION,
    JobKind,
    RowChoice,
    check_epsilon,
    check_head,
    common_of,
    members_of_request,
    rows_of,
    with_rows,
)
from privacy.jobs.queries import Query, Side, list_of
from privacy.jobs.strict import one_of
from privacy.schema import TableSchema

MOST_QUERIES = 512
MOST_CELLS_IN_ALL = 100_000
_MEMBERS: Final = ("v", "kind", *COMMON, "block", "queries")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsSpec:
    """A request for noisy statistics of one block of a table.

    Attributes:
        dataset, purpose: Of what, and why.
        epsilon: Of this job alone, at the population's delta.
        block: Whose rows: those that train, or those held out.
        queries: What is asked; one noisy answer to each.
        rows: All units of the version, or those at home in its block alone, which charges no other block.
    """

    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    block: Side
    queries: tuple[Query, ...]
    rows: RowChoice = RowChoice.ALL

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        if not 1 <= len(self.queries) <= MOST_QUERIES:
            raise InvalidError(f"`queries` has 1 to {MOST_QUERIES} queries; a profile is one a column", field="queries")
        if sum(query.cells for query in self.queries) > MOST_CELLS_IN_ALL:
            raise TooLargeError(f"all queries together may have at most {MOST_CELLS_IN_ALL} cells", field="queries")

    @property
    def kind(self) -> JobKind:
        """Statistics."""
        return JobKind.STATISTICS

    @property
    def used_release(self) -> ReleaseId | None:
        """None: no released model is used."""
        return None

    @property
    def digest(self) -> Digest:
        """What decision, approval and reservation bind."""
        return digest_of("job-request/v1", self.to_json())

    def check(self, schema: TableSchema) -> None:
        """Raise `InvalidError` unless every query fits the schema."""
        for query in self.queries:
            query.check(schema)

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        body = {
            "v": VERSION,
            "kind": self.kind.value,
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "epsilon": str(self.epsilon),
            "block": self.block.value,
            "queries": [query.to_json() for query in self.queries],
        }
        return with_rows(body, self.rows)

    @classmethod
    def from_json(cls, body: Any) -> StatisticsSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of_request(body, _MEMBERS, ("rows",))
        check_head(members, JobKind.STATISTICS)
        return cls(
            **common_of(members),
            block=one_of(Side, members["block"], "block"),
            queries=tuple(Query.from_json(query) for query in list_of(members["queries"], "queries")),
            rows=rows_of(members),
        )


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
    members = members_of_request(body, ("kind", *COMMON, "queries"), ("v", "block", "rows"))
    check_head({"v": VERSION, **members}, JobKind.STATISTICS)
    written = list_of(members["queries"], "queries")
    if len(written) > MOST_QUERIES:
        raise InvalidError(f"`queries` has 1 to {MOST_QUERIES} queries", field="queries")
    return StatisticsSpec(
        **common_of(members),
        block=one_of(Side, members.get("block", Side.TRAIN.value), "block"),
        queries=tuple(query for short in written for query in complete_query(short, schema)),
        rows=rows_of(members),
    )
