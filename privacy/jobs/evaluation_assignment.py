"""What an evaluation child is told before it has a key; the weights come with the key. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.assignment_head import (
    TABLE_MEMBERS,
    AssignmentHead,
    Role,
    Table,
    check_agreement,
    check_width,
    table_json,
    table_of,
)
from privacy.jobs.evaluation_measures import GROUP_CELLS, Part, groups_of
from privacy.jobs.evaluation_plan import EvaluationPlan
from privacy.jobs.evaluation_spec import classes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationAssignment(AssignmentHead):
    """What an evaluation child is told; the weights come with the key."""

    ROLE: ClassVar[Role] = Role.EVALUATE
    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", "graph", *TABLE_MEMBERS)

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

    def _own_json(self) -> dict[str, Any]:
        return {"plan": self.plan.to_fields(), "graph": self.graph.to_json()} | table_json(self.table)

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "plan": EvaluationPlan.from_fields(members["plan"]),
            "graph": ModelGraph.from_json(members["graph"]),
            "table": table_of(members),
        }


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
