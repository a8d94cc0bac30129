"""Use case: the release desk: check, publish, recall, fetch.

Rules
-----
1. A release is published by its door-keeper or by a policy below its ceilings; both are decisions in the log.
2. Fetching waits until `release:published` is integrated, because the receipt proves that entry.
3. Who may fetch is decided per fetch and logged, with the part that was handed out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_never

from audit.checkpoint import read_unverified
from audit.published import PublishedLog
from audit.receipt import LeafOpening, write_receipt
from gateway.records import ReleaseRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import concerned, datasets_of, of_sites
from gateway.services.deciding import Answer, Caller
from gateway.unit_of_work import Work
from kernel.amounts import Epsilon
from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, UnavailableError
from kernel.ids import EntryId, ReleaseId
from kernel.signing import Envelope
from policies.decisions import Allow, Deny
from policies.vocabulary import Action
from privacy.events.releases import (
    FetchedPart,
    ReleaseChecked,
    ReleaseFetched,
    ReleasePublished,
    ReleaseRecalled,
    ReleaseRefused,
)
from privacy.release.desk import AFTER_VERDICT, DeskVerdict, ReleaseState, move
from privacy.release.model_card import model_card
from privacy.sealing.chunked import BlobKind, blob_context, decrypt_bytes
from privacy.sealing.deks import Label, subkey
from privacy.sealing.lifecycle import DekRecord, open_dek
from privacy.sealing.stores import BlobPath


def check_release(on: Collaborators, caller: Caller, release: ReleaseId, verdict: DeskVerdict) -> ReleaseRecord | Deny:
    """A person lets a held release go, or refuses it."""
    with on.database.work(caller.tenant) as work:
        record = work.releases.get(lock=True, id=release, tenant=caller.tenant)
        answer = on.decider.decide_in(work, caller, Action.RELEASE_CHECK, **_asked(on, work, caller, record))
        if isinstance(answer.decision, Deny):
            work.commit("check-denied")
            return answer.decision
        after = _move(work, record, verdict, answer, automatic=False)
        work.commit("check")
    return after


def release_automatically(on: Collaborators, record: ReleaseRecord) -> ReleaseRecord:
    """Let a release go by policy, if the ceilings of tenant and grant allow; else it stays with its door-keeper."""
    with on.database.work(record.tenant) as work:
        grant = _grant_of(work, record)
        answer = on.decider.decide_in(
            work, None, Action.RELEASE_CHECK, **_facts(record), epsilon=Epsilon.parse(record.epsilon), grant=grant
        )
        if isinstance(answer.decision, Allow):
            record = _move(work, record, DeskVerdict.RELEASE, answer, automatic=True)
        work.commit("automatic-release")
    return record


def recall_release(on: Collaborators, caller: Caller, release: ReleaseId) -> ReleaseRecord | Deny:
    """Close a published release's download; what was disclosed stays disclosed, and the log says both."""
    with on.database.work(caller.tenant) as work:
        record = work.releases.get(lock=True, id=release, tenant=caller.tenant)
        answer = on.decider.decide_in(work, caller, Action.RELEASE_RECALL, **_asked(on, work, caller, record))
        if isinstance(answer.decision, Deny):
            work.commit("recall-denied")
            return answer.decision
        _change(work, record, move(ReleaseState(record.state), ReleaseState.RECALLED))
        work.record(ReleaseRecalled(release=release), actor=answer.actor, correlation=record.job)
        after = work.releases.get(id=release)
        work.commit("recall")
    return after


_CLOSED = {
    ReleaseState.HELD: "this release is held: its door-keeper, the data's owner or a checker, has not let it go yet",
    ReleaseState.REFUSED: "this release was refused by its door-keeper, and will not be handed out",
    ReleaseState.RECALLED: "this release was recalled, and is handed out no more",
}
"""Why a release is not handed out. There is no field to mend: somebody else has to act, or nobody can."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A part of a release, on its way out."""

    record: ReleaseRecord
    content: bytes


def fetch(on: Collaborators, caller: Caller, release: ReleaseId, part: FetchedPart) -> Fetched | Deny:
    """Hand out a part of a published release.

    Raises:
        ConflictError: It is held, refused or recalled.
        UnavailableError: Its entry is not integrated yet; try again in a moment.
    """
    with on.database.read() as reading:
        record = reading.releases.get(id=release, tenant=caller.tenant)
    receipt = None if record.published_entry is None else receipt_of(on, record.published_entry)
    with on.database.work(caller.tenant) as work:
        record = work.releases.get(lock=True, id=release)  # a recall that committed first wins
        answer = on.decider.decide_in(work, caller, Action.RELEASE_FETCH, **_asked(on, work, caller, record))
        ready = record.state == ReleaseState.RELEASED.value and receipt is not None
        if isinstance(answer.decision, Allow) and ready:
            fetched = ReleaseFetched(release=release, part=part, decision=answer.decision.decision)
            work.record(fetched, actor=answer.actor, correlation=record.job)
        wrapped = work.deks.get(record.artifact_dek)
        work.commit("fetch")
    if isinstance(answer.decision, Deny):
        return answer.decision
    if record.state != ReleaseState.RELEASED.value:
        raise ConflictError(_CLOSED[ReleaseState(record.state)])
    if receipt is None:
        raise UnavailableError("the log has not published this release's entry yet; try again in a moment")
    return Fetched(record, _content(on, record, part, receipt, wrapped))


def _content(on: Collaborators, record: ReleaseRecord, part: FetchedPart, receipt: bytes, wrapped: DekRecord) -> bytes:
    match part:
        case FetchedPart.RECEIPT:
            return receipt
        case FetchedPart.CERTIFICATE:
            return record.certificate
        case FetchedPart.MODEL_CARD:
            return model_card(Envelope.from_bytes(record.certificate)).encode("utf-8")
        case FetchedPart.ARTIFACT:
            return open_artifact(on, record, wrapped)
        case _:
            assert_never(part)


def open_artifact(on: Collaborators, record: ReleaseRecord, wrapped: DekRecord) -> bytes:
    """Decrypt a release's artefact and compare it with its digest; raise `CorruptError` if they differ."""
    place = blob_context(BlobKind.RELEASE, record.tenant, record.id)
    with open_dek(wrapped, on.keyring) as key, on.blobs.open(BlobPath(record.artifact_blob)) as blob:
        content = decrypt_bytes(blob.read(), subkey(key, Label.BLOB), place)
    if Digest.of(content) != record.artifact_digest:
        raise CorruptError("a stored artefact is not the one that was certified")
    return content


def receipt_of(on: Collaborators, entry: EntryId) -> bytes | None:
    """Build the offline proof that an entry is in the log; nothing while no checkpoint covers it."""
    opening, note = on.integration.opening_of(entry), on.integration.newest_checkpoint()
    if opening is None or note is None or opening.index >= read_unverified(note).size:
        return None
    tree = PublishedLog(on.integration, on.tiles).tree(read_unverified(note).size)
    return write_receipt(opening.index, LeafOpening(opening.payload, opening.salt), tree, note).to_bytes()


def _move(work: Work, record: ReleaseRecord, verdict: DeskVerdict, answer: Answer, *, automatic: bool) -> ReleaseRecord:
    after = move(ReleaseState(record.state), AFTER_VERDICT[verdict])
    checked = ReleaseChecked(release=record.id, decision=answer.decision.decision, verdict=verdict, automatic=automatic)
    work.record(checked, actor=answer.actor, correlation=record.job)
    if after is ReleaseState.REFUSED:
        work.record(ReleaseRefused(release=record.id), actor=answer.actor, correlation=record.job)
        _change(work, record, after)
    else:
        published = ReleasePublished(
            release=record.id, job=record.job, artifact=record.artifact_digest, certificate=record.certificate_digest
        )
        entry = work.record(published, actor=answer.actor, correlation=record.job)
        _change(work, record, after, published_entry=entry.id)
    return work.releases.get(id=record.id)


def _change(work: Work, record: ReleaseRecord, state: ReleaseState, **changes: object) -> None:
    work.releases.change({"id": record.id, "row_version": record.row_version}, state=state.value, **changes)


def _facts(record: ReleaseRecord) -> dict[str, Any]:
    return {"dataset": record.dataset, "requester": record.principal, "release": record.id, "job": record.job}


def _asked(on: Collaborators, work: Work, caller: Caller, record: ReleaseRecord) -> dict[str, Any]:
    """The facts of a question; about a result of several sites an owner asks as the owner of its own dataset."""
    if not of_sites(record.kind):
        return _facts(record)
    snapshot = on.decider.at_head(work, work.policy.hold(work.tenant))
    datasets = datasets_of(work, work.jobs.get(id=record.job))
    return _facts(record) | {"dataset": concerned(snapshot, datasets, caller.principal)}


def _grant_of(work: Work, record: ReleaseRecord) -> Any:
    inference = work.inferences.find(job=record.job)
    if inference is not None:
        return inference.under_grant
    job = work.jobs.get(id=record.job)
    reservation = work.ledger.read(job.population, job=job.id).reservation
    return None if reservation is None else reservation.grant
