"""What a job came to: released as it was concluded, charged for every round that was opened, certified as ordered."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.errors import PrivgateError
from privacy.events.budget import BudgetCharged, BudgetReserved
from privacy.events.jobs import JobEnd, JobEnded
from privacy.events.releases import ReleaseHeld
from privacy.homomorphic.requests.kinds import gaussians_after
from privacy.homomorphic.requests.spec import CollectionSpec
from privacy.release.noised import NoisedPredicate
from privgate.verify.history import History
from privgate.verify.parties.case import Case


def ending_problems(case: Case, history: History) -> Iterator[str]:
    """Everything about a job's end that documents, ledger and release tell differently."""
    job = case.order.job
    held = [e.event for e in history.of(ReleaseHeld) if e.event.job == job]
    if held and (case.final is None or [one.artifact for one in held] != [case.final.artefact]):
        yield "what is held for release is not what the key holder concluded"
    ends = [e.event.end for e in history.of(JobEnded) if e.event.job == job]
    if case.final is not None and JobEnd.FINISHED in ends and not held:
        yield "it was concluded and finished, and nothing is held"
    yield from _charges(case, history, ends)


def _charges(case: Case, history: History, ends: list[JobEnd]) -> Iterator[str]:
    try:
        uses = case.plan.uses()
    except PrivgateError:
        return  # its order's step has said so
    charged = {e.event.population: e.event for e in history.of(BudgetCharged) if e.event.job == case.order.job}
    if not uses:
        if charged:
            yield "an exact result was charged, as if it had noise"
        return
    if not ends:
        return
    if set(charged) != {site.population for site in case.order.sites}:
        yield "a population of its sites was not charged"
    held = [e.event for e in history.of(BudgetReserved) if e.event.job == case.order.job]
    if any(hold.mechanism not in uses for event in held for hold in event.holds):
        yield "what was held is not the price of the ordered plan: another noise, or fewer rounds"
    due = gaussians_after(case.order.kind, len(case.rounds))
    if any(charge.times < due for event in charged.values() for charge in event.charges):
        yield "a population was charged for fewer rounds than were opened"


def certified_problems(case: Case, stated: NoisedPredicate | None) -> Iterator[str]:
    """What a noised result's certificate states otherwise than its order: the noise, and whom it protects."""
    if stated is None:
        return
    try:
        noise, protects = case.plan.noise, CollectionSpec.from_json(case.order.spec).question.protects
    except PrivgateError:
        return  # its order's step has said so
    if stated.noise.noise != noise:
        yield "the certificate states other noise than was ordered"
    if stated.protects is not protects:
        yield "the certificate says to protect others than the request bounds"
    if case.results and stated.noise.present != min(len(result.added) for result in case.results.values()):
        yield "the certificate states the noise of other sites than were added"
