"""The verbs of the ledger: pure functions from a standing to a change, or to a refusal.

Rules
-----
1. A verb never writes. It returns the one event to append and the rows that it leaves; the adapter stores both in the
   transaction that also holds the log entry, under the population's lock.
2. A verb prices for itself: nobody tells the ledger what a mechanism costs.
3. "No budget" is an answer (`Exhausted`), with what remains for each limit; its event is logged. Asking for what a
   state does not allow is an error, and nothing is written.
4. Verbs are idempotent: a verb that happened already returns no change, the same request gets the same reservation,
   another request for the same job is a conflict.
5. No verb lowers what is charged, and no change leaves a block above the capacity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kernel.amounts import Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.checks import whole
from kernel.clock import check_time
from kernel.errors import ConflictError, InvalidError
from kernel.ids import JobId
from kernel.permit import Permit
from privacy.budget.balances import Account, Standing, TrainerAccount, left
from privacy.budget.fold import apply, opened
from privacy.budget.populations import Budget, Population, check_size
from privacy.budget.reservations import (
    MOST_HOLDS,
    MOST_HOMES,
    SIDES,
    Block,
    BlockHold,
    BlockUse,
    Reservation,
    ReservationState,
    by_block,
)
from privacy.events.budget import (
    BlockOpened,
    BudgetCapped,
    BudgetChanged,
    BudgetCharged,
    BudgetEvent,
    BudgetExpired,
    BudgetRefused,
    BudgetReserved,
    BudgetTouched,
    BudgetVoided,
    Limit,
    PopulationCreated,
    PopulationRetired,
    PopulationUncovered,
    Scope,
)

NOTHING_LEFT: Final = Rdp.zero()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One event and what it does.

    Attributes:
        before: The rows that the verb read; absent for a population that is created.
        event: What to append, under its `ledger_seq`, and to log.
        after: The rows to store.
    """

    before: Standing | None
    event: BudgetEvent
    after: Standing


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """The hold is the job's.

    Attributes:
        reservation: What the job may run on.
        change: What to store; absent if the job had this very reservation already.
    """

    reservation: Reservation
    change: Change | None


@dataclass(frozen=True, kw_only=True)
class Exhausted:
    """The hold does not fit. `refusal` is to be logged; it changes nothing."""

    refusal: BudgetRefused

    @property
    def shortfalls(self) -> tuple[Limit, ...]:
        """The limits that are too small; empty only if the population is retired."""
        return tuple(limit for limit in self.refusal.limits if limit.short)


def create(population: Population) -> Change:
    """Open the ledger of a new population.

    Raises:
        InvalidError: The budget is not what `Budget.allot` gives for its epsilon and delta.
    """
    budget = population.budget
    if budget != Budget.allot(budget.epsilon, budget.delta):
        raise InvalidError(
            "allot the budget from epsilon and delta: order and capacity follow from them", field="order"
        )
    event = PopulationCreated(
        population=population.id,
        ledger_seq=1,
        tenant=population.tenant,
        owner=population.owner,
        unit_kind=population.unit_kind,
        unit_noun=population.unit_noun,
        unit_domain=population.unit_domain,
        adjacency=population.adjacency,
        public_size=population.public_size,
        holdout_share=population.holdout_share,
        epsilon=budget.epsilon,
        delta=budget.delta,
        order=budget.order,
        capacity=budget.capacity,
        larger_delta_reason=population.larger_delta_reason,
    )
    return Change(before=None, event=event, after=opened(event))


def available(standing: Standing, block: Block, permitted: Share) -> Rdp:
    """What the standing's trainer could still hold in a block: the least of all limits; nothing once retired."""
    return min(limit.available for limit in limits(standing, {block: NOTHING_LEFT}, permitted))


def limits(standing: Standing, requested: Mapping[Block, Rdp], permitted: Share) -> tuple[Limit, ...]:
    """Every limit that a hold of `requested` meets, in the order of scopes and blocks."""
    account, trainer = standing.account, _trainer_of(standing)
    cap = account.population.budget.part(trainer.share(permitted))
    found: list[Limit] = []
    for block in sorted(requested, key=lambda block: (block.home, SIDES.index(block.at(1)))):
        own = NOTHING_LEFT if account.retired else left(cap, trainer.balance(block).committed)
        pairs = ((Scope.POPULATION, account.available(block)), (Scope.TRAINER, own))
        found += [Limit(scope=s, block=block, requested=requested[block], available=a) for s, a in pairs]
    return tuple(found)


def reserve(
    standing: Standing, permit: Permit, *, uses: Sequence[BlockUse], manifest: Digest, expires_at: datetime
) -> Reserved | Exhausted:
    """Hold what a permitted job may cost.

    Args:
        standing: The account, the permit's principal and the permit's job.
        permit: What an allowed decision handed over.
        uses: What may be started in all, every replay included (`steps_covered`).
        manifest: Digest of the sealed version whose rows it will see.
        expires_at: When the hold may be freed if the job has not touched data.

    Raises:
        ConflictError: The job has another reservation.
        InvalidError: No use, too many, or a block that the population does not have.
    """
    account = standing.account
    holds = _holds(account, uses)
    if standing.reservation is not None:
        return Reserved(reservation=_same(standing.reservation, permit, holds, manifest), change=None)
    met = limits(standing, by_block(holds), permit.trainer_share)
    if account.retired or any(limit.short for limit in met):
        return Exhausted(refusal=_refusal(account, permit, met))
    event = BudgetReserved(
        population=account.population.id,
        ledger_seq=account.ledger_seq + 1,
        job=permit.job,
        principal=permit.principal,
        grant=permit.grant,
        decision=permit.decision,
        decision_leaf=permit.decision_leaf,
        request=permit.request,
        manifest=manifest,
        trainer_share=permit.trainer_share,
        holds=holds,
        expires_at=check_time(expires_at, "expires_at"),
    )
    change = _change(standing, event)
    return Reserved(reservation=_reservation_of(change.after), change=change)


def touch(standing: Standing, *, attempt: int, now: datetime) -> Change | None:
    """Pass the point of no return: the key may be handed out in the same transaction, and not before.

    Args:
        standing: The account and the job's reservation.
        attempt: The attempt that opens the envelope, from 1; a resume is a further attempt.
        now: The present instant.

    Raises:
        ConflictError: The hold is gone or past its expiry, or a later attempt was here.
    """
    reservation = _reservation_of(standing)
    if reservation.state is ReservationState.TOUCHED and attempt == reservation.attempt:
        return None
    if reservation.state is ReservationState.HELD and now >= reservation.expires_at:
        raise ConflictError("the reservation has expired: request the job again", field="job")
    return _change(standing, BudgetTouched(**_next(standing), job=reservation.job, attempt=attempt))


def charge(standing: Standing, started: Sequence[int]) -> Change | None:
    """Charge what was started; the rest of the hold returns.

    Args:
        standing: The account and the job's touched reservation.
        started: For each hold, in order, how often its mechanism was started over all attempts.

    Raises:
        ConflictError: The reservation is not touched, or something else was charged already.
        InvalidError: Not one number for each hold, or more than is held.
    """
    reservation, order = _reservation_of(standing), standing.account.population.budget.order
    if len(started) != len(reservation.holds):
        raise InvalidError("give one number of started runs for each hold", field="started")
    charges = tuple(hold.charge(times, order) for hold, times in zip(reservation.holds, started, strict=True))
    if reservation.state is ReservationState.CHARGED and reservation.charges == charges:
        return None
    return _change(standing, BudgetCharged(**_next(standing), job=reservation.job, charges=charges, in_full=False))


def charge_in_full(standing: Standing) -> Change | None:
    """Charge the whole hold, because it is in doubt what was started.

    Raises:
        ConflictError: The reservation is not touched, or less was charged already.
    """
    reservation = _reservation_of(standing)
    charges = tuple(hold.charge_in_full() for hold in reservation.holds)
    if reservation.state is ReservationState.CHARGED and reservation.charges == charges:
        return None
    return _change(standing, BudgetCharged(**_next(standing), job=reservation.job, charges=charges, in_full=True))


def void(standing: Standing) -> Change | None:
    """Return the hold of a job that never touched data; raise `ConflictError` if it did, or ended otherwise."""
    reservation = _reservation_of(standing)
    if reservation.state is ReservationState.VOIDED:
        return None
    return _change(standing, BudgetVoided(**_next(standing), job=reservation.job))


def expire(standing: Standing, *, now: datetime) -> Change | None:
    """Return the hold of a job that did not touch data in time.

    Raises:
        ConflictError: It is not time yet, or the job touched data, or ended otherwise.
    """
    reservation = _reservation_of(standing)
    if reservation.state is ReservationState.EXPIRED:
        return None
    if now < reservation.expires_at:
        raise ConflictError("the reservation has not expired yet", field="job")
    return _change(standing, BudgetExpired(**_next(standing), job=reservation.job))


def change_budget(standing: Standing, epsilon: Epsilon) -> Change | None:
    """Raise or lower epsilon; order and delta stay.

    Raises:
        ConflictError: Less than what is charged and held.
        InvalidError: So small that it holds nothing.
    """
    account = standing.account
    budget = account.population.budget.resized(epsilon)
    if budget == account.population.budget:
        return None
    if budget.capacity < account.committed:
        raise ConflictError("epsilon cannot go below what is charged and held", field="epsilon")
    return _change(standing, BudgetChanged(**_next(standing), epsilon=epsilon, capacity=budget.capacity))


def cap_trainer(standing: Standing, share: Share) -> Change | None:
    """Cap what the standing's trainer may hold and spend in all. Access policy, not privacy: trainers may collude."""
    trainer = _trainer_of(standing)
    if trainer.cap == share:
        return None
    return _change(standing, BudgetCapped(**_next(standing), principal=trainer.principal, share=share))


def open_block(standing: Standing, public_size: int, *, home: int | None = None) -> Change | None:
    """Open a further home block: units that first appear from here on are charged apart from those before.

    Args:
        standing: The account.
        public_size: About how many units will be at home in it; coarse, and not more than the population's.
        home: Its number; the next by default.

    Raises:
        InvalidError: The size is not coarse or above the population's.
        ConflictError: The population is retired, has as many home blocks as a ledger takes, or the number is not next.
    """
    account = standing.account
    if home is not None and home != account.homes + 1:
        if 1 < home <= account.homes and account.size(home) == public_size:
            return None
        raise ConflictError("home blocks are opened one after the other, with one size each", field="home")
    if account.homes >= MOST_HOMES:
        raise ConflictError(f"a population has at most {MOST_HOMES} home blocks", field="population")
    check_size(public_size, most=account.population.public_size)
    return _change(standing, BlockOpened(**_next(standing), home=account.homes + 1, public_size=public_size))


def retire(standing: Standing) -> Change | None:
    """Take no more reservations. What is held may still be charged; nothing is reset, ever."""
    if standing.account.retired:
        return None
    return _change(standing, PopulationRetired(**_next(standing)))


def mark_uncovered(standing: Standing, job: JobId | None = None) -> Change:
    """Note that an exact result leaves: from here on the guarantee does not cover everything that did (RULES 20)."""
    return _change(standing, PopulationUncovered(**_next(standing), job=job))


def _change(standing: Standing, event: BudgetEvent) -> Change:
    after = apply(standing, event)
    if after.account.overdrawn:
        raise AssertionError("a verb would have overdrawn a population")
    return Change(before=standing, event=event, after=after)


def _next(standing: Standing) -> dict[str, Any]:
    return {"population": standing.account.population.id, "ledger_seq": standing.account.ledger_seq + 1}


def _holds(account: Account, uses: Sequence[BlockUse]) -> tuple[BlockHold, ...]:
    whole(1, MOST_HOLDS, uses=len(uses))
    population = account.population
    if not population.holdout_share.value and any(use.block.at(1) is Block.HOLDOUT for use in uses):
        raise InvalidError("this population has no holdout", field="uses")
    if any(use.block.home > account.homes for use in uses):
        raise InvalidError("this population has no such home block", field="uses")
    return tuple(BlockHold.of(use, population.budget.order) for use in uses)


def _same(found: Reservation, permit: Permit, holds: tuple[BlockHold, ...], manifest: Digest) -> Reservation:
    asked = (permit.job, permit.principal, permit.request, manifest, holds)
    if asked != (found.job, found.principal, found.request, found.manifest, found.holds):
        raise ConflictError("this job has a reservation for another request", field="job")
    if found.state in (ReservationState.VOIDED, ReservationState.EXPIRED):
        raise ConflictError("this job's reservation has ended: request a new job", field="job")
    return found


def _refusal(account: Account, permit: Permit, met: tuple[Limit, ...]) -> BudgetRefused:
    return BudgetRefused(
        population=account.population.id,
        after=account.ledger_seq,
        job=permit.job,
        principal=permit.principal,
        request=permit.request,
        trainer_share=permit.trainer_share,
        retired=account.retired,
        limits=met,
    )


def _trainer_of(standing: Standing) -> TrainerAccount:
    if standing.trainer is None:
        raise InvalidError("name the principal whose account this is about", field="principal")
    return standing.trainer


def _reservation_of(standing: Standing) -> Reservation:
    if standing.reservation is None:
        raise ConflictError("this job has no reservation", field="job")
    return standing.reservation
