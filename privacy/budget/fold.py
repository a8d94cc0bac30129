"""The one step from a standing and an event to the next standing; a ledger is its fold.

Rules
-----
1. Events come in the order of `ledger_seq`, from 1 and without gaps. Log order, time and arrival count for nothing.
2. A step checks what can be checked without pricing: numbers, states, and that charges answer to holds. It adds and
   subtracts exactly. Whether a price or a capacity is right is asked by `ledger` before and by `replay` after.
3. The step is the same live, in every adapter and in the offline verifier.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, MutableMapping
from typing import TypeVar, cast

from kernel.errors import ConflictError, CorruptError
from kernel.ids import JobId, PopulationId, PrincipalId
from privacy.budget.balances import Account, Standing, TrainerAccount, grown, with_charged, with_held, without_held
from privacy.budget.populations import Budget, Population, check_size
from privacy.budget.reservations import MOST_HOMES, Block, Reservation, ReservationState, Settled, by_block
from privacy.events.budget import (
    BlockOpened,
    BudgetCapped,
    BudgetChanged,
    BudgetCharged,
    BudgetEvent,
    BudgetExpired,
    BudgetReserved,
    BudgetTouched,
    BudgetVoided,
    PopulationCreated,
    PopulationRetired,
    PopulationUncovered,
)

E = TypeVar("E", bound=BudgetEvent)
_Step = Callable[[Standing, BudgetEvent], Standing]


def opened(event: PopulationCreated) -> Standing:
    """The standing of a population that was just created."""
    if event.ledger_seq != 1:
        raise CorruptError("a ledger begins with `population:created`, number 1", field="ledger_seq")
    budget = Budget(epsilon=event.epsilon, delta=event.delta, order=event.order, capacity=event.capacity)
    population = Population(
        id=event.population,
        tenant=event.tenant,
        owner=event.owner,
        unit_kind=event.unit_kind,
        unit_noun=event.unit_noun,
        unit_domain=event.unit_domain,
        adjacency=event.adjacency,
        public_size=event.public_size,
        holdout_share=event.holdout_share,
        budget=budget,
        larger_delta_reason=event.larger_delta_reason,
    )
    return Standing(account=Account(population=population, ledger_seq=1))


def apply(standing: Standing, event: BudgetEvent) -> Standing:
    """The standing after `event`.

    Args:
        standing: The account, with the trainer and the reservation that the event names, if it names any.
        event: The next event of that population.

    Raises:
        CorruptError: The event is not the next one of this population, or its parts do not answer to each other.
        ConflictError: The reservation is not in a state that allows it.
    """
    account = standing.account
    if event.population != account.population.id:
        raise CorruptError("the event belongs to another population", field="population")
    if event.ledger_seq != account.ledger_seq + 1:
        raise CorruptError("`ledger_seq` must follow without a gap", field="ledger_seq")
    step = _STEPS.get(type(event))
    if step is None:
        raise CorruptError("the ledger does not know this event")
    after = step(standing, event)
    return after.replaced(account=dataclasses.replace(after.account, ledger_seq=event.ledger_seq))


def _changed(standing: Standing, event: BudgetChanged) -> Standing:
    account = standing.account
    budget = dataclasses.replace(account.population.budget, epsilon=event.epsilon, capacity=event.capacity)
    population = dataclasses.replace(account.population, budget=budget)
    return standing.replaced(account=dataclasses.replace(account, population=population))


def _capped(standing: Standing, event: BudgetCapped) -> Standing:
    trainer = _trainer(standing, event.principal)
    return standing.replaced(trainer=dataclasses.replace(trainer, cap=event.share))


def _reserved(standing: Standing, event: BudgetReserved) -> Standing:
    if standing.reservation is not None:
        raise ConflictError("this job has a reservation already", field="job")
    if standing.account.retired:
        raise ConflictError("a retired population takes no reservations", field="population")
    if any(hold.block.home > standing.account.homes for hold in event.holds):
        raise CorruptError("a hold is in a home block that was never opened", field="holds")
    fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event) if f.name != "ledger_seq"}
    reservation = Reservation(**fields, reserved_seq=event.ledger_seq, state=ReservationState.HELD)
    trainer, holds = _trainer(standing, event.principal), by_block(event.holds)
    return Standing(
        account=dataclasses.replace(standing.account, balances=with_held(standing.account.balances, holds)),
        trainer=dataclasses.replace(trainer, balances=with_held(trainer.balances, holds)),
        reservation=reservation,
    )


def _touched(standing: Standing, event: BudgetTouched) -> Standing:
    reservation = _reservation(standing, event.job, ReservationState.TOUCHED)
    if event.attempt <= reservation.attempt:
        raise ConflictError("a later attempt has touched the data already", field="attempt")
    touched = dataclasses.replace(reservation, state=ReservationState.TOUCHED, attempt=event.attempt)
    return standing.replaced(reservation=touched)


def _charged(standing: Standing, event: BudgetCharged) -> Standing:
    reservation = _reservation(standing, event.job, ReservationState.CHARGED)
    check_answers(reservation, event)
    freed = _freed(standing, reservation)
    trainer, charges = _trainer(freed, reservation.principal), by_block(event.charges)
    block, before = max(
        ((b.block, b.committed) for b in freed.account.balances if b.block in charges),
        # Of equally full blocks the first counts.
        key=lambda pair: pair[1],
    )
    settled = Settled(
        ledger_seq=event.ledger_seq, block=block, before=before, charge=charges[block], in_full=event.in_full
    )
    return Standing(
        account=dataclasses.replace(freed.account, balances=with_charged(freed.account.balances, charges)),
        trainer=dataclasses.replace(trainer, balances=with_charged(trainer.balances, charges)),
        reservation=dataclasses.replace(
            reservation, state=ReservationState.CHARGED, charges=event.charges, settled=settled
        ),
    )


def _voided(standing: Standing, event: BudgetVoided) -> Standing:
    reservation = _reservation(standing, event.job, ReservationState.VOIDED)
    ended = dataclasses.replace(reservation, state=ReservationState.VOIDED)
    return _freed(standing, reservation).replaced(reservation=ended)


def _expired(standing: Standing, event: BudgetExpired) -> Standing:
    reservation = _reservation(standing, event.job, ReservationState.EXPIRED)
    ended = dataclasses.replace(reservation, state=ReservationState.EXPIRED)
    return _freed(standing, reservation).replaced(reservation=ended)


def _retired(standing: Standing, _: PopulationRetired) -> Standing:
    if standing.account.retired:
        raise ConflictError("this population is retired already", field="population")
    return standing.replaced(account=dataclasses.replace(standing.account, retired=True))


def _block_opened(standing: Standing, event: BlockOpened) -> Standing:
    account = standing.account
    if event.home != account.homes + 1 or event.home > MOST_HOMES:
        raise CorruptError("home blocks are numbered without a gap", field="home")
    if account.retired:
        raise ConflictError("a retired population gets no further block", field="population")
    check_size(event.public_size, most=account.population.public_size)
    balances = grown(account.balances, (Block.TRAIN.at(event.home),))
    sizes = (*account.sizes, event.public_size)
    return standing.replaced(account=dataclasses.replace(account, balances=balances, sizes=sizes))


def _uncovered(standing: Standing, event: PopulationUncovered) -> Standing:
    since = standing.account.uncovered_since or event.ledger_seq
    return standing.replaced(account=dataclasses.replace(standing.account, uncovered_since=since))


def check_answers(reservation: Reservation, event: BudgetCharged) -> None:
    """Return if every charge answers to its hold: same block, no more runs, no higher price, the whole of it in full.

    Raises:
        CorruptError: One does not.
    """
    if len(event.charges) != len(reservation.holds):
        raise CorruptError("a charge must answer every hold of the job, in order", field="charges")
    for hold, charge in zip(reservation.holds, event.charges, strict=True):
        whole = hold.charge_in_full()
        if charge.blocks != hold.blocks or charge.times > whole.times or charge.price > whole.price:
            raise CorruptError("a charge exceeds its hold", field="charges")
        if event.in_full and charge != whole:
            raise CorruptError("a charge in full must equal its hold", field="charges")


def _freed(standing: Standing, reservation: Reservation) -> Standing:
    trainer, holds = _trainer(standing, reservation.principal), by_block(reservation.holds)
    return standing.replaced(
        account=dataclasses.replace(standing.account, balances=without_held(standing.account.balances, holds)),
        trainer=dataclasses.replace(trainer, balances=without_held(trainer.balances, holds)),
    )


def _trainer(standing: Standing, principal: PrincipalId) -> TrainerAccount:
    if standing.trainer is None or standing.trainer.principal != principal:
        raise CorruptError("the standing lacks the account of this event's principal", field="principal")
    return standing.trainer


def _reservation(standing: Standing, job: JobId, state: ReservationState) -> Reservation:
    reservation = standing.reservation
    if reservation is None or reservation.job != job:
        raise ConflictError("this job has no reservation here", field="job")
    if not reservation.may_become(state):
        raise ConflictError(f"a reservation that is {reservation.state} cannot become {state}", field="job")
    return reservation


def _step(kind: type[E], step: Callable[[Standing, E], Standing]) -> tuple[type[BudgetEvent], _Step]:
    return kind, cast(_Step, step)


_STEPS: dict[type[BudgetEvent], _Step] = dict(
    (
        _step(BudgetChanged, _changed),
        _step(BudgetCapped, _capped),
        _step(BudgetReserved, _reserved),
        _step(BudgetTouched, _touched),
        _step(BudgetCharged, _charged),
        _step(BudgetVoided, _voided),
        _step(BudgetExpired, _expired),
        _step(PopulationRetired, _retired),
        _step(PopulationUncovered, _uncovered),
        _step(BlockOpened, _block_opened),
    )
)


class LedgerState:
    """One population's whole ledger in memory: the fold of its events, one `post` after the other."""

    def __init__(self, event: PopulationCreated) -> None:
        self.account = opened(event).account
        self.trainers: MutableMapping[PrincipalId, TrainerAccount] = {}
        self.reservations: MutableMapping[JobId, Reservation] = {}

    @property
    def population(self) -> PopulationId:
        """Whose ledger it is."""
        return self.account.population.id

    def standing(self, principal: PrincipalId | None = None, job: JobId | None = None) -> Standing:
        """The rows that a verb about this job, or else this principal, reads."""
        reservation = None if job is None else self.reservations.get(job)
        who = principal if reservation is None else reservation.principal
        return Standing(account=self.account, trainer=self._trainer(who), reservation=reservation)

    def post(self, event: BudgetEvent) -> Standing:
        """Take the next event and return the rows that it changed; raise as `apply`, and change nothing then."""
        before = self.standing(getattr(event, "principal", None), getattr(event, "job", None))
        after = apply(before, event)
        self.keep(after)
        return after

    def keep(self, after: Standing) -> None:
        """Put changed rows in their places."""
        self.account = after.account
        if after.trainer is not None:
            self.trainers[after.trainer.principal] = after.trainer
        if after.reservation is not None:
            self.reservations[after.reservation.job] = after.reservation

    def _trainer(self, principal: PrincipalId | None) -> TrainerAccount | None:
        if principal is None:
            return None
        return self.trainers.get(principal) or TrainerAccount(population=self.population, principal=principal)


def fold(events: Iterable[BudgetEvent]) -> LedgerState:
    """Fold the events of one population, in any order, by their `ledger_seq`.

    Raises:
        CorruptError: No `population:created`, a gap, a repetition, or another population's event.
        ConflictError: An event that the reservation's state does not allow.
    """
    ordered = sorted(events, key=lambda event: event.ledger_seq)
    if not ordered or not isinstance(ordered[0], PopulationCreated):
        raise CorruptError("a ledger begins with `population:created`, number 1", field="ledger_seq")
    state = LedgerState(ordered[0])
    for event in ordered[1:]:
        state.post(event)
    return state
