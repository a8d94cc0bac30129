"""What assignments of every role share: roles, the sealed table, and how they are written. Pure.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import JobId, TenantId
from privacy.graph.check import CheckedGraph
from privacy.graph.spec import ModelGraph
from privacy.jobs.features import FeatureSpec
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

VERSION = 1
LIMIT = 64 * 2**20
MOST_PARTS = 100_000


class Role(StrEnum):
    """What a child of a job is started for."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    STATISTICS = "statistics"
    GLM = "glm"
    TUNE = "tune"


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


def require_role(request: Mapping[str, Any], role: Role) -> None:
    """Return if a child's first frame named this role and nothing else; raise `InvalidError` otherwise."""
    if dict(request) != {"role": role.value}:
        raise InvalidError("this child was started for another role", field="role")


_SHARED = ("role", "v", "tenant", "job", "plan", "graph", "features", "schema", "unit", "parts")


def check_agreement(rows_per_unit: int, table: Table) -> None:
    """Raise `InvalidError` unless a plan counts on as many rows per unit as the table has."""
    if rows_per_unit != table.unit.rows_per_unit:
        raise InvalidError("the plan was made for other rows per unit", field="rows_per_unit")


def check_width(model: CheckedGraph, table: Table) -> None:
    """Raise `InvalidError` unless the model takes the table's features and gives its label's outputs."""
    features = table.features
    if model.width != features.width(table.schema) or model.outputs != features.outputs(table.schema):
        raise InvalidError("the model does not fit the features and the label", field="graph")


def table_json(tenant: TenantId, job: JobId, graph: ModelGraph, table: Table) -> dict[str, Any]:
    """The members that every assignment with a model has."""
    return {
        "v": VERSION,
        "tenant": str(tenant),
        "job": str(job),
        "graph": graph.to_json(),
        "features": table.features.to_json(),
        "schema": table.schema.to_json(),
        "unit": table.unit.to_json(),
        "parts": parts_json(table.parts),
    }


def members_of_role(body: Any, role: Role, *more: str) -> Mapping[str, Any]:
    """Return an assignment that has exactly the members of its role; raise `InvalidError` otherwise."""
    if not isinstance(body, Mapping) or set(body) != {*_SHARED, *more}:
        raise InvalidError("an assignment has exactly the members of its role", field="assignment")
    if body["role"] != role.value or body["v"] != VERSION or isinstance(body["v"], bool):
        raise InvalidError("this is an assignment for another role or of another version", field="role")
    return body


def table_of(members: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `table_json` writes."""
    table = Table(
        features=FeatureSpec.from_json(members["features"]),
        schema=TableSchema.from_json(members["schema"]),
        unit=PrivacyUnit.from_json(members["unit"]),
        parts=parts_of(members["parts"]),
    )
    return {
        "tenant": TenantId(members["tenant"]),
        "job": JobId(members["job"]),
        "graph": ModelGraph.from_json(members["graph"]),
        "table": table,
    }


def parts_json(parts: tuple[PartFile, ...]) -> list[dict[str, str]]:
    """The member `parts`."""
    return [{"path": part.path, "aad": part.aad} for part in parts]


def parts_of(value: Any) -> tuple[PartFile, ...]:
    """Read what `parts_json` writes."""
    if not isinstance(value, (list, tuple)):
        raise InvalidError("`parts` must be a list", field="parts")
    return tuple(_part(part) for part in value)


def _part(body: Any) -> PartFile:
    if not isinstance(body, Mapping) or set(body) != {"path", "aad"}:
        raise InvalidError("a part has `path` and `aad`", field="parts")
    return PartFile(path=body["path"], aad=body["aad"])
