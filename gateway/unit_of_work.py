"""A work: what changes together in one transaction, with the log entries that say so.

Rules
-----
1. One work, one tenant, one commit, made by the service that opened it. Leaving without a commit rolls back.
2. A commit that changes governed state without a log entry is refused (`UnloggedChangeError`): no change is silent.
3. Locks are taken in one order: population (RULES 9), task or job row, policy head, log counter. The last is taken by
   the first entry, so whoever needs a population locks it before he decides.
4. Upkeep (leases, progress, staging) is not governed state; it has a door of its own without entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from audit import log
from audit.entry import Actor, Entry
from gateway.collection_records import CollectionRecord, DocumentRecord, JobSiteRecord, PartyRecord
from gateway.inference_records import InferenceRecord
from gateway.records import (
    ApprovalRecord,
    DatasetRecord,
    JobRecord,
    PersonRecord,
    ReleaseRecord,
    ReplayRecord,
    ReportRecord,
    VersionRecord,
)
from gateway.storage import collection_tables, inference_tables, tables
from gateway.storage.engine import begin_reading, begin_writing, is_sqlite_file
from gateway.storage.sole_writer import SoleWriter
from gateway.storage.sql.credentials import SqlCredentials
from gateway.storage.sql.deks import SqlDeks
from gateway.storage.sql.kept_texts import SqlKeptTexts
from gateway.storage.sql.ledger import SqlLedger
from gateway.storage.sql.log import SqlLog
from gateway.storage.sql.policy import SqlPolicy
from gateway.storage.sql.progress import SqlProgress
from gateway.storage.sql.rows import Rows
from gateway.storage.sql.tasks import SqlTasks
from gateway.storage.sql.tenants import SqlTenants
from kernel.clock import Clock
from kernel.events import Event
from kernel.ids import Entropy, TenantId

SYSTEM = Actor()


class UnloggedChangeError(AssertionError):
    """A programming error: a service changed governed state and logged nothing."""


def no_point(_name: str) -> None:
    """Do nothing: the production value of `point`; crash tests end the process here."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every work needs from outside: time, randomness, and where a crash test may strike."""

    clock: Clock
    entropy: Entropy
    point: Callable[[str], None] = no_point


class Reading:
    """The stores over one consistent snapshot; nothing can be changed through it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.policy = SqlPolicy(connection)
        self.ledger = SqlLedger(connection)
        self.credentials = SqlCredentials(connection)
        self.tasks = SqlTasks(connection)
        self.progress = SqlProgress(connection)
        self.tenants = SqlTenants(connection)
        self.texts = SqlKeptTexts(connection)
        self.people = Rows(connection, tables.person, PersonRecord)
        self.datasets = Rows(connection, tables.dataset, DatasetRecord)
        self.versions = Rows(connection, tables.dataset_version, VersionRecord)
        self.deks = SqlDeks(connection)
        self.jobs = Rows(connection, tables.job, JobRecord)
        self.approvals = Rows(connection, tables.approval, ApprovalRecord)
        self.releases = Rows(connection, tables.release, ReleaseRecord)
        self.reports = Rows(connection, tables.report, ReportRecord)
        self.replays = Rows(connection, tables.idempotency, ReplayRecord)
        self.parties = Rows(connection, collection_tables.party, PartyRecord)
        self.collections = Rows(connection, collection_tables.collection, CollectionRecord)
        self.job_sites = Rows(connection, collection_tables.job_site, JobSiteRecord)
        self.documents = Rows(connection, collection_tables.job_document, DocumentRecord)
        self.inferences = Rows(connection, inference_tables.inference, InferenceRecord)


class Work(Reading):
    """A reading that may also change, log and commit."""

    def __init__(self, connection: Connection, tenant: TenantId, around: Surroundings) -> None:
        super().__init__(connection)
        self.tenant = tenant
        self.committed = False
        self._around = around
        self._log = SqlLog(connection)
        self._now = around.clock.now()
        self._after_commit: list[Callable[[], None]] = []

    @property
    def now(self) -> datetime:
        """The instant of this work: all its entries carry the same time."""
        return self._now

    def record(self, event: Event, *, actor: Actor = SYSTEM, correlation: str | None = None) -> Entry:
        """Log an event in this work's transaction and return its entry."""
        return log.append(
            self._log,
            event,
            tenant=self.tenant,
            time=self._now,
            actor=actor,
            correlation=correlation,
            entropy=self._around.entropy,
        )

    def after_commit(self, act: Callable[[], None]) -> None:
        """Do something in memory once the commit stands."""
        self._after_commit.append(act)

    def commit(self, name: str) -> None:
        """Commit changes and entries together.

        Args:
            name: Which commit of the cycle this is; crash tests strike on either side of it.

        Raises:
            UnloggedChangeError: Nothing was logged.
        """
        if self._log.waiting == 0:
            raise UnloggedChangeError(f"the work `{name}` changes something and logs nothing")
        self._log.flush()
        self._end(name)

    def commit_upkeep(self, name: str) -> None:
        """Commit what is not governed state: leases, progress, staging."""
        self._log.flush()
        self._end(name)

    def _end(self, name: str) -> None:
        self._around.point(f"{name}:before-commit")
        self.connection.commit()
        self.committed = True
        self._around.point(f"{name}:committed")
        for act in self._after_commit:
            act()


class Upkeep:
    """What needs no entry, because it governs nothing: leases and progress."""

    def __init__(self, connection: Connection) -> None:
        self.tasks = SqlTasks(connection)
        self.progress = SqlProgress(connection)


class Database:
    """Opens works and readings on one engine; also the transactions of the log's integration."""

    def __init__(self, engine: Engine, around: Surroundings) -> None:
        self._engine = engine
        self._around = around
        self._writer = SoleWriter(engine) if is_sqlite_file(engine) else None

    @contextmanager
    def work(self, tenant: TenantId) -> Iterator[Work]:
        """Open a work for a tenant; it rolls back unless it commits."""
        with self.writing(commit=False) as connection:
            yield Work(connection, tenant, self._around)

    @contextmanager
    def upkeep(self, name: str) -> Iterator[Upkeep]:
        """Open the door without entries; it commits when the block ends and rolls back if the block raises.

        Args:
            name: Which commit of the cycle this is, as in `Work.commit`.
        """
        with self.writing(commit=False) as connection:
            yield Upkeep(connection)
            self._around.point(f"{name}:before-commit")
            connection.commit()
            self._around.point(f"{name}:committed")

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """Open a consistent reading."""
        with self.reading() as connection:
            yield Reading(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a reading transaction."""
        with self._engine.connect() as connection:
            transaction = connection.begin()
            try:
                begin_reading(connection)
                yield connection
            finally:
                transaction.rollback()

    @contextmanager
    def writing(self, *, commit: bool = True) -> Iterator[Connection]:
        """Open a writing transaction; with `commit` it commits at its end, else whoever opened it must."""
        with self._engine.connect() if self._writer is None else self._writer.turn() as connection:
            transaction = connection.begin()
            try:
                begin_writing(connection)
                yield connection
                if commit:
                    connection.commit()
            finally:
                if transaction.is_active:
                    transaction.rollback()

    def dispose(self) -> None:
        """Close all connections."""
        if self._writer is not None:
            self._writer.close()
        self._engine.dispose()
