"""Routes: populations and their budgets."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gateway.api.answers import PROBLEM_RESPONSES, granted, once, shown
from gateway.api.bodies import BudgetChoice, CapTrainer, ChangeBudget, CreatePopulation, Home, OpenBlock, PopulationRef
from gateway.api.deps import CurrentCaller, CurrentReader, ExpectedVersion, Key, State
from gateway.api.json_route import JsonRoute
from gateway.api.views import BlockView, Done, PopulationView
from gateway.services import populations
from gateway.services.collaborators import Collaborators
from kernel.amounts import Delta, Epsilon, Share
from kernel.errors import NotFoundError
from kernel.ids import PopulationId, PrincipalId, Slug, TenantId
from policies.vocabulary import Action, Role
from privacy.budget.balances import Account
from privacy.budget.choice import Alternative
from privacy.units import UnitKind

router = APIRouter(prefix="/v1/populations", tags=["populations"], responses=PROBLEM_RESPONSES, route_class=JsonRoute)


@router.post("", operation_id="createPopulation", status_code=201, response_model=PopulationView)
async def create_population(body: CreatePopulation, caller: CurrentCaller, state: State, key: Key) -> JSONResponse:
    """Declare who is protected and what one of them may lose in total. Order, delta and unit are fixed for good."""
    declared = _declared(body)
    request = {"route": "createPopulation", "body": body.model_dump(mode="json")}
    make = populations.create_population
    return await once(state, caller, key, request, 201, population_view, make, state.on, caller, declared)


@router.get("", operation_id="listPopulations", response_model=list[PopulationView])
async def list_populations(reader: CurrentReader, state: State) -> JSONResponse:
    """The populations that you own; all of them for an auditor."""
    accounts = await state.reads(_accounts, state.on, reader.caller.tenant)
    await reader.decide(Action.POPULATION_READ, holder=reader.principal)
    roles = state.on.decider.snapshot(reader.caller.tenant).principals[reader.principal].roles
    shown_all = Role.AUDITOR in roles
    visible = [account for account in accounts if shown_all or account.population.owner == reader.principal]
    return JSONResponse([population_view(account).model_dump(mode="json") for account in visible])


@router.get("/{population}", operation_id="readPopulation", response_model=PopulationView)
async def read_population(population: PopulationRef, reader: CurrentReader, state: State) -> JSONResponse:
    """A population's budget: allotted, held, spent, for each block."""
    account = await state.reads(_account, state.on, reader.caller.tenant, PopulationId(population))
    await reader.decide(Action.POPULATION_READ, population=account.population.id, holder=account.population.owner)
    return shown(population_view(account), ETag=f'"{account.ledger_seq}"')


@router.put("/{population}/budget", operation_id="changeBudget", response_model=PopulationView)
async def change_budget(
    population: PopulationRef, body: ChangeBudget, caller: CurrentCaller, state: State, expected: ExpectedVersion
) -> JSONResponse:
    """Raise or lower epsilon, never below what is charged and held. Order and delta stay."""
    change = populations.change_budget
    epsilon = Epsilon.parse(body.epsilon)
    choice = None if body.choice is None else _choice(body.choice)
    of = PopulationId(population)
    account = granted(await state.writes(change, state.on, caller, of, epsilon, expected, choice))
    return shown(population_view(account), ETag=f'"{account.ledger_seq}"')


@router.put("/{population}/blocks/{home}", operation_id="openBlock", response_model=PopulationView)
async def open_block(
    population: PopulationRef,
    home: Home,
    body: OpenBlock,
    caller: CurrentCaller,
    state: State,
    expected: ExpectedVersion,
) -> JSONResponse:
    """Open the home block of the next number: units that first appear from here on are charged apart from others."""
    make, of, size = populations.open_block, PopulationId(population), body.public_size
    account = granted(await state.writes(make, state.on, caller, of, home, size, expected))
    return shown(population_view(account), ETag=f'"{account.ledger_seq}"')


@router.put("/{population}/caps", operation_id="capTrainer", response_model=Done)
async def cap_trainer(
    population: PopulationRef, body: CapTrainer, caller: CurrentCaller, state: State, expected: ExpectedVersion
) -> JSONResponse:
    """Cap what one trainer may hold and spend. Access policy, not privacy: trainers may collude."""
    principal, share = PrincipalId(body.principal), Share.parse(body.share)
    cap = populations.cap_trainer
    granted(await state.writes(cap, state.on, caller, PopulationId(population), principal, share, expected))
    return shown(Done())


def population_view(account: Account) -> PopulationView:
    """Show a population."""
    population, budget = account.population, account.population.budget
    return PopulationView(
        population=population.id,
        owner=population.owner,
        unit_kind=population.unit_kind.value,
        unit_noun=population.unit_noun,
        unit_domain=population.unit_domain,
        adjacency=population.adjacency.value,
        public_size=population.public_size,
        holdout_share=str(population.holdout_share),
        epsilon=str(budget.epsilon),
        delta=str(budget.delta),
        order=budget.order,
        capacity=str(budget.capacity),
        committed=str(account.committed),
        blocks=[BlockView(block=b.block.value, charged=str(b.charged), held=str(b.held)) for b in account.balances],
        retired=account.retired,
        uncovered_since=account.uncovered_since,
        odds=None if account.uncovered_since is not None else Alternative.of(budget).odds,
        ledger_seq=account.ledger_seq,
    )


def _declared(body: CreatePopulation) -> populations.NewPopulation:
    return populations.NewPopulation(
        unit_kind=UnitKind(body.unit.kind),
        unit_noun=Slug(body.unit.noun),
        unit_domain=Slug(body.unit_domain),
        public_size=body.public_size,
        holdout_share=Share.parse(body.holdout_share),
        epsilon=Epsilon.parse(body.epsilon),
        delta=Delta.parse(body.delta),
        larger_delta_reason=body.larger_delta_reason,
        choice=None if body.choice is None else _choice(body.choice),
    )


def _choice(body: BudgetChoice) -> populations.Choice:
    return populations.Choice(shown=tuple(map(Epsilon.parse, body.alternatives)), reason=body.reason)


def _account(on: Collaborators, tenant: TenantId, population: PopulationId) -> Account:
    with on.database.read() as reading:
        account = reading.ledger.read(population).account
    if account.population.tenant != tenant:
        raise NotFoundError("no such population", field="population")
    return account


def _accounts(on: Collaborators, tenant: TenantId) -> list[Account]:
    with on.database.read() as reading:
        return reading.ledger.populations(tenant)
