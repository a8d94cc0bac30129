"""What assignments of every role share: roles, whose job it is, the sealed table, and how they are written. Pure.

Rules
-----
1. A role's assignment derives from `AssignmentHead` and says only what is its own.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Self

from kernel import canonical
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import JobId, TenantId
from privacy.graph.check import CheckedGraph
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
    SYNTHESIS = "synthesis"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentHead(ABC):
    """What every assignment says; a role's own members are its subclass's.

    Attributes:
        ROLE: What the child is started for.
        MEMBERS: Names of the role's own members.
        tenant, job: Whose job it is.
    """

    ROLE: ClassVar[Role]
    MEMBERS: ClassVar[tuple[str, ...]]

    tenant: TenantId
    job: JobId

    def to_json(self) -> dict[str, Any]:
        """The members as docs/formats/job-child.md lists them."""
        head = {"role": self.ROLE.value, "v": VERSION, "tenant": str(self.tenant), "job": str(self.job)}
        return head | self._own_json()

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = canonical.decode(data, limit=LIMIT)
        if not isinstance(members, Mapping) or set(members) != {"role", "v", "tenant", "job", *cls.MEMBERS}:
            raise InvalidError("an assignment has exactly the members of its role", field="assignment")
        if members["role"] != cls.ROLE.value or members["v"] != VERSION or isinstance(members["v"], bool):
            raise InvalidError("this is an assignment for another role or of another version", field="role")
        return cls(tenant=TenantId(members["tenant"]), job=JobId(members["job"]), **cls._own_of(members))

    @abstractmethod
    def _own_json(self) -> dict[str, Any]:
        """The role's own members."""

    @classmethod
    @abstractmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        """Read what `_own_json` writes."""


TABLE_MEMBERS: Final = ("features", "schema", "unit", "parts")


def check_agreement(rows_per_unit: int, table: Table) -> None:
    """Raise `InvalidError` unless a plan counts on as many rows per unit as the table has."""
    if rows_per_unit != table.unit.rows_per_unit:
        raise InvalidError("the plan was made for other rows per unit", field="rows_per_unit")


def check_width(model: CheckedGraph, table: Table) -> None:
    """Raise `InvalidError` unless the model takes the table's features and gives its label's outputs."""
    features = table.features
    if model.width != features.width(table.schema) or model.outputs != features.outputs(table.schema):
        raise InvalidError("the model does not fit the features and the label", field="graph")


def table_json(table: Table) -> dict[str, Any]:
    """The members `TABLE_MEMBERS`."""
    return {
        "features": table.features.to_json(),
        "schema": table.schema.to_json(),
        "unit": table.unit.to_json(),
        "parts": parts_json(table.parts),
    }


def table_of(members: Mapping[str, Any]) -> Table:
    """Read what `table_json` writes."""
    return Table(
        features=FeatureSpec.from_json(members["features"]),
        schema=TableSchema.from_json(members["schema"]),
        unit=PrivacyUnit.from_json(members["unit"]),
        parts=parts_of(members["parts"]),
    )


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
