"""Ledgers in SQL: events append-only, their fold beside them, a check constraint as the second lock.

Rules
-----
1. The account row is locked before anything else of its population is read (RULES 9).
2. Charged and held of each block also stand as integers (1e-9 units) under a check constraint against the capacity: a
   fault in this program cannot overdraw a population without the database refusing the commit.
3. A verb reads and writes a fixed number of rows, however many jobs there are.

Implements `privacy.budget.stores.LedgerStore`; held to the same contract suite as the in-memory ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Select, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.storage.tables import budget_account, budget_block, budget_event, budget_trainer, reservation
from kernel import canonical
from kernel.amounts import Rdp
from kernel.clock import format_time
from kernel.errors import ConflictError, CorruptError, NotFoundError, StaleError
from kernel.events import Record, Registry
from kernel.ids import JobId, PopulationId, PrincipalId
from privacy.budget.balances import Account, Standing, TrainerAccount
from privacy.budget.ledger import Change
from privacy.budget.reservations import Reservation, ReservationState
from privacy.events.budget import LEDGER_EVENTS, BudgetEvent

_REGISTRY = Registry(LEDGER_EVENTS)
_LIMIT = 1 << 20

R = TypeVar("R", bound=Record)

# Built once: building them anew took longer than what they do. (A parameter may not be called like a column.)
_WHOSE: BindParameter[str] = bindparam("whose")
_ACCOUNT = select(budget_account.c.fields).where(budget_account.c.population == _WHOSE)
_ACCOUNT_LOCKED = _ACCOUNT.with_for_update()
_TRAINER_KEY = (budget_trainer.c.population == _WHOSE) & (budget_trainer.c.principal == bindparam("who"))
_TRAINER = select(budget_trainer.c.fields).where(_TRAINER_KEY)
_RESERVATION = select(reservation.c.fields).where(
    reservation.c.job == bindparam("which"), reservation.c.population == _WHOSE
)
_ADD_EVENT = insert(budget_event)
_MOVE_ACCOUNT = (
    update(budget_account)
    .where(budget_account.c.population == _WHOSE, budget_account.c.ledger_seq == bindparam("before"))
    .values(ledger_seq=bindparam("now"), fields=bindparam("written"))
)
_MOVE_BLOCK = (
    update(budget_block)
    .where(budget_block.c.population == _WHOSE, budget_block.c.block == bindparam("place"))
    .values(committed=bindparam("total"), capacity=bindparam("most"))
)
_ADD_TRAINER = insert(budget_trainer)
_MOVE_TRAINER = update(budget_trainer).where(_TRAINER_KEY).values(fields=bindparam("written"))
_ADD_RESERVATION = insert(reservation)
_MOVE_RESERVATION = (
    update(reservation)
    .where(reservation.c.job == bindparam("which"), reservation.c.population == _WHOSE)
    .values(state=bindparam("now"), expires_at=bindparam("end"), fields=bindparam("written"))
)


class SqlLedger:
    """The ledgers within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(
        self, population: PopulationId, *, principal: PrincipalId | None = None, job: JobId | None = None
    ) -> Standing:
        """Lock a population and load the rows that a verb reads."""
        return self._standing(_ACCOUNT_LOCKED, population, principal, job)

    def read(
        self, population: PopulationId, *, principal: PrincipalId | None = None, job: JobId | None = None
    ) -> Standing:
        """The same rows without a lock."""
        return self._standing(_ACCOUNT, population, principal, job)

    def append(self, change: Change) -> None:
        """Store the event and the rows that it leaves."""
        event, after = change.event, change.after
        if change.before is None:
            self._create(after.account)
        else:
            self._move(change.before.account, after.account)
        row = {
            "population": event.population,
            "ledger_seq": event.ledger_seq,
            "type": event.TYPE,
            "version": event.VERSION,
            "fields": _written(event),
        }
        self._connection.execute(_ADD_EVENT, row)
        if after.trainer is not None:
            self._put_trainer(after.trainer)
        if after.reservation is not None:
            self._put_reservation(change, after.reservation)

    def events(self, population: PopulationId, *, after: int = 0) -> Iterator[BudgetEvent]:
        """The events of a population in the order of `ledger_seq`, beginning behind `after`."""
        query = (
            select(budget_event.c.type, budget_event.c.version, budget_event.c.fields)
            .where(budget_event.c.population == population, budget_event.c.ledger_seq > after)
            .order_by(budget_event.c.ledger_seq)
        )
        for row in self._connection.execute(query):
            event = _REGISTRY.decode(row.type, row.version, _read(row.fields))
            if not isinstance(event, BudgetEvent):
                raise CorruptError("the ledger holds an event that this version does not know")
            yield event

    def expirable(self, now: datetime, limit: int) -> Sequence[tuple[PopulationId, JobId]]:
        """Reservations that are held and past their expiry, the oldest first."""
        query = (
            select(reservation.c.population, reservation.c.job)
            .where(reservation.c.state == ReservationState.HELD.value, reservation.c.expires_at <= format_time(now))
            .order_by(reservation.c.expires_at)
            .limit(limit)
        )
        return [(PopulationId(population), JobId(job)) for population, job in self._connection.execute(query)]

    def populations(self, tenant: str) -> list[Account]:
        """All accounts of a tenant, in the order of their ids."""
        query = select(budget_account.c.fields).where(budget_account.c.tenant == tenant)
        rows = self._connection.execute(query.order_by(budget_account.c.population)).scalars()
        return [Account.from_fields(_read(fields)) for fields in rows]

    def _standing(
        self, query: Select[Any], population: PopulationId, principal: PrincipalId | None, job: JobId | None
    ) -> Standing:
        account = self._find(query, Account, whose=population)
        if account is None:
            raise NotFoundError("no such population", field="population")
        held = None if job is None else self._find(_RESERVATION, Reservation, which=job, whose=population)
        whose = held.principal if held is not None else principal
        if whose is None:
            return Standing(account=account, reservation=held)
        trainer = self._find(_TRAINER, TrainerAccount, whose=population, who=whose)
        fresh = TrainerAccount(population=population, principal=whose)
        return Standing(account=account, trainer=trainer or fresh, reservation=held)

    def _find(self, query: Select[Any], record: type[R], **keys: str) -> R | None:
        fields = self._connection.execute(query, keys).scalar_one_or_none()
        return None if fields is None else record.from_fields(_read(fields))

    def _create(self, account: Account) -> None:
        population = account.population
        row = {"population": population.id, "tenant": population.tenant, "ledger_seq": 1, "fields": _written(account)}
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(budget_account).values(**row))
        except IntegrityError:
            taken = select(budget_account.c.population).where(budget_account.c.population == population.id)
            if self._connection.execute(taken).first() is None:
                raise NotFoundError("no such organisation", field="tenant") from None
            raise ConflictError("this population exists already", field="population") from None
        self._connection.execute(insert(budget_block), _blocks(account))

    def _move(self, before: Account, account: Account) -> None:
        whose = account.population.id
        row = {"whose": whose, "before": before.ledger_seq, "now": account.ledger_seq, "written": _written(account)}
        if self._connection.execute(_MOVE_ACCOUNT, row).rowcount != 1:
            raise StaleError("the ledger has moved on since it was read; read it again", field="population")
        moved = [
            {"whose": whose, "place": block["block"], "total": block["committed"], "most": block["capacity"]}
            for block in _blocks(account)[: len(before.balances)]
        ]
        self._connection.execute(_MOVE_BLOCK, moved)
        if opened := _blocks(account)[len(before.balances) :]:
            self._connection.execute(insert(budget_block), opened)

    def _put_trainer(self, trainer: TrainerAccount) -> None:
        key = {"whose": trainer.population, "who": trainer.principal}
        fields = _written(trainer)
        if self._connection.execute(_MOVE_TRAINER, {**key, "written": fields}).rowcount == 0:
            row = {"population": trainer.population, "principal": trainer.principal, "fields": fields}
            self._connection.execute(_ADD_TRAINER, row)

    def _put_reservation(self, change: Change, held: Reservation) -> None:
        state, end, written = held.state.value, format_time(held.expires_at), _written(held)
        if change.before is not None and change.before.reservation is not None:
            row = {"which": held.job, "whose": held.population, "now": state, "end": end, "written": written}
            self._connection.execute(_MOVE_RESERVATION, row)
            return
        row = {"job": held.job, "population": held.population, "state": state, "expires_at": end, "fields": written}
        self._connection.execute(_ADD_RESERVATION, row)


def _blocks(account: Account) -> list[dict[str, Any]]:
    capacity = _units(account.population.budget.capacity)
    return [
        {
            "population": str(account.population.id),
            "block": balance.block.value,
            "committed": _units(balance.committed),
            "capacity": capacity,
        }
        for balance in account.balances
    ]


def _units(amount: Rdp) -> int:
    """The amount in steps of its grid; what exceeds 63 bits is cut, which no capacity reaches."""
    return min(int(amount.value / Rdp.QUANTUM), 2**63 - 1)


def _written(record: Record) -> str:
    return canonical.encode(record.to_fields()).decode("utf-8")


def _read(fields: str) -> Any:
    return canonical.decode(fields.encode("utf-8"), limit=_LIMIT)
