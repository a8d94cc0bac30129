"""The adapters that keep ledgers. An adapter joins the contract by adding itself to `ADAPTERS`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gateway.storage.sql.ledger import SqlLedger
from gateway.storage.sql.tenants import SqlTenants
from gateway.unit_of_work import Database
from kernel.ids import TenantId
from privacy.budget.memory import MemoryLedgers
from privacy.budget.stores import LedgerStore
from tests.support.budgets import NOW, fresh
from tests.support.databases import DATABASES, opened


class Ledgers(Protocol):
    """Something that opens units of work on ledgers, from any thread."""

    def work(self) -> AbstractContextManager[LedgerStore]:
        """Open a unit of work: it commits when the block ends and leaves no trace if the block raises."""
        ...

    def tenant(self) -> TenantId:
        """A tenant that exists, for adapters that ask."""
        ...


class MemoryLedgersForTests(MemoryLedgers):
    """Memory asks for no tenant."""

    def tenant(self) -> TenantId:
        """Any will do."""
        return fresh(TenantId)


@contextlib.contextmanager
def memory(_: Path) -> Iterator[Ledgers]:
    """Ledgers in memory."""
    yield MemoryLedgersForTests()


class SqlLedgersForTests:
    """Ledgers in a database, with the triggers and constraints of the migrations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.contextmanager
    def work(self) -> Iterator[LedgerStore]:
        """One writing transaction."""
        with self._database.writing() as connection:
            yield SqlLedger(connection)

    def tenant(self) -> TenantId:
        """A stored one: the accounts refer to it."""
        made = fresh(TenantId)
        with self._database.writing() as connection:
            SqlTenants(connection).add(made, NOW)
        return made


def _sql(name: str) -> Callable[[Path], AbstractContextManager[Ledgers]]:
    @contextlib.contextmanager
    def adapter(folder: Path) -> Iterator[Ledgers]:
        with opened(name, folder) as database:
            yield SqlLedgersForTests(database)

    return adapter


ADAPTERS: dict[str, Callable[[Path], AbstractContextManager[Ledgers]]] = {
    "memory": memory,
    **{name: _sql(name) for name in DATABASES},
}
