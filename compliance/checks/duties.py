"""Checks of the separation of duties: nobody asks and answers, and nobody holds roles that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History, first_of
from kernel.canonical import Digest
from kernel.ids import DatasetId, JobId, PrincipalId, Slug
from policies.events import (
    ApprovalGiven,
    DatasetRegistered,
    DecisionMade,
    PolicyEvent,
    PrincipalEnrolled,
    RoleAssigned,
    RoleRemoved,
)
from policies.principals import conflicting
from policies.vocabulary import OWN_WORK, Action, ApprovalVerdict, Role, Verdict
from privacy.events.blind import BlindRequested
from privacy.events.budget import BudgetReserved
from privacy.events.collections import CollectionRequested
from privacy.events.inferences import InferenceRequested, QuestionReceived
from privacy.events.jobs import JobRequested
from privacy.events.releases import ReleaseChecked, ReleaseHeld


def owners(history: History) -> Mapping[DatasetId, PrincipalId]:
    """Who answers for each dataset."""
    return {e.event.dataset: e.event.owner for e in history.of(DatasetRegistered)}


def requester(history: History, job: JobId) -> PrincipalId | None:
    """Who asked for a job: the principal of the decision that let it in."""
    ordinary = first_of(history.about("job", JobRequested).get(job))
    of_sites = first_of(history.about("job", CollectionRequested).get(job))
    of_a_model = first_of(history.about("job", InferenceRequested).get(job))
    own_work = first_of(history.about("job", BlindRequested).get(job))
    asked = ordinary or of_sites or of_a_model or own_work
    decision = None if asked is None else history.decisions.get(asked.event.decision)
    return None if decision is None else decision.event.request.principal


def _roles(history: History, tally: Tally) -> None:
    held: dict[PrincipalId, set[Role]] = {}
    for entered in history.of(PolicyEvent):
        match entered.event:
            case PrincipalEnrolled(principal=principal):
                held.setdefault(principal, set())
            case RoleAssigned(principal=principal, role=role):
                held.setdefault(principal, set()).add(role)
                if entered.index >= history.from_size:
                    tally.look()
                    fine = not conflicting(held[principal])
                    tally.demand(fine, "administrator or auditor, and another role beside it", entered, principal)
            case RoleRemoved(principal=principal, role=role):
                held.setdefault(principal, set()).discard(role)
            case _:
                pass


def _trainers(history: History, tally: Tally) -> None:
    owner = owners(history)
    for entered in history.judged(DecisionMade):
        asked = entered.event.request
        if asked.action is not Action.JOB_SUBMIT or entered.event.verdict is Verdict.DENY or asked.dataset is None:
            continue
        tally.look()
        if asked.dataset not in owner:
            tally.fault("a job on a dataset that nobody registered", entered, asked.dataset)
        owns = owner.get(asked.dataset) == asked.principal
        if asked.job_kind in OWN_WORK:
            tally.demand(owns, "work whose result stays with the owner, asked for by somebody else", entered)
        else:
            tally.demand(not owns, "an owner's own job on the owner's data", entered)


def _approvers(history: History, tally: Tally) -> None:
    owner = owners(history)
    # Beside the owner's yes, an exact result of sites needs that of another person.
    exact = {e.event.job for e in history.of(CollectionRequested) if e.event.exact}
    for entered in history.judged(ApprovalGiven):
        tally.look()
        given = entered.event
        approver = given.approval.approver
        tally.demand(
            entered.actor.principal == approver, "given in the name of another", entered, given.approval.approval
        )
        may = owner.get(given.dataset) == approver or given.job in exact
        tally.demand(may, "by somebody other than the dataset's owner", entered)
        if given.job is not None:
            asks = requester(history, given.job)
            tally.demand(asks is not None and asks != approver, "by whoever asked for the job", entered, given.job)


def _door_keepers(history: History, tally: Tally) -> None:
    held = history.about("release", ReleaseHeld)
    for entered in history.judged(ReleaseChecked):
        tally.look()
        decision, release = history.decisions.get(entered.event.decision), first_of(held.get(entered.event.release))
        if decision is None or release is None:
            tally.fault("a release was checked without a decision, or before it was held", entered)
            continue
        made = decision.event
        allowed = made.verdict is Verdict.ALLOW and made.request.action is Action.RELEASE_CHECK
        about = made.request.release == entered.event.release
        tally.demand(allowed and about, "the decision does not allow this", entered, entered.event.release)
        asks, keeper = requester(history, release.event.job), made.request.principal
        tally.demand(entered.event.automatic == (keeper is None), "a person's check that no person made", entered)
        tally.demand(asks is not None and keeper != asks, "checked by whoever asked for it", entered)


def _approved(history: History, tally: Tally) -> None:
    """A job that needed a yes got one to exactly this request, in time, before its budget was held."""
    approvals = history.about("job", ApprovalGiven)
    awaited = {e.event.job for e in history.of(JobRequested) if e.event.awaits_approval}
    awaited |= {e.event.job for e in history.of(InferenceRequested) if e.event.awaits_approval}
    # A job on encrypted rows holds no budget: its yes comes before its question.
    begun: list[tuple[Entered[Any], Digest]] = [(e, e.event.request) for e in history.judged(BudgetReserved)]
    requests = {e.event.job: e.event.request for e in history.of(InferenceRequested)}
    begun += [(e, requests[e.event.job]) for e in history.judged(QuestionReceived) if e.event.job in requests]
    for entered, request in begun:
        if entered.event.job not in awaited:
            continue
        tally.look()
        yes = [
            given
            for given in approvals.get(entered.event.job, ())
            if given.index < entered.index
            and given.event.approval.verdict is ApprovalVerdict.APPROVED
            and given.event.approval.concerns(request, entered.at)
        ]
        tally.demand(bool(yes), "it needed a yes to this very request, and has none", entered, entered.event.job)


CHECKS = (
    Check(
        id=Slug("duties.roles"),
        title="Administrators and auditors hold no other role",
        question="Nobody ever held the role admin or auditor together with any other role.",
        sources=(Source.POLICY,),
        look=_roles,
    ),
    Check(
        id=Slug("duties.trainer"),
        title="Nobody trains on their own data",
        question="No job was allowed to the owner of the dataset that it reads, but such whose result stays with the "
        "owner; those were allowed to nobody else.",
        sources=(Source.DATASETS, Source.DECISIONS),
        look=_trainers,
    ),
    Check(
        id=Slug("duties.approver"),
        title="Nobody approves their own request",
        question="Each approval was given by the dataset's owner in person, about a job that somebody else asked for.",
        sources=(Source.DATASETS, Source.DECISIONS),
        look=_approvers,
    ),
    Check(
        id=Slug("duties.door-keeper"),
        title="Nobody lets their own release go",
        question="Each release was checked by somebody other than the one who asked for the job, or by a policy below "
        "its ceiling.",
        sources=(Source.RELEASES, Source.DECISIONS),
        look=_door_keepers,
    ),
    Check(
        id=Slug("approvals.given"),
        title="A job that needed a yes has one",
        question="Where the policy asked for the owner's approval, it was given to exactly the request that ran, "
        "before any budget was held for it.",
        sources=(Source.JOBS, Source.LEDGER),
        look=_approved,
    ),
)
