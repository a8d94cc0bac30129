"""Use case: quote a blind training, request it; the site gets its order at once.

Rules
-----
1. The owner's request is his yes: nobody else has to give one, because nothing leaves him.
2. Request, decision, order and the job's row are one work.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from gateway.collection_records import CollectionRecord, DocumentRecord, JobSiteRecord
from gateway.records import JobRecord, JobState
from gateway.services.blind.planning import PlannedBlind, plan_blind
from gateway.services.blind.quoting import BlindQuote, quoted_blind
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import KEPT
from gateway.services.collections.planning import attested_version
from gateway.services.deciding import Answer, Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.ids import JobId
from policies.decisions import Deny
from policies.vocabulary import Action, JobKind
from privacy.events.blind import BlindOrdered, BlindRequested
from privacy.homomorphic.blind.documents import BlindOrder
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.blind.spec import KIND, BlindOpening, BlindSpec
from privacy.homomorphic.documents.signed import DocumentKind


def quote_blind(on: Collaborators, caller: Caller, body: Mapping[str, Any]) -> BlindQuote | Deny:
    """Say what a training would take and who would learn what; nothing is held, nobody is asked."""
    with on.database.work(caller.tenant) as work:
        opening = BlindOpening.of(body)
        answer = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **_facts(opening))
        if (denial := answer.denial) is not None:
            work.commit("blind-quote-denied")
            return denial
        work.commit("blind-quote")
    with on.database.read() as reading:
        return quoted_blind(plan_blind(on, reading, caller.tenant, body))


def request_blind(
    on: Collaborators, caller: Caller, body: Mapping[str, Any], *, alongside: Alongside[JobRecord] = nothing_else
) -> JobRecord | Deny:
    """Request a training: it is admitted, or refused."""
    opening = BlindOpening.of(body)
    if isinstance(on.decider.ask(caller, Action.JOB_QUOTE, **_facts(opening)), Deny):
        # Whoever may not ask learns no more than that, whatever his request looks like.
        with on.database.work(caller.tenant) as work:
            denial = on.decider.decide_in(work, caller, Action.JOB_QUOTE, **_facts(opening)).denial
            work.commit("blind-denied-early")
        if denial is not None:
            return denial
    with on.database.read() as reading:
        planned = plan_blind(on, reading, caller.tenant, body)
    job = JobId.new(on.entropy)
    with on.database.work(caller.tenant) as work:
        facts = _facts(planned.spec) | {"request_digest": planned.spec.digest, "job": job}
        answer = on.decider.decide_in(work, caller, Action.JOB_SUBMIT, **facts)
        if (denial := answer.denial) is not None:
            work.commit("blind-denied")
            return denial
        record = _record(work, caller, job, planned)
        work.record(_requested(record, planned, answer), actor=answer.actor, correlation=job)
        _admit(on, work, record, planned, answer)
        after = work.jobs.get(id=job)
        alongside(work, after)
        work.commit("blind")
    return after


def _facts(asked: BlindOpening | BlindSpec) -> dict[str, Any]:
    return {"dataset": asked.dataset, "purpose": asked.purpose, "job_kind": JobKind(KIND)}


def _record(work: Work, caller: Caller, job: JobId, planned: PlannedBlind) -> JobRecord:
    return JobRecord(
        id=job,
        tenant=caller.tenant,
        principal=caller.principal,
        dataset=planned.dataset.id,
        population=planned.dataset.population,
        kind=str(KIND),
        state=JobState.COLLECTING,
        purpose=planned.spec.purpose,
        spec=planned.spec.to_json(),
        plan=planned.plan.to_json(),
        request_digest=planned.spec.digest,
        epsilon=KEPT,
        created_at=work.now,
    )


def _requested(record: JobRecord, planned: PlannedBlind, answer: Answer) -> BlindRequested:
    return BlindRequested(
        job=record.id,
        kind=KIND,
        dataset=record.dataset,
        population=record.population,
        party=planned.party.id,
        purpose=record.purpose,
        request=record.request_digest,
        decision=answer.permission.decision,
    )


def _admit(on: Collaborators, work: Work, record: JobRecord, planned: PlannedBlind, answer: Answer) -> None:
    """Store the job, issue its order."""
    job, (version, manifest) = record.id, attested_version(work, planned.dataset)
    order = _order(on, record, planned, answer)
    signed = order.signed(on.certificate_signer)
    work.jobs.insert(record)
    work.jobs.change({"id": job}, started_at=work.now, policy_epoch=answer.decision.epoch)
    deadline = work.now + timedelta(seconds=order.round_seconds)
    work.collections.insert(
        CollectionRecord(job=job, tenant=record.tenant, key_holder=planned.party.id, deadline=deadline)
    )
    work.job_sites.insert(
        JobSiteRecord(
            job=job,
            number=0,
            party=planned.party.id,
            dataset=record.dataset,
            population=record.population,
            version=version.id,
            manifest=manifest,
            decision=answer.decision.decision,
            decision_leaf=answer.entry.leaf_hash,
        )
    )
    work.documents.insert(
        DocumentRecord(
            job=job,
            kind=DocumentKind.ORDER.value,
            number=0,
            party="",
            tenant=record.tenant,
            digest=order.digest,
            received=Digest.of(signed),
            content=signed,
            created_at=work.now,
        )
    )
    work.progress.add(job, JobState.COLLECTING, 0, work.now)
    ordered = BlindOrdered(job=job, order=order.digest, party=planned.party.id, profile=PROFILE.name)
    work.record(ordered, correlation=job)


def _order(on: Collaborators, record: JobRecord, planned: PlannedBlind, answer: Answer) -> BlindOrder:
    return BlindOrder(
        job=record.id,
        gateway=on.origin,
        spec=planned.spec.to_json(),
        spec_digest=planned.spec.digest,
        plan=planned.plan.to_json(),
        profile=PROFILE.name,
        profile_digest=PROFILE.digest,
        site=planned.party.member,
        dataset=record.dataset,
        population=record.population,
        decision=answer.entry.leaf_hash,
        approvals=(),
        round_seconds=planned.spec.round_seconds,
    )
