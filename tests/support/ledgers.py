"""The adapters that keep ledgers. An adapter joins the contract by adding itself to `ADAPTERS`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kernel.ids import TenantId
from privacy.budget.memory import MemoryLedgers
from privacy.budget.stores import LedgerStore
from tests.support.budgets import fresh


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


ADAPTERS: dict[str, Callable[[Path], AbstractContextManager[Ledgers]]] = {"memory": memory}
