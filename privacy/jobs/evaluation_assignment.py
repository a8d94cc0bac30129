"""What an evaluation child is told before it has a key; the weights come with the key. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernel import canonical
from kernel.errors import InvalidError
from kernel.ids import JobId, TenantId
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.assignment_head import (
    LIMIT,
    Role,
    Table,
    check_agreement,
    check_width,
    members_of_role,
    table_json,
    table_of,
)
from privacy.jobs.evaluation_measures import GROUP_CELLS, Part, groups_of
from privacy.jobs.evaluation_plan import EvaluationPlan
from privacy.jobs.evaluation_spec import classes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationAssignment:
    """What an evaluation child is told; the weights come with the key."""

    tenant: TenantId
    job: JobId
    plan: EvaluationPlan
    graph: ModelGraph
    table: Table

    def __post_init__(self) -> None:
        check_agreement(self.plan.rows_per_unit, self.table)
        check_width(self.model(), self.table)
        if self.plan.target is not self.table.features.label.target:
            raise InvalidError("the plan was made for another kind of target", field="plan")
        _check_measures(self.plan, self.table)

    def model(self) -> CheckedGraph:
        """The graph, checked against every limit."""
        return check(self.graph)

    def to_json(self) -> dict[str, Any]:
        """The members as docs/formats/job-child.md lists them."""
        head = {"role": Role.EVALUATE.value, "plan": self.plan.to_fields()}
        return head | table_json(self.tenant, self.job, self.graph, self.table)

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> EvaluationAssignment:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = members_of_role(canonical.decode(data, limit=LIMIT), Role.EVALUATE)
        return cls(**table_of(members), plan=EvaluationPlan.from_fields(members["plan"]))


def _check_measures(plan: EvaluationPlan, table: Table) -> None:
    """Hold the lengths of the plan's vectors to the classes and categories of the table."""
    classes, columns = classes_of(table.features, table.schema), table.schema.columns
    for measure in plan.measures:
        if measure.column is not None:
            known = groups_of(columns[measure.column]) if measure.column < len(columns) else ()
            fits = measure.cells == GROUP_CELLS[plan.target] * len(known)
        else:
            fits = measure.part is not Part.CONFUSION or measure.cells == classes**2
        if not fits:
            raise InvalidError("the plan measures other classes or groups than the table has", field="plan")
