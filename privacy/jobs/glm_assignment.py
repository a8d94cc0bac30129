"""What a child that fits a generalised linear model is told before it has a key. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.errors import InvalidError
from privacy.glm.design import Design, design_of
from privacy.jobs.assignment_head import (
    TABLE_MEMBERS,
    AssignmentHead,
    Role,
    Table,
    check_agreement,
    table_json,
    table_of,
)
from privacy.jobs.glm_plan import GlmPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmAssignment(AssignmentHead):
    """What the child is told; nothing follows the key."""

    ROLE: ClassVar[Role] = Role.GLM
    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", *TABLE_MEMBERS)

    plan: GlmPlan
    table: Table

    def __post_init__(self) -> None:
        check_agreement(self.plan.rows_per_unit, self.table)
        if self.plan.features != self.table.features.digest or self.plan.terms != len(self.design().terms):
            raise InvalidError("the plan belongs to other features", field="plan")

    def design(self) -> Design:
        """The model on the table's schema."""
        return design_of(self.plan.family, self.table.features, self.table.schema)

    def _own_json(self) -> dict[str, Any]:
        return {"plan": self.plan.to_fields()} | table_json(self.table)

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {"plan": GlmPlan.from_fields(members["plan"]), "table": table_of(members)}
