"""Use case: an owner grants a principal the use of a dataset for a purpose, until a date; and takes it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from kernel.errors import NotFoundError
from kernel.ids import DatasetId, GrantId, PrincipalId, Slug
from policies.decisions import Deny
from policies.events import GrantCreated, GrantRevoked
from policies.grants import Grant, Obligations
from policies.vocabulary import OWN_WORK, Action, JobKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """What an owner permits."""

    principal: PrincipalId
    dataset: DatasetId
    purpose: Slug
    until: datetime
    job_kinds: Sequence[JobKind]
    obligations: Obligations


def create_grant(
    on: Collaborators, caller: Caller, declared: NewGrant, *, alongside: Alongside[Grant] = nothing_else
) -> Grant | Deny:
    """Grant; the policy checks that the caller owns the dataset and that the purpose is among its purposes."""
    grant = GrantId.new(on.entropy)
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(
            work,
            caller,
            Action.GRANT_CREATE,
            enacts=True,
            dataset=declared.dataset,
            purpose=declared.purpose,
            subject=declared.principal,
            job_kind=declared.job_kinds[0] if set(declared.job_kinds) <= OWN_WORK else None,
        )
        if (denial := answer.denial) is not None:
            work.commit("grant-denied")
            return denial
        after = on.decider.enact(work, lambda epoch: _created(epoch, grant, declared), answer.actor)
        alongside(work, after.grants[grant])
        work.commit("grant")
    return after.grants[grant]


def revoke_grant(on: Collaborators, caller: Caller, grant: GrantId) -> Deny | None:
    """Take a grant back; from the next decision on it permits nothing."""
    with on.database.work(caller.tenant) as work:
        known = on.decider.at_head(work, work.policy.lock(caller.tenant)).grants.get(grant)
        if known is None:
            raise NotFoundError("no such grant")
        answer = on.decider.decide_in(
            work, caller, Action.GRANT_REVOKE, enacts=True, dataset=known.dataset, grant=grant
        )
        if answer.denial is None:
            on.decider.enact(work, lambda epoch: GrantRevoked(epoch=epoch, grant=grant), answer.actor)
        work.commit("grant-revoke")
    return answer.denial


def _created(epoch: int, grant: GrantId, declared: NewGrant) -> GrantCreated:
    return GrantCreated(
        epoch=epoch,
        grant=grant,
        principal=declared.principal,
        dataset=declared.dataset,
        purpose=declared.purpose,
        until=declared.until,
        job_kinds=tuple(declared.job_kinds),
        obligations=declared.obligations,
    )
