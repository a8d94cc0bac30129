"""What a tuning child is told before it has a key. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.assignment_head import (
    MOST_PARTS,
    TABLE_MEMBERS,
    AssignmentHead,
    PartFile,
    Role,
    Table,
    check_agreement,
    check_width,
    parts_json,
    parts_of,
    table_json,
    table_of,
)
from privacy.jobs.engines import engine_for
from privacy.jobs.model import INITIAL_LIMIT, check_initial
from privacy.jobs.size import ModelSize
from privacy.jobs.strict import bytes_of, text_from
from privacy.jobs.tuning_plan import TuningPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningAssignment(AssignmentHead):
    """What a tuning child is told.

    Attributes:
        plan: What to run.
        graph: The model of every candidate.
        table: The rows that train.
        scored: The files of the rows that score.
        initial: Values of the weights that start as `given`, if there are any.
    """

    ROLE: ClassVar[Role] = Role.TUNE
    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", "graph", "scored", "initial", *TABLE_MEMBERS)

    plan: TuningPlan
    graph: ModelGraph
    table: Table
    scored: tuple[PartFile, ...]
    initial: bytes | None = None

    def __post_init__(self) -> None:
        one, table = self.plan.training, self.table
        whole(0, MOST_PARTS, scored=len(self.scored))
        check_agreement(one.rows_per_unit, table)
        if one.graph != self.graph.digest or one.features != table.features.digest:
            raise InvalidError("the plan belongs to another graph or other features", field="plan")
        if self.plan.target is not table.features.label.target:
            raise InvalidError("the plan was made for another kind of target", field="plan")
        model = self.model()
        check_width(model, table)
        if one.size != ModelSize.of(model) or one.engine is not engine_for(one.recipe.engine, model):
            raise InvalidError("the plan names another size or engine than the model's", field="plan")
        check_initial(self.graph, self.initial)

    def model(self) -> CheckedGraph:
        """The graph, checked against every limit."""
        return check(self.graph)

    def holdout(self) -> Table:
        """The rows that score."""
        return replace(self.table, parts=self.scored)

    def _own_json(self) -> dict[str, Any]:
        return {
            "plan": self.plan.to_fields(),
            "graph": self.graph.to_json(),
            "scored": parts_json(self.scored),
            "initial": None if self.initial is None else text_from(self.initial),
        } | table_json(self.table)

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        written = members["initial"]
        return {
            "plan": TuningPlan.from_fields(members["plan"]),
            "graph": ModelGraph.from_json(members["graph"]),
            "scored": parts_of(members["scored"]),
            "initial": None if written is None else bytes_of(written, "initial", INITIAL_LIMIT),
            "table": table_of(members),
        }
