"""Whether a job may use what it names: asked when it is requested, and once more before its rows are read.

Rules
-----
1. Permission is asked for where use begins. Between the request and the first row may lie days, in which a grant is
   revoked or lapses, a basis or a retention period ends, a dataset is retired, a person is shut out.
2. It is asked as `job:quote` under the grant that the reservation cites, in the transaction that would hand out the
   key: all that `job:submit` asks but the approval, which was used up by the reservation; a re-upload does not matter.
3. A model may be evaluated by whoever may fetch it, as long as it may be fetched: held, refused and recalled models
   leave nothing, a priced figure included.
4. A trainer who was halted gets nothing more from what he had queued before, and nobody anything from a hold that
   lapsed: such jobs end as cancelled, which is nobody's fault and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.records import JobRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.unit_of_work import Reading, Work
from kernel.amounts import Epsilon, Share
from kernel.errors import ConflictError, PrivgateError
from kernel.ids import ReleaseId, TenantId
from policies.decisions import Deny
from policies.vocabulary import Action, JobKind
from privacy.budget.balances import Standing
from privacy.budget.reservations import ReservationState
from privacy.jobs.kinds import kind_named
from privacy.jobs.spec import JobSpec, read_spec
from privacy.release.desk import ReleaseState


def fetch_facts(reading: Reading, tenant: TenantId, release: ReleaseId) -> Mapping[str, Any]:
    """What `release:fetch` is decided on; raise `NotFoundError` if the tenant has no such release."""
    record = reading.releases.get(id=release, tenant=tenant)
    return {"dataset": record.dataset, "requester": record.principal, "release": record.id, "job": record.job}


def refused_model(on: Collaborators, work: Work, caller: Caller, spec: JobSpec) -> Deny | None:
    """Decide whether the caller may use the model that the request names, if it names one.

    Raises:
        ConflictError: It is held, refused or recalled.
    """
    release = spec.used_release
    if release is None:
        return None
    facts = fetch_facts(work, caller.tenant, release)
    denial = on.decider.decide_in(work, caller, Action.RELEASE_FETCH, **facts).denial
    if denial is None and work.releases.get(id=release).state != ReleaseState.RELEASED.value:
        raise ConflictError("only a model that was released and not recalled can be evaluated", field="release")
    return denial


def may_still_run(on: Collaborators, work: Work, job: JobRecord, standing: Standing) -> bool:
    """Whether the job may read rows now; what is decided here is logged in `work`, which the caller commits."""
    reservation, trainer = standing.reservation, standing.trainer
    if reservation is None:
        return False
    halted = trainer is not None and trainer.cap == Share.zero()
    if reservation.state is ReservationState.HELD and (halted or work.now >= reservation.expires_at):
        return False
    caller = Caller(job.tenant, job.principal)
    answer = on.decider.decide_in(
        work, caller, Action.JOB_QUOTE, dataset=job.dataset, purpose=job.purpose, job_kind=JobKind(job.kind),
        epsilon=Epsilon.parse(job.epsilon), grant=reservation.grant, job=job.id,
    )  # fmt: skip
    if answer.denial is not None:
        return False
    if not kind_named(job.kind).uses_release:
        return True
    try:
        return refused_model(on, work, caller, read_spec(job.spec)) is None
    except PrivgateError:
        return False
