"""A step over the history alone: what jobs did against what the ledger was told of them.

Rules
-----
1. Rows are opened in the ledger's sight: each start answers to a touch of the same attempt, and to the pinned version.
2. Whatever started is charged, for no fewer steps than were started, of several sites for no fewer rounds than were
   opened; what failed is charged in full.
3. One job, one charge, at most one release; a job finished if and only if it has one. Its end is its last word: no
   document of a party comes after it, and none comes twice: two orders, or two rounds of one number, share one price.
4. A job whose self-test failed ends as failed and leaves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from audit.findings import StepResult
from kernel.canonical import Digest
from kernel.ids import JobId, PartyId, PopulationId, ReleaseId, Slug
from privacy.events.budget import BudgetCharged, BudgetReserved, BudgetTouched
from privacy.events.collections import (
    CollectionConcluded,
    CollectionRequested,
    KeyAnnounced,
    OrderIssued,
    RoundDecrypted,
    RoundOpened,
    SumMade,
    UploadReceived,
)
from privacy.events.incidents import IncidentOpened
from privacy.events.jobs import JobEnd, JobEnded, JobQueued, JobStarted
from privacy.events.releases import ReleaseHeld
from privacy.homomorphic.requests.kinds import gaussians_after
from privgate.verify.disclosures import unmarked
from privgate.verify.history import Anything, History, HistoryFindings


def check_jobs(history: History) -> StepResult:
    """Hold each job's own entries against those of its ledger and of its release."""
    findings = HistoryFindings("Jobs", history)
    jobs: dict[JobId, _Course] = defaultdict(_Course)
    for entered in history.entries:
        job = getattr(entered.event, "job", None)
        if isinstance(job, JobId):
            for problem in jobs[job].take(entered.event):
                findings.wrong(entered.file, problem, entered.index)
    for entered in history.of(ReleaseHeld):
        # The archive may end between a release and the end of its job, which one commit wrote side by side.
        if jobs[entered.event.job].end is None and entered is not history.entries[-1]:
            findings.wrong(entered.file, "the release of a job that did not end", entered.index)
    for ended, problem in unmarked(history):
        findings.wrong(ended.file, problem, ended.index)
    started = sum(bool(course.attempts) for course in jobs.values())
    return findings.result(
        f"{started} jobs opened rows; each was charged for what it started, and left one release or none"
    )


_DOCUMENTS: Final = (
    OrderIssued, KeyAnnounced, RoundOpened, UploadReceived, SumMade, RoundDecrypted, CollectionConcluded,
)  # fmt: skip
_COURSE: Final = (BudgetTouched, JobStarted, BudgetCharged, IncidentOpened, ReleaseHeld, JobEnded, *_DOCUMENTS)


@dataclass
class _Course:
    """How far one job has come."""

    manifest: Digest | None = None
    touched: set[int] = field(default_factory=set)
    paying: set[PopulationId] = field(default_factory=set)
    attempts: set[int] = field(default_factory=set)
    charges: dict[PopulationId, BudgetCharged] = field(default_factory=dict)
    releases: set[ReleaseId] = field(default_factory=set)
    incident: bool = False
    end: JobEnd | None = None
    of_sites: Slug | None = None
    rounds: int = 0
    places: set[tuple[str, int, PartyId | None]] = field(default_factory=set)

    def take(self, event: Anything) -> Iterator[str]:
        """Take the job's next event; say what is wrong with it."""
        yield from self._late(event)
        self._note_rounds(event)
        match event:
            case BudgetReserved():
                self.manifest = event.manifest
            case JobQueued():
                if event.manifest != self.manifest:
                    yield "the job is to read another sealed version than its reservation pins"
            case BudgetTouched():
                self.touched.add(event.attempt)
                self.paying.add(event.population)
            case JobStarted():
                if event.attempt not in self.touched or event.attempt in self.attempts:
                    yield "rows were opened, and the ledger does not know"
                self.attempts.add(event.attempt)
            case BudgetCharged():
                self.charges[event.population] = event
            case IncidentOpened():
                self.incident = True
            case ReleaseHeld():
                if self.releases:
                    yield "one charge, and a second release"
                self.releases.add(event.release)
            case JobEnded():
                yield from self._ended(event)
            case _:
                pass

    def _late(self, event: Anything) -> Iterator[str]:
        if self.end is not None and isinstance(event, _COURSE):
            yield "the job had ended before"
        if isinstance(event, _DOCUMENTS):
            place = (event.TYPE, getattr(event, "number", 0), getattr(event, "party", None))
            if place in self.places:
                yield "a document of this place was there before"
            self.places.add(place)

    def _note_rounds(self, event: Anything) -> None:
        if isinstance(event, CollectionRequested) and not event.exact:
            self.of_sites = event.kind
        if isinstance(event, RoundOpened | UploadReceived | RoundDecrypted):
            self.rounds = max(self.rounds, event.number)

    def _ended(self, event: JobEnded) -> Iterator[str]:
        self.end = event.end
        if self.incident and (event.end is not JobEnd.FAILED or self.releases):
            yield "the job's self-test failed, and it did not end as failed with nothing left"
        if (event.end is JobEnd.FINISHED) != bool(self.releases):
            yield "the job finished and its release is not here, or the other way round"
        if not self.charges:
            if self.touched or self.attempts or event.attempts or event.steps_started:
                yield "the job opened rows, and was not charged"
            return
        if self.paying - set(self.charges):
            yield "the job opened rows of several populations, and one of them was not charged"
        started = event.steps_started if self.of_sites is None else gaussians_after(self.of_sites, self.rounds)
        for charged in self.charges.values():
            if min(charge.times for charge in charged.charges) < max(started, event.steps_started):
                yield "the job was charged for less than it started"
            if event.end is JobEnd.FAILED and not charged.in_full:
                yield "the job failed, and was not charged in full"
