"""What a tenant decides for all its datasets: which jobs need a yes, what may leave by itself, who may look.

Rules
-----
1. It can only narrow: a grant's own obligation holds as well, whichever is stricter.
2. A sensitivity that is not listed has no ceiling, and nothing of it leaves without a person.
3. `STANDARD_POLICY` holds until the first `policy:set`. It is the cautious one.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.amounts import Epsilon
from kernel.errors import InvalidError
from kernel.events import Record
from policies.vocabulary import CheckedBy, JobKind, Sensitivity


@dataclass(frozen=True, kw_only=True)
class ApprovalNeeded(Record):
    """Jobs of this kind on data of this sensitivity wait for the owner's yes."""

    sensitivity: Sensitivity
    job_kind: JobKind


@dataclass(frozen=True, kw_only=True)
class ReleaseCeiling(Record):
    """Up to this epsilon (the job alone) a release from data of this sensitivity may leave by itself."""

    sensitivity: Sensitivity
    epsilon: Epsilon


@dataclass(frozen=True, kw_only=True)
class TenantPolicy(Record):
    """The tenant's settings, whole."""

    approvals: tuple[ApprovalNeeded, ...]
    ceilings: tuple[ReleaseCeiling, ...]
    checked_by: tuple[CheckedBy, ...]

    def __post_init__(self) -> None:
        _distinct("approvals", [(a.sensitivity, a.job_kind) for a in self.approvals])
        _distinct("ceilings", [c.sensitivity for c in self.ceilings])
        _distinct("checked_by", list(self.checked_by))
        if not self.checked_by:
            raise InvalidError(
                "`checked_by` names who may let a release go: owner, checker or both", field="checked_by"
            )

    def needs_approval(self, sensitivity: Sensitivity, job_kind: JobKind) -> bool:
        """Whether such a job waits for the owner's yes."""
        return any(a.sensitivity is sensitivity and a.job_kind is job_kind for a in self.approvals)

    def ceiling(self, sensitivity: Sensitivity) -> Epsilon | None:
        """Up to which epsilon a release may leave by itself; `None` for never."""
        return next((c.epsilon for c in self.ceilings if c.sensitivity is sensitivity), None)


def _distinct(name: str, values: list[object]) -> None:
    if len(set(values)) != len(values):
        raise InvalidError(f"`{name}` must not repeat", field=name)


STANDARD_POLICY = TenantPolicy(
    approvals=tuple(ApprovalNeeded(sensitivity=Sensitivity.RESTRICTED, job_kind=kind) for kind in JobKind),
    ceilings=(),
    checked_by=(CheckedBy.OWNER, CheckedBy.CHECKER),
)
