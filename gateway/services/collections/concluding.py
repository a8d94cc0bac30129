"""The end of a job on data of sites: the result is certified, the release is held.

Rules
-----
1. One work: the last document, the certificate that cites the marks of every population, the held release, the job's
   end. The sealed artefact is stored before it, and the marks were made before anything could be decrypted.
2. A noised result charges every population in the same work. The second accountant was asked before it: that takes
   seconds, and locks wait for nobody (RULES 25).
3. An exact result is a disclosure (RULES 20); it leaves when a person lets it go, never by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.collection_records import JobSiteRecord
from gateway.records import JobState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.certifying import Mark, certify_disclosure, certify_noised
from gateway.services.collections.ending import end_collection
from gateway.services.collections.papers import Papers
from gateway.services.collections.paying import Question, charge_everywhere, is_noised
from gateway.services.holding import hold_release, seal_artifact
from gateway.services.opinions import SecondOpinion
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import ConflictError
from kernel.ids import PopulationId, ReleaseId, TenantId
from privacy.events.budget import PopulationUncovered
from privacy.events.jobs import JobEnd
from privacy.jobs.outcome import Outcome
from privacy.release.settlement import Charge, Disclosure
from privacy.sealing.lifecycle import DekRecord
from privacy.sealing.stores import BlobPath


@dataclass(frozen=True, slots=True)
class Concluded:
    """A result whose artefact is stored, sealed, and may be held.

    Attributes:
        opinions: Of each population's charge, if the result has noise.
    """

    release: ReleaseId
    artifact: Digest
    path: BlobPath
    dek: DekRecord
    opinions: Mapping[PopulationId, SecondOpinion]


def prepared(on: Collaborators, tenant: TenantId, artifact: bytes, questions: Sequence[Question] = ()) -> Concluded:
    """Ask for second opinions, then seal and store an artefact, before the work that holds its release."""
    opinions = {one.population: on.second_opinion((one.use,), one.order, one.delta) for one in questions}
    release = ReleaseId.new(on.entropy)
    path, dek = seal_artifact(on, tenant, release, artifact)
    return Concluded(release, Digest.of(artifact), path, dek, opinions)


def conclude(on: Collaborators, work: Work, papers: Papers, accepted: Accepted, ending: Concluded) -> None:
    """Certify, hold and end, in the work that stores the last document."""
    certify = _paid if is_noised(papers.job) else _disclosed
    signed = certify(on, work, papers, accepted, ending)
    hold_release(work, papers.job, ending.release, ending.path, ending.dek, ending.artifact, signed)
    end_collection(on, work, papers.job, JobState.FINISHED, JobEnd.FINISHED, ending.release)


def _paid(on: Collaborators, work: Work, papers: Papers, accepted: Accepted, ending: Concluded) -> bytes:
    """Charge every population for the rounds that were opened, and certify what that settles."""
    job, rounds = papers.job.id, papers.collection.round
    paid = charge_everywhere(work, papers.job, rounds)
    settlements = [
        Charge.of(
            Outcome(job=job, artifact=ending.artifact, started=tuple(part.times for part in one.reservation.charges)),
            one.reservation,
        )
        for one in paid
    ]
    said = [ending.opinions[site.population] for site in papers.sites]
    return certify_noised(on, work, settlements, papers, accepted.digest, ending.release, paid, said)


def _disclosed(on: Collaborators, work: Work, papers: Papers, accepted: Accepted, ending: Concluded) -> bytes:
    """Certify an exact result by the marks of its populations."""
    job, marks = papers.job, [_mark(work, site) for site in papers.sites]
    settlement = Disclosure.of(job.id, ending.artifact, [mark.event for mark in marks])
    return certify_disclosure(on, work, settlement, papers, accepted.digest, ending.release, marks)


def _mark(work: Work, site: JobSiteRecord) -> Mark:
    if site.uncovered_seq is None or site.uncovered_leaf is None:
        raise ConflictError("nothing of this job can have been decrypted yet", field="job")
    account = work.ledger.read(site.population).account
    return Mark(
        event=PopulationUncovered(population=site.population, ledger_seq=site.uncovered_seq, job=site.job),
        leaf=site.uncovered_leaf,
        since=account.uncovered_since or site.uncovered_seq,
        unit=account.population.unit_noun,
    )
