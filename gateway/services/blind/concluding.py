"""The end of a blind training: the owner has the model, and a certificate says so.

Rules
-----
1. One work: the site's last word, its certificate, the held release, the job's end. No ledger is touched.
2. The job is decided once more: what was taken back meanwhile, a grant, a dataset, somebody's access, ends it without a
   certificate. So does a site that attested other rows since.
3. The certificate is made of what is stored; nothing in it is typed by hand.
"""

from __future__ import annotations

from typing import Any

from gateway.records import JobState
from gateway.services.blind.epochs import Epochs
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.concluding import Concluded
from gateway.services.collections.ending import end_collection
from gateway.services.collections.papers import Papers
from gateway.services.deciding import Caller
from gateway.services.holding import hold_release
from gateway.unit_of_work import Work
from kernel.errors import ConflictError
from kernel.events import Parameter
from kernel.ids import DecisionId, Slug
from policies.vocabulary import Action, JobKind
from privacy.events.blind import BlindConcluded
from privacy.events.jobs import JobEnd
from privacy.homomorphic.blind.documents import AGREES_WITHIN
from privacy.homomorphic.blind.spec import ARTIFACT
from privacy.homomorphic.documents.signed import DocumentKind
from privacy.release import blind as b
from privacy.release.disclosure import EncryptionFacts, PartyFacts
from privacy.release.settlement import OwnerOnly


def may_conclude(on: Collaborators, work: Work, papers: Papers) -> bool:
    """Whether the dataset still allows the job; what is decided here is logged in the work, which commits it."""
    job, (site,) = papers.job, papers.sites
    if work.datasets.get(id=site.dataset).current_version != site.version:
        return False
    owner = Caller(job.tenant, job.principal)
    facts: dict[str, Any] = {
        "dataset": job.dataset,
        "purpose": job.purpose,
        "job_kind": JobKind(job.kind),
        "job": job.id,
    }
    return on.decider.decide_in(work, owner, Action.JOB_QUOTE, **facts).denial is None


def conclude_blind(on: Collaborators, work: Work, papers: Papers, accepted: Accepted, ending: Concluded) -> None:
    """Certify, hold and end, in the work that stores the last document."""
    concluded = accepted.event
    if not isinstance(concluded, BlindConcluded):
        raise ConflictError("a blind training ends with its site's last word", field="content")
    settlement = OwnerOnly.of(ending.artifact, concluded)
    signed = certify_blind(on, work, settlement, papers, concluded, ending)
    hold_release(work, papers.job, ending.release, ending.path, ending.dek, ending.artifact, signed)
    end_collection(on, work, papers.job, JobState.FINISHED, JobEnd.FINISHED, ending.release)


def certify_blind(
    on: Collaborators,
    work: Work,
    settlement: OwnerOnly,
    papers: Papers,
    concluded: BlindConcluded,
    ending: Concluded,
) -> bytes:
    """Return the certificate's signed envelope."""
    job, (site,), epochs = papers.job, papers.sites, Epochs(papers)
    if site.version is None or site.manifest is None or site.decision_leaf is None:
        raise ConflictError("this job was not admitted", field="job")
    party, order, shape = papers.key_holder, epochs.order, epochs.plan.shape
    predicate = b.BlindPredicate(
        tenant=job.tenant,
        release=ending.release,
        job=job.id,
        kind=Slug(job.kind),
        request=job.request_digest,
        differentially_private=False,
        site=PartyFacts(party=party.id, name=party.name, fingerprint=party.fingerprint),
        dataset=site.dataset,
        version=site.version,
        manifest=site.manifest,
        population=site.population,
        unit=work.ledger.read(site.population).account.population.unit_noun,
        decision=DecisionId(site.decision or ""),
        decision_leaf=site.decision_leaf,
        encryption=EncryptionFacts(profile=order.profile, digest=order.profile_digest),
        course=b.BlindCourse(
            order=order.digest,
            data=epochs.required(DocumentKind.DATA).digest,
            final=concluded.final,
            model=concluded.model,
            rows=shape.rows,
            terms=shape.features,
            epochs=concluded.epochs,
            agrees_within=Parameter(AGREES_WITHIN),
        ),
        observers=b.OBSERVERS,
        approvals=(),
        policy_epoch=job.policy_epoch,
        origin=Slug(on.origin),
        software=on.software,
        not_covered=tuple(b.NotCovered),
        issued_at=work.now,
    )
    return b.BlindCertificate.of(settlement, ARTIFACT, predicate).sign(on.certificate_signer).to_bytes()
