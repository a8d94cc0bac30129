"""What the child of a synthetic table is told before it has a key. Pure.

Rules
-----
1. The request travels with the plan: its digest is the plan's, and what it counts is what the plan prices.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.jobs.assignment_head import MOST_PARTS, AssignmentHead, PartFile, Role, parts_json, parts_of
from privacy.jobs.synthesis_plan import SynthesisPlan, require_own
from privacy.jobs.synthesis_spec import SynthesisSpec
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisAssignment(AssignmentHead):
    """What to count and to choose from, and where.

    Attributes:
        plan: With which noise.
        spec: What is asked.
        schema, unit: The dataset's declared schema, and who is protected.
        parts: The files of the job's block.
    """

    ROLE: ClassVar[Role] = Role.SYNTHESIS
    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", "request", "schema", "unit", "parts")

    plan: SynthesisPlan
    spec: SynthesisSpec
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
            "plan": SynthesisPlan.from_fields(members["plan"]),
            "spec": SynthesisSpec.from_json(members["request"]),
            "schema": TableSchema.from_json(members["schema"]),
            "unit": PrivacyUnit.from_json(members["unit"]),
            "parts": parts_of(members["parts"]),
        }
