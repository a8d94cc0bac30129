"""Assignments: everything a child is told before it has a key. Pure: written by the worker, read in the child.

Rules
-----
1. An assignment is complete and consistent or it cannot be built: the graph and the features are those of the plan.
2. It holds no key, no row and no count.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel import canonical
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import JobId, TenantId
from privacy.accounting.mechanisms import MOST_TIMES
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.engines import engine_for
from privacy.jobs.features import FeatureSpec
from privacy.jobs.model import INITIAL_LIMIT, check_initial
from privacy.jobs.plan import EvaluationPlan, TrainingPlan
from privacy.jobs.size import ModelSize
from privacy.jobs.strict import bytes_of, text_from
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

VERSION = 1
LIMIT = 64 * 2**20
MOST_PARTS = 100_000


class Role(StrEnum):
    """What a child of a job is started for."""

    TRAIN = "train"
    EVALUATE = "evaluate"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFile:
    """A ciphertext file and the place it is bound to."""

    path: str
    aad: str

    def __post_init__(self) -> None:
        text(4096, path=self.path)
        text(256, aad=self.aad)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a child needs to turn parts into rows.

    Attributes:
        features: How rows become numbers.
        schema: The dataset's declared schema.
        unit: Who is protected.
        parts: The files of the job's block.
    """

    features: FeatureSpec
    schema: TableSchema
    unit: PrivacyUnit
    parts: tuple[PartFile, ...]

    def __post_init__(self) -> None:
        self.features.check(self.schema)
        whole(0, MOST_PARTS, parts=len(self.parts))
        if self.unit.column is not None:
            self.schema.column(self.unit.column)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingAssignment:
    """What a training child is told.

    Attributes:
        tenant, job: Whose job it is; savepoints are bound to them.
        plan: What to run.
        graph: The model.
        table: The rows.
        initial: Values of the weights that start as `given`, if there are any.
        savepoint: The step to resume from, or 0.
        attempt: Which attempt this is, from 1.
        started: Steps that earlier attempts started: what is durable about them.
    """

    tenant: TenantId
    job: JobId
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
        _check_agreement(self.plan.rows_per_unit, self.table)
        if self.plan.graph != self.graph.digest or self.plan.features != self.table.features.digest:
            raise InvalidError("the plan belongs to another graph or other features", field="plan")
        model = self.model()
        _check_width(model, self.table)
        if self.plan.size != ModelSize.of(model):
            raise InvalidError("the plan names another size of the model", field="plan")
        if self.plan.engine is not engine_for(self.plan.recipe.engine, model, self.plan.rows_per_unit):
            raise InvalidError("the plan names another engine than the one for this model", field="plan")
        check_initial(self.graph, self.initial)

    def model(self) -> CheckedGraph:
        """The graph, checked against every limit."""
        return check(self.graph)

    def to_json(self) -> dict[str, Any]:
        """The members as docs/formats/job-child.md lists them."""
        head = {
            "role": Role.TRAIN.value,
            "plan": self.plan.to_fields(),
            "savepoint": self.savepoint,
            "attempt": self.attempt,
            "started": self.started,
            "initial": None if self.initial is None else text_from(self.initial),
        }
        return head | _common_json(self.tenant, self.job, self.graph, self.table)

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> TrainingAssignment:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = _members(canonical.decode(data, limit=LIMIT), Role.TRAIN, "initial", *_RESUME)
        plan = TrainingPlan.from_fields(members["plan"])
        written = members["initial"]
        initial = None if written is None else bytes_of(written, "initial", INITIAL_LIMIT)
        return cls(**_common(members), plan=plan, initial=initial, **{name: members[name] for name in _RESUME})


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationAssignment:
    """What an evaluation child is told; the weights come with the key."""

    tenant: TenantId
    job: JobId
    plan: EvaluationPlan
    graph: ModelGraph
    table: Table

    def __post_init__(self) -> None:
        _check_agreement(self.plan.rows_per_unit, self.table)
        _check_width(self.model(), self.table)
        if self.plan.target is not self.table.features.label.target:
            raise InvalidError("the plan was made for another kind of target", field="plan")

    def model(self) -> CheckedGraph:
        """The graph, checked against every limit."""
        return check(self.graph)

    def to_json(self) -> dict[str, Any]:
        """The members as docs/formats/job-child.md lists them."""
        head = {"role": Role.EVALUATE.value, "plan": self.plan.to_fields()}
        return head | _common_json(self.tenant, self.job, self.graph, self.table)

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> EvaluationAssignment:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = _members(canonical.decode(data, limit=LIMIT), Role.EVALUATE)
        return cls(**_common(members), plan=EvaluationPlan.from_fields(members["plan"]))


def require_role(request: Mapping[str, Any], role: Role) -> None:
    """Return if a child's first frame named this role and nothing else; raise `InvalidError` otherwise."""
    if dict(request) != {"role": role.value}:
        raise InvalidError("this child was started for another role", field="role")


_RESUME = ("savepoint", "attempt", "started")
_SHARED = ("role", "v", "tenant", "job", "plan", "graph", "features", "schema", "unit", "parts")


def _check_agreement(rows_per_unit: int, table: Table) -> None:
    if rows_per_unit != table.unit.rows_per_unit:
        raise InvalidError("the plan was made for other rows per unit", field="rows_per_unit")


def _check_width(model: CheckedGraph, table: Table) -> None:
    features = table.features
    if model.width != features.width(table.schema) or model.outputs != features.outputs(table.schema):
        raise InvalidError("the model does not fit the features and the label", field="graph")


def _common_json(tenant: TenantId, job: JobId, graph: ModelGraph, table: Table) -> dict[str, Any]:
    return {
        "v": VERSION,
        "tenant": str(tenant),
        "job": str(job),
        "graph": graph.to_json(),
        "features": table.features.to_json(),
        "schema": table.schema.to_json(),
        "unit": table.unit.to_json(),
        "parts": [{"path": part.path, "aad": part.aad} for part in table.parts],
    }


def _members(body: Any, role: Role, *more: str) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or set(body) != {*_SHARED, *more}:
        raise InvalidError("an assignment has exactly the members of its role", field="assignment")
    if body["role"] != role.value or body["v"] != VERSION or isinstance(body["v"], bool):
        raise InvalidError("this is an assignment for another role or of another version", field="role")
    return body


def _common(members: Mapping[str, Any]) -> dict[str, Any]:
    parts = members["parts"]
    if not isinstance(parts, (list, tuple)):
        raise InvalidError("`parts` must be a list", field="parts")
    table = Table(
        features=FeatureSpec.from_json(members["features"]),
        schema=TableSchema.from_json(members["schema"]),
        unit=PrivacyUnit.from_json(members["unit"]),
        parts=tuple(_part(part) for part in parts),
    )
    return {
        "tenant": TenantId(members["tenant"]),
        "job": JobId(members["job"]),
        "graph": ModelGraph.from_json(members["graph"]),
        "table": table,
    }


def _part(body: Any) -> PartFile:
    if not isinstance(body, Mapping) or set(body) != {"path", "aad"}:
        raise InvalidError("a part has `path` and `aad`", field="parts")
    return PartFile(path=body["path"], aad=body["aad"])
