"""What a child that fits a generalised linear model is told before it has a key. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernel import canonical
from kernel.errors import InvalidError
from kernel.ids import JobId, TenantId
from privacy.glm.design import Design, design_of
from privacy.jobs.assignment_head import LIMIT, VERSION, Role, Table, check_agreement, parts_json, parts_of
from privacy.jobs.features import FeatureSpec
from privacy.jobs.glm_plan import GlmPlan
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmAssignment:
    """What the child is told; nothing follows the key."""

    tenant: TenantId
    job: JobId
    plan: GlmPlan
    table: Table

    def __post_init__(self) -> None:
        check_agreement(self.plan.rows_per_unit, self.table)
        if self.plan.features != self.table.features.digest or self.plan.terms != len(self.design().terms):
            raise InvalidError("the plan belongs to other features", field="plan")

    def design(self) -> Design:
        """The model on the table's schema."""
        return design_of(self.plan.family, self.table.features, self.table.schema)

    def to_json(self) -> dict[str, Any]:
        """The members as docs/formats/job-child.md lists them."""
        return {
            "role": Role.GLM.value,
            "v": VERSION,
            "tenant": str(self.tenant),
            "job": str(self.job),
            "plan": self.plan.to_fields(),
            "features": self.table.features.to_json(),
            "schema": self.table.schema.to_json(),
            "unit": self.table.unit.to_json(),
            "parts": parts_json(self.table.parts),
        }

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> GlmAssignment:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        body = canonical.decode(data, limit=LIMIT)
        if not isinstance(body, Mapping) or set(body) != _MEMBERS:
            raise InvalidError("an assignment has exactly the members of its role", field="assignment")
        if body["role"] != Role.GLM.value or body["v"] != VERSION or isinstance(body["v"], bool):
            raise InvalidError("this is an assignment for another role or of another version", field="role")
        table = Table(
            features=FeatureSpec.from_json(body["features"]),
            schema=TableSchema.from_json(body["schema"]),
            unit=PrivacyUnit.from_json(body["unit"]),
            parts=parts_of(body["parts"]),
        )
        plan = GlmPlan.from_fields(body["plan"])
        return cls(tenant=TenantId(body["tenant"]), job=JobId(body["job"]), plan=plan, table=table)


_MEMBERS = frozenset({"role", "v", "tenant", "job", "plan", "features", "schema", "unit", "parts"})
