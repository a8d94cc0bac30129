"""The gateway's turn: a step of a job on data of sites that a worker makes, on ciphertexts, in a confined child.

Rules
-----
1. That a step is due follows from the documents that are there and the clock, and from nothing else. A task is only the
   bell: it is rung in the work that stores the document after which a step is due, and by a worker's upkeep; whoever
   hears it looks for himself.
2. One worker at a time, under the task's lease and fence. One that dies leaves nothing: the step is made again, whole.
   What was made is stored once, in one work with its entry and the end of the task.
3. A step that fails, or is begun in vain too often, fails the job by the ordinary ending: charged as every failure is.
4. A job that ended meanwhile, or whose deadline has passed, gets no document.

A step is added by a line in `DUE`, and one in `launchers.turns.STEPS` that says how it is made. This module is read by
the API process: nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from gateway.records import JobState, TaskKind, TaskRecord, TaskState
from gateway.services.blind.epochs import gradient_due, is_blind_job
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.concerning import of_sites
from gateway.services.collections.disclosing import is_settled
from gateway.services.collections.ending import end_collection
from gateway.services.collections.papers import Papers
from gateway.services.collections.paying import is_noised, lock_of_job
from gateway.services.collections.storing import keep_bytes, store_document
from gateway.unit_of_work import Reading, Work
from kernel.errors import ConflictError, PrivgateError, UnavailableError
from kernel.ids import JobId, TaskId
from privacy.events.jobs import JobEnd
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind


@dataclass(frozen=True, slots=True)
class Made:
    """What a step made: the document's bytes, and what is stored and logged with it."""

    data: bytes
    accepted: Accepted


def due(papers: Papers) -> Place | None:
    """Where the document lies that the gateway has to make now; nothing if it is not the gateway's turn."""
    deadline = papers.collection.deadline
    if papers.job.state is not JobState.COLLECTING or deadline is None or deadline < papers.on.clock.now():
        return None
    return next((place for asked in DUE.values() if (place := asked(papers)) is not None), None)


def ring_if_due(on: Collaborators, work: Work, papers: Papers) -> None:
    """Ring for a worker if it is the gateway's turn; the job's task, if it has one, and its row are held."""
    if due(papers) is None:
        return
    work.tasks.ring(
        TaskRecord(
            id=TaskId.new(on.entropy),
            tenant=papers.job.tenant,
            kind=TaskKind.TURN,
            subject=papers.job.id,
            state=TaskState.QUEUED,
            created_at=work.now,
        )
    )


def ring_all(on: Collaborators) -> int:
    """Ring for every job in which it is the gateway's turn: also where time alone has made it so.

    Jobs on a client's encrypted rows are collecting, too, and have no papers.

    Returns:
        For how many.
    """
    with on.database.read() as reading:
        found = [(job.tenant, job.id) for job in reading.jobs.all(state=JobState.COLLECTING) if of_sites(job.kind)]
        waiting = [one for one in found if _is_due(on, reading, one[1])]
    for tenant, job in waiting:
        with on.database.work(tenant) as work:
            work.tasks.hold(job)
            ring_if_due(on, work, Papers.of(on, work, job, lock=True))
            work.commit_upkeep("collection-ring")
    return len(waiting)


def _is_due(on: Collaborators, reading: Reading, job: JobId) -> bool:
    """Whether it is the gateway's turn; not where papers cannot be read: such a job keeps no other waiting."""
    try:
        return due(Papers.of(on, reading, job)) is not None
    except UnavailableError:
        raise
    except PrivgateError:
        return False


def store_made(on: Collaborators, task: TaskRecord, place: Place, made: Made) -> None:
    """Store what a step made and end the task, unless another step is due.

    Raises:
        StaleError: Another worker took the task over.
    """
    blob = keep_bytes(on, place, made.data)
    try:
        with on.database.work(task.tenant) as work:
            papers = _held(on, work, task)
            if due(papers) != place:
                raise ConflictError("this step is not due any more", field="job")
            store_document(work, papers, place, made.data, blob, made.accepted)
            deadline = work.now + timedelta(seconds=papers.round_seconds)
            work.collections.change({"job": place.job}, **made.accepted.changes, deadline=deadline)
            _end_task(on, work, task)
            work.commit(f"collection-{place.kind}")
    except PrivgateError:  # nothing was committed
        if blob is not None:
            on.blobs.delete(blob)
        raise


def end_turn(on: Collaborators, task: TaskRecord) -> None:
    """End a task for which nothing is due."""
    with on.database.work(task.tenant) as work:
        _held(on, work, task)
        _end_task(on, work, task)
        work.commit_upkeep("collection-turn")


def fail_turn(on: Collaborators, task: TaskRecord) -> None:
    """A step cannot be made: the job fails, unless it has ended."""
    job = JobId(task.subject)
    with on.database.work(task.tenant) as work:
        if is_noised(work.jobs.get(id=job)):
            lock_of_job(work, job)
        papers = _held(on, work, task)
        work.tasks.finish(task)
        if papers.job.state is not JobState.COLLECTING:
            work.commit_upkeep("collection-turn")
            return
        end_collection(on, work, papers.job, JobState.FAILED, JobEnd.FAILED)
        work.commit("collection-turn-failed")


def _held(on: Collaborators, work: Work, task: TaskRecord) -> Papers:
    work.tasks.require_fence(task)
    return Papers.of(on, work, JobId(task.subject), lock=True)


def _end_task(on: Collaborators, work: Work, task: TaskRecord) -> None:
    """Done; and rung for once more, if a document came after which another step is due while this one was made."""
    work.tasks.finish(task)
    ring_if_due(on, work, Papers.of(on, work, JobId(task.subject)))


def _sum(papers: Papers) -> Place | None:
    """Where the gateway adds: the round that is open has all its uploads, and a sum may be decrypted."""
    if is_blind_job(papers.job.kind):
        return None
    number = papers.collection.round
    if not number or papers.order.aggregation is not Aggregation.GATEWAY or not is_settled(papers):
        return None
    missing = len(papers.order.sites) - len(papers.uploads(number))
    if papers.find(DocumentKind.SUM, number) is not None or missing > papers.order.dropouts:
        return None
    # Whoever may be missing has the round's time; from then on the sum is of those that are here.
    return None if missing and not papers.is_over(number) else Place(papers.job.id, DocumentKind.SUM, number)


DUE: Final[Mapping[DocumentKind, Callable[[Papers], Place | None]]] = {
    DocumentKind.SUM: _sum,
    DocumentKind.GRADIENT: gradient_due,
}
"""For each kind of document that the gateway makes: where the next one lies, once it is due."""
