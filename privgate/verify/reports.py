"""Step over the report: signed by a pinned report key, derived again from the archive, and shown as it is.

Rules
-----
1. The report is a function of the archive: the same archive gives the same bytes, or the report is wrong.
2. The page is a function of the report: it is rendered again and compared whole.
3. A report that is not here is no fault: whoever exports an archive alone is told so. Half of one is.
4. Where the archive lacks what the report tells of, the report is not accused.
"""

from __future__ import annotations

from itertools import zip_longest

from audit.events import EvidenceSnapshot
from audit.findings import Findings, StepResult
from audit.trust import TrustFile
from compliance.events import ReportIssued
from compliance.render.html import render
from compliance.report import PAYLOAD_TYPE, Report, require_rederived
from compliance.report import verify as verify_report
from kernel.canonical import Digest
from kernel.errors import CorruptError, PrivgateError
from kernel.signing import Envelope
from privacy.events.releases import ReleaseHeld
from privgate.verify.certificates import FOLDER
from privgate.verify.evidence import FACTS, Evidence
from privgate.verify.releases import LogAtHand

JSON, PAGE = "report.json", "report.html"


def check_report(evidence: Evidence, log: LogAtHand | None, trust: TrustFile | None) -> StepResult:
    """Verify `report.json` and `report.html`."""
    findings = Findings(0, "Report")
    data = evidence.read(JSON)
    if data is None:
        if JSON in evidence.names or PAGE in evidence.names:
            findings.unclear(JSON, "the report is not here, or cannot be read")
        else:
            findings.absent(JSON, "there is no report here")
        return findings.result("")
    report = _read(data, trust, findings)
    if report is None:
        return findings.result("")
    _issued(data, log, findings)
    _derive_again(report, evidence, log, findings)
    _page(report, evidence.read(PAGE), findings)
    scope = report.body["scope"]
    return findings.result(f"derived again from entries {scope['from_size']} to {scope['until_size']}: the same bytes")


def _read(data: bytes, trust: TrustFile | None, findings: Findings) -> Report | None:
    try:
        envelope = Envelope.from_bytes(data)
        if envelope.to_bytes() != data.removesuffix(b"\n"):
            findings.wrong(JSON, "the envelope is not written as it must be")
        if trust is not None:
            return verify_report(envelope, trust.report_keys)
        findings.unclear(JSON, "no key is pinned")
        if envelope.payload_type != PAYLOAD_TYPE:
            raise CorruptError("the envelope holds another kind of statement")
        return Report.parse(envelope.payload)
    except PrivgateError as error:
        findings.wrong(JSON, error.message)
        return None


def _issued(data: bytes, log: LogAtHand | None, findings: Findings) -> None:
    """The log says so, unless it was issued after the archive was exported."""
    digest = Digest.of(data)
    if log is not None and not any(e.event.digest == digest for e in log.history.of(ReportIssued)):
        findings.unclear(JSON, "no entry of this archive says that it was issued: export a newer one")


def _derive_again(report: Report, evidence: Evidence, log: LogAtHand | None, findings: Findings) -> None:
    if log is None:
        findings.unclear(JSON, "there is no archive to derive it from again")
        return
    if log.history.holes or _lacking(evidence, log):
        findings.unclear(JSON, "it cannot be derived again from an archive with holes")
        return
    try:
        require_rederived(log.archive, report)
    except CorruptError as error:
        part = f" (first difference in `{error.field}`)" if error.field else ""
        findings.wrong(JSON, f"{error.message}{part}")
    except PrivgateError as error:
        findings.unclear(JSON, f"it cannot be derived again: {error.message}")


def _lacking(evidence: Evidence, log: LogAtHand) -> bool:
    """Whether a document is missing that the log cites: the report tells of them, and would be derived otherwise."""
    cited = [f"{FOLDER}/{held.event.release}.json" for held in log.history.of(ReleaseHeld)]
    cited += [f"{FACTS}/{snapshot.event.digest.hex}.json" for snapshot in log.history.of(EvidenceSnapshot)]
    return not set(cited) <= set(evidence.names)


def _page(report: Report, page: bytes | None, findings: Findings) -> None:
    if page is None:
        findings.unclear(PAGE, "the page is not here")
        return
    try:
        expected = render(report).encode()
    except PrivgateError as error:
        findings.wrong(JSON, error.message)
        return
    if page != expected:
        both = zip_longest(page.split(b"\n"), expected.split(b"\n"))
        line = next(number for number, (a, b) in enumerate(both, 1) if a != b)
        findings.wrong(PAGE, f"line {line} is not what the report gives")
