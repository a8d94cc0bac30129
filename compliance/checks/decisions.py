"""Checks of the policy and its decisions: whole, asked again, and behind every act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History
from kernel.events import Event, UnknownEvent
from kernel.ids import Slug
from policies import events as policy
from policies.replay import Difference, Replayed, replay
from policies.requests import AccessRequest
from policies.vocabulary import Action, DatasetState, Reason, Role, Verdict
from privacy.events.budget import BudgetCapped, BudgetChanged, PopulationCreated
from privacy.events.collections import PartyCertified, PartyDisabled, PartyEnrolled
from privacy.events.releases import ReleaseRecalled
from privacy.events.sealing import VersionErased

_Matches = Callable[[Any, AccessRequest], bool]
FOUNDING_EPOCHS = 3
"""A tenant begins with its creation, its first administrator and that role: made by the operator's command."""


def _replayed(history: History, tally: Tally) -> None:
    again = replay(_known(history))
    entries = history.of(policy.DecisionMade)
    for entered, found in zip(entries, again.decisions, strict=True):
        if entered.index < history.from_size:
            continue
        tally.look()
        if found.outcome is Replayed.DIFFERENT:
            tally.fault(_difference(found.difference), entered, found.stored.decision)
        elif found.outcome is Replayed.CANNOT_TELL:
            tally.cannot_tell(_difference(found.difference), entered, found.stored.decision)


def _difference(difference: Difference | None) -> str:
    return f"asked again, the answer differs: {difference.value if difference else 'nothing'}"


def _whole(history: History, tally: Tally) -> None:
    again = replay(_known(history))
    tally.look(len(history.judged(policy.PolicyEvent)))
    tally.demand(again.policy_whole, f"the policy can be followed up to epoch {again.epoch} and no further")


def _known(history: History) -> list[Event | UnknownEvent]:
    return [e.event for e in history.entries if isinstance(e.event, (Event, UnknownEvent))]


def _enacted(history: History, tally: Tally) -> None:
    """Every change of policy or budget was allowed to whoever made it; one permission carries one change."""
    unused = _allowed(history)
    for entered in history.of(Event):
        demanded = _demanded(entered.event)
        if demanded is None:
            continue
        action, matches = demanded
        who = entered.actor.principal
        before = [d for d in unused.get((action, who), ()) if d.index < entered.index]
        made = next((d for d in reversed(before) if matches(entered.event, d.event.request)), None)
        if made is not None:
            unused[(action, who)].remove(made)
        if entered.index >= history.from_size:
            tally.look()
            fine = _by_the_gateway(entered.event) if who is None else made is not None
            tally.demand(fine, f"no decision allowed this: {action.value}", entered)


def _demanded(event: Event) -> tuple[Action, _Matches] | None:
    if isinstance(event, policy.DatasetMoved):
        retires = event.after is DatasetState.RETIRED
        action = Action.DATASET_RETIRE if retires else Action.DATASET_UPLOAD
        return action, lambda e, r: e.dataset == r.dataset
    return _ENACTED.get(type(event))


def _anything(_event: Event, _asked: AccessRequest) -> bool:
    """The decision names no object: who asked, and the action, are all there is to compare."""
    return True


def _by_the_gateway(event: Event) -> bool:
    match event:
        case policy.PolicyEvent(epoch=epoch) if epoch <= FOUNDING_EPOCHS:
            return isinstance(event, (policy.TenantCreated, policy.PrincipalEnrolled)) or (
                isinstance(event, policy.RoleAssigned) and event.role is Role.ADMIN
            )
        case policy.DatasetMoved(before=before):
            return before is DatasetState.SEALING
        case BudgetCapped(share=share):
            return share.value == 0
        case _:
            return False


def _allowed(history: History) -> dict[tuple[Action, Any], list[Entered[policy.DecisionMade]]]:
    found: dict[tuple[Action, Any], list[Entered[policy.DecisionMade]]] = {}
    for decision in history.decisions.values():
        asked = decision.event.request
        if decision.event.verdict is not Verdict.DENY:
            found.setdefault((asked.action, asked.principal), []).append(decision)
    return found


_ENACTED: Mapping[type[Event], tuple[Action, _Matches]] = {
    policy.TenantCreated: (Action.TENANT_ADMINISTER, _anything),
    policy.PrincipalEnrolled: (Action.PRINCIPAL_ENROL, _anything),
    policy.PrincipalDisabled: (Action.PRINCIPAL_DISABLE, lambda e, r: e.principal == r.subject),
    policy.RoleAssigned: (Action.ROLE_ASSIGN, lambda e, r: (e.principal, e.role) == (r.subject, r.role)),
    policy.RoleRemoved: (Action.ROLE_REMOVE, lambda e, r: (e.principal, e.role) == (r.subject, r.role)),
    policy.PurposeDefined: (Action.PURPOSE_DEFINE, _anything),
    policy.PolicySet: (Action.POLICY_SET, _anything),
    policy.DatasetRegistered: (Action.DATASET_REGISTER, lambda e, r: e.population == r.population),
    policy.GrantCreated: (
        Action.GRANT_CREATE,
        lambda e, r: (e.principal, e.dataset, e.purpose) == (r.subject, r.dataset, r.purpose),
    ),
    policy.GrantRevoked: (Action.GRANT_REVOKE, _anything),
    PopulationCreated: (Action.POPULATION_CREATE, _anything),
    BudgetChanged: (Action.BUDGET_CHANGE, lambda e, r: e.population == r.population),
    BudgetCapped: (Action.BUDGET_CHANGE, lambda e, r: e.population == r.population),
    PartyEnrolled: (Action.PARTY_ENROL, _anything),
    PartyCertified: (Action.PARTY_ENROL, _anything),
    PartyDisabled: (Action.PARTY_DISABLE, _anything),
    VersionErased: (Action.DATASET_ERASE, lambda e, r: e.dataset == r.dataset),
    ReleaseRecalled: (Action.RELEASE_RECALL, lambda e, r: e.release == r.release),
}


def _denials(history: History, tally: Tally) -> None:
    """A refusal has a reason that says why, and no right hangs on it."""
    cited = _cited(history)
    for entered in history.judged(policy.DecisionMade):
        if entered.event.verdict is not Verdict.DENY:
            continue
        tally.look()
        made = entered.event
        tally.demand(made.reason not in _YES, "a refusal with the reason of a permission", entered, made.decision)
        tally.demand(made.decision not in cited, "something was done on a refusal", entered, made.decision)


_YES = {Reason.ALLOWED, Reason.ALLOWED_AUTOMATICALLY, Reason.APPROVAL_AWAITED}


def _cited(history: History) -> set[str]:
    acts = (e.event for e in history.of(Event) if not isinstance(e.event, policy.DecisionMade))
    return {decision for act in acts if (decision := getattr(act, "decision", None)) is not None}


CHECKS = (
    Check(
        id=Slug("decisions.replayed"),
        title="Every decision, asked again, is the same",
        question="From the policy events and the facts of each request alone the same verdict, reason, rule and grant "
        "follow.",
        sources=(Source.POLICY, Source.DECISIONS),
        look=_replayed,
    ),
    Check(
        id=Slug("policy.whole"),
        title="The policy's history is whole",
        question="Policy epochs run without a gap, and each event follows from the policy before it.",
        sources=(Source.POLICY,),
        look=_whole,
    ),
    Check(
        id=Slug("policy.enacted"),
        title="Every change of policy was decided",
        question="Whoever changed the policy or a budget had been allowed exactly that, and the log shows it.",
        sources=(Source.POLICY, Source.DECISIONS),
        look=_enacted,
    ),
    Check(
        id=Slug("decisions.denials"),
        title="Refusals have a reason and no effect",
        question="Each refusal names its reason, and nothing in the log rests on a refusal.",
        sources=(Source.DECISIONS,),
        look=_denials,
    ),
)
