"""Checks of the use of data: legal basis, purpose, grant and retention, at the moment of use.

A use is a worker opening a job's envelope (`job:started`). What the law calls processing begins there; the decision
that let it in is looked at beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History, first_of
from kernel.errors import PrivgateError
from kernel.ids import DatasetId, Slug
from policies.datasets import check_basis
from policies.events import DatasetRegistered, DecisionMade, GrantCreated, GrantRevoked, PurposeDefined
from policies.purposes import PurposeDag
from policies.requests import AccessRequest
from privacy.events.budget import BudgetReserved
from privacy.events.jobs import JobRequested, JobStarted
from privacy.events.sealing import DekDestroyed, VersionSealed


@dataclass(frozen=True, slots=True)
class Use:
    """A worker opened an envelope: the moment, the job, and the dataset as its owner declared it."""

    started: Entered[JobStarted]
    requested: Entered[JobRequested]
    dataset: DatasetRegistered


def datasets(history: History) -> Mapping[DatasetId, DatasetRegistered]:
    """Every dataset as its owner declared it."""
    return {e.event.dataset: e.event for e in history.of(DatasetRegistered)}


def _uses(history: History, tally: Tally) -> Iterator[Use]:
    """Every use in the period, counted; one whose job or dataset is unknown is a fault."""
    declared, requested = datasets(history), history.about("job", JobRequested)
    for started in history.judged(JobStarted):
        tally.look()
        asked = first_of(requested.get(started.event.job))
        dataset = None if asked is None else declared.get(asked.event.dataset)
        if asked is None or dataset is None:
            tally.fault("rows were opened for a job, or from a dataset, that the log does not know", started)
        else:
            yield Use(started, asked, dataset)


def _basis(history: History, tally: Tally) -> None:
    for use in _uses(history, tally):
        facts, at = use.dataset, use.started.at
        expired = facts.basis_until is not None and at >= facts.basis_until
        tally.demand(not expired, "used after its legal basis had ended", use.started, facts.dataset)
        try:
            check_basis(facts.legal_basis, facts.special_condition, facts.sensitivity)
        except PrivgateError:
            tally.fault("used on a basis that cannot carry it", use.started, facts.dataset)


def _purpose(history: History, tally: Tally) -> None:
    for use in _uses(history, tally):
        dag = _purposes(history, use.requested.index)
        within = dag.is_within_any(use.requested.event.purpose, use.dataset.purposes)
        tally.demand(within, "used for a purpose that its owner did not permit", use.started, use.dataset.dataset)


def _purposes(history: History, before: int) -> PurposeDag:
    dag = PurposeDag()
    for entered in history.of(PurposeDefined):
        if entered.index < before:
            try:
                dag = dag.add(entered.event.purpose, entered.event.within)
            except PrivgateError:
                continue  # `policy.whole` says so
    return dag


def _grants(history: History, tally: Tally) -> None:
    granted = {e.event.grant: e for e in history.of(GrantCreated)}
    revoked = {e.event.grant: e.index for e in history.of(GrantRevoked)}
    for entered in history.judged(BudgetReserved):
        tally.look()
        held = entered.event
        grant, decision = granted.get(held.grant), history.decisions.get(held.decision)
        if grant is None or decision is None or grant.index > entered.index:
            tally.fault("a reservation on a grant or a decision that the log does not know", entered, held.job)
            continue
        given, asked = grant.event, decision.event.request
        tally.demand(
            given.principal == held.principal == asked.principal, "a grant to somebody else", entered, held.job
        )
        tally.demand(_covers(history, given, decision.event), "a grant that does not cover this", entered, held.job)
        tally.demand(entered.at < given.until, "a grant that had ended", entered, held.job)
        fresh = revoked.get(held.grant, entered.index + 1) > entered.index
        tally.demand(fresh, "a grant that was revoked before", entered, held.job)


def _covers(history: History, given: GrantCreated, made: DecisionMade) -> bool:
    asked: AccessRequest = made.request
    cap = given.obligations.max_epsilon
    return (
        made.grant == given.grant
        and given.dataset == asked.dataset
        and asked.job_kind in given.job_kinds
        and asked.purpose is not None
        and _purposes(history, history.until_size).is_within(asked.purpose, given.purpose)
        and (cap is None or (asked.epsilon is not None and asked.epsilon <= cap))
    )


def _retention(history: History, tally: Tally) -> None:
    """Nothing is used after its retention, and nothing that is past it can still be opened."""
    for use in _uses(history, tally):
        late = use.started.at >= use.dataset.retention_until
        tally.demand(not late, "used after its retention had ended", use.started, use.dataset.dataset)
    declared, now = datasets(history), history.ends_at
    destroyed = {e.event.dek for e in history.of(DekDestroyed)}
    for sealed in history.of(VersionSealed):
        facts = declared.get(sealed.event.dataset)
        if facts is None or now is None:
            continue
        tally.look()
        due = now >= facts.retention_until and sealed.event.dek not in destroyed
        tally.demand(not due, "past its retention, and its key was not destroyed", sealed, sealed.event.version)


CHECKS = (
    Check(
        id=Slug("basis.at-use"),
        title="A legal basis at each use",
        question="Whenever rows were opened, their dataset had a legal basis that could carry it and had not ended.",
        sources=(Source.DATASETS, Source.JOBS),
        look=_basis,
    ),
    Check(
        id=Slug("purpose.at-use"),
        title="No use beyond its purpose",
        question="Each job that ran had a purpose within those that the dataset's owner permitted.",
        sources=(Source.DATASETS, Source.JOBS),
        look=_purpose,
    ),
    Check(
        id=Slug("grants.at-use"),
        title="A live grant behind each reservation",
        question="Budget was held only under a grant to this trainer, for this dataset, purpose, kind of job and "
        "epsilon, that had neither ended nor been revoked.",
        sources=(Source.POLICY, Source.DECISIONS, Source.LEDGER),
        look=_grants,
    ),
    Check(
        id=Slug("retention.kept"),
        title="Nothing outlives its retention",
        question="No rows were opened after their retention had ended, and no version past it still has its key.",
        sources=(Source.DATASETS, Source.KEYS),
        look=_retention,
    ),
)
