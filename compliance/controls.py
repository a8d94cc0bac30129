"""The nouns of an assessment: verdicts, findings, evidence, controls, frameworks.

Rules
-----
1. PASS needs something that was looked at. A missing source, an empty population and an incomplete history are
   CANNOT TELL, each by its own name.
2. A finding names an entry of the log wherever it can, and identifiers only: no value of anybody's row, no free text.
3. Evidence lists its first findings, counts all of them, and holds the digest of the whole list.

Format: `docs/formats/report.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kernel.canonical import Digest, digest_of
from kernel.ids import Slug

MOST_FINDINGS = 50


class Verdict(StrEnum):
    """The answer of a check, and of a control that rests on checks."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    CANNOT_TELL = "cannot-tell"


class Gap(StrEnum):
    """Why a check cannot tell."""

    SOURCE_MISSING = "source-missing"
    NOTHING_HAPPENED = "nothing-happened"
    HISTORY_INCOMPLETE = "history-incomplete"
    NOT_READABLE = "not-readable"


WORST_FIRST = (Verdict.FAIL, Verdict.CANNOT_TELL, Verdict.PASS)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that does not hold, or could not be looked at, and where.

    Attributes:
        what: A sentence of this program's own; never text from the log.
        entry: Index of the log entry, if there is one.
        subject: The identifier it is about, if there is one.
    """

    what: str
    entry: int | None = None
    subject: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Encode for the report; absent members are left out."""
        body = {"entry": self.entry, "subject": self.subject, "what": self.what}
        return {name: value for name, value in body.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one check found.

    Attributes:
        check: Which check.
        verdict: Its answer.
        gap: Why it cannot tell; present exactly then.
        looked_at: How many things it looked at.
        findings: The first of them, in the order of the log.
        count: How many there are.
        digest: Digest of the whole list, so that a reader who asks for the rest can tell that it is the rest.
    """

    check: Slug
    verdict: Verdict
    gap: Gap | None
    looked_at: int
    findings: tuple[Finding, ...]
    count: int
    digest: Digest

    def to_json(self) -> dict[str, Any]:
        """Encode for the report."""
        body: dict[str, Any] = {
            "check": self.check,
            "count": self.count,
            "digest": self.digest,
            "findings": [finding.to_json() for finding in self.findings],
            "looked_at": self.looked_at,
            "verdict": self.verdict.value,
        }
        return body if self.gap is None else {**body, "gap": self.gap.value}


def digest_of_findings(findings: list[Finding]) -> Digest:
    """The digest of a whole list of findings."""
    return digest_of("findings/v1", [finding.to_json() for finding in findings])


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One requirement of a framework, in our words, with the checks that bear on it.

    Attributes:
        id: As the framework numbers it.
        requires: What it asks for.
        checks: Which checks are evidence for it.
        not_shown: What these checks leave open about it; never empty.
    """

    id: str
    title: str
    requires: str
    checks: tuple[Slug, ...]
    not_shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A law or a catalogue of controls.

    Attributes:
        digest: Of everything in it; a report names it, so that a changed mapping is another report.
        source: Where its text can be read.
        mapped_on: When this mapping was made or last looked over.
    """

    id: Slug
    title: str
    jurisdiction: str
    source: str
    mapped_on: str
    controls: tuple[Control, ...]
    digest: Digest


def worst(verdicts: list[Verdict]) -> Verdict:
    """FAIL before CANNOT TELL before PASS; no verdict at all is CANNOT TELL."""
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), Verdict.CANNOT_TELL)
