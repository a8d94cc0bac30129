"""Ledgers in memory: the adapter of tests and simulations, and the plainest reading of `LedgerStore`.

Rules
-----
1. A unit of work sees its own changes; others see them when it ends without an error, all at once, or never.
2. A population's lock is taken by `lock` and `append` and kept until the unit of work ends.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections import ChainMap
from collections.abc import Iterator, Sequence
from datetime import datetime

from kernel.errors import ConflictError, NotFoundError, StaleError
from kernel.ids import JobId, PopulationId, PrincipalId
from privacy.budget.balances import Standing
from privacy.budget.fold import LedgerState
from privacy.budget.ledger import Change
from privacy.budget.reservations import ReservationState
from privacy.events.budget import BudgetEvent, PopulationCreated


class MemoryLedgers:
    """All ledgers of a process."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.locks: dict[PopulationId, threading.Lock] = {}
        self.events: dict[PopulationId, list[BudgetEvent]] = {}
        self.states: dict[PopulationId, LedgerState] = {}

    @contextlib.contextmanager
    def work(self) -> Iterator[MemoryLedgerStore]:
        """Open a unit of work; it commits when the block ends, and leaves no trace if the block raises."""
        store = MemoryLedgerStore(self)
        try:
            yield store
            store.commit()
        finally:
            store.close()


class MemoryLedgerStore:
    """The ledgers as one unit of work sees them; see `LedgerStore`."""

    def __init__(self, ledgers: MemoryLedgers) -> None:
        self._ledgers = ledgers
        self._locked: dict[PopulationId, threading.Lock] = {}
        self._branches: dict[PopulationId, LedgerState] = {}
        self._appended: list[BudgetEvent] = []

    def lock(
        self, population: PopulationId, *, principal: PrincipalId | None = None, job: JobId | None = None
    ) -> Standing:
        """Lock a population and load the rows that a verb reads."""
        self._lock(population)
        return self._state(population).standing(principal, job)

    def read(
        self, population: PopulationId, *, principal: PrincipalId | None = None, job: JobId | None = None
    ) -> Standing:
        """The same rows without a lock."""
        with self._ledgers.guard:
            return self._state(population).standing(principal, job)

    def append(self, change: Change) -> None:
        """Store a change; it becomes visible when the unit of work commits."""
        event = change.event
        self._lock(event.population)
        if isinstance(event, PopulationCreated):
            if event.population in self._ledgers.states or event.population in self._branches:
                raise ConflictError("this population exists already", field="population")
            self._branches[event.population] = LedgerState(event)
        else:
            branch = self._branch(event.population)
            if change.before is None or branch.account.ledger_seq != change.before.account.ledger_seq:
                raise StaleError("the ledger has moved on since it was read; read it again", field="population")
            branch.keep(change.after)
        self._appended.append(event)

    def events(self, population: PopulationId, *, after: int = 0) -> Iterator[BudgetEvent]:
        """The events of a population in the order of `ledger_seq`, beginning behind `after`."""
        with self._ledgers.guard:
            stored = list(self._ledgers.events.get(population, ()))
        stored += [event for event in self._appended if event.population == population]
        return iter(stored[after:])

    def expirable(self, now: datetime, limit: int) -> Sequence[tuple[PopulationId, JobId]]:
        """Reservations that are held and past their expiry, the oldest first."""
        with self._ledgers.guard:
            due = sorted(
                (reservation.expires_at, reservation.population, reservation.job)
                for state in self._ledgers.states.values()
                for reservation in state.reservations.values()
                if reservation.state is ReservationState.HELD and reservation.expires_at <= now
            )
        return [(population, job) for _, population, job in due[:limit]]

    def commit(self) -> None:
        """Make every change visible at once."""
        with self._ledgers.guard:
            for population, branch in self._branches.items():
                self._ledgers.states[population] = _merged(branch, self._ledgers.states.get(population))
            for event in self._appended:
                self._ledgers.events.setdefault(event.population, []).append(event)

    def close(self) -> None:
        """Drop what was not committed and release every lock."""
        for lock in self._locked.values():
            lock.release()
        self._locked.clear()

    def _lock(self, population: PopulationId) -> None:
        if population in self._locked:
            return
        with self._ledgers.guard:
            lock = self._ledgers.locks.setdefault(population, threading.Lock())
        lock.acquire()
        self._locked[population] = lock

    def _state(self, population: PopulationId) -> LedgerState:
        state = self._branches.get(population) or self._ledgers.states.get(population)
        if state is None:
            raise NotFoundError("no such population", field="population")
        return state

    def _branch(self, population: PopulationId) -> LedgerState:
        if population not in self._branches:
            branch = copy.copy(self._state(population))
            branch.trainers = ChainMap({}, branch.trainers)
            branch.reservations = ChainMap({}, branch.reservations)
            self._branches[population] = branch
        return self._branches[population]


def _merged(branch: LedgerState, base: LedgerState | None) -> LedgerState:
    if base is None:
        return branch
    base.account = branch.account
    for mine, shared in ((branch.trainers, base.trainers), (branch.reservations, base.reservations)):
        if isinstance(mine, ChainMap):
            shared.update(mine.maps[0])
    return base
