"""What an adapter must do to keep ledgers: lock, load a standing, append a change. It decides nothing.

Rules
-----
1. `lock` takes the population's lock before it reads anything else, and holds it until the unit of work ends.
   `ledger_seq` is therefore assigned under it (RULES 9). Several populations are locked in the order of their ids.
2. `append` writes, in the same transaction: the event under (population, ledger_seq), which is unique; the account row,
   only if its `ledger_seq` is still the one that the verb read; the trainer and the reservation row of `change.after`.
3. Nothing of an event is ever changed or removed. A job has one reservation row in each of its populations.
4. The rows are a cache: at every moment they equal the fold of the events (`fold.fold`). A contract test compares them.

The second lock, for databases: a check constraint that keeps charged + held <= capacity for every block row, and the
condition on `ledger_seq` above. A verb touches at most one account, one row for each block, one trainer and one
reservation, so its cost does not grow with the number of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from kernel.ids import JobId, PopulationId, PrincipalId
from privacy.budget.balances import Standing
from privacy.budget.ledger import Change
from privacy.events.budget import BudgetEvent


class LedgerStore(Protocol):
    """The ledgers as one unit of work sees them."""

    def lock(
        self, population: PopulationId, *, principal: PrincipalId | None = None, job: JobId | None = None
    ) -> Standing:
        """Lock a population until the unit of work ends, and load the rows that a verb reads.

        Args:
            population: Which ledger.
            principal: Whose trainer account to load; an empty one if there is none yet.
            job: Whose reservation to load, if it has one in this population. Its principal then replaces `principal`.

        Raises:
            NotFoundError: No such population.
        """
        ...

    def read(
        self, population: PopulationId, *, principal: PrincipalId | None = None, job: JobId | None = None
    ) -> Standing:
        """The same rows without a lock, for quotes and views; no change may be based on them."""
        ...

    def append(self, change: Change) -> None:
        """Store a change; it becomes visible when the unit of work commits.

        Raises:
            ConflictError: The population exists already.
            StaleError: The ledger has moved on since the standing was read.
        """
        ...

    def events(self, population: PopulationId, *, after: int = 0) -> Iterator[BudgetEvent]:
        """The events of a population in the order of `ledger_seq`, beginning behind `after`."""
        ...

    def expirable(self, now: datetime, limit: int) -> Sequence[tuple[PopulationId, JobId]]:
        """Reservations that are held and past their expiry, the oldest first, at most `limit` of them."""
        ...
