"""What a statistics child is told before it has a key. Pure.

Rules
-----
1. The request travels with the plan: its digest is the plan's, and what it lays out is what the plan prices.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kernel import canonical
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import JobId, TenantId
from privacy.jobs.assignment_head import LIMIT, MOST_PARTS, VERSION, PartFile, Role, parts_json, parts_of
from privacy.jobs.measurements import layout
from privacy.jobs.statistics_plan import StatisticsPlan
from privacy.jobs.statistics_spec import StatisticsSpec
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

_MEMBERS: Final = {"role", "v", "tenant", "job", "plan", "request", "schema", "unit", "parts"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsAssignment:
    """What to measure, and where.

    Attributes:
        tenant, job: Whose job it is.
        plan: With which noise.
        spec: What is asked.
        schema, unit: The dataset's declared schema, and who is protected.
        parts: The files of the job's block.
    """

    tenant: TenantId
    job: JobId
    plan: StatisticsPlan
    spec: StatisticsSpec
    schema: TableSchema
    unit: PrivacyUnit
    parts: tuple[PartFile, ...]

    def __post_init__(self) -> None:
        whole(0, MOST_PARTS, parts=len(self.parts))
        self.spec.check(self.schema)
        if self.unit.column is not None:
            self.schema.column(self.unit.column)
        if self.plan.rows_per_unit != self.unit.rows_per_unit:
            raise InvalidError("the plan was made for other rows per unit", field="rows_per_unit")
        require_own(self.plan, self.spec)

    def to_json(self) -> dict[str, Any]:
        """The members as docs/formats/job-child.md lists them."""
        return {
            "role": Role.STATISTICS.value,
            "v": VERSION,
            "tenant": str(self.tenant),
            "job": str(self.job),
            "plan": self.plan.to_fields(),
            "request": self.spec.to_json(),
            "schema": self.schema.to_json(),
            "unit": self.unit.to_json(),
            "parts": parts_json(self.parts),
        }

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> StatisticsAssignment:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        body = canonical.decode(data, limit=LIMIT)
        if not isinstance(body, Mapping) or set(body) != _MEMBERS:
            raise InvalidError("an assignment has exactly the members of its role", field="assignment")
        if body["role"] != Role.STATISTICS.value or body["v"] != VERSION or isinstance(body["v"], bool):
            raise InvalidError("this is an assignment for another role or of another version", field="role")
        return cls(
            tenant=TenantId(body["tenant"]),
            job=JobId(body["job"]),
            plan=StatisticsPlan.from_fields(body["plan"]),
            spec=StatisticsSpec.from_json(body["request"]),
            schema=TableSchema.from_json(body["schema"]),
            unit=PrivacyUnit.from_json(body["unit"]),
            parts=parts_of(body["parts"]),
        )


def require_own(plan: StatisticsPlan, spec: StatisticsSpec) -> None:
    """Raise `InvalidError` unless a plan is this request's and its price covers what the request measures."""
    if plan.request != spec.digest or plan.block is not spec.block or plan.epsilon != spec.epsilon:
        raise InvalidError("the plan belongs to another request", field="plan")
    if plan.measurements != tuple(each.size for each in layout(spec.queries).measurements):
        raise InvalidError("the plan prices other measurements than the request lays out", field="plan")
    plan.require_price()
