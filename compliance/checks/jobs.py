"""Checks of jobs: no run without a decision, none without a charge, none in silence."""

from __future__ import annotations

from collections.abc import Sequence

from compliance.certificates import certified
from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History, first_of
from kernel.ids import Slug
from policies.events import DecisionMade
from policies.vocabulary import Action, Verdict
from privacy.events.blind import BlindRequested
from privacy.events.budget import BudgetCharged, BudgetReserved, BudgetTouched, PopulationUncovered
from privacy.events.collections import CollectionRequested, RoundOpened
from privacy.events.incidents import IncidentOpened
from privacy.events.inferences import InferenceRequested, QuestionAnswered
from privacy.events.jobs import JobEnd, JobEnded, JobQueued, JobRequested, JobStarted
from privacy.homomorphic.requests.kinds import gaussians_after


def _decided(history: History, tally: Tally) -> None:
    """Each run has a reservation that rests on leave for exactly this request; the reservation pins that entry."""
    reserved, requested = history.about("job", BudgetReserved), history.about("job", JobRequested)
    for entered in history.judged(JobStarted):
        tally.look()
        job = entered.event.job
        held, asked = first_of(reserved.get(job)), first_of(requested.get(job))
        if held is None or asked is None or held.index > entered.index:
            tally.fault("a run without a request or a reservation before it", entered, job)
            continue
        decision = history.decisions.get(held.event.decision)
        tally.demand(_permits(decision, held), "a run that no decision permits", entered, job)
        tally.demand(held.event.request == asked.event.request, "what was reserved is not what was asked", entered, job)


def _permits(decision: Entered[DecisionMade] | None, held: Entered[BudgetReserved]) -> bool:
    if decision is None or decision.index > held.index:
        return False
    made, asked = decision.event, decision.event.request
    return (
        made.verdict is Verdict.ALLOW
        and asked.action is Action.JOB_SUBMIT
        and asked.principal == held.event.principal
        and asked.request_digest == held.event.request
        and asked.job in (None, held.event.job)
        and made.grant == held.event.grant
        and decision.leaf == held.event.decision_leaf
    )


def _opened(history: History, tally: Tally) -> None:
    """Every opening of an envelope is in the ledger, and reads the version that was pinned."""
    touched, queued = history.about("job", BudgetTouched), history.about("job", JobQueued)
    reserved = history.about("job", BudgetReserved)
    for entered in history.judged(JobStarted):
        tally.look()
        job, attempt = entered.event.job, entered.event.attempt
        marks = [t.event.attempt for t in touched.get(job, ()) if t.index <= entered.index]
        tally.demand(attempt in marks, "rows were opened and the ledger does not know", entered, job)
        pinned, named = first_of(reserved.get(job)), first_of(queued.get(job))
        same = pinned is not None and named is not None and pinned.event.manifest == named.event.manifest
        tally.demand(same, "not the sealed version that the reservation pins", entered, job)


def _paid(history: History, tally: Tally) -> None:
    """Whatever touched data was charged for at least what it started, before or when it ended."""
    charged, touched = history.about("job", BudgetCharged), history.about("job", BudgetTouched)
    opened = history.about("job", RoundOpened)
    asked_models, answered = history.about("job", InferenceRequested), history.about("job", QuestionAnswered)
    marked, of_sites = history.about("job", PopulationUncovered), history.about("job", CollectionRequested)
    own_work = history.about("job", BlindRequested)
    for entered in history.judged(JobEnded):
        job, end = entered.event.job, entered.event
        if job in own_work:
            continue  # it ran at the owner of the rows, and nothing of it left him
        if job in of_sites and not of_sites[job][0].event.exact:
            rounds = max((one.event.number for one in opened.get(job, ())), default=0)
            started = max(end.steps_started, gaussians_after(of_sites[job][0].event.kind, rounds))
            _paid_by_each(tally, entered, started, touched.get(job, ()), charged.get(job, ()))
            continue
        if job in of_sites:
            asked = {one.event.population for one in of_sites[job]}
            left = asked - {one.event.population for one in marked.get(job, ()) if one.index < entered.index}
            tally.look()
            fine = end.end is not JobEnd.FINISHED or not left
            tally.demand(fine, "an exact result left, and a population is not marked", entered, job)
            continue
        if job in asked_models:
            tally.look()
            fine = end.end is not JobEnd.FINISHED or job in answered
            tally.demand(fine, "an answer left, and the log does not tell of which model", entered, job)
            continue
        if job not in touched and end.end is not JobEnd.FINISHED and not end.attempts:
            continue  # it never touched anything
        tally.look()
        charge = first_of(charged.get(job))
        if charge is None or charge.index > entered.index:
            tally.fault("it opened rows and was not charged", entered, job)
            continue
        times = min(part.times for part in charge.event.charges)
        tally.demand(times >= end.steps_started, "charged for less than was started", entered, job)
        in_full = end.end is not JobEnd.FAILED or charge.event.in_full
        tally.demand(in_full, "it failed and was not charged in full", entered, job)


def _paid_by_each(
    tally: Tally,
    entered: Entered[JobEnded],
    started: int,
    touched: Sequence[Entered[BudgetTouched]],
    charged: Sequence[Entered[BudgetCharged]],
) -> None:
    """A noised result of several sites is charged to every population that was held for it, for what was started."""
    job, end = entered.event.job, entered.event
    paid = {one.event.population: one.event for one in charged if one.index < entered.index}
    for population in sorted({one.event.population for one in touched}):
        tally.look()
        charge = paid.get(population)
        if charge is None:
            tally.fault("it opened rows and was not charged", entered, job)
            continue
        times = min(part.times for part in charge.charges)
        tally.demand(times >= started, "charged for less than was started", entered, job)
        in_full = end.end is not JobEnd.FAILED or charge.in_full
        tally.demand(in_full, "it failed and was not charged in full", entered, job)
    fine = end.end is not JobEnd.FINISHED or bool(paid)
    tally.demand(fine, "a noised result left, and no population was charged", entered, job)


def _tested(history: History, tally: Tally) -> None:
    """An incident is a finding, whatever was done about it; and nothing left that was not tested."""
    for opened in history.judged(IncidentOpened):
        names = ", ".join(check.value for check in opened.event.checks)
        tally.fault(f"a job's self-test failed: {names}", opened, opened.event.job)
    for found in certified(history).values():
        if found.held.index < history.from_size or found.certificate is None:
            continue
        tally.look()
        predicate = found.certificate.predicate
        tested = predicate.self_test.ran or predicate.kind != "training"
        tally.demand(tested, "a model left without a self-test", found.held, predicate.release)


CHECKS = (
    Check(
        id=Slug("runs.decided"),
        title="No run without a decision",
        question="Before rows were opened, a decision had allowed exactly this request, and the reservation names that "
        "decision's entry by its hash.",
        sources=(Source.JOBS, Source.DECISIONS, Source.LEDGER),
        look=_decided,
    ),
    Check(
        id=Slug("runs.opened"),
        title="Each opening of an envelope is in the ledger",
        question="Every attempt to run marked its hold as touched first, and read the sealed version that was pinned.",
        sources=(Source.JOBS, Source.LEDGER),
        look=_opened,
    ),
    Check(
        id=Slug("runs.charged"),
        title="Nothing that touched data went unpaid",
        question="Each job that opened rows was charged for every step it started, and in full where it failed.",
        sources=(Source.JOBS, Source.LEDGER),
        look=_paid,
    ),
    Check(
        id=Slug("runs.tested"),
        title="Every model's mechanism was tested, and no test failed",
        question="Each model that left carries its mechanism's self-test, and no job's self-test failed in the period.",
        sources=(Source.JOBS, Source.RELEASES, Source.CERTIFICATES),
        look=_tested,
    ),
)
