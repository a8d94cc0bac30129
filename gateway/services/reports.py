"""Use case: issue a report, list reports, hand one out.

Rules
-----
1. Evidence is read from an archive that is exported at a checkpoint, online too. The one live fact, the table of data
   keys, is first written down as an `evidence:snapshot` entry, and counts from that entry.
2. Issuing is decided and logged with the digest of the signed envelope; the envelope is stored, so that every later
   read gives the same bytes.
3. Reading is decided and logged, with the form in which the report was handed out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from audit.archive import Archive
from audit.checkpoint import read_unverified
from audit.entry import Actor
from audit.events import EvidenceKind, EvidenceSnapshot
from compliance.controls import Framework
from compliance.events import ReportForm, ReportIssued, ReportRead
from compliance.framework_file import frameworks as frameworks_named
from compliance.render.html import render
from compliance.report import Period, Report, build_report, sign
from compliance.snapshots import KeyTable, LiveKey
from gateway.records import ReportRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.services.log_reading import archive_directory, evidence_path
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import ConflictError, UnavailableError
from kernel.ids import DecisionId, EntryId, ReportId, TenantId
from kernel.signing import Envelope
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.sealing.lifecycle import DekRecord

WAITS = 100
WAIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a report is to be about: a period in tree sizes, and what its evidence is mapped to."""

    period: Period
    frameworks: tuple[Framework, ...]

    @classmethod
    def of(cls, from_size: int, until_size: int | None, frameworks: list[str]) -> Wanted:
        """Read a request; raise `NotFoundError` for a framework that does not exist."""
        return cls(Period(from_size, until_size), frameworks_named(frameworks))


@dataclass(frozen=True, slots=True)
class Begun:
    """A report that may be issued once the log has its evidence."""

    wanted: Wanted
    decision: DecisionId
    actor: Actor
    evidence: EntryId


@dataclass(frozen=True, slots=True)
class Built:
    """A report that was derived and signed, and is not stored yet."""

    begun: Begun
    period: Period
    envelope: bytes


def begin_report(on: Collaborators, caller: Caller, wanted: Wanted) -> Begun | Deny:
    """Decide, and write down the table of keys as evidence."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.REPORT_ISSUE)
        if isinstance(answer.decision, Deny):
            work.commit("report-denied")
            return answer.decision
        document = _key_table(on, work)
        with contextlib.suppress(ConflictError):  # the same table was written down before
            on.blobs.put_new(evidence_path(work.tenant, document.digest), document.to_bytes())
        snapshot = EvidenceSnapshot(kind=EvidenceKind.KEYS, digest=document.digest, items=len(document.keys))
        entry = work.record(snapshot, actor=answer.actor)
        work.commit("evidence")
    return Begun(wanted, answer.decision.decision, answer.actor, entry.id)


def build_signed(
    on: Collaborators, tenant: TenantId, begun: Begun, wait: Callable[[float], object] = time.sleep
) -> Built:
    """Derive and sign the report from an export, once the log has the evidence.

    Args:
        on: Collaborators.
        tenant: Whose report it is.
        begun: What `begin_report` returned.
        wait: Lets the sequencer get on with it.

    Raises:
        UnavailableError: The log did not take the evidence in; try again.
    """
    _await_entry(on, begun.evidence, wait)
    with archive_directory(on, tenant) as (directory, _):
        report = build_report(Archive.open(directory), begun.wanted.period, begun.wanted.frameworks)
    return Built(begun, report.period, sign(report, on.report_signer).to_bytes())


def store_report(
    on: Collaborators, caller: Caller, built: Built, *, alongside: Alongside[ReportRecord] = nothing_else
) -> ReportRecord:
    """Store a signed report, and log that it was issued."""
    with on.database.work(caller.tenant) as work:
        record = ReportRecord(
            id=ReportId.new(on.entropy),
            tenant=caller.tenant,
            issued_by=caller.principal,
            envelope=built.envelope,
            digest=Digest.of(built.envelope),
            created_at=work.now,
        )
        work.reports.insert(record)
        issued = ReportIssued(
            report=record.id,
            decision=built.begun.decision,
            from_size=built.period.from_size,
            until_size=built.period.until_size or 0,
            digest=record.digest,
        )
        work.record(issued, actor=built.begun.actor)
        alongside(work, record)
        work.commit("report")
    return record


def issue_report(
    on: Collaborators, caller: Caller, wanted: Wanted, wait: Callable[[float], object] = time.sleep
) -> ReportRecord | Deny:
    """All three steps, one after the other."""
    begun = begin_report(on, caller, wanted)
    return begun if isinstance(begun, Deny) else store_report(on, caller, build_signed(on, caller.tenant, begun, wait))


def list_reports(on: Collaborators, tenant: TenantId, after: str | None, limit: int) -> list[ReportRecord]:
    """A page of the tenant's reports."""
    with on.database.read() as reading:
        return reading.reports.page(after=after, limit=limit, tenant=tenant)


def read_report(on: Collaborators, caller: Caller, report: ReportId, form: ReportForm) -> bytes | Deny:
    """Hand out a stored report; raise `NotFoundError` if the tenant has none of that id."""
    with on.database.work(caller.tenant) as work:
        record = work.reports.get(id=report, tenant=caller.tenant)
        answer = on.decider.decide_in(work, caller, Action.REPORT_READ)
        if answer.denial is None:
            read = ReportRead(report=report, decision=answer.decision.decision, form=form)
            work.record(read, actor=answer.actor)
        work.commit("report-read")
    if answer.denial is not None:
        return answer.denial
    if form is ReportForm.ENVELOPE:
        return record.envelope
    return render(Report.parse(Envelope.from_bytes(record.envelope).payload)).encode("utf-8")


def _key_table(on: Collaborators, work: Work) -> KeyTable:
    versions = on.keyring.describe(work.tenant)
    return KeyTable(
        tenant=work.tenant,
        current=versions.current,
        destroyed=tuple(version.number for version in versions.versions if version.destroyed_at is not None),
        keys=tuple(_live(record) for record in work.deks.of(work.tenant)),
    )


def _live(record: DekRecord) -> LiveKey:
    context, wrapped = record.context, record.wrapped
    return LiveKey(context.dek, context.purpose, 0 if wrapped is None else wrapped.kek_version)


def _await_entry(on: Collaborators, entry: EntryId, wait: Callable[[float], object]) -> None:
    for _ in range(WAITS):
        opening, note = on.integration.opening_of(entry), on.integration.newest_checkpoint()
        if opening is not None and note is not None and opening.index < read_unverified(note).size:
            return
        wait(WAIT_SECONDS)
    raise UnavailableError("the log has not taken in the evidence for this report; try again in a moment")
