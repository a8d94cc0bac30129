"""The adapters that keep the log. An adapter joins the contract by adding itself to `ADAPTERS`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from audit.export import ExportStore
from audit.log import LogStore
from audit.memory import MemoryLog
from audit.sequencer import IntegrationStore
from gateway.storage.sql.log import SqlIntegration, SqlLog
from gateway.unit_of_work import Database
from kernel.clock import ManualClock
from tests.support.databases import DATABASES, opened


class Reader(IntegrationStore, ExportStore, Protocol):
    """What sequencer and export see."""


class Logs(Protocol):
    """Something that opens units of work on a log, from any thread."""

    @property
    def reader(self) -> Reader:
        """The log as sequencer and export see it."""
        ...

    def work(self) -> AbstractContextManager[LogStore]:
        """Open a unit of work: it commits when the block ends and leaves no trace if the block raises."""
        ...


class MemoryLogs:
    """The log in memory, one unit of work at a time."""

    def __init__(self) -> None:
        self.reader = MemoryLog()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def work(self) -> Iterator[LogStore]:
        """Commit by doing nothing, roll back to the mark."""
        with self._lock:
            mark = self.reader.mark()
            try:
                yield self.reader
            except BaseException:
                self.reader.rollback(mark)
                raise


class SqlLogs:
    """The log in a database."""

    def __init__(self, database: Database) -> None:
        self.reader = SqlIntegration(database)
        self._database = database

    @contextlib.contextmanager
    def work(self) -> Iterator[LogStore]:
        """Flush and commit, or roll back."""
        with self._database.writing() as connection:
            log = SqlLog(connection)
            yield log
            log.flush()


@contextlib.contextmanager
def memory(_: Path) -> Iterator[Logs]:
    """The log in memory."""
    yield MemoryLogs()


def _sql(name: str) -> Callable[[Path], AbstractContextManager[Logs]]:
    @contextlib.contextmanager
    def adapter(folder: Path) -> Iterator[Logs]:
        with opened(name, folder, ManualClock(datetime(2026, 11, 23, tzinfo=UTC))) as database:
            yield SqlLogs(database)

    return adapter


ADAPTERS: dict[str, Callable[[Path], AbstractContextManager[Logs]]] = {
    "memory": memory,
    **{name: _sql(name) for name in DATABASES},
}
