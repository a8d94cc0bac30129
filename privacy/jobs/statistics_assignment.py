"""What a statistics child is told before it has a key. Pure.

Rules: `requested_assignment`. Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernel.errors import InvalidError
from privacy.jobs.assignment_head import Role
from privacy.jobs.measurements import layout
from privacy.jobs.requested_assignment import RequestedAssignment
from privacy.jobs.statistics_plan import StatisticsPlan
from privacy.jobs.statistics_spec import StatisticsSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsAssignment(RequestedAssignment[StatisticsPlan, StatisticsSpec]):
    """What to measure, and where."""

    ROLE: ClassVar[Role] = Role.STATISTICS
    PLAN: ClassVar = StatisticsPlan
    SPEC: ClassVar = StatisticsSpec

    def _require_own(self) -> None:
        require_own(self.plan, self.spec)


def require_own(plan: StatisticsPlan, spec: StatisticsSpec) -> None:
    """Raise `InvalidError` unless a plan is this request's and its price covers what the request measures."""
    if plan.request != spec.digest or plan.block is not spec.block or plan.epsilon != spec.epsilon:
        raise InvalidError("the plan belongs to another request", field="plan")
    if plan.measurements != tuple(each.size for each in layout(spec.queries).measurements):
        raise InvalidError("the plan prices other measurements than the request lays out", field="plan")
    plan.require_price()
