"""Ending a job on encrypted rows: refused, cancelled, failed for want of a question, or answered.

Rules
-----
1. A job whose question did not come in time fails; so does one whose evaluation fails, whatever the reason: what is
   wrong with a question is told when it is sent, or to nobody.
2. The question's ciphertexts are of no use once it has ended, and are deleted (`sweep_blobs` finds what a crash left).
"""

from __future__ import annotations

import contextlib

from gateway.records import JobRecord, JobState
from gateway.services.collaborators import Collaborators
from gateway.storage.inference_tables import inference as inference_table
from gateway.unit_of_work import Work
from kernel.clock import format_time
from kernel.errors import PrivgateError
from kernel.ids import JobId, ReleaseId, TenantId
from privacy.events.jobs import JobEnd, JobEnded
from privacy.sealing.stores import BlobPath

MOST_AT_ONCE = 100


def end_inference(
    work: Work, job: JobRecord, state: JobState, end: JobEnd, release: ReleaseId | None = None
) -> BlobPath | None:
    """End a job in the work that is open; the caller has locked its row.

    Returns:
        The question's blob, which the caller deletes once this is committed.
    """
    found = work.inferences.get(job=job.id)
    work.jobs.change({"id": job.id}, state=state, ended_at=work.now, release=release)
    work.inferences.change({"job": job.id}, deadline=None)
    work.progress.add(job.id, state, 100 if end is JobEnd.FINISHED else 0, work.now)
    work.record(JobEnded(job=job.id, end=end, attempts=0, steps_started=0), correlation=job.id)
    return None if found.blob is None else BlobPath(found.blob)


def forget_question(on: Collaborators, blob: BlobPath | None) -> None:
    """Delete ciphertexts that nobody needs any more; what a store that does not answer keeps is swept."""
    with contextlib.suppress(PrivgateError):
        if blob is not None:
            on.blobs.delete(blob)


def fail_unasked(on: Collaborators) -> int:
    """Fail the jobs whose question did not come in time.

    Returns:
        How many.
    """
    now = format_time(on.clock.now())
    with on.database.read() as reading:
        found = reading.inferences.all(inference_table.c.deadline < now)[:MOST_AT_ONCE]
    return sum(_fail(on, one.tenant, one.job) for one in found)


def _fail(on: Collaborators, tenant: TenantId, job: JobId) -> bool:
    with on.database.work(tenant) as work:
        record = work.jobs.get(lock=True, id=job)
        deadline = work.inferences.get(job=job).deadline
        if record.state is not JobState.COLLECTING or deadline is None or deadline >= work.now:
            return False
        end_inference(work, record, JobState.FAILED, JobEnd.FAILED)
        work.commit("inference-unasked")
    return True
