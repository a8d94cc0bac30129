"""The steps over the parties' documents, where the log cites any: three, and one where there are blind trainings."""

from __future__ import annotations

from audit.findings import Findings, StepResult
from kernel.canonical import Digest
from kernel.ids import JobId
from privacy.release.blind import BlindCertificate, BlindPredicate
from privacy.release.noised import NoisedCertificate, NoisedPredicate
from privgate.verify import releases
from privgate.verify.anchor import Anchor
from privgate.verify.certificates import FOLDER, Document
from privgate.verify.evidence import Evidence
from privgate.verify.parties.blind import blind_jobs, check_blind_documents
from privgate.verify.parties.files import PartyFiles, files_in
from privgate.verify.parties.identities import check_parties
from privgate.verify.parties.orders import check_orders
from privgate.verify.parties.rounds import Artifacts, check_rounds
from privgate.verify.releases import LogAtHand


def check_documents(evidence: Evidence, log: LogAtHand | None, anchor: Anchor) -> list[StepResult]:
    """Check parties, orders and rounds; no step at all where the log cites no document and none is here."""
    here = files_in(evidence)
    if log is None:
        return [_without_log()] if here else []
    files = PartyFiles(evidence, log.history)
    if not files.cited and not here:
        return []
    parties, known = check_parties(log.history, files, anchor.pins)
    orders, cases = check_orders(log.history, files, known, anchor.trust, log.checkpoint.origin)
    steps = [parties, orders, check_rounds(log.history, files, cases, _artifacts(evidence), _certified(evidence))]
    if blind_jobs(log.history):
        certified = _certified_blind(evidence)
        steps.append(check_blind_documents(log.history, files, known, anchor.trust, log.checkpoint.origin, certified))
    return steps


def _without_log() -> StepResult:
    findings = Findings(0, "Parties")
    findings.unclear("audit", "there is no archive of a log here")
    return findings.result("")


def _certified(evidence: Evidence) -> dict[JobId, NoisedPredicate]:
    """What the certificates of noised results in the archive state."""
    found: dict[JobId, NoisedPredicate] = {}
    for name in evidence.folder(FOLDER):
        predicate = _predicate_in(evidence.read(f"{FOLDER}/{name}"))
        if predicate is not None:
            found[predicate.job] = predicate
    return found


def _certified_blind(evidence: Evidence) -> dict[JobId, BlindPredicate]:
    """What the certificates of blind trainings in the archive state."""
    found = [Document.read("", evidence.read(f"{FOLDER}/{name}") or b"") for name in evidence.folder(FOLDER)]
    stated = [one.certificate.predicate for one in found if isinstance(one.certificate, BlindCertificate)]
    return {predicate.job: predicate for predicate in stated}


def _predicate_in(data: bytes | None) -> NoisedPredicate | None:
    certificate = Document.read("", data or b"").certificate
    return certificate.predicate if isinstance(certificate, NoisedCertificate) else None


def _artifacts(evidence: Evidence) -> Artifacts:
    """The released files that lie here and are those of their certificates."""
    found: dict[JobId, bytes] = {}
    for folder in evidence.folders_with(*releases.MARKS):
        prefix = f"{folder}/" if folder else ""
        certificate = Document.read("", evidence.read(f"{prefix}{releases.CERTIFICATE}") or b"").certificate
        data = None if certificate is None else evidence.read(f"{prefix}{certificate.artifact_name}")
        if certificate is not None and data is not None and Digest.of(data) == certificate.artifact:
            found[certificate.predicate.job] = data
    return found
