"""Use case: populations and their budgets.

Rules
-----
1. A population's key and its facts are made once; order, delta, adjacency, unit and holdout share never change.
2. What remains is shown to its owner and to whoever holds a grant on its data; it does not depend on rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.unit_of_work import Work
from kernel.amounts import Delta, Epsilon, Share
from kernel.errors import StaleError
from kernel.ids import PopulationId, PrincipalId, Slug
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.budget import ledger
from privacy.budget.balances import Account
from privacy.budget.populations import Budget, Population
from privacy.units import Adjacency, UnitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPopulation:
    """What an owner declares."""

    unit_kind: UnitKind
    unit_noun: Slug
    unit_domain: Slug
    public_size: int
    holdout_share: Share
    epsilon: Epsilon
    delta: Delta
    larger_delta_reason: str | None = None


def population_key(population: PopulationId) -> Slug:
    """The name under which the keyring keeps a population's key for unit ids and the split."""
    return Slug(f"population/{population}")


def create_population(
    on: Collaborators, caller: Caller, declared: NewPopulation, *, alongside: Alongside[Account] = nothing_else
) -> Account | Deny:
    """Open a ledger for the people (or records) that the caller answers for."""
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.POPULATION_CREATE)
        if (denial := answer.denial) is not None:
            work.commit("population-denied")
            return denial
        population = _population(on, work, caller, declared)
        on.keyring.secret(population_key(population.id))
        change = ledger.create(population)
        work.ledger.append(change)
        work.record(change.event, actor=answer.actor)
        alongside(work, change.after.account)
        work.commit("population")
    return change.after.account


def change_budget(
    on: Collaborators, caller: Caller, population: PopulationId, epsilon: Epsilon, expected: int | None = None
) -> Account | Deny:
    """Raise or lower a population's epsilon, at the order that was fixed with it.

    Raises:
        StaleError: The ledger is no longer at the `ledger_seq` that the caller read.
    """
    with on.database.work(caller.tenant) as work:
        standing = work.ledger.lock(population)
        holder = holder_of(standing.account.population, caller)
        answer = on.decider.decide_in(work, caller, Action.BUDGET_CHANGE, population=population, holder=holder)
        if (denial := answer.denial) is not None:
            work.commit("budget-denied")
            return denial
        _check_unchanged(standing.account, expected)
        change = ledger.change_budget(standing, epsilon)
        if change is not None:
            work.ledger.append(change)
            work.record(change.event, actor=answer.actor)
        work.commit("budget-change")
    return standing.account if change is None else change.after.account


def cap_trainer(
    on: Collaborators,
    caller: Caller,
    population: PopulationId,
    principal: PrincipalId,
    share: Share,
    expected: int | None = None,
) -> Deny | None:
    """Cap what one trainer may hold and spend of a population. Access policy, not privacy: trainers may collude.

    Raises:
        StaleError: The ledger is no longer at the `ledger_seq` that the caller read.
    """
    with on.database.work(caller.tenant) as work:
        standing = work.ledger.lock(population, principal=principal)
        holder = holder_of(standing.account.population, caller)
        answer = on.decider.decide_in(work, caller, Action.BUDGET_CHANGE, population=population, holder=holder)
        if answer.denial is None:
            _check_unchanged(standing.account, expected)
            change = ledger.cap_trainer(standing, share)
            if change is not None:
                work.ledger.append(change)
                work.record(change.event, actor=answer.actor)
        work.commit("budget-cap")
    return answer.denial


def holder_of(population: Population, caller: Caller) -> PrincipalId | None:
    """The owner, if the population is the caller's tenant's; else nobody, which the policy refuses."""
    return population.owner if population.tenant == caller.tenant else None


def _check_unchanged(account: Account, expected: int | None) -> None:
    if expected not in (None, account.ledger_seq):
        raise StaleError("the budget changed since you read it; read it again", field="If-Match")


def _population(on: Collaborators, work: Work, caller: Caller, declared: NewPopulation) -> Population:
    reason = declared.larger_delta_reason
    kept = None if reason is None else work.texts.keep(work.tenant, "larger-delta-reason", reason, on.entropy(32))
    return Population(
        id=PopulationId.new(on.entropy),
        tenant=caller.tenant,
        owner=caller.principal,
        unit_kind=declared.unit_kind,
        unit_noun=declared.unit_noun,
        unit_domain=declared.unit_domain,
        adjacency=Adjacency.ADD_OR_REMOVE_ONE_UNIT,
        public_size=declared.public_size,
        holdout_share=declared.holdout_share,
        budget=Budget.allot(declared.epsilon, declared.delta),
        larger_delta_reason=kept,
    )
