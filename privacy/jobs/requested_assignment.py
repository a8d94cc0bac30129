"""What a child is told of a request over one table that travels whole: plan and request, and where the rows lie. Pure.

Rules
-----
1. The request travels with the plan: its digest is the plan's, and what it asks for is what the plan prices.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.jobs.assignment_head import MOST_PARTS, AssignmentHead, PartFile, parts_json, parts_of
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


class _Plan(Protocol):
    @property
    def rows_per_unit(self) -> int: ...

    def to_fields(self) -> dict[str, Any]: ...


class _Spec(Protocol):
    def check(self, schema: TableSchema) -> None: ...

    def to_json(self) -> dict[str, Any]: ...


P = TypeVar("P", bound=_Plan)
S = TypeVar("S", bound=_Spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedAssignment(AssignmentHead, Generic[P, S]):
    """What is asked, and of which rows; a role names its plan and its request.

    Attributes:
        PLAN, SPEC: The classes that read them.
        plan: With which noise.
        spec: What is asked.
        schema, unit: The dataset's declared schema, and who is protected.
        parts: The files of the job's block.
    """

    MEMBERS: ClassVar[tuple[str, ...]] = ("plan", "request", "schema", "unit", "parts")
    PLAN: ClassVar[Any]
    SPEC: ClassVar[Any]

    plan: P
    spec: S
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
        self._require_own()

    @abstractmethod
    def _require_own(self) -> None:
        """Raise `InvalidError` unless the plan is this request's and prices what it asks for."""

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
            "plan": cls.PLAN.from_fields(members["plan"]),
            "spec": cls.SPEC.from_json(members["request"]),
            "schema": TableSchema.from_json(members["schema"]),
            "unit": PrivacyUnit.from_json(members["unit"]),
            "parts": parts_of(members["parts"]),
        }
