"""What a statistics child is told before it has a key. Pure.

Rules
-----
1. The request travels with the plan: its digest is the plan's, and what it lays out is what the plan prices.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.jobs.assignment_head import MOST_PARTS, AssignmentHead, PartFile, Role, parts_json, parts_of
from privacy.jobs.measurements import layout
from privacy.jobs.statistics_plan import StatisticsPlan
from privacy.jobs.statistics_spec import StatisticsSpec
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsAssignment(AssignmentHead):
    """What to measure, and where.

    Attributes:
        plan: With which noise.
        spec: What is asked.
        schema, unit: The dataset's declared schema, and who is protected.
        parts: The files of the job's block.
    """

    ROLE: ClassVar[Role] = Role.STATISTICS
    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", "request", "schema", "unit", "parts")

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

    def _own_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.to_fields(),
            "request": self.spec.to_json(),
            "schema": self.schema.to_json(),
            "unit": self.unit.to_json(),
            "parts": parts_json(self.parts),
        }

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "plan": StatisticsPlan.from_fields(members["plan"]),
            "spec": StatisticsSpec.from_json(members["request"]),
            "schema": TableSchema.from_json(members["schema"]),
            "unit": PrivacyUnit.from_json(members["unit"]),
            "parts": parts_of(members["parts"]),
        }


def require_own(plan: StatisticsPlan, spec: StatisticsSpec) -> None:
    """Raise `InvalidError` unless a plan is this request's and its price covers what the request measures."""
    if plan.request != spec.digest or plan.block is not spec.block or plan.epsilon != spec.epsilon:
        raise InvalidError("the plan belongs to another request", field="plan")
    if plan.measurements != tuple(each.size for each in layout(spec.queries).measurements):
        raise InvalidError("the plan prices other measurements than the request lays out", field="plan")
    plan.require_price()
