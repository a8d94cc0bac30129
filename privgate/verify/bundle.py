"""Verifying a bundle: the steps in order, each on what the ones before it have read.

Steps
-----
Nine of the log verifier (`audit.verify`), then: events, prices, budgets, decisions, permissions, signatures, certified
figures, certificates and log, jobs, releases; parties, orders and rounds where there are jobs on data of sites; the
files of each release that is here, report, files beside the evidence.

It raises nothing that the evidence could cause: whatever lies there, the answer is a list of steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from audit.archive import Archive
from audit.findings import Findings, StepResult, Verdict
from audit.trust import TrustFile
from audit.verify import LogVerification, verify_log
from kernel.errors import PrivgateError
from kernel.ids import ReleaseId
from privacy.events.collections import PartyEnrolled
from privacy.homomorphic.documents.parties import Identity
from privgate.verify import certificates, jobs, records, releases
from privgate.verify.anchor import Anchor
from privgate.verify.beside import check_beside
from privgate.verify.certificates import Document
from privgate.verify.evidence import Evidence
from privgate.verify.history import History
from privgate.verify.parties.files import files_in
from privgate.verify.parties.steps import check_documents
from privgate.verify.releases import LogAtHand, ReleaseFolder
from privgate.verify.reports import check_report
from privgate.verify.trusted import trusted_sentences
from privgate.verify.verdict import BundleVerdict

_MUST_OPEN = frozenset({"Files", "Tree", "Leaves", "Counter", "Payloads"})
_LOG_STEPS = ("Files", "Checkpoint", "Growth", "Tree", "Leaves", "Counter", "Payloads", "Times")
_HISTORY_STEPS = (
    "Events",
    "Prices",
    "Budgets",
    "Decisions",
    "Permissions",
    "Signatures",
    "Certified figures",
    "Certificates and log",
    "Jobs",
    "Releases",
)


def verify_bundle(
    path: Path, trust: TrustFile | None, *, inside: bool = False, pins: tuple[Identity, ...] = ()
) -> BundleVerdict:
    """Go through all steps.

    Args:
        path: A bundle, an archive alone, or the files of one release alone.
        trust: What the reader pinned; without it the outcome is UNANCHORED at best.
        inside: Whether the trust file lies inside the evidence; it then counts for the demo's own log only.
        pins: Identities of parties that the reader pinned.
    """
    return verify_anchored(path, Anchor.of(trust, inside=inside, pins=pins))


def verify_anchored(path: Path, anchor: Anchor) -> BundleVerdict:
    """Go through all steps, with an anchor that was read before."""
    evidence = Evidence.at(path)
    log = _Log.read(evidence, anchor)
    steps = [_anchor_step(anchor, log), *log.steps]
    found = _documents(evidence)
    steps += _history_steps(log, found, anchor.trust) if log.whole is not None else _missing(_HISTORY_STEPS)
    steps += check_documents(evidence, log.whole, anchor)
    steps += _folders(evidence, anchor.trust, log.whole)
    steps.append(check_report(evidence, log.whole, anchor.trust))
    steps.append(check_beside(evidence, anchor.trust, log.whole, _judged(evidence)))
    return BundleVerdict(
        steps=tuple(replace(step, number=number) for number, step in enumerate(steps, 1)),
        anchored=anchor.trust is not None,
        checkpoint=None if log.verification is None else log.verification.checkpoint,
        tenant=None if log.verification is None else log.verification.tenant,
        entries=len(log.history.entries) if log.history else 0,
        trusted=trusted_sentences(anchor, parties=bool(log.history and log.history.of(PartyEnrolled))),
    )


@dataclass(frozen=True, slots=True)
class _Log:
    """What the log verifier said, and what it read on the way.

    Attributes:
        steps: Its steps but the first, or their being impossible.
        whole: The archive with its history, if there is one that could be read at all.
    """

    steps: list[StepResult]
    verification: LogVerification | None = None
    history: History | None = None
    whole: LogAtHand | None = None

    @classmethod
    def read(cls, evidence: Evidence, anchor: Anchor) -> _Log:
        if not evidence.has_log:
            return cls(_missing(_LOG_STEPS))
        try:
            archive = Archive.open(evidence.root)
        except PrivgateError as error:
            files = Findings(0, "Files")
            files.wrong("audit", error.message)
            return cls([files.result(""), *_missing(_LOG_STEPS[1:])])
        history = History()
        verification = verify_log(archive, anchor.trust, history.add)
        history.holes = any(s.title in _MUST_OPEN and s.verdict is not Verdict.OK for s in verification.steps)
        checkpoint = verification.checkpoint
        whole = None if checkpoint is None else LogAtHand(archive, checkpoint, history)
        return cls(list(verification.steps[1:]), verification, history, whole)


def _anchor_step(anchor: Anchor, log: _Log) -> StepResult:
    """The log verifier's first step, with what must be said about the trust file."""
    findings = Findings(1, "Trust anchor")
    if anchor.problem is not None:
        findings.wrong("trust file", anchor.problem)
        return findings.result("")
    if anchor.trust is None:
        findings.unclear("trust file", anchor.remark or "none was given: nothing here says who made this evidence")
        return findings.result("")
    if log.verification is not None and log.verification.steps[0].verdict is Verdict.NOT_OK:
        return log.verification.steps[0]
    return findings.result(anchor.remark or "a trust file from outside the evidence, for this tenant")


def _history_steps(log: _Log, found: dict[ReleaseId, Document], trust: TrustFile | None) -> list[StepResult]:
    assert log.whole is not None
    assert log.verification is not None
    history, documents = log.whole.history, list(found.values())
    ledgers = records.check_ledgers(history)
    keys = None if trust is None else trust.certificate_keys
    return [
        records.check_events(history),
        *ledgers.steps,
        records.check_decisions(history),
        records.check_permissions(history, log.verification.tenant, log.whole.checkpoint),
        certificates.check_signatures(documents, keys, history),
        certificates.check_numbers(documents, history),
        certificates.check_agreement(found, history, ledgers.replay.ledgers, log.whole.checkpoint.origin),
        jobs.check_jobs(history),
        releases.check_course(history),
    ]


def _documents(evidence: Evidence) -> dict[ReleaseId, Document]:
    """The archive's certificates by the release in their names; a file with another name is left to the last step."""
    found = {}
    for name in evidence.folder(certificates.FOLDER):
        data = evidence.read(f"{certificates.FOLDER}/{name}")
        try:
            release = ReleaseId(name.removesuffix(".json"))
        except PrivgateError:
            continue
        if data is not None:
            found[release] = Document.read(f"{certificates.FOLDER}/{name}", data)
    return found


def _folders(evidence: Evidence, trust: TrustFile | None, log: LogAtHand | None) -> Iterator[StepResult]:
    folders = evidence.folders_with(*releases.MARKS)
    for name in folders:
        names = evidence.folder(name)
        if not name:
            # The files of one release alone: whatever else lies at the top is left to the last step.
            names = tuple(n for n in names if n in _release_files(evidence))
        files = {file: evidence.read(f"{name}/{file}" if name else file) for file in names}
        yield releases.check_folder(ReleaseFolder(name, files), trust, log)
    if not folders:
        findings = Findings(0, "Files of a release")
        findings.absent("release", "there is no release here")
        yield findings.result("")


def _release_files(evidence: Evidence) -> set[str]:
    document = Document.read("", evidence.read(releases.CERTIFICATE) or b"")
    artifact = {document.certificate.artifact_name} if document.certificate else set()
    return {releases.CERTIFICATE, releases.RECEIPT, releases.CARD} | artifact


def _judged(evidence: Evidence) -> set[str]:
    """The files that a step before the last has looked at."""
    judged = {document.file for document in _documents(evidence).values()} | set(files_in(evidence))
    for folder in evidence.folders_with(*releases.MARKS):
        names = evidence.folder(folder) if folder else _release_files(evidence)
        judged |= {f"{folder}/{name}" if folder else name for name in names}
    return judged


def _missing(titles: tuple[str, ...]) -> list[StepResult]:
    steps = []
    for title in titles:
        findings = Findings(0, title)
        findings.unclear("audit", "there is no archive of a log here")
        steps.append(findings.result(""))
    return steps
