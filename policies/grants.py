"""Grants: an owner's permission for one principal, one dataset, one purpose, until a date, with obligations.

Rules
-----
1. The grant is the record; Casbin's rows are derived from it (`policies.snapshot`). Time is not in the rows: they are
   text, and text does not compare as time does.
2. A grant ends by itself at `until` and at once when it is revoked; both are final.
3. What a grant does not say it does not permit: kinds of job are listed, a ceiling that is absent lets nothing out by
   itself. Only the epsilon cap is different: absent means that the population's budget is the limit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from kernel.amounts import Epsilon, Share
from kernel.clock import check_time
from kernel.errors import ConflictError, InvalidError
from kernel.events import Record
from kernel.ids import DatasetId, GrantId, PrincipalId, Slug
from policies.vocabulary import ExactRelease, JobKind, Obligation


class GrantState(StrEnum):
    """Whether the owner still means it; expiry is a matter of time, not of state."""

    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True, kw_only=True)
class Obligations(Record):
    """What an allowed request binds its user to.

    Attributes:
        max_epsilon: The most that one job may ask for (the job alone).
        trainer_share: The most of the population's budget that this principal may hold and spend in all. Access
            policy, not privacy: trainers may collude.
        approval_required: Whether the owner must say yes to each job.
        auto_release_epsilon: Up to here a release may leave without a person looking at it, if the tenant's policy
            allows as much; absent: never.
        exact_release: Whether a result without noise may leave, once two people said yes; absent: never.
    """

    trainer_share: Share
    approval_required: bool
    max_epsilon: Epsilon | None = None
    auto_release_epsilon: Epsilon | None = None
    exact_release: ExactRelease | None = None

    @property
    def permits_exact(self) -> bool:
        """Whether a result without noise may leave at all."""
        return self.exact_release is ExactRelease.TWO_APPROVALS

    def names(self) -> tuple[Obligation, ...]:
        """Which obligations bind, in the order of the vocabulary."""
        binding = {
            Obligation.EPSILON_CAP: self.max_epsilon is not None,
            Obligation.TRAINER_SHARE: True,
            Obligation.APPROVAL: self.approval_required,
            Obligation.AUTOMATIC_RELEASE_CEILING: self.auto_release_epsilon is not None,
            Obligation.EXACT_RELEASE: self.permits_exact,
        }
        return tuple(name for name in Obligation if binding[name])


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One permission.

    Attributes:
        until: From this instant it permits nothing.
        job_kinds: What may be done; the mechanisms of these kinds are the gateway's.
    """

    id: GrantId
    principal: PrincipalId
    dataset: DatasetId
    purpose: Slug
    until: datetime
    job_kinds: tuple[JobKind, ...]
    obligations: Obligations
    state: GrantState = GrantState.ACTIVE

    def __post_init__(self) -> None:
        check_time(self.until, "until")
        if not self.job_kinds or len(set(self.job_kinds)) != len(self.job_kinds):
            raise InvalidError("`job_kinds` lists each permitted kind once, at least one", field="job_kinds")

    def revoked(self) -> Grant:
        """End it now; raise `ConflictError` if that happened before."""
        if self.state is GrantState.REVOKED:
            raise ConflictError("the grant is revoked already", field="grant")
        return replace(self, state=GrantState.REVOKED)

    def expired(self, at: datetime) -> bool:
        """Whether `until` has come."""
        return at >= self.until
