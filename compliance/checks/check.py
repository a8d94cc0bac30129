"""What a check is, and how its answer comes about.

Rules
-----
1. A check whose source is not in the history says so before it looks at anything.
2. `Tally.look` counts what was looked at; without one there is nothing to pass on.
3. One wrong thing is FAIL, whatever else could not be told. A pass over a history that could not be read to its end
   is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from audit.events import EvidenceKind, EvidenceSnapshot
from compliance.controls import MOST_FINDINGS, Evidence, Finding, Gap, Verdict, digest_of_findings
from compliance.history import Entered, History
from kernel.ids import Slug
from policies.events import DatasetRegistered, DecisionMade, TenantCreated
from privacy.events.blind import BlindRequested
from privacy.events.budget import PopulationCreated
from privacy.events.collections import CollectionRequested
from privacy.events.inferences import InferenceRequested
from privacy.events.jobs import JobRequested
from privacy.events.releases import ReleaseHeld
from privacy.events.sealing import DekCreated


class Source(StrEnum):
    """What a check reads. Present when the history holds what such a source begins with."""

    LOG = "log"
    POLICY = "policy"
    DECISIONS = "decisions"
    DATASETS = "datasets"
    LEDGER = "ledger"
    JOBS = "jobs"
    RELEASES = "releases"
    CERTIFICATES = "certificates"
    KEYS = "keys"
    KEY_TABLE = "key-table"


_BEGINS_WITH: dict[Source, tuple[type, ...]] = {
    Source.POLICY: (TenantCreated,),
    Source.DECISIONS: (DecisionMade,),
    Source.DATASETS: (DatasetRegistered,),
    Source.LEDGER: (PopulationCreated,),
    Source.JOBS: (JobRequested, CollectionRequested, InferenceRequested, BlindRequested),
    Source.RELEASES: (ReleaseHeld,),
    Source.KEYS: (DekCreated,),
}


@dataclass(slots=True)
class Tally:
    """What a check notes while it looks."""

    looked_at: int = 0
    wrong: list[Finding] = field(default_factory=list)
    unclear: list[Finding] = field(default_factory=list)

    def look(self, times: int = 1) -> None:
        """Count something that is looked at."""
        self.looked_at += times

    def fault(self, what: str, entered: Entered[Any] | None = None, subject: str | None = None) -> None:
        """Note something that does not hold."""
        self.wrong.append(_finding(what, entered, subject))

    def demand(self, holds: bool, what: str, entered: Entered[Any] | None = None, subject: str | None = None) -> None:
        """Note it unless it holds."""
        if not holds:
            self.fault(what, entered, subject)

    def cannot_tell(self, what: str, entered: Entered[Any] | None = None, subject: str | None = None) -> None:
        """Note something that could not be looked at."""
        self.unclear.append(_finding(what, entered, subject))


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to the history.

    Attributes:
        question: What must hold, as a sentence that people read in the report.
        sources: What it reads.
        look: Looks, and notes what it finds.
    """

    id: Slug
    title: str
    question: str
    sources: tuple[Source, ...]
    look: Callable[[History, Tally], None]

    def run(self, history: History) -> Evidence:
        """Ask it."""
        tally = Tally()
        missing = [source for source in self.sources if not _present(source, history)]
        for source in missing:
            tally.cannot_tell(f"the history has no {source.value.replace('-', ' ')} to look at")
        if not missing:
            self.look(history, tally)
        return _evidence(self.id, tally, missing=bool(missing), whole=history.whole)


def _present(source: Source, history: History) -> bool:
    match source:
        case Source.LOG:
            return bool(history.entries) or not history.whole
        case Source.CERTIFICATES:
            return bool(history.certificates)
        case Source.KEY_TABLE:
            kinds = (e.event for e in history.of(EvidenceSnapshot) if e.event.kind is EvidenceKind.KEYS)
            return any(event.digest in history.snapshots for event in kinds)
        case _:
            return any(history.of(kind) for kind in _BEGINS_WITH[source])


def _evidence(check: Slug, tally: Tally, *, missing: bool, whole: bool) -> Evidence:
    verdict, gap = Verdict.CANNOT_TELL, None
    found = sorted(tally.wrong or tally.unclear, key=_place)
    if tally.wrong:
        verdict = Verdict.FAIL
    elif missing:
        gap = Gap.SOURCE_MISSING
    elif tally.unclear:
        gap = Gap.NOT_READABLE
    elif not whole:
        gap = Gap.HISTORY_INCOMPLETE
        found = [Finding("entries of the history are missing or altered, so that nothing can be concluded")]
    elif not tally.looked_at:
        gap = Gap.NOTHING_HAPPENED
    else:
        verdict = Verdict.PASS
    return Evidence(
        check=check,
        verdict=verdict,
        gap=gap,
        looked_at=tally.looked_at,
        findings=tuple(found[:MOST_FINDINGS]),
        count=len(found),
        digest=digest_of_findings(found),
    )


def _finding(what: str, entered: Entered[Any] | None, subject: str | None) -> Finding:
    return Finding(what, None if entered is None else entered.index, None if subject is None else str(subject))


def _place(finding: Finding) -> tuple[int, str, str]:
    return (-1 if finding.entry is None else finding.entry, finding.subject or "", finding.what)
