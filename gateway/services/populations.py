"""Use case: populations and their budgets.

Rules
-----
1. A population's key and its facts are made once; order, delta, adjacency, unit and holdout share never change.
2. What an owner was shown and why he chose is logged beside the population, his reason as a commitment. The odds are
   worked out here: nobody is believed about them.
3. What remains is shown to its owner and to whoever holds a grant on its data; it does not depend on rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.idempotency import Alongside, nothing_else
from gateway.unit_of_work import Work
from kernel.amounts import Delta, Epsilon, Share
from kernel.errors import ConflictError, StaleError
from kernel.ids import PopulationId, PrincipalId, Slug
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.budget import ledger
from privacy.budget.balances import Account
from privacy.budget.choice import Alternative, alternatives
from privacy.budget.populations import Budget, Population
from privacy.events.choices import BudgetChosen
from privacy.units import Adjacency, UnitKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What an owner was shown before he chose epsilon, and why he chose it."""

    shown: tuple[Epsilon, ...] = ()
    reason: str | None = None


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
    choice: Choice | None = None


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
        chosen = _chosen(on, work, population, declared.choice)
        on.keyring.secret(population_key(population.id))
        change = ledger.create(population)
        work.ledger.append(change)
        work.record(change.event, actor=answer.actor)
        if chosen is not None:
            work.record(chosen, actor=answer.actor)
        alongside(work, change.after.account)
        work.commit("population")
    return change.after.account


def change_budget(
    on: Collaborators,
    caller: Caller,
    population: PopulationId,
    epsilon: Epsilon,
    expected: int | None = None,
    choice: Choice | None = None,
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
            changed = change.after.account.population
            if (chosen := _chosen(on, work, changed, choice, changed.budget.order)) is not None:
                work.record(chosen, actor=answer.actor)
        work.commit("budget-change")
    return standing.account if change is None else change.after.account


def open_block(
    on: Collaborators,
    caller: Caller,
    population: PopulationId,
    home: int,
    public_size: int,
    expected: int | None = None,
) -> Account | Deny:
    """Open the home block of the next number: units that first appear from here on are charged apart from others.

    Raises:
        StaleError: The ledger is no longer at the `ledger_seq` that the caller read.
        ConflictError: It is retired, that number is not the next, or there are rows whose home nobody kept.
    """
    with on.database.work(caller.tenant) as work:
        standing = work.ledger.lock(population)
        holder = holder_of(standing.account.population, caller)
        answer = on.decider.decide_in(work, caller, Action.BUDGET_CHANGE, population=population, holder=holder)
        if (denial := answer.denial) is not None:
            work.commit("block-denied")
            return denial
        _check_unchanged(standing.account, expected)
        _check_homes_kept(work, standing.account.population)
        change = ledger.open_block(standing, public_size, home=home)
        if change is not None:
            work.ledger.append(change)
            work.record(change.event, actor=answer.actor)
        work.commit("block")
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


def _check_homes_kept(work: Work, population: Population) -> None:
    """Units of a version without a map would look new in a further block: they would have two homes."""
    for dataset in work.datasets.all(tenant=population.tenant, population=population.id):
        for version in work.versions.all(dataset=dataset.id):
            if version.state.was_sealed and version.homes_seq is None:
                raise ConflictError("rows were sealed here before home blocks were kept", field="population")


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


def _chosen(
    on: Collaborators, work: Work, population: Population, choice: Choice | None, order: int | None = None
) -> BudgetChosen | None:
    if choice is None:
        return None
    reason, budget = choice.reason, population.budget
    kept = None if reason is None else work.texts.keep(work.tenant, "budget-reason", reason, on.entropy(32))
    return BudgetChosen(
        population=population.id,
        epsilon=budget.epsilon,
        delta=budget.delta,
        odds=Alternative.of(budget).odds,
        alternatives=alternatives(budget.delta, choice.shown, order),
        reason=kept,
        order=order,
    )
