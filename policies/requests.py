"""The question: every fact that a decision may look at beside the policy, logged whole.

Rules
-----
1. `decide` sees a snapshot and one of these, nothing else: no clock, no database, no header.
2. `NEEDED` says which facts an action cannot be decided without. A missing one is a denial, never a default.
3. Facts read from state (`requester`, `holder`, `epsilon` of a release) are put in by the service that read them, never
   taken from the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kernel.amounts import Epsilon
from kernel.canonical import Digest
from kernel.checks import whole
from kernel.clock import check_time
from kernel.events import Record
from kernel.ids import DatasetId, GrantId, JobId, PopulationId, PrincipalId, ReleaseId, Slug, TenantId
from policies.approvals import Approval
from policies.vocabulary import OWN_WORK, Action, JobKind, Role

MOST_APPROVALS = 40


@dataclass(frozen=True, kw_only=True)
class AccessRequest(Record):
    """May this principal do this, now?

    Attributes:
        principal: Who asks; absent for the gateway itself, which may ask for `release:check` alone.
        dataset: The dataset concerned, also for its jobs, releases and grants.
        purpose: Why; for `grant:create` the purpose to be granted.
        job_kind: Of the job; for `grant:create` the kind to be granted, where it is the owner's own work.
        epsilon: What the job alone costs; absent for work whose result stays with the owner.
        exact: True for a job whose result has no noise, which then has no epsilon; else absent.
        request_digest: Digest of the job request in its final form.
        requester: Who asked for the job, release or upload that this is about.
        holder: Who owns the population that this is about.
        subject: Whom it is about: who is disabled, gets the role, the credential or the grant.
        role: Which role is assigned or removed.
        grant: On a quote or submit: decide under this grant only.
        approvals: The approvals that exist for the request.
    """

    tenant: TenantId
    action: Action
    at: datetime
    principal: PrincipalId | None = None
    dataset: DatasetId | None = None
    purpose: Slug | None = None
    job_kind: JobKind | None = None
    epsilon: Epsilon | None = None
    exact: bool | None = None
    request_digest: Digest | None = None
    requester: PrincipalId | None = None
    holder: PrincipalId | None = None
    subject: PrincipalId | None = None
    role: Role | None = None
    population: PopulationId | None = None
    job: JobId | None = None
    release: ReleaseId | None = None
    grant: GrantId | None = None
    approvals: tuple[Approval, ...] = ()

    def __post_init__(self) -> None:
        check_time(self.at, "at")
        whole(0, MOST_APPROVALS, approvals=len(self.approvals))


_JOB = ("dataset", "purpose", "job_kind")
_OBJECT = ("dataset", "requester")

NEEDED: dict[Action, tuple[str, ...]] = {
    Action.PRINCIPAL_DISABLE: ("subject",),
    Action.ROLE_ASSIGN: ("subject", "role"),
    Action.ROLE_REMOVE: ("subject", "role"),
    Action.CREDENTIAL_ISSUE: ("subject",),
    Action.CREDENTIAL_REVOKE: ("subject",),
    Action.PARTY_DISABLE: ("holder",),
    Action.POPULATION_READ: ("holder",),
    Action.BUDGET_CHANGE: ("holder",),
    Action.DATASET_REGISTER: ("holder",),
    Action.DATASET_UPLOAD: ("dataset",),
    Action.DATASET_READ: ("dataset",),
    Action.DATASET_INSPECT: ("dataset",),
    Action.DATASET_RETIRE: ("dataset",),
    Action.DATASET_ERASE: ("dataset",),
    Action.GRANT_CREATE: ("dataset", "purpose", "subject"),
    Action.GRANT_REVOKE: ("dataset",),
    Action.JOB_QUOTE: _JOB,
    Action.JOB_SUBMIT: (*_JOB, "epsilon", "request_digest"),
    Action.JOB_READ: _OBJECT,
    Action.JOB_CANCEL: _OBJECT,
    Action.JOB_APPROVE: (*_OBJECT, "request_digest"),
    Action.RELEASE_READ: _OBJECT,
    Action.RELEASE_CHECK: _OBJECT,
    Action.RELEASE_FETCH: _OBJECT,
    Action.RELEASE_RECALL: _OBJECT,
}
"""The facts that an action cannot do without, beside tenant, action and time."""

DATASET_ACTIONS = frozenset(action for action, facts in NEEDED.items() if "dataset" in facts)
"""Actions whose object is one dataset; the object of all others is the tenant."""

NEEDED_FOR_AUTOMATIC_RELEASE = ("dataset", "requester", "epsilon", "grant")


def complete(request: AccessRequest) -> bool:
    """Whether every fact that the action needs is there."""
    automatic = request.principal is None
    needed = NEEDED_FOR_AUTOMATIC_RELEASE if automatic else NEEDED.get(request.action, ())
    free = request.exact or request.job_kind in OWN_WORK
    return None not in [getattr(request, name) for name in needed if not (free and name == "epsilon")]
