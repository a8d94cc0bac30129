"""The report: a function of an archive, a period and the frameworks; signed, and re-derived by anybody.

Rules
-----
1. The same archive at the same tree size, period and framework digests give the same bytes. There is no other time in
   it than those of the log, and no other input.
2. It opens with what it cannot show.
3. It is material for a judgement and passes none: it says what was found, never that somebody is in order.
4. Verifying is deriving it again and comparing bytes; a signature alone says only who signed.

Format: `docs/formats/report.md`. Reference: RFC 8785; DSSE 1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.archive import Archive
from compliance.assess import AssessedFramework, assess, gather
from compliance.checks.catalogue import CATALOGUE
from compliance.controls import Evidence, Framework, Verdict
from compliance.framework_file import frameworks as frameworks_named
from compliance.history import History, read_history
from compliance.overview import overview
from kernel import canonical
from kernel.canonical import Digest
from kernel.clock import format_time
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import Slug
from kernel.signing import Envelope, PublicKey, Signer, open_envelope, sign_envelope

FORMAT = "privgate/report/v1"
PAYLOAD_TYPE = "application/vnd.privgate.report.v1+json"
LIMIT = 12 * 2**20

CANNOT_SHOW = (
    "What was never logged: acts outside the gateway, on its hosts, in its database or with its keys.",
    "Whether the operator, the worker's host and the holder of the wrapping key kept to the rules; they are trusted.",
    "Whether this log is the only one: another reader may have been shown another history, until witnesses cosign it.",
    "Whether checkpoint, certificates and report are signed by keys that you trust; that is the verifier's answer.",
    "Whether what people declared is true: legal bases, purposes, bounds, the public size, the unit of privacy.",
    "Whether two principals are two people, and who they are; the log holds random identifiers.",
    "What one person's rows say, or whether somebody is in the data: no such fact is in the log or in this report.",
    "Whether the random source of the noise was good, and whether floating-point effects of the noise are harmless.",
    "Contracts, notices, training, physical security, and everything else that leaves no entry here.",
    "What the law is. The mapping to articles is this program's reading of them and no legal advice.",
)
"""What opens every report."""


@dataclass(frozen=True, slots=True)
class Period:
    """A period in tree sizes: entries with an index from `from_size` to below `until_size`; absent: all there are."""

    from_size: int = 0
    until_size: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A report; `body` is what is signed, and all that a rendering may use."""

    body: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical.encode(self.body)

    @property
    def digest(self) -> Digest:
        """Digest of the canonical bytes."""
        return Digest.of(self.to_bytes())

    @property
    def period(self) -> Period:
        """The period, both ends stated."""
        scope = self.body["scope"]
        return Period(scope["from_size"], scope["until_size"])

    @classmethod
    def parse(cls, data: bytes) -> Report:
        """Read what `to_bytes` wrote; raise `InvalidError` for another format. What it says stays unverified."""
        body = canonical.decode(data, limit=LIMIT, canonical=True)
        if not isinstance(body, Mapping) or body.get("format") != FORMAT:
            raise InvalidError("not a report of this version", field="format")
        if not {"cannot_show", "checks", "frameworks", "overview", "scope", "summary"} <= body.keys():
            raise InvalidError("a report lacks some of its parts", field="format")
        scope, named = body["scope"], body["frameworks"]
        sizes = [scope.get("from_size"), scope.get("until_size")] if isinstance(scope, Mapping) else []
        if [type(size) for size in sizes] != [int, int]:
            raise InvalidError("a report states its period in tree sizes", field="scope")
        if not isinstance(named, list) or not all(isinstance(framework, Mapping) for framework in named):
            raise InvalidError("a report names its frameworks", field="frameworks")
        return cls(body)


def build_report(archive: Archive, period: Period = Period(), frameworks: Iterable[Framework] = ()) -> Report:
    """Derive the report of a period.

    Args:
        archive: The tenant's archive, at the period's end or later.
        period: In tree sizes.
        frameworks: What the evidence is mapped to; all that ship with this program if none is given.

    Raises:
        InvalidError: The period is not one, or ends after the archive does.
    """
    history = read_history(archive, from_size=period.from_size, until_size=period.until_size)
    return report_of(history, frameworks)


def report_of(history: History, frameworks: Iterable[Framework] = ()) -> Report:
    """Derive the report of a history that was read."""
    chosen = tuple(frameworks) or frameworks_named()
    evidence = gather(history)
    assessed = assess(evidence, sorted(chosen, key=lambda framework: framework.id))
    return Report(
        {
            "cannot_show": list(CANNOT_SHOW),
            "checks": [_check(found) for found in evidence.values()],
            "format": FORMAT,
            "frameworks": [_framework(framework) for framework in assessed],
            "overview": overview(history),
            "scope": _scope(history),
            "summary": _summary([found.verdict for found in evidence.values()]),
        }
    )


def sign(report: Report, signer: Signer) -> Envelope:
    """Sign the report's canonical bytes."""
    return sign_envelope(PAYLOAD_TYPE, report.to_bytes(), signer)


def verify(envelope: Envelope, trusted: Iterable[PublicKey]) -> Report:
    """Return the report that a trusted key signed; raise `CorruptError` or `InvalidError` otherwise."""
    return Report.parse(open_envelope(envelope, PAYLOAD_TYPE, trusted))


def rederive(archive: Archive, stated: Report) -> Report:
    """Derive a report again, for the period and frameworks that it states.

    Raises:
        InvalidError: The archive ends before the period does, or a framework has another content here than it had.
    """
    chosen = _same_frameworks(stated)
    return build_report(archive, stated.period, chosen)


def require_rederived(archive: Archive, stated: Report) -> None:
    """Return if the archive gives exactly this report, byte for byte.

    Raises:
        CorruptError: It gives another one; names the first part that differs.
        InvalidError: It cannot be derived again, see `rederive`.
    """
    again = rederive(archive, stated)
    if again.to_bytes() != stated.to_bytes():
        differs = next((part for part in sorted(again.body) if again.body[part] != stated.body.get(part)), "format")
        raise CorruptError("the archive gives another report than this one", field=differs)


def _same_frameworks(stated: Report) -> tuple[Framework, ...]:
    try:
        named = {Slug(framework["id"]): framework["digest"] for framework in stated.body["frameworks"]}
        chosen = frameworks_named(named)
    except (KeyError, TypeError, PrivgateError):
        raise InvalidError("the report names a framework that this program does not have", field="frameworks") from None
    if any(framework.digest != named.get(framework.id) for framework in chosen):
        raise InvalidError(
            "a framework has changed since the report: use the version that issued it", field="frameworks"
        )
    return chosen


def _scope(history: History) -> dict[str, Any]:
    within = [entered for entered in history.entries if entered.index >= history.from_size]
    body: dict[str, Any] = {
        "entries": len(within),
        "entries_before": len(history.entries) - len(within),
        "from_size": history.from_size,
        "log": history.origin,
        "root": history.root,
        "tenant": history.tenant,
        "until_size": history.until_size,
    }
    if within:
        body |= {
            "first_at": format_time(min(entered.at for entered in within)),
            "last_at": format_time(max(entered.at for entered in within)),
        }
    return body


def _check(evidence: Evidence) -> dict[str, Any]:
    check = CATALOGUE[evidence.check]
    return {**evidence.to_json(), "question": check.question, "title": check.title}


def _framework(assessed: AssessedFramework) -> dict[str, Any]:
    framework = assessed.framework
    return {
        "controls": [
            {
                "checks": list(a.control.checks),
                "id": a.control.id,
                "not_shown": a.control.not_shown,
                "requires": a.control.requires,
                "title": a.control.title,
                "verdict": a.verdict.value,
            }
            for a in assessed.assessments
        ],
        "digest": framework.digest,
        "id": framework.id,
        "jurisdiction": framework.jurisdiction,
        "mapped_on": framework.mapped_on,
        "source": framework.source,
        "summary": _summary([a.verdict for a in assessed.assessments]),
        "title": framework.title,
    }


def _summary(verdicts: list[Verdict]) -> dict[str, int]:
    return {verdict.value: verdicts.count(verdict) for verdict in Verdict}
