"""Use case: take a party's document and hand it on.

Rules
-----
1. A place is written once. The same bytes again change nothing; other bytes are refused.
2. Who has no part in a job learns nothing of it. An upload is its site's and the key holder's to read; where the
   gateway adds, the key holder reads the uploads' signed documents without their bytes, and the sum (`turns`).
3. Bytes first, then one work: the document, what it changes, its entry, and, with the last document, the job's end.
4. Before a first exact sum can be decrypted its populations are marked: until then the key holder is given no upload.
   Each further round is decided anew (`disclosing`).
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from gateway.collection_records import DocumentRecord, PartyRecord
from gateway.records import JobState
from gateway.services.blind.accepting import OF_BLIND, OF_SITE, accept_blind
from gateway.services.blind.concluding import conclude_blind, may_conclude
from gateway.services.blind.epochs import go_on_blindly, is_blind_job
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted, accept
from gateway.services.collections.concluding import Concluded, conclude, prepared
from gateway.services.collections.disclosing import is_settled, lock_populations, mark_populations, may_go_on
from gateway.services.collections.ending import end_collection, fail_overdue
from gateway.services.collections.papers import Papers, signed_part
from gateway.services.collections.paying import is_noised, questions_of
from gateway.services.collections.reading import judged
from gateway.services.collections.storing import keep_bytes, store_document
from gateway.services.collections.turns import ring_if_due
from gateway.storage.collection_tables import collection, job_site
from gateway.storage.tables import job as job_table
from gateway.unit_of_work import Reading, Work
from kernel.canonical import Digest
from kernel.errors import ConflictError, NotFoundError, PrivgateError
from kernel.ids import JobId, PartyId
from privacy.events.jobs import JobEnd
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DOCUMENT_LIMIT, PARCEL_LIMIT, PARCELS, DocumentKind
from privacy.sealing.stores import BlobPath

_DECIDED_ANEW = frozenset({DocumentKind.ROUND, DocumentKind.FINAL})
_DECRYPTED = frozenset({DocumentKind.UPLOAD, DocumentKind.HEADER, DocumentKind.SUM})
_OF_KEY_HOLDER = frozenset({DocumentKind.KEY, DocumentKind.ROUND, DocumentKind.RESULT, DocumentKind.FINAL})


def limit_of(kind: DocumentKind) -> int:
    """The most bytes of a document."""
    return PARCEL_LIMIT if kind in PARCELS else 2 * DOCUMENT_LIMIT


def work_of(on: Collaborators, party: PartyRecord) -> list[JobId]:
    """The jobs of a party that are being collected; those whose deadline has passed end first."""
    fail_overdue(on)
    with on.database.read() as reading:
        as_site = select(job_site.c.job).where(job_site.c.party == party.id)
        as_holder = select(collection.c.job).where(collection.c.key_holder == party.id)
        mine = job_table.c.id.in_(as_site) | job_table.c.id.in_(as_holder)
        return sorted(job.id for job in reading.jobs.all(mine, state=JobState.COLLECTING))


def fetch_document(on: Collaborators, party: PartyRecord, place: Place) -> bytes:
    """The document at a place; raise `NotFoundError` if there is none yet, or none for this party."""
    with on.database.read() as reading:
        papers = _papers(on, reading, party, place)
        if party.id not in _readers(papers, place):
            raise NotFoundError("no such document")
        if place.kind in _DECRYPTED and party.id != place.party and not is_settled(papers):
            raise NotFoundError("no such document yet")
        lies = DocumentKind.UPLOAD if place.kind is DocumentKind.HEADER else place.kind
        found = papers.find(lies, place.number, place.party)
    if found is None:
        raise NotFoundError("no such document yet")
    return signed_part(on, found) if place.kind is DocumentKind.HEADER else papers.content(found)


def put_document(on: Collaborators, party: PartyRecord, place: Place, data: bytes) -> DocumentRecord:
    """Store a document in its place.

    Raises:
        NotFoundError: The party has no part in such a job, or may not write there.
        ConflictError: Another document is there, it is not its turn, or the job has ended.
        InvalidError: It is no document of this place.
    """
    with on.database.read() as reading:
        papers = _papers(on, reading, party, place)
        if party.id not in _writers(papers, place):
            raise NotFoundError("no such place for this party")
        if (found := _same(papers, place, data)) is not None:
            return found
        with judged():
            accepted = _accepted(papers, place, data)
        questions = () if accepted.attachment is None else questions_of(papers)
    ending = None if accepted.attachment is None else prepared(on, party.tenant, accepted.attachment, questions)
    blob = keep_bytes(on, place, data)
    try:
        return _stored(on, party, place, data, blob, ending)
    except PrivgateError:  # nothing was committed
        for path in (blob, None if ending is None else ending.path):
            if path is not None:
                on.blobs.delete(path)
        if (found := _meanwhile(on, place, data)) is not None:
            return found
        raise


def _meanwhile(on: Collaborators, place: Place, data: bytes) -> DocumentRecord | None:
    """This very document, if it came twice at once: who lost an answer sends it again while the first is stored."""
    with on.database.read() as reading:
        found = Papers.of(on, reading, place.job).find(place.kind, place.number, place.party)
    return found if found is not None and found.received == Digest.of(data) else None


def _stored(
    on: Collaborators, party: PartyRecord, place: Place, data: bytes, blob: BlobPath | None, ending: Concluded | None
) -> DocumentRecord:
    with on.database.work(party.tenant) as work:
        before = Papers.of(on, work, place.job)
        if is_noised(before.job) or (place.kind is DocumentKind.UPLOAD and place.number == 1):
            lock_populations(work, before)
        work.tasks.hold(place.job)
        papers = Papers.of(on, work, place.job, lock=True)
        if _same(papers, place, data) is not None:
            raise ConflictError("this document came twice at once; it is here", field="content")
        with judged():
            accepted = _accepted(papers, place, data)  # anew, on what this work holds
        if place.kind in _DECIDED_ANEW and not _still_may(on, work, papers):
            end_collection(on, work, papers.job, JobState.FAILED, JobEnd.FAILED)
            work.commit("collection-withdrawn")
            raise ConflictError("what this job rests on was taken back: it has ended", field="job")
        record = store_document(work, papers, place, data, blob, accepted)
        _go_on(work, papers, place, accepted)
        if ending is not None:
            (conclude_blind if is_blind_job(papers.job.kind) else conclude)(on, work, papers, accepted, ending)
        elif place.kind is DocumentKind.REFUSAL:
            end_collection(on, work, papers.job, JobState.FAILED, JobEnd.FAILED)
        else:
            ring_if_due(on, work, Papers.of(on, work, place.job))
        work.commit(f"collection-{place.kind}")
    return record


def _go_on(work: Work, papers: Papers, place: Place, accepted: Accepted) -> None:
    """Give whoever is next as long as the order says, and show how far the job is."""
    if is_blind_job(papers.job.kind):
        go_on_blindly(work, papers, place, accepted)
        return
    order, seconds = papers.order, papers.order.round_seconds
    if place.kind is DocumentKind.UPLOAD:
        come = len(papers.uploads(place.number))
        if come < len(order.sites) - order.dropouts:
            return  # the others have until the round's deadline
        if come < len(order.sites):
            seconds *= 2  # the key holder waits for the others as long as the round lasts, and then has its own time
        if place.number == 1 and not is_noised(papers.job):
            mark_populations(work, papers)
    deadline = work.now + timedelta(seconds=seconds)
    work.collections.change({"job": place.job}, **accepted.changes, deadline=deadline)
    if place.kind is DocumentKind.RESULT:
        percent = 10 * (10 * place.number // (order.rounds_at_most + 1))  # in tenths, as of every job
        work.progress.add(place.job, JobState.COLLECTING, percent, work.now)


def _accepted(papers: Papers, place: Place, data: bytes) -> Accepted:
    return (accept_blind if is_blind_job(papers.job.kind) else accept)(papers, place, data)


def _still_may(on: Collaborators, work: Work, papers: Papers) -> bool:
    return (may_conclude if is_blind_job(papers.job.kind) else may_go_on)(on, work, papers)


def _papers(on: Collaborators, reading: Reading, party: PartyRecord, place: Place) -> Papers:
    papers = Papers.of(on, reading, place.job)
    if papers.job.tenant != party.tenant or not papers.has_part(party.id):
        raise NotFoundError("no such job")
    return papers


def _readers(papers: Papers, place: Place) -> frozenset[PartyId | None]:
    """Who may read what lies in a place: of uploads, headers and sums who decrypts those that the order gives him."""
    if is_blind_job(papers.job.kind):
        return frozenset({papers.collection.key_holder}) if place.kind in OF_BLIND else frozenset()
    adds = papers.order.aggregation if place.kind in _DECRYPTED else Aggregation.KEY_HOLDER
    holder: frozenset[PartyId | None] = frozenset({papers.collection.key_holder})
    match place.kind:
        case DocumentKind.UPLOAD:
            return frozenset({place.party}) | (holder if adds is Aggregation.KEY_HOLDER else frozenset())
        case DocumentKind.HEADER | DocumentKind.SUM:
            return holder if adds is Aggregation.GATEWAY else frozenset()
        case _:
            return holder | {site.party for site in papers.sites}


def _writers(papers: Papers, place: Place) -> frozenset[PartyId | None]:
    """Whose place it is."""
    if is_blind_job(papers.job.kind):
        return frozenset({papers.collection.key_holder}) if place.kind in OF_SITE else frozenset()
    if place.kind in _OF_KEY_HOLDER:
        return frozenset({papers.collection.key_holder})
    sites = frozenset(site.party for site in papers.sites)
    if place.kind is DocumentKind.UPLOAD:
        return sites & {place.party}
    return frozenset({place.party}) & (sites | {papers.collection.key_holder}) if place.party else frozenset()


def _same(papers: Papers, place: Place, data: bytes) -> DocumentRecord | None:
    """The document that is there, if it is this one; nothing if this one may come now."""
    found = papers.find(place.kind, place.number, place.party)
    if found is not None and found.received == Digest.of(data):
        return found
    if found is not None:
        raise ConflictError("another document is there already", field="content")
    deadline = papers.collection.deadline
    if papers.job.state is not JobState.COLLECTING or deadline is None or deadline < papers.on.clock.now():
        raise ConflictError("this job has ended", field="job")
    return None
