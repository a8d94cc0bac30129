"""What a training child is told before it has a key. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.accounting.mechanisms import MOST_TIMES
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
from privacy.jobs.engines import engine_for
from privacy.jobs.model import INITIAL_LIMIT, check_initial
from privacy.jobs.size import ModelSize
from privacy.jobs.strict import bytes_of, text_from
from privacy.jobs.training_plan import TrainingPlan

_RESUME = ("savepoint", "attempt", "started")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAssignment(AssignmentHead):
    """What a training child is told.

    Attributes:
        tenant, job: What savepoints are bound to.
        plan: What to run.
        graph: The model.
        table: The rows.
        initial: Values of the weights that start as `given`, if there are any.
        savepoint: The step to resume from, or 0.
        attempt: Which attempt this is, from 1.
        started: Steps that earlier attempts started: what is durable about them.
    """

    ROLE: ClassVar[Role] = Role.TRAIN
    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", "graph", "initial", *TABLE_MEMBERS, *_RESUME)

    plan: TrainingPlan
    graph: ModelGraph
    table: Table
    initial: bytes | None = None
    savepoint: int = 0
    attempt: int = 1
    started: int = 0

    def __post_init__(self) -> None:
        whole(0, self.plan.recipe.steps, savepoint=self.savepoint)
        whole(1, 1 + self.plan.resumes, attempt=self.attempt)
        whole(self.savepoint, MOST_TIMES, started=self.started)
        check_agreement(self.plan.rows_per_unit, self.table)
        if self.plan.graph != self.graph.digest or self.plan.features != self.table.features.digest:
            raise InvalidError("the plan belongs to another graph or other features", field="plan")
        model = self.model()
        check_width(model, self.table)
        if self.plan.size != ModelSize.of(model):
            raise InvalidError("the plan names another size of the model", field="plan")
        if self.plan.engine is not engine_for(self.plan.recipe.engine, model):
            raise InvalidError("the plan names another engine than the one for this model", field="plan")
        check_initial(self.graph, self.initial)

    def model(self) -> CheckedGraph:
        """The graph, checked against every limit."""
        return check(self.graph)

    def _own_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.to_fields(),
            "graph": self.graph.to_json(),
            "savepoint": self.savepoint,
            "attempt": self.attempt,
            "started": self.started,
            "initial": None if self.initial is None else text_from(self.initial),
        } | table_json(self.table)

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        written = members["initial"]
        return {
            "plan": TrainingPlan.from_fields(members["plan"]),
            "graph": ModelGraph.from_json(members["graph"]),
            "initial": None if written is None else bytes_of(written, "initial", INITIAL_LIMIT),
            "table": table_of(members),
        } | {name: members[name] for name in _RESUME}
