"""Step over what lies beside the evidence: the digests of all files, the summary, the bundle's own trust file.

Rules
-----
1. A file that no signature covers is compared with what follows from files that one does.
2. What cannot be compared is told apart: covered by the list of digests (against accidents alone), or by nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from audit.events import EvidenceSnapshot
from audit.findings import Findings, StepResult
from audit.trust import LastSeen, TrustFile
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from privacy.release.certificate import Predicate, PrivacyCertificate
from privgate.verify.certificates import Document
from privgate.verify.evidence import FACTS, Evidence
from privgate.verify.releases import CERTIFICATE, LogAtHand
from privgate.verify.reports import JSON, PAGE
from privgate.verify.sums import NAME as SUMS
from privgate.verify.sums import check_sums

SUMMARY, TRUST = "summary.json", "trust.json"
HOLDOUT = "the owner's holdout, priced"


def check_beside(evidence: Evidence, trust: TrustFile | None, log: LogAtHand | None, known: set[str]) -> StepResult:
    """Check the files that no other step has looked at.

    Args:
        evidence: The bundle.
        trust: The trust file that counts.
        log: The log, if there is one.
        known: Names of files that other steps have judged.
    """
    findings = Findings(0, "Files beside the evidence")
    for name in evidence.foreign:
        findings.wrong(name, "a link or a device")
    sums = evidence.read(SUMS)
    covered = frozenset[str]() if sums is None else check_sums(evidence.root, sums, findings)
    judged = known | {SUMS, JSON, PAGE, SUMMARY, TRUST} | _snapshots(evidence, log, findings)
    for name in evidence.names:
        if name not in judged and name not in covered:
            findings.unclear(name, "nothing says what this file is")
    if TRUST in evidence.names and trust is not None:
        _same_pins(evidence.read(TRUST) or b"", trust, log, findings)
    open_figures = _summary(evidence, findings)
    said = "" if sums is None else "every file has the digest that is listed (against accidents: the list is unsigned)"
    if open_figures:
        said += f"{'; ' if said else ''}in {SUMMARY} no signature covers: {', '.join(open_figures)}"
    return findings.result(said or "nothing else is here")


def _same_pins(data: bytes, trust: TrustFile, log: LogAtHand | None, findings: Findings) -> None:
    """A bundle's own trust file proves nothing; but one that tells otherwise than the reader's is a bad sign."""
    try:
        own = TrustFile.from_bytes(data)
    except PrivgateError as error:
        findings.wrong(TRUST, f"not a trust file: {error.message}")
        return
    if own.to_bytes() != data.removesuffix(b"\n"):
        findings.wrong(TRUST, "it is not written as it must be")
    if replace(own, last_seen=LastSeen()) != replace(trust, last_seen=LastSeen()):
        findings.wrong(TRUST, "it names another log, tenant or keys than the trust file that you gave")
    elif log is not None and own.last_seen.size > log.checkpoint.size:
        findings.unclear(TRUST, "its checkpoint is newer than the archive")
    elif log is not None and not log.continues(own.last_seen):
        findings.wrong(TRUST, "the checkpoint that it pins is not one of this log")


def _snapshots(evidence: Evidence, log: LogAtHand | None, findings: Findings) -> set[str]:
    """Documents of live facts: each lies under the digest that the log gives it."""
    entries = log.history.of(EvidenceSnapshot) if log else []
    cited = {f"{FACTS}/{e.event.digest.hex}.json": e for e in entries}
    for name, entered in cited.items():
        data = evidence.read(name)
        if data is None:
            findings.unclear(name, "the log cites this document, and it is not here", entered.index)
        elif Digest.of(data) != entered.event.digest:
            findings.wrong(name, "it is not the document that the log cites", entered.index)
    return set(cited)


def _summary(evidence: Evidence, findings: Findings) -> list[str]:
    """Compare the summary's figures; return the members that nothing signed covers."""
    data = evidence.read(SUMMARY)
    if data is None:
        return []
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        findings.wrong(SUMMARY, "not a summary: a JSON object is expected")
        return []
    expected = dict(_expected(evidence, told))
    for member, value in expected.items():
        if member in told and not _equal(told[member], value):
            findings.wrong(SUMMARY, f"`{member}` is not what certificate or evaluation say")
    return sorted(set(told) - set(expected))


def _expected(evidence: Evidence, told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    model = _predicate(evidence, "release")
    if model is not None:
        yield "epsilon", str(model.this_job_alone.epsilon)
        yield "delta", str(model.this_job_alone.delta)
        yield "public_size", model.population.public_size
        yield "adjacency", model.population.adjacency.value
        yield "budget_epsilon", str(model.guarantee.epsilon)
    evaluation = _predicate(evidence, "evaluation")
    if evaluation is not None:
        yield "evaluation_epsilon", str(evaluation.this_job_alone.epsilon)
        for name, estimate in _estimates(evidence):
            yield f"holdout_{name}", {part: estimate.get(part) for part in ("high", "low", "value")}
            if told.get("measured_on") == HOLDOUT:
                yield name, estimate.get("value")


def _predicate(evidence: Evidence, folder: str) -> Predicate | None:
    data = evidence.read(f"{folder}/{CERTIFICATE}")
    document = None if data is None else Document.read(folder, data)
    found = None if document is None else document.certificate
    return found.predicate if isinstance(found, PrivacyCertificate) else None


def _estimates(evidence: Evidence) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        body = json.loads(evidence.read("evaluation/evaluation.json") or b"")
    except (ValueError, RecursionError):
        return
    for name in ("accuracy", "auc"):
        estimate = body.get(name) if isinstance(body, dict) else None
        if isinstance(estimate, dict):
            yield name, estimate


def _equal(told: Any, expected: Any) -> bool:
    """Whether two figures are the same: text, number or a record of them."""
    if isinstance(expected, Mapping):
        same = isinstance(told, Mapping) and set(told) == set(expected)
        return same and all(_equal(told[name], value) for name, value in expected.items())
    try:
        return bool(Decimal(str(told)) == Decimal(str(expected)) or float(told) == float(expected))
    except (InvalidOperation, TypeError, ValueError):
        return bool(told == expected)
