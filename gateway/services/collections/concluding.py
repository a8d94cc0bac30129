"""The end of a job on data of sites: each population is marked, the result is certified, the release is held.

Rules
-----
1. One work: the marks in every population's ledger, the certificate that cites them, the held release, the job's end.
   The sealed artefact is stored before it.
2. An exact result is a disclosure (RULES 20); it leaves when a person lets it go, never by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.records import JobState
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.certifying import Mark, certify_disclosure
from gateway.services.collections.ending import end_collection
from gateway.services.collections.papers import Papers
from gateway.services.holding import hold_release, seal_artifact
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.ids import ReleaseId, TenantId
from privacy.budget import ledger
from privacy.events.budget import PopulationUncovered
from privacy.events.jobs import JobEnd
from privacy.release.settlement import Disclosure
from privacy.sealing.lifecycle import DekRecord
from privacy.sealing.stores import BlobPath


@dataclass(frozen=True, slots=True)
class Concluded:
    """A result whose artefact is stored, sealed, and may be held."""

    release: ReleaseId
    artifact: Digest
    path: BlobPath
    dek: DekRecord


def prepared(on: Collaborators, tenant: TenantId, artifact: bytes) -> Concluded:
    """Seal and store an artefact, before the work that holds its release."""
    release = ReleaseId.new(on.entropy)
    path, dek = seal_artifact(on, tenant, release, artifact)
    return Concluded(release, Digest.of(artifact), path, dek)


def conclude(on: Collaborators, work: Work, papers: Papers, accepted: Accepted, ending: Concluded) -> None:
    """Mark, certify, hold and end, in the work that stores the last document. The populations are locked."""
    job, marks = papers.job, [_mark(work, papers, number) for number in range(len(papers.sites))]
    settlement = Disclosure.of(job.id, ending.artifact, [mark.event for mark in marks])
    signed = certify_disclosure(on, work, settlement, papers, accepted.digest, ending.release, marks)
    hold_release(work, job, ending.release, ending.path, ending.dek, ending.artifact, signed)
    end_collection(work, job, JobState.FINISHED, JobEnd.FINISHED, ending.release)


def _mark(work: Work, papers: Papers, number: int) -> Mark:
    site = papers.sites[number]
    change = ledger.mark_uncovered(work.ledger.read(site.population, job=papers.job.id), papers.job.id)
    assert isinstance(change.event, PopulationUncovered)
    work.ledger.append(change)
    leaf = work.record(change.event, correlation=papers.job.id).leaf_hash
    since = change.after.account.uncovered_since or change.event.ledger_seq
    return Mark(event=change.event, leaf=leaf, since=since, unit=change.after.account.population.unit_noun)
